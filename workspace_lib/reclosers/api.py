"""``/api/v1``: reclosers, events with their files, incidents and disturbances, to be read.

Spans are [from, to): an event of the instant `from` is in it, one of the instant `to` is not.
Nothing here reaches a relay or starts a kernel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from workspace_lib.answers.downloads import file_of, send_file
from workspace_lib.answers.instants import Instant
from workspace_lib.answers.paging import Cursor, Limit, Page, decode_cursor, encode_cursor
from workspace_lib.answers.problems import NOT_FOUND, Refusal, responses
from workspace_lib.answers.site import now_of, settings_of, store_of
from workspace_lib.errors import ParameterError
from workspace_lib.reclosers import exports, queries, queries_incidents
from workspace_lib.reclosers.api_items import (
    DisturbanceOut,
    EventDetailOut,
    EventPage,
    IncidentOut,
    OffenderOut,
    Outcome,
    RecloserOut,
    State,
    disturbance_item,
    event_detail,
    event_item,
    incident_item,
    offender_item,
    recloser_item,
)
from workspace_lib.reclosers.archive import open_archive
from workspace_lib.reclosers.event_filter import EventFilter
from workspace_lib.reclosers.exports import Form, Language, Sendable
from workspace_lib.reclosers.fleet_list import listed_fleet
from workspace_lib.reclosers.queries import EventFile, EventRow, Place
from workspace_lib.reclosers.queries_incidents import IncidentFilter
from workspace_lib.reclosers.settings import Fleet, load_reclosers
from workspace_lib.store.engines import read

FaultType = Literal["AG", "BG", "CG", "AB", "BC", "CA", "ABG", "BCG", "CAG", "ABC"]
Kind = Literal["fault", "trip", "opening", "closing", "trigger", "unreadable"]

router = APIRouter(responses=NOT_FOUND)
#: Pictures and records are made here, one after the other, so that whoever only looks, or downloads
#: what is there, does not wait for them.
_MAKERS: Final = ThreadPoolExecutor(1, thread_name_prefix="recloser-exports")
_BYTES, _ZIP = "application/octet-stream", "application/zip"
_GONE: Final = {**NOT_FOUND, **responses(HTTPStatus.SERVICE_UNAVAILABLE)}
_REVALIDATE: Final = "private, no-cache"

RecloserId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")]
EventId = Annotated[int, Path(ge=1, lt=2**63, description="Number of the event.")]
Ceds = Annotated[
    list[Annotated[str, Query(pattern="^[A-Z0-9]{2,8}$")]] | None,
    Query(max_length=100, description="Only these territories; all if empty.", examples=[["LAV"]]),
]
Names = Annotated[
    list[Annotated[str, Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")]] | None,
    Query(max_length=500, description="Only these; all if empty.", examples=[["LAV-101"]]),
]
Types = Annotated[
    list[FaultType] | None, Query(max_length=10, description="Only these types of faults.")
]
Phases = Annotated[
    str | None,
    Query(pattern="^[ABC]{1,3}$", description="All of these take part.", examples=["AB"]),
]
Number = Annotated[float | None, Query(ge=0, le=1e9, allow_inf_nan=False)]
From = Annotated[
    Instant | None, Query(alias="from", description="At this instant or after it, with a zone.")
]
To = Annotated[Instant | None, Query(description="Before this instant, with a zone.")]
OutcomeOf = Annotated[Outcome | None, Query(description="How the incident ended.")]


@router.get("/reclosers", tags=["reclosers"])
def reclosers(
    request: Request, ced: Ceds = None, limit: Limit = 100, cursor: Cursor = None
) -> Page[RecloserOut]:
    """List the reclosers: place, last visit, clock, newest event."""
    after = "" if cursor is None else str(decode_cursor(cursor, str)[0])
    listed = sorted(_fleet(request).reclosers, key=lambda one: one.id)
    found = [one for one in listed if one.id > after and (not ced or one.ced in ced)]
    items = _recloser_items(request, [one.id for one in found[:limit]])
    more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
    return Page(items=items, next=more)


@router.get("/reclosers/offenders", tags=["reclosers"])
def offenders(
    request: Request,
    from_: From = None,
    to: To = None,
    ced: Ceds = None,
    least: Annotated[int, Query(ge=1, le=1000, description="Fewest incidents.")] = 2,
    limit: Limit = 20,
) -> list[OffenderOut]:
    """Rank the reclosers that tripped most often in a span, the last year if it is not given."""
    _has_reclosers(request)
    until = to or now_of(request)
    since = from_ or until - timedelta(days=365)
    _check(since, until)
    with read(store_of(request).data) as connection:
        found = queries_incidents.repeat_offenders(
            connection, since, until, ceds=ced or (), least=least, limit=limit
        )
    return [offender_item(one) for one in found]


@router.get("/reclosers/{recloser}", tags=["reclosers"])
def recloser(request: Request, recloser: RecloserId) -> RecloserOut:
    """Describe one recloser."""
    try:
        one = _fleet(request).recloser(recloser)
    except ParameterError as error:
        raise Refusal(HTTPStatus.NOT_FOUND, f"There is no recloser {recloser}.") from error
    return _recloser_items(request, [one.id])[0]


def wanted_events(
    ced: Ceds = None,
    recloser: Names = None,
    model: Annotated[
        str | None, Query(max_length=20, pattern=r"^[\w -]+$", description="A part of its model.")
    ] = None,
    from_: From = None,
    to: To = None,
    kind: Annotated[list[Kind] | None, Query(max_length=10)] = None,
    fault_type: Types = None,
    phases: Phases = None,
    magnitude_from: Number = None,
    magnitude_to: Number = None,
    distance_from: Number = None,
    distance_to: Number = None,
    outcome: OutcomeOf = None,
    state: Annotated[State | None, Query(description="Whether its files are kept.")] = None,
    text: Annotated[
        str | None,
        Query(
            max_length=100,
            pattern=r"^[^\x00-\x1f\x7f]*$",
            description="Words of the recloser, type, targets or reference.",
        ),
    ] = None,
) -> EventFilter:
    """Return what a request looks for."""
    if from_ is not None and to is not None:
        _check(from_, to)
    return EventFilter(
        ceds=tuple(ced or ()),
        reclosers=tuple(recloser or ()),
        models=(model,) if model else (),
        since=from_,
        until=to,
        kinds=tuple(kind or ()),
        fault_types=tuple(fault_type or ()),
        phases=phases or "",
        magnitude_a=(magnitude_from, magnitude_to),
        distance=(distance_from, distance_to),
        outcome=outcome,
        state=state,
        text=text or "",
    )


@router.get("/events", tags=["events"])
def events(
    request: Request,
    wanted: Annotated[EventFilter, Depends(wanted_events)],
    total: Annotated[bool, Query(description="Also count the events on all pages.")] = False,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> EventPage:
    """Search events, newest first; what is not given does not matter."""
    _known(request, wanted.reclosers)
    with read(store_of(request).data) as connection:
        rows = queries.search(connection, wanted, limit=limit + 1, after=_place(cursor))
        counted = queries.count(connection, wanted) if total else None
    items = [event_item(row) for row in rows[:limit]]
    more = encode_cursor(*rows[limit - 1].place) if len(rows) > limit else None
    return EventPage(items=items, next=more, total=counted)


@router.get("/events/{event}", tags=["events"])
def event(request: Request, event: EventId) -> EventDetailOut:
    """Describe one event: the relay's summary, what was computed, its files, its siblings."""
    _has_reclosers(request)
    with read(store_of(request).data) as connection:
        row = queries.event_row(connection, event)
        if row is None:
            raise _no_event(event)
        return event_detail(
            row,
            queries.event_files(connection, event),
            queries.analysis_of(connection, event),
            queries.siblings(connection, event),
        )


