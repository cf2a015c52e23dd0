"""Backups: whole, made while others write, restored equal on either database, never over rows."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, text

from workspace_lib import cli
from workspace_lib.errors import StoreError
from workspace_lib.settings import Settings
from workspace_lib.store import backup as backup_module
from workspace_lib.store.alarms import raise_alarm
from workspace_lib.store.backup import backup, describe_backup, restore
from workspace_lib.store.engines import DATABASES, Store, is_sqlite, read, write
from workspace_lib.store.migrate import head, metadata_of, open_store
from workspace_lib.store.publications import (
    load_published,
    publish_run,
    record,
    write_artefact,
)
from workspace_lib.store.upgrade import upgrade

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.server)]


@pytest.fixture
def site_on(
    request: pytest.FixtureRequest, make_site: Callable[..., Settings]
) -> Callable[[str, str], Settings]:
    """Settings of a site by name, its store on the kind of database that is asked for."""

    def make(kind: str, name: str = "testsite") -> Settings:
        site: dict[str, object] = {"timezone": "Europe/Paris"}
        if kind == "postgresql":
            site["store"] = {"url": request.getfixturevalue("postgres_url")}
        return make_site(site, name=name)

    return make


def fill(store: Store) -> None:
    """Rows of every kind of value, and something published."""
    artefact = write_artefact(
        store.outputs,
        "rain.sums",
        {"mm": 1.5},
        run_id="r1",
        attempt=1,
        folder=store.outputs / "runs" / "r1" / "1" / "artefacts",
    )
    with write(store.control) as connection:
        record(connection, artefact, NOW, fresh_for_s=60.5)
        publish_run(connection, "r1", 1, NOW)
        for key in ("a", "b", "é'\"\n\t\\N"):
            raise_alarm(connection, key, wing="rain", severity="info", message=key, now=NOW)
        connection.execute(text("DELETE FROM alarms WHERE key = 'b'"))
        connection.execute(
            text(
                "INSERT INTO leases (resource, holder, units, acquired, expires, lost)"
                " VALUES ('line', 'r1', 1, 1, 2, true), ('line', 'r2', 1, 1, 2, false)"
            )
        )
    table = metadata_of("data").tables["source_files"]
    with write(store.data) as connection:
        connection.execute(
            table.insert(),
            [
                {
                    "source": "plant",
                    "path": f"/{n}.txt",
                    "version": 1,
                    "size": 2**40 + n,
                    "first_seen": NOW,
                    "seen": NOW,
                    "state": "seen",
                }
                for n in range(6_000)
            ],
        )


def content(engine: Engine, database: Any) -> dict[str, list[tuple[Any, ...]]]:
    with read(engine) as connection:
        return {
            table.name: sorted(
                (tuple(row) for row in connection.execute(select(table))), key=lambda row: repr(row)
            )
            for table in metadata_of(database).sorted_tables
            if table.name != "meta"
        }


def contents(settings: Settings) -> dict[str, dict[str, list[tuple[Any, ...]]]]:
    with open_store(settings) as store:
        return {name: content(store.engine(name), name) for name in DATABASES}


@pytest.mark.parametrize("there", KINDS)
@pytest.mark.parametrize("here", KINDS)
def test_a_restored_store_equals_the_one_that_was_backed_up(
    site_on: Callable[..., Settings], tmp_path: Path, here: str, there: str
) -> None:
    original = site_on(here)
    with open_store(original, create=True) as store:
        fill(store)
    before = contents(original)
    archive = backup(original, tmp_path / "kept.zip")
    about = describe_backup(archive)
    assert about.rows["control"]["alarms"] == 2
    assert about.rows["data"]["source_files"] == 6_000

    if here == there:
        shutil.rmtree(original.outputs_dir)
        if here == "postgresql":
            with open_store(original) as store, write(store.control) as connection:
                for name in DATABASES:
                    connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
        target = original
    else:
        target = site_on(there)
    restored = restore(target, archive)
    assert restored.replaced is None
    assert contents(target) == before
    with open_store(target) as store, write(store.control) as connection:
        highest = max(row[0] for row in before["control"]["alarms"])
        new = raise_alarm(connection, "n", wing="rain", severity="info", message="n", now=NOW)
        assert new > highest  # the database's counter goes on where it was
        if is_sqlite(store.control):
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_never_overwritten_without_force_and_saved_with_it(
    site_on: Callable[..., Settings], tmp_path: Path, kind: str
) -> None:
    settings = site_on(kind)
    with open_store(settings, create=True) as store:
        empty = backup(settings, tmp_path / "empty.zip")
        fill(store)
        before = contents(settings)
        with pytest.raises(StoreError, match=r"holds \d+ rows already.*--force"):
            restore(settings, empty)
        assert contents(settings) == before

        restored = restore(settings, empty, force=True)
        assert restored.replaced is not None
        with read(store.data) as connection:
            assert connection.execute(text("SELECT count(*) FROM source_files")).scalar() == 0
    restore(settings, restored.replaced)
    assert contents(settings) == before


WRITER = """
import sys
from workspace_lib.settings import load_settings
from workspace_lib.store.cursors import set_cursor
from workspace_lib.store.engines import write
from workspace_lib.store.migrate import open_store

