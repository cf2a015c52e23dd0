"""What goes wrong at night, with real processes: killed, hung, timed out, cancelled, overtaken."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.runs import ledger
from workspace_lib.runs.by_hand import ask_for_run
from workspace_lib.runs.executors.local import LocalExecutor
from workspace_lib.runs.folders import RunFolders
from workspace_lib.runs.ledger_queries import list_schedulers
from workspace_lib.runs.specs import Retries, load_jobs
from workspace_lib.runs.states import Claim
from workspace_lib.settings import Settings
from workspace_lib.store import leases, publications
from workspace_lib.store.engines import Store, read, write

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

WriteNotebook = Callable[..., Path]
ClaimRun = Callable[..., Claim]
WaitUntil = Callable[..., None]

#: Starts a process that hides in a session of its own and is deaf to SIGTERM.
LONG = (
    "import os, subprocess, sys, time, workspace_lib\n"
    "run = workspace_lib.current_run()\n"
    "hidden = 'import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); '\\\n"
    "    'os.fork() and os._exit(0); os.setsid(); time.sleep(600)'\n"
    "subprocess.Popen([sys.executable, '-c', hidden], start_new_session=True).wait()\n"
    "run.count(rows=10)\n"
)
TELL_AND_IMPORT = (
    "import os, workspace_lib\nrun = workspace_lib.current_run()\n"
    "(run.folder / 'pid').write_text(str(os.getpid()))\n"
)
TELL = "(run.folder / 'pid').write_text(str(os.getpid()))\n"
WAIT = TELL + "try:\n    time.sleep(600)\nfinally:\n    (run.folder / 'closed').touch()"


@pytest.fixture
def settings(make_site: Callable[..., Settings]) -> Settings:
    """A site whose runs are told to stop often and get little time for it."""
    return make_site({"timezone": "UTC", "runs": {"grace_s": 2.0, "heartbeat_s": 0.2}})


@pytest.fixture(autouse=True)
def _nothing_is_left(settings: Settings, executor: LocalExecutor) -> Iterator[None]:
    yield
    executor.stop()
    left = _processes_of(settings)
    for process in left:
        process.kill()
    assert left == []


@pytest.fixture
def schedule(settings: Settings) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Start ``workspace schedule`` as often as asked; all are gone when the test ends."""
    started = []

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "workspace_lib.cli", "--site", str(settings.site_dir)]
        process = subprocess.Popen(
            [*command, "schedule"],
            env={**os.environ, "WORKSPACE_ROOT": str(settings.root)},
            stderr=subprocess.DEVNULL,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def _processes_of(settings: Settings) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("WORKSPACE_RUN_SITE") == str(settings.site_dir):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def _ended(store: Store, claim: Claim) -> ledger.Run | None:
    run = ledger.get_run(store, claim.run_id)
    assert run is not None
    return run if run.ended else None


def _folders(settings: Settings, claim: Claim) -> RunFolders:
    return RunFolders(settings.outputs_dir, claim.run_id, claim.attempt)


def _statuses(path: Path) -> list[str]:
    notebook = json.loads(path.read_text())
    assert notebook["metadata"]["papermill"]["exception"] is True
    return [cell["metadata"]["papermill"]["status"] for cell in notebook["cells"]]


def _start(settings: Settings, executor: LocalExecutor, claim: Claim, wait_until: WaitUntil) -> int:
    """Start a run of the long notebook and return the pid of its kernel."""
    executor.submit(claim)
    pid = _folders(settings, claim).folder / "pid"
    wait_until(lambda: pid.exists() and pid.read_text(), "the notebook runs")
    return int(pid.read_text())


def test_a_kernel_killed_in_the_middle(
    settings: Settings,
    store: Store,
    executor: LocalExecutor,
    write_notebook: WriteNotebook,
    claim_run: ClaimRun,
    wait_until: WaitUntil,
) -> None:
    write_notebook(settings, "long", LONG, WAIT, "'never reached'")
    claim = claim_run(store, "long", devices=("line:COM1",))
    kernel = _start(settings, executor, claim, wait_until)
    with read(store.control) as connection:
        assert leases.holders(connection, "line:COM1", SYSTEM_CLOCK.now())

    killed_at = SYSTEM_CLOCK.now()
    os.kill(kernel, signal.SIGKILL)
    wait_until(lambda: _ended(store, claim), "the ledger knows")
    run = _ended(store, claim)
    assert run is not None
    assert (run.state, run.cause) == ("failed", "kernel_died")
    assert run.ended_at is not None
    assert (run.ended_at - killed_at).total_seconds() < 5
    assert (run.partial, run.rows) == (True, 10)
    assert run.last_good is not None
    assert _processes_of(settings) == []
    with read(store.control) as connection:
        assert leases.holders(connection, "line:COM1", SYSTEM_CLOCK.now()) == []
    folders = _folders(settings, claim)
    assert _statuses(folders.notebook) == ["completed", "failed", "pending"]
    assert "SIGKILL" in folders.notebook.read_text()
    assert json.loads(folders.manifest.read_text())["cause"] == "kernel_died"


def test_a_cell_that_runs_too_long(
    settings: Settings,
    store: Store,
    executor: LocalExecutor,
    write_notebook: WriteNotebook,
    claim_run: ClaimRun,
    wait_until: WaitUntil,
) -> None:
    write_notebook(settings, "long", LONG, WAIT, "'never reached'")
    claim = claim_run(store, "long", cell_timeout_s=6.0)
    executor.submit(claim)
    wait_until(lambda: _ended(store, claim), "the run ends")
    run = _ended(store, claim)
    assert run is not None
    assert (run.state, run.cause) == ("timed_out", "cell_timeout")
    folders = _folders(settings, claim)
    assert _statuses(folders.notebook) == ["completed", "failed", "pending"]
    assert (folders.folder / "closed").exists(), "the notebook could not close its device"


def test_a_run_that_exceeds_its_timeout_and_ignores_every_signal(
    settings: Settings,
    store: Store,
    executor: LocalExecutor,
    write_notebook: WriteNotebook,
    claim_run: ClaimRun,
    wait_until: WaitUntil,
) -> None:
    deaf = (
        "import signal\n"
        "for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):\n"
        "    signal.signal(number, signal.SIG_IGN)\n"
    )
    write_notebook(settings, "deaf", LONG, deaf + "time.sleep(600)", "'never reached'")
    claim = claim_run(store, "deaf", timeout_s=12.0)
    executor.submit(claim)
    wait_until(lambda: _ended(store, claim), "the run is stopped")
    run = _ended(store, claim)
    assert run is not None
    assert (run.state, run.cause) == ("timed_out", "run_timeout")
    assert (run.partial, run.rows) == (True, 10)
    assert _statuses(_folders(settings, claim).notebook) == ["completed", "failed", "pending"]
    assert _processes_of(settings) == []


def test_cancel_really_stops_the_notebook(
    settings: Settings,
    store: Store,
    executor: LocalExecutor,
    write_notebook: WriteNotebook,
    claim_run: ClaimRun,
    wait_until: WaitUntil,
) -> None:
    write_notebook(settings, "long", LONG, WAIT, "'never reached'")
    claim = claim_run(store, "long")
    kernel = _start(settings, executor, claim, wait_until)
    assert ledger.request_cancel(store, claim.run_id, "anna", SYSTEM_CLOCK.now()) == "requested"
    wait_until(lambda: _ended(store, claim), "the run is cancelled")
    run = _ended(store, claim)
    assert run is not None
    assert (run.state, run.cause) == ("cancelled", "cancelled")
    assert run.message == "Cancelled by anna."
    assert not _lives(kernel)
    folders = _folders(settings, claim)
    assert (folders.folder / "closed").exists(), "the notebook could not close its device"
    assert _statuses(folders.notebook) == ["completed", "failed", "pending"]


def test_a_runner_that_is_killed_loses_its_run_and_the_next_attempt_makes_it(
    settings: Settings,
    store: Store,
    executor: LocalExecutor,
    write_notebook: WriteNotebook,
    claim_run: ClaimRun,
    wait_until: WaitUntil,
) -> None:
    write_notebook(settings, "long", LONG, TELL + "if run.attempt == 1:\n    time.sleep(600)")
    retries = Retries(attempts=2, wait_s=0.0, on=("runner_lost",))
    claim = claim_run(store, "long", lease_s=2.0, retries=retries)
    kernel = _start(settings, executor, claim, wait_until)
    run = ledger.get_run(store, claim.run_id)
    assert run is not None
    runner = run.attempts[0].pid
    assert runner is not None
    os.kill(runner, signal.SIGKILL)
    wait_until(lambda: not _lives(kernel), "the kernel dies with its runner")
    wait_until(lambda: not executor.running(), "the executor notices")
    executor.reap()
    assert _processes_of(settings) == []
    assert not _folders(settings, claim).private.exists()
    assert _statuses(_folders(settings, claim).notebook) == ["completed", "failed"]

    wait_until(lambda: ledger.reap(store, SYSTEM_CLOCK.now()), "the lease runs out")
    again = ledger.claim_one(store, claim.run_id, owner="test", now=SYSTEM_CLOCK.now())
    assert again is not None
    assert again.attempt == 2
    executor.submit(again)
    wait_until(lambda: _ended(store, claim), "the second attempt ends")
    run = _ended(store, claim)
    assert run is not None
    assert run.state == "succeeded"
    assert [(a.state, a.cause) for a in run.attempts] == [
        ("lost", "runner_lost"),
        ("succeeded", None),
    ]


def test_a_run_that_slept_through_its_lease_stops_and_writes_nothing(
    settings: Settings,
    store: Store,
    executor: LocalExecutor,
    write_notebook: WriteNotebook,
    claim_run: ClaimRun,
    wait_until: WaitUntil,
    freeze: Callable[[int], None],
) -> None:
    write_notebook(settings, "long", LONG, WAIT)
    retries = Retries(attempts=2, wait_s=0.0, on=("runner_lost",))
    claim = claim_run(store, "long", lease_s=1.0, retries=retries)
    kernel = _start(settings, executor, claim, wait_until)
    run = ledger.get_run(store, claim.run_id)
    assert run is not None
    runner = run.attempts[0].pid
    assert runner is not None
    freeze(runner)
    wait_until(lambda: ledger.reap(store, SYSTEM_CLOCK.now()), "the lease runs out")
    later = ledger.claim_one(store, claim.run_id, owner="other", now=SYSTEM_CLOCK.now())
    assert later is not None
    os.kill(runner, signal.SIGCONT)
    wait_until(lambda: not executor.running(), "the overtaken runner ends")
    assert not _lives(kernel)
    found = ledger.get_run(store, claim.run_id)
    assert found is not None
    assert (found.state, found.attempt) == ("claimed", 2)
    assert [a.state for a in found.attempts] == ["lost", "claimed"]


def test_a_full_disk_while_publishing_fails_the_run_and_moves_no_pointer(
    settings: Settings,
    store: Store,
    write_notebook: WriteNotebook,
    claim_run: ClaimRun,
    run_to_end: Callable[[Claim], ledger.Run],
) -> None:
    # A limit on the size of files is a full disk for this process alone.
    write_notebook(
        settings,
        "full",
        "import resource, workspace_lib\nrun = workspace_lib.current_run()\n"
        "run.publish('rain.small', 1)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))\n"
        "run.publish('rain.large', list(range(100_000)))",
    )
    claim = claim_run(store, "full", publishes=("rain.small", "rain.large"))
    run = run_to_end(claim)
    assert (run.state, run.cause) == ("failed", "notebook_error")
    assert run.message is not None
    assert "Free disk space" in run.message
    assert publications.list_published(store) == []
    made = [path.name for path in (_folders(settings, claim).folder / "artefacts").iterdir()]
    assert sorted(made) == ["rain.small.json", "rain.small.manifest.json"]


def test_a_database_locked_for_a_while_holds_a_run_up_but_loses_nothing(
    settings: Settings,
    store: Store,
    executor: LocalExecutor,
    write_notebook: WriteNotebook,
    claim_run: ClaimRun,
    wait_until: WaitUntil,
) -> None:
    write_notebook(
        settings,
        "patient",
        TELL_AND_IMPORT,
        "for step in range(5):\n    run.publish(f'rain.step/{step}', step)",
    )
    claim = claim_run(store, "patient")
    executor.submit(claim)
    wait_until((_folders(settings, claim).folder / "pid").exists, "the notebook runs")
    with write(store.control):  # somebody else's long transaction
        time.sleep(3.0)
    wait_until(lambda: _ended(store, claim), "the run ends")
    run = _ended(store, claim)
    assert run is not None
    assert (run.state, run.cause) == ("succeeded", None)
    assert len(publications.list_published(store)) == 5


def test_an_importer_does_not_delay_heartbeats(store: Store, claim_run: ClaimRun) -> None:
    claim = claim_run(store, "import")
    ledger.begin(store, claim.run_id, 1, host="h", pid=1, now=SYSTEM_CLOCK.now())
    with write(store.data) as connection:
        connection.execute(text("CREATE TABLE imported (n INTEGER PRIMARY KEY, x TEXT)"))
    over = threading.Event()
    batches = []

    def import_rows() -> None:
        while not over.is_set():
            first = len(batches) * 20_000
            rows = [{"n": first + n, "x": "x" * 50} for n in range(20_000)]
            with write(store.data) as connection:
                connection.execute(text("INSERT INTO imported VALUES (:n, :x)"), rows)
            batches.append(first)

    importer = threading.Thread(target=import_rows)
    importer.start()
    took = []
    for _ in range(60):
        begin = time.perf_counter()
        assert ledger.heartbeat(store, claim.run_id, 1, SYSTEM_CLOCK.now()).alive
        took.append(time.perf_counter() - begin)
        time.sleep(0.02)
    over.set()
    importer.join()
    assert len(batches) > 1
    assert sorted(took)[56] < 0.25


def test_schedulers_come_and_go_while_a_run_goes_on(
    settings: Settings,
    store: Store,
    write_notebook: WriteNotebook,
    wait_until: WaitUntil,
    schedule: Callable[[], subprocess.Popen[bytes]],
) -> None:
    go = settings.root / "go"
    write_notebook(
        settings,
        "slow",
        "import pathlib, time, workspace_lib\nrun = workspace_lib.current_run()\n"
        "with (run.settings.root / 'starts').open('a') as stream:\n"
        "    stream.write(run.run_id + '\\n')",
        "while not (run.settings.root / 'go').exists():\n    time.sleep(0.05)",
    )
    (settings.site_dir / "jobs" / "slow.yml").write_text("notebook: slow\n")
    run_id = ask_for_run(store, load_jobs(settings).spec("slow"), now=SYSTEM_CLOCK.now()).run_id
    starts = settings.root / "starts"

    first = schedule()
    wait_until(starts.exists, "the first scheduler starts the run")
    first.kill()
    first.wait()
    second = schedule()
    wait_until(lambda: len(list_schedulers(store)) == 2, "the second scheduler looks around")
    second.terminate()
    assert second.wait(60) == 0
    third = schedule()
    wait_until(lambda: len(list_schedulers(store)) == 3, "the third scheduler looks around")
    run = ledger.get_run(store, run_id)
    assert run is not None
    assert run.state == "running"

    go.touch()
    wait_until(lambda: ledger.get_run(store, run_id).ended, "the run ends")  # type: ignore[union-attr]
    run = ledger.get_run(store, run_id)
    assert run is not None
    assert (run.state, len(run.attempts)) == ("succeeded", 1)
    assert starts.read_text().split() == [run_id]
    third.terminate()
    assert third.wait(60) == 0


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
