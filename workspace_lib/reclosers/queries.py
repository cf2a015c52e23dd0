"""The read side of the reclosers wing: events and relays, as the store knows them.

Every function takes an open connection of the data database, read-only or not, and returns plain
dataclasses; incidents and what follows from them are in `queries_incidents`. What was computed of
an event stands beside what its relay says; where nothing was computed (the event is only listed),
people find it by what the relay says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import permutations
from typing import Any, Final, Literal

from sqlalchemy import (
    CompoundSelect,
    Connection,
    Row,
    Select,
    and_,
    func,
    or_,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.sql import ColumnElement

from workspace_lib.clock import to_us
from workspace_lib.reclosers.faults import TYPES
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

State = Literal["whole", "summary", "damaged"]
#: Where the next page begins: the instant [µs since 1970, UTC] and number of the last row seen.
Place = tuple[int, int]
_EVENTS: Final = recloser_events.c
_ANALYSES: Final = recloser_analyses.c


@dataclass(frozen=True)
class EventFilter:
    """What events are looked for; what is empty or None does not matter.

    Attributes
    ----------
    since, until : datetime or None
        Triggered at or after, and before (UTC).
    models : tuple of str
        Any of these is a part of the relay's model.
    kinds, fault_types : tuple of str
        As the analysis tells: any of these.
    phases : str
        All of these phases take part, for instance ``AB``; whether ground does is not asked.
    magnitude_a, distance : (float or None, float or None)
        From and to, both included, of the current [A primary] and of the distance (in the unit of
        the line's settings).
    outcome : str or None
        Of the incident it is a part of: momentary, permanent or unknown.
    state : {"whole", "summary", "damaged"} or None
        Whether its files are kept.
    text : str
        Words that all occur in the recloser, type, targets, reference or reason.
    """

    ceds: tuple[str, ...] = ()
    reclosers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    kinds: tuple[str, ...] = ()
    fault_types: tuple[str, ...] = ()
    phases: str = ""
    magnitude_a: tuple[float | None, float | None] = (None, None)
    distance: tuple[float | None, float | None] = (None, None)
    outcome: str | None = None
    state: State | None = None
    text: str = ""


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
    """What was computed of an event: by which version, from which files, all of it."""

    event_id: int
    version: int
    input_sha256: str
    content: Mapping[str, Any]
    trouble: str | None
    analysed: datetime


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
    found = select(_EVENTS.event_id).where(_condition(wanted))
    if after is not None:
        found = found.where(tuple_(_EVENTS.triggered, _EVENTS.event_id) < tuple_(*after))
    # The page is found first and joined then: what is beside an event is read for its rows only.
    page = found.order_by(*_newest_first()).limit(limit).subquery("page")
    query = _rows().join(page, page.c.event_id == _EVENTS.event_id).order_by(*_newest_first())
    return [_event(row) for row in connection.execute(query)]


def count(connection: Connection, wanted: EventFilter) -> int:
    """Return how many events `search` finds on all pages."""
    query = select(func.count()).select_from(recloser_events).where(_condition(wanted))
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
    query = select(*(_ANALYSES[name] for name in StoredAnalysis.__dataclass_fields__))
    row = connection.execute(query.where(_ANALYSES.event_id == event_id)).first()
    return None if row is None else StoredAnalysis(**row._mapping)


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


def _condition(wanted: EventFilter) -> ColumnElement[bool]:
    """Return the condition of what is looked for."""
    found: list[ColumnElement[bool]] = [true()]
    if wanted.ceds:
        found.append(_EVENTS.ced.in_(wanted.ceds))
    if wanted.reclosers:
        found.append(_EVENTS.recloser.in_(wanted.reclosers))
    if wanted.models:
        named = [_EVENTS.model.icontains(one, autoescape=True) for one in wanted.models]
        found.append(or_(*named))
    if wanted.since is not None:
        found.append(_EVENTS.triggered >= wanted.since)
    if wanted.until is not None:
        found.append(_EVENTS.triggered < wanted.until)
    if wanted.state is not None:
        found.append(_EVENTS.state == wanted.state)
    if words := wanted.text.split():
        said = func.lower(_said())
        found += [said.contains(word.lower(), autoescape=True) for word in words]
    if (analysed := _analysed(wanted)) is not None:
        found.append(analysed)
    if wanted.outcome is not None:
        parts_of = select(recloser_incident_events.c.event_id).join(
            recloser_incidents,
            recloser_incidents.c.incident_id == recloser_incident_events.c.incident_id,
        )
        found.append(_among(parts_of.where(recloser_incidents.c.outcome == wanted.outcome)))
    return and_(*found)


def _analysed(wanted: EventFilter) -> ColumnElement[bool] | None:
    """Return the condition on what was computed, else on what the relay says; None without one."""
    computed: list[ColumnElement[bool]] = []
    told: list[ColumnElement[bool]] = []
    if wanted.kinds:
        computed.append(_ANALYSES.kind.in_(wanted.kinds))
    if wanted.fault_types:
        computed.append(_ANALYSES.fault_type.in_(wanted.fault_types))
        told.append(_of_type(wanted.fault_types))
    if phases := set(wanted.phases) & set("ABC"):
        computed += [_ANALYSES.phases.contains(one, autoescape=True) for one in sorted(phases)]
        told.append(_of_type([one for one in TYPES if phases <= set(one)]))
    for column, own, (least, most) in (
        (_ANALYSES.magnitude_a, _EVENTS.current_a, wanted.magnitude_a),
        (_ANALYSES.distance, _EVENTS.location, wanted.distance),
    ):
        if least is not None:
            computed.append(column >= least)
            told.append(own >= least)
        if most is not None:
            computed.append(column <= most)
            told.append(own <= most)
    if not computed:
        return None
    by_analysis = select(_ANALYSES.event_id).where(*computed)
    if wanted.kinds:
        return _among(by_analysis)
    by_relay = select(_EVENTS.event_id).where(_EVENTS.state != "whole", *told)
    return _among(union_all(by_analysis, by_relay))


def _among(numbers: Select[Any] | CompoundSelect[Any]) -> ColumnElement[bool]:
    """Return the condition that an event is among those of a query.

    The sum keeps SQLite from beginning with these, so that it looks through the index of times and
    is done as soon as a page is full; which are among them is known by then, in either order.
    """
    return (_EVENTS.event_id + 0).in_(numbers)


def _of_type(types: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition that a relay calls its event one of these types, as in ``ACG T``.

    Relays write the letters in an order of their own.
    """
    words = sorted({"".join(letters) for one in types for letters in permutations(one)})
    begins = [_EVENTS.event.startswith(f"{word} ") for word in words]
    return or_(_EVENTS.event.in_(words), *begins)


def _said() -> ColumnElement[str]:
    """Return the words of an event that people look for."""
    text: ColumnElement[str] = _EVENTS.recloser + " " + _EVENTS.event
    for column in (_EVENTS.targets, _EVENTS.reference, _EVENTS.why):
        text = text + " " + func.coalesce(column, "")
    return text
