"""A relay's clock, judged by what it said at visits; times of events set right by it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace_lib.errors import ParameterError
from workspace_lib.reclosers.clock_quality import (
    ClockLimits,
    Reading,
    clock_quality,
    correct_time,
    time_doubts,
)
from workspace_lib.reclosers.record import DeviceTime, device_time

ZONE = ZoneInfo("America/Montreal")
START = datetime(2026, 1, 10, 12, 0, tzinfo=UTC)


def visits(errors: list[float], every_h: float = 4.0, within_s: float = 0.2) -> list[Reading]:
    return [
        Reading(START + timedelta(hours=every_h * n), error, within_s)
        for n, error in enumerate(errors)
    ]


def later(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def shown(utc: datetime, error_s: float) -> DeviceTime:
    """What a relay shows that is ahead of the zone's time."""
    wall = utc.astimezone(ZONE).replace(tzinfo=None) + timedelta(seconds=error_s)
    return device_time(wall, 0, 3)


def test_a_clock_without_visits_is_unknown() -> None:
    found = clock_quality([], START)
    assert (found.quality, found.offset_s, found.last) == ("unknown", None, None)


@pytest.mark.parametrize(
    ("error", "quality"), [(0.1, "good"), (-0.5, "good"), (5.0, "fair"), (-45.0, "bad")]
)
def test_a_clock_is_as_good_as_its_error(error: float, quality: str) -> None:
    found = clock_quality(visits([error] * 7), later(25))
    assert (found.quality, found.steps) == (quality, ())
    assert found.offset_s == pytest.approx(error)


def test_limits_are_the_sites() -> None:
    limits = ClockLimits(good_s=10.0, fair_s=100.0)
    assert clock_quality(visits([5.0] * 7), later(25), limits=limits).quality == "good"
    with pytest.raises(ParameterError):
        ClockLimits(good_s=10.0, fair_s=1.0)
    with pytest.raises(ParameterError):
        ClockLimits(stale_days=0)


def test_a_reading_long_ago_says_nothing_of_now() -> None:
    assert clock_quality(visits([0.1] * 7), later(24 * 40)).quality == "unknown"


@given(st.floats(-3.0, 3.0), st.floats(-20.0, 20.0))
def test_drift_is_the_slope_since_the_last_setting(drift: float, offset: float) -> None:
    errors = [offset + drift * n * 4 / 24 for n in range(12)]
    found = clock_quality(visits(errors), later(48))
    assert found.drift_s_per_day == pytest.approx(drift, abs=1e-6)
    assert found.offset_s == pytest.approx(offset + drift * 2, abs=1e-6)
    assert found.steps == ()


def test_what_is_not_looked_at_becomes_less_certain() -> None:
    soon, late = (clock_quality(visits([0.1] * 7), later(24 + more)) for more in (1, 240))
    assert soon.within_s is not None
    assert late.within_s is not None
    assert late.within_s > soon.within_s


def test_one_visit_tells_no_drift() -> None:
    found = clock_quality(visits([0.3]), later(1))
    assert (found.drift_s_per_day, found.offset_s) == (None, 0.3)


def test_a_clock_that_was_set_is_told_and_drifts_anew() -> None:
    errors = [20.0, 20.5, 21.0, 0.0, 0.5, 1.0, 1.5]
    found = clock_quality(visits(errors), later(24))
    (step,) = found.steps
    assert (step.after, step.before) == (later(8), later(12))
    assert step.by_s == pytest.approx(-21.0)
    assert not step.hour
    assert found.drift_s_per_day == pytest.approx(3.0)


def test_a_change_that_uncertain_readings_explain_is_no_setting() -> None:
    errors = [0.0, 8.0, 0.0]
    assert clock_quality(visits(errors, within_s=5.0), later(9)).steps == ()


def test_an_hour_off_is_told() -> None:
    assert clock_quality(visits([3601.0] * 4), later(13)).hour_off
    assert clock_quality(visits([-3590.0] * 4), later(13)).hour_off
    assert not clock_quality(visits([1800.0] * 4), later(13)).hour_off


def spring() -> list[Reading]:
    """Visits to a relay that keeps standard time, around the change of 2026-03-08 at 07:00 UTC."""
    change = datetime(2026, 3, 8, 7, 0, tzinfo=UTC)
    return [
        Reading(change + timedelta(hours=hours), 0.4 if hours < 0 else -3599.6, 0.2)
        for hours in (-10, -6, -2, 2, 6, 10)
    ]


