"""Phasors of currents and voltages, and their symmetrical components: pure numpy.

Magnitudes are RMS values in the unit of the channel, angles follow the cosine. All functions take
instantaneous values unless they say otherwise: multiply what a CEV file holds by its record's
``peak_factor`` first.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workspace_lib.errors import DataQualityError, ParameterError
from workspace_lib.reclosers.record import EventRecord, Floats

Complexes = NDArray[np.complex128]

#: Turns by a third of a circle.
A: Final = complex(-0.5, math.sqrt(3) / 2)


def samples_per_cycle(event: EventRecord) -> int:
    """Return how many samples a nominal cycle has, where it is a whole number of at least 4.

    Raises
    ------
    DataQualityError
        If rate or frequency are not known, change within the record, or do not go together.
    """
    rates = {rate for rate, _ in event.rates}
    if len(rates) != 1 or not event.frequency_hz or 0.0 in rates:
        raise DataQualityError(
            "The record has no single sampling rate and nominal frequency.",
            fix="Resample it before phasors are computed.",
        )
    exact = rates.pop() / event.frequency_hz
    if round(exact) < 4 or abs(exact - round(exact)) > 1e-3 * exact:
        raise DataQualityError(
            f"{exact:g} samples a cycle give no phasors.",
            fix="Take a record with a whole number of samples a cycle, at least 4.",
        )
    return round(exact)


def fourier(values: ArrayLike, per_cycle: int) -> Complexes:
    """Return the phasor of the full cycle that ends with each sample, NaN before the first one.

    X[k] = (√2/N) Σ x[n] e^(−j2πn/N) over the last N samples, turned so that a steady sine keeps
    one phasor (the rotation of the window is taken out). DC and harmonics vanish.

    Parameters
    ----------
    values : array_like, shape (samples,) or (samples, channels)
        Instantaneous values.
    per_cycle : int
        Samples of a nominal cycle, N.
    """
    found = np.asarray(values, dtype=np.float64)
    count = len(found)
    turn = np.exp(-2j * np.pi * np.arange(count) / per_cycle)
    turned = found * (turn if found.ndim == 1 else turn[:, np.newaxis])
    sums: Complexes = np.cumsum(np.nan_to_num(turned), axis=0)
    sums[per_cycle:] -= sums[:-per_cycle].copy()
    phasors: Complexes = sums * (math.sqrt(2) / per_cycle)
    return _known(phasors, found, per_cycle)


def cosine(values: ArrayLike, per_cycle: int) -> Complexes:
    """Return the phasor of the full-cycle cosine filter at each sample, NaN before the first one.

    The filtered value y[k] = (2/N) Σ x[k−N+n] cos(2πn/N), n = 1 … N, and the one a quarter-cycle
    before make the phasor (y[k] + j y[k−N/4]) / √2; decaying DC disturbs it less than `fourier`.
    The rotation of the window is taken out.

    Raises
    ------
    ParameterError
        If a quarter-cycle is no whole number of samples.
    """
    if per_cycle % 4:
        raise ParameterError(
            f"A quarter of {per_cycle} samples is no whole number.", fix="Use the Fourier filter."
        )
    found = np.asarray(values, dtype=np.float64)
    weights = np.cos(2 * np.pi * np.arange(1, per_cycle + 1) / per_cycle) * 2 / per_cycle
    columns = found.reshape(len(found), -1)
    filtered = np.column_stack(
        [np.convolve(np.nan_to_num(column), weights[::-1])[: len(found)] for column in columns.T]
    ).reshape(found.shape)
    return _known(from_filtered(filtered / math.sqrt(2), per_cycle), found, per_cycle * 5 // 4)


def from_filtered(values: ArrayLike, per_cycle: int) -> Complexes:
    """Return phasors of values that the relay has filtered and scaled to RMS, as CEV rows are.

    With X a row and Y the row a quarter-cycle earlier the phasor is X + jY, an RMS value already
    (SEL-387 manual, page 9.18). The rotation from row to row is taken out; NaN for the first
    quarter-cycle.
    """
    found = np.asarray(values, dtype=np.float64)
    quarter = per_cycle // 4
    phasors = np.full(found.shape, np.nan + 0j, dtype=np.complex128)
    phasors[quarter:] = found[quarter:] + 1j * found[:-quarter]
    turn = np.exp(-2j * np.pi * np.arange(len(found)) / per_cycle)
    turned: Complexes = phasors * (turn if found.ndim == 1 else turn[:, np.newaxis])
    return turned


def sequences(a: ArrayLike, b: ArrayLike, c: ArrayLike) -> tuple[Complexes, Complexes, Complexes]:
    """Return the zero, positive and negative sequence of three phases.

    I0 = (A + B + C)/3, I1 = (A + aB + a²C)/3, I2 = (A + a²B + aC)/3 (Fortescue 1918).
    """
    first, second, third = (np.asarray(one, dtype=np.complex128) for one in (a, b, c))
    zero = (first + second + third) / 3
    positive = (first + A * second + A**2 * third) / 3
    negative = (first + A**2 * second + A * third) / 3
    return zero, positive, negative


def degrees(phasor: ArrayLike, reference: complex = 1.0) -> Floats:
    """Return angles against a reference phasor, above −180 up to 180 [deg]."""
    angles = np.degrees(np.angle(np.asarray(phasor) / reference))
    return np.where(angles <= -180.0, angles + 360.0, angles)


def _known(phasors: Complexes, values: Floats, window: int) -> Complexes:
    """Leave out phasors whose window is not whole or holds a missing sample."""
    missing = np.cumsum(np.isnan(values), axis=0)
    before = np.zeros_like(missing)
    before[window:] = missing[:-window]
    phasors[(missing - before) > 0] = np.nan
    phasors[: window - 1] = np.nan
    return phasors
