"""Yearly files on the source become rows like raw files do, if the site says where they lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import select

from workspace_lib import simulators
from workspace_lib.rain import ingest as ingesting
from workspace_lib.rain.capture import capture, day_of, is_raw
from workspace_lib.rain.days import read_rows
from workspace_lib.rain.tables import rain_conflicts, rain_issues
from workspace_lib.rain.yearly_readers import parse_tip_files
from workspace_lib.settings import Settings, load_settings
from workspace_lib.store.engines import Store, read
from workspace_lib.store.migrate import open_store
from workspace_lib.transports.memory_ftp import MemoryFtp

pytestmark = pytest.mark.server

NOW = datetime(2026, 11, 20, tzinfo=UTC)
HEADER = "Station,Timestamp,Rain,Wind,Battery,Year\n"
#: 2023-03-01T00:04:00Z [s since 1970], the first row of the real A0 files.
START_S = 1_677_629_040
GAUGES_YML = """
gauges:
  - {id: hydropolis, name: Hydropolis, folder: Hydropolis}
  - {id: mse, name: Mse, folder: Mse, aliases: [MSE]}
"""


@pytest.fixture
def server() -> Iterator[MemoryFtp]:
    pytest.importorskip("pyftpdlib")
    running = MemoryFtp("gauges")
    yield running
    running.stop()


@pytest.fixture
def site(make_site: Callable[..., Settings], server: MemoryFtp) -> Settings:
    source = {
        "host": "simulator://rain",
        "user": "gauges",
        "password": "secret://DEMO_FTP_PASSWORD",
        "wait_s": 0.05,
    }
    wings = {"rain": {"history_folders": ["Processed/concatenated"]}}
    settings = make_site({"sources": {"rain": source}, "wings": wings})
    (settings.site_dir / "gauges.yml").write_text(GAUGES_YML, encoding="utf-8")
    endpoint = server.start()
    password = endpoint.pop("password")
    simulators.announce(settings, "rain", endpoint, {"DEMO_FTP_PASSWORD": password})
    return settings


@pytest.fixture
def rain_store(site: Settings) -> Iterator[Store]:
    with open_store(site, create=True) as opened:
        yield opened


def yearly(*tips: str, battery: str = "12.226") -> bytes:
    rows = [f"ARCHIEST,{START_S + 60 * n},{t},0,{battery},2023\n" for n, t in enumerate(tips)]
    return (HEADER + "".join(rows)).encode()


def rows(store: Store, gauge: str) -> Any:
    with read(store.data) as connection:
        return read_rows(connection, gauge, 0, 2**62)


def test_the_real_yearly_files_become_rows(
    site: Settings, rain_store: Store, server: MemoryFtp, real_data: Path
) -> None:
    for path in sorted((real_data / "rain/hsm").glob("*.csv")):
        server.tree.put(f"Processed/concatenated/{path.name}", path.read_bytes(), 1.7e9)
    report = capture(rain_store, site, now=NOW)
    assert (report.files_parsed, report.quarantined) == (2, ())
    assert report.rows_by_gauge == {"mse": 30}
    assert report.set_aside == 2
    with read(rain_store.data) as connection:
        query = select(rain_issues.c.code, rain_issues.c.gauge, rain_issues.c.line)
        found = connection.execute(query.where(rain_issues.c.line > 0)).all()
    assert sorted(map(tuple, found)) == [
        ("clock_reset", "hydropolis", 2),
        ("clock_reset", "hydropolis", 3),
    ]


def test_raw_files_and_the_yearly_file_of_the_same_time_agree(
    site: Settings, rain_store: Store, server: MemoryFtp, real_data: Path
) -> None:
    for path in sorted((real_data / "rain/hsm").glob("*.txt")):
        server.tree.put(f"Hydropolis/{path.name}", path.read_bytes(), 1.7e9)
    assert capture(rain_store, site, now=NOW).rows == 10
    batteries = rows(rain_store, "hydropolis")["battery_v"].tolist()
    lines = [
        f"ARCHIEST,{START_S + 60 * n},0,0,{volts},2023.0\n" for n, volts in enumerate(batteries)
    ]
    lines.append(f"ARCHIEST,{START_S + 600},2.0,0,12.3,2023.0\n")
    server.tree.put(
        "Processed/concatenated/2023/Hydropolis_concatenated_2023.csv",
        (HEADER + "".join(lines)).encode(),
        1.7e9,
    )
    report = capture(rain_store, site, now=NOW)
    assert (report.rows, report.duplicates, report.conflicts) == (1, 10, 0)
    assert rows(rain_store, "hydropolis")["tips"].sum() == 2


def test_a_minute_with_two_batteries_keeps_the_first_and_logs_the_other(
    site: Settings, rain_store: Store, server: MemoryFtp
) -> None:
    content = yearly("1") + yearly("1", battery="14.105").removeprefix(HEADER.encode())
    server.tree.put("Processed/concatenated/Mse_concatenated_2023.csv", content, 1.7e9)
    report = capture(rain_store, site, now=NOW)
    assert (report.rows, report.conflicts) == (1, 1)
    with read(rain_store.data) as connection:
        (conflict,) = connection.execute(select(rain_conflicts)).all()
    assert (conflict.kept_battery_v, conflict.battery_v) == (12.226, 14.105)
    assert (conflict.line, conflict.policy) == (3, "keep first")


def test_what_is_no_count_of_tips_is_quarantined_with_its_reason(
    site: Settings, rain_store: Store, server: MemoryFtp
) -> None:
    folder = "Processed/concatenated"
    server.tree.put(f"{folder}/Mse_concatenated_2023.csv", yearly("0.2", "0.0"), 1.7e9)
    server.tree.put(f"{folder}/Mse_concatenated_2022.csv", b"nothing of the kind\n", 1.7e9)
    server.tree.put(f"{folder}/Mse_treated_2023.csv", yearly("1.0769"), 1.7e9)
    report = capture(rain_store, site, now=NOW)
    assert (report.rows, report.ignored) == (0, 1)
    reasons = dict(report.quarantined)
    assert "header" in reasons[f"{folder}/Mse_concatenated_2022.csv"]
    assert "no count of tips" in reasons[f"{folder}/Mse_concatenated_2023.csv"]


def test_a_yearly_file_of_nobody_waits_for_its_gauge(
    site: Settings, rain_store: Store, server: MemoryFtp
) -> None:
    path = "Processed/concatenated/CEFE_concatenated_2023.csv"
    server.tree.put(path, yearly("1", "2"), 1.7e9)
    assert [name for name, _ in capture(rain_store, site, now=NOW).quarantined] == [path]
    (site.site_dir / "gauges.yml").write_text(
        GAUGES_YML + "  - {id: cefe, name: CEFE, folder: CEFE}\n", encoding="utf-8"
    )
    assert capture(rain_store, site, now=NOW).rows_by_gauge == {"cefe": 2}


def test_large_files_are_parsed_one_after_the_other(
    site: Settings, rain_store: Store, server: MemoryFtp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingesting, "BATCH_BYTES", 100)
    folder = "Processed/concatenated"
    server.tree.put(f"{folder}/Mse_concatenated_2023.csv", yearly("1", "2"), 1.7e9)
    server.tree.put(f"{folder}/Hydropolis_concatenated_2023.csv", yearly("3", "na"), 1.7e9)
    assert capture(rain_store, site, now=NOW).rows_by_gauge == {"hydropolis": 1, "mse": 2}


def test_counts_come_from_raw_and_yearly_files_of_one_batch() -> None:
    a0 = b"MSE, 1677629040, 3, 0, 12.226\nbad\n"
    paths = ["A/Mse_010323_000400.txt", "x/Mse_concatenated_2023.csv", "A/Mse_010323_000900.txt"]
    batch = parse_tip_files(paths, [a0, yearly("1", "na") + b"\nbad\n", a0])
    assert batch.rows["file"].tolist() == [0, 1, 2]
    assert batch.rows["tips"].tolist() == [3, 1, 3]
    assert (batch.lines.tolist(), batch.bad.tolist()) == ([2, 5, 2], [1, 1, 1])
    counted = [int((batch.rows["file"] == n).sum()) for n in range(3)]
    assert (batch.lines == batch.blank + batch.bad + counted).all()
    assert [(found.file, found.line) for found in batch.issues if found.line] == [
        (0, 2),
        (1, 5),
        (2, 2),
    ]


def test_only_the_folders_of_history_are_looked_at() -> None:
    name = "Mse_concatenated_2023.csv"
    assert is_raw(f"Processed/concatenated/2023/{name}", ("/Processed/concatenated/",))
    assert is_raw(f"Mse/{name}", ("/",))
    assert not is_raw(f"Processed/concatenated2/{name}", ("Processed/concatenated",))
    assert not is_raw(f"Mse/{name}")
    assert not is_raw("Mse/Mse_treated_2023.csv", ("/",))
    assert str(day_of(f"Mse/{name}")) == "2023-01-01"


def test_history_of_past_years_is_late_and_gets_its_products(served_site: Any) -> None:
    path = served_site.settings.site_dir / "site.yml"
    content = yaml.safe_load(path.read_text())
    content["wings"]["rain"]["history_folders"] = ["history"]
    path.write_text(yaml.safe_dump(content))
    served_site.settings = load_settings(served_site.settings.site, root=served_site.settings.root)
    served_site.deliver("Hydropolis", datetime(2024, 1, 9, 12, tzinfo=UTC), 1, 2)
    served_site.capture()
    served_site.tree.put("/history/Hydropolis_concatenated_2023.csv", yearly("3", "na", "4"), 1.7e9)
    report = capture(served_site.store, served_site.settings, now=served_site.now)
    assert (report.late_rows, report.rows_by_year) == (2, {"2023": 2})
    served_site.calibrate()
    for options in ({}, {"rebuild": True}):
        served_site.products(**options)
        made = served_site.files("products")["Hydropolis/2023/Hydropolis_concatenated_2023.csv"]
        assert [line.split(b",")[2] for line in made.splitlines()[1:]] == [b"3", b"4"]
