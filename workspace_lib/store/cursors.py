"""Cursors: how far an import came, moved in the same transaction as the rows it produced."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Connection, Table, Text, select

from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.store.base import Instant, Json, data_metadata
from workspace_lib.store.upsert import insert_or_replace

cursors = Table(
    "cursors",
    data_metadata,
    Column("name", Text, primary_key=True),
    Column("value", Json, nullable=False),
    Column("moved", Instant, nullable=False),
)


def get_cursor(connection: Connection, name: str, default: Any = None) -> Any:
    """Return the value of a cursor, ``default`` when it was never set."""
    row = connection.execute(select(cursors.c.value).where(cursors.c.name == name)).one_or_none()
    return default if row is None else row.value


def set_cursor(connection: Connection, name: str, value: Any) -> None:
    """Move a cursor to any JSON value (offset, last id, …) within the caller's transaction.

    Parameters
    ----------
    connection : Connection
        The writing transaction of ``store.data`` that also inserts the rows.
    name : str
        Who reads what, e.g. ``machining/erp/orders``.
    value : JSON value
        Where to go on.
    """
    connection.execute(
        insert_or_replace(connection, cursors, ("value", "moved")),
        {"name": name, "value": value, "moved": SYSTEM_CLOCK.now()},
    )
