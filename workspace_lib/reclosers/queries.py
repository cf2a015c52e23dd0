"""The read side of the reclosers wing: events and relays, as the store knows them.

Every function takes an open connection of the data database, read-only or not, and returns plain
dataclasses; incidents and what follows from them are in `queries_incidents`. What was computed of
an event stands beside what its relay says; where nothing was computed (the event is only listed),
people find it by what the relay says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import (
    Connection,
    Row,
    Select,
    and_,
    func,
    select,
    true,
    tuple_,
)
from sqlalchemy.sql import ColumnElement

from workspace_lib.clock import to_us
from workspace_lib.reclosers.analysis_values import ANALYSIS_VERSION, EventAnalysis, from_dict
from workspace_lib.reclosers.clock_quality import (
    ClockLimits,
    ClockQuality,
    Reading,
    clock_quality,
)
from workspace_lib.reclosers.event_filter import EventFilter as EventFilter
from workspace_lib.reclosers.event_filter import State, condition
from workspace_lib.reclosers.record import DeviceTime
from workspace_lib.reclosers.tables import (
    recloser_analyses,
    recloser_events,
    recloser_files,
    recloser_incident_events,
    recloser_incidents,
    recloser_relays,
    recloser_visits,
)

#: Where the next page begins: the instant [µs since 1970, UTC] and number of the last row seen.
Place = tuple[int, int]
_EVENTS: Final = recloser_events.c
_ANALYSES: Final = recloser_analyses.c


@dataclass(frozen=True)
class EventRow:
    """One event: what its relay says, what was computed, what it is a part of.

    ``device_us`` is the time by the relay's own clock [µs since 1970 in its wall time], ``event``
    to ``targets`` are the relay's summary, ``kind`` to ``trouble`` the analysis.
    """

    event_id: int
    recloser: str
    ced: str
    device_us: int
    event: str
    triggered: datetime
    state: State
    origin: str
    model: str | None
    fid: str | None
    reference: str | None
    location: float | None
    current_a: float | None
    frequency_hz: float | None
    setting_group: str | None
    shot: str | None
    targets: str | None
    why: str | None
    noticed: datetime
    stored: datetime | None
    run_id: str | None
    files: int
    kind: str | None
    fault_type: str | None
    phases: str | None
    magnitude_a: float | None
    distance: float | None
    distance_low: float | None
    distance_high: float | None
    clearing_s: float | None
    shot_number: int | None
    locked_out: bool | None
    trouble: str | None
    incident_id: int | None
    outcome: str | None

    @property
    def device_time(self) -> str:
        """Time of the trigger by the relay's own clock, ISO 8601 to the millisecond."""
        return str(DeviceTime(self.device_us * 1000, 3))

    @property
    def place(self) -> Place:
        """Where the page after this row begins."""
        return to_us(self.triggered), self.event_id


@dataclass(frozen=True)
class EventFile:
    """One file of an event; ``path`` is under the archive's root."""

    file_id: int
    event_id: int
    kind: str
    name: str
    path: str
    bytes: int
    sha256: str
    state: str
    stored: datetime


@dataclass(frozen=True)
class StoredAnalysis:
    """What was computed of an event: by which version, from which files, all of it.

    ``content`` is that of `EventAnalysis.to_dict`, empty where ``trouble`` says why nothing could
    be computed; ``source`` is what the record was read from (``cev``, ``comtrade``, ``eve``).
    """

    event_id: int
    version: int
    input_sha256: str
    content: Mapping[str, Any]
    trouble: str | None
    analysed: datetime
    source: str = ""

    @property
    def analysis(self) -> EventAnalysis | None:
        """What was computed; None where nothing could be, or another version did."""
        known = self.version == ANALYSIS_VERSION and self.content
        return from_dict(self.content) if known else None


@dataclass(frozen=True)
class RelayState:
    """What is known of a relay: its last visit, its clock [s], its newest event.

    ``visited`` is when it was last tried, ``answered`` when it last answered; both are None for one
    whose events were only imported.
    """

    recloser: str
    ced: str
    model: str | None
    fid: str | None
    visited: datetime | None
    answered: datetime | None
    outcome: str | None
    why: str | None
    failures: int
    not_before: datetime | None
    clock_read: datetime | None
    clock_error_s: float | None
    clock_within_s: float | None
    events: int
    last_event: datetime | None


