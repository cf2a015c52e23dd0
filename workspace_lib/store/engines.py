"""Opening the store: two SQLite files, or two schemas of one PostgreSQL database."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import OperationalError

from workspace_lib import secrets
from workspace_lib.errors import StoreError
from workspace_lib.settings import Settings

DatabaseName = Literal["control", "data"]
Mode = Literal["ro", "rw", "rwc"]
DATABASES: tuple[DatabaseName, ...] = ("control", "data")


@dataclass(frozen=True)
class Store:
    """The open store of one site.

    ``control`` holds what must answer within milliseconds (ledger, leases, alarms), ``data`` what
    is large: with one file an import would delay heartbeats by seconds.
    """

    site: str
    control: Engine
    data: Engine
    outputs: Path
    read_only: bool = False

    def engine(self, database: DatabaseName) -> Engine:
        """Return the engine of one database by name."""
        return self.control if database == "control" else self.data

    def close(self) -> None:
        """Give back all connections."""
        self.control.dispose()
        self.data.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def connect_store(settings: Settings, *, read_only: bool = False, create: bool = False) -> Store:
    """Return the store of the site without looking at its schema; `open_store` is for daily use.

    ``create`` makes its folder and empty databases where there are none.

    Raises
    ------
    StoreError
        If there is no store and none is to be made, or the database's server is away.
    """
    outputs = settings.outputs_dir
    if create:
        outputs.mkdir(parents=True, exist_ok=True)
    mode: Mode = "ro" if read_only else "rwc" if create else "rw"
    control, data = (_engine(settings, name, outputs, mode) for name in DATABASES)
    return Store(settings.site_name, control, data, outputs, read_only)


@contextmanager
def write(engine: Engine) -> Iterator[Connection]:
    """Open a writing transaction: SQLite's lock is taken at once, so it cannot fail half-way.

    Keep it under 0.25 s or 20,000 rows: heartbeats and other writers wait meanwhile.

    Raises
    ------
    StoreError
        If the lock did not come free in time, the disk is full, or the server is away.
    """
    with named(engine), engine.connect() as connection:
        connection = connection.execution_options(workspace_write=True)
        with connection.begin():
            yield connection


@contextmanager
def read(engine: Engine) -> Iterator[Connection]:
    """Open a reading transaction with one consistent view.

    Raises
    ------
    StoreError
        If the store cannot be read now.
    """
    with named(engine), engine.connect() as connection, connection.begin():
        yield connection


def is_sqlite(engine: Engine) -> bool:
    """Return whether the engine talks to SQLite."""
    return engine.dialect.name == "sqlite"


@contextmanager
def named(engine: Engine) -> Iterator[None]:
    """Turn what the database says of its own state into one sentence and what to do."""
    try:
        yield
    except OperationalError as error:
        said = _in_words(engine, error)
        if said is None:
            raise
        raise StoreError(said[0], where=describe(engine), fix=said[1]) from error


def describe(engine: Engine) -> str:
    """Return where a database is, without its password."""
    if is_sqlite(engine):
        return url2pathname(urlsplit(engine.url.database or "").path)
    return engine.url.render_as_string(hide_password=True)


def _in_words(engine: Engine, error: OperationalError) -> tuple[str, str] | None:
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return _SQLITE_SAYS.get((getattr(cause, "sqlite_errorcode", None) or 0) & 0xFF)
    state = getattr(cause, "sqlstate", None)
    if state == "55P03":  # lock_not_available
        return _SQLITE_SAYS[sqlite3.SQLITE_BUSY]
    if state == "53100":  # disk_full
        return _SQLITE_SAYS[sqlite3.SQLITE_FULL]
    if state is None or state.startswith(("08", "57P")):
        told = str(cause).strip().splitlines() or ["no reason given"]
        return f"The database cannot be reached: {told[0]}.", "Start it, or check store.url."
    return None


_SQLITE_SAYS = {
    sqlite3.SQLITE_BUSY: (
        "Another program kept the database locked for too long.",
        "Try again; if it lasts, end what holds it, or raise store.busy_timeout_s.",
    ),
    sqlite3.SQLITE_LOCKED: (
        "Another part of this program keeps the database locked.",
        "End its transaction first.",
    ),
    sqlite3.SQLITE_FULL: ("The disk is full.", "Free disk space, then try again."),
    sqlite3.SQLITE_READONLY: (
        "The database cannot be written.",
        "Check who owns its file and folder, or whether it was opened to read only.",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "The database's file cannot be opened.",
        "Check that its folder exists and may be written.",
    ),
}


def _engine(settings: Settings, name: DatabaseName, outputs: Path, mode: Mode) -> Engine:
    if settings.store.url is None:
        return _sqlite_engine(outputs / f"{name}.db", settings, mode)
    return _postgres_engine(settings.store.url, name, settings, mode)


def _sqlite_engine(path: Path, settings: Settings, mode: Mode) -> Engine:
    if mode != "rwc" and not path.exists():
        raise StoreError("There is no store yet.", where=str(path), fix="Run: workspace upgrade.")
    # As an address, so that no character of a folder's name is taken for one of the options.
    address = URL.create("sqlite", database=path.as_uri(), query={"mode": mode, "uri": "true"})
    engine = create_engine(
        address,
        connect_args={"timeout": settings.store.busy_timeout_s, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, record: object) -> None:
        # The driver's own transaction handling would start writes as deferred ones, which fail
        # at once instead of waiting when another writer came between.
        connection.isolation_level = None
        cursor = connection.cursor()
        if mode != "ro":
            _use_wal(cursor, settings.store.busy_timeout_s)
            cursor.execute(f"PRAGMA synchronous={settings.store.synchronous}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA busy_timeout={int(settings.store.busy_timeout_s * 1000)}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get("workspace_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _use_wal(cursor: sqlite3.Cursor, timeout_s: float) -> None:
    # Two that open a new file at once: the switch fails without waiting for the other's.
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _postgres_engine(url: str, name: DatabaseName, settings: Settings, mode: Mode) -> Engine:
    address = make_url(secrets.fill(url)).set(drivername="postgresql+psycopg")
    if address.password:
        secrets.remember(address.password)
    options = f"-csearch_path={name} -clock_timeout={int(settings.store.busy_timeout_s * 1000)}"
    if mode == "ro":
        options += " -cdefault_transaction_read_only=on"
    arguments: dict[str, Any] = {"options": options, "connect_timeout": 10}
    engine = create_engine(address, connect_args=arguments, pool_pre_ping=True)
    if mode == "rwc":
        with named(engine), engine.begin() as connection:
            _ensure_schema(connection, name)
    return engine


def _ensure_schema(connection: Connection, name: DatabaseName) -> None:
    # Asked first, because only to create it takes a right that a running site need not have; and
    # one after the other, because two that create it at once make one of them fail.
    there = text("SELECT 1 FROM pg_namespace WHERE nspname = :name")
    if connection.execute(there, {"name": name}).first() is None:
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('workspace schemas'))"))
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {name}"))