def test_a_relay_that_knows_no_summer_is_told() -> None:
    now = datetime(2026, 3, 9, tzinfo=UTC)
    found = clock_quality(spring(), now, zone=ZONE)
    assert (found.seasonal, found.hour_off, found.quality) == (True, True, "bad")
    assert not clock_quality(spring(), now, zone=ZoneInfo("UTC")).seasonal
    assert not clock_quality(spring(), now).seasonal


def test_repeated_readings_count_once_and_order_does_not_matter() -> None:
    readings = visits([0.1, 0.2, 0.3])
    worse = [Reading(one.host, 99.0, 100.0) for one in readings]
    assert clock_quality([*reversed(readings), *worse], later(9)) == clock_quality(
        readings, later(9)
    )
    with pytest.raises(ParameterError, match="aware"):
        clock_quality([Reading(datetime(2026, 1, 1), 0.0, 0.1)], START)


# --- times of events ------------------------------------------------------------------------------


@given(st.floats(0.0, 24.0), st.floats(-4.0, 4.0), st.floats(-600.0, 600.0))
def test_between_two_visits_a_time_is_set_right(hours: float, drift: float, offset: float) -> None:
    readings = visits([offset + drift * n * 4 / 24 for n in range(7)])
    utc = later(hours)
    found = correct_time(shown(utc, offset + drift * hours / 24), ZONE, readings)
    assert found.within_s is not None
    assert abs((found.utc - utc).total_seconds()) <= found.within_s + 1e-3
    assert found.within_s < 1.5
    assert found.doubt == ""


def test_before_and_after_all_visits_the_drift_makes_it_uncertain() -> None:
    readings = visits([5.0, 5.0])
    near = correct_time(shown(later(-24), 5.0), ZONE, readings)
    far = correct_time(shown(later(24 * 10), 5.0), ZONE, readings)
    assert (near.how, far.how) == ("beyond", "beyond")
    assert near.within_s == pytest.approx(0.2 + 5.0, abs=0.01)
    assert far.within_s is not None
    assert far.within_s > 40


def test_without_a_visit_nothing_is_taken_off_and_nothing_is_certain() -> None:
    found = correct_time(shown(START, 0.0), ZONE, [])
    assert (found.utc, found.within_s, found.by_s, found.how) == (START, None, 0.0, "none")


def test_where_the_clock_was_set_in_between_the_truth_lies_within() -> None:
    readings = visits([100.0, 100.0, 0.0, 0.0])
    for error in (100.0, 0.0):
        found = correct_time(shown(later(6), error), ZONE, readings)
        assert found.how == "set_between"
        assert found.within_s is not None
        assert abs((found.utc - later(6)).total_seconds()) <= found.within_s
        assert found.within_s == pytest.approx(50.2)


@pytest.mark.parametrize("hours", [-1.5, 1.5])
def test_a_relay_that_knows_no_summer_is_set_right_to_seconds(hours: float) -> None:
    utc = datetime(2026, 3, 8, 7, 0, tzinfo=UTC) + timedelta(hours=hours)
    error = 0.4 if hours < 0 else -3599.6
    found = correct_time(shown(utc, error), ZONE, spring())
    assert abs((found.utc - utc).total_seconds()) < 0.01
    assert found.within_s is not None
    assert found.within_s < 2


def test_a_wall_time_that_does_not_exist_is_doubted() -> None:
    gap = device_time(datetime(2022, 3, 13, 2, 30), 0, 3)
    assert correct_time(gap, ZONE, []).doubt == "never"


def test_a_wall_time_that_comes_twice_is_an_hour_uncertain() -> None:
    twice = device_time(datetime(2026, 11, 1, 1, 30), 0, 3)
    reading = Reading(datetime(2026, 11, 1, 5, 0, tzinfo=UTC), 0.0, 0.2)
    found = correct_time(twice, ZONE, [reading])
    assert found.doubt == "twice"
    assert found.within_s is not None
    assert found.within_s >= 3600


def test_times_of_a_list_that_cannot_all_be_right_are_told() -> None:
    times = [DeviceTime(ns) for ns in (50, 40, 40, 60, 10)]
    found = time_doubts(times)
    assert found.repeated == (DeviceTime(40),)
    assert found.backwards == ((DeviceTime(60), DeviceTime(40)),)
    assert time_doubts([]) == time_doubts([DeviceTime(2), DeviceTime(1)])
