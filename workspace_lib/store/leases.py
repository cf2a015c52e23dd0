"""Leases: who may use a device or a share of a source, and until when.

A resource has a capacity: 1 for a device that one holder uses at a time, n for a source that
several share. A lease that has run out is never renewed, even if nobody else took the resource
meanwhile: its holder must stop, close what it has open, and begin anew. So whoever sees `renew`
return True is the holder, and whoever sees False no longer is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Index,
    Integer,
    Table,
    Text,
    delete,
    func,
    select,
    text,
    update,
)

from workspace_lib.errors import ParameterError
from workspace_lib.store.base import Instant, control_metadata
from workspace_lib.store.engines import write
from workspace_lib.store.upsert import upsert

# Rows of leases that were lost tell a late holder so; after this nobody comes back.
_REMEMBER = timedelta(days=1)

leases = Table(
    "leases",
    control_metadata,
    Column("resource", Text, primary_key=True),
    Column("holder", Text, primary_key=True),
    Column("units", Integer, nullable=False),
    Column("acquired", Instant, nullable=False),
    Column("expires", Instant, nullable=False),
    Column("lost", Boolean(create_constraint=False), nullable=False),
    Index(None, "holder"),
)


@dataclass(frozen=True)
class Lease:
    """One holder's share of a resource, from ``acquired`` until ``expires`` if not renewed."""

    resource: str
    holder: str
    units: int
    acquired: datetime
    expires: datetime


def acquire(
    engine: Engine,
    resource: str,
    holder: str,
    *,
    units: int = 1,
    capacity: int = 1,
    ttl_s: float,
    now: datetime,
) -> bool:
    """Take ``units`` of a resource for ``ttl_s`` [s] if so many are free; True when held.

    A holder that has it already keeps it, with the new units and the new end.

    Raises
    ------
    ParameterError
        If more units are asked for than the resource has.
    """
    with write(engine) as connection:
        return acquire_in(
            connection, resource, holder, units=units, capacity=capacity, ttl_s=ttl_s, now=now
        )


def acquire_in(
    connection: Connection,
    resource: str,
    holder: str,
    *,
    units: int = 1,
    capacity: int = 1,
    ttl_s: float,
    now: datetime,
) -> bool:
    """Do what `acquire` does within a transaction opened by `write`."""
    if not 1 <= units <= capacity:
        raise ParameterError(
            f"{units} of {resource} were asked for; it has {capacity}.",
            fix="Correct the job's devices or capacity.",
        )
    _serialise(connection, resource)
    _expire(connection, resource, now)
    used = connection.execute(
        select(func.coalesce(func.sum(leases.c.units), 0)).where(
            leases.c.resource == resource, ~leases.c.lost, leases.c.holder != holder
        )
    ).scalar_one()
    if used + units > capacity:
        return False
    since = connection.execute(
        select(leases.c.acquired).where(
            leases.c.resource == resource, leases.c.holder == holder, ~leases.c.lost
        )
    ).scalar()
    values = {
        "resource": resource,
        "holder": holder,
        "units": units,
        "acquired": since or now,
        "expires": now + timedelta(seconds=ttl_s),
        "lost": False,
    }
    upsert(connection, leases, values, key=("resource", "holder"))
    return True


def renew(
    engine: Engine, holder: str, *, ttl_s: float, now: datetime, resource: str | None = None
) -> bool:
    """Move the end of one lease, or of all leases of ``holder``, to ``ttl_s`` [s] from now.

    Returns
    -------
    bool
        False if it holds none, or if one of them has run out; then none is renewed.
    """
    with write(engine) as connection:
        return renew_in(connection, holder, ttl_s=ttl_s, now=now, resource=resource)


def renew_in(
    connection: Connection,
    holder: str,
    *,
    ttl_s: float,
    now: datetime,
    resource: str | None = None,
) -> bool:
    """Do what `renew` does within a transaction opened by `write`."""
    mine = _of(holder, resource)
    rows = connection.execute(
        select(leases.c.expires, leases.c.lost).where(mine).with_for_update()
    ).all()
    if not rows or any(row.lost or row.expires <= now for row in rows):
        return False
    connection.execute(update(leases).where(mine).values(expires=now + timedelta(seconds=ttl_s)))
    return True


def release(engine: Engine, holder: str, resource: str | None = None) -> None:
    """Give back one resource, or all that ``holder`` has."""
    with write(engine) as connection:
        release_in(connection, holder, resource)


def release_in(connection: Connection, holder: str, resource: str | None = None) -> None:
    """Do what `release` does within a transaction opened by `write`."""
    connection.execute(delete(leases).where(_of(holder, resource)))


def holders(connection: Connection, resource: str, now: datetime) -> list[Lease]:
    """Return who holds a resource now, the longest first."""
    return _living(connection, now, resource=resource)


def held(connection: Connection, now: datetime, *, holder: str | None = None) -> list[Lease]:
    """Return all living leases, or those of one holder."""
    return _living(connection, now, holder=holder)


def _living(
    connection: Connection, now: datetime, *, resource: str | None = None, holder: str | None = None
) -> list[Lease]:
    columns = [leases.c[name] for name in ("resource", "holder", "units", "acquired", "expires")]
    query = select(*columns).where(~leases.c.lost, leases.c.expires > now)
    if resource is not None:
        query = query.where(leases.c.resource == resource)
    if holder is not None:
        query = query.where(leases.c.holder == holder)
    rows = connection.execute(query.order_by(leases.c.acquired, leases.c.holder))
    return [Lease(**row._mapping) for row in rows]


def _of(holder: str, resource: str | None) -> ColumnElement[bool]:
    mine = leases.c.holder == holder
    return mine if resource is None else mine & (leases.c.resource == resource)


def _expire(connection: Connection, resource: str, now: datetime) -> None:
    connection.execute(
        update(leases)
        .where(leases.c.resource == resource, ~leases.c.lost, leases.c.expires <= now)
        .values(lost=True)
    )
    connection.execute(delete(leases).where(leases.c.lost, leases.c.expires < now - _REMEMBER))


def _serialise(connection: Connection, resource: str) -> None:
    # SQLite has one writer at a time; on PostgreSQL two could both see the last free unit.
    if connection.dialect.name == "postgresql":
        connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"),
            {"name": f"lease:{resource}"},
        )
