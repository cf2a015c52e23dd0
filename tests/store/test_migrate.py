"""Migrations: one chain for both databases, equal to the tables, down and up again with rows.

And what `open_store` refuses: no store, an older one, a newer one, another site's.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Connection,
    Engine,
    Float,
    Integer,
    LargeBinary,
    Table,
    inspect,
    select,
    text,
)

from workspace_lib.errors import ConfigError, StoreError
from workspace_lib.settings import Settings
from workspace_lib.store.base import Instant, Json
from workspace_lib.store.engines import DATABASES, Store, connect_store, is_sqlite, read, write
from workspace_lib.store.migrate import (
    BASE,
    VERSIONS,
    head,
    metadata_of,
    migrate,
    open_store,
    version_of,
)
from workspace_lib.store.migrations import autogenerate

MOMENT = datetime(2026, 3, 1, 8, tzinfo=UTC)


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.server)], ids=["sqlite", "pg"]
)
def any_settings(request: pytest.FixtureRequest, make_site: Callable[..., Settings]) -> Settings:
    """Settings of an empty site, once on SQLite and once on PostgreSQL, without a store."""
    site: dict[str, object] = {"timezone": "Europe/Paris"}
    if request.param == "postgresql":
        site["store"] = {"url": request.getfixturevalue("postgres_url")}
    return make_site(site)


@pytest.fixture
def bare(any_settings: Settings) -> Iterator[Store]:
    """Two empty databases."""
    with connect_store(any_settings, create=True) as store:
        yield store


def schema(engine: Engine) -> dict[str, list[str]]:
    """Everything the database itself says of its tables, in words that compare."""
    if is_sqlite(engine):
        query = "SELECT tbl_name, coalesce(sql, name) FROM sqlite_master"
    else:
        query = (
            "SELECT table_name, concat_ws(' ', column_name, data_type, is_nullable, "
            " column_default, collation_name) FROM information_schema.columns "
            " WHERE table_schema = current_schema() "
            "UNION ALL SELECT tablename, indexdef FROM pg_indexes "
            " WHERE schemaname = current_schema() "
            "UNION ALL SELECT conrelid::regclass::text, conname || pg_get_constraintdef(oid) "
            " FROM pg_constraint WHERE connamespace = current_schema()::regnamespace"
        )
    found: dict[str, list[str]] = {}
    with read(engine) as connection:
        for table, words in connection.execute(text(query)):
            found.setdefault(table, []).append(re.sub(r'[\s"]+', " ", words))
    # The order in which a table's columns stand was chosen once and need not be kept.
    return {table: sorted(_parts(words)) for table, words in sorted(found.items())}


def _parts(words: list[str]) -> list[str]:
    return [part.strip(" ()") for text_ in words for part in re.split(r", (?![^(]*\))", text_)]


def test_the_chain_of_steps_makes_what_a_new_store_is_made_of(
    any_settings: Settings, bare: Store, make_site: Callable[..., Settings]
) -> None:
    migrate(bare, any_settings)
    migrated = {name: schema(bare.engine(name)) for name in DATABASES}
    migrate(bare, any_settings, BASE)
    for name in DATABASES:
        with write(bare.engine(name)) as connection:
            connection.execute(text("DROP TABLE alembic_version"))
    with open_store(any_settings, create=True) as new:
        for name in DATABASES:
            assert schema(new.engine(name)) == migrated[name]


def test_the_chain_of_steps_makes_the_tables_of_the_code(
    any_settings: Settings, bare: Store
) -> None:
    migrate(bare, any_settings)
    for name in DATABASES:
        with bare.engine(name).connect() as connection:
            assert autogenerate.differences(connection, name) == []


def test_autogenerate_sees_a_missing_and_a_changed_column(settings: Settings, store: Store) -> None:
    with write(store.control) as connection:
        connection.execute(text("ALTER TABLE triggers DROP COLUMN parameters"))
        connection.execute(text("ALTER TABLE alarms ADD COLUMN extra INTEGER"))
    with store.control.connect() as connection:
        found = " ".join(autogenerate.differences(connection, "control"))
    assert "parameters" in found
    assert "extra" in found


def test_every_table_survives_its_rows_down_and_up_again(
    any_settings: Settings, bare: Store
) -> None:
    migrate(bare, any_settings)
    for name in DATABASES:
        with write(bare.engine(name)) as connection:
            for table in metadata_of(name).sorted_tables:
                if table.name != "meta":
                    connection.execute(table.insert().values(example_row(table)))
    versions = sorted(path.name[:4] for path in VERSIONS.glob("0*.py"))
    for version in [*reversed(versions[:-1]), BASE]:
        migrate(bare, any_settings, version)
    for name in DATABASES:
        assert set(inspect(bare.engine(name)).get_table_names()) <= {"alembic_version"}
    for version in versions:
        migrate(bare, any_settings, version)
        assert version_of(bare.control) == version_of(bare.data) == version
    open_store(any_settings).close()


def example_row(table: Table) -> dict[str, Any]:
    """A row with a value in every column that the table's checks allow."""
    words = " ".join(str(c.sqltext) for c in table.constraints if isinstance(c, CheckConstraint))
    row: dict[str, Any] = {}
    for column in table.columns:
        allowed = re.search(rf"\b{column.name} IN \('(\w+)'", words)
        kind = column.type
        if allowed:
            row[column.name] = allowed[1]
        elif isinstance(kind, Instant):
            row[column.name] = MOMENT
        elif isinstance(kind, Json):
            row[column.name] = {"a": [1, "é"]}
        elif isinstance(kind, Boolean):
            row[column.name] = True
        elif isinstance(kind, Integer):
            row[column.name] = 1
        elif isinstance(kind, Float):
            row[column.name] = 1.5
        elif isinstance(kind, LargeBinary):
            row[column.name] = b"\x00\xff"
        else:
            row[column.name] = "1"
    return row


