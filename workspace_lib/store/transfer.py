"""Copying a whole database into one SQLite file, and such a file into a database.

The file is the form of every backup, whichever database the store uses, so that a backup of one
kind can be restored into the other.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    MetaData,
    Table,
    create_engine,
    func,
    inspect,
    select,
    text,
)

from workspace_lib.errors import StoreError
from workspace_lib.store.engines import DatabaseName, describe, is_sqlite, read
from workspace_lib.store.migrate import migration

log = logging.getLogger("workspace_lib.store.transfer")

_ROWS = 5_000
#: Tables that say which schema and whose store it is, not what is in it.
ABOUT = {"alembic_version", "meta"}


def save(engine: Engine, database: DatabaseName, version: str, target: Path) -> None:
    """Copy a database, as it is at one moment, into the new SQLite file ``target``.

    Writers go on meanwhile: SQLite copies one snapshot, PostgreSQL reads one.
    """
    if is_sqlite(engine):
        with (
            closing(sqlite3.connect(f"{Path(describe(engine)).as_uri()}?mode=ro", uri=True)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new)
            new.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
        return
    with _file(target) as copy:
        with migration(copy, database) as steps:
            steps.to(version)
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as source:
            _copy_from_postgres(source, copy)


def load(source: Path, engine: Engine, database: DatabaseName, version: str) -> None:
    """Put the content of a file made by `save` in place of all that a database holds.

    On PostgreSQL in one transaction; on SQLite under one lock: a reader sees the old or the new.
    """
    if is_sqlite(engine):
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as old,
            closing(sqlite3.connect(describe(engine))) as new,
        ):
            _wait_for_lock(new, describe(engine))
            old.backup(new)
        return
    with _file(source) as copy, migration(engine, database) as steps:
        connection = steps.connection
        present = MetaData()
        present.reflect(connection)
        present.drop_all(connection)
        steps.to(version)
        _copy_to_postgres(copy, connection)


def counts(source: Path | Engine) -> dict[str, int]:
    """Return the number of rows in each table that holds content, by name."""
    if isinstance(source, Engine):
        return _counts(source)
    with _file(source) as engine:
        return _counts(engine)


def check(path: Path) -> None:
    """Refuse a file that is no sound SQLite database.

    Raises
    ------
    StoreError
        If it is not; what is wrong is said.
    """
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            told = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
    except sqlite3.DatabaseError as error:
        told = [str(error)]
    if told != ["ok"]:
        raise StoreError(
            f"The database in the backup is damaged: {'; '.join(told)}.",
            where=path.name,
            fix="Use another backup; nothing was changed.",
        )


def _counts(engine: Engine) -> dict[str, int]:
    with read(engine) as connection:
        tables = MetaData()
        tables.reflect(connection)
        return {
            table.name: int(
                connection.execute(select(func.count()).select_from(table)).scalar_one()
            )
            for table in tables.sorted_tables
            if table.name not in ABOUT
        }


class _file:
    """An engine on a plain SQLite file, closed in the end."""

    def __init__(self, path: Path) -> None:
        self._engine = create_engine(f"sqlite:///{path}")

    def __enter__(self) -> Engine:
        return self._engine

    def __exit__(self, *exc: object) -> None:
        self._engine.dispose()


def _copy_from_postgres(source: Connection, copy: Engine) -> None:
    tables = _tables(copy)
    if strange := sorted(set(inspect(source).get_table_names()) - {table.name for table in tables}):
        log.warning("Not in the backup, because not the workspace's: %s", ", ".join(strange))
    driver = copy.raw_connection()
    try:
        cursor: Any = driver.cursor()
        for table in tables:
            cursor.execute(f'DELETE FROM "{table.name}"')
            names = [column.name for column in table.columns]
            marks = ", ".join("?" for _ in names)
            insert = f'INSERT INTO "{table.name}" ({_list(names)}) VALUES ({marks})'
            rows = source.execution_options(stream_results=True, max_row_buffer=_ROWS).execute(
                text(f'SELECT {_list(names)} FROM "{table.name}"')
            )
            for batch in rows.partitions(_ROWS):
                cursor.executemany(insert, [tuple(row) for row in batch])
        driver.commit()
    finally:
        driver.close()


def _copy_to_postgres(copy: Engine, target: Connection) -> None:
    driver: Any = target.connection.dbapi_connection
    with copy.connect() as source:
        for table in _tables(copy):
            names = [column.name for column in table.columns]
            if table.name == "alembic_version":
                continue
            with (
                driver.cursor() as cursor,
                cursor.copy(f'COPY "{table.name}" ({_list(names)}) FROM STDIN') as sink,
            ):
                for row in _rows(source, table.name, names):
                    sink.write_row(row)
            _count_on(target, table)


def _rows(source: Connection, table: str, names: list[str]) -> Iterator[Any]:
    rows = source.exec_driver_sql(f'SELECT {_list(names)} FROM "{table}"')
    for batch in rows.partitions(_ROWS):
        yield from batch


def _count_on(target: Connection, table: Table) -> None:
    """Let PostgreSQL's counters go on after the highest number that was copied."""
    for column in table.primary_key.columns:
        sequence = target.execute(
            text("SELECT pg_get_serial_sequence(:table, :column)"),
            {"table": f'"{table.name}"', "column": column.name},
        ).scalar()
        if sequence is not None:
            target.execute(
                text(
                    f'SELECT setval(:sequence, coalesce(max("{column.name}"), 1), '
                    f'max("{column.name}") IS NOT NULL) FROM "{table.name}"'
                ),
                {"sequence": sequence},
            )


def _tables(copy: Engine) -> list[Table]:
    tables = MetaData()
    tables.reflect(copy)
    return tables.sorted_tables


def _list(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _wait_for_lock(connection: sqlite3.Connection, where: str) -> None:
    # The copying itself would wait for ever for somebody who never lets go.
    connection.execute("PRAGMA busy_timeout=10000")
    connection.isolation_level = None
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        raise StoreError(
            f"The store is in use ({error}).", where=where, fix="Stop the workspace, then restore."
        ) from error
