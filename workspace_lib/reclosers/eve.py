"""The reader of event reports as text (``EVE``): the table people read, as an `EventRecord`.

Values are instantaneous ones scaled to RMS (divided by √2), as in a CEV file. ``>`` marks the row
of the trigger, ``*`` that of the summary's currents and wins where both fall on one row. Outputs
and inputs are written as pairs under a heading of two characters: ``.`` none of the two, the
character of one, or ``b`` for both (SEL-351A manual 12.12); they become bits where that heading is
whole. Columns of protection elements have a code of their own each and are kept as text.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workspace_lib.errors import FormatError, FrameError
from workspace_lib.formats import Issue, Record
from workspace_lib.reclosers.hdr import labelled
from workspace_lib.reclosers.record import (
    NS,
    Analog,
    Bits,
    DeviceTime,
    Digital,
    EventRecord,
    Floats,
    Ints,
    Scale,
)
from workspace_lib.reclosers.report import (
    STAMP,
    DateOrder,
    Head,
    find_head,
    moment,
    nominal_hz,
    parse_settings,
    text_lines,
)

#: More rows than any relay writes; beyond it a text is not a report.
MOST_ROWS: Final = 200_000
_ANALOG = re.compile(r"(?P<name>3?[IV](?P<phase>[A-Z]{0,2})[0-9]?|FREQ|VDC)(\((?P<unit>\w+)\))?")
_PHASES: Final = ("A", "B", "C", "N", "G", "S", "AB", "BC", "CA")
_SIDE = re.compile(r"(Currents?|Voltages?)\s*\((?P<unit>\w+)\s+(?P<side>Pri|Sec)", re.IGNORECASE)
_CYCLE = re.compile(r"\s*\[\s*(\d{1,6})\s*\]\s*")
_NUMBER = re.compile(r"\s*([-+]?\d+(?:\.\d+)?|\$+)")
_FID = re.compile(r"FID\s*=\s*(?P<fid>.*?)(?:\s+CID\s*=\s*(?P<cid>\S+))?\s*")
_SETTINGS = re.compile(
    r"(Group \d|(Group|Global|SELogic|Relay|Port) .*(Settings|Equations)|RID\s*:?=)"
)
_CURRENTS = re.compile(r"\s*Currents?\s*\([^)]*\),\s*(?P<names>[A-Z]+)\s*:(?P<values>.*)")


@dataclass
class _Parts:
    """What was found in a report so far."""

    head: Head | None = None
    fid: str = ""
    cid: str = ""
    names: list[str] = field(default_factory=list)
    #: Heading of the outputs and inputs, read downwards: (group, first, second).
    pairs: list[tuple[str, str, str]] = field(default_factory=list)
    #: Unit and side (P or S) of currents (I) and voltages (V).
    sides: dict[str, tuple[str, Scale]] = field(default_factory=dict)
    rows: list[list[float]] = field(default_factory=list)
    cycles: list[int] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    digital: list[str] = field(default_factory=list)
    elements: list[str] = field(default_factory=list)
    summary: list[str] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)

    def note(self, code: str, severity: Any, where: str, message: str) -> None:
        self.issues.append(Issue(code, severity, where, message))


def read_eve(path: Path) -> Record:
    """Read a kept event report; see `parse_eve`."""
    return parse_eve(path.read_bytes(), path.name)


def parse_eve(content: bytes, name: str = "", order: DateOrder | None = None) -> Record:
    """Parse an event report.

    Parameters
    ----------
    order : {"MDY", "YMD", "DMY"}, optional
        The relay's setting DATE_F; else that of the report's settings, else MDY.

    Returns
    -------
    Record
        ``data`` is an `EventRecord` whose ``peak_factor`` is √2; ``meta`` holds ``digital_text``
        (outputs and inputs of each row), ``elements_text`` and ``settings_text``.

    Raises
    ------
    FormatError
        If it holds no row of samples.
    """
    parts = _sort(text_lines(content), name)
    if not parts.rows:
        raise FormatError(
            "There are no samples in this event report.",
            where=name or None,
            fix="Ask for the report again; a transmission may have been cut off.",
        )
    event = _event(parts, order)
    meta = {
        "identity": event.device or None,
        "rows": event.samples,
        "first_time": str(event.start) if event.start else None,
        "last_time": str(event.start.later(int(event.t_ns[-1]))) if event.start else None,
        "fid": parts.fid or None,
        "digital_text": tuple(parts.digital),
        "elements_text": "\n".join(parts.elements),
        "settings_text": "\n".join(parts.settings),
    }
    return Record(event, meta, tuple(parts.issues))


def _sort(lines: Sequence[str], name: str) -> _Parts:
    """Say of each line what it is: head, heading, samples, elements, summary, settings."""
    parts = _Parts(head=find_head(lines))
    section = parts.summary
    heading: list[str] = []
    cycle = 0
    for number, line in enumerate(lines, 1):
        if section is parts.settings or _SETTINGS.match(line):
            section = parts.settings
            section.append(line)
        elif parts.rows and line.lstrip().startswith("Event:"):
            section = parts.summary
            section.append(line)
        elif match := _CYCLE.fullmatch(line):
            cycle = int(match[1])
        elif not parts.names:
            _heading(parts, line, heading)
        elif section is parts.summary and parts.summary:
            section.append(line)
        elif section is parts.elements or (parts.rows and _elements(line)):
            section = parts.elements
            section.append(line)
        elif line.strip():
            _row(parts, line, number, cycle)
            if len(parts.rows) > MOST_ROWS:
                raise FormatError(
                    f"There are more than {MOST_ROWS} rows.",
                    where=f"{name}:{number}" if name else f"line {number}",
                    fix="This is no event of a relay.",
                )
    return parts


def _heading(parts: _Parts, line: str, before: list[str]) -> None:
    """Take a line above the samples; the last of them names the columns."""
    if match := _FID.fullmatch(line):
        parts.fid, parts.cid = match["fid"].strip(), match["cid"] or ""
    for match in _SIDE.finditer(line):
        side: Scale = "P" if match["side"].upper() == "PRI" else "S"
        unit = "A" if match["unit"].upper().startswith("A") else match["unit"]
        parts.sides[match[1][0].upper().replace("C", "I")] = unit, side
    words = line.split()
    count = 0
    while count < len(words) and _ANALOG.fullmatch(words[count].upper()):
        count += 1
    if count < 2:
        before.append(line)
        return
    parts.names = words[:count]
    parts.pairs = _pairs(words[count:], before)


def _pairs(lower: Sequence[str], before: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return outputs and inputs by their heading, which is written downwards in two lines."""
    groups = re.findall(r"\b(?:Out|In)\b", " ".join(before[-2:]))
    upper = before[-1].split()[-len(lower) :] if before and lower else []
    if len(groups) != len(lower) or [len(one) for one in upper] != [len(one) for one in lower]:
        return []
    return [
        (group, first, second)
        for group, above, below in zip(groups, upper, lower, strict=True)
        for first, second in zip(above, below, strict=True)
    ]


