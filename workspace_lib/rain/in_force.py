"""Which calibration is in force for which row, and for how long a row counts: pure numpy.

Calibrations of a gauge follow each other. Where none is in force there is no depth, or the nominal
one if the site says so, and the rows are flagged either way.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workspace_lib.clock import iso, to_us
from workspace_lib.errors import ParameterError
from workspace_lib.rain.analysis import JITTER, US, Floats, Ints
from workspace_lib.rain.calibration import Calibration

Flags = NDArray[np.uint8]

#: What stands for the version where no record is in force.
UNCALIBRATED: Final = "uncalibrated"
NOMINAL: Final = "nominal"
#: Stands before a declared step that is not the usual one.
STEP: Final = "step:"
USUAL_STEP_S: Final = 60
_ALWAYS_US: Final = 2**62


class Flag(IntFlag):
    """What is to be known of a single calibrated depth."""

    #: It is not known for how long the row counts; the declared step was taken.
    UNKNOWN_INTERVAL = 1
    #: The rate lies outside the domain of the calibration, or the curve gives no depth there.
    BEYOND_DOMAIN = 2
    #: No record is in force; the site allows the nominal depth of a tip.
    NOMINAL = 4
    #: No record is in force: there is no depth.
    UNCALIBRATED = 8
    #: The rows have changed since they were calibrated: there is no depth until the next run.
    PENDING = 16


@dataclass(frozen=True)
class GaugeCalibrations:
    """All calibrations of one gauge, one after the other, and what holds between them.

    ``nominal_mm`` [mm] is the depth of a tip where no record is in force; None: no depth there.
    ``step_s`` [s] is the gauge's declared step: rows of unknown interval are taken to count it.

    Raises
    ------
    ParameterError
        If two are in force at once, or one is of another gauge.
    """

    gauge: str
    records: tuple[Calibration, ...] = ()
    nominal_mm: float | None = None
    step_s: int = USUAL_STEP_S

    def __post_init__(self) -> None:
        """Put the records in the order of time and check that they follow each other."""
        object.__setattr__(
            self, "records", tuple(sorted(self.records, key=lambda one: one.valid_from))
        )
        for one in self.records:
            if one.gauge != self.gauge:
                raise ParameterError(f"A calibration of {one.gauge} is not one of {self.gauge}.")
        for one, after in pairwise(self.records):
            if one.valid_to is None or one.valid_to > after.valid_from:
                raise ParameterError(
                    f"Two calibrations of {self.gauge} are in force at once, that from "
                    f"{iso(one.valid_from)} and that from {iso(after.valid_from)}.",
                    fix=f"End the first one: valid_to: {iso(after.valid_from)}.",
                )

    @cached_property
    def _spans(self) -> tuple[tuple[int, int], ...]:
        """The validity (from, to] of each record [µs]."""
        return tuple(
            (to_us(one.valid_from), to_us(one.valid_to) if one.valid_to else _ALWAYS_US)
            for one in self.records
        )

    @property
    def fallback(self) -> str:
        """What stands for the version where no record is in force."""
        return UNCALIBRATED if self.nominal_mm is None else f"{NOMINAL}:{self.nominal_mm}"

    def at(self, instant_us: int) -> Calibration | None:
        """Return the record in force for a row stamped then [µs], or None."""
        for (start, end), record in zip(self._spans, self.records, strict=True):
            if start < instant_us <= end:
                return record
        return None

    def changes_us(self) -> list[int]:
        """Return the instants after which another version, or none, is in force [µs], sorted."""
        return sorted({edge for span in self._spans for edge in span} - {_ALWAYS_US})

    def versions(self, first_us: int, last_us: int) -> tuple[str, ...]:
        """Return what is in force for stamps from first to last [µs], both included, in order."""
        found = []
        at = first_us - 1  # everything up to here, included, is told
        for (start, end), record in zip(self._spans, self.records, strict=True):
            if end <= at or start >= last_us:
                continue
            if start > at:
                found.append(self.fallback)
            found.append(record.version)
            at = end
        if at < last_us:
            found.append(self.fallback)
        return tuple(dict.fromkeys(found))

    def made_with(self, first_us: int, last_us: int) -> tuple[str, ...]:
        """Return all that depths of stamps from first to last [µs] depend on, beside their rows.

        These are the `versions` in force, and the declared step where it is not the usual one.
        """
        step = () if self.step_s == USUAL_STEP_S else (f"{STEP}{self.step_s}",)
        return (*self.versions(first_us, last_us), *step)

    def depths(
        self, t_us: Ints, tips: Ints, interval_s: Floats, known: NDArray[np.bool_]
    ) -> tuple[Floats, Flags]:
        """Return the depth of each row [mm] (NaN: none) and its flags (`Flag`).

        Parameters
        ----------
        t_us, tips : array
            Stamps [µs] and tips of rows.
        interval_s : array
            For how long each counts [s].
        known : array of bool
            Whether that is known.
        """
        mm = np.full(len(t_us), np.nan)
        flags = np.where(known, 0, int(Flag.UNKNOWN_INTERVAL)).astype(np.uint8)
        left = np.ones(len(t_us), dtype=bool)
        for (start, end), record in zip(self._spans, self.records, strict=True):
            rows = (t_us > start) & (t_us <= end)
            if rows.any():
                mm[rows], beyond = record.depth(tips[rows], interval_s[rows])
                flags[rows] |= np.where(beyond, Flag.BEYOND_DOMAIN, 0).astype(np.uint8)
                left &= ~rows
        if self.nominal_mm is not None:
            mm[left] = tips[left] * self.nominal_mm
        flags[left] |= np.uint8(Flag.UNCALIBRATED if self.nominal_mm is None else Flag.NOMINAL)
        return mm, flags


def row_intervals(
    t_us: Ints, before_us: int | None, step_s: float
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return for how long each row counts [s], and whether that is known.

    A row counts from the row before it, if that is about one step away (loggers jitter by a
    second). After a pause, after an hour without rows, or right after another row (the clock was
    set), nobody knows; then it is taken to count the declared step.

    Parameters
    ----------
    t_us : array
        Sorted stamps of all rows, with and without tips [µs].
    before_us : int, optional
        Stamp of the row before the first one [µs].
    step_s : float
        The declared step [s].
    """
    stamps = np.asarray(t_us, dtype=np.int64)
    step = step_s * US
    pauses = np.diff(stamps, prepend=-_ALWAYS_US if before_us is None else before_us)
    known = (pauses <= JITTER * step) & (2 * pauses >= step)
    return np.where(known, pauses, step) / US, known
