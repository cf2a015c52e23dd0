"""One contract for every executor: on this machine, cold and warm, and on two workers of dask."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook
from sqlalchemy import make_url

from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.runs import ledger
from workspace_lib.runs.backfill import backfill
from workspace_lib.runs.executors import Executor, open_executor
from workspace_lib.runs.executors.dask import DaskExecutor
from workspace_lib.runs.executors.local import LocalExecutor
from workspace_lib.runs.fan_out import Tally, drive
from workspace_lib.runs.folders import RunFolders
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.ledger_queries import Run
from workspace_lib.runs.marks import Place, living_owners
from workspace_lib.runs.scheduler import Scheduler
from workspace_lib.runs.states import Claim
from workspace_lib.settings import Settings, load_settings
from workspace_lib.store import leases
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.migrate import open_store

pytestmark = [pytest.mark.kernel, pytest.mark.server, pytest.mark.slow]

WaitUntil = Callable[..., None]

SITE = {
    "timezone": "UTC",
    "devices": {"line:one": None},
    "runs": {"grace_s": 2.0, "heartbeat_s": 0.2, "max_parallel": 4},
}
FREE_PORTS = ("--port", "0", "--dashboard-address", "127.0.0.1:0")
#: Tells its process and that it was there, then waits for its file.
WAITS = (
    "import os, time, workspace_lib\nrun = workspace_lib.current_run()\n"
    "def told(name):\n"
    "    return run.settings.outputs_dir / f'{run.job}.{name}'\n"
    "with told('log').open('a') as log:\n    print(os.getpid(), file=log)\n"
    "while not told('go').exists():\n    time.sleep(0.05)\n"
)
HOLDS = (
    "import io, time, workspace_lib\n"
    "from workspace_lib.transports.devices import open_exclusive\n"
    "run = workspace_lib.current_run()\n"
    "with open_exclusive(run.store, 'line:one', run.holder, io.BytesIO):\n"
    "    (run.settings.outputs_dir / f'{run.job}.log').write_text(str(time.time()))\n"
    "    while not (run.settings.outputs_dir / f'{run.job}.go').exists():\n"
    "        time.sleep(0.05)\n"
    "(run.settings.outputs_dir / f'{run.job}.end').write_text(str(time.time()))\n"
)


@dataclass
class Cluster:
    """A dask scheduler and its workers, each a process of its own."""

    folder: Path
    environment: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    address: str = ""

    def start(self, wait_until: WaitUntil) -> None:
        """Start the scheduler and workers ``one`` and ``two``, each with two places."""
        told = self.folder / "scheduler.json"
        self._start("scheduler", *FREE_PORTS, "--scheduler-file", str(told))
        wait_until(told.exists, "the dask scheduler listens")
        self.address = json.loads(told.read_text())["address"]
        for name in ("one", "two"):
            self.start_worker(name)

    def start_worker(self, name: str, *words: str, **environment: str) -> None:
        """Start a worker without a nanny: one that is killed stays dead."""
        place = ["--local-directory", str(self.folder), "--name", name]
        self._start(
            name, self.address, "--no-nanny", "--nthreads", "2", *place, *words, **environment
        )

    def kill(self, name: str) -> None:
        """Have a worker be gone without a word."""
        self.processes[name].kill()
        self.processes.pop(name).wait()

    def stop(self) -> None:
        """End all of it."""
        for process in self.processes.values():
            process.kill()
            process.wait()

    def _start(self, name: str, *words: str, **environment: str) -> None:
        program = "dask_scheduler" if name == "scheduler" else "dask_worker"
        command = [sys.executable, "-m", f"distributed.cli.{program}", *words]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--no-dashboard"],
                env={**os.environ, **self.environment, **environment},
                stdout=log,
                stderr=log,
            )


@dataclass
class Floor:
    """A site with its store and an executor."""

    settings: Settings
    store: Store
    executor: Executor
    cluster: Cluster | None = None

    def file(self, name: str) -> Path:
        """Return a file that notebooks and tests tell each other things by."""
        return self.settings.outputs_dir / name

    def pids(self, job: str) -> list[int]:
        """Return the kernels in which a job's notebook has begun."""
        log = self.file(f"{job}.log")
        return [int(line) for line in log.read_text().split()] if log.exists() else []

    def end_of(self, claim: Claim) -> Run | None:
        """Return a run if it has ended."""
        self.executor.reap()
        run = ledger.get_run(self.store, claim.run_id)
        assert run is not None
        return run if run.ended else None

    def run(self, run_id: str) -> Run:
        """Return a run as the ledger knows it."""
        found = ledger.get_run(self.store, run_id)
        assert found is not None
        return found

    def runners(self) -> dict[tuple[str, int], psutil.Process]:
        """Return the runners that live."""
        return living_owners(Place.of(self.settings))

    def notebook(self, name: str, source: str) -> None:
        """Write a job's notebook."""
        cell = new_code_cell(source)
        cell["id"] = "cell"
        path = self.settings.notebooks_dir / "jobs" / f"{name}.ipynb"
        nbformat.write(new_notebook(cells=[cell]), path)

    def claim(self, job: str, *, lease_s: float = 30.0, **spec: Any) -> Claim:
        """Write a run of a job into the ledger and claim it, as a scheduler would."""
        found = ledger.claim_one(
            self.store,
            self.due(job, **spec),
            owner="test",
            now=SYSTEM_CLOCK.now(),
            lease_s=lease_s,
        )
        assert found is not None
        return found

    def due(self, job: str, **spec: Any) -> str:
        """Write a run that is due into the ledger and return its id."""
        now = SYSTEM_CLOCK.now()
        made = JobSpec(job, notebook=job, **{"timeout_s": 60.0, **spec})
        with write(self.store.control) as connection:
            run_id = ledger.create_run(connection, made, "manual:1", due=now, now=now)
        assert run_id is not None
        return run_id


