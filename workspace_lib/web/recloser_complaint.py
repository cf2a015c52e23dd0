"""What the page of a complaint shows: all that happened on a line between two moments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from workspace_lib.reclosers.queries import EventRow
from workspace_lib.reclosers.queries_incidents import Complaint, DisturbanceRow, IncidentRow
from workspace_lib.reclosers.settings import Fleet
from workspace_lib.views.blocks import badge, empty, notice, notices, panel
from workspace_lib.views.boards.reclosers import (
    PATROL_STATES,
    fault_words,
    needed,
    span_words,
    unbroken,
    where_words,
)
from workspace_lib.views.html import Child, Html, tag
from workspace_lib.views.texts import MISSING, Texts
from workspace_lib.web.recloser_event import FILE_STATES, OUTCOME_STATES, clock_words
from workspace_lib.web.recloser_tables import plain_table

#: Where one event is shown; its number follows.
EVENTS: Final = "/reclosers/events"
_MOST_NAMES: Final = 6


def complaint_title(texts: Texts, told: Complaint, fleet: Fleet) -> str:
    """Return which place and which time a complaint is about."""
    names = [
        f"{name} ({fleet.by_id[name].name})" if fleet.by_id[name].name else name
        for name in told.reclosers
    ]
    place = ", ".join(names or told.ceds)
    since, until = texts.moment(told.since), texts.moment(told.until)
    return texts("recloser_pages.complaint.title", place=place, since=since, until=until)


def complaint_content(texts: Texts, told: Complaint, unit: str, now: datetime) -> list[Html]:
    """Return the parts of the page, from whether something may be missing to the relays' clocks."""
    said = [_known(texts, told, now)]
    if told.cut:
        said.append(notice("attention", texts("recloser_pages.cut")))
    parts = [notices(said)]
    if not told.events and not told.incidents:
        nothing = empty(texts, texts("recloser_pages.nothing"))
        parts.append(panel(texts("recloser_pages.events"), nothing))
    if told.disturbances:
        parts.append(_faults(texts, told.disturbances, unit))
    if told.incidents:
        parts.append(_incidents(texts, told.incidents, unit))
    if told.events:
        parts.append(_events(texts, told.events, unit))
    if told.relays:
        parts.append(_relays(texts, told, now))
    moment, zone = texts.moment(now), texts.zone_name(now)
    printed = texts("recloser_pages.printed", moment=moment, zone=zone)
    return [*parts, tag("p", printed, class_="ws-muted")]


def _known(texts: Texts, told: Complaint, now: datetime) -> Html:
    """Return whether something may be missing: what no relay was asked for since."""
    if not any(one.answered for one in told.relays):
        return notice("attention", texts("recloser_pages.never_visited"))
    late = [one.recloser for one in told.relays
            if one.answered is None or one.answered < told.until]  # fmt: skip
    if late:
        more = ["…"] if len(late) > _MOST_NAMES else []
        names = ", ".join([*late[:_MOST_NAMES], *more])
        return notice("attention", texts("recloser_pages.not_known", names=names))
    return notice("good", texts("recloser_pages.known", moment=texts.moment(told.until, now=now)))


def _faults(texts: Texts, found: Sequence[DisturbanceRow], unit: str) -> Html:
    rows: list[Sequence[Child]] = []
    for one in found:
        must, content = needed(one), one.content
        saw = ", ".join(content.get("only_saw") or ())
        tripped = ", ".join(content.get("tripped") or ()) or MISSING
        patrol = content.get("patrol") or {}
        rows.append(
            (
                _precise(texts, one.started),
                badge(texts, PATROL_STATES[must], texts(f"reclosers.patrol.{must}")),
                tag("span", unbroken(where_words(texts, content, unit)), class_="ws-words"),
                fault_words(texts, patrol.get("fault_type"), None),
                unbroken(f"{tripped} · {texts('reclosers.saw', names=saw)}" if saw else tripped),
                outcome_badge(texts, one),
            )
        )
    heads = [
        texts("recloser_pages.started"),
        texts("reclosers.patrol"),
        texts("reclosers.where"),
        texts("reclosers.fault"),
        texts("reclosers.tripped"),
        texts("reclosers.outcome"),
    ]
    return panel(texts("recloser_pages.faults"), plain_table(texts, heads, rows))


