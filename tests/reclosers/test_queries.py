"""Finding events, relays and visits: what is asked for, newest first, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from types import ModuleType

import pytest
from sqlalchemy import Connection

from workspace_lib.reclosers.queries import (
    EventFilter,
    analysis_of,
    choices,
    clock_qualities,
    count,
    event_files,
    event_row,
    relay_states,
    search,
    siblings,
    visits_of,
)
from workspace_lib.store.engines import Store, write

HOUR = timedelta(hours=1)


@pytest.fixture
def connection(recloser_store: Store) -> Iterator[Connection]:
    """A store of a fault in two shots, an event only listed, and one of another territory."""
    with write(recloser_store.data) as opened:
        yield opened


@pytest.fixture
def events(connection: Connection, filling: ModuleType) -> dict[str, int]:
    """Number of each event by its name."""
    now = filling.NOW
    shot = {"fault_type": "AG", "phases": "A", "magnitude_a": 900.0, "distance": 4.2}
    found = {
        "first": filling.add_event(
            connection, "LAV-101", now - 3 * HOUR, "AG T",
            analysis=shot | {"shot_number": 0, "locked_out": 0}, targets="INST A G",
            files=[("cev", "LAV/LAV-101/2026/one.cev", b"one")],
        ),
        "second": filling.add_event(
            connection, "LAV-101", now - 3 * HOUR + timedelta(seconds=3), "AG T",
            analysis=shot | {"magnitude_a": 1100.0, "locked_out": 1},
        ),
        "listed": filling.add_event(
            connection, "LAV-102", now - 2 * HOUR, "CB T", state="summary", current_a=2000.0,
            location=8.0, why="listed but no longer stored",
        ),
        "far": filling.add_event(
            connection, "MAT-201", now - HOUR, "ABC T", model="651R",
            analysis={"fault_type": "ABC", "phases": "ABC", "magnitude_a": 3000.0, "distance": 1.0},
        ),
        "pulse": filling.add_event(
            connection, "MAT-201", now, "PULSE", analysis={"kind": "load"}, model="651R"
        ),
    }  # fmt: skip
    filling.add_incident(connection, [found["first"], found["second"]], outcome="permanent")
    return found


def named(connection: Connection, events: dict[str, int], **wanted: object) -> list[str]:
    names = {number: name for name, number in events.items()}
    return [names[row.event_id] for row in search(connection, EventFilter(**wanted))]  # type: ignore[arg-type]


def test_everything_is_found_newest_first(connection, events) -> None:
    assert named(connection, events) == ["pulse", "far", "listed", "second", "first"]
    assert count(connection, EventFilter()) == 5


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"ceds": ("LAV",)}, ["listed", "second", "first"]),
        ({"reclosers": ("LAV-102", "MAT-201")}, ["pulse", "far", "listed"]),
        ({"models": ("651",)}, ["pulse", "far"]),
        ({"models": ("651", "351")}, ["pulse", "far", "listed", "second", "first"]),
        ({"kinds": ("load",)}, ["pulse"]),
        ({"fault_types": ("AG",)}, ["second", "first"]),
        ({"fault_types": ("ABC", "BC")}, ["far", "listed"]),
        ({"phases": "A"}, ["far", "second", "first"]),
        ({"phases": "CB"}, ["far", "listed"]),
        ({"phases": "AG"}, ["far", "second", "first"]),
        ({"magnitude_a": (1000.0, None)}, ["far", "listed", "second"]),
        ({"magnitude_a": (None, 1000.0)}, ["first"]),
        ({"distance": (2.0, 8.0)}, ["listed", "second", "first"]),
        ({"outcome": "permanent"}, ["second", "first"]),
        ({"outcome": "momentary"}, []),
        ({"state": "summary"}, ["listed"]),
        ({"text": "inst"}, ["first"]),
        ({"text": "LAV t"}, ["listed", "second", "first"]),
        ({"text": "no longer"}, ["listed"]),
        ({"text": "100%"}, []),
        ({"text": "ag_t"}, []),
        ({"fault_types": ("AG",), "outcome": "permanent", "ceds": ("MAT",)}, []),
    ],
)
def test_events_are_found_by_what_is_asked(connection, events, wanted, found) -> None:
    assert named(connection, events, **wanted) == found
    assert count(connection, EventFilter(**wanted)) == len(found)


def test_a_span_holds_its_beginning_and_not_its_end(connection, events, filling) -> None:
    since, until = filling.NOW - 2 * HOUR, filling.NOW - HOUR
    assert named(connection, events, since=since, until=until) == ["listed"]


def test_pages_follow_each_other_without_a_gap(connection, events, filling) -> None:
    twin = filling.add_event(connection, "LAV-103", filling.NOW, "ER")
    seen: list[int] = []
    after = None
    while page := search(connection, EventFilter(), limit=2, after=after):
        seen += [row.event_id for row in page]
        after = page[-1].place
        # What comes in between does not shift the pages that follow.
        filling.add_event(connection, "LAV-104", filling.NOW + HOUR * len(seen), "ER")
    assert seen == [twin, *(events[name] for name in ("pulse", "far", "listed", "second", "first"))]


def test_an_event_is_told_with_what_was_computed(connection, events) -> None:
    row = event_row(connection, events["second"])
    assert row is not None
    assert (row.fault_type, row.magnitude_a, row.outcome) == ("AG", 1100.0, "permanent")
    assert row.locked_out is True
    assert row.incident_id == events["first"]
    assert row.device_time == "2026-11-20T09:00:03.000"
    assert row.files == 0


def test_an_event_that_is_only_listed_has_nothing_computed(connection, events) -> None:
    row = event_row(connection, events["listed"])
    assert row is not None
    assert (row.kind, row.locked_out, row.incident_id) == (None, None, None)
    assert (row.current_a, row.location) == (2000.0, 8.0)
    assert analysis_of(connection, events["listed"]) is None


def test_there_is_no_event_of_a_wrong_number(connection, events) -> None:
    assert event_row(connection, 999) is None
    assert event_files(connection, 999) == []


def test_files_and_analysis_belong_to_their_event(connection, events) -> None:
    (file,) = event_files(connection, events["first"])
    assert (file.kind, file.name, file.bytes) == ("cev", "one.cev", 3)
    stored = analysis_of(connection, events["first"])
    assert stored is not None
    assert (stored.version, stored.content) == (1, {})


def test_siblings_are_the_shots_of_one_fault(connection, events) -> None:
    both = [events["first"], events["second"]]
    assert [row.event_id for row in siblings(connection, events["second"])] == both
    assert siblings(connection, events["pulse"]) == []


def test_relays_are_told_with_their_newest_event(connection, events, filling) -> None:
    filling.add_relay(connection, "LAV-101")
    filling.add_relay(connection, "MTL-301", "MTL", outcome="silent", failures=3)
    states = {one.recloser: one for one in relay_states(connection)}
    assert list(states) == ["LAV-101", "LAV-102", "MAT-201", "MTL-301"]
    assert states["LAV-101"].events == 2
    assert states["LAV-101"].last_event == filling.NOW - 3 * HOUR + timedelta(seconds=3)
    assert states["MTL-301"].last_event is None
    # Its events were imported: nobody ever visited it.
    assert (states["LAV-102"].visited, states["LAV-102"].failures) == (None, 0)


def test_relays_of_a_territory_and_by_name(connection, events, filling) -> None:
    filling.add_relay(connection, "LAV-101")
    assert [one.recloser for one in relay_states(connection, ceds=("MAT",))] == ["MAT-201"]
    named = relay_states(connection, reclosers=("LAV-101", "LAV-102"))
    assert [one.recloser for one in named] == ["LAV-101", "LAV-102"]


def test_two_events_of_one_instant_are_one_relay(connection, filling) -> None:
    for event in ("AG T", "ER"):
        filling.add_event(connection, "LAV-101", filling.NOW, event)
    (state,) = relay_states(connection)
    assert state.events == 2


def test_visits_come_newest_first_page_by_page(connection, filling) -> None:
    from workspace_lib.clock import to_us

    for hour in range(3):
        filling.add_visit(connection, "LAV-101", began=filling.NOW - hour * HOUR, listed=hour)
    filling.add_visit(connection, "LAV-102")
    first = visits_of(connection, "LAV-101", limit=2)
    assert [one.listed for one in first] == [0, 1]
    place = (to_us(first[-1].began), first[-1].visit_id)
    assert [one.listed for one in visits_of(connection, "LAV-101", after=place)] == [2]


def test_clocks_are_judged_by_their_readings_of_late(connection, filling) -> None:
    for day in range(5):
        began = filling.NOW - timedelta(days=day, hours=1)
        filling.add_visit(connection, "LAV-101", began=began, clock_error_s=0.2)
        filling.add_visit(connection, "LAV-102", began=began, clock_error_s=-3600.0)
    filling.add_visit(connection, "LAV-103", began=filling.NOW - timedelta(days=90))
    filling.add_visit(connection, "LAV-104", clock_error_s=None)
    names = ["LAV-101", "LAV-102", "LAV-103", "LAV-104"]
    found = clock_qualities(connection, names, filling.NOW)
    assert [found[name].quality for name in names] == ["good", "bad", "unknown", "unknown"]
    assert found["LAV-102"].hour_off
    assert found["LAV-101"].drift_s_per_day == pytest.approx(0.0)


def test_choices_are_what_occurs(connection, events, filling) -> None:
    filling.add_relay(connection, "LAV-101", model="351R")
    assert choices(connection) == {
        "models": ["351R"],
        "kinds": ["fault", "load"],
        "fault_types": ["ABC", "AG"],
    }


def test_either_database_finds_the_same(any_store, filling) -> None:
    with write(any_store.data) as connection:
        filling.add_many(connection, 60, reclosers=6)
        wanted = EventFilter(
            ceds=("LAV", "MAT", "MTL"), models=("651", "351"), since=filling.NOW - 4000 * HOUR * 24,
            until=filling.NOW, fault_types=("AG", "BC", "CA", "ABC"), phases="A",
            magnitude_a=(1.0, 9000.0), distance=(0.0, 99.0), text="inst",
        )  # fmt: skip
        found = search(connection, wanted)
        assert found
        assert count(connection, wanted) == len(found)
        assert search(connection, wanted, after=found[0].place) == found[1:]
        assert search(connection, replace(wanted, outcome=found[0].outcome))
        assert len(relay_states(connection)) == 6
        assert choices(connection)["kinds"] == ["fault", "opening"]
        assert [one.event_id for one in siblings(connection, 5)] == [4, 5, 6]
