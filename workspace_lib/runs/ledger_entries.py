"""New runs in the ledger, and old ones that are wanted again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, update
from sqlalchemy.dialects import postgresql, sqlite

from workspace_lib.errors import StoreError
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.ledger_rows import locked
from workspace_lib.runs.states import ENDED, Cause, State, new_run_id, slot_instant, slot_text
from workspace_lib.runs.tables import runs


def create_run(
    connection: Connection,
    spec: JobSpec,
    slot: str | datetime,
    *,
    due: datetime,
    now: datetime,
    parameters: Mapping[str, Any] | None = None,
    cause: Cause | None = None,
    state: State = "due",
    message: str | None = None,
    priority: int = 0,
    lane: int = 0,
) -> str | None:
    """Write the run of a job for one slot and return its id, or None if there is one already.

    Parameters
    ----------
    due : datetime
        From when it may be claimed.
    parameters : mapping, optional
        Values that replace those of the job file, for this run only.
    state : str
        ``due``, or ``skipped`` for a slot that nobody will run (with its ``cause``).
    priority : int
        0 as scheduled; 1 lets scheduled runs of the job pass.
    lane : int
        Runs of one job and lane never overlap; 0 is the schedule's.
    """
    texts = create_runs(
        connection,
        spec,
        [slot_text(slot)],
        due=due,
        now=now,
        parameters=parameters,
        cause=cause,
        state=state,
        message=message,
        priority=priority,
        lanes=[lane],
    )
    return texts[0] if texts else None


def create_runs(
    connection: Connection,
    spec: JobSpec,
    slots: list[str],
    *,
    due: datetime | None = None,
    now: datetime,
    parameters: Mapping[str, Any] | None = None,
    cause: Cause | None = None,
    state: State = "due",
    message: str | None = None,
    priority: int = 0,
    lanes: Sequence[int] | None = None,
) -> list[str]:
    """Write the runs of several slots at once and return the ids of those that are new.

    Without ``due`` each run of an instant is due at that instant, others now; without ``lanes`` all
    are in the schedule's.

    Raises
    ------
    StoreError
        If a run would be born in a state other than ``due`` and ``skipped``.
    """
    if state not in ("due", "skipped"):
        raise StoreError(f"A run cannot be created as {state!r}.")
    common = {
        "job": spec.name,
        "kind": "service" if spec.service else "notebook",
        "state": state,
        "cause": cause,
        "message": message,
        "spec": spec.to_dict(),
        "parameters": {**spec.parameters, **(parameters or {})},
        "priority": priority,
        "created_at": now,
        "ended_at": now if state in ENDED else None,
        "partial": False,
        "attempt": 0,
        "tries": 0,
    }
    rows = []
    for slot, lane in zip(slots, lanes or [0] * len(slots), strict=True):
        instant = slot_instant(slot)
        planned = due or instant or now
        place = {"slot": slot, "slot_at": instant, "due_at": planned, "not_before": planned}
        rows.append({"id": new_run_id(now), **common, **place, "lane": lane})
    if not rows:
        return []
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    # The key is named, so that anything else that is wrong is an error and not "there already".
    statement = dialect.insert(runs).on_conflict_do_nothing(index_elements=["job", "slot"])
    created = []
    for row in rows:
        if connection.execute(statement.returning(runs.c.id), row).first() is not None:
            created.append(str(row["id"]))
    return created


def requeue(
    connection: Connection,
    run_id: str,
    *,
    now: datetime,
    spec: JobSpec | None = None,
    parameters: Mapping[str, Any] | None = None,
    priority: int = 0,
    lane: int = 0,
) -> bool:
    """Make a run that has ended due again, as a new attempt; False if it has not ended.

    ``spec`` replaces the specification it had, with its parameters; ``parameters`` replace single
    values for this run only.
    """
    run = locked(connection, run_id)
    if run is None or run.state not in ENDED:
        return False
    base = dict(spec.parameters) if spec is not None else run.parameters
    connection.execute(
        update(runs)
        .where(runs.c.id == run_id)
        .values(
            state="due",
            cause=None,
            message=None,
            partial=False,
            last_good=None,
            tries=0,
            spec=spec.to_dict() if spec is not None else run.spec,
            parameters={**base, **(parameters or {})},
            not_before=now,
            busy_since=None,
            priority=priority,
            lane=lane,
            ended_at=None,
            cancel_by=None,
            cancel_at=None,
            fired=None,
        )
    )
    return True
