"""The wing's notebooks, run as the scheduler runs them, on the demo's own job files and relays."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from workspace_lib import simulators
from workspace_lib.cli import main
from workspace_lib.reclosers.archive import open_archive
from workspace_lib.reclosers.queries import EventFilter, event_files, search
from workspace_lib.reclosers.simulator_main import NAME, SECRET, FleetSimulator, simulator_of
from workspace_lib.settings import Settings, load_settings
from workspace_lib.store.engines import read
from workspace_lib.store.migrate import open_store
from workspace_lib.store.publications import load_published

pytestmark = [pytest.mark.kernel, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def demo(
    repository: Path, make_site: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """A copy of the demo site's reclosers in a folder of its own, with the wing's notebooks."""
    source = repository / "parameters" / "demo"
    content = yaml.safe_load((source / "site.yml").read_text(encoding="utf-8"))
    wings = {"reclosers": content["wings"]["reclosers"]}
    settings = make_site({"timezone": content["timezone"], "wings": wings})
    shutil.copy(source / "reclosers.yml", settings.site_dir)
    for job in (source / "jobs").glob("recloser_*.yml"):
        shutil.copy(job, settings.site_dir / "jobs")
    for notebook in (repository / "notebooks" / "jobs").glob("recloser_*.ipynb"):
        shutil.copy(notebook, settings.notebooks_dir / "jobs")
    monkeypatch.setenv("WORKSPACE_ROOT", str(settings.root))
    open_store(settings, create=True).close()
    return load_settings(settings.site_name)


@pytest.fixture
def simulator(demo: Settings) -> Iterator[FleetSimulator]:
    """The demo's relays on lines as fast as they can be; nothing happens while they are read."""
    running = simulator_of(demo, pace=0)
    endpoint = running.start(speed=0)
    password = endpoint.pop("password")
    simulators.announce(demo, NAME, endpoint, {SECRET: password})
    yield running
    running.stop()


def run(settings: Settings, *arguments: str) -> int:
    return main(["--site", settings.site_name, "run", *arguments])


def published(settings: Settings, name: str) -> Any:
    with open_store(settings, read_only=True) as store:
        return load_published(store, name).data


def test_a_round_over_a_territory_brings_its_events_and_the_analysis_says_what_they_were(
    demo: Settings, simulator: FleetSimulator
) -> None:
    assert run(demo, "recloser_capture_lav", "--set", "commands=[HIS, EVE C]") == 0
    report = published(demo, "reclosers.capture/LAV")
    assert report["outcomes"] == {"done": 4}
    answers = open_archive(demo).root.glob("LAV/LAV-101/answers/*.txt")
    assert {one.stem.partition("_")[2] for one in answers} == {"HIS", "EVE-C"}
    assert published(demo, "reclosers.report_text/LAV").read_text().startswith("Reclosers, run of")
    truth = {
        name: relay.reports("C")
        for name, relay in simulator.truth().relays.items()
        if name.startswith("LAV")
    }
    assert report["totals"]["new"] == sum(len(one) for one in truth.values())
    with open_store(demo, read_only=True) as store, read(store.data) as connection:
        for name, expected in truth.items():
            found = search(connection, EventFilter(reclosers=(name,), state="whole"), limit=500)
            stored = {
                (row.device_time, row.event): next(
                    open_archive(demo).read(one.path, one.sha256)
                    for one in event_files(connection, row.event_id)
                    if one.kind == "cev"
                )
                for row in found
            }
            assert stored == expected
    assert run(demo, "recloser_analysis") == 0
    analysed = published(demo, "reclosers.analysis")
    assert analysed["events"] == report["totals"]["new"]
    assert analysed["trouble"] == ""
    faults = published(demo, "reclosers.disturbances")
    assert set(faults["ced"]) == {"LAV"}
    assert set(faults["patrol"]) <= {"yes", "no", "unknown"}
    health = published(demo, "reclosers.health").set_index("recloser")
    assert set(health.loc[health.index.str.startswith("LAV"), "outcome"]) == {"done"}
    assert len(published(demo, "reclosers.incidents")) >= len(faults)
    assert {"recloser", "incidents", "share"} <= set(published(demo, "reclosers.offenders"))


def test_a_locked_relay_makes_the_round_partial_and_is_named(
    demo: Settings, simulator: FleetSimulator
) -> None:
    [locked] = simulator.truth().locked
    assert run(demo, "recloser_full", "--set", f"reclosers={locked}") == 0
    report = published(demo, "reclosers.capture/full")
    assert report["outcomes"] == {"locked": 1}
    assert locked in report["trouble"]
    assert locked in published(demo, "reclosers.report_csv/full").read_text(encoding="utf-8-sig")
