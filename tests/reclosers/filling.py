"""Rows of the reclosers wing as captures and analyses leave them, for tests and benchmarks."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import Connection, insert

from workspace_lib.clock import to_us
from workspace_lib.files import atomic_write, sha256_bytes
from workspace_lib.reclosers.analysing import analyse_new
from workspace_lib.reclosers.analysis import analyse_event
from workspace_lib.reclosers.archive import open_archive
from workspace_lib.reclosers.cev import parse_cev
from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.keeping import keep_event
from workspace_lib.reclosers.record import device_time
from workspace_lib.reclosers.relay_plan import FetchedEvent, FetchedFile
from workspace_lib.reclosers.settings import load_fleet
from workspace_lib.reclosers.simulator import RelaySimulator, RelaySpec, make_events
from workspace_lib.reclosers.simulator_comtrade import comtrade_of
from workspace_lib.reclosers.simulator_events import SimulatedEvent
from workspace_lib.reclosers.tables import (
    recloser_analyses,
    recloser_disturbances,
    recloser_events,
    recloser_files,
    recloser_incident_events,
    recloser_incidents,
    recloser_relays,
    recloser_visits,
)
from workspace_lib.settings import Settings, load_settings
from workspace_lib.store.engines import Store, write

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def add_relay(connection: Connection, recloser: str, ced: str = "LAV", **values: Any) -> None:
    """Write what is known of a relay that answered an hour ago."""
    row = {
        "recloser": recloser, "ced": ced, "model": "351R", "fid": "SEL-351R-R111",
        "visited": NOW - timedelta(hours=1), "answered": NOW - timedelta(hours=1),
        "outcome": "new", "failures": 0, "clock_read": NOW - timedelta(hours=1),
        "clock_error_s": 0.4, "clock_within_s": 0.1,
    }  # fmt: skip
    connection.execute(insert(recloser_relays).values(row | values))


def add_visit(connection: Connection, recloser: str, ced: str = "LAV", **values: Any) -> None:
    """Write a visit that found nothing new."""
    row = {
        "recloser": recloser, "ced": ced, "began": NOW - timedelta(hours=1), "took_s": 12.5,
        "outcome": "known", "found_level": "0", "listed": 3, "known": 3, "fetched": 0,
        "summaries": 0, "damaged": 0, "clock_error_s": 0.4, "clock_within_s": 0.1,
    }  # fmt: skip
    connection.execute(insert(recloser_visits).values(row | values))


def add_event(
    connection: Connection,
    recloser: str = "LAV-101",
    triggered: datetime = NOW,
    event: str = "AG T",
    *,
    analysis: Mapping[str, Any] | None = None,
    files: Sequence[tuple[str, str, bytes]] = (),
    **values: Any,
) -> int:
    """Write an event whose relay's clock keeps UTC; returns its number.

    Parameters
    ----------
    analysis : mapping, optional
        Columns of its analysis; without it nothing was computed.
    files : sequence of (str, str, bytes)
        Kind, path under the archive and content of each of its files.
    """
    row = {
        "recloser": recloser, "ced": recloser.split("-")[0], "device_us": to_us(triggered),
        "event": event, "triggered": triggered, "state": "whole", "origin": "capture",
        "model": "351R", "noticed": triggered,
    }  # fmt: skip
    written = connection.execute(insert(recloser_events).values(row | values))
    assert written.inserted_primary_key is not None
    number = int(written.inserted_primary_key[0])
    if analysis is not None:
        computed = {
            "event_id": number, "version": 1, "input_sha256": "0" * 64, "kind": "fault",
            "content": {}, "analysed": NOW,
        }  # fmt: skip
        connection.execute(insert(recloser_analyses).values(computed | dict(analysis)))
    for kind, path, content in files:
        connection.execute(
            insert(recloser_files).values(
                event_id=number, kind=kind, name=path.rpartition("/")[2], path=path,
                bytes=len(content), sha256=sha256_bytes(content), state="kept", stored=NOW,
            )
        )  # fmt: skip
    return number


def add_incident(connection: Connection, events: Sequence[int], **values: Any) -> int:
    """Write an incident of events; it is known by the first of them."""
    row = {
        "incident_id": events[0], "recloser": "LAV-101", "ced": "LAV", "started": NOW,
        "ended": NOW, "operations": len(events), "outcome": "momentary",
    }  # fmt: skip
    connection.execute(insert(recloser_incidents).values(row | values))
    connection.execute(
        insert(recloser_incident_events),
        [{"event_id": event, "incident_id": events[0]} for event in events],
    )
    return events[0]


def add_disturbance(connection: Connection, number: int, **values: Any) -> None:
    """Write a disturbance."""
    row = {
        "disturbance_id": number, "ced": "LAV", "started": NOW, "ended": NOW,
        "outcome": "permanent", "patrol": "go", "content": {"tripped": ["LAV-101"]},
    }  # fmt: skip
    connection.execute(insert(recloser_disturbances).values(row | values))


def add_many(connection: Connection, count: int, *, reclosers: int = 600, seed: int = 6) -> None:
    """Write analysed events of a fleet over five years, with files and incidents.

    A tenth is only listed; one event in ten thousand is of a kind of its own, so that what is rare
    can be looked for.
    """
    chance = random.Random(seed)
    ceds = ("LAV", "MAT", "MTL", "QUE", "SAG", "OUT")
    content = an_analysis()
    begin = NOW - timedelta(days=5 * 365)
    step_us = 5 * 365 * 86_400_000_000 // count
    for first in range(0, count, 10_000):
        rows: dict[Any, list[dict[str, Any]]] = {}

        def add(table: Any, rows: dict[Any, list[dict[str, Any]]] = rows, **values: Any) -> None:
            rows.setdefault(table, []).append(values)

        for number in range(first + 1, min(first + 10_000, count) + 1):
            place = chance.randrange(reclosers)
            ced = ceds[place % len(ceds)]
            name = f"{ced}-{place:03d}"
            when = begin + timedelta(microseconds=number * step_us)
            kind = chance.choice(("AG", "BG", "CG", "AB", "BC", "CA", "ABC"))
            listed, rare = number % 10 == 0, number % 10_000 == 5
            size = 9000.0 if rare else round(chance.uniform(300, 6000), 1)
            add(
                recloser_events, event_id=number, recloser=name, ced=ced, device_us=to_us(when),
                event=f"{kind} T", triggered=when, state="summary" if listed else "whole",
                origin="capture", model="651R" if place % 3 else "351R", fid="SEL-651R-R408",
                reference=str(10_000 + number), location=1.0, current_a=size, frequency_hz=60.0,
                setting_group="1", shot="1", targets="INST TIME A G" if rare else "INST A",
                noticed=when,
            )  # fmt: skip
            incident = (number - 1) // 3 * 3 + 1
            add(recloser_incident_events, event_id=number, incident_id=incident)
            if number == incident:
                add(
                    recloser_incidents, incident_id=number, recloser=name, ced=ced, started=when,
                    ended=when, operations=3, fault_type=kind, phases=kind.replace("G", ""),
                    outcome="unknown" if rare else chance.choice(("momentary", "permanent")),
                    magnitude_a=size,
                )  # fmt: skip
            if listed:
                continue
            add(
                recloser_analyses, event_id=number, version=1, input_sha256=f"{number:064d}",
                kind="opening" if rare else "fault", fault_type=kind,
                phases=kind.replace("G", ""), magnitude_a=size,
                distance=90.0 if rare else round(chance.uniform(0.1, 20), 2), clearing_s=0.08,
                shot_number=0, locked_out=0, content=content, analysed=when,
            )  # fmt: skip
            stem = f"{when:%y%m%d,%H%M%S%f},0,{name},651R,HQ"
            add(
                recloser_files, event_id=number, kind="cev", name=f"{stem}.cev",
                path=f"{ced}/{name}/{when:%Y}/{stem}.cev", bytes=40_000, sha256=f"{number:064d}",
                state="kept", stored=when,
            )  # fmt: skip
        for table, values in rows.items():
            connection.execute(insert(table), values)
    for place in range(reclosers):
        ced = ceds[place % len(ceds)]
        add_relay(connection, f"{ced}-{place:03d}", ced)


def an_analysis() -> dict[str, Any]:
    """Return all that is computed of a simulated fault, as the store keeps it."""
    simulator = RelaySimulator(RelaySpec("351R", events=make_events("351R", 1)))
    (report,) = simulator.truth().reports("C").values()
    return analyse_event(parse_cev(report).data).to_dict()


RECLOSERS = [
    {"id": "LAV-101", "ced": "LAV", "remote": False, "lat": 45.6, "lon": -73.7},
    {"id": "LAV-102", "ced": "LAV", "remote": False, "upstream": ["LAV-101"]},
    {"id": "MAT-201", "ced": "MAT", "remote": False},
    {"id": "MAT-202", "ced": "MAT", "remote": False},
]


def make_recloser_site(root: Path) -> Settings:
    """Make a site of four reclosers in a folder."""
    folder = root / "parameters" / "plant"
    (folder / "jobs").mkdir(parents=True)
    (root / "notebooks" / "jobs").mkdir(parents=True)
    site = {"timezone": "America/Toronto", "wings": {"reclosers": {}}}
    for name, content in {"site": site, "reclosers": {"reclosers": RECLOSERS}}.items():
        (folder / f"{name}.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_settings("plant", root=root)


def simulated(hours: float, kind: str = "AG", *, seconds: float = 0, **more: Any) -> SimulatedEvent:
    """Return an event so many hours before `NOW`, by a clock that keeps Toronto's time."""
    when = NOW - timedelta(hours=hours + 5) + timedelta(seconds=seconds)
    return SimulatedEvent(more.pop("model", "351R"), when.replace(tzinfo=None), kind, **more)


