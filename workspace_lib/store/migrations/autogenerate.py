"""Write the next step of the schema from what the tables say now.

Usage: ``python -m workspace_lib.store.migrations.autogenerate "what changed"``. The chain so far is
run into an empty SQLite store and compared with the tables; the difference becomes a new file.
``--check`` writes nothing and exits 1 if there is a difference.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.operations.ops import (
    CreateIndexOp,
    DowngradeOps,
    DropIndexOp,
    MigrationScript,
    ModifyTableOps,
    UpgradeOps,
)
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Dialect, Engine, make_url, text

from workspace_lib.errors import ConfigError
from workspace_lib.settings import load_settings
from workspace_lib.store.base import Instant, Json
from workspace_lib.store.engines import DATABASES, DatabaseName, connect_store
from workspace_lib.store.migrate import VERSIONS, head, metadata_of, migrate

_TEMPLATE = '''"""{message}"""

# ruff: noqa: E501

from __future__ import annotations

{imports}

revision = "{revision}"
down_revision = {down_revision}
branch_labels = None
depends_on = None


def upgrade(database: str) -> None:
    """Take this step in one database."""
    if database == "control":
        _upgrade_control()
    else:
        _upgrade_data()


def downgrade(database: str) -> None:
    """Take this step back in one database."""
    if database == "control":
        _downgrade_control()
    else:
        _downgrade_data()
'''


_DIALECTS: dict[str, Dialect] = {
    "postgresql_where": make_url("postgresql://").get_dialect()(),
    "sqlite_where": make_url("sqlite://").get_dialect()(),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a step, or with ``--check`` only say whether one is missing."""
    parser = argparse.ArgumentParser(prog="python -m workspace_lib.store.migrations.autogenerate")
    parser.add_argument("message", nargs="?", default="", help="what changed, in a few words")
    parser.add_argument("--only", choices=DATABASES, help="take the changes of one database")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if out of date")
    options = parser.parse_args(arguments)
    if options.check:
        missing = [line for database in DATABASES for line in differences_of_chain(database)]
        sys.stdout.write("".join(f"{line}\n" for line in missing))
        return 1 if missing else 0
    path = write_step(options.message, only=options.only)
    sys.stdout.write(f"Written: {path}\n" if path else "The tables have not changed.\n")
    return 0


def differences(connection: Connection, database: DatabaseName) -> list[str]:
    """Return what the tables in the code have otherwise than an open database; empty if equal."""
    changes = _changes(connection, database).upgrade_ops
    return [] if changes is None else [str(change) for change in changes.as_diffs()]


def differences_of_chain(database: DatabaseName, versions: Path = VERSIONS) -> list[str]:
    """Return what the tables in the code have otherwise than the chain of steps makes."""
    found: list[str] = []
    _with_chain(versions, lambda name, c: found.extend(differences(c, name)), only=database)
    return found


def write_step(
    message: str, versions: Path = VERSIONS, *, only: DatabaseName | None = None
) -> Path | None:
    """Write the file of the next step; None if there is nothing to change.

    ``only`` leaves the changes of the other database to a step of their own.

    Raises
    ------
    ConfigError
        If no message is given.
    """
    slug = re.sub(r"[^a-z0-9]+", "_", message.lower()).strip("_")[:40]
    if not slug:
        raise ConfigError("A step needs a message.", fix='Write: … autogenerate "what changed"')
    parts: list[str] = []
    changed: list[bool] = []

    def add(database: DatabaseName, connection: Connection) -> None:
        changes = _changes(connection, database)
        for way, steps in (("upgrade", changes.upgrade_ops), ("downgrade", changes.downgrade_ops)):
            assert steps is not None
            if only not in (None, database):
                steps.ops.clear()
            changed.append(not steps.is_empty())
            parts.append(f"def _{way}_{database}() -> None:\n{_code(steps, connection)}\n")

    _with_chain(versions, add)
    if not any(changed):
        return None
    last = head(versions)
    number = f"{int(last or 0) + 1:04d}"
    before = f'"{last}"' if last else "None"
    sentence = message.strip().rstrip(".") + "."
    code = "\n\n".join(parts)
    names = {"sa.": "import sqlalchemy as sa", "op.": "from alembic import op"}
    beginning = _TEMPLATE.format(
        message=sentence,
        revision=number,
        down_revision=before,
        imports="\n".join(line for name, line in names.items() if name in code),
    )
    path = versions / f"{number}_{slug}.py"
    path.write_text(f"{beginning}\n\n{code}", encoding="utf-8")
    # Only the look of it: where no ruff is installed the file is as true.
    for action in (["format"], ["check", "--fix"], ["format"]):
        subprocess.run([sys.executable, "-m", "ruff", *action, "-q", str(path)], check=False)
    return path


def _with_chain(versions: Path, work: Any, only: DatabaseName | None = None) -> None:
    """Run the chain into an empty store and call ``work(database, connection)`` on it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "parameters" / "empty").mkdir(parents=True)
        outputs = Path(folder) / "outputs"
        settings = load_settings("empty", root=Path(folder), outputs=outputs, store={"url": None})
        with connect_store(settings, create=True) as store:
            if head(versions):
                migrate(store, settings, versions=versions)
            for database in DATABASES:
                if only in (None, database):
                    _call(store.engine(database), database, work)


def _call(engine: Engine, database: DatabaseName, work: Any) -> None:
    with engine.connect() as connection:
        work(database, connection)


def _changes(connection: Connection, database: DatabaseName) -> MigrationScript:
    return produce_migrations(_context(connection), metadata_of(database))


def _code(steps: UpgradeOps | DowngradeOps, connection: Connection) -> str:
    _say_conditions(steps)
    code = render_python_code(
        steps,
        render_as_batch=_alters(steps),
        render_item=_render,
        migration_context=_context(connection),
    )
    lines = [line for line in code.splitlines() if not line.strip().startswith("#")]
    return "\n".join(lines)


def _say_conditions(steps: Any) -> None:
    # An index's condition for PostgreSQL must be written in its words, not in those of the SQLite
    # with which the tables were compared: false is not 0.
    for step in getattr(steps, "ops", ()):
        _say_conditions(step)
    for name, dialect in _DIALECTS.items():
        condition = getattr(steps, "kw", {}).get(name)
        if condition is not None:
            compiler = dialect.statement_compiler(dialect, None)
            words = compiler.process(condition, include_table=False, literal_binds=True)
            steps.kw[name] = text(words)


def _alters(steps: UpgradeOps | DowngradeOps) -> bool:
    """Whether a table must be made anew on SQLite, which knows few ways to alter one."""
    return any(
        not isinstance(change, CreateIndexOp | DropIndexOp)
        for table in steps.ops
        if isinstance(table, ModifyTableOps)
        for change in table.ops
    )


def _context(connection: Connection) -> MigrationContext:
    return MigrationContext.configure(connection)


def _render(kind: str, item: Any, context: Any) -> str | Literal[False]:
    # A step must not change its meaning when the program's own column types do.
    if kind == "type" and isinstance(item, Instant):
        return "sa.BigInteger()"
    if kind == "type" and isinstance(item, Json):
        return "sa.Text()"
    return False


if __name__ == "__main__":
    sys.exit(main())
