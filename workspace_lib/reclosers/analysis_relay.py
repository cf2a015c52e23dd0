"""The relay's own values of an event, and how they compare with the computed ones.

A relay says what it measured in several places: the summary of its report, the header beside a
COMTRADE record, its list of events. The first that has a value is taken, in this order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from workspace_lib.reclosers.analysis_values import Comparison, Moment
from workspace_lib.reclosers.faults import TYPES
from workspace_lib.reclosers.hdr import EventSummary
from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.record import NS, DeviceTime

Source = HistoryEntry | EventSummary | Mapping[str, Any]
#: How much may differ: a part in the unit, and a share of the relay's value. The relay takes its
#: own window and rounds; a distance also by a share of the line (`LINE_SHARE`),
#: a sum of phases by one of the largest current (`SUM_SHARE`).
TOLERANCES: Final[Mapping[str, tuple[float, float]]] = {
    "A": (5.0, 0.05),
    "V": (100.0, 0.03),
    "Hz": (0.1, 0.0),
    "s": (0.010, 0.0),
    "length": (0.05, 0.05),
    "": (0.0, 0.0),
}
LINE_SHARE: Final = 0.03
SUM_SHARE: Final = 0.02
_AMPS: Final = ("IA", "IB", "IC", "IG", "3I2")
_VOLTS: Final = ("VA", "VB", "VC")
_SHORT = re.compile(r"\s*\(.*\)$|[YZ]$")
#: Letters of the phases in any order, and the name of the type.
_ORDERED: Final = {frozenset(kind): kind for kind in TYPES}


@dataclass(frozen=True)
class Told:
    """What a relay says of an event; None or empty: nothing.

    ``fault`` and ``before`` are magnitudes by channel [A, V primary]; ``location`` in its unit of
    length.
    """

    event: str = ""
    time: DeviceTime | None = None
    location: float | None = None
    current_a: float | None = None
    frequency_hz: float | None = None
    shot: int | None = None
    fault: Mapping[str, float] = field(default_factory=dict)
    before: Mapping[str, float] = field(default_factory=dict)
    trip_time: DeviceTime | None = None
    close_time: DeviceTime | None = None


def told_type(event: str) -> str | None:
    """Return the type of fault in the relay's word for an event, or None where it names none.

    Examples
    --------
    >>> told_type("BG T"), told_type("ACG"), told_type("ER"), told_type("TRIP")
    ('BG', 'CAG', None, None)
    """
    word = event.split()[0].upper() if event.split() else ""
    return _ORDERED.get(frozenset(word)) if len(set(word)) == len(word) else None


def told(sources: Sequence[Source]) -> Told:
    """Return what the relay says, each value from the first source that has it."""
    merged = Told()
    for source in sources:
        if isinstance(source, HistoryEntry):
            found = _of_entry(source)
        elif isinstance(source, EventSummary):
            found = _of_header(source)
        else:
            found = _of_summary(source)
        merged = _merge(merged, found)
    return merged


def _merge(first: Told, second: Told) -> Told:
    values = {}
    for name in Told.__dataclass_fields__:
        known = getattr(first, name)
        # Nothing is None, an empty word, or an empty table; 0 is a value.
        values[name] = getattr(second, name) if known in (None, "") or known == {} else known
    return Told(**values)


def _of_entry(entry: HistoryEntry) -> Told:
    return Told(
        event=entry.event,
        time=entry.time,
        location=entry.location,
        current_a=entry.current,
        frequency_hz=entry.frequency,
        shot=_shot(entry.shot),
    )


def _of_header(summary: EventSummary) -> Told:
    def sizes(table: Mapping[str, Any]) -> dict[str, float]:
        return {
            _SHORT.sub("", name): one.magnitude * (1e3 if name[:1] == "V" else 1.0)
            for name, one in table.items()
            if one.magnitude is not None
        }

    fault = sizes(summary.fault)
    return Told(
        event=summary.event,
        time=summary.time,
        location=summary.location,
        current_a=_largest(fault),
        frequency_hz=summary.frequency,
        shot=_shot(summary.shot),
        fault=fault,
        before=sizes(summary.prefault),
        trip_time=summary.trip_time,
        close_time=summary.close_time,
    )


def _of_summary(summary: Mapping[str, Any]) -> Told:
    plain = {_SHORT.sub("", str(key)): value for key, value in summary.items()}
    fault = {name: number for name in _AMPS if (number := _number(plain.get(name))) is not None}
    return Told(
        event=str(plain.get("EVENT") or ""),
        location=_number(plain.get("LOCATION")),
        current_a=_largest(fault),
        frequency_hz=_number(plain.get("FREQ")),
        shot=_shot(plain.get("SHOT")),
        fault=fault,
    )


def _largest(fault: Mapping[str, float]) -> float | None:
    return max((fault[name] for name in _AMPS[:3] if name in fault), default=None)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and value == value else None


def _shot(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    text = str(value if value is not None else "").strip()
    return int(text) if text.isdecimal() else None


def compare(
    said: Told,
    *,
    fault_type: str | None,
    during: Moment | None,
    before: Moment | None,
    magnitude_a: float | None,
    distance: float | None,
    line_length: float | None,
    frequency_hz: float | None,
    shot: int | None,
    start: DeviceTime | None,
    trip_s: float | None,
    reclosed_s: float | None,
) -> tuple[Comparison, ...]:
    """Return a comparison of each quantity that both the relay and the computation have."""
    found: list[Comparison] = []

    def add(
        quantity: str, unit: str, computed: float | None, relay: float | None, more: float = 0.0
    ) -> None:
        if computed is None or relay is None:
            return
        least, share = TOLERANCES[unit]
        difference = computed - relay
        agrees = abs(difference) <= least + more + share * abs(relay)
        shown = "" if unit == "length" else unit
        found.append(Comparison(quantity, shown, computed, relay, difference, agrees))

    kind = told_type(said.event)
    if fault_type and kind:
        found.append(Comparison("type", "", fault_type, kind, None, fault_type == kind))
    add("magnitude", "A", magnitude_a, said.current_a)
    add("distance", "length", distance, said.location, LINE_SHARE * (line_length or 0.0))
    add("frequency", "Hz", frequency_hz, said.frequency_hz)
    add("shot", "", shot, said.shot)
    for moment, sizes, suffix in ((during, said.fault, ""), (before, said.before, " before")):
        for names, unit in ((_AMPS, "A"), (_VOLTS, "V")):
            for name in names:
                computed = None if moment is None else moment.magnitude(name)
                # What is a sum of phases is as uncertain as they are.
                more = SUM_SHARE * (magnitude_a or 0.0) if name in ("IG", "3I2") else 0.0
                add(f"{name}{suffix}", unit, computed, sizes.get(name), more)
    for quantity, computed, time in (
        ("trip time", trip_s, said.trip_time),
        ("close time", reclosed_s, said.close_time),
    ):
        if start is not None and time is not None:
            add(quantity, "s", computed, (time.ns - start.ns) / NS)
    return tuple(found)
