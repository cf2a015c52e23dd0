"""What the board of runs asks the ledger, through a read-only store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from workspace_lib.clock import ensure_utc
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.ledger_queries import (
    JobSummary,
    Run,
    SchedulerSeen,
    get_run,
    job_summaries,
    list_runs,
    list_schedulers,
)
from workspace_lib.runs.schedule import is_scheduled, next_slots
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store

#: A scheduler not seen for so long does not live any more [s].
SCHEDULER_ALIVE_S = 30.0
FAILURES = ("failed", "timed_out", "lost")


@dataclass(frozen=True)
class JobLine:
    """One job: its newest runs (oldest first), how it did, and what comes next."""

    name: str
    spec: JobSpec | None
    runs: tuple[Run, ...]
    summary: JobSummary | None
    next_slot: datetime | None


@dataclass(frozen=True)
class Today:
    """Runs that ended since local midnight."""

    good: int
    total: int

    @property
    def rate(self) -> float | None:
        """Share that succeeded [1]."""
        return self.good / self.total if self.total else None


def job_lines(
    settings: Settings, store: Store, now: datetime, *, length: int, days: int
) -> list[JobLine]:
    """Return every job of the site, and those that only the ledger still knows.

    Parameters
    ----------
    length : int
        Most runs of each job.
    days : int
        Success and durations are those of so many days [d].
    """
    specs = site_specs(settings, store)
    summaries = job_summaries(store, since=now - timedelta(days=days))
    lines = []
    for name in sorted(specs.keys() | summaries.keys(), key=lambda job: (job not in specs, job)):
        spec = specs.get(name)
        found = list_runs(store, job=name, limit=length)
        upcoming = next_slots(spec, now, 1) if spec and is_scheduled(spec) and spec.enabled else []
        lines.append(
            JobLine(
                name,
                spec,
                tuple(reversed(found)),
                summaries.get(name),
                upcoming[0] if upcoming else None,
            )
        )
    return lines


def site_specs(settings: Settings, store: Store) -> dict[str, JobSpec]:
    """Return the jobs in force: the files that are right, and the last good of those that are not.

    Raises
    ------
    ConfigError
        If the folder of job files cannot be read.
    """
    from workspace_lib.runs.job_memory import effective_specs
    from workspace_lib.runs.specs import load_jobs

    return effective_specs(store, load_jobs(settings))


def today(store: Store, midnight: datetime) -> Today:
    """Return how many runs ended since midnight, and how many of them succeeded."""
    summaries = job_summaries(store, since=ensure_utc(midnight)).values()
    return Today(sum(one.succeeded for one in summaries), sum(one.runs for one in summaries))


def failures(store: Store, since: datetime, *, limit: int = 200) -> list[Run]:
    """Return runs that failed, timed out or were lost, newest first, with their attempts."""
    found = list_runs(store, states=FAILURES, since=since, limit=limit)
    whole = (get_run(store, run.id) for run in found)
    return [run for run in whole if run is not None]


def gaps(store: Store, since: datetime, *, limit: int = 2000) -> list[Run]:
    """Return the slots that were missed, newest first."""
    found = list_runs(store, states=("skipped",), since=since, limit=limit)
    return [run for run in found if run.cause == "missed_slot"]


def living_schedulers(store: Store, now: datetime) -> list[SchedulerSeen]:
    """Return the schedulers that were seen within the last half minute and have not ended."""
    oldest = now - timedelta(seconds=SCHEDULER_ALIVE_S)
    return [
        one for one in list_schedulers(store) if one.stopped_at is None and one.seen_at >= oldest
    ]


def durations(runs: Sequence[Run]) -> list[float | None]:
    """Return how long each run took [s]; None for one that did not succeed."""
    return [run.duration_s if run.state == "succeeded" else None for run in runs]


def shown_state(run: Run) -> str:
    """Return the state a reader sees: a slot that was missed is no slot that was skipped."""
    if run.state == "skipped" and run.cause == "missed_slot":
        return "missed"
    return run.state
