"""The board of reclosers: must a patrol go and where, what happened lately, how the fleet is.

Everything is read from the store by the wing's own queries; the jobs that filled it say how old it
is. Events are in `reclosers_event`, relays and their clocks in `reclosers_fleet`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode
from weakref import WeakKeyDictionary

from workspace_lib.errors import StoreError
from workspace_lib.reclosers import queries, queries_incidents
from workspace_lib.reclosers.queries import EventFilter, EventRow, RelayState
from workspace_lib.reclosers.queries_incidents import DisturbanceRow, FleetHealth
from workspace_lib.reclosers.settings import Fleet, load_fleet, load_reclosers
from workspace_lib.store.engines import read
from workspace_lib.store.publications import Published, list_published
from workspace_lib.views.blocks import badge, card, notice, notices, when
from workspace_lib.views.blocks import cards as card_row
from workspace_lib.views.board import Board, Content
from workspace_lib.views.html import Child, Html, join, tag
from workspace_lib.views.marks import bar, sparkline
from workspace_lib.views.tables import Column, table
from workspace_lib.views.texts import Texts
from workspace_lib.views.tiles import Tile, front_link

#: What each round over relays publishes, its name follows; and what the analysis does.
CAPTURE, ANALYSIS = "reclosers.capture/", "reclosers.analysis"
#: Pages of the web front: events to be searched, and what happened at the time of a complaint.
EVENTS_PAGE, COMPLAINT_PAGE = "/reclosers/events", "/reclosers/complaint"
#: A relay that did not answer for longer is stale.
STALE: Final = timedelta(days=2)
#: Notices at the top are of faults that are no older.
LATELY: Final = timedelta(hours=24)
#: What stands on the page at most; the web front has the rest.
MOST_NOTICES, MOST_FAULTS, MOST_EVENTS, MOST_OFFENDERS = 3, 40, 60, 10
#: How long before and after a fault its page of a complaint begins and ends.
AROUND: Final = timedelta(minutes=15)
PATROL_STATES: Final[Mapping[str, str]] = {"yes": "bad", "no": "good", "unknown": "attention"}
#: States of relays by the outcome of their last visit.
VISIT_STATES: Final[Mapping[str, str]] = {
    "done": "good",
    "damaged": "attention",
    "dropped": "attention",
    "busy": "attention",
    "locked": "attention",
    "silent": "bad",
    "refused": "bad",
}

#: A list of hundreds takes a quarter of a second to read, and every panel asks for it.
_fleets: WeakKeyDictionary[Board, Fleet] = WeakKeyDictionary()


def tile(board: Board) -> Tile | None:
    """Return the tile of the overview: relays that answered, new events, patrols to be made."""
    texts, now = board.texts, board.now
    rounds = captures(board)
    if not rounds:
        return None
    fleet = fleet_of(board)
    health = health_of(board, fleet)
    with read(board.store.data) as connection:
        wanted = EventFilter(since=now - LATELY, until=now)
        events = queries.count(connection, wanted)
        lately = queries_incidents.disturbances(connection, since=now - LATELY, limit=MOST_FAULTS)
    patrols = [one for one in lately if needed(one) == "yes"]
    remote = sum(one.remote for one in fleet.reclosers)
    well = remote - len(troubled(board, fleet))
    said = [texts("reclosers.tile.answered"), texts("reclosers.tile.events", count=events)]
    if patrols:
        said.append(texts("reclosers.tile.patrols", count=len(patrols)))
    state = "good" if well == remote and not patrols else "attention"
    if remote and not well:
        state = "bad"
    return Tile(
        "reclosers",
        "stale" if any(one.stale for one in rounds) else state,
        f"{texts.number(well)} / {texts.number(remote)}",
        note=" · ".join(said),
        as_of=max(one.as_of for one in rounds),
        spark=sparkline(
            _per_day(board, 14), bars=True, label=texts("reclosers.per_day")
        ) if health.relays else None,
    )  # fmt: skip


def fleet_of(board: Board) -> Fleet:
    """Return the reclosers of the site, read once per board; none where it has no list of them."""
    if board not in _fleets:
        path = board.settings.site_dir / load_reclosers(board.settings).fleet
        _fleets[board] = load_fleet(board.settings) if path.exists() else Fleet(())
    return _fleets[board]


def captures(board: Board) -> list[Published]:
    """Return what the last run of each round over relays has published."""
    return list_published(board.store, prefix=CAPTURE, now=board.now)


def header(board: Board) -> Html:
    """Return the head of the page: as old as the oldest round, and the analysis."""
    try:
        names = [one.name for one in captures(board)]
    except StoreError:
        names = []  # before the first run there is no store
    return board.header(*names, ANALYSIS)


def summary(board: Board, *, days: int) -> Html:
    """Return what somebody must do, and below it the four figures that matter."""
    return join([notices([*_patrol_notices(board), *_relay_notices(board)]), cards(board, days)])


def cards(board: Board, days: int) -> Html:
    """Return relays that answered, patrols, events and clocks."""
    texts, now = board.texts, board.now
    fleet = fleet_of(board)
    health = health_of(board, fleet)
    remote = sum(one.remote for one in fleet.reclosers)
    well = remote - len(troubled(board, fleet))
    since = now - timedelta(days=days)
    with read(board.store.data) as connection:
        faults = queries_incidents.disturbances(connection, since=since, limit=500)
        events = queries.count(connection, EventFilter(since=since, until=now))
    patrols = sum(needed(one) == "yes" for one in faults)
    answered = any(one.answered for one in states_of(board, fleet).values())
    true = health.clocks.get("good", 0)
    known = sum(count for word, count in health.clocks.items() if word != "unknown")
    clock_state = "unknown" if not known else "good" if true == known else "attention"
    visit_state = "unknown" if not remote else "good" if well == remote else "attention"
    return card_row(
        card(
            texts("reclosers.answered"),
            f"{texts.number(well)} / {texts.number(remote)}",
            note=texts("reclosers.answered.note"),
            state=badge(texts, visit_state),
        ),
        card(
            texts("reclosers.patrols", days=days),
            texts.number(patrols),
            note=texts("reclosers.patrols.note", count=len(faults)),
            # Where nobody answered, nothing is known of faults.
            state=badge(texts, "attention" if patrols else "good" if answered else "unknown"),
        ),
        card(
            texts("reclosers.events", days=days),
            texts.number(events),
            note=texts("reclosers.events.note"),
            spark=sparkline(_per_day(board, days), bars=True, label=texts("reclosers.per_day")),
        ),
        card(
            texts("reclosers.clocks"),
            f"{texts.number(true)} / {texts.number(known)}",
            note=texts(
                "reclosers.clocks.note",
                limit=texts.number(load_reclosers(board.settings).clock_good_s, 0),
            ),
            state=badge(texts, clock_state),
        ),
    )


def faults(board: Board, *, days: int) -> Content:
    """Return the faults of some days: must a patrol go, where, what it was, how it ended."""
    texts = board.texts
    unit = load_reclosers(board.settings).distance_unit
    with read(board.store.data) as connection:
        since = board.now - timedelta(days=days)
        found = queries_incidents.disturbances(connection, since=since, limit=MOST_FAULTS)
    rows = [_fault(board, one, unit) for one in found]
    columns = [
        Column("started", texts("reclosers.when"), show=lambda row: row["link"]),
        Column("ced", texts("reclosers.ced"), shown=False),
        Column("patrol", texts("reclosers.patrol"), show=lambda row: row["badge"]),
        Column("where", texts("reclosers.where"), show=lambda row: row["where_said"]),
        Column("fault", texts("reclosers.fault"), show=lambda row: row["fault_said"]),
        Column("tripped", texts("reclosers.tripped"), show=lambda row: row["tripped_said"]),
    ]
    label, none = texts("reclosers.faults"), _none(board, "reclosers.faults.none", days)
    shown = table(texts, columns, rows, label=label, now=board.now, none=none, limit=10)
    return Content(shown)


def offenders(board: Board, *, days: int) -> Content:
    """Return the reclosers with the most incidents of some days, the worst first."""
    texts, now = board.texts, board.now
    with read(board.store.data) as connection:
        found = queries_incidents.repeat_offenders(
            connection, now - timedelta(days=days), now, least=2, limit=MOST_OFFENDERS
        )
    most = max((one.incidents for one in found), default=1)
    rows = [
        {"name": recloser_name(board, one.recloser), **{
            key: getattr(one, key) for key in ("incidents", "permanent", "operations", "last")
        }}
        for one in found
    ]  # fmt: skip
    columns = [
        Column("name", texts("reclosers.recloser")),
        Column(
            "bar", "", sortable=False, export=False,
            show=lambda row: bar(row["incidents"] / most, state="attention"),
        ),
        Column("incidents", texts("reclosers.incidents"), digits=0),
        Column("permanent", texts("reclosers.permanent"), digits=0),
        Column("operations", texts("reclosers.operations"), digits=0),
        Column("last", texts("reclosers.last")),
    ]  # fmt: skip
    label, none = texts("reclosers.offenders"), _none(board, "reclosers.offenders.none", days)
    return Content(table(texts, columns, rows, label=label, now=now, none=none))


def _none(board: Board, key: str, days: int) -> str:
    """Return what stands in place of no faults: that there were none, or that nobody can know."""
    if any(one.answered for one in states_of(board, fleet_of(board)).values()):
        return board.texts(key, days=days)
    return board.texts("reclosers.nobody")


def recent(board: Board) -> Content:
    """Return the newest events as a table to be filtered, each with its page."""
    texts, now = board.texts, board.now
    with read(board.store.data) as connection:
        found = queries.search(connection, EventFilter(), limit=MOST_EVENTS)
        total = queries.count(connection, EventFilter()) if len(found) == MOST_EVENTS else 0
    unit = load_reclosers(board.settings).distance_unit

    def triggered(row: Mapping[str, Any]) -> Child:
        link = front_link(board, f"{EVENTS_PAGE}/{row['event_id']}")
        shown = when(texts, row["triggered"], now)
        return tag("a", shown, href=link, class_="ws-nowrap") if link else shown

    def state(row: Mapping[str, Any]) -> Html:
        states = {"whole": "good", "summary": "partial", "damaged": "attention"}
        word = texts(f"reclosers.state.{row['state']}")
        return tag("span", badge(texts, states[row["state"]], word), title=row["why"])

    columns = [
        Column("triggered", texts("reclosers.when"), show=triggered),
        Column("ced", texts("reclosers.ced")),
        Column("recloser", texts("reclosers.recloser"), nowrap=True),
        Column("model", texts("reclosers.model"), nowrap=True),
        Column("type", texts("reclosers.type"), nowrap=True),
        Column("magnitude", texts("reclosers.magnitude"), "A", 0),
        Column("distance", texts("reclosers.distance"), unit, 1),
        Column("shot", texts("reclosers.shots")),
        Column("outcome", texts("reclosers.outcome")),
        Column("state", texts("reclosers.files"), show=state),
    ]
    rows = [_event(board, one) for one in found]
    label, none = texts("reclosers.recent"), texts("reclosers.recent.none")
    shown = table(texts, columns, rows, label=label, now=now, none=none, limit=12)
    more = None
    if total > len(found):
        said = texts("reclosers.recent.more", shown=len(found), total=texts.number(total))
        more = tag("p", said, class_="ws-muted")
    return Content(join([shown, more]))


def _event(board: Board, row: EventRow) -> dict[str, Any]:
    texts = board.texts
    return {
        "event_id": row.event_id,
        "triggered": row.triggered,
        "ced": row.ced,
        "recloser": row.recloser,
        "model": (row.model or "–").removeprefix("SEL-"),
        "type": row.fault_type or row.event.strip(),
        "magnitude": row.magnitude_a if row.magnitude_a is not None else row.current_a,
        "distance": row.distance if row.distance is not None else row.location,
        "shot": row.shot_number if row.shot_number is not None else row.shot,
        "outcome": texts(f"reclosers.outcome.{row.outcome}") if row.outcome else "–",
        "state": row.state,
        "why": row.why,
    }


def health_of(board: Board, fleet: Fleet) -> FleetHealth:
    """Return how the fleet is; relays that are only listed are left out."""
    limit = load_reclosers(board.settings).clock_good_s
    states = list(states_of(board, fleet).values())
    return queries_incidents.fleet_health(states, board.now, stale=STALE, clock_good_s=limit)


def states_of(board: Board, fleet: Fleet) -> dict[str, RelayState]:
    """Return what is known of each relay that can be reached, also of those never tried."""
    with read(board.store.data) as connection:
        known = {one.recloser: one for one in queries.relay_states(connection)}
    return {
        one.id: known.get(one.id) or _never(one.id, one.ced)
        for one in fleet.reclosers
        if one.remote
    }


def _never(recloser: str, ced: str) -> RelayState:
    unknown: dict[str, Any] = dict.fromkeys(RelayState.__dataclass_fields__)
    return RelayState(**unknown | {"recloser": recloser, "ced": ced, "failures": 0, "events": 0})


def troubled(board: Board, fleet: Fleet) -> list[RelayState]:
    """Return the relays whose last visit failed, or that did not answer for long, or never."""
    return [one for one in states_of(board, fleet).values() if relay_state(board, one) != "good"]


def relay_state(board: Board, state: RelayState) -> str:
    """Return the state of a relay as people see it."""
    if state.visited is None:
        return "unknown"
    found = VISIT_STATES.get(state.outcome or "", "unknown")
    if found == "good" and (state.answered is None or board.now - state.answered > STALE):
        return "stale"
    return found


def needed(row: DisturbanceRow) -> str:
    """Return whether a patrol must go: yes, no or unknown."""
    patrol = row.content.get("patrol") or {}
    found = str(patrol.get("needed") or row.patrol)
    return found if found in PATROL_STATES else "unknown"


def where_words(texts: Texts, content: Mapping[str, Any], unit: str) -> str:
    """Return where a fault is: between which reclosers, and how far from which."""
    patrol = content.get("patrol") or {}
    said = []
    for section in patrol.get("sections") or content.get("sections") or ():
        after, before = section["after"], ", ".join(section["before"])
        key = "reclosers.between" if before else "reclosers.behind"
        said.append(texts(key, after=after, before=before))
        if section.get("unknown"):
            said.append(texts("reclosers.maybe", names=", ".join(section["unknown"])))
    if patrol.get("distance") is not None:
        low, high = patrol.get("distance_low"), patrol.get("distance_high")
        span = span_words(texts, patrol["distance"], low, high, unit)
        said.append(texts("reclosers.from", span=span, recloser=patrol["recloser"]))
    return " · ".join(said) or texts("reclosers.nowhere")


def unbroken(said: str) -> Html:
    """Return a sentence in which names do not break at their hyphens."""
    parts = re.split(r"(\S*\w-\w\S*)", said)
    return join(
        tag("span", part, class_="ws-nowrap") if n % 2 else part for n, part in enumerate(parts)
    )


def span_words(texts: Texts, best: float, low: float | None, high: float | None, unit: str) -> str:
    """Return a distance with its uncertainty."""
    shown = f"{texts.number(best, 1)}\u00a0{unit}"
    if low is None or high is None:
        return shown
    return f"{shown} ({texts.number(low, 1)}–{texts.number(high, 1)})"


def fault_words(texts: Texts, kind: str | None, magnitude_a: float | None) -> str:
    """Return the type of a fault and its current."""
    said = [kind.strip() if kind else texts("reclosers.no_type")]
    if magnitude_a is not None:
        said.append(f"{texts.number(magnitude_a)}\u00a0A")
    return ", ".join(said)


def recloser_name(board: Board, name: str) -> Html:
    """Return the house name of a recloser, and below it the name as people know it."""
    known = fleet_of(board).by_id.get(name)
    small = tag("small", known.name) if known is not None and known.name else None
    return join([tag("span", name, class_="ws-nowrap"), tag("br") if small else None, small])


def _fault(board: Board, row: DisturbanceRow, unit: str) -> dict[str, Any]:
    texts, content = board.texts, row.content
    patrol = content.get("patrol") or {}
    must = needed(row)
    link = front_link(board, f"{COMPLAINT_PAGE}?{_around(row)}")
    started = when(texts, row.started, board.now)
    tripped = ", ".join(content.get("tripped") or ())
    saw = ", ".join(content.get("only_saw") or ())
    operations = len(content.get("sightings") or ())
    sightings = content.get("sightings") or ()
    sizes = [one["magnitude_a"] for one in sightings if one.get("magnitude_a") is not None]
    why = str(patrol.get("why") or "")
    key = f"reclosers.why.{why}"
    ended = texts(key) if texts.has(key) else texts(f"reclosers.outcome.{row.outcome}")
    said = [tripped or "–"]
    if saw:
        said.append(texts("reclosers.saw", names=saw))
    if content.get("miscoordinations"):
        said.append(texts("reclosers.miscoordination"))
    return {
        "started": row.started,
        "link": join(
            [
                tag("a", started, href=link, class_="ws-nowrap") if link else started,
                tag("br"),
                tag("small", row.ced),
            ]
        ),
        "ced": row.ced,
        "patrol": must,
        "badge": join(
            [
                badge(texts, PATROL_STATES[must], texts(f"reclosers.patrol.{must}")),
                tag("br"),
                tag("small", ended),
            ]
        ),
        "where": where_words(texts, content, unit),
        "where_said": tag("span", unbroken(where_words(texts, content, unit)), class_="ws-words"),
        "fault": patrol.get("fault_type"),
        "fault_said": fault_words(texts, patrol.get("fault_type"), max(sizes, default=None)),
        "tripped": operations,
        "tripped_said": unbroken(" · ".join(said)),
    }


def _around(row: DisturbanceRow) -> str:
    """Return the search of a page of complaint about a fault: its territory, its time."""
    tripped = row.content.get("tripped") or ()
    who = {"recloser": tripped[0]} if tripped else {"ced": row.ced}
    since, until = row.started - AROUND, row.ended + AROUND
    return urlencode({**who, "since": _iso(since), "until": _iso(until)})


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _patrol_notices(board: Board) -> list[Html]:
    """Return one sentence for each fault of the last day to which a patrol must go."""
    texts, now = board.texts, board.now
    unit = load_reclosers(board.settings).distance_unit
    with read(board.store.data) as connection:
        lately = queries_incidents.disturbances(connection, since=now - LATELY, limit=MOST_FAULTS)
    must = [one for one in lately if needed(one) == "yes"]
    shown = [
        notice(
            "bad",
            unbroken(
                texts(
                    "reclosers.notice",
                    moment=texts.moment(one.started, now=now),
                    fault=fault_words(
                        texts, (one.content.get("patrol") or {}).get("fault_type"), None
                    ),
                    where=where_words(texts, one.content, unit),
                )
            ),
        )
        for one in must[:MOST_NOTICES]
    ]
    if len(must) > MOST_NOTICES:
        shown.append(notice("bad", texts("reclosers.notice.more", count=len(must) - MOST_NOTICES)))
    return shown


def _relay_notices(board: Board) -> list[Html]:
    """Return one sentence on relays that refused or were silent at their last visit."""
    texts = board.texts
    found = [one for one in troubled(board, fleet_of(board)) if relay_state(board, one) == "bad"]
    if not found:
        return []
    said = [f"{one.recloser} ({texts(f'reclosers.visit.{one.outcome}')})" for one in found[:6]]
    if len(found) > 6:
        said.append(texts("reclosers.more", count=len(found) - 6))
    return [notice("attention", texts("reclosers.notice.relays", names=", ".join(said)))]


def _per_day(board: Board, days: int) -> list[float | None]:
    """Return how many events there were on each of the last days, a day ends now."""
    now = board.now
    with read(board.store.data) as connection:
        count = partial(queries.count, connection)
        return [
            float(
                count(EventFilter(since=now - timedelta(days=n + 1), until=now - timedelta(days=n)))
            )
            for n in reversed(range(min(days, 30)))
        ]
