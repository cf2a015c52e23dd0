"""Cursors move with the rows they stand for, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from workspace_lib.store.cursors import get_cursor, set_cursor
from workspace_lib.store.engines import Store, read, write


def value(store: Store, name: str = "plant/log") -> Any:
    with read(store.data) as connection:
        return get_cursor(connection, name, default="start")


def test_a_cursor_that_was_never_set_is_the_default(any_store: Store) -> None:
    assert value(any_store) == "start"


@pytest.mark.parametrize("at", [0, 12_345_678_901, "event-17", {"offset": 5}])
def test_a_cursor_is_read_back(any_store: Store, at: object) -> None:
    with write(any_store.data) as connection:
        set_cursor(connection, "plant/log", "before")
        set_cursor(connection, "plant/log", at)
        set_cursor(connection, "plant/other", 3)
    assert value(any_store) == at


def test_a_cursor_does_not_move_when_its_transaction_fails(any_store: Store) -> None:
    with write(any_store.data) as connection:
        set_cursor(connection, "plant/log", 1)
    with any_store.data.connect() as connection:
        set_cursor(connection, "plant/log", 2)
        connection.rollback()
    assert value(any_store) == 1
