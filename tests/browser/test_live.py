"""Live pages of the boards that are otherwise looked at as files: overview, export, print."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.kernel, pytest.mark.slow]

Visit = Any


def whole(seen: Visit) -> Any:
    """Wait until a live page has come to its end, and return it."""
    seen.page.wait_for_selector("#ws-progress", state="detached")
    assert seen.page.query_selector(".ws-notice.ws-bad") is None
    return seen.page


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_overview_is_whole_and_leads_to_the_other_boards(
    visit: Callable[..., Visit], artefacts: Path, width: int, scheme: str
) -> None:
    seen = visit("/overview", width=width, scheme=scheme)
    page = whole(seen)
    assert page.inner_text("h1") == "Overview"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("window.hacked") is None
    seen.shot(artefacts, f"overview-live-{width}-{scheme}")
    page.locator(".ws-card").get_by_role("link", name="Runs").click()
    page.wait_for_url("**/voila/render/runs*")
    whole(seen)
    assert page.inner_text("h1") == "Runs"
    assert seen.errors == []
    assert seen.foreign == []


def test_a_live_table_is_saved_as_csv_and_as_excel(visit: Callable[..., Visit]) -> None:
    page = whole(visit("/runs"))
    tools = page.locator("#runs-failures .ws-tools")
    with page.expect_download() as csv:
        tools.get_by_role("button", name="CSV").click()
    text = Path(csv.value.path()).read_text(encoding="utf-8-sig")
    assert text.splitlines()[0].startswith("Job,")
    assert "rain_capture" in text
    with page.expect_download() as excel:
        tools.get_by_role("link", name="Excel").click()
    with zipfile.ZipFile(excel.value.path()) as book:
        assert "rain_capture" in book.read("xl/sharedStrings.xml").decode()


def test_a_live_board_prints_on_one_a4_page(visit: Callable[..., Visit]) -> None:
    page = whole(visit("/rain"))
    pdf = page.pdf(prefer_css_page_size=True, print_background=True)
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf)) == 1
