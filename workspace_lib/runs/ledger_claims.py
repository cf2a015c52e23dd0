"""Claiming runs: each by one owner, in one immediate transaction, with all it needs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, update
from sqlalchemy.exc import IntegrityError

from workspace_lib.runs import resources
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.ledger_queries import waiting_runs
from workspace_lib.runs.ledger_rows import METRICS, end_unstarted, end_waiting, locked, owned
from workspace_lib.runs.states import ACTIVE, Claim, State, check_transition, holder_id
from workspace_lib.runs.tables import attempts, runs
from workspace_lib.store.engines import Store, write

_log = logging.getLogger(__name__)


class _Busy(Exception):
    """A resource is held by somebody else; rolls the claim's transaction back."""


def claim(
    store: Store,
    *,
    owner: str,
    now: datetime,
    limit: int,
    can_start: Callable[[str, Mapping[str, Any]], bool] | None = None,
    lease_s: float = 30.0,
) -> list[Claim]:
    """Claim up to ``limit`` runs of notebooks that are due, at most one of each job and lane.

    Parameters
    ----------
    owner : str
        Who claims, as `workspace_lib.runs.states.owner_id` names a scheduler.
    can_start : callable, optional
        Judges by job name and specification whether this owner can start the run now.
    lease_s : float
        Without a heartbeat for so long the run is lost [s]; kept with the run.
    """
    claims: list[Claim] = []
    if limit < 1:
        return claims
    for waiting in waiting_runs(store, now):
        if can_start is not None and not can_start(waiting.job, waiting.spec):
            continue
        found = claim_one(store, waiting.id, owner=owner, now=now, lease_s=lease_s)
        if found is not None:
            claims.append(found)
            if len(claims) == limit:
                break
    return claims


def claim_one(
    store: Store, run_id: str, *, owner: str, now: datetime, lease_s: float = 30.0
) -> Claim | None:
    """Claim one run in one immediate transaction, or return None if it cannot run now.

    It cannot when it is no longer due, when another run of its lane is active, when a run of a job
    it comes `after` goes first, or when a device or a capacity it needs is held; after
    `on_busy.wait` a run that still cannot is skipped or failed.
    """
    try:
        with write(store.control) as connection:
            return _claim(connection, run_id, owner, now, lease_s)
    except _Busy as busy:
        with write(store.control) as connection:
            _note_busy(connection, run_id, str(busy), now)
    except IntegrityError:
        # PostgreSQL lets two owners look at once; its index let the other one in first.
        _log.debug("run %s: another run of its job was claimed first", run_id)
    return None


def give_back(store: Store, claimed: Claim, reason: str, *, wait_s: float, now: datetime) -> bool:
    """Return a claim that could not be started; the run is due again after ``wait_s`` [s]."""
    with write(store.control) as connection:
        run = owned(connection, claimed.run_id, claimed.attempt)
        if run is None or run.state != "claimed":
            return False
        end_unstarted(connection, run, reason, now + timedelta(seconds=wait_s), now)
    return True


def _claim(
    connection: Connection, run_id: str, owner: str, now: datetime, lease_s: float
) -> Claim | None:
    run = locked(connection, run_id, skip_locked=True)
    if run is None or run.state != "due" or run.not_before > now:
        return None
    active = select(runs.c.id).where(
        runs.c.job == run.job, runs.c.lane == run.lane, runs.c.state.in_(ACTIVE)
    )
    if connection.execute(active.limit(1)).first() is not None:
        return None
    if _goes_first(connection, run):
        return None
    check_transition(run.state, "claimed")
    attempt = run.attempt + 1
    connection.execute(
        update(runs)
        .where(runs.c.id == run_id)
        .values(
            state="claimed",
            attempt=attempt,
            owner=owner,
            host=None,
            lease_s=lease_s,
            lease_until=now + timedelta(seconds=lease_s),
            heartbeat_at=now,
            started_at=None,
            busy_since=None,
            progress=None,
            progress_text=None,
            **dict.fromkeys(METRICS),
        )
    )
    spec = JobSpec.from_dict(run.spec)
    busy = resources.acquire_all(
        connection, spec, holder_id(run_id, attempt), ttl_s=lease_s, now=now
    )
    if busy is not None:
        raise _Busy(busy)
    connection.execute(
        attempts.insert().values(
            run_id=run_id,
            number=attempt,
            state="claimed",
            owner=owner,
            claimed_at=now,
            partial=False,
        )
    )
    return Claim(run_id, attempt, run.job, run.slot, run.parameters, run.spec)


def _goes_first(connection: Connection, run: Any) -> bool:
    """Return whether a run that this one comes `after` is active, or waits for its turn.

    Those that became due later, or matter less (backfills), need not be waited for; nor one that
    waits for its next try.
    """
    jobs = run.spec.get("after", ())
    if not jobs:
        return False
    begun_or_next = runs.c.state.in_(ACTIVE) | (
        (runs.c.state == "due") & (runs.c.not_before <= run.not_before)
    )
    query = select(runs.c.id).where(
        runs.c.job.in_(jobs),
        begun_or_next,
        runs.c.due_at <= run.due_at,
        runs.c.priority <= run.priority,
    )
    return connection.execute(query.limit(1)).first() is not None


def _note_busy(connection: Connection, run_id: str, resource: str, now: datetime) -> None:
    """Remember since when a run waits for a resource; end it when it waited long enough."""
    run = locked(connection, run_id)
    if run is None or run.state != "due":
        return
    on_busy = JobSpec.from_dict(run.spec).on_busy
    since = run.busy_since or now
    if now - since >= timedelta(seconds=on_busy.wait_s):
        state: State = "skipped" if on_busy.then == "skip" else "failed"
        message = f"{resource} was held by others for {on_busy.wait_s:g} s."
        end_waiting(connection, run_id, state, "device_busy", message, now)
    elif run.busy_since is None:
        connection.execute(
            update(runs)
            .where(runs.c.id == run_id)
            .values(busy_since=now, message=f"Waits for {resource}.")
        )
