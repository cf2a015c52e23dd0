"""Orders of the ERP: a journal of half a million lines, first load and a run that finds nothing.

    bench_machining_orders.py [rows]     lines of the journal (500000)

Rows are streamed from a private MariaDB where one is installed, and from SQLite. Beside it dlt,
where that is installed; nothing here needs it. Target: a run that finds nothing new takes no longer
than the first one, and both hold less than 1000 MB with all rows in memory.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pymysql

from workspace_lib.machining.erp import OrdersReport, update
from workspace_lib.machining.erp_diff import ErpState
from workspace_lib.machining.erp_rules import OrderRules
from workspace_lib.machining.simulator_erp import COLUMNS, KEYS, SimulatedErp
from workspace_lib.transports.sql_source import open_snapshot

ROWS = 500_000
MOST_MB = 1000.0
#: Lines of the journal for each order.
LINES = 10


def make_rows(count: int) -> dict[str, list[Any]]:
    """Return the tables of an ERP whose journal has ``count`` lines."""
    dice = random.Random(1)
    day = SimulatedErp(seed=1, orders=200).rows(0)
    heads = len(day["A_Kopf"])
    rows: dict[str, list[Any]] = {table: [] for table in COLUMNS}
    lines = day["A_Logbuch"]
    for number in range(max(1, count // LINES)):
        head = day["A_Kopf"][number % heads]
        key = f"{number:07}-A00"
        rows["A_Kopf"].append((key, 1, number, *head[3:]))
        rows["P_Zubeh"].append((key, 1, 1, 1, *day["P_Zubeh"][number % heads][4:]))
        rows["A_Vorgang"].append((key, *day["A_Vorgang"][number % heads][1:]))
        for _ in range(LINES):
            line = dice.choice(lines)
            rows["A_Logbuch"].append((len(rows["A_Logbuch"]) + 1, key, *line[2:]))
    return rows


@contextmanager
def mariadb(folder: Path) -> Iterator[Any]:
    """Start a private server; give a connection of root, or None where it is not installed."""
    where = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    install, server = (shutil.which(n, path=where) for n in ("mariadb-install-db", "mariadbd"))
    if install is None or server is None:
        yield None
        return
    data = [f"--datadir={folder / 'data'}", *(["--user=root"] if os.geteuid() == 0 else [])]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    how = ["--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run([install, "--no-defaults", *data, *how], check=True, **quiet)
    with socket.socket() as plug:
        plug.bind(("127.0.0.1", 0))
        port = plug.getsockname()[1]
    options = ["--bind-address=127.0.0.1", f"--port={port}", f"--socket={folder / 'sock'}"]
    process = subprocess.Popen([server, "--no-defaults", *data, *options], **quiet)
    try:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and process.poll() is None:
            with suppress(pymysql.err.OperationalError):
                yield pymysql.connect(host="127.0.0.1", port=port, user="root", charset="utf8mb4")
                return
            time.sleep(0.1)
        raise SystemExit("MariaDB does not answer")
    finally:
        process.terminate()
        process.wait(60)


def fill_mariadb(root: Any, rows: dict[str, list[Any]]) -> str:
    """Write the tables; return the address of an account that can only read them."""
    with root.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = ''")
        cursor.execute("CREATE DATABASE erp CHARACTER SET utf8mb4")
        cursor.execute("CREATE USER reader IDENTIFIED BY 'reads-only'")
        cursor.execute("GRANT SELECT ON erp.* TO reader")
        root.select_db("erp")
        for table, columns in COLUMNS.items():
            named = ", ".join(f"{name} {kind}" for name, kind in columns)
            cursor.execute(f"CREATE TABLE {table} ({named}, PRIMARY KEY ({KEYS[table]}))")
            marks = ", ".join(["%s"] * len(columns))
            cursor.executemany(f"INSERT INTO {table} VALUES ({marks})", rows[table])
    root.commit()
    return f"mysql://reader:reads-only@127.0.0.1:{root.port}/erp"


def fill_sqlite(path: Path, rows: dict[str, list[Any]]) -> str:
    """Write the tables; return the file's address."""
    with sqlite3.connect(path) as database:
        for table, columns in COLUMNS.items():
            named = ", ".join(f"{name} {kind}" for name, kind in columns)
            database.execute(f"CREATE TABLE {table} ({named}, PRIMARY KEY ({KEYS[table]}))")
            marks = ", ".join("?" * len(columns))
            database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows[table])
    database.close()
    return f"sqlite:///{path}"


