"""Commands of operators: asked for in one row, answered in another, both only added.

A page writes a command; the service that owns the device takes it and answers. A command nobody
took in time is never carried out later: a bench must not start because a service came back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Index,
    Table,
    Text,
    insert,
    select,
)

from workspace_lib.errors import ParameterError
from workspace_lib.store.base import Instant, Json, RowId, control_metadata
from workspace_lib.store.upsert import insert_or_ignore

commands = Table(
    "commands",
    control_metadata,
    Column("id", RowId, primary_key=True),
    Column("who", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("arguments", Json, nullable=False),
    Column("at", Instant, nullable=False),
    Column("valid_until", Instant),
    Index(None, "target"),
)

command_answers = Table(
    "command_answers",
    control_metadata,
    Column("command_id", ForeignKey("commands.id"), primary_key=True, autoincrement=False),
    Column("ok", Boolean(create_constraint=False), nullable=False),
    Column("message", Text),
    Column("at", Instant, nullable=False),
)


@dataclass(frozen=True)
class Command:
    """What somebody asked of a target; ``ok`` is None until it was answered."""

    id: int
    who: str
    target: str
    action: str
    arguments: dict[str, Any]
    at: datetime
    valid_until: datetime | None
    ok: bool | None
    message: str | None
    answered: datetime | None


def command(
    connection: Connection,
    who: str,
    target: str,
    action: str,
    arguments: Mapping[str, Any] | None,
    now: datetime,
    *,
    valid_s: float | None = None,
) -> int:
    """Ask for ``action`` on ``target`` (control) and return the command's id.

    Parameters
    ----------
    valid_s : float, optional
        The command lapses after so long [s]; default: never.
    """
    if not (who and target and action):
        raise ParameterError("A command needs who, target and action.")
    row = insert(commands).values(
        who=who,
        target=target,
        action=action,
        arguments=dict(arguments or {}),
        at=now,
        valid_until=None if valid_s is None else now + timedelta(seconds=valid_s),
    )
    return int(connection.execute(row.returning(commands.c.id)).scalar_one())


def pending(connection: Connection, now: datetime, *, target: str | None = None) -> list[Command]:
    """Return the commands that wait for an answer and have not lapsed, oldest first."""
    query = _all().where(
        command_answers.c.command_id.is_(None),
        commands.c.valid_until.is_(None) | (commands.c.valid_until > now),
    )
    if target is not None:
        query = query.where(commands.c.target == target)
    return [Command(**row._mapping) for row in connection.execute(query)]


def mark_done(
    connection: Connection,
    command_id: int,
    now: datetime,
    *,
    ok: bool = True,
    message: str | None = None,
) -> bool:
    """Answer a command; False if it was answered before (that answer stands)."""
    result = connection.execute(
        insert_or_ignore(connection, command_answers)
        .values(command_id=command_id, ok=ok, message=message, at=now)
        .returning(command_answers.c.command_id)
    )
    return result.first() is not None


def recent(connection: Connection, *, target: str | None = None, limit: int = 100) -> list[Command]:
    """Return the newest commands with their answers, newest first."""
    query = _all().order_by(None).order_by(commands.c.id.desc()).limit(limit)
    if target is not None:
        query = query.where(commands.c.target == target)
    return [Command(**row._mapping) for row in connection.execute(query)]


def _all() -> Any:
    return (
        select(
            commands,
            command_answers.c.ok,
            command_answers.c.message,
            command_answers.c.at.label("answered"),
        )
        .join(command_answers, command_answers.c.command_id == commands.c.id, isouter=True)
        .order_by(commands.c.id)
    )
