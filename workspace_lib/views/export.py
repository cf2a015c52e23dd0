"""Tables as Excel files: text stays text, numbers stay numbers, nothing is ever a formula."""

from __future__ import annotations

import math
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, tzinfo
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workspace_lib.clock import ensure_utc
from workspace_lib.files import atomic_write

if TYPE_CHECKING:
    import pandas as pd

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
#: A page carries the file of a table that has fewer rows than this.
MOST_ROWS = 2000
#: What Excel holds: characters of a cell, and of a sheet's name.
_CELL, _SHEET = 32_767, 31
#: Larger whole numbers lose digits in Excel; they are written as text.
_EXACT = 2**53
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def workbook(
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    created: datetime,
    zone: tzinfo,
    sheet: str = "",
) -> bytes:
    """Return an Excel file with one sheet; the same content gives the same bytes.

    Instants become local times of ``zone``, because Excel knows no zones; name it in the head.

    Parameters
    ----------
    heads : sequence of str
        Titles of the columns with their units.
    rows : iterable
        Values: None is an empty cell, what is neither number, truth, date nor time is text.
    created : datetime
        Written into the file's properties.
    sheet : str
        Name of the sheet; characters that Excel refuses are left out.
    """
    import xlsxwriter

    target = BytesIO()
    options = {
        "in_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    with xlsxwriter.Workbook(target, options) as book:
        book.set_properties({"created": ensure_utc(created).replace(tzinfo=None)})
        page = book.add_worksheet(_sheet_name(sheet))
        bold = book.add_format({"bold": True, "bottom": 1})
        time = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        day = book.add_format({"num_format": "yyyy-mm-dd"})
        widths = [len(head) for head in heads]
        for column, head in enumerate(heads):
            page.write_string(0, column, _text(head), bold)
        for line, row in enumerate(rows, start=1):
            for column, value in enumerate(row):
                widths[column] = max(
                    widths[column], _write(page, line, column, value, zone, time, day)
                )
        page.freeze_panes(1, 1)
        for column, width in enumerate(widths):
            page.set_column(column, column, min(width + 2, 60))
    return target.getvalue()


def frame_workbook(
    frame: pd.DataFrame,
    *,
    created: datetime,
    zone: tzinfo,
    units: Mapping[str, str] | None = None,
    sheet: str = "",
) -> bytes:
    """Return a frame as an Excel file, units in the heads.

    Parameters
    ----------
    units : mapping, optional
        Unit by name of a column.
    """
    known = units or {}
    heads = [f"{name} [{known[name]}]" if name in known else str(name) for name in frame.columns]
    rows = frame.itertuples(index=False, name=None)
    return workbook(heads, rows, created=created, zone=zone, sheet=sheet)


def save(path: Path, content: bytes) -> Path:
    """Write a workbook to ``path``, at once or not at all, and return the path."""
    atomic_write(path, content)
    return path


def data_link(content: bytes) -> str:
    """Return a workbook as the address of a link that needs no server."""
    return f"data:{MEDIA_TYPE};base64,{b64encode(content).decode()}"


def _write(
    page: Any, line: int, column: int, value: object, zone: tzinfo, time: Any, day: Any
) -> int:
    """Write one cell and return how many characters it shows, about."""
    if value is None or value != value:  # NaN and NaT are no values
        return 0
    item = getattr(value, "item", None)
    if callable(item) and not isinstance(value, (str, bytes, datetime)):
        value = item()  # numpy's numbers are Python's
    if isinstance(value, bool):
        page.write_boolean(line, column, value)
        return 5
    if isinstance(value, (int, float)) and math.isfinite(value) and abs(value) <= _EXACT:
        page.write_number(line, column, value)
        return min(len(f"{value:g}"), 12)
    if isinstance(value, datetime):
        local = ensure_utc(value).astimezone(zone) if value.tzinfo is not None else value
        page.write_datetime(line, column, local.replace(tzinfo=None), time)
        return 19
    if isinstance(value, date):
        page.write_datetime(line, column, datetime(value.year, value.month, value.day), day)
        return 10
    written = _text(str(value))
    page.write_string(line, column, written)
    return len(written)


def _text(value: str) -> str:
    return _CONTROL.sub("", value)[:_CELL]


def _sheet_name(wanted: str) -> str:
    name = re.sub(r"[\[\]:*?/\\\x00-\x1f]", " ", wanted)
    return " ".join(name.split()).strip("'")[:_SHEET].strip("' ") or "Data"
