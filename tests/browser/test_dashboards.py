"""Each dashboard in Chromium: whole, readable, reacting, and alone with this machine."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest

from workspace_lib.views.texts import Texts

pytestmark = [pytest.mark.browser, pytest.mark.kernel, pytest.mark.slow]

Visit = Any
LOOKS = [
    ("rain", 1440, "light"),
    ("rain", 400, "dark"),
    ("runs", 1440, "dark"),
    ("runs", 400, "light"),
    ("runs", 2560, "light"),
    ("reclosers", 1440, "dark"),
]


def check_alone(seen: Visit) -> None:
    assert seen.foreign == []
    assert seen.errors == []


@pytest.mark.parametrize(("board", "width", "scheme"), LOOKS, ids=[f"{b}-{w}" for b, w, _ in LOOKS])
def test_a_dashboard_is_whole_at_every_width(
    visit: Callable[..., Visit],
    filled: Any,
    artefacts: Path,
    repository: Path,
    board: str,
    width: int,
    scheme: str,
) -> None:
    seen = visit(f"/{board}", width=width, scheme=scheme)
    page = seen.page
    if board == "rain":
        page.wait_for_selector(".ws-chart[data-drawn]")
        assert filled.last_run in page.inner_text(".ws-asof")
    assert "Scheduler seen" in page.inner_text(".ws-asof")
    # One fault of the last day needs a patrol; nothing else is bad.
    patrols = 1 if board == "reclosers" else 0
    assert page.locator(".ws-notice.ws-bad").count() == patrols
    assert page.query_selector("#ws-progress") is None
    # Wider than the screen is only what scrolls by itself.
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("window.hacked") is None
    seen.shot(artefacts, f"{board}-{width}-{scheme}")
    page.add_script_tag(path=repository / "tests" / "browser" / "vendor" / "axe.min.js")
    found = page.evaluate(
        "async () => (await axe.run()).violations.map(v => [v.id, v.impact,"
        " v.nodes.map(n => n.html.slice(0, 160))])"
    )
    assert [one for one in found if one[1] in ("serious", "critical")] == []
    check_alone(seen)


def test_the_drawing_is_there_before_the_interactive_chart_and_without_it(
    visit: Callable[..., Visit], dashboards: Any
) -> None:
    seen = visit("/runs")
    seen.page.route("**/plotly.min.js*", lambda route: route.abort())
    seen.page.goto(dashboards.address + "rain")
    seen.page.wait_for_timeout(500)
    assert seen.page.is_visible(".ws-draw.ws-wide")
    assert not seen.page.is_visible(".ws-plot")
    assert seen.foreign == []


def test_a_chart_zooms_into_a_stretch_of_time(visit: Callable[..., Visit]) -> None:
    seen = visit("/rain")
    page = seen.page
    page.wait_for_selector(".ws-chart[data-drawn] .nsewdrag")
    page.locator(".ws-chart").first.scroll_into_view_if_needed()
    before = page.evaluate("document.querySelector('.ws-plot').layout.xaxis.range")
    box = page.locator(".ws-plot .nsewdrag").nth(1).bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 200, y)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, y, steps=4)
    page.mouse.move(box["x"] + 420, y, steps=4)
    page.mouse.up()
    page.wait_for_function(
        "before => document.querySelector('.ws-plot').layout.xaxis.range[0] !== before",
        arg=before[0],
    )
    check_alone(seen)


def test_a_table_sorts_by_a_click_and_again_the_other_way(visit: Callable[..., Visit]) -> None:
    page = visit("/runs").page
    table = page.locator("#table-durations")
    head = table.get_by_role("button", name="Typical")
    first = table.locator("tbody tr").first.locator("th")
    head.click()
    assert first.inner_text() == "rain_sums"
    head.click()
    assert first.inner_text() == "recloser_analysis"
    assert table.locator("th[aria-sort=descending]").count() == 1


def test_an_open_page_notices_that_its_data_went_stale(
    visit: Callable[..., Visit], dashboards: Any
) -> None:
    page = visit("/runs").page
    page.clock.install()
    page.goto(dashboards.address + "rain")
    assert not page.is_visible(".ws-is-stale >> nth=0")
    page.clock.fast_forward("02:00:00")
    page.wait_for_selector(".ws-is-stale >> nth=0", state="visible")
    assert "2 h" in page.inner_text(".ws-asof time[data-ago] >> nth=0")


def test_a_french_site_speaks_french(
    filling: ModuleType,
    filled: Any,
    visit: Callable[..., Visit],
    artefacts: Path,
    tmp_path: Path,
) -> None:
    with filling.serving(filled.settings, tmp_path, WORKSPACE_LANGUAGE="fr") as server:
        seen = visit("/rain", server=server)
        seen.page.wait_for_selector(".ws-chart[data-drawn]")
        assert seen.page.inner_text("h1") == "Pluie"
        assert seen.page.get_attribute("html", "lang") == "fr"
        texts = Texts("fr", filled.settings.zone)
        days = [texts.date(filled.now - timedelta(days=n), year=False) for n in range(1, 9)]
        assert any(day in seen.page.inner_text(".ws-plot") for day in days)
        seen.shot(artefacts, "rain-1440-french")
        check_alone(seen)


def test_a_page_with_widgets_reacts_and_stays_on_this_machine(
    filled: Any, visit: Callable[..., Visit], artefacts: Path
) -> None:
    book = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(
                "import ipywidgets\n"
                "slider = ipywidgets.IntSlider(3, description='days')\n"
                "shown = ipywidgets.HTML('3 days')\n"
                "def tell(change):\n    shown.value = f'{change.new} days'\n"
                "slider.observe(tell, 'value')\n"
                "ipywidgets.VBox([slider, shown])"
            )
        ]
    )
    path = filled.settings.notebooks_dir / "dashboards" / "widgets.ipynb"
    path.write_text(nbformat.writes(book))
    try:
        seen = visit("/widgets", scheme="dark")
        handle = seen.page.wait_for_selector(".noUi-handle")
        assert handle is not None
        handle.focus()
        seen.page.keyboard.press("ArrowRight")
        seen.page.wait_for_function("document.body.innerText.includes('4 days')")
        seen.shot(artefacts, "widgets-dark")
        check_alone(seen)
    finally:
        path.unlink()
