"""Everything computed of one event, each value beside the relay's own.

Pure: a record goes in, values come out. What cannot be known is None, and a note says why.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from workspace_lib.errors import DataQualityError
from workspace_lib.reclosers.analysis_relay import Source, Told, compare, told, told_type
from workspace_lib.reclosers.analysis_values import (
    EventAnalysis,
    Kind,
    Located,
    Moment,
    Phasor,
    Times,
)
from workspace_lib.reclosers.channels import CURRENTS, VOLTAGES, Note, ThreePhase, three_phase
from workspace_lib.reclosers.faults import Line, Phasors, Three, fault_type, line_of, locate
from workspace_lib.reclosers.frequency import rotation
from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.phasors import (
    Complexes,
    cosine,
    degrees,
    fourier,
    from_filtered,
    sequences,
)
from workspace_lib.reclosers.record import NS, EventRecord, Floats, Ints
from workspace_lib.reclosers.timing import (
    CLOSE_BITS,
    CLOSED_BITS,
    OPEN_SHARE,
    TRIP_BITS,
    Timing,
    timing,
)

#: Elements whose bits say that the relay measures a fault: overcurrent, and the faulted phases.
_PICKUP = re.compile(r"(5[01]|67)[PGNQABC]\d{0,2}[PT]?|FS[ABC]")
#: What relays write among the targets of an event that locked out.
_LOCKOUT_TARGETS: Final = frozenset({"LO", "79LO", "LOCKOUT"})
#: Without a trip or such a bit it is a fault where currents change by this share of load [1].
FAULT_SHARE: Final = 1.0
#: Phasors count as steady that change by less than this in half a cycle, or twice the least [1].
STEADY: Final = 0.02
#: To both sides of a distance, at least: what transformers and settings are off by [1].
LEAST_SPREAD: Final = 0.02
#: Shares of the values over the steady part of a fault that its uncertainty spans [1].
_SPAN: Final = (0.05, 0.95)
#: Distances beyond so many lengths of the line, or behind it by a tenth, are none [1].
FARTHEST: Final = 3.0
_NEAREST: Final = -0.1
_MOST_WINDOWS: Final = 32


@dataclass(frozen=True)
class _Bits:
    """What the record's bits say; None where it has none of them."""

    tripped: bool | None
    opened: bool | None
    closed: bool | None
    picked_up: bool
    from_begin: bool


def analyse_event(
    record: EventRecord,
    *,
    relay: Source | Sequence[Source] | None = None,
    line: Line | None = None,
) -> EventAnalysis:
    """Return everything computed of an event, beside what the relay says.

    Parameters
    ----------
    record : EventRecord
        Of a CEV, EVE or COMTRADE file.
    relay : HistoryEntry, EventSummary or mapping, or several of them, optional
        What the relay says besides the record's own summary, which comes first: the header of a
        COMTRADE record, the entry of the list.
    line : Line, optional
        Where the record's settings do not tell it.

    Returns
    -------
    EventAnalysis
        Also of a record without currents or rates: then with nothing but a note.

    Notes
    -----
    A fault is an inception (`timing`) with a trip, with a bit of an overcurrent element, or with
    currents that change by as much as the load was. Its phasors are those of the cosine filter, at
    the middle of the part in which they are steady; a relay's filtered rows are taken by
    quarter-cycle pairs. Load is turned by the measured frequency to the time of the fault before
    it is taken away.
    """
    sources: list[Source] = [record.summary]
    if isinstance(relay, Sequence):
        sources += relay
    elif relay is not None:
        sources.append(relay)
    said = told(sources)
    when = record.trigger or said.time
    trigger = str(when) if when else ""
    try:
        measured = three_phase(record)
    except DataQualityError as error:
        note = Note("no_analysis", str(error))
        return EventAnalysis("trigger", trigger, said.event, shot=said.shot, notes=(note,))
    return _analyse(measured, line or line_of(record.settings), said, trigger)


def analyse_entry(entry: HistoryEntry) -> EventAnalysis:
    """Return what is known of an event whose report is not stored any more: its line of the list.

    All of it is the relay's own word, and a note says so; nothing stands beside it.
    """
    said = told([entry])
    kind = told_type(entry.event)
    words = entry.event.upper().split()
    tripped = "T" in words[1:] or any(word.startswith("TRIP") for word in words)
    locked = any(word in _LOCKOUT_TARGETS for word in entry.targets.upper().split())
    return EventAnalysis(
        kind="fault" if kind else "trip" if tripped else "trigger",
        trigger=str(entry.time),
        event=entry.event,
        fault_type=kind,
        phases="" if kind is None else kind.replace("G", ""),
        grounded=None if kind is None else kind.endswith("G"),
        magnitude_a=said.current_a,
        frequency_hz=said.frequency_hz,
        tripped=tripped,
        shot=said.shot,
        locked_out=True if locked else None,
        notes=(Note("relay_only", "Its report is not stored any more; this is the relay's word."),),
    )


