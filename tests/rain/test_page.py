"""The page on rain says what the code does: codes, windows, keys, publications."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import yaml

from workspace_lib.rain import queries, readers
from workspace_lib.rain.analysis import WINDOWS_S
from workspace_lib.rain.days import KEEP_FIRST
from workspace_lib.rain.policies import POINTED_OUT
from workspace_lib.rain.settings import Gauge


@pytest.fixture
def page(repository: Path) -> str:
    """The text of docs/rain.md."""
    return (repository / "docs" / "rain.md").read_text(encoding="utf-8")


def table(page: str, heading: str) -> list[str]:
    """The first cells of the table below a heading, each ``name`` by itself."""
    section = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_every_code_of_an_issue_is_on_the_page(page: str) -> None:
    of_files = set(re.findall(r'_whole_file\(\s*[\w()]+,\s+"(\w+)"', inspect.getsource(readers)))
    of_files |= {"name_differs"}
    known = of_files | set(queries.BAD_LINES) | set(queries.SET_ASIDE)
    assert len(of_files) == 5
    assert set(table(page, "What a file holds, and what becomes of each line")) == known


def test_every_row_that_is_pointed_out_is_on_the_page(page: str) -> None:
    assert set(table(page, "Odd rows, and what is declared about them")) == set(POINTED_OUT)


def test_every_key_of_a_gauge_is_on_the_page(page: str) -> None:
    assert set(table(page, "The list of gauges")) == set(Gauge.model_fields)


def test_the_example_of_the_page_is_a_list_of_gauges(page: str) -> None:
    example = re.search(r"```yaml\n(.*?)```", page, re.S)
    assert example is not None
    (gauge,) = [Gauge.model_validate(item) for item in yaml.safe_load(example[1])["gauges"]]
    assert [alias.name for alias in gauge.aliases] == ["Hydropol", "ARCHIEST"]


def test_every_publication_of_the_jobs_is_on_the_page(page: str, repository: Path) -> None:
    jobs = repository / "parameters" / "demo" / "jobs"
    published = [
        name
        for path in jobs.glob("rain_*.yml")
        for name in yaml.safe_load(path.read_text(encoding="utf-8"))["publishes"]
    ]
    assert sorted(table(page, "What is published")) == sorted(published)


def test_windows_and_policy_are_named(page: str) -> None:
    assert all(window in page for window in WINDOWS_S)
    assert f"`{KEEP_FIRST}`" in page
