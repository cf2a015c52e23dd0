"""From pending files to rows: nothing twice, nothing dropped silently, every policy visible."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Table, select

from workspace_lib.clock import to_us
from workspace_lib.rain import ingest as module
from workspace_lib.rain.ingest import Tally, folder_of, identify
from workspace_lib.rain.settings import Gauge, Network, RainSettings
from workspace_lib.rain.tables import rain_conflicts, rain_days, rain_issues
from workspace_lib.store import inventory
from workspace_lib.store.engines import Store, read, write

START = datetime(2023, 3, 1, 0, 4, tzinfo=UTC)
FILE = "Hydropolis/Hydropol_010323_000400.txt"
SECOND = "Hydropolis/Hydropol_010323_000900.txt"


@pytest.fixture
def ingest(network: Network, now: datetime) -> Callable[..., Tally]:
    """Ingest what is pending, with the settings' defaults."""

    def run(store: Store, **options: Any) -> Tally:
        arguments: dict[str, Any] = {"network": network, "rain": RainSettings(), **options}
        return module.ingest(store, source="rain", now=now, **arguments)

    return run


def rows(store: Store, table: Table) -> list[dict[str, Any]]:
    with read(store.data) as connection:
        query = select(table).order_by(*table.primary_key.columns)
        return [dict(row) for row in connection.execute(query).mappings()]


def states(store: Store) -> dict[str, tuple[str, str | None]]:
    with read(store.data) as connection:
        return {
            row.path: (row.state, row.message) for row in inventory.list_files(connection, "rain")
        }


def test_pending_files_become_rows_once(
    any_store: Store, deliver: Any, ingest: Any, a0: Any, stored_rows: Any
) -> None:
    deliver(any_store, {FILE: a0(0, 1, 0, 2, 0), SECOND: a0(0, 0, minute=5, battery=12.5)})
    tally = ingest(any_store)
    assert (tally.files, tally.rows_new, tally.rows_by_gauge["hydropolis"]) == (2, 7, 7)
    stored = stored_rows(any_store)
    assert [row["tips"] for row in stored] == [0, 1, 0, 2, 0, 0, 0]
    assert [row["t_us"] for row in stored] == [to_us(START) + 60_000_000 * n for n in range(7)]
    assert stored[-1]["battery_v"] == 12.5
    assert {row["gauge"] for row in stored} == {"hydropolis"}
    assert {state for state, _ in states(any_store).values()} == {inventory.PARSED}
    again = ingest(any_store)
    assert (again.files, again.rows_new) == (0, 0)


def test_replaying_files_changes_nothing(
    any_store: Store, deliver: Any, ingest: Any, a0: Any, now: datetime
) -> None:
    same_minute = a0(1, battery=13.0)
    deliver(any_store, {FILE: a0(0, 1) + same_minute + b"bad\n", SECOND: a0(7, 7)})
    first = ingest(any_store)
    before = [rows(any_store, table) for table in (rain_days, rain_conflicts, rain_issues)]
    with write(any_store.data) as connection:
        assert inventory.replay(connection, "rain", now=now) == 2
    second = ingest(any_store)
    assert (first.rows_new, second.rows_new) == (2, 0)
    after = [rows(any_store, table) for table in (rain_days, rain_conflicts, rain_issues)]
    assert after == before


def test_equal_rows_are_duplicates_and_different_ones_conflicts(
    store: Store, deliver: Any, ingest: Any, a0: Any, stored_rows: Any
) -> None:
    deliver(store, {FILE: a0(0, 3), SECOND: a0(0, minute=0) + a0(2, minute=1, battery=13.9)})
    tally = ingest(store)
    assert (tally.rows_new, tally.duplicates, tally.conflicts) == (2, 1, 1)
    (conflict,) = rows(store, rain_conflicts)
    assert (conflict["kept_tips"], conflict["kept_battery_v"]) == (3, 12.226)
    assert (conflict["tips"], conflict["battery_v"]) == (2, 13.9)
    assert (conflict["line"], conflict["policy"]) == (2, "keep first")
    assert [row["tips"] for row in stored_rows(store)] == [0, 3]


