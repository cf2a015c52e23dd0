"""Every notebook keeps the contract, and every job file gives its notebook what it takes."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workspace_lib.runs.specs import load_jobs
from workspace_lib.settings import load_settings

REPOSITORY = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted(
    path
    for path in (REPOSITORY / "notebooks").glob("**/*.ipynb")
    if ".ipynb_checkpoints" not in path.parts
)
SITES = sorted(path.parent for path in (REPOSITORY / "parameters").glob("*/site.yml"))
Check = Callable[..., list[str]]


def cell(source: str, *tags: str, **more: Any) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "id": f"c{abs(hash((source, tags))) % 10**8}",
        "metadata": {"tags": list(tags)} if tags else {},
        "source": source,
        "outputs": [],
        "execution_count": None,
        **more,
    }


def title(source: str = "# Title\n\nWhat this notebook is for, in a sentence.") -> dict[str, Any]:
    return {"cell_type": "markdown", "id": "title", "metadata": {}, "source": source}


PARAMETERS = cell('gauges: str = "all"  # which gauges', "parameters")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a notebook of these cells."""

    def make(*cells: dict[str, Any], **metadata: Any) -> Path:
        path = tmp_path / "x.ipynb"
        content = {
            "cells": list(cells),
            "metadata": {
                "kernelspec": {"name": "python3", "display_name": "Python 3"},
                **metadata,
            },
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return make


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_notebook_keeps_the_contract(path: Path, breaches: Check) -> None:
    assert breaches(path, job=path.parent.name == "jobs") == []


def test_there_are_notebooks_to_check() -> None:
    assert {"rain_capture", "rain_sums"} <= {path.stem for path in NOTEBOOKS}


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_job_files_name_parameters_that_exist_with_values_of_their_type(site: Path) -> None:
    jobs = load_jobs(load_settings(site))
    assert jobs.problems == ()
    for spec in jobs.specs.values():
        if spec.notebook is None:
            continue
        path = REPOSITORY / "notebooks" / "jobs" / f"{spec.notebook}.ipynb"
        # Read here once more, without the code that has just judged it.
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        tagged = [c for c in cells if "parameters" in c["metadata"].get("tags", [])]
        declared = {
            statement.target.id: ast.unparse(statement.annotation)
            for statement in ast.parse("".join(tagged[0]["source"])).body
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
        }
        for name, value in spec.parameters.items():
            assert name in declared
            if declared[name] in ("int", "str", "bool"):
                assert type(value).__name__ == declared[name]


def test_a_good_notebook_has_no_breach(write: Callable[..., Path], breaches: Check) -> None:
    assert breaches(write(title(), PARAMETERS, cell("1 + 1")), job=True) == []
    assert breaches(write(title(), cell("1 + 1")), job=False) == []


@pytest.mark.parametrize(
    ("cells", "breach"),
    [
        ([PARAMETERS], "does not start with a title"),
        ([title("# Title"), PARAMETERS], "does not say what it is for"),
        ([title()], "0 cells tagged parameters"),
        ([title(), PARAMETERS, cell("a: int = 1  # help", "parameters")], "2 cells tagged"),
        ([title(), cell("gauges = 'all'  # which", "parameters")], "parameter without a type"),
        ([title(), cell("gauges: str = 'all'", "parameters")], "parameter without a comment"),
        ([title(), PARAMETERS, *[cell(f"{n}") for n in range(11)]], "11 code cells"),
        ([title(), PARAMETERS, cell("def f():\n    return 1")], "defines f"),
        ([title(), PARAMETERS, cell("class F:\n    x = 1")], "defines F"),
        ([title(), PARAMETERS, cell("open('x')")], "calls open()"),
        ([title(), PARAMETERS, cell("from pathlib import Path\nPath('x').open()")], "calls open()"),
        ([title(), PARAMETERS, cell("Path('x').write_text('y')")], "calls write_text()"),
        ([title(), PARAMETERS, cell("import socket")], "imports socket"),
        ([title(), PARAMETERS, cell("from urllib.request import urlopen")], "imports urllib"),
        ([title(), PARAMETERS, cell("!ls")], "runs a shell"),
        ([title(), PARAMETERS, cell("1", execution_count=3)], "committed with its outputs"),
        ([title(), PARAMETERS, cell("1", metadata={"papermill": {}})], "keeps metadata"),
        ([title(), PARAMETERS, cell("\n".join(["1"] * 21))], "has 21 lines"),
        ([title(), PARAMETERS, cell("1", id="same"), cell("2", id="same")], "two cells of one id"),
    ],
)
def test_a_breach_is_found(
    write: Callable[..., Path], breaches: Check, cells: list[dict[str, Any]], breach: str
) -> None:
    assert any(breach in found for found in breaches(write(*cells), job=True))


def test_metadata_of_a_run_is_a_breach(write: Callable[..., Path], breaches: Check) -> None:
    path = write(title(), PARAMETERS, papermill={"duration": 3})
    assert any("papermill" in found for found in breaches(path, job=True))
