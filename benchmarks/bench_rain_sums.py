"""Rain: sums over all windows for twenty years, beside pandas; a network's; and a day more.

Targets: one gauge 100 times as fast as pandas rolling; 19 gauges under 5 s, loading them from the
store included; a day more, from its rows to the sums of all gauges, under 1 s.

The store holds days as captured and calibrated ones are: all rows packed, minutes with tips, time
with rows, depths. Only what is never read for sums (the packed rows) is the same every day.
Ratios are those of the processor's time, which a busy machine changes little.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from workspace_lib.clock import from_us, to_us
from workspace_lib.rain import queries
from workspace_lib.rain.analysis import WINDOWS_S, Coverage, TipSeries
from workspace_lib.rain.blocks import DAY_US, DEPTH, ROW, WET, pack_rows, runs_of
from workspace_lib.rain.calibrating import calibrate
from workspace_lib.rain.calibration_files import load_calibrations
from workspace_lib.rain.days import merge_rows, new_rows
from workspace_lib.rain.loggers import Loggers, SimulatedGauge
from workspace_lib.rain.settings import Gauge, load_network
from workspace_lib.rain.sums import LOOKBACK, Records, records, steps
from workspace_lib.rain.tables import rain_days, rain_depths
from workspace_lib.settings import Settings, load_settings
from workspace_lib.store.engines import Store, write
from workspace_lib.store.migrate import open_store

GAUGES = 19
YEARS = 20
DAYS = YEARS * 365 + YEARS // 4
DAY_MIN = 1440
MIN_US = 60_000_000
#: 2006-01-01 UTC.
FIRST_DAY = 13_149
START = from_us(FIRST_DAY * DAY_US)
END = from_us((FIRST_DAY + DAYS) * DAY_US - MIN_US)
#: On one of so many days a gauge is silent for some hours.
GAP_EVERY = 30
TARGET_RATIO, TARGET_NETWORK_S, TARGET_DAY_S = 100, 5.0, 1.0


@dataclass(frozen=True, order=True)
class Took:
    """How long something took by the clock, and of the processor's time [s]."""

    wall_s: float
    processor_s: float

    def __add__(self, other: Took) -> Took:
        return Took(self.wall_s + other.wall_s, self.processor_s + other.processor_s)


def best_of(work: Callable[[], object], times: int = 3) -> Took:
    """Return the shortest duration of some tries."""
    return min(timed(work)[0] for _ in range(times))


def timed(work: Callable[[], Any]) -> tuple[Took, Any]:
    """Return how long ``work`` takes, and what it returns."""
    began, processor = time.perf_counter(), time.process_time()
    found = work()
    return Took(time.perf_counter() - began, time.process_time() - processor), found


def line(what: str, took: Took, ratio: str = "") -> None:
    """Print one line of a table: by the clock, of the processor, how many times."""
    cells = [f"{s:.2f} s" if s >= 0.1 else f"{s * 1e3:.1f} ms" for s in astuple(took)]
    print(f"{what:<62}{cells[0]:>10}{cells[1]:>10}{ratio:>8}")


def verdict(found: str, met: bool, target: str) -> bool:
    """Print whether a target was met; returns it."""
    print(f"{'met' if met else 'MISSED'}: {found} (target {target})")
    return met


def rain_of(loggers: Loggers, number: int, first_day: int, days: int) -> np.ndarray:
    """Return the tips of a gauge in each minute of some days, by day; a year at a time."""
    parts = [
        loggers.tips(number, np.arange(day * DAY_MIN, min(day + 365, first_day + days) * DAY_MIN))
        for day in range(first_day, first_day + days, 365)
    ]
    return np.concatenate(parts).reshape(-1, DAY_MIN)


