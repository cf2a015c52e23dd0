"""What a workspace consists of, and what it refuses."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from workspace_lib import simulators
from workspace_lib.errors import ConfigError
from workspace_lib.settings import Settings
from workspace_lib.up import parts
from workspace_lib.up.workspace import LOCK_FILE, one_at_a_time


def test_a_free_port_is_taken_as_wished_else_the_next() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = parts.free_port("127.0.0.1", port)
        assert found not in (0, port)
    assert parts.free_port("127.0.0.1", port) == port
    assert parts.free_port("127.0.0.1", 0) > 0


def test_the_wings_bring_simulators() -> None:
    assert {"rain", "reclosers"} <= set(parts.simulator_wings())


def test_a_simulator_that_nothing_starts_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "WINGS", ("web", "rain"))
    assert parts.simulator_wings() == ["rain"]
    monkeypatch.setattr(parts, "_exists", lambda module: True)
    without = importlib.util.find_spec("workspace_lib.clock")
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: without)
    assert parts.simulator_wings() == []


def test_the_arguments_of_a_simulator(settings: Settings) -> None:
    words = parts.simulator_arguments(settings, "rain", host="0.0.0.0", port=2121, speed=60)
    site = str(settings.site_dir)
    assert words == ["--site", site, "--host", "0.0.0.0", "--port", "2121", "--speed", "60"]


def test_an_unknown_simulator_is_refused_with_those_known(settings: Settings) -> None:
    with pytest.raises(ConfigError, match=r"Known: reclosers, .*rain"):
        parts.simulator_arguments(settings, "snow")


def test_a_production_site_takes_no_simulator(make_site: Callable[..., Settings]) -> None:
    with pytest.raises(ConfigError, match="production"):
        parts.simulator(make_site({"production": True}), "rain")


def test_a_simulator_is_ready_when_it_has_announced_itself(settings: Settings) -> None:
    part = parts.simulator(settings, "rain")
    simulators.announce(settings, "rain", {"host": "127.0.0.1", "port": 2121})
    assert part.ready() == "127.0.0.1:2121"
    part.before()  # what an earlier one left is no announcement
    assert part.ready() is None


def test_parts_know_their_workspace_but_do_not_answer_for_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    monkeypatch.setenv("PLANT_FTP", "canary")
    found = parts.environment(settings)
    assert found["WORKSPACE_ROOT"] == str(settings.root)
    assert found["PLANT_FTP"] == "canary"  # the scheduler's runs need it
    assert "NOTIFY_SOCKET" not in found
    shown = parts.dashboards(settings, "the-token")
    assert shown is not None
    assert shown.environment is not None
    assert "canary" not in shown.environment.values()
    assert shown.stdin == "the-token\n"
    assert "the-token" not in " ".join(shown.command)


def test_a_site_is_up_once(tmp_path: Path) -> None:
    path = tmp_path / LOCK_FILE
    program = (
        "from pathlib import Path\n"
        "from workspace_lib.up.workspace import one_at_a_time\n"
        f"with one_at_a_time(Path({str(path)!r}), 'plant'): print('inside')\n"
    )
    with one_at_a_time(path, "plant"):
        second = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert second.returncode != 0
        assert f"up already (process {os.getpid()})" in second.stderr
    third = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert third.stdout == "inside\n"


def test_a_machine_without_voila_has_no_dashboards(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_exists", lambda module: False)
    assert parts.dashboards(settings, "t") is None
    assert parts.web_front(settings, 8080) is None
