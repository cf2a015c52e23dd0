"""A twin is one file with everything in it, made of the dashboard's own notebook."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from workspace_lib.clock import FakeClock
from workspace_lib.errors import ParameterError
from workspace_lib.settings import Settings
from workspace_lib.store.engines import write
from workspace_lib.store.migrate import open_store
from workspace_lib.store.publications import publish_run, record, write_artefact
from workspace_lib.views.board import SNAPSHOT_FRESH
from workspace_lib.views.twins import LANGUAGES, find_twin, make_twins, render, twin_path

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CODE = """
from workspace_lib.views.board import open_board
from workspace_lib.views.html import tag
board = open_board("probe", language="")
board.header("rain.total")
"""


@pytest.fixture
def site(make_site: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A site with one dashboard, `probe`, and one publication, `rain.total`."""
    settings = make_site()
    monkeypatch.setitem(_messages("en"), "board.probe", "Probe")
    monkeypatch.setitem(_messages("fr"), "board.probe", "Sonde")
    with open_store(settings, create=True) as store:
        folder = store.outputs / "runs" / "r" / "1" / "artefacts"
        artefact = write_artefact(
            store.outputs, "rain.total", 7, run_id="r", attempt=1, folder=folder, as_of=NOW
        )
        with write(store.control) as connection:
            record(connection, artefact, NOW, fresh_for_s=600)
            publish_run(connection, "r", 1, NOW)
    add_dashboard(settings, CODE, 'tag("p", str(board.published("rain.total").data), " < 8 mm")')
    return settings


def _messages(language: str) -> dict[str, str]:
    from workspace_lib.views.messages import MESSAGES

    messages = MESSAGES[language]
    assert isinstance(messages, dict)
    return messages


def add_dashboard(settings: Settings, *sources: str, name: str = "probe") -> Path:
    """Write a dashboard's notebook with these cells."""
    cells = [{"cell_type": "code", "metadata": {}, "source": source} for source in sources]
    path = settings.notebooks_dir / "dashboards" / f"{name}.ipynb"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}})
    )
    return path


def test_a_twin_shows_what_the_notebook_shows(site: Settings) -> None:
    html, twin = render(site, "probe", language="en", clock=FakeClock(NOW))
    assert "7 &lt; 8 mm" in html
    assert "<h1>Probe</h1>" in html
    assert (twin.as_of, twin.stale_at) == ("2026-11-20T12:00:00Z", "2026-11-20T12:10:00Z")


def test_a_twin_fetches_nothing(site: Settings) -> None:
    html, _ = render(site, "probe", language="en")
    fetched = re.findall(r"""(?:src|srcset|action|data-src)=["']?([^"'\s>]+)""", html)
    fetched += re.findall(r"<link[^>]*href=[\"']?([^\"'\s>]+)", html)
    fetched += re.findall(r"url\(['\"]?([^)'\"]+)", html)
    assert [address for address in fetched if not address.startswith(("data:", "#"))] == []


def test_each_language_has_its_own(site: Settings) -> None:
    made = make_twins(site, clock=FakeClock(NOW))
    assert {(twin.language, twin.title) for twin in made} == {("en", "Probe"), ("fr", "Sonde")}
    for language in LANGUAGES:
        html = twin_path(site, "probe", language).read_text()
        assert f'<html lang="{language}">' in html


def test_what_is_known_of_a_twin_is_found_again_and_its_packed_form_is_equal(
    site: Settings,
) -> None:
    made = make_twins(site, ["probe"])
    assert find_twin(site, "probe", "en") == next(t for t in made if t.language == "en")
    path = twin_path(site, "probe", "en")
    assert gzip.decompress(path.with_suffix(".html.gz").read_bytes()) == path.read_bytes()
    assert find_twin(site, "absent", "en") is None


def test_what_a_board_read_itself_is_as_old_as_its_twin_and_goes_stale(site: Settings) -> None:
    add_dashboard(site, CODE.replace('board.header("rain.total")', "board.header()"))
    html, twin = render(site, "probe", language="en", clock=FakeClock(NOW))
    assert (twin.as_of, twin.stale_at) == (None, "2026-11-20T12:15:00Z")
    line = re.search(r'<div class="ws-asof".*?</div>', html)
    assert line is not None
    assert 'data-until="2026-11-20T12:15:00Z"' in line[0]
    assert "Stale" in line[0]


def test_the_job_that_makes_twins_counts_them_fresh_as_long_as_the_twins_themselves(
    repository: Path,
) -> None:
    job = yaml.safe_load((repository / "parameters/demo/jobs/dashboard_twins.yml").read_text())
    assert timedelta(minutes=int(job["fresh_for"].removesuffix("m"))) == SNAPSHOT_FRESH


def test_a_twin_leads_to_the_live_board_and_to_the_other_language(site: Settings) -> None:
    html, _ = render(site, "probe", language="fr")
    bar = html.split("<main")[0]
    assert 'href="/live/probe"' in bar
    assert '<a href="/language/en" lang="en"' in bar
    assert 'href="/language/fr"' not in bar


def test_an_error_in_a_cell_is_a_sentence_and_what_stands_above_stays(site: Settings) -> None:
    add_dashboard(site, CODE, "1 / 0", 'tag("p", "after")')
    html, _ = render(site, "probe", language="en")
    assert "<h1>Probe</h1>" in html
    assert "Traceback" not in html
    assert "after</p>" not in html


def test_an_unknown_dashboard_is_refused_with_the_known_ones(site: Settings) -> None:
    with pytest.raises(ParameterError, match="Known: probe"):
        render(site, "absent", language="en")


def test_only_a_page_with_charts_carries_the_chart_library(site: Settings) -> None:
    plain, _ = render(site, "probe", language="en")
    assert "ws-plotly-library" not in plain.split("<main")[1]
    figure = (
        "from workspace_lib.views.html import Html\nHtml('<script class=\"ws-figure\"></script>')"
    )
    add_dashboard(site, CODE, figure)
    with_chart, _ = render(site, "probe", language="en")
    assert 'id="ws-plotly-library"' in with_chart
