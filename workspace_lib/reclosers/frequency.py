"""The frequency of the power system during an event, by how fast phasors turn.

A phasor of the nominal frequency f₀ stands still; one of f turns by 2π (f − f₀) per second, so that
f = f₀ + Δθ / (2π Δt) (Phadke, Thorp, Adamiak 1983). Δt is one nominal cycle. Of three phases the
positive sequence is taken, because there the error of a window that is no whole period cancels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from workspace_lib.errors import ParameterError
from workspace_lib.reclosers.phasors import Complexes, fourier, samples_per_cycle, sequences
from workspace_lib.reclosers.record import EventRecord, Floats

#: Voltages by which frequency is told, the first set that an event has.
VOLTAGES: Final = (("VA", "VB", "VC"), ("VAY", "VBY", "VCY"), ("VAZ", "VBZ", "VCZ"))
#: Below this share of its largest magnitude a phasor tells no frequency [1].
LEAST_SHARE: Final = 0.2


def frequency(event: EventRecord, channels: Sequence[str] | None = None) -> Floats:
    """Return the frequency at each sample [Hz], shape (samples,); NaN where it cannot be told.

    The first two cycles tell none, nor do those of a voltage that is gone; a change of phase, as
    a fault makes, shows as a short false excursion of up to two cycles.

    Parameters
    ----------
    channels : sequence of str, optional
        One channel, or the three phases in the order of their rotation; else the voltages.

    Raises
    ------
    ParameterError
        If the event has no such channels, or they are neither one nor three.
    DataQualityError
        If the record has no single rate of a whole number of samples per cycle.
    """
    per_cycle = samples_per_cycle(event)
    names = _channels(event) if channels is None else tuple(channels)
    if len(names) not in (1, 3):
        raise ParameterError(
            f"{len(names)} channels give no frequency.", fix="Name one, or three phases."
        )
    phasors = [fourier(event.channel(one) * event.peak_factor, per_cycle) for one in names]
    turning: Complexes = phasors[0] if len(names) == 1 else sequences(*phasors)[1]
    assert event.frequency_hz is not None  # samples_per_cycle needs it
    return rotation(turning, per_cycle, event.frequency_hz)


def rotation(phasors: Complexes, per_cycle: int, nominal_hz: float) -> Floats:
    """Return the frequency at each sample [Hz] of phasors that stand still at ``nominal_hz``.

    Parameters
    ----------
    phasors : complex array, shape (samples,)
        As `workspace_lib.reclosers.phasors.fourier` gives them.
    per_cycle : int
        Samples of a nominal cycle.
    """
    found: Floats = np.full(len(phasors), np.nan)
    if len(phasors) <= per_cycle:
        return found
    sizes = np.abs(phasors)
    if np.all(np.isnan(sizes)):
        return found
    now, before = phasors[per_cycle:], phasors[:-per_cycle]
    turned = np.angle(now * before.conj())
    least = LEAST_SHARE * np.nanmax(sizes)
    told = (np.abs(now) > least) & (np.abs(before) > least)
    found[per_cycle:] = np.where(told, nominal_hz * (1 + turned / (2 * np.pi)), np.nan)
    return found


def _channels(event: EventRecord) -> tuple[str, ...]:
    known = {one.name for one in event.analog}
    for names in VOLTAGES:
        if known.issuperset(names):
            return names
    raise ParameterError(
        "The event has no three voltages to tell frequency by.", fix="Name its channels."
    )
