"""Sealing, compacting and cleaning: at every instant each row is there exactly once."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from workspace_lib.clock import from_us, to_us
from workspace_lib.errors import StoreError
from workspace_lib.store import samples, segments
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.sample_rows import read_hot
from workspace_lib.store.samples import Row, SampleColumn, Stream
from workspace_lib.store.segment_files import Segment, live_segments

START = datetime(2026, 3, 1, 22, 0, tzinfo=UTC)
T0 = to_us(START)
HOUR = 3_600_000_000
FAR = START + timedelta(days=30)


def make(store: Store, name: str = "bench.1", **options: object) -> Stream:
    with write(store.data) as connection:
        return samples.register_stream(
            connection,
            name,
            [SampleColumn("voltage", "V"), SampleColumn("n", None, "int")],
            **options,  # type: ignore[arg-type]
        )


def fill(store: Store, stream: Stream, hours: range) -> None:
    samples.append(store.data, stream, [Row(T0 + n * HOUR, (n / 2, n)) for n in hours])


def numbers(store: Store, name: str = "bench.1") -> list[int]:
    return list(samples.query(store, name)["n"].to_pylist())


def live(store: Store, stream: Stream) -> list[Segment]:
    with read(store.data) as connection:
        return live_segments(connection, stream)


def hot(store: Store, stream: Stream) -> list[int]:
    with read(store.data) as connection:
        return list(read_hot(connection, stream).values["n"])


def on_disk(store: Store) -> set[str]:
    return {
        path.relative_to(store.outputs).as_posix()
        for path in (store.outputs / "data").rglob("*")
        if path.is_file()
    }


def age(store: Store, seconds: float) -> None:
    at = time.time() - seconds
    for path in on_disk(store):
        os.utime(store.outputs / path, (at, at))


def test_old_rows_move_to_one_segment_per_day(any_store: Store) -> None:
    stream = make(any_store)
    fill(any_store, stream, range(6))
    made = samples.seal(any_store, "bench.1", START + timedelta(hours=4))
    assert [(part.rows, part.t_from, part.t_to) for part in made] == [
        (2, T0, T0 + HOUR),
        (2, T0 + 2 * HOUR, T0 + 3 * HOUR),
    ]
    assert hot(any_store, stream) == [4, 5]
    assert live(any_store, stream) == made
    assert numbers(any_store) == list(range(6))


def test_a_segment_is_a_parquet_file_that_names_its_stream_and_units(store: Store) -> None:
    stream = make(store)
    fill(store, stream, range(1))
    [part] = samples.seal(store, "bench.1", FAR)
    table = pq.read_table(store.outputs / part.path)
    assert table.column_names == ["t", "voltage", "n"]
    assert table.schema.metadata[b"stream"] == b"bench.1"
    assert json.loads(table.schema.metadata[b"units"]) == {"voltage": "V", "n": None}
    assert part.path.startswith("data/bench.1-")


def test_sealing_nothing_or_twice_makes_no_segment(any_store: Store) -> None:
    stream = make(any_store)
    assert samples.seal(any_store, "bench.1", FAR) == []
    fill(any_store, stream, range(3))
    samples.seal(any_store, "bench.1", FAR)
    assert samples.seal(any_store, "bench.1", FAR) == []


def test_all_streams_are_sealed_at_once(store: Store) -> None:
    for name in ("bench.1", "bench.2", "sensor.1"):
        fill(store, make(store, name), range(2))
    assert samples.seal_all(store, FAR, prefix="bench.") == 2
    assert samples.seal_all(store, FAR) == 1


def test_many_rows_are_sealed_in_several_passes(
    any_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "_ROWS_PER_PASS", 4)
    stream = make(any_store)
    fill(any_store, stream, range(10))
    samples.seal(any_store, "bench.1", FAR)
    assert hot(any_store, stream) == []
    assert numbers(any_store) == list(range(10))


def test_rows_that_arrive_while_sealing_are_not_deleted(
    any_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = make(any_store)
    fill(any_store, stream, range(0, 10, 2))

    def arrive(step: str) -> None:
        if step == "written":
            monkeypatch.setattr(segments, "after_step", lambda step: None)
            fill(any_store, stream, range(10))

    monkeypatch.setattr(segments, "after_step", arrive)
    samples.seal(any_store, "bench.1", FAR)
    assert numbers(any_store) == list(range(10))
    assert sum(part.rows for part in live(any_store, stream)) == 10


def test_two_sealings_at_once_lose_and_double_nothing(any_store: Store) -> None:
    stream = make(any_store)
    fill(any_store, stream, range(40))
    start = threading.Barrier(3)
    errors: list[Exception] = []

    def work() -> None:
        start.wait()
        try:
            samples.seal(any_store, "bench.1", FAR)
        except StoreError as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sum(part.rows for part in live(any_store, stream)) == 40
    assert numbers(any_store) == list(range(40))
    assert on_disk(any_store) == {part.path for part in live(any_store, stream)}


def test_readers_see_every_row_once_while_it_is_sealed(any_store: Store) -> None:
    stream = make(any_store)
    fill(any_store, stream, range(200))
    done = threading.Event()
    wrong: list[list[int]] = []

    def look() -> None:
        while not done.is_set():
            seen = numbers(any_store)
            if seen != list(range(200)):
                wrong.append(seen)

    reader = threading.Thread(target=look)
    reader.start()
    for hours in range(20, 220, 20):
        samples.seal(any_store, "bench.1", START + timedelta(hours=hours))
    samples.compact(any_store, "bench.1", before=date(2026, 4, 1))
    done.set()
    reader.join()
    assert wrong == []


def test_a_history_is_imported_without_passing_the_hot_rows(any_store: Store) -> None:
    stream = make(any_store)
    hours = np.arange(40)
    t = T0 + hours * HOUR
    done = samples.import_arrays(any_store, "bench.1", t, {"voltage": hours / 2, "n": hours})
    assert done == (40, 0)
    assert hot(any_store, stream) == []
    assert numbers(any_store) == list(range(40))
    again = samples.import_arrays(any_store, "bench.1", t, {"voltage": hours, "n": -hours})
    assert again == (0, 40)
    assert numbers(any_store) == list(range(40))


def test_an_import_leaves_hot_sealed_and_repeated_rows(any_store: Store) -> None:
    stream = make(any_store)
    fill(any_store, stream, range(0, 30, 3))
    samples.seal(any_store, "bench.1", START + timedelta(hours=15))
    hours = np.concatenate([np.arange(30), np.arange(30)])
    n = np.concatenate([np.arange(30), np.full(30, -1)])
    done = samples.import_arrays(any_store, "bench.1", T0 + hours * HOUR, {"n": n})
    assert done == (20, 40)
    assert numbers(any_store) == list(range(30))
    samples.seal(any_store, "bench.1", FAR)
    assert numbers(any_store) == list(range(30))
    assert sum(part.rows for part in live(any_store, stream)) == 30


def test_an_import_beside_a_row_that_was_sent_again_after_sealing(any_store: Store) -> None:
    stream = make(any_store)
    fill(any_store, stream, range(1))
    samples.seal(any_store, "bench.1", FAR)
    fill(any_store, stream, range(1))
    hours = np.arange(4)
    assert samples.import_arrays(any_store, "bench.1", T0 + hours * HOUR, {"n": hours}) == (3, 1)
    assert numbers(any_store) == [0, 1, 2, 3]


def test_compaction_leaves_one_segment_per_closed_day(any_store: Store) -> None:
    stream = make(any_store)
    for hour in range(0, 30, 3):
        fill(any_store, stream, range(hour, hour + 3))
        samples.seal(any_store, "bench.1", FAR)
    before = numbers(any_store)
    samples.compact(any_store, "bench.1", before=date(2026, 3, 3))
    days = [from_us(part.t_from).date().isoformat() for part in live(any_store, stream)]
    assert days[:2] == ["2026-03-01", "2026-03-02"]
    assert days.count("2026-03-02") == 1
    assert days.count("2026-03-03") > 1
    assert numbers(any_store) == before
    assert samples.compact(any_store, "bench.1", before=date(2026, 3, 3)) == []


def test_replaced_segments_live_for_an_hour(any_store: Store) -> None:
    stream = make(any_store)
    fill(any_store, stream, range(2, 4))
    samples.seal(any_store, "bench.1", FAR)
    fill(any_store, stream, range(4, 6))
    samples.seal(any_store, "bench.1", FAR)
    old = on_disk(any_store)
    now = datetime.now(UTC)
    [new] = samples.compact(any_store, "bench.1", before=date(2026, 3, 3), now=now)
    age(any_store, 7200)
    assert samples.clean(any_store, now=now + timedelta(minutes=59)) == []
    assert on_disk(any_store) == old | {new.path}
    assert samples.clean(any_store, now=now + timedelta(minutes=61)) == sorted(old)
    assert on_disk(any_store) == {new.path}
    assert numbers(any_store) == [2, 3, 4, 5]


def test_files_that_nobody_names_are_cleaned_when_old(store: Store) -> None:
    stream = make(store)
    fill(store, stream, range(2))
    samples.seal(store, "bench.1", FAR)
    known = on_disk(store)
    folder = (store.outputs / next(iter(known))).parent
    (folder / "1-lost.parquet").write_bytes(b"x")
    (folder / ".2.parquet.abc.part").write_bytes(b"x")
    assert samples.clean(store) == []
    age(store, 7200)
    assert len(samples.clean(store)) == 2
    assert on_disk(store) == known


def test_a_segment_no_row_names_is_not_read(store: Store) -> None:
    stream = make(store)
    fill(store, stream, range(2))
    [part] = samples.seal(store, "bench.1", FAR)
    path = store.outputs / part.path
    (path.parent / "0-copy.parquet").write_bytes(path.read_bytes())
    assert numbers(store) == [0, 1]


@pytest.mark.parametrize("damage", ["gone", "cut", "flipped"])
def test_a_damaged_segment_is_named(store: Store, damage: str) -> None:
    stream = make(store)
    fill(store, stream, range(2, 20))
    [part] = samples.seal(store, "bench.1", FAR)
    path = store.outputs / part.path
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[:100])
    else:
        voltage = pq.read_metadata(path).row_group(0).column(1)
        # The last byte of the column's data.
        content[voltage.data_page_offset + voltage.total_compressed_size - 1] ^= 0xFF
        path.write_bytes(content)
    with pytest.raises(StoreError, match=r"segment of the stream bench\.1"):
        samples.query(store, "bench.1")


@pytest.mark.parametrize("step", ["written", "deleted", "committed"])
def test_a_kill_while_sealing_loses_and_doubles_nothing(
    any_store: Store, killed_at: Callable[..., bool], step: str
) -> None:
    stream = make(any_store)
    fill(any_store, stream, range(60))
    samples.seal(any_store, "bench.1", START + timedelta(hours=10))
    body = "from datetime import datetime, UTC\n"
    body += "module.seal(store, 'bench.1', datetime(2027, 1, 1, tzinfo=UTC))"
    assert killed_at(any_store, "workspace_lib.store.segments", step, body)
    assert numbers(any_store) == list(range(60))
    samples.seal(any_store, "bench.1", FAR)
    assert numbers(any_store) == list(range(60))
    assert sum(part.rows for part in live(any_store, stream)) == 60
    age(any_store, 7200)
    samples.clean(any_store)
    assert on_disk(any_store) == {part.path for part in live(any_store, stream)}


@pytest.mark.parametrize("step", ["written", "committed"])
def test_a_kill_while_compacting_loses_and_doubles_nothing(
    store: Store, killed_at: Callable[..., bool], step: str
) -> None:
    stream = make(store)
    for hour in range(2, 20, 3):
        fill(store, stream, range(hour, hour + 3))
        samples.seal(store, "bench.1", FAR)
    body = "module.compact(store, 'bench.1', before=date(2026, 3, 9))"
    assert killed_at(store, "workspace_lib.store.segments", step, body)
    assert numbers(store) == list(range(2, 20))
    samples.compact(store, "bench.1", before=date(2026, 3, 9))
    assert numbers(store) == list(range(2, 20))
    assert len(live(store, stream)) == 1


KEYS = st.integers(0, 60)
STEPS = st.one_of(
    st.tuples(st.just("append"), st.lists(st.tuples(KEYS, st.floats(-9, 9)), max_size=25)),
    st.tuples(st.just("import"), st.lists(st.tuples(KEYS, st.floats(-9, 9)), max_size=25)),
    st.tuples(st.just("seal"), st.integers(0, 65)),
    st.tuples(st.just("compact"), st.integers(0, 4)),
)
BOUND = st.one_of(st.none(), st.integers(-1, 62))


@pytest.mark.parametrize("key", ["t", "seq"])
@given(
    steps=st.lists(STEPS, max_size=14),
    bounds=st.lists(st.tuples(BOUND, BOUND), min_size=1, max_size=4),
    shift=st.integers(-7, 7),
)
@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_split_between_the_tiers_reads_like_all_hot(
    store: Store,
    key: str,
    steps: list[tuple[str, object]],
    bounds: list[tuple[int | None, int | None]],
    shift: int,
) -> None:
    names = [f"{tier}-{time.monotonic_ns()}" for tier in ("split", "plain")]
    split, plain = (make(store, name, key=key) for name in names)
    for number, (action, value) in enumerate(steps):
        if action in ("append", "import"):
            rows = [
                # The time of a number may be another one when it is sent again.
                Row(T0 + (n + (shift * number if key == "seq" else 0)) * HOUR, (x, n), n)
                for n, x in value  # type: ignore[attr-defined]
            ]
            samples.append(store.data, plain, rows)
            if action == "append":
                done = samples.append(store.data, split, rows)
            else:
                columns = list(zip(*((t, *values, seq) for t, values, seq in rows), strict=True))
                t, voltage, n, seq = columns or ([], [], [], [])
                values = {"voltage": voltage, "n": n}
                done = samples.import_arrays(store, split.name, t, values, seq)  # type: ignore[arg-type]
            assert sum(done) == len(rows)
        elif action == "seal":
            samples.seal(store, split.name, from_us(T0 + value * HOUR))  # type: ignore[operator]
        else:
            samples.compact(store, split.name, before=date(2026, 3, 1) + timedelta(days=value))  # type: ignore[arg-type]
    for low, high in bounds:
        span = [None if n is None else T0 + n * HOUR for n in (low, high)]
        left, right = (samples.query(store, stream.name, *span) for stream in (split, plain))
        assert left.equals(right)
        assert samples.coverage(store, split.name, *span, step_s=3600) == samples.coverage(
            store, plain.name, *span, step_s=3600
        )
        thin = samples.query(store, split.name, *span, max_points=8)
        assert len(thin) <= 8
        assert set(map(str, thin.to_pylist())) <= set(map(str, right.to_pylist()))


def test_the_outputs_can_be_moved(store: Store, tmp_path: Path) -> None:
    stream = make(store)
    fill(store, stream, range(3))
    samples.seal(store, "bench.1", FAR)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (store.outputs / "data").rename(moved / "data")
    assert numbers(replace(store, outputs=moved)) == [0, 1, 2]