@dataclass(frozen=True)
class VisitRow:
    """One visit of a relay."""

    visit_id: int
    recloser: str
    ced: str
    began: datetime
    took_s: float
    outcome: str
    why: str | None
    found_level: str | None
    listed: int
    known: int
    fetched: int
    summaries: int
    damaged: int
    clock_error_s: float | None
    clock_within_s: float | None
    clock_moved_s: float | None
    transcript: str | None
    run_id: str | None


def search(
    connection: Connection, wanted: EventFilter, *, limit: int = 100, after: Place | None = None
) -> list[EventRow]:
    """Return events, newest first; ``after`` is `EventRow.place` of the last one seen."""
    found = select(_EVENTS.event_id).where(condition(wanted))
    if after is not None:
        found = found.where(tuple_(_EVENTS.triggered, _EVENTS.event_id) < tuple_(*after))
    # The page is found first and joined then: what is beside an event is read for its rows only.
    page = found.order_by(*_newest_first()).limit(limit).subquery("page")
    query = _rows().join(page, page.c.event_id == _EVENTS.event_id).order_by(*_newest_first())
    return [_event(row) for row in connection.execute(query)]


def count(connection: Connection, wanted: EventFilter) -> int:
    """Return how many events `search` finds on all pages."""
    query = select(func.count()).select_from(recloser_events).where(condition(wanted))
    return int(connection.execute(query).scalar_one())


def event_row(connection: Connection, event_id: int) -> EventRow | None:
    """Return one event, or None."""
    row = connection.execute(_rows().where(_EVENTS.event_id == event_id)).first()
    return None if row is None else _event(row)


def event_rows(connection: Connection, event_ids: Sequence[int]) -> list[EventRow]:
    """Return events by their numbers, oldest first; those that are not there are left out."""
    query = _rows().where(_EVENTS.event_id.in_(event_ids))
    ordered = query.order_by(_EVENTS.triggered, _EVENTS.event_id)
    return [_event(row) for row in connection.execute(ordered)]


def event_files(connection: Connection, event_id: int) -> list[EventFile]:
    """Return the files of an event in the order they were stored, the kept ones before others."""
    columns = recloser_files.c
    query = select(recloser_files).where(columns.event_id == event_id)
    ordered = query.order_by(columns.state, columns.file_id)
    return [EventFile(**row._mapping) for row in connection.execute(ordered)]


def analysis_of(connection: Connection, event_id: int) -> StoredAnalysis | None:
    """Return what was computed of an event, or None."""
    names = [name for name in StoredAnalysis.__dataclass_fields__ if name in _ANALYSES]
    query = select(*(_ANALYSES[name] for name in names)).where(_ANALYSES.event_id == event_id)
    row = connection.execute(query).first()
    if row is None:
        return None
    values = dict(row._mapping)
    values["content"] = content = dict(values["content"])
    return StoredAnalysis(**values, source=content.pop("stored", {}).get("source", ""))


def siblings(connection: Connection, event_id: int) -> list[EventRow]:
    """Return the events of the incident an event is a part of, it included, oldest first."""
    parts = recloser_incident_events.c
    mine = select(parts.incident_id).where(parts.event_id == event_id).scalar_subquery()
    others = select(parts.event_id).where(parts.incident_id == mine)
    return event_rows(connection, list(connection.execute(others).scalars()))


def relay_states(
    connection: Connection, *, ceds: Sequence[str] = (), reclosers: Sequence[str] = ()
) -> list[RelayState]:
    """Return what is known of each relay, by territory and name.

    Relays that were never tried and have no event are not in the store: the site's list has them.
    """
    newest = (
        select(
            _EVENTS.recloser,
            func.count().label("events"),
            func.max(_EVENTS.device_us).label("device_us"),
        )
        .where(_EVENTS.recloser.in_(reclosers) if reclosers else true())
        .group_by(_EVENTS.recloser)
        .subquery("newest")
    )
    last = select(newest.c.recloser, newest.c.events, _EVENTS.ced, _EVENTS.triggered).join(
        recloser_events,
        and_(
            _EVENTS.recloser == newest.c.recloser,
            _EVENTS.device_us == newest.c.device_us,
        ),
    )
    seen = {row.recloser: row for row in connection.execute(last)}
    known: dict[str, dict[str, Any]] = {
        name: dict.fromkeys(RelayState.__dataclass_fields__)
        | {"recloser": name, "ced": row.ced, "failures": 0}
        for name, row in seen.items()
    }
    query = select(recloser_relays)
    if reclosers:
        query = query.where(recloser_relays.c.recloser.in_(reclosers))
    known |= {row.recloser: dict(row._mapping) for row in connection.execute(query)}
    states = []
    for name, values in known.items():
        row = seen.get(name)
        values["events"] = row.events if row else 0
        values["last_event"] = row.triggered if row else None
        if not ceds or values["ced"] in ceds:
            states.append(RelayState(**values))
    return sorted(states, key=lambda one: (one.ced, one.recloser))