def bench_one(tips: np.ndarray) -> bool:
    """Print the table of one gauge beside pandas; returns whether the target was met."""
    stamps = FIRST_DAY * DAY_US + np.arange(tips.size) * MIN_US
    wet = tips.ravel() > 0
    counts = tips.ravel()[wet]
    covered = Coverage(stamps[:1] - MIN_US, stamps[-1:])
    rain = TipSeries("g", "G", stamps[wet], counts, covered, rain_mm=counts * 0.2153)
    dense = pd.Series(tips.ravel().astype(np.float64), index=pd.to_datetime(stamps, unit="us"))
    print(f"One gauge, {YEARS} years: {tips.size:,} minutes, {wet.sum():,} with tips")
    print(f"{'':62}{'clock':>10}{'processor':>10}")
    pandas, ours = Took(0, 0), Took(0, 0)
    for window, window_s in WINDOWS_S.items():
        took = best_of(lambda window_s=window_s: steps(rain, window_s).amounts.tips, 9)
        ours += took
        if window not in ("P5min", "P1h", "P72h"):
            continue
        rolling = dense.rolling(f"{window_s}s")
        slow, rolled = timed(rolling.sum)
        slow = min(slow, best_of(rolling.sum, 2))
        pandas += slow
        assert round(rolled.max()) == steps(rain, window_s).amounts.tips.max()
        line(f"{window}: pandas rolling", slow)
        line(f"{window}: steps", took, f"{slow.processor_s / took.processor_s:.0f} x")
    ratio = pandas.processor_s / 3 * len(WINDOWS_S) / ours.processor_s
    line(f"all {len(WINDOWS_S)} windows: steps (pandas: three measured and scaled)", ours)
    return verdict(f"{ratio:.0f} times pandas", ratio >= TARGET_RATIO, f"{TARGET_RATIO} times")


