"""Shift calendars: two shifts, breaks, holidays, and both nights that change the time."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workspace_lib.clock import from_us, to_us
from workspace_lib.errors import ConfigError
from workspace_lib.machining.calendars import (
    Break,
    Calendar,
    DayPlan,
    PlannedStop,
    Shift,
    day_span,
    instant_us,
    opening,
    planned_breaks,
    production_day,
    production_days,
    required,
    shift_spans,
)
from workspace_lib.machining.spans import Spans

PARIS = ZoneInfo("Europe/Paris")
WORKDAYS = frozenset(range(5))
NOON = Break("lunch", time(12), time(12, 30))
MORNING = Shift("morning", time(5), time(13), WORKDAYS, (NOON,))
EVENING = Shift("evening", time(13), time(21), WORKDAYS)
NIGHT = Shift("night", time(21), time(5))
TWO = Calendar(PARIS, (MORNING, EVENING))
HOUR = 3_600_000_000


def us(text: str, *, first: bool = True) -> int:
    local = datetime.fromisoformat(text).replace(tzinfo=PARIS, fold=0 if first else 1)
    return to_us(local)


def written(spans: Spans) -> list[str]:
    return [
        f"{from_us(b).astimezone(PARIS):%d %H:%M}-{from_us(e).astimezone(PARIS):%d %H:%M}"
        for b, e in spans.pairs()
    ]


def day(calendar: Calendar, text: str) -> tuple[int, int]:
    return day_span(calendar, date.fromisoformat(text))


def test_two_shifts_are_one_opening_with_a_break() -> None:
    window = day(TWO, "2025-05-28")
    assert written(opening(TWO, *window)) == ["28 05:00-28 21:00"]
    assert written(planned_breaks(TWO, *window)) == ["28 12:00-28 12:30"]
    assert written(required(TWO, *window)) == ["28 05:00-28 12:00", "28 12:30-28 21:00"]
    assert [span.name for span in shift_spans(TWO, *window)] == ["morning", "evening"]


def test_a_weekend_is_closed() -> None:
    assert len(opening(TWO, *day(TWO, "2025-05-31"))) == 0


def test_a_window_cuts_what_it_asks_for() -> None:
    window = us("2025-05-28T12:10"), us("2025-05-28T20:00")
    assert written(opening(TWO, *window)) == ["28 12:10-28 20:00"]
    assert written(planned_breaks(TWO, *window)) == ["28 12:10-28 12:30"]


def test_a_holiday_is_a_day_without_shifts_and_a_saturday_may_have_some() -> None:
    short = Shift("saturday", time(6), time(11))
    days = (DayPlan(date(2025, 5, 29), name="Ascension"), DayPlan(date(2025, 5, 31), (short,)))
    calendar = Calendar(PARIS, (MORNING, EVENING), days)
    assert len(opening(calendar, *day(calendar, "2025-05-29"))) == 0
    assert written(opening(calendar, *day(calendar, "2025-05-31"))) == ["31 06:00-31 11:00"]


def test_maintenance_that_was_planned_is_not_required() -> None:
    stop = PlannedStop("service", datetime(2025, 5, 28, 15), datetime(2025, 5, 28, 17))
    calendar = Calendar(PARIS, (MORNING, EVENING), planned=(stop,))
    window = day(calendar, "2025-05-28")
    assert required(calendar, *window).total_us == (16 * 2 - 1 - 4) * HOUR // 2


def test_without_shifts_a_machine_is_taken_to_be_always_open_and_that_is_told() -> None:
    calendar = Calendar(PARIS)
    assert calendar.assumed
    assert opening(calendar, *day(calendar, "2025-05-31")).total_us == 24 * HOUR
    assert not TWO.assumed


def test_a_night_shift_belongs_to_the_day_it_begins_on() -> None:
    calendar = Calendar(PARIS, (NIGHT,))
    (span,) = shift_spans(calendar, us("2025-05-28T22:00"), us("2025-05-28T23:00"))
    assert (span.day, span.begin_local) == (date(2025, 5, 28), datetime(2025, 5, 28, 21))
    assert span.end_local == datetime(2025, 5, 29, 5)


@pytest.mark.parametrize(("night", "hours"), [("2025-03-29", 7), ("2025-10-25", 9)])
def test_a_night_shift_is_as_long_as_its_night(night: str, hours: int) -> None:
    calendar = Calendar(PARIS, (NIGHT,))
    spans = shift_spans(calendar, *day(calendar, night))
    assert [(s.end_us - s.begin_us) // HOUR for s in spans] == [hours]


@pytest.mark.parametrize(
    ("text", "hours"), [("2025-03-29", 23), ("2025-10-25", 25), ("2025-06-01", 24)]
)
def test_a_production_day_has_the_hours_of_its_night(text: str, hours: int) -> None:
    begin, end = day(TWO, text)
    assert end - begin == hours * HOUR
    assert production_day(TWO, begin) == production_day(TWO, end - 1) == date.fromisoformat(text)
    assert production_day(TWO, begin - 1) == date.fromisoformat(text) - timedelta(days=1)


def test_before_the_start_of_the_day_it_is_still_the_day_before() -> None:
    assert production_day(TWO, us("2025-05-28T04:59:59")) == date(2025, 5, 27)
    at_midnight = Calendar(PARIS, (MORNING,), day_start=time(0))
    assert production_day(at_midnight, us("2025-05-28T04:59:59")) == date(2025, 5, 28)


def test_a_window_is_split_by_production_days_without_a_hole() -> None:
    window = us("2025-10-25T12:00"), us("2025-10-27T12:00")
    parts = production_days(TWO, *window)
    assert [part[0].day for part in parts] == [25, 26, 27]
    assert (parts[0][1], parts[-1][2]) == window
    assert all(one[2] == other[1] for one, other in pairwise(parts))


def test_a_time_that_is_left_out_is_the_moment_of_the_change() -> None:
    change = us("2025-03-30T03:00")
    for text in ("2025-03-30T02:00", "2025-03-30T02:30", "2025-03-30T02:59:59"):
        assert instant_us(datetime.fromisoformat(text), PARIS) == change


def test_a_time_that_comes_twice_is_its_first_passage() -> None:
    found = instant_us(datetime(2025, 10, 26, 2, 30), PARIS)
    assert found == us("2025-10-26T02:30") == us("2025-10-26T02:30", first=False) - HOUR


@pytest.mark.parametrize("cut", ["02:00", "02:30", "03:00"])
@pytest.mark.parametrize("night", ["2025-03-29", "2025-10-25"])
def test_shifts_that_meet_in_a_night_of_change_neither_overlap_nor_leave_a_hole(
    cut: str, night: str
) -> None:
    at = time.fromisoformat(cut)
    calendar = Calendar(PARIS, (Shift("one", time(21), at), Shift("two", at, time(5))))
    spans = shift_spans(calendar, us(f"{night}T21:00"), day(calendar, night)[1])
    assert spans[0].end_us == spans[1].begin_us
    assert [span.name for span in spans] == ["one", "two"]


ZONES = ["Europe/Paris", "UTC", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kathmandu"]


@settings(max_examples=150, deadline=None)
@given(
    st.datetimes(datetime(2015, 1, 1), datetime(2030, 1, 1)),
    st.integers(0, 200_000),
    st.sampled_from(ZONES),
)
def test_later_by_the_wall_clock_is_never_earlier(at: datetime, more: int, name: str) -> None:
    zone = ZoneInfo(name)
    assert instant_us(at, zone) <= instant_us(at + timedelta(seconds=more), zone)


@settings(max_examples=60, deadline=None)
@given(st.dates(date(2015, 1, 1), date(2030, 1, 1)), st.sampled_from(ZONES), st.times())
def test_every_instant_is_of_one_production_day(start: date, name: str, begin: time) -> None:
    calendar = Calendar(ZoneInfo(name), day_start=begin.replace(microsecond=0))
    first, second = (day_span(calendar, start + timedelta(days=n)) for n in (0, 1))
    assert first[1] == second[0]
    assert opening(calendar, *first).total_us == first[1] - first[0]
    for instant in (first[0], first[1] - 1):
        assert production_day(calendar, instant) == start


def test_shifts_that_overlap_are_refused_by_both_names() -> None:
    late = Shift("late", time(12, 30), time(20), WORKDAYS)
    with pytest.raises(ConfigError, match=r"'morning' \(05:00–13:00\) and 'late'.*overlap"):
        Calendar(PARIS, (MORNING, late))


def test_a_night_overlaps_the_morning_after_it() -> None:
    sunday = Shift("night", time(21), time(6), frozenset({6}))
    with pytest.raises(ConfigError, match=r"'night'.*Sundays"):
        Calendar(PARIS, (sunday, MORNING))
    friday = Shift("night", time(21), time(6), frozenset({4}))
    assert Calendar(PARIS, (friday, MORNING))


def test_shifts_of_other_times_of_the_year_do_not_overlap() -> None:
    old = Shift("old", time(6), time(14), last_day=date(2025, 6, 30))
    new = Shift("new", time(5), time(13), first_day=date(2025, 7, 1))
    calendar = Calendar(PARIS, (old, new))
    assert written(opening(calendar, *day(calendar, "2025-06-30"))) == ["30 06:00-30 14:00"]
    assert written(opening(calendar, *day(calendar, "2025-07-01"))) == ["01 05:00-01 13:00"]
    with pytest.raises(ConfigError, match="2025-06-3"):
        Calendar(PARIS, (old, Shift("new", time(5), time(13), first_day=date(2025, 6, 30))))


def test_a_special_day_must_not_overlap_the_night_before() -> None:
    extra = DayPlan(date(2025, 5, 29), (Shift("extra", time(4), time(12)),))
    with pytest.raises(ConfigError, match=r"'night'.*'extra'.*2025-05-29"):
        Calendar(PARIS, (NIGHT,), (extra,))


def test_breaks_have_to_lie_inside_and_apart() -> None:
    with pytest.raises(ConfigError, match=r"'tea'.*not inside"):
        Shift("morning", time(5), time(13), breaks=(Break("tea", time(13), time(13, 10)),))
    with pytest.raises(ConfigError, match=r"'lunch'.*'tea'.*overlap"):
        Shift("morning", time(5), time(13), breaks=(NOON, Break("tea", time(12, 15), time(12, 40))))
    with pytest.raises(ConfigError, match=r"'tea'.*not inside"):
        Shift("morning", time(5), time(13), breaks=(Break("tea", time(9), time(9)),))


def test_a_break_of_a_night_may_be_after_midnight() -> None:
    night = Shift("night", time(21), time(5), breaks=(Break("meal", time(1), time(1, 30)),))
    calendar = Calendar(PARIS, (night,))
    assert written(planned_breaks(calendar, *day(calendar, "2025-05-28"))) == ["29 01:00-29 01:30"]


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match="Weekdays"):
        Shift("x", time(5), time(13), frozenset({7}))
    with pytest.raises(ConfigError, match="in force"):
        Shift("x", time(5), time(13), first_day=date(2025, 2, 1), last_day=date(2025, 1, 1))
    with pytest.raises(ConfigError, match="2025-05-29 has two plans"):
        Calendar(PARIS, days=(DayPlan(date(2025, 5, 29)), DayPlan(date(2025, 5, 29))))
    with pytest.raises(ConfigError, match="'service'"):
        Calendar(
            PARIS,
            planned=(PlannedStop("service", datetime(2025, 5, 2), datetime(2025, 5, 1)),),
        )
