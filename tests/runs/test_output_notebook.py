"""An output notebook that papermill could not finish says so afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from workspace_lib.runs.output_notebook import count_cells, mark_stopped


def write_states(path: Path, *states: str, end: str | None = None) -> None:
    cells = [new_code_cell("1", metadata={"papermill": {"status": state}}) for state in states]
    metadata = {"papermill": {"end_time": end, "exception": None}}
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)


def test_the_running_cell_is_marked_and_later_ones_stay_pending(tmp_path: Path) -> None:
    path = tmp_path / "output.ipynb"
    write_states(path, "completed", "running", "pending")
    mark_stopped(path, tmp_path / "none.ipynb", "It ran longer than 60 s.")
    notebook = nbformat.read(path, 4)
    assert count_cells(path) == {"completed": 1, "failed": 1, "pending": 1}
    assert notebook.metadata.papermill.exception is True
    assert notebook.cells[1].outputs[0].evalue == "It ran longer than 60 s."
    nbformat.validate(notebook)


def test_one_that_has_an_end_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "output.ipynb"
    write_states(path, "completed", end="2026-03-01T12:00:00+00:00")
    before = path.read_bytes()
    mark_stopped(path, tmp_path / "none.ipynb", "late")
    assert path.read_bytes() == before


def test_where_none_was_saved_it_is_made_from_the_notebook(tmp_path: Path) -> None:
    source = tmp_path / "job.ipynb"
    cells = [new_markdown_cell("# Title"), new_code_cell("1", execution_count=3)]
    nbformat.write(new_notebook(cells=cells), source)
    output = tmp_path / "run" / "output.ipynb"
    mark_stopped(output, source, "It could not begin.")
    assert count_cells(output) == {"pending": 2}
    content = json.loads(output.read_text())
    assert content["cells"][1]["execution_count"] is None
    assert content["metadata"]["papermill"]["message"] == "It could not begin."
    nbformat.validate(nbformat.read(output, 4))


def test_even_without_a_readable_notebook_there_is_one(tmp_path: Path) -> None:
    output = tmp_path / "output.ipynb"
    mark_stopped(output, tmp_path / "none.ipynb", "The notebook does not exist.")
    nbformat.validate(nbformat.read(output, 4))
