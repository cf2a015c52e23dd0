"""Pages of reclosers: the search of events, one event, and what happened at a complaint.

Plain HTML by GET, without a kernel and without a script; they need a token with the scope read,
because what they show can be downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from workspace_lib.answers.paging import encode_cursor
from workspace_lib.answers.site import now_of, settings_of, store_of
from workspace_lib.reclosers import queries, queries_incidents
from workspace_lib.reclosers.faults import TYPES
from workspace_lib.reclosers.fleet_list import listed_fleet
from workspace_lib.reclosers.queries import EventRow
from workspace_lib.reclosers.settings import Fleet, load_reclosers
from workspace_lib.store.engines import read
from workspace_lib.views.blocks import notice, notices, panel
from workspace_lib.views.html import Child, Html, join, tag
from workspace_lib.views.site import Site
from workspace_lib.views.tables import Column, table
from workspace_lib.views.texts import Texts
from workspace_lib.web.access import Visitor, page_reader
from workspace_lib.web.frame import page, sentence, site_for
from workspace_lib.web.recloser_complaint import (
    EVENTS,
    complaint_content,
    complaint_title,
    outcome_badge,
    state_badge,
)
from workspace_lib.web.recloser_event import EventPage, event_content
from workspace_lib.web.recloser_search import KINDS, OUTCOMES, STATES, Asked, asked, local

router = APIRouter(prefix="/reclosers", include_in_schema=False)

COMPLAINT: Final = "/reclosers/complaint"
#: Events of one page of the search.
ROWS: Final = 50


@router.get("/events")
def search_page(request: Request, visitor: Visitor) -> Response:
    """Show the form and the events it asks for; needs the scope read."""
    page_reader(visitor)
    site = site_for(request)
    fleet = _fleet(request)
    if fleet is None:
        return _missing(site)
    texts, now = site.texts, now_of(request)
    found = asked(request.query_params, texts.zone)
    with read(store_of(request).data) as connection:
        models = queries.choices(connection)["models"]
        rows, total = [], 0
        if not _problems(texts, found, fleet):
            rows = queries.search(connection, found.wanted, limit=ROWS + 1, after=found.after)
            total = queries.count(connection, found.wanted)
    unit = load_reclosers(settings_of(request)).distance_unit
    shown = _results(texts, rows[:ROWS], unit, now)
    fields = _search_fields(texts, found, fleet, models)
    main = tag(
        "main",
        _title(texts("recloser_pages.search"), texts("recloser_pages.search.about")),
        notices([notice("attention", said) for said in _problems(texts, found, fleet)]),
        panel(
            texts("recloser_pages.find"),
            _form(EVENTS, texts("recloser_pages.find"), fields),
            _names(fleet),
        ),
        panel(
            _counted(texts, total),
            shown,
            _pages(texts, found, rows),
            tag("p", texts("recloser_pages.own_outcome"), class_="ws-muted") if rows else None,
        ),
        class_="ws-main",
    )
    return page(site.document(texts("recloser_pages.search"), site.bar(), main))


@router.get("/events/{event}")
def event_page(request: Request, visitor: Visitor, event: str) -> Response:
    """Show one event: plot, phasors, times, the relay's values beside the computed ones, files."""
    page_reader(visitor)
    site = site_for(request)
    fleet = _fleet(request)
    number = int(event) if event.isascii() and event.isdigit() and len(event) < 19 else 0
    with read(store_of(request).data) as connection:
        row = queries.event_row(connection, number) if fleet else None
        if row is None or fleet is None:
            return _missing(site)
        stored = queries.analysis_of(connection, number)
        relays = queries.relay_states(connection, reclosers=[row.recloser])
        listed = fleet.by_id.get(row.recloser)
        shown = EventPage(
            row=row,
            files=queries.event_files(connection, number),
            analysis=None if stored is None else stored.analysis,
            siblings=queries.siblings(connection, number),
            relay=relays[0] if relays else None,
            name="" if listed is None else listed.name,
            unit=load_reclosers(settings_of(request)).distance_unit,
        )
    content = event_content(site.texts, shown, now_of(request))
    title = f"{row.recloser} · {site.texts.moment(row.triggered)} · {row.event}"
    return page(site.document(title, site.bar(), content))


