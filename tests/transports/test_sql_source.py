"""Databases as sources: a snapshot that nobody disturbs, read-only, with errors that say what."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workspace_lib.errors import ConfigError, SourceError
from workspace_lib.settings import Settings
from workspace_lib.transports.file_source import SourceRefused, SourceUnreachable, TransferBroken
from workspace_lib.transports.sql_grants import rights_to_write
from workspace_lib.transports.sql_source import SqlLimits, open_snapshot, resolve_address

SMALL = SqlLimits(connect_s=2, answer_s=20, statement_s=20, batch_rows=2)


@pytest.fixture
def erp(tmp_path: Path) -> Path:
    """A SQLite file with one table of five rows."""
    path = tmp_path / "a folder?" / "erp#1.db"
    path.parent.mkdir()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE A_Kopf (ID TEXT PRIMARY KEY, AufStatus TEXT)")
        database.executemany("INSERT INTO A_Kopf VALUES (?, 'vitrage')", [(n,) for n in "abcde"])
    database.close()
    return path


def address_of(path: Path) -> str:
    return f"sqlite:///{str(path).replace('?', '%3F').replace('#', '%23')}"


@pytest.fixture
def source(request: pytest.FixtureRequest, erp: Path, tmp_path: Path) -> Any:
    """An address, and how somebody else writes to the database."""
    if request.param == "mariadb":
        mariadb = request.getfixturevalue("mariadb")
        mariadb.run("CREATE TABLE A_Kopf (ID VARCHAR(32) PRIMARY KEY, AufStatus VARCHAR(50))")
        mariadb.run("INSERT INTO A_Kopf VALUES (%s, 'vitrage')", [(n,) for n in "abcde"])
        return mariadb.address, mariadb.run
    path = tmp_path / "plain.db"
    erp.rename(path)

    def run(statement: str) -> None:
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(statement)
        database.close()

    run("SELECT 1")
    return f"sqlite:///{path}", run


both = pytest.mark.parametrize(
    "source", ["sqlite", pytest.param("mariadb", marks=pytest.mark.server)], indirect=True
)


@both
def test_rows_come_in_lists_of_the_size_asked_for(source: Any) -> None:
    with open_snapshot(source[0], limits=SMALL) as snapshot:
        batches = list(snapshot.rows("A_Kopf", ["ID", "AufStatus"]))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert sorted(row for batch in batches for row in batch) == [(n, "vitrage") for n in "abcde"]


@both
def test_what_is_written_meanwhile_is_not_seen(source: Any) -> None:
    address, write = source
    with open_snapshot(address) as snapshot:
        write("DELETE FROM A_Kopf WHERE ID = 'a'")
        write("UPDATE A_Kopf SET AufStatus = 'changed'")
        assert snapshot.count("A_Kopf") == 5
        rows = [row for batch in snapshot.rows("A_Kopf", ["AufStatus"]) for row in batch]
    assert set(rows) == {("vitrage",)}
    with open_snapshot(address) as snapshot:
        assert snapshot.count("A_Kopf") == 4


@both
def test_names_of_tables_and_columns_are_found_in_any_case(source: Any) -> None:
    with open_snapshot(source[0]) as snapshot:
        assert snapshot.table("a_kopf") == "A_Kopf"
        assert snapshot.columns("A_KOPF") == ("ID", "AufStatus")
        assert [len(batch) for batch in snapshot.rows("a_kopf", ["id", "AUFSTATUS"])] == [5]


@both
def test_all_missing_columns_are_named_and_optional_ones_are_none(source: Any) -> None:
    with open_snapshot(source[0]) as snapshot:
        with pytest.raises(SourceError, match="A_Kopf has no column Datum, Zeit"):
            next(snapshot.rows("A_Kopf", ["ID", "Datum", "Zeit"]))
        [rows] = snapshot.rows("A_Kopf", ["ID", "Techniker"], optional=["Techniker"])
        assert sorted(rows)[0] == ("a", None)
        with pytest.raises(SourceError, match="no table A_Vorgang"):
            snapshot.count("A_Vorgang")


@both
def test_nothing_can_be_written(source: Any) -> None:
    with open_snapshot(source[0]) as snapshot, pytest.raises(Exception, match=r"readonly|denied"):
        snapshot._run("DELETE FROM A_Kopf")


@both
def test_a_reader_that_ends_early_leaves_the_source_usable(source: Any) -> None:
    with open_snapshot(source[0], limits=SMALL) as snapshot:
        rows = snapshot.rows("A_Kopf", ["ID"])
        assert len(next(rows)) == 2
        rows.close()  # type: ignore[attr-defined]
        assert snapshot.count("A_Kopf") == 5


@both
def test_an_error_of_the_reader_stays_the_readers(source: Any) -> None:
    with pytest.raises(OSError, match="disk full"), open_snapshot(source[0]):
        raise OSError("disk full")


def test_paths_with_odd_letters_are_opened(erp: Path) -> None:
    with open_snapshot(address_of(erp)) as snapshot:
        assert snapshot.count("A_Kopf") == 5


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    with (
        pytest.raises(SourceUnreachable, match="no such database file"),
        open_snapshot(f"sqlite:///{tmp_path / 'gone.db'}"),
    ):
        pass
    assert not (tmp_path / "gone.db").exists()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "erp.db"
    path.write_bytes(b"no database at all " * 100)
    with (
        pytest.raises(SourceError, match="not a database"),
        open_snapshot(f"sqlite:///{path}"),
    ):
        pass


def test_a_table_that_takes_too_long_is_given_up(erp: Path) -> None:
    with sqlite3.connect(erp) as database:
        database.execute(
            "CREATE VIEW endless AS WITH RECURSIVE n(x) AS"
            " (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n WHERE x < 0"
        )
    database.close()
    limits = SqlLimits(statement_s=0.05)
    with (
        open_snapshot(address_of(erp), limits=limits) as snapshot,
        pytest.raises(TransferBroken, match="longer than it may"),
    ):
        list(snapshot.rows("endless", ["x"]))


def test_texts_that_are_no_utf8_are_read_as_windows_wrote_them(erp: Path) -> None:
    with sqlite3.connect(erp) as database:
        database.execute("INSERT INTO A_Kopf VALUES ('f', CAST(x'506c616e69e965' AS TEXT))")
    database.close()
    with open_snapshot(address_of(erp)) as snapshot:
        [rows] = snapshot.rows("A_Kopf", ["ID", "AufStatus"])
    assert ("f", "Planiée") in rows


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("postgresql://u:p@host/erp", "postgresql are not read"),
        ("nonsense with s3cret-word", "no address"),
        ("mysql://u:p@host:port/erp", "no address"),
    ],
)
def test_other_addresses_are_refused_without_showing_them(address: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught, open_snapshot(address):
        pass
    assert address not in str(caught.value)


def test_a_secret_that_is_not_set_is_named() -> None:
    with (
        pytest.raises(ConfigError, match="NO_SUCH_WORD is not set"),
        open_snapshot("mysql://u:{secret://NO_SUCH_WORD}@127.0.0.1/erp"),
    ):
        pass


def test_nobody_listens(free_port: int) -> None:
    with (
        pytest.raises(SourceUnreachable, match="does not answer") as caught,
        open_snapshot(f"mysql://u:hidden-word@127.0.0.1:{free_port}/erp", limits=SMALL),
    ):
        pass
    assert "hidden-word" not in str(caught.value)
    assert f"127.0.0.1:{free_port}" in str(caught.value)


def test_an_address_at_a_simulator_is_looked_up(settings: Settings, erp: Path) -> None:
    folder = settings.outputs_dir / "simulators"
    folder.mkdir(parents=True)
    entry = {"endpoint": {"urls": {"orders": address_of(erp)}}, "secrets": {}}
    (folder / "erp.json").write_text(json.dumps(entry))
    address = resolve_address(settings, "simulator://erp/orders")
    with open_snapshot(address) as snapshot:
        assert snapshot.count("A_Kopf") == 5
    assert resolve_address(settings, "sqlite:////x.db") == "sqlite:////x.db"


def test_a_production_site_takes_no_simulated_orders(make_site: Callable[..., Settings]) -> None:
    site = make_site({"timezone": "Europe/Paris", "production": True})
    with pytest.raises(ConfigError, match="takes no simulator"):
        resolve_address(site, "simulator://erp/orders")


# --- MariaDB alone ----------------------------------------------------------------------------


@pytest.mark.server
def test_the_password_is_a_secret_and_stays_one(
    mariadb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERP_WORD", "wrong/word@1")
    address = mariadb.address.replace("reads-only", "{secret://ERP_WORD}")
    with pytest.raises(SourceRefused, match="refuses the account") as caught:
        open_snapshot(address).__enter__()
    assert "wrong" not in str(caught.value)
    assert mariadb.name not in str(caught.value).split("/")[0]
    mariadb.run(f"ALTER USER {mariadb.name} IDENTIFIED BY 'wrong/word@1'")
    with open_snapshot(address) as snapshot:
        assert snapshot.issues == []


@pytest.mark.server
def test_an_account_that_can_write_is_told_of(mariadb: Any) -> None:
    mariadb.run(f"GRANT ALL PRIVILEGES ON {mariadb.name}.* TO {mariadb.name} WITH GRANT OPTION")
    with open_snapshot(mariadb.address) as snapshot:
        [issue] = snapshot.issues
    assert "ALL PRIVILEGES" in issue
    assert "GRANT OPTION" in issue


@pytest.mark.server
def test_even_an_account_that_can_write_does_not_here(mariadb: Any) -> None:
    mariadb.run("CREATE TABLE t (ID INT)")
    mariadb.run(f"GRANT ALL PRIVILEGES ON {mariadb.name}.* TO {mariadb.name}")
    with open_snapshot(mariadb.address) as snapshot, pytest.raises(Exception, match="READ ONLY"):
        snapshot._run("INSERT INTO t VALUES (1)")
    assert mariadb.run("SELECT count(*) FROM t") == [(0,)]


@pytest.mark.server
def test_a_column_with_a_percent_sign_is_read(mariadb: Any) -> None:
    mariadb.run("CREATE TABLE t (`50 % of` INT, `a``b` INT)")
    mariadb.run("INSERT INTO t VALUES (1, 2)")
    with open_snapshot(mariadb.address) as snapshot:
        assert list(snapshot.rows("t", ["50 % of", "a`b"])) == [[(1, 2)]]


@pytest.mark.server
def test_a_table_without_snapshots_is_told_of(mariadb: Any) -> None:
    mariadb.run("CREATE TABLE old (ID INT) ENGINE = MyISAM")
    with open_snapshot(mariadb.address) as snapshot:
        snapshot.count("old")
        assert "engine of old has no snapshots" in snapshot.issues[0]


@pytest.mark.server
def test_dates_that_are_none_come_as_text(mariadb: Any) -> None:
    mariadb.run("CREATE TABLE t (at DATETIME)")
    mariadb.run("INSERT INTO t VALUES (%s)", [("0000-00-00",), ("2025-06-00",)])
    with open_snapshot(mariadb.address) as snapshot:
        [rows] = snapshot.rows("t", ["at"])
    assert sorted(rows) == [("0000-00-00 00:00:00",), ("2025-06-00 00:00:00",)]


@pytest.mark.server
def test_two_tables_that_differ_in_case_are_not_guessed_between(mariadb: Any) -> None:
    mariadb.run("CREATE TABLE a_kopf (ID INT)")
    mariadb.run("CREATE TABLE A_KOPF (ID INT)")
    with open_snapshot(mariadb.address) as snapshot:
        assert snapshot.table("a_kopf") == "a_kopf"
        with pytest.raises(SourceError, match="differ in nothing but case"):
            snapshot.table("A_Kopf")


@pytest.mark.server
def test_a_connection_that_is_killed_on_the_way_says_so(mariadb: Any) -> None:
    mariadb.run("CREATE TABLE big (ID INT, filler CHAR(200))")
    mariadb.run("INSERT INTO big SELECT seq, REPEAT('x', 200) FROM seq_1_to_200000")
    with open_snapshot(mariadb.address, limits=SMALL) as snapshot:
        rows = snapshot.rows("big", ["ID", "filler"])
        next(rows)
        for row in mariadb.run("SHOW PROCESSLIST"):
            if row[1] == mariadb.name:
                mariadb.run(f"KILL {row[0]}")
        with pytest.raises(TransferBroken, match="lost on the way"):
            list(rows)


@pytest.mark.server
def test_the_server_ends_what_takes_too_long(mariadb: Any) -> None:
    mariadb.run("CREATE VIEW slow AS SELECT a.seq FROM seq_1_to_100000 a, seq_1_to_100000 b")
    with (
        open_snapshot(mariadb.address, limits=SqlLimits(statement_s=0.2)) as snapshot,
        pytest.raises(TransferBroken, match="longer than it may"),
    ):
        snapshot.count("slow")


# --- grants -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "grant",
    [
        "GRANT USAGE ON *.* TO `erp`@`%` IDENTIFIED BY PASSWORD '*94BDCEBE19083CE2A1F959'",
        "GRANT SELECT, SHOW VIEW ON `prod`.* TO `erp`@`%`",
        "GRANT SELECT (ID, AufStatus) ON `prod`.`A_Kopf` TO `erp`@`%`",
        "GRANT PROCESS ON *.* TO `insert`@`%` WITH MAX_QUERIES_PER_HOUR 90",
    ],
)
def test_grants_that_only_read_are_no_issue(grant: str) -> None:
    assert rights_to_write([grant]) == []


@pytest.mark.parametrize(
    ("grant", "told"),
    [
        ("GRANT ALL PRIVILEGES ON *.* TO `erp`@`%`", "ALL PRIVILEGES"),
        ("GRANT SELECT, INSERT, UPDATE (a, b) ON `p`.* TO `erp`@`%`", "INSERT, UPDATE"),
        ("GRANT SELECT ON `p`.* TO `erp`@`%` WITH GRANT OPTION", "GRANT OPTION"),
        ("GRANT FILE ON *.* TO `erp`@`%`", "FILE"),
        ("GRANT `writers` TO `erp`@`%`", "roles whose rights are not seen: `writers`"),
    ],
)
def test_grants_that_can_more_are_told_of(grant: str, told: str) -> None:
    [issue] = rights_to_write([grant])
    assert told in issue
