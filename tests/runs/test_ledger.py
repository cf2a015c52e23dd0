"""The ledger: one row per slot, one owner per run, fenced twins, retries, what is held."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from workspace_lib.errors import ParameterError, PublishError, StoreError
from workspace_lib.runs import ledger
from workspace_lib.runs.job_spec import JobSpec, OnBusy, Retries
from workspace_lib.runs.ledger_queries import count_active, find_run
from workspace_lib.runs.outcomes import UNSTARTED_LIMIT
from workspace_lib.runs.states import (
    STATES,
    TRANSITIONS,
    Claim,
    Outcome,
    check_transition,
    slot_text,
)
from workspace_lib.runs.tables import runs
from workspace_lib.settings import Settings
from workspace_lib.store import leases
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.migrate import open_store
from workspace_lib.store.publications import load_published, record, write_artefact

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LEASE_S = 30.0


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def create(store: Store, job: str = "job", slot: str = "manual:1", **values: Any) -> str:
    spec = JobSpec(job, notebook="n", **values)
    with write(store.control) as connection:
        run_id = ledger.create_run(connection, spec, slot, due=NOW, now=NOW)
    assert run_id is not None
    return run_id


def start(store: Store, now: datetime = NOW, **values: Any) -> Claim:
    create(store, **values)
    (claim,) = ledger.claim(store, owner="test", now=now, limit=1, lease_s=LEASE_S)
    assert ledger.begin(store, claim.run_id, claim.attempt, host="h", pid=7, now=now)
    return claim


def state(store: Store, run_id: str) -> tuple[str, str | None]:
    run = ledger.get_run(store, run_id)
    assert run is not None
    return run.state, run.cause


def test_a_slot_has_one_run_however_often_it_is_written(any_store: Store) -> None:
    spec = JobSpec("job", notebook="n")
    with write(any_store.control) as connection:
        for slot in ("2026-11-20T12:00:00Z", "2026-11-20T13:00:00+01:00", NOW):
            ledger.create_run(connection, spec, slot, due=NOW, now=NOW)
    (run,) = ledger.list_runs(any_store)
    assert (run.slot, run.slot_at) == ("2026-11-20T12:00:00Z", NOW)


@pytest.mark.parametrize("slot", ["tomorrow", "2026-11-20T12:00:00", "event:", "manual:a b"])
def test_what_is_no_slot_is_refused(slot: str) -> None:
    with pytest.raises(ParameterError):
        slot_text(slot)


def test_a_run_through_its_life(any_store: Store) -> None:
    claim = start(any_store, parameters={"days": 3})
    assert claim.parameters == {"days": 3}
    assert JobSpec.from_dict(claim.spec).notebook == "n"
    beat = ledger.heartbeat(any_store, claim.run_id, 1, later(5), progress=(0.5, "half"))
    assert (beat.alive, beat.cancel) == (True, False)
    running = ledger.get_run(any_store, claim.run_id)
    assert running is not None
    assert (running.state, running.progress, running.progress_text) == ("running", 0.5, "half")
    assert running.lease_until == later(5 + LEASE_S)
    metrics = {"cpu_s": 1.5, "peak_memory_bytes": 10**10, "files": 3, "bytes": 4, "rows": 5}
    outcome = Outcome("succeeded", metrics=metrics)
    assert ledger.finish(any_store, claim.run_id, 1, outcome, later(9))
    run = ledger.get_run(any_store, claim.run_id)
    assert run is not None
    assert (run.state, run.ended_at, run.duration_s) == ("succeeded", later(9), 9.0)
    assert (run.cpu_s, run.peak_memory_bytes, run.files, run.bytes, run.rows) == (
        1.5, 10**10, 3, 4, 5,
    )  # fmt: skip
    (attempt,) = run.attempts
    assert (attempt.number, attempt.state, attempt.pid) == (1, "succeeded", 7)


def test_provenance_is_kept_with_the_attempt(any_store: Store) -> None:
    create(any_store)
    (claim,) = ledger.claim(any_store, owner="test", now=NOW, limit=1)
    sha = {"notebook_sha256": "ab"}
    ledger.begin(any_store, claim.run_id, 1, host="h", pid=1, now=NOW, provenance=sha)
    ledger.set_provenance(any_store, claim.run_id, 1, {**sha, "outputs": ["x"]})
    run = ledger.get_run(any_store, claim.run_id)
    assert run is not None
    assert run.attempts[0].provenance == {"notebook_sha256": "ab", "outputs": ["x"]}


def test_a_twin_of_an_older_attempt_is_fenced(any_store: Store) -> None:
    claim = start(any_store, retries=Retries(2, 0.0, ("runner_lost",)))
    assert ledger.reap(any_store, later(LEASE_S + 1)) == [claim.run_id]
    (second,) = ledger.claim(any_store, owner="other", now=later(60), limit=1)
    assert (second.run_id, second.attempt) == (claim.run_id, 2)
    assert not ledger.heartbeat(any_store, claim.run_id, 1, later(61)).alive
    assert not ledger.begin(any_store, claim.run_id, 1, host="h", pid=1, now=later(61))
    assert not ledger.finish(any_store, claim.run_id, 1, Outcome("succeeded"), later(61))
    assert state(any_store, claim.run_id)[0] == "claimed"
    ledger.begin(any_store, claim.run_id, 2, host="h", pid=2, now=later(62))
    assert ledger.finish(any_store, claim.run_id, 2, Outcome("succeeded"), later(63))
    run = ledger.get_run(any_store, claim.run_id)
    assert run is not None
    assert [(a.number, a.state) for a in run.attempts] == [(1, "lost"), (2, "succeeded")]


def test_an_ended_run_is_not_ended_again(any_store: Store) -> None:
    claim = start(any_store)
    assert ledger.finish(any_store, claim.run_id, 1, Outcome("failed", "notebook_error"), NOW)
    assert not ledger.finish(any_store, claim.run_id, 1, Outcome("succeeded"), NOW)
    assert state(any_store, claim.run_id) == ("failed", "notebook_error")


def test_a_heartbeat_keeps_a_run_from_being_lost(any_store: Store) -> None:
    claim = start(any_store)
    ledger.heartbeat(any_store, claim.run_id, 1, later(LEASE_S - 1))
    assert ledger.reap(any_store, later(LEASE_S + 5)) == []
    assert ledger.reap(any_store, later(2 * LEASE_S + 5)) == [claim.run_id]
    assert state(any_store, claim.run_id) == ("lost", "runner_lost")


def test_a_claim_that_never_began_is_due_again(any_store: Store) -> None:
    run_id = create(any_store)
    for attempt in range(1, UNSTARTED_LIMIT + 1):
        now = later(attempt * 100)
        (claim,) = ledger.claim(any_store, owner="test", now=now, limit=1, lease_s=LEASE_S)
        assert claim.attempt == attempt
        assert ledger.reap(any_store, now + timedelta(seconds=LEASE_S + 1)) == [run_id]
    assert state(any_store, run_id) == ("lost", "runner_lost")


def test_a_claim_given_back_is_due_after_a_while(any_store: Store) -> None:
    create(any_store, devices=("line:A",))
    (claim,) = ledger.claim(any_store, owner="test", now=NOW, limit=1)
    assert ledger.give_back(any_store, claim, "The executor is full.", wait_s=5, now=NOW)
    with read(any_store.control) as connection:
        assert leases.holders(connection, "line:A", NOW) == []
    assert ledger.claim(any_store, owner="test", now=NOW, limit=1) == []
    assert len(ledger.claim(any_store, owner="test", now=later(6), limit=1)) == 1


@pytest.mark.parametrize(
    ("cause", "tried_again"),
    [("source_unavailable", True), ("kernel_died", True), ("notebook_error", False)],
)
def test_a_run_is_tried_again_after_the_causes_its_job_names(
    store: Store, cause: Any, tried_again: bool
) -> None:
    retries = Retries(2, 40.0, ("source_unavailable", "kernel_died"))
    claim = start(store, retries=retries)
    ledger.finish(store, claim.run_id, 1, Outcome("failed", cause, "no"), NOW)
    run = ledger.get_run(store, claim.run_id)
    assert run is not None
    if not tried_again:
        assert run.state == "failed"
        return
    assert (run.state, run.cause, run.not_before) == ("due", cause, later(40))
    assert ledger.claim(store, owner="t", now=later(39), limit=1) == []
    (second,) = ledger.claim(store, owner="t", now=later(40), limit=1)
    ledger.begin(store, second.run_id, 2, host="h", pid=1, now=later(40))
    ledger.finish(store, second.run_id, 2, Outcome("failed", cause), later(41))
    assert state(store, claim.run_id) == ("failed", cause)


def test_a_cancelled_run_is_not_tried_again(store: Store) -> None:
    claim = start(store, retries=Retries(5, 0.0, ("kernel_died",)))
    assert ledger.request_cancel(store, claim.run_id, "ann", NOW) == "requested"
    assert ledger.heartbeat(store, claim.run_id, 1, later(1)).cancel
    ledger.finish(store, claim.run_id, 1, Outcome("failed", "kernel_died"), later(2))
    assert state(store, claim.run_id)[0] == "failed"
    assert ledger.request_cancel(store, claim.run_id, "ann", later(3)) == "ended"


def test_a_waiting_run_is_cancelled_at_once(store: Store) -> None:
    run_id = create(store)
    assert ledger.request_cancel(store, run_id, "ann", NOW) == "cancelled"
    run = ledger.get_run(store, run_id)
    assert run is not None
    assert (run.state, run.cancel_by) == ("cancelled", "ann")
    assert ledger.claim(store, owner="t", now=NOW, limit=1) == []


def test_a_run_cancelled_before_it_begins_does_not_begin(store: Store) -> None:
    run_id = create(store)
    (claim,) = ledger.claim(store, owner="t", now=NOW, limit=1)
    ledger.request_cancel(store, run_id, "ann", NOW)
    assert not ledger.begin(store, run_id, claim.attempt, host="h", pid=1, now=NOW)
    assert state(store, run_id) == ("cancelled", "cancelled")


def test_partial_is_kept_beside_the_state(any_store: Store) -> None:
    claim = start(any_store)
    outcome = Outcome("failed", "kernel_died", "gone", partial=True, last_good=later(-60))
    ledger.finish(any_store, claim.run_id, 1, outcome, NOW)
    run = ledger.get_run(any_store, claim.run_id)
    assert run is not None
    assert (run.state, run.partial, run.last_good) == ("failed", True, later(-60))


def test_a_success_moves_the_published_pointer_and_a_failure_does_not(any_store: Store) -> None:
    for slot, end, value in (("manual:1", "succeeded", 1), ("manual:2", "failed", 2)):
        claim = start(any_store, slot=slot)
        artefact = write_artefact(
            any_store.outputs,
            "rain.total",
            value,
            run_id=claim.run_id,
            attempt=1,
            folder=any_store.outputs / "runs" / claim.run_id,
            as_of=NOW,
        )
        with write(any_store.control) as connection:
            record(connection, artefact, NOW)
        if end == "succeeded":
            with pytest.raises(PublishError):
                load_published(any_store, "rain.total", now=NOW)
        cause = None if end == "succeeded" else "notebook_error"
        ledger.finish(any_store, claim.run_id, 1, Outcome(end, cause), NOW)  # type: ignore[arg-type]
    found = load_published(any_store, "rain.total", now=NOW)
    assert found.data == 1


def test_a_job_runs_once_at_a_time(any_store: Store) -> None:
    create(any_store, slot="2026-11-20T11:00:00Z")
    create(any_store, slot="2026-11-20T12:00:00Z")
    (first,) = ledger.claim(any_store, owner="a", now=NOW, limit=5)
    assert first.slot == "2026-11-20T11:00:00Z"
    assert ledger.claim(any_store, owner="b", now=NOW, limit=5) == []
    other = find_run(any_store, "job", "2026-11-20T12:00:00Z")
    assert other is not None
    assert ledger.claim_one(any_store, other.id, owner="b", now=NOW) is None
    with pytest.raises(IntegrityError), write(any_store.control) as connection:
        connection.execute(update(runs).where(runs.c.id == other.id).values(state="running"))
    ledger.begin(any_store, first.run_id, 1, host="h", pid=1, now=NOW)
    ledger.finish(any_store, first.run_id, 1, Outcome("succeeded"), NOW)
    assert len(ledger.claim(any_store, owner="b", now=NOW, limit=5)) == 1


def test_a_device_is_held_by_one_run(any_store: Store) -> None:
    create(any_store, "a", devices=("line:A", "line:B"))
    create(any_store, "b", devices=("line:B",))
    (first,) = ledger.claim(any_store, owner="t", now=NOW, limit=5, lease_s=LEASE_S)
    with read(any_store.control) as connection:
        (lease,) = leases.holders(connection, "line:B", NOW)
    assert lease.holder == first.holder == f"{first.run_id}:1"
    ledger.begin(any_store, first.run_id, 1, host="h", pid=1, now=NOW)
    ledger.heartbeat(any_store, first.run_id, 1, later(20))
    assert ledger.claim(any_store, owner="t", now=later(35), limit=5) == []
    ledger.finish(any_store, first.run_id, 1, Outcome("succeeded"), later(36))
    (second,) = ledger.claim(any_store, owner="t", now=later(37), limit=5)
    assert second.job != first.job


def test_a_run_that_finds_one_device_busy_holds_none(store: Store) -> None:
    leases.acquire(store.control, "line:B", "somebody", ttl_s=60, now=NOW)
    create(store, devices=("line:A", "line:B"))
    assert ledger.claim(store, owner="t", now=NOW, limit=1) == []
    with read(store.control) as connection:
        assert leases.holders(connection, "line:A", NOW) == []


@pytest.mark.parametrize(("then", "end"), [("skip", "skipped"), ("fail", "failed")])
def test_a_run_waits_for_a_busy_device_and_then_gives_up(
    any_store: Store, then: Any, end: str
) -> None:
    leases.acquire(any_store.control, "line:A", "somebody", ttl_s=9000, now=NOW)
    run_id = create(any_store, devices=("line:A",), on_busy=OnBusy(60, then))
    for seconds in (0, 30, 59):
        assert ledger.claim(any_store, owner="t", now=later(seconds), limit=1) == []
        assert state(any_store, run_id)[0] == "due"
    ledger.claim(any_store, owner="t", now=later(60), limit=1)
    assert state(any_store, run_id) == (end, "device_busy")


def test_a_shared_source_takes_as_many_runs_as_its_capacity(any_store: Store) -> None:
    for job in ("a", "b", "c"):
        create(any_store, job, capacity={"ftp:plant": 2})
    assert len(ledger.claim(any_store, owner="t", now=NOW, limit=5)) == 2


def test_an_attempt_that_lost_its_device_is_told_to_stop(store: Store) -> None:
    claim = start(store, devices=("line:A",))
    late = later(LEASE_S + 1)
    leases.acquire(store.control, "line:A", "somebody", ttl_s=60, now=late)
    assert not ledger.heartbeat(store, claim.run_id, 1, late).alive


def test_a_lost_run_gives_its_device_back(store: Store) -> None:
    start(store, devices=("line:A",))
    ledger.reap(store, later(LEASE_S + 1))
    with read(store.control) as connection:
        assert leases.held(connection, NOW) == []


def test_scheduled_runs_pass_a_backfill(store: Store) -> None:
    spec = JobSpec("job", notebook="n")
    with write(store.control) as connection:
        for slot, priority in (("2026-11-01T00:00:00Z", 1), ("2026-11-20T12:00:00Z", 0)):
            ledger.create_run(connection, spec, slot, due=NOW, now=NOW, priority=priority)
    (claim,) = ledger.claim(store, owner="t", now=NOW, limit=1)
    assert claim.slot == "2026-11-20T12:00:00Z"


def test_the_owner_may_refuse_a_job(store: Store) -> None:
    create(store, "a")
    create(store, "b")
    claims = ledger.claim(
        store, owner="t", now=NOW, limit=5, can_start=lambda job, spec: job == "b"
    )
    assert [claim.job for claim in claims] == ["b"]


def test_a_service_is_claimed_only_by_its_supervisor(store: Store) -> None:
    spec = JobSpec("job", service="module:serve")
    with write(store.control) as connection:
        run_id = ledger.create_run(connection, spec, "event:start", due=NOW, now=NOW)
    assert run_id is not None
    assert ledger.claim(store, owner="t", now=NOW, limit=5) == []
    assert ledger.claim_one(store, run_id, owner="t", now=NOW) is not None


def test_an_ended_run_can_be_wanted_again(any_store: Store) -> None:
    claim = start(any_store, parameters={"days": 1})
    with write(any_store.control) as connection:
        assert not ledger.requeue(connection, claim.run_id, now=NOW)
    ledger.finish(any_store, claim.run_id, 1, Outcome("failed", "notebook_error"), NOW)
    with write(any_store.control) as connection:
        assert ledger.requeue(connection, claim.run_id, now=NOW, parameters={"days": 2})
    (again,) = ledger.claim(any_store, owner="t", now=NOW, limit=1)
    assert (again.attempt, again.parameters) == (2, {"days": 2})


def test_a_repeated_old_slot_does_not_take_the_pointer_from_a_newer_one(store: Store) -> None:
    spec = JobSpec("job", notebook="n")
    for slot, value in (("2026-11-20T12:00:00Z", "new"), ("2026-11-19T12:00:00Z", "old")):
        with write(store.control) as connection:
            ledger.create_run(connection, spec, slot, due=NOW, now=NOW)
        (claim,) = ledger.claim(store, owner="t", now=NOW, limit=1)
        ledger.begin(store, claim.run_id, 1, host="h", pid=1, now=NOW)
        as_of = datetime.fromisoformat(slot)
        artefact = write_artefact(
            store.outputs, "rain.total", value, run_id=claim.run_id, attempt=1,
            folder=store.outputs / "runs" / claim.run_id, as_of=as_of,
        )  # fmt: skip
        with write(store.control) as connection:
            record(connection, artefact, NOW)
        assert ledger.finish(store, claim.run_id, 1, Outcome("succeeded"), NOW)
    assert load_published(store, "rain.total", now=NOW).data == "new"


def test_unknown_outcomes_are_refused(store: Store) -> None:
    claim = start(store)
    for outcome in (Outcome("due"), Outcome("failed", "bad_luck")):  # type: ignore[arg-type]
        with pytest.raises(StoreError):
            ledger.finish(store, claim.run_id, 1, outcome, NOW)
    assert state(store, claim.run_id)[0] == "running"


def test_only_a_run_that_began_can_succeed(store: Store) -> None:
    run_id = create(store)
    ledger.claim(store, owner="t", now=NOW, limit=1)
    with pytest.raises(StoreError):
        ledger.finish(store, run_id, 1, Outcome("succeeded"), NOW)


def test_the_table_of_transitions_is_closed_and_enforced() -> None:
    assert set(TRANSITIONS) == set(STATES)
    for old in STATES:
        for new in STATES:
            if new in TRANSITIONS[old]:
                check_transition(old, new)
            else:
                with pytest.raises(StoreError):
                    check_transition(old, new)


def test_the_database_refuses_an_unknown_state(any_store: Store) -> None:
    run_id = create(any_store)
    with pytest.raises(IntegrityError), write(any_store.control) as connection:
        connection.execute(update(runs).where(runs.c.id == run_id).values(state="asleep"))


def test_summaries_count_what_ran_and_what_was_missed(any_store: Store) -> None:
    for number, (end, seconds) in enumerate(
        [("succeeded", 2), ("succeeded", 4), ("succeeded", 90), ("failed", 1), ("cancelled", 1)]
    ):
        claim = start(any_store, slot=f"manual:{number}", now=NOW)
        cause = {"failed": "notebook_error", "cancelled": "cancelled"}.get(end)
        outcome = Outcome(end, cause)  # type: ignore[arg-type]
        ledger.finish(any_store, claim.run_id, 1, outcome, later(seconds))
    with write(any_store.control) as connection:
        ledger.create_run(
            connection, JobSpec("job", notebook="n"), NOW, due=NOW, now=NOW, state="skipped",
            cause="missed_slot",
        )  # fmt: skip
    summary = ledger.job_summaries(any_store)["job"]
    assert (summary.runs, summary.succeeded, summary.failed, summary.gaps) == (4, 3, 1, 1)
    assert (summary.success_rate, summary.median_duration_s) == (0.75, 4.0)
    assert (summary.last_state, summary.last_success) == ("succeeded", later(90))


def test_active_runs_are_counted_by_host(store: Store) -> None:
    create(store, "a")
    create(store, "b")
    ledger.claim(store, owner="scheduler@here:1:ab", now=NOW, limit=1)
    ledger.claim(store, owner="scheduler@there:1:ab", now=NOW, limit=1)
    assert count_active(store, "here") == 1


RACER = """
import sys, threading, time
from datetime import UTC, datetime
from workspace_lib.runs import ledger
from workspace_lib.runs.states import Outcome
from workspace_lib.settings import load_settings
from workspace_lib.store.migrate import open_store
site, root, process = sys.argv[1:]
now = datetime(2026, 11, 20, 12, tzinfo=UTC)

