"""The examples run from top to bottom on a site that has worked for a while."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import papermill
import pytest

from workspace_lib.runs.engine import ENGINE_NAME, register_engine

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def load_filling(repository: Path) -> ModuleType:
    path = repository / "tests" / "views" / "filling.py"
    spec = importlib.util.spec_from_file_location("filling_for_examples", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["filling_for_examples"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def filled(repository: Path, tmp_path: Path) -> Any:
    """A site after ten hours of work that ended just now."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    return load_filling(repository).make_filled_site(tmp_path / "site", repository, now)


@pytest.fixture
def execute(filled: Any, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run an example in a kernel and return what its cells show, as text and as HTML."""
    monkeypatch.setenv("WORKSPACE_ROOT", str(filled.settings.root))
    monkeypatch.setenv("WORKSPACE_SITE", str(filled.settings.site_dir))

    register_engine()

    def run(name: str, **parameters: object) -> dict[str, str]:
        path = tmp_path / f"{name}.ipynb"
        shutil.copy(repository / "notebooks" / "examples" / path.name, path)
        book = papermill.execute_notebook(
            path,
            tmp_path / "out.ipynb",
            parameters,
            # Its kernels have no ports that another test could take before them.
            engine_name=ENGINE_NAME,
            kernel_name="python3",
            progress_bar=False,
        )
        shown = {}
        for cell in book.cells:
            outputs = cell.get("outputs", [])
            data = [
                output.get("data", {"text/plain": output.get("text", "")}) for output in outputs
            ]
            shown[cell["id"]] = "\n".join(str(value) for one in data for value in one.values())
        return shown

    return run


def test_rain_by_hand_reads_what_was_published_and_tells_missing_from_dry(
    execute: Any, filled: Any
) -> None:
    shown = execute("rain_by_hand", gauge="mse", days=1.0)
    assert filled.last_run in shown["open"]
    assert "100.0" in shown["missing"]  # the silent gauge's last five minutes
    assert "image/png" in shown["chart"] or len(shown["chart"]) > 5000
    assert "guess_mm" in shown["bound"]
    assert "corrected_pct" in shown["corrected"]
    assert "1 × " in shown["matrix"]
    assert "P72h" in shown["largest"]


def test_reclosers_by_hand_opens_compares_and_exports_an_event(execute: Any) -> None:
    shown = execute("reclosers_by_hand")
    assert "permanent" in shown["incidents"]
    assert "LAV-102" in shown["record"]
    for drawn in ("record", "phasors", "compare"):
        assert len(shown[drawn]) > 5000, drawn
    assert "magnitude" in shown["compared"]
    assert "takagi" in shown["distance"]
    assert "samples of 12 channels and 104 bits" in shown["comtrade"]
    assert "VAY" in shown["check"]


def test_the_style_guide_shows_every_block_and_each_of_the_five_states(execute: Any) -> None:
    shown = execute("style_guide")
    page = "\n".join(shown.values())
    for block in (
        "ws-head", "ws-asof", "ws-badge", "ws-card", "ws-panel", "ws-how", "ws-notice", "ws-tabs",
        "ws-table", "ws-filter", "ws-csv", "ws-xlsx", "ws-strip", "ws-spark", "ws-bar", "ws-chart",
        "ws-legend", "ws-map", "ws-between", "ws-phasors", "ws-event",
    ):  # fmt: skip
        assert f'class="{block}' in page, block
    for state in ("ws-empty", "ws-loading", "ws-panel is-stale", "ws-notice ws-bad", "ws-partial"):
        assert state in shown["panels-all"], state
    assert "told to the log only" not in page
