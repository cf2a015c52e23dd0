"""Instants of a machine's stamps, over clock steps and both nights that change the time."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workspace_lib.clock import from_us, to_us
from workspace_lib.machining.timeline import Mark, Timeline, local_us, place

PARIS = ZoneInfo("Europe/Paris")


def at(*stamps: str, day: str = "2025-05-28", tolerance_s: float = 60) -> Timeline:
    """Place stamps of a day, or of days where they name theirs."""
    texts = [stamp if "T" in stamp else f"{day}T{stamp}" for stamp in stamps]
    local = np.array([local_us(datetime.fromisoformat(text)) for text in texts], np.int64)
    return place(local, PARIS, tolerance_s=tolerance_s)


def utc(line: Timeline) -> list[str]:
    return [f"{from_us(int(us)):%H:%M:%S}" for us in line.t_us]


def marks(line: Timeline) -> list[Mark]:
    return [Mark(mark) for mark in line.marks.tolist()]


def test_stamps_are_local_time() -> None:
    line = at("08:00:00", "2025-12-01T08:00:00")
    assert utc(line) == ["06:00:00", "07:00:00"]
    assert line.marks.tolist() == [0, 0]
    assert line.segment.tolist() == [0, 0]


def test_midnight_is_an_instant_like_others() -> None:
    line = at("23:59:59", "2025-05-29T00:00:00")
    assert np.diff(line.t_us).tolist() == [1_000_000]


def test_a_line_written_late_is_put_in_its_place() -> None:
    line = at("08:00:00", "08:00:10", "08:00:05", "08:00:05", "08:00:20")
    assert line.order.tolist() == [0, 2, 3, 1, 4]
    assert marks(line) == [0, 0, Mark.REORDERED, 0, 0]
    assert line.segment.max() == 0


def test_small_steps_that_add_up_are_a_large_one() -> None:
    line = at("08:00:00", "07:59:20", "07:58:40", "07:58:50")
    assert marks(line) == [0, Mark.REORDERED, Mark.STEP, 0]


def test_a_clock_that_was_set_back_begins_a_segment() -> None:
    line = at("08:00:00", "09:00:00", "08:30:00", "08:40:00")
    assert line.segment.tolist() == [0, 0, 1, 1]
    assert marks(line)[2] == Mark.STEP
    assert line.order.tolist() == [0, 1, 2, 3]


def test_a_clock_that_was_set_forward_is_no_step_back() -> None:
    assert at("08:00:00", "11:00:00").segment.tolist() == [0, 0]


AUTUMN = "2025-10-26"


def test_the_hour_that_comes_twice_is_told_apart_by_the_step_back() -> None:
    line = at("01:59:00", "02:10:00", "02:50:00", "02:00:30", "02:50:00", "03:10:00", day=AUTUMN)
    assert utc(line) == ["23:59:00", "00:10:00", "00:50:00", "01:00:30", "01:50:00", "02:10:00"]
    assert line.segment.max() == 0
    assert marks(line) == [0, 0, 0, Mark.SECOND, Mark.SECOND, 0]


def test_the_second_passage_may_have_late_lines() -> None:
    line = at("02:50:00", "02:10:00", "02:09:50", "02:20:00", day=AUTUMN)
    assert utc(line) == ["00:50:00", "01:10:00", "01:09:50", "01:20:00"]
    assert marks(line)[2] == Mark.SECOND | Mark.REORDERED


def test_a_double_hour_without_a_step_is_taken_for_the_first() -> None:
    line = at("01:50:00", "02:30:00", "03:10:00", day=AUTUMN)
    assert utc(line) == ["23:50:00", "00:30:00", "02:10:00"]
    assert marks(line)[1] == Mark.AMBIGUOUS


def test_a_third_passage_is_a_clock_that_was_set() -> None:
    line = at("02:50:00", "02:10:00", "02:50:00", "02:10:00", day=AUTUMN)
    assert line.segment.tolist() == [0, 0, 0, 1]


def test_the_same_step_on_another_night_is_a_clock_that_was_set() -> None:
    line = at("02:50:00", "02:00:30", day="2025-10-25")
    assert line.segment.tolist() == [0, 1]


SPRING = "2025-03-30"


def test_the_night_without_two_to_three_is_an_hour_shorter() -> None:
    line = at("01:59:59", "03:00:00", day=SPRING)
    assert np.diff(line.t_us).tolist() == [1_000_000]


def test_a_stamp_of_the_hour_that_is_left_out_is_told() -> None:
    line = at("01:50:00", "02:30:00", "02:40:00", day=SPRING)
    assert utc(line) == ["00:50:00", "01:30:00", "01:40:00"]
    assert marks(line) == [0, Mark.NONEXISTENT, Mark.NONEXISTENT]


def test_a_clock_that_is_put_forward_late_makes_no_negative_duration() -> None:
    line = at("02:40:00", "03:10:00", day=SPRING)  # 01:40 and 01:10 UTC
    assert line.segment.tolist() == [0, 1]


def test_a_log_without_events_has_no_instants() -> None:
    line = place(np.zeros(0, np.int64), PARIS)
    assert len(line.t_us) == len(line.marks) == len(line.order) == 0


@settings(max_examples=100, deadline=None)
@given(
    st.datetimes(datetime(2015, 1, 1), datetime(2035, 1, 1)),
    st.lists(st.integers(0, 3000), min_size=1, max_size=60),
    st.sampled_from(["Europe/Paris", "UTC", "Australia/Lord_Howe", "America/Sao_Paulo"]),
)
def test_what_a_good_clock_writes_comes_back(begin: datetime, pauses: list[int], name: str) -> None:
    zone = ZoneInfo(name)
    first = begin.replace(microsecond=0, tzinfo=zone)
    seconds = np.cumsum(pauses)
    truth = np.array([to_us(first) + int(s) * 1_000_000 for s in seconds], np.int64)
    local = [from_us(int(us)).astimezone(zone).replace(tzinfo=None) for us in truth]
    line = place(np.array([local_us(stamp) for stamp in local], np.int64), zone)
    unsure = (line.marks & Mark.AMBIGUOUS) > 0
    assert (line.t_us[~unsure] == truth[~unsure]).all() or line.segment.max() > 0
    assert (np.diff(line.t_us[line.order])[np.diff(line.segment[line.order]) == 0] >= 0).all()


@settings(max_examples=200, deadline=None)
@given(
    st.datetimes(datetime(2025, 10, 25, 22), datetime(2025, 10, 26, 4)),
    st.lists(st.integers(-5000, 5000), max_size=40),
)
def test_whatever_the_clock_did_no_duration_is_negative(begin: datetime, steps: list[int]) -> None:
    stamps = [begin]
    for step in steps:
        stamps.append(stamps[-1] + timedelta(seconds=step))
    line = place(np.array([local_us(stamp) for stamp in stamps], np.int64), PARIS)
    assert sorted(line.order.tolist()) == list(range(len(stamps)))
    same = np.diff(line.segment[line.order]) == 0
    assert (np.diff(line.t_us[line.order])[same] >= 0).all()


def test_a_hostile_clock_takes_no_time() -> None:
    steps = np.where(np.arange(50_000) % 2, -1800, 1799) * 1_000_000
    line = place(local_us(datetime(2025, 10, 26, 2, 45)) + np.cumsum(steps), PARIS)
    assert len(line.t_us) == 50_000


@pytest.mark.parametrize("tolerance_s", [0, 5])
def test_the_tolerance_is_the_sites_choice(tolerance_s: float) -> None:
    line = at("08:00:10", "08:00:05", tolerance_s=tolerance_s)
    assert line.segment.tolist() == [0, 0 if tolerance_s else 1]
