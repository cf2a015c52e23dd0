"""A dashboard as its notebook sees it: the site's store, its texts, and panels that cannot break.

::

    board = open_board("rain")
    board.header("rain.sums")
    board.panel("rain.sums", rain.sums, days=days)

A panel is a function of the board that returns a block; what it raises becomes a sentence.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from workspace_lib.clock import SYSTEM_CLOCK, Clock
from workspace_lib.errors import ParameterError, WorkspaceError
from workspace_lib.settings import Settings, load_settings
from workspace_lib.views import blocks, theme
from workspace_lib.views.html import EMPTY, Html, tag
from workspace_lib.views.messages import Language
from workspace_lib.views.texts import Texts, languages

if TYPE_CHECKING:
    from workspace_lib.store.engines import Store
    from workspace_lib.store.publications import Published


#: What a static page read from the store itself counts as stale after this, unless it is made
#: anew; the job that makes the pages has run three times by then.
SNAPSHOT_FRESH = timedelta(minutes=15)


@dataclass(frozen=True)
class Content:
    """What a panel shows when it is more than one block: also how it was computed, and a state."""

    body: Html
    how: Html | None = None
    state: Html | None = None
    stale: bool = False


class Board:
    """One dashboard of a site at one moment.

    Attributes
    ----------
    name : str
        Its name; title and purpose are the texts ``board.NAME`` and ``board.NAME.about``.
    settings : Settings
        Settings of the site.
    texts : Texts
        Writes in the reader's language and the site's zone.
    now : datetime
        The moment it was opened; all ages are counted from it.
    shows : Freshness or None
        How old what it shows is, once its header was made.
    static : bool
        It stands in a page without a kernel, which goes on being looked at after it was made.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        *,
        language: Language | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.name = name
        self.settings = settings
        self.texts = Texts(language or settings.language, settings.zone)
        self.now = clock.now()
        self.shows: blocks.Freshness | None = None
        self.static = False
        self._published: dict[str, Published] = {}

    @cached_property
    def store(self) -> Store:
        """The site's store, open for reading only.

        Raises
        ------
        StoreError
            If there is none yet, or it belongs to another version.
        """
        from workspace_lib.store.migrate import open_store

        return open_store(self.settings, read_only=True)

    def close(self) -> None:
        """Give back the store, if it was opened."""
        if "store" in self.__dict__:
            self.store.close()

    def published(self, name: str) -> Published:
        """Return a publication, looked up once per board.

        Raises
        ------
        PublishError
            If it was never published.
        """
        from workspace_lib.store.publications import load_published

        if name not in self._published:
            self._published[name] = load_published(self.store, name, now=self.now)
        return self._published[name]

    def freshness(self, *names: str) -> blocks.Freshness:
        """Return the freshness of publications together; what was never published is left out."""
        parts = []
        for name in names:
            try:
                parts.append(freshness_of(self.published(name)))
            except WorkspaceError:
                continue
        oldest = blocks.oldest(parts)
        if oldest.run_id is None:
            return oldest
        from workspace_lib.runs.ledger_queries import get_run

        run = get_run(self.store, oldest.run_id)
        return replace(oldest, job=run.job if run else None)

    def header(self, *publications: str) -> Html:
        """Return title, purpose and the line that says how old everything is.

        Parameters
        ----------
        *publications : str
            Names of what the board shows; without one it reads the store itself, now.
        """
        texts = self.texts
        about = f"board.{self.name}.about"
        head = blocks.page(
            texts(f"board.{self.name}"),
            texts(about) if texts.has(about) else None,
            blocks.guarded(texts, lambda: self._line(publications)),
        )
        return self._shown(head if _in_page() else theme.head() + head)

    def cards(self, make: Callable[..., Html], **arguments: Any) -> Html:
        """Return what ``make(board, **arguments)`` returns: cards, notices or other blocks."""
        return self._shown(blocks.guarded(self.texts, lambda: make(self, **arguments)))

    notices = cards

    def panel(
        self, key: str, make: Callable[..., Html | Content], *, span: int = 12, **arguments: Any
    ) -> Html:
        """Return a panel with what ``make(board, **arguments)`` returns.

        Parameters
        ----------
        key : str
            Text of its title; ``KEY.about`` explains it, where that exists.
        span : int
            How many of twelve columns it takes.
        """
        texts = self.texts
        try:
            made = make(self, **arguments)
            content = made if isinstance(made, Content) else Content(made)
        except Exception as error:  # noqa: BLE001 - a broken panel must not take the page with it
            content = Content(blocks.failed(texts, error))
        about = f"{key}.about"
        return self._shown(
            blocks.panel(
                texts(key),
                content.body,
                about=texts(about) if texts.has(about) else None,
                span=span,
                state=content.state,
                how=content.how,
                stale=content.stale,
                name=key.replace(".", "-"),
            ),
            span,
        )

    def _line(self, publications: tuple[str, ...]) -> Html:
        from workspace_lib.runs.ledger_queries import scheduler_last_seen

        seen = scheduler_last_seen(self.store)
        if publications:
            self.shows = self.freshness(*publications)
        else:
            until = self.now + SNAPSHOT_FRESH if self.static else None
            self.shows = blocks.Freshness(self.now, stale_at=until, read=True)
        return blocks.as_of(self.texts, self.shows, self.now, scheduler_seen=seen)

    def _shown(self, block: Html, span: int = 12) -> Html:
        # Outside our own pages (JupyterLab) each output needs its own mark for the style sheet.
        if not block or _in_page():
            return block
        classes = "ws" if span == 12 else f"ws ws-span-{span}"
        return tag("div", block, class_=classes) if block else EMPTY