def _elements(line: str) -> bool:
    """Return whether a line after the samples begins the table of protection elements."""
    return not _NUMBER.match(line) and not line.lstrip().startswith("[")


def _row(parts: _Parts, line: str, number: int, cycle: int) -> None:
    values: list[float] = []
    place = 0
    while len(values) < len(parts.names) and (match := _NUMBER.match(line, place)):
        values.append(math.nan if match[1].startswith("$") else float(match[1]))
        place = match.end()
    if len(values) < len(parts.names):
        where = f"line {number}"
        if line.lstrip().startswith("["):
            parts.note("left_out", "warning", where, line.strip()[:80])
            return
        if not values:
            parts.note("unknown_line", "warning", where, f"Not understood: {line.strip()[:60]!r}.")
            return
        said = f"{len(values)} of {len(parts.names)} values; the row counts as missing."
        parts.note("short_row", "error", where, said)
        values, place = [math.nan] * len(parts.names), len(line)
    rest = line[place:].strip()
    mark = rest[:1] if rest[:1] in (">", "*") else ""
    parts.rows.append(values)
    parts.cycles.append(cycle)
    parts.marks.append(mark)
    parts.digital.append(rest[len(mark) :].strip())


def _event(parts: _Parts, order: DateOrder | None) -> EventRecord:
    values = np.array(parts.rows, dtype=np.float64)
    settings = parse_settings("\n".join(parts.settings))
    summary = _summary(parts.summary)
    frequency = _nominal(parts, values, settings.get("NFREQ") or settings.get("FNOM"))
    places, per_cycle = _places(parts)
    rate = frequency * per_cycle
    t_ns: Ints = np.rint(places * (NS / rate)).astype(np.int64)
    trigger = _trigger_time(parts, order or _order(settings.get("DATE_F", "")))
    row = next((parts.marks.index(one) for one in (">", "*") if one in parts.marks), None)
    if row is None:
        parts.note("no_trigger", "warning", "samples", "No row is marked as trigger.")
    gaps = bool(np.any(np.diff(places) != 1))
    names, bits = _bits(parts)
    return EventRecord(
        station=settings.get("TID", "") or (parts.head.terminal if parts.head else ""),
        device=settings.get("RID", "") or (parts.head.relay if parts.head else ""),
        format="eve",
        revision="",
        data_type="ASCII",
        frequency_hz=frequency,
        start=DeviceTime(trigger.ns - int(t_ns[row])) if trigger and row is not None else None,
        trigger=trigger,
        t_ns=t_ns,
        analog=tuple(_channel(one, parts) for one in parts.names),
        digital=tuple(Digital(one) for one in names),
        values=values,
        bits=bits,
        rates=((0.0 if gaps else rate, len(values)),),
        settings=settings,
        summary=summary,
        peak_factor=math.sqrt(2.0),
    )


def _nominal(parts: _Parts, values: Floats, told: str | None) -> float:
    names = [one.upper() for one in parts.names]
    measured = values[:, names.index("FREQ")] if "FREQ" in names else np.empty(0)
    known = measured[measured > 0]
    found = nominal_hz((told,), float(np.median(known)) if len(known) else None)
    if found is None:
        parts.note("frequency_assumed", "warning", "file", "No frequency is given: 60 Hz taken.")
    return found or 60.0


