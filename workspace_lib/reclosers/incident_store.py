"""Incidents and disturbances in the store: only the rows that differ are written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, delete, insert, select, update

from workspace_lib.reclosers.analysis_values import ANALYSIS_VERSION, EventAnalysis, from_dict
from workspace_lib.reclosers.clock_quality import ClockLimits, Reading
from workspace_lib.reclosers.disturbances import Disturbance, Network
from workspace_lib.reclosers.incident_rows import (
    IncidentFound,
    KnownEvent,
    StoredIncident,
    disturbances_of,
    incidents_of,
)
from workspace_lib.reclosers.settings import Fleet, load_reclosers, zone_of
from workspace_lib.reclosers.tables import (
    recloser_analyses,
    recloser_disturbances,
    recloser_events,
    recloser_incident_events,
    recloser_incidents,
    recloser_relays,
    recloser_visits,
)
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.upsert import batches, insert_or_replace

#: A fair clock is within so many times what a good one is.
_FAIR: Final = 10.0
_ROWS: Final = 2000


def unplaced(connection: Connection) -> set[str]:
    """Return the reclosers with events that are only listed, and belong to no incident yet."""
    events = recloser_events.c
    placed = select(recloser_incident_events.c.event_id)
    query = select(
        events.recloser, events.event_id, events.device_us, events.event, events.triggered
    ).where(events.state != "whole", events.event_id.not_in(placed))
    return {
        row.recloser
        for row in connection.execute(query)
        if KnownEvent(row.event_id, row.device_us, row.event, row.triggered).matters
    }


def known_events(connection: Connection, recloser: str) -> dict[int, KnownEvent]:
    """Return what incidents need of all events of a recloser, by number."""
    events, analyses = recloser_events.c, recloser_analyses.c
    query = (
        select(
            events.event_id, events.device_us, events.event, events.triggered, events.location,
            events.current_a, events.shot, analyses.version, analyses.content,
        )
        .join(recloser_analyses, analyses.event_id == events.event_id, isouter=True)
        .where(events.recloser == recloser)
    )  # fmt: skip
    found = {}
    for row in connection.execute(query):
        analysis, more = _read_back(row.version, row.content)
        found[row.event_id] = KnownEvent(
            row.event_id, row.device_us, row.event, row.triggered, row.location, row.current_a,
            row.shot or "", analysis, more.get("gap_s"), more.get("last_shot"),
        )  # fmt: skip
    return found


def _read_back(
    version: int | None, content: Mapping[str, Any] | None
) -> tuple[EventAnalysis | None, Mapping[str, Any]]:
    if version != ANALYSIS_VERSION or not content:
        return None, {}
    rest = dict(content)
    more = rest.pop("stored", {})
    return from_dict(rest), more


def keep_incidents(connection: Connection, recloser: str, events: Mapping[int, KnownEvent]) -> int:
    """Write what differs of a recloser's incidents; returns how many rows are new or changed."""
    found = {one.incident_id: one for one in incidents_of(recloser, events.values())}
    columns, parts = recloser_incidents.c, recloser_incident_events.c
    ced = connection.scalars(
        select(recloser_events.c.ced)
        .where(recloser_events.c.recloser == recloser)
        .order_by(recloser_events.c.event_id.desc())
    ).first()
    before = {
        row.incident_id: dict(row._mapping)
        for row in connection.execute(
            select(recloser_incidents).where(columns.recloser == recloser)
        )
    }
    members: dict[int, set[int]] = defaultdict(set)
    of_mine = select(parts.incident_id, parts.event_id).where(
        parts.event_id.in_(select(recloser_events.c.event_id).where(
            recloser_events.c.recloser == recloser))
    )  # fmt: skip
    for number, event in connection.execute(of_mine):
        members[number].add(event)
    changed = [
        one
        for one in found.values()
        if members[one.incident_id] != set(one.events)
        or not _same(before.get(one.incident_id), {**one.values, "ced": ced})
    ]
    gone = [number for number in members.keys() | before.keys() if number not in found]
    stale = [*gone, *(one.incident_id for one in changed)]
    for some in batches(stale, 500):
        connection.execute(delete(recloser_incident_events).where(parts.incident_id.in_(some)))
        connection.execute(delete(recloser_incidents).where(columns.incident_id.in_(some)))
    if gone:
        # Who was in one disturbance with what is gone is looked at again.
        wide = {before[one]["disturbance_id"] for one in gone if one in before} - {None}
        connection.execute(
            update(recloser_incidents)
            .where(columns.disturbance_id.in_(wide))
            .values(disturbance_id=None)
        )
    _write_incidents(connection, recloser, str(ced), changed)
    return len(changed) + len(gone)


def _write_incidents(
    connection: Connection, recloser: str, ced: str, found: Iterable[IncidentFound]
) -> None:
    rows, parts = [], []
    for one in found:
        rows.append(
            {"incident_id": one.incident_id, "recloser": recloser, "ced": ced,
             "disturbance_id": None, **one.values}
        )  # fmt: skip
        parts += [{"event_id": event, "incident_id": one.incident_id} for event in one.events]
    if rows:
        moved = [one["event_id"] for one in parts]
        for some in batches(moved, 500):
            connection.execute(
                delete(recloser_incident_events).where(
                    recloser_incident_events.c.event_id.in_(some)
                )
            )
        connection.execute(insert(recloser_incidents), rows)
        connection.execute(insert(recloser_incident_events), parts)


def _same(before: Mapping[str, Any] | None, values: Mapping[str, Any]) -> bool:
    return before is not None and all(before[name] == value for name, value in values.items())