with open_store(load_settings(sys.argv[1], root=sys.argv[2])) as store:
    n = 0
    while True:
        with write(store.data) as connection:
            for _ in range(100):
                n += 1
                set_cursor(connection, f"cursor{n}", n)
            set_cursor(connection, "last", n)
        print("written", flush=True)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_backup_made_while_others_write_holds_whole_transactions(
    site_on: Callable[..., Settings], tmp_path: Path, kind: str
) -> None:
    settings = site_on(kind)
    open_store(settings, create=True).close()
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, settings.site_name, str(settings.root)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        archives = [backup(settings, tmp_path / f"{n}.zip") for n in range(2)]
        assert writer.stdout.readline() == "written\n"
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.communicate()
    for archive in archives:
        with zipfile.ZipFile(archive) as opened:
            copy = Path(opened.extract("data.db", tmp_path / archive.stem))
        with closing(sqlite3.connect(copy)) as connection:
            rows = dict(connection.execute("SELECT name, value FROM cursors"))
        last = int(rows.pop("last"))
        assert last % 100 == 0
        assert rows == {f"cursor{n}": str(n) for n in range(1, last + 1)}


@pytest.mark.server
def test_tables_that_are_not_the_workspaces_are_named_when_left_out(
    site_on: Callable[..., Settings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = site_on("postgresql")
    with open_store(settings, create=True) as store, write(store.data) as connection:
        connection.execute(text("CREATE TABLE notebook_scratch (n INTEGER)"))
    backup(settings, tmp_path / "kept.zip")
    assert "notebook_scratch" in caplog.text


@pytest.fixture
def filled(settings: Settings, store: Store) -> Settings:
    """A site whose store holds rows."""
    fill(store)
    return settings


def test_files_come_with_the_backup_when_asked_for(
    filled: Settings, store: Store, tmp_path: Path
) -> None:
    kept = {
        "raw/plant/g1/2026/03-01/a.txt": b"raw bytes",
        "data/bench/2026-03-01/1-abc.parquet": b"segment",
    }
    for name, inside in {**kept, "raw/plant/.b.part": b"half", "logs/x.log": b"log"}.items():
        (filled.outputs_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (filled.outputs_dir / name).write_bytes(inside)
    bare, full = tmp_path / "bare.zip", tmp_path / "full.zip"
    backup(filled, bare)
    backup(filled, full, with_files=True)
    assert describe_backup(bare).files == 0
    store.close()
    shutil.rmtree(filled.outputs_dir)
    restored = restore(filled, full)
    artefacts = "runs/r1/1/artefacts/rain.sums"
    found = {
        path.relative_to(filled.outputs_dir).as_posix()
        for path in filled.outputs_dir.rglob("*")
        if path.is_file() and path.suffix not in (".db", ".db-wal", ".db-shm")
    }
    assert found == {*kept, f"{artefacts}.json", f"{artefacts}.manifest.json"}
    assert restored.files == len(found)
    for name, inside in kept.items():
        assert (filled.outputs_dir / name).read_bytes() == inside
    with open_store(filled) as reader:
        assert load_published(reader, "rain.sums", now=NOW).data == {"mm": 1.5}


def test_a_backup_is_for_its_owner_only_and_never_overwrites(
    filled: Settings, tmp_path: Path
) -> None:
    archive = backup(filled, tmp_path)
    assert archive.parent == tmp_path
    assert archive.name.startswith("testsite-")
    if os.name != "nt":
        assert archive.stat().st_mode & 0o777 == 0o600
    with pytest.raises(StoreError, match="A file of that name exists"):
        backup(filled, archive)


def test_by_default_backups_gather_in_the_outputs(filled: Settings) -> None:
    assert backup(filled).parent == filled.outputs_dir / "backups"


def test_a_full_disk_leaves_no_half_backup(
    filled: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(backup_module.zipfile.ZipFile, "write", full)
    with pytest.raises(StoreError, match=r"No space left.*Free disk space"):
        backup(filled, tmp_path / "kept" / "full.zip")
    assert list((tmp_path / "kept").iterdir()) == []


def test_there_is_no_backup_of_a_store_that_is_not_there(settings: Settings) -> None:
    with pytest.raises(StoreError, match="no store yet"):
        backup(settings)


@pytest.mark.parametrize("damage", ["cut", "no zip", "other zip", "changed", "not there"])
def test_a_damaged_backup_is_refused_and_changes_nothing(
    filled: Settings, tmp_path: Path, damage: str
) -> None:
    archive = backup(filled, tmp_path / "kept.zip")
    before = contents(filled)
    if damage == "cut":
        archive.write_bytes(archive.read_bytes()[:-100])
    elif damage == "no zip":
        archive.write_text("no backup at all")
    elif damage == "other zip":
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr("readme.txt", "something else")
    elif damage == "changed":
        rewrite(archive, {"data.db": b"SQLite format 3\0 and then nothing"})
    else:
        archive.unlink()
    with pytest.raises(StoreError, match=r"kept\.zip"):
        restore(filled, archive, force=True)
    assert contents(filled) == before
    assert [path.name for path in filled.outputs_dir.glob(".restore-*")] == []


def rewrite(archive: Path, changed: dict[str, bytes]) -> None:
    with zipfile.ZipFile(archive) as opened:
        entries = {name: opened.read(name) for name in opened.namelist()}
    with zipfile.ZipFile(archive, "w") as opened:
        for name, inside in {**entries, **changed}.items():
            opened.writestr(name, inside)


def test_a_backup_of_a_newer_program_is_refused(filled: Settings, tmp_path: Path) -> None:
    archive = backup(filled, tmp_path / "kept.zip")
    with zipfile.ZipFile(archive) as opened:
        about = json.loads(opened.read("backup.json"))
    about["versions"]["data"] = "9999"
    rewrite(archive, {"backup.json": json.dumps(about).encode()})
    with pytest.raises(StoreError, match=r"newer program \(version 9999"):
        restore(filled, archive, force=True)


def test_a_backup_cannot_write_outside_the_outputs(filled: Settings, tmp_path: Path) -> None:
    archive = backup(filled, tmp_path / "kept.zip")
    rewrite(archive, {"files/../../../escaped.txt": b"!"})
    with pytest.raises(Exception, match="leads out of"):
        restore(filled, archive, force=True)
    assert list(tmp_path.rglob("escaped.txt")) == []


def test_a_backup_of_another_site_is_taken_over_only_with_force(
    filled: Settings, make_site: Callable[..., Settings], tmp_path: Path
) -> None:
    archive = backup(filled, tmp_path / "kept.zip")
    other = make_site(name="othersite")
    with pytest.raises(StoreError, match="backup of the site testsite, not of othersite"):
        restore(other, archive)
    restore(other, archive, force=True)
    assert contents(other) == contents(filled)


@pytest.mark.parametrize("kind", KINDS)
def test_upgrade_makes_a_new_store_and_then_has_nothing_to_do(
    site_on: Callable[..., Settings], kind: str
) -> None:
    settings = site_on(kind)
    made = upgrade(settings)
    assert (made.before, made.after, made.backup) == (None, head(), None)
    again = upgrade(settings)
    assert (again.before, again.after, again.backup) == (head(), head(), None)
    open_store(settings).close()


@pytest.mark.parametrize("kind", KINDS)
def test_upgrade_backs_up_an_older_store_and_moves_it(
    site_on: Callable[..., Settings], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workspace_lib.store import migrate as migrate_module

    settings = site_on(kind)
    with open_store(settings, create=True) as store:
        migrate_module.migrate(store, settings, "0001")
        with write(store.control) as connection:
            raise_alarm(connection, "a", wing="rain", severity="info", message="m", now=NOW)
    with pytest.raises(StoreError, match="workspace upgrade"):
        open_store(settings)
    done = upgrade(settings)
    assert (done.before, done.after) == ("0001", head())
    assert done.backup is not None
    assert describe_backup(done.backup).versions == {"control": "0001", "data": "0001"}
    assert [row[1] for row in contents(settings)["control"]["alarms"]] == ["a"]

    again = restore(settings, done.backup, force=True)  # an older backup is moved up too
    assert again.backup.rows["control"]["alarms"] == 1
    assert [row[1] for row in contents(settings)["control"]["alarms"]] == ["a"]


def test_upgrade_refuses_a_newer_store_and_leaves_it_alone(filled: Settings, store: Store) -> None:
    with write(store.control) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="newer program"):
        upgrade(filled)
    assert not (filled.outputs_dir / "backups").exists()


def test_the_commands_tell_what_they_did(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKSPACE_ROOT", str(settings.root))

    def workspace(*arguments: str) -> tuple[int, str]:
        code = cli.main(["--site", "testsite", *arguments])
        told = capsys.readouterr()
        return code, told.out + told.err

    assert workspace("backup") == (
        1,
        f"workspace: {settings.outputs_dir / 'control.db'}: There is no store yet. "
        "Run: workspace upgrade.\n",
    )
    assert workspace("upgrade") == (0, f"The store was made (version {head()}).\n")
    assert workspace("upgrade") == (0, f"The store is up to date (version {head()}).\n")
    with open_store(settings) as store:
        fill(store)
    archive = settings.outputs_dir / "kept.zip"
    code, told = workspace("backup", str(archive), "--with-files")
    assert code == 0
    assert told.startswith(f"Backup: {archive} (60")
    assert "2 files" in told
    code, told = workspace("restore", str(archive))
    assert code == 1
    assert "--force" in told
    code, told = workspace("restore", str(archive), "--force")
    assert code == 0
    assert "before-restore" in told
    assert "Restored: 60" in told
