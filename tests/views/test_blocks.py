"""Blocks say how old things are, what state they are in, and turn errors into sentences."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

import pytest

from workspace_lib import secrets
from workspace_lib.errors import SourceError
from workspace_lib.views import blocks
from workspace_lib.views.blocks import Freshness
from workspace_lib.views.html import Html
from workspace_lib.views.texts import Texts

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    """What the workspace logs, also if a test before took its propagation away."""
    monkeypatch.setattr(logging.getLogger("workspace_lib"), "propagate", True)
    return caplog


def fresh(now: datetime, *, age_min: float, limit_min: float | None) -> Freshness:
    as_of = now - timedelta(minutes=age_min)
    limit = None if limit_min is None else as_of + timedelta(minutes=limit_min)
    return Freshness(as_of, "run-7", "rain_sums", limit)


def test_the_line_says_as_of_run_and_until_when(texts: Texts, now: datetime) -> None:
    line = blocks.as_of(
        texts, fresh(now, age_min=3, limit_min=30), now, scheduler_seen=now
    ).to_html()
    for part in ("15:02", "3 min ago", "run rain_sums", "run-7", "stale after 15:32", "UTC+1"):
        assert part in line
    assert "is-stale" not in line.split(">")[0]


def test_a_stale_line_says_since_when(texts: Texts, now: datetime) -> None:
    line = blocks.as_of(texts, fresh(now, age_min=60, limit_min=30), now).to_html()
    assert line.startswith('<div class="ws-asof is-stale" data-until="2026-11-20T13:35:00Z">')
    assert "stale since 14:35" in line


def test_the_page_itself_can_tell_when_its_data_go_stale(texts: Texts, now: datetime) -> None:
    line = blocks.as_of(texts, fresh(now, age_min=3, limit_min=30), now).to_html()
    assert 'data-until="2026-11-20T14:32:00Z"' in line
    assert 'class="ws-is-stale"' in line


def test_nothing_published_is_a_state_of_its_own(texts: Texts, now: datetime) -> None:
    line = blocks.as_of(texts, Freshness(None), now).to_html()
    assert "Nothing has been published yet" in line
    assert "ws-unknown" in line


def test_a_scheduler_never_seen_is_said(texts: Texts, now: datetime) -> None:
    assert "No scheduler has been seen" in blocks.as_of(texts, Freshness(None), now).to_html()


def test_several_publications_are_as_old_as_the_oldest(now: datetime) -> None:
    old, new = fresh(now, age_min=50, limit_min=None), fresh(now, age_min=5, limit_min=3)
    both = blocks.oldest([new, old, Freshness(None)])
    assert both.as_of == old.as_of
    assert both.is_stale(now)
    assert blocks.oldest([]) == Freshness(None)


def test_a_badge_has_colour_icon_and_word(texts: Texts) -> None:
    badge = blocks.badge(texts, "bad").to_html()
    assert "ws-bad" in badge
    assert "<svg" in badge
    assert "Failed" in badge


def test_a_card_escapes_what_it_shows() -> None:
    card = blocks.card(HOSTILE, HOSTILE, unit=HOSTILE, note=HOSTILE).to_html()
    assert "<script" not in card


def test_a_named_error_becomes_its_sentence(texts: Texts, log: pytest.LogCaptureFixture) -> None:
    error = SourceError("The server does not answer.", where="ftp://x", fix="Check the line.")
    shown = blocks.failed(texts, error).to_html()
    assert "The server does not answer." in shown
    assert "Check the line." in shown
    assert "Traceback" not in shown


def test_another_error_shows_a_reference_and_logs_its_traceback(
    texts: Texts, log: pytest.LogCaptureFixture
) -> None:
    def broken() -> Html:
        raise ValueError("secret path /srv/x")

    shown = blocks.guarded(texts, broken).to_html()
    assert "/srv/x" not in shown
    (record,) = [r for r in log.records if r.name.startswith("workspace_lib.views")]
    assert record.exc_info is not None
    reference = record.getMessage().split("reference ")[1].rstrip(").")
    assert reference in shown


def test_a_secret_in_an_error_is_not_shown(
    texts: Texts, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PLANT_KEY", "canary-4711")
    secrets.resolve("secret://PLANT_KEY")
    shown = blocks.failed(texts, SourceError("No log-in with canary-4711.", fix="Ask.")).to_html()
    assert "canary-4711" not in shown


def test_how_it_was_computed_is_folded_away(texts: Texts) -> None:
    how = blocks.how_computed(texts, {"Formula": "a < b"}).to_html()
    assert how.startswith("<details")
    assert "a &lt; b" in how


def test_tabs_show_the_first_and_need_no_script(texts: Texts) -> None:
    tabs = blocks.tabs({"One": Html("<p>1</p>"), "Two": Html("<p>2</p>")}, "choice").to_html()
    assert tabs.count('type="radio"') == 2
    assert tabs.count(" checked") == 1
    assert "script" not in tabs
    assert 'for="choice-1"' in tabs


def test_no_notice_leaves_no_trace() -> None:
    assert not blocks.notices([])


@pytest.mark.parametrize("make", [blocks.empty, blocks.loading])
def test_empty_and_loading_say_so(texts: Texts, make) -> None:
    assert texts("panel.empty" if make is blocks.empty else "panel.loading") in (
        make(texts).to_html()
    )
