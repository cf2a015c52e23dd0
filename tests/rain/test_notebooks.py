"""The wing's notebooks, run as the scheduler runs them, on the demo's own job files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from workspace_lib import simulators
from workspace_lib.cli import main
from workspace_lib.rain.simulator import NAME, SECRET, GaugeTruth, RainSimulator, simulator_of
from workspace_lib.settings import Settings, load_settings
from workspace_lib.store.migrate import open_store
from workspace_lib.store.publications import load_published
from workspace_lib.transports.memory_ftp import MemoryFtp

pytestmark = [pytest.mark.kernel, pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(600)]

DAYS = 2


@pytest.fixture
def demo(
    repository: Path, make_site: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """A copy of the demo site's rain in a folder of its own, with the wing's notebooks."""
    source = repository / "parameters" / "demo"
    content = yaml.safe_load((source / "site.yml").read_text(encoding="utf-8"))
    settings = make_site({key: content[key] for key in ("timezone", "sources", "wings")})
    for name in ("gauges.yml", "calibrations.yml"):
        shutil.copy(source / name, settings.site_dir)
    for job in (source / "jobs").glob("rain_*.yml"):
        shutil.copy(job, settings.site_dir / "jobs")
        notebook = repository / "notebooks" / "jobs" / f"{job.stem}.ipynb"
        shutil.copy(notebook, settings.notebooks_dir / "jobs")
    monkeypatch.setenv("WORKSPACE_ROOT", str(settings.root))
    open_store(settings, create=True).close()
    return load_settings(settings.site_name)


@pytest.fixture
def simulator(demo: Settings) -> Iterator[RainSimulator]:
    """The demo's simulator with two days of files, standing still."""
    pytest.importorskip("pyftpdlib")
    running = simulator_of(demo, days=DAYS, seed=5)
    endpoint = running.start(speed=0)
    password = endpoint.pop("password")
    simulators.announce(demo, NAME, endpoint, {SECRET: password})
    yield running
    running.stop()


def run(settings: Settings, *arguments: str) -> int:
    return main(["--site", settings.site_name, "run", *arguments])


def published(settings: Settings, name: str) -> Any:
    with open_store(settings, read_only=True) as store:
        found = load_published(store, name)
        return found, found.data


def depths(truth: GaugeTruth) -> np.ndarray:
    """What the demo's calibration makes of each row [mm], computed here once more."""
    pause = np.diff(truth.stamps, prepend=0)
    seconds = np.where((pause >= 30) & (pause <= 90), pause, 60)
    x = truth.tips * 60 / seconds
    return 0.2 * (0.0008 * x**2 + 1.0761 * x) * seconds / 60


def test_the_chain_publishes_what_was_delivered_and_calibrated(
    demo: Settings, simulator: RainSimulator
) -> None:
    assert run(demo, "rain_copy") == 0
    assert run(demo, "rain_capture") == 0
    truth = simulator.truth()
    _, report = published(demo, "rain.capture")
    # The newest files may still be growing; they wait for the next run.
    _, copied = published(demo, "rain.copy")
    taken = sum(one["fetched"] + one["waiting"] for one in (copied, report))
    assert taken == truth.files
    assert report["rows"] > 0.9 * sum(len(gauge.stamps) for gauge in truth.gauges.values())
    assert run(demo, "rain_calibration") == 0
    _, calibrated = published(demo, "rain.calibration")
    assert calibrated["days"] == 3 * (DAYS + 1)
    assert (calibrated["trouble"], calibrated["new_records"]) == ("", 3)
    _, table = published(demo, "rain.calibrations")
    assert set(table["formula"]) == {"y = 0.0008 x² + 1.0761 x"}
    assert set(table["x"]) == {"tips/min"}
    assert published(demo, "rain.calibration_curves")[0].kind == "figure"
    assert run(demo, "rain_sums", "--set", "days=3") == 0
    found, sums = published(demo, "rain.sums")
    assert found.unit["rain_mm"] == "mm"
    assert not found.stale
    assert datetime.now(UTC) - timedelta(hours=1) < found.as_of <= datetime.now(UTC)
    until = found.as_of.timestamp()
    for gauge, expected in truth.gauges.items():
        row = sums[(sums["gauge"] == gauge) & (sums["window"] == "P24h")].iloc[0]
        inside = (expected.stamps > until - 86_400) & (expected.stamps <= until)
        assert row["tips"] == expected.tips[inside].sum()
        assert row["rain_mm"] == pytest.approx(depths(expected)[inside].sum())
    _, totals = published(demo, "rain.totals")
    captured = {gauge: truth.gauges[gauge].stamps <= until for gauge in truth.gauges}
    assert totals.set_index("gauge")["tips"].to_dict() == {
        gauge: expected.tips[captured[gauge]].sum() for gauge, expected in truth.gauges.items()
    }
    assert (totals["missing_share"] > 0.3).all()
    _, monthly = published(demo, "rain.monthly")
    _, cumulative = published(demo, "rain.cumulative")
    _, maxima = published(demo, "rain.maxima")
    of_all = totals.set_index("gauge")["tips"]
    assert monthly.groupby("gauge")["tips"].sum().equals(of_all.sort_index())
    ends = cumulative.groupby(["gauge", "year"])["tips"].last()
    assert ends.groupby("gauge").sum().equals(of_all.sort_index())
    assert len(maxima) == 3 * 2 * 11
    assert maxima["uncalibrated_tips"].sum() == 0
    figure, chart = published(demo, "rain.hyetograph")
    assert figure.kind == "figure"
    assert len(chart.data) == 9
    assert chart.layout.yaxis.title.text == "Rain [mm per 15 min]"
    assert published(demo, "rain.hyetograph_print")[1].startswith(b"\x89PNG")
    assert len(published(demo, "rain.gauges")[1]) == 3
    assert len(published(demo, "rain.completeness")[1]) == 9
    assert simulators.secret(demo, SECRET) is not None
    for output in (demo.outputs_dir / "runs").glob("**/*.ipynb"):
        assert simulators.secret(demo, SECRET) not in output.read_text(encoding="utf-8")