@dataclass
class StaticPage:
    """What boards opened while a static page is made take from it, and those boards."""

    settings: Settings
    language: Language
    clock: Clock = SYSTEM_CLOCK
    boards: list[Board] = field(default_factory=list)


_static: ContextVar[StaticPage | None] = ContextVar("static_page", default=None)


@contextmanager
def static_page(
    settings: Settings, language: Language, clock: Clock = SYSTEM_CLOCK
) -> Iterator[StaticPage]:
    """Have boards opened inside belong to one page without a kernel; their stores are closed."""
    page = StaticPage(settings, language, clock)
    token = _static.set(page)
    try:
        yield page
    finally:
        _static.reset(token)
        for board in page.boards:
            board.close()


def open_board(name: str, *, language: str | None = None, site: str | None = None) -> Board:
    """Return the board ``name`` of the active site.

    Parameters
    ----------
    language : str, optional
        ``en`` or ``fr``; empty is what the reader of a live page chose, else the site's.

    Raises
    ------
    ParameterError
        If there is no such language.
    """
    if language and language not in languages():
        raise ParameterError(
            f"There are no texts in {language!r}.", fix=f"Known: {', '.join(languages())}."
        )
    if (page := _static.get()) is not None:
        board = Board(name, page.settings, language=page.language, clock=page.clock)
        board.static = True
        page.boards.append(board)
        return board
    chosen: Any = language or _asked_language()
    return Board(name, load_settings(site), language=chosen)


def freshness_of(published: Published) -> blocks.Freshness:
    """Return how old a publication is, from which run, and when it goes stale."""
    limit = published.fresh_for_s
    stale_at = None if limit is None else published.as_of + timedelta(seconds=limit)
    return blocks.Freshness(published.as_of, published.run_id, stale_at=stale_at)


def rows_of(published: Published) -> list[dict[str, Any]]:
    """Return the rows of a published frame without loading pandas, which takes a second.

    Raises
    ------
    StoreError
        If the file is gone.
    """
    import pyarrow as pa
    from pyarrow import parquet

    from workspace_lib.errors import StoreError

    try:
        table = parquet.read_table(published.path)
    except OSError as error:
        raise StoreError(
            f"The file of {published.name} cannot be read.",
            where=str(published.path),
            fix="Run the job that publishes it.",
        ) from error
    for place, column in enumerate(table.schema):
        if pa.types.is_timestamp(column.type):
            micro = pa.timestamp("us", tz=column.type.tz)
            table = table.set_column(place, column.name, table[column.name].cast(micro, safe=False))
    rows: list[dict[str, Any]] = table.to_pylist()
    return [
        # pandas writes a missing number as NaN, which is no number to show.
        {key: None if value != value else value for key, value in row.items()}
        for row in rows
    ]


def _asked_language() -> str | None:
    """Return the language that the address of a live page names, if there is such a one."""
    asked = parse_qs(os.environ.get("QUERY_STRING", "") if _is_live() else "").get("language", [])
    return next((one for one in asked if one in languages()), None)


def _in_page() -> bool:
    """Return whether a page of ours is around the blocks, with style sheet and script."""
    return _is_live() or _static.get() is not None


def _is_live() -> bool:
    """Return whether this is the kernel of a live page: its server says so."""
    return os.environ.get("SERVER_SOFTWARE", "").startswith("voila/")
