"""Both languages say everything, and write numbers and times as their readers do."""

from __future__ import annotations

import ast
import string
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from workspace_lib.runs.states import CAUSES, STATES
from workspace_lib.views import tokens
from workspace_lib.views.messages import MESSAGES
from workspace_lib.views.texts import Texts

LANGUAGES = sorted(MESSAGES)


def fields(message: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(message) if name}


def test_both_languages_have_the_same_keys() -> None:
    assert set(MESSAGES["en"]) == set(MESSAGES["fr"])


@pytest.mark.parametrize("key", sorted(MESSAGES["en"]))
def test_both_languages_take_the_same_values(key: str) -> None:
    assert fields(MESSAGES["en"][key]) == fields(MESSAGES["fr"][key])


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_state_and_cause_of_a_run_has_a_word(language: str) -> None:
    keys = {f"run.{state}" for state in STATES} | {f"cause.{cause}" for cause in CAUSES}
    keys |= {f"state.{state}" for state in tokens.STATES}
    assert keys <= set(MESSAGES[language])


def test_every_key_named_in_the_code_exists(repository: Path) -> None:
    named: set[str] = set()
    for path in (repository / "workspace_lib" / "views").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "texts":
                named |= {
                    arg.value
                    for arg in node.args
                    if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
                }
    assert len(named) > 50
    assert named <= set(MESSAGES["en"])


def test_every_message_is_used(repository: Path) -> None:
    places = ("workspace_lib/views", "workspace_lib/web", "notebooks/dashboards")
    folders = [repository / place for place in places]
    code = "".join(
        path.read_text()
        for folder in folders
        for path in folder.rglob("*.*")
        if path.suffix in (".py", ".ipynb", ".j2") and path.parent.name != "messages"
    )
    composed = (
        *("state.", "run.", "cause.", "month.", "weekday.", "board."),
        # The test of the pages of reclosers has these word by word.
        *("recloser_pages.kind.", "recloser_pages.origin."),
        # The test of the board of reclosers has these word by word.
        *(
            f"reclosers.{family}."
            for family in (
                *("patrol", "why", "outcome", "state", "mark", "quantity", "time", "relay"),
                *("visit", "means", "clock", "run"),
            )
        ),
    )
    unused = [
        key
        for key in MESSAGES["en"]
        if key not in code
        and not key.startswith(composed)
        and not (key.endswith(".about") and key.removesuffix(".about") in code)
        and not (key.endswith("_title") and key.removesuffix("_title") in code)
    ]
    assert unused == []


def test_french_punctuation_never_begins_a_line() -> None:
    assert not [m for m in MESSAGES["fr"].values() if any(f" {mark}" in m for mark in ":;?!")]


@pytest.mark.parametrize(
    ("language", "value", "digits", "written"),
    [
        ("en", 1234.56, 1, "1,234.6"),
        ("fr", 1234.56, 1, "1\u202f234,6"),
        ("en", -0.04, 1, "0.0"),
        ("en", -3.0, 0, "−3"),
        ("en", None, 1, "–"),
        ("fr", float("nan"), 1, "–"),
        ("en", 0, 1, "0.0"),
    ],
)
def test_numbers(language: str, value: float | None, digits: int, written: str) -> None:
    assert Texts(language, ZoneInfo("UTC")).number(value, digits) == written  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("share", "written"),
    [(1.0, "100%"), (0.99999, "99.9%"), (0.9896, "98.9%"), (0.0, "0%"), (None, "–")],
)
def test_only_everything_is_a_hundred_percent(
    texts: Texts, share: float | None, written: str
) -> None:
    assert texts.percent(share) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.25, "0.2 s"),
        (21, "21 s"),
        (119, "119 s"),
        (150, "2 min"),
        (7200, "2 h"),
        (7500, "2 h 05"),
        (200_000, "2 days"),
        (None, "–"),
    ],
)
def test_durations_have_the_two_units_that_matter(
    texts: Texts, seconds: float | None, written: str
) -> None:
    assert texts.duration(seconds) == written


@pytest.mark.parametrize(
    ("ago", "english", "in_french"),
    [
        (timedelta(seconds=5), "just now", "à l'instant"),
        (timedelta(seconds=75), "1 min ago", "il y a 1 min"),
        (timedelta(minutes=42), "42 min ago", "il y a 42 min"),
        (timedelta(hours=5, minutes=10), "5 h 10 ago", "il y a 5 h 10"),
        (timedelta(minutes=-90), "in 90 min", "dans 90 min"),
        (timedelta(seconds=-20), "in a moment", "dans un instant"),
    ],
)
def test_ages(
    texts: Texts, french: Texts, now: datetime, ago: timedelta, english: str, in_french: str
) -> None:
    assert (texts.age(now - ago, now), french.age(now - ago, now)) == (english, in_french)


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (datetime(2026, 11, 20, 13, 5, tzinfo=UTC), "14:05"),
        (datetime(2026, 11, 19, 23, 30, tzinfo=UTC), "00:30"),
        (datetime(2026, 11, 19, 13, 5, tzinfo=UTC), "19 Nov 14:05"),
        (datetime(2025, 7, 1, 12, 0, tzinfo=UTC), "1 Jul 2025 14:00"),
        (None, "–"),
    ],
)
def test_a_moment_is_local_and_as_short_as_can_be(
    texts: Texts, now: datetime, moment: datetime | None, written: str
) -> None:
    assert texts.moment(moment, now=now) == written


def test_the_zone_is_named_with_its_offset(texts: Texts, now: datetime) -> None:
    assert texts.zone_name(now) == "Europe/Paris (UTC+1)"
    assert texts.zone_name(now - timedelta(days=150)) == "Europe/Paris (UTC+2)"
    assert Texts("en", ZoneInfo("America/St_Johns")).zone_name(now) == (
        "America/St_Johns (UTC−3:30)"
    )
