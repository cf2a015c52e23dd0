"""The time-range picker offers what the panel holds, in local time, and nothing else."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from workspace_lib.views.ranges import range_picker, spans
from workspace_lib.views.texts import Texts

TEXTS = Texts("en", ZoneInfo("Europe/Paris"))
NOON = datetime(2026, 11, 20, 11, tzinfo=UTC)  # 12:00 in Paris


def keys(days: float) -> list[str]:
    return [span.key for span in spans(TEXTS, NOON - timedelta(days=days), NOON)]


@pytest.mark.parametrize(
    ("days", "offered"),
    [
        (0.25, ["range.today", "range.all"]),
        (3, ["range.today", "range.yesterday", "range.all"]),
        (10, ["range.today", "range.yesterday", "range.week", "range.all"]),
        (40, ["range.today", "range.yesterday", "range.week", "range.month", "range.all"]),
    ],
)
def test_only_spans_that_the_panel_holds_are_offered(days: float, offered: list[str]) -> None:
    assert keys(days) == offered


def test_today_begins_at_the_local_midnight() -> None:
    today = next(spans(TEXTS, NOON - timedelta(days=10), NOON))
    assert (today.t_from, today.t_to) == (datetime(2026, 11, 20), datetime(2026, 11, 20, 12))


def test_yesterday_is_a_whole_local_day() -> None:
    _, yesterday, *_ = spans(TEXTS, NOON - timedelta(days=10), NOON)
    assert (yesterday.t_from, yesterday.t_to) == (datetime(2026, 11, 19), datetime(2026, 11, 20))


def test_no_choice_reaches_beyond_the_panel() -> None:
    t_from = NOON - timedelta(hours=20)
    first = TEXTS.local(t_from).replace(tzinfo=None)
    assert all(span.t_from >= first for span in spans(TEXTS, t_from, NOON))


def test_the_picker_starts_with_everything_and_its_fields_are_bounded() -> None:
    html = range_picker(TEXTS, NOON - timedelta(days=10), NOON).markup
    pressed = re.findall(r'aria-pressed="true">([^<]+)<', html)
    assert pressed == ["All"]
    assert html.count('min="2026-11-10T12:00" max="2026-11-20T12:00"') == 2
