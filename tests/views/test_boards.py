"""The boards of a site after ten hours of work: every panel says what its reader needs."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from workspace_lib.clock import FakeClock
from workspace_lib.errors import ParameterError
from workspace_lib.rain.check_report import CheckReport, Finding
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.views import run_queries
from workspace_lib.views.board import Board, Content, open_board
from workspace_lib.views.boards import rain, rain_chart, rain_network, runs
from workspace_lib.views.html import Html

Filled = Any


@pytest.fixture
def make_board(filled: Filled, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5")

    def make(name: str, language: str = "en", later: timedelta = timedelta(0)) -> Board:
        clock = FakeClock(filled.now + later)
        return Board(name, filled.settings, language=language, clock=clock)  # type: ignore[arg-type]

    return make


def markup(made: Html | Content) -> str:
    return (made.body if isinstance(made, Content) else made).to_html()


PANELS = [
    ("rain", rain.silent, {}),
    ("rain", rain.cards, {"days": 10}),
    ("rain", rain_chart.chart, {"days": 10}),
    ("rain", rain.sums, {}),
    ("rain", rain.status, {}),
    ("rain", rain.completeness, {}),
    ("rain", rain_network.network_map, {}),
    ("rain", rain_network.days_summed, {}),
    ("rain", rain_network.months, {}),
    ("rain", rain_network.calibrations, {}),
    ("runs", runs.cards, {"days": 7}),
    ("runs", runs.slots, {"days": 7, "length": 48}),
    ("runs", runs.failures, {"days": 7}),
    ("runs", runs.durations, {"days": 7, "length": 48}),
    ("runs", runs.upcoming, {"days": 7}),
    ("runs", runs.gaps, {"days": 7}),
]


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize(
    ("board", "make", "arguments"), PANELS, ids=[p[1].__name__ for p in PANELS]
)
def test_no_panel_lets_markup_of_names_and_messages_through(
    make_board, filling: ModuleType, board: str, make, arguments: dict[str, int], language: str
) -> None:
    shown = markup(make(make_board(board, language), **arguments))
    assert shown
    assert "<b>&</b>" not in shown
    assert filling.HOSTILE not in shown


def test_the_header_says_as_of_run_and_scheduler(make_board, filled: Filled) -> None:
    head = make_board("rain").header("rain.sums", "rain.totals").to_html()
    assert "14:59" in head  # the newest row is six minutes old
    assert filled.last_run in head
    assert "run rain_sums" in head
    assert "Scheduler seen" in head
    assert "is-stale" not in head.split("data-until")[0]


def test_an_hour_later_the_same_data_are_stale(make_board) -> None:
    head = make_board("rain", later=timedelta(hours=1)).header("rain.sums").to_html()
    assert 'class="ws-asof is-stale"' in head
    shown = make_board("rain", later=timedelta(hours=1)).panel("rain.sums", rain.sums).to_html()
    assert "is-stale" in shown


def test_only_the_silent_gauge_is_named(make_board) -> None:
    shown = rain.silent(make_board("rain")).to_html()
    assert shown.count("ws-notice") == 2  # the notice and the list around it
    assert "Mse &lt;b&gt;" in shown
    assert "no data for 96 min" in shown


def test_the_cards_of_rain(make_board) -> None:
    shown = rain.cards(make_board("rain"), days=10).to_html()
    assert "2 / 3" in shown
    assert "the wettest gauge" in shown
    assert shown.count("ws-spark") == 2


def test_a_sum_that_reaches_its_threshold_is_told_in_words(make_board) -> None:
    shown = markup(rain.sums(make_board("rain")))
    assert "10.0 mm and more in 72\u00a0h" in shown or "10 mm and more in 72\u00a0h" in shown
    assert "ws-level ws-attention" in shown


@pytest.mark.parametrize(
    ("rain_mm", "state"),
    [(None, None), (4.9, None), (5.0, "attention"), (19.9, "attention"), (20.0, "bad")],
)
def test_levels_are_reached_at_their_value(rain_mm: float | None, state: str | None) -> None:
    assert rain.reached({"P24h": (5.0, 20.0)}, "P24h", rain_mm) == state


def test_a_gauge_without_a_place_is_named_below_the_map(make_board) -> None:
    assert "Without a place: Triolet." in markup(rain_network.network_map(make_board("rain")))


def test_the_silent_gauge_is_marked_on_the_map(make_board) -> None:
    assert "ws-ring ws-stale" in markup(rain_network.network_map(make_board("rain")))


def test_the_calibration_in_force_says_formula_unit_and_certificate(make_board) -> None:
    shown = markup(rain_network.calibrations(make_board("rain")))
    assert "y = 0.0008 x² + 1.0761 x" in shown
    assert "tips/min" in shown
    assert re.search(r"Correction at 100\u00a0mm/h.*\[%\]", shown)
    assert ">8.3<" in shown
    assert "C &lt;i&gt;12&lt;/i&gt;" in shown


@pytest.mark.parametrize(
    ("kind", "said"),
    [("uncalibrated", "None in force: tips only"), ("nominal", "None in force: nominal depth")],
)
def test_a_gauge_without_a_calibration_is_told_in_words(
    make_board, monkeypatch, kind: str, said: str
) -> None:
    row = dict.fromkeys(("formula", "x", "source"), "") | {"mm_per_tip": None, "valid_from": None}
    row |= {"gauge": "mse", "name": "Mse", "kind": kind, "version": kind}
    monkeypatch.setattr(rain_network, "rows_of", lambda published: [row])
    assert said in markup(rain_network.calibrations(make_board("rain")))


@pytest.mark.parametrize(
    ("severities", "state", "said"),
    [
        (["info"], "good", "nothing is lost or damaged."),
        (["warning", "warning", "info"], "attention", "to look after: 2."),
        (["warning", "error"], "bad", "Findings: 2."),
    ],
)
def test_how_the_full_check_ended_is_said_below_the_gauges(
    make_board, monkeypatch, severities: list[str], state: str, said: str
) -> None:
    board = make_board("rain")
    found = tuple(Finding("files", severity, 1, "x") for severity in severities)  # type: ignore[arg-type]
    report = CheckReport(1, 1, 1, 1, 1, found)
    assert report.state == state
    check = SimpleNamespace(data=report.to_dict(), as_of=board.now, stale=False)
    publish = board.published
    monkeypatch.setattr(
        board, "published", lambda name: check if name == rain.CHECK else publish(name)
    )
    shown = markup(rain.status(board))
    assert said in shown
    assert f"ws-badge ws-{state}" in shown.partition("</table>")[2]


def test_before_the_first_full_check_nothing_is_said_of_it(make_board) -> None:
    assert "Full check" not in markup(rain.status(make_board("rain")))


def test_below_the_sums_stands_from_where_on_they_are_marked(make_board) -> None:
    shown = markup(rain.sums(make_board("rain")))
    assert "from 5\u00a0mm in 24\u00a0h, 10\u00a0mm in 72\u00a0h on." in shown
    assert "from 20\u00a0mm in 24\u00a0h, 60\u00a0mm in 72\u00a0h on." in shown


def test_of_a_single_month_only_the_year_so_far_is_drawn(make_board) -> None:
    shown = markup(rain_network.months(make_board("rain")))
    assert "Year so far" in shown


def test_months_before_the_first_measurement_are_not_drawn(make_board, monkeypatch) -> None:
    rows_of = rain_network.rows_of

    def longer(published: Any) -> list[dict[str, Any]]:
        rows = list(rows_of(published))
        unmeasured = {"month": "2025-01", "rain_mm": 0.0, "missing_share": 1.0}
        return [{**row, **unmeasured} for row in rows if "month" in row] + rows

    monkeypatch.setattr(rain_network, "rows_of", longer)
    shown = markup(rain_network.months(make_board("rain")))
    assert "Month [mm]" not in shown
    assert "2025" not in shown


def test_sums_that_are_taken_along_say_their_unit_and_what_was_measured(make_board) -> None:
    shown = markup(rain.sums(make_board("rain")))
    heads = re.findall(r"<th scope=\"col\".*?</th>", shown)
    assert sum("[mm]" in head for head in heads) == 11
    hidden = [head for head in heads if " hidden" in head]
    assert len(hidden) == 11
    assert all("Measured" in head and "[%]" in head for head in hidden)


def test_a_window_nobody_measured_is_not_zero(make_board) -> None:
    shown = markup(rain.sums(make_board("rain")))
    assert "not measured" in shown
    assert "5\u00a0min" in shown


def test_the_chart_says_how_it_was_computed(make_board, filled: Filled) -> None:
    made = rain_chart.chart(make_board("rain"), days=10)
    assert made.how is not None
    assert filled.last_run in made.how.to_html()
    assert "Rain per 3\u00a0h [mm]" in markup(made)


@pytest.mark.parametrize(("days", "width_s"), [(1, 900), (10, 10_800), (365, 86_400)])
def test_bars_get_wider_with_the_span(days: int, width_s: int) -> None:
    assert rain_chart.bin_width_s(days * 86_400) == width_s


def test_the_cards_of_runs_count_what_happened(make_board) -> None:
    shown = runs.cards(make_board("runs"), days=7).to_html()
    assert "Failed, 24\u00a0h" in shown
    values = [part.split("<")[0] for part in shown.split('class="ws-value">')[1:]]
    assert values[1:3] == ["2", "2"]  # failures, missed slots
    assert "1 alive on plant" in shown


def test_the_strip_shows_failed_missed_and_partial_runs(make_board) -> None:
    shown = markup(runs.slots(make_board("runs"), days=7, length=48))
    for state in ("bad", "missed", "partial", "good"):
        assert f'<li class="ws-{state}"' in shown
    assert shown.count('href="#run-') == 2


def test_a_failure_says_why_and_where_its_notebook_is(make_board) -> None:
    shown = runs.failures(make_board("runs"), days=7).to_html()
    assert "Error in the notebook" in shown
    assert "ValueError: &lt;img" in shown
    assert "1/output.ipynb" in shown
    assert "The runner disappeared" in shown


def test_only_a_static_page_links_to_the_fronts_page_of_a_notebook(make_board) -> None:
    live, static = make_board("runs"), make_board("runs")
    static.static = True
    link = re.compile(r'<a href="/runs/[^"/]+/notebook"')
    assert len(link.findall(runs.failures(static, days=7).to_html())) == 1
    assert not link.search(runs.failures(live, days=7).to_html())


def test_a_mark_of_the_strip_leads_to_its_row(make_board) -> None:
    strip = markup(runs.slots(make_board("runs"), days=7, length=48))
    table = runs.failures(make_board("runs"), days=7).to_html()
    anchors = [part.split('"')[0] for part in strip.split('href="#')[1:]]
    assert anchors
    assert all(f'id="{anchor}"' in table for anchor in anchors)


def test_missed_slots_come_with_the_command_that_catches_them_up(make_board) -> None:
    shown = runs.gaps(make_board("runs"), days=7).to_html()
    assert "workspace backfill rain_capture --from 2026-11-20T06:05:00Z" in shown


def test_what_comes_next_is_told_for_each_job(make_board) -> None:
    shown = runs.upcoming(make_board("runs"), days=7).to_html()
    assert "15:10" in shown
    assert "after rain_capture" in shown


@pytest.mark.parametrize(
    ("starts", "words"),
    [
        ({}, "by hand"),
        ({"schedule": "0 8 * * 1"}, "Mondays at 08:00 (UTC)"),
        ({"schedule": "0 8 1 * *"}, "0 8 1 * *"),
        (
            {"every_s": 300, "on_published": ("rain.*",)},
            "every 5 min; after publications of rain.*",
        ),
        ({"on_published": ("*",)}, "after each publication"),
        ({"on_published": ("*",), "enabled": False}, "at rest"),
    ],
)
def test_what_starts_a_job_is_told_in_words(texts, starts, words) -> None:
    assert runs.trigger(texts, JobSpec("job", notebook="n", **starts)) == words


def test_without_a_scheduler_the_reader_is_told(make_board) -> None:
    board = make_board("runs", later=timedelta(minutes=5))
    assert not run_queries.living_schedulers(board.store, board.now)
    assert "No scheduler is alive" in runs.cards(board, days=7).to_html()


def test_a_panel_that_breaks_is_a_sentence_and_the_page_goes_on(make_board, caplog) -> None:
    def broken(board: Board) -> Html:
        raise ZeroDivisionError("division by zero at 0xDEADBEEF")

    with caplog.at_level(logging.CRITICAL):
        shown = make_board("rain").panel("rain.sums", broken).to_html()
    assert "could not be shown" in shown
    assert "DEADBEEF" not in shown


def test_before_anything_was_published_every_panel_is_a_sentence(
    filled: Filled, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5")
    board = Board("rain", settings, clock=FakeClock(filled.now))
    assert "There is no store yet" in board.header("rain.sums").to_html()
    assert "There is no store yet" in board.panel("rain.sums", rain.sums).to_html()


def test_a_board_of_a_site_where_nothing_ran_says_what_to_do(
    store, settings, filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5")
    board = Board("runs", settings, clock=FakeClock(filled.now))
    shown = board.panel("runs.slots", runs.slots, days=7, length=48).to_html()
    assert "No job has run yet" in shown
    assert "Nothing has been published yet" in Board("rain", settings).header("rain.x").to_html()


def test_the_store_is_opened_for_reading_only(make_board) -> None:
    assert make_board("rain").store.read_only


def test_outside_our_own_pages_the_style_comes_with_the_header(
    make_board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SERVER_SOFTWARE")
    head = make_board("rain").header("rain.sums").to_html()
    assert head.startswith('<div class="ws"><style>')
    assert (
        make_board("rain")
        .panel("rain.sums", rain.sums, span=6)
        .to_html()
        .startswith('<div class="ws ws-span-6">')
    )


def test_an_unknown_language_is_refused(filled: Filled) -> None:
    with pytest.raises(ParameterError, match="Known: en, fr"):
        open_board("rain", language="de")
