"""Dashboards for everybody: axe finds nothing at three widths, and the keyboard reaches all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

#: Each board at each width, in both schemes and both languages; not every product of them.
LOOKS = [
    ("overview", "en", 400, "light"),
    ("overview", "fr", 1024, "dark"),
    ("overview", "en", 1920, "dark"),
    ("runs", "fr", 400, "dark"),
    ("runs", "en", 1024, "light"),
    ("runs", "fr", 1920, "light"),
    ("rain", "en", 400, "dark"),
    ("rain", "fr", 1024, "light"),
    ("rain", "en", 1920, "dark"),
    ("reclosers", "fr", 400, "dark"),
    ("reclosers", "en", 1440, "light"),
]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
FOCUSED = """() => {
  const element = document.activeElement;
  if (!element || element === document.body) return null;
  const style = getComputedStyle(element);
  element.dataset.reached = "1";
  return {
    what: element.outerHTML.slice(0, 160),
    outline: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    box: element.getBoundingClientRect().width,
    radio: element.type === "radio",
  };
}"""


@pytest.fixture
def open_twin(browser: Any, twins: Path) -> Any:
    """Open a twin as a file, at a width and in a scheme."""

    def open_it(board: str, language: str, width: int, scheme: str = "light") -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            timezone_id="Europe/Paris",
            reduced_motion="reduce",
        )
        page = context.new_page()
        page.goto((twins / f"{board}.{language}.html").as_uri())
        return page

    return open_it


@pytest.mark.parametrize(
    ("board", "language", "width", "scheme"),
    LOOKS,
    ids=["-".join(map(str, look)) for look in LOOKS],
)
def test_axe_finds_nothing(
    open_twin: Any,
    repository: Path,
    artefacts: Path,
    board: str,
    language: str,
    width: int,
    scheme: str,
) -> None:
    page = open_twin(board, language, width, scheme)
    if board == "rain":
        page.wait_for_selector(".ws-chart[data-drawn]", timeout=90_000)
    artefacts.mkdir(parents=True, exist_ok=True)
    page.screenshot(
        path=artefacts / f"twin-{board}-{language}-{width}-{scheme}.png", full_page=True
    )
    page.add_script_tag(path=repository / "tests" / "browser" / "vendor" / "axe.min.js")
    found = page.evaluate(
        "async (rules) => (await axe.run({ runOnly: { type: 'tag', values: rules } }))"
        ".violations.map(v => [v.id, v.nodes.map(n => n.html.slice(0, 200))])",
        RULES,
    )
    assert found == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("board", "width"), [("runs", 1024), ("overview", 400), ("rain", 1024)])
def test_the_keyboard_reaches_every_control_and_shows_where_it_is(
    open_twin: Any, board: str, width: int
) -> None:
    page = open_twin(board, "en", width)
    wanted = "a[href], button, input:not([type=radio]), summary"
    count = page.locator(wanted).count()
    assert count > 3
    for _ in range(3 * count + 20):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        if focused is None:
            break
        assert focused["outline"] or focused["radio"], focused["what"]
    missed = page.evaluate(
        "(wanted) => [...document.querySelectorAll(wanted)]"
        ".filter(e => e.checkVisibility() && !e.dataset.reached)"
        ".map(e => e.outerHTML.slice(0, 160))",
        wanted,
    )
    assert missed == []


def test_a_table_is_sorted_and_its_order_told_by_the_keyboard(open_twin: Any) -> None:
    page = open_twin("runs", "en", 1024)
    page.locator("#table-durations .ws-sort").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#table-durations th[aria-sort=ascending]").count() == 1
    page.keyboard.press("Space")
    assert page.locator("#table-durations th[aria-sort=descending]").count() == 1
