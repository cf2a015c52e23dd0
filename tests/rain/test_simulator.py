"""The rain simulator: an FTP server that fills itself, announced to its site while it runs."""

from __future__ import annotations

import ftplib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from workspace_lib import simulators
from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.errors import ConfigError
from workspace_lib.rain.simulator import NAME, SECRET, RainSimulator, SimulatedGauge, simulator_of
from workspace_lib.settings import Settings

pytestmark = pytest.mark.server

START = datetime(2026, 11, 1, tzinfo=UTC)
GAUGES = [SimulatedGauge("hydropolis", "Hydropolis", "Hydropolis", "ARCHIEST")]
DEADLINE_S = 60.0


@pytest.fixture
def simulator() -> Iterator[RainSimulator]:
    """A tenth of a day of one gauge."""
    pytest.importorskip("pyftpdlib")
    made = RainSimulator(GAUGES, START, 0.1, faults=())
    yield made
    made.stop()


@pytest.fixture
def site(make_site: Callable[..., Settings]) -> Settings:
    """A site with one gauge and a simulated source."""
    source = {"host": "simulator://rain", "user": "loggers", "password": f"secret://{SECRET}"}
    settings = make_site({"sources": {"rain": source}})
    (settings.site_dir / "gauges.yml").write_text(
        "gauges: [{id: mse, name: Mse, folder: divers/Mse}]", encoding="utf-8"
    )
    return settings


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.05)


def test_a_client_finds_the_files_of_the_past(simulator: RainSimulator) -> None:
    endpoint = simulator.start(speed=0)
    with ftplib.FTP(timeout=30) as ftp:
        ftp.connect(endpoint["host"], endpoint["port"])
        ftp.login(endpoint["user"], endpoint["password"])
        names = [name for name, _ in ftp.mlsd("/Hydropolis")]
    assert names[0] == "Hydropol_011126_000400.txt"
    assert len(names) == simulator.truth().files == 28


def test_a_gauge_to_be_copied_delivers_into_the_base_folder(
    make_site: Callable[..., Settings],
) -> None:
    where = {"host": "simulator://rain"}
    settings = make_site(
        {
            "sources": {"rain": {**where, "folder": "/to"}, "base": {**where, "folder": "/from"}},
            "wings": {"rain": {"copy_from": "base"}},
        }
    )
    (settings.site_dir / "gauges.yml").write_text(
        "gauges:\n"
        "  - {id: mse, name: Mse, folder: Mse, delivery: copied, base_folder: MSE}\n"
        "  - {id: um, name: UM, folder: UM}\n",
        encoding="utf-8",
    )
    made = simulator_of(settings, days=2)
    made.advance_to(SYSTEM_CLOCK.now())
    counted = Counter(path.rpartition("/")[0] for path in made.tree.files())
    assert set(counted) == {"/from/MSE", "/to/Mse", "/to/UM"}
    assert 250 < counted["/from/MSE"] < 300
    assert 250 < counted["/to/Mse"] < 300
    assert counted.total() == made.truth().files


def test_running_loggers_go_on_writing(simulator: RainSimulator) -> None:
    simulator.start(speed=3600)
    wait_for(lambda: simulator.truth().files > 28, "a further file")
    truth = simulator.truth().gauges["hydropolis"]
    assert len(truth.stamps) == len(set(truth.stamps.tolist()))


def test_moving_on_twice_to_one_instant_delivers_once(simulator: RainSimulator) -> None:
    simulator.start(speed=0)
    moment = START + timedelta(days=0.2)
    assert simulator.advance_to(moment) > 0
    assert simulator.advance_to(moment) == 0
    assert simulator.truth().files == len(simulator.tree.files())


def test_it_cannot_be_started_twice(simulator: RainSimulator) -> None:
    simulator.start(speed=0)
    with pytest.raises(ConfigError, match="runs already"):
        simulator.start()


def test_it_plays_the_gauges_of_a_site(site: Settings) -> None:
    simulator = simulator_of(site, days=0.05)
    endpoint = simulator.start(speed=0)
    simulator.stop()
    assert endpoint["user"] == "loggers"
    paths = list(simulator.tree.files())
    assert paths
    assert all(path.startswith("/divers/Mse/Mse_") for path in paths)


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no SIGTERM to handle")
def test_its_process_announces_itself_and_withdraws_when_told_to_stop(site: Settings) -> None:
    environment = os.environ | {"WORKSPACE_ROOT": str(site.root)}
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "workspace_lib.rain.simulator",
            "--site",
            site.site_name,
            "--days",
            "0.1",
        ],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("rain simulator: ftp://127.0.0.1:")
        endpoint = simulators.endpoint(site, NAME)
        password = simulators.secret(site, SECRET)
        assert password is not None
        assert password not in str(endpoint)
        with ftplib.FTP(timeout=30) as ftp:
            ftp.connect(endpoint["host"], endpoint["port"])
            ftp.login(endpoint["user"], password)
            assert ftp.nlst("/divers") == ["Mse"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=DEADLINE_S) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    with pytest.raises(ConfigError, match="No simulator"):
        simulators.endpoint(site, NAME)


def test_a_production_site_takes_no_simulator(
    make_site: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    from workspace_lib.rain.simulator import main

    settings = make_site({"production": True})
    monkeypatch.setenv("WORKSPACE_ROOT", str(Path(settings.root)))
    with pytest.raises(ConfigError, match="production"):
        main(["--site", settings.site_name])
