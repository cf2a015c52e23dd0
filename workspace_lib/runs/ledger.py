"""The ledger: every run is written here before anything happens, and changes only by these steps.

A run is one row per job and slot; each try is an attempt, and its number is a fence: an attempt
that is no longer the newest can neither heartbeat nor finish. Every step is one short transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, exists, select, update

from workspace_lib.clock import iso
from workspace_lib.errors import ParameterError
from workspace_lib.runs import resources
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.ledger_claims import claim, claim_one, give_back
from workspace_lib.runs.ledger_entries import create_run, create_runs, requeue
from workspace_lib.runs.ledger_queries import Attempt, Run, get_run, job_summaries, list_runs
from workspace_lib.runs.ledger_rows import end_attempt, end_unstarted, end_waiting, locked, owned
from workspace_lib.runs.outcomes import Decision, decide
from workspace_lib.runs.states import (
    ACTIVE,
    ENDED,
    Beat,
    Claim,
    Outcome,
    check_transition,
)
from workspace_lib.runs.tables import attempts, runs
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.publications import publish_run

__all__ = [
    "Attempt",
    "Beat",
    "Claim",
    "Outcome",
    "Run",
    "begin",
    "claim",
    "claim_one",
    "create_run",
    "create_runs",
    "end_waiting",
    "finish",
    "get_run",
    "give_back",
    "heartbeat",
    "job_summaries",
    "list_runs",
    "reap",
    "request_cancel",
    "requeue",
]

_log = logging.getLogger(__name__)


def begin(
    store: Store,
    run_id: str,
    attempt: int,
    *,
    host: str,
    pid: int,
    now: datetime,
    provenance: Mapping[str, Any] | None = None,
) -> bool:
    """Say that an attempt's process runs; False if it must not (another attempt, or cancelled)."""
    with write(store.control) as connection:
        run = owned(connection, run_id, attempt)
        if run is None or run.state != "claimed":
            return False
        if run.cancel_at is not None:
            end_unstarted(connection, run, "Cancelled before it began.", now, now)
            return False
        if not resources.renew_all(connection, run, now):
            return False
        check_transition(run.state, "running")
        connection.execute(
            update(runs)
            .where(runs.c.id == run_id)
            .values(
                state="running",
                tries=run.tries + 1,
                host=host,
                started_at=now,
                heartbeat_at=now,
                lease_until=now + timedelta(seconds=run.lease_s),
            )
        )
        connection.execute(
            update(attempts)
            .where(attempts.c.run_id == run_id, attempts.c.number == attempt)
            .values(
                state="running",
                host=host,
                pid=pid,
                started_at=now,
                provenance=dict(provenance or {}),
            )
        )
    return True


def set_provenance(store: Store, run_id: str, attempt: int, provenance: Mapping[str, Any]) -> None:
    """Replace what is known of where an attempt came from (inputs and outputs come at its end)."""
    with write(store.control) as connection:
        connection.execute(
            update(attempts)
            .where(attempts.c.run_id == run_id, attempts.c.number == attempt)
            .values(provenance=dict(provenance))
        )


def heartbeat(
    store: Store,
    run_id: str,
    attempt: int,
    now: datetime,
    *,
    progress: tuple[float | None, str | None] | None = None,
) -> Beat:
    """Renew an attempt's lease on its run and on what it holds.

    ``progress`` is the part done (0 to 1) and a short text. An answer that is not ``alive`` means
    that the run belongs to somebody else by now: stop, and touch nothing any more.
    """
    with write(store.control) as connection:
        run = owned(connection, run_id, attempt)
        if run is None:
            return Beat(alive=False, cancel=True)
        if not resources.renew_all(connection, run, now):
            _log.warning("run %s: attempt %s lost what it held", run_id, attempt)
            return Beat(alive=False, cancel=True)
        values: dict[str, Any] = {
            "heartbeat_at": now,
            "lease_until": now + timedelta(seconds=run.lease_s),
        }
        if progress is not None:
            values["progress"], values["progress_text"] = progress
        connection.execute(update(runs).where(runs.c.id == run_id).values(values))
        return Beat(alive=True, cancel=run.cancel_at is not None)


