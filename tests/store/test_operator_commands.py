"""Commands of operators: answered once, and never carried out late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from workspace_lib.errors import ParameterError
from workspace_lib.store.engines import Store, write
from workspace_lib.store.operator_commands import command, mark_done, pending, recent

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)


def test_a_command_waits_for_its_target_until_it_is_answered(any_store: Store) -> None:
    with write(any_store.control) as connection:
        start = command(connection, "anne", "bench1", "start", {"test": 42}, NOW)
        stop = command(connection, "anne", "bench2", "stop", None, NOW)
        (waiting,) = pending(connection, NOW, target="bench1")
        assert (waiting.id, waiting.action, waiting.arguments) == (start, "start", {"test": 42})
        assert waiting.ok is None
        assert mark_done(connection, start, NOW, ok=False, message="door open")
        assert [c.id for c in pending(connection, NOW)] == [stop]


def test_the_first_answer_stands(any_store: Store) -> None:
    with write(any_store.control) as connection:
        asked = command(connection, "anne", "bench1", "start", {}, NOW)
        assert mark_done(connection, asked, NOW, ok=True)
        assert not mark_done(connection, asked, NOW, ok=False, message="late twin")
        (told,) = recent(connection, target="bench1")
    assert (told.ok, told.message, told.answered) == (True, None, NOW)


def test_a_command_that_lapsed_is_never_carried_out(any_store: Store) -> None:
    with write(any_store.control) as connection:
        command(connection, "anne", "bench1", "start", {}, NOW, valid_s=10)
        assert len(pending(connection, NOW + timedelta(seconds=9.9))) == 1
        assert pending(connection, NOW + timedelta(seconds=10)) == []
        assert [c.ok for c in recent(connection)] == [None]


def test_the_newest_commands_come_first(any_store: Store) -> None:
    with write(any_store.control) as connection:
        ids = [command(connection, "anne", "bench1", "stop", {}, NOW) for _ in range(3)]
        assert [c.id for c in recent(connection, limit=2)] == [ids[2], ids[1]]


def test_a_command_of_nobody_is_refused(store: Store) -> None:
    with write(store.control) as connection, pytest.raises(ParameterError):
        command(connection, "", "bench1", "start", {}, NOW)
