"""The overview: a tile per wing, what needs attention in sentences, and how fresh everything is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from workspace_lib.clock import FakeClock
from workspace_lib.errors import PublishError
from workspace_lib.store.alarms import acknowledge, raise_alarm
from workspace_lib.store.engines import write
from workspace_lib.store.migrate import open_store
from workspace_lib.views import tiles
from workspace_lib.views.board import Board
from workspace_lib.views.boards import overview, rain, runs
from workspace_lib.views.tiles import Tile

NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)
MakeBoard = Callable[..., Board]


@pytest.fixture(scope="module")
def alarmed(filling: ModuleType, tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Any:
    """A filled site with two open alarms, one of which somebody has seen."""
    site = filling.make_filled_site(tmp_path_factory.mktemp("alarmed"), repository, NOW)
    with open_store(site.settings) as store, write(store.control) as connection:
        raise_alarm(
            connection, "silent:mse", wing="rain", severity="warning",
            message=f"Gauge {filling.SILENT} is silent.", now=NOW - timedelta(minutes=50),
        )  # fmt: skip
        disk = raise_alarm(
            connection, "disk", wing="store", severity="critical",
            message="The disk is nearly full.", now=NOW - timedelta(hours=9, minutes=50),
        )  # fmt: skip
        acknowledge(connection, disk, "Marie", NOW - timedelta(minutes=30))
    return site


@pytest.fixture
def make_board(alarmed: Any, monkeypatch: pytest.MonkeyPatch) -> MakeBoard:
    monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5")

    def make(language: str = "en", later: timedelta = timedelta(0)) -> Board:
        clock = FakeClock(NOW + later)
        return Board("overview", alarmed.settings, language=language, clock=clock)  # type: ignore[arg-type]

    return make


def test_each_board_with_a_tile_is_found_and_runs_come_last() -> None:
    found = tiles.makers()
    assert found["rain"] is rain.tile
    assert list(found)[-1] == "runs"


def test_a_tile_leads_to_its_board_and_has_state_unit_and_age(make_board: MakeBoard) -> None:
    shown = overview.tiles(make_board()).to_html()
    assert 'href="rain"' in shown
    assert 'href="runs"' in shown
    assert "mm</small>" in shown
    assert "1 of 3 gauges silent" in shown
    assert "ws-badge ws-attention" in shown
    assert "data-ago" in shown


def test_an_hour_later_the_tile_of_rain_is_stale(make_board: MakeBoard) -> None:
    tile = rain.tile(make_board(later=timedelta(hours=1)))
    assert tile is not None
    assert tile.state == "stale"
    assert runs.tile(make_board(later=timedelta(hours=1))).state == "bad"  # type: ignore[union-attr]


def test_a_wing_that_never_published_and_one_with_nothing_to_say_show_nothing(
    make_board: MakeBoard,
) -> None:
    def never(board: Board) -> Tile | None:
        raise PublishError("never")

    shown = tiles.tile_cards(make_board(), [("rain", never), ("runs", lambda board: None)])
    assert shown == []


def test_a_tile_that_breaks_is_a_sentence_and_leaves_the_others(
    make_board: MakeBoard, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(board: Board) -> Tile | None:
        raise ZeroDivisionError("0xDEADBEEF")

    with caplog.at_level("CRITICAL"):
        shown = tiles.tile_cards(make_board(), [("rain", broken), ("runs", runs.tile)])
    assert len(shown) == 2
    assert "could not be shown" in shown[0].to_html()
    assert "DEADBEEF" not in shown[0].to_html()


def test_attention_is_newest_first(make_board: MakeBoard) -> None:
    lines = overview.attention_lines(make_board(later=timedelta(hours=1)), hours=24)
    assert [line.since for line in lines] == sorted((line.since for line in lines), reverse=True)
    assert {line.state for line in lines} == {"bad", "attention", "stale"}


def test_an_alarm_says_who_has_seen_it(make_board: MakeBoard, filling: ModuleType) -> None:
    shown = overview.attention(make_board(), hours=24).body.to_html()
    assert "seen by Marie, 14:35" in shown
    assert "nobody has acknowledged it" in shown
    assert filling.SILENT not in shown  # escaped


def test_failed_runs_of_a_job_are_one_sentence_that_leads_to_the_newest(
    make_board: MakeBoard,
) -> None:
    board = make_board()
    line = next(
        line for line in overview.attention_lines(board, hours=24) if "rain_" in line.sentence
    )
    assert line.sentence.startswith("rain_capture failed 2 times")
    assert "succeeded since" in line.sentence
    assert line.state == "attention"
    failures = runs.failures(Board("runs", board.settings, clock=FakeClock(NOW)), days=7).to_html()
    assert line.link is not None
    assert f'id="{line.link.removeprefix("runs#")}"' in failures


def test_what_went_stale_together_is_one_sentence(make_board: MakeBoard) -> None:
    lines = overview.attention_lines(make_board(later=timedelta(hours=1)), hours=24)
    stale = [line for line in lines if line.state == "stale"]
    assert len(stale) == 1
    assert "stale since 15:29" in stale[0].sentence
    assert "rain_sums" in stale[0].sentence


@pytest.mark.parametrize(
    ("later", "style"),
    [(0, "ws-bar ws-good"), (20, "ws-bar ws-attention"), (40, "ws-bar ws-stale")],
)
def test_a_bar_of_freshness_changes_with_age(make_board: MakeBoard, later: int, style: str) -> None:
    shown = overview.freshness(make_board(later=timedelta(minutes=later))).body.to_html()
    [row] = [part for part in shown.split("ws-strip-row") if "rain_sums" in part]
    assert row.count(style) == 1
    assert "7 publications · fresh for 30 min" in shown
    assert 'title="rain.' in shown


def test_nothing_to_do_is_said(store: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board("overview", settings, clock=FakeClock(NOW))
    monkeypatch.setattr(overview.run_queries, "living_schedulers", lambda *_: ["one"])
    assert "nothing stale" in overview.attention(board, hours=24).body.to_html()
    assert "Nothing has been published yet" in overview.freshness(board).body.to_html()


def test_a_link_to_a_board_that_the_site_has_not_is_left_out(
    alarmed: Any, make_board: MakeBoard, tmp_path: Path
) -> None:
    board = make_board()
    assert tiles.link_to(board, "runs", "run-1") == "runs#run-1"
    folder = alarmed.settings.notebooks_dir / "dashboards"
    shutil.move(folder / "runs.ipynb", tmp_path)
    try:
        assert tiles.link_to(board, "runs") is None
    finally:
        shutil.move(tmp_path / "runs.ipynb", folder)
