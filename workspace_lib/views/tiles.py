"""Tiles of the overview: one card per wing, hung in by the wing's own board.

A board takes part by a function ``tile(board) -> Tile | None`` in its module of
`workspace_lib.views.boards`; it is found by that name. None means: nothing to show on this site.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module

from workspace_lib.errors import PublishError
from workspace_lib.views import boards
from workspace_lib.views.access import address
from workspace_lib.views.blocks import age, badge, card, failed
from workspace_lib.views.board import Board
from workspace_lib.views.html import Html, join, tag


@dataclass(frozen=True)
class Tile:
    """What a wing says of itself on the overview.

    Attributes
    ----------
    board : str
        Name of the dashboard it leads to; its title is the tile's.
    state : str
        One of `tokens.STATES`.
    value : str
        The one figure, written for people.
    unit : str, optional
        Its unit.
    note : str, optional
        Against what: a target, the day before, how many of how many.
    word : str, optional
        What the badge says in place of the state's own word.
    as_of : datetime, optional
        How old the figure is; None if it was read when the page was made.
    spark : Html, optional
        A sparkline of the figure.
    """

    board: str
    state: str
    value: str
    unit: str | None = None
    note: str | None = None
    word: str | None = None
    as_of: datetime | None = None
    spark: Html | None = None


Maker = Callable[[Board], Tile | None]


def makers() -> dict[str, Maker]:
    """Return the function of each board that has a tile, by the board's name; runs is the last."""
    found: dict[str, Maker] = {}
    for module in pkgutil.iter_modules(boards.__path__):
        make = getattr(import_module(f"{boards.__name__}.{module.name}"), "tile", None)
        if callable(make):
            found[module.name] = make
    return dict(sorted(found.items(), key=lambda item: (item[0] == "runs", item[0])))


def tile_cards(board: Board, found: Iterable[tuple[str, Maker]] | None = None) -> list[Html]:
    """Return the card of every wing that has something to show; a broken one is a sentence."""
    shown = []
    for name, make in makers().items() if found is None else found:
        try:
            tile = make(board)
        except PublishError:
            continue  # a wing that never published has no tile
        except Exception as error:  # noqa: BLE001 - one wing must not hide the others
            shown.append(_broken(board, name, error))
            continue
        if tile is not None:
            shown.append(_card(board, tile))
    return shown


def link_to(board: Board, name: str, anchor: str | None = None) -> str | None:
    """Return the way to a dashboard from another one, or None where the site has none so named.

    It is relative: live pages and static twins lie at different addresses.
    """
    if not (board.settings.notebooks_dir / "dashboards" / f"{name}.ipynb").is_file():
        return None
    return f"{name}#{anchor}" if anchor else name


def front_link(board: Board, path: str) -> str | None:
    """Return the way to a page of the web front, whose path begins with ``/``.

    A static page lies on the web front itself; a live one names it. None where nobody can know the
    address, because the front takes any free port.
    """
    if board.static:
        return path
    web = board.settings.web
    if web.public_url:
        return f"{web.public_url.rstrip('/')}{path}"
    return f"{address(web.host, web.port).rstrip('/')}{path}" if web.port else None


def _card(board: Board, tile: Tile) -> Html:
    texts, now = board.texts, board.now
    lines = [tag("div", tile.note)] if tile.note else []
    lines.append(tag("div", age(texts, tile.as_of or now, now), class_="ws-age"))
    return card(
        texts(f"board.{tile.board}"),
        tile.value,
        unit=tile.unit,
        note=join(lines),
        state=badge(texts, tile.state, tile.word),
        spark=tile.spark,
        stale=tile.state == "stale",
        link=link_to(board, tile.board),
    )


def _broken(board: Board, name: str, error: Exception) -> Html:
    texts = board.texts
    key = f"board.{name}"
    return card(
        texts(key) if texts.has(key) else name,
        "–",
        note=failed(texts, error),
        state=badge(texts, "unknown"),
        link=link_to(board, name),
    )
