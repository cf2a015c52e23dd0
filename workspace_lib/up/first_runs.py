"""Every job once, in the order of their dependencies, with a display of how far they are."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO

from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.errors import WorkspaceError
from workspace_lib.runs import ledger
from workspace_lib.runs.by_hand import ask_for_run
from workspace_lib.runs.executors import Executor, Places, can_start
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.ledger_queries import (
    Run,
    find_run,
    get_run,
    job_summaries,
    list_runs,
)
from workspace_lib.runs.specs import JobSet
from workspace_lib.runs.states import owner_id
from workspace_lib.runs.tick import tick
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store
from workspace_lib.store.publications import list_published

LOOK_EVERY_S = 0.2
TICK_EVERY_S = 0.5
#: Where there is no terminal to draw on, progress is told this often [s].
TELL_EVERY_S = 15.0
#: A job that is `on:` another is made due by the next step; longer than this is a fault [s].
FOLLOWER_TIMEOUT_S = 60.0


@dataclass
class Outcome:
    """What the runs did: those that ended, and jobs whose file is wrong."""

    runs: list[Run] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def succeeded(self) -> bool:
        """Whether every job did what it should."""
        return not self.problems and all(run.state == "succeeded" for run in self.runs)


def jobs_to_run(jobset: JobSet) -> list[JobSpec]:
    """Return the jobs that start a chain: notebooks that are not `on:` another job."""
    return [
        spec
        for spec in jobset.specs.values()
        if spec.enabled and spec.notebook is not None and spec.on is None
    ]


def never_succeeded(store: Store, jobset: JobSet) -> list[JobSpec]:
    """Return the jobs that start a chain in which something has never succeeded."""
    done = {name for name, one in job_summaries(store).items() if one.last_success is not None}
    return [
        spec for spec in jobs_to_run(jobset) if not {spec.name, *_chain(jobset, spec.name)} <= done
    ]


def run_jobs(
    settings: Settings,
    store: Store,
    jobset: JobSet,
    roots: Sequence[JobSpec],
    executor: Executor,
    display: Display,
    *,
    stopped: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Run ``roots`` and whatever follows them, as many at once as the settings allow.

    The scheduler's own step makes the followers due, so that it finds nothing left to do for these
    slots when it is started afterwards. Jobs that run after publications come when the others have
    made them, and once in any case. What a job comes `after` goes first, also if it is still to
    follow another.
    """
    outcome = Outcome(problems=[str(problem) for problem in jobset.problems])
    places = Places(executor, settings, store)
    owner = owner_id("up", os.getpid())
    now = SYSTEM_CLOCK.now()
    tick(store, jobset, now)
    last = {spec.name: spec for spec in roots if spec.on_published}
    waiting = {ask_for_run(store, spec, now=now).run_id for spec in roots if spec.name not in last}
    active: set[str] = set()
    followers: dict[tuple[str, str], float] = {}
    display.total = len(waiting)
    ticked = time.monotonic()
    while not stopped():
        now = SYSTEM_CLOCK.now()
        if not (waiting or active or followers):
            waiting = _after_publications(store, jobset, last, outcome.runs, now)
            display.total += len(waiting)
            if not waiting:
                break
        executor.reap()
        ledger.reap(store, now)
        if followers and time.monotonic() - ticked > TICK_EVERY_S:
            tick(store, jobset, now)
            ticked = time.monotonic()
        for (job, slot), since in list(followers.items()):
            if (found := find_run(store, job, slot)) is not None:
                waiting.add(found.id)
                display.total += 1
            elif time.monotonic() - since < FOLLOWER_TIMEOUT_S:
                continue
            else:
                outcome.problems.append(f"{job} was not made due after its forerunner.")
            del followers[job, slot]
        if stuck := _due_before(store, waiting) - waiting - active:
            waiting |= stuck
            display.total += len(stuck)
        living = [run for run_id in sorted(waiting | active) if (run := get_run(store, run_id))]
        # With those that have just ended, whose followers are not made due yet.
        to_come = _to_come(jobset, {run.job for run in living}, followers)
        for run in living:
            run_id = run.id
            if run.ended:
                waiting.discard(run_id)
                active.discard(run_id)
                outcome.runs.append(run)
                display.ended(run)
                if run.state == "succeeded":
                    began = time.monotonic()
                    followers |= {(name, run.slot): began for name in _direct(jobset, run.job)}
                continue
            display.goes_on(run)
            if (
                run.state == "due"
                and run.not_before <= now
                and to_come.isdisjoint(run.spec.get("after", ()))
                and places.free() > 0
                and can_start(executor, run.job, run.spec)
            ):
                active.add(run_id)
                waiting.discard(run_id)
                _start(store, settings, executor, run_id, owner)
        time.sleep(LOOK_EVERY_S)
    display.clear()
    return outcome


