"""Machining: parsing logs, beside a plain loop, re, pandas, polars and DuckDB where installed.

    bench_machining.py [MB]     how much text each reads (250)

The text is made of simulated days of three machines, some of them damaged, repeated up to its size.
Targets: 100 MiB/s with every line accounted for and not slower than polars' regular expressions in
the same run; a day of 200 kB within 100 ms; 1 GB within 300 MB of memory.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import multiprocessing
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import psutil

from workspace_lib.machining.simulator_logs import MACHINES, MachineLogs

TARGET_MIBS = 100.0
DAY_MS = 100.0
MOST_MB = 300.0
DAY_BYTES = 200_000
#: Each is measured in some rounds, because the machine may be busy in one of them.
ROUNDS = 3
DAYS = 40
DAMAGE = ("nul", "unknown", "malformed", "blank", "repeat", "clock_step")
LINE = r"(\d{8} \d{2}:\d{2}:\d{2})\|@(\w+)(?:\s*:?\s*(.*))?"
MIB = 2**20
#: What is slow reads a part of the text [MiB].
SAMPLE = 10


def make_days() -> bytes:
    """Return some days of three machines, one after the other."""
    source = MachineLogs(seed=1, damage=DAMAGE)
    days = source.days(date(2025, 5, 2), DAYS)
    return b"".join(source.log(machine, day).content for day in days for machine in MACHINES)


def make_log(path: Path, size: int) -> None:
    """Write a log of a size [bytes]."""
    days = make_days()
    with path.open("wb") as stream:
        written = 0
        while written < size:
            written += stream.write(days)


# --- readers: each returns how many lines it has taken --------------------------------------------


def ours(path: Path) -> int:
    """Parse with every line accounted for: kind, reason, stamp, event, place of the details."""
    from workspace_lib.machining.line_judge import Kind
    from workspace_lib.machining.log_stream import parse_stream

    lines = 0
    with path.open("rb") as stream:
        for part in parse_stream(stream):
            assert sum(part.count(kind) for kind in Kind) == len(part)
            lines += len(part)
    return lines


def ours_details(path: Path) -> int:
    """As `ours`, and all details as one Arrow array for each part."""
    from workspace_lib.machining.log_stream import parse_stream

    with path.open("rb") as stream:
        return sum(len(part.details_array()) for part in parse_stream(stream))


def ours_values(path: Path) -> int:
    """As `ours`, and the seconds of waits and the profiles of jobs."""
    from workspace_lib.machining.details import job_profiles, wait_seconds
    from workspace_lib.machining.log_stream import parse_stream

    lines = 0
    with path.open("rb") as stream:
        for part in parse_stream(stream):
            wait_seconds(part)
            job_profiles(part)
            lines += len(part)
    return lines


def plain_loop(path: Path) -> int:
    """Read as the former program did: line by line, a pattern, ``strptime``, a dictionary."""
    pattern = re.compile(LINE)
    events = []
    with path.open(encoding="latin-1") as stream:
        for line in stream:
            match = pattern.match(line.strip().replace("\x00", ""))
            if match is None:
                continue
            try:
                stamp = datetime.strptime(match[1], "%Y%m%d %H:%M:%S")
            except ValueError:
                continue
            events.append({"timestamp": stamp, "event": match[2], "details": match[3]})
    return len(events)


def re_findall(path: Path) -> int:
    """Take stamps, events and details out as bytes: no times, no line that does not match."""
    return len(re.findall(rb"(?m)^" + LINE.encode() + rb"$", path.read_bytes()))


def pandas_extract(path: Path) -> int:
    """Read and extract with pandas; stamps become times."""
    import pandas as pd

    options: dict[str, Any] = {"sep": "\x1e", "header": None, "names": ["line"], "quoting": 3}
    lines = pd.read_csv(path, encoding="latin-1", **options)["line"]
    found = lines.str.extract(LINE)
    pd.to_datetime(found[0], format="%Y%m%d %H:%M:%S", errors="coerce")
    return len(found)


def polars_extract(path: Path) -> int:
    """Read and extract with polars' regular expressions, in all its threads."""
    import polars as pl

    lines = pl.read_csv(
        path,
        has_header=False,
        separator="\x1e",
        quote_char=None,
        new_columns=["line"],
        encoding="utf8-lossy",
    )
    found = lines.select(pl.col("line").str.extract_groups(LINE)).unnest("line")
    found.with_columns(pl.col("1").str.to_datetime("%Y%m%d %H:%M:%S", strict=False))
    return len(found)


def polars_split(path: Path) -> int:
    """Read with polars' CSV reader at ``|`` and split at the colon, in all its threads."""
    import polars as pl

    lines = pl.read_csv(
        path,
        has_header=False,
        separator="|",
        quote_char=None,
        new_columns=["stamp", "rest"],
        schema={"stamp": pl.String, "rest": pl.String},
        encoding="utf8-lossy",
        truncate_ragged_lines=True,
    )
    found = lines.with_columns(
        pl.col("stamp").str.to_datetime("%Y%m%d %H:%M:%S", strict=False),
        pl.col("rest").str.splitn(": ", 2).struct.rename_fields(["event", "details"]),
    ).unnest("rest")
    return len(found)


def duckdb_extract(path: Path) -> int:
    """Read and extract with DuckDB, in all its threads."""
    # By name, because nothing here needs it: it is measured where it is installed.
    duckdb = importlib.import_module("duckdb")
    query = (
        "SELECT count(*), count(try_strptime(f.a, '%Y%m%d %H:%M:%S')), max(f.b), max(f.c) FROM ("
        "SELECT regexp_extract(line, ?, ['a', 'b', 'c']) AS f FROM read_csv(?, delim='\x1e', "
        "header=false, quote='', columns={'line': 'VARCHAR'}, ignore_errors=true))"
    )
    return int(duckdb.execute(query, [LINE, str(path)]).fetchone()[0])


