"""Headless Chromium before a filled site's dashboards; nothing may leave this machine."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: Milliseconds; generous, because a loaded machine starts kernels slowly.
PATIENCE_MS = 90_000


@dataclass
class Visit:
    """A page that somebody looks at, what its console said, and what it asked other machines."""

    page: Page
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def shot(self, folder: Path, name: str) -> None:
        """Keep a picture of the whole page."""
        folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(
            path=folder / f"{re.sub(r'[^a-z0-9]+', '-', name)}.png", full_page=True
        )


@pytest.fixture(scope="session")
def filling(repository: Path) -> ModuleType:
    """The module that fills a site and serves its dashboards."""
    path = repository / "tests" / "views" / "filling.py"
    spec = importlib.util.spec_from_file_location("filling_for_browser", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["filling_for_browser"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def filled(filling: ModuleType, tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Any:
    """A site after ten hours of work that ended just now."""
    return filling.make_filled_site(
        tmp_path_factory.mktemp("plant"),
        repository,
        datetime.now(UTC).replace(second=0, microsecond=0),
    )


@pytest.fixture(scope="session")
def dashboards(
    filling: ModuleType, filled: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """The server of the site's dashboards."""
    with filling.serving(filled.settings, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="session")
def artefacts(repository: Path) -> Path:
    """Folder of pictures that people look at after the tests."""
    return repository / "test-artefacts" / "browser"


@pytest.fixture
def browser(program: Callable[[str], str]) -> Iterator[Browser]:
    """Chromium without a window and with a profile of its own."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program("chromium"), args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def visit(browser: Browser, dashboards: Any) -> Iterator[Callable[..., Visit]]:
    """Open a page of the dashboards as somebody with the token, and wait until it is whole."""
    contexts = []

    def open_page(
        path: str, *, width: int = 1440, scheme: str = "light", server: Any = None
    ) -> Visit:
        target = server or dashboards
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,  # type: ignore[arg-type]
            timezone_id="Europe/Paris",
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        seen = Visit(page)

        def keep_here(route: Any) -> None:
            url = route.request.url
            if urlsplit(url).hostname in ("127.0.0.1", None):
                route.continue_()
            else:
                seen.foreign.append(url)
                route.abort()

        page.route("**/*", keep_here)
        page.on("console", lambda m: seen.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.goto(f"{target.address}?token={target.token}")
        page.goto(target.address.rstrip("/") + path)
        return seen

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def twins(filled: Any) -> Path:
    """Folder of the static twins of every dashboard in each language, NAME.LANGUAGE.html."""
    from workspace_lib.store.alarms import acknowledge, raise_alarm
    from workspace_lib.store.engines import write
    from workspace_lib.store.migrate import open_store
    from workspace_lib.views.twins import make_twins, twin_path

    with open_store(filled.settings) as store, write(store.control) as connection:
        found = raise_alarm(
            connection, "disk", wing="store", severity="critical",
            message="The disk of the outputs is nearly full.", now=filled.now,
        )  # fmt: skip
        acknowledge(connection, found, "Marie", filled.now)
    make_twins(filled.settings)
    return twin_path(filled.settings, "overview", "en").parent
