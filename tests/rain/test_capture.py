"""The whole path: files on a real FTP server become rows, exactly those the simulator delivered."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Table, func, select

from workspace_lib import simulators
from workspace_lib.errors import ParameterError, SourceError
from workspace_lib.rain.capture import capture, day_of, device_of
from workspace_lib.rain.days import read_rows
from workspace_lib.rain.loggers import FAULTS, Loggers
from workspace_lib.rain.settings import Network
from workspace_lib.rain.simulator import NAME, SECRET, RainSimulator, SimulatedGauge
from workspace_lib.rain.tables import rain_conflicts, rain_days, rain_issues
from workspace_lib.settings import Settings
from workspace_lib.store import inventory
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.migrate import open_store
from workspace_lib.transports.memory_ftp import MemoryFtp

pytestmark = pytest.mark.server

START = datetime(2026, 11, 1, tzinfo=UTC)
#: With this seed every fault happens within three days of two gauges.
EVENTFUL_DAYS, EVENTFUL_SEED = 3, 76
GAUGES = [
    SimulatedGauge("hydropolis", "Hydropolis", "Hydropolis", "ARCHIEST"),
    SimulatedGauge("polytech", "Polytech", "Polytech", "LOG002"),
]
GAUGES_YML = """
gauges:
  - {id: hydropolis, name: Hydropolis, folder: Hydropolis, mm_per_tip: 0.2}
  - {id: polytech, name: Polytech, folder: Polytech, mm_per_tip: 0.2}
