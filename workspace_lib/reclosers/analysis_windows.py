"""Which parts of a record show what was before and during a fault, and phasors there.

The cosine filter gives phasors, or quarter-cycle pairs where rows are the relay's filtered ones. Of
a fault those rows count at which phasors stand still: neither its beginning nor its end is in the
filter's window then, and an offset that decays has gone.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from workspace_lib.reclosers.analysis_values import Moment, Phasor
from workspace_lib.reclosers.channels import CURRENTS, VOLTAGES, ThreePhase
from workspace_lib.reclosers.faults import Phasors, Three
from workspace_lib.reclosers.frequency import rotation
from workspace_lib.reclosers.phasors import (
    Complexes,
    cosine,
    degrees,
    fourier,
    from_filtered,
    sequences,
)
from workspace_lib.reclosers.record import NS, EventRecord, Ints

#: Phasors count as steady that change by less than this in half a cycle, or twice the least [1].
STEADY: Final = 0.02
#: What a fault adds is this share of the most it adds, at least [1].
HELD: Final = 0.5
#: Rows of a fault that are looked at.
MOST_WINDOWS: Final = 32


def phasors_of(measured: ThreePhase) -> tuple[Complexes, Complexes | None]:
    """Return phasors of currents and voltages, shape (samples, 3) each."""
    values, per_cycle = measured.event.values, measured.per_cycle
    if measured.filtered:
        found = from_filtered(values / math.sqrt(2), per_cycle)
    else:
        found = (cosine if per_cycle % 4 == 0 else fourier)(values, per_cycle)
    return found[:, :3], found[:, 3:] if measured.voltages else None


def row_at(event: EventRecord, seconds: float | None) -> int | None:
    """Return the row of a time after the first sample [s]; None of None."""
    if seconds is None:
        return None
    row = int(np.searchsorted(event.t_ns, round(seconds * NS) - 1))
    return min(row, event.samples - 1)


def frequency_before(
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


def row_before(currents: Complexes, reference: int, per_cycle: int, filtered: bool) -> int | None:
    """Return the last row with known phasors well before ``reference``, or just before it.

    A relay's filter lets a fault begin slowly, so that rows just before it are of the fault.
    """
    for margin in (per_cycle if filtered else per_cycle // 2, max(1, per_cycle // 4)):
        known = np.flatnonzero(np.isfinite(currents[: max(0, reference - margin + 1)]).all(axis=1))
        if len(known):
            return int(known[-1])
    return None


def steady_rows(
    measured: ThreePhase,
    currents: Complexes,
    inception: int | None,
    end: int | None,
    then: int | None,
) -> Ints:
    """Return the rows of the fault at which phasors are steady, at most `MOST_WINDOWS`.

    Rows whose currents are nearer to those at row ``then``, before the fault, are none of it.
    """
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
    if then is not None:
        added = np.abs(currents[rows] - currents[then]).max(axis=1)
        rows = rows[added >= HELD * added.max()]
    half = max(1, per_cycle // 2)
    change = np.abs(currents[rows] - currents[rows - half]).max(axis=1)
    share = change / np.abs(currents[rows]).max(axis=1).clip(min=1e-9)
    share[rows - half < first] = np.inf  # its window begins before the fault
    if not np.isfinite(share).any():
        return rows[-1:]
    kept: Ints = rows[share <= max(STEADY, 2 * float(np.nanmin(share)))]
    if len(kept) > MOST_WINDOWS:
        kept = kept[np.linspace(0, len(kept) - 1, MOST_WINDOWS).astype(np.int64)]
    return kept


def grown_by(currents: Complexes, then: int | None, steady: Ints) -> float | None:
    """Return by how much the current that changed most has changed since row ``then`` [A]."""
    if then is None or not len(steady):
        return None
    return float(np.abs(currents[steady[len(steady) // 2]] - currents[then]).max())


class Turned:
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

    @property
    def load_known(self) -> bool:
        """Whether there is a row before the fault."""
        return self._then is not None

    @property
    def voltages(self) -> bool:
        """Whether there are voltages."""
        return self._volts is not None

    def at(self, row: int) -> Phasors:
        """Return the phasors at a row; voltages are 0 where there are none."""
        return Phasors(_three(self._currents, row), _three(self._volts, row))

    def before(self, row: int) -> Phasors:
        """Return the phasors of the load as they would be at a row; 0 where it is not known."""
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


def origin_of(currents: Complexes, volts: Complexes | None, row: int | None) -> complex:
    """Return what angles are told against: the positive sequence voltage, else current."""
    if row is None:
        return 1.0 + 0j
    for source in (volts, currents):
        if source is not None:
            one = complex(sequences(*source[row])[1])
            if np.isfinite(one) and abs(one) > 0:
                return one
    return 1.0 + 0j


def moment_at(
    event: EventRecord,
    currents: Complexes,
    volts: Complexes | None,
    row: int | None,
    origin: complex,
) -> Moment | None:
    """Return the phasors of a row by name, angles against ``origin``; None of None."""
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
