"""The time-range picker moves the charts of its panel, also those that are drawn later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

RANGE = "document.querySelector('.ws-plot').layout.xaxis.range.map((t) => String(t).slice(0, 16))"


@pytest.fixture
def page(browser: Any, twins: Path) -> Any:
    """The rain twin, its chart drawn."""
    opened = browser.new_context(timezone_id="Europe/Paris").new_page()
    opened.goto((twins / "rain.en.html").as_uri())
    opened.wait_for_selector(".ws-chart[data-drawn]", timeout=60_000)
    return opened


def test_a_button_sets_the_span_and_the_fields_follow(page: Any) -> None:
    button = page.locator(".ws-range button", has_text="7 days")
    button.click()
    wanted = [part[:16] for part in button.get_attribute("data-range").split("/")]
    page.wait_for_function(f"() => JSON.stringify({RANGE}) === JSON.stringify({wanted!r})")
    assert button.get_attribute("aria-pressed") == "true"
    fields = [
        field.input_value().replace("T", " ") for field in page.locator(".ws-range input").all()
    ]
    assert fields == wanted


def test_a_free_span_is_taken_and_one_that_ends_before_it_begins_is_not(page: Any) -> None:
    first, last = page.locator(".ws-range input").all()
    begin, end = first.get_attribute("min"), last.get_attribute("max")
    last.fill(begin)
    assert page.evaluate(RANGE) == [begin.replace("T", " "), end.replace("T", " ")]
    last.fill(f"{end[:11]}00:00")
    wanted = [begin.replace("T", " "), f"{end[:10]} 00:00"]
    page.wait_for_function(f"() => JSON.stringify({RANGE}) === JSON.stringify({wanted!r})")


def test_a_chart_drawn_again_keeps_the_span(page: Any) -> None:
    page.locator(".ws-range button", has_text="7 days").click()
    chosen = page.evaluate(RANGE)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"() => JSON.stringify({RANGE}) === JSON.stringify({chosen!r})")
