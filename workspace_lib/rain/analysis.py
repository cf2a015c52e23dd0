"""Sums of rain over time windows, totals, and how much of the time is missing: pure numpy.

A row stamped t counts the tips of the step that ends at t, so every interval here is open at its
start and closed at its end: (t - w, t]. Windows are stretches of time, never numbers of rows, and
every sum comes with the share of its time for which there is no row: missing is not zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workspace_lib.errors import ParameterError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

US: Final = 1_000_000
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

    def up_to(self, at_us: ArrayLike) -> Ints:
        """Return the covered time up to each instant [µs]."""
        at = np.asarray(at_us, dtype=np.int64)
        if not len(self.start_us):
            return np.zeros_like(at)
        which = np.searchsorted(self.start_us, at, side="right")
        last = np.maximum(which - 1, 0)
        inside = np.clip(at - self.start_us[last], 0, self.end_us[last] - self.start_us[last])
        covered: Ints = self._before[last] + inside
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
    named; None if nobody asked for it.
    """

    gauge: str
    name: str
    t_us: Ints
    tips: Ints
    coverage: Coverage
    mm_per_tip: float | None = None
    rain_mm: Floats | None = None
    calibration: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """Unit of its depths: mm, or tips where the depth of a tip is unknown."""
        return "tips" if self.mm_per_tip is None else "mm"

    def depth(self, tips: Any) -> Any:
        """Return the depth of tips in `unit`."""
        return tips if self.mm_per_tip is None else tips * self.mm_per_tip


@dataclass(frozen=True)
class Total:
    """Tips between two instants, their nominal depth [mm] and the share of missing time [1]."""

    tips: int
    rain_mm: float | None
    missing_share: float


@dataclass(frozen=True)
class Hyetograph:
    """Rain in equal bins and its running sum, in the unit of the series.

    ``edges_us`` [µs since 1970] has one more entry than ``depth`` (NaN where a whole bin is
    missing); ``cumulative`` belongs to the edges; ``gaps`` are (start, end] [µs].
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


def window_sums(t_us: Ints, tips: Ints, at_us: ArrayLike, window_s: float) -> Ints:
    """Return the tips of (t - w, t] at each instant t.

    Parameters
    ----------
    t_us, tips : array
        Sorted stamps [µs] and the tips of each.
    at_us : array_like
        The instants t [µs].
    window_s : float
        The width w [s].
    """
    at = np.asarray(at_us, dtype=np.int64)
    running = np.concatenate(([0], np.cumsum(tips, dtype=np.int64)))
    until = np.searchsorted(t_us, at, side="right")
    before = np.searchsorted(t_us, at - round(window_s * US), side="right")
    sums: Ints = running[until] - running[before]
    return sums


def sum_steps(t_us: Ints, tips: Ints, window_s: float) -> tuple[Ints, Ints]:
    """Return the sum over (t - w, t] as a step function: instants of change [µs], sums from there.

    The sum changes when tips enter and when they leave; before the first instant it is zero.
    """
    when = np.concatenate((t_us, t_us + round(window_s * US)))
    # A stable sort merges the two sorted halves in one pass, many times faster than any other.
    order = np.argsort(when, kind="stable")
    running = np.cumsum(np.concatenate((tips, -tips))[order], dtype=np.int64)
    when = when[order]
    last = np.append(when[1:] != when[:-1], True)[: len(when)]
    return when[last], running[last]


def maximum(t_us: Ints, tips: Ints, window_s: float) -> tuple[int, int | None]:
    """Return the largest sum over (t - w, t] and the first instant it is reached [µs].

    Sums only grow when tips enter, so those instants suffice.
    """
    if not len(t_us):
        return 0, None
    sums = window_sums(t_us, tips, t_us, window_s)
    where = int(np.argmax(sums))
    return int(sums[where]), int(t_us[where])


def total(series: TipSeries, from_us: int, to_us: int) -> Total:
    """Return what fell in (from, to], with the share of missing time.

    Raises
    ------
    ParameterError
        If the interval is empty.
    """
    missing = float(series.coverage.missing_share(from_us, to_us))
    tips = int(bin_sums(series.t_us, series.tips, np.array([from_us, to_us]))[0])
    rain_mm = None if series.mm_per_tip is None else tips * series.mm_per_tip
    return Total(tips, rain_mm, missing)


def bin_sums(t_us: Ints, tips: Ints, edges_us: Ints) -> Ints:
    """Return the tips between each two edges [µs]: (edge, next edge]."""
    running = np.concatenate(([0], np.cumsum(tips, dtype=np.int64)))
    sums: Ints = np.diff(running[np.searchsorted(t_us, edges_us, side="right")])
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
    tips = bin_sums(series.t_us, series.tips, edges)
    depth = np.asarray(series.depth(tips), dtype=np.float64)
    cumulative = np.concatenate(([0.0], np.cumsum(depth)))
    missing = series.coverage.missing_share(edges[:-1], edges[1:])
    depth = np.where((missing >= 1.0) & (tips == 0), np.nan, depth)
    gaps = series.coverage.gaps(int(edges[0]), min(int(edges[-1]), to_us))
    return Hyetograph(edges, depth, cumulative, tuple(gaps), series.unit)