def test_a_minute_twice_in_one_file_keeps_the_first(
    store: Store, deliver: Any, ingest: Any, a0: Any, stored_rows: Any
) -> None:
    deliver(store, {FILE: a0(0, battery=13.404) + a0(0, battery=14.105)})
    ingest(store)
    assert [row["battery_v"] for row in stored_rows(store)] == [13.404]
    assert [row["battery_v"] for row in rows(store, rain_conflicts)] == [14.105]


def test_a_conflict_with_an_earlier_batch_is_found(
    store: Store, deliver: Any, ingest: Any, a0: Any
) -> None:
    deliver(store, {FILE: a0(0, 3)})
    ingest(store)
    deliver(store, {SECOND: a0(0, 4)})
    tally = ingest(store, rain=RainSettings(files_per_batch=1))
    assert (tally.rows_new, tally.duplicates, tally.conflicts) == (0, 1, 1)


def test_rows_of_a_reset_clock_are_set_aside_with_their_text(
    store: Store, deliver: Any, ingest: Any, a0: Any
) -> None:
    reset = b"ARCHIEST, 1072915260, 2, 0, 13.404\n"
    deliver(store, {FILE: a0(0) + reset})
    tally = ingest(store)
    assert (tally.rows_new, tally.set_aside, tally.bad_lines) == (1, 1, 0)
    (issue,) = rows(store, rain_issues)
    assert (issue["code"], issue["line"], issue["gauge"]) == ("clock_reset", 2, "hydropolis")
    assert issue["text"] == reset.decode().strip()


def test_a_file_of_a_reset_clock_alone_is_parsed_and_not_quarantined(
    store: Store, deliver: Any, ingest: Any
) -> None:
    deliver(store, {FILE: b"ARCHIEST, 1072915260, 0, 0, 13.404\n"})
    assert ingest(store).quarantined == []
    assert states(store)[FILE][0] == inventory.PARSED


def test_rows_from_the_future_of_their_file_are_set_aside(
    store: Store, deliver: Any, ingest: Any, a0: Any, stored_rows: Any
) -> None:
    deliver(store, {FILE: a0(0)}, at=START - timedelta(days=2))
    ingest(store)
    assert stored_rows(store) == []
    assert [row["code"] for row in rows(store, rain_issues)] == ["stamp_in_future"]


def test_a_file_without_a_row_is_quarantined_with_its_lines(
    store: Store, deliver: Any, ingest: Any
) -> None:
    deliver(store, {FILE: b"\0\0\0\nrubbish\n", SECOND: b""})
    tally = ingest(store)
    assert dict(tally.quarantined) == {
        FILE: "No line is a row: 3 NUL bytes stand in the line.",
        SECOND: "No line is a row: The file is empty.",
    }
    assert {state for state, _ in states(store).values()} == {inventory.QUARANTINED}
    kept = [(row["code"], row["text"]) for row in rows(store, rain_issues) if row["line"]]
    assert kept == [("nul_bytes", r"\x00\x00\x00"), ("field_count", "rubbish")]


def test_a_bad_line_in_a_good_file_is_kept_as_an_issue(
    store: Store, deliver: Any, ingest: Any, a0: Any
) -> None:
    deliver(store, {FILE: a0(1) + b"ARCHIEST, 16776x9040, 0, 0, 12\n"})
    tally = ingest(store)
    assert (tally.rows_new, tally.bad_lines, tally.lines) == (1, 1, 2)
    (issue,) = rows(store, rain_issues)
    assert (issue["code"], issue["text"]) == ("bad_number", "ARCHIEST, 16776x9040, 0, 0, 12")


def test_an_unknown_folder_is_quarantined_and_comes_back_once_its_gauge_is_listed(
    store: Store, deliver: Any, ingest: Any, a0: Any, network: Network
) -> None:
    path = "CHU9/CHU9_010323_000400.txt"
    deliver(store, {path: a0(1, 1)})
    tally = ingest(store)
    assert tally.unknown == {"CHU9": 1}
    assert states(store)[path][0] == inventory.QUARANTINED
    assert "'CHU9'" in (states(store)[path][1] or "")
    wider = Network((*network.gauges, Gauge(id="chu9", name="CHU9", folder="CHU9")))
    assert ingest(store, network=wider).rows_by_gauge == {"chu9": 2}


