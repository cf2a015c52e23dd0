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
    Times,
)
from workspace_lib.reclosers.analysis_windows import (
    Turned,
    frequency_before,
    grown_by,
    moment_at,
    origin_of,
    phasors_of,
    row_at,
    row_before,
    steady_rows,
)
from workspace_lib.reclosers.channels import Note, ThreePhase, three_phase
from workspace_lib.reclosers.faults import Line, fault_type, line_of, locate
from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.phasors import Complexes
from workspace_lib.reclosers.record import EventRecord, Floats, Ints
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
#: To both sides of a distance, at least: what transformers and settings are off by [1].
LEAST_SPREAD: Final = 0.02
#: Shares of the values over the steady part of a fault that its uncertainty spans [1].
_SPAN: Final = (0.05, 0.95)
#: Distances beyond so many lengths of the line, or behind it by a tenth, are none [1].
FARTHEST: Final = 3.0
_NEAREST: Final = -0.1


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
        grounded=_grounded(kind),
        magnitude_a=said.current_a,
        frequency_hz=said.frequency_hz,
        tripped=tripped,
        shot=said.shot,
        locked_out=True if locked else None,
        notes=(Note("relay_only", "Its report is not stored any more; this is the relay's word."),),
    )


def _grounded(kind: str | None) -> bool | None:
    """Return whether ground takes part, None where the type does not tell."""
    return None if kind in (None, "ABC") else kind.endswith("G")


def _analyse(measured: ThreePhase, line: Line | None, said: Told, trigger: str) -> EventAnalysis:
    event, notes = measured.event, list(measured.notes)
    when = timing(event)
    bits = _bits(event)
    currents, volts = phasors_of(measured)
    inception = row_at(event, when.inception_s)
    end = row_at(event, when.current_zero_s)
    frequency = frequency_before(measured, currents, volts, inception)
    if frequency is None:
        notes.append(Note("no_frequency", "There is no steady part to tell frequency by."))
    reference = inception
    if reference is None:
        reference = end if end else row_at(event, event.trigger_s) or event.samples - 1
    # A fault from the first sample on has nothing before it.
    whole = inception is None and bool(bits.tripped) and bits.from_begin
    then = None
    if not whole:
        then = row_before(currents, reference, measured.per_cycle, measured.filtered)
    until = row_at(event, when.fault_end_s)
    steady = steady_rows(measured, currents, 0 if whole else inception, until, then)
    load = None if then is None else float(np.abs(currents[then]).max())
    grown = grown_by(currents, then, steady)
    kind = _kind(bits, inception, end, load, grown, currents)
    now = None if not len(steady) else int(steady[len(steady) // 2])
    if kind == "fault" and inception is None:
        notes.append(Note("no_inception", "The fault began before the record."))
    if kind == "fault" and now is None:
        notes.append(Note("short_fault", "The fault is shorter than a filter needs."))
    fault, located = None, None
    if kind == "fault" and now is not None:
        turned = Turned(measured, currents, volts, then, frequency)
        fault, located = _fault(turned, steady, line, notes)
    origin = origin_of(currents, volts, then if then is not None else now)
    before = moment_at(event, currents, volts, then, origin)
    during = moment_at(event, currents, volts, now, origin)
    magnitude = None if now is None else float(np.abs(currents[now]).max())
    _note_bits(bits, notes)
    trip_s = when.trip_s
    return EventAnalysis(
        kind=kind,
        trigger=trigger,
        event=said.event,
        fault_type=fault,
        phases="" if fault is None else fault.replace("G", ""),
        grounded=_grounded(fault),
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


def _fault(
    turned: Turned, steady: Ints, line: Line | None, notes: list[Note]
) -> tuple[str | None, Located | None]:
    """Return type and distance of a fault from the rows at which it is steady."""
    now = int(steady[len(steady) // 2])
    if not turned.load_known:
        notes.append(Note("load_unknown", "Load before the fault is not known."))
    kind = fault_type(turned.before(now), turned.at(now))
    if kind is None:
        notes.append(Note("no_type", "No current changed."))
    elif not turned.voltages:
        notes.append(Note("no_distance", "Without voltages there is no distance."))
    elif line is None:
        notes.append(Note("no_distance", "The record's settings do not tell the line."))
    else:
        return kind, _locate(kind, turned, steady, line, notes)
    return kind, None


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


def _locate(
    kind: str, turned: Turned, steady: Ints, line: Line, notes: list[Note]
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
        when.fault_end_s,
        when.fault_s,
    )
