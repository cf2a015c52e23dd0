"""SQL databases as sources of rows: one consistent snapshot, only ever read, streamed.

MySQL and MariaDB through PyMySQL, and SQLite files. Nothing here writes: the transaction is opened
read-only, and an account that could write is told of as an issue.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
from pymysql.cursors import SSCursor
from sqlalchemy import URL, Connection, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from workspace_lib import secrets, simulators
from workspace_lib.errors import ConfigError, SourceError
from workspace_lib.settings import Settings
from workspace_lib.transports.file_source import SourceRefused, SourceUnreachable, TransferBroken
from workspace_lib.transports.sql_grants import rights_to_write

log = logging.getLogger(__name__)

#: Addresses that are understood, and the driver each is read through.
DRIVERS = {
    "mysql": "mysql+pymysql",
    "mysql+pymysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "mariadb+pymysql": "mysql+pymysql",
    "sqlite": "sqlite+pysqlite",
    "sqlite+pysqlite": "sqlite+pysqlite",
}
_REFUSED = {1044, 1045, 1049, 1129, 1130, 1142, 1143, 1227, 1698, 3159}
_BUSY = {1040, 1203, 1226}
_TIMED_OUT = {1969, 3024}
_LOST = {2006, 2013, 2014, 2055, 1927, 1053}
#: Instructions of SQLite between two looks at the clock.
_LOOK_EVERY = 20_000

Row = tuple[Any, ...]


@dataclass(frozen=True)
class SqlLimits:
    """How long a source may take, and how many rows are handed on together.

    Parameters
    ----------
    connect_s, answer_s, statement_s : float
        To connect; between two pieces of an answer; for one table from first to last row [s].
    batch_rows : int
        Rows in each list that `SqlSnapshot.rows` yields.
    """

    connect_s: float = 15.0
    answer_s: float = 60.0
    statement_s: float = 900.0
    batch_rows: int = 5_000


def resolve_address(settings: Settings, address: str) -> str:
    """Return an address of the site with ``simulator://NAME/THING`` looked up.

    Secrets stay named in it: `open_snapshot` fills them in.

    Raises
    ------
    ConfigError
        If its simulator does not run, or the site is marked ``production``.
    """
    if not address.startswith(simulators.SCHEME):
        return address
    simulators.refuse_in_production(settings)
    simulators.bring_secrets(settings.outputs_dir)
    return simulators.url_of(settings.outputs_dir, address)


@contextmanager
def open_snapshot(
    address: str, *, name: str = "orders", limits: SqlLimits | None = None
) -> Iterator[SqlSnapshot]:
    """Open a database as it is at this instant; later changes are not seen.

    Parameters
    ----------
    address : str
        ``mysql://user:{secret://ERP_PASSWORD}@host/database`` or ``sqlite:////folder/erp.db``.
    name : str
        How people call the source, for messages.

    Raises
    ------
    SourceUnreachable
        If nobody answers, or all connections are taken.
    SourceRefused
        If the database refuses the account, or there is no such database.
    ConfigError
        If the address is none of these, or its secret is not set.
    """
    limits = limits or SqlLimits()
    url = _url(address, name)
    label = f"source {name} ({_place(url)})"
    engine = _engine(url, limits, label)
    # Only what is asked of the source is put in words: what its reader does meanwhile is not its.
    with _in_words(label):
        connection = engine.connect()
    try:
        snapshot = SqlSnapshot(connection, label, limits)
        snapshot.begin()
        try:
            yield snapshot
        finally:
            snapshot.end()
    finally:
        connection.close()
        engine.dispose()


class SqlSnapshot:
    """A database at one instant. Belongs to one thread; one table is read at a time.

    ``issues`` says what somebody should look at: rights that are too wide, tables outside of the
    snapshot.
    """

    def __init__(self, connection: Connection, label: str, limits: SqlLimits) -> None:
        self._connection, self.label, self._limits = connection, label, limits
        self._mysql = connection.dialect.name == "mysql"
        self._deadline = [float("inf")]
        self._names: dict[str, list[str]] | None = None
        self.issues: list[str] = []

    def begin(self) -> None:
        """Fix the instant; nothing is read before."""
        with self._statement():
            if self._mysql:
                self._begin_mysql()
                return
            self._run("PRAGMA query_only = ON")
            _watch(self._connection, self._deadline)
            self._run("BEGIN")
            # A transaction of SQLite begins with the first look at the file.
            self._run("SELECT count(*) FROM sqlite_master")

    def end(self) -> None:
        """Let the instant go."""
        try:
            self._run("ROLLBACK")
        except DBAPIError as error:
            # The connection is closed next, and the server then ends the transaction itself.
            log.debug("%s: %s", self.label, secrets.redact(str(error)))

    def table(self, name: str) -> str:
        """Return the name of a table as the database writes it; case differs between servers.

        Raises
        ------
        SourceError
            If there is none, or several that differ in nothing else.
        """
        if self._names is None:
            self._names = {}
            with self._statement():
                for found in self._tables():
                    self._names.setdefault(found.casefold(), []).append(found)
        names = self._names.get(name.casefold(), [])
        if name in names:
            return name
        if len(names) == 1:
            return names[0]
        several = f"The tables {', '.join(names)} differ in nothing but case."
        raise SourceError(
            several if names else f"There is no table {name}.",
            where=self.label,
            fix="Look at the database of the address, and at what the account may see.",
        )

    def columns(self, table: str) -> tuple[str, ...]:
        """Return the names of a table's columns as the database writes them."""
        if self._mysql:
            query = (
                "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()"
                " AND BINARY TABLE_NAME = BINARY %s ORDER BY ORDINAL_POSITION"
            )
        else:
            query = "SELECT name FROM pragma_table_info(?)"
        name = self.table(table)
        with self._statement():
            rows = self._connection.exec_driver_sql(query, (name,))
            return tuple(str(row[0]) for row in rows)

    def count(self, table: str) -> int:
        """Return how many rows a table has [1]."""
        with self._statement():
            row = self._run(f"SELECT count(*) FROM {self._quoted(self.table(table))}").one()
        return int(row[0])

    def rows(
        self, table: str, columns: Sequence[str], *, optional: Sequence[str] = ()
    ) -> Iterator[list[Row]]:
        """Yield a table's rows in lists, in no order; values are what the driver makes of them.

        Dates that are none come from MySQL as text. Columns in ``optional`` may be missing, and
        are None then.

        Raises
        ------
        SourceError
            If a column is missing; all that are missing are named.
        TransferBroken
            If the connection is lost on the way, or the table takes longer than it may.
        """
        there = {name.casefold(): name for name in self.columns(table)}
        missing = [c for c in columns if c.casefold() not in there and c not in optional]
        if missing:
            raise SourceError(
                f"The table {table} has no column {', '.join(missing)}.",
                where=self.label,
                fix="Compare the database with the tables that docs/machining.md lists.",
            )
        wanted = ", ".join(
            self._quoted(there[c.casefold()]) if c.casefold() in there else "NULL" for c in columns
        )
        query = f"SELECT {wanted} FROM {self._quoted(self.table(table))}"
        # The driver's own cursor: its rows are plain tuples, and half a million of them count.
        driver: Any = self._connection.connection.driver_connection
        with self._statement(), closing(self._cursor(driver)) as cursor:
            # PyMySQL takes a lone percent sign as it is where there are no values to fill in.
            cursor.execute(query.replace("%%", "%") if self._mysql else query)
            while batch := cursor.fetchmany(self._limits.batch_rows):
                yield list(batch)

    # --- how each database is asked -------------------------------------------------------------

    def _begin_mysql(self) -> None:
        version = str(self._run("SELECT VERSION()").scalar_one())
        seconds = self._limits.statement_s
        if "mariadb" in version.lower():
            self._run(f"SET SESSION max_statement_time = {seconds:.3f}")
        else:
            self._run(f"SET SESSION max_execution_time = {round(seconds * 1000)}")
        # A reader that is slow because it writes to its own store is no reason to hang up.
        self._run(f"SET SESSION net_write_timeout = {max(60, round(seconds))}")
        self._run("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        grants = [str(row[0]) for row in self._run("SHOW GRANTS FOR CURRENT_USER")]
        self.issues += rights_to_write(grants)
        self._run("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")

    def _tables(self) -> list[str]:
        if not self._mysql:
            query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
            return [str(row[0]) for row in self._run(query)]
        query = (
            "SELECT TABLE_NAME, ENGINE FROM information_schema.TABLES"
            " WHERE TABLE_SCHEMA = DATABASE()"
        )
        found = [(str(row[0]), row[1]) for row in self._run(query)]
        loose = sorted(name for name, engine in found if engine not in ("InnoDB", None))
        if loose:
            self.issues.append(
                f"The engine of {', '.join(loose)} has no snapshots: what is written there while it"
                " is read may be seen in part."
            )
        return [name for name, _ in found]

    def _cursor(self, driver: Any) -> Any:
        return driver.cursor(_Stream) if self._mysql else driver.cursor()

    def _run(self, query: str) -> Any:
        return self._connection.exec_driver_sql(query)

    def _quoted(self, name: str) -> str:
        return self._connection.dialect.identifier_preparer.quote_identifier(name)

    @contextmanager
    def _statement(self) -> Iterator[None]:
        """Give a statement its time; MySQL's server looks at the clock itself."""
        self._deadline[0] = time.monotonic() + self._limits.statement_s
        try:
            with _in_words(self.label):
                yield
        finally:
            self._deadline[0] = float("inf")


class _Stream(SSCursor):  # type: ignore[misc]
    """A cursor that streams, and lets go of a connection that is lost without asking it again."""

    connection: Any

    def close(self) -> None:
        if self.connection is not None and not self.connection.open:
            if self._result is not None:
                self._result.unbuffered_active = False
            self.connection = None
        super().close()


def _url(address: str, name: str) -> URL:
    try:
        url = make_url(secrets.fill(address))
    except (ArgumentError, ValueError) as error:
        # The address itself may hold a password, so it is not shown.
        raise ConfigError(
            "This is no address of a database.",
            where=f"source {name}",
            fix="Write mysql://user:{secret://NAME}@host/database or sqlite:////folder/file.db.",
        ) from error
    if url.drivername not in DRIVERS:
        raise ConfigError(
            f"Databases of the kind {url.drivername} are not read.",
            where=f"source {name}",
            fix="MySQL, MariaDB and SQLite are.",
        )
    if url.password:
        secrets.remember(str(url.password))
    return url.set(drivername=DRIVERS[url.drivername])


def _place(url: URL) -> str:
    """Where it is, without user and password."""
    if url.drivername.startswith("sqlite"):
        return f"sqlite:{url.database}"
    return f"mysql://{url.host}:{url.port or 3306}/{url.database or ''}"


def _engine(url: URL, limits: SqlLimits, label: str) -> Engine:
    # Autocommit leaves it to this module when a transaction begins.
    options: dict[str, Any] = {"poolclass": NullPool, "isolation_level": "AUTOCOMMIT"}
    if url.drivername.startswith("sqlite"):
        path = Path(url.database or "")
        if not path.is_file():
            raise SourceUnreachable(
                "There is no such database file.", where=label, fix="Check the address."
            )

        def connect() -> sqlite3.Connection:
            opened = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=limits.connect_s
            )
            opened.text_factory = _text
            return opened

        return create_engine("sqlite+pysqlite://", creator=connect, **options)
    arguments = {
        "charset": "utf8mb4",
        "connect_timeout": max(1, round(limits.connect_s)),
        "read_timeout": max(1, round(limits.answer_s)),
        "write_timeout": max(1, round(limits.answer_s)),
    }
    return create_engine(url, connect_args=arguments, **options)


