"""Sums of rain over time windows (t - w, t]: as step functions, their largest values, totals.

A sum changes only when a row enters its window, at the row's stamp, or leaves it, one width later.
Between these instants it stands still, so that they and the sums there say all there is. Each part
of a time needs only the rows of the 72 h before it, and parts put together are the whole: a day is
added without reading the past. Depths are added up as whole picometres, so that adding changes
nothing in the last digit either. Pure numpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Final, Literal
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import ArrayLike

from workspace_lib.clock import to_us
from workspace_lib.errors import ParameterError
from workspace_lib.rain.analysis import (
    PM_PER_MM,
    US,
    WINDOWS_S,
    Amounts,
    Coverage,
    Floats,
    Ints,
    TipSeries,
)

#: How far back of an instant its sums reach.
LOOKBACK: Final = timedelta(seconds=max(WINDOWS_S.values()))
Calendar = Literal["day", "month", "year"]


@dataclass(frozen=True)
class WindowSums:
    """Sums over the windows (t - w, t] that end at ``t_us`` [µs since 1970]; w is ``window_s`` [s].

    Of `steps` they hold from their instant up to the next.
    """

    window_s: float
    t_us: Ints
    amounts: Amounts
    coverage: Coverage

    @cached_property
    def missing_share(self) -> Floats:
        """Share of each window's time without rows, 0 to 1 [1]."""
        return self.coverage.missing_share(self.t_us - width_us(self.window_s), self.t_us)


@dataclass(frozen=True)
class Total:
    """What fell in a time, and how much of the time is known: totals of adjacent times add up.

    ``tips`` with their depth ``rain_pm`` [pm], without that of the ``uncalibrated`` ones;
    ``covered_us`` of the ``span_us`` have rows [µs].
    """

    tips: int
    rain_pm: int
    uncalibrated: int
    covered_us: int
    span_us: int

    @property
    def rain_mm(self) -> float:
        """Depth [mm]; NaN if a tip has none."""
        return float("nan") if self.uncalibrated else self.rain_pm / PM_PER_MM

    @property
    def missing_share(self) -> float:
        """Share of the time without rows, 0 to 1 [1]."""
        return 1.0 - self.covered_us / self.span_us

    def __add__(self, other: Total) -> Total:
        return Total(
            self.tips + other.tips,
            self.rain_pm + other.rain_pm,
            self.uncalibrated + other.uncalibrated,
            self.covered_us + other.covered_us,
            self.span_us + other.span_us,
        )


@dataclass(frozen=True)
class Peak:
    """The largest sum over a window, and the first instant it is reached [µs]; None: no rain.

    ``amount`` counts tips or picometres [pm]; ``missing_share`` is that of its window [1].
    """

    amount: int = 0
    at_us: int | None = None
    missing_share: float | None = None

    def or_later(self, later: Peak) -> Peak:
        """Return the larger of two, of equal ones the earlier."""
        return later if later.amount > self.amount else self


@dataclass(frozen=True)
class Records:
    """The total of (from, to] [µs], and by window the largest sums that end at a row in it.

    Windows with a tip that has no depth are left out of ``rain_pm`` [pm]; how many of these tips
    there are stands in the total.
    """

    from_us: int
    to_us: int
    total: Total
    tips: Mapping[str, Peak]
    rain_pm: Mapping[str, Peak]

    @classmethod
    def empty(cls, at_us: int) -> Records:
        """Return the records of no time at all, which begin to grow at an instant [µs]."""
        nothing = dict.fromkeys(WINDOWS_S, Peak())
        return cls(at_us, at_us, Total(0, 0, 0, 0, 0), nothing, nothing)

    def extended(self, series: TipSeries, to_us: int) -> Records:
        """Return the records up to a later instant [µs].

        Parameters
        ----------
        series : TipSeries
            Rows from `LOOKBACK` before ``self.to_us`` on; earlier ones are not needed.
        """
        new = records(series, self.to_us, to_us)
        return Records(
            self.from_us,
            to_us,
            self.total + new.total,
            {window: peak.or_later(new.tips[window]) for window, peak in self.tips.items()},
            {window: peak.or_later(new.rain_pm[window]) for window, peak in self.rain_pm.items()},
        )


@dataclass(frozen=True)
class Period:
    """A day, month or year of a zone, as far as it lies in the time asked for: (from, to] [µs]."""

    name: str
    from_us: int
    to_us: int


def width_us(window_s: float) -> int:
    """Return the width of a window in microseconds.

    Raises
    ------
    ParameterError
        If it is not a positive number of them.
    """
    width = round(window_s * US)
    if width <= 0:
        raise ParameterError("A window must have a width.", fix="Give a positive time.")
    return width


def sums_at(series: TipSeries, window_s: float, at_us: ArrayLike) -> WindowSums:
    """Return the sums of the windows of ``window_s`` [s] that end at these instants [µs]."""
    at = np.atleast_1d(np.asarray(at_us, np.int64))
    rows = series.amounts(series.rows_until(at - width_us(window_s)), series.rows_until(at))
    return WindowSums(window_s, at, rows, series.coverage)


