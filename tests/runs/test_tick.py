"""A tick turns instants into runs: missed slots, overlap, chains, triggers, clocks, wrong files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from workspace_lib.clock import iso, parse_instant
from workspace_lib.runs import ledger
from workspace_lib.runs.job_memory import effective_specs
from workspace_lib.runs.job_spec import JobSpec, Retries
from workspace_lib.runs.specs import JobSet, Problem
from workspace_lib.runs.states import Outcome
from workspace_lib.runs.tick import GAP_LIMIT, divide, tick
from workspace_lib.store.alarms import open_alarms
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.triggers import pending, request_run

START = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


def jobs(*specs: JobSpec) -> JobSet:
    return JobSet({spec.name: spec for spec in specs}, (), {spec.name: spec.file for spec in specs})


def hourly(name: str = "job", **values: Any) -> JobSpec:
    return JobSpec(name, **{"notebook": name, "schedule": "0 * * * *", **values})


def slots(store: Store, job: str, *states: str) -> list[str]:
    return [run.slot[11:16] for run in reversed(ledger.list_runs(store, job=job, states=states))]


@pytest.fixture
def do_run() -> Callable[..., list[str]]:
    """Claim what is due and end it at once; returns the slots in the order claimed."""

    def do(store: Store, now: datetime, state: str = "succeeded", cause: str | None = None):
        done = []
        while found := ledger.claim(store, owner="test", now=now, limit=10):
            for claim in found:
                assert ledger.begin(store, claim.run_id, claim.attempt, host="h", pid=1, now=now)
                outcome = Outcome(state, cause)  # type: ignore[arg-type]
                assert ledger.finish(store, claim.run_id, claim.attempt, outcome, now)
                done.append(claim.slot[11:16] if claim.slot[0] == "2" else claim.slot)
        return done

    return do


def test_a_job_seen_for_the_first_time_does_not_run_its_past(any_store: Store) -> None:
    spec = hourly(catch_up="each")
    assert not tick(any_store, jobs(spec), START).changed
    report = tick(any_store, jobs(spec), START + HOUR)
    assert [due.slot for due in report.created] == ["2026-11-20T11:00:00Z"]


@pytest.mark.parametrize(
    ("catch_up", "due", "skipped"),
    [
        ("skip", [], ["11:00", "12:00", "13:00"]),
        ("latest", ["13:00"], []),
        ("each", ["11:00", "12:00", "13:00"], []),
    ],
)
def test_three_missed_slots(
    any_store: Store, do_run: Any, catch_up: str, due: list[str], skipped: list[str]
) -> None:
    spec = hourly(catch_up=catch_up)
    tick(any_store, jobs(spec), START)
    back = START + 3 * HOUR
    report = tick(any_store, jobs(spec), back)
    assert report.gaps == len(skipped)
    assert slots(any_store, "job", "due") == due
    assert slots(any_store, "job", "skipped") == skipped
    assert all(
        run.cause == "missed_slot" for run in ledger.list_runs(any_store, states=["skipped"])
    )
    assert do_run(any_store, back) == due
    assert not tick(any_store, jobs(spec), back).changed
    assert do_run(any_store, back) == []


def test_a_live_job_runs_the_slot_that_comes_in_time(store: Store) -> None:
    spec = hourly(catch_up="skip")
    tick(store, jobs(spec), START)
    tick(store, jobs(spec), parse_instant("2026-11-20T13:00:20Z"))
    assert slots(store, "job", "due") == ["13:00"]
    assert slots(store, "job", "skipped") == ["11:00", "12:00"]


def test_each_runs_at_most_so_many_and_records_the_older_as_gaps(store: Store) -> None:
    spec = hourly(catch_up="each", max_catch_up=2)
    tick(store, jobs(spec), START)
    tick(store, jobs(spec), START + 5 * HOUR)
    assert slots(store, "job", "due") == ["14:00", "15:00"]
    assert slots(store, "job", "skipped") == ["11:00", "12:00", "13:00"]


def test_a_very_long_outage_is_recorded_up_to_a_limit(store: Store) -> None:
    spec = JobSpec("job", notebook="job", every_s=30, catch_up="skip")
    tick(store, jobs(spec), START)
    report = tick(store, jobs(spec), START + timedelta(seconds=30 * (GAP_LIMIT + 500)) + HOUR)
    assert report.gaps == GAP_LIMIT


def test_slots_that_come_while_a_run_goes_on_become_one(store: Store) -> None:
    spec = hourly()
    tick(store, jobs(spec), START)
    tick(store, jobs(spec), START + HOUR)
    (going,) = ledger.claim(store, owner="a", now=START + HOUR, limit=5)
    tick(store, jobs(spec), START + 2 * HOUR)
    tick(store, jobs(spec), START + 3 * HOUR)
    assert ledger.claim(store, owner="b", now=START + 3 * HOUR, limit=5) == []
    assert slots(store, "job", "due") == ["13:00"]
    (gone,) = ledger.list_runs(store, states=["skipped"])
    assert (gone.slot, gone.cause) == ("2026-11-20T12:00:00Z", "overlap")
    ledger.begin(store, going.run_id, 1, host="h", pid=1, now=START + HOUR)
    ledger.finish(store, going.run_id, 1, Outcome("succeeded"), START + 3 * HOUR)
    (after,) = ledger.claim(store, owner="b", now=START + 3 * HOUR, limit=5)
    assert after.slot == "2026-11-20T13:00:00Z"


def test_each_waits_in_order_behind_a_run_that_goes_on(store: Store, do_run: Any) -> None:
    spec = hourly(catch_up="each")
    tick(store, jobs(spec), START)
    tick(store, jobs(spec), START + HOUR)
    (going,) = ledger.claim(store, owner="a", now=START + HOUR, limit=5)
    for hours in (2, 3):
        tick(store, jobs(spec), START + hours * HOUR)
    ledger.begin(store, going.run_id, 1, host="h", pid=1, now=START + HOUR)
    ledger.finish(store, going.run_id, 1, Outcome("failed", "notebook_error"), START + 3 * HOUR)
    assert do_run(store, START + 3 * HOUR) == ["12:00", "13:00"]


def test_each_does_not_pass_a_slot_that_waits_for_its_next_try(store: Store, do_run: Any) -> None:
    spec = hourly(catch_up="each", retries=Retries(2, 600, ("kernel_died",)))
    tick(store, jobs(spec), START)
    tick(store, jobs(spec), START + 2 * HOUR)
    now = START + 2 * HOUR
    (first,) = ledger.claim(store, owner="a", now=now, limit=1)
    ledger.begin(store, first.run_id, 1, host="h", pid=1, now=now)
    ledger.finish(store, first.run_id, 1, Outcome("failed", "kernel_died"), now)
    assert do_run(store, now) == []
    assert do_run(store, now + timedelta(seconds=601)) == ["11:00", "12:00"]


def test_overlap_skip_records_the_slot_and_runs_nothing(store: Store) -> None:
    spec = hourly(overlap="skip")
    tick(store, jobs(spec), START)
    tick(store, jobs(spec), START + HOUR)
    ledger.claim(store, owner="a", now=START + HOUR, limit=5)
    assert tick(store, jobs(spec), START + 2 * HOUR).created == []
    (skipped,) = ledger.list_runs(store, states=["skipped"])
    assert (skipped.slot, skipped.cause) == ("2026-11-20T12:00:00Z", "overlap")


def test_a_clock_that_goes_back_repeats_no_slot_and_goes_on(store: Store, do_run: Any) -> None:
    spec = hourly(catch_up="each")
    tick(store, jobs(spec), START)
    now = START + 2 * HOUR
    tick(store, jobs(spec), now)
    assert do_run(store, now) == ["11:00", "12:00"]
    # The clock is set back by ninety minutes, and time passes again.
    for minutes in range(-90, 150, 10):
        later = now + timedelta(minutes=minutes)
        tick(store, jobs(spec), later)
        do_run(store, later)
    assert slots(store, "job") == ["11:00", "12:00", "13:00", "14:00"]
    assert all(run.attempt == 1 for run in ledger.list_runs(store))


def test_a_clock_that_was_far_ahead_does_not_stop_the_schedule(store: Store, do_run: Any) -> None:
    spec = hourly()
    tick(store, jobs(spec), START)
    tick(store, jobs(spec), START + timedelta(days=400))
    do_run(store, START + timedelta(days=400))
    tick(store, jobs(spec), START)
    report = tick(store, jobs(spec), START + HOUR)
    assert [due.slot for due in report.created] == ["2026-11-20T11:00:00Z"]


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("Europe/Paris", ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
        (
            "America/Montreal",
            ["2026-10-24T06:30:00Z", "2026-10-25T06:30:00Z"],
        ),
    ],
)
def test_ticks_through_an_autumn_night_run_each_slot_once(
    store: Store, do_run: Any, zone: str, expected: list[str]
) -> None:
    spec = JobSpec("job", notebook="job", schedule="30 2 * * *", timezone=zone, catch_up="each")
    now = datetime(2026, 10, 23, 12, tzinfo=UTC)
    while now < datetime(2026, 10, 26, 2, tzinfo=UTC):
        tick(store, jobs(spec), now)
        do_run(store, now)
        now += timedelta(minutes=20)
    found = [run.slot for run in reversed(ledger.list_runs(store))]
    assert found == expected


def test_a_changed_schedule_has_no_past(store: Store) -> None:
    tick(store, jobs(hourly(catch_up="each")), START)
    changed = hourly(catch_up="each", schedule="*/5 * * * *")
    assert tick(store, jobs(changed), START + timedelta(minutes=25)).created == []
    report = tick(store, jobs(changed), START + timedelta(minutes=31))
    assert [due.slot[11:16] for due in report.created] == ["11:00"]


def test_a_job_at_rest_makes_nothing_due_and_catches_up_nothing(store: Store) -> None:
    tick(store, jobs(hourly(catch_up="each")), START)
    tick(store, jobs(hourly(catch_up="each", enabled=False)), START + 3 * HOUR)
    tick(store, jobs(hourly(catch_up="each")), START + 5 * HOUR)
    assert ledger.list_runs(store) == []
    tick(store, jobs(hourly(catch_up="each")), START + 6 * HOUR)
    assert slots(store, "job", "due") == ["16:00"]


def test_a_wrong_file_keeps_the_last_good_one_and_raises_an_alarm(store: Store) -> None:
    good = hourly(file="jobs/job.yml")
    tick(store, jobs(good), START)
    wrong = JobSet({}, (Problem("jobs/job.yml", 3, "unknown key", "job"),), {"job": "jobs/job.yml"})
    report = tick(store, wrong, START + HOUR)
    assert [due.slot[11:16] for due in report.created] == ["11:00"]
    assert effective_specs(store, wrong) == {"job": good}
    with read(store.control) as connection:
        (alarm,) = open_alarms(connection)
    assert alarm.key == "job:job"
    assert "jobs/job.yml:3: unknown key" in alarm.message
    tick(store, jobs(good), START + HOUR)
    with read(store.control) as connection:
        assert open_alarms(connection) == []


def test_a_wrong_file_seen_first_runs_nothing_and_starts_when_it_is_right(store: Store) -> None:
    wrong = JobSet({}, (Problem("jobs/job.yml", 1, "bad", "job"),), {"job": "jobs/job.yml"})
    tick(store, wrong, START)
    assert effective_specs(store, wrong) == {}
    tick(store, jobs(hourly(catch_up="each")), START + 3 * HOUR)
    assert ledger.list_runs(store) == []


def test_a_removed_file_cancels_what_waits(store: Store) -> None:
    tick(store, jobs(hourly()), START)
    tick(store, jobs(hourly()), START + HOUR)
    tick(store, jobs(), START + HOUR)
    (run,) = ledger.list_runs(store)
    assert run.state == "cancelled"
    tick(store, jobs(), START + 2 * HOUR)
    assert len(ledger.list_runs(store)) == 1


def test_an_unreadable_folder_changes_no_job(store: Store) -> None:
    tick(store, jobs(hourly()), START)
    gone = JobSet(problems=(Problem("jobs", None, "missing"),), readable=False)
    report = tick(store, gone, START + HOUR)
    assert [due.slot[11:16] for due in report.created] == ["11:00"]


def test_on_fires_after_success_only_and_keeps_the_slot(any_store: Store, do_run: Any) -> None:
    chain = jobs(hourly("first"), JobSpec("second", notebook="n", on="first"))
    tick(any_store, chain, START)
    tick(any_store, chain, START + HOUR)
    do_run(any_store, START + HOUR, "failed", "notebook_error")
    tick(any_store, chain, START + HOUR)
    assert slots(any_store, "second") == []
    tick(any_store, chain, START + 2 * HOUR)
    do_run(any_store, START + 2 * HOUR)
    report = tick(any_store, chain, START + 2 * HOUR)
    assert [(due.job, due.slot) for due in report.created] == [("second", "2026-11-20T12:00:00Z")]
    assert not tick(any_store, chain, START + 2 * HOUR).changed


def test_a_slot_made_anew_runs_its_chain_anew(store: Store, do_run: Any) -> None:
    chain = jobs(hourly("first"), JobSpec("second", notebook="n", on="first"))
    tick(store, chain, START)
    for _ in range(2):
        tick(store, chain, START + HOUR)
        do_run(store, START + HOUR)
    (first,) = ledger.list_runs(store, job="first")
    with write(store.control) as connection:
        assert ledger.requeue(connection, first.id, now=START + HOUR)
    do_run(store, START + HOUR)
    tick(store, chain, START + HOUR)
    do_run(store, START + HOUR)
    (second,) = ledger.list_runs(store, job="second")
    assert (second.state, second.attempt) == ("succeeded", 2)


def test_events_fire_chains_too(store: Store, do_run: Any) -> None:
    chain = jobs(JobSpec("first", notebook="n"), JobSpec("second", notebook="n", on="first"))
    tick(store, chain, START)
    with write(store.control) as connection:
        request_run(connection, "first", "test:42", parameters={"test": 42}, now=START)
    tick(store, chain, START)
    assert do_run(store, START) == ["event:test:42"]
    tick(store, chain, START)
    (second,) = ledger.list_runs(store, job="second")
    assert (second.slot, second.state) == ("event:test:42", "due")


def test_a_trigger_becomes_one_run_with_its_parameters(any_store: Store) -> None:
    spec = JobSpec("job", notebook="n", parameters={"test": 0, "bench": 1})
    with write(any_store.control) as connection:
        for _ in range(2):
            request_run(connection, "job", "test:42", parameters={"test": 42}, now=START)
    report = tick(any_store, jobs(spec), START)
    assert [due.slot for due in report.created] == ["event:test:42"]
    (run,) = ledger.list_runs(any_store)
    assert run.parameters == {"test": 42, "bench": 1}
    with read(any_store.control) as connection:
        assert pending(connection) == []
    assert not tick(any_store, jobs(spec), START).changed


def test_a_trigger_for_a_job_that_does_not_exist_is_said_aloud(store: Store) -> None:
    with write(store.control) as connection:
        request_run(connection, "nobody", "x", now=START)
    tick(store, jobs(), START)
    with read(store.control) as connection:
        assert pending(connection) == []
        (alarm,) = open_alarms(connection)
    assert alarm.key == "trigger:nobody"


def test_a_trigger_waits_while_its_jobs_file_is_wrong(store: Store) -> None:
    with write(store.control) as connection:
        request_run(connection, "job", "x", now=START)
    wrong = JobSet({}, (Problem("jobs/job.yml", 1, "bad", "job"),), {"job": "jobs/job.yml"})
    tick(store, wrong, START)
    with read(store.control) as connection:
        assert len(pending(connection)) == 1
    assert tick(store, jobs(JobSpec("job", notebook="n")), START).created


def test_dividing_slots_loses_none() -> None:
    found = [START + n * HOUR for n in range(6)]
    for catch_up in ("skip", "each"):
        spec = hourly(catch_up=catch_up, max_catch_up=4)
        for late in (timedelta(), 2 * HOUR):
            run, missed = divide(spec, found, found[-1] + late)
            assert sorted(run + missed) == found


def test_a_tick_done_twice_changes_nothing(any_store: Store) -> None:
    jobset = jobs(hourly("a"), hourly("b", catch_up="each"), hourly("c", catch_up="skip"))
    tick(any_store, jobset, START)
    tick(any_store, jobset, START + 3 * HOUR)
    before = ledger.list_runs(any_store)
    assert not tick(any_store, jobset, START + 3 * HOUR).changed
    assert ledger.list_runs(any_store) == before
    assert iso(before[0].due_at) == "2026-11-20T13:00:00Z"