def _incidents(texts: Texts, found: Sequence[IncidentRow], unit: str) -> Html:
    rows: list[Sequence[Child]] = []
    for one in found:
        lasted = (one.ended - one.started).total_seconds()
        trips: Child = one.operations or texts("recloser_pages.only_saw")
        distance = MISSING
        if one.distance is not None:
            distance = span_words(texts, one.distance, one.distance_low, one.distance_high, unit)
        rows.append(
            (
                _precise(texts, one.started),
                tag("span", one.recloser, class_="ws-nowrap"),
                texts.duration(lasted),
                trips,
                fault_words(texts, one.fault_type, one.magnitude_a),
                distance,
                outcome_badge(texts, one),
            )
        )
    heads = [
        texts("recloser_pages.started"),
        texts("reclosers.recloser"),
        texts("recloser_pages.lasted"),
        texts("recloser_pages.trips"),
        texts("reclosers.fault"),
        texts("reclosers.distance"),
        texts("reclosers.outcome"),
    ]
    shown = plain_table(texts, heads, rows, numbers=(2, 3))
    return panel(texts("recloser_pages.incidents"), shown)


def _events(texts: Texts, found: Sequence[EventRow], unit: str) -> Html:
    rows: list[Sequence[Child]] = []
    for one in found:
        kind = texts(f"recloser_pages.kind.{one.kind}") if one.kind else ""
        own = one.kind is None
        distance = one.location if own else one.distance
        rows.append(
            (
                tag("a", _precise(texts, one.triggered), href=f"{EVENTS}/{one.event_id}"),
                tag("span", one.recloser, class_="ws-nowrap"),
                kind or texts("recloser_pages.by_relay"),
                fault_words(
                    texts, one.fault_type or one.event, one.current_a if own else one.magnitude_a
                ),
                MISSING if distance is None else f"{texts.number(distance, 1)}\u00a0{unit}",
                one.targets,
                state_badge(texts, one),
            )
        )
    heads = [
        texts("reclosers.when"),
        texts("reclosers.recloser"),
        texts("recloser_pages.kind"),
        texts("reclosers.fault"),
        texts("reclosers.distance"),
        texts("recloser_pages.targets"),
        texts("reclosers.files"),
    ]
    shown = plain_table(texts, heads, rows, numbers=(4,))
    return panel(texts("recloser_pages.events"), shown)


def _relays(texts: Texts, told: Complaint, now: datetime) -> Html:
    rows: list[Sequence[Child]] = [
        (
            tag("span", one.recloser, class_="ws-nowrap"),
            one.model,
            texts.moment(one.answered, now=now) if one.answered else texts("time.never"),
            clock_words(texts, one, now),
        )
        for one in told.relays
    ]
    heads = [
        texts("reclosers.recloser"),
        texts("reclosers.model"),
        texts("recloser_pages.answered"),
        texts("recloser_pages.clock"),
    ]
    return panel(texts("recloser_pages.relays"), plain_table(texts, heads, rows))


def _precise(texts: Texts, instant: datetime) -> Html:
    """Return a moment to the second."""
    written = f"{texts.date(instant)} {texts.time(instant, seconds=True)}"
    return tag("span", written, class_="ws-nowrap")


def outcome_badge(texts: Texts, row: EventRow | IncidentRow | DisturbanceRow) -> Html | str:
    """Return how a fault ended."""
    if row.outcome is None:
        return MISSING
    return badge(texts, OUTCOME_STATES[row.outcome], texts(f"reclosers.outcome.{row.outcome}"))


def state_badge(texts: Texts, row: EventRow) -> Html:
    """Return whether the files of an event are kept."""
    return badge(texts, FILE_STATES[row.state], texts(f"reclosers.state.{row.state}"))