STEP = '''"""A step for the test."""

import sqlalchemy as sa
from alembic import op

revision = "{number}"
down_revision = "{before}"


def upgrade(database: str) -> None:
    if database == "control":
        with op.batch_alter_table("artefacts") as batch:
            batch.add_column(sa.Column("title", sa.Text(), nullable=False, server_default="-"))
            batch.alter_column("unit", new_column_name="units")
{more}

def downgrade(database: str) -> None:
    if database == "control":
        with op.batch_alter_table("artefacts") as batch:
            batch.drop_column("title")
            batch.alter_column("units", new_column_name="unit")
'''


@pytest.fixture
def longer_chain(tmp_path: Path) -> Callable[..., Path]:
    """The chain with one step more, which makes a table anew that another one refers to."""

    def build(more: str = "") -> Path:
        folder = tmp_path / "migrations" / "versions"
        shutil.copytree(VERSIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
        number = f"{int(head()) + 1:04d}"
        step = STEP.format(number=number, before=head(), more=more)
        (folder / f"{number}_title.py").write_text(step)
        return folder

    return build


def fill(connection: Connection) -> None:
    tables = metadata_of("control").tables
    for name in ("artefacts", "published"):
        connection.execute(tables[name].insert().values(example_row(tables[name])))


def test_a_table_made_anew_keeps_its_rows_and_who_refers_to_them(
    any_settings: Settings, bare: Store, longer_chain: Callable[..., Path]
) -> None:
    migrate(bare, any_settings)
    with write(bare.control) as connection:
        fill(connection)
    chain = longer_chain()
    migrate(bare, any_settings, versions=chain)
    with read(bare.control) as connection:
        assert connection.execute(text("SELECT title, units, name FROM artefacts")).all() == [
            ("-", '{"a":[1,"é"]}', "1")
        ]
    migrate(bare, any_settings, head(), versions=chain)
    published = metadata_of("control").tables["published"]
    with write(bare.control) as connection:
        assert connection.execute(select(published.c.name)).all() == [("1",)]
        if is_sqlite(bare.control):
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
    open_store(any_settings).close()


def test_a_step_that_fails_half_way_changes_nothing(
    any_settings: Settings, bare: Store, longer_chain: Callable[..., Path]
) -> None:
    migrate(bare, any_settings)
    before = schema(bare.control)
    chain = longer_chain('        raise ZeroDivisionError("a fault in the step")\n')
    with pytest.raises(ZeroDivisionError):
        migrate(bare, any_settings, versions=chain)
    assert schema(bare.control) == before
    assert version_of(bare.control) == head()


def test_a_step_that_leaves_rows_without_what_they_refer_to_is_taken_back(
    settings: Settings, store: Store, longer_chain: Callable[..., Path]
) -> None:
    with write(store.control) as connection:
        fill(connection)
    chain = longer_chain('        op.execute("DELETE FROM artefacts")\n')
    with pytest.raises(StoreError, match="published to artefacts"):
        migrate(store, settings, versions=chain)
    with read(store.control) as connection:
        assert connection.execute(text("SELECT count(*) FROM artefacts")).scalar_one() == 1


def test_a_store_in_use_is_not_moved_and_says_so(
    make_site: Callable[..., Settings], store: Store
) -> None:
    impatient = make_site({"store": {"busy_timeout_s": 0.1}})
    with (
        write(store.control),
        connect_store(impatient) as other,
        pytest.raises(StoreError, match="locked for too long"),
    ):
        migrate(other, impatient, "0001")
    open_store(impatient).close()


def test_an_unknown_version_is_refused(settings: Settings, store: Store) -> None:
    with pytest.raises(StoreError, match="cannot be moved to the version 9999"):
        migrate(store, settings, "9999")


def test_a_missing_store_is_refused_and_not_made(any_settings: Settings) -> None:
    with pytest.raises(StoreError, match=r"no store yet.*workspace upgrade"):
        open_store(any_settings)
    assert not any_settings.outputs_dir.exists()


def test_making_a_store_that_exists_opens_it(any_settings: Settings) -> None:
    with open_store(any_settings, create=True) as store, write(store.control) as connection:
        fill(connection)
    with open_store(any_settings, create=True) as store, read(store.control) as connection:
        assert connection.execute(text("SELECT count(*) FROM published")).scalar_one() == 1


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("0000", r"older version \(0000; this program needs .*workspace upgrade"),
        ("9999", r"newer program \(version 9999; this one knows .*Update this program"),
    ],
)
def test_an_older_and_a_newer_store_are_refused(
    any_settings: Settings, database: Any, version: str, words: str
) -> None:
    with open_store(any_settings, create=True) as store, write(
        store.engine(database)
    ) as connection:  # fmt: skip
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{version}'"))
    for options in ({}, {"create": True}, {"read_only": True}):
        with pytest.raises(StoreError, match=words):
            open_store(any_settings, **options)


