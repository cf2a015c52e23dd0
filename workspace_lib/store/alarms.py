"""Alarms: one row from the moment something is wrong until it is well again, and who has seen it.

An alarm is open until it is cleared; raising an open one again only counts it. Acknowledgements are
people's input: rows that are only added.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    Select,
    Table,
    Text,
    insert,
    select,
    update,
)

from workspace_lib.errors import ParameterError
from workspace_lib.store.base import Instant, RowId, control_metadata

#: From the mildest to the worst.
SEVERITIES = ("info", "warning", "critical")

alarms = Table(
    "alarms",
    control_metadata,
    Column("id", RowId, primary_key=True),
    Column("key", Text, nullable=False),
    Column("wing", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("source", Text),
    Column("raised", Instant, nullable=False),
    Column("last_raised", Instant, nullable=False),
    Column("count", Integer, nullable=False),
    Column("cleared", Instant),
)
Index(
    "uq_alarms_open_key",
    alarms.c.key,
    unique=True,
    sqlite_where=alarms.c.cleared.is_(None),
    postgresql_where=alarms.c.cleared.is_(None),
)
Index(None, alarms.c.raised)

alarm_acks = Table(
    "alarm_acks",
    control_metadata,
    Column("id", RowId, primary_key=True),
    Column("alarm_id", ForeignKey("alarms.id"), nullable=False, index=True),
    Column("who", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("note", Text),
)


@dataclass(frozen=True)
class Ack:
    """Somebody has seen an alarm."""

    who: str
    at: datetime
    note: str | None


@dataclass(frozen=True)
class Alarm:
    """Something that is or was wrong; ``count`` says how often it was raised while open."""

    id: int
    key: str
    wing: str
    severity: str
    message: str
    source: str | None
    raised: datetime
    last_raised: datetime
    count: int
    cleared: datetime | None
    acks: tuple[Ack, ...]

    @property
    def acknowledged(self) -> bool:
        """Whether somebody has seen it."""
        return bool(self.acks)


def raise_alarm(
    connection: Connection,
    key: str,
    *,
    wing: str,
    severity: str,
    message: str,
    now: datetime,
    source: str | None = None,
) -> int:
    """Open the alarm ``key`` (control), or count it once more if it is open.

    Parameters
    ----------
    key : str
        What is wrong and with what, such as ``service_silent:bench_capture``.
    severity : str
        ``info``, ``warning`` or ``critical``; an open alarm takes the newest, and its message.
    source : str, optional
        The device, run or file that shows it.

    Returns
    -------
    int
        The alarm's id.
    """
    if severity not in SEVERITIES:
        raise ParameterError(
            f"{severity!r} is no severity of an alarm.", fix=f"Use one of {', '.join(SEVERITIES)}."
        )
    open_id = connection.execute(
        update(alarms)
        .where(alarms.c.key == key, alarms.c.cleared.is_(None))
        .values(
            severity=severity,
            message=message,
            source=source,
            last_raised=now,
            count=alarms.c.count + 1,
        )
        .returning(alarms.c.id)
    ).scalar()
    if open_id is not None:
        return int(open_id)
    created = connection.execute(
        insert(alarms)
        .values(
            key=key,
            wing=wing,
            severity=severity,
            message=message,
            source=source,
            raised=now,
            last_raised=now,
            count=1,
        )
        .returning(alarms.c.id)
    ).scalar_one()
    return int(created)


def clear_alarm(connection: Connection, key: str, now: datetime) -> bool:
    """Close the alarm ``key``; False if none was open."""
    result = connection.execute(
        update(alarms).where(alarms.c.key == key, alarms.c.cleared.is_(None)).values(cleared=now)
    )
    return bool(result.rowcount)


def acknowledge(
    connection: Connection, alarm_id: int, who: str, now: datetime, note: str | None = None
) -> int:
    """Add that ``who`` has seen an alarm; returns the acknowledgement's id.

    Raises
    ------
    ParameterError
        If there is no such alarm.
    """
    if connection.execute(select(alarms.c.id).where(alarms.c.id == alarm_id)).first() is None:
        raise ParameterError(f"There is no alarm {alarm_id}.")
    row = insert(alarm_acks).values(alarm_id=alarm_id, who=who, at=now, note=note)
    return int(connection.execute(row.returning(alarm_acks.c.id)).scalar_one())


def open_alarms(connection: Connection, *, wing: str | None = None) -> list[Alarm]:
    """Return the open alarms, the worst first, then the newest."""
    query = select(alarms).where(alarms.c.cleared.is_(None))
    if wing is not None:
        query = query.where(alarms.c.wing == wing)
    found = _with_acks(connection, query)
    return sorted(found, key=lambda a: (-SEVERITIES.index(a.severity), -a.raised.timestamp(), a.id))


def alarms_since(
    connection: Connection, since: datetime, *, wing: str | None = None
) -> list[Alarm]:
    """Return the alarms that were open at any time after ``since``, in the order raised."""
    query = select(alarms).where(alarms.c.cleared.is_(None) | (alarms.c.cleared > since))
    if wing is not None:
        query = query.where(alarms.c.wing == wing)
    return sorted(_with_acks(connection, query), key=lambda a: (a.raised, a.id))


def _with_acks(connection: Connection, query: Select[Any]) -> list[Alarm]:
    rows = connection.execute(query).all()
    acks: dict[int, list[Ack]] = {row.id: [] for row in rows}
    seen = select(alarm_acks).where(alarm_acks.c.alarm_id.in_(acks)).order_by(alarm_acks.c.id)
    for row in connection.execute(seen):
        acks[row.alarm_id].append(Ack(row.who, row.at, row.note))
    return [Alarm(**row._mapping, acks=tuple(acks[row.id])) for row in rows]
