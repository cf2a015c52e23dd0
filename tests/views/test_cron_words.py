"""Schedules are told in words where words are short, in both languages."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from workspace_lib.views.cron_words import cron_words
from workspace_lib.views.texts import Texts

PARIS = ZoneInfo("Europe/Paris")
EN, FR = Texts("en", PARIS), Texts("fr", PARIS)


@pytest.mark.parametrize(
    ("schedule", "english", "french"),
    [
        ("*/5 * * * *", "every 5\u00a0min", "toutes les 5\u00a0min"),
        ("* * * * *", "every 1\u00a0min", "toutes les 1\u00a0min"),
        ("7 * * * *", "hourly at minute\u00a07", "chaque heure à la minute\u00a07"),
        ("20 3 * * *", "daily at 03:20", "chaque jour à 03:20"),
        ("0 8 * * 1", "Mondays at 08:00", "chaque lundi à 08:00"),
        ("0 8 * * 0", "Sundays at 08:00", "chaque dimanche à 08:00"),
        ("0 8 * * 7", "Sundays at 08:00", "chaque dimanche à 08:00"),
    ],
)
def test_common_schedules_are_words(schedule: str, english: str, french: str) -> None:
    assert cron_words(EN, schedule, PARIS.key) == english
    assert cron_words(FR, schedule, PARIS.key) == french


@pytest.mark.parametrize(
    "schedule",
    [
        "*/7 * * * *",
        "1,31 * * * *",
        "0 8-18 * * *",
        "0 8 1 * *",
        "0 8 * 1 *",
        "0 8 * * 1-5",
        "0 8 * * MON",
        "0 0 8 * * *",
    ],
)
def test_other_schedules_stay_as_they_are_written(schedule: str) -> None:
    assert cron_words(EN, schedule, PARIS.key) is None


def test_a_time_in_another_zone_than_the_pages_names_it() -> None:
    assert cron_words(EN, "20 3 * * *", "UTC") == "daily at 03:20 (UTC)"
