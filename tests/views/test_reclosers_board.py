"""The board of reclosers: who must go where, what happened, and how the relays are."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from types import ModuleType
from typing import Any

import pytest

from workspace_lib.clock import FakeClock
from workspace_lib.errors import StoreError
from workspace_lib.reclosers import queries
from workspace_lib.reclosers.clock_quality import ClockLimits, ClockQuality
from workspace_lib.reclosers.fleet_report import OUTCOMES
from workspace_lib.reclosers.queries import RelayState
from workspace_lib.reclosers.settings import Fleet, Recloser, load_fleet
from workspace_lib.reclosers.stored_records import read_record
from workspace_lib.settings import Settings
from workspace_lib.store.engines import read
from workspace_lib.store.migrate import open_store
from workspace_lib.views.board import Board, Content
from workspace_lib.views.boards import overview, reclosers, reclosers_event, reclosers_fleet
from workspace_lib.views.html import Html
from workspace_lib.views.messages import MESSAGES
from workspace_lib.views.texts import Texts

Filled = Any
Make = Callable[..., Board]
EMPTY_FLEET = "reclosers:\n  - {id: A-1, ced: LAV, remote: false}\n"


@pytest.fixture
def make_board(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5")

    def make(
        language: str = "en",
        later: timedelta = timedelta(0),
        settings: Settings | None = None,
        name: str = "reclosers",
    ) -> Board:
        clock = FakeClock(filled.now + later)
        return Board(name, settings or filled.settings, language=language, clock=clock)  # type: ignore[arg-type]

    return make


@pytest.fixture
def bare(make_site: Callable[..., Settings]) -> Settings:
    """A site that lists reclosers and has visited none."""
    settings = make_site()
    (settings.site_dir / "reclosers.yml").write_text(EMPTY_FLEET)
    open_store(settings, create=True).close()
    return settings


def markup(made: Html | Content) -> str:
    return (made.body if isinstance(made, Content) else made).to_html()


def words(made: Html | Content) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", markup(made))).split())


PANELS = [
    (reclosers.summary, {"days": 7}),
    (reclosers.faults, {"days": 7}),
    (reclosers.offenders, {"days": 90}),
    (reclosers.recent, {}),
    (reclosers_event.newest, {}),
    (reclosers_fleet.territories, {}),
    (reclosers_fleet.relays, {}),
    (reclosers_fleet.health, {}),
    (reclosers_fleet.search_forms, {}),
]
IDS = [panel[0].__name__ for panel in PANELS]


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize(("make", "arguments"), PANELS, ids=IDS)
def test_no_panel_lets_markup_of_names_and_relays_through(
    make_board: Make, make: Any, arguments: dict[str, int], language: str
) -> None:
    shown = markup(make(make_board(language), **arguments))
    assert shown
    assert "<b>&</b>" not in shown
    assert "<i>operator</i>" not in shown


@pytest.mark.parametrize(("make", "arguments"), PANELS, ids=IDS)
def test_every_panel_says_so_where_nothing_was_ever_captured(
    make_board: Make, bare: Settings, make: Any, arguments: dict[str, int]
) -> None:
    shown = markup(make(make_board(settings=bare), **arguments))
    assert shown
    assert "could not be shown" not in shown


@pytest.mark.parametrize(("make", "arguments"), PANELS, ids=IDS)
def test_a_site_without_a_list_of_reclosers_has_nothing_broken(
    make_board: Make, bare: Settings, make: Any, arguments: dict[str, int]
) -> None:
    (bare.site_dir / "reclosers.yml").unlink()
    assert "ws-notice ws-bad" not in markup(make(make_board(settings=bare), **arguments))
    assert reclosers.tile(make_board(settings=bare)) is None


def test_where_nobody_answered_no_fault_is_not_known_to_be_absent(
    make_board: Make, bare: Settings
) -> None:
    (bare.site_dir / "reclosers.yml").write_text(
        "reclosers:\n  - {id: A-1, ced: LAV, url: 'simulator://reclosers/A-1'}\n"
    )
    board = make_board(settings=bare)
    assert "nobody knows" in words(reclosers.faults(board, days=7))
    assert "nobody knows" in words(reclosers.offenders(board, days=7))
    assert "Never visited" in words(reclosers_fleet.relays(board))


def test_a_site_without_relays_has_no_tile(make_board: Make, bare: Settings) -> None:
    assert reclosers.tile(make_board(settings=bare)) is None


def test_the_tile_tells_relays_events_and_patrols(make_board: Make) -> None:
    board = make_board(name="overview")
    found = reclosers.tile(board)
    assert found is not None
    assert (found.value, found.state) == ("6 / 10", "attention")
    assert "6 events in 24" in (found.note or "")
    assert "patrols: " in (found.note or "")
    assert "Reclosers" in markup(overview.tiles(board))


def test_a_tile_of_old_rounds_is_stale(make_board: Make) -> None:
    found = reclosers.tile(make_board(later=timedelta(hours=7)))
    assert found is not None
    assert found.state == "stale"


def test_a_fault_that_locked_out_sends_a_patrol_between_two_reclosers(make_board: Make) -> None:
    said = words(reclosers.summary(make_board(), days=7))
    assert "A patrol must go: fault CG, 11:52: between LAV-102 and LAV-103" in said
    assert re.search(r"11\.\d\skm \(1\d\.\d–1\d\.\d\) from LAV-102", said)
    said = words(reclosers.faults(make_board(), days=7))
    assert "Must go locked out" in said
    assert "Not needed reclosing held" in said


def test_a_fault_of_which_no_event_came_whole_needs_somebody_to_look(make_board: Make) -> None:
    said = words(reclosers.faults(make_board(), days=7))
    assert "Not known end not recorded" in said


def test_a_fault_leads_to_the_page_of_its_recloser_and_time(make_board: Make) -> None:
    board = make_board()
    board.static = True
    shown = markup(reclosers.faults(board, days=7))
    assert 'href="/reclosers/complaint?recloser=LAV-102&amp;since=2026-11-20T10%3A37' in shown


def test_live_pages_name_the_web_front_and_static_ones_lie_on_it(make_board: Make) -> None:
    live = make_board()
    assert 'href="http://127.0.0.1:8080/reclosers/events/' in markup(reclosers.recent(live))
    static = make_board()
    static.static = True
    assert 'href="/reclosers/events/' in markup(reclosers.recent(static))


def test_relays_in_trouble_come_first_with_the_reason(make_board: Make) -> None:
    shown = words(reclosers_fleet.relays(make_board()))
    assert shown.index("MAT-401") < shown.index("MTL-502") < shown.index("LAV-101")
    assert "Nothing came for 30 s." in shown
    assert "Only listed, because they cannot be reached: 1." in shown


def test_a_failed_visit_is_a_sentence_and_the_programs_words_are_behind_it(
    make_board: Make,
) -> None:
    shown = markup(reclosers_fleet.relays(make_board("fr")))
    assert (
        "<summary>Ni la ligne ni le relais n&#x27;ont répondu.</summary>"
        "<small>Nothing came for 30 s.</small></details>"
    ) in shown


def test_names_do_not_break_at_their_hyphens(make_board: Make) -> None:
    said = "beyond <MAT-301> · 3.1 km (2.9–3.3), seen by LAV-101, LAV-102"
    shown = reclosers.unbroken(said).to_html()
    assert re.findall(r'<span class="ws-nowrap">([^<]*)</span>', shown) == [
        "&lt;MAT-301&gt;", "LAV-101,", "LAV-102",
    ]  # fmt: skip
    assert unescape(re.sub(r"<[^>]*>", "", shown)) == said
    faults = markup(reclosers.faults(make_board(), days=7))
    assert re.search(r'ws-words">[^<]*<span class="ws-nowrap">\w+-\d+', faults)


def test_clocks_are_told_with_their_sign_and_a_wrong_one_is_marked(make_board: Make) -> None:
    shown = markup(reclosers_fleet.relays(make_board()))
    assert 'ws-level ws-attention" title="The clock is far off' in shown
    assert "−3,601" in shown
    assert 'ws-level ws-partial" title="The clock is a little off">+4.2' in shown


def test_all_readings_of_a_clock_tell_why_it_is_wrong(make_board: Make, texts: Texts) -> None:
    shown = markup(reclosers_fleet.relays(make_board()))
    assert "−3,601</span><br><small>summer time or zone?</small>" in shown
    limits = ClockLimits(good_s=1.0)

    def said(drift: float | None) -> str | None:
        clock = ClockQuality("fair", drift_s_per_day=drift)
        return reclosers_fleet._clock_note(texts, clock, limits, 1.0)

    assert said(-2.5) == "drifts by −2.5\u00a0s a day"
    assert [said(None), said(0.1), said(40.0)] == [None, None, None]


def test_a_relay_that_answered_long_ago_is_stale_though_it_was_read(make_board: Make) -> None:
    board = make_board(later=timedelta(days=3))
    [state] = [
        one
        for one in reclosers.states_of(board, load_fleet(board.settings)).values()
        if one.recloser == "LAV-101"
    ]
    assert reclosers.relay_state(board, state) == "stale"


def test_every_territory_has_a_mark_for_each_relay(make_board: Make) -> None:
    shown = markup(reclosers_fleet.territories(make_board()))
    assert "3 / 3" in shown  # LAV answers
    assert "1 / 4" in shown  # MTL does not
    assert "LAV-102 Pont &lt;b&gt;" in shown
    assert "Without a place: MTL-503, LAV-900." in shown


def test_six_hundred_relays_stay_a_light_page(
    make_board: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = tuple(
        Recloser(id=f"LAV-{n}", ced="LAV", url="simulator://x", lat=43 + n / 1e4, lon=3 + n / 1e4)
        for n in range(600)
    )
    fleet = Fleet(many)
    blank: dict[str, Any] = dict.fromkeys(RelayState.__dataclass_fields__)
    silent = {
        one.id: RelayState(**blank | {"recloser": one.id, "ced": "LAV", "failures": 1, "events": 0})
        for one in many
    }
    for module in (reclosers, reclosers_fleet):
        monkeypatch.setattr(module, "fleet_of", lambda board: fleet)
        monkeypatch.setattr(module, "states_of", lambda board, found: silent)
    board = make_board()
    panels: list[Any] = [panel for panel in PANELS if panel[0] is not reclosers_event.newest]
    shown = [markup(make(board, **arguments)) for make, arguments in panels]
    assert sum(map(len, shown)) < 600_000
    assert "60 of 600 relays" in "".join(shown)
    assert "150 of 600 reclosers" in "".join(shown)


def test_an_event_is_drawn_with_marks_phasors_and_the_relays_own_values(make_board: Make) -> None:
    shown = reclosers_event.newest(make_board(), count=1)
    drawn, said = markup(shown), words(shown)
    assert drawn.count('class="ws-chart"') == 1
    assert "ws-event is-strong" in drawn
    for word in ("inception −", "trip ", "cleared ", "TRIP3P", "52A3P", "IA", "VC"):
        assert word in said, word
    assert drawn.count('class="ws-phasors"') == 2
    assert "Type of fault CG CG Agrees" in said
    assert "Clearing time" in said
    assert shown.how is not None


def test_chosen_events_are_shown_in_the_order_of_time(make_board: Make) -> None:
    board = make_board()
    with read(board.store.data) as connection:
        rows = queries.search(connection, queries.EventFilter(reclosers=("MTL-503",)), limit=2)
    chosen = ", ".join(str(row.event_id) for row in rows)
    said = words(reclosers_event.newest(board, events=chosen))
    first, second = re.findall(r"relay's clock 2026-11-20 07:35:(\S+)", said)
    assert first < second


def test_an_event_whose_files_are_gone_says_so_and_leaves_the_others(
    make_board: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = make_board()
    first = read_record
    calls = []

    def once(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise StoreError("A file of the archive cannot be read.")
        return first(*arguments)

    monkeypatch.setattr(reclosers_event, "read_record", once)
    shown = markup(reclosers_event.newest(board, count=2))
    assert "A file of the archive cannot be read." in shown
    assert shown.count('class="ws-chart"') == 1


def test_repeat_offenders_are_ranked(make_board: Make) -> None:
    shown = words(reclosers.offenders(make_board(), days=90))
    assert "MTL-503 Carrière 3" in shown


def test_the_last_rounds_are_told_with_what_to_look_at(make_board: Make) -> None:
    shown = words(reclosers_fleet.health(make_board()))
    assert "Last round LAV" in shown
    assert "Silent: 1 · Locked: 1 · Refused: 1" in shown
    assert "Muet : 1 · Bloqué : 1 · Refusé : 1" in words(reclosers_fleet.health(make_board("fr")))


def test_forms_lead_to_the_web_front(make_board: Make) -> None:
    shown = markup(reclosers_fleet.search_forms(make_board()))
    assert 'action="http://127.0.0.1:8080/reclosers/events"' in shown
    assert 'action="http://127.0.0.1:8080/reclosers/complaint"' in shown
    for field in ("recloser", "ced", "model", "since", "until", "fault_type", "phases", "outcome"):
        assert f'name="{field}"' in shown


def test_the_header_is_as_old_as_the_oldest_round(make_board: Make) -> None:
    head = reclosers.header(make_board()).to_html()
    assert "run recloser_capture_lav" in head
    assert "14:53" in head


@pytest.mark.parametrize("language", ["en", "fr"])
def test_every_word_the_store_may_hold_has_a_message(language: str) -> None:
    composed = {
        "patrol": reclosers.PATROL_STATES,
        "why": ("locked_out", "reclosed", "end_unknown", "cleared_elsewhere", "no_fault"),
        "outcome": reclosers_fleet.ENDS,
        "state": ("whole", "summary", "damaged"),
        "mark": ("trigger", "inception", "trip", "open", "cleared", "reclosed"),
        "quantity": (
            "type", "magnitude", "distance", "frequency", "shot", "trip_time", "close_time",
        ),
        "time": ("relay_s", "opening_s", "clearing_s", "dead_s"),
        "relay": ("good", "attention", "bad", "stale", "unknown", "partial"),
        "visit": (*OUTCOMES, "never"),
        "means": [outcome for outcome in OUTCOMES if outcome != "done"],
        "clock": ("good", "fair", "poor", "unknown"),
        "run": ("left", "resting", "changed", "files_wrong"),
    }  # fmt: skip
    keys = {f"reclosers.{family}.{word}" for family, found in composed.items() for word in found}
    assert keys <= set(MESSAGES[language])  # type: ignore[index]


def test_fillings_of_the_fleet_have_every_kind_of_trouble(filling: ModuleType) -> None:
    reclosers_filling = filling._reclosers()
    assert {outcome for outcome, _ in reclosers_filling.TROUBLE.values()} == {
        "silent", "locked", "refused",
    }  # fmt: skip
