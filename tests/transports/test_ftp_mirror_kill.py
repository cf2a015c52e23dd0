"""A mirroring process that is killed between any two steps: nothing lost, nothing twice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workspace_lib.settings import Settings
from workspace_lib.store.migrate import open_store

pytestmark = [
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL"),
]

SCRIPT = Path(__file__).with_name("killed_mirror.py")


@pytest.fixture
def survive(
    ftp_server: Callable[..., Any], make_site: Callable[..., Settings]
) -> Callable[..., int]:
    """Kill a mirror at the given points and check what comes of it; returns the kills."""

    def run(*points: str, connections: int) -> int:
        server = ftp_server()
        for n in range(14):
            server.put(f"G{n % 2}/A0 {n:02}é.txt", b"tips %d" % n)
        server.put("G1/big.log", bytes(range(256)) * 5000)
        server.put("G1/empty.txt", b"")
        settings = make_site(server.site(connections=connections), name="testsite")
        open_store(settings, create=True).close()
        command = [sys.executable, str(SCRIPT), str(settings.root), str(server.root), *points]
        done = subprocess.run(command, capture_output=True, text=True, timeout=800)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    return run


def test_a_mirror_killed_anywhere_goes_on(survive: Callable[..., int]) -> None:
    points = [str(n / 11) for n in range(12)]
    assert survive(*points, connections=1) == 12


def test_a_mirror_with_two_connections_killed_anywhere_goes_on(
    survive: Callable[..., int],
) -> None:
    assert survive("0.1", "0.3", "0.5", "0.7", "0.9", connections=2) == 5


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_a_mirror_killed_at_each_of_its_steps_goes_on(survive: Callable[..., int]) -> None:
    assert survive("all", connections=1) > 60
