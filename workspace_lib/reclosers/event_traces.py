"""What of an event is drawn: currents, voltages, bits that change, and when things happened.

The same traces for a plot on paper, a notebook and a dashboard. Times are milliseconds relative to
the trigger; currents and voltages are primary and instantaneous where the record tells how.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from workspace_lib.errors import DataQualityError, ParameterError
from workspace_lib.reclosers.analysis_values import EventAnalysis
from workspace_lib.reclosers.channels import ThreePhase, three_phase
from workspace_lib.reclosers.record import Analog, Bits, EventRecord, Floats
from workspace_lib.reclosers.timing import CLOSE_BITS, CLOSED_BITS, LOCKOUT_BITS, TRIP_BITS

Quantity = Literal["currents", "voltages", "other"]
#: Bits drawn at most; where more change, those that tell of trips and contacts come first.
MOST_BITS: Final = 16
#: From so many volts on a panel is in kilovolts [V].
KILO: Final = 1000.0
#: With fewer samples a cycle each of them is marked: the line between them was not measured.
FEW_PER_CYCLE: Final = 12
_FIRST: Final = (*TRIP_BITS, *CLOSED_BITS, *CLOSE_BITS, *LOCKOUT_BITS)
#: What is marked, in the order of time, and the field of `analysis_values.Times` that says when.
MARKS: Final = (
    ("inception", "inception_s"),
    ("trip", "trip_s"),
    ("open", "contacts_open_s"),
    ("cleared", "current_zero_s"),
    ("reclosed", "reclosed_s"),
)


@dataclass(frozen=True)
class Trace:
    """One line: its values in the unit of its panel, and its phase (A, B, C, N, or nothing)."""

    name: str
    phase: str
    values: Floats


@dataclass(frozen=True)
class Panel:
    """Lines that share a unit; ``primary`` says that they are primary values."""

    quantity: Quantity
    unit: str
    primary: bool
    traces: tuple[Trace, ...]


@dataclass(frozen=True)
class BitTrace:
    """When a bit was set: from, to relative to the trigger [ms]."""

    name: str
    spans: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Mark:
    """When something happened relative to the trigger [ms]; ``name`` is one of `MARKS`."""

    name: str
    t_ms: float


@dataclass(frozen=True)
class EventTraces:
    """Everything that is drawn of an event.

    ``t_ms`` has shape (samples,) as the values of each trace. Without a trigger times count from
    the first sample, and ``triggered`` is False. ``changing`` is how many bits change in all.
    """

    t_ms: Floats
    triggered: bool
    panels: tuple[Panel, ...]
    bits: tuple[BitTrace, ...]
    changing: int
    marks: tuple[Mark, ...]
    few: bool

    @property
    def ends_ms(self) -> tuple[float, float]:
        """From the first to the last sample [ms]."""
        return float(self.t_ms[0]), float(self.t_ms[-1])


def event_traces(
    record: EventRecord,
    analysis: EventAnalysis | None = None,
    *,
    channels: Sequence[str] | None = None,
    most_bits: int = MOST_BITS,
) -> EventTraces:
    """Return what is drawn of an event.

    Parameters
    ----------
    analysis : EventAnalysis, optional
        What was computed of it, for the marks; without one there are none.
    channels : sequence of str, optional
        Analog channels in place of the three currents and voltages, as recorded or, where their
        ratio is known, primary.

    Raises
    ------
    ParameterError
        If the record has no such channel, or no samples.
    """
    if not record.samples:
        raise ParameterError("The record has no samples to draw.", fix="Take another event.")
    measured = None if channels is not None else _measured(record)
    base = measured.event if measured else record
    start = record.trigger_s or 0.0
    chosen = list(_panels(record, measured, channels))
    bits = _changing(record, start)
    steps = np.diff(record.t_s)
    typical = float(np.median(steps)) if len(steps) else 0.0
    per_cycle = 1 / (typical * (record.frequency_hz or 60.0)) if typical > 0 else 0.0
    return EventTraces(
        (base.t_s - start) * 1000,
        record.trigger_s is not None,
        tuple(chosen),
        _chosen(bits, most_bits),
        len(bits),
        () if analysis is None else tuple(_marks(analysis, start)),
        per_cycle < FEW_PER_CYCLE,
    )


def _measured(record: EventRecord) -> ThreePhase | None:
    try:
        return three_phase(record)
    except DataQualityError:
        return None


def _panels(
    record: EventRecord, measured: ThreePhase | None, names: Sequence[str] | None
) -> Iterator[Panel]:
    if measured is not None:
        yield _currents(measured)
        if measured.voltages:
            yield _voltages(measured)
        return
    by_unit: dict[tuple[Quantity, str, bool], list[Trace]] = {}
    for channel in _named(record, names):
        primary = channel.scale == "P" or (channel.scale == "S" and channel.ratio is not None)
        values = record.primary(channel.name) if primary else record.channel(channel.name)
        unit = channel.unit.strip()
        quantity = _quantity(unit)
        if quantity != "other":
            values = values * record.peak_factor
        trace = Trace(channel.name, _phase(channel), values)
        by_unit.setdefault((quantity, unit, primary), []).append(trace)
    order: tuple[Quantity, ...] = ("currents", "voltages", "other")
    for key in sorted(by_unit, key=lambda key: order.index(key[0])):
        yield Panel(*key, tuple(by_unit[key]))


def _currents(measured: ThreePhase) -> Panel:
    values = measured.currents
    traces = [Trace(f"I{phase}", phase, values[:, n]) for n, phase in enumerate("ABC")]
    # Their sum is what a fault to ground shows in.
    traces.append(Trace("IG", "N", values.sum(axis=1)))
    return Panel("currents", "A", True, tuple(traces))


def _voltages(measured: ThreePhase) -> Panel:
    values = measured.event.values[:, 3:6]
    kilo = float(np.nanmax(np.abs(values), initial=0.0)) >= KILO
    traces = tuple(
        Trace(f"V{phase}", phase, values[:, n] / (KILO if kilo else 1.0))
        for n, phase in enumerate("ABC")
    )
    return Panel("voltages", "kV" if kilo else "V", True, traces)


def _named(record: EventRecord, names: Sequence[str] | None) -> list[Analog]:
    if names is None:
        return [one for one in record.analog if _quantity(one.unit.strip()) != "other"][:12]
    for name in names:
        record.channel(name)  # raises, naming those there are
    return [one for name in names for one in record.analog if one.name == name]


def _quantity(unit: str) -> Quantity:
    return {"A": "currents", "KA": "currents", "V": "voltages", "KV": "voltages"}.get(  # type: ignore[return-value]
        unit.upper(), "other"
    )


def _phase(channel: Analog) -> str:
    phase = channel.phase.strip().upper()[:1]
    return phase if phase in "ABC" else "N" if phase in ("N", "G") else ""


def _changing(record: EventRecord, start: float) -> list[BitTrace]:
    """Return the bits that change within the record, the first to change first."""
    times = (record.t_s - start) * 1000
    bits = record.bits
    if len(bits) < 2:
        return []
    moved = np.flatnonzero((bits != bits[0]).any(axis=0))
    found = [
        BitTrace(record.digital[place].name, tuple(_spans(bits[:, place], times)))
        for place in sorted(moved, key=lambda p: int(np.argmax(bits[:, p] != bits[0, p])))
        if record.digital[place].name
    ]
    return found


def _spans(bit: Bits, times: Floats) -> Iterator[tuple[float, float]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], bit, [False])).astype(np.int8)))
    last = len(times) - 1
    for first, end in edges.reshape(-1, 2):
        yield float(times[first]), float(times[min(end, last)])


def _chosen(bits: Sequence[BitTrace], most: int) -> tuple[BitTrace, ...]:
    if len(bits) <= most:
        return tuple(bits)
    order = sorted(range(len(bits)), key=lambda n: (bits[n].name not in _FIRST, n))
    kept = set(order[:most])
    return tuple(one for n, one in enumerate(bits) if n in kept)


def _marks(analysis: EventAnalysis, start: float) -> Iterator[Mark]:
    for name, field in MARKS:
        found: float | None = getattr(analysis.times, field)
        if found is not None:
            yield Mark(name, (found - start) * 1000)