def report() -> bytes:
    """Return the bytes of the first event that `fill` keeps."""
    return simulated(4).cev_of("C")


def fill(settings: Settings, store: Store) -> None:
    """Keep four events of the site's reclosers, and analyse them.

    1 and 2 are shots of LAV-101 that went to lockout, 3 of LAV-102 is only listed, 4 of MAT-201 is
    a COMTRADE record.
    """
    fleet, archive = load_fleet(settings), open_archive(settings)

    def keep(recloser: str, event: SimulatedEvent, files: Sequence[FetchedFile]) -> None:
        time, word = event.key
        moment = device_time(datetime.fromisoformat(time), digits=3)
        entry = HistoryEntry(1, moment, word, 4.0, 900.0, shot=str(event.shot), targets="INST")
        fetched = FetchedEvent(entry, "whole" if files else "summary", tuple(files), 1)
        model = "651R" if event.model == "651R" else "351R"
        keep_event(store, archive, fleet.recloser(recloser), fetched, now=NOW, model=model)

    for event in (simulated(4), simulated(3, seconds=-3595, shot=1, lockout=True)):
        keep("LAV-101", event, [FetchedFile("cev", "", event.cev_of("C"))])
    keep("LAV-102", simulated(2, "BC"), [])
    far = simulated(1, "ABC", model="651R")
    parts = comtrade_of(far, "BINARY")
    keep("MAT-201", far, [FetchedFile(ending, f"E1.{ending}", parts[ending]) for ending in parts])
    with write(store.data) as connection:
        for name, ced in (("LAV-101", "LAV"), ("LAV-102", "LAV"), ("MAT-201", "MAT")):
            add_relay(connection, name, ced, model="651R" if ced == "MAT" else "351R")
    analyse_new(store, settings, now=NOW)


def add_one(settings: Settings, store: Store, content: bytes) -> None:
    """Give a site one recloser with one event, whose report is in the archive; quick."""
    listed = {"reclosers": [{"id": "LAV-101", "ced": "LAV", "remote": False}]}
    path = settings.site_dir / "reclosers.yml"
    path.write_text(yaml.safe_dump(listed), encoding="utf-8")
    name = "LAV/LAV-101/2026/261120,070000000,-5,,LAV-101,,AG-T.cev"
    atomic_write(open_archive(settings).root / name, content)
    with write(store.data) as connection:
        add_relay(connection, "LAV-101")
        number = add_event(
            connection, "LAV-101", analysis={"fault_type": "AG", "magnitude_a": 900.0},
            files=[("cev", name, content)],
        )  # fmt: skip
        add_incident(connection, [number], disturbance_id=number)
        add_disturbance(connection, number)
