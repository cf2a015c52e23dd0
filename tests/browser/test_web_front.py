"""The web front in Chromium: gallery, twins, languages, log-in, the API's description."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.settings import Settings
from workspace_lib.store.migrate import open_store
from workspace_lib.views.access import announcement
from workspace_lib.views.twins import make_twins, twin_path
from workspace_lib.web.tokens import create_token

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PATIENCE_MS = 90_000


@dataclass
class Look:
    """A page somebody looks at, what its console said, and every address it asked."""

    page: Any
    artefacts: Path
    errors: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def shot(self, name: str) -> None:
        """Keep a picture of the whole page."""
        self.artefacts.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=self.artefacts / f"front-{name}.png", full_page=True)

    def check_alone(self) -> None:
        """Nothing went wrong on the page and nothing was asked of another machine."""
        assert self.errors == []
        assert self.asked
        hosts = {urlsplit(url).hostname for url in self.asked if not url.startswith("data:")}
        assert hosts <= {"127.0.0.1", None}


@contextmanager
def serving(settings: Settings, **environment: str) -> Iterator[str]:
    """Serve a site's web front in a process of its own; gives its address."""
    words = ["-m", "workspace_lib.cli", "--site", str(settings.site_dir), "web", "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, *words],
        env={**os.environ, "WORKSPACE_ROOT": str(settings.root), **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1].rstrip("/")
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def site(filled: Any) -> Settings:
    """The filled site with its twins made."""
    make_twins(filled.settings)
    settings: Settings = filled.settings
    return settings


@pytest.fixture(scope="module")
def front(site: Settings) -> Iterator[str]:
    """The address of the site's open front."""
    with serving(site) as address:
        yield address


@pytest.fixture
def look(browser: Any, artefacts: Path) -> Iterator[Callable[..., Look]]:
    """Open an address in a fresh profile."""
    contexts = []

    def open_page(address: str, *, width: int = 1440, scheme: str = "light") -> Look:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            timezone_id="Europe/Paris",
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        seen = Look(page, artefacts)
        page.on("request", lambda request: seen.asked.append(request.url))
        page.on("console", lambda m: seen.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.goto(address)
        return seen

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (400, "dark")])
def test_the_gallery_leads_to_a_dashboard(
    look: Callable[..., Look], front: str, width: int, scheme: str
) -> None:
    seen = look(front, width=width, scheme=scheme)
    tile = seen.page.locator(".ws-card", has_text="Rain").first
    assert "Up to date" in tile.inner_text()
    assert "ago" in tile.inner_text() or "min" in tile.inner_text()
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    seen.shot(f"gallery-{width}-{scheme}")
    tile.get_by_role("link", name="Rain").first.click()
    seen.page.wait_for_url("**/d/rain")
    seen.check_alone()


def test_a_twins_chart_is_interactive_without_a_kernel(
    look: Callable[..., Look], front: str
) -> None:
    seen = look(f"{front}/d/rain")
    seen.page.locator(".ws-chart").first.scroll_into_view_if_needed()
    seen.page.wait_for_selector(".ws-chart[data-drawn] .nsewdrag")
    assert seen.page.evaluate("window.hacked") is None
    seen.shot("rain-1440-light")
    assert not [url for url in seen.asked if "kernel" in url]
    seen.check_alone()


def test_a_twins_table_sorts(look: Callable[..., Look], front: str) -> None:
    seen = look(f"{front}/d/runs", scheme="dark")
    table = seen.page.locator("#table-durations")
    head = table.get_by_role("button", name="Typical")
    first = table.locator("tbody tr").first.locator("th")
    head.click()
    assert first.inner_text() == "rain_sums"
    head.click()
    assert first.inner_text() == "recloser_analysis"
    seen.shot("runs-1440-dark")
    seen.check_alone()


