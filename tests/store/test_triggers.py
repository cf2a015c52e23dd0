"""Triggers: asked once or ten times, a key is one request, taken by one run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from workspace_lib.errors import ParameterError
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.triggers import mark_taken, pending, request_run

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)


def test_a_request_waits_until_a_run_takes_it(any_store: Store) -> None:
    with write(any_store.control) as connection:
        first = request_run(connection, "bench_report", "test:42", parameters={"test": 42}, now=NOW)
        second = request_run(connection, "bench_report", "test:43", now=NOW)
    with read(any_store.control) as connection:
        waiting = pending(connection)
    assert [(t.id, t.job, t.key, t.parameters, t.requested) for t in waiting] == [
        (first, "bench_report", "test:42", {"test": 42}, NOW),
        (second, "bench_report", "test:43", {}, NOW),
    ]
    with write(any_store.control) as connection:
        assert mark_taken(connection, first, "run-1", NOW)
        assert [t.id for t in pending(connection)] == [second]


def test_the_same_key_asked_again_is_the_same_request_also_after_its_run(any_store: Store) -> None:
    with write(any_store.control) as connection:
        first = request_run(connection, "report", "test:42", parameters={"a": 1}, now=NOW)
        later = NOW + timedelta(hours=1)
        again = request_run(connection, "report", "test:42", parameters={"a": 2}, now=later)
        assert again == first
        assert [(t.parameters, t.requested) for t in pending(connection)] == [({"a": 1}, NOW)]
        mark_taken(connection, first, "run-1")
        assert request_run(connection, "report", "test:42", now=NOW) == first
        assert pending(connection) == []
        assert request_run(connection, "other", "test:42", now=NOW) != first


def test_a_request_is_taken_once(any_store: Store) -> None:
    with write(any_store.control) as connection:
        request = request_run(connection, "report", "test:42", now=NOW)
        assert mark_taken(connection, request, "run-1")
        assert not mark_taken(connection, request, "run-2")


def test_a_request_without_a_key_is_refused(store: Store) -> None:
    with write(store.control) as connection, pytest.raises(ParameterError):
        request_run(connection, "report", "", now=NOW)
