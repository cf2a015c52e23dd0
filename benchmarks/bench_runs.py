"""What a scheduled run costs beside its work: papermill's command, papermill itself, our runner.

The notebook does next to nothing, but imports what most of them do. The three take turns, since
the machine may be busy with other things: a slow minute then slows all of them. Processor time says
what a quiet machine would need; seconds and runs a second are only judged on one.
"""

from __future__ import annotations

import logging
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import psutil
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.runs import ledger
from workspace_lib.runs.executors.local import LocalExecutor
from workspace_lib.runs.specs import JobSpec
from workspace_lib.runs.states import Claim
from workspace_lib.settings import Settings, load_settings
from workspace_lib.store.engines import Store, write
from workspace_lib.store.migrate import open_store

RUNS = 20
TARGET_TO_COMMAND = 6.0
TARGET_TO_LIBRARY = 3.0
TARGET_MEDIAN_S = 0.5
TARGET_PER_S = 4.0
AT_ONCE = 2
COMMAND, LIBRARY, OURS = "papermill's command", "papermill.execute_notebook", "our runner"
PATIENCE_S = 120.0
IMPORTS = """\
import pandas as pd
import numpy as np
import scipy.signal
import sqlalchemy
import matplotlib.pyplot as plt"""


class OurRuns:
    """Runs through the ledger, the executor and the runner, as the scheduler does them."""

    def __init__(self, settings: Settings, store: Store, executor: LocalExecutor) -> None:
        self._settings, self._store, self._executor = settings, store, executor
        self._number = 0

    def claim(self) -> Claim:
        """Write a run into the ledger and claim it."""
        self._number += 1
        now = SYSTEM_CLOCK.now()
        # Runs of one job never overlap.
        job = f"near_empty_{self._number}"
        spec = JobSpec(job, notebook="near_empty", timeout_s=60.0, parameters={"days": 3})
        slot = f"manual:{self._number}"
        with write(self._store.control) as connection:
            run_id = ledger.create_run(connection, spec, slot, due=now, now=now)
        assert run_id is not None
        claim = ledger.claim_one(self._store, run_id, owner="bench", now=now, lease_s=30.0)
        assert claim is not None
        return claim

    def used_s(self) -> float:
        """Return the processor time of this process, of the warm parent and of its runs [s]."""
        assert self._executor.warm_parent is not None, "runs start cold"
        return used_here() + sum(psutil.Process(self._executor.warm_parent).cpu_times()[:4])

    def one(self) -> None:
        """Do one run, until its runner is gone."""
        claim = self.claim()
        self._executor.submit(claim)
        while self._executor.running():
            time.sleep(0.002)
        self.check(claim)

    def many(self, count: int) -> float:
        """Do runs, two at a time; returns runs a second."""
        begin = time.perf_counter()
        claims: list[Claim] = []
        while len(claims) < count or self._executor.running():
            if len(claims) < count and len(self._executor.running()) < AT_ONCE:
                claims.append(self.claim())
                self._executor.submit(claims[-1])
            time.sleep(0.005)
        took_s = time.perf_counter() - begin
        for claim in claims:
            self.check(claim)
        return count / took_s

    def check(self, claim: Claim) -> None:
        """Refuse to count a run that did not succeed."""
        self._executor.reap()
        run = ledger.get_run(self._store, claim.run_id)
        assert run is not None
        assert run.state == "succeeded", f"{run.state}: {run.message}"


@contextmanager
def our_runs(folder: Path) -> Iterator[OurRuns]:
    """Make a site of its own with the notebook, and wait until runs can be forked."""
    root = folder / "workspace"
    (root / "parameters" / "bench" / "jobs").mkdir(parents=True)
    (root / "notebooks" / "jobs").mkdir(parents=True)
    shutil.copy(folder / "near_empty.ipynb", root / "notebooks" / "jobs")
    settings = load_settings("bench", root=root)
    with open_store(settings, create=True) as store:
        executor = LocalExecutor(settings, keep_warm=True)
        try:
            end = time.monotonic() + PATIENCE_S
            while executor.warm_parent is None and time.monotonic() < end:
                time.sleep(0.05)
            yield OurRuns(settings, store, executor)
        finally:
            executor.stop()


def write_notebook(path: Path) -> None:
    """Write the notebook."""
    cells = [
        new_markdown_cell("# Near empty"),
        new_code_cell("days: int = 7  # [days]", metadata={"tags": ["parameters"]}),
        new_code_cell(IMPORTS),
        new_code_cell("print(days, np.arange(days).sum())"),
    ]
    # papermill's command wants to know; ours does not ask.
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": spec}), path)