@router.get("/complaint")
def complaint_page(request: Request, visitor: Visitor) -> Response:
    """Show what happened on a line between two moments, to be printed; needs the scope read."""
    page_reader(visitor)
    site = site_for(request)
    fleet = _fleet(request)
    if fleet is None:
        return _missing(site)
    texts, now = site.texts, now_of(request)
    found = asked(request.query_params, texts.zone)
    wanted = found.wanted
    problems = _problems(texts, found, fleet)
    place = bool(wanted.reclosers or wanted.ceds)
    if found.anything and not problems and not (place and wanted.since and wanted.until):
        problems.append(texts("recloser_pages.complaint.where"))
    parts: list[Html] = []
    title = texts("recloser_pages.complaint")
    if place and wanted.since and wanted.until and not problems:
        with read(store_of(request).data) as connection:
            told = queries_incidents.complaint(
                connection,
                wanted.since,
                wanted.until,
                reclosers=wanted.reclosers,
                ceds=() if wanted.reclosers else wanted.ceds,
            )
        unit = load_reclosers(settings_of(request)).distance_unit
        title = complaint_title(texts, told, fleet)
        parts = complaint_content(texts, told, unit, now)
    fields = _complaint_fields(texts, found, fleet)
    form = panel(
        texts("recloser_pages.complaint"),
        _form(COMPLAINT, texts("reclosers.search.complaint"), fields),
        _names(fleet),
    )
    main = tag(
        "main",
        _title(title, texts("recloser_pages.complaint.about")),
        notices([notice("attention", said) for said in problems]),
        *parts,
        tag("div", form, class_="ws-no-print"),
        class_="ws-main",
    )
    return page(site.document(title, site.bar(), main))


def _fleet(request: Request) -> Fleet | None:
    settings = settings_of(request)
    return listed_fleet(settings) if "reclosers" in settings.wings else None


def _missing(site: Site) -> Response:
    return sentence(site, "page.missing_title", "page.missing", HTTPStatus.NOT_FOUND)


def _title(title: str, about: str) -> Html:
    return tag("header", tag("h1", title), tag("p", about, class_="ws-about"), class_="ws-head")


def _problems(texts: Texts, found: Asked, fleet: Fleet) -> list[str]:
    """Return what is wrong with what was asked, in sentences."""
    said = [
        texts("recloser_pages.wrong", field=texts(_LABELS[name]), value=value)
        for name, value in found.wrong
    ]
    said += [
        texts("recloser_pages.unknown", name=name)
        for name in found.wanted.reclosers
        if name not in fleet.by_id
    ]
    if found.ends_before:
        said.append(texts("recloser_pages.ends_before"))
    return said


#: Label of each field of the forms.
_LABELS: Final = {
    "recloser": "reclosers.recloser",
    "ced": "reclosers.ced",
    "model": "reclosers.model",
    "since": "range.from",
    "until": "range.to",
    "kind": "recloser_pages.kind",
    "fault_type": "reclosers.type",
    "phases": "reclosers.phases",
    "magnitude_from": "reclosers.from_a",
    "magnitude_to": "recloser_pages.to_a",
    "distance_from": "recloser_pages.from_distance",
    "distance_to": "reclosers.to_distance",
    "outcome": "reclosers.outcome",
    "state": "reclosers.files",
    "text": "recloser_pages.text",
}


def _form(action: str, word: str, fields: Sequence[Html]) -> Html:
    button = tag("button", word, type="submit", class_="ws-button")
    return tag("form", fields, button, action=action, method="get", class_="ws-form")


def _names(fleet: Fleet) -> Html:
    """Return the names that a field of a form offers."""
    options = [tag("option", value=one.id, label=one.name or None) for one in fleet.reclosers]
    return tag("datalist", options, id="reclosers-names")


def _field(texts: Texts, found: Asked, name: str, kind: str = "text", **more: Any) -> Html:
    value = more.pop("value", found.fields.get(name))
    shown = tag("input", type=kind, name=name, value=value, **more)
    wide = "ws-wide" if kind == "datetime-local" else None
    return tag("label", texts(_LABELS[name]), shown, class_=wide)


def _choice(texts: Texts, found: Asked, name: str, options: Mapping[str, str]) -> Html:
    chosen = found.fields.get(name, "")
    every = tag("option", texts("reclosers.any"), value="")
    known = [
        tag("option", said, value=value, selected=value == chosen)
        for value, said in options.items()
    ]
    return tag("label", texts(_LABELS[name]), tag("select", every, known, name=name))


