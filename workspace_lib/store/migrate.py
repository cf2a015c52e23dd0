"""Opening a store whose schema and site are right, making a new one, and moving its schema.

Each of the two databases keeps its own version; the chain of steps is one. A new store is made from
the tables as the code has them and marked with the newest version, which is quick; the tests prove
that going through all steps gives the same.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    Text,
    insert,
    inspect,
    select,
    text,
)

from workspace_lib.errors import StoreError
from workspace_lib.settings import SITE_FILE, Settings
from workspace_lib.store.base import control_metadata, data_metadata
from workspace_lib.store.engines import (
    DATABASES,
    DatabaseName,
    Store,
    connect_store,
    describe,
    is_sqlite,
    named,
    read,
    write,
)
from workspace_lib.store.schema import load_tables
from workspace_lib.store.upsert import upsert

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext

VERSIONS = Path(__file__).parent / "migrations" / "versions"
BASE = "base"

# What Alembic itself would make, so that either of the two can mark a database.
_version_table = Table(
    "alembic_version", MetaData(), Column("version_num", String(32), primary_key=True)
)
_version_table.primary_key.name = "alembic_version_pkc"

#: Whose store it is: the site's name and folder, and one identity for both databases.
meta = {
    database: Table(
        "meta",
        metadata,
        Column("key", Text, primary_key=True),
        Column("value", Text, nullable=False),
    )
    for database, metadata in (("control", control_metadata), ("data", data_metadata))
}


def metadata_of(database: DatabaseName) -> MetaData:
    """Return the tables of one database, all of them."""
    load_tables()
    return control_metadata if database == "control" else data_metadata


def open_store(settings: Settings, *, create: bool = False, read_only: bool = False) -> Store:
    """Return the site's store, after a look at whose it is and which schema it has.

    Parameters
    ----------
    create : bool
        Make the store if there is none.
    read_only : bool
        Open it so that nothing can be written.

    Raises
    ------
    StoreError
        If there is none (and ``create`` is not given), if its schema is older or newer than this
        program's, or if it is the store of another site.
    """
    store = connect_store(settings, read_only=read_only, create=create)
    try:
        if create:
            _create(store, settings)
        check(store, settings)
    except BaseException:
        store.close()
        raise
    return store


def head(versions: Path = VERSIONS) -> str:
    """Return the newest version that this program knows."""
    return max((path.name.partition("_")[0] for path in versions.glob("[0-9]*_*.py")), default="")


def version_of(engine: Engine) -> str | None:
    """Return the version of a database's schema; None if it has none of ours."""
    with read(engine) as connection:
        return _version(connection)


def migrate(
    store: Store,
    settings: Settings,
    target: str | None = None,
    *,
    versions: Path = VERSIONS,
) -> None:
    """Move both databases to the version ``target`` (default: the newest), up or down.

    It makes no backup; `workspace_lib.store.backup.upgrade` does.

    Raises
    ------
    StoreError
        If the target is unknown, or the rows would contradict each other afterwards.
    """
    goal = target or head(versions)
    for database in DATABASES:
        with migration(store.engine(database), database, versions) as context:
            context.to(goal)
    mark(store, settings)


class Migration:
    """The migration of one open database; ``connection`` is in its transaction."""

    def __init__(self, connection: Connection, database: DatabaseName, versions: Path) -> None:
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", str(versions.parent).replace("%", "%%"))
        self._config = config
        self._scripts = ScriptDirectory(str(versions.parent), version_locations=[str(versions)])
        self.connection = connection
        self._database = database

    def to(self, target: str) -> None:
        """Run the steps between the version it has and ``target``."""
        from alembic.runtime.environment import EnvironmentContext
        from alembic.util import CommandError

        def steps(revision: Any, context: MigrationContext) -> Any:
            at = revision[0] if revision else ""
            if target == BASE or (at and target < at):
                return self._scripts._downgrade_revs(target, revision)
            return self._scripts._upgrade_revs(target, revision)

        try:
            with EnvironmentContext(self._config, self._scripts, fn=steps) as environment:
                environment.configure(connection=self.connection, render_as_batch=True)
                environment.run_migrations(database=self._database)
        except CommandError as error:
            raise StoreError(
                f"The schema cannot be moved to the version {target}: {error}.",
                fix=f"The newest that this program knows is {self._scripts.get_current_head()}.",
            ) from error