@router.get(
    "/events/{event}/raw",
    tags=["events"],
    response_class=Response,
    responses={**file_of(_BYTES, _ZIP, "text/plain"), **_GONE},
)
async def raw(
    request: Request,
    event: EventId,
    kind: Annotated[
        str | None,
        Query(pattern="^[a-z0-9]{1,8}$", description="Only this file.", examples=["cev"]),
    ] = None,
) -> Response:
    """Download what the relay sent: its file, or all of its files as a ZIP."""

    def find() -> Sendable:
        _, files = _kept(request, event)
        chosen = [one for one in files if kind is None or one.kind == kind]
        if not chosen:
            kinds = ", ".join(dict.fromkeys(one.kind for one in files))
            raise Refusal(HTTPStatus.NOT_FOUND, f"It has no such file. It has: {kinds}.")
        archive = open_archive(settings_of(request))
        if len(chosen) == 1:
            return exports.raw_file(archive, chosen[0])
        return exports.raw_zip(store_of(request).outputs, archive, chosen)

    return await _send(request, find)


@router.get(
    "/events/{event}/comtrade",
    tags=["events"],
    response_class=Response,
    responses={**file_of(_BYTES, _ZIP), **_GONE},
)
async def comtrade(
    request: Request,
    event: EventId,
    format: Annotated[
        Form, Query(description="cff: one file of 2013; zip: CFG and DAT of 1999.")
    ] = "cff",
) -> Response:
    """Download the event as a COMTRADE record, whatever its files are."""

    def make() -> Sendable:
        _, files = _kept(request, event)
        archive = open_archive(settings_of(request))
        return exports.comtrade(store_of(request).outputs, archive, files, format)

    return await _send(request, make)


@router.get(
    "/events/{event}/plot.png",
    tags=["events"],
    response_class=Response,
    responses={**file_of("image/png"), **_GONE},
)
async def plot(
    request: Request,
    event: EventId,
    language: Annotated[Language | None, Query(description="The site's if empty.")] = None,
) -> Response:
    """Give the event as a picture: currents, voltages, bits, and when what happened."""

    def make() -> Sendable:
        row, files = _kept(request, event)
        settings, store = settings_of(request), store_of(request)
        with read(store.data) as connection:
            stored = queries.analysis_of(connection, event)
        return exports.picture(
            store.outputs,
            open_archive(settings),
            row,
            files,
            None if stored is None else stored.analysis,
            language=language or settings.language,
            distance_unit=load_reclosers(settings).distance_unit,
        )

    return await _send(request, make, download=False)


