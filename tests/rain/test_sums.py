"""Sums over (t-w, t]: against pandas where rows enter and leave, and put together from parts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace_lib.clock import to_us
from workspace_lib.errors import ParameterError
from workspace_lib.rain.analysis import US, WINDOWS_S, Coverage, TipSeries, coverage_of
from workspace_lib.rain.sums import (
    LOOKBACK,
    Peak,
    Records,
    WindowSums,
    periods,
    records,
    steps,
    sums_at,
    total,
)

MIN, HOUR, DAY = 60 * US, 3600 * US, 86_400 * US
BACK = int(LOOKBACK.total_seconds()) * US
widths = st.sampled_from([1, 7, 60, 3600, *WINDOWS_S.values()])
Row = tuple[int, int, float | None]


def array(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def series(rows: list[Row], covered: Coverage | None = None) -> TipSeries:
    """A gauge with these rows: stamp [s], tips, depth [mm] (None: not calibrated)."""
    t_us = array(*(stamp for stamp, _, _ in rows)) * US
    depths = np.array([np.nan if depth is None else depth for _, _, depth in rows], np.float64)
    tips = array(*(count for _, count, _ in rows))
    return TipSeries("g", "Gauge", t_us, tips, covered or coverage_of(t_us), 0.2, depths)


def rows_within(span_s: int, depths: st.SearchStrategy[float | None]) -> st.SearchStrategy:
    row = st.tuples(st.integers(0, span_s), st.integers(1, 9), depths)
    return st.lists(row, unique_by=lambda one: one[0], max_size=40).map(sorted)


calibrated = st.floats(0.0, 3.0)
some_calibrated = calibrated | st.none()


def by_pandas(one: TipSeries, values: np.ndarray, at_us: np.ndarray, width_s: float) -> np.ndarray:
    """What pandas has over (t - w, t] at these instants, where the values stand at the rows."""
    instants = np.union1d(one.t_us, at_us)
    column = pd.Series(0.0, index=pd.to_datetime(instants, unit="us"))
    column[pd.to_datetime(one.t_us, unit="us")] = values
    rolled = column.rolling(f"{width_s}s", closed="right").sum()
    return rolled.to_numpy()[np.searchsorted(instants, at_us)]


@given(rows_within(20_000, calibrated) | rows_within(500_000, calibrated), widths)
def test_sums_equal_pandas_at_every_instant_a_row_enters_or_leaves(
    rows: list[Row], width_s: int
) -> None:
    one = series(rows)
    found = steps(one, width_s)
    assert np.array_equal(found.t_us, np.union1d(one.t_us, one.t_us + width_s * US))
    tips = by_pandas(one, one.tips, found.t_us, width_s)
    assert np.array_equal(found.amounts.tips, tips.astype(np.int64))
    assert one.rain_mm is not None
    depths = by_pandas(one, one.rain_mm, found.t_us, width_s)
    assert np.allclose(found.amounts.rain_mm, depths, rtol=0, atol=1e-6)


@given(rows_within(4000, some_calibrated), widths, st.lists(st.integers(-100, 9000), max_size=20))
def test_a_sum_holds_from_its_instant_to_the_next(
    rows: list[Row], width_s: int, seconds: list[int]
) -> None:
    one = series(rows)
    found, at = steps(one, width_s), array(*seconds) * US
    sums = sums_at(one, width_s, at).amounts
    place = np.searchsorted(found.t_us, at, side="right") - 1
    for instant, which, tips, rain in zip(seconds, place, sums.tips, sums.rain_mm, strict=True):
        inside = [row for row in rows if instant - width_s < row[0] <= instant]
        assert tips == sum(row[1] for row in inside)
        assert (tips == 0) or which >= 0
        if which >= 0:
            assert tips == found.amounts.tips[which]
            assert np.array_equal(rain, found.amounts.rain_mm[which], equal_nan=True)
        if any(row[2] is None for row in inside):
            assert np.isnan(rain)
        else:
            assert rain == pytest.approx(sum(row[2] for row in inside), abs=1e-6)


@given(rows_within(4000, calibrated), widths)
def test_a_window_without_rain_sums_to_exactly_zero(rows: list[Row], width_s: int) -> None:
    last = steps(series(rows), width_s).amounts
    assert last.rain_mm[-1:].tolist() in ([], [0.0])
    assert np.all(last.rain_mm[last.tips == 0] == 0.0)


def test_windows_are_stretches_of_time_not_numbers_of_rows() -> None:
    one = series([(m * 60, n, 1.0) for m, n in ((0, 5), (60, 5), (120, 5), (121, 1), (122, 1))])
    assert sums_at(one, 300, 122 * MIN).amounts.tips.tolist() == [7]


def test_a_row_is_in_its_window_until_one_width_has_passed() -> None:
    one = series([(600, 3, 0.7)])
    found = steps(one, 300)
    assert found.t_us.tolist() == [600 * US, 900 * US]
    assert found.amounts.rain_mm.tolist() == [0.7, 0.0]
    assert sums_at(one, 300, [600 * US - 1, 900 * US - 1]).amounts.tips.tolist() == [0, 3]


def test_each_sum_says_which_share_of_its_window_is_missing() -> None:
    covered = Coverage(array(0, 1800) * US, array(900, 3600) * US)
    one = series([(60, 1, 0.2), (3600, 1, 0.2)], covered)
    found = steps(one, 1800)
    assert found.t_us.tolist() == [60 * US, 1860 * US, 3600 * US, 5400 * US]
    assert found.missing_share == pytest.approx([1740 / 1800, 0.5 + 1 / 60 - 1 / 60, 0.0, 1.0])


def together(parts: list[WindowSums]) -> list[list[float]]:
    return [
        np.concatenate([part.t_us for part in parts]).tolist(),
        np.concatenate([part.amounts.tips for part in parts]).tolist(),
        np.concatenate([part.amounts.rain_pm for part in parts]).tolist(),
        np.concatenate([part.missing_share for part in parts]).tolist(),
    ]


def since(one: TipSeries, from_us: int) -> TipSeries:
    """The series as a reader gives it who knows nothing up to that instant."""
    begin = int(one.rows_until(from_us))
    inside = one.coverage.end_us > from_us
    covered = Coverage(
        np.maximum(one.coverage.start_us[inside], from_us), one.coverage.end_us[inside]
    )
    assert one.rain_mm is not None
    return replace(
        one,
        t_us=one.t_us[begin:],
        tips=one.tips[begin:],
        rain_mm=one.rain_mm[begin:],
        coverage=covered,
    )


cuts = st.lists(st.integers(1, 1_999_999), unique=True, max_size=5).map(sorted)
long_rows = rows_within(2_000_000, some_calibrated)


@given(long_rows, cuts, widths)
def test_parts_made_without_the_past_are_the_whole(
    rows: list[Row], seconds: list[int], width_s: int
) -> None:
    one = series(rows)
    edges = [0, *(second * US for second in seconds), 2_500_000 * US]
    parts = [steps(since(one, begin - BACK), width_s, begin, end) for begin, end in pairwise(edges)]
    whole = steps(one, width_s, 0, 2_500_000 * US)
    assert together(parts) == together([whole])


@given(long_rows, cuts)
def test_records_grow_day_by_day_to_what_the_whole_gives(
    rows: list[Row], seconds: list[int]
) -> None:
    one, end = series(rows), 2_500_000 * US
    grown = Records.empty(0)
    for second in [*seconds, 2_500_000]:
        tail = since(one, grown.to_us - BACK)
        upto = int(tail.rows_until(second * US))
        assert tail.rain_mm is not None
        known = replace(
            tail, t_us=tail.t_us[:upto], tips=tail.tips[:upto], rain_mm=tail.rain_mm[:upto]
        )
        grown = grown.extended(known, second * US)
    assert grown == records(one, 0, end)


@given(rows_within(500_000, some_calibrated))
def test_records_are_the_largest_of_the_step_functions(rows: list[Row]) -> None:
    one = series(rows)
    found = records(one, -1, 2_000_000 * US)
    for window, window_s in WINDOWS_S.items():
        sums = steps(one, window_s)
        peak = found.tips[window]
        assert peak.amount == sums.amounts.tips.max(initial=0)
        if peak.at_us is not None:
            first = int(np.argmax(sums.amounts.tips))
            assert peak.at_us == sums.t_us[first]
            assert peak.missing_share == sums.missing_share[first]
        known = np.isin(sums.t_us, one.t_us) & (sums.amounts.uncalibrated == 0)
        assert found.rain_pm[window].amount == sums.amounts.rain_pm[known].max(initial=0)


def test_without_rain_there_is_no_instant_of_the_largest_sum() -> None:
    found = records(series([]), 0, DAY)
    assert set(found.tips.values()) == set(found.rain_pm.values()) == {Peak()}


def test_a_record_belongs_to_the_time_its_window_ends_in() -> None:
    one = series([(86_390, 4, 0.8), (86_420, 1, 0.2)])
    first, second = records(one, 0, DAY), records(one, DAY, 2 * DAY)
    assert (first.tips["P1h"].amount, second.tips["P1h"].amount) == (4, 5)
    assert (first.total.tips, second.total.tips) == (4, 1)


def test_a_total_says_what_is_missing_and_what_has_no_depth() -> None:
    stamps = array(*range(1, 11)) * MIN
    one = series([(180, 3, 0.6), (360, 4, None)], coverage_of(stamps))
    found = total(one, 0, 20 * MIN)
    assert (found.tips, found.uncalibrated, found.missing_share) == (7, 4, 0.5)
    assert np.isnan(found.rain_mm)
    assert total(one, 0, 5 * MIN).rain_mm == 0.6
    assert total(one, 10 * MIN, 20 * MIN).rain_mm == 0.0


def test_totals_of_adjacent_times_add_up() -> None:
    stamps = array(*range(1, 11)) * MIN
    one = series([(180, 3, 0.6), (360, 4, None)], coverage_of(stamps))
    assert total(one, 0, 5 * MIN) + total(one, 5 * MIN, 20 * MIN) == total(one, 0, 20 * MIN)


@pytest.mark.parametrize(("begin", "end"), [(5, 5), (6, 5)])
def test_an_empty_interval_has_no_total(begin: int, end: int) -> None:
    with pytest.raises(ParameterError, match="before it begins"):
        total(series([]), begin, end)


def test_a_window_must_have_a_width() -> None:
    with pytest.raises(ParameterError, match="width"):
        steps(series([]), 0)


def instants(*texts: str) -> list[int]:
    return [to_us(datetime.fromisoformat(text).astimezone(UTC)) for text in texts]


def test_months_are_those_of_the_zone_and_clipped_to_the_time_asked_for() -> None:
    found = periods(
        datetime(2026, 9, 15, tzinfo=UTC),
        datetime(2026, 11, 2, 6, tzinfo=UTC),
        ZoneInfo("Europe/Paris"),
        "month",
    )
    edges = instants("2026-09-15T00:00Z", "2026-10-01T00:00+02:00", "2026-11-01T00:00+01:00",
                     "2026-11-02T06:00Z")  # fmt: skip
    assert [one.name for one in found] == ["2026-09", "2026-10", "2026-11"]
    assert [(one.from_us, one.to_us) for one in found] == list(pairwise(edges))


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Paris", "2026-03-29", 23),
        ("Europe/Paris", "2026-10-25", 25),
        ("America/Sao_Paulo", "2018-11-04", 23),  # the clock went forward at midnight
        ("UTC", "2026-02-28", 24),
    ],
)
def test_days_are_as_long_as_the_zone_makes_them(zone: str, day: str, hours: int) -> None:
    middle = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=ZoneInfo(zone))
    before, after = middle.timestamp() - 3 * 86_400, middle.timestamp() + 3 * 86_400
    span = (datetime.fromtimestamp(edge, UTC) for edge in (before, after))
    found = {one.name: one for one in periods(*span, ZoneInfo(zone), "day")}
    assert len(found) == 7
    assert found[day].to_us - found[day].from_us == hours * HOUR


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)),
    st.integers(1, 90_000_000),
    st.sampled_from(["Europe/Paris", "America/Sao_Paulo", "Pacific/Apia", "UTC"]),
    st.sampled_from(["month", "year"]),
)
def test_periods_follow_one_another_without_a_gap(
    begin: datetime, seconds: int, zone: str, calendar: str
) -> None:
    t_from = begin.replace(tzinfo=UTC, microsecond=0)
    t_to = datetime.fromtimestamp(t_from.timestamp() + seconds, UTC)
    found = periods(t_from, t_to, ZoneInfo(zone), calendar)
    assert (found[0].from_us, found[-1].to_us) == (to_us(t_from), to_us(t_to))
    assert [one.to_us for one in found[:-1]] == [one.from_us for one in found[1:]]
    assert len({one.name for one in found}) == len(found)
