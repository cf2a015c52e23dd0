"""When things happened in an event: inception, trip, opening, clearing, reclosing; and I²t.

Times are seconds after the first sample of the record; what did not happen within it is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from workspace_lib.errors import ParameterError
from workspace_lib.reclosers.phasors import samples_per_cycle
from workspace_lib.reclosers.record import Bits, EventRecord, Floats, Ints

#: Bits of trip, of closed contacts and of close commands, as relays of the family name them.
TRIP_BITS: Final = ("TRIP", "TRIP3P", "TRIPA", "TRIPB", "TRIPC")
CLOSED_BITS: Final = ("52A", "52A3P", "52AA", "52AB", "52AC")
CLOSE_BITS: Final = ("CLOSE", "CLOSE3P")
#: Bits that tell which shot of the reclosing sequence it is, by the family.
SHOT_BITS: Final = (
    ("SH0", "SH1", "SH2", "SH3", "SH4"),
    ("SH03P", "SH13P", "SH23P", "SH33P", "SH43P"),
)
LOCKOUT_BITS: Final = ("79LO", "79LO3P")
#: A current is none below this share of the largest one of the event [1].
OPEN_SHARE: Final = 0.05
#: Nor is it one below this share of the load at first, or of the largest, whichever is more [1].
LOAD_SHARE: Final = 0.5
NOISE_SHARE: Final = 0.005
#: A current changes where it differs from that a cycle before by this share of its steady peak [1].
CHANGE_SHARE: Final = 0.3
#: The sum of the phases changes by this share of the phases' steady peak, at least [1].
REST_SHARE: Final = 0.1
#: Currents are whole just before they end from this share of their size before on [1].
WHOLE: Final = 0.7
#: Currents that only end do not rise by more than this [1].
RISE: Final = 1.1


@dataclass(frozen=True)
class Timing:
    """Times of an event [s after the first sample] and what follows from them.

    ``clearing_s`` is from inception to the end of all currents, ``relay_s`` to the trip,
    ``opening_s`` from the trip to that end, ``dead_s`` from the end of currents to closed contacts.
    ``fault_end_s`` is that end, or where currents went back to those before because another
    recloser or a fuse cleared the fault; half a cycle late where the relay's filter lets it fade.
    ``i2t`` is ∫ i² dt of the phase that carried most, from inception to the fault's end [A² s].
    ``locked_out`` is None where the record has no bit of a lockout.
    """

    inception_s: float | None
    trip_s: float | None
    contacts_open_s: float | None
    current_zero_s: float | None
    reclosed_s: float | None
    shot: int | None
    locked_out: bool | None
    fault_end_s: float | None
    i2t: float | None

    @property
    def clearing_s(self) -> float | None:
        """From inception to the end of all currents [s]."""
        return _after(self.inception_s, self.current_zero_s)

    @property
    def fault_s(self) -> float | None:
        """From inception to the end of the fault, whoever cleared it [s]."""
        return _after(self.inception_s, self.fault_end_s)

    @property
    def relay_s(self) -> float | None:
        """From inception to the trip [s]."""
        return _after(self.inception_s, self.trip_s)

    @property
    def opening_s(self) -> float | None:
        """From the trip to the end of all currents [s]."""
        return _after(self.trip_s, self.current_zero_s)

    @property
    def dead_s(self) -> float | None:
        """From the end of currents to closed contacts [s]."""
        return _after(self.current_zero_s, self.reclosed_s)


def timing(event: EventRecord, currents: Sequence[str] = ("IA", "IB", "IC")) -> Timing:
    """Return when what happened in an event.

    Raises
    ------
    ParameterError
        If the event has none of the currents.
    DataQualityError
        If its sampling rate gives no cycles.
    """
    names = [channel.name for channel in event.analog]
    known = [name for name in currents if name in names]
    if not known:
        raise ParameterError(
            f"The event has none of the currents {', '.join(currents)}.",
            fix=f"It has: {', '.join(names)}.",
        )
    per_cycle = samples_per_cycle(event)
    values = np.column_stack([event.channel(name) for name in known]) * event.peak_factor
    zero = _unfiltered(values, per_cycle, _current_zero(values, per_cycle))
    inception = _inception(values, per_cycle, zero)
    ended = _fault_end(values, per_cycle, inception) if zero is None else zero
    time = event.t_s
    trip = _first(_any(event, TRIP_BITS), rising=True)
    closed = _any(event, CLOSED_BITS)
    opened = _first(closed, rising=False)
    return Timing(
        _at(time, inception),
        _at(time, trip),
        _at(time, opened),
        _at(time, zero),
        _at(time, None if opened is None else _first(closed, rising=True, after=opened)),
        _shot(event),
        _locked_out(event),
        _at(time, ended),
        _i2t(values, time, inception, ended),
    )


def _inception(values: Floats, per_cycle: int, end: int | None) -> int | None:
    """Return the first sample that differs from the one a cycle before by more than load does.

    The sum of the phases is looked at beside them: a weak fault to ground changes it more than its
    phase under heavy load. From the sample that tells it is gone back to where the change began,
    a quarter-cycle at most.
    """
    if len(values) <= per_cycle:
        return None
    known = np.nan_to_num(values)
    peak = np.abs(known).max(initial=0.0)
    steady = np.abs(known[: 2 * per_cycle]).max(initial=0.0)
    rest = known.sum(axis=1)
    limits = (
        max(CHANGE_SHARE * steady, OPEN_SHARE * peak),
        max(
            CHANGE_SHARE * np.abs(rest[: 2 * per_cycle]).max(initial=0.0),
            REST_SHARE * steady,
            OPEN_SHARE * peak,
        ),
    )
    # A missing sample tells of no change.
    phases = np.abs(values[per_cycle:] - values[:-per_cycle])
    change = np.nan_to_num(phases).max(axis=1, initial=0.0)
    sums = np.nan_to_num(values.sum(axis=1))
    rest_change = np.abs(sums[per_cycle:] - sums[:-per_cycle])
    rest_change[np.isnan(phases).any(axis=1)] = 0.0
    found = np.flatnonzero((change > limits[0]) | (rest_change > limits[1]))
    if not len(found):
        return None
    first = int(found[0])
    quarter = max(1, per_cycle // 4)
    before = change[max(0, first - quarter - per_cycle) : max(0, first - quarter)]
    still = max(1.5 * before.max(initial=0.0), 0.02 * limits[0])
    calm = np.flatnonzero(change[max(0, first - quarter) : first] <= still)
    back = first - max(0, first - quarter) - (int(calm[-1]) + 1 if len(calm) else 0)
    begun = first - back + per_cycle
    return None if _only_ends(known, begun, end, per_cycle) else begun


def _only_ends(values: Floats, begun: int, end: int | None, per_cycle: int) -> bool:
    """Return whether a change is that of currents that end, as when it is opened by hand.

    Poles end up to half a cycle one after the other, and a relay's filter lets them fade in one.
    """
    if end is None or begun >= end:
        return end is not None
    if end - begun > 3 * per_cycle // 2:
        return False
    before = np.abs(values[max(0, begun - per_cycle) : begun]).max(axis=0, initial=0.0)
    after = np.abs(values[begun:end]).max(axis=0, initial=0.0)
    return end - begun <= per_cycle // 2 or bool((after <= RISE * before).all())


def _current_zero(values: Floats, per_cycle: int) -> int | None:
    """Return the first sample of the time without current that lasts half a cycle.

    Within a cycle every phase passes zero: without current is a whole half-cycle of it. Of a
    missing sample nothing is known. A load that comes back after a fault is a current, however
    small it is beside that: half of what flowed at first is none only below a 200th of the most.
    """
    level = np.abs(values).max(axis=1, initial=0.0)
    top = np.nan_to_num(level).max(initial=0.0)
    load = np.nan_to_num(level[: 2 * per_cycle]).max(initial=0.0)
    least_current = OPEN_SHARE * top
    if load > 0:
        least_current = min(least_current, max(LOAD_SHARE * load, NOISE_SHARE * top))
    flowing = level > least_current
    if not flowing.any():
        return None
    least = max(2, per_cycle // 2)
    first = int(np.argmax(flowing))
    quiet = level[first:] <= least_current
    # How many of the last samples were quiet, by a running sum.
    sums = np.concatenate(([0], np.cumsum(quiet)))
    whole = np.flatnonzero(sums[least:] - sums[:-least] == least)
    return first + int(whole[0]) if len(whole) else None


def _unfiltered(values: Floats, per_cycle: int, zero: int | None) -> int | None:
    """Return when currents ended whose relay has filtered them: they fade over the filter's cycle.

    Unfiltered ones are whole until they end: two samples a quarter-cycle apart tell.
    """
    quarter = per_cycle // 4
    if zero is None or zero < 4 * per_cycle or per_cycle % 4:
        return zero
    sizes = np.hypot(values[quarter:zero], values[: zero - quarter]).max(axis=1)
    if np.isnan(sizes).any():
        return zero
    steady = float(np.median(sizes[-3 * per_cycle : -2 * per_cycle]))
    return zero if sizes[-1] >= WHOLE * steady else zero - per_cycle + per_cycle // 16


def _fault_end(values: Floats, per_cycle: int, inception: int | None) -> int | None:
    """Return when currents went back to those before the fault, None where they did not.

    What the fault adds is the difference from the cycle before it, repeated.
    """
    if inception is None or inception < per_cycle:
        return None
    before = values[inception - per_cycle : inception]
    rows = np.arange(len(values) - inception) % per_cycle
    added = np.nan_to_num(np.abs(values[inception:] - before[rows])).max(axis=1, initial=0.0)
    lasting = np.flatnonzero(added > CHANGE_SHARE * added.max(initial=0.0))
    if not len(lasting) or len(added) - int(lasting[-1]) <= per_cycle:
        return None
    return inception + int(lasting[-1]) + 1


def _i2t(values: Floats, time: Floats, first: int | None, end: int | None) -> float | None:
    if first is None or end is None or end <= first:
        return None
    part = np.nan_to_num(values[first : end + 1]) ** 2
    return float(np.trapezoid(part, time[first : end + 1], axis=0).max())


def _any(event: EventRecord, names: Sequence[str]) -> Bits:
    known = {channel.name for channel in event.digital}
    states = np.zeros(event.samples, dtype=np.bool_)
    for name in names:
        if name in known:
            states = states | event.bit(name)
    return states


def _first(states: Bits, *, rising: bool, after: int = 0) -> int | None:
    """Return the first sample after ``after`` at which a state has changed."""
    changes: Ints = np.flatnonzero(
        states[1:] & ~states[:-1] if rising else ~states[1:] & states[:-1]
    )
    later = changes[changes >= after]
    return int(later[0]) + 1 if len(later) else None


def _shot(event: EventRecord) -> int | None:
    """Return the shot of the reclosing sequence at the trigger."""
    known = {channel.name for channel in event.digital}
    row = 0 if event.trigger_s is None else int(np.searchsorted(event.t_s, event.trigger_s))
    row = min(row, event.samples - 1)
    for family in SHOT_BITS:
        for number, name in enumerate(family):
            if name in known and event.bit(name)[row]:
                return number
    return None


def _locked_out(event: EventRecord) -> bool | None:
    if not {channel.name for channel in event.digital}.intersection(LOCKOUT_BITS):
        return None
    return bool(_any(event, LOCKOUT_BITS).any())


def _at(time: Floats, sample: int | None) -> float | None:
    return None if sample is None else float(time[sample])


def _after(first: float | None, last: float | None) -> float | None:
    return None if first is None or last is None or last < first else last - first
