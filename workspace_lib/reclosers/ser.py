"""Lists of changes of state (``SER``, the sequential events recorder): time, element, state."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from workspace_lib.errors import FormatError, FrameError
from workspace_lib.formats import Issue, Record
from workspace_lib.reclosers.record import DeviceTime
from workspace_lib.reclosers.report import STAMP, DateOrder, Head, find_head, moment, text_lines

#: What a relay answers that has no such rows.
EMPTY: Final = "No SER Data"
_HEADING = re.compile(r"\s*#\s+DATE\s+TIME\s+ELEMENT\s+STATE\b", re.IGNORECASE)
_ROW = re.compile(r"\s*(?P<number>\d+)\s+(?=\d{1,4}[/-])")
_STATES: Final[Mapping[str, bool]] = {"ASSERTED": True, "DEASSERTED": False}


@dataclass(frozen=True)
class StateChange:
    """One change: ``number`` is relative, 1 the newest; ``state`` is the relay's own word.

    A message of the relay itself (newly powered up, settings changed) is an element without state.
    """

    number: int
    time: DeviceTime
    element: str
    state: str = ""

    @property
    def asserted(self) -> bool | None:
        """Whether the element came on; None where the state has a name of the site's own."""
        return _STATES.get(self.state.upper())


@dataclass(frozen=True)
class StateChanges:
    """Changes in the order of the list, and who made it."""

    head: Head | None
    changes: tuple[StateChange, ...]


def read_ser(path: Path) -> Record:
    """Read a kept answer to ``SER``; see `parse_ser`."""
    return parse_ser(path.read_bytes(), path.name)


def parse_ser(content: bytes, name: str = "", order: DateOrder = "MDY") -> Record:
    """Parse an answer to ``SER``; ``data`` is `StateChanges`, ``order`` the relay's DATE_F.

    Raises
    ------
    FormatError
        If there is no heading of such a list.
    """
    lines = text_lines(content)
    heading = next((n for n, line in enumerate(lines) if _HEADING.match(line)), None)
    if heading is None and not any(EMPTY in line for line in lines):
        raise FormatError(
            "This is no list of changes of state.",
            where=name or None,
            fix="Ask the relay again with SER.",
        )
    changes: list[StateChange] = []
    issues: list[Issue] = []
    for number, line in enumerate(lines[(heading or 0) + 1 :], (heading or 0) + 2):
        row = _ROW.match(line)
        stamp = STAMP.match(line, row.end()) if row else None
        if row is None or stamp is None:
            if row:
                issues.append(_unknown(number, f"Not understood: {line.strip()[:60]!r}."))
            continue
        try:
            when = moment(stamp, order)
        except FrameError as error:
            issues.append(_unknown(number, str(error)))
            continue
        element, state = _split(line[stamp.end() :])
        changes.append(StateChange(int(row["number"]), when, element, state))
    head = find_head(lines[: heading or 0])
    times = sorted(change.time for change in changes)
    meta = {
        "identity": head.relay if head else None,
        "rows": len(changes),
        "first_time": str(times[0]) if times else None,
        "last_time": str(times[-1]) if times else None,
    }
    return Record(StateChanges(head, tuple(changes)), meta, tuple(issues))


def _unknown(number: int, message: str) -> Issue:
    return Issue("bad_row", "warning", f"line {number}", message)


def _split(text: str) -> tuple[str, str]:
    """Return element and state; a message of several words is all element."""
    words = re.split(r"\s{2,}", text.strip(), maxsplit=1)
    if len(words) == 2:
        return words[0], words[1]
    head, _, tail = text.strip().rpartition(" ")
    if head and (tail.upper() in _STATES or " " not in head.strip()):
        return head.strip(), tail
    return text.strip(), ""


def sniff_ser(name: str, head: bytes) -> bool:
    """Return whether a file is an answer to ``SER``: by its heading."""
    lines = text_lines(head[:4096])
    return any(_HEADING.match(line) or line.strip() == EMPTY for line in lines[:20])


def describe_ser(record: Record) -> Mapping[str, Any]:
    """Return what is told of a list of changes beside the keys of all kinds."""
    found: StateChanges = record.data
    return {
        "station": found.head.terminal if found.head else None,
        "device": found.head.relay if found.head else None,
        "elements": sorted({change.element for change in found.changes}),
    }