def test_the_store_of_another_site_is_refused(
    any_settings: Settings, make_site: Callable[..., Settings]
) -> None:
    open_store(any_settings, create=True).close()
    site = {"outputs": str(any_settings.outputs_dir), "store": {"url": any_settings.store.url}}
    other = make_site(site, name="othersite")
    with pytest.raises(StoreError, match=r"store of the site testsite .*, not of othersite"):
        open_store(other)


def test_the_store_of_a_site_of_the_same_name_elsewhere_is_refused(
    settings: Settings, store: Store, tmp_path: Path
) -> None:
    from workspace_lib.settings import load_settings

    twin = tmp_path / "twin" / "testsite"
    shutil.copytree(settings.site_dir, twin)
    other = load_settings(twin, root=settings.root, outputs=settings.outputs_dir)
    with pytest.raises(StoreError, match="not of testsite"):
        open_store(other)
    shutil.rmtree(settings.site_dir)  # moved, not copied
    open_store(other).close()


def test_control_and_data_that_were_put_together_from_two_sites_are_refused(
    make_site: Callable[..., Settings],
) -> None:
    one, two = make_site(name="one"), make_site(name="two")
    for settings in (one, two):
        open_store(settings, create=True).close()
    shutil.copy(two.outputs_dir / "data.db", one.outputs_dir / "data.db")
    with pytest.raises(StoreError, match="store of the site two"):
        open_store(one)


