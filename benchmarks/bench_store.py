"""How fast the store is: inventory, raw archive and samples, each beside the bare tool it uses.

The bare tool does less: it keeps no versions, reaches no disk, absorbs no duplicate. The ratio
says what those promises cost.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from workspace_lib.clock import to_us
from workspace_lib.files import sha256_bytes
from workspace_lib.settings import load_settings
from workspace_lib.store import inventory, raw, raw_pack, samples
from workspace_lib.store.engines import Store, write
from workspace_lib.store.inventory import Fetched, Listed
from workspace_lib.store.migrate import open_store
from workspace_lib.store.raw import RawItem
from workspace_lib.store.sample_writer import Writer
from workspace_lib.store.samples import Row, SampleColumn, Stream

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FILES_OF_A_YEAR = 105_120
FILES_PUT = 5_000
BATCH = 500
ROWS = 200_000
COLUMNS = 10
STEP_S = 5
POINTS = 2000
#: Rows per second that the house's fastest devices together produce.
INGEST_TARGET = 10_000
OBSERVE_TARGET_S = 1.5


def timed(act: Callable[[], object]) -> float:
    """Return how long ``act`` takes [s]."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def line(what: str, value: str, ratio: float | None = None) -> None:
    """Print one line of the table."""
    print(f"{what:<58}{value:>18}" + (f"{ratio:>9.2f} x" if ratio is not None else ""))


def bench_inventory(store: Store) -> float:
    """Observe the listing of a gauge's year, first new, then known; returns the second [s]."""
    listing = [
        Listed(f"/G1/A0_{n:06d}.txt", 170, NOW - timedelta(minutes=5 * (n + 2)))
        for n in range(FILES_OF_A_YEAR)
    ]

    def observe() -> None:
        inventory.observe(store.data, "bench", listing, now=NOW, stable_after_s=600, limit=BATCH)

    first_s = timed(observe)
    for start in range(0, FILES_OF_A_YEAR, BATCH):
        part = [
            Fetched(item.path, item.size, "0" * 64, None) for item in listing[start : start + BATCH]
        ]
        with write(store.data) as connection:
            inventory.register_fetched(connection, "bench", part, NOW)
    known_s = min(timed(observe) for _ in range(3))
    print(f"Inventory: a listing of {FILES_OF_A_YEAR} files")
    line("all new", f"{first_s:.2f} s")
    line("all known", f"{known_s:.2f} s")
    return known_s


