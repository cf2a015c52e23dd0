"""Reclosers of a filled site: a fleet that was visited, its events, and some of it in trouble."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from workspace_lib.reclosers.analysing import analyse_new
from workspace_lib.reclosers.archive import open_archive
from workspace_lib.reclosers.fleet_report import FleetReport, RelayLine
from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.keeping import keep_event, keep_visit
from workspace_lib.reclosers.record import device_time
from workspace_lib.reclosers.relay import ClockReading
from workspace_lib.reclosers.relay_capture import Visit
from workspace_lib.reclosers.relay_plan import FetchedEvent, FetchedFile
from workspace_lib.reclosers.settings import Recloser, load_fleet
from workspace_lib.reclosers.simulator_events import FIDS, Model, SimulatedEvent
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store

HOSTILE_NAME = 'Pont <b>&</b> "nord"'
#: Name, territory, place, what it is fed through.
FLEET = (
    ("LAV-101", "Boulevard nord", 43.640, 3.850, ()),
    ("LAV-102", HOSTILE_NAME, 43.648, 3.858, ("LAV-101",)),
    ("LAV-103", "Moulin", 43.656, 3.868, ("LAV-102",)),
    ("MAT-301", "Port est", 43.612, 3.900, ()),
    ("MAT-302", "Phare", 43.604, 3.912, ("MAT-301",)),
    ("MAT-401", "Colline", 43.618, 3.925, ()),
    ("MTL-501", "Université", 43.600, 3.860, ()),
    ("MTL-502", "Aqueduc", 43.592, 3.852, ("MTL-501",)),
    ("MTL-503", "Carrière", None, None, ("MTL-502",)),
    ("MTL-601", "Parc ouest", 43.596, 3.884, ()),
)
#: Recloser, how long before now [h], kind, shots, whether it locked out, where on the line [1].
FAULTS = (
    ("LAV-102", 3.2, "CG", 4, True, 0.47),
    ("MTL-503", 7.5, "BC", 2, False, 0.83),
    ("MTL-503", 31.0, "BC", 1, False, 0.81),
    ("MTL-503", 74.0, "BC", 3, False, 0.82),
    ("MAT-302", 50.0, "AG", 1, False, 0.22),
    ("LAV-103", 120.0, "ABC", 4, True, 0.61),
    ("MTL-502", 150.0, "AG", 1, False, 0.35),
)
#: How the last visit of those ended that did not answer, and their clocks' errors [s].
TROUBLE = {
    "MAT-401": ("silent", "Nothing came for 30 s."),
    "MTL-502": ("locked", "The gateway says: locked by <i>operator</i>."),
    "MTL-601": ("refused", "The password was refused."),
}
CLOCKS = {"MAT-302": -3601.2, "MAT-301": 4.2}
NEVER_VISITED = "MTL-501"


def write_fleet(settings: Settings) -> None:
    """Write the list of reclosers; one of them is only listed."""
    reclosers = [
        {
            "id": name,
            "ced": name[:3],
            "name": said,
            "url": f"simulator://reclosers/{name}",
            "upstream": list(upstream),
            **({} if lat is None else {"lat": lat, "lon": lon}),
        }
        for name, said, lat, lon, upstream in FLEET
    ]
    reclosers.append({"id": "LAV-900", "ced": "LAV", "name": "Ancien poste", "remote": False})
    path = settings.site_dir / "reclosers.yml"
    path.write_text(yaml.safe_dump({"reclosers": reclosers}, allow_unicode=True))


def fill_reclosers(settings: Settings, store: Store, now: datetime) -> dict[str, Any]:
    """Write events and visits as the fleet's capture does, analyse them; return the reports."""
    archive, fleet = open_archive(settings), load_fleet(settings)
    for number, (name, hours, kind, shots, locked, place) in enumerate(FAULTS):
        recloser = fleet.recloser(name)
        first = now - timedelta(hours=hours)
        for shot in range(shots):
            happened = first + timedelta(seconds=12 * shot, milliseconds=37 * (number + shot))
            event = _event(recloser, settings, happened, kind, shot, place)
            event = replace(event, lockout=locked and shot == shots - 1)
            keep_event(store, archive, recloser, _fetched(event), now=now, index=False)
    old = _event(fleet.recloser("LAV-101"), settings, now - timedelta(days=9), "ER", 0, 0.5)
    lost = FetchedEvent(_entry(old), "summary", why="It is listed only.")
    keep_event(store, archive, fleet.recloser("LAV-101"), lost, now=now)
    torn = _event(fleet.recloser("MAT-301"), settings, now - timedelta(days=2), "CA", 0, 0.5)
    bytes_ = FetchedFile("cev", "", torn.cev_of("C")[:2000], whole=False)
    damaged = FetchedEvent(_entry(torn), "damaged", (bytes_,), 3, "Line 40 has a wrong checksum.")
    keep_event(store, archive, fleet.recloser("MAT-301"), damaged, now=now)
    for recloser in fleet.reclosers:
        if recloser.remote and recloser.id != NEVER_VISITED:
            _visits(store, settings, recloser, now)
    lines = [
        RelayLine(one.id, one.ced, outcome=TROUBLE.get(one.id, ("done", ""))[0])  # type: ignore[arg-type]
        for one in fleet.reclosers
        if one.remote
    ]
    capture = FleetReport(now - timedelta(minutes=12), 88.0, tuple(lines), not_remote=1)
    analysed = analyse_new(store, settings, now=now)
    return {"reclosers.capture/LAV": capture.to_dict(), "reclosers.analysis": analysed.to_dict()}


def _visits(store: Store, settings: Settings, recloser: Recloser, now: datetime) -> None:
    zone = settings.zone
    for hours in (52.0, 4.2, 0.2):
        began = now - timedelta(hours=hours)
        outcome, why = TROUBLE.get(recloser.id, ("done", "")) if hours < 50 else ("done", "")
        clock = None
        if outcome == "done":
            wall = began.astimezone(zone) + timedelta(seconds=CLOCKS.get(recloser.id, 0.12))
            clock = ClockReading(device_time(wall.replace(tzinfo=None)), began, 0.4)
        visit = Visit(
            outcome="done" if outcome == "locked" else outcome,  # type: ignore[arg-type]
            why=why,
            found_level="" if outcome in ("silent", "locked") else "0",
            identity={"FID": FIDS[_model(recloser)]} if outcome == "done" else {},
            clock=clock,
            began=began,
            took_s=14.0,
        )
        keep_visit(store, recloser, visit, now=began, outcome=outcome, zone=zone)


def _event(
    recloser: Recloser, settings: Settings, when: datetime, kind: str, shot: int, place: float
) -> SimulatedEvent:
    wall = when.astimezone(ZoneInfo(settings.timezone)).replace(tzinfo=None)
    wall = wall.replace(microsecond=wall.microsecond // 1000 * 1000)
    return SimulatedEvent(_model(recloser), wall, kind, shot, place)


def _model(recloser: Recloser) -> Model:
    return "651R" if recloser.id.startswith("LAV") else "351R"


def _fetched(event: SimulatedEvent) -> FetchedEvent:
    file = FetchedFile("cev", "", event.cev_of("C"))
    return FetchedEvent(_entry(event), "whole", (file,), 1)


def _entry(event: SimulatedEvent) -> HistoryEntry:
    return HistoryEntry(
        1, device_time(event.time, digits=3), event.type, event.location, 1234.0, 60.0, "1",
        str(event.shot), event.targets,
    )  # fmt: skip
