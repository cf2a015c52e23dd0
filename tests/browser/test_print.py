"""Every dashboard prints on one A4 page, without bar and buttons, its charts as drawings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

BOARDS = ("overview", "rain", "reclosers", "runs")
#: Points of an A4 page, upright.
A4 = (595, 842)


def pages(pdf: bytes) -> list[tuple[int, int]]:
    """Return width and height of each page of a PDF."""
    assert pdf.startswith(b"%PDF")
    kinds = re.findall(rb"/Type\s*/Page\b(?!s)", pdf)
    boxes = re.findall(rb"/MediaBox\s*\[\s*0\s+0\s+([\d.]+)\s+([\d.]+)", pdf)
    sizes = [(round(float(w)), round(float(h))) for w, h in boxes]
    assert len(sizes) == len(kinds)
    return sizes


@pytest.fixture
def open_twin(browser: Any, twins: Path) -> Any:
    """Open a twin as a file."""

    def open_it(board: str, language: str = "en", **context: Any) -> Any:
        page = browser.new_context(timezone_id="Europe/Paris", **context).new_page()
        page.goto((twins / f"{board}.{language}.html").as_uri())
        return page

    return open_it


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("board", BOARDS)
def test_a_dashboard_prints_on_one_a4_page(
    open_twin: Any, artefacts: Path, board: str, language: str
) -> None:
    page = open_twin(board, language, color_scheme="dark")
    pdf = page.pdf(prefer_css_page_size=True, print_background=True)
    artefacts.mkdir(parents=True, exist_ok=True)
    (artefacts / f"{board}-{language}.pdf").write_bytes(pdf)
    assert len(found := pages(pdf)) == 1
    assert all(abs(a - b) <= 1 for a, b in zip(found[0], A4, strict=True))


def test_a_long_dashboard_is_made_smaller_to_fit(open_twin: Any) -> None:
    page = open_twin("rain")
    short = page.evaluate("document.querySelector('main').getBoundingClientRect().height")
    page.evaluate(
        "() => { const main = document.querySelector('main');"
        " for (const panel of [...main.querySelectorAll('.ws-panel')].slice(-2))"
        "   main.append(panel.cloneNode(true), panel.cloneNode(true)); }"
    )
    assert page.evaluate("document.querySelector('main').getBoundingClientRect().height") > short
    assert len(pages(page.pdf(prefer_css_page_size=True))) == 1


def test_paper_is_white_without_bar_and_buttons_and_shows_the_drawing(open_twin: Any) -> None:
    page = open_twin("rain", color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    for hidden in (".ws-top", ".ws-tools", ".ws-how", ".ws-sort .ws-icon"):
        assert not page.is_visible(f"{hidden} >> nth=0"), hidden
    assert page.is_visible(".ws-draw.ws-wide")
    assert not page.is_visible(".ws-draw.ws-narrow")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(255, 255, 255)"


def test_after_printing_the_page_is_as_before(open_twin: Any) -> None:
    page = open_twin("runs")
    size = "[document.body.getBoundingClientRect().width, document.body.scrollHeight]"
    before = page.evaluate(size)
    page.pdf(prefer_css_page_size=True)
    assert page.evaluate(size) == before
    assert page.is_visible(".ws-top")
