"""Triggers: how a wing, a person or a publication asks for a run without knowing the scheduler.

A request is a row in the ledger's database; the scheduler turns each into a run with the slot
``event:<key>``. The same key asked twice is one request, so whoever asks may safely repeat it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Index, Table, Text, UniqueConstraint, select, update

from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.errors import ParameterError
from workspace_lib.store.base import Instant, Json, RowId, control_metadata
from workspace_lib.store.upsert import insert_or_ignore

triggers = Table(
    "triggers",
    control_metadata,
    Column("id", RowId, primary_key=True),
    Column("job", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("parameters", Json, nullable=False),
    Column("requested", Instant, nullable=False),
    Column("taken", Instant),
    Column("run_id", Text),
    UniqueConstraint("job", "key"),
    Index(None, "taken"),
)


@dataclass(frozen=True)
class Trigger:
    """A request for one run of ``job``; ``run_id`` is the run it became."""

    id: int
    job: str
    key: str
    parameters: dict[str, Any]
    requested: datetime
    taken: datetime | None
    run_id: str | None


def request_run(
    connection: Connection,
    job: str,
    key: str,
    *,
    parameters: Mapping[str, Any] | None = None,
    now: datetime,
) -> int:
    """Ask for a run of ``job`` (control); put it into the transaction that makes it necessary.

    Parameters
    ----------
    key : str
        What happened, such as ``test:42``; the same key of a job is one request for ever.

    Returns
    -------
    int
        The request's id, also when it existed already.
    """
    if not job or not key:
        raise ParameterError("A request for a run needs a job and a key.")
    connection.execute(
        insert_or_ignore(connection, triggers).values(
            job=job, key=key, parameters=dict(parameters or {}), requested=now
        )
    )
    row = select(triggers.c.id).where(triggers.c.job == job, triggers.c.key == key)
    return int(connection.execute(row).scalar_one())


def pending(connection: Connection) -> list[Trigger]:
    """Return the requests that no run has taken yet, oldest first."""
    rows = connection.execute(
        select(triggers).where(triggers.c.taken.is_(None)).order_by(triggers.c.id)
    )
    return [Trigger(**row._mapping) for row in rows]


def mark_taken(
    connection: Connection, trigger_id: int, run_id: str | None, now: datetime | None = None
) -> bool:
    """Note the run that a request became; False if it was taken before (that run stays noted)."""
    result = connection.execute(
        update(triggers)
        .where(triggers.c.id == trigger_id, triggers.c.taken.is_(None))
        .values(run_id=run_id, taken=now or SYSTEM_CLOCK.now())
    )
    return bool(result.rowcount)
