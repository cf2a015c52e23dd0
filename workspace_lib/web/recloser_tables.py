"""A plain table for pages that are read from top to bottom and printed: every row stays."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from workspace_lib.views.blocks import empty
from workspace_lib.views.html import Child, Html, tag
from workspace_lib.views.texts import MISSING, Texts


def plain_table(
    texts: Texts,
    heads: Sequence[str] | None,
    rows: Sequence[Sequence[Child]],
    *,
    numbers: Collection[int] = (),
    none: str | None = None,
) -> Html:
    """Return a table whose cells are finished blocks; without rows it is a sentence.

    Parameters
    ----------
    heads : sequence of str, optional
        Titles of the columns; without them the first cell of a row is its title.
    numbers : collection of int
        Columns that are set to the right.
    none : str, optional
        The sentence.
    """
    if not rows:
        return empty(texts, none)

    def right(place: int) -> str | None:
        return "ws-num" if place in numbers else None

    head = None
    if heads is not None:
        cells = [
            tag("th", one, scope="col", class_=right(place)) for place, one in enumerate(heads)
        ]
        head = tag("thead", tag("tr", cells))
    lines = []
    for row in rows:
        cells = [
            tag(
                "th" if heads is None and place == 0 else "td",
                MISSING if cell is None else cell,
                class_=right(place),
                scope="row" if heads is None and place == 0 else None,
            )
            for place, cell in enumerate(row)
        ]
        lines.append(tag("tr", cells))
    body = tag("table", head, tag("tbody", lines), class_="ws-table is-whole")
    return tag("div", body, class_="ws-scroll", tabindex="0")
