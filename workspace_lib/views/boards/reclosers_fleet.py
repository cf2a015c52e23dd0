"""The fleet of reclosers: where they are, how their last visits ended, and their clocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from workspace_lib.reclosers import queries
from workspace_lib.reclosers.clock_quality import ClockLimits, ClockQuality
from workspace_lib.reclosers.faults import TYPES
from workspace_lib.reclosers.fleet_report import OUTCOMES
from workspace_lib.reclosers.queries import RelayState
from workspace_lib.reclosers.queries_incidents import clock_word
from workspace_lib.reclosers.settings import Fleet, load_reclosers
from workspace_lib.store.engines import read
from workspace_lib.store.publications import Published
from workspace_lib.views.blocks import age, badge, empty, legend, tabs, when
from workspace_lib.views.board import Board, Content
from workspace_lib.views.boards.reclosers import (
    CAPTURE,
    COMPLAINT_PAGE,
    EVENTS_PAGE,
    captures,
    fleet_of,
    relay_state,
    states_of,
)
from workspace_lib.views.html import Child, Html, join, tag
from workspace_lib.views.maps import Place, site_map
from workspace_lib.views.marks import Mark, heat_strip, strip_legend, strip_row, strips
from workspace_lib.views.tables import Column, table
from workspace_lib.views.texts import Texts
from workspace_lib.views.tiles import front_link

#: A map shows so many places; of more those that are not well come first.
MOST_PLACES: Final = 150
#: The table of relays has so many rows, the ones in trouble first.
MOST_RELAYS: Final = 60
#: Marks in one row of a territory.
ROW_MARKS: Final = 60
CLOCK_STATES: Final[Mapping[str, str]] = {"good": "good", "fair": "partial", "poor": "attention"}
_ORDER: Final = ("bad", "attention", "stale", "unknown", "partial", "good")
ENDS: Final = ("momentary", "permanent", "unknown")


def territories(board: Board) -> Content:
    """Return each territory with a mark per relay, and all of them on a map."""
    texts, fleet = board.texts, fleet_of(board)
    states = states_of(board, fleet)
    if not states:
        return Content(empty(texts, texts("reclosers.none")))
    views = {texts("reclosers.list"): _strips(board, fleet, states)}
    if shown := _map(board, fleet, states):
        views = {texts("reclosers.map"): shown, **views}
    return Content(tabs(views, "reclosers-fleet"))


def _strips(board: Board, fleet: Fleet, states: Mapping[str, RelayState]) -> Html:
    texts = board.texts
    rows, seen = [], set()
    for ced in fleet.ceds:
        mine = [one for one in states.values() if one.ced == ced]
        if not mine:
            continue
        marks = [Mark(relay_state(board, one), _says(board, one, fleet)) for one in mine]
        seen |= {mark.state for mark in marks}
        well = sum(mark.state == "good" for mark in marks)
        parts = [marks[n : n + ROW_MARKS] for n in range(0, len(marks), ROW_MARKS)]
        drawn = [heat_strip(part, length=min(len(marks), ROW_MARKS)) for part in parts]
        said = texts("reclosers.relays.count", count=len(mine))
        rows.append(strip_row(ced, said, tag("div", drawn), f"{well} / {len(mine)}", None))
    words = {state: texts(f"reclosers.relay.{state}") for state in _ORDER}
    return join([strips(rows), strip_legend(texts, seen, words)])


def _map(board: Board, fleet: Fleet, states: Mapping[str, RelayState]) -> Html | None:
    texts = board.texts
    placed = [one for one in fleet.reclosers if one.lat is not None and one.lon is not None]
    if not placed:
        return None
    known = {one.id: relay_state(board, states[one.id]) for one in placed if one.id in states}
    placed.sort(key=lambda one: _ORDER.index(known.get(one.id, "good")))
    places = [
        Place(
            one.id,
            one.lat or 0.0,
            one.lon or 0.0,
            _says(board, states[one.id], fleet)
            if one.id in states
            else f"{one.id}: {texts('reclosers.not_remote')}",
            share=1.0,
            # What has no value is drawn hollow.
            value="" if one.id in states else None,
            state=known.get(one.id, "good"),
        )
        for one in placed[:MOST_PLACES]
    ]
    drawn = site_map(texts, places, label=texts("reclosers.map"))
    seen = {place.state for place in places} - {"good"}
    words = [(f"ws-{one}", texts(f"reclosers.relay.{one}")) for one in _ORDER if one in seen]
    notes = []
    if left_out := [one.id for one in fleet.reclosers if one not in placed]:
        names = ", ".join(left_out[:8]) + (" …" if len(left_out) > 8 else "")
        notes.append(texts("reclosers.map.left_out", names=names))
    if len(placed) > MOST_PLACES:
        notes.append(texts("reclosers.map.some", shown=MOST_PLACES, total=len(placed)))
    return join([drawn, legend(words), *(tag("p", note, class_="ws-muted") for note in notes)])


def _says(board: Board, state: RelayState, fleet: Fleet) -> str:
    texts = board.texts
    known = fleet.by_id.get(state.recloser)
    name = f"{state.recloser} {known.name}".strip() if known else state.recloser
    visit = texts(f"reclosers.visit.{state.outcome or 'never'}")
    seen = texts.moment(state.answered, now=board.now) if state.answered else texts("time.never")
    return f"{name}: {visit} · {texts('reclosers.answered_last')}: {seen}"


def relays(board: Board) -> Content:
    """Return each relay with its last visit and its clock, the ones in trouble first."""
    texts, now, fleet = board.texts, board.now, fleet_of(board)
    good_s = load_reclosers(board.settings).clock_good_s
    states = list(states_of(board, fleet).values())
    if not states:
        return Content(empty(texts, texts("reclosers.none")))
    states.sort(key=lambda one: (_rank(board, one, good_s), one.ced, one.recloser))
    names = [one.recloser for one in states[:MOST_RELAYS]]
    limits = ClockLimits(good_s=good_s, fair_s=10 * good_s)
    with read(board.store.data) as connection:
        clocks = queries.clock_qualities(connection, names, now, limits=limits)
    rows = [
        _row(board, one, fleet, good_s, _clock_note(texts, clocks[one.recloser], limits, good_s))
        for one in states[:MOST_RELAYS]
    ]

    def answered(row: Mapping[str, Any]) -> Child:
        if row["answered"] is None:
            return texts("time.never")
        since = tag("small", age(texts, row["answered"], now))
        return join([when(texts, row["answered"], now), tag("br"), since])

    columns = [
        Column("name", texts("reclosers.recloser"), show=lambda row: row["named"]),
        Column("state", texts("reclosers.visit"), show=lambda row: row["badge"]),
        Column("answered", texts("reclosers.answered_last"), show=answered, nowrap=True),
        Column("clock", texts("reclosers.clock"), "s", 1, show=lambda row: row["clock_said"]),
        Column("model", texts("reclosers.model"), nowrap=True),
        Column("events", texts("reclosers.stored"), digits=0),
    ]
    label, none = texts("reclosers.relays"), texts("reclosers.none")
    shown = table(texts, columns, rows, label=label, now=now, none=none, limit=12)
    notes = []
    if len(states) > MOST_RELAYS:
        notes.append(texts("reclosers.relays.some", shown=MOST_RELAYS, total=len(states)))
    if listed := sum(not one.remote for one in fleet.reclosers):
        notes.append(texts("reclosers.relays.listed", count=listed))
    return Content(join([shown, *(tag("p", note, class_="ws-muted") for note in notes)]))


def _rank(board: Board, state: RelayState, good_s: float) -> tuple[int, int]:
    word = clock_word(state, good_s)
    return _ORDER.index(relay_state(board, state)), ("poor", "fair", "unknown", "good").index(word)


def _clock_note(
    texts: Texts, clock: ClockQuality, limits: ClockLimits, good_s: float
) -> str | None:
    """Return what all readings of a clock tell beyond the last: an hour's error, or a drift."""
    if clock.hour_off:
        return texts("reclosers.clock.hour")
    drift = clock.drift_s_per_day
    # What is off in a week counts; a visit's own uncertainty does not.
    if drift is None or abs(drift) * 7 < good_s or abs(drift) > limits.drift_s_per_day:
        return None
    sign = "+" if drift > 0 else ""
    return texts("reclosers.clock.drift", drift=f"{sign}{texts.number(drift, 1)}")


