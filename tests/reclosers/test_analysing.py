"""What is new is analysed into the store; doing it again, or anew, changes nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from sqlalchemy import delete, insert, select, update

from workspace_lib.reclosers import analysing, incident_store
from workspace_lib.reclosers.analysing import UNREADABLE, analyse_new
from workspace_lib.reclosers.archive import Archive, open_archive
from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.keeping import keep_event
from workspace_lib.reclosers.queries import EventFilter, EventRow, analysis_of, search
from workspace_lib.reclosers.queries_incidents import (
    DisturbanceRow,
    IncidentFilter,
    IncidentRow,
    disturbances,
    incidents,
)
from workspace_lib.reclosers.record import device_time
from workspace_lib.reclosers.relay_plan import FetchedEvent, FetchedFile
from workspace_lib.reclosers.settings import Fleet, load_fleet
from workspace_lib.reclosers.simulator import RelaySimulator, RelaySpec
from workspace_lib.reclosers.simulator_events import SimulatedEvent
from workspace_lib.reclosers.tables import (
    recloser_analyses,
    recloser_disturbances,
    recloser_events,
    recloser_incident_events,
    recloser_incidents,
    recloser_visits,
)
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.migrate import open_store

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
NOON = datetime(2026, 3, 1, 12)
LATER = NOW + timedelta(hours=4)
RECLOSERS = [
    {"id": "LAV-100", "ced": "LAV", "remote": False},
    {"id": "LAV-101", "ced": "LAV", "remote": False, "upstream": ["LAV-100"]},
    {"id": "MAT-201", "ced": "MAT", "remote": False, "upstream": ["LAV-100"]},
    {"id": "MTL-301", "ced": "MTL", "remote": False},
]
WRITTEN = (
    recloser_analyses,
    recloser_incidents,
    recloser_incident_events,
    recloser_disturbances,
)


@dataclass
class Plant:
    """A site of four reclosers, whose events are put into its archive as a capture does."""

    settings: Settings
    store: Store
    archive: Archive
    fleet: Fleet

    def keep(
        self, recloser: str, seconds: float = 0.0, kind: str = "AG", *, shot: int = 0,
        content: bytes | None = None, state: Any = "whole", **more: Any,
    ) -> int:  # fmt: skip
        """Keep one simulated event, so many seconds after noon."""
        when = NOON + timedelta(seconds=seconds)
        event = SimulatedEvent("351R", when, kind, shot, **more)
        truth = RelaySimulator(RelaySpec("351R", events=[event])).truth()
        ((key, report),) = truth.reports("C").items()
        entry = HistoryEntry(1, device_time(when, digits=3), key[1], shot=str(shot), current=900.0,
                             location=4.0)  # fmt: skip
        files = (FetchedFile("cev", "", report if content is None else content),)
        fetched = FetchedEvent(entry, state, files if state == "whole" else (), 1)
        number = keep_event(
            self.store, self.archive, self.fleet.recloser(recloser), fetched, now=NOW
        )
        assert number is not None
        return number

    def analyse(self, **options: Any) -> Any:
        """Run the job."""
        return analyse_new(self.store, self.settings, **{"now": NOW, **options})

    def rows(self) -> dict[str, list[Any]]:
        """Everything the job writes, but for when."""
        found = {}
        with read(self.store.data) as connection:
            for table in WRITTEN:
                columns = [column for column in table.c if column.name != "analysed"]
                query = select(*columns).order_by(*table.primary_key.columns)
                found[table.name] = [tuple(row) for row in connection.execute(query)]
        return found

    @property
    def events(self) -> list[EventRow]:
        """The events, oldest first."""
        with read(self.store.data) as connection:
            return search(connection, EventFilter())[::-1]

    @property
    def incidents(self) -> list[IncidentRow]:
        """The incidents, oldest first."""
        with read(self.store.data) as connection:
            return incidents(connection, IncidentFilter())[::-1]

    @property
    def disturbances(self) -> list[DisturbanceRow]:
        """The disturbances, oldest first."""
        with read(self.store.data) as connection:
            return disturbances(connection)[::-1]


@pytest.fixture
def plant(make_site: Callable[..., Settings]) -> Iterator[Plant]:
    """The site, without events."""
    settings = make_site({"timezone": "America/Toronto", "wings": {"reclosers": {}}})
    path = settings.site_dir / "reclosers.yml"
    path.write_text(yaml.safe_dump({"reclosers": RECLOSERS}), encoding="utf-8")
    with open_store(settings, create=True) as store:
        yield Plant(settings, store, open_archive(settings), load_fleet(settings))


def test_a_fault_is_analysed_from_its_file(plant) -> None:
    number = plant.keep("LAV-101", distance=0.4)
    report = plant.analyse()
    assert (report.events, report.faults, report.trouble) == (1, 1, "")
    assert report.complete
    (event,) = plant.events
    assert (event.kind, event.fault_type, event.phases) == ("fault", "AG", "A")
    assert event.magnitude_a is not None
    with read(plant.store.data) as connection:
        stored = analysis_of(connection, number)
    assert stored is not None
    assert stored.source == "cev"
    assert stored.analysis is not None
    # What the list says of it is compared, beside what its own report says.
    assert stored.analysis.compared("magnitude") is not None
    assert stored.analysis.distance == event.distance


def test_again_nothing_is_done(plant) -> None:
    plant.keep("LAV-101")
    plant.analyse()
    before = plant.rows()
    report = plant.analyse(now=LATER)
    assert (report.events, report.reclosers, report.incidents, report.disturbances) == (0, 0, 0, 0)
    assert plant.rows() == before


def test_to_rebuild_gives_the_same_rows(plant) -> None:
    for seconds, shot in ((0, 0), (3, 1), (8, 2), (900, 0)):
        plant.keep("LAV-101", seconds, shot=shot)
        plant.analyse()
    plant.keep("MAT-201", 0.2)
    plant.keep("MTL-301", state="summary")
    plant.analyse()
    before = plant.rows()
    report = plant.analyse(rebuild=True, now=LATER)
    assert report.events == 5
    assert (report.incidents, report.disturbances) == (0, 0)
    assert plant.rows() == before
    with write(plant.store.data) as connection:
        for table in WRITTEN:
            connection.execute(delete(table))
    plant.analyse()
    assert plant.rows() == before


def test_shots_are_one_incident_also_when_they_come_one_by_one(plant) -> None:
    first = plant.keep("LAV-101", 0, shot=0)
    plant.analyse()
    plant.keep("LAV-101", 5, shot=1, lockout=True)
    plant.analyse()
    plant.keep("LAV-101", 7200, shot=0)
    plant.analyse()
    both, other = plant.incidents
    assert (both.incident_id, both.operations, both.outcome) == (first, 2, "permanent")
    assert both.fault_type == "AG"
    assert other.operations == 1
    assert [event.incident_id for event in plant.events[:2]] == [first, first]


def test_an_older_event_that_comes_later_begins_its_incident(plant) -> None:
    second = plant.keep("LAV-101", 5, shot=1)
    plant.analyse()
    first = plant.keep("LAV-101", 0, shot=0)
    plant.analyse()
    (incident,) = plant.incidents
    assert incident.incident_id == first
    assert incident.operations == 2
    (disturbance,) = plant.disturbances
    assert disturbance.disturbance_id == first
    assert {event.incident_id for event in plant.events} == {first}
    assert second != first


def test_an_event_that_is_only_listed_is_a_part_of_its_incident(plant) -> None:
    plant.keep("LAV-101", 0, shot=0)
    listed = plant.keep("LAV-101", 5, shot=1, state="summary")
    plant.analyse()
    (incident,) = plant.incidents
    assert incident.operations == 2
    assert [event.event_id for event in plant.events if event.kind is None] == [listed]


def test_what_only_the_list_knows_is_an_incident_as_the_relay_tells_it(plant) -> None:
    plant.keep("LAV-101", state="summary", kind="BC")
    plant.analyse()
    (incident,) = plant.incidents
    assert (incident.fault_type, incident.magnitude_a) == ("BC", 900.0)
    # How sure the relay is of its distance nobody knows.
    assert (incident.distance, incident.distance_low) == (4.0, None)
    assert plant.analyse().reclosers == 0


def test_neighbours_that_saw_one_fault_are_one_disturbance(plant) -> None:
    upper = plant.keep("LAV-100", 0.0)
    plant.keep("LAV-101", 0.3, lockout=True)
    plant.keep("MTL-301", 0.1)
    plant.analyse()
    wide, other = sorted(plant.disturbances, key=lambda one: one.ced)
    assert (wide.disturbance_id, other.ced) == (upper, "MTL")
    assert wide.content["tripped"] == ["LAV-100", "LAV-101"]
    assert [one["after"] for one in wide.content["sections"]] == ["LAV-101"]
    assert wide.patrol == "yes"


def test_a_disturbance_is_stored_as_it_tells_itself(plant, monkeypatch) -> None:
    told: list[Any] = []
    real = incident_store.disturbances_of
    monkeypatch.setattr(
        incident_store, "disturbances_of", lambda *a, **k: told.extend(real(*a, **k)) or told
    )
    plant.keep("LAV-100", 0.0)
    plant.keep("LAV-101", 0.3)
    plant.analyse()
    ((_, found),) = told
    assert plant.disturbances[0].content == json.loads(json.dumps(found.to_dict()))


def test_a_line_that_leads_into_another_territory_is_one_area(plant) -> None:
    plant.keep("LAV-100", 0.0)
    plant.analyse()
    plant.keep("MAT-201", 0.3)
    plant.analyse()
    (disturbance,) = plant.disturbances
    assert disturbance.content["tripped"] == ["LAV-100", "MAT-201"]


def test_times_are_set_right_by_the_relays_clock_before_neighbours_are_compared(plant) -> None:
    plant.keep("LAV-100", 0.0)
    plant.keep("LAV-101", 600.0)
    # Its clock is ten minutes fast.
    reading = {
        "recloser": "LAV-101", "ced": "LAV", "began": NOW, "took_s": 1.0, "outcome": "done",
        "listed": 1, "known": 0, "fetched": 1, "summaries": 0, "damaged": 0,
        "clock_error_s": 600.2, "clock_within_s": 0.2,
    }  # fmt: skip
    with write(plant.store.data) as connection:
        connection.execute(insert(recloser_visits).values(reading))
    plant.analyse()
    (disturbance,) = plant.disturbances
    assert disturbance.content["tripped"] == ["LAV-101", "LAV-100"]
    assert disturbance.ended - disturbance.started < timedelta(seconds=5)


def test_a_file_that_says_nothing_is_told_and_not_tried_again(plant) -> None:
    number = plant.keep("LAV-101", content=b"no report at all\r\n")
    report = plant.analyse()
    (told,) = report.unreadable
    assert (told.event_id, told.recloser) == (number, "LAV-101")
    assert "LAV-101" in report.trouble
    assert report.complete
    (event,) = plant.events
    assert event.kind == UNREADABLE
    assert event.trouble
    # The relay's list says that it tripped, and that is believed.
    assert [one.operations for one in plant.incidents] == [1]
    assert plant.analyse().events == 0
    assert list(report.to_frame()["why"]) == [told.why]


def test_an_analysis_that_fails_does_not_keep_the_others(plant, monkeypatch) -> None:
    plant.keep("LAV-100")
    plant.keep("LAV-101")
    real = analysing.analyse_event

    def fail(record: Any, **given: Any) -> Any:
        if not seen:
            seen.append(record)
            raise ZeroDivisionError("of nothing")
        return real(record, **given)

    seen: list[Any] = []
    monkeypatch.setattr(analysing, "analyse_event", fail)
    report = plant.analyse()
    assert (report.events, report.faults) == (2, 1)
    assert "of nothing" in report.unreadable[0].why


def test_a_file_out_of_reach_is_tried_again(plant) -> None:
    plant.keep("LAV-101")
    away = plant.archive.root.with_name("away")
    plant.archive.root.rename(away)
    report = plant.analyse()
    assert (report.events, len(report.unreached), report.complete) == (0, 1, False)
    assert "archive" in report.trouble
    away.rename(plant.archive.root)
    assert plant.analyse().faults == 1


def test_another_version_or_another_file_is_analysed_anew(plant) -> None:
    plant.keep("LAV-101")
    plant.analyse()
    with write(plant.store.data) as connection:
        connection.execute(update(recloser_analyses).values(version=0))
    assert plant.analyse().events == 1
    with write(plant.store.data) as connection:
        connection.execute(update(recloser_events).values(stored=LATER))
    assert plant.analyse(now=LATER + timedelta(hours=1)).events == 1


def test_a_run_that_is_stopped_is_finished_by_the_next(plant) -> None:
    for name in ("LAV-100", "LAV-101", "MTL-301"):
        plant.keep(name)
    stop = threading.Event()
    told: list[tuple[float, str]] = []

    def progress(share: float, name: str) -> None:
        told.append((share, name))
        stop.set()

    report = plant.analyse(stop=stop, progress=progress)
    assert (report.events, report.left, report.complete) == (1, 2, False)
    assert told == [(1 / 3, "LAV-100")]
    stopped = replace(plant.analyse(), took_s=0.0)
    assert (stopped.events, stopped.left) == (2, 0)
    assert len(plant.disturbances) == 2


def test_a_report_can_be_published(plant) -> None:
    plant.keep("LAV-101", content=b"nothing")
    told = plant.analyse().to_dict()
    assert told["began"] == "2026-03-02T12:00:00Z"
    assert told["unreadable"][0]["triggered"] == "2026-03-01T17:00:00Z"
    assert told["trouble"]