def read_alone(address: str) -> float:
    """Return how long it takes to stream the four tables and do nothing with them [s]."""
    started = time.perf_counter()
    with open_snapshot(address) as snapshot:
        for table, columns in COLUMNS.items():
            for _ in snapshot.rows(table, [name for name, _ in columns]):
                pass
    return time.perf_counter() - started


def run(state: ErpState, address: str) -> tuple[float, OrdersReport]:
    """Bring a state up to date; return how long that took [s] and what was found."""
    started = time.perf_counter()
    with open_snapshot(address) as snapshot:
        report, _ = update(state, snapshot, OrderRules(), at=datetime.now(UTC))
    assert report.complete, report.refused
    return time.perf_counter() - started, report


class Peak:
    """Watches how much memory this process holds [MB]."""

    def __init__(self) -> None:
        self._process, self._over = psutil.Process(), threading.Event()
        self.most = self.before = self._process.memory_info().rss / 1e6
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self.most = max(self.most, self._process.memory_info().rss / 1e6)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()


def bench(name: str, address: str, count: int) -> bool:
    """Print the lines of one database; returns whether the targets were met."""
    with Peak() as peak:
        alone = read_alone(address)
        state = ErpState()
        first, loaded = run(state, address)
        again, found = run(state, address)
    assert found.unchanged
    assert loaded.inserted == loaded.rows
    for what, seconds in (
        ("rows read and thrown away", alone),
        (f"first load, {loaded.orders:,} orders found", first),
        ("nothing changed", again),
    ):
        print(f"{name:10}{what:42}{seconds:>8.1f} s{count / seconds / 1e3:>9.0f} krows/s")
    grown = peak.most - peak.before
    print(f"{name:10}{'memory, with the state of all rows':42}{grown:>8.0f} MB")
    met = again <= first * 1.1 and grown <= MOST_MB
    print(f"{'met' if met else 'MISSED'}: nothing changed takes no longer than the first load")
    return met


def bench_dlt(address: str, folder: Path, count: int) -> None:
    """Print how long dlt takes for the same tables, first and again."""
    if not importlib.util.find_spec("dlt"):
        print("dlt is not installed, and nothing here needs it: left out")
        return
    # By name: it is no requirement of anything here.
    dlt: Any = importlib.import_module("dlt")
    sql_database = importlib.import_module("dlt.sources.sql_database").sql_database
    names = list(COLUMNS)
    pipeline = dlt.pipeline("bench", destination="duckdb", pipelines_dir=str(folder / "dlt"))
    for what in ("dlt, first load", "dlt, replaced again"):
        started = time.perf_counter()
        source = sql_database(address.replace("mysql:", "mysql+pymysql:"), table_names=names)
        pipeline.run(source, write_disposition="replace")
        seconds = time.perf_counter() - started
        print(f"{'dlt':10}{what:42}{seconds:>8.1f} s{count / seconds / 1e3:>9.0f} krows/s")


def main(arguments: list[str]) -> int:
    """Print the table; returns 1 if a target was missed."""
    rows = make_rows(int(arguments[0]) if arguments else ROWS)
    count = sum(map(len, rows.values()))
    print(f"{len(rows['A_Logbuch']):,} lines of the journal, {count:,} rows of four tables")
    met = True
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        with mariadb(folder) as root:
            if root is None:
                print("MariaDB is not installed: only SQLite is read")
            else:
                address = fill_mariadb(root, rows)
                met = bench("MariaDB", address, count) and met
                bench_dlt(address, folder, count)
        address = fill_sqlite(folder / "erp.db", rows)
        met = bench("SQLite", address, count) and met
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