@dataclass
class Taken:
    """What runs of one kind took, one by one: time and processor time [s]."""

    wall_s: list[float] = field(default_factory=list)
    processor_s: list[float] = field(default_factory=list)
    failed: int = 0

    def measure(self, act: Callable[[], object], used_s: Callable[[], float]) -> None:
        """Do one run."""
        begin, used = time.perf_counter(), used_s()
        try:
            act()
        except (subprocess.CalledProcessError, RuntimeError):
            # papermill's kernels take free TCP ports that another has taken a moment before.
            self.failed += 1
            return
        self.wall_s.append(time.perf_counter() - begin)
        self.processor_s.append(used_s() - used)

    @property
    def median_s(self) -> float:
        """Median time of a run [s]."""
        return statistics.median(self.wall_s)


def used_here() -> float:
    """Return the processor time of this process and of those it has waited for [s]."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(who) for who in whose]
    return sum(one.ru_utime + one.ru_stime for one in used)


def by_command(folder: Path) -> None:
    """Run it by papermill's command."""
    words = [sys.executable, "-m", "papermill", "near_empty.ipynb", "a.ipynb", "-p", "days", "3"]
    subprocess.run([*words, "-k", "python3"], cwd=folder, check=True, capture_output=True)


def by_library(folder: Path) -> None:
    """Run it by ``papermill.execute_notebook`` in this process, whose imports are not counted."""
    import papermill

    papermill.execute_notebook(
        str(folder / "near_empty.ipynb"),
        str(folder / "b.ipynb"),
        parameters={"days": 3},
        kernel_name="python3",
        progress_bar=False,
    )


def with_bytecode() -> int | None:
    """Run this again with a cache of bytecode, as installed packages have one; None if that is so.

    Else the compiler would be measured where nothing may be written beside the sources.
    """
    if sys.pycache_prefix is not None and not sys.dont_write_bytecode:
        return None
    with tempfile.TemporaryDirectory(prefix="bench-runs-") as cache:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        return subprocess.call([sys.executable, *sys.argv], env=environment)


def measure(folder: Path) -> tuple[dict[str, Taken], float, float]:
    """Return what each way took, our runs a second two at a time, and the load while at it."""
    write_notebook(folder / "near_empty.ipynb")
    with our_runs(folder) as ours:
        ways: dict[str, Callable[[], object]] = {
            COMMAND: lambda: by_command(folder),
            LIBRARY: lambda: by_library(folder),
            OURS: ours.one,
        }
        for way in ways.values():
            way()  # fills caches of files
        found = {name: Taken() for name in ways}
        loads = [psutil.getloadavg()[0]]
        for _ in range(RUNS):
            for name, way in ways.items():
                found[name].measure(way, ours.used_s if name == OURS else used_here)
            loads.append(psutil.getloadavg()[0])
        return found, ours.many(2 * RUNS), statistics.median(loads)


def main() -> int:
    """Measure and print the table; 1 if a target is missed."""
    code = with_bytecode()
    if code is not None:
        return code
    logging.disable(logging.WARNING)
    folder = Path(tempfile.mkdtemp(prefix="bench-runs-"))
    try:
        found, per_s, load = measure(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ours, cores = found[OURS], psutil.cpu_count() or 1
    head = ("median", "slowest", "ours is", "processor", "ours is", "failed")
    row(f"Near-empty notebook, {RUNS} runs", *head)
    for name, taken in found.items():
        used = statistics.median(taken.processor_s)
        row(
            name,
            f"{taken.median_s:.2f} s",
            f"{max(taken.wall_s):.2f} s",
            f"{taken.median_s / ours.median_s:.1f} x faster" if name != OURS else "",
            f"{used:.2f} s",
            f"{used / statistics.median(ours.processor_s):.1f} x less" if name != OURS else "",
            str(taken.failed),
        )
    row(f"our runner, {AT_ONCE} at a time", f"{per_s:.1f} /s")
    row(f"load of the {cores} cores meanwhile", f"{load:.1f}")
    print()
    quiet = load <= cores
    verdicts = [
        (TARGET_TO_COMMAND * ours.median_s <= found[COMMAND].median_s, True,
         f"{TARGET_TO_COMMAND:g} x faster than the command"),
        (TARGET_TO_LIBRARY * ours.median_s <= found[LIBRARY].median_s, True,
         f"{TARGET_TO_LIBRARY:g} x faster than the library"),
        (ours.median_s < TARGET_MEDIAN_S, quiet, f"median under {TARGET_MEDIAN_S:g} s"),
        (per_s >= TARGET_PER_S, quiet, f"{TARGET_PER_S:g} runs a second"),
    ]  # fmt: skip
    for met, judged, what in verdicts:
        row(f"target: {what}", "met" if met else "MISSED" if judged else "busy machine")
    return 0 if all(met or not judged for met, judged, _ in verdicts) else 1


def row(what: str, *cells: str) -> None:
    """Print one row of the table."""
    print(f"{what:<44}" + "".join(f"{cell:>14}" for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
