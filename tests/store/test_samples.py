"""Samples: rows come back once, in order, from both tiers, with units; gaps stay gaps."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from workspace_lib.clock import to_us
from workspace_lib.errors import ParameterError, StoreError
from workspace_lib.store import samples
from workspace_lib.store.cursors import get_cursor, set_cursor
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.samples import Row, SampleColumn, Stream

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
T0 = to_us(START)
SECOND = 1_000_000
COLUMNS = (SampleColumn("voltage", "V"), SampleColumn("cycle", None, "int"))


def make(store: Store, name: str = "bench.1", **options: object) -> Stream:
    with write(store.data) as connection:
        return samples.register_stream(connection, name, COLUMNS, **options)  # type: ignore[arg-type]


def fill(store: Store, stream: Stream, seconds: range) -> None:
    rows = [Row(T0 + n * SECOND, (3.0 + n, n)) for n in seconds]
    samples.append(store.data, stream, rows)


def got(table: pa.Table) -> list[tuple[int, float | None, int | None]]:
    """Rows as (second, voltage, cycle)."""
    seconds = [(to_us(t) - T0) // SECOND for t in table["t"].to_pylist()]
    return list(zip(seconds, table["voltage"].to_pylist(), table["cycle"].to_pylist(), strict=True))


def expected(seconds: range) -> list[tuple[int, float, int]]:
    return [(n, 3.0 + n, n) for n in seconds]


def test_rows_come_back_with_times_units_and_types(any_store: Store) -> None:
    stream = make(any_store)
    samples.append(
        any_store.data,
        stream,
        [Row(START, (3.25, 7)), Row(T0 + SECOND, (None, 2**62)), Row(T0 + 2, (math.nan, None))],
    )
    table = samples.query(any_store, "bench.1")
    assert table.schema.field("t").type == pa.timestamp("us", tz="UTC")
    assert table.schema.field("voltage").metadata == {b"unit": b"V"}
    assert table["t"].to_pylist() == [
        START,
        START + timedelta(microseconds=2),
        START + timedelta(seconds=1),
    ]
    assert table["voltage"].to_pylist() == [3.25, None, None]
    assert table["cycle"].to_pylist() == [7, None, 2**62]


def test_sealed_rows_come_back_equal(any_store: Store) -> None:
    stream = make(any_store)
    samples.append(any_store.data, stream, [Row(START, (3.25, 7)), Row(T0 + SECOND, (None, 2**62))])
    hot = samples.query(any_store, "bench.1")
    samples.seal(any_store, "bench.1", START + timedelta(hours=1))
    assert samples.query(any_store, "bench.1").equals(hot)


def test_a_range_takes_its_start_and_leaves_its_end(any_store: Store) -> None:
    stream = make(any_store)
    fill(any_store, stream, range(10))
    samples.seal(any_store, "bench.1", START + timedelta(seconds=5))
    table = samples.query(
        any_store, "bench.1", START + timedelta(seconds=3), T0 + 7 * SECOND, ["cycle"]
    )
    assert table.column_names == ["t", "cycle"]
    assert table["cycle"].to_pylist() == [3, 4, 5, 6]


def test_rows_sent_again_are_counted_and_the_first_one_stays(any_store: Store) -> None:
    stream = make(any_store)
    fill(any_store, stream, range(3))
    again = [Row(T0 + n * SECOND, (99.0, 99)) for n in range(2, 5)]
    assert samples.append(any_store.data, stream, again) == (2, 1)
    assert got(samples.query(any_store, "bench.1"))[2] == (2, 5.0, 2)


def test_rows_sent_again_after_sealing_show_once_and_leave_no_trace(any_store: Store) -> None:
    stream = make(any_store)
    fill(any_store, stream, range(5))
    samples.seal(any_store, "bench.1", START + timedelta(hours=1))
    samples.append(any_store.data, stream, [Row(T0 + n * SECOND, (99.0, 99)) for n in range(5)])
    assert got(samples.query(any_store, "bench.1")) == expected(range(5))
    assert samples.seal(any_store, "bench.1", START + timedelta(hours=1)) == []
    assert got(samples.query(any_store, "bench.1")) == expected(range(5))


def test_late_rows_take_their_place_in_time(any_store: Store) -> None:
    stream = make(any_store)
    fill(any_store, stream, range(0, 5))
    fill(any_store, stream, range(8, 12))
    samples.seal(any_store, "bench.1", START + timedelta(hours=1))
    fill(any_store, stream, range(5, 8))
    assert got(samples.query(any_store, "bench.1")) == expected(range(12))
    samples.seal(any_store, "bench.1", START + timedelta(hours=1))
    assert got(samples.query(any_store, "bench.1")) == expected(range(12))


def test_numbered_rows_may_share_a_time(any_store: Store) -> None:
    stream = make(any_store, key="seq")
    rows = [Row(T0, (1.0, 1), 11), Row(T0, (2.0, 2), 12), Row(T0 + SECOND, (3.0, 3), 13)]
    assert samples.append(any_store.data, stream, [*rows, rows[0]]) == (3, 1)
    for _ in ("hot", "sealed"):
        table = samples.query(any_store, "bench.1")
        assert table["seq"].to_pylist() == [11, 12, 13]
        assert table["cycle"].to_pylist() == [1, 2, 3]
        samples.seal(any_store, "bench.1", START + timedelta(hours=1))


def test_a_number_sent_again_with_another_time_shows_once(any_store: Store) -> None:
    stream = make(any_store, key="seq")
    samples.append(any_store.data, stream, [Row(T0 + n * SECOND, (1.0, n), n) for n in range(3)])
    samples.seal(any_store, "bench.1", START + timedelta(hours=1))
    samples.append(any_store.data, stream, [Row(T0 + 9 * SECOND, (1.0, 99), 1)])
    late = samples.query(any_store, "bench.1", T0 + 5 * SECOND)
    assert late["cycle"].to_pylist() == []
    assert samples.query(any_store, "bench.1")["cycle"].to_pylist() == [0, 1, 2]


def test_arrays_are_appended_like_rows(any_store: Store) -> None:
    stream = make(any_store)
    t = T0 + np.arange(5) * SECOND
    done = samples.append_arrays(
        any_store.data, stream, t, {"voltage": 3.0 + np.arange(5), "cycle": np.arange(5)}
    )
    assert done == (5, 0)
    assert got(samples.query(any_store, "bench.1")) == expected(range(5))
    samples.append_arrays(any_store.data, stream, t + 60 * SECOND, {"cycle": np.arange(5)})
    assert got(samples.query(any_store, "bench.1"))[5] == (60, None, 0)


def test_rows_and_cursor_move_together_or_not_at_all(any_store: Store) -> None:
    stream = make(any_store)
    with any_store.data.connect() as connection:
        samples.insert_rows(connection, stream, [Row(T0, (1.0, 1))])
        set_cursor(connection, "bench.1", 1)
        connection.rollback()
    assert len(samples.query(any_store, "bench.1")) == 0
    with write(any_store.data) as connection:
        samples.insert_rows(connection, stream, [Row(T0, (1.0, 1))])
        set_cursor(connection, "bench.1", 1)
    assert len(samples.query(any_store, "bench.1")) == 1
    with read(any_store.data) as connection:
        assert get_cursor(connection, "bench.1") == 1


def test_a_column_added_later_is_missing_before(any_store: Store) -> None:
    stream = make(any_store)
    fill(any_store, stream, range(2))
    samples.seal(any_store, "bench.1", START + timedelta(seconds=1))
    with write(any_store.data) as connection:
        wider = samples.register_stream(
            connection, "bench.1", (*COLUMNS, SampleColumn("step", None, "int"))
        )
    samples.append(any_store.data, wider, [Row(T0 + 2 * SECOND, (5.0, 2, 4))])
    table = samples.query(any_store, "bench.1")
    assert table["step"].to_pylist() == [None, None, 4]
    assert got(table) == expected(range(3))


def test_registering_again_gives_the_same_stream(any_store: Store) -> None:
    assert make(any_store) == make(any_store)
    assert make(any_store, step_s=1.0).step_s == 1.0


@pytest.mark.parametrize(
    "columns",
    [
        (SampleColumn("voltage", "mV"),),
        (SampleColumn("cycle", None, "int"), SampleColumn("voltage", "V")),
        (SampleColumn("voltage", "V", "int"),),
    ],
)
def test_a_stream_cannot_change_its_meaning(
    store: Store, columns: tuple[SampleColumn, ...]
) -> None:
    make(store)
    with pytest.raises(StoreError, match="other columns"), write(store.data) as connection:
        samples.register_stream(connection, "bench.1", columns)


@pytest.mark.parametrize("name", ["", "../up", "a b", ".hidden"])
def test_bad_stream_names_are_refused(store: Store, name: str) -> None:
    with (
        pytest.raises(ParameterError, match="cannot name a stream"),
        write(store.data) as connection,
    ):
        samples.register_stream(connection, name, COLUMNS)


@pytest.mark.parametrize("name", ["t", "seq", "1st", "a-b", ""])
def test_bad_column_names_are_refused(store: Store, name: str) -> None:
    with (
        pytest.raises(ParameterError, match="cannot name a column"),
        write(store.data) as connection,
    ):
        samples.register_stream(connection, "bench.1", [SampleColumn(name)])


@pytest.mark.parametrize(
    "row",
    [Row(T0, (1.0,)), Row(T0, (1.0, 2, 3)), Row(T0, ("x", 1)), Row(T0, (1.0, 1.5))],  # type: ignore[arg-type]
)
def test_a_row_that_does_not_fit_stops_all(store: Store, row: Row) -> None:
    stream = make(store)
    with pytest.raises(ParameterError, match=r"does not fit the stream bench\.1"):
        samples.append(store.data, stream, [Row(T0, (1.0, 1)), row])
    assert len(samples.query(store, "bench.1")) == 0


def test_a_numbered_stream_needs_numbers(store: Store) -> None:
    stream = make(store, key="seq")
    with pytest.raises(ParameterError, match="number is missing"):
        samples.append(store.data, stream, [Row(T0, (1.0, 1))])


def test_an_unknown_stream_or_column_is_named(store: Store) -> None:
    with pytest.raises(StoreError, match=r"no stream 'bench\.9'"):
        samples.query(store, "bench.9")
    make(store)
    with pytest.raises(ParameterError, match="voltage, cycle"):
        samples.query(store, "bench.1", columns=["current"])


def test_an_empty_stream_gives_an_empty_table(store: Store) -> None:
    make(store)
    table = samples.query(store, "bench.1", max_points=100)
    assert table.column_names == ["t", "voltage", "cycle"]
    assert len(table) == 0


def test_coverage_shows_gaps_across_both_tiers(any_store: Store) -> None:
    stream = make(any_store, step_s=1.0)
    fill(any_store, stream, range(0, 10))
    fill(any_store, stream, range(20, 30))
    samples.seal(any_store, "bench.1", START + timedelta(seconds=25))
    at = [START + timedelta(seconds=n) for n in range(40)]
    assert samples.coverage(any_store, "bench.1") == [(at[0], at[10]), (at[20], at[30])]
    assert samples.coverage(any_store, "bench.1", at[5], at[22]) == [
        (at[5], at[10]),
        (at[20], at[22]),
    ]
    assert samples.coverage(any_store, "bench.1", at[11], at[19]) == []
    assert samples.coverage(any_store, "bench.1", step_s=15) == [
        (at[0], at[29] + timedelta(seconds=15))
    ]


def test_coverage_needs_a_step(store: Store) -> None:
    make(store)
    with pytest.raises(ParameterError, match="step_s"):
        samples.coverage(store, "bench.1")


def test_a_long_series_is_thinned_and_keeps_its_extremes(any_store: Store) -> None:
    stream = make(any_store)
    n = 5000
    rng = np.random.default_rng(7)
    voltage = rng.normal(size=n)
    voltage[[1234, 4321]] = [50.0, -50.0]
    voltage[100:200] = np.nan
    t = T0 + np.arange(n) * SECOND
    samples.append_arrays(any_store.data, stream, t, {"voltage": voltage, "cycle": np.arange(n)})
    full = got(samples.query(any_store, "bench.1"))
    for part in (0, 0.3, 1):
        samples.seal(any_store, "bench.1", START + timedelta(seconds=part * n))
        thin = got(samples.query(any_store, "bench.1", max_points=400))
        assert 100 <= len(thin) <= 400
        assert set(thin) <= set(full)
        assert thin == sorted(thin)
        values = [value for _, value, _ in thin if value is not None]
        assert (min(values), max(values)) == (-50.0, 50.0)
        assert (thin[0][0], thin[-1][0]) == (0, n - 1)


def test_a_short_series_is_not_thinned(store: Store) -> None:
    stream = make(store)
    fill(store, stream, range(50))
    samples.seal(store, "bench.1", START + timedelta(seconds=20))
    assert got(samples.query(store, "bench.1", max_points=50)) == expected(range(50))


def test_too_few_points_for_the_columns_are_refused(store: Store) -> None:
    make(store)
    with pytest.raises(ParameterError, match="6 points at least"):
        samples.query(store, "bench.1", max_points=5)
