"""What is known of a gauge's rain: tips, their depth, and for which time there are rows.

A row stamped t counts the tips of the step that ends at t, so every interval here is open at its
start and closed at its end: (t - w, t]. Every amount comes with the share of its time for which
there is no row, because missing is not zero; and with the tips that no calibration gives a depth,
because uncalibrated is not zero either. Pure numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workspace_lib.errors import DataQualityError, ParameterError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

US: Final = 1_000_000
#: Depths are added up as whole picometres: a sum is exact, whatever was added before it.
PM_PER_MM: Final = 1_000_000_000
#: No row holds more than this [mm]; what does is no depth.
_DEEPEST_MM: Final = 1_000_000.0
#: The windows hydrologists ask for, by the names they use [s].
WINDOWS_S: Final = {
    "P5min": 300,
    "P10min": 600,
    "P15min": 900,
    "P30min": 1800,
    "P1h": 3600,
    "P2h": 7200,
    "P4h": 14_400,
    "P12h": 43_200,
    "P24h": 86_400,
    "P48h": 172_800,
    "P72h": 259_200,
}
#: Two rows no further apart than this many steps have nothing missing between them (59/61 s).
JITTER: Final = 1.5


@dataclass(frozen=True)
class Coverage:
    """For which time there are rows: sorted, disjoint intervals (start, end] [µs since 1970]."""

    start_us: Ints
    end_us: Ints

    @cached_property
    def _before(self) -> Ints:
        """Covered time before each interval [µs]."""
        lengths = self.end_us - self.start_us
        return np.concatenate(([0], np.cumsum(lengths)))

    @cached_property
    def _offset(self) -> Ints:
        """What to subtract from an instant in each interval to get the time covered until it."""
        # Before the first interval nothing is covered, whatever the instant.
        return np.concatenate(([-(2**62)], self.start_us - self._before[:-1]))

    def up_to(self, at_us: ArrayLike) -> Ints:
        """Return the covered time up to each instant [µs]."""
        at = np.asarray(at_us, dtype=np.int64)
        if at.ndim == 1 and len(at) > len(self.start_us) and np.all(at[1:] >= at[:-1]):
            # To look for the few among the many is quicker than for each of the many.
            first = np.searchsorted(at, self.start_us)
            begun = np.cumsum(np.bincount(first, minlength=len(at) + 1)[:-1])
        else:
            begun = np.searchsorted(self.start_us, at, side="right")
        covered: Ints = np.minimum(at - self._offset[begun], self._before[begun])
        return covered

    def missing_share(self, from_us: ArrayLike, to_us: ArrayLike) -> Floats:
        """Return which share of each interval (from, to] has no rows, 0 to 1 [1]."""
        begin, end = np.asarray(from_us, np.int64), np.asarray(to_us, np.int64)
        if np.any(end <= begin):
            raise ParameterError("An interval ends before it begins.", fix="Exchange its ends.")
        covered = self.up_to(end) - self.up_to(begin)
        share: Floats = 1.0 - covered / (end - begin)
        return share

    def gaps(self, from_us: int, to_us: int) -> list[tuple[int, int]]:
        """Return the intervals of (from, to] without rows [µs]."""
        inside = (self.end_us > from_us) & (self.start_us < to_us)
        starts = np.concatenate(([from_us], self.end_us[inside]))
        ends = np.concatenate((self.start_us[inside], [to_us]))
        return [
            (int(start), int(end)) for start, end in zip(starts, ends, strict=True) if end > start
        ]


@dataclass(frozen=True)
class TipSeries:
    """The rain of one gauge: stamps [µs since 1970], sorted, with their tips; and its coverage.

    ``t_us`` holds the rows that have tips; ``coverage`` says for which time there were rows at
    all. ``mm_per_tip`` [mm] is the nominal depth of a tip, None where it is unknown. ``rain_mm``
    [mm] is the calibrated depth of each row, NaN where it has none, by the ``calibration`` versions
    named; None if nobody asked for it, and depths are nominal. ``flags`` says of each row what is
    to be known of its depth (`in_force.Flag`).
    """

    gauge: str
    name: str
    t_us: Ints
    tips: Ints
    coverage: Coverage
    mm_per_tip: float | None = None
    rain_mm: Floats | None = None
    calibration: tuple[str, ...] = ()
    flags: NDArray[np.uint8] | None = None

    @cached_property
    def unit(self) -> str:
        """Unit of its depths: mm, or tips where no tip has a known depth."""
        if self.rain_mm is None:
            return "tips" if self.mm_per_tip is None else "mm"
        return "tips" if len(self.rain_mm) and bool(np.isnan(self.rain_mm).all()) else "mm"

    @cached_property
    def row_pm(self) -> Ints:
        """Depth of each row [pm], 0 where it has none.

        Raises
        ------
        DataQualityError
            If a depth is infinite or beyond all rain.
        """
        if self.rain_mm is None:
            pm_per_tip = round((self.mm_per_tip or 0.0) * PM_PER_MM)
            return np.asarray(self.tips, np.int64) * pm_per_tip
        depths = np.where(np.isnan(self.rain_mm), 0.0, self.rain_mm)
        if np.abs(depths).max(initial=0.0) > _DEEPEST_MM:
            raise DataQualityError(
                f"A row of {self.gauge} is deeper than {_DEEPEST_MM:.0f} mm.",
                fix="Look at its calibration.",
            )
        pm: Ints = np.rint(depths * PM_PER_MM).astype(np.int64)
        return pm

    @cached_property
    def row_uncalibrated(self) -> Ints | None:
        """Tips of each row that have no depth, or None if all have one."""
        if self.rain_mm is None:
            return np.asarray(self.tips, np.int64) if self.mm_per_tip is None else None
        without = np.isnan(self.rain_mm)
        return np.where(without, self.tips, 0) if without.any() else None

    @cached_property
    def running_tips(self) -> Ints:
        """Tips before each row, and of all: one entry more than rows [1]."""
        return _running(self.tips)

    @cached_property
    def running_pm(self) -> Ints:
        """Depth before each row, and of all [pm]."""
        return _running(self.row_pm)

    @cached_property
    def running_uncalibrated(self) -> Ints | None:
        """Tips without a depth before each row, and of all; None if all have one."""
        without = self.row_uncalibrated
        return None if without is None else _running(without)

    def rows_until(self, at_us: ArrayLike) -> Ints:
        """Return how many rows have come by each instant [µs], one stamped then included."""
        rows: Ints = np.searchsorted(self.t_us, np.asarray(at_us, np.int64), side="right")
        return rows

    def amounts(self, begin: Ints, end: Ints) -> Amounts:
        """Return what rows number ``begin`` up to, without, ``end`` hold."""
        return Amounts(self, begin, end)

    def between(self, edges_us: ArrayLike) -> Amounts:
        """Return what fell between each two edges [µs]: (edge, next edge]."""
        rows = self.rows_until(edges_us)
        return self.amounts(rows[:-1], rows[1:])


@dataclass(frozen=True)
class Amounts:
    """Rain of some intervals of a series: rows number ``begin`` up to, without, ``end``.

    All are arrays of one shape, and made when asked for.
    """

    series: TipSeries
    begin: Ints
    end: Ints

    @cached_property
    def tips(self) -> Ints:
        """Tips counted [1]."""
        return self._sum(self.series.running_tips)

    @cached_property
    def rain_pm(self) -> Ints:
        """Depth of those tips that have one [pm]."""
        return self._sum(self.series.running_pm)

    @cached_property
    def uncalibrated(self) -> Ints:
        """Tips that have no depth [1]."""
        without = self.series.running_uncalibrated
        return np.zeros_like(self.end) if without is None else self._sum(without)

    @cached_property
    def rain_mm(self) -> Floats:
        """Depth [mm]: NaN where a tip of the interval has none, exactly 0 where there is no tip."""
        depth: Floats = self.rain_pm / PM_PER_MM
        if self.series.running_uncalibrated is None:
            return depth
        return np.where(self.uncalibrated > 0, np.nan, depth)

    def depth(self, unit: str) -> Floats:
        """Return the amounts in tips or in mm."""
        return self.tips.astype(np.float64) if unit == "tips" else self.rain_mm

    def _sum(self, before: Ints) -> Ints:
        sums: Ints = before[self.end] - before[self.begin]
        return sums


@dataclass(frozen=True)
class Hyetograph:
    """Rain in equal bins and its running sum, in the unit of the series.

    ``edges_us`` [µs since 1970] has one more entry than ``depth`` (NaN where a whole bin is missing
    or a tip has no depth); ``cumulative`` belongs to the edges and is NaN from such a tip on;
    ``gaps`` are (start, end] [µs].
    """

    edges_us: Ints
    depth: Floats
    cumulative: Floats
    gaps: tuple[tuple[int, int], ...]
    unit: str


def coverage_of(t_us: Ints, step_s: float = 60.0) -> Coverage:
    """Return the coverage of rows at sorted stamps, each counting the ``step_s`` [s] before it.

    Rows up to 1.5 steps apart join; after a longer pause the row counts one step alone, also an
    hourly one: what it says of the hour before is not known to be whole.
    """
    if not len(t_us):
        return Coverage(np.zeros(0, np.int64), np.zeros(0, np.int64))
    stamps = np.asarray(t_us, dtype=np.int64)
    breaks = np.flatnonzero(np.diff(stamps) > JITTER * step_s * US) + 1
    first = np.concatenate(([0], breaks))
    last = np.concatenate((breaks - 1, [len(stamps) - 1]))
    return Coverage(stamps[first] - int(step_s * US), stamps[last])


def _running(values: Ints) -> Ints:
    """Return the sum of what stands before each value, and of all: one entry more."""
    sums = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=sums[1:])
    return sums


def bin_edges(from_us: int, to_us: int, bin_s: float) -> Ints:
    """Return edges of whole bins, multiples of ``bin_s`` [s], that hold (from, to] [µs]."""
    width = round(bin_s * US)
    if width <= 0 or to_us <= from_us:
        raise ParameterError("There is no bin between these instants.", fix="Check from and to.")
    first, last = from_us // width, -(-to_us // width)
    return np.arange(first, last + 1, dtype=np.int64) * width


def pleasant_bin_s(span_s: float) -> int:
    """Return a bin width that gives a readable picture of ``span_s`` [s]."""
    for bin_s in (300, 900, 1800, 3600, 3 * 3600, 6 * 3600):
        if span_s / bin_s <= 300:
            return bin_s
    return 86_400


def hyetograph(series: TipSeries, from_us: int, to_us: int, bin_s: float) -> Hyetograph:
    """Return the rain of (from, to] in bins of ``bin_s`` [s] with its running sum."""
    edges = bin_edges(from_us, to_us, bin_s)
    rows = series.rows_until(edges)
    bars, curve = series.amounts(rows[:-1], rows[1:]), series.amounts(rows[:1], rows)
    missing = series.coverage.missing_share(edges[:-1], edges[1:])
    depth = np.where((missing >= 1.0) & (bars.tips == 0), np.nan, bars.depth(series.unit))
    cumulative = curve.depth(series.unit)
    gaps = series.coverage.gaps(int(edges[0]), min(int(edges[-1]), to_us))
    return Hyetograph(edges, depth, cumulative, tuple(gaps), series.unit)
