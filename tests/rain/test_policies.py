"""Odd rows: each kind has a declared policy, and ends where people can see it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from workspace_lib.clock import to_us
from workspace_lib.rain import ingest as module
from workspace_lib.rain import queries
from workspace_lib.rain.ingest import Tally
from workspace_lib.rain.policies import years_of
from workspace_lib.rain.settings import Network, RainSettings
from workspace_lib.rain.tables import rain_conflicts, rain_issues
from workspace_lib.store.engines import Store, read

FILE = "Hydropolis/Hydropol_010323_000400.txt"
SECOND = "Hydropolis/Hydropol_010323_000900.txt"
NEW_YEAR = datetime(2023, 1, 1, tzinfo=UTC)


@pytest.fixture
def ingest(network: Network, now: datetime) -> Callable[..., Tally]:
    """Ingest what is pending."""

    def run(store: Store, **rain: Any) -> Tally:
        settings = RainSettings.model_validate(rain)
        return module.ingest(store, network, settings, source="rain", now=now)

    return run


def lines(*stamps: datetime, tips: int = 0, battery: float = 12.226) -> bytes:
    rows = [f"LOG, {int(stamp.timestamp())}, {tips}, 0, {battery:.3f}\n" for stamp in stamps]
    return "".join(rows).encode()


def from_minute(first: datetime, *minutes: float) -> list[datetime]:
    return [first + timedelta(minutes=minute) for minute in minutes]


def issues(store: Store) -> list[tuple[str, int, str]]:
    """Code, line and text of every issue, as they stand in their files."""
    columns = rain_issues.c
    query = select(columns.code, columns.line, columns.text).order_by(
        columns.file_id, columns.line, columns.code
    )
    with read(store.data) as connection:
        return [(row[0], row[1], row[2]) for row in connection.execute(query)]


def conflicts(store: Store) -> list[dict[str, Any]]:
    with read(store.data) as connection:
        return [dict(row) for row in connection.execute(select(rain_conflicts)).mappings()]


def test_late_rows_of_a_past_year_are_stored_and_pointed_out(
    any_store: Store, deliver: Any, ingest: Any, a0: Any, stored_rows: Any
) -> None:
    deliver(any_store, {FILE: a0(0, 0, 0, 0, 0)})
    assert ingest(any_store).late == 0
    past = from_minute(datetime(2021, 7, 1, 12, tzinfo=UTC), 0, 1, 2)
    deliver(any_store, {"Hydropolis/Hydropol_010721_120000.txt": lines(*past, tips=2)})
    tally = ingest(any_store)
    assert (tally.late, tally.rows_by_year) == (3, {2021: 3})
    assert [row["tips"] for row in stored_rows(any_store)] == [2, 2, 2, 0, 0, 0, 0, 0]
    assert issues(any_store) == [("late_rows", 0, "")]


def test_years_that_come_in_one_batch_are_not_late(store: Store, deliver: Any, ingest: Any) -> None:
    years = [datetime(year, 7, 1, tzinfo=UTC) for year in (2021, 2020, 2022)]
    names = [f"Hydropolis/Hydropol_0107{year:%y}_000000.txt" for year in years]
    deliver(store, {name: lines(year) for name, year in zip(names, years, strict=True)})
    tally = ingest(store)
    assert (tally.late, tally.rows_by_year) == (0, {2020: 1, 2021: 1, 2022: 1})
    assert issues(store) == []


def test_replayed_rows_of_a_past_year_are_not_late(
    store: Store, deliver: Any, ingest: Any, a0: Any
) -> None:
    past = lines(datetime(2021, 7, 1, 12, tzinfo=UTC))
    deliver(store, {"Hydropolis/Hydropol_010721_120000.txt": past, FILE: a0(0)})
    ingest(store)
    deliver(store, {"Hydropolis/again/Hydropol_010721_120000.txt": past})
    tally = ingest(store)
    assert (tally.duplicates, tally.late) == (1, 0)


def test_a_file_across_the_turn_of_the_year_gives_each_row_to_its_year(
    any_store: Store, deliver: Any, ingest: Any, network: Network
) -> None:
    stamps = from_minute(NEW_YEAR, -2, -1, 0, 1, 2)
    deliver(any_store, {"Hydropolis/Hydropol_311222_235800.txt": lines(*stamps, tips=1)})
    tally = ingest(any_store)
    assert tally.rows_by_year == {2022: 2, 2023: 3}
    assert issues(any_store) == [("two_years", 0, "")]
    series = queries.tips(any_store, network.gauges, stamps[0], stamps[-1])["hydropolis"]
    assert len(series.t_us) == 4
    assert len(series.coverage.start_us) == 1  # no pause at midnight


def test_the_last_files_of_december_are_not_late_in_january(
    store: Store, deliver: Any, ingest: Any
) -> None:
    deliver(
        store,
        {
            "Hydropolis/Hydropol_311222_235500.txt": lines(*from_minute(NEW_YEAR, *range(-5, 0))),
            "Hydropolis/Hydropol_010123_000000.txt": lines(*from_minute(NEW_YEAR, *range(5))),
        },
    )
    tally = ingest(store, files_per_batch=1)
    assert (tally.rows_by_year, tally.late) == ({2022: 5, 2023: 5}, 0)


def test_two_resets_to_one_instant_are_two_issues_and_no_conflict(
    any_store: Store, deliver: Any, ingest: Any, a0: Any, stored_rows: Any
) -> None:
    first, second = (b"LOG, 1072915260, 0, 0, %s\n" % volts for volts in (b"13.404", b"14.105"))
    deliver(any_store, {FILE: a0(1) + first, SECOND: second})
    tally = ingest(any_store)
    assert (tally.rows_new, tally.set_aside, tally.conflicts) == (1, 2, 0)
    assert issues(any_store) == [
        ("clock_reset", 2, first.decode().strip()),
        ("clock_reset", 1, second.decode().strip()),
    ]
    assert len(stored_rows(any_store)) == 1


def test_where_2004_may_be_true_the_second_row_of_the_real_file_is_a_conflict(
    store: Store, deliver: Any, ingest: Any, real_data: Path, stored_rows: Any
) -> None:
    content = (real_data / "rain/hsm/Hydropolis_concatenated_2004.csv").read_text()
    rows = [row.split(",")[:5] for row in content.splitlines()[1:]]
    a0 = "".join(", ".join(row) + "\n" for row in rows).encode()
    deliver(store, {FILE: a0})
    assert ingest(store, first_plausible="2004-01-01T00:00:00Z").conflicts == 1
    (kept,) = stored_rows(store)
    (conflict,) = conflicts(store)
    assert (kept["t_us"], kept["battery_v"]) == (1_072_915_260_000_000, 13.404)
    assert (conflict["battery_v"], conflict["kept_battery_v"]) == (14.105, 13.404)
    assert conflict["policy"] == "keep first"


def test_jitter_keeps_its_stamps_and_misses_nothing(
    any_store: Store, deliver: Any, ingest: Any, network: Network, now: datetime
) -> None:
    start = datetime(2023, 3, 1, 0, 4, tzinfo=UTC)
    stamps = [start + timedelta(seconds=second) for second in (0, 59, 120, 181, 240)]
    deliver(any_store, {FILE: lines(*stamps, tips=1)})
    ingest(any_store)
    assert issues(any_store) == [("jitter", 0, "")]
    series = queries.tips(any_store, network.gauges, start - timedelta(minutes=1), stamps[-1])
    assert series["hydropolis"].t_us.tolist() == [to_us(stamp) for stamp in stamps]
    assert series["hydropolis"].coverage.missing_share(
        to_us(start - timedelta(minutes=1)), to_us(stamps[-1])
    ) == pytest.approx(0.0)


def test_rows_less_than_half_a_step_apart_both_count_and_are_pointed_out(
    store: Store, deliver: Any, ingest: Any, stored_rows: Any
) -> None:
    start = datetime(2023, 3, 1, 0, 4, tzinfo=UTC)
    content = lines(start, start + timedelta(seconds=10), tips=1)
    deliver(store, {FILE: content})
    ingest(store)
    assert sum(row["tips"] for row in stored_rows(store)) == 2
    assert issues(store) == [("overlapping_step", 2, content.decode().splitlines()[1])]


@pytest.mark.parametrize("split", [False, True], ids=["one file", "two files"])
def test_an_hourly_row_covers_one_step_and_is_pointed_out(
    store: Store, deliver: Any, ingest: Any, network: Network, split: bool
) -> None:
    start = datetime(2023, 3, 1, tzinfo=UTC)
    minutes, hour = lines(*from_minute(start, 0, 1, 2)), lines(start + timedelta(minutes=62))
    after = lines(*from_minute(start, 63, 64))
    files = {FILE: minutes, SECOND: hour + after} if split else {FILE: minutes + hour + after}
    deliver(store, files)
    ingest(store, files_per_batch=1)
    assert issues(store) == [("hourly_row", 1 if split else 4, hour.decode().strip())]
    covered = queries.coverage(
        store, network.gauge("hydropolis"), start, start + timedelta(minutes=64)
    )
    limits = to_us(start), to_us(start + timedelta(minutes=64))
    assert covered.missing_share(*limits) == pytest.approx(59 / 64)


def test_an_hour_after_midnight_is_seen_although_the_row_before_is_of_another_day(
    store: Store, deliver: Any, ingest: Any
) -> None:
    evening = datetime(2023, 2, 28, 23, 30, tzinfo=UTC)
    deliver(store, {FILE: lines(evening), SECOND: lines(evening + timedelta(hours=1))})
    ingest(store, files_per_batch=1)
    assert [code for code, *_ in issues(store)] == ["hourly_row"]


def test_an_ordinary_gap_is_not_pointed_out(store: Store, deliver: Any, ingest: Any) -> None:
    start = datetime(2023, 3, 1, tzinfo=UTC)
    deliver(store, {FILE: lines(*from_minute(start, 0, 1, 20, 21, 400))})
    ingest(store)
    assert issues(store) == []


def test_pointing_out_twice_is_pointing_out_once(
    store: Store, deliver: Any, ingest: Any, a0: Any
) -> None:
    content = lines(*from_minute(NEW_YEAR, -2, -1 - 1 / 60, 0, 60), tips=1)
    deliver(store, {FILE: content})
    ingest(store)
    before = issues(store)
    deliver(store, {SECOND: content})
    ingest(store)
    assert {code for code, *_ in before} == {"jitter", "two_years", "hourly_row"}
    assert issues(store) == before


def test_the_year_of_a_stamp_turns_at_midnight_utc() -> None:
    stamps = np.array([to_us(NEW_YEAR) - 1, to_us(NEW_YEAR), -1, 0])
    assert years_of(stamps).tolist() == [2022, 2023, 1969, 1970]
