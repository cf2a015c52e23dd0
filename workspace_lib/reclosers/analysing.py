"""The job that analyses what is new in the store: analyses, incidents, disturbances.

Events and files are never touched; everything written here follows from them, from the readings of
the relays' clocks and from the site's list, so that ``rebuild`` gives the same rows. One recloser
after the other: its analyses and its incidents are written in one transaction. An incident that is
new or has changed has no disturbance until those of its territories are made anew, so that a run
that was cut is finished by the next one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, or_, select

from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.errors import StoreError, WorkspaceError
from workspace_lib.reclosers.analysis import analyse_event
from workspace_lib.reclosers.analysis_report import AnalysisReport, Troubled
from workspace_lib.reclosers.analysis_values import ANALYSIS_VERSION
from workspace_lib.reclosers.archive import open_archive
from workspace_lib.reclosers.faults import line_of
from workspace_lib.reclosers.incident_rows import KnownEvent, areas_of, entry_of, network_of
from workspace_lib.reclosers.incident_store import (
    keep_disturbances,
    keep_incidents,
    known_events,
    loose_territories,
    unplaced,
)
from workspace_lib.reclosers.incidents import gap_s, last_shot_of
from workspace_lib.reclosers.queries import EventFile, event_files
from workspace_lib.reclosers.settings import load_fleet
from workspace_lib.reclosers.stored_records import ReadFile, input_hash, read_record
from workspace_lib.reclosers.tables import recloser_analyses, recloser_events
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.upsert import insert_or_replace

log = logging.getLogger("workspace_lib.reclosers.analysing")

#: Kind of the analysis of an event whose files cannot be read; its trouble says why.
UNREADABLE: Final = "unreadable"
Progress = Callable[[float, str], object]


def analyse_new(
    store: Store,
    settings: Settings,
    *,
    now: datetime | None = None,
    progress: Progress | None = None,
    rebuild: bool = False,
    stop: threading.Event | None = None,
) -> AnalysisReport:
    """Analyse the events that are new, and make incidents and disturbances of what follows.

    Parameters
    ----------
    store : Store
        The open store.
    settings : Settings
        The site: its reclosers, its archive.
    now : datetime, optional
        The instant written beside what is computed; the machine's clock otherwise.
    progress : callable, optional
        Told after each recloser which fraction is done, and its name.
    rebuild : bool
        Compute everything anew; the rows are the same unless the site's list or the analysis
        changed.
    stop : threading.Event, optional
        Ends after the recloser under way.

    Raises
    ------
    ConfigError, ParameterError
        If the settings or the list of reclosers are wrong.
    StoreError
        If the store cannot be written.
    """
    began, clock = now or SYSTEM_CLOCK.now(), time.monotonic()
    fleet, archive = load_fleet(settings), open_archive(settings)
    network, areas = network_of(fleet), areas_of(fleet)
    with read(store.data) as connection:
        pending = _pending(connection, rebuild=rebuild)
        for recloser in unplaced(connection):
            pending.setdefault(recloser, [])
    report = AnalysisReport(began, rebuilt=rebuild)
    for number, (recloser, events) in enumerate(sorted(pending.items())):
        if stop is not None and stop.is_set():
            report = replace(report, left=len(pending) - number)
            break
        report = _one(store, archive.read, recloser, events, report, began)
        if progress is not None:
            progress((number + 1) / len(pending), recloser)
    with read(store.data) as connection:
        ceds = loose_territories(connection, rebuild=rebuild)
    for area in {areas.get(ced, frozenset({ced})) for ced in ceds}:
        changed = keep_disturbances(store, settings, fleet, area, network)
        report = replace(report, disturbances=report.disturbances + changed)
    return replace(report, took_s=round(time.monotonic() - clock, 3))


def _pending(connection: Connection, *, rebuild: bool) -> dict[str, list[int]]:
    """Return the whole events to be analysed, by recloser; all reclosers with any to rebuild."""
    events, analyses = recloser_events.c, recloser_analyses.c
    query = select(events.recloser, events.event_id).order_by(events.recloser, events.device_us)
    if not rebuild:
        query = query.join(
            recloser_analyses, analyses.event_id == events.event_id, isouter=True
        ).where(
            or_(
                analyses.event_id.is_(None),
                analyses.version != ANALYSIS_VERSION,
                analyses.analysed < events.stored,
            )
        )
    found: dict[str, list[int]] = defaultdict(list)
    for recloser, number in connection.execute(query.where(events.state == "whole")):
        found[recloser].append(number)
    if rebuild:
        for recloser in connection.execute(select(events.recloser).distinct()).scalars():
            found[recloser] = found[recloser]
    return dict(found)


def _one(
    store: Store,
    read_file: ReadFile,
    recloser: str,
    numbers: Sequence[int],
    report: AnalysisReport,
    now: datetime,
) -> AnalysisReport:
    """Analyse events of one recloser and write them with its incidents."""
    with read(store.data) as connection:
        known = known_events(connection, recloser)
        files = {number: event_files(connection, number) for number in numbers}
    rows, unreadable, unreached = [], [], []
    for number in numbers:
        event = known[number]
        told = Troubled(number, recloser, event.event, event.triggered, "")
        try:
            row = _analysed(read_file, event, files[number])
        except StoreError as error:
            unreached.append(replace(told, why=error.what))
            continue
        if row["trouble"]:
            unreadable.append(replace(told, why=row["trouble"]))
        rows.append({**row, "analysed": now})
    with write(store.data) as connection:
        if rows:
            columns = [name for name in rows[0] if name != "event_id"]
            connection.execute(insert_or_replace(connection, recloser_analyses, columns), rows)
        # What was stored meanwhile counts at once.
        changed = keep_incidents(connection, recloser, known_events(connection, recloser))
    return replace(
        report,
        events=report.events + len(rows),
        faults=report.faults + sum(row["kind"] == "fault" for row in rows),
        unreadable=(*report.unreadable, *unreadable),
        unreached=(*report.unreached, *unreached),
        reclosers=report.reclosers + 1,
        incidents=report.incidents + changed,
    )


def _analysed(read_file: ReadFile, event: KnownEvent, files: Sequence[EventFile]) -> dict[str, Any]:
    """Return the row of an event's analysis, also where nothing can be computed."""
    row: dict[str, Any] = {
        "event_id": event.event_id,
        "version": ANALYSIS_VERSION,
        "input_sha256": input_hash(files),
        "kind": UNREADABLE,
        "content": {},
        **dict.fromkeys(_COLUMNS),
    }
    try:
        stored = read_record(read_file, files)
        relay = (*stored.relay, entry_of(event))
        found = analyse_event(stored.record, relay=relay, line=line_of(stored.settings))
    except StoreError:
        raise
    except WorkspaceError as error:
        return row | {"trouble": error.what}
    except Exception as error:
        log.error("Event %s cannot be analysed.", event.event_id, exc_info=error)
        return row | {"trouble": f"The analysis failed: {error!r}."}
    hz = stored.record.frequency_hz or 60.0
    more: dict[str, Any] = {"source": stored.source, "troubles": list(stored.troubles)}
    if stored.settings:
        more |= {"gap_s": gap_s(stored.settings, hz), "last_shot": last_shot_of(stored.settings)}
    return row | {
        "kind": found.kind,
        "fault_type": found.fault_type,
        "phases": found.phases or None,
        "magnitude_a": found.magnitude_a,
        "distance": found.distance,
        "distance_low": None if found.located is None else found.located.low,
        "distance_high": None if found.located is None else found.located.high,
        "clearing_s": found.times.clearing_s,
        "shot_number": found.shot,
        "locked_out": None if found.locked_out is None else int(found.locked_out),
        "content": {**found.to_dict(), "stored": more},
    }


#: What an analysis may leave unknown.
_COLUMNS: Final = (
    "fault_type",
    "phases",
    "magnitude_a",
    "distance",
    "distance_low",
    "distance_high",
    "clearing_s",
    "shot_number",
    "locked_out",
    "trouble",
)