def race(store, name):
    while True:
        claims = ledger.claim(store, owner=name, now=now, limit=3)
        for claim in claims:
            assert ledger.begin(store, claim.run_id, claim.attempt, host=name, pid=1, now=now)
            print(f"claimed {claim.job} {claim.slot} {claim.attempt}\\n", end="", flush=True)
        for claim in claims:
            assert ledger.finish(store, claim.run_id, claim.attempt, Outcome("succeeded"), now)
        if not claims:
            if not ledger.list_runs(store, states=["due", "claimed", "running"], limit=1):
                break
            time.sleep(0.01)

with open_store(load_settings(site, root=root)) as store:
    names = [f"{process}-{n}" for n in range(4)]
    racers = [threading.Thread(target=race, args=(store, name)) for name in names]
    print("ready", flush=True)
    sys.stdin.readline()
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.server)]
)
def test_eight_racers_in_two_processes_claim_each_of_a_hundred_slots_once(
    database: str, make_site: Callable[..., Settings], request: pytest.FixtureRequest
) -> None:
    site: dict[str, object] = {"timezone": "Europe/Paris"}
    if database == "postgresql":
        site["store"] = {"url": request.getfixturevalue("postgres_store_url")}
    settings = make_site(site)
    with open_store(settings, create=True) as store:
        with write(store.control) as connection:
            for job in range(10):
                spec = JobSpec(f"job{job}", notebook="n", capacity={"ftp:plant": 12})
                slots = [f"event:{number}" for number in range(10)]
                ledger.create_runs(connection, spec, slots, due=NOW, now=NOW)
        racers = [
            subprocess.Popen(
                [sys.executable, "-c", RACER, settings.site, str(settings.root), f"racer{n}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for n in range(2)
        ]
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        results = []
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        for racer in racers:
            out, errors = racer.communicate(timeout=150)
            assert racer.returncode == 0, errors
            results += [line for line in out.splitlines() if line.startswith("claimed")]
        assert len(results) == len(set(results)) == 100
        assert all(line.endswith(" 1") for line in results)
        with read(store.control) as connection:
            ended = connection.execute(select(runs.c.state, runs.c.attempt)).all()
        assert ended == [("succeeded", 1)] * 100
