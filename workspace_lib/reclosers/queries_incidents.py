"""The read side of the reclosers wing: incidents, disturbances, and what people ask of them.

Must a patrol go and where; what happened on this line when somebody complained; which reclosers
trip again and again; is the fleet itself well. Every function takes an open connection of the data
database and returns plain dataclasses; events and relays are in `queries`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, case, func, select, true, tuple_
from sqlalchemy.sql import ColumnElement

from workspace_lib.clock import to_us
from workspace_lib.errors import ParameterError
from workspace_lib.reclosers.clock_quality import ClockQuality
from workspace_lib.reclosers.queries import (
    EventFilter,
    EventRow,
    Place,
    RelayState,
    event_rows,
    relay_states,
    search,
)
from workspace_lib.reclosers.tables import (
    recloser_disturbances,
    recloser_incident_events,
    recloser_incidents,
)

#: Most events, incidents and disturbances that stand on the page of a complaint.
COMPLAINT_MOST: Final = 500
#: What is said of a clock, by the quality that `clock_quality` finds.
_WORDS: Final = {"good": "good", "fair": "fair", "bad": "poor", "unknown": "unknown"}
_INCIDENTS: Final = recloser_incidents.c
_DISTURBANCES: Final = recloser_disturbances.c


@dataclass(frozen=True)
class IncidentFilter:
    """What incidents are looked for; what is empty or None does not matter.

    Attributes
    ----------
    since, until : datetime or None
        They last into this span: ended at or after, begun before (UTC).
    outcome : str or None
        momentary, permanent or unknown.
    phases : str
        All of these take part.
    """

    ceds: tuple[str, ...] = ()
    reclosers: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    outcome: str | None = None
    fault_types: tuple[str, ...] = ()
    phases: str = ""
    disturbance_id: int | None = None


@dataclass(frozen=True)
class IncidentRow:
    """Operations of one recloser that are one fault; distances in the unit of the line's settings.

    ``outcome`` is permanent where the recloser locked out: then a patrol must go. Without
    ``operations`` it only saw the fault.
    """

    incident_id: int
    recloser: str
    ced: str
    started: datetime
    ended: datetime
    operations: int
    outcome: str
    fault_type: str | None
    phases: str | None
    magnitude_a: float | None
    distance: float | None
    distance_low: float | None
    distance_high: float | None
    disturbance_id: int | None

    @property
    def place(self) -> Place:
        """Where the page after this row begins."""
        return to_us(self.started), self.incident_id


@dataclass(frozen=True)
class DisturbanceRow:
    """Incidents of neighbouring reclosers that are one fault.

    ``patrol`` says whether and where somebody must go; ``content`` who tripped, who only saw it,
    and between which reclosers it was.
    """

    disturbance_id: int
    ced: str
    started: datetime
    ended: datetime
    outcome: str
    patrol: str
    content: Mapping[str, Any]

    @property
    def place(self) -> Place:
        """Where the page after this row begins."""
        return to_us(self.started), self.disturbance_id


@dataclass(frozen=True)
class Offender:
    """A recloser by how often it had incidents in a span; ``share`` of all incidents there [1]."""

    recloser: str
    ced: str
    incidents: int
    operations: int
    momentary: int
    permanent: int
    unknown: int
    share: float
    last: datetime


@dataclass(frozen=True)
class FleetHealth:
    """How the fleet is: relays by outcome of their last visit, who did not answer for long.

    Attributes
    ----------
    relays : int
        Relays in the store.
    outcomes : mapping
        How many by outcome of the last visit; ``never`` for those that were never tried.
    stale : tuple of RelayState
        Did not answer for longer than they may, or never; the longest silent first.
    failing : tuple of RelayState
        Whose last visits failed, the most failures first.
    clocks : mapping
        How many clocks are good, fair, poor, and unknown.
    """

    relays: int
    outcomes: Mapping[str, int]
    stale: tuple[RelayState, ...]
    failing: tuple[RelayState, ...]
    clocks: Mapping[str, int]


@dataclass(frozen=True)
class Complaint:
    """What happened on a line in a span, for a page to be printed.

    Attributes
    ----------
    events : tuple of EventRow
        Triggered in the span, or part of an incident that lasts into it; oldest first.
    incidents, disturbances : tuple
        That last into the span; oldest first.
    relays : tuple of RelayState
        Of the reclosers asked for: how true their clocks are, and until when they are known.
    known_until : datetime or None
        All of the relays answered at or after this instant; None where one never did. What happened
        later than this need not be here.
    cut : bool
        Whether there was more than stands here.
    """

    ceds: tuple[str, ...]
    reclosers: tuple[str, ...]
    since: datetime
    until: datetime
    events: tuple[EventRow, ...]
    incidents: tuple[IncidentRow, ...]
    disturbances: tuple[DisturbanceRow, ...]
    relays: tuple[RelayState, ...]
    known_until: datetime | None
    cut: bool


def incidents(
    connection: Connection,
    wanted: IncidentFilter,
    *,
    limit: int = 100,
    after: Place | None = None,
) -> list[IncidentRow]:
    """Return incidents, newest first; ``after`` is `IncidentRow.place` of the last one seen."""
    query = select(recloser_incidents).where(_condition(wanted))
    if after is not None:
        query = query.where(tuple_(_INCIDENTS.started, _INCIDENTS.incident_id) < tuple_(*after))
    ordered = query.order_by(_INCIDENTS.started.desc(), _INCIDENTS.incident_id.desc())
    return [IncidentRow(**row._mapping) for row in connection.execute(ordered.limit(limit))]


def incident(connection: Connection, incident_id: int) -> IncidentRow | None:
    """Return one incident, or None."""
    query = select(recloser_incidents).where(_INCIDENTS.incident_id == incident_id)
    row = connection.execute(query).first()
    return None if row is None else IncidentRow(**row._mapping)


def events_of(connection: Connection, incident_ids: Sequence[int]) -> list[EventRow]:
    """Return the events of incidents, oldest first."""
    parts = recloser_incident_events.c
    query = select(parts.event_id).where(parts.incident_id.in_(incident_ids))
    return event_rows(connection, list(connection.execute(query).scalars()))


def disturbances(
    connection: Connection,
    *,
    ceds: Sequence[str] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    outcome: str | None = None,
    limit: int = 100,
    after: Place | None = None,
) -> list[DisturbanceRow]:
    """Return disturbances, newest first; ``after`` is `DisturbanceRow.place` of the last one seen.

    Parameters
    ----------
    since, until : datetime, optional
        They last into this span: ended at or after, begun before (UTC).
    """
    query = select(recloser_disturbances).where(
        _DISTURBANCES.ced.in_(ceds) if ceds else true(),
        true() if since is None else _DISTURBANCES.ended >= since,
        true() if until is None else _DISTURBANCES.started < until,
        true() if outcome is None else _DISTURBANCES.outcome == outcome,
    )
    if after is not None:
        last = tuple_(_DISTURBANCES.started, _DISTURBANCES.disturbance_id)
        query = query.where(last < tuple_(*after))
    ordered = query.order_by(_DISTURBANCES.started.desc(), _DISTURBANCES.disturbance_id.desc())
    return [_disturbance(row) for row in connection.execute(ordered.limit(limit))]


def disturbance(connection: Connection, disturbance_id: int) -> DisturbanceRow | None:
    """Return one disturbance, or None."""
    query = select(recloser_disturbances).where(_DISTURBANCES.disturbance_id == disturbance_id)
    row = connection.execute(query).first()
    return None if row is None else _disturbance(row)


def repeat_offenders(
    connection: Connection,
    since: datetime,
    until: datetime,
    *,
    ceds: Sequence[str] = (),
    least: int = 1,
    limit: int = 20,
) -> list[Offender]:
    """Return the reclosers with the most incidents begun in [since, until), the worst first.

    Faults that a recloser only saw do not count.

    Parameters
    ----------
    least : int
        Fewest incidents to be told.

    Raises
    ------
    ParameterError
        If the span ends before it begins.
    """
    _span(since, until)
    there = and_(
        _INCIDENTS.started >= since,
        _INCIDENTS.started < until,
        _INCIDENTS.operations > 0,
        _INCIDENTS.ced.in_(ceds) if ceds else true(),
    )
    total = func.count().label("incidents")
    outcomes = [
        func.sum(case((_INCIDENTS.outcome == name, 1), else_=0)).label(name)
        for name in ("momentary", "permanent", "unknown")
    ]
    last = func.max(_INCIDENTS.started).label("last")
    query = (
        select(
            _INCIDENTS.recloser,
            func.max(_INCIDENTS.ced).label("ced"),
            total,
            func.sum(_INCIDENTS.operations).label("operations"),
            *outcomes,
            last,
        )
        .where(there)
        .group_by(_INCIDENTS.recloser)
        .having(func.count() >= least)
        .order_by(total.desc(), outcomes[1].desc(), last.desc(), _INCIDENTS.recloser)
        .limit(limit)
    )
    found = connection.execute(query).all()
    everything = connection.execute(select(func.count()).where(there)).scalar_one()
    return [
        Offender(**{**row._mapping, "share": row.incidents / everything}) for row in found
    ]  # fmt: skip


def fleet_health(
    states: Sequence[RelayState],
    now: datetime,
    *,
    stale: timedelta = timedelta(days=2),
    clock_good_s: float = 1.0,
    qualities: Mapping[str, ClockQuality] | None = None,
) -> FleetHealth:
    """Return how the fleet is, from what `relay_states` tells.

    Parameters
    ----------
    qualities : mapping, optional
        How true the clocks are by all their readings (`queries.clock_qualities`); without it they
        count by the last reading alone.
    stale : timedelta
        A relay that did not answer for longer is stale.
    clock_good_s : float
        A clock is good within this, fair within ten times that [s].
    """
    silent = [one for one in states if one.answered is None or now - one.answered > stale]
    silent.sort(key=lambda one: (one.answered is not None, one.answered or now, one.recloser))
    failing = [one for one in states if one.failures]
    words = [
        clock_word(one, clock_good_s)
        if qualities is None
        else _WORDS[qualities[one.recloser].quality if one.recloser in qualities else "unknown"]
        for one in states
    ]
    return FleetHealth(
        relays=len(states),
        outcomes=dict(Counter(one.outcome or "never" for one in states)),
        stale=tuple(silent),
        failing=tuple(sorted(failing, key=lambda one: (-one.failures, one.recloser))),
        clocks=dict(Counter(words)),
    )


def clock_word(state: RelayState, good_s: float = 1.0) -> str:
    """Return how true a relay's clock was when it was last read: good, fair, poor or unknown."""
    if state.clock_error_s is None:
        return "unknown"
    off_s = abs(state.clock_error_s)
    return "good" if off_s <= good_s else "fair" if off_s <= 10 * good_s else "poor"