def visits_of(
    connection: Connection, recloser: str, *, limit: int = 50, after: Place | None = None
) -> list[VisitRow]:
    """Return the visits of a relay, newest first; ``after`` is the last one's instant and number.

    Parameters
    ----------
    after : (int, int), optional
        When the last visit seen began [µs since 1970, UTC], and its number.
    """
    columns = recloser_visits.c
    query = select(recloser_visits).where(columns.recloser == recloser)
    if after is not None:
        query = query.where(tuple_(columns.began, columns.visit_id) < tuple_(*after))
    ordered = query.order_by(columns.began.desc(), columns.visit_id.desc()).limit(limit)
    return [VisitRow(**row._mapping) for row in connection.execute(ordered)]


def clock_qualities(
    connection: Connection,
    reclosers: Sequence[str],
    now: datetime,
    *,
    limits: ClockLimits | None = None,
    zones: Mapping[str, ZoneInfo] | None = None,
) -> dict[str, ClockQuality]:
    """Return how true the clocks of relays are, by their readings at visits of late.

    Parameters
    ----------
    limits : ClockLimits, optional
        What counts as good; readings older than its ``stale_days`` tell nothing.
    zones : mapping, optional
        Zone whose time a clock keeps.
    """
    rules, columns = limits or ClockLimits(), recloser_visits.c
    query = (
        select(
            columns.recloser, columns.began, columns.clock_error_s, columns.clock_within_s
        )
        .where(
            columns.recloser.in_(reclosers),
            columns.began >= now - timedelta(days=rules.stale_days),
            columns.clock_error_s.is_not(None),
        )
    )  # fmt: skip
    readings: dict[str, list[Reading]] = {name: [] for name in reclosers}
    for name, began, error_s, within_s in connection.execute(query):
        readings[name].append(Reading(began, error_s, within_s or 0.0))
    return {
        name: clock_quality(found, now, zone=(zones or {}).get(name), limits=rules)
        for name, found in readings.items()
    }


def choices(connection: Connection) -> dict[str, list[str]]:
    """Return what events can be looked for by: models, kinds and types of faults that occur."""
    columns = {
        "models": recloser_relays.c.model,
        "kinds": _ANALYSES.kind,
        "fault_types": _ANALYSES.fault_type,
    }
    return {
        name: sorted(one for one in connection.execute(select(column).distinct()).scalars() if one)
        for name, column in columns.items()
    }


def _newest_first() -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    return _EVENTS.triggered.desc(), _EVENTS.event_id.desc()


def _rows() -> Select[Any]:
    """Return the query of whole rows, without a condition."""
    files = select(func.count()).where(recloser_files.c.event_id == _EVENTS.event_id)
    parts, incidents = recloser_incident_events, recloser_incidents
    computed = [
        _ANALYSES[name] for name in EventRow.__dataclass_fields__ if name in _ANALYSES
    ][1:]  # fmt: skip
    return (
        select(
            recloser_events,
            files.scalar_subquery().label("files"),
            *computed,
            parts.c.incident_id,
            incidents.c.outcome,
        )
        .join_from(
            recloser_events,
            recloser_analyses,
            _ANALYSES.event_id == _EVENTS.event_id,
            isouter=True,
        )
        .join(parts, parts.c.event_id == _EVENTS.event_id, isouter=True)
        .join(incidents, incidents.c.incident_id == parts.c.incident_id, isouter=True)
    )


def _event(row: Row[Any]) -> EventRow:
    values = dict(row._mapping)
    locked = values["locked_out"]
    values["locked_out"] = None if locked is None else bool(locked)
    return EventRow(**values)
