"""Static twins: each dashboard as one HTML file that needs no kernel, no server and no network.

A twin is made of the same notebook as the live dashboard: its cells are run here, one after the
other, and the blocks they end with are written into one page. The chart library comes along packed
and is unpacked in the browser when a chart is seen, so that the first paint does not wait for it.
"""

from __future__ import annotations

import ast
import base64
import gzip
import hashlib
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

from workspace_lib.clock import SYSTEM_CLOCK, Clock, iso
from workspace_lib.errors import FormatError, ParameterError
from workspace_lib.files import atomic_write, sha256_bytes
from workspace_lib.settings import Settings
from workspace_lib.views import blocks, theme
from workspace_lib.views.board import static_page
from workspace_lib.views.html import EMPTY, Html, tag
from workspace_lib.views.messages import Language
from workspace_lib.views.site import Site
from workspace_lib.views.texts import Texts

log = logging.getLogger(__name__)

LIBRARY = Path(__file__).parent / "vendor" / "plotly-basic-4.1.1.min.js.gz"
FOLDER = "dashboards"
LANGUAGES: tuple[Language, ...] = get_args(Language)


@dataclass(frozen=True)
class Twin:
    """A twin as it lies on the disk.

    ``as_of`` is that of the oldest publication it shows, None where the board reads the store
    itself: that is as old as the twin. From ``stale_at`` on it counts as stale.
    """

    name: str
    language: str
    title: str
    made: str
    as_of: str | None
    stale_at: str | None
    sha256: str
    bytes: int
    script_hash: str


def site_of(settings: Settings, language: Language | None = None, *, prefix: str = "/d/") -> Site:
    """Return the frame of the site's static pages."""
    return Site(
        title=settings.title or settings.site_name,
        texts=Texts(language or settings.language, settings.zone),
        folder=settings.notebooks_dir / "dashboards",
        plotly="",
        prefix=prefix,
        live="/live/",
        languages="/language/",
    )


def render(
    settings: Settings, name: str, *, language: Language, clock: Clock = SYSTEM_CLOCK
) -> tuple[str, Twin]:
    """Return a dashboard as one HTML page, and what there is to say of it.

    Raises
    ------
    ParameterError
        If there is no such dashboard.
    FormatError
        If its notebook cannot be read.
    """
    site = site_of(settings, language)
    if not site.has(name):
        known = ", ".join(site.boards())
        raise ParameterError(f"There is no dashboard {name!r}.", fix=f"Known: {known}.")
    made = iso(clock.now())
    with static_page(settings, language, clock) as page:
        shown = list(_run(site.folder / f"{name}.ipynb", site.texts))
        shows = [board.shows for board in page.boards if board.shows is not None]
        fresh = blocks.oldest(one for one in shows if not one.read)
        limit = blocks.oldest(shows).stale_at
    main = tag("main", shown, class_="ws-main")
    charts = 'class="ws-figure"' in main.markup
    title = site.board_title(name)
    html = site.document(title, site.bar(name), main, _library() if charts else EMPTY, made=made)
    content = html.encode()
    twin = Twin(
        name=name,
        language=language,
        title=title,
        made=made,
        as_of=iso(fresh.as_of) if fresh.as_of else None,
        stale_at=iso(limit) if limit else None,
        sha256=sha256_bytes(content),
        bytes=len(content),
        script_hash=script_hash(),
    )
    return html, twin


def make_twins(
    settings: Settings, names: Iterable[str] = (), *, clock: Clock = SYSTEM_CLOCK
) -> list[Twin]:
    """Make the twins of the site's dashboards in each language and return what was made.

    Parameters
    ----------
    names : iterable of str
        Dashboards; none means all.
    """
    chosen = list(names) or list(site_of(settings).boards())
    made = []
    for name in chosen:
        for language in LANGUAGES:
            html, twin = render(settings, name, language=language, clock=clock)
            _save(settings, html, twin)
            made.append(twin)
    return made


def find_twin(settings: Settings, name: str, language: str) -> Twin | None:
    """Return what is known of a twin, or None if it was never made."""
    return read_twin(twin_path(settings, name, language).with_suffix(".json"))


def read_twin(path: Path) -> Twin | None:
    """Return what a file beside a twin says of it, or None if there is none."""
    try:
        return Twin(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def twin_path(settings: Settings, name: str, language: str) -> Path:
    """Return where a twin's HTML lies; packed for the network beside it with ``.gz``."""
    return twins_folder(settings) / f"{name}.{language}.html"


def twins_folder(settings: Settings) -> Path:
    """Return the folder of the site's twins."""
    return settings.outputs_dir / FOLDER


@cache
def script_hash() -> str:
    """Return the hash by which a page's policy allows the one script that may run in it."""
    digest = hashlib.sha256(theme.javascript().encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _save(settings: Settings, html: str, twin: Twin) -> None:
    path = twin_path(settings, twin.name, twin.language)
    content = html.encode()
    atomic_write(path, content, durable=False)
    packed = gzip.compress(content, 6, mtime=0)
    atomic_write(path.with_suffix(".html.gz"), packed, durable=False)
    # Last, because it is what says that the twin is there.
    facts = json.dumps(asdict(twin), indent=1).encode()
    atomic_write(path.with_suffix(".json"), facts, durable=False)


def _run(notebook: Path, texts: Texts) -> Iterator[Html]:
    namespace: dict[str, Any] = {"__name__": "__dashboard__"}
    for number, cell in enumerate(_cells(notebook)):
        source = "".join(cell["source"])
        tags = cell.get("metadata", {}).get("tags", [])
        if cell["cell_type"] == "markdown" and "about" not in tags:
            yield _text(source)
        elif cell["cell_type"] == "code":
            try:
                value = _execute(source, f"{notebook.name}, cell {number + 1}", namespace)
            except Exception as error:  # noqa: BLE001 - said on the page, as the live one does
                yield blocks.failed(texts, error)
                return
            if isinstance(value, Html) and value:
                yield value


def _execute(source: str, where: str, namespace: dict[str, Any]) -> Any:
    tree = ast.parse(source, where)
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr):
        exec(compile(tree, where, "exec"), namespace)
        return None
    tree.body.pop()
    exec(compile(tree, where, "exec"), namespace)
    return eval(compile(ast.Expression(last.value), where, "eval"), namespace)


def _cells(notebook: Path) -> list[dict[str, Any]]:
    try:
        cells: list[dict[str, Any]] = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError) as error:
        raise FormatError("The notebook cannot be read.", where=str(notebook)) from error
    return cells


def _text(source: str) -> Html:
    from nbconvert.filters import markdown2html

    return tag("section", Html(markdown2html(source)), class_="ws-text")


@cache
def _library() -> Html:
    packed = base64.b64encode(LIBRARY.read_bytes()).decode()
    return Html(f'<script type="application/gzip" id="ws-plotly-library">{packed}</script>')