@contextmanager
def migration(
    engine: Engine, database: DatabaseName, versions: Path = VERSIONS
) -> Iterator[Migration]:
    """Open one database to move its schema, in one transaction and alone."""
    sqlite = is_sqlite(engine)
    with named(engine), engine.connect() as connection:
        driver: Any = connection.connection.dbapi_connection
        if sqlite:
            # Changing a table means making it anew; the rows that refer to it must not notice.
            driver.execute("PRAGMA foreign_keys=OFF")
        try:
            connection = connection.execution_options(workspace_write=True)
            with connection.begin():
                _alone(connection)
                yield Migration(connection, database, versions)
                if sqlite and (broken := _broken_references(connection)):
                    raise StoreError(
                        f"Rows would refer to rows that are gone: {broken}.",
                        where=describe(engine),
                        fix="Nothing was changed; restore a backup or repair these rows.",
                    )
        finally:
            if sqlite:
                driver.execute("PRAGMA foreign_keys=ON")


def _create(store: Store, settings: Settings) -> None:
    for database in DATABASES:
        with write(store.engine(database)) as connection:
            _alone(connection)
            if _version(connection) is not None:
                continue
            if inspect(connection).get_table_names():
                raise StoreError(
                    "The database has tables of something else.",
                    where=describe(store.engine(database)),
                    fix="Give the workspace a database (on PostgreSQL: a schema) of its own.",
                )
            metadata_of(database).create_all(connection, checkfirst=False)
            _version_table.create(connection)
            connection.execute(insert(_version_table).values(version_num=head()))
    mark(store, settings)


def mark(store: Store, settings: Settings, *, anew: bool = False) -> None:
    """Write into both databases whose they are: where it is not written yet, or ``anew``."""
    identity = uuid.uuid4().hex
    for database in DATABASES:
        table = meta[database]
        with write(store.engine(database)) as connection:
            if not inspect(connection).has_table(table.name):
                continue
            known = _meta(connection, database)
            values = {"site": settings.site_name, "folder": str(settings.site_dir), "id": identity}
            for key, value in values.items():
                if key not in known or anew:
                    upsert(connection, table, {"key": key, "value": value}, key=("key",))
            if not anew:
                identity = known.get("id", identity)


def check(store: Store, settings: Settings, *, older: bool = False) -> None:
    """Refuse a store that this program cannot use; ``older`` lets an older schema pass.

    Raises
    ------
    StoreError
        If there is none, if its schema is older or newer, or if it is another site's.
    """
    newest = head()
    identities: set[str] = set()
    for database in DATABASES:
        engine = store.engine(database)
        where = describe(engine)
        with read(engine) as connection:
            version = _version(connection)
            known = _meta(connection, database) if version is not None else {}
        if version is None:
            raise StoreError("There is no store yet.", where=where, fix="Run: workspace upgrade.")
        if version > newest:
            raise StoreError(
                f"The store was written by a newer program (version {version}; this one knows "
                f"{newest or 'none'}).",
                where=where,
                fix="Update this program; nothing was changed.",
            )
        if version < newest and not older:
            raise StoreError(
                f"The store is of an older version ({version}; this program needs {newest}).",
                where=where,
                fix="Run: workspace upgrade. It makes a backup first.",
            )
        _check_site(known, settings, where)
        identities.update({known["id"]} if "id" in known else ())
        if len(identities) > 1:
            raise StoreError(
                "The two databases do not belong together.",
                where=where,
                fix="Restore both from one backup: workspace restore FILE.",
            )


def identity(store: Store) -> str | None:
    """Return the identity of a store: the same from every machine that has opened this one."""
    with read(store.control) as connection:
        return _meta(connection, "control").get("id")


def _check_site(known: dict[str, str], settings: Settings, where: str) -> None:
    site = known.get("site", settings.site_name)
    folder = Path(known.get("folder", settings.site_dir))
    # A site whose folder was moved or renamed with its workspace is still that site.
    elsewhere = (folder / SITE_FILE).exists() and folder.resolve() != settings.site_dir.resolve()
    if site != settings.site_name or elsewhere:
        raise StoreError(
            f"This is the store of the site {site} ({folder}), not of {settings.site_name}.",
            where=where,
            fix="Give each site outputs (or a database) of its own.",
        )


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(select(_version_table.c.version_num)).scalar()
    return None if found is None else str(found)


def _meta(connection: Connection, database: DatabaseName) -> dict[str, str]:
    table = meta[database]
    if not inspect(connection).has_table(table.name):
        return {}
    return {row.key: row.value for row in connection.execute(select(table))}


def _alone(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Another one that makes or moves the same schema may take longer than a usual lock.
        connection.execute(text("SET LOCAL lock_timeout = '5min'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(current_schema()))"))


def _broken_references(connection: Connection) -> str:
    rows = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    return ", ".join(sorted({f"{row[0]} to {row[2]}" for row in rows}))