def test_a_database_with_tables_of_something_else_is_left_alone(any_settings: Settings) -> None:
    with connect_store(any_settings, create=True) as store, write(store.data) as connection:
        connection.execute(text("CREATE TABLE customers (n INTEGER)"))
    with pytest.raises(StoreError, match="tables of something else"):
        open_store(any_settings, create=True)
    with connect_store(any_settings) as store:
        assert inspect(store.data).get_table_names() == ["customers"]


@pytest.mark.server
def test_a_role_that_may_not_make_schemas_can_use_the_store(
    make_site: Callable[..., Settings], postgres_url: str
) -> None:
    settings = make_site({"store": {"url": postgres_url}})
    with open_store(settings, create=True) as store, write(store.control) as connection:
        connection.execute(text("DROP ROLE IF EXISTS clerk"))
        connection.execute(text("CREATE ROLE clerk LOGIN"))
        for schema_name in DATABASES:
            connection.execute(text(f"GRANT USAGE ON SCHEMA {schema_name} TO clerk"))
            connection.execute(text(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema_name} TO clerk"))
    url = re.sub(r"//[^:@]*", "//clerk", postgres_url, count=1)
    clerk = make_site({"store": {"url": url}})
    with open_store(clerk, create=True) as store, write(store.control) as connection:
        connection.execute(text("DELETE FROM triggers"))
    with open_store(settings) as store, write(store.control) as connection:
        connection.execute(text("DROP OWNED BY clerk"))
        connection.execute(text("DROP ROLE clerk"))


def test_opening_a_store_loads_no_migration_tool(settings: Settings, store: Store) -> None:
    import subprocess
    import sys

    script = (
        "import sys; from workspace_lib.settings import load_settings;"
        "from workspace_lib.store.migrate import open_store;"
        f"open_store(load_settings({settings.site_name!r}, root={str(settings.root)!r})).close();"
        "print([m for m in ('alembic', 'pandas', 'pyarrow', 'psycopg') if m in sys.modules])"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert told.stdout.strip() == "[]"


def test_making_a_store_takes_little(make_site: Callable[..., Settings]) -> None:
    """Every test makes one: half a second is twenty times what it takes."""
    metadata_of("control")
    took = []
    for number in range(5):
        settings = make_site(name=f"site{number}")
        begin = time.process_time()
        open_store(settings, create=True).close()
        took.append(time.process_time() - begin)
    assert min(took) < 0.5


def test_a_new_step_is_written_from_the_difference_and_can_be_run(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy import Column, MetaData, Text

    folder = tmp_path / "migrations" / "versions"
    shutil.copytree(VERSIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    assert autogenerate.write_step("Nothing", folder) is None

    changed = MetaData(naming_convention=metadata_of("data").naming_convention)
    for table in metadata_of("data").sorted_tables:
        table.to_metadata(changed)
    changed.tables["source_files"].append_column(Column("note", Text))
    Table("fresh", changed, Column("n", Integer, primary_key=True), Column("at", Instant))
    original = metadata_of
    monkeypatch.setattr(
        autogenerate, "metadata_of", lambda name: changed if name == "data" else original(name)
    )
    path = autogenerate.write_step("Notes, and a fresh table!", folder)
    number = f"{int(head()) + 1:04d}"
    assert path == folder / f"{number}_notes_and_a_fresh_table.py"
    assert "workspace_lib" not in path.read_text()
    assert autogenerate.differences_of_chain("data", folder) == []
    assert autogenerate.write_step("Again", folder) is None
    with connect_store(settings, create=True) as store:
        migrate(store, settings, versions=folder)
        migrate(store, settings, head(), versions=folder)
        assert "fresh" not in inspect(store.data).get_table_names()


def test_a_step_needs_a_message(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs a message"):
        autogenerate.write_step(" ", tmp_path)


def test_the_program_that_writes_steps_says_when_one_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert autogenerate.main(["--check"]) == 0
    from sqlalchemy import Column, MetaData

    changed = MetaData()
    Table("fresh", changed, Column("n", Integer, primary_key=True))
    original = metadata_of
    monkeypatch.setattr(
        autogenerate, "metadata_of", lambda name: changed if name == "data" else original(name)
    )
    assert autogenerate.main(["--check"]) == 1
    assert "fresh" in capsys.readouterr().out