@router.get("/incidents", tags=["incidents"])
def incidents(
    request: Request,
    ced: Ceds = None,
    recloser: Names = None,
    from_: From = None,
    to: To = None,
    outcome: OutcomeOf = None,
    fault_type: Types = None,
    phases: Phases = None,
    disturbance: Annotated[
        int | None, Query(ge=1, lt=2**63, description="Only those of this disturbance.")
    ] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[IncidentOut]:
    """List the incidents that last into a span, newest first: permanent or momentary, and where."""
    if from_ is not None and to is not None:
        _check(from_, to)
    _known(request, recloser or ())
    wanted = IncidentFilter(
        ceds=tuple(ced or ()),
        reclosers=tuple(recloser or ()),
        since=from_,
        until=to,
        outcome=outcome,
        fault_types=tuple(fault_type or ()),
        phases=phases or "",
        disturbance_id=disturbance,
    )
    with read(store_of(request).data) as connection:
        rows = queries_incidents.incidents(
            connection, wanted, limit=limit + 1, after=_place(cursor)
        )
    more = encode_cursor(*rows[limit - 1].place) if len(rows) > limit else None
    return Page(items=[incident_item(row) for row in rows[:limit]], next=more)


@router.get("/disturbances", tags=["incidents"])
def disturbances(
    request: Request,
    ced: Ceds = None,
    from_: From = None,
    to: To = None,
    outcome: OutcomeOf = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[DisturbanceOut]:
    """List the disturbances that last into a span, newest first: who tripped, and where it is."""
    if from_ is not None and to is not None:
        _check(from_, to)
    _has_reclosers(request)
    with read(store_of(request).data) as connection:
        rows = queries_incidents.disturbances(
            connection,
            ceds=ced or (),
            since=from_,
            until=to,
            outcome=outcome,
            limit=limit + 1,
            after=_place(cursor),
        )
    more = encode_cursor(*rows[limit - 1].place) if len(rows) > limit else None
    return Page(items=[disturbance_item(row) for row in rows[:limit]], next=more)


def _has_reclosers(request: Request) -> None:
    if "reclosers" not in settings_of(request).wings:
        raise Refusal(HTTPStatus.NOT_FOUND, "This site has no reclosers.")


def _fleet(request: Request) -> Fleet:
    _has_reclosers(request)
    return listed_fleet(settings_of(request))


def _known(request: Request, names: Sequence[str]) -> None:
    """Refuse names that neither the list nor the store has: a misspelt one finds nothing."""
    _has_reclosers(request)
    missing = set(names) - (_fleet(request).by_id.keys() if names else set())
    if missing:
        with read(store_of(request).data) as connection:
            states = queries.relay_states(connection, reclosers=sorted(missing))
        missing -= {one.recloser for one in states}
    if missing:
        raise Refusal(HTTPStatus.NOT_FOUND, f"There is no recloser {min(missing)}.")


def _recloser_items(request: Request, names: Sequence[str]) -> list[RecloserOut]:
    good_s = load_reclosers(settings_of(request)).clock_good_s
    with read(store_of(request).data) as connection:
        found = queries.relay_states(connection, reclosers=names) if names else []
    states = {one.recloser: one for one in found}
    by_id = _fleet(request).by_id
    return [recloser_item(by_id[name], states.get(name), good_s) for name in names]


def _place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    instant, number = decode_cursor(cursor, int, int)
    return int(instant), int(number)


def _check(since: datetime, until: datetime) -> None:
    if until <= since:
        raise Refusal(HTTPStatus.NOT_FOUND, "There is no such time: it ends before it begins.")


def _no_event(event: int) -> Refusal:
    return Refusal(HTTPStatus.NOT_FOUND, f"There is no event {event}.")


def _kept(request: Request, event: int) -> tuple[EventRow, list[EventFile]]:
    """Return an event and its files; refuse where it has none."""
    _has_reclosers(request)
    with read(store_of(request).data) as connection:
        row = queries.event_row(connection, event)
        if row is None:
            raise _no_event(event)
        files = queries.event_files(connection, event)
    kept = [one for one in files if one.state == "kept"]
    if not kept:
        why = "only the relay's list knows it" if row.state == "summary" else row.why
        raise Refusal(HTTPStatus.NOT_FOUND, f"No file of event {event} is kept: {why}.")
    return row, kept


async def _send(
    request: Request, find: Callable[[], Sendable], *, download: bool = True
) -> Response:
    """Send a file; what is to be made first is made on the thread for that."""
    found = await run_in_threadpool(find)
    if found.waits:
        await asyncio.get_running_loop().run_in_executor(_MAKERS, exports.ready, found)
    if not found.path.is_file():
        raise Refusal(HTTPStatus.NOT_FOUND, f"The file {found.name} is gone from the archive.")
    return send_file(
        request,
        found.path,
        content_hash=found.content_hash,
        media_type=found.media_type,
        filename=found.name if download else None,
        cache_control=_REVALIDATE,
    )
