"""Incidents: shots of one fault belong together, others do not, and how it ended is told."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pytest

from workspace_lib.errors import ParameterError
from workspace_lib.reclosers.analysis import analyse_entry, analyse_event
from workspace_lib.reclosers.analysis_values import EventAnalysis, Located
from workspace_lib.reclosers.cev import parse_cev
from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.incidents import (
    ASSUMED_GAP_S,
    IncidentFault,
    Operation,
    fault_of,
    gap_s,
    incidents,
    last_shot_of,
    operation_of,
)
from workspace_lib.reclosers.record import device_time
from workspace_lib.reclosers.simulator_events import make_events

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


# --- from analysed events -------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["C", "R S32"])
def test_analysed_events_make_the_incidents_that_were_simulated(words: str) -> None:
    for seed in range(6):
        events = make_events("351R", 12, seed=seed)
        analyses = [analyse_event(parse_cev(event.cev_of(words)).data) for event in events]
        operations = [operation_of("LCL-12", one) for one in analyses]
        assert [one is None for one in operations] == [event.kind == "ER" for event in events]
        found = incidents([one for one in operations if one])
        # Each fault of the simulator has a place of its own; the oldest may be cut off.
        places = list(dict.fromkeys(e.distance for e in reversed(events) if e.kind != "ER"))
        assert len(found) == len(places)
        for incident, place in zip(found, places, strict=True):
            shots = [event for event in events if event.distance == place]
            assert len(incident.operations) == len(shots)
            permanent = any(event.lockout for event in shots)
            assert incident.outcome == ("permanent" if permanent else "momentary")


def analysis(**values: Any) -> EventAnalysis:
    given = {"kind": "fault", "trigger": "2026-03-01T07:50:00.249", "event": "AG T"}
    return EventAnalysis(**{**given, **values})


def test_an_event_that_did_not_trip_is_no_operation() -> None:
    assert operation_of("R", analysis(tripped=False)) is None
    assert operation_of("R", analysis(tripped=None, event="AG")) is None
    assert operation_of("R", analysis(tripped=True, trigger="")) is None


def test_without_bits_the_relays_word_says_that_it_tripped() -> None:
    for word in ("AG T", "TRIP", "TRIP3"):
        found = operation_of("R", analysis(tripped=None, event=word, shot=1))
        assert found is not None
        assert (str(found.time), found.shot) == ("2026-03-01T07:50:00.249", 1)


def entry(after_s: float, shot: str, targets: str = "INST 50") -> HistoryEntry:
    when = device_time(START + timedelta(seconds=after_s), 0, 3)
    return HistoryEntry(1, when, "AG T", 4.2, 900.0, 60.0, "1", shot, targets)


def test_a_sequence_of_which_only_the_list_is_left_is_an_incident() -> None:
    listed = [entry(0, "0"), entry(3, "1"), entry(20, "2"), entry(40, "3", "INST 50 79LO")]
    found = [operation_of("R", analyse_entry(one)) for one in listed]
    (incident,) = incidents([one for one in found if one])
    assert (len(incident.operations), incident.outcome) == (4, "permanent")


@pytest.mark.parametrize(
    ("last", "outcome"), [(None, "unknown"), (1, "permanent"), (3, "momentary")]
)
def test_settings_tell_how_a_sequence_of_the_list_ended(last: int | None, outcome: str) -> None:
    found = [operation_of("R", analyse_entry(one)) for one in (entry(0, "0"), entry(3, "1"))]
    (incident,) = incidents([one for one in found if one], last_shot=last)
    assert incident.outcome == outcome


@pytest.mark.parametrize(
    ("settings", "last"),
    [
        ({}, None),
        ({"79OI1": "30.00", "79OI2": "600", "79OI3": "0.00"}, 2),
        ({"79OI1": "0.00"}, 0),
        ({"79OI1": "OFF"}, 0),
        ({f"79OI{n}": "300" for n in range(1, 5)}, 4),
    ],
)
def test_the_last_shot_is_the_number_of_open_intervals(
    settings: dict[str, str], last: int | None
) -> None:
    assert last_shot_of(settings) == last


def place(best: float, low: float, high: float) -> Located:
    return Located(best, low, high, best, best, best, 24.2)


def test_the_fault_of_an_incident_is_that_of_most_of_its_events() -> None:
    found = fault_of(
        [
            analysis(fault_type="AG", magnitude_a=800.0, located=place(4.0, 3.8, 4.3)),
            analysis(fault_type="AG", magnitude_a=900.0, located=place(4.4, 4.1, 4.5)),
            analysis(fault_type="ABG", magnitude_a=1200.0, located=place(9.0, 8.0, 10.0)),
            analysis(kind="trip"),
        ]
    )
    assert (found.fault_type, found.phases, found.magnitude_a) == ("AG", "A", 1200.0)
    assert found.distance == pytest.approx(4.2)
    assert (found.distance_low, found.distance_high) == (3.8, 4.5)
    assert fault_of([analysis(fault_type="AG"), analysis(fault_type="BG")]).fault_type == "BG"
    assert fault_of([]) == IncidentFault()
