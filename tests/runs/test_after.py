"""Jobs that let others go first: earlier runs of those that are due or active, and no more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from workspace_lib.runs import ledger
from workspace_lib.runs.job_spec import JobSpec, Retries
from workspace_lib.runs.states import Claim, Outcome
from workspace_lib.store.engines import Store, write

NOW = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
COPY = JobSpec("copy", notebook="n", retries=Retries(2, 60.0, ("source_unavailable",)))
CAPTURE = JobSpec("capture", notebook="n", after=("copy",))


def due(store: Store, spec: JobSpec, at: datetime = NOW, *, priority: int = 0) -> str:
    with write(store.control) as connection:
        run_id = ledger.create_run(
            connection, spec, f"manual:{at.timestamp()}", due=at, now=at, priority=priority
        )
    assert run_id is not None
    return run_id


def claimed(store: Store, at: datetime = NOW) -> list[Claim]:
    return ledger.claim(store, owner="test", now=at, limit=10)


def names(claims: list[Claim]) -> list[str]:
    return [claim.job for claim in claims]


def end(store: Store, claim: Claim, outcome: Outcome, at: datetime = NOW) -> None:
    assert ledger.begin(store, claim.run_id, claim.attempt, host="h", pid=1, now=at)
    assert ledger.finish(store, claim.run_id, claim.attempt, outcome, at)


def test_a_run_waits_until_those_that_go_first_have_ended(any_store: Store) -> None:
    due(any_store, CAPTURE)
    due(any_store, COPY)
    (copy,) = claimed(any_store)
    assert copy.job == "copy"
    assert claimed(any_store) == []
    end(any_store, copy, Outcome("failed", "notebook_error", "It went wrong."))
    assert names(claimed(any_store)) == ["capture"]


def test_what_became_due_later_need_not_be_waited_for(store: Store) -> None:
    due(store, CAPTURE)
    due(store, COPY, NOW + MINUTE)
    assert sorted(names(claimed(store, NOW + 2 * MINUTE))) == ["capture", "copy"]


def test_a_backfill_need_not_be_waited_for(store: Store) -> None:
    due(store, CAPTURE)
    due(store, COPY, priority=10)
    assert sorted(names(claimed(store))) == ["capture", "copy"]


def test_a_run_that_waits_for_its_next_try_need_not_be_waited_for(store: Store) -> None:
    due(store, CAPTURE)
    due(store, COPY)
    (copy,) = claimed(store)
    end(store, copy, Outcome("failed", "source_unavailable", "It does not answer."))
    assert names(claimed(store)) == ["capture"]


def test_without_such_a_run_nothing_waits(store: Store) -> None:
    due(store, CAPTURE)
    assert names(claimed(store)) == ["capture"]
