"""Coverage, depths and bins: against brute force where it can."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace_lib.errors import DataQualityError, ParameterError
from workspace_lib.rain.analysis import (
    US,
    Coverage,
    TipSeries,
    bin_edges,
    coverage_of,
    hyetograph,
    pleasant_bin_s,
)

MIN = 60 * US


def array(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def series(
    t_us: np.ndarray, tips: np.ndarray, coverage: Coverage, mm_per_tip: float | None = 0.2
) -> TipSeries:
    return TipSeries("g", "Gauge", t_us, tips, coverage, mm_per_tip)


def test_coverage_joins_rows_a_step_apart_and_jitter() -> None:
    stamps = array(60, 119, 180, 241, 300) * US
    covered = coverage_of(stamps)
    assert (covered.start_us.tolist(), covered.end_us.tolist()) == ([0], [300 * US])


def test_a_pause_is_missing_and_a_row_after_it_counts_one_step() -> None:
    covered = coverage_of(array(1, 2, 10, 70) * MIN)
    assert covered.start_us.tolist() == [0, 9 * MIN, 69 * MIN]
    assert covered.end_us.tolist() == [2 * MIN, 10 * MIN, 70 * MIN]
    assert covered.gaps(0, 70 * MIN) == [(2 * MIN, 9 * MIN), (10 * MIN, 69 * MIN)]
    assert covered.missing_share(0, 70 * MIN) == pytest.approx(66 / 70)


intervals = st.lists(st.integers(0, 500), unique=True, min_size=0, max_size=12).map(
    lambda found: sorted(found)[: len(found) // 2 * 2]
)


@given(intervals, st.integers(-50, 550), st.integers(1, 600))
def test_missing_share_is_what_counting_seconds_gives(
    edges: list[int], begin: int, length: int
) -> None:
    covered = Coverage(array(*edges[::2]), array(*edges[1::2]))
    end = begin + length
    seconds = sum(
        any(start < second <= stop for start, stop in zip(edges[::2], edges[1::2], strict=True))
        for second in range(begin + 1, end + 1)
    )
    assert float(covered.missing_share(begin, end)) == pytest.approx(1 - seconds / length)
    gaps = covered.gaps(begin, end)
    assert sum(stop - start for start, stop in gaps) == length - seconds
    assert all(begin <= start < stop <= end for start, stop in gaps)


@given(intervals, st.lists(st.integers(-50, 550), min_size=20).map(sorted))
def test_many_instants_at_once_are_covered_as_each_alone(edges: list[int], at: list[int]) -> None:
    covered = Coverage(array(*edges[::2]), array(*edges[1::2]))
    alone = [int(covered.up_to(instant)) for instant in at]
    assert covered.up_to(at).tolist() == alone
    assert covered.up_to(at[::-1]).tolist() == alone[::-1]


def test_without_rows_all_is_missing() -> None:
    nothing = coverage_of(array())
    assert nothing.missing_share(0, MIN) == 1.0
    assert nothing.gaps(0, MIN) == [(0, MIN)]


def test_an_interval_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ParameterError, match="before it begins"):
        coverage_of(array(1)).missing_share(10, 10)


def test_intervals_are_open_at_their_start_and_closed_at_their_end() -> None:
    one = series(array(5, 10, 11) * MIN, array(1, 2, 4), coverage_of(array(5, 10, 11) * MIN))
    found = one.between(array(0, 5, 10, 15) * MIN)
    assert found.tips.tolist() == [1, 2, 4]
    assert found.rain_mm.tolist() == [0.2, 0.4, 0.8]


def test_a_tip_without_a_depth_leaves_its_interval_without_one() -> None:
    nothing = coverage_of(array())
    one = replace(
        series(array(5, 10, 25) * MIN, array(1, 2, 4), nothing), rain_mm=np.array([0.3, np.nan, 0])
    )
    found = one.between(array(0, 5, 20, 30, 40) * MIN)
    assert found.uncalibrated.tolist() == [0, 2, 0, 0]
    assert np.array_equal(found.rain_mm, [0.3, np.nan, 0.0, 0.0], equal_nan=True)


def test_depths_are_calibrated_where_there_are_such_and_nominal_otherwise() -> None:
    one = series(array(5, 10) * MIN, array(1, 2), coverage_of(array()))
    assert (one.row_pm.tolist(), one.unit) == ([200_000_000, 400_000_000], "mm")
    calibrated = replace(one, rain_mm=np.array([0.21, 0.43]))
    assert (calibrated.row_pm.tolist(), calibrated.unit) == ([210_000_000, 430_000_000], "mm")
    assert replace(one, rain_mm=np.full(2, np.nan)).unit == "tips"
    assert replace(one, mm_per_tip=None).unit == "tips"


@pytest.mark.parametrize("depth", [np.inf, 1e9])
def test_a_depth_beyond_all_rain_is_refused(depth: float) -> None:
    one = series(array(5) * MIN, array(1), coverage_of(array()))
    with pytest.raises(DataQualityError, match="deeper"):
        _ = replace(one, rain_mm=np.array([depth])).row_pm


def test_no_sum_depends_on_what_was_added_before_it() -> None:
    t = np.arange(1, 200_001, dtype=np.int64) * MIN
    one = replace(series(t, t // MIN, coverage_of(t)), rain_mm=np.full(len(t), 0.1))
    edges = t[:: len(t) // 1000]
    assert set(one.between(edges).rain_mm.tolist()) == {20.0}


def test_edges_hold_the_span_and_are_multiples_of_the_width() -> None:
    assert bin_edges(61 * US, 299 * US, 60).tolist() == [x * US for x in (60, 120, 180, 240, 300)]
    with pytest.raises(ParameterError):
        bin_edges(5, 5, 60)


@pytest.mark.parametrize(
    ("days", "width"), [(0.5, 300), (1, 300), (3, 900), (10, 3600), (31, 10_800), (366, 86_400)]
)
def test_bars_are_neither_too_many_nor_too_few(days: float, width: int) -> None:
    assert pleasant_bin_s(days * 86_400) == width


def test_a_hyetograph_keeps_the_sum_and_leaves_missing_bins_empty() -> None:
    stamps = np.concatenate((np.arange(1, 31), np.arange(91, 121))) * MIN
    one = series(array(5, 30, 95) * MIN, array(1, 2, 3), coverage_of(stamps))
    data = hyetograph(one, 0, 120 * MIN, 1800)
    assert data.depth.tolist()[::3] == [pytest.approx(0.6), pytest.approx(0.6)]
    assert np.isnan(data.depth).tolist() == [False, True, True, False]
    assert data.cumulative[-1] == pytest.approx(1.2)
    assert data.gaps == ((30 * MIN, 90 * MIN),)
    assert data.unit == "mm"


def test_without_a_depth_per_tip_depths_are_tips() -> None:
    one = series(array(5) * MIN, array(4), coverage_of(array(5) * MIN), None)
    data = hyetograph(one, 0, 10 * MIN, 300)
    assert (data.unit, data.cumulative[-1]) == ("tips", 4)


def test_a_running_sum_is_unknown_from_the_first_tip_without_a_depth_on() -> None:
    stamps = array(*range(1, 121)) * MIN
    one = series(array(5, 40, 95) * MIN, array(1, 2, 3), coverage_of(stamps))
    data = hyetograph(replace(one, rain_mm=np.array([0.5, np.nan, 0.5])), 0, 120 * MIN, 1800)
    assert np.array_equal(data.depth, [0.5, np.nan, 0, 0.5], equal_nan=True)
    assert np.array_equal(data.cumulative, [0, 0.5, np.nan, np.nan, np.nan], equal_nan=True)
