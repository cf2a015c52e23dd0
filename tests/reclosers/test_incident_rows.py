"""From events to incidents, without a store: what belongs together, and what it is called."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from workspace_lib.clock import to_us
from workspace_lib.reclosers.analysis_values import EventAnalysis
from workspace_lib.reclosers.incident_rows import (
    IncidentFound,
    KnownEvent,
    areas_of,
    incidents_of,
)
from workspace_lib.reclosers.settings import Fleet, Recloser

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def event(number: int, seconds: float, word: str = "AG T", **more: Any) -> KnownEvent:
    """An event so many seconds after the start, by a clock that keeps UTC."""
    when = START + timedelta(seconds=seconds)
    return KnownEvent(number, to_us(when), word, when, **more)


def analysed(number: int, seconds: float, word: str = "ER", **values: Any) -> KnownEvent:
    """An event that was analysed."""
    return event(number, seconds, word, analysis=EventAnalysis(**{"kind": "fault", **values}))


def found(*events: KnownEvent) -> list[IncidentFound]:
    return incidents_of("LAV-101", events)


def test_shots_are_one_incident_and_known_by_the_first() -> None:
    (one,) = found(event(7, 10), event(9, 0), event(8, 5))
    assert (one.incident_id, one.events) == (9, (9, 8, 7))
    assert one.values["operations"] == 3
    assert one.values["started"] == START
    assert one.values["ended"] == START + timedelta(seconds=10)


def test_what_comes_after_the_reset_time_is_another_incident() -> None:
    assert len(found(event(1, 0, gap_s=30), event(2, 31, gap_s=30))) == 2
    assert len(found(event(1, 0, gap_s=30), event(2, 29, gap_s=30))) == 1
    # Two minutes, where no file says it.
    assert len(found(event(1, 0), event(2, 119))) == 1


def test_the_last_shot_of_the_settings_is_a_lockout() -> None:
    tripped = {"tripped": True, "word": "AG T"}
    (one,) = found(
        analysed(1, 0, **tripped, shot=0),
        event(2, 3, shot="2", last_shot=2),
    )  # fmt: skip
    assert one.values["outcome"] == "permanent"


def test_closings_and_pickups_belong_to_the_incident_they_fall_into() -> None:
    closing = analysed(2, 60, kind="closing", tripped=False)
    early = analysed(3, -1, tripped=False)
    (one,) = found(event(1, 0), closing, early)
    assert one.events == (3, 1, 2)
    assert one.values["operations"] == 1


def test_a_record_that_somebody_asked_for_later_does_not() -> None:
    (one,) = found(event(1, 0), event(2, 10), analysed(3, 20, kind="trigger", tripped=False))
    assert one.events == (1, 2)
    (one,) = found(event(1, 0), event(2, 10), analysed(3, 5, kind="trigger", tripped=False))
    assert one.events == (1, 3, 2)


def test_a_fault_that_was_only_seen_is_an_incident_without_operations() -> None:
    seen = analysed(1, 0, fault_type="BC", phases="BC", tripped=False)
    again = analysed(2, 5, fault_type="BC", phases="BC", tripped=False, event="ER")
    (one,) = found(seen, again)
    assert one.values["operations"] == 0
    assert (one.values["fault_type"], one.values["outcome"]) == ("BC", "unknown")


def test_what_nobody_computed_is_taken_from_the_relays_word() -> None:
    (one,) = found(event(1, 0, "ACG T", current_a=800.0, location=3.0, shot="1"))
    values = one.values
    assert (values["fault_type"], values["phases"]) == ("CAG", "CA")
    assert (values["magnitude_a"], values["distance"]) == (800.0, 3.0)
    assert values["distance_low"] is None


def test_events_that_did_nothing_are_no_incident() -> None:
    assert found(event(1, 0, "ER"), event(2, 5, "PULSE")) == []
    assert not event(1, 0, "PULSE").matters
    assert event(1, 0, "AG").matters
    assert event(1, 0, "TRIP").matters


def test_territories_that_a_line_joins_are_one_area() -> None:
    def at(name: str, ced: str, *upstream: str) -> Recloser:
        return Recloser(id=name, ced=ced, remote=False, upstream=upstream)

    fleet = Fleet(
        (at("A-1", "AA"), at("B-1", "BB", "A-1"), at("C-1", "CC", "B-1"), at("D-1", "DD"))
    )
    areas = areas_of(fleet)
    assert areas["AA"] == areas["CC"] == frozenset({"AA", "BB", "CC"})
    assert areas["DD"] == frozenset({"DD"})