Read = Callable[[Path], int]
#: Name, reader, and whether it reads only a part of the text.
READERS: tuple[tuple[str, Read, bool], ...] = (
    ("parse_stream, every line judged", ours, False),
    ("  and details as Arrow arrays", ours_details, False),
    ("  and waits and jobs as values", ours_values, False),
    ("line by line, re, strptime, dict *", plain_loop, True),
    ("re.findall of bytes (no times)", re_findall, False),
    ("pandas, extract and to_datetime *", pandas_extract, True),
    ("polars, extract_groups and to_datetime", polars_extract, False),
    ("polars, CSV at |, splitn, to_datetime", polars_split, False),
    ("DuckDB, regexp_extract and strptime", duckdb_extract, False),
)
OURS, POLARS = READERS[0][0], READERS[6][0]


def bench_reading(folder: Path, megabytes: int) -> bool:
    """Print the table of reading; returns whether the targets were met."""
    whole, part = folder / "whole.log", folder / "part.log"
    make_log(whole, megabytes * 1_000_000)
    make_log(part, min(SAMPLE * MIB, megabytes * 1_000_000))
    lines = whole.read_bytes().count(b"\n")
    size = whole.stat().st_size / MIB
    print(f"{size:.0f} MiB, {lines:,} lines of {size * MIB / lines:.1f} bytes, in the page cache")
    print(f"{'':42}{'MiB/s':>8}{'Mlines/s':>10}{'ours is':>12}")
    speeds: dict[str, float] = {}
    for name, read, sampled in READERS:
        if read is duckdb_extract and not importlib.util.find_spec("duckdb"):
            print(f"{name:42}is not installed, and nothing here needs it")
            continue
        path = part if sampled else whole
        seconds, taken = best_of(read, path)
        mib = path.stat().st_size / MIB
        speeds[name] = mib / seconds
        ratio = speeds[OURS] / speeds[name]
        print(f"{name:42}{mib / seconds:>8.0f}{taken / seconds / 1e6:>10.2f}{ratio:>10.1f} ×")
    print(f"* measured on {part.stat().st_size / MIB:.0f} MiB")
    mine, theirs = speeds[OURS], speeds[POLARS]
    met = verdict(f"{mine:.0f} MiB/s", mine >= TARGET_MIBS, f"{TARGET_MIBS:.0f} MiB/s")
    return verdict(f"{mine / theirs:.2f} times polars' extraction", mine >= theirs, "1.00") and met


def best_of(read: Read, path: Path) -> tuple[float, int]:
    """Return the shortest of some reads in a process of their own [s], and the lines taken."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (read, path))


def _measure(read: Read, path: Path) -> tuple[float, int]:
    durations = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        taken = read(path)
        durations.append(time.perf_counter() - started)
    return min(durations), taken


def bench_day() -> bool:
    """Print how long a day takes; returns whether the target was met."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        milliseconds = pool.apply(_day, ())
    return verdict(f"{milliseconds:.1f} ms for a day of 200 kB", milliseconds < DAY_MS, "100 ms")


def _day() -> float:
    from workspace_lib.machining.lines import parse

    content = make_days()[:DAY_BYTES]
    durations = []
    for _ in range(10):
        started = time.perf_counter()
        parse(content)
        durations.append(time.perf_counter() - started)
    return max(durations) * 1e3  # the first one is no quicker in practice


class Repeated(io.RawIOBase):
    """A log that repeats a text up to a size, so that no disk has to hold it."""

    def __init__(self, text: bytes, size: int) -> None:
        self._text, self._left = text, size

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        size = min(size, self._left)
        self._left -= size
        return (self._text * (size // len(self._text) + 1))[:size]


def bench_memory(megabytes: int) -> bool:
    """Print what a large log needs; returns whether the target was met."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        peak, seconds = pool.apply(_memory, (megabytes,))
    found = f"{peak:.0f} MB at most for {megabytes} MB, read in {seconds:.1f} s"
    return verdict(found, peak < MOST_MB, f"{MOST_MB:.0f} MB")


def _memory(megabytes: int) -> tuple[float, float]:
    from workspace_lib.machining.log_stream import parse_stream, summarise

    days = make_days()
    started = time.perf_counter()
    parts = parse_stream(Repeated(days, megabytes * 1_000_000))  # type: ignore[arg-type]
    peak = 0.0
    process = psutil.Process()

    def watched() -> Any:
        nonlocal peak
        for part in parts:
            peak = max(peak, process.memory_info().rss / 1e6)
            yield part

    summary = summarise(watched())
    assert summary.lines
    return peak, time.perf_counter() - started


def verdict(found: str, met: bool, target: str) -> bool:
    """Print whether a target was met; returns it."""
    print(f"{'met' if met else 'MISSED'}: {found} (target {target})")
    return met


def main(arguments: list[str]) -> int:
    """Print the table; returns 1 if a target was missed."""
    megabytes = int(arguments[0]) if arguments else 250
    memory = Path("/dev/shm")
    where = memory if memory.is_dir() and shutil.disk_usage(memory).free > 2**30 else None
    with tempfile.TemporaryDirectory(dir=where) as name:
        met = bench_reading(Path(name), megabytes)
    met = bench_day() and met
    return 0 if bench_memory(4 * megabytes) and met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
