"""Comparing by key: what is kept is the source, and the history tells how it came to be."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace_lib.machining.erp_diff import (
    ErpState,
    SourceShrunken,
    compare,
    refuse_shrunken,
)
from workspace_lib.machining.erp_rows import ErpRow, ErpTable

TABLE = ErpTable("t", {"ID": "whole", "value": "text"}, key=("ID",), order="ID")
NOW = datetime(2025, 5, 1, tzinfo=UTC)
STORIES = st.lists(
    st.dictionaries(st.integers(0, 8), st.sampled_from(["a", "b", "c"])), min_size=1, max_size=6
)


def rows_of(source: dict[int, str]) -> list[ErpRow]:
    return [ErpRow((key,), (key, value)) for key, value in source.items()]


def follow(state: ErpState, source: dict[int, str], day: int) -> Counter[str]:
    """Bring a state up to date; return what was counted."""
    counts: Counter[str] = Counter()
    at = NOW + timedelta(days=day)
    changes = compare(TABLE, rows_of(source), state, at, allow_shrink=True, counts=counts)
    state.apply(list(changes))
    return counts


@given(STORIES)
def test_what_stands_is_the_source_whatever_happened_before(story: list[dict[int, str]]) -> None:
    state = ErpState()
    for day, source in enumerate(story):
        counts = follow(state, source, day)
        standing = {
            key[0]: kept.row.values[1]
            for key, kept in state.rows.get("t", {}).items()
            if kept.deleted_at is None
        }
        assert standing == source
        assert counts["rows"] == len(source)


@given(STORIES)
def test_the_history_leads_to_what_stands(story: list[dict[int, str]]) -> None:
    state, again = ErpState(), ErpState()
    for day, source in enumerate(story):
        follow(state, source, day)
    again.apply(state.history)
    assert again.plain() == state.plain()
    assert again.history == state.history


@given(STORIES)
def test_the_same_changes_twice_change_nothing(story: list[dict[int, str]]) -> None:
    state = ErpState()
    for day, source in enumerate(story):
        follow(state, source, day)
        before = len(state.history)
        state.apply(state.history[-1:])
        assert follow(state, source, day + 1).keys() <= {"rows"}
        assert len(state.history) == before


def test_a_row_that_is_gone_keeps_its_last_values() -> None:
    state = ErpState()
    follow(state, {1: "a", 2: "b"}, 0)
    follow(state, {2: "b"}, 1)
    assert state.plain()["t"][(1,)] == {
        "values": (1, "a"),
        "raw": {},
        "deleted_at": NOW + timedelta(days=1),
    }


def test_who_went_is_known_only_at_the_end_and_then_refused() -> None:
    state = ErpState()
    follow(state, dict.fromkeys(range(20), "a"), 0)
    others = rows_of(dict.fromkeys(range(10, 30), "a"))
    changes = compare(TABLE, others, state, NOW, most_percent=40)
    with pytest.raises(SourceShrunken, match=r"10 of 20 rows are gone \(50 %\)"):
        list(changes)


@pytest.mark.parametrize(
    ("known", "found", "refused"),
    [
        (0, 0, False),
        (0, 5, False),
        (100, 80, False),
        (100, 79, True),
        (100, 0, True),
        (2, 1, False),
        (1, 0, True),
        (9, 1, False),
        (10, 7, True),
        (100, 300, False),
    ],
)
def test_how_much_may_go_at_once(known: int, found: int, refused: bool) -> None:
    if refused:
        with pytest.raises(SourceShrunken):
            refuse_shrunken("t", known, found, 20)
    else:
        refuse_shrunken("t", known, found, 20)
