"""Services with real processes: started once, restarted when they die or hang, stopped cleanly."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import select

from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.errors import ConfigError
from workspace_lib.runs import ledger
from workspace_lib.runs.executors.local import LocalExecutor
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.service_host import load_function
from workspace_lib.runs.services import ServiceSupervisor
from workspace_lib.runs.tables import services
from workspace_lib.settings import Settings
from workspace_lib.store import alarms
from workspace_lib.store.engines import Store, read

pytestmark = pytest.mark.slow

MODULE = '''
import os, subprocess, sys, threading, time
import workspace_lib

def capture(stop, heartbeat, folder, name="a"):
    """Do as a capture does: one line per round, and a helper process of its own."""
    holder = workspace_lib.current_run().holder.id
    heartbeat("")
    helper = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
    )
    with open(os.path.join(folder, "helpers"), "a") as stream:
        stream.write(f"{helper.pid}\\n")
    rounds = 0
    while not stop.wait(0.05):
        rounds += 1
        heartbeat(f"{name}: round {rounds}")
    with open(os.path.join(folder, "stopped"), "a") as stream:
        stream.write(holder)

def hang(stop, heartbeat, folder):
    """Hang the first time, then behave."""
    mark = os.path.join(folder, "hung")
    if not os.path.exists(mark):
        open(mark, "w").close()
        time.sleep(600)
    while not stop.wait(0.05):
        heartbeat("well")

def fail(stop, heartbeat, folder):
    raise RuntimeError("no such line")
'''

Keep = Callable[..., None]


@pytest.fixture
def settings(make_site: Callable[..., Settings]) -> Settings:
    """A site whose services are judged within seconds."""
    runs = {"grace_s": 20.0, "heartbeat_s": 0.2, "service_stale_s": 1.0, "service_hung_s": 6.0}
    return make_site({"timezone": "UTC", "runs": runs})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the module with the services under test, on the path of their processes."""
    made = tmp_path / "modules"
    made.mkdir()
    (made / "night_shift.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(made))
    return made


@pytest.fixture
def supervisor(settings: Settings, store: Store) -> Iterator[ServiceSupervisor]:
    """A supervisor whose services are gone when the test ends."""
    made = ServiceSupervisor(settings, store, first_wait_s=0.1)
    yield made
    made.stop()
    left = [p for p in psutil.process_iter() if _belongs(p, settings)]
    for process in left:
        process.kill()
    assert left == []


@pytest.fixture
def keep() -> Keep:
    """Let supervisors step until a condition holds, or fail after a generous deadline."""

    def keep_going(
        supervisors: list[ServiceSupervisor], specs: list[JobSpec], until: Callable[[], object]
    ) -> None:
        end = time.monotonic() + 60
        while not until():
            assert time.monotonic() < end, "it never came to that"
            for one in supervisors:
                one.step(SYSTEM_CLOCK.now(), specs)
            time.sleep(0.05)

    return keep_going


def _belongs(process: psutil.Process, settings: Settings) -> bool:
    try:
        return process.environ().get("WORKSPACE_RUN_SITE") == str(settings.site_dir)
    except (psutil.Error, OSError):
        return False


def _spec(function: str, folder: Path, **more: Any) -> JobSpec:
    parameters = {"folder": str(folder), **more}
    return JobSpec("night", service=f"night_shift:{function}", parameters=parameters)


def _row(store: Store) -> Any:
    with read(store.control) as connection:
        return connection.execute(select(services)).first()


def _works(store: Store) -> Callable[[], bool]:
    def look() -> bool:
        row = _row(store)
        return row is not None and row.state == "running" and bool(row.status)

    return look


def test_a_service_is_started_watched_and_stopped(
    store: Store, folder: Path, supervisor: ServiceSupervisor, keep: Keep
) -> None:
    spec = _spec("capture", folder)
    keep([supervisor], [spec], _works(store))
    row = _row(store)
    assert row.status.startswith("a: round")
    assert _lives(row.pid)
    supervisor.stop()
    assert not _lives(row.pid)
    helper = int((folder / "helpers").read_text())
    assert not _lives(helper)
    assert (folder / "stopped").read_text() == f"{row.run_id}:1"
    run = ledger.get_run(store, row.run_id)
    assert run is not None
    assert (run.kind, run.state, _row(store).state) == ("service", "succeeded", "stopped")


def test_a_killed_service_is_started_again_and_leaves_nothing_behind(
    store: Store, folder: Path, supervisor: ServiceSupervisor, keep: Keep
) -> None:
    spec = _spec("capture", folder)
    keep([supervisor], [spec], _works(store))
    first = _row(store)
    os.kill(first.pid, signal.SIGKILL)
    keep([supervisor], [spec], lambda: _row(store).run_id != first.run_id and _works(store)())
    second = _row(store)
    assert (second.restarts, second.failures) == (1, 1)
    helper = int((folder / "helpers").read_text().split()[0])
    assert not _lives(helper)
    lost = ledger.get_run(store, first.run_id)
    assert lost is not None
    assert (lost.state, lost.cause) == ("lost", "runner_lost")


def test_a_hung_service_raises_an_alarm_and_is_started_again(
    store: Store, folder: Path, supervisor: ServiceSupervisor, keep: Keep
) -> None:
    spec = _spec("hang", folder)

    def alarm() -> list[str]:
        with read(store.control) as connection:
            return [a.message for a in alarms.open_alarms(connection) if a.key == "service:night"]

    keep([supervisor], [spec], alarm)
    assert "No heartbeat" in alarm()[0]
    first = _row(store)
    keep([supervisor], [spec], _works(store))
    assert _row(store).run_id != first.run_id
    assert _row(store).status == "well"
    keep([supervisor], [spec], lambda: not alarm())
    hung = ledger.get_run(store, first.run_id)
    assert hung is not None
    assert (hung.state, hung.cause) == ("lost", "runner_lost")
    assert hung.message is not None
    assert "hung" in hung.message


def test_a_service_stopped_dead_is_killed_from_outside(
    store: Store,
    folder: Path,
    supervisor: ServiceSupervisor,
    keep: Keep,
    freeze: Callable[[int], None],
) -> None:
    spec = _spec("capture", folder)
    keep([supervisor], [spec], _works(store))
    first = _row(store)
    freeze(first.pid)  # not even its watchdog runs
    keep([supervisor], [spec], lambda: _row(store).run_id != first.run_id and _works(store)())
    assert not _lives(first.pid)


def test_the_next_supervisor_finds_the_service_and_two_never_double_it(
    settings: Settings, store: Store, folder: Path, supervisor: ServiceSupervisor, keep: Keep
) -> None:
    spec = _spec("capture", folder)
    keep([supervisor], [spec], _works(store))
    first = _row(store)
    later = ServiceSupervisor(settings, store)
    LocalExecutor(settings).close()  # looks for orphans of runs, and must not take this for one
    for _ in range(3):
        later.step(SYSTEM_CLOCK.now(), [spec])
    assert (_row(store).pid, _row(store).run_id) == (first.pid, first.run_id)

    os.kill(first.pid, signal.SIGKILL)
    start = threading.Barrier(2)

    def race(one: ServiceSupervisor) -> None:
        start.wait()
        keep([one], [spec], lambda: _row(store).run_id != first.run_id and _works(store)())

    racers = [threading.Thread(target=race, args=(one,)) for one in (supervisor, later)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    hosts = [p for p in psutil.process_iter() if _belongs(p, settings) and _is_host(p)]
    assert [host.pid for host in hosts] == [_row(store).pid]


def test_failures_make_it_wait_twice_as_long_each_time(
    store: Store, folder: Path, supervisor: ServiceSupervisor, wait_until: Callable[..., None]
) -> None:
    spec = _spec("fail", folder)
    waits: list[float] = []

    def look() -> bool:
        now = SYSTEM_CLOCK.now()
        supervisor.step(now, [spec])
        row = _row(store)
        if row.failures > len(waits):
            waits.append((row.next_start_at - now).total_seconds())
        return len(waits) == 2

    wait_until(look, "it fails twice")
    assert waits == [0.1, 0.2]
    run = ledger.get_run(store, _row(store).run_id)
    assert run is not None
    assert run.message == "RuntimeError: no such line"


def test_a_changed_job_starts_it_anew_and_a_removed_one_ends_it(
    store: Store, folder: Path, supervisor: ServiceSupervisor, keep: Keep
) -> None:
    keep([supervisor], [_spec("capture", folder)], _works(store))
    changed = _spec("capture", folder, name="b")
    keep([supervisor], [changed], lambda: (_row(store).status or "").startswith("b:"))
    row = _row(store)
    keep([supervisor], [], lambda: _row(store).state == "stopped")
    assert not _lives(row.pid)


def test_a_service_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        load_function("nowhere_at_all:serve")


def _is_host(process: psutil.Process) -> bool:
    try:
        return "workspace_lib.runs.service_host" in process.cmdline()
    except psutil.Error:
        return False


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
