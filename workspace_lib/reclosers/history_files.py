"""Kept lists of events: answers to ``CHI`` and ``HIS`` as files.

A session asks again for a list that arrived damaged; a file is what there is. Rows that cannot be
believed are issues, and the others are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from workspace_lib.errors import FormatError, FrameError
from workspace_lib.formats import Issue, Record
from workspace_lib.reclosers import cascii
from workspace_lib.reclosers.clock_quality import time_doubts
from workspace_lib.reclosers.history import (
    EMPTY,
    HistoryEntry,
    entry_of_fields,
    entry_of_row,
    his_rows,
    is_chi_heading,
    is_heading,
)
from workspace_lib.reclosers.record import Checksums
from workspace_lib.reclosers.report import DateOrder, Head, find_head, text_lines

#: In which order dates are tried.
_ORDERS: Final[tuple[DateOrder, ...]] = ("MDY", "YMD", "DMY")
#: Lines of a file that are looked at to know it.
_LOOKED_AT: Final = 20


@dataclass(frozen=True)
class History:
    """A list of events, newest first: by which command it came, and who made it, if it says so."""

    command: Literal["CHI", "HIS"]
    entries: tuple[HistoryEntry, ...]
    head: Head | None = None
    fid: str = ""
    checksums: Checksums = field(default_factory=Checksums)


def read_history(path: Path) -> Record:
    """Read a kept list of events; see `parse_history`."""
    return parse_history(path.read_bytes(), path.name)


def parse_history(content: bytes, name: str = "", order: DateOrder | None = None) -> Record:
    """Parse an answer to ``CHI`` or ``HIS``; ``data`` is a `History`.

    Parameters
    ----------
    order : {"MDY", "YMD", "DMY"}, optional
        The relay's setting DATE_F, for ``HIS``; else the first one in which all dates exist.

    Raises
    ------
    FormatError
        If it is no such list.
    """
    issues: list[Issue] = []
    lines = text_lines(content)
    history = _chi(content, issues) or _his(lines, order, issues)
    if history is None:
        if not any(EMPTY in line for line in lines):
            raise FormatError(
                "This is no list of events.",
                where=name or None,
                fix="Ask the relay again with CHI or HIS.",
            )
        history = History("HIS", (), find_head(lines))
    _doubts(history, issues)
    times = sorted(entry.time for entry in history.entries)
    head = history.head
    meta = {
        "identity": (head.relay if head else "") or history.fid or None,
        "rows": len(history.entries),
        "first_time": str(times[0]) if times else None,
        "last_time": str(times[-1]) if times else None,
        "timezone": {"name": None, "from": "none"},
    }
    return Record(history, meta, tuple(issues))


def _chi(content: bytes, issues: list[Issue]) -> History | None:
    found = list(cascii.lines(content))
    names: list[str] | None = None
    entries: list[HistoryEntry] = []
    fid = ""
    for line in found:
        where = f"line {line.number}"
        text = line.text[max(0, line.text.find('"')) :] if line.number == 1 else line.text
        fields = cascii.split_fields(text)
        if names is None:
            if is_chi_heading(fields):
                names = fields
            elif fields[0].startswith("FID="):
                fid = fields[0].removeprefix("FID=")
            continue
        if line.good is None:  # the prompt behind it
            continue
        if not line.good:
            said = "The checksum of the line is wrong; its event is left out."
            issues.append(Issue("checksum", "error", where, said))
            continue
        try:
            entries.append(entry_of_fields(names, line))
        except FrameError as error:
            issues.append(Issue("bad_row", "error", where, error.what))
    if names is None:
        return None
    good, bad = (sum(line.good is one for line in found) for one in (True, False))
    return History("CHI", tuple(entries), None, fid, Checksums(good, bad))


def _his(lines: list[str], order: DateOrder | None, issues: list[Issue]) -> History | None:
    rows = his_rows(lines)
    if rows is None:
        return None
    columns, places = rows
    best: tuple[list[HistoryEntry], list[Issue], DateOrder] | None = None
    for one in _ORDERS if order is None else (order,):
        entries: list[HistoryEntry] = []
        refused: list[Issue] = []
        for place in places:
            try:
                entries.append(entry_of_row(columns, lines[place], one))
            except FrameError as error:
                refused.append(Issue("bad_row", "error", f"line {place + 1}", error.what))
        if best is None or len(refused) < len(best[1]):
            best = entries, refused, one
    assert best is not None  # there is at least one order
    if best[2] != (order or _ORDERS[0]):
        said = f"Dates exist in the order {best[2]}: so they were read."
        issues.append(Issue("date_order", "info", "file", said))
    issues += best[1]
    return History("HIS", tuple(best[0]), find_head(lines))


def _doubts(history: History, issues: list[Issue]) -> None:
    doubts = time_doubts([entry.time for entry in history.entries])
    for time in doubts.repeated:
        issues.append(
            Issue("repeated_time", "warning", "file", f"More than one event has the time {time}.")
        )
    for older, newer in doubts.backwards:
        said = f"After the event of {older} came one of {newer}: the clock was set back."
        issues.append(Issue("clock_back", "warning", "file", said))


def sniff_history(name: str, head: bytes) -> bool:
    """Return whether a file is a list of events: by its heading."""
    lines = text_lines(head[:16_384])[:_LOOKED_AT]
    for line in lines:
        quote = line.find('"')
        if quote >= 0 and is_chi_heading(cascii.split_fields(line[quote:])):
            return True
        if is_heading(line) or line.strip() == EMPTY:
            return True
    return False


def describe_history(record: Record) -> Mapping[str, Any]:
    """Return what is told of a list of events beside the keys of all kinds."""
    found: History = record.data
    return {
        "command": found.command,
        "station": found.head.terminal if found.head else None,
        "device": found.head.relay if found.head else None,
        "events": [
            {
                "number": entry.number,
                "time": str(entry.time),
                "event": entry.event,
                "location": entry.location,
                "current": entry.current,
                "shot": entry.shot or None,
                "targets": entry.targets or None,
                "reference": entry.reference or None,
            }
            for entry in found.entries
        ],
        "checksums": {"good": found.checksums.good, "bad": found.checksums.bad},
    }