def _search_fields(texts: Texts, found: Asked, fleet: Fleet, models: Sequence[str]) -> list[Html]:
    def words(prefix: str, names: Sequence[str]) -> dict[str, str]:
        return {one: texts(f"{prefix}.{one}") for one in names}

    wanted, zone = found.wanted, texts.zone
    return [
        _field(texts, found, "recloser", list="reclosers-names"),
        _choice(texts, found, "ced", {one: one for one in fleet.ceds}),
        _choice(texts, found, "model", {one: one for one in models}),
        _field(texts, found, "since", "datetime-local", value=local(wanted.since, zone)),
        _field(texts, found, "until", "datetime-local", value=local(wanted.until, zone)),
        _choice(texts, found, "kind", words("recloser_pages.kind", KINDS)),
        _choice(texts, found, "fault_type", {one: one for one in TYPES}),
        _field(texts, found, "phases", size=4, placeholder="AB"),
        _field(texts, found, "magnitude_from", "number", min=0, step="any"),
        _field(texts, found, "magnitude_to", "number", min=0, step="any"),
        _field(texts, found, "distance_from", "number", min=0, step="any"),
        _field(texts, found, "distance_to", "number", min=0, step="any"),
        _choice(texts, found, "outcome", words("reclosers.outcome", OUTCOMES)),
        _choice(texts, found, "state", words("reclosers.state", STATES)),
        _field(texts, found, "text", "search"),
    ]


def _complaint_fields(texts: Texts, found: Asked, fleet: Fleet) -> list[Html]:
    wanted, zone = found.wanted, texts.zone
    moments = {"required": True}
    return [
        _field(texts, found, "recloser", list="reclosers-names"),
        _choice(texts, found, "ced", {one: one for one in fleet.ceds}),
        _field(texts, found, "since", "datetime-local", value=local(wanted.since, zone), **moments),
        _field(texts, found, "until", "datetime-local", value=local(wanted.until, zone), **moments),
    ]


def _counted(texts: Texts, total: int) -> str:
    if total == 1:
        return texts("recloser_pages.found.one")
    return texts("recloser_pages.found", count=texts.number(total))


def _results(texts: Texts, rows: Sequence[EventRow], unit: str, now: datetime) -> Html:
    def cell(show: Callable[[EventRow], Child]) -> Callable[[Mapping[str, Any]], Child]:
        return lambda row: show(row["row"])

    columns = [
        Column("triggered", texts("reclosers.when"), show=cell(lambda one: _link(texts, one, now))),
        Column("ced", texts("reclosers.ced")),
        Column("recloser", texts("reclosers.recloser"), nowrap=True),
        Column("model", texts("reclosers.model"), nowrap=True),
        Column("fault", texts("reclosers.type"), nowrap=True),
        Column("magnitude", texts("reclosers.magnitude"), "A", 0),
        Column("distance", texts("reclosers.distance"), unit, 1),
        Column("shot", texts("reclosers.shots"), digits=0),
        Column("outcome", texts("reclosers.outcome"), show=cell(partial(outcome_badge, texts))),
        Column("state", texts("reclosers.files"), show=cell(partial(state_badge, texts))),
    ]
    cells = [
        {
            "row": one,
            "triggered": one.triggered,
            "ced": one.ced,
            "recloser": one.recloser,
            "model": one.model,
            "fault": one.fault_type or one.event,
            "magnitude": one.current_a if one.kind is None else one.magnitude_a,
            "distance": one.location if one.kind is None else one.distance,
            "shot": one.shot_number,
            "outcome": one.outcome and texts(f"reclosers.outcome.{one.outcome}"),
            "state": texts(f"reclosers.state.{one.state}"),
        }
        for one in rows
    ]
    label, none = texts("recloser_pages.events"), texts("recloser_pages.found.none")
    return table(texts, columns, cells, label=label, now=now, limit=ROWS, none=none)


def _link(texts: Texts, row: EventRow, now: datetime) -> Html:
    # Shots of one fault are seconds apart.
    written = f"{texts.moment(row.triggered, now=now)}:{texts.local(row.triggered):%S}"
    return tag("a", written, href=f"{EVENTS}/{row.event_id}", class_="ws-nowrap")


def _pages(texts: Texts, found: Asked, rows: Sequence[EventRow]) -> Html | None:
    links = []
    if found.after is not None:
        address = f"{EVENTS}?{urlencode(found.fields)}"
        links.append(tag("a", texts("recloser_pages.newest"), href=address))
    if len(rows) > ROWS:
        after = encode_cursor(*rows[ROWS - 1].place)
        address = f"{EVENTS}?{urlencode({**found.fields, 'after': after})}"
        links.append(tag("a", texts("recloser_pages.older"), href=address, rel="next"))
    return tag("p", join(links, " · ")) if links else None
