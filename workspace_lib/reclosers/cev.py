"""The reader of CEV files, the events of SEL relays in compressed ASCII (SEL-351A appendix E).

Values are instantaneous ones scaled to RMS (divided by √2), primary unless the file says
otherwise. The header's time is that of the row marked ``>``, or of the row marked ``*`` in a file
without it, because ``*`` replaces ``>`` where both fall on one row.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from workspace_lib.errors import FormatError
from workspace_lib.formats import Issue, Record
from workspace_lib.reclosers import cascii
from workspace_lib.reclosers.record import (
    NS,
    Analog,
    Checksums,
    DeviceTime,
    Digital,
    EventRecord,
    device_time,
)
from workspace_lib.reclosers.report import full_year, nominal_hz, parse_settings

#: What a bit without a meaning is called in the list of names.
UNUSED: Final = "*"
#: Samples per cycle of files that do not say it (SEL-321, SEL-551).
ASSUMED_PER_CYCLE: Final = 4
#: More rows than any relay writes; beyond it a file is not one.
MOST_ROWS: Final = 1_000_000
_SUMMARY_NAMES = frozenset({"SAM/CYC_A", "SAM/CYC", "NUM_OF_CYC", "EVENT", "NFREQ"})
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_UNIT = re.compile(r"(?P<name>[^()]+)\((?P<unit>[^()]*)\)")
_PHASE = re.compile(r"[IV](?P<phase>A|B|C|N|G|S|AB|BC|CA)(?P<circuit>[XYZW12]?)")


@dataclass
class _Parts:
    """What was found in a file so far."""

    fid: dict[str, str] = field(default_factory=dict)
    date: dict[str, str] = field(default_factory=dict)
    summary: dict[str, str] = field(default_factory=dict)
    blocks: list[_Block] = field(default_factory=list)
    settings: str = ""
    issues: list[Issue] = field(default_factory=list)

    def note(self, code: str, severity: Any, where: str, message: str) -> None:
        self.issues.append(Issue(code, severity, where, message))


@dataclass
class _Block:
    """Rows of samples with the names of their columns."""

    names: list[str]
    bits: list[str] | None
    line: int
    rows: list[cascii.Line] = field(default_factory=list)


def read_cev(path: Path) -> Record:
    """Read a CEV file; see `parse_cev`."""
    return parse_cev(path.read_bytes(), path.name)


def parse_cev(content: bytes, name: str = "") -> Record:
    """Parse a CEV file or transmission.

    Returns
    -------
    Record
        ``data`` is an `EventRecord` whose ``peak_factor`` is √2.

    Raises
    ------
    FormatError
        If it holds no event, or its samples cannot be trusted.
    """
    found = list(cascii.lines(content))
    parts = _sort(found, name)
    if not parts.blocks or not parts.blocks[0].rows:
        raise FormatError(
            "There are no samples in this CEV file.",
            where=name or None,
            fix="Fetch the event again; a transmission may have been cut off.",
        )
    event = _event(parts, found)
    meta = {
        "identity": event.device or None,
        "rows": event.samples,
        "first_time": str(event.start) if event.start else None,
        "last_time": str(event.start.later(int(event.t_ns[-1]))) if event.start else None,
        "timezone": {"name": None, "from": "none"},
        "fid": parts.fid.get("FID"),
        "settings_text": parts.settings,
    }
    return Record(event, meta, tuple(parts.issues))


def _sort(found: Sequence[cascii.Line], name: str) -> _Parts:
    """Say of each line what it is: names and their values, samples, settings."""
    parts = _Parts()
    for line in found:
        if line.good is False:
            parts.note(
                "checksum", "error", f"line {line.number}", "The checksum of the line is wrong."
            )
    lines = iter(found)
    block: _Block | None = None
    for line in lines:
        text = line.text if line.number > 1 else line.text[max(0, line.text.find('"')) :]
        if not text.startswith('"'):
            _row(parts, block, line, name)
            continue
        fields = cascii.split_fields(text)
        if fields[0] == "No Data Available":
            raise FormatError(
                "The relay had no event of this number.",
                where=name or None,
                fix="Read its history again; the numbers change with every new event.",
            )
        if fields[0] == "SETTINGS":
            settings = next(lines, None)
            parts.settings = settings.text.strip('"') if settings else ""
        elif block and block.rows and ("MONTH" in fields or fields[0].startswith("FID")):
            where, said = f"line {line.number}", "Another event begins here and is not read."
            parts.note("another_event", "error", where, said)
            break
        elif "MONTH" in fields:
            parts.date = _pairs(parts, fields, next(lines, None))
        elif fields[0].startswith("FID"):
            _identify(parts, next(lines, None))
        elif "TRIG" in fields:
            at = fields.index("TRIG")
            bits = fields[at + 1].split() if len(fields) > at + 1 else []
            block = _Block(fields[:at], bits, line.number)
            parts.blocks.append(block)
        elif _SUMMARY_NAMES & set(fields):
            parts.summary |= _pairs(parts, fields, next(lines, None))
        elif all(part and not _NUMBER.fullmatch(part) for part in fields):
            block = _Block(fields, None, line.number)  # SEL-321: no trigger mark, no bits
            parts.blocks.append(block)
        else:
            _unknown(parts, line)
    return parts


def _row(parts: _Parts, block: _Block | None, line: cascii.Line, name: str) -> None:
    if block is None or not _NUMBER.match(line.text.lstrip()):
        _unknown(parts, line)
        return
    if len(block.rows) >= MOST_ROWS:
        raise FormatError(
            f"There are more than {MOST_ROWS} rows.",
            where=f"{name}:{line.number}" if name else f"line {line.number}",
            fix="This is no event of a relay.",
        )
    block.rows.append(line)


def _unknown(parts: _Parts, line: cascii.Line) -> None:
    shown = line.text[:60]
    parts.note("unknown_line", "warning", f"line {line.number}", f"Not understood: {shown!r}.")


def _pairs(parts: _Parts, names: Sequence[str], values: cascii.Line | None) -> dict[str, str]:
    if values is None:
        parts.note("cut", "error", "end", f"The values of {names[0]} … are missing.")
        return {}
    fields = values.fields
    if len(fields) != len(names):
        parts.note(
            "field_count",
            "warning",
            f"line {values.number}",
            f"{len(names)} names have {len(fields)} values.",
        )
    return dict(zip(names, fields, strict=False))


def _identify(parts: _Parts, values: cascii.Line | None) -> None:
    if values is None:
        parts.note("cut", "error", "end", "The identification is missing.")
        return
    for number, text in enumerate(values.fields):
        key, equals, value = text.partition("=")
        parts.fid[key if equals else f"field_{number}"] = value if equals else text


def _event(parts: _Parts, found: Sequence[cascii.Line]) -> EventRecord:
    main, *others = parts.blocks
    values, marks, hexes = _samples(parts, main)
    names, bits = _bits(parts, main, hexes)
    settings = parse_settings(parts.settings)
    channels = [_channel(name, parts.summary) for name in main.names]
    for other in others:
        more, _, _ = _samples(parts, other)
        if len(more) != len(values):
            parts.note(
                "second_block",
                "warning",
                f"line {other.line}",
                f"{len(more)} rows of other channels do not go with {len(values)} samples.",
            )
            continue
        channels += [_channel(name, parts.summary) for name in other.names]
        values = np.hstack((values, more))
    frequency = _nominal(parts, settings)
    per_cycle = _per_cycle(parts)
    rate = frequency * per_cycle
    t_ns = np.rint(np.arange(len(values)) * (NS / rate)).astype(np.int64)
    trigger = _trigger_time(parts)
    row = _trigger_row(parts, marks)
    start = DeviceTime(trigger.ns - int(t_ns[row])) if trigger and row is not None else None
    _check_length(parts, len(values), per_cycle)
    return EventRecord(
        station=settings.get("TID", "").strip(),
        device=settings.get("RID", "").strip() or parts.fid.get("FID", ""),
        format="cev",
        revision=parts.fid.get("field_1", "") if "CEV_VER" not in parts.fid else "",
        data_type="ASCII",
        frequency_hz=frequency,
        start=start,
        trigger=trigger,
        t_ns=t_ns,
        analog=tuple(channels),
        digital=tuple(Digital(one) for one in names),
        values=values,
        bits=bits,
        rates=((rate, len(values)),),
        settings=settings,
        summary=_summary(parts.summary),
        checksums=Checksums(
            sum(line.good is True for line in found), sum(line.good is False for line in found)
        ),
        peak_factor=math.sqrt(2.0),
    )


def _samples(
    parts: _Parts, block: _Block
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], list[str], list[str]]:
    """Return values of shape (rows, names), the trigger mark and the bits of each row."""
    width = len(block.names)
    wanted = width + (2 if block.bits is not None else 0)
    numbers: list[list[str]] = []
    marks, hexes = [], []
    for line in block.rows:
        fields = line.text.split(",")
        if len(fields) < wanted:
            parts.note(
                "short_row",
                "error",
                f"line {line.number}",
                f"{len(fields)} of {wanted} fields; the row counts as missing.",
            )
            fields = ["nan"] * width + ["", ""]
        numbers.append(fields[:width])
        if block.bits is not None:
            marks.append(fields[width].strip(' "'))
            hexes.append(fields[width + 1].strip(' "'))
    try:
        values = np.array(numbers, dtype=np.float64).reshape(len(numbers), width)
    except ValueError:
        values = np.array(
            [
                [_number(parts, text, line) for text in row]
                for row, line in zip(numbers, block.rows, strict=True)
            ]
        ).reshape(len(numbers), width)
    return values, marks, hexes


def _number(parts: _Parts, text: str, line: cascii.Line) -> float:
    text = text.strip(' "')
    if _NUMBER.fullmatch(text):
        return float(text)
    if text != "nan":
        where = f"line {line.number}"
        parts.note("bad_number", "warning", where, f"{text[:20]!r} is no number: missing.")
    return math.nan


def _bits(
    parts: _Parts, block: _Block, hexes: Sequence[str]
) -> tuple[list[str], np.ndarray[Any, np.dtype[np.bool_]]]:
    """Return names and states of the bits; a row without them keeps those of the row before."""
    digits = max(map(len, hexes), default=0)
    if not digits:
        return [], np.zeros((len(block.rows), 0), dtype=np.bool_)
    even = digits + digits % 2
    held = "0" * even
    filled = []
    for text, line in zip(hexes, block.rows, strict=True):
        if len(text) == digits and set(text) <= set("0123456789abcdefABCDEF"):
            held = text.ljust(even, "0")
        elif text:
            where = f"line {line.number}"
            parts.note("bad_bits", "warning", where, f"{text[:20]!r} are no bits: held.")
        filled.append(held)
    packed = np.frombuffer(bytes.fromhex("".join(filled)), dtype=np.uint8)
    bits = np.unpackbits(packed.reshape(len(filled), even // 2), axis=1)[:, : digits * 4]
    names = list(block.bits or [])
    if len(names) == 1 and digits * 4 > 1:  # SEL-551: one name for all
        names = [f"{names[0]}_{digits * 4 - 1 - n}" for n in range(digits * 4)]
    if len(names) != digits * 4:
        parts.note(
            "bit_names",
            "warning",
            f"line {block.line}",
            f"{len(names)} names for {digits * 4} bits; the first names are taken.",
        )
        names = (names + [UNUSED] * (digits * 4))[: digits * 4]
    used = [number for number, one in enumerate(names) if one != UNUSED]
    return [names[number] for number in used], bits[:, used].astype(np.bool_)


def _channel(name: str, summary: Mapping[str, str]) -> Analog:
    """Return a channel from its name in the file: ``IA(A)``, ``VAY(kV)``, ``VDC``, ``FREQ``."""
    match = _UNIT.fullmatch(name)
    short, unit = (match["name"].strip(), match["unit"]) if match else (name, "")
    if not unit:
        unit = {"FREQ": "Hz", "VDC": "V"}.get(short, "A" if short.startswith(("I", "3I")) else "")
    known = _PHASE.fullmatch(short)
    ratio = summary.get(f"CTR_{short}") or summary.get(f"PTR_{short}")
    return Analog(
        short,
        unit,
        known["phase"] if known else "",
        known["circuit"] if known else "",
        "S" if summary.get("PRIM_VAL", "").upper() == "NO" else "P",
        float(ratio) if ratio and _NUMBER.fullmatch(ratio) else None,
    )


def _nominal(parts: _Parts, settings: Mapping[str, str]) -> float:
    """Return the nominal frequency [Hz]; ``FREQ`` is a measured one and no time base."""
    measured = _NUMBER.match(parts.summary.get("FREQ", "").strip())
    told = (parts.summary.get("NFREQ"), settings.get("FNOM"), settings.get("NFREQ"))
    found = nominal_hz(told, float(measured[0]) if measured else None)
    if found is None:
        parts.note("frequency_assumed", "warning", "file", "No frequency is given: 60 Hz taken.")
    return found or 60.0


def _per_cycle(parts: _Parts) -> float:
    text = parts.summary.get("SAM/CYC_A") or parts.summary.get("SAM/CYC") or ""
    if _NUMBER.fullmatch(text) and float(text) > 0:
        return float(text)
    parts.note(
        "per_cycle_assumed",
        "warning",
        "file",
        f"Samples per cycle are not given: {ASSUMED_PER_CYCLE} taken.",
    )
    return float(ASSUMED_PER_CYCLE)


def _trigger_time(parts: _Parts) -> DeviceTime | None:
    date = parts.date
    try:
        keys = ("YEAR", "MONTH", "DAY", "HOUR", "MIN", "SEC")
        year, month, day, hour, minute, second = (int(date[key]) for key in keys)
        micros = int(date["MSEC"]) * 1000
        moment = datetime(full_year(year), month, day, hour, minute, second, micros)
        return device_time(moment, digits=3)
    except (KeyError, ValueError, OverflowError) as error:
        parts.note("bad_time", "error", "header", f"The time of the event is not known ({error}).")
        return None


def _trigger_row(parts: _Parts, marks: Sequence[str]) -> int | None:
    for mark in (">", "*"):
        if mark in marks:
            return marks.index(mark)
    parts.note("no_trigger", "warning", "samples", "No row is marked as trigger.")
    return None


def _check_length(parts: _Parts, rows: int, per_cycle: float) -> None:
    text = parts.summary.get("NUM_OF_CYC", "")
    if _NUMBER.fullmatch(text) and rows < float(text) * per_cycle:
        said = f"{rows} of {float(text) * per_cycle:g} samples are there."
        parts.note("cut", "error", "samples", said)


def _summary(found: Mapping[str, str]) -> dict[str, Any]:
    """Return what the relay says of the event, numbers as numbers; ``$$$$`` is unknown."""
    return {
        key: float(text)
        if _NUMBER.fullmatch(text)
        else None
        if not text or set(text) == {"$"} or text == "NA"
        else text
        for key, text in found.items()
    }
