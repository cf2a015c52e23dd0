"""Rain: reading a year of one gauge's tiny files, beside pandas.

The target: 20 µs per file, read and parsed.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from workspace_lib.rain.loggers import Loggers, SimulatedGauge
from workspace_lib.rain.readers import parse_a0_many

FILES = 105_120
PANDAS_FILES = 1_000
BATCH = 1_000
TARGET_US = 20.0
COLUMNS = ["label", "stamp", "tips", "wind", "battery_v"]
START_MIN = 27_000_000


def make_year(folder: Path) -> list[str]:
    """Write a year of files as a logger does; returns their paths."""
    loggers = Loggers([SimulatedGauge("mse", "Mse", "Mse", "ARCHIEST")], seed=1, faults=())
    first = loggers.slot_at(START_MIN)
    paths = []
    for file in loggers.files(0, first, first + FILES):
        path = str(folder / file.path.rsplit("/", 1)[1])
        with Path(path).open("wb", buffering=0) as stream:
            stream.write(file.content)
        paths.append(path)
    return paths


def read_files(paths: list[str]) -> list[bytes]:
    """Read files in the cheapest way the system offers."""
    contents = []
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        contents.append(os.read(descriptor, 1 << 16))
        os.close(descriptor)
    return contents


def ours(paths: list[str]) -> int:
    """Read and parse all files; returns the number of rows."""
    rows = 0
    for start in range(0, len(paths), BATCH):
        rows += len(parse_a0_many(read_files(paths[start : start + BATCH])).rows)
    return rows


def pandas_files(paths: list[str]) -> int:
    """Read and parse files one by one with pandas; returns the number of rows."""
    return sum(
        len(pd.read_csv(path, header=None, names=COLUMNS, skipinitialspace=True)) for path in paths
    )


def pandas_joined(paths: list[str]) -> int:
    """Read all files, join them, parse once with pandas; returns the number of rows."""
    joined = io.BytesIO(b"".join(read_files(paths)))
    return len(pd.read_csv(joined, header=None, names=COLUMNS, skipinitialspace=True))


def best_of(work: Callable[[], object], times: int = 3) -> float:
    """Return the shortest duration of some tries [s]."""
    durations = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        durations.append(time.perf_counter() - started)
    return min(durations)


def bench_reading() -> bool:
    """Print the table of reading; returns whether the target was met."""
    memory = Path("/dev/shm")
    where = memory if memory.is_dir() and shutil.disk_usage(memory).free > 2**30 else None
    with tempfile.TemporaryDirectory(dir=where) as name:
        paths = make_year(Path(name))
        sample = paths[:: len(paths) // PANDAS_FILES][:PANDAS_FILES]
        assert ours(sample) == pandas_files(sample) == 5 * len(sample)
        read_s = best_of(lambda: read_files(paths))
        ours_s = best_of(lambda: ours(paths))
        joined_s = best_of(lambda: pandas_joined(paths))
        single_s = best_of(lambda: pandas_files(sample)) * len(paths) / len(sample)
    per_file = ours_s / len(paths) * 1e6
    print(f"A year of one gauge: {len(paths):,} files of 5 rows, in memory or in the page cache")
    print(f"{'':42}{'total':>10}{'per file':>12}{'ratio':>8}")
    for what, seconds in (
        ("pandas.read_csv per file *", single_s),
        ("joined, one pandas.read_csv (judges nothing)", joined_s),
        ("parse_a0_many, every line judged", ours_s),
        ("  of which opening and reading the files", read_s),
    ):
        each = seconds / len(paths) * 1e6
        print(f"{what:42}{seconds:>8.2f} s{each:>9.1f} µs{single_s / seconds:>8.1f}")
    print(f"* measured on {len(sample):,} files and scaled")
    return verdict(f"{per_file:.1f} µs per file", per_file <= TARGET_US, f"{TARGET_US:.0f} µs")


def verdict(found: str, met: bool, target: str) -> bool:
    """Print whether a target was met; returns it."""
    print(f"{'met' if met else 'MISSED'}: {found} (target {target})")
    return met


def main() -> int:
    """Print the table; returns 1 if the target was missed."""
    return 0 if bench_reading() else 1


if __name__ == "__main__":
    sys.exit(main())