def make_site(folder: Path) -> Settings:
    """Make a site of 19 calibrated gauges."""
    site = folder / "parameters" / "bench"
    (site / "jobs").mkdir(parents=True)
    (folder / "notebooks").mkdir()
    names = [f"gauge_{number:02}" for number in range(GAUGES)]
    gauges = [{"id": name, "name": name, "folder": name, "mm_per_tip": 0.2} for name in names]
    curve = {
        "valid_from": START - timedelta(days=1), "mm_per_tip": 0.2, "kind": "linear",
        "x": "tips/min", "coefficients": {"b": 1.0765, "c": 0.0}, "source": {},
    }  # fmt: skip
    for file, content in {
        "site": {"timezone": "Europe/Paris", "wings": {"rain": {}}},
        "gauges": {"gauges": gauges},
        "calibrations": {"calibrations": [{"gauge": name, **curve} for name in names]},
    }.items():
        (site / f"{file}.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_settings("bench", root=folder)


def packed_day() -> bytes:
    """Return the rows of a day as they are packed."""
    rng = np.random.default_rng(3)
    rows = np.zeros(DAY_MIN, ROW)
    rows["t_us"] = np.arange(DAY_MIN) * MIN_US
    rows["wind"], rows["file_id"] = rng.integers(0, 400, DAY_MIN), np.arange(DAY_MIN) // 5
    rows["battery_v"] = rng.integers(400, 430, DAY_MIN) * 32 / 1000
    return pack_rows(rows)


def days_of(
    gauge: str, version: str, tips: np.ndarray, packed: bytes
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield the rows of `rain_days` and `rain_depths` of each day of a gauge."""
    rng = np.random.default_rng(len(tips) + sum(gauge.encode()))
    for number, counts in enumerate(tips):
        day = FIRST_DAY + number
        stamps = day * DAY_US + np.arange(DAY_MIN) * MIN_US
        if rng.integers(GAP_EVERY) == 0:
            begin = rng.integers(DAY_MIN - 300)
            kept = np.r_[0:begin, begin + 200 : DAY_MIN]
            stamps, counts = stamps[kept], counts[kept]
        wet = counts > 0
        rows, depths = np.empty(wet.sum(), WET), np.zeros(wet.sum(), DEPTH)
        rows["t_us"], rows["tips"] = stamps[wet], counts[wet]
        depths["rain_mm"] = counts[wet] * 0.2153
        key = {"gauge": gauge, "day": day, "revision": 1}
        yield (
            {
                **key,
                "row_count": len(stamps),
                "tip_sum": int(counts.sum()),
                "wet": rows.tobytes(),
                "covered": runs_of(stamps, MIN_US).tobytes(),
                "rows": packed,
            },
            {**key, "calibration": version, "depths": depths.tobytes()},
        )


def fill(store: Store, settings: Settings, loggers: Loggers, first: np.ndarray) -> None:
    """Fill the store with twenty years of all gauges; ``first`` are the tips of the first one."""
    packed, calibrations = packed_day(), load_calibrations(settings)
    for number, gauge in enumerate(load_network(settings).gauges):
        tips = first if number == 0 else rain_of(loggers, number, FIRST_DAY, DAYS)
        (record,) = calibrations[gauge.id].records
        made = list(days_of(gauge.id, record.version, tips, packed))
        with write(store.data) as connection:
            connection.execute(rain_days.insert(), [day for day, _ in made])
            connection.execute(rain_depths.insert(), [depths for _, depths in made])


def bench_network(store: Store, gauges: tuple[Gauge, ...]) -> tuple[bool, dict[str, Records]]:
    """Print the table of the network; returns whether the target was met, and its records."""
    megabytes = sum(path.stat().st_size for path in store.outputs.glob("data.db*")) / 1e6
    print(f"\n{GAUGES} gauges, {YEARS} years: {GAUGES * DAYS:,} days, {megabytes:,.0f} MB of store")

    def every_step(series: dict[str, TipSeries]) -> int:
        changes = 0
        for one in series.values():
            for window_s in WINDOWS_S.values():
                found = steps(one, window_s)
                changes += len(found.amounts.tips) + len(found.amounts.rain_mm)
                assert found.missing_share.max() > 0
        return changes

    tips_took, _ = timed(lambda: queries.tips(store, gauges, START, END))
    loading_took, series = timed(lambda: queries.calibrated(store, gauges, START, END))
    steps_took, changes = timed(lambda: every_step(series))
    records_took, found = timed(
        lambda: {name: records(one, to_us(START), to_us(END)) for name, one in series.items()}
    )
    line("loading tips and coverage alone", tips_took)
    line("loading tips, depths and coverage", loading_took)
    line(f"all windows: tips, mm, missing share at {changes // 2:,} changes", steps_took)
    line("totals, and the largest sum of each window with its instant", records_took)
    whole_s = (loading_took + steps_took + records_took).wall_s
    met = verdict(f"{whole_s:.1f} s from the store to all sums", whole_s < TARGET_NETWORK_S, "5 s")
    return met, found


def bench_day(
    store: Store, settings: Settings, loggers: Loggers, before: dict[str, Records]
) -> bool:
    """Print the table of a day more; returns whether the target was met."""
    network = load_network(settings).gauges
    begin = to_us(END)
    end = begin + DAY_US
    stamps = begin + MIN_US + np.arange(DAY_MIN) * MIN_US
    tips = [rain_of(loggers, number, FIRST_DAY + DAYS, 1)[0] for number in range(len(network))]

    def merge() -> None:
        with write(store.data) as connection:
            for gauge, counts in zip(network, tips, strict=True):
                merge_rows(connection, gauge, new_rows(stamps, counts, file_id=1), from_us(end))

    def extend() -> tuple[dict[str, TipSeries], dict[str, Records]]:
        series = queries.calibrated(store, network, from_us(begin) - LOOKBACK, from_us(end))
        for one in series.values():
            for window_s in WINDOWS_S.values():
                _ = steps(one, window_s, begin, end).missing_share
        return series, {name: before[name].extended(one, end) for name, one in series.items()}

    print(f"\nA day more of {GAUGES} gauges: {GAUGES * DAY_MIN:,} rows")
    merge_took, _ = timed(merge)
    calibrate_took, report = timed(lambda: calibrate(store, settings, now=from_us(end)))
    extend_took, (_, grown) = timed(extend)
    assert report.uncalibrated == 0
    line("rows into the store", merge_took)
    line(f"their depths ({report.days} days were stale)", calibrate_took)
    line("72 h and the day read; its sums, the records of all years", extend_took)
    whole = queries.calibrated(store, network, START, from_us(end))
    for name, one in whole.items():
        assert grown[name] == records(one, to_us(START), end)
    print("   equal to what all years give anew")
    whole_s = (merge_took + calibrate_took + extend_took).wall_s
    return verdict(f"{whole_s:.2f} s for the day", whole_s < TARGET_DAY_S, "1 s")


def main() -> int:
    """Print the tables; returns 1 if a target was missed."""
    simulated = [SimulatedGauge(f"g{n}", f"G{n}", f"G{n}", f"G{n}") for n in range(GAUGES)]
    loggers = Loggers(simulated, seed=1, faults=())
    first = rain_of(loggers, 0, FIRST_DAY, DAYS)
    met = [bench_one(first)]
    memory = Path("/dev/shm")
    room = memory.is_dir() and shutil.disk_usage(memory).free > 3 * 2**30
    with tempfile.TemporaryDirectory(dir=memory if room else None) as folder:
        os.environ["WORKSPACE_ROOT"] = folder
        settings = make_site(Path(folder))
        with open_store(settings, create=True) as store:
            filling_took, _ = timed(lambda: fill(store, settings, loggers, first))
            print(f"\n(filling the store took {filling_took.wall_s:.0f} s)", end="")
            network_met, found = bench_network(store, load_network(settings).gauges)
            met += [network_met, bench_day(store, settings, loggers, found)]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
