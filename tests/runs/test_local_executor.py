"""The local executor: runners outlive it, it finds them again, and cleans up after dead ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.errors import ConfigError
from workspace_lib.runs import ledger
from workspace_lib.runs.executors import local, open_executor
from workspace_lib.runs.executors.local import LocalExecutor, detached, runner_environment
from workspace_lib.runs.folders import RunFolders
from workspace_lib.runs.marks import Place, run_marks
from workspace_lib.runs.processes import make_private, private_folder
from workspace_lib.runs.states import Claim
from workspace_lib.settings import Settings, load_settings
from workspace_lib.store.engines import Store

WAITING = (
    "import os, time, workspace_lib\nrun = workspace_lib.current_run()\n"
    "(run.folder / 'pid').write_text(str(os.getpid()))\n"
    "while not (run.settings.root / 'go').exists():\n    time.sleep(0.05)"
)


@pytest.fixture
def settings(make_site: Callable[..., Settings]) -> Settings:
    """A site that is quick to notice and gives little grace."""
    return make_site({"timezone": "UTC", "runs": {"grace_s": 2.0, "heartbeat_s": 0.2}})


@pytest.fixture
def stray(settings: Settings) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Start a process that looks as if a run of the site had left it behind."""
    started = []

    def start(run_id: str) -> subprocess.Popen[bytes]:
        marks = run_marks(Place.of(settings), run_id, 1)
        command = [sys.executable, "-c", "import time; time.sleep(600)"]
        started.append(subprocess.Popen(command, env={**os.environ, **marks}, **detached()))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.kernel
@pytest.mark.slow
def test_a_run_outlives_its_executor_and_the_next_one_finds_and_cancels_it(
    settings: Settings,
    store: Store,
    executor: LocalExecutor,
    write_notebook: Callable[..., Path],
    claim_run: Callable[..., Claim],
    wait_until: Callable[..., None],
) -> None:
    write_notebook(settings, "waits", WAITING)
    claim = claim_run(store, "waits")
    executor.submit(claim)
    folders = RunFolders(settings.outputs_dir, claim.run_id, 1)
    wait_until((folders.folder / "pid").exists, "the notebook runs")
    executor.close()
    assert executor.running() == set()

    beside = load_settings(
        settings.site, root=settings.root, outputs=settings.outputs_dir.parent / "beside"
    )
    assert LocalExecutor(beside).running() == set(), "the same site with another store"
    later = LocalExecutor(settings)
    assert later.running() == {(claim.run_id, 1)}
    ledger.request_cancel(store, claim.run_id, "anna", SYSTEM_CLOCK.now())
    later.cancel(claim.run_id, 1)
    wait_until(lambda: not later.running(), "the run is stopped")
    later.reap()
    run = ledger.get_run(store, claim.run_id)
    assert run is not None
    assert (run.state, run.cause) == ("cancelled", "cancelled")
    assert not folders.private.exists()


@pytest.mark.kernel
@pytest.mark.slow
def test_stopping_it_ends_its_runs_for_another_try(
    settings: Settings,
    store: Store,
    executor: LocalExecutor,
    write_notebook: Callable[..., Path],
    claim_run: Callable[..., Claim],
    wait_until: Callable[..., None],
) -> None:
    write_notebook(settings, "waits", WAITING)
    claim = claim_run(store, "waits")
    executor.submit(claim)
    pid = RunFolders(settings.outputs_dir, claim.run_id, 1).folder / "pid"
    wait_until(lambda: pid.exists() and pid.read_text(), "the notebook runs")
    executor.stop()
    assert not psutil.pid_exists(int(pid.read_text()))
    run = ledger.get_run(store, claim.run_id)
    assert run is not None
    assert (run.state, run.cause) == ("lost", "runner_lost")


@pytest.mark.kernel
@pytest.mark.slow
def test_a_runner_that_does_not_stop_is_killed_and_cleaned_up_after(
    settings: Settings,
    store: Store,
    executor: LocalExecutor,
    write_notebook: Callable[..., Path],
    claim_run: Callable[..., Claim],
    wait_until: Callable[..., None],
    freeze: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local, "_STOP_MARGIN_S", 0.5)
    write_notebook(settings, "waits", WAITING)
    claim = claim_run(store, "waits")
    executor.submit(claim)
    folders = RunFolders(settings.outputs_dir, claim.run_id, 1)
    wait_until((folders.folder / "pid").exists, "the notebook runs")
    freeze(executor._runners[claim.run_id, 1].process.pid)
    executor.stop()
    assert not folders.private.exists()
    assert "The runner died." in folders.notebook.read_text()


def test_what_a_dead_runner_left_is_ended_when_an_executor_comes(
    settings: Settings,
    store: Store,
    stray: Callable[[str], subprocess.Popen[bytes]],
    make_site: Callable[..., Settings],
) -> None:
    ours = stray("20260301-120000-aaaaaaaaaaaa")
    beside = settings.outputs_dir.parent / "beside"
    for other in (
        make_site(name="another"),
        load_settings(settings.site, root=settings.root, outputs=beside),
    ):
        LocalExecutor(other).close()
        assert ours.poll() is None, "the executor of another site, or store, must not touch it"
    folder = private_folder(settings.outputs_dir, "20260301-120000-aaaaaaaaaaaa", 1)
    about = {"run_id": "20260301-120000-aaaaaaaaaaaa", "attempt": 1}
    (make_private(folder) / "run.json").write_text(json.dumps(about))
    LocalExecutor(settings).close()
    assert not folder.exists()
    assert ours.wait(30) in (-signal.SIGTERM, -signal.SIGKILL)


@pytest.mark.slow
def test_a_runner_killed_before_it_began_leaves_its_run_due_again(
    settings: Settings,
    store: Store,
    executor: LocalExecutor,
    write_notebook: Callable[..., Path],
    claim_run: Callable[..., Claim],
    wait_until: Callable[..., None],
    stray: Callable[[str], subprocess.Popen[bytes]],
) -> None:
    write_notebook(settings, "quick", "1")
    claim = claim_run(store, "quick", lease_s=0.5)
    executor.submit(claim)
    runner = executor._runners[claim.run_id, 1].process
    runner.kill()
    wait_until(lambda: not executor.running(), "the executor sees it")
    left = stray(claim.run_id)
    executor.reap()
    assert left.wait(30) in (-signal.SIGTERM, -signal.SIGKILL)
    wait_until(lambda: ledger.reap(store, SYSTEM_CLOCK.now()), "the lease runs out")
    run = ledger.get_run(store, claim.run_id)
    assert run is not None
    assert (run.state, run.tries) == ("due", 0)


def test_a_runner_gets_the_site_but_nothing_of_another_run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSPACE_RUN_FILE", "/tmp/another/run.json")
    monkeypatch.setenv("WORKSPACE_RUN_ID", "another")
    environment = runner_environment(settings)
    assert environment["WORKSPACE_ROOT"] == str(settings.root)
    assert not any(name.startswith("WORKSPACE_RUN_") for name in environment)


def test_the_settings_choose_the_executor(make_site: Callable[..., Settings]) -> None:
    assert isinstance(open_executor(make_site()), LocalExecutor)
    with pytest.raises(ConfigError, match="dask"):
        open_executor(make_site({"runs": {"executor": "dask"}}))