def _row(
    board: Board, state: RelayState, fleet: Fleet, good_s: float, note: str | None
) -> dict[str, Any]:
    texts = board.texts
    found = relay_state(board, state)
    outcome = texts(f"reclosers.visit.{state.outcome or 'never'}")
    why = _why(texts, state) if found != "good" else None
    name = fleet.recloser(state.recloser).name
    word = clock_word(state, good_s)
    clock: Child = "–"
    if state.clock_error_s is not None:
        # A clock that is off by an hour knows nothing of summer time; seconds say no more then.
        digits = 1 if abs(state.clock_error_s) < 100 else 0
        sign = "+" if state.clock_error_s > 0 else ""
        shown = f"{sign}{texts.number(state.clock_error_s, digits)}"
        look = f"ws-level ws-{CLOCK_STATES.get(word, 'unknown')}"
        title = texts(f"reclosers.clock.{word}")
        clock = shown if word == "good" else tag("span", shown, class_=look, title=title)
    return {
        "name": f"{state.recloser} {name}".strip(),
        "named": join(
            [
                tag("span", state.recloser, class_="ws-nowrap"),
                tag("br") if name else None,
                tag("small", name) if name else None,
            ]
        ),
        "state": outcome,
        "badge": join([badge(texts, found, outcome), why]),
        "answered": state.answered,
        "clock": state.clock_error_s,
        "clock_said": join([clock, tag("br"), tag("small", note)]) if note else clock,
        "model": (state.model or "–").removeprefix("SEL-"),
        "events": state.events,
    }


