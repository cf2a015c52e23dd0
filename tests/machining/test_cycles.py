"""Cycle times: a table that people keep, and an estimate that says it is one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workspace_lib.errors import ConfigError, ParameterError
from workspace_lib.machining.cycles import (
    Cycle,
    CycleKey,
    LengthClasses,
    estimate_cycle,
    estimate_cycles,
    find_cycle,
    ideal_us,
    make_table,
)

S = 1_000_000


def test_lengths_have_classes() -> None:
    classes = LengthClasses((1000, 3000))
    assert [classes.of(mm) for mm in (10, 1000, 2999.9, 3000, None, float("nan"))] == [
        "0–1000",
        "1000–3000",
        "1000–3000",
        "3000–",
        "",
        "",
    ]
    assert LengthClasses().of(10) == ""
    with pytest.raises(ConfigError, match="do not rise"):
        LengthClasses((3000, 1000))


def test_what_is_most_particular_counts_and_a_reference_more_than_a_length() -> None:
    table = make_table(
        {
            CycleKey(): 60,
            CycleKey("SU12"): 50,
            CycleKey("SU12", "", "0–1000"): 40,
            CycleKey("SU12", "6112"): 30,
            CycleKey("SU12", "6112", "0–1000"): 20,
        }
    )

    def seconds(*key: str) -> float:
        return find_cycle(CycleKey(*key), table).us / S

    assert seconds("SU12", "6112", "0–1000") == 20
    assert seconds("SU12", "6112", "1000–") == 30
    assert seconds("SU12", "6101", "0–1000") == 40
    assert seconds("SU12", "6101", "1000–") == 50
    assert seconds("DEM12", "6112", "0–1000") == 60


def test_an_estimate_stands_in_only_where_the_table_has_nothing() -> None:
    estimates = {CycleKey("SU12"): Cycle(9 * S, "estimated", 40)}
    assert find_cycle(CycleKey("SU12", "6112"), {}, estimates).origin == "estimated"
    table = make_table({CycleKey("SU12"): 50})
    assert find_cycle(CycleKey("SU12", "6112"), table, estimates).origin == "table"
    assert find_cycle(CycleKey("DEM12"), table, estimates) == Cycle(0, "unknown")


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_cycle_time_is_above_zero(seconds: float) -> None:
    with pytest.raises(ConfigError, match="cannot take"):
        make_table({CycleKey("SU12"): seconds})


def test_the_estimate_is_the_rate_of_good_times() -> None:
    own = np.array([40] * 60 + [30] * 30 + [300] * 10) * S
    assert estimate_cycle(own) == Cycle(30 * S, "estimated", 91)


def test_pieces_of_a_bar_come_together_and_take_what_the_bar_takes() -> None:
    bars = np.resize([100, 0, 5, 0, 15], 200) * S
    assert estimate_cycle(bars) == Cycle(24 * S, "estimated", 191)


def test_few_pieces_give_no_estimate() -> None:
    assert estimate_cycle(np.full(28, S)).origin == "unknown"
    assert estimate_cycle(np.full(29, S)).origin == "estimated"
    assert estimate_cycle(np.zeros(0, np.int64)).origin == "unknown"


def test_pieces_without_time_give_no_estimate() -> None:
    assert estimate_cycle(np.zeros(100, np.int64)).origin == "unknown"


@pytest.mark.parametrize("wrong", [{"quantile": 2.0}, {"block": 0}])
def test_an_estimate_of_nothing_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ParameterError, match="quantile"):
        estimate_cycle(np.full(40, S), **wrong)


def test_each_kind_is_estimated_from_its_own_pieces() -> None:
    a, b = CycleKey("SU12", "a"), CycleKey("SU12", "b")
    keys = ([a] * 6 + [b] * 6) * 10
    running = np.cumsum([10 if key == a else 30 for key in keys]) * S
    found = estimate_cycles(keys, running)
    assert found[a] == Cycle(10 * S, "estimated", 50)
    assert found[b] == Cycle(30 * S, "estimated", 51)
    assert found[CycleKey("SU12")].samples == 110
    assert a not in estimate_cycles(keys[:40], running[:40])
    assert estimate_cycles([], np.zeros(0, np.int64)) == {}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 900), min_size=35, max_size=80))
def test_an_estimate_lies_between_what_was_seen(seconds: list[int]) -> None:
    found = estimate_cycle(np.array(seconds) * S)
    if found.origin == "estimated":
        assert min(seconds) * S <= found.us <= max(seconds) * S


def test_one_piece_without_a_cycle_time_makes_the_sum_unknown() -> None:
    known, guess = Cycle(5, "table"), Cycle(7, "estimated", 20)
    assert ideal_us([known, known]) == (10, "table")
    assert ideal_us([known, guess]) == (12, "estimated")
    assert ideal_us([known, Cycle(0, "unknown")]) == (None, "unknown")
    assert ideal_us([]) == (0, "table")