def _analyse(measured: ThreePhase, line: Line | None, said: Told, trigger: str) -> EventAnalysis:
    event, notes = measured.event, list(measured.notes)
    when = timing(event)
    bits = _bits(event)
    currents, volts = _phasors(measured)
    inception = _row(event, when.inception_s)
    end = _row(event, when.current_zero_s)
    frequency = _frequency(measured, currents, volts, inception)
    if frequency is None:
        notes.append(Note("no_frequency", "There is no steady part to tell frequency by."))
    reference = inception
    if reference is None:
        reference = end if end else _row(event, event.trigger_s) or event.samples - 1
    # A fault from the first sample on has nothing before it.
    whole = inception is None and bool(bits.tripped) and bits.from_begin
    then = None
    if not whole:
        then = _before(currents, reference, measured.per_cycle, measured.filtered)
    steady = _steady(measured, currents, 0 if whole else inception, end)
    load = None if then is None else float(np.abs(currents[then]).max())
    grown = _grown(currents, then, steady)
    kind = _kind(bits, inception, end, load, grown, currents)
    now = None if not len(steady) else int(steady[len(steady) // 2])
    if kind == "fault" and inception is None:
        notes.append(Note("no_inception", "The fault began before the record."))
    if kind == "fault" and now is None:
        notes.append(Note("short_fault", "The fault is shorter than a filter needs."))
    fault, located = None, None
    if kind == "fault" and now is not None:
        turned = _Turned(measured, currents, volts, then, frequency)
        if then is None:
            notes.append(Note("load_unknown", "Load before the fault is not known."))
        fault = fault_type(turned.before(now), turned.at(now))
        if fault is None:
            notes.append(Note("no_type", "No current changed."))
        elif volts is None:
            notes.append(Note("no_distance", "Without voltages there is no distance."))
        elif line is None:
            notes.append(Note("no_distance", "The record's settings do not tell the line."))
        else:
            located = _locate(fault, turned, steady, line, notes)
    origin = _origin(currents, volts, then if then is not None else now)
    before = _moment(event, currents, volts, then, origin)
    during = _moment(event, currents, volts, now, origin)
    magnitude = None if now is None else float(np.abs(currents[now]).max())
    _note_bits(bits, notes)
    trip_s = when.trip_s
    return EventAnalysis(
        kind=kind,
        trigger=trigger,
        event=said.event,
        fault_type=fault,
        phases="" if fault is None else fault.replace("G", ""),
        grounded=None if fault is None else fault.endswith("G"),
        magnitude_a=magnitude,
        load_a=load,
        frequency_hz=frequency,
        before=before,
        during=during,
        located=located,
        times=_times(event, when),
        tripped=bits.tripped,
        closed=bits.closed,
        shot=said.shot if when.shot is None else when.shot,
        locked_out=when.locked_out,
        i2t=when.i2t if kind == "fault" else None,
        comparisons=compare(
            said,
            fault_type=fault,
            during=during,
            before=before,
            magnitude_a=magnitude,
            distance=None if located is None else located.best,
            line_length=None if line is None else line.length,
            frequency_hz=frequency,
            shot=when.shot,
            start=event.start,
            trip_s=trip_s,
            reclosed_s=when.reclosed_s,
        ),
        notes=tuple(notes),
    )


def _bits(event: EventRecord) -> _Bits:
    names = {channel.name for channel in event.digital}

    def rises(wanted: Sequence[str], *, falls: bool = False) -> bool | None:
        known = [name for name in wanted if name in names]
        if not known:
            return None
        states = np.logical_or.reduce([event.bit(name) for name in known])
        changed = states[:-1] & ~states[1:] if falls else states[1:] & ~states[:-1]
        return bool(changed.any())

    trips = [name for name in TRIP_BITS if name in names]
    # A trip that lasts from the first sample on happened before, and is one.
    held = bool(trips) and event.samples > 0 and any(event.bit(name)[0] for name in trips)
    tripped = rises(TRIP_BITS)
    closed = [found for found in (rises(CLOSED_BITS), rises(CLOSE_BITS)) if found is not None]
    pickups = [
        event.bit(channel.name) for channel in event.digital if _PICKUP.fullmatch(channel.name)
    ]
    return _Bits(
        tripped=None if tripped is None else tripped or held,
        opened=rises(CLOSED_BITS, falls=True),
        closed=any(closed) if closed else None,
        picked_up=any(bool(states.any()) for states in pickups),
        from_begin=any(bool(states[:1].any()) for states in pickups),
    )


def _note_bits(bits: _Bits, notes: list[Note]) -> None:
    if bits.tripped is None:
        notes.append(Note("no_trip_bit", "The record has no bit of a trip."))
    if bits.opened is None:
        notes.append(Note("no_contact_bit", "The record has no bit of its contacts."))


def _kind(
    bits: _Bits,
    inception: int | None,
    end: int | None,
    load: float | None,
    grown: float | None,
    currents: Complexes,
) -> Kind:
    """Return what kind of event it was; see `analyse_event`."""
    changed = bool(load and grown is not None and grown >= FAULT_SHARE * load)
    closing = load is not None and load <= OPEN_SHARE * np.nanmax(np.abs(currents), initial=0.0)
    if inception is not None and (bits.tripped or bits.picked_up or (changed and not closing)):
        return "fault"
    if bits.tripped:
        return "fault" if bits.from_begin else "trip"
    if bits.opened or (bits.opened is None and end is not None):
        return "opening"
    if bits.closed or (bits.closed is None and closing and inception is not None):
        return "closing"
    return "trigger"


def _phasors(measured: ThreePhase) -> tuple[Complexes, Complexes | None]:
    """Return phasors of currents and voltages, shape (samples, 3) each."""
    values, per_cycle = measured.event.values, measured.per_cycle
    if measured.filtered:
        found = from_filtered(values / math.sqrt(2), per_cycle)
    else:
        found = (cosine if per_cycle % 4 == 0 else fourier)(values, per_cycle)
    return found[:, :3], found[:, 3:] if measured.voltages else None


def _row(event: EventRecord, seconds: float | None) -> int | None:
    if seconds is None:
        return None
    row = int(np.searchsorted(event.t_ns, round(seconds * NS) - 1))
    return min(row, event.samples - 1)


def _frequency(
    measured: ThreePhase, currents: Complexes, volts: Complexes | None, inception: int | None
) -> float | None:
    """Return the median of the frequency before the fault [Hz], else of the whole record."""
    hz = measured.event.frequency_hz
    assert hz is not None  # three_phase needs it
    source = currents if volts is None else volts
    turning = sequences(*source.T)[1]
    found = rotation(turning, measured.per_cycle, hz)
    part = found if inception is None else found[:inception]
    if not np.isfinite(part).any():
        part = found
    known = part[np.isfinite(part)]
    return float(np.median(known)) if len(known) else None


def _before(currents: Complexes, reference: int, per_cycle: int, filtered: bool) -> int | None:
    """Return the last row with known phasors well before ``reference``, or just before it.

    A relay's filter lets a fault begin slowly, so that rows just before it are of the fault.
    """
    for margin in (per_cycle if filtered else per_cycle // 2, max(1, per_cycle // 4)):
        known = np.flatnonzero(np.isfinite(currents[: max(0, reference - margin + 1)]).all(axis=1))
        if len(known):
            return int(known[-1])
    return None


def _steady(
    measured: ThreePhase, currents: Complexes, inception: int | None, end: int | None
) -> Ints:
    """Return the rows of the fault at which phasors are steady, at most `_MOST_WINDOWS`."""
    per_cycle = measured.per_cycle
    if inception is None:
        return np.zeros(0, dtype=np.int64)
    window = per_cycle * 5 // 4 + (1 if measured.filtered else 0)
    first = inception + window
    last = len(currents) if end is None or end <= inception else end
    rows = np.arange(first, last)
    rows = rows[np.isfinite(currents[first:last]).all(axis=1)] if len(rows) else rows
    if not len(rows):
        return rows
    half = max(1, per_cycle // 2)
    change = np.abs(currents[rows] - currents[rows - half]).max(axis=1)
    share = change / np.abs(currents[rows]).max(axis=1).clip(min=1e-9)
    share[rows - half < first] = np.inf  # its window begins before the fault
    if not np.isfinite(share).any():
        return rows[-1:]
    kept: Ints = rows[share <= max(STEADY, 2 * float(np.nanmin(share)))]
    if len(kept) > _MOST_WINDOWS:
        kept = kept[np.linspace(0, len(kept) - 1, _MOST_WINDOWS).astype(np.int64)]
    return kept


def _grown(currents: Complexes, then: int | None, steady: Ints) -> float | None:
    if then is None or not len(steady):
        return None
    return float(np.abs(currents[steady[len(steady) // 2]] - currents[then]).max())


class _Turned:
    """Phasors before and during the fault, load turned to the time of the fault."""

    def __init__(
        self,
        measured: ThreePhase,
        currents: Complexes,
        volts: Complexes | None,
        then: int | None,
        frequency: float | None,
    ) -> None:
        self._time = measured.event.t_s
        self._currents, self._volts, self._then = currents, volts, then
        nominal = measured.event.frequency_hz or 0.0
        off = 0.0 if frequency is None else frequency - nominal
        self._off_hz = off if abs(off) < 0.1 * nominal else 0.0

    def at(self, row: int) -> Phasors:
        return Phasors(_three(self._currents, row), _three(self._volts, row))

    def before(self, row: int) -> Phasors:
        if self._then is None:
            return Phasors((0j, 0j, 0j), (0j, 0j, 0j))
        passed = float(self._time[row] - self._time[self._then])
        turn = complex(np.exp(2j * np.pi * self._off_hz * passed))
        found = self.at(self._then)
        return Phasors(
            (found.i[0] * turn, found.i[1] * turn, found.i[2] * turn),
            (found.v[0] * turn, found.v[1] * turn, found.v[2] * turn),
        )


def _three(phasors: Complexes | None, row: int) -> Three:
    if phasors is None:
        return 0j, 0j, 0j
    first, second, third = (complex(one) for one in phasors[row])
    return first, second, third


def _locate(
    kind: str, turned: _Turned, steady: Ints, line: Line, notes: list[Note]
) -> Located | None:
    """Return the distance by each method, and what they and the window make of it."""
    found = [locate(kind, turned.before(row), turned.at(row), line) for row in steady.tolist()]
    methods: dict[str, Floats] = {}
    for name in ("reactance", "takagi", "modified_takagi"):
        values = np.array([getattr(one, name) for one in found], dtype=np.float64)
        methods[name] = values[np.isfinite(values)]
    middles = {name: float(np.median(one)) for name, one in methods.items() if len(one)}
    best = float(np.median(list(middles.values()))) if middles else math.nan
    if not _NEAREST * line.length <= best <= FARTHEST * line.length:
        notes.append(Note("no_distance", "The loop of the fault makes no distance on this line."))
        return None
    spans = [np.quantile(one, _SPAN) for one in methods.values() if len(one)]
    spread = LEAST_SPREAD * abs(best)
    return Located(
        best=best,
        low=min(best - spread, float(min(low for low, _ in spans))),
        high=max(best + spread, float(max(high for _, high in spans))),
        reactance=middles.get("reactance"),
        takagi=middles.get("takagi"),
        modified_takagi=middles.get("modified_takagi"),
        line_length=line.length,
    )


def _origin(currents: Complexes, volts: Complexes | None, row: int | None) -> complex:
    """Return what angles are told against: the positive sequence voltage, else current."""
    if row is None:
        return 1.0 + 0j
    for source in (volts, currents):
        if source is not None:
            one = complex(sequences(*source[row])[1])
            if np.isfinite(one) and abs(one) > 0:
                return one
    return 1.0 + 0j


def _moment(
    event: EventRecord,
    currents: Complexes,
    volts: Complexes | None,
    row: int | None,
    origin: complex,
) -> Moment | None:
    if row is None:
        return None
    named = dict(zip(CURRENTS, currents[row], strict=True))
    zero, one, two = sequences(*currents[row])
    named |= {"IG": 3 * zero, "I1": one, "I2": two, "I0": zero, "3I2": 3 * two}
    if volts is not None:
        zero, one, two = sequences(*volts[row])
        named |= dict(zip(VOLTAGES, volts[row], strict=True))
        named |= {"V1": one, "V2": two, "V0": zero}
    return Moment(
        float(event.t_s[row]),
        {
            name: Phasor(float(np.abs(value)), float(degrees(value, origin)))
            for name, value in named.items()
            if np.isfinite(value)
        },
    )


def _times(event: EventRecord, when: Timing) -> Times:
    return Times(
        event.trigger_s,
        when.inception_s,
        when.trip_s,
        when.contacts_open_s,
        when.current_zero_s,
        when.reclosed_s,
        when.relay_s,
        when.opening_s,
        when.clearing_s,
        when.dead_s,
    )