def loose_territories(connection: Connection, *, rebuild: bool) -> set[str]:
    """Return the territories with incidents that are in no disturbance yet; all to rebuild."""
    query = select(recloser_incidents.c.ced).distinct()
    if not rebuild:
        query = query.where(recloser_incidents.c.disturbance_id.is_(None))
    return set(connection.execute(query).scalars())


def keep_disturbances(
    store: Store, settings: Settings, fleet: Fleet, area: frozenset[str], network: Network
) -> int:
    """Make the disturbances of neighbouring territories anew; returns how many rows changed."""
    reclosers = load_reclosers(settings)
    with read(store.data) as connection:
        stored = _stored_incidents(connection, area)
        names = {one.recloser for one in stored}
        readings = _readings(connection, names)
        watched = _watched(connection)
        before = {
            row.disturbance_id: row
            for row in connection.execute(
                select(recloser_disturbances).where(recloser_disturbances.c.ced.in_(area))
            )
        }
        columns = recloser_incidents.c
        members = select(columns.incident_id, columns.disturbance_id).where(columns.ced.in_(area))
        member_of = dict(connection.execute(members).all())
    by_id, house = fleet.by_id, ZoneInfo(reclosers.timezone or settings.timezone)
    zones = {
        name: zone_of(by_id[name], reclosers, settings) if name in by_id else house
        for name in names
    }
    limits = ClockLimits(reclosers.clock_good_s, _FAIR * reclosers.clock_good_s)
    found = disturbances_of(
        stored, network, zones, readings, watched=watched, limits=limits,
        tolerance_s=reclosers.neighbours_s,
    )  # fmt: skip
    ceds = {one.incident_id: one.ced for one in stored}
    rows = {parts[0]: _row(parts[0], ceds[parts[0]], one) for parts, one in found}
    changed = [row for number, row in rows.items() if not _equal(before.get(number), row)]
    gone = [number for number in before if number not in rows]
    moved = [
        (parts[0], number)
        for parts, _ in found
        for number in parts
        if member_of.get(number) != parts[0]
    ]
    _write_disturbances(store, changed, gone, moved)
    return len(changed) + len(gone)


def _write_disturbances(
    store: Store,
    changed: Sequence[Mapping[str, Any]],
    gone: Sequence[int],
    moved: Sequence[tuple[int, int]],
) -> None:
    columns = [column.name for column in recloser_disturbances.c if not column.primary_key]
    for rows in batches(changed, _ROWS):
        with write(store.data) as connection:
            connection.execute(
                insert_or_replace(connection, recloser_disturbances, columns), list(rows)
            )
    by_disturbance: dict[int, list[int]] = defaultdict(list)
    for disturbance, incident in moved:
        by_disturbance[disturbance].append(incident)
    for some in batches(list(by_disturbance.items()), _ROWS // 4):
        with write(store.data) as connection:
            for disturbance, incidents in some:
                connection.execute(
                    update(recloser_incidents)
                    .where(recloser_incidents.c.incident_id.in_(incidents))
                    .values(disturbance_id=disturbance)
                )
    for numbers in batches(gone, 500):
        with write(store.data) as connection:
            connection.execute(
                delete(recloser_disturbances).where(
                    recloser_disturbances.c.disturbance_id.in_(numbers)
                )
            )


def _row(number: int, ced: str, found: Disturbance) -> dict[str, Any]:
    return {
        "disturbance_id": number,
        "ced": ced,
        "started": found.started,
        "ended": found.ended,
        "outcome": found.outcome,
        "patrol": found.patrol.needed,
        "content": _plain(found),
    }


def _plain(value: Any) -> Any:
    """Return what `Disturbance.to_dict` does, as it is read back from the store.

    It is made of all disturbances of a territory to see which have changed: `asdict`, which copies
    every value, took most of a run.
    """
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(one) for name, one in vars(value).items()}
    return value


def _equal(before: Any, row: Mapping[str, Any]) -> bool:
    return before is not None and all(getattr(before, name) == value for name, value in row.items())


def _stored_incidents(connection: Connection, area: frozenset[str]) -> list[StoredIncident]:
    columns = recloser_incidents.c
    wanted = [columns[name] for name in StoredIncident.__dataclass_fields__ if name != "device_us"]
    query = (
        select(*wanted, recloser_events.c.device_us)
        .join(recloser_events, recloser_events.c.event_id == columns.incident_id)
        .where(columns.ced.in_(area))
        .order_by(columns.started, columns.incident_id)
    )
    return [StoredIncident(**row._mapping) for row in connection.execute(query)]


def _readings(connection: Connection, names: Iterable[str]) -> dict[str, list[Reading]]:
    columns = recloser_visits.c
    found: dict[str, list[Reading]] = {}
    for name in sorted(names):
        query = (
            select(columns.began, columns.clock_error_s, columns.clock_within_s)
            .where(columns.recloser == name, columns.clock_error_s.is_not(None))
            .order_by(columns.began)
        )
        found[name] = [
            Reading(began, error, within or 0.0)
            for began, error, within in connection.execute(query)
        ]
    return found


def _watched(connection: Connection) -> set[str]:
    """Return the reclosers whose events are known: they answered once, or have some."""
    answered = select(recloser_relays.c.recloser).where(recloser_relays.c.answered.is_not(None))
    with_events = select(recloser_events.c.recloser).distinct()
    return {*connection.execute(answered).scalars(), *connection.execute(with_events).scalars()}
