"""Sums between two days, as the page shows them first."""

from __future__ import annotations

import json
import re
from datetime import date
from zoneinfo import ZoneInfo

import pytest

from workspace_lib.errors import ParameterError
from workspace_lib.views.between import Between, Daily, between
from workspace_lib.views.texts import Texts

TEXTS = Texts("en", ZoneInfo("Europe/Paris"))
FIRST = date(2026, 11, 1)
ROW = Daily("Mse </script>", [1.0, None, 0.0, 2.5, 2.5], [1.0, 0.0, 1.0, 0.5, 1.0])
DATA = Between(FIRST, [ROW], "mm")


def shown(days: int = 30) -> str:
    return between(
        TEXTS, DATA, name="rain", label="Total", who="Gauge", largest="Wettest day", days=days
    ).markup


def test_both_days_are_included() -> None:
    assert DATA.sum(ROW, date(2026, 11, 4), date(2026, 11, 5)).total == pytest.approx(5.0)


def test_what_was_not_measured_is_not_in_the_total_but_in_the_share() -> None:
    found = DATA.sum(ROW, date(2026, 11, 1), date(2026, 11, 2))
    assert (found.total, found.share) == (1.0, 0.5)


def test_days_without_any_measurement_have_no_total() -> None:
    assert DATA.sum(ROW, date(2026, 11, 2), date(2026, 11, 2)).total is None


def test_days_beyond_the_data_count_as_not_measured() -> None:
    assert DATA.sum(ROW, date(2026, 10, 31), date(2026, 11, 1)).share == 0.5


def test_the_first_of_two_equal_days_is_the_largest() -> None:
    assert DATA.sum(ROW, FIRST, date(2026, 11, 5)).largest_day == date(2026, 11, 4)


def test_a_dry_time_has_no_largest_day() -> None:
    found = DATA.sum(ROW, date(2026, 11, 3), date(2026, 11, 3))
    assert (found.total, found.largest, found.largest_day) == (0.0, None, None)


def test_the_table_shows_the_last_days_at_first() -> None:
    made = shown(days=2)
    assert 'value="2026-11-04"' in made
    assert "5.0" in made
    assert "75.0%" in made
    assert 'data-sort="2026-11-04">4 Nov 2026<' in made


def test_choices_that_reach_beyond_the_data_are_not_offered() -> None:
    offered = re.findall(r"data-days=\"([^\"]+)\"", shown())
    assert all(days >= "2026-11-01" for days in offered)


def test_the_values_in_the_page_are_data_and_never_markup() -> None:
    made = shown()
    found = re.search(r'<script type="application/json">(.*?)</script>', made)
    assert found is not None
    assert json.loads(found[1])["rows"][0]["values"] == ROW.values
    assert "Mse &lt;/script&gt;" in made


def test_without_days_there_is_a_sentence() -> None:
    empty = Between(FIRST, [], "mm")
    made = between(TEXTS, empty, name="x", label="x", who="x", largest="x").markup
    assert "Nothing to show yet." in made


def test_rows_of_different_lengths_are_refused() -> None:
    with pytest.raises(ParameterError):
        Between(FIRST, [ROW, Daily("short", [1.0], [1.0])], "mm")