def _why(texts: Texts, state: RelayState) -> Html | None:
    """Return what a failed visit means in a sentence; what was told then is below it."""
    key = f"reclosers.means.{state.outcome}"
    said = texts(key) if texts.has(key) else None
    if not state.why:
        return tag("div", tag("small", said)) if said else None
    if said is None:
        return tag("div", tag("small", state.why))
    summary = tag("summary", said)
    return tag("details", summary, tag("small", state.why), class_="ws-why")


def health(board: Board) -> Content:
    """Return how the last visits ended and how the last run over the fleet went, in sentences."""
    texts, fleet = board.texts, fleet_of(board)
    states = states_of(board, fleet)
    if not states:
        return Content(empty(texts, texts("reclosers.none")))
    by_outcome = Counter(
        (relay_state(board, one), one.outcome or "never") for one in states.values()
    )
    order = sorted(by_outcome, key=lambda pair: _ORDER.index(pair[0]))
    rows = []
    for state, outcome in order:
        names = sorted(
            one.recloser
            for one in states.values()
            if (relay_state(board, one), one.outcome or "never") == (state, outcome)
        )
        word = texts("reclosers.relay.stale" if state == "stale" else f"reclosers.visit.{outcome}")
        said = ", ".join(names[:6]) + (" …" if len(names) > 6 else "")
        rows.append(
            {
                "outcome": word,
                "badge": badge(texts, state, word),
                "count": len(names),
                "names": said if state != "good" else "",
            }
        )
    columns = [
        Column("outcome", texts("reclosers.visit"), show=lambda row: row["badge"]),
        Column("count", texts("reclosers.relays"), digits=0),
        Column("names", texts("reclosers.which")),
    ]
    label = texts("reclosers.health")
    shown = table(texts, columns, rows, label=label, now=board.now)
    rounds = captures(board)
    lines = [line for one in rounds for line in _round(board, one)]
    return Content(join([shown, *lines]), stale=any(one.stale for one in rounds))


