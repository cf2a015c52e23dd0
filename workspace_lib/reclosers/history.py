"""The list of events a relay holds: ``CHI`` in compressed ASCII, ``HIS`` as a table for people.

Numbers in it are relative (1 is the newest) and change with every new event, so that an event is
known by its time to the millisecond and its type, never by its number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from workspace_lib.errors import FrameError
from workspace_lib.reclosers import cascii
from workspace_lib.reclosers.record import DeviceTime, device_time
from workspace_lib.reclosers.report import STAMP, DateOrder, full_year, moment

NO_DATA: Final = "No Data Available"
EMPTY: Final = "History Buffer Empty"
#: House names of the columns that relays name differently.
_NAMES: Final[Mapping[str, str]] = {
    "#": "number",
    "REC_NUM": "number",
    "REF": "reference",
    "REF_NUM": "reference",
    "EVE_ID": "reference",
    "EVENT": "event",
    "LOCAT": "location",
    "LOCATION": "location",
    "CURR": "current",
    "CURRENT": "current",
    "FREQ": "frequency",
    "GRP": "group",
    "GROUP": "group",
    "SHOT": "shot",
    "TARGETS": "targets",
}
#: A row: its number, a reference that some relays write after it, and a date.
_ROW = re.compile(r"\s*(\d+)\s+(?:(\d+)\s+)?(?=\d{1,4}[/-])")
_HEADING = re.compile(r"\s*#\s+(?:REF\S*\s+)?DATE\s+TIME\s+EVENT\b", re.IGNORECASE)


@dataclass(frozen=True)
class HistoryEntry:
    """One event of the list; what the relay leaves empty or could not find is None or empty.

    ``number`` is how it is asked for now. ``current`` [A primary], ``location`` in the relay's unit
    of length, ``frequency`` [Hz].
    """

    number: int
    time: DeviceTime
    event: str
    location: float | None = None
    current: float | None = None
    frequency: float | None = None
    group: str = ""
    shot: str = ""
    targets: str = ""
    reference: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What the event is known by: its time to the millisecond, and its type."""
        return str(self.time), self.event


def parse_chi(content: bytes) -> list[HistoryEntry]:
    """Return the entries of a ``CHI`` answer, newest first.

    Raises
    ------
    FrameError
        If a checksum is wrong, or the answer is none; asking again may help.
    """
    found = list(cascii.lines(content))
    damaged = [line.number for line in found if line.good is False]
    if damaged:
        raise FrameError(
            f"The history arrived damaged (line {damaged[0]}).",
            fix="Ask again; if it stays so, look at the line's speed and its cable.",
        )
    for place, line in enumerate(found):
        fields = line.fields
        if fields[0] == NO_DATA:
            return []
        if is_chi_heading(fields):
            return [entry_of_fields(fields, row) for row in found[place + 1 :] if row.good]
    raise FrameError("The answer is no compressed history.", fix="Ask with HIS instead.")


def entry_of_fields(names: Sequence[str], line: cascii.Line) -> HistoryEntry:
    """Return the entry of a line of ``CHI``.

    Raises
    ------
    FrameError
        If it has no time.
    """
    values = dict(zip(names, line.fields, strict=False))
    try:
        year, month, day, hour, minute, second, ms = (
            int(values[key]) for key in ("YEAR", "MONTH", "DAY", "HOUR", "MIN", "SEC", "MSEC")
        )
        when = datetime(full_year(year), month, day, hour, minute, second, ms * 1000)
    except (KeyError, ValueError, OverflowError) as error:
        raise FrameError(
            f"Line {line.number} of the history has no time ({error}).", fix="Ask with HIS instead."
        ) from error
    return _entry(values, device_time(when, digits=3))


def parse_his(text: str, order: DateOrder = "MDY") -> list[HistoryEntry]:
    """Return the entries of a ``HIS`` answer, newest first.

    A value belongs to the heading whose column is nearest, because fields may be blank; where the
    blanks of the table were lost on the way, values are taken in order.

    Parameters
    ----------
    text : str
        The answer, with or without its frame.
    order : {"MDY", "YMD", "DMY"}
        The relay's setting DATE_F.

    Raises
    ------
    FrameError
        If there is no heading of a history.
    """
    lines = text.replace("\x02", "").replace("\x03", "").splitlines()
    rows = his_rows(lines)
    if rows is None:
        if EMPTY in text:
            return []
        raise FrameError("The answer is no history.", fix="Look at the transcript of the session.")
    columns, places = rows
    return [entry_of_row(columns, lines[place], order) for place in places]


Columns = Sequence[tuple[int, str]]


def his_rows(lines: Sequence[str]) -> tuple[Columns, list[int]] | None:
    """Return the columns of a ``HIS`` table and where its rows are; None if there is no table."""
    head = next((n for n, line in enumerate(lines) if _names_columns(line.split())), None)
    if head is None:
        return None
    columns = [(match.start(), match[0]) for match in re.finditer(r"\S+", lines[head])]
    rows = [n for n, line in enumerate(lines[head + 1 :], head + 1) if _ROW.match(line)]
    return columns, rows


def _names_columns(words: Sequence[str]) -> bool:
    """Return whether words have what a row cannot be read without; noise may have changed them."""
    return "DATE" in words and "TIME" in words and "EVENT" in words[words.index("TIME") :]


def is_heading(line: str) -> bool:
    """Return whether a line is the heading of a ``HIS`` table."""
    return _HEADING.match(line) is not None


def is_chi_heading(fields: Sequence[str]) -> bool:
    """Return whether fields are the names of a ``CHI`` answer's columns."""
    return "MONTH" in fields and "EVENT" in fields


def entry_of_row(columns: Columns, line: str, order: DateOrder) -> HistoryEntry:
    """Return the entry of a row of ``HIS``.

    Raises
    ------
    FrameError
        If it has no time in that order of the date.
    """
    time = STAMP.search(line)
    number = _ROW.match(line)
    if time is None or number is None:
        raise FrameError(f"A line of the history has no time: {line.strip()[:60]!r}.")
    values = {"#": number[1], "REF": number[2] or ""}
    place = [name for _, name in columns]
    after = columns[place.index("TIME") + 1 :]
    # Tables keep two blanks between fields; where only one is left, columns mean nothing.
    spread = re.search(r"\S {2,}\S", line) is not None
    words = [
        (match.start(), match[0])
        for match in re.finditer(r"\S+", line)
        if match.start() >= time.end()
    ]
    for order_number, (start, word) in enumerate(words):
        if spread:
            name = min(after, key=lambda column: abs(column[0] - start))[1]
        else:
            name = after[min(order_number, len(after) - 1)][1]
        values[name] = f"{values[name]} {word}" if name in values else word
    return _entry(values, moment(time, order))


def _entry(values: Mapping[str, str], time: DeviceTime) -> HistoryEntry:
    known = {_NAMES[name]: value for name, value in values.items() if name in _NAMES}
    number = known.get("number", "")
    return HistoryEntry(
        number=int(number) if number.isascii() and number.isdecimal() else 0,
        time=time,
        event=known.get("event", ""),
        location=_number(known.get("location")),
        current=_number(known.get("current")),
        frequency=_number(known.get("frequency")),
        group=known.get("group", ""),
        shot=known.get("shot", ""),
        targets=known.get("targets", ""),
        reference=known.get("reference", ""),
    )


def _number(text: str | None) -> float | None:
    """Return a number; ``$$$$`` is what the relay could not find."""
    try:
        return float(text) if text else None
    except ValueError:
        return None
