"""The notebooks of products and check, run as the scheduler runs them, on the demo's job files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from workspace_lib.cli import main
from workspace_lib.store.publications import load_published

pytestmark = [pytest.mark.kernel, pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def site(repository: Path, served_site: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A site that may be cleared, with the demo's jobs; its files came in the last hours."""
    settings = served_site.settings
    for name in ("rain_products", "rain_check"):
        shutil.copy(repository / f"parameters/demo/jobs/{name}.yml", settings.site_dir / "jobs")
        shutil.copy(repository / f"notebooks/jobs/{name}.ipynb", settings.notebooks_dir / "jobs")
        path = settings.site_dir / "jobs" / f"{name}.yml"
        lines = path.read_text(encoding="utf-8").splitlines()
        alone = [line for line in lines if not line.startswith("after:")]
        path.write_text("\n".join(alone), encoding="utf-8")
    served_site.configure(allow_delete=True, trash_folder="trash")
    monkeypatch.setenv("WORKSPACE_ROOT", str(settings.root))
    served_site.now = datetime.now(UTC)
    start = served_site.now.replace(second=0, microsecond=0) - timedelta(hours=6)
    for gauge in ("Hydropolis", "Polytech"):
        served_site.deliver(gauge, start, *[0, 1, 2] * 100)
    served_site.capture()
    served_site.calibrate()
    return served_site


@pytest.fixture
def run(site: Any) -> Callable[..., tuple[int, Any]]:
    """Run a job with other parameters; return its exit status and what it published."""

    def run_it(job: str, name: str, *changes: str) -> tuple[int, Any]:
        options = [word for change in changes for word in ("--set", change)]
        status = main(["--site", site.settings.site_name, "run", job, *options])
        return status, load_published(site.store, name).data

    return run_it


def test_products_are_made_sent_and_published_and_then_the_raw_files_go(
    site: Any, run: Callable[..., tuple[int, Any]]
) -> None:
    status, report = run("rain_products", "rain.products", "clear=false")
    assert status == 0
    assert report["complete"]
    assert report["made"] == report["sent"] == len(site.files("products")) > 0
    assert len(site.raw_files()) == 2
    status, report = run("rain_products", "rain.products")
    assert (status, report["made"]) == (0, 0)
    assert report["clearing"] == {
        "allowed": True,
        "moved": 2,
        "removed": 0,
        "kept": 0,
        "why_kept": {},
    }
    assert site.raw_files() == set()
    status, report = run("rain_products", "rain.products", "rebuild=true")
    assert (status, report["made"]) == (0, len(site.files("products")))


def test_the_check_publishes_what_is_wrong(site: Any, run: Callable[..., tuple[int, Any]]) -> None:
    site.products()
    status, report = run("rain_check", "rain.check", "tolerated=0.99")
    assert (status, report["sound"], report["trouble"]) == (0, True, "")
    lost = next(path for path in site.files("products") if path.endswith(".npz"))
    site.tree.remove(f"/products/{lost}")
    status, report = run("rain_check", "rain.check", "tolerated=0.99")
    assert (status, report["sound"]) == (0, False)
    assert "Yearly files gone from the server: 1" in report["trouble"]
