"""Inserting rows that may be there already, in the words of both databases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Insert

T = TypeVar("T")


def insert_or_ignore(connection: Connection, table: Table) -> Insert:
    """Return an INSERT into ``table`` that leaves rows alone whose key is there already."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


def insert_or_replace(connection: Connection, table: Table, values: Sequence[str]) -> Insert:
    """Return an INSERT that overwrites the columns ``values`` of a row whose key is there."""
    if connection.dialect.name == "sqlite":
        lite = sqlite.insert(table)
        return lite.on_conflict_do_update(
            index_elements=list(table.primary_key.columns),
            set_={name: lite.excluded[name] for name in values},
        )
    postgres = postgresql.insert(table)
    return postgres.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={name: postgres.excluded[name] for name in values},
    )


def upsert(
    connection: Connection, table: Table, values: Mapping[str, Any], *, key: Sequence[str]
) -> None:
    """Insert one row, or change the one that has the same ``key`` columns (unique together)."""
    insert: Any = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = insert(table).values(**values)
    changed = {name: statement.excluded[name] for name in values if name not in key}
    if changed:
        statement = statement.on_conflict_do_update(index_elements=list(key), set_=changed)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=list(key))
    connection.execute(statement)


def prefix_end(prefix: str) -> str:
    """Return the least text above every text that starts with ``prefix``, for range searches."""
    return prefix + "\U0010ffff"


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut ``items`` into pieces of at most ``size``."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