"""


@pytest.fixture
def site(make_site: Callable[..., Settings]) -> Settings:
    """A site whose rain comes from a simulator."""
    source = {
        "host": f"simulator://{NAME}",
        "user": "gauges",
        "password": f"secret://{SECRET}",
        "wait_s": 0.05,
    }
    settings = make_site({"timezone": "Europe/Paris", "sources": {"rain": source}})
    (settings.site_dir / "gauges.yml").write_text(GAUGES_YML, encoding="utf-8")
    return settings


@pytest.fixture
def rain_store(site: Settings) -> Iterator[Store]:
    """The store of that site."""
    with open_store(site, create=True) as opened:
        yield opened


@pytest.fixture
def simulate(site: Settings) -> Iterator[Callable[..., RainSimulator]]:
    """Start a simulator and announce it to the site."""
    pytest.importorskip("pyftpdlib")
    running: list[RainSimulator] = []

    def start(days: float = 2, **options: Any) -> RainSimulator:
        simulator = RainSimulator(GAUGES, START, days, **options)
        endpoint = simulator.start(speed=0)
        running.append(simulator)
        password = endpoint.pop("password")
        simulators.announce(site, NAME, endpoint, {SECRET: password})
        return simulator

    yield start
    for simulator in running:
        simulator.stop()


def stored(store: Store, gauge: str) -> tuple[list[int], list[int]]:
    with read(store.data) as connection:
        rows = read_rows(connection, gauge, 0, 2**62)
    return (rows["t_us"] // 1_000_000).tolist(), rows["tips"].tolist()


def count(store: Store, table: Table) -> int:
    with read(store.data) as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def assert_equals_truth(store: Store, simulator: RainSimulator) -> None:
    truth = simulator.truth()
    for gauge, expected in truth.gauges.items():
        stamps, tips = stored(store, gauge)
        assert np.array_equal(stamps, expected.stamps)
        assert np.array_equal(tips, expected.tips)


def test_the_store_equals_what_was_delivered_with_every_fault(
    site: Settings, rain_store: Store, simulate: Callable[..., RainSimulator]
) -> None:
    simulator = simulate(days=EVENTFUL_DAYS, seed=EVENTFUL_SEED)
    truth = simulator.truth()
    report = capture(rain_store, site, now=START + timedelta(days=EVENTFUL_DAYS + 3))
    assert_equals_truth(rain_store, simulator)
    assert (report.fetched, report.new) == (truth.files, truth.files)
    assert report.files_parsed == truth.files - len(truth.refused)
    assert report.rows == sum(len(gauge.stamps) for gauge in truth.gauges.values())
    assert (report.rows_by_year, report.late_rows) == ({"2026": report.rows}, 0)
    assert report.conflicts == count(rain_store, rain_conflicts) == truth.conflicts > 0
    assert report.set_aside == truth.set_aside > 0
    assert report.bad_lines == truth.bad_lines > 0
    assert sorted(path for path, _ in report.quarantined) == sorted(truth.refused) != []
    assert report.complete
    assert report.packed_days > 0
    assert sum(gauge.tips.sum() for gauge in truth.gauges.values()) > 0


def test_capturing_again_changes_nothing(
    site: Settings, rain_store: Store, simulate: Callable[..., RainSimulator]
) -> None:
    simulate(days=2)
    now = START + timedelta(days=3)
    capture(rain_store, site, now=now)
    tables = (rain_days, rain_conflicts, rain_issues, inventory.source_files)
    before = [count(rain_store, table) for table in tables]
    report = capture(rain_store, site, now=now + timedelta(minutes=5))
    assert (report.new, report.fetched, report.rows, report.files_parsed) == (0, 0, 0, 0)
    assert [count(rain_store, table) for table in tables] == before


def test_what_comes_later_is_added(
    site: Settings, rain_store: Store, simulate: Callable[..., RainSimulator]
) -> None:
    simulator = simulate(days=1, faults=())
    capture(rain_store, site, now=START + timedelta(days=1, hours=1))
    delivered = simulator.advance_to(START + timedelta(days=1, hours=2))
    report = capture(rain_store, site, now=START + timedelta(days=1, hours=3))
    assert report.fetched == delivered == 48
    assert_equals_truth(rain_store, simulator)


def test_packed_files_can_be_parsed_again(
    site: Settings, rain_store: Store, simulate: Callable[..., RainSimulator]
) -> None:
    simulator = simulate(days=1, faults=())
    now = START + timedelta(days=5)
    assert capture(rain_store, site, now=now).packed_days == 2
    with write(rain_store.data) as connection:
        connection.execute(rain_days.delete())
        inventory.replay(connection, "rain", now=now)
    report = capture(rain_store, site, now=now)
    assert (report.fetched, report.files_parsed) == (0, simulator.truth().files)
    assert_equals_truth(rain_store, simulator)


def test_a_file_still_being_written_waits(
    site: Settings, rain_store: Store, simulate: Callable[..., RainSimulator]
) -> None:
    simulate(days=1, faults=())
    first = capture(rain_store, site, now=START + timedelta(days=1, seconds=1))
    assert first.waiting > 0
    second = capture(rain_store, site, now=START + timedelta(days=1, seconds=301))
    assert (second.waiting, second.fetched) == (0, first.waiting)


def test_only_the_gauges_asked_for_are_captured(
    site: Settings, rain_store: Store, simulate: Callable[..., RainSimulator]
) -> None:
    simulate(days=1, faults=())
    report = capture(rain_store, site, gauges="polytech", now=START + timedelta(days=2))
    assert set(report.rows_by_gauge) == {"polytech"}
    assert report.ignored == 287
    with pytest.raises(ParameterError, match="polytec"):
        capture(rain_store, site, gauges="polytec", now=START + timedelta(days=2))


def test_an_unknown_folder_is_fetched_kept_and_reported(
    site: Settings, rain_store: Store, simulate: Callable[..., RainSimulator]
) -> None:
    simulator = simulate(days=1, faults=())
    content = b"CHU9, 1793491440, 1, 0, 12.2\n"
    simulator.tree.put("CHU9/CHU9_011126_000400.txt", content, 1_793_491_800)
    simulator.tree.put("CHU9/readme.txt", b"not a file of a logger", 1_793_491_800)
    report = capture(rain_store, site, now=START + timedelta(days=2))
    assert report.unknown_folders == {"CHU9": 1}
    assert report.ignored == 1
    assert "CHU9" in report.trouble
    (site.site_dir / "gauges.yml").write_text(
        GAUGES_YML + "  - {id: chu9, name: CHU9, folder: CHU9}\n", encoding="utf-8"
    )
    again = capture(rain_store, site, now=START + timedelta(days=2))
    assert again.rows_by_gauge == {"chu9": 1}
    assert again.unknown_folders == {}


def test_what_was_fetched_is_stored_even_if_the_source_is_lost(
    site: Settings, rain_store: Store, simulate: Callable[..., RainSimulator]
) -> None:
    simulator = simulate(days=0.2, faults=())
    now = START + timedelta(days=1)
    capture(rain_store, site, now=now)
    with write(rain_store.data) as connection:
        connection.execute(rain_days.delete())
        inventory.replay(connection, "rain", now=now)
    simulator.stop()
    with pytest.raises(SourceError):
        capture(rain_store, site, now=now)
    assert_equals_truth(rain_store, simulator)


def test_the_report_is_plain_values(
    site: Settings, rain_store: Store, simulate: Callable[..., RainSimulator]
) -> None:
    simulate(days=0.1, faults=())
    report = capture(rain_store, site, now=START + timedelta(days=1)).to_dict()
    assert json.loads(json.dumps(report))["rows"] == report["rows"] > 0
    assert report["complete"] is True


def test_progress_and_counts_are_told_while_it_runs(
    site: Settings, rain_store: Store, simulate: Callable[..., RainSimulator]
) -> None:
    simulate(days=0.1, faults=())
    told: list[tuple[str, float]] = []
    counted: Counter[str] = Counter()
    report = capture(
        rain_store,
        site,
        now=START + timedelta(days=1),
        progress=lambda fraction, text: told.append((text, fraction)),
        count=lambda **amounts: counted.update(amounts),
    )
    assert told[-1] == ("parsing", 1.0)
    assert ("fetching", 1.0) in told
    assert counted == {"files": report.fetched, "bytes": report.bytes, "rows": report.rows}


def test_the_real_files_go_the_same_way(site: Settings, rain_store: Store, real_data: Path) -> None:
    pytest.importorskip("pyftpdlib")
    server = MemoryFtp("gauges")
    for path in sorted((real_data / "rain/hsm").glob("*.txt")):
        server.tree.put(f"Hydropolis/{path.name}", path.read_bytes(), 1_677_630_000)
    endpoint = server.start()
    try:
        password = endpoint.pop("password")
        simulators.announce(site, NAME, endpoint, {SECRET: password})
        report = capture(rain_store, site, now=datetime(2023, 3, 2, tzinfo=UTC))
    finally:
        server.stop()
    assert (report.files_parsed, report.rows, report.quarantined) == (2, 10, ())
    stamps, tips = stored(rain_store, "hydropolis")
    assert stamps == [1677629040 + 60 * nth for nth in range(10)]
    assert tips == [0] * 10


def test_device_and_day_of_a_path(network: Network) -> None:
    assert device_of(network, "Hydropolis/Hydropol_010323_000400.txt") == "hydropolis"
    assert device_of(network, "CHU 9/X_010323_000400.txt") == "unknown-CHU-9"
    assert device_of(network, "Nobody_010323_000400.txt") == "unknown"
    assert str(day_of("Hydropolis/Hydropol_010323_000400.txt")) == "2023-03-01"
    assert day_of("Hydropolis/readme.txt") is None


def test_every_fault_happens_in_the_eventful_days() -> None:
    loggers = Loggers(GAUGES, EVENTFUL_SEED, tuple(FAULTS))
    first = loggers.slot_at(int(START.timestamp()) // 60) + 1
    seen: set[str | None] = set()
    steps: set[int] = set()
    for number in range(len(GAUGES)):
        files = list(loggers.files(number, first, first + EVENTFUL_DAYS * 288))
        seen |= {file.fault for file in files}
        steps |= set(np.diff([stamp for file in files for stamp, _ in file.rows]).tolist())
    assert set(FAULTS) - seen == {"gap", "hourly"}
    assert 3600 in steps
    assert any(step % 60 == 0 and 420 <= step < 3600 for step in steps)