def _make_site(root: Path, **site: Any) -> Settings:
    folder = root / "parameters" / "testsite"
    (folder / "jobs").mkdir(parents=True)
    (root / "notebooks" / "jobs").mkdir(parents=True)
    (folder / "site.yml").write_text(yaml.safe_dump(site))
    return load_settings("testsite", root=root)


@pytest.fixture(scope="module", params=["local", "warm", "dask"])
def floor(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, wait_until: WaitUntil
) -> Iterator[Floor]:
    """Each executor in turn; the one of dask has a store on PostgreSQL and two workers."""
    root = tmp_path_factory.mktemp("root")
    with contextlib.ExitStack() as stack:
        if request.param != "dask":
            settings = _make_site(root, **SITE)
            store = stack.enter_context(open_store(settings, create=True))
            local = LocalExecutor(settings, keep_warm=request.param == "warm")
            if request.param == "warm":
                wait_until(lambda: local.warm_parent, "runs can be forked")
            yield Floor(settings, store, local)
            local.close()
            LocalExecutor(settings).stop()
            return
        server = request.getfixturevalue("postgres_server")
        template = request.getfixturevalue("postgres_template")
        admin = request.getfixturevalue("postgres_admin")
        name = f"t{uuid.uuid4().hex[:12]}"
        admin(f"CREATE DATABASE {name} TEMPLATE {template}")
        stack.callback(admin, f"DROP DATABASE {name} WITH (FORCE)")
        url = make_url(server).set(database=name).render_as_string(hide_password=False)
        environment = {"WORKSPACE_ROOT": str(root), "WORKSPACE_SITE": "testsite"}
        cluster = Cluster(tmp_path_factory.mktemp("dask"), environment)
        stack.callback(cluster.stop)
        # The workers are started before there is a site, and take it as it is when they are asked.
        cluster.start(wait_until)
        runs = {"executor": "dask", "dask_address": cluster.address, "dask_other_code": "warn"}
        settings = _make_site(
            root, **{**SITE, "store": {"url": url}, "runs": {**SITE["runs"], **runs}}
        )
        settings.outputs_dir.mkdir(parents=True)
        store = stack.enter_context(open_store(settings))
        executor = open_executor(settings)
        assert isinstance(executor, DaskExecutor)
        wait_until(lambda: _places(executor) == 4, "both workers are there")
        found = Floor(settings, store, executor, cluster)
        yield found
        found.executor.close()
        LocalExecutor(settings).stop()


def _places(executor: DaskExecutor) -> int:
    return sum(worker.places for worker in executor.workers if worker.trouble is None)


def only_dask(test: Any) -> Any:
    """Have a test run on the executor of dask only."""
    return pytest.mark.parametrize("floor", ["dask"], indirect=True)(test)


@pytest.fixture(scope="module")
def ended(floor: Floor, wait_until: WaitUntil) -> dict[str, Run]:
    """Four runs at once, each of which ends in its own way."""
    floor.notebook("good", "import workspace_lib\nworkspace_lib.current_run().count(rows=3)")
    floor.notebook("bad", "raise ValueError('no such gauge')")
    floor.notebook("slow", "import time\ntime.sleep(600)")
    floor.notebook("dies", "import os\nos.kill(os.getpid(), 9)")
    claims = [floor.claim(job) for job in ("good", "bad", "dies")]
    claims.append(floor.claim("slow", timeout_s=3.0))
    for claim in claims:
        floor.executor.submit(claim)
    wait_until(lambda: all(floor.end_of(claim) for claim in claims), "all four have ended")
    wait_until(lambda: not floor.runners(), "their runners are gone")
    found = {claim.job: ledger.get_run(floor.store, claim.run_id) for claim in claims}
    return {job: run for job, run in found.items() if run is not None}


