"""Annotations: added only; the newest stands, None takes back, the history stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from workspace_lib.errors import ParameterError
from workspace_lib.store.annotations import annotate, current, history
from workspace_lib.store.engines import Store, write

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)


def test_the_newest_annotation_stands_and_the_older_stays_in_the_history(any_store: Store) -> None:
    with write(any_store.control) as connection:
        annotate(connection, "anne", "machining.stop/12", "reason", "tool", NOW)
        annotate(connection, "bruno", "machining.stop/12", "reason", "setting", NOW)
        annotate(connection, "anne", "machining.stop/12", "comment", {"text": "é"}, NOW)
        standing = current(connection, "reason")
        told = history(connection, target="machining.stop/12", kind="reason")
        assert len(history(connection, target="machining.stop/12")) == 3
    assert [(a.who, a.value) for a in told] == [("anne", "tool"), ("bruno", "setting")]
    assert standing == {"machining.stop/12": told[1]}


def test_none_takes_an_annotation_back(any_store: Store) -> None:
    with write(any_store.control) as connection:
        annotate(connection, "anne", "stop/1", "reason", "tool", NOW)
        annotate(connection, "anne", "stop/1", "reason", None, NOW + timedelta(seconds=1))
        assert current(connection, "reason") == {}
        assert [a.value for a in history(connection, kind="reason")] == ["tool", None]


def test_targets_are_found_by_prefix_taken_literally(any_store: Store) -> None:
    with write(any_store.control) as connection:
        for target in ("a_b/1", "axb/1", "a_b/2"):
            annotate(connection, "anne", target, "reason", 1, NOW)
        assert list(current(connection, "reason", target_prefix="a_b/")) == ["a_b/1", "a_b/2"]


def test_an_annotation_of_nobody_is_refused(store: Store) -> None:
    with write(store.control) as connection, pytest.raises(ParameterError):
        annotate(connection, "", "stop/1", "reason", "tool", NOW)
