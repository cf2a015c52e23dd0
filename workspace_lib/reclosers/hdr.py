"""The header file (HDR) beside a relay's COMTRADE record: the relay's own summary of the event.

SEL relays write the text of their command ``SUM``: a table of fixed width whose numbers may touch
(``19.31-100.44``). Headers of other makers (XML, INI) are kept as text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from workspace_lib.errors import FrameError
from workspace_lib.formats import Issue, Record
from workspace_lib.reclosers.comtrade_config import decode
from workspace_lib.reclosers.record import NS, DeviceTime
from workspace_lib.reclosers.report import STAMP, DateOrder, find_head, moment, text_lines

_LABELS: Final = (
    "Event", "Location", "Trip Time", "#", "Shot", "Frequency", "Freq", "Group", "Close Time",
    "Targets", "Breaker",
)  # fmt: skip
_LABEL = re.compile(r"(?:^|(?<=\s))(" + "|".join(map(re.escape, _LABELS)) + r"):")
_TABLE = re.compile(r"\s*(PreFault|Pre-Fault|Fault):(?P<names>.*)", re.IGNORECASE)
_MAGNITUDES = re.compile(r"\s*MAG\s*\([^)]*\)")
_ANGLES = re.compile(r"\s*ANG\s*\([^)]*\)")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?|\$+")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})(?:\.(\d{1,3}))?")
_DAY = 86_400 * NS


@dataclass(frozen=True)
class Measured:
    """A phasor as the relay gives it: magnitude [A or kV primary, RMS], angle [°]; None unknown."""

    magnitude: float | None
    angle_deg: float | None


@dataclass(frozen=True)
class EventSummary:
    """What the relay says of an event; what it does not know is None or empty.

    ``location`` in the relay's unit of length, ``frequency`` [Hz]; ``prefault`` and ``fault`` by
    channel (IA … IG, 3I2, VA …).
    """

    relay: str = ""
    terminal: str = ""
    time: DeviceTime | None = None
    event: str = ""
    location: float | None = None
    number: int | None = None
    shot: str = ""
    frequency: float | None = None
    group: str = ""
    targets: str = ""
    breaker: str = ""
    trip_time: DeviceTime | None = None
    close_time: DeviceTime | None = None
    prefault: Mapping[str, Measured] = field(default_factory=dict)
    fault: Mapping[str, Measured] = field(default_factory=dict)


@dataclass(frozen=True)
class Header:
    """A header file: its ``text``, what it is (``sel``, ``xml``, ``text``), a summary if SEL's."""

    text: str
    form: str
    summary: EventSummary | None = None


def read_hdr(path: Path) -> Record:
    """Read a header file; see `parse_hdr`."""
    return parse_hdr(path.read_bytes())


def parse_hdr(content: bytes, order: DateOrder = "MDY") -> Record:
    """Parse a header; ``data`` is a `Header`. Nothing in it makes it unreadable.

    ``order`` is the relay's setting DATE_F.
    """
    text, _ = decode(content)
    lines = text_lines(content)
    if not is_summary(lines):
        form = "xml" if text.lstrip("\ufeff \t\r\n").startswith("<") else "text"
        return Record(Header(text, form), {"rows": len(lines)})
    issues: list[Issue] = []
    summary = _summary(lines, order, issues)
    when = str(summary.time) if summary.time else None
    meta = {
        "identity": summary.relay or None,
        "rows": len(lines),
        "first_time": when,
        "last_time": when,
    }
    return Record(Header(text, "sel", summary), meta, tuple(issues))


def is_summary(lines: Sequence[str]) -> bool:
    """Return whether lines are a summary of a SEL relay: a head, and its labels or its table."""
    found = {match[1] for line in lines for match in _LABEL.finditer(line)}
    return find_head(lines[:20]) is not None and {"Event", "Targets"} <= found


def _summary(lines: Sequence[str], order: DateOrder, issues: list[Issue]) -> EventSummary:
    head = find_head(lines)
    assert head is not None  # is_summary
    when = None
    try:
        if stamp := STAMP.match(head.stamp):
            when = moment(stamp, order)
    except FrameError as error:
        issues.append(Issue("bad_time", "error", f"line {head.line + 1}", str(error)))
    values = labelled(lines[head.line + 1 :])
    tables = _tables(lines, issues)
    number = values.get("#", "")
    return EventSummary(
        relay=head.relay,
        terminal=head.terminal,
        time=when,
        event=values.get("Event", ""),
        location=_number(values.get("Location", "")),
        number=int(number) if number.isdecimal() else None,
        shot=values.get("Shot", ""),
        frequency=_number(values.get("Freq", values.get("Frequency", ""))),
        group=values.get("Group", ""),
        targets=values.get("Targets", ""),
        breaker=values.get("Breaker", ""),
        trip_time=_near(values.get("Trip Time", ""), when),
        close_time=_near(values.get("Close Time", ""), when),
        prefault=tables.get("prefault", {}),
        fault=tables.get("fault", {}),
    )


