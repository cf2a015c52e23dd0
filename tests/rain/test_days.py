"""Days in the store: what is merged comes back, nothing is overwritten, no writer is in the way."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event, select, update

from workspace_lib.clock import to_us
from workspace_lib.errors import StoreError
from workspace_lib.rain import days
from workspace_lib.rain.analysis import US, coverage_of
from workspace_lib.rain.blocks import DAY_US, NO_WIND, Rows, unpack_rows
from workspace_lib.rain.days import Merged, merge_rows, new_rows
from workspace_lib.rain.settings import Gauge
from workspace_lib.rain.tables import rain_conflicts, rain_days
from workspace_lib.store.engines import Store, read, write

START = to_us(datetime(2023, 3, 1, tzinfo=UTC))
MIN = 60 * US
GAUGE = Gauge(id="polytech", name="Polytech", folder="Polytech")
ALWAYS = (0, 2**62)

Merge = Callable[..., Merged]


@pytest.fixture
def merge(now: datetime) -> Merge:
    """Merge rows at these minutes after the start into the days of a gauge."""

    def run(store: Store, minutes: Any, tips: Any = 0, **columns: Any) -> Merged:
        gauge = columns.pop("gauge", GAUGE)
        stamps = START + np.round(np.asarray(minutes, dtype=float) * MIN).astype(np.int64)
        rows = new_rows(stamps, tips, **{"file_id": 1, "battery_v": 12.5, **columns})
        with write(store.data) as connection:
            return merge_rows(connection, gauge, rows, now)

    return run


def stored(store: Store, gauge: str = GAUGE.id, span: tuple[int, int] = ALWAYS) -> Rows:
    with read(store.data) as connection:
        return days.read_rows(connection, gauge, *span)


def table(store: Store, of: Any) -> list[dict[str, Any]]:
    with read(store.data) as connection:
        query = select(of).order_by(*of.primary_key.columns)
        return [dict(row) for row in connection.execute(query).mappings()]


def test_rows_in_any_order_come_back_by_stamp(any_store: Store, merge: Merge) -> None:
    merge(any_store, [3000, 1, 0, 1439, 1440], [1, 2, 3, 4, 5], wind=[1, 2, 3, 4, NO_WIND])
    rows = stored(any_store)
    assert ((rows["t_us"] - START) // MIN).tolist() == [0, 1, 1439, 1440, 3000]
    assert rows["tips"].tolist() == [3, 2, 4, 5, 1]
    assert rows["wind"].tolist() == [3, 2, 4, NO_WIND, 1]
    assert [row["row_count"] for row in table(any_store, rain_days)] == [3, 1, 1]
    assert [row["tip_sum"] for row in table(any_store, rain_days)] == [9, 5, 1]


def test_a_stretch_is_open_at_its_start_and_closed_at_its_end(store: Store, merge: Merge) -> None:
    merge(store, range(0, 2881, 10), 1)
    for begin, end in ((0, 1440), (1430, 1440), (1440, 1450), (5, 9), (2880, 9999)):
        expected = [m for m in range(0, 2881, 10) if begin < m <= end]
        limits = START + begin * MIN, START + end * MIN
        found = stored(store, span=limits)["t_us"]
        assert ((found - START) // MIN).tolist() == expected
        with read(store.data) as connection:
            t_us, tips = days.read_wet(connection, GAUGE.id, *limits)
        assert ((t_us - START) // MIN).tolist() == expected
        assert tips.tolist() == [1] * len(expected)


def test_only_days_with_new_rows_get_a_new_revision(any_store: Store, merge: Merge) -> None:
    merge(any_store, [0, 1440])
    merged = merge(any_store, [0, 1441, 2880])
    assert (len(merged.rows), merged.duplicates, merged.last_day) == (2, 1, START // DAY_US + 1)
    first = START // DAY_US
    revisions = {row["day"]: row["revision"] for row in table(any_store, rain_days)}
    assert revisions == {first: 1, first + 1: 2, first + 2: 1}


def test_the_first_row_of_a_stamp_stays_and_another_is_a_conflict(
    any_store: Store, merge: Merge
) -> None:
    merge(any_store, [5], [3], wind=7)
    again = merge(
        any_store,
        [5, 5, 5, 6, 6],
        [3, 4, 3, 1, 1],
        wind=[7, 7, NO_WIND, 0, 0],
        line=range(1, 6),
        file_id=2,
    )
    assert (len(again.rows), again.duplicates, again.conflicts) == (1, 2, 2)
    assert stored(any_store)["tips"].tolist() == [3, 1]
    found = table(any_store, rain_conflicts)
    assert [(row["line"], row["tips"], row["wind"]) for row in found] == [(2, 4, 7), (3, 3, None)]
    assert {(row["kept_tips"], row["kept_wind"], row["kept_file_id"]) for row in found} == {
        (3, 7, 1)
    }


def test_rows_that_differ_only_in_their_battery_are_a_conflict(store: Store, merge: Merge) -> None:
    merged = merge(store, [5, 5, 5], battery_v=[13.404, 14.105, np.nan], line=[1, 2, 3])
    assert (len(merged.rows), merged.duplicates, merged.conflicts) == (1, 0, 2)
    found = table(store, rain_conflicts)
    assert [row["battery_v"] for row in found] == [14.105, None]
    assert [row["kept_battery_v"] for row in found] == [13.404, 13.404]


def test_two_rows_of_unknown_battery_are_equal(store: Store, merge: Merge) -> None:
    merge(store, [5], battery_v=np.nan)
    assert merge(store, [5], battery_v=np.nan).duplicates == 1


def test_merging_again_changes_nothing(any_store: Store, merge: Merge) -> None:
    rng = np.random.default_rng(5)
    minutes = rng.permutation(np.repeat(np.arange(1400, 1500), 2))
    options = {"tips": rng.integers(0, 2, 200), "line": np.arange(200), "wind": 0}
    first = merge(any_store, minutes, **options)
    before = table(any_store, rain_days), table(any_store, rain_conflicts)
    second = merge(any_store, minutes, **options)
    assert (len(first.rows), len(second.rows)) == (100, 0)
    assert second.duplicates + second.conflicts == 200
    assert (table(any_store, rain_days), table(any_store, rain_conflicts)) == before


def test_rows_in_many_small_parts_are_those_of_one(store: Store, merge: Merge) -> None:
    rng = np.random.default_rng(6)
    minutes = rng.permutation(5000)[:3000]
    tips = rng.poisson(0.1, 3000)
    other = GAUGE.model_copy(update={"id": "other"})
    merge(store, minutes, tips, gauge=other)
    for part in np.array_split(np.arange(3000), 37):
        merge(store, minutes[part], tips[part])
    assert stored(store).tobytes() == stored(store, "other").tobytes()
    with read(store.data) as connection:
        for found, expected in zip(
            days.read_wet(connection, GAUGE.id, *ALWAYS),
            days.read_wet(connection, "other", *ALWAYS),
            strict=True,
        ):
            assert found.tolist() == expected.tolist()
        ours = days.read_coverage(connection, GAUGE, *ALWAYS)
        theirs = days.read_coverage(connection, other, *ALWAYS)
    assert ours.start_us.tolist() == theirs.start_us.tolist()
    assert ours.end_us.tolist() == theirs.end_us.tolist()


def test_coverage_follows_a_step_that_was_changed(store: Store, merge: Merge) -> None:
    merge(store, range(0, 3000, 5))
    slower = GAUGE.model_copy(update={"step_s": 300})
    span = START - 10 * MIN, START + 4000 * MIN
    with read(store.data) as connection:
        before = days.read_coverage(connection, GAUGE, *span)
        after = days.read_coverage(connection, slower, *span)
    expected = coverage_of(stored(store)["t_us"], 300)
    assert len(before.start_us) == 600
    assert after.start_us.tolist() == expected.start_us.tolist()
    assert after.end_us.tolist() == expected.end_us.tolist()


def test_the_pause_before_a_row_reaches_into_the_day_before(store: Store, merge: Merge) -> None:
    first = merge(store, [1439, 2881])
    assert (first.pause_us // MIN).tolist() == [0, 0]
    second = merge(store, [1441, 1500, 2882])
    assert (second.pause_us // MIN).tolist() == [2, 59, 1]


def test_the_newest_row_and_the_span_unpack_at_most_a_day(
    store: Store, merge: Merge, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge(store, np.arange(0, 14_400, 30))
    unpacked: list[str] = []

    def noting(content: bytes, where: str = "") -> Rows:
        unpacked.append(where)
        return unpack_rows(content, where)

    monkeypatch.setattr(days, "unpack_rows", noting)
    with read(store.data) as connection:
        row = days.last_row(connection, GAUGE.id)
        span = days.span(connection, GAUGE.id)
        assert days.last_row(connection, "nobody") is None
        assert days.span(connection, "nobody") is None
    assert row is not None
    assert row["t_us"] == START + 14_370 * MIN
    assert span == (START, START + 14_370 * MIN)
    assert unpacked == ["rain_days: polytech, 2023-03-10"]


def test_sums_do_not_read_the_compressed_rows(store: Store, merge: Merge) -> None:
    merge(store, np.arange(3000), 1)
    asked: list[str] = []

    @event.listens_for(store.data, "before_cursor_execute")
    def _note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        asked.append(statement)

    with read(store.data) as connection:
        days.read_wet(connection, GAUGE.id, *ALWAYS)
        days.read_coverage(connection, GAUGE, *ALWAYS)
    assert [statement for statement in asked if "rain_days.rows" in statement] == []
    assert any("rain_days.wet" in statement for statement in asked)


def test_two_writers_at_once_lose_nothing(any_store: Store, merge: Merge) -> None:
    """Both fill the same minutes of the same days, in other orders and small pieces."""
    rng = np.random.default_rng(8)

    def work(minutes: Any, file_id: int) -> int:
        parts = np.array_split(rng.permutation(minutes), 25)
        return sum(len(merge(any_store, part, 1, file_id=file_id).rows) for part in parts)

    with ThreadPoolExecutor(2) as pool:
        shares = [np.arange(0, 2000), np.arange(1000, 3000)]
        new = list(pool.map(work, shares, (1, 2)))
    assert sum(new) == 3000
    assert ((stored(any_store)["t_us"] - START) // MIN).tolist() == list(range(3000))


def test_a_day_that_is_damaged_is_named(store: Store, merge: Merge) -> None:
    merge(store, [0, 1440])
    with write(store.data) as connection:
        damaged = update(rain_days).where(rain_days.c.day == START // DAY_US + 1)
        connection.execute(damaged.values(rows=b"\1\1rubbish"))
    with pytest.raises(StoreError, match="cannot be unpacked") as raised:
        stored(store)
    assert "polytech, 2023-03-02" in str(raised.value)


def test_no_rows_are_no_change(store: Store, merge: Merge) -> None:
    merged = merge(store, [])
    assert (len(merged.rows), merged.duplicates, merged.conflicts) == (0, 0, 0)
    assert table(store, rain_days) == []
