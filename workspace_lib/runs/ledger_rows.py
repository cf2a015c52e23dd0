"""Rows of the ledger: locked while they change, and ended in one way only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from workspace_lib.runs import resources
from workspace_lib.runs.outcomes import UNSTARTED_LIMIT, Decision
from workspace_lib.runs.states import ACTIVE, Cause, Outcome, State, check_transition, holder_id
from workspace_lib.runs.tables import attempts, runs

#: What a run cost and did, as columns of runs and attempts.
METRICS = ("duration_s", "cpu_s", "peak_memory_bytes", "files", "bytes", "rows")


def owned(connection: Connection, run_id: str, attempt: int) -> Row[Any] | None:
    """Return the run's row if ``attempt`` is its newest and still active."""
    run = locked(connection, run_id)
    if run is None or run.attempt != attempt or run.state not in ACTIVE:
        return None
    return run


def locked(connection: Connection, run_id: str, *, skip_locked: bool = False) -> Row[Any] | None:
    """Return the run's row, locked until the transaction ends (SQLite has locked everything)."""
    query = select(runs).where(runs.c.id == run_id)
    return connection.execute(query.with_for_update(skip_locked=skip_locked)).first()


def end_waiting(
    connection: Connection, run_id: str, state: State, cause: Cause, message: str, now: datetime
) -> bool:
    """End a run that is due and will not be run; False if it is not due any more."""
    check_transition("due", state)
    done = connection.execute(
        update(runs)
        .where(runs.c.id == run_id, runs.c.state == "due")
        .values(state=state, cause=cause, message=message, ended_at=now)
    )
    return done.rowcount == 1


def end_unstarted(
    connection: Connection, run: Row[Any], reason: str, not_before: datetime, now: datetime
) -> None:
    """End an attempt that never began; its run is due again unless that happens for ever."""
    recent = (
        select(func.count())
        .select_from(attempts)
        .where(
            attempts.c.run_id == run.id,
            attempts.c.number > run.attempt - UNSTARTED_LIMIT,
            attempts.c.started_at.is_(None),
        )
    )
    outcome = Outcome("lost", "runner_lost", reason)
    if run.cancel_at is not None:
        outcome = Outcome("cancelled", "cancelled", f"Cancelled by {run.cancel_by}.")
        decision = Decision("cancelled")
    elif connection.execute(recent).scalar_one() >= UNSTARTED_LIMIT:
        decision = Decision("lost")
    else:
        decision = Decision("due", not_before)
    end_attempt(connection, run, outcome, decision, now)


def end_attempt(
    connection: Connection, run: Row[Any], outcome: Outcome, decision: Decision, now: datetime
) -> None:
    check_transition(run.state, outcome.state)
    check_transition(run.state, decision.state)
    metrics = {name: outcome.metrics.get(name) for name in METRICS}
    if metrics["duration_s"] is None and run.started_at is not None:
        metrics["duration_s"] = (now - run.started_at).total_seconds()
    ended = {
        "cause": outcome.cause,
        "message": outcome.message,
        "partial": outcome.partial,
        "last_good": outcome.last_good,
        **metrics,
    }
    connection.execute(
        update(attempts)
        .where(attempts.c.run_id == run.id, attempts.c.number == run.attempt)
        .values(state=outcome.state, ended_at=now, **ended)
    )
    ended["state"] = decision.state
    ended["lease_until"] = None
    if decision.state == "due":
        ended["not_before"] = decision.not_before
    else:
        ended["ended_at"] = now
    if decision.state == "succeeded":
        ended["fired"] = False
        ended["progress"] = 1.0
    connection.execute(update(runs).where(runs.c.id == run.id).values(ended))
    resources.release_all(connection, holder_id(run.id, run.attempt))
