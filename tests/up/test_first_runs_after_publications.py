"""Every job once: what waits for publications comes last, and once in any case."""

from __future__ import annotations

import io
from typing import Any

import pytest

from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.runs import ledger
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.specs import JobSet
from workspace_lib.runs.states import Claim, Outcome
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store, write
from workspace_lib.store.publications import record, write_artefact
from workspace_lib.up.first_runs import Display, jobs_to_run, run_jobs


class AtOnce:
    """An executor whose runs end at once, having made what their job declares."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.done: list[str] = []

    def submit(self, claim: Claim) -> None:
        now = SYSTEM_CLOCK.now()
        run_id, attempt = claim.run_id, claim.attempt
        assert ledger.begin(self.store, run_id, attempt, host="h", pid=1, now=now)
        for name in claim.spec["publishes"]:
            folder = self.store.outputs / "runs" / run_id
            made = write_artefact(
                self.store.outputs, name, 1, run_id=run_id, attempt=attempt, folder=folder
            )
            with write(self.store.control) as connection:
                record(connection, made, now)
        assert ledger.finish(self.store, run_id, attempt, Outcome("succeeded"), now)
        self.done.append(claim.job)

    def running(self) -> set[tuple[str, int]]:
        return set()

    def cancel(self, run_id: str, attempt: int) -> None: ...

    def reap(self) -> None: ...

    def close(self) -> None: ...


def job(name: str, **values: Any) -> JobSpec:
    return JobSpec(name, **{"notebook": name, **values})


@pytest.fixture
def run_all(settings: Settings, store: Store) -> Any:
    """Run every job once; gives the order in which they ran, and the outcome."""

    def do(*specs: JobSpec) -> Any:
        jobset = JobSet({one.name: one for one in specs}, (), {one.name: "f" for one in specs})
        executor = AtOnce(store)
        outcome = run_jobs(
            settings, store, jobset, jobs_to_run(jobset), executor, Display(io.StringIO())
        )
        return executor.done, outcome

    return do


def test_a_job_that_waits_for_publications_runs_once_after_all_of_them(run_all: Any) -> None:
    done, outcome = run_all(
        job("a_pages", on_published=("rain.*",)),
        job("sums", publishes=("rain.sums",)),
        job("more", on="sums", publishes=("rain.more",)),
    )
    assert done == ["sums", "more", "a_pages"]
    assert outcome.succeeded


def test_it_runs_again_after_what_another_of_them_has_published(run_all: Any) -> None:
    done, _ = run_all(
        job("sums", publishes=("rain.sums",)),
        job("report", on_published=("rain.sums",), publishes=("rain.report",)),
        job("pages", on_published=("rain.report",)),
    )
    assert done == ["sums", "report", "pages"]


def test_it_runs_once_also_when_nothing_was_published_for_it(run_all: Any) -> None:
    done, _ = run_all(job("sums"), job("pages", on_published=("rain.*",)))
    assert done == ["sums", "pages"]


def test_jobs_that_go_first_go_first_and_need_not_succeed(run_all: Any) -> None:
    done, outcome = run_all(
        job("a_capture", after=("copy", "no_such_job")), job("copy"), job("b_report")
    )
    assert done.index("copy") < done.index("a_capture")
    assert outcome.succeeded


def test_what_follows_those_that_go_first_goes_first_too(run_all: Any) -> None:
    done, outcome = run_all(
        job("a_products", after=("sums",)),
        job("b_check", after=("a_products",)),
        job("capture"),
        job("sums", on="capture"),
    )
    assert done == ["capture", "sums", "a_products", "b_check"]
    assert outcome.succeeded


def test_what_is_due_since_an_earlier_start_goes_first(
    settings: Settings, store: Store, run_all: Any
) -> None:
    copy, capture = job("copy"), job("capture", after=("copy",))
    earlier = SYSTEM_CLOCK.now()
    with write(store.control) as connection:
        ledger.create_run(connection, copy, "event:left", due=earlier, now=earlier)
    order, outcome = run_all(capture)
    assert order == ["copy", "capture"]
    assert outcome.succeeded