def labelled(lines: Sequence[str]) -> dict[str, str]:
    """Return what stands behind each label of a summary, up to the next one of its line."""
    values: dict[str, str] = {}
    for line in lines:
        found = list(_LABEL.finditer(line))
        ends = [*(match.start() for match in found[1:]), len(line)]
        for match, end in zip(found, ends[: len(found)], strict=True):
            values.setdefault(match[1], line[match.end() : end].strip())
    return values


def _tables(lines: Sequence[str], issues: list[Issue]) -> dict[str, dict[str, Measured]]:
    """Return the phasors of both tables; the second one has the names of the first."""
    tables: dict[str, dict[str, Measured]] = {}
    names: list[str] = []
    ends: list[int] = []
    table = ""
    magnitudes: list[float | None] = []
    for number, line in enumerate(lines, 1):
        if match := _TABLE.match(line):
            table = match[1].lower().replace("-", "")
            magnitudes = []
            if found := list(re.compile(r"\S+").finditer(line, match.start("names"))):
                names, ends = [one[0] for one in found], [one.end() for one in found]
        elif table and ends and (label := _MAGNITUDES.match(line)):
            magnitudes = _cells(line, label.end(), ends, number, issues)
        elif table and magnitudes and (label := _ANGLES.match(line)):
            angles = _cells(line, label.end(), ends, number, issues)
            cells = zip(names, magnitudes, angles, strict=True)
            tables[table] = {name: Measured(size, angle) for name, size, angle in cells}
            table = ""
    return tables


def _cells(
    line: str, start: int, ends: Sequence[int], number: int, issues: list[Issue]
) -> list[float | None]:
    """Return a row's numbers: one after the other, or by the columns where some are blank."""
    words = _NUMBER.findall(line, start)
    if len(words) != len(ends):
        starts = [start, *ends[:-1]]
        words = [line[a:b].strip() for a, b in zip(starts, ends, strict=True)]
        said = f"There are not {len(ends)} numbers in {len(ends)} columns; they are taken by place."
        issues.append(Issue("columns", "warning", f"line {number}", said))
    return [_number(word) for word in words]


def _number(text: str) -> float | None:
    """Return a number; ``$$$$`` is what the relay could not find."""
    try:
        return float(text)
    except ValueError:
        return None


def _near(text: str, when: DeviceTime | None) -> DeviceTime | None:
    """Return a time of day as the one nearest to the event; ``--:--:--.---`` is none."""
    match = _CLOCK.fullmatch(text.strip())
    if match is None or when is None:
        return None
    span = timedelta(hours=int(match[1]), minutes=int(match[2]), seconds=int(match[3]))
    ns = int(span.total_seconds()) * NS + int((match[4] or "0").ljust(3, "0")) * 1_000_000
    day = when.ns - when.ns % _DAY
    near = min((day + shift * _DAY + ns for shift in (-1, 0, 1)), key=lambda at: abs(at - when.ns))
    return DeviceTime(near, 3)


def sniff_hdr(name: str, head: bytes) -> bool:
    """Return whether a file is a header: by its ending, or as a summary with its table."""
    if name.lower().endswith(".hdr"):
        return True
    lines = text_lines(head[:4096])
    return is_summary(lines) and any(_MAGNITUDES.match(line) for line in lines)


def describe_hdr(record: Record) -> Mapping[str, Any]:
    """Return what is told of a header beside the keys of all kinds."""
    header: Header = record.data
    found = header.summary
    described: dict[str, Any] = {"form": header.form}
    if found is not None:
        described |= {
            "station": found.terminal or None,
            "device": found.relay or None,
            "event": found.event or None,
            "location": found.location,
            "targets": found.targets,
            "trip_time": str(found.trip_time) if found.trip_time else None,
            "close_time": str(found.close_time) if found.close_time else None,
        }
        for name, table in (("prefault", found.prefault), ("fault", found.fault)):
            described[name] = {
                key: [one.magnitude, one.angle_deg] for key, one in sorted(table.items())
            }
    return described