def summary(store: Store, outcome: Outcome) -> list[str]:
    """Return what was captured and what is published, one line each."""
    files = sum(run.files or 0 for run in outcome.runs)
    rows = sum(run.rows or 0 for run in outcome.runs)
    size = sum(run.bytes or 0 for run in outcome.runs)
    made = {run.id for run in outcome.runs}
    names = [one.name for one in list_published(store) if one.run_id in made]
    good = sum(run.state == "succeeded" for run in outcome.runs)
    return [
        f"Runs:      {good} of {len(outcome.runs)} succeeded",
        f"Captured:  {files:,} files, {rows:,} rows, {size / 1e6:.1f} MB",
        f"Published: {', '.join(names) if names else 'nothing'}",
    ]


class Display:
    """Shows runs on the terminal: one line that moves, or a line per change where it cannot."""

    def __init__(self, stream: IO[str] = sys.stdout) -> None:
        self.total = 0
        self._stream = stream
        self._moving = stream.isatty()
        self._done = 0
        self._states: dict[str, tuple[str, float]] = {}
        self._lines: dict[str, str] = {}
        self._width = 0

    def goes_on(self, run: Run) -> None:
        """Show how far a run is."""
        doing = {"due": "waits", "claimed": "starts", "running": "runs"}.get(run.state, run.state)
        share = f" {run.progress:4.0%}" if run.progress is not None else ""
        text = f" {run.progress_text}" if run.progress_text else ""
        self._lines[run.id] = f"{run.job} {doing}{share}{text}"
        if self._moving:
            self._draw()
            return
        state, told = self._states.get(run.id, ("", 0.0))
        late = run.progress is not None and time.monotonic() - told > TELL_EVERY_S
        if state != run.state or late:
            self._states[run.id] = (run.state, time.monotonic())
            if run.state == "running":
                self._write(f"  … {self._lines[run.id]}")

    def ended(self, run: Run) -> None:
        """Show how a run ended."""
        self._done += 1
        self._lines.pop(run.id, None)
        counts = (("files", run.files), ("rows", run.rows))
        did = ", ".join(f"{count:,} {name}" for name, count in counts if count)
        took = f" in {run.duration_s:.1f} s" if run.duration_s is not None else ""
        mark = "✓" if run.state == "succeeded" else "✕"
        why = f": {run.cause or ''} {run.message or ''}".rstrip() if mark == "✕" else ""
        self.clear()
        self._write(
            f"  {mark} {run.job} {run.state}{took}{why}{f', {did}' if did else ''}"
            f"  [{self._done}/{self.total}]"
        )

    def clear(self) -> None:
        """Take the moving line away."""
        if self._moving and self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._width = 0
            self._stream.flush()

    def _draw(self) -> None:
        line = f"  [{self._done}/{self.total}] " + " · ".join(self._lines.values())
        line = line[: _columns() - 1]
        self._stream.write("\r" + line.ljust(self._width))
        self._width = len(line)
        self._stream.flush()

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


def _to_come(
    jobset: JobSet, living: set[str], followers: Mapping[tuple[str, str], float]
) -> set[str]:
    """Return the jobs of which a run goes on or is to come, if all goes well."""
    begun = living | {name for name, _ in followers}
    return begun.union(*(_chain(jobset, name) for name in begun))


def _due_before(store: Store, waiting: set[str]) -> set[str]:
    """Return the runs of an earlier start that ours come `after` and nobody else starts."""
    before: set[str] = set()
    for run_id in waiting:
        run = get_run(store, run_id)
        for job in run.spec.get("after", ()) if run is not None else ():
            found = list_runs(store, job=job, states=["due"])
            before |= {one.id for one in found if run is not None and one.due_at <= run.due_at}
    return before


def _after_publications(
    store: Store,
    jobset: JobSet,
    specs: Mapping[str, JobSpec],
    ended: Sequence[Run],
    now: datetime,
) -> set[str]:
    """Return the runs that publications have made due, else those of jobs that had none."""
    if not specs:
        return set()
    tick(store, jobset, now)
    due = {run.id for name in specs for run in list_runs(store, job=name, states=["due"])}
    due -= {run.id for run in ended}
    if due:
        return due
    ran = {run.job for run in ended}
    return {
        ask_for_run(store, spec, now=now).run_id for name, spec in specs.items() if name not in ran
    }


def _start(store: Store, settings: Settings, executor: Executor, run_id: str, owner: str) -> None:
    now = SYSTEM_CLOCK.now()
    claim = ledger.claim_one(store, run_id, owner=owner, now=now, lease_s=settings.runs.lease_s)
    if claim is None:
        return
    try:
        executor.submit(claim)
    except (OSError, WorkspaceError) as error:
        ledger.give_back(store, claim, f"It could not be started ({error}).", wait_s=5, now=now)


def _direct(jobset: JobSet, job: str) -> list[str]:
    return [spec.name for spec in jobset.specs.values() if spec.on == job and spec.enabled]


def _chain(jobset: JobSet, job: str) -> list[str]:
    """Return all jobs that follow ``job``, directly or not."""
    found: list[str] = []
    for name in _direct(jobset, job):
        found += [name, *_chain(jobset, name)]
    return found


def _columns() -> int:
    import shutil

    return shutil.get_terminal_size((100, 24)).columns
