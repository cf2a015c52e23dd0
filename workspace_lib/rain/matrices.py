"""Sparse matrices of rain, one UTC year each: rows are gauges, columns the minutes of the year.

Two matrices have one sparsity: counts of tips, and calibrated depths [mm]. Column *j* holds the
rows whose stamp lies in [epoch + 60 s·j, epoch + 60 s·(j + 1)); a stamp ends the step it counts.
A cell that is not stored is no rain *or* no data: the coverage beside the values tells which.
Needs scipy (extra ``notebooks``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from scipy.sparse import csr_array

from workspace_lib.clock import from_us, to_us
from workspace_lib.errors import DataQualityError, ParameterError
from workspace_lib.rain import queries
from workspace_lib.rain.analysis import US, Coverage, Floats, Ints, TipSeries
from workspace_lib.rain.settings import Gauge
from workspace_lib.store.engines import Store

STEP_S: Final = 60
_STEP_US: Final = STEP_S * US


@dataclass(frozen=True)
class RainMatrix:
    """The rain of gauges in one UTC year.

    ``tips`` (int32) and ``rain_mm`` [mm] (float64) are ``csr_array`` of shape (gauges, minutes)
    with sorted columns and no stored zeros. ``rain_mm`` has the sparsity of ``tips`` but for the
    cells of ``uncalibrated``: those have tips and no known depth, so no number stands for them
    (NaN is never stored). ``coverage`` and ``calibration`` (the versions that made the depths) go
    with the rows.
    """

    year: int
    gauges: tuple[str, ...]
    tips: Any
    rain_mm: Any
    uncalibrated: Ints
    coverage: tuple[Coverage, ...]
    calibration: tuple[tuple[str, ...], ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of gauges and of minutes."""
        return len(self.gauges), minutes_of(self.year)

    @property
    def epoch_us(self) -> int:
        """Begin of the first column [µs since 1970]."""
        return epoch_us(self.year)

    @property
    def timestamps(self) -> Ints:
        """Begin of each column [s since 1970 UTC], the stamp of a row on the full minute."""
        return self.epoch_us // US + STEP_S * np.arange(minutes_of(self.year), dtype=np.int64)

    @property
    def calibrated(self) -> bool:
        """Whether every cell with tips has a depth."""
        return not len(self.uncalibrated)

    def uncalibrated_cells(self) -> tuple[Ints, Ints]:
        """Return the row and the column of each cell that has tips and no known depth."""
        rows = np.searchsorted(self.tips.indptr, self.uncalibrated, side="right") - 1
        return rows.astype(np.int64), self.tips.indices[self.uncalibrated].astype(np.int64)

    def row(self, gauge: str) -> RainMatrix:
        """Return the matrix of one gauge, of shape (1, minutes).

        Raises
        ------
        ParameterError
            If the matrix has no such gauge.
        """
        if gauge not in self.gauges:
            raise ParameterError(
                f"The matrix of {self.year} has no gauge {gauge!r}.",
                fix=f"It has: {', '.join(self.gauges)}.",
            )
        at = self.gauges.index(gauge)
        first, last = self.tips.indptr[at : at + 2].tolist()
        mine = (self.uncalibrated >= first) & (self.uncalibrated < last)
        return RainMatrix(
            self.year,
            (gauge,),
            self.tips[at : at + 1],
            self.rain_mm[at : at + 1],
            self.uncalibrated[mine] - first,
            (self.coverage[at],),
            (self.calibration[at],),
        )

    def covered(self, gauge: str) -> Any:
        """Return for each minute whether at least half of it has rows, as bool[minutes].

        Minute *j* is the one that ends at the stamp ``timestamps[j]``.
        """
        ends = self.timestamps * US
        share = self.coverage[self.gauges.index(gauge)].missing_share(ends - _STEP_US, ends)
        return share <= 0.5

    def missing_share(self, gauge: str) -> float:
        """Return the share of the year's time without rows, 0 to 1 [1]."""
        begin, end = span_us(self.year)
        return float(self.coverage[self.gauges.index(gauge)].missing_share(begin, end))


def minutes_of(year: int) -> int:
    """Return how many minutes a UTC year has: 525,600 or 527,040.

    Raises
    ------
    ParameterError
        If the year is not one that instants can have here.
    """
    if not 1970 <= year <= 2261:
        raise ParameterError(f"There is no matrix of the year {year}.", fix="Give 1970 to 2261.")
    return (epoch_us(year + 1) - epoch_us(year)) // _STEP_US


def epoch_us(year: int) -> int:
    """Return Jan 1 00:00 UTC of a year [µs since 1970]."""
    return to_us(datetime(year, 1, 1, tzinfo=UTC))


def span_us(year: int) -> tuple[int, int]:
    """Return the time (from, to] that the stamps of a year count [µs since 1970].

    The row stamped at midnight of New Year counts the last minute before it.
    """
    return epoch_us(year) - _STEP_US, epoch_us(year + 1) - _STEP_US


def read_matrix(store: Store, gauges: Sequence[Gauge], year: int) -> RainMatrix:
    """Make the matrix of a year from what the store holds: of the network, or of one gauge."""
    series = calibrated_year(store, gauges, year)
    return build([series[gauge.id] for gauge in gauges], year)


