"""Instants are exact, zones are never guessed, and both daylight-saving nights are told apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace_lib.clock import FakeClock, from_us, iso, localize, parse_instant, to_us
from workspace_lib.errors import DataQualityError, ParameterError

PARIS = ZoneInfo("Europe/Paris")


@given(st.datetimes(min_value=datetime(1900, 1, 1), timezones=st.just(UTC)))
def test_microseconds_and_back_lose_nothing(moment: datetime) -> None:
    assert from_us(to_us(moment)) == moment


def test_instants_before_1970_are_negative_and_exact() -> None:
    assert to_us(datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)) == -1


def test_an_offset_is_taken_into_account() -> None:
    assert to_us(datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))) == 0


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ParameterError, match="no zone"):
        to_us(datetime(2026, 1, 1))


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (1_677_629_040_000_000, "2023-03-01T00:04:00Z"),
        (1_677_629_040_500_000, "2023-03-01T00:04:00.5Z"),
        (1, "1970-01-01T00:00:00.000001Z"),
        (0, "1970-01-01T00:00:00Z"),
    ],
)
def test_iso_text_has_no_superfluous_zeros_and_reads_back(us: int, text: str) -> None:
    assert iso(us) == text
    assert to_us(parse_instant(text)) == us


@pytest.mark.parametrize("text", ["yesterday", "", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00"])
def test_text_that_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(ParameterError):
        parse_instant(text)


def test_the_skipped_hour_of_spring_does_not_exist() -> None:
    with pytest.raises(DataQualityError, match="does not exist"):
        localize(datetime(2026, 3, 29, 2, 30), PARIS)


def test_the_repeated_hour_of_autumn_is_two_instants_an_hour_apart() -> None:
    stamp = datetime(2026, 10, 25, 2, 30)
    second, first = localize(stamp, PARIS, first=False), localize(stamp, PARIS)
    assert second - first == timedelta(hours=1)


def test_stepping_the_fake_clock_leaves_its_monotonic_time() -> None:
    clock = FakeClock(datetime(2026, 1, 1, tzinfo=UTC))
    clock.sleep(5)
    clock.step(datetime(2025, 12, 31, tzinfo=UTC))
    assert clock.now() == datetime(2025, 12, 31, tzinfo=UTC)
    assert clock.monotonic() == 5
