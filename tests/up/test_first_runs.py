"""Every job runs once in the order of dependencies, with whatever follows it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import nbformat
import pytest

from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.runs import ledger
from workspace_lib.runs.specs import JobSet, load_jobs
from workspace_lib.runs.states import Claim, Outcome
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store
from workspace_lib.up.first_runs import (
    Display,
    jobs_to_run,
    never_succeeded,
    run_jobs,
    summary,
)

JOBS: dict[str, dict[str, Any]] = {
    "capture": {"notebook": "n", "schedule": "*/5 * * * *"},
    "sums": {"notebook": "n", "on": "capture"},
    "report": {"notebook": "n", "on": "sums"},
    "by_hand": {"notebook": "n"},
    "resting": {"notebook": "n", "every": "1h", "enabled": False},
}
PARAMETERS = nbformat.v4.new_code_cell("", metadata={"tags": ["parameters"]})
NOTEBOOK = nbformat.writes(nbformat.v4.new_notebook(cells=[PARAMETERS]))


class PaperExecutor:
    """Ends each run at once, as the test says; remembers the order and how many were active."""

    def __init__(self, store: Store, fails: tuple[str, ...] = (), patience: int = 0) -> None:
        self.order: list[str] = []
        self.most = 0
        self._store = store
        self._fails = fails
        self._patience = patience
        self._active: list[tuple[Claim, int]] = []

    def submit(self, claim: Claim) -> None:
        now = SYSTEM_CLOCK.now()
        assert ledger.begin(self._store, claim.run_id, claim.attempt, host="h", pid=1, now=now)
        self._active.append((claim, self._patience))
        self.order.append(claim.job)
        self.most = max(self.most, len(self._active))

    def reap(self) -> None:
        left = []
        for claim, looks in self._active:
            if looks:
                left.append((claim, looks - 1))
                continue
            bad = claim.job in self._fails
            outcome = (
                Outcome("failed", "notebook_error", "It broke.")
                if bad
                else Outcome("succeeded", metrics={"files": 3, "rows": 1200, "bytes": 2_000_000})
            )
            now = SYSTEM_CLOCK.now()
            assert ledger.finish(self._store, claim.run_id, claim.attempt, outcome, now)
        self._active = left

    def running(self) -> set[tuple[str, int]]:
        return {(claim.run_id, claim.attempt) for claim, _ in self._active}

    def cancel(self, run_id: str, attempt: int) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def site(make_site: Callable[..., Settings]) -> Settings:
    settings = make_site(jobs=JOBS)
    (settings.notebooks_dir / "jobs" / "n.ipynb").write_text(NOTEBOOK)
    return settings


@pytest.fixture
def jobset(site: Settings) -> JobSet:
    found = load_jobs(site)
    assert not found.problems
    return found


@pytest.fixture
def site_store(site: Settings):
    from workspace_lib.store.migrate import open_store

    with open_store(site, create=True) as store:
        yield store


def names(specs: list[Any]) -> list[str]:
    return sorted(spec.name for spec in specs)


def test_a_chain_begins_with_what_follows_no_other_job(jobset: JobSet) -> None:
    assert names(jobs_to_run(jobset)) == ["by_hand", "capture"]


def test_everything_runs_once_and_followers_after_their_forerunners(
    site: Settings, site_store: Store, jobset: JobSet
) -> None:
    executor = PaperExecutor(site_store)
    stream = io.StringIO()
    display = Display(stream)
    outcome = run_jobs(site, site_store, jobset, jobs_to_run(jobset), executor, display)
    assert outcome.succeeded
    assert sorted(executor.order) == ["by_hand", "capture", "report", "sums"]
    positions = [executor.order.index(name) for name in ("capture", "sums", "report")]
    assert positions == sorted(positions)
    assert "✓ report succeeded" in stream.getvalue()
    assert "[4/4]" in stream.getvalue()


def test_afterwards_nothing_is_left_for_a_scheduler_to_fire(
    site: Settings, site_store: Store, jobset: JobSet
) -> None:
    from workspace_lib.runs.tick import tick

    executor = PaperExecutor(site_store)
    run_jobs(site, site_store, jobset, jobs_to_run(jobset), executor, Display(io.StringIO()))
    created = tick(site_store, jobset, SYSTEM_CLOCK.now()).created
    assert [due.job for due in created if due.job != "capture"] == []


def test_the_followers_of_a_failure_do_not_run(
    site: Settings, site_store: Store, jobset: JobSet
) -> None:
    executor = PaperExecutor(site_store, fails=("capture",))
    stream = io.StringIO()
    display = Display(stream)
    outcome = run_jobs(site, site_store, jobset, jobs_to_run(jobset), executor, display)
    assert not outcome.succeeded
    assert sorted(executor.order) == ["by_hand", "capture"]
    assert "✕ capture failed" in stream.getvalue()
    assert "notebook_error It broke." in stream.getvalue()


def test_no_more_run_at_once_than_the_site_allows(
    site: Settings, site_store: Store, jobset: JobSet
) -> None:
    one = site.model_copy(update={"runs": site.runs.model_copy(update={"max_parallel": 1})})
    executor = PaperExecutor(site_store, patience=2)
    run_jobs(one, site_store, jobset, jobs_to_run(jobset), executor, Display(io.StringIO()))
    assert executor.most == 1


def test_a_wrong_job_file_is_no_success(site: Settings, site_store: Store) -> None:
    (site.site_dir / "jobs" / "wrong.yml").write_text("notebok: n\n")
    jobset = load_jobs(site)
    executor = PaperExecutor(site_store)
    outcome = run_jobs(site, site_store, jobset, [], executor, Display(io.StringIO()))
    assert not outcome.succeeded
    assert "wrong.yml:1" in outcome.problems[0]


def test_what_has_succeeded_before_is_not_run_again(
    site: Settings, site_store: Store, jobset: JobSet
) -> None:
    assert names(never_succeeded(site_store, jobset)) == ["by_hand", "capture"]
    executor = PaperExecutor(site_store, fails=("report",))
    run_jobs(site, site_store, jobset, jobs_to_run(jobset), executor, Display(io.StringIO()))
    assert names(never_succeeded(site_store, jobset)) == ["capture"]
    run_jobs(
        site,
        site_store,
        jobset,
        jobs_to_run(jobset),
        PaperExecutor(site_store),
        Display(io.StringIO()),
    )
    assert never_succeeded(site_store, jobset) == []


def test_it_ends_when_told_to(site: Settings, site_store: Store, jobset: JobSet) -> None:
    executor = PaperExecutor(site_store, patience=10_000)
    looks = iter([False, False, True])
    outcome = run_jobs(
        site,
        site_store,
        jobset,
        jobs_to_run(jobset),
        executor,
        Display(io.StringIO()),
        stopped=lambda: next(looks),
    )
    assert outcome.runs == []


def test_the_summary_counts_what_the_ledger_counted(
    site: Settings, site_store: Store, jobset: JobSet
) -> None:
    executor = PaperExecutor(site_store)
    display = Display(io.StringIO())
    outcome = run_jobs(site, site_store, jobset, jobs_to_run(jobset), executor, display)
    assert summary(site_store, outcome) == [
        "Runs:      4 of 4 succeeded",
        "Captured:  12 files, 4,800 rows, 8.0 MB",
        "Published: nothing",
    ]