@pytest.mark.parametrize(
    ("job", "state", "cause"),
    [
        ("good", "succeeded", None),
        ("bad", "failed", "notebook_error"),
        ("slow", "timed_out", "run_timeout"),
        ("dies", "failed", "kernel_died"),
    ],
)
def test_a_run_ends_as_its_notebook_does(
    floor: Floor, ended: dict[str, Run], job: str, state: str, cause: str | None
) -> None:
    run = ended[job]
    assert (run.state, run.cause) == (state, cause)
    assert (run.attempt, len(run.attempts)) == (1, 1)
    folders = RunFolders(floor.settings.outputs_dir, run.id, 1)
    assert folders.notebook.exists(), "the output notebook is kept"
    assert json.loads(folders.manifest.read_text())["state"] == state


def test_a_run_tells_on_which_machine_and_for_which_worker_it_ran(
    floor: Floor, ended: dict[str, Run]
) -> None:
    (attempt,) = ended["good"].attempts
    assert attempt.host == socket.gethostname()
    assert attempt.provenance is not None
    host = attempt.provenance["host"]
    assert host["name"] == socket.gethostname()
    workers = {None} if floor.cluster is None else {"one", "two"}
    assert host["worker"] in workers
    if isinstance(floor.executor, LocalExecutor):
        forked = floor.executor.warm_parent is not None
        assert attempt.provenance["start"] == ("warm" if forked else "cold")


def test_cancelling_in_the_ledger_ends_the_notebook_itself(
    floor: Floor, wait_until: WaitUntil
) -> None:
    floor.notebook("endless", WAITS)
    claim = floor.claim("endless")
    floor.executor.submit(claim)
    wait_until(lambda: floor.pids("endless"), "the notebook runs")
    (pid,) = floor.pids("endless")
    ledger.request_cancel(floor.store, claim.run_id, "anna", SYSTEM_CLOCK.now())
    floor.executor.cancel(claim.run_id, claim.attempt)
    wait_until(lambda: floor.end_of(claim), "the run ends")
    run = floor.end_of(claim)
    assert run is not None
    assert (run.state, run.cause) == ("cancelled", "cancelled")
    assert not psutil.pid_exists(pid)


def test_a_device_is_held_by_one_run_at_a_time_wherever_they_run(
    floor: Floor, wait_until: WaitUntil
) -> None:
    for job in ("first", "second", "third"):
        floor.notebook(job, HOLDS)
    first = floor.due("first", devices=("line:one",))
    scheduler = Scheduler(floor.settings, floor.store, floor.executor)
    assert [claim.run_id for claim in scheduler.step().started] == [first]
    wait_until(floor.file("first.log").exists, "the first holds it")
    second = floor.due("second", devices=("line:one",))
    third = floor.due("third")
    assert [claim.run_id for claim in scheduler.step().started] == [third], "second must wait"
    wait_until(lambda: floor.run(third).ended, "the one that did not ask for it ends")
    assert floor.run(third).cause == "device_busy"
    assert floor.run(second).state == "due"
    floor.file("first.go").touch()
    floor.file("second.go").touch()
    wait_until(lambda: scheduler.step() and floor.run(second).ended, "the second has had it")
    assert floor.run(second).state == "succeeded"
    assert float(floor.file("second.log").read_text()) >= float(floor.file("first.end").read_text())
    with read(floor.store.control) as connection:
        assert leases.holders(connection, "line:one", SYSTEM_CLOCK.now()) == []


def test_a_scheduler_that_is_restarted_neither_ends_nor_doubles_a_run(
    floor: Floor, wait_until: WaitUntil
) -> None:
    floor.notebook("stays", WAITS)
    run_id = floor.due("stays")
    # As a tick by cron does it: gone as soon as the run is handed over.
    scheduler = Scheduler(floor.settings, floor.store, floor.executor)
    wait_until(lambda: scheduler.step().started, "a place is free")
    floor.executor.close()
    wait_until(lambda: floor.pids("stays"), "the notebook runs")

    floor.executor = open_executor(floor.settings)
    scheduler = Scheduler(floor.settings, floor.store, floor.executor)
    assert scheduler.step().started == []
    assert (run_id, 1) in floor.executor.running()
    floor.file("stays.go").touch()
    wait_until(lambda: scheduler.step() and floor.run(run_id).ended, "it ends")
    run = floor.run(run_id)
    assert (run.state, run.attempt) == ("succeeded", 1)
    assert len(floor.pids("stays")) == 1