def _round(board: Board, published: Published) -> list[Html]:
    """Return what the last run of a round over relays did, and what somebody should look at."""
    texts, report = board.texts, published.data
    totals = report["totals"]
    said = texts(
        "reclosers.run",
        relays=totals["relays"],
        new=totals["new"],
        duration=texts.duration(report["took_s"]),
    )
    state = "stale" if published.stale else "good" if report["complete"] else "attention"
    name = texts("reclosers.run.title", round=published.name.removeprefix(CAPTURE))
    moment = when(texts, published.as_of, board.now)
    found = " · ".join(_to_look_at(texts, report))
    trouble = tag("small", found, class_="ws-muted") if found else None
    line = join([badge(texts, state), f" {name}, ", moment, f" · {said}"])
    return [tag("p", line, tag("br") if trouble else None, trouble)]


def _to_look_at(texts: Texts, report: Mapping[str, Any]) -> list[str]:
    """Return what somebody should look at after a round, each with its count."""
    said = [
        texts("reclosers.run.ended", outcome=texts(f"reclosers.visit.{outcome}"), count=count)
        for outcome in OUTCOMES
        if outcome != "done" and (count := report["outcomes"].get(outcome))
    ]
    for key in ("left", "resting", "changed", "files_wrong"):
        if count := len(report.get(key) or ()):
            said.append(texts(f"reclosers.run.{key}", count=count))
    return said


def search_forms(board: Board) -> Content:
    """Return the fields that lead to the pages of the web front: events, and a complaint."""
    texts, fleet = board.texts, fleet_of(board)
    events, complaint = front_link(board, EVENTS_PAGE), front_link(board, COMPLAINT_PAGE)
    if events is None or complaint is None:
        return Content(empty(texts, texts("reclosers.search.no_front")))
    with read(board.store.data) as connection:
        models = queries.choices(connection)["models"]
    ceds = _choice(texts, "ced", texts("reclosers.ced"), {one: one for one in fleet.ceds})
    names = tag(
        "datalist",
        [tag("option", value=one.id, label=one.name or None) for one in fleet.reclosers],
        id="reclosers-names",
    )
    recloser = _field("recloser", texts("reclosers.recloser"), list_="reclosers-names")
    search = [
        recloser,
        ceds,
        _choice(texts, "model", texts("reclosers.model"), {one: one for one in models}),
        _field("since", texts("range.from"), "date"),
        _field("until", texts("range.to"), "date"),
        _choice(texts, "fault_type", texts("reclosers.type"), {one: one for one in TYPES}),
        _field("phases", texts("reclosers.phases"), size=4, placeholder="AB"),
        _field("magnitude_from", texts("reclosers.from_a"), "number", min=0),
        _field("distance_to", texts("reclosers.to_distance"), "number", min=0, step="any"),
        _choice(
            texts,
            "outcome",
            texts("reclosers.outcome"),
            {one: texts(f"reclosers.outcome.{one}") for one in ENDS},
        ),
    ]
    asked = [
        recloser,
        ceds,
        _field("since", texts("range.from"), "datetime-local", required=True),
        _field("until", texts("range.to"), "datetime-local", required=True),
    ]
    return Content(
        join(
            [
                names,
                _form(texts("reclosers.search.events"), events, search),
                tag("p", texts("reclosers.complaint.about"), class_="ws-muted"),
                _form(texts("reclosers.search.complaint"), complaint, asked),
            ]
        )
    )


def _form(word: str, action: str, fields: list[Html]) -> Html:
    button = tag("button", word, type="submit", class_="ws-more")
    return tag("form", fields, button, action=action, method="get", class_="ws-form")


def _field(name: str, label: str, kind: str = "text", **more: Any) -> Html:
    wide = "ws-wide" if kind == "datetime-local" else None
    return tag("label", label, tag("input", type=kind, name=name, **more), class_=wide)


def _choice(texts: Texts, name: str, label: str, options: Mapping[str, str]) -> Html:
    every = tag("option", texts("reclosers.any"), value="")
    found = [tag("option", said, value=value) for value, said in options.items()]
    return tag("label", label, tag("select", every, found, name=name))