def steps(
    series: TipSeries, window_s: float, from_us: int | None = None, to_us: int | None = None
) -> WindowSums:
    """Return a window's sums as a step function: its instants of change in (from, to], the sums.

    Before the first instant the sum is that at ``from_us`` (`sums_at`); without it, zero.

    Parameters
    ----------
    window_s : float
        Width of the window [s].
    from_us, to_us : int, optional
        Only the changes after the one, up to the other [µs]; rows before ``from_us - window_s``
        are not needed.
    """
    width = width_us(window_s)
    begin = 0 if from_us is None else int(series.rows_until(from_us - width))
    end = len(series.t_us) if to_us is None else int(series.rows_until(to_us))
    # Doubled instants, those of leaving one more, tell one from the other after sorting. A stable
    # sort merges the two sorted halves in one pass, many times faster than any search.
    doubled = 2 * series.t_us[begin:end]
    changes = np.concatenate((doubled, doubled + (2 * width + 1)))
    changes.sort(kind="stable")
    instants, entered = changes >> 1, np.cumsum(~changes & 1)
    # Of changes at one instant the last one leaves the sum that holds.
    last = np.flatnonzero(np.append(instants[1:] != instants[:-1], True)[: len(instants)])
    instants = instants[last]
    first = 0 if from_us is None else int(np.searchsorted(instants, from_us, side="right"))
    until = None if to_us is None else int(np.searchsorted(instants, to_us, side="right"))
    last, instants = last[first:until], instants[first:until]
    entered = entered[last]
    rows = series.amounts(begin + last + 1 - entered, begin + entered)
    return WindowSums(window_s, instants, rows, series.coverage)


def records(series: TipSeries, from_us: int, to_us: int) -> Records:
    """Return the total of (from, to] [µs] and the largest sums that end at a row in it.

    Sums only grow when rows enter. The windows reach `LOOKBACK` before ``from_us``.
    """
    first, last = (int(count) for count in series.rows_until([from_us, to_us]))
    at = series.t_us[first:last]
    tips, rain = {}, {}
    for window, window_s in WINDOWS_S.items():
        since = series.rows_until(at - width_us(window_s))
        found = series.amounts(since, np.arange(first + 1, last + 1))
        sums = WindowSums(window_s, at, found, series.coverage)
        tips[window] = _peak(sums, found.tips)
        rain[window] = _peak(sums, np.where(found.uncalibrated > 0, 0, found.rain_pm))
    return Records(from_us, to_us, total(series, from_us, to_us), tips, rain)


def total(series: TipSeries, from_us: int, to_us: int) -> Total:
    """Return what fell in (from, to] [µs], with the covered part of it.

    Raises
    ------
    ParameterError
        If the interval is empty.
    """
    if to_us <= from_us:
        raise ParameterError("An interval ends before it begins.", fix="Exchange its ends.")
    found = series.between([from_us, to_us])
    before, until = series.coverage.up_to([from_us, to_us])
    return Total(
        tips=int(found.tips[0]),
        rain_pm=int(found.rain_pm[0]),
        uncalibrated=int(found.uncalibrated[0]),
        covered_us=int(until - before),
        span_us=to_us - from_us,
    )


def periods(t_from: datetime, t_to: datetime, zone: ZoneInfo, calendar: Calendar) -> list[Period]:
    """Return the days, months or years of a zone that (from, to] touches, clipped to it.

    They are named as ISO 8601 has it: 2026-11-20, 2026-11, 2026. A row stamped at midnight belongs
    to the period that ends there.
    """
    found = []
    begin = _start(t_from.astimezone(zone).date(), calendar)
    while _midnight(begin, zone) < t_to:
        following = _next(begin, calendar)
        since, until = max(_midnight(begin, zone), t_from), min(_midnight(following, zone), t_to)
        name = begin.isoformat()[: {"day": 10, "month": 7, "year": 4}[calendar]]
        if since < until:
            found.append(Period(name, to_us(since), to_us(until)))
        begin = following
    return found


def _peak(sums: WindowSums, amounts: Ints) -> Peak:
    if not len(amounts) or not (largest := int(amounts.max())):
        return Peak()
    place = int(np.argmax(amounts))
    at = int(sums.t_us[place])
    begin = at - width_us(sums.window_s)
    return Peak(largest, at, float(sums.coverage.missing_share(begin, at)))


def _start(day: date, calendar: Calendar) -> date:
    if calendar == "day":
        return day
    return day.replace(day=1) if calendar == "month" else day.replace(month=1, day=1)


def _next(begin: date, calendar: Calendar) -> date:
    """Return the first day of the period that follows."""
    longest = {"day": 1, "month": 31, "year": 366}[calendar]
    return _start(begin + timedelta(days=longest), calendar)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    # Where the clock is put forward at midnight, this is the instant it is put forward.
    return datetime.combine(day, time(), zone).astimezone(UTC)
