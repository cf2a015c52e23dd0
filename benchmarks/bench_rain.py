"""Rain: reading a year of one gauge's tiny files, and summing windows, beside pandas.

Targets: 20 µs per file, read and parsed; sums of all windows 100 times as fast as pandas.
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

import numpy as np
import pandas as pd

from workspace_lib.rain.analysis import WINDOWS_S, TipSeries, coverage_of
from workspace_lib.rain.loggers import Loggers, SimulatedGauge
from workspace_lib.rain.readers import parse_a0_many
from workspace_lib.rain.sums import steps

FILES = 105_120
PANDAS_FILES = 1_000
BATCH = 1_000
YEARS = 20
TARGET_US = 20.0
TARGET_RATIO = 100
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


def bench_windows() -> bool:
    """Print the table of window sums; returns whether the target was met."""
    gauge = SimulatedGauge("mse", "Mse", "Mse", "ARCHIEST")
    minutes = np.arange(START_MIN, START_MIN + YEARS * 525_960)
    tips = Loggers([gauge], seed=1, faults=()).tips(0, minutes)
    wet = tips > 0
    stamps = minutes * 60_000_000
    rain = TipSeries(
        "mse", "Mse", stamps[wet], tips[wet], coverage_of(stamps), rain_mm=tips[wet] * 0.2153
    )
    dense = pd.Series(tips.astype(np.float64), index=pd.to_datetime(minutes * 60, unit="s"))
    print(f"\nWindow sums: one gauge, {YEARS} years, {len(minutes):,} minutes, {wet.sum():,} wet")
    print(f"{'window':>8}{'pandas rolling':>18}{'steps':>14}{'ratio':>9}")
    pandas_s = ours_s = 0.0
    for name, width_s in WINDOWS_S.items():
        took = best_of(lambda width_s=width_s: steps(rain, width_s).amounts.tips, 9)
        ours_s += took
        if name not in ("P5min", "P1h", "P72h"):
            continue
        window = f"{width_s}s"
        rolled = dense.rolling(window).sum()
        slow = best_of(lambda window=window: dense.rolling(window).sum())
        pandas_s += slow
        assert round(rolled.max()) == steps(rain, width_s).amounts.tips.max()
        print(f"{name:>8}{slow:>16.2f} s{took * 1e3:>11.1f} ms{slow / took:>9.0f}")
    ratio = pandas_s / 3 * len(WINDOWS_S) / ours_s
    print(f"all {len(WINDOWS_S)} windows: {ours_s * 1e3:.0f} ms, {ratio:.0f} times pandas *")
    print("* three windows measured and scaled")
    return verdict(f"{ratio:.0f} times pandas", ratio >= TARGET_RATIO, f"{TARGET_RATIO} times")


def verdict(found: str, met: bool, target: str) -> bool:
    """Print whether a target was met; returns it."""
    print(f"{'met' if met else 'MISSED'}: {found} (target {target})")
    return met


def main() -> int:
    """Print both tables; returns 1 if the target was missed."""
    met = [bench_reading(), bench_windows()]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
