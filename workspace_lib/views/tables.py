"""Tables: numbers right, units in the head; sorted, filtered and exported without a kernel."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import unescape
from typing import Any

from workspace_lib.clock import iso
from workspace_lib.views import export
from workspace_lib.views.blocks import empty, when
from workspace_lib.views.html import EMPTY, Child, Html, join, tag
from workspace_lib.views.icons import icon
from workspace_lib.views.texts import MISSING, Texts

Row = Mapping[str, Any]
#: From so many rows on a table has a box that filters it; on paper it shows so many.
FILTERED, PRINTED = 11, 10
#: A table of more columns than this has less space between them.
WIDE = 7
_MARKUP = re.compile(r"<[^>]*>")


@dataclass(frozen=True)
class Column:
    """One column of a table.

    ``key`` names the value in each row; ``digits`` makes it a number, set right; ``show`` may turn
    the row into any block. Sorting and exports always use the value itself; ``export`` is False
    for a drawing, ``shown`` for what only exports have.
    """

    key: str
    title: str
    unit: str | None = None
    digits: int | None = None
    show: Callable[[Row], Child] | None = None
    nowrap: bool = False
    sortable: bool = True
    export: bool = True
    shown: bool = True


def table(
    texts: Texts,
    columns: Sequence[Column],
    rows: Sequence[Row],
    *,
    label: str,
    now: datetime,
    limit: int = 25,
    none: str | None = None,
    total: Row | None = None,
) -> Html:
    """Return a table; more than ``limit`` rows wait behind a button, none is a sentence.

    Parameters
    ----------
    label : str
        What the table holds, for those who cannot see it; also its anchor.
    none : str, optional
        Sentence shown in place of a table without rows.
    total : mapping, optional
        Values of a last row that stays last.
    """
    if not rows:
        return empty(texts, none)
    wide = sum(column.shown for column in columns) > WIDE
    identity = "table-" + "".join(c if c.isalnum() else "-" for c in label.lower())
    heads = [
        tag(
            "th",
            _head(texts, column),
            scope="col",
            class_="ws-num" if column.digits is not None else None,
            data_skip=not column.export,
            data_number=column.digits is not None,
            hidden=not column.shown,
        )
        for column in columns
    ]
    lines = [
        tag(
            "tr",
            [_cell(texts, column, row, now, place == 0) for place, column in enumerate(columns)],
            hidden=number >= limit,
        )
        for number, row in enumerate(rows)
    ]
    foot = None
    if total is not None:
        cells = [
            _cell(texts, column, total, now, place == 0) for place, column in enumerate(columns)
        ]
        foot = tag("tfoot", tag("tr", cells))
    more = printed = None
    if len(rows) > limit:
        more = tag(
            "button",
            texts("panel.show_all", total=texts.number(len(rows))),
            class_="ws-more",
            type="button",
            data_table=identity,
        )
    if len(rows) > PRINTED:
        said = texts("table.printed", shown=PRINTED, total=texts.number(len(rows)))
        printed = tag("p", said, class_="ws-only-print ws-muted")
    body = tag(
        "table",
        tag("thead", tag("tr", heads)),
        tag("tbody", lines),
        foot,
        class_="ws-table is-wide" if wide else "ws-table",
        id=identity,
        data_limit=limit,
    )
    scroll = tag("div", body, class_="ws-scroll", role="region", aria_label=label, tabindex="0")
    whole = rows if total is None else [*rows, total]
    tools = _tools(texts, columns, whole, identity, label, now)
    return join([tools if len(rows) >= FILTERED else None, scroll, printed, more]) + (
        tools if len(rows) < FILTERED else EMPTY
    )


def _tools(
    texts: Texts,
    columns: Sequence[Column],
    rows: Sequence[Row],
    identity: str,
    label: str,
    now: datetime,
) -> Html:
    """Return the box that filters a long table, and the ways to take it along as CSV and Excel."""
    search = None
    if len(rows) >= FILTERED:
        said = texts("table.filter")
        search = tag(
            "input",
            type="search",
            class_="ws-filter",
            placeholder=said,
            aria_label=f"{said}: {label}",
            data_table=identity,
        )
    name = file_name(texts, identity, now)
    csv = csv_button(texts, identity, label, f"{name}.csv")
    excel = None
    if len(rows) < export.MOST_ROWS and (content := _workbook(texts, columns, rows, label, now)):
        excel = tag(
            "a",
            "Excel",
            href=export.data_link(content),
            download=f"{name}.xlsx",
            class_="ws-xlsx",
            aria_label=texts("table.export", label=label, format="Excel"),
        )
    return tag("div", search, tag("span", icon("download"), csv, excel), class_="ws-tools")


def file_name(texts: Texts, identity: str, now: datetime) -> str:
    """Return the name, without ending, of a file that a table is saved as."""
    return f"{identity.removeprefix('table-').strip('-')}-{texts.local(now):%Y%m%d-%H%M}"


def csv_button(texts: Texts, identity: str, label: str, name: str) -> Html:
    """Return the button that saves what the table ``identity`` of the page shows, as ``name``."""
    return tag(
        "button",
        "CSV",
        type="button",
        class_="ws-csv",
        data_table=identity,
        data_name=name,
        data_separator=";" if texts.language == "fr" else ",",
        data_decimal="," if texts.language == "fr" else ".",
        aria_label=texts("table.export", label=label, format="CSV"),
    )


def _workbook(
    texts: Texts, columns: Sequence[Column], rows: Sequence[Row], label: str, now: datetime
) -> bytes | None:
    """Return the table as Excel file, or None where the library for it is not installed."""
    chosen = [column for column in columns if column.export]
    heads = []
    for column in chosen:
        instants = any(isinstance(row.get(column.key), datetime) for row in rows)
        unit = column.unit or (texts.zone.key if instants else None)
        heads.append(f"{column.title} [{unit}]" if unit else column.title)
    cells = [[_exported(column, row) for column in chosen] for row in rows]
    try:
        return export.workbook(heads, cells, created=now, zone=texts.zone, sheet=label)
    except ImportError:
        return None


def _exported(column: Column, row: Row) -> object:
    """Return what an export holds: the value; of a block without one its text."""
    value = row.get(column.key)
    if value is None and column.digits is None and column.show is not None:
        shown = column.show(row)
        value = join([shown])
    if isinstance(value, Html):
        value = unescape(_MARKUP.sub(" ", value.markup))
        value = " ".join(value.split())
    return None if value == MISSING else value


def _head(texts: Texts, column: Column) -> Html:
    unit = tag("span", f"[{column.unit}]", class_="ws-unit") if column.unit else None
    if not column.sortable:
        return tag("span", column.title, unit)
    return tag(
        "button",
        column.title,
        unit,
        icon("sort"),
        class_="ws-sort",
        type="button",
        title=texts("table.sort", column=column.title),
    )


def _cell(texts: Texts, column: Column, row: Row, now: datetime, first: bool) -> Html:
    value = row.get(column.key)
    shown: Child
    if column.show is not None:
        shown = column.show(row)
    elif isinstance(value, datetime):
        shown = when(texts, value, now)
    elif value is None:
        shown = MISSING
    elif column.digits is not None:
        shown = texts.number(value, column.digits)
    else:
        shown = value if isinstance(value, Html) else str(value)
    classes = [
        *(["ws-num"] if column.digits is not None else []),
        *(["ws-nowrap"] if column.nowrap or isinstance(value, datetime) else []),
    ]
    return tag(
        "th" if first else "td",
        shown,
        scope="row" if first else None,
        class_=" ".join(classes) or None,
        data_sort=_sort_key(value),
        hidden=not column.shown,
    )


def _sort_key(value: object) -> str | None:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, (bool, int, float)):
        return repr(float(value))
    return None
