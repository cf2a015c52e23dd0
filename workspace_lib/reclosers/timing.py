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
#: A current changes where it differs from that a cycle before by this share of its steady peak [1].
CHANGE_SHARE: Final = 0.3


@dataclass(frozen=True)
class Timing:
    """Times of an event [s after the first sample] and what follows from them.

    ``clearing_s`` is from inception to the end of all currents, ``relay_s`` to the trip,
    ``opening_s`` from the trip to that end, ``dead_s`` from the end of currents to closed contacts.
    ``i2t`` is ∫ i² dt of the phase that carried most, from inception to the end [A² s].
    """

    inception_s: float | None
    trip_s: float | None
    contacts_open_s: float | None
    current_zero_s: float | None
    reclosed_s: float | None
    shot: int | None
    locked_out: bool
    i2t: float | None

    @property
    def clearing_s(self) -> float | None:
        """From inception to the end of all currents [s]."""
        return _after(self.inception_s, self.current_zero_s)

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
    zero = _current_zero(values, per_cycle)
    inception = _inception(values, per_cycle, zero)
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
        bool(_any(event, LOCKOUT_BITS).any()),
        _i2t(values, time, inception, zero),
    )


def _inception(values: Floats, per_cycle: int, end: int | None) -> int | None:
    """Return the first sample that differs from the one a cycle before by more than load does."""
    change = np.abs(values[per_cycle:] - values[:-per_cycle]).max(axis=1, initial=0.0)
    steady = np.abs(values[: 2 * per_cycle]).max(initial=0.0)
    limit = max(CHANGE_SHARE * steady, OPEN_SHARE * np.nanmax(np.abs(values), initial=0.0))
    found = np.flatnonzero(change > limit)
    if not len(found):
        return None
    first = int(found[0]) + per_cycle
    # Currents that only end (a recloser opened by hand) are no inception.
    return None if end is not None and first >= end else first


def _current_zero(values: Floats, per_cycle: int) -> int | None:
    """Return the first sample of the time without current that lasts to the end, or a cycle."""
    level = np.nan_to_num(np.abs(values).max(axis=1, initial=0.0))
    flowing = level > OPEN_SHARE * level.max(initial=0.0)
    if not flowing.any():
        return None
    # Within a cycle every phase passes zero: without current is a whole half-cycle of it.
    quiet = ~flowing
    run = 0
    for number in range(int(np.argmax(flowing)), len(quiet)):
        run = run + 1 if quiet[number] else 0
        if run >= max(2, per_cycle // 2):
            return number - run + 1
    return None


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


def _at(time: Floats, sample: int | None) -> float | None:
    return None if sample is None else float(time[sample])


def _after(first: float | None, last: float | None) -> float | None:
    return None if first is None or last is None or last < first else last - first
