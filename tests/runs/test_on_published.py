"""Jobs that run after publications: once for all that came, never after their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from workspace_lib.runs import ledger
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.reports import starts_text
from workspace_lib.runs.specs import JobSet
from workspace_lib.runs.states import Outcome
from workspace_lib.runs.tick import tick
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.publications import (
    events_after,
    publish_run,
    record,
    withdraw,
    write_artefact,
)

START = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def jobs(*specs: JobSpec) -> JobSet:
    return JobSet({spec.name: spec for spec in specs}, (), {spec.name: spec.file for spec in specs})


def report_job(*patterns: str, **values: Any) -> JobSpec:
    return JobSpec("report", **{"notebook": "n", "on_published": patterns or ("rain.*",), **values})


def publish(store: Store, *names: str, run_id: str = "elsewhere", now: datetime = START) -> None:
    folder = store.outputs / "runs" / run_id
    with write(store.control) as connection:
        for name in names:
            made = write_artefact(
                store.outputs, name, {"x": 1}, run_id=run_id, attempt=1, folder=folder, as_of=now
            )
            record(connection, made, now)
        publish_run(connection, run_id, 1, now)


@pytest.fixture
def begin() -> Callable[[Store, datetime], list[ledger.Claim]]:
    """Claim what is due and let it begin."""

    def do(store: Store, now: datetime) -> list[ledger.Claim]:
        claims = ledger.claim(store, owner="test", now=now, limit=10)
        for claim in claims:
            assert ledger.begin(store, claim.run_id, claim.attempt, host="h", pid=1, now=now)
        return claims

    return do


def test_publications_of_a_pattern_make_it_due_once(any_store: Store) -> None:
    jobset = jobs(report_job("rain.sums", "rain.lines/*"))
    tick(any_store, jobset, START)
    publish(any_store, "rain.other", "rain.sum", "bench.sums", run_id="a")
    assert not tick(any_store, jobset, START).changed
    publish(any_store, "rain.sums", run_id="b")
    publish(any_store, "rain.lines/east", run_id="c")
    report = tick(any_store, jobset, START)
    with read(any_store.control) as connection:
        newest = events_after(connection)[-1].id
    assert [(due.job, due.slot) for due in report.created] == [
        ("report", f"event:published-{newest}")
    ]
    assert not tick(any_store, jobset, START).changed


def test_what_was_published_before_it_was_first_seen_does_not_start_it(store: Store) -> None:
    publish(store, "rain.sums")
    for _ in range(2):
        assert not tick(store, jobs(report_job()), START).changed


def test_a_new_pattern_or_a_rest_has_no_past(store: Store) -> None:
    tick(store, jobs(JobSpec("report", notebook="n")), START)
    publish(store, "rain.sums", run_id="a")
    assert not tick(store, jobs(report_job()), START).changed
    assert not tick(store, jobs(report_job(enabled=False)), START).changed
    publish(store, "rain.sums", run_id="b")
    assert not tick(store, jobs(report_job(enabled=False)), START).changed
    assert not tick(store, jobs(report_job()), START).changed
    publish(store, "rain.sums", run_id="c")
    assert len(tick(store, jobs(report_job()), START).created) == 1


def test_while_one_waits_no_other_is_added_and_while_one_goes_on_one_is(
    store: Store, begin: Any
) -> None:
    jobset = jobs(report_job(overlap="skip"))
    tick(store, jobset, START)
    publish(store, "rain.sums", run_id="a")
    assert len(tick(store, jobset, START).created) == 1
    publish(store, "rain.sums", run_id="b")
    assert not tick(store, jobset, START).changed
    (going,) = begin(store, START)
    for run_id in ("c", "d"):
        publish(store, "rain.sums", run_id=run_id)
        tick(store, jobset, START)
    states = {run.slot: run.state for run in ledger.list_runs(store, job="report")}
    assert sorted(states.values()) == ["due", "running"]
    assert begin(store, START) == []
    assert ledger.finish(store, going.run_id, 1, Outcome("succeeded"), START)
    assert len(begin(store, START)) == 1


def test_its_own_publications_do_not_start_it(store: Store, begin: Any) -> None:
    jobset = jobs(report_job(publishes=("rain.report",)))
    tick(store, jobset, START)
    publish(store, "rain.sums")
    tick(store, jobset, START)
    (going,) = begin(store, START)
    publish(store, "rain.report", run_id=going.run_id)
    assert ledger.finish(store, going.run_id, 1, Outcome("succeeded"), START)
    assert not tick(store, jobset, START).changed


def test_what_is_taken_away_does_not_start_it(store: Store) -> None:
    tick(store, jobs(report_job("bench.*")), START)
    publish(store, "bench.live")
    tick(store, jobs(report_job()), START)
    with write(store.control) as connection:
        assert withdraw(connection, "bench.live", START)
    assert not tick(store, jobs(report_job()), START).changed


def test_it_may_have_a_schedule_as_well(store: Store) -> None:
    jobset = jobs(report_job(schedule="0 * * * *"))
    tick(store, jobset, START)
    publish(store, "rain.sums")
    report = tick(store, jobset, START + 31 * MINUTE)
    assert [due.slot[:13] for due in report.created] == ["2026-11-20T11", "event:publish"]


def test_two_schedulers_make_one_run_of_it(any_store: Store) -> None:
    jobset = jobs(report_job())
    tick(any_store, jobset, START)
    publish(any_store, "rain.sums")
    together = threading.Barrier(2)
    made: list[int] = []

    def step() -> None:
        together.wait()
        made.append(len(tick(any_store, jobset, START).created))

    threads = [threading.Thread(target=step) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [0, 1]


def test_no_event_becomes_visible_after_a_later_one(any_store: Store) -> None:
    for name in ("slow", "quick"):
        made = write_artefact(
            any_store.outputs, f"rain.{name}", 1, run_id=name, attempt=1,
            folder=any_store.outputs / name, as_of=START,
        )  # fmt: skip
        with write(any_store.control) as connection:
            record(connection, made, START)
    seen: list[list[str]] = []

    def be_quick() -> None:
        with write(any_store.control) as connection:
            publish_run(connection, "quick", 1, START)
        with read(any_store.control) as connection:
            seen.append([event.name for event in events_after(connection)])

    thread = threading.Thread(target=be_quick)
    with write(any_store.control) as connection:
        publish_run(connection, "slow", 1, START)
        thread.start()
        thread.join(0.5)
    thread.join()
    assert seen == [["rain.slow", "rain.quick"]]


def test_the_list_of_jobs_says_what_it_waits_for() -> None:
    assert starts_text(report_job()) == "on rain.*"
    assert starts_text(report_job(every_s=300)) == "every 5m, on rain.*"
