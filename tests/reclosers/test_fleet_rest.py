"""How long a relay that failed is left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from workspace_lib.reclosers.fleet_rest import Known, rest_after
from workspace_lib.reclosers.settings import RecloserSettings

NOW = datetime(2026, 5, 4, tzinfo=UTC)
WING = RecloserSettings(back_off_s=600.0, max_back_off_s=3600.0)


@pytest.mark.parametrize(
    ("failures", "minutes"), [(0, 10), (1, 10), (2, 20), (3, 40), (4, 60), (99, 60), (10_000, 60)]
)
def test_a_rest_doubles_up_to_the_longest(failures: int, minutes: int) -> None:
    for outcome in ("silent", "dropped"):
        assert rest_after(outcome, failures, WING) == timedelta(minutes=minutes)


def test_a_relay_with_a_damaged_event_never_rests_for_long() -> None:
    assert rest_after("damaged", 7, WING) == timedelta(minutes=10)


def test_a_refusal_rests_a_day() -> None:
    assert rest_after("refused", 1, WING) == timedelta(days=1)


@pytest.mark.parametrize("outcome", ["done", "busy", "locked"])
def test_what_is_no_failure_of_the_relay_needs_no_rest(outcome: str) -> None:
    assert rest_after(outcome, 3, WING) is None


def test_without_back_off_nobody_rests() -> None:
    assert rest_after("silent", 3, RecloserSettings(back_off_s=0)) is None


@pytest.mark.parametrize(
    ("outcome", "failures", "full", "named", "may"),
    [
        ("silent", 3, False, False, False),
        ("silent", 3, True, False, True),
        ("silent", 3, False, True, True),
        ("refused", 1, False, False, False),
        ("refused", 1, True, False, False),
        ("refused", 1, False, True, True),
        ("refused", 2, True, True, False),
    ],
)
def test_who_may_ask_before_a_rest_is_over(
    outcome: str, failures: int, full: bool, named: bool, may: bool
) -> None:
    resting = Known(outcome, failures, not_before=NOW + timedelta(seconds=1))
    assert resting.may_be_visited(NOW, full=full, named=named) is may
    assert resting.may_be_visited(NOW + timedelta(seconds=1))


def test_a_relay_that_was_never_visited_does_not_rest() -> None:
    assert Known().may_be_visited(NOW)
