"""Upkeep seals, merges and removes, and what a reader finds stays the same throughout."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from workspace_lib.clock import to_us
from workspace_lib.store import samples
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.sample_rows import read_hot
from workspace_lib.store.samples import Row, SampleColumn, Stream
from workspace_lib.store.upkeep import HOT_FOR, keep_up

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def stream_of(store: Store) -> Stream:
    with write(store.data) as connection:
        return samples.register_stream(connection, "bench.1", [SampleColumn("n", None, "int")])


def put(store: Store, stream: Stream, at: datetime, number: int) -> None:
    samples.append(store.data, stream, [Row(to_us(at), (number,))])


def found(store: Store) -> list[int]:
    return list(samples.query(store, "bench.1")["n"].to_pylist())


def test_rows_that_are_no_longer_hot_are_sealed_and_young_ones_stay(any_store: Store) -> None:
    stream = stream_of(any_store)
    put(any_store, stream, START - HOT_FOR - timedelta(seconds=1), 1)
    put(any_store, stream, START - timedelta(seconds=1), 2)
    assert keep_up(any_store, START).sealed == 1
    with read(any_store.data) as connection:
        assert list(read_hot(connection, stream).values["n"]) == [2]
    assert found(any_store) == [1, 2]


def test_the_next_day_small_segments_become_one_and_the_old_ones_go_after_an_hour(
    store: Store,
) -> None:
    stream = stream_of(store)
    for number in range(3):
        at = START + number * timedelta(minutes=20)
        put(store, stream, at, number)
        keep_up(store, at + HOT_FOR + timedelta(minutes=1))
    tomorrow = START + timedelta(days=1)
    report = keep_up(store, tomorrow)
    assert (report.merged, report.removed) == (1, 0)
    # Files are also spared while they are young by the clock of the disk.
    for path in (store.outputs / "data").glob("*/*/*"):
        os.utime(path, (0, 0))
    assert keep_up(store, tomorrow + timedelta(hours=2)).removed == 3
    assert found(store) == [0, 1, 2]


def test_with_nothing_to_do_nothing_is_done(store: Store) -> None:
    report = keep_up(store, START)
    assert (report.streams, report.sealed, report.merged, report.removed) == (0, 0, 0, 0)