def test_a_runner_that_is_told_twice_of_its_run_runs_it_once(
    floor: Floor, wait_until: WaitUntil
) -> None:
    floor.notebook("twice", WAITS)
    claim = floor.claim("twice")
    floor.executor.submit(claim)
    wait_until(lambda: floor.pids("twice"), "the notebook runs")
    again = open_executor(floor.settings)
    again.submit(claim)
    floor.file("twice.go").touch()
    wait_until(lambda: floor.end_of(claim), "it ends")
    wait_until(lambda: not floor.runners(), "both runners are gone")
    again.close()
    assert floor.run(claim.run_id).state == "succeeded"
    assert len(floor.pids("twice")) == 1


def test_a_run_whose_machine_is_gone_is_lost_and_not_run_again(
    floor: Floor, wait_until: WaitUntil
) -> None:
    floor.notebook("gone", WAITS)
    claim = floor.claim("gone", lease_s=3.0)
    floor.executor.submit(claim)
    wait_until(lambda: floor.pids("gone"), "the notebook runs")
    (attempt,) = floor.run(claim.run_id).attempts
    assert attempt.pid is not None
    if floor.cluster is not None:
        worker = attempt.provenance["host"]["worker"] if attempt.provenance else ""
        floor.cluster.kill(worker)
    os.kill(attempt.pid, signal.SIGKILL)
    wait_until(lambda: ledger.reap(floor.store, SYSTEM_CLOCK.now()), "its lease runs out")
    run = floor.run(claim.run_id)
    assert (run.state, run.cause, run.attempt) == ("lost", "runner_lost", 1)
    if floor.cluster is not None:
        floor.cluster.start_worker(worker)
        wait_until(lambda: _places(floor.executor) == 4, "the worker is back")
    wait_until(lambda: not floor.runners(), "nothing of it is left")
    assert len(floor.pids("gone")) == 1


@only_dask
def test_a_run_goes_on_when_its_worker_dies_and_what_dask_repeats_is_turned_away(
    floor: Floor, wait_until: WaitUntil
) -> None:
    assert floor.cluster is not None
    floor.cluster.start_worker("three", "--worker-port", "0", "--resources", "line:three=1")
    wait_until(lambda: _places(floor.executor) == 6, "a further worker is there")
    (address,) = (one.address for one in floor.executor.workers if one.name == "three")
    floor.notebook("survives", WAITS)
    claim = floor.claim("survives", devices=("line:three",))
    floor.executor.submit(claim)
    wait_until(lambda: floor.pids("survives"), "the notebook runs")
    (attempt,) = floor.run(claim.run_id).attempts
    assert attempt.provenance is not None
    assert attempt.provenance["host"]["worker"] == "three", "where its device is"

    floor.cluster.kill("three")
    floor.cluster.start_worker("three", "--worker-port", address.rpartition(":")[2])
    log = RunFolders(floor.settings.outputs_dir, claim.run_id, 1).log
    wait_until(lambda: "is not ours to run" in log.read_text(), "dask has run the task again")
    assert not floor.run(claim.run_id).ended
    floor.file("survives.go").touch()
    wait_until(lambda: floor.end_of(claim), "the run ends")
    assert (floor.run(claim.run_id).state, floor.run(claim.run_id).attempt) == ("succeeded", 1)
    assert len(floor.pids("survives")) == 1
    floor.cluster.kill("three")
    wait_until(lambda: _places(floor.executor) == 4, "the further worker is gone")


@only_dask
def test_a_worker_with_other_outputs_takes_no_runs_and_says_why(
    floor: Floor, wait_until: WaitUntil, tmp_path: Path
) -> None:
    assert floor.cluster is not None
    floor.cluster.start_worker("strange", WORKSPACE_OUTPUTS=str(tmp_path))
    wait_until(lambda: len(floor.executor.workers) == 3, "it is there")
    (strange,) = (one for one in floor.executor.workers if one.name == "strange")
    assert "another folder of outputs" in str(strange.trouble)
    assert _places(floor.executor) == 4
    floor.cluster.kill("strange")


def test_a_backfill_fans_out_over_all_places(floor: Floor) -> None:
    floor.notebook("wide", WAITS)
    spec = JobSpec("wide", notebook="wide", schedule="0 * * * *", timeout_s=60.0, fan_out=3)
    now = SYSTEM_CLOCK.now()
    slots = [now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=n) for n in (3, 2, 1)]
    made = backfill(floor.store, spec, slots, "none", now)
    most = 0

    def show(tally: Tally) -> None:
        nonlocal most
        most = max(most, len(floor.pids("wide")) - tally.ended)
        if most == 3:
            floor.file("wide.go").touch()

    tally = drive(floor.settings, floor.store, made.run_ids, floor.executor, show=show)
    assert (tally.succeeded, most) == (3, 3)
    workers = {
        attempt.provenance["host"]["worker"]
        for run_id in made.run_ids
        for attempt in floor.run(run_id).attempts
        if attempt.provenance
    }
    assert workers == ({None} if floor.cluster is None else {"one", "two"})
