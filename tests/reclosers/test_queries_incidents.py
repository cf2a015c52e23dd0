"""Incidents, repeat offenders, the fleet's health, and what is told of a complaint."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from types import ModuleType

import pytest
from sqlalchemy import Connection

from workspace_lib.errors import ParameterError
from workspace_lib.reclosers import queries_incidents
from workspace_lib.reclosers.queries import clock_qualities, relay_states
from workspace_lib.reclosers.queries_incidents import (
    IncidentFilter,
    complaint,
    disturbance,
    disturbances,
    events_of,
    fleet_health,
    incident,
    incidents,
    repeat_offenders,
)
from workspace_lib.store.engines import Store, write

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def connection(recloser_store: Store) -> Iterator[Connection]:
    """An open transaction."""
    with write(recloser_store.data) as opened:
        yield opened


@pytest.fixture
def faults(connection: Connection, filling: ModuleType) -> dict[str, int]:
    """Four incidents; the first two are one disturbance."""
    found = {}
    for name, recloser, hours, more in (
        ("tripped", "LAV-101", 10, {"outcome": "permanent", "phases": "A", "disturbance_id": 1}),
        ("saw", "LAV-100", 10, {"outcome": "momentary", "disturbance_id": 1}),
        ("again", "LAV-101", 5, {"outcome": "momentary", "phases": "AB", "fault_type": "AB"}),
        ("other", "MAT-201", 1, {"outcome": "unknown"}),
    ):
        began = filling.NOW - hours * HOUR
        first = filling.add_event(connection, recloser, began, "AG T")
        second = filling.add_event(connection, recloser, began + timedelta(seconds=30), "AG T")
        found[name] = filling.add_incident(
            connection, [first, second], recloser=recloser, ced=recloser[:3], started=began,
            ended=began + timedelta(seconds=30), **more,
        )  # fmt: skip
    filling.add_disturbance(connection, 1, started=filling.NOW - 10 * HOUR,
                            ended=filling.NOW - 10 * HOUR)  # fmt: skip
    return found


def named(connection: Connection, faults: dict[str, int], **wanted: object) -> list[str]:
    names = {number: name for name, number in faults.items()}
    found = incidents(connection, IncidentFilter(**wanted))  # type: ignore[arg-type]
    return [names[row.incident_id] for row in found]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ["other", "again", "saw", "tripped"]),
        ({"ceds": ("MAT",)}, ["other"]),
        ({"reclosers": ("LAV-101",)}, ["again", "tripped"]),
        ({"outcome": "momentary"}, ["again", "saw"]),
        ({"phases": "A"}, ["again", "tripped"]),
        ({"fault_types": ("AB",)}, ["again"]),
        ({"disturbance_id": 1}, ["saw", "tripped"]),
    ],
)
def test_incidents_are_found_newest_first(connection, faults, wanted, found) -> None:
    assert named(connection, faults, **wanted) == found


def test_an_incident_that_lasts_into_a_span_is_in_it(connection, faults, filling) -> None:
    since = filling.NOW - 5 * HOUR + timedelta(seconds=20)
    assert named(connection, faults, since=since, until=since + HOUR) == ["again"]
    assert named(connection, faults, until=filling.NOW - 5 * HOUR) == ["saw", "tripped"]


def test_incidents_come_page_by_page(connection, faults) -> None:
    first = incidents(connection, IncidentFilter(), limit=3)
    (last,) = incidents(connection, IncidentFilter(), limit=3, after=first[-1].place)
    assert last.incident_id == faults["tripped"]


def test_one_incident_and_its_events(connection, faults) -> None:
    row = incident(connection, faults["again"])
    assert row is not None
    assert row.operations == 2
    assert [one.event_id for one in events_of(connection, [faults["again"]])] == [
        faults["again"],
        faults["again"] + 1,
    ]
    assert incident(connection, 999) is None


def test_disturbances_are_found_by_span_and_outcome(connection, faults, filling) -> None:
    (row,) = disturbances(connection, since=filling.NOW - 11 * HOUR, until=filling.NOW)
    assert row.content == {"tripped": ["LAV-101"]}
    assert disturbances(connection, after=row.place) == []
    assert disturbances(connection, ceds=("MAT",)) == []
    assert disturbances(connection, outcome="momentary") == []
    assert disturbances(connection, until=filling.NOW - 10 * HOUR) == []
    assert disturbance(connection, 1) == row
    assert disturbance(connection, 2) is None


def test_repeat_offenders_are_ranked_by_their_incidents(connection, faults, filling) -> None:
    ranked = repeat_offenders(connection, filling.NOW - DAY, filling.NOW)
    # Of two with as many, the one that tripped last stands first.
    assert [one.recloser for one in ranked] == ["LAV-101", "MAT-201", "LAV-100"]
    worst = ranked[0]
    assert (worst.incidents, worst.permanent, worst.momentary, worst.unknown) == (2, 1, 1, 0)
    assert worst.share == 0.5
    assert worst.last == filling.NOW - 5 * HOUR
    assert worst.operations == 4


def test_a_fault_that_was_only_seen_is_no_offence(connection, faults, filling) -> None:
    number = filling.add_event(connection, "LAV-105", filling.NOW - HOUR, "ER")
    filling.add_incident(connection, [number], recloser="LAV-105", operations=0,
                         started=filling.NOW - HOUR)  # fmt: skip
    ranked = repeat_offenders(connection, filling.NOW - DAY, filling.NOW)
    assert "LAV-105" not in [one.recloser for one in ranked]


def test_offenders_of_a_territory_or_with_enough_incidents(connection, faults, filling) -> None:
    span = (filling.NOW - DAY, filling.NOW)
    (only,) = repeat_offenders(connection, *span, ceds=("MAT",))
    assert (only.recloser, only.share) == ("MAT-201", 1.0)
    assert len(repeat_offenders(connection, *span, least=2)) == 1
    assert repeat_offenders(connection, filling.NOW - DAY, filling.NOW - 20 * HOUR) == []


def test_the_fleet_is_counted_by_how_its_last_visits_ended(connection, filling) -> None:
    filling.add_relay(connection, "LAV-101", clock_error_s=-0.2)
    filling.add_relay(connection, "LAV-102", outcome="silent", failures=4, clock_error_s=7.0,
                      answered=filling.NOW - 5 * DAY)  # fmt: skip
    filling.add_relay(connection, "LAV-103", outcome="refused", failures=6, answered=None,
                      clock_error_s=None)  # fmt: skip
    filling.add_event(connection, "LAV-104")
    health = fleet_health(relay_states(connection), filling.NOW)
    assert health.relays == 4
    assert health.outcomes == {"new": 1, "silent": 1, "refused": 1, "never": 1}
    assert [one.recloser for one in health.stale] == ["LAV-103", "LAV-104", "LAV-102"]
    assert [one.recloser for one in health.failing] == ["LAV-103", "LAV-102"]
    assert health.clocks == {"good": 1, "fair": 1, "unknown": 2}


def test_clocks_of_the_fleet_count_by_all_their_readings(connection, filling) -> None:
    for name, error_s in (("LAV-101", 0.2), ("LAV-102", 90.0)):
        filling.add_relay(connection, name, clock_error_s=0.0)
        for day in range(3):
            began = filling.NOW - timedelta(days=day, hours=1)
            filling.add_visit(connection, name, began=began, clock_error_s=error_s)
    filling.add_relay(connection, "LAV-103")
    states = relay_states(connection)
    qualities = clock_qualities(connection, ["LAV-101", "LAV-102"], filling.NOW)
    health = fleet_health(states, filling.NOW, qualities=qualities)
    assert health.clocks == {"good": 1, "poor": 1, "unknown": 1}


def test_a_complaint_is_answered_with_all_that_happened_on_the_line(
    connection, faults, filling
) -> None:
    filling.add_relay(connection, "LAV-101")
    since = filling.NOW - 10 * HOUR + timedelta(seconds=20)
    told = complaint(connection, since, since + HOUR, reclosers=("LAV-101",))
    # The incident began before the span; its first event is told all the same.
    assert [one.event_id for one in told.events] == [faults["tripped"], faults["tripped"] + 1]
    assert [one.incident_id for one in told.incidents] == [faults["tripped"]]
    assert [one.disturbance_id for one in told.disturbances] == [1]
    assert told.known_until == filling.NOW - HOUR
    assert not told.cut


def test_a_relay_that_never_answered_leaves_a_complaint_open(connection, faults, filling) -> None:
    filling.add_relay(connection, "LAV-101")
    told = complaint(connection, filling.NOW - DAY, filling.NOW, ceds=("LAV",))
    assert [one.recloser for one in told.relays] == ["LAV-100", "LAV-101"]
    assert told.known_until is None
    assert len(told.events) == 6


def test_a_complaint_says_when_more_happened_than_it_tells(
    connection, faults, filling, monkeypatch
) -> None:
    monkeypatch.setattr(queries_incidents, "COMPLAINT_MOST", 2)
    told = complaint(connection, filling.NOW - DAY, filling.NOW, ceds=("LAV",))
    assert told.cut
    assert len(told.incidents) == 2


@pytest.mark.parametrize("place", [{}, {"ceds": ()}])
def test_a_complaint_names_a_place(connection, filling, place) -> None:
    with pytest.raises(ParameterError, match="where to look"):
        complaint(connection, filling.NOW - DAY, filling.NOW, **place)


def test_a_span_does_not_end_before_it_begins(connection, filling) -> None:
    with pytest.raises(ParameterError, match="ends before"):
        complaint(connection, filling.NOW, filling.NOW, ceds=("LAV",))
    with pytest.raises(ParameterError, match="ends before"):
        repeat_offenders(connection, filling.NOW, filling.NOW - DAY)


def test_either_database_tells_the_same(any_store, filling) -> None:
    with write(any_store.data) as connection:
        filling.add_many(connection, 60, reclosers=6)
        span = (filling.NOW - 3000 * DAY, filling.NOW + DAY)
        ranked = repeat_offenders(connection, *span, ceds=("LAV", "MAT"), limit=3)
        assert sum(one.operations for one in ranked) == 3 * sum(one.incidents for one in ranked)
        wanted = IncidentFilter(ceds=("LAV",), since=span[0], until=span[1], phases="A")
        assert incidents(connection, wanted)
        told = complaint(connection, *span, ceds=("LAV",))
        assert told.events
        assert told.known_until is not None
        assert disturbances(connection, since=span[0]) == []