def bench_raw(store: Store) -> None:
    """Put files into the archive, pack them, read them; beside plain files."""
    contents = [b"01/03/2026 00:%05d;1;0;13.1\r\n" % n * 5 for n in range(FILES_PUT)]
    names = [f"A0_{n:05d}.txt" for n in range(FILES_PUT)]
    days = [date(2025, 1, 1) + timedelta(days=n // 288) for n in range(FILES_PUT)]
    plain = store.outputs / "plain"
    plain.mkdir()

    def write_plain() -> None:
        for name, content in zip(names, contents, strict=True):
            with (plain / name).open("wb") as stream:
                stream.write(content)

    def read_plain() -> None:
        for name in names:
            with (plain / name).open("rb") as stream:
                stream.read()

    def put() -> None:
        items = [RawItem("G1", *item) for item in zip(days, names, contents, strict=True)]
        for start in range(0, FILES_PUT, BATCH):
            refs.extend(raw.put_many(store.outputs, "bench", items[start : start + BATCH]))

    def register() -> None:
        for start in range(0, FILES_PUT, BATCH):
            part = [
                Fetched(f"/raw/{names[n]}", len(contents[n]), sha256_bytes(contents[n]), refs[n])
                for n in range(start, start + BATCH)
            ]
            with write(store.data) as connection:
                inventory.register_fetched(connection, "bench", part, NOW)

    refs: list[str] = []
    plain_s = timed(write_plain)
    put_s, register_s = timed(put), timed(register)
    plain_read_s = timed(read_plain)
    loose_s = timed(lambda: raw.get_many(store, refs))
    pack_s = timed(lambda: raw_pack.pack_days(store, "bench", before=date(2026, 1, 1)))
    packed_s = timed(lambda: raw.get_many(store, refs))

    def row(what: str, seconds: float, bare_s: float | None = None) -> None:
        per_file = f"{seconds / FILES_PUT * 1e6:.0f} us/file"
        line(what, per_file, None if bare_s is None else seconds / bare_s)

    print(f"\nRaw archive: {FILES_PUT} files of {len(contents[0])} bytes, {BATCH} at once")
    row("open, write (not on the disk yet)", plain_s)
    row("put_many (hashed, on the disk)", put_s, plain_s)
    row("register_fetched", register_s)
    row("open, read", plain_read_s)
    row("get_many, loose (hash checked)", loose_s, plain_read_s)
    row("pack_days into one ZIP per day", pack_s)
    row("get_many, packed (hash checked)", packed_s, plain_read_s)


def bench_ingest(store: Store) -> float:
    """Insert rows in batches as a fifth of a second brings them; returns rows per second."""
    stream = make_stream(store, "bench.ingest", COLUMNS)
    rng = np.random.default_rng(1)
    values = rng.normal(size=(ROWS, COLUMNS)).tolist()
    t = range(to_us(NOW), to_us(NOW) + ROWS * 1000, 1000)
    rows = [Row(at, row) for at, row in zip(t, values, strict=True)]
    batch = INGEST_TARGET // 5
    places = ", ".join("?" * (COLUMNS + 1))
    names = ", ".join(f"c{n} REAL" for n in range(COLUMNS))
    bare = sqlite3.connect(store.outputs / "bare.db", isolation_level=None)
    bare.execute("PRAGMA journal_mode=WAL")
    bare.execute("PRAGMA synchronous=FULL")
    bare.execute(f"CREATE TABLE samples (t INTEGER PRIMARY KEY, {names})")

    def insert_bare() -> None:
        for start in range(0, ROWS, batch):
            bare.execute("BEGIN IMMEDIATE")
            bare.executemany(
                f"INSERT INTO samples VALUES ({places})",
                [(row.t, *row.values) for row in rows[start : start + batch]],
            )
            bare.execute("COMMIT")

    def write_rows() -> None:
        with Writer(store.data) as writer:
            for start in range(0, ROWS, batch):
                writer.append(stream, rows[start : start + batch])
                writer.flush()

    bare_s, write_s = timed(insert_bare), timed(write_rows)
    bare.close()
    seal_s = timed(lambda: samples.seal(store, stream.name, NOW + timedelta(days=1)))
    print(f"\nSamples: {ROWS} rows of {COLUMNS} columns, a commit to the disk per {batch} rows")
    line("sqlite3.executemany, one column each", f"{ROWS / bare_s:,.0f} rows/s")
    line("Writer (packed, absorbs duplicates)", f"{ROWS / write_s:,.0f} rows/s", write_s / bare_s)
    line("seal into Parquet", f"{ROWS / seal_s:,.0f} rows/s")
    return ROWS / write_s


def bench_query(store: Store) -> None:
    """Read a year of a sensor for a chart; beside pandas on the same files and in memory."""
    stream = make_stream(store, "bench.year", 1)
    rows = 365 * 86_400 // STEP_S
    t = to_us(NOW) + np.arange(rows) * (STEP_S * 1_000_000)
    walk = np.random.default_rng(2).normal(size=rows).cumsum()
    import_s = timed(lambda: samples.import_arrays(store, stream.name, t, {"c0": walk}))
    files = sorted((store.outputs / "data").glob("bench.year-*/*/*.parquet"))

    def read_pandas() -> pd.DataFrame:
        return pd.concat([pd.read_parquet(path) for path in files]).set_index("t")

    frame = read_pandas()
    period = timedelta(seconds=len(frame) * STEP_S / (POINTS // 2))

    def resample() -> pd.DataFrame:
        return frame["c0"].resample(period).agg(["min", "max"])

    def query() -> None:
        table = samples.query(store, stream.name, columns=["c0"], max_points=POINTS)
        assert len(table) <= POINTS

    query_s = min(timed(query) for _ in range(3))
    memory_s = min(timed(resample) for _ in range(3))
    read_s = min(timed(read_pandas) for _ in range(2)) + memory_s
    print(f"\nA year at {STEP_S} s: {len(frame)} rows to {POINTS} points with their extremes")
    line("import_arrays (a segment per day)", f"{rows / import_s:,.0f} rows/s")
    line("pandas: read the files, resample", f"{read_s:.2f} s")
    line("query", f"{query_s:.2f} s", query_s / read_s)
    line("pandas: resample alone, all in memory", f"{memory_s:.2f} s")


def make_stream(store: Store, name: str, columns: int) -> Stream:
    """Register a stream of floats."""
    with write(store.data) as connection:
        return samples.register_stream(
            connection, name, [SampleColumn(f"c{n}", "V") for n in range(columns)], step_s=STEP_S
        )


def main() -> int:
    """Measure and print the tables; 1 if a target is missed."""
    folder = Path(tempfile.mkdtemp(prefix="bench-store-"))
    try:
        (folder / "parameters" / "bench").mkdir(parents=True)
        (folder / "notebooks").mkdir()
        (folder / "parameters" / "bench" / "site.yml").write_text(yaml.safe_dump({}))
        with open_store(load_settings("bench", root=folder), create=True) as store:
            known_s = bench_inventory(store)
            bench_raw(store)
            per_s = bench_ingest(store)
            bench_query(store)
    finally:
        shutil.rmtree(folder)
    print(f"\ntargets: known listing in {OBSERVE_TARGET_S} s, {INGEST_TARGET:,} rows/s")
    return 0 if known_s <= OBSERVE_TARGET_S and per_s >= INGEST_TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