def complaint(
    connection: Connection,
    since: datetime,
    until: datetime,
    *,
    reclosers: Sequence[str] = (),
    ceds: Sequence[str] = (),
) -> Complaint:
    """Return what happened on a line, or in a territory, between two instants.

    Raises
    ------
    ParameterError
        If neither a recloser nor a territory is named, or the span ends before it begins.
    """
    if not reclosers and not ceds:
        raise ParameterError("Nobody can say where to look.", fix="Name a recloser or a territory.")
    _span(since, until)
    there, names, most = tuple(ceds), tuple(reclosers), COMPLAINT_MOST + 1
    lasting = IncidentFilter(there, names, since, until)
    found = incidents(connection, lasting, limit=most)
    wanted = EventFilter(there, names, since=since, until=until)
    inside = search(connection, wanted, limit=most)
    parts = events_of(connection, [one.incident_id for one in found[:COMPLAINT_MOST]])
    every = {one.event_id: one for one in [*inside[:COMPLAINT_MOST], *parts]}
    numbers = {one.disturbance_id for one in found if one.disturbance_id is not None}
    query = select(recloser_disturbances).where(_DISTURBANCES.disturbance_id.in_(numbers))
    wide = [
        _disturbance(row) for row in connection.execute(query.order_by(_DISTURBANCES.started))
    ]  # fmt: skip
    relays = relay_states(connection, ceds=there, reclosers=names)
    answered = [one.answered for one in relays]
    known = [one for one in answered if one is not None]
    return Complaint(
        ceds=there,
        reclosers=names,
        since=since,
        until=until,
        events=tuple(sorted(every.values(), key=lambda one: one.place)),
        incidents=tuple(reversed(found[:COMPLAINT_MOST])),
        disturbances=tuple(wide),
        relays=tuple(relays),
        known_until=min(known) if known and len(known) == len(answered) else None,
        cut=max(len(found), len(inside)) > COMPLAINT_MOST,
    )


def _condition(wanted: IncidentFilter) -> ColumnElement[bool]:
    found: list[ColumnElement[bool]] = [true()]
    if wanted.ceds:
        found.append(_INCIDENTS.ced.in_(wanted.ceds))
    if wanted.reclosers:
        found.append(_INCIDENTS.recloser.in_(wanted.reclosers))
    if wanted.since is not None:
        found.append(_INCIDENTS.ended >= wanted.since)
    if wanted.until is not None:
        found.append(_INCIDENTS.started < wanted.until)
    if wanted.outcome is not None:
        found.append(_INCIDENTS.outcome == wanted.outcome)
    if wanted.fault_types:
        found.append(_INCIDENTS.fault_type.in_(wanted.fault_types))
    if wanted.disturbance_id is not None:
        found.append(_INCIDENTS.disturbance_id == wanted.disturbance_id)
    found += [_INCIDENTS.phases.contains(phase, autoescape=True) for phase in wanted.phases]
    return and_(*found)


def _disturbance(row: Row[Any]) -> DisturbanceRow:
    return DisturbanceRow(**row._mapping)


def _span(since: datetime, until: datetime) -> None:
    if until <= since:
        raise ParameterError("The span ends before it begins.", fix="Exchange its ends.")
