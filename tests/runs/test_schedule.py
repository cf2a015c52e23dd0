"""Slots come when the calendar of their zone says, also in the nights when the clocks change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from workspace_lib.clock import iso, parse_instant
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.schedule import due_slots, newest_slot, next_slots, slots_after


def cron(expression: str, zone: str = "UTC") -> JobSpec:
    return JobSpec("job", schedule=expression, timezone=zone)


def half_hours(first: str, last: str) -> list[str]:
    slot, end = parse_instant(first), parse_instant(last)
    found = []
    while slot <= end:
        found.append(iso(slot))
        slot += timedelta(minutes=30)
    return found


@pytest.mark.parametrize(
    ("zone", "night", "expected"),
    [
        # 02:30 does not exist: the run comes when the skipped hour ends.
        (
            "Europe/Paris",
            "2026-03-28T00:00:00Z",
            ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
        ),
        # 02:30 comes twice: the run comes once, at the first.
        (
            "Europe/Paris",
            "2026-10-24T00:00:00Z",
            ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
        ),
        (
            "America/Montreal",
            "2026-03-07T05:00:00Z",
            ["2026-03-07T07:30:00Z", "2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"],
        ),
        # There 01:00 to 02:00 is repeated; 02:30 comes once anyway, in winter time.
        (
            "America/Montreal",
            "2026-10-31T05:00:00Z",
            ["2026-10-31T06:30:00Z", "2026-11-01T07:30:00Z", "2026-11-02T07:30:00Z"],
        ),
    ],
)
def test_half_past_two_comes_once_each_night(zone: str, night: str, expected: list[str]) -> None:
    slots = next_slots(cron("30 2 * * *", zone), parse_instant(night), 3)
    assert [iso(slot) for slot in slots] == expected


def test_a_fixed_time_in_montreals_repeated_hour_comes_once() -> None:
    slots = next_slots(cron("30 1 * * *", "America/Montreal"), datetime(2026, 11, 1, tzinfo=UTC), 2)
    assert [iso(slot) for slot in slots] == ["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]


@pytest.mark.parametrize(
    ("zone", "first", "last"),
    [
        ("Europe/Paris", "2026-03-28T22:30:00Z", "2026-03-29T04:00:00Z"),
        ("Europe/Paris", "2026-10-24T21:30:00Z", "2026-10-25T04:00:00Z"),
        ("America/Montreal", "2026-03-08T04:30:00Z", "2026-03-08T10:00:00Z"),
        ("America/Montreal", "2026-11-01T03:30:00Z", "2026-11-01T10:00:00Z"),
    ],
)
@pytest.mark.parametrize("by", ["cron", "every"])
def test_every_half_hour_follows_real_time_all_night(
    zone: str, first: str, last: str, by: str
) -> None:
    every = JobSpec("job", every_s=1800, timezone=zone)
    spec = cron("*/30 * * * *", zone) if by == "cron" else every
    before = parse_instant(first) - timedelta(seconds=1)
    assert [iso(slot) for slot in due_slots(spec, before, parse_instant(last))] == half_hours(
        first, last
    )


@pytest.mark.parametrize("expression", ["30 2 * * *", "*/30 * * * *", "15,45 1,2,3 * * *"])
@pytest.mark.parametrize(
    ("zone", "midnight"),
    [
        ("Europe/Paris", datetime(2026, 3, 28, 22, tzinfo=UTC)),
        ("Europe/Paris", datetime(2026, 10, 24, 22, tzinfo=UTC)),
        ("America/Montreal", datetime(2026, 3, 8, 3, tzinfo=UTC)),
        ("America/Montreal", datetime(2026, 11, 1, 3, tzinfo=UTC)),
    ],
)
def test_asking_again_at_any_minute_of_the_night_gives_the_same_slots(
    expression: str, zone: str, midnight: datetime
) -> None:
    spec = cron(expression, zone)
    end = midnight + timedelta(hours=8)
    whole_night = due_slots(spec, midnight, end)
    assert whole_night == sorted(set(whole_night))
    for minute in range(0, 8 * 60, 7):
        now = midnight + timedelta(minutes=minute)
        assert due_slots(spec, now, end) == [slot for slot in whole_night if slot > now]


def test_monday_is_monday() -> None:
    slot = next_slots(cron("0 8 * * 1", "Europe/Paris"), datetime(2026, 11, 20, tzinfo=UTC), 1)[0]
    local = slot.astimezone(ZoneInfo("Europe/Paris"))
    assert (local.strftime("%A"), local.hour) == ("Monday", 8)


def test_intervals_are_the_same_whoever_asks() -> None:
    spec = JobSpec("job", every_s=300)
    slots = [iso(slot) for slot in next_slots(spec, datetime(2026, 1, 1, 0, 3, 7, 5, UTC), 2)]
    assert slots == ["2026-01-01T00:05:00Z", "2026-01-01T00:10:00Z"]


def test_a_slot_is_not_after_itself() -> None:
    at = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)
    assert next(slots_after(JobSpec("job", every_s=300), at)) == at + timedelta(minutes=5)
    assert next(slots_after(cron("*/5 * * * *"), at)) == at + timedelta(minutes=5)
    assert due_slots(cron("*/5 * * * *"), at - timedelta(minutes=5), at) == [at]


@pytest.mark.parametrize("months", [0, 1, 30])
def test_the_newest_slot_of_a_long_past_is_the_last_of_all(months: int) -> None:
    now = datetime(2026, 11, 20, 12, 3, tzinfo=UTC)
    last = now - timedelta(days=31 * months, hours=1)
    for spec in (cron("0 4 1 * *"), cron("*/20 * * * *"), JobSpec("job", every_s=86_400)):
        slots = due_slots(spec, last, now)
        assert newest_slot(spec, last, now) == (slots[-1] if slots else None)


def test_a_job_without_a_schedule_has_no_slots() -> None:
    assert next_slots(JobSpec("job", on="other"), datetime(2026, 1, 1, tzinfo=UTC), 5) == []