def finish(store: Store, run_id: str, attempt: int, outcome: Outcome, now: datetime) -> bool:
    """Write how an attempt ended, free what it held, and decide whether the run is tried again.

    A success moves the published pointers in the same transaction. False means that the attempt
    was fenced: the run belongs to a later attempt or has ended, and nothing was changed.

    Raises
    ------
    StoreError
        If the outcome is no end, or a success of an attempt that never began.
    PublishError
        If a success cannot be published; the run is still active then.
    """
    with write(store.control) as connection:
        run = owned(connection, run_id, attempt)
        if run is None:
            _log.warning("run %s: attempt %s ended after it was fenced", run_id, attempt)
            return False
        decision = _decide(run, outcome, now)
        end_attempt(connection, run, outcome, decision, now)
        if decision.state == "succeeded":
            publish_run(connection, run_id, attempt, now, keep_newer=_is_repeat(connection, run))
    return True


def reap(store: Store, now: datetime) -> list[str]:
    """End the attempts whose lease ran out, and return the ids of their runs.

    An attempt that never began changed nothing, so its run is simply due again; one that began is
    lost, and tried again only if the job retries after ``runner_lost``.
    """
    with read(store.control) as connection:
        late = connection.execute(
            select(runs.c.id, runs.c.attempt).where(
                runs.c.state.in_(ACTIVE), runs.c.lease_until < now
            )
        ).all()
    reaped = []
    for run_id, attempt in late:
        with write(store.control) as connection:
            run = owned(connection, run_id, attempt)
            if run is None or run.lease_until >= now:
                continue
            reason = f"No heartbeat since {iso(run.heartbeat_at)}."
            if run.state == "claimed":
                end_unstarted(connection, run, reason, now, now)
            else:
                outcome = Outcome("lost", "runner_lost", reason)
                end_attempt(connection, run, outcome, _decide(run, outcome, now), now)
        reaped.append(run_id)
        _log.warning("run %s of %s: %s", run_id, run.job, reason)
    return reaped


def request_cancel(store: Store, run_id: str, who: str, now: datetime) -> str:
    """Ask for the end of a run; returns ``cancelled``, ``requested`` or ``ended`` (it had).

    A waiting run is cancelled at once; an active one is told at its next heartbeat.

    Raises
    ------
    ParameterError
        If there is no such run.
    """
    with write(store.control) as connection:
        run = locked(connection, run_id)
        if run is None:
            raise ParameterError(f"There is no run {run_id!r}.", fix="List them: workspace runs.")
        if run.state in ENDED:
            return "ended"
        asked = update(runs).where(runs.c.id == run_id)
        if run.state in ACTIVE:
            connection.execute(asked.values(cancel_by=who, cancel_at=now))
            return "requested"
        end_waiting(connection, run_id, "cancelled", "cancelled", f"Cancelled by {who}.", now)
        connection.execute(asked.values(cancel_by=who, cancel_at=now))
        return "cancelled"


def _decide(run: Row[Any], outcome: Outcome, now: datetime) -> Decision:
    return decide(
        JobSpec.from_dict(run.spec),
        outcome,
        tries=run.tries,
        cancel_asked=run.cancel_at is not None,
        now=now,
    )


def _is_repeat(connection: Connection, run: Row[Any]) -> bool:
    """Return whether a run is of the past: what a later slot published must stay."""
    if run.priority > 0:
        return True
    if run.slot_at is None:
        return False
    later = exists().where(
        runs.c.job == run.job, runs.c.slot_at > run.slot_at, runs.c.state == "succeeded"
    )
    return bool(connection.execute(select(later)).scalar())
