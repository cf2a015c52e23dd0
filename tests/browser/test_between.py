"""Any two days give in the page what the library computes, and views can be chosen by keyboard."""

from __future__ import annotations

import json
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest

from workspace_lib.views.between import Between, Daily

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def page(browser: Any, twins: Path) -> Any:
    """The rain twin."""
    opened = browser.new_context(timezone_id="America/Montreal").new_page()
    opened.goto((twins / "rain.en.html").as_uri())
    return opened


def shown(page: Any) -> list[list[str]]:
    rows = page.locator(".ws-between tbody tr").all()
    return [row.locator("th, td").all_text_contents() for row in rows]


def rounded(value: float) -> str:
    """Return a number as browsers write it: an exact half goes up."""
    return str(Decimal(value).quantize(Decimal("0.1"), ROUND_HALF_UP))


def test_the_page_sums_as_the_library_does(page: Any) -> None:
    content = json.loads(page.locator(".ws-between script").text_content())
    rows = [Daily("", row["values"], row["shares"]) for row in content["rows"]]
    data = Between(date.fromisoformat(content["first"]), rows, "mm")
    first, last = page.locator(".ws-between input").all()
    begin, end = date.fromisoformat(first.get_attribute("min")), last.get_attribute("max")
    middle = begin + (date.fromisoformat(end) - begin) // 2
    last.fill(middle.isoformat())
    wanted = [data.sum(row, begin, middle) for row in rows]
    assert [line[1:3] for line in shown(page)] == [
        [rounded(found.total), f"{rounded(100 * found.share)}%"] for found in wanted
    ]
    # strftime's %-d is not known everywhere.
    days = [found.largest_day for found in wanted]
    assert [line[4] for line in shown(page)] == [
        f"{day.day} {day:%b} {day.year}" if day else "–" for day in days
    ]


def test_days_in_the_wrong_order_change_nothing(page: Any) -> None:
    first, last = page.locator(".ws-between input").all()
    first.fill(last.get_attribute("max"))
    kept = shown(page)
    last.fill(first.get_attribute("min"))
    assert shown(page) == kept
    assert last.input_value() < first.input_value()


def test_another_window_of_the_map_is_chosen_with_the_keyboard(page: Any) -> None:
    panes = page.locator(".ws-tabs .ws-tab")
    assert [pane.is_visible() for pane in panes.all()] == [False, True, False]
    page.locator("#rain-map-1").focus()
    page.keyboard.press("ArrowRight")
    assert [pane.is_visible() for pane in panes.all()] == [False, False, True]
