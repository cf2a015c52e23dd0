"""A copying process that is killed between any two steps: nothing lost, nothing twice."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from workspace_lib import simulators
from workspace_lib.rain.capture import capture
from workspace_lib.rain.copying import copy
from workspace_lib.settings import Settings
from workspace_lib.store import inventory
from workspace_lib.store.engines import read
from workspace_lib.store.migrate import open_store
from workspace_lib.transports.memory_ftp import MemoryFtp

pytestmark = [
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL"),
]

SCRIPT = Path(__file__).with_name("killed_copy.py")
NOW = datetime(2026, 11, 2, tzinfo=UTC)
FILES = {
    f"Polytech/Polytech_0111{26:02}_00{minute:02}00.txt": (
        f"LOG, {1_793_491_200 + 60 * minute}, {minute % 3}, 0, 12.5\n".encode()
    )
    for minute in range(4, 54, 5)
}


@pytest.fixture
def server() -> Iterator[MemoryFtp]:
    pytest.importorskip("pyftpdlib")
    running = MemoryFtp("gauges")
    yield running
    running.stop()


@pytest.fixture
def survive(make_site: Callable[..., Settings], server: MemoryFtp) -> Callable[..., int]:
    """Kill the copying at given shares of its steps, go on, and check what comes of it."""
    where = {
        "host": "simulator://rain",
        "user": "gauges",
        "password": "secret://DEMO_FTP_PASSWORD",
        "connections": 1,
        "wait_s": 0.05,
    }
    settings = make_site(
        {
            "sources": {
                "rain": {**where, "folder": "/to"},
                "base": {**where, "folder": "/from"},
            },
            "wings": {"rain": {"copy_from": "base"}},
        }
    )
    (settings.site_dir / "gauges.yml").write_text(
        "gauges: [{id: polytech, name: Polytech, folder: Polytech, delivery: copied}]"
    )
    endpoint = server.start()
    password = endpoint.pop("password")
    simulators.announce(settings, "rain", endpoint, {"DEMO_FTP_PASSWORD": password})
    open_store(settings, create=True).close()
    fresh = settings.root / "fresh"
    shutil.copytree(settings.outputs_dir, fresh)

    def begin() -> None:
        shutil.rmtree(settings.outputs_dir)
        shutil.copytree(fresh, settings.outputs_dir)
        for path in server.tree.files():
            server.tree.remove(path)
        for path, content in FILES.items():
            server.tree.put(f"/from/{path}", content, 1.7e9)
        server.tree.make_folders("/to/Polytech")

    def run(step: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPT), str(settings.root), str(step)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    def finish() -> int:
        with open_store(settings) as store:
            report = copy(store, settings, now=NOW)
            assert report.failed == ()
            assert (report.aside, report.replaced, report.left) == (0, 0, 0)
            files = server.tree.files()
            there = {path: bytes_ for path, bytes_ in files.items() if path.startswith("/to/")}
            assert there == {f"/to/{path}": content for path, content in FILES.items()}
            captured = capture(store, settings, now=NOW)
            assert (captured.rows, captured.duplicates, captured.conflicts) == (len(FILES), 0, 0)
            assert captured.fetched == 0
            with read(store.data) as connection:
                states = inventory.count_states(connection)
            assert states == {"base": {"parsed": len(FILES)}, "rain": {"parsed": len(FILES)}}
            again = copy(store, settings, now=NOW)
            assert (again.copied, again.there, again.fetched) == (0, 0, 0)
        return report.copied

    def survive_it(*shares: float) -> int:
        begin()
        whole = run(0)
        assert whole.returncode == 0, whole.stderr
        steps, survived, copied = int(whole.stdout), 0, set()
        for share in shares:
            begin()
            killed = run(1 + round(share * (steps - 1)))
            assert killed.returncode in (-signal.SIGKILL, 0), killed.stderr
            copied.add(finish())
            survived += 1
        assert len(copied) > 1, "all kills came at the same moment"
        return survived

    return survive_it


@pytest.mark.timeout(600)
def test_a_copy_killed_anywhere_goes_on(survive: Callable[..., int]) -> None:
    shares = [0.05, 0.3, 0.5, 0.65, 0.8, 0.9, 0.96, 1.0]
    assert survive(*shares) == len(shares)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_a_copy_killed_at_each_of_its_steps_goes_on(survive: Callable[..., int]) -> None:
    assert survive(*[number / 400 for number in range(401)]) == 401