def test_a_reader_changes_the_language_and_stays_where_he_is(
    look: Callable[..., Look], front: str
) -> None:
    seen = look(front)
    seen.page.get_by_role("link", name="Français").click()
    seen.page.wait_for_selector("html[lang=fr]")
    assert seen.page.inner_text("h1") == "Tableaux de bord"
    seen.shot("gallery-1440-french")
    seen.page.goto(f"{front}/d/rain")
    assert seen.page.inner_text("h1") == "Pluie"
    seen.page.goto(front)
    seen.page.get_by_role("link", name="English").click()
    seen.page.wait_for_selector("html[lang=en]")
    seen.check_alone()


@pytest.mark.kernel
def test_explore_live_leads_from_a_twin_through_the_log_in_to_the_live_board(
    look: Callable[..., Look], front: str, site: Settings, dashboards: Any
) -> None:
    parts = urlsplit(dashboards.address)
    said = {"host": parts.hostname, "port": parts.port, "pid": dashboards.process.pid}
    announcement(site).write_text(json.dumps(said))
    try:
        seen = look(f"{front}/d/runs")
        page = seen.page
        page.get_by_role("link", name="Explore live").click()
        page.fill("input[name=password]", dashboards.token)
        page.get_by_role("button", name="Enter").click()
        page.wait_for_url("**/voila/render/runs.ipynb?language=en")
        page.wait_for_selector("#runs-gaps-title")
        assert page.inner_text("h1") == "Runs"
        assert page.query_selector(".ws-notice.ws-bad") is None
        assert dashboards.token not in page.url
        seen.check_alone()
    finally:
        announcement(site).unlink()


def test_a_failure_on_a_twin_leads_to_its_notebook_for_who_may_read(
    look: Callable[..., Look], front: str, site: Settings
) -> None:
    with open_store(site) as store:
        token = create_token(store, "reads notebooks", "read", now=SYSTEM_CLOCK.now())
    seen = look(f"{front}/d/runs")
    page = seen.page
    page.locator("#runs-failures").get_by_role("link", name="Open").first.click()
    page.fill("input[name=token]", token)
    page.get_by_role("button", name="Enter").click()
    page.wait_for_url("**/runs/*/notebook")
    assert page.inner_text("h1") == "rain_capture"
    assert page.evaluate("window.hacked") is None
    seen.check_alone()


def test_a_twin_changes_its_language_where_it_is(look: Callable[..., Look], front: str) -> None:
    seen = look(f"{front}/d/runs", width=390)
    seen.page.get_by_role("link", name="Français").click()
    seen.page.wait_for_selector("html[lang=fr]")
    assert seen.page.url == f"{front}/d/runs"
    assert seen.page.inner_text("h1") == "Exécutions"
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390
    seen.shot("runs-390-french")
    seen.check_alone()


def test_a_closed_front_lets_in_whoever_has_a_token_and_out_again(
    look: Callable[..., Look], site: Settings
) -> None:
    with open_store(site) as store:
        token = create_token(store, "browser", "view", now=SYSTEM_CLOCK.now())
    with serving(site, WORKSPACE_WEB__REQUIRE_TOKEN="true") as address:
        seen = look(f"{address}/d/runs")
        page = seen.page
        assert "/login" in page.url
        seen.shot("login-1440-light")
        page.fill("input[name=token]", token)
        page.click("form[action='/login'] button")
        page.wait_for_url("**/d/runs")
        assert page.inner_text("h1") == "Runs"
        assert token not in page.content()
        assert token not in page.evaluate("document.cookie")
        page.goto(address)
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/login**")
        seen.check_alone()


def test_the_api_describes_itself(look: Callable[..., Look], front: str) -> None:
    seen = look(f"{front}/docs")
    seen.page.wait_for_selector(".swagger-ui .opblock")
    assert "/api/v1/publications" in seen.page.inner_text(".swagger-ui")
    seen.shot("api-1440-light")
    seen.check_alone()


def test_a_twin_opens_from_the_disk_as_well(look: Callable[..., Look], site: Settings) -> None:
    seen = look(twin_path(site, "rain", "en").as_uri())
    seen.page.locator(".ws-chart").first.scroll_into_view_if_needed()
    seen.page.wait_for_selector(".ws-chart[data-drawn]")
    assert {urlsplit(url).scheme for url in seen.asked} <= {"file", "data", "blob"}
    assert seen.errors == []
