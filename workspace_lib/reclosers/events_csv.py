"""``Events.csv`` of each recloser in the archive's folder: its events as a table for people.

The columns are those of the relay's own list (``HIS``), then what became of each event and its
files. Newest first, UTF-8 with a mark that spreadsheets know, commas, CR LF; dates as
``2026-08-02``, which no country reads in two ways. What a spreadsheet would take for a formula has
an apostrophe before it. The file is made from the store and is never read back by the capture.

`parse_events_csv` reads it for the import, and what others wrote in its place: columns by the names
that relays and people give them, in any order; commas, semicolons or tabs; dates in any order that
fits all rows; without a heading, the columns of ``HIS``.
"""

from __future__ import annotations

import codecs
import csv
import io
import logging
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, select

from workspace_lib.errors import FormatError, FrameError
from workspace_lib.files import atomic_write
from workspace_lib.formats import Issue
from workspace_lib.reclosers.archive import Archive
from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.record import DeviceTime
from workspace_lib.reclosers.report import STAMP, DateOrder, moment
from workspace_lib.reclosers.settings import Recloser
from workspace_lib.reclosers.tables import recloser_events, recloser_files
from workspace_lib.store.engines import Store, read

log = logging.getLogger("workspace_lib.reclosers.events_csv")

NAME: Final = "Events.csv"
COLUMNS: Final = (
    "#", "DATE", "TIME", "EVENT", "LOCAT", "CURR", "FREQ", "GRP", "SHOT", "TARGETS",
    "STATE", "FILES",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
#: What columns are called elsewhere, without accents and blanks, by what they are here.
_NAMES: Final[Mapping[str, str]] = {
    other: name
    for name, others in {
        "number": "# NO NUM NUMBER NUMERO REC_NUM",
        "reference": "REF REF_NUM REFERENCE EVE_ID",
        "date": "DATE JOUR",
        "time": "TIME HEURE",
        "stamp": "DATETIME DATE/TIME DATEHEURE DATE_HEURE DATE_TIME HORODATAGE TIMESTAMP",
        "event": "EVENT EVENEMENT EVT TYPE EVENTTYPE EVENT_TYPE",
        "location": "LOCAT LOCATION LOCALISATION DISTANCE",
        "current": "CURR CURRENT COURANT",
        "frequency": "FREQ FREQUENCY FREQUENCE",
        "group": "GRP GROUP GROUPE",
        "shot": "SHOT",
        "targets": "TARGETS TARGET CIBLES",
        "state": "STATE ETAT",
        "recloser": "RECLOSER LCLCL DJ DISJONCTEUR",
    }.items()
    for other in others.split()
}
_HIS: Final = (
    "number", "date", "time", "event", "location", "current", "frequency", "group", "shot",
    "targets",
)  # fmt: skip
_DELIMITERS: Final = (",", ";", "\t")
_DATE = re.compile(r"\d{1,4}[/.-]\d{1,2}[/.-]\d{1,4}")
_NO_FORMULA = re.compile(r"'(?=[=+\-@])")


def write_events_csv(store: Store, archive: Archive, recloser: Recloser) -> bool:
    """Write ``Events.csv`` of a recloser anew, if it is to change; return whether it was written.

    A file that somebody keeps open (a spreadsheet on Windows) stays as it is and is written with
    the next change: it is a copy of what the store knows.
    """
    events = recloser_events.c
    files = recloser_files.c
    with read(store.data) as connection:
        rows = connection.execute(
            select(recloser_events)
            .where(events.recloser == recloser.id)
            .order_by(events.device_us.desc(), events.event)
        ).all()
        names = connection.execute(
            select(files.event_id, files.path)
            .join(recloser_events, events.event_id == files.event_id)
            .where(events.recloser == recloser.id, files.state == "kept")
            .order_by(files.file_id)
        ).all()
    by_event: dict[int, list[str]] = {}
    for number, path in names:
        by_event.setdefault(number, []).append("/".join(path.split("/")[-2:]))
    content = format_events(rows, by_event)
    path = archive.root / archive.folder(recloser) / NAME
    try:
        if path.exists() and path.read_bytes() == content:
            return False
        atomic_write(path, content)
    except OSError as error:
        log.warning("%s is not written now: %s", path, error)
        return False
    return True


def format_events(rows: Sequence[Row[Any]], files: dict[int, list[str]]) -> bytes:
    """Return events as the content of ``Events.csv``; ``files`` by event, below its folder."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for number, row in enumerate(rows, 1):
        date, _, time = str(DeviceTime(row.device_us * 1000, 3)).partition("T")
        told = (
            row.event, row.location, row.current_a, row.frequency_hz,
            row.setting_group, row.shot, row.targets, row.state,
        )  # fmt: skip
        writer.writerow((number, date, time, *_cells(told), "; ".join(files.get(row.event_id, []))))
    return b"\xef\xbb\xbf" + stream.getvalue().encode()


def _cells(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, str) and value.startswith(_FORMULA):
            yield f"'{value}"
        elif isinstance(value, float):
            yield f"{value:.6f}".rstrip("0").rstrip(".")
        else:
            yield "" if value is None else value


@dataclass(frozen=True)
class ListedEvent:
    """One event of a list: ``recloser`` as the list names it, empty where it does not."""

    entry: HistoryEntry
    line: int
    recloser: str = ""
    state: str = ""


def parse_events_csv(
    content: bytes, order: DateOrder = "MDY", name: str = ""
) -> tuple[list[ListedEvent], list[Issue]]:
    """Return the events of a table, and the rows that are none.

    Parameters
    ----------
    order : {"MDY", "YMD", "DMY"}
        How dates are written that can be read in more than one way.

    Raises
    ------
    FormatError
        If it is no table of events.
    """
    rows, names, first = _table(_text(content), name)
    at = {column: place for place, column in enumerate(names) if column}
    listed: list[ListedEvent] = []
    issues: list[Issue] = []
    dated = [_stamp(row, at) for _, row in rows[first:]]
    order = _fitting(dated, order)
    for (line, row), stamp in zip(rows[first:], dated, strict=True):
        match = STAMP.fullmatch(stamp)
        if match is None:
            said = f"The row has no date and time: {stamp[:40]!r}."
            issues.append(Issue("bad_time", "error", f"line {line}", said))
            continue
        if match[7] is None:
            said = f"{stamp!r} has no milliseconds, so the event cannot be told from others."
            issues.append(Issue("no_milliseconds", "error", f"line {line}", said))
            continue
        try:
            time = moment(match, order)
        except FrameError as error:
            issues.append(Issue("bad_time", "error", f"line {line}", error.what))
            continue
        told = {column: _cell(row, at.get(column)) for column in _NAMES.values()}
        entry = HistoryEntry(
            number=int(told["number"]) if told["number"].isdecimal() else 0,
            time=time,
            event=told["event"],
            location=_number(told["location"]),
            current=_number(told["current"]),
            frequency=_number(told["frequency"]),
            group=told["group"],
            shot=told["shot"],
            targets=told["targets"],
            reference=told["reference"],
        )
        listed.append(ListedEvent(entry, line, told["recloser"], told["state"].lower()))
    return listed, issues


def looks_like_events(head: bytes) -> bool:
    """Return whether the beginning of a file is that of a table of events."""
    try:
        _table(_text(head), "")
    except FormatError:
        return False
    return True


def _text(content: bytes) -> str:
    """Return a table as text: as its first bytes say, else UTF-8, else what Windows writes."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _table(text: str, name: str) -> tuple[list[tuple[int, list[str]]], Sequence[str], int]:
    """Return the rows with their lines, names of the columns, and how many rows are heading."""
    for delimiter in _DELIMITERS:
        try:
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
            rows = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
        except csv.Error:
            continue
        for place, (_, row) in enumerate(rows[:10]):
            names = [_NAMES.get(_plain(cell), "") for cell in row]
            if "event" in names and ("stamp" in names or {"date", "time"} <= set(names)):
                return rows, names, place + 1
        if rows and len(rows[0][1]) >= 4 and _DATE.fullmatch(rows[0][1][1].strip()):
            return rows, _HIS, 0
    raise FormatError(
        "This is no table of events.",
        where=name or None,
        fix="Its heading has to name DATE, TIME and EVENT.",
    )


def _stamp(row: Sequence[str], at: Mapping[str, int]) -> str:
    """Return date and time of a row as relays write them, with a point before milliseconds."""
    if "date" in at and "time" in at:
        date, time = _cell(row, at["date"]), _cell(row, at["time"])
    else:
        date, _, time = _cell(row, at["stamp"]).replace("T", " ").partition(" ")
    return f"{date.replace('.', '/')} {time.strip().replace(',', '.')}"


def _fitting(stamps: Sequence[str], order: DateOrder) -> DateOrder:
    """Return the order of dates that fits most rows, the given one if it is among the best."""

    def fits(candidate: DateOrder) -> int:
        return sum(_is_moment(stamp, candidate) for stamp in stamps)

    others: tuple[DateOrder, ...] = ("MDY", "DMY", "YMD")
    return max((order, *others), key=fits)


def _is_moment(stamp: str, order: DateOrder) -> bool:
    match = STAMP.fullmatch(stamp)
    if match is None:
        return False
    try:
        moment(match, order)
    except FrameError:
        return False
    # A year of one digit, or a day of four, is another part of the date.
    parts = zip(match.groups()[:3], order, strict=True)
    return all((len(part) > 2) <= (letter == "Y") for part, letter in parts)


def _cell(row: Sequence[str], place: int | None) -> str:
    text = row[place].strip() if place is not None and place < len(row) else ""
    return _NO_FORMULA.sub("", text, count=1) if text.startswith("'") else text


def _number(text: str) -> float | None:
    """Return a number, also with a comma; ``$$$$`` is what the relay could not find."""
    try:
        return float(text.replace(",", ".")) if text else None
    except ValueError:
        return None


def _plain(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text).upper()
    return "".join(one for one in letters if one in "#/_" or (one.isascii() and one.isalnum()))
