"""Incidents: shots of one fault belong together, others do not, and how it ended is told."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest

from workspace_lib.errors import ParameterError
from workspace_lib.reclosers.incidents import ASSUMED_GAP_S, Operation, gap_s, incidents
from workspace_lib.reclosers.record import device_time

START = datetime(2026, 3, 1, 7, 50)


def trip(
    after_s: float,
    shot: int | None = 0,
    locked_out: bool | None = False,
    recloser: str = "LCL-12",
) -> Operation:
    when = device_time(START + timedelta(seconds=after_s), 0, 3)
    return Operation(recloser, when, "AG T", shot, locked_out)


TO_LOCKOUT = [trip(0), trip(2, 1), trip(18, 2), trip(35, 3, locked_out=True)]


def test_shots_up_to_lockout_are_one_permanent_incident() -> None:
    (found,) = incidents(TO_LOCKOUT)
    assert (found.outcome, len(found.operations), found.duration_s) == ("permanent", 4, 35.0)


def test_a_trip_whose_reclosing_held_is_momentary() -> None:
    (found,) = incidents([trip(0), trip(2, 1)])
    assert found.outcome == "momentary"


def test_an_operation_whose_end_is_not_known_is_neither() -> None:
    (found,) = incidents([trip(0, locked_out=None)])
    assert found.outcome == "unknown"


def test_the_last_shot_locks_out_even_where_its_record_ends_before() -> None:
    (found,) = incidents([trip(0), trip(2, 1)], last_shot=1)
    assert found.outcome == "permanent"


def test_the_order_of_operations_and_repeated_ones_change_nothing() -> None:
    mixed = TO_LOCKOUT + TO_LOCKOUT
    random.Random(1).shuffle(mixed)
    assert incidents(mixed) == incidents(TO_LOCKOUT)


def test_a_trip_after_the_gap_is_another_incident() -> None:
    assert len(incidents([trip(0), trip(60, 1)], gap_s=60)) == 1
    assert len(incidents([trip(0), trip(60.001, 1)], gap_s=60)) == 2


def test_a_trip_after_lockout_is_another_incident() -> None:
    found = incidents([*TO_LOCKOUT, trip(40)])
    assert [one.outcome for one in found] == ["permanent", "momentary"]


def test_a_count_of_shots_that_begins_again_is_another_incident() -> None:
    found = incidents([trip(0), trip(2, 1), trip(50, 0)])
    assert [len(one.operations) for one in found] == [2, 1]


def test_unknown_shots_are_told_apart_by_time_alone() -> None:
    assert len(incidents([trip(0, 1), trip(5, None), trip(9, 0)])) == 1


def test_reclosers_are_told_apart() -> None:
    found = incidents([trip(0), trip(1, recloser="LCL-7"), trip(2, 1)])
    assert [(one.recloser, len(one.operations)) for one in found] == [("LCL-12", 2), ("LCL-7", 1)]


def test_no_operations_are_no_incidents() -> None:
    assert incidents([]) == []


def test_the_gap_comes_from_settings_in_cycles() -> None:
    settings = {"79OI1": "30.00", "79OI2": "600.00", "79OI3": "0", "79RSD": "1800.00"}
    assert gap_s(settings) == pytest.approx(40.0)
    assert gap_s(settings, 50.0) == pytest.approx(48.0)


@pytest.mark.parametrize("settings", [{}, {"79OI1": "30"}, {"79OI1": "OFF", "79RSD": "1800"}])
def test_a_gap_that_settings_do_not_say_is_assumed(settings: dict[str, str]) -> None:
    assert gap_s(settings) == ASSUMED_GAP_S


def test_a_time_that_cannot_be_is_refused() -> None:
    with pytest.raises(ParameterError):
        incidents([], gap_s=0)
    with pytest.raises(ParameterError):
        gap_s({}, 0)
