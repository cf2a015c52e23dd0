"""Sets of time: union, what covers an instant, how much lies before it, what is left."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workspace_lib.machining.spans import clip, covers, make_spans, measure, subtract

PAIRS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8)
ALL = np.arange(31, dtype=np.int64)


def held(pairs: list[tuple[int, int]]) -> set[int]:
    return {t for begin, end in pairs for t in range(begin, end)}


def test_spans_that_touch_are_one() -> None:
    assert make_spans([(5, 7), (1, 3), (3, 4), (9, 9), (8, 6)]).pairs() == [(1, 4), (5, 7)]


@given(PAIRS)
def test_a_union_holds_what_any_of_them_holds(pairs: list[tuple[int, int]]) -> None:
    spans = make_spans(pairs)
    assert set(ALL[covers(spans, ALL)].tolist()) == held(pairs)
    assert spans.total_us == len(held(pairs))
    assert (spans.begin[1:] > spans.end[:-1]).all()


@given(PAIRS)
def test_the_measure_counts_what_lies_before(pairs: list[tuple[int, int]]) -> None:
    inside = held(pairs)
    assert measure(make_spans(pairs), ALL).tolist() == [
        sum(t < at for t in inside) for at in ALL.tolist()
    ]


@given(PAIRS, PAIRS)
def test_what_is_subtracted_is_gone(
    one: list[tuple[int, int]], other: list[tuple[int, int]]
) -> None:
    left = subtract(make_spans(one), make_spans(other))
    assert held(left.pairs()) == held(one) - held(other)


@given(PAIRS, st.integers(0, 30), st.integers(0, 30))
def test_a_window_cuts(pairs: list[tuple[int, int]], begin: int, end: int) -> None:
    assert held(clip(make_spans(pairs), begin, end).pairs()) == held(pairs) & set(range(begin, end))