def _text(content: bytes) -> str:
    """Return a text of SQLite, which lets anything be written as text."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _watch(connection: Connection, deadline: list[float]) -> None:
    driver: Any = connection.connection.driver_connection
    # Once above zero, SQLite ends the statement.
    driver.set_progress_handler(lambda: int(time.monotonic() > deadline[0]), _LOOK_EVERY)


@contextmanager
def _in_words(label: str) -> Iterator[None]:
    """Turn what the driver says into one sentence and what to do; never with the account."""
    try:
        yield
    except DBAPIError as error:
        raise _explained(error.orig or error, label) from error
    except (pymysql.err.Error, sqlite3.Error) as error:
        raise _explained(error, label) from error
    except OSError as error:
        raise SourceUnreachable(
            f"The connection was lost ({error.strerror or error}).", where=label
        ) from error


def _explained(error: BaseException, label: str) -> SourceError:
    arguments = error.args
    code = arguments[0] if arguments and isinstance(arguments[0], int) else 0
    said = secrets.redact(str(arguments[-1] if arguments else error))
    if code in _REFUSED:
        return SourceRefused(
            f"The database refuses the account (error {code}).",
            where=label,
            fix="Check user, secret and database; the account needs SELECT on the tables.",
        )
    if code in _BUSY:
        return SourceUnreachable(
            f"The database takes no further connection (error {code}).", where=label
        )
    if code in _TIMED_OUT or said == "interrupted":
        return TransferBroken(
            "A table took longer than it may.",
            where=label,
            fix="Ask at another hour, or allow more seconds.",
        )
    if code in _LOST:
        return TransferBroken(f"The connection was lost on the way (error {code}).", where=label)
    if code == 2003 or said.startswith("unable to open"):
        return SourceUnreachable(
            "The database does not answer.", where=label, fix="Check host, port and network."
        )
    if "locked" in said:
        return SourceUnreachable("The database is locked by a writer.", where=label)
    return SourceError(f"The database answers with an error ({code or ''} {said}).", where=label)