def calibrated_year(store: Store, gauges: Sequence[Gauge], year: int) -> dict[str, TipSeries]:
    """Return the rain of a UTC year with its calibrated depths, by the gauges' house names.

    It begins a minute before, so that what the first row counts is covered.
    """
    begin, _ = span_us(year)
    end = epoch_us(year + 1) - 1  # a row stamped at midnight is of the next year
    return queries.calibrated(store, gauges, from_us(begin), from_us(end))


def build(series: Sequence[TipSeries], year: int) -> RainMatrix:
    """Make the matrix of a year from the rain of gauges, one row each, in their order.

    Rows of other years are left out; rows within one minute are added. A depth that is no positive
    number is no depth: its cell is named in ``uncalibrated``.
    """
    minutes, epoch = minutes_of(year), epoch_us(year)
    columns, tips, depths = [], [], []
    for one in series:
        column = (np.asarray(one.t_us, np.int64) - epoch) // _STEP_US
        mine = (column >= 0) & (column < minutes) & (np.asarray(one.tips) > 0)
        known = np.full(len(column), np.nan) if one.rain_mm is None else one.rain_mm
        cell, count, depth = _by_minute(column[mine], one.tips[mine], known[mine])
        columns.append(cell)
        tips.append(count)
        depths.append(depth)
    indptr = np.concatenate(([0], np.cumsum([len(cells) for cells in columns]))).astype(np.int32)
    begin, end = span_us(year)
    return assemble(
        year,
        tuple(one.gauge for one in series),
        indices=np.concatenate([np.zeros(0, np.int32), *columns]).astype(np.int32),
        indptr=indptr,
        tips=np.concatenate([np.zeros(0, np.int32), *tips]).astype(np.int32),
        depths=np.concatenate([np.zeros(0), *depths]),
        coverage=tuple(_clipped(one.coverage, begin, end) for one in series),
        calibration=tuple(one.calibration for one in series),
    )


def assemble(
    year: int,
    gauges: tuple[str, ...],
    *,
    indices: Any,
    indptr: Any,
    tips: Any,
    depths: Floats,
    coverage: tuple[Coverage, ...],
    calibration: tuple[tuple[str, ...], ...],
) -> RainMatrix:
    """Put a matrix together from the arrays of its common sparsity, and check them.

    ``depths`` [mm] has one entry per cell; what is no positive number there is uncalibrated.

    Raises
    ------
    DataQualityError
        If the arrays contradict each other or the year, or hold zeros.
    """
    shape = (len(gauges), minutes_of(year))
    checks = {
        "a row for each gauge": len(indptr) == shape[0] + 1 and len(coverage) == shape[0],
        "calibration versions for each gauge": len(calibration) == shape[0],
        "rows that follow each other": not len(indptr)
        or (indptr[0] == 0 and indptr[-1] == len(indices) and not np.any(np.diff(indptr) < 0)),
        "as many values as cells": len(tips) == len(indices) == len(depths),
        "minutes of the year": not len(indices)
        or (indices.min() >= 0 and indices.max() < shape[1]),
        "stored counts of at least one tip": not np.any(np.asarray(tips) <= 0),
        "intervals of coverage that end after they begin": all(
            len(one.start_us) == len(one.end_us) and not np.any(one.end_us <= one.start_us)
            for one in coverage
        ),
    }
    wrong = [what for what, right in checks.items() if not right]
    if not wrong and _unsorted(indices, indptr):
        wrong = ["minutes in order, each once"]
    if wrong:
        raise DataQualityError(
            f"A matrix of {year} has not: {'; '.join(wrong)}.", fix="Make it again from the store."
        )
    known = np.isfinite(depths) & (depths > 0)
    counts = csr_array((np.asarray(tips, np.int32), indices, indptr), shape=shape)
    before = np.concatenate(([0], np.cumsum(known))).astype(np.int32)
    rain = csr_array((depths[known], indices[known], before[indptr]), shape=shape)
    for matrix in (counts, rain):
        matrix.eliminate_zeros()
        matrix.has_canonical_format = True
    return RainMatrix(
        year, gauges, counts, rain, np.flatnonzero(~known).astype(np.int64), coverage, calibration
    )


def _by_minute(column: Ints, tips: Ints, depth: Floats) -> tuple[Ints, Ints, Floats]:
    """Add what lies in one minute; a minute with one unknown depth is of unknown depth."""
    if not len(column):
        return column, tips, depth
    first = np.flatnonzero(np.diff(column, prepend=-1))
    usable = np.where(depth > 0, depth, np.nan)
    return column[first], np.add.reduceat(tips, first), np.add.reduceat(usable, first)


def _clipped(coverage: Coverage, begin: int, end: int) -> Coverage:
    start, stop = np.clip(coverage.start_us, begin, end), np.clip(coverage.end_us, begin, end)
    inside = stop > start
    return Coverage(start[inside], stop[inside])


def _unsorted(indices: Any, indptr: Any) -> bool:
    steps = np.diff(indices) > 0
    new_row = np.zeros(len(indices) + 1, bool)
    new_row[indptr] = True
    return bool(np.any(~steps & ~new_row[1:-1][: len(steps)]))