def _places(parts: _Parts) -> tuple[NDArray[np.int64], int]:
    """Return the place of each row in samples after the first, and the samples of a cycle.

    Rows are counted from the marker ``[n]`` of their cycle, so that cycles left out leave a gap.
    """
    counts = Counter(parts.cycles)
    per_cycle = Counter(counts.values()).most_common(1)[0][0]
    if len(counts) == 1:
        per_cycle = 4
        parts.note("per_cycle_assumed", "warning", "file", "Cycles are not marked: 4 rows taken.")
    places: list[int] = []
    first, marked, since = parts.cycles[0], parts.cycles[0], 0
    for cycle in parts.cycles:
        if cycle != marked:
            marked, since = cycle, 0
        wanted = (cycle - first) * per_cycle + since
        since += 1
        places.append(wanted if not places or wanted > places[-1] else places[-1] + 1)
    found = np.array(places, dtype=np.int64)
    if np.any(missing := np.diff(found) - 1):
        said = f"{int(missing.sum())} samples are missing between others."
        parts.note("cut", "error", "samples", said)
    return found, per_cycle


def _order(setting: str) -> DateOrder:
    return "YMD" if setting.strip() == "YMD" else "DMY" if setting.strip() == "DMY" else "MDY"


def _trigger_time(parts: _Parts, order: DateOrder) -> DeviceTime | None:
    stamp = STAMP.match(parts.head.stamp) if parts.head else None
    if stamp is not None:
        try:
            return moment(stamp, order)
        except FrameError as error:
            said = f"The time of the event is not known ({error})."
            parts.note("bad_time", "error", "header", said)
            return None
    parts.note("bad_time", "error", "header", "The report has no time.")
    return None


def _channel(name: str, parts: _Parts) -> Analog:
    match = _ANALOG.fullmatch(name.upper())
    assert match is not None  # the heading took only such names
    short = match["name"]
    unit, side = parts.sides.get(short.lstrip("3")[0], ("A" if "I" in short else "", None))
    if short in ("FREQ", "VDC"):
        unit, side = "Hz" if short == "FREQ" else "V", None
    phase = match["phase"] if match["phase"] in _PHASES else ""
    named = re.search(r"\((\w+)\)", name)
    return Analog(short, named[1] if named else unit, phase, "", side)


def _bits(parts: _Parts) -> tuple[list[str], Bits]:
    """Return names and states of outputs and inputs; a row that is not whole keeps those before."""
    names = [f"{group}{one}" for group, *both in parts.pairs for one in both if one.strip()]
    width = len(parts.pairs)
    if not width or len(set(names)) != 2 * width:
        return [], np.zeros((len(parts.rows), 0), dtype=np.bool_)
    states = np.zeros((len(parts.rows), 2 * width), dtype=np.bool_)
    for row, text in enumerate(parts.digital):
        shown = "".join(text.split())
        whole = len(shown) == width and all(
            one in f".b{first}{second}"
            for one, (_, first, second) in zip(shown, parts.pairs, strict=True)
        )
        if whole:
            for column, (one, (_, first, second)) in enumerate(
                zip(shown, parts.pairs, strict=True)
            ):
                states[row, 2 * column : 2 * column + 2] = one in ("b", first), one in ("b", second)
        else:
            said = f"{text[:20]!r} are no states of {width} pairs: held."
            parts.note("bad_bits", "warning", f"row {row + 1}", said)
            states[row] = states[row - 1] if row else False
    return names, states


def _summary(lines: Sequence[str]) -> dict[str, Any]:
    """Return what the relay says of the event: labels by their CEV names, currents by channel."""
    found = labelled(lines)
    summary: dict[str, Any] = {}
    for label, key in (("Event", "EVENT"), ("Targets", "TARGETS"), ("Group", "GROUP")):
        if label in found:
            summary[key] = found[label] or None
    for label, key in (("Location", "LOCATION"), ("Shot", "SHOT"), ("Frequency", "FREQ")):
        if label in found:
            number = re.fullmatch(r"[-+]?\d+(\.\d+)?", found[label])
            summary[key] = float(found[label]) if number else None
    for line in lines:
        if match := _CURRENTS.match(line):
            values = re.findall(r"[-+]?\d+(?:\.\d+)?", match["values"])
            for letter, value in zip(match["names"], values, strict=False):
                summary["3I2" if letter == "Q" else f"I{letter}"] = float(value)
    return summary


def sniff_eve(name: str, head: bytes) -> bool:
    """Return whether a file is an event report as text: head, names of columns, a first cycle."""
    lines = text_lines(head[:16_384])
    top = find_head(lines[:40])
    if top is None:
        return False
    rest = lines[top.line : top.line + 60]
    names = any(
        sum(_ANALOG.fullmatch(word.upper()) is not None for word in line.split()) >= 2
        for line in rest
    )
    return names and any(_CYCLE.fullmatch(line) for line in rest)
