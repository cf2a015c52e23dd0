"""Marking the output notebook of a run whose papermill could not do it itself any more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workspace_lib import secrets
from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.files import atomic_write


def mark_stopped(output: Path, source: Path, message: str) -> None:
    """Mark the cell that was running as failed, with ``message``; later ones stay pending.

    Where the run ended before it had saved anything the output is made from ``source``, so that
    there always is one. A notebook that has an end already is left alone.
    """
    notebook = _read(output)
    if notebook is None:
        notebook = _blank(source)
    metadata = notebook["metadata"].setdefault("papermill", {})
    if metadata.get("end_time"):
        return
    cells = notebook["cells"]
    running = [cell for cell in cells if _status(cell) == "running"]
    for cell in running:
        cell["metadata"]["papermill"].update(status="failed", exception=True, message=message)
        if cell["cell_type"] == "code":
            cell["outputs"].append(_error(message))
    metadata["exception"] = True
    metadata["end_time"] = SYSTEM_CLOCK.now().isoformat()
    metadata["message"] = message
    content = json.dumps(secrets.redact_tree(notebook), indent=1, ensure_ascii=False) + "\n"
    atomic_write(output, content.encode("utf-8"))


def count_cells(output: Path) -> dict[str, int]:
    """Return how many cells of an output notebook are in which state."""
    counts: dict[str, int] = {}
    for cell in (_read(output) or {"cells": []})["cells"]:
        if status := _status(cell):
            counts[status] = counts.get(status, 0) + 1
    return counts


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return content


def _blank(source: Path) -> dict[str, Any]:
    notebook = _read(source)
    if notebook is None:
        notebook = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    for cell in notebook["cells"]:
        cell.setdefault("metadata", {})["papermill"] = {"status": "pending", "exception": None}
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    return notebook


def _status(cell: dict[str, Any]) -> str | None:
    status: str | None = cell.get("metadata", {}).get("papermill", {}).get("status")
    return status


def _error(message: str) -> dict[str, Any]:
    return {
        "output_type": "error",
        "ename": "RunStopped",
        "evalue": message,
        "traceback": [f"RunStopped: {message}"],
    }