def test_files_of_gauges_that_were_not_asked_for_stay_pending(
    store: Store, deliver: Any, ingest: Any, a0: Any, network: Network
) -> None:
    other = "Polytech/Polytech_010323_000400.txt"
    deliver(store, {FILE: a0(1), other: a0(2)})
    tally = ingest(store, gauges=network.choose("polytech"))
    assert tally.rows_by_gauge == {"polytech": 1}
    assert states(store)[FILE][0] == inventory.FETCHED


def test_batches_end_when_all_is_done(
    store: Store, deliver: Any, ingest: Any, a0: Any, stored_rows: Any
) -> None:
    files = {f"Hydropolis/Hydropol_010323_{n:02d}0000.txt": a0(n, minute=n) for n in range(7)}
    deliver(store, files)
    told: list[tuple[float, str]] = []
    counted: list[int] = []
    tally = ingest(
        store,
        rain=RainSettings(files_per_batch=3),
        progress=lambda fraction, text: told.append((fraction, text)),
        count=lambda *, rows: counted.append(rows),
    )
    assert tally.files == 7
    assert told == [(3 / 7, "parsing"), (6 / 7, "parsing"), (1.0, "parsing")]
    assert counted == [3, 3, 1]
    assert len(stored_rows(store)) == 7


@pytest.mark.parametrize(
    ("path", "gauge"),
    [
        ("Hydropolis/Hydropol_010323_000400.txt", "hydropolis"),
        ("/Hydropolis/2023/ARCHIEST_010323_000400.txt", "hydropolis"),
        ("Old/Poly/Polytech_010323_000400.txt", "polytech"),
        ("ARCHIEST/ARCHIEST_010322_000400.txt", "polytech"),
        ("ARCHIEST/ARCHIEST_010323_000400.txt", None),
        ("A/Polytech_010323_000400.txt", "polytech"),
        ("Hydropol_010323_000400.txt", "hydropolis"),
        ("A/Nobody_010323_000400.txt", None),
        ("Hydropolis/Polytech_010323_000400.txt", None),
        ("Hydropolis2/Hydropol_010323_000400.txt", None),
    ],
)
def test_whose_file_it_is_comes_from_folder_name_and_date(
    network: Network, path: str, gauge: str | None
) -> None:
    found, reason = identify(network, path)
    assert (found.id if found else None) == gauge
    assert bool(reason) == (gauge is None)


def test_the_folder_of_a_path_has_no_slashes_around_it() -> None:
    assert [folder_of(path) for path in ("/a/b/c.txt", "a/c.txt", "c.txt")] == ["a/b", "a", ""]


def test_rows_are_stored_with_exact_instants(
    store: Store, deliver: Any, ingest: Any, stored_rows: Any
) -> None:
    deliver(store, {FILE: b"X, 1677629101, 1, 0, 12\n"})
    ingest(store)
    assert stored_rows(store)[0]["t_us"] == 1_677_629_101_000_000


def test_a_batch_that_fails_leaves_nothing_behind(
    any_store: Store,
    deliver: Any,
    ingest: Any,
    a0: Any,
    stored_rows: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("the power is gone")

    deliver(any_store, {FILE: a0(0, 3) + a0(1, battery=13.0) + b"bad\n"})
    with monkeypatch.context() as broken:
        broken.setattr(inventory, "mark_parsed", fail)
        with pytest.raises(RuntimeError):
            ingest(any_store)
    tables = (rain_days, rain_conflicts, rain_issues)
    assert [rows(any_store, table) for table in tables] == [[], [], []]
    assert ingest(any_store).rows_new == len(stored_rows(any_store)) == 2


def test_two_captures_at_once_store_every_row_once(
    any_store: Store, deliver: Any, ingest: Any, a0: Any, stored_rows: Any
) -> None:
    files = {
        f"{folder}/{folder[:8]}_010323_{n // 60:02d}{n % 60:02d}00.txt": a0(*[1] * 5, minute=5 * n)
        for folder in ("Hydropolis", "Polytech")
        for n in range(60)
    }
    deliver(any_store, files)
    with ThreadPoolExecutor(2) as pool:
        settings = RainSettings(files_per_batch=7)
        both = list(pool.map(lambda _: ingest(any_store, rain=settings), range(2)))
    assert sum(tally.rows_new for tally in both) == len(stored_rows(any_store)) == 600
    assert rows(any_store, rain_conflicts) == []
    assert {state for state, _ in states(any_store).values()} == {inventory.PARSED}
