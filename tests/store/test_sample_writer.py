"""The writer acknowledges after the commit, never before, and survives a busy database."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy import event

from workspace_lib.errors import ParameterError, StoreError
from workspace_lib.settings import Settings
from workspace_lib.store import sample_writer, samples
from workspace_lib.store.cursors import get_cursor
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.migrate import open_store
from workspace_lib.store.sample_writer import Writer
from workspace_lib.store.samples import Row, SampleColumn, Stream

DEADLINE_S = 60


def make(store: Store, name: str = "bench.1") -> Stream:
    with write(store.data) as connection:
        return samples.register_stream(connection, name, [SampleColumn("voltage", "V")])


def rows(*numbers: int) -> list[Row]:
    return [Row(n, (float(n),)) for n in numbers]


def stored(store: Store, name: str = "bench.1") -> list[float]:
    return list(samples.query(store, name)["voltage"].to_pylist())


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_rows_are_committed_soon_without_a_flush(any_store: Store) -> None:
    stream = make(any_store)
    acknowledged = threading.Event()
    with Writer(any_store.data) as writer:
        writer.append(stream, rows(1, 2), on_commit=acknowledged.set)
        assert acknowledged.wait(DEADLINE_S)
        assert stored(any_store) == [1.0, 2.0]


def test_what_was_acknowledged_is_committed(any_store: Store) -> None:
    stream = make(any_store)
    seen: list[list[float]] = []
    with Writer(any_store.data) as writer:
        writer.append(stream, rows(1), on_commit=lambda: seen.append(stored(any_store)))
    assert seen == [[1.0]]


def test_messages_are_collected_into_few_transactions(store: Store) -> None:
    stream = make(store)
    commits: list[object] = []
    event.listen(store.data, "commit", commits.append)
    with Writer(store.data, batch_s=30) as writer:
        for n in range(500):
            writer.append(stream, rows(n))
        assert writer.waiting == 500
        writer.flush()
        assert writer.waiting == 0
    assert len(commits) == 1
    assert stored(store) == [float(n) for n in range(500)]


def test_a_large_backlog_is_cut_into_short_transactions(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_writer, "_ROWS_PER_WRITE", 100)
    stream = make(store)
    commits: list[object] = []
    event.listen(store.data, "commit", commits.append)
    with Writer(store.data, batch_s=30) as writer:
        for n in range(0, 1000, 50):
            writer.append(stream, rows(*range(n, n + 50)))
        writer.flush()
    assert len(commits) >= 10
    assert len(stored(store)) == 1000


def test_duplicates_are_absorbed_and_counted(any_store: Store) -> None:
    stream = make(any_store)
    with Writer(any_store.data) as writer:
        writer.append(stream, rows(1, 2))
        writer.append(stream, rows(2, 3))
        writer.flush()
        writer.append(stream, rows(3, 4))
        writer.flush()
        assert writer.totals == (4, 2)
    assert stored(any_store) == [1.0, 2.0, 3.0, 4.0]


def test_streams_and_cursors_share_a_transaction(any_store: Store) -> None:
    one, two = make(any_store, "bench.1"), make(any_store, "bench.2")
    with Writer(any_store.data, batch_s=30) as writer:
        writer.append(one, rows(1), cursor=("broker", {"last": 1}))
        writer.append(two, rows(2), cursor=("broker", {"last": 2}))
        writer.flush()
        with read(any_store.data) as connection:
            assert get_cursor(connection, "broker") == {"last": 2}
    assert (stored(any_store, "bench.1"), stored(any_store, "bench.2")) == ([1.0], [2.0])


def test_a_bad_row_is_refused_at_once_and_harms_nobody(store: Store) -> None:
    stream = make(store)
    with Writer(store.data) as writer:
        writer.append(stream, rows(1))
        with pytest.raises(ParameterError, match="does not fit"):
            writer.append(stream, [Row(2, (1.0, 2.0))])
    assert stored(store) == [1.0]


def test_a_locked_database_delays_and_loses_nothing(make_site: Callable[..., Settings]) -> None:
    site = make_site({"timezone": "Europe/Paris", "store": {"busy_timeout_s": 0.05}})
    with open_store(site, create=True) as store:
        stream = make(store)
        acknowledged = threading.Event()
        with Writer(store.data, batch_s=0.01) as writer:
            with write(store.data):
                writer.append(stream, rows(1), on_commit=acknowledged.set)
                until(lambda: writer.trouble is not None)
                with pytest.raises(StoreError, match="could not be committed within"):
                    writer.flush(timeout_s=0.01)
                assert not acknowledged.is_set()
            assert acknowledged.wait(DEADLINE_S)
            until(lambda: writer.trouble is None)
        assert stored(store) == [1.0]


def test_a_full_writer_refuses_more(store: Store) -> None:
    stream = make(store)
    with Writer(store.data, batch_s=30, capacity=10) as writer:
        writer.append(stream, rows(*range(8)))
        with pytest.raises(StoreError, match="8 samples wait"):
            writer.append(stream, rows(8, 9, 10))
        writer.flush()
        writer.append(stream, rows(8, 9, 10))
    assert len(stored(store)) == 11


def test_an_acknowledgement_that_fails_does_not_stop_the_others(store: Store) -> None:
    stream = make(store)
    done: list[int] = []

    def fail() -> None:
        raise RuntimeError("the client left")

    with Writer(store.data) as writer:
        writer.append(stream, rows(1), on_commit=fail)
        writer.append(stream, rows(2), on_commit=lambda: done.append(2))
        writer.flush()
        writer.append(stream, rows(3))
    assert done == [2]
    assert stored(store) == [1.0, 2.0, 3.0]


def test_a_failure_reaches_the_caller(store: Store) -> None:
    stream = make(store)
    with write(store.data) as connection:
        body = "BEGIN SELECT RAISE(ABORT, 'refused'); END"
        connection.exec_driver_sql(f"CREATE TRIGGER no BEFORE INSERT ON sample_rows {body}")
    writer = Writer(store.data, batch_s=0.01)
    writer.append(stream, rows(1))
    with pytest.raises(StoreError, match="refused"):
        writer.flush()
    with pytest.raises(StoreError, match="refused"):
        writer.append(stream, rows(2))
    with pytest.raises(StoreError, match="refused"):
        writer.close()


def test_a_closed_writer_takes_nothing(store: Store) -> None:
    stream = make(store)
    writer = Writer(store.data)
    writer.close()
    with pytest.raises(StoreError, match="closed"):
        writer.append(stream, rows(1))
    writer.close()


def test_many_threads_may_write(any_store: Store) -> None:
    stream = make(any_store)
    acknowledged: list[int] = []
    with Writer(any_store.data) as writer:

        def work(first: int) -> None:
            for n in range(first, first + 50):
                writer.append(stream, rows(n), on_commit=lambda n=n: acknowledged.append(n))

        threads = [threading.Thread(target=work, args=(first,)) for first in range(0, 400, 50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(acknowledged) == list(range(400))
    assert stored(any_store) == [float(n) for n in range(400)]


CHILD = """
from workspace_lib.settings import load_settings
from workspace_lib.store import samples
from workspace_lib.store.engines import connect_store, read
from workspace_lib.store.sample_writer import Writer

store = connect_store(load_settings("testsite", root={root!r}))
with read(store.data) as connection:
    stream = samples.get_stream(connection, "bench.1")
writer = Writer(store.data, batch_s=0.02)
for n in range(10_000_000):
    writer.append(
        stream, [samples.Row(n, (float(n),))], on_commit=lambda n=n: print(n, flush=True)
    )
    if n % 20 == 0:
        writer.flush()
"""


def test_a_kill_loses_nothing_that_was_acknowledged(any_store: Store) -> None:
    make(any_store)
    code = CHILD.format(root=str(any_store.outputs.parents[1]))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        acknowledged = [int(child.stdout.readline()) for _ in range(100)]
        child.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in child.stdout if line.endswith("\n")]
    there = stored(any_store)
    assert acknowledged == list(range(len(acknowledged)))
    assert there[: len(acknowledged)] == [float(n) for n in acknowledged]
    assert there == [float(n) for n in range(len(there))]