def test_the_real_files_go_through_the_same_jobs(demo: Settings, real_data: Path) -> None:
    pytest.importorskip("pyftpdlib")
    server = MemoryFtp("gauges")
    for path in sorted((real_data / "rain/hsm").glob("*.txt")):
        server.tree.put(
            f"divers/copiePluvio/Hydropolis/{path.name}", path.read_bytes(), 1_677_630_000
        )
    endpoint = server.start()
    try:
        password = endpoint.pop("password")
        simulators.announce(demo, NAME, endpoint, {SECRET: password})
        assert run(demo, "rain_capture") == 0
    finally:
        server.stop()
    assert run(demo, "rain_calibration") == 0
    # A slot that is run again ends at its slot.
    assert run(demo, "rain_sums", "--slot", "2023-03-01T00:08:30Z") == 0
    assert published(demo, "rain.totals")[0].as_of == datetime(2023, 3, 1, 0, 8, tzinfo=UTC)
    assert run(demo, "rain_sums") == 0
    _, report = published(demo, "rain.capture")
    assert (report["fetched"], report["rows"]) == (2, 10)
    found, totals = published(demo, "rain.totals")
    row = totals.set_index("gauge").loc["hydropolis"]
    assert (row["tips"], row["rain_mm"]) == (0, 0.0)
    # Ten minutes of the ten days that the sums look back.
    assert row["missing_share"] == pytest.approx(1 - 10 / (10 * 1440))
    assert found.as_of == datetime(2023, 3, 1, 0, 13, tzinfo=UTC)


def test_a_source_that_does_not_answer_fails_the_run_by_its_cause(
    demo: Settings, simulator: RainSimulator, capsys: pytest.CaptureFixture[str]
) -> None:
    simulator.stop()
    job = demo.site_dir / "jobs" / "rain_capture.yml"
    content = yaml.safe_load(job.read_text(encoding="utf-8"))
    content["retries"] = {"attempts": 1}
    job.write_text(yaml.safe_dump(content), encoding="utf-8")
    site = demo.site_dir / "site.yml"
    settings = yaml.safe_load(site.read_text(encoding="utf-8"))
    settings["sources"]["rain"] |= {"attempts": 1, "wait_s": 0, "connect_timeout_s": 5}
    site.write_text(yaml.safe_dump(settings), encoding="utf-8")
    assert run(demo, "rain_capture") == 1
    capsys.readouterr()
    main(["--site", demo.site_name, "runs", "--json"])
    (last,) = json.loads(capsys.readouterr().out)["runs"]
    assert (last["state"], last["cause"]) == ("failed", "source_unavailable")


def test_calibrating_nothing_is_no_fault_and_shows_what_is_in_force(demo: Settings) -> None:
    assert run(demo, "rain_calibration", "--set", "rebuild=true") == 0
    assert published(demo, "rain.calibration")[1]["days"] == 0
    assert len(published(demo, "rain.calibrations")[1]) == 3


def test_sums_without_data_say_what_to_do(
    demo: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(demo, "rain_sums") == 1
    out = "".join(capsys.readouterr())
    assert "no rain data" in out
