"""The orders of a real joinery's dump come out as its author counted them, on both databases."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pymysql
import pytest

from workspace_lib.machining.erp import OrdersReport, update
from workspace_lib.machining.erp_diff import ErpState
from workspace_lib.machining.erp_orders import Order
from workspace_lib.machining.erp_rules import OrderRules
from workspace_lib.transports.sql_source import open_snapshot

NOW = datetime(2025, 7, 5, 4, tzinfo=UTC)
TABLES = ("A_Kopf", "A_Logbuch", "A_Vorgang", "P_Zubeh")
Found = tuple[OrdersReport, list[Order]]


def statements(dump: str) -> Iterator[str]:
    """Statements of the dump. Quotes in comments come in pairs or not, so comments go first."""
    text = re.sub(r"(?m)^\s*--.*$|(?<=[,;]) -- .*$", "", dump)
    for statement in re.split(r";\s*(?:\n|$)", text):
        if statement.strip():
            yield statement.strip()


@pytest.fixture
def dump(real_data: Path) -> str:
    return (real_data / "machining" / "certif_devia" / "erp_init.sql").read_text(encoding="utf-8")


@pytest.fixture
def loaded(mariadb: Any, dump: str) -> list[str]:
    """The dump on MariaDB, all that it can; gives the statements that it could not."""
    refused = []
    for statement in statements(dump):
        if re.match(r"(CREATE (USER|DATABASE)|GRANT|FLUSH|USE)\b", statement):
            continue
        try:
            mariadb.run(statement)
        except pymysql.err.MySQLError:
            refused.append(statement)
    return refused


def found_in(address: str) -> Found:
    with open_snapshot(address) as snapshot:
        return update(ErpState(), snapshot, OrderRules(), at=NOW)


def check(found: Found) -> None:
    report, orders = found
    assert report.complete
    assert report.trouble == ""
    assert report.orders == len(orders) == 36
    assert report.by_status == {"cde Planifiee": 23, "lancer en prod": 7, "vitrage": 6}
    assert report.in_stock == {"cde Planifiee": 21, "lancer en prod": 0, "vitrage": 0}
    assert report.several_boxes == 0
    assert report.troubles == {}
    days = {
        status: sorted(o.modified[:10] for o in orders if o.status == status and o.modified)
        for status in report.by_status
    }
    assert {status: (first[0], first[-1]) for status, first in days.items()} == {
        "cde Planifiee": ("2025-06-19", "2025-07-02"),
        "lancer en prod": ("2025-05-14", "2025-07-01"),
        "vitrage": ("2025-06-06", "2025-07-01"),
    }


@pytest.mark.server
def test_the_dump_gives_its_authors_36_orders(mariadb: Any, loaded: list[str]) -> None:
    check(found_in(mariadb.address))
    # The dump's own error: three lists of values behind the end of their statement.
    assert [statement[2:13] for statement in loaded] == [
        "2508101-A01",
        "2508201-E01",
        "2508301-H01",
    ]


@pytest.mark.server
def test_sqlite_with_the_same_rows_gives_the_same_orders(
    mariadb: Any, loaded: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "erp.db"
    with sqlite3.connect(path) as copy:
        for table in TABLES:
            rows = mariadb.run(f"SELECT * FROM {table}")
            names = [row[0] for row in mariadb.run(f"SHOW COLUMNS FROM {table}")]
            copy.execute(f"CREATE TABLE {table} ({', '.join(names)})")
            marks = ", ".join("?" * len(names))
            plain = [
                [v if isinstance(v, int | float | str | None) else str(v) for v in row]
                for row in rows
            ]
            copy.executemany(f"INSERT INTO {table} VALUES ({marks})", plain)
    copy.close()
    there, here = found_in(mariadb.address), found_in(f"sqlite:///{path}")
    check(here)
    assert here == there
