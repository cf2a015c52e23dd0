"""Sums over (t-w, t], coverage and bins: against brute force, and against pandas where it can."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace_lib.errors import ParameterError
from workspace_lib.rain.analysis import (
    US,
    WINDOWS_S,
    Coverage,
    TipSeries,
    bin_edges,
    bin_sums,
    coverage_of,
    hyetograph,
    maximum,
    pleasant_bin_s,
    sum_steps,
    total,
    window_sums,
)

MIN = 60 * US


def array(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def series(
    t_us: np.ndarray, tips: np.ndarray, coverage: Coverage, mm_per_tip: float | None = 0.2
) -> TipSeries:
    return TipSeries("g", "Gauge", t_us, tips, coverage, mm_per_tip)


rows = st.lists(
    st.tuples(st.integers(0, 4000), st.integers(1, 9)), unique_by=lambda row: row[0], max_size=40
).map(lambda found: sorted(found))


@given(rows, st.lists(st.integers(-100, 5000), max_size=10), st.sampled_from([1, 7, 60, 3600]))
def test_a_window_holds_its_end_and_not_its_start(
    found: list[tuple[int, int]], at: list[int], width_s: int
) -> None:
    t = array(*(second for second, _ in found)) * US
    tips = array(*(count for _, count in found))
    sums = window_sums(t, tips, array(*at) * US, width_s)
    for instant, sum_ in zip(at, sums.tolist(), strict=True):
        assert sum_ == sum(n for second, n in found if instant - width_s < second <= instant)


@pytest.mark.parametrize("width_s", WINDOWS_S.values())
def test_sums_equal_pandas_where_tips_enter_and_leave(width_s: int) -> None:
    rng = np.random.default_rng(4)
    t = np.unique(rng.integers(0, 10 * 86_400, 800)) * US
    tips = rng.integers(1, 6, len(t))
    instants, sums = sum_steps(t, tips, width_s)
    assert np.array_equal(instants, np.union1d(t, t + width_s * US))
    values = pd.Series(0, index=pd.to_datetime(instants, unit="us"))
    values[pd.to_datetime(t, unit="us")] = tips
    rolled = values.rolling(f"{width_s}s", closed="right").sum()
    assert np.array_equal(sums, rolled.to_numpy().astype(np.int64))


@given(rows, st.sampled_from([1, 60, 3600]))
def test_a_step_function_holds_between_its_instants(
    found: list[tuple[int, int]], width_s: int
) -> None:
    t = array(*(second for second, _ in found)) * US
    tips = array(*(count for _, count in found))
    instants, sums = sum_steps(t, tips, width_s)
    for at in range(-1, 8000, 97):
        before = np.searchsorted(instants, at * US, side="right") - 1
        held = int(sums[before]) if before >= 0 else 0
        assert held == window_sums(t, tips, at * US, width_s)


@given(rows, st.sampled_from([60, 600]))
def test_the_maximum_is_that_of_the_step_function(
    found: list[tuple[int, int]], width_s: int
) -> None:
    t = array(*(second for second, _ in found)) * US
    tips = array(*(count for _, count in found))
    largest, when = maximum(t, tips, width_s)
    assert largest == sum_steps(t, tips, width_s)[1].max(initial=0)
    assert (when is None) == (not found)


def test_sums_do_not_count_rows_but_time() -> None:
    hourly = array(0, 60, 120, 121, 122) * MIN
    tips = array(5, 5, 5, 1, 1)
    assert window_sums(hourly, tips, 122 * MIN, 300) == 7


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


def test_without_rows_all_is_missing() -> None:
    nothing = coverage_of(array())
    assert nothing.missing_share(0, MIN) == 1.0
    assert nothing.gaps(0, MIN) == [(0, MIN)]


def test_an_interval_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ParameterError, match="before it begins"):
        coverage_of(array(1)).missing_share(10, 10)


def test_a_total_says_what_is_missing() -> None:
    stamps = array(*range(1, 11)) * MIN
    one = series(stamps[[2, 5]], array(3, 4), coverage_of(stamps))
    found = total(one, 0, 20 * MIN)
    assert (found.tips, found.rain_mm, found.missing_share) == (7, pytest.approx(1.4), 0.5)
    assert (
        total(series(stamps, array(*[0] * 10), coverage_of(stamps), None), 0, MIN).rain_mm is None
    )


def test_bins_are_open_at_their_start_and_closed_at_their_end() -> None:
    sums = bin_sums(array(5, 10, 11) * MIN, array(1, 2, 4), array(0, 5, 10, 15) * MIN)
    assert sums.tolist() == [1, 2, 4]


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
