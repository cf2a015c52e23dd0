"""The proof: a year of 19 gauges, delivered as badly as it ever was, comes back exactly.

What must come back is told by what was written (`deliveries`), which knows nothing of the reader.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select

from workspace_lib import simulators
from workspace_lib.clock import to_us
from workspace_lib.files import sha256_bytes
from workspace_lib.rain import days, queries
from workspace_lib.rain.analysis import coverage_of
from workspace_lib.rain.capture import capture
from workspace_lib.rain.deliveries import (
    MISHAPS,
    UNKNOWN_MV,
    Delivery,
    HistoryTruth,
    NetworkHistory,
)
from workspace_lib.rain.ingest import ingest
from workspace_lib.rain.loggers import SimulatedGauge
from workspace_lib.rain.policies import POINTED_OUT, SET_ASIDE
from workspace_lib.rain.settings import Gauge, Network, RainSettings
from workspace_lib.rain.simulator import NAME, SECRET
from workspace_lib.rain.tables import rain_conflicts, rain_days, rain_issues
from workspace_lib.settings import Settings
from workspace_lib.store import inventory, raw
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.inventory import Fetched
from workspace_lib.store.migrate import open_store
from workspace_lib.transports.memory_ftp import MemoryFtp

NUMBERS = range(1, 20)
SIMULATED = [
    SimulatedGauge(f"gauge{n:02d}", f"Gauge{n:02d}", f"Gauge{n:02d}", f"LOG{n:03d}")
    for n in NUMBERS
]
NETWORK = Network(
    tuple(
        Gauge(id=f"gauge{n:02d}", name=f"Gauge{n:02d}", folder=f"Gauge{n:02d}", mm_per_tip=0.2)
        for n in NUMBERS
    ),
    shared_folders=("A",),
)
#: Within a year from here lie the turn of a year and a leap day.
START = datetime(2023, 7, 1, 12, tzinfo=UTC)
YEAR_DAYS = 366


def put(store: Store, files: list[Delivery], now: datetime) -> None:
    """Put files into the raw archive and the inventory, in the order in which they came."""
    for begin in range(0, len(files), 2000):
        part = files[begin : begin + 2000]
        items = [
            raw.RawItem(file.gauge, date(now.year, now.month, 1), name_of(file), file.content)
            for file in part
        ]
        refs = raw.put_many(store.outputs, "rain", items)
        fetched = [
            Fetched(file.path, len(file.content), sha256_bytes(file.content), ref)
            for file, ref in zip(part, refs, strict=True)
        ]
        with write(store.data) as connection:
            inventory.register_fetched(connection, "rain", fetched, now)


def name_of(file: Delivery) -> str:
    return file.path.rpartition("/")[2]


def count(store: Store, table: Any) -> int:
    with read(store.data) as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def codes(store: Store) -> set[str]:
    with read(store.data) as connection:
        return set(connection.execute(select(rain_issues.c.code).distinct()).scalars())


def quarantined(store: Store) -> list[str]:
    with read(store.data) as connection:
        files = inventory.list_files(
            connection, "rain", state=inventory.QUARANTINED, limit=1_000_000
        )
        return sorted(file.path for file in files)


def assert_is_truth(store: Store, truth: HistoryTruth) -> None:
    """Every row, every coverage interval, every sum of a day is what was written."""
    always = 0, 2**62
    for gauge in NETWORK.gauges:
        told = truth.rows[gauge.id]
        volts = np.where(told["battery_mv"] == UNKNOWN_MV, np.nan, told["battery_mv"] / 1000)
        with read(store.data) as connection:
            rows = days.read_rows(connection, gauge.id, *always)
            wet = days.read_wet(connection, gauge.id, *always)
            covered = days.read_coverage(connection, gauge, *always)
            tip_sum = connection.scalar(
                select(func.sum(rain_days.c.tip_sum)).where(rain_days.c.gauge == gauge.id)
            )
        assert np.array_equal(rows["t_us"], told["stamp"] * 1_000_000), gauge.id
        assert np.array_equal(rows["tips"], told["tips"]), gauge.id
        assert np.array_equal(rows["wind"], told["wind"]), gauge.id
        assert np.array_equal(rows["battery_v"], volts, equal_nan=True), gauge.id
        is_wet = told["tips"] > 0
        assert np.array_equal(wet[0], told["stamp"][is_wet] * 1_000_000), gauge.id
        assert np.array_equal(wet[1], told["tips"][is_wet]), gauge.id
        expected = coverage_of(told["stamp"] * 1_000_000)
        assert np.array_equal(covered.start_us, expected.start_us), gauge.id
        assert np.array_equal(covered.end_us, expected.end_us), gauge.id
        assert tip_sum == told["tips"].sum() > 0, gauge.id


def assert_all_is_visible(store: Store, truth: HistoryTruth) -> None:
    """What was not stored as a row is counted where people look."""
    troubles = queries.troubles(store, NETWORK.gauges).values()
    issues = [trouble.issues for trouble in troubles]
    assert count(store, rain_conflicts) == truth.conflicts > 0
    aside = sum(issue.get(code, 0) for issue in issues for code in SET_ASIDE)
    bad = sum(issue.get(code, 0) for issue in issues for code in queries.BAD_LINES)
    assert aside == truth.set_aside > 0
    assert bad == truth.bad_lines > 0
    assert quarantined(store) == sorted(truth.refused) != []
    assert truth.mishaps == {"", *MISHAPS}


def play(store: Store, history: NetworkHistory) -> HistoryTruth:
    """Deliver a history chapter by chapter, each captured before the next."""
    duplicates = conflicts = late = 0
    for now, files in history.chapters():
        put(store, files, now)
        tally = ingest(store, NETWORK, RainSettings(), source="rain", now=now)
        duplicates, conflicts = duplicates + tally.duplicates, conflicts + tally.conflicts
        late += tally.late
    truth = history.truth()
    assert (duplicates, conflicts) == (truth.duplicates, truth.conflicts)
    assert late > 0
    return truth


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_year_of_19_gauges_comes_back_exactly(store: Store) -> None:
    truth = play(store, NetworkHistory(SIMULATED, START, YEAR_DAYS, chapters=12, file_min=1440))
    assert_is_truth(store, truth)
    assert_all_is_visible(store, truth)
    assert codes(store) > {*SET_ASIDE, *POINTED_OUT} - {"overlapping_step"}


@pytest.mark.chaos
@pytest.mark.timeout(7200)
def test_a_year_of_19_gauges_in_hourly_files_comes_back_exactly(store: Store) -> None:
    truth = play(store, NetworkHistory(SIMULATED, START, YEAR_DAYS, chapters=36, file_min=60))
    assert_is_truth(store, truth)
    assert_all_is_visible(store, truth)


@pytest.mark.chaos
@pytest.mark.timeout(7200)
def test_six_weeks_of_19_gauges_in_files_of_five_minutes_come_back_exactly(store: Store) -> None:
    start = datetime(2023, 12, 10, 12, tzinfo=UTC)
    truth = play(store, NetworkHistory(SIMULATED, start, 42, chapters=7, file_min=5))
    assert_is_truth(store, truth)
    assert_all_is_visible(store, truth)


@pytest.fixture
def site(make_site: Callable[..., Settings]) -> Settings:
    """A site whose 19 gauges deliver to a simulated server."""
    source = {
        "host": f"simulator://{NAME}",
        "user": "gauges",
        "password": f"secret://{SECRET}",
        "wait_s": 0.05,
    }
    wings = {"rain": {"shared_folders": ["A"]}}
    settings = make_site({"timezone": "Europe/Paris", "sources": {"rain": source}, "wings": wings})
    lines = [f"  - {{id: {g.id}, name: {g.name}, folder: {g.folder}}}" for g in NETWORK.gauges]
    (settings.site_dir / "gauges.yml").write_text("\n".join(["gauges:", *lines]), encoding="utf-8")
    return settings


@pytest.fixture
def server(site: Settings) -> Iterator[MemoryFtp]:
    """The server they deliver to."""
    pytest.importorskip("pyftpdlib")
    running = MemoryFtp("gauges")
    endpoint = running.start()
    simulators.announce(site, NAME, endpoint, {SECRET: str(endpoint.pop("password"))})
    yield running
    running.stop()


@pytest.mark.server
def test_what_19_gauges_deliver_to_a_server_over_new_year_comes_back_exactly(
    site: Settings, server: MemoryFtp
) -> None:
    start = datetime(2023, 12, 30, 12, tzinfo=UTC)
    history = NetworkHistory(SIMULATED, start, 6, chapters=3, file_min=180, seed=3)
    rows_by_year: Counter[str] = Counter()
    late = 0
    with open_store(site, create=True) as store:
        for now, files in history.chapters():
            for file in files:
                server.tree.put(file.path, file.content, to_us(now) / 1e6 - 3600)
            report = capture(store, site, now=now + timedelta(hours=1))
            assert report.complete
            assert report.fetched == len(files)
            rows_by_year.update(report.rows_by_year)
            late += report.late_rows
        truth = history.truth()
        assert_is_truth(store, truth)
        assert count(store, rain_conflicts) == truth.conflicts
        assert quarantined(store) == sorted(truth.refused)
    new_year = datetime(2024, 1, 1, tzinfo=UTC).timestamp()
    told = np.concatenate(list(truth.rows.values()))["stamp"]
    assert rows_by_year == {"2023": (told < new_year).sum(), "2024": (told >= new_year).sum()}
    assert late > 0
