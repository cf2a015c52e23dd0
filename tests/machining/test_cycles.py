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
    assert LengthClasses().of(10) == "0–"
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


def test_the_estimate_is_what_the_machine_does_when_it_is_well() -> None:
    gaps = np.array([20] * 30 + [25] * 60 + [300] * 10)
    t_us = np.concatenate(([0], np.cumsum(gaps))) * S
    assert estimate_cycle(t_us, t_us) == Cycle(20 * S, "estimated", 100)


def test_pieces_of_one_instant_share_the_time_before_it() -> None:
    t_us = np.repeat(np.arange(31) * 40, 2) * S
    assert estimate_cycle(t_us, t_us) == Cycle(20 * S, "estimated", 60)


def test_gaps_with_a_stop_do_not_count() -> None:
    t_us = np.arange(60) * 20 * S
    running = t_us - np.arange(60) // 2 * S  # every second gap has a second of a stop
    assert estimate_cycle(t_us, running).samples == 30


def test_few_pieces_give_no_estimate() -> None:
    t_us = np.arange(20) * S
    assert estimate_cycle(t_us, t_us).origin == "unknown"
    assert estimate_cycle(np.arange(21) * S, np.arange(21) * S).origin == "estimated"
    assert estimate_cycle(np.zeros(0, np.int64), np.zeros(0, np.int64)).origin == "unknown"
    with pytest.raises(ParameterError, match="quantile"):
        estimate_cycle(t_us, t_us, quantile=2)


def test_each_kind_is_estimated_from_its_own_lots() -> None:
    a, b = CycleKey("SU12", "a"), CycleKey("SU12", "b")
    keys = ([a] * 30 + [b] * 30) * 2
    gaps = np.where([key == a for key in keys], 10, 30)
    gaps[::30] = 1  # the first of each lot: what came before was of the other kind
    t_us = np.cumsum(gaps) * S
    found = estimate_cycles(keys, t_us, t_us)
    assert found[a] == Cycle(10 * S, "estimated", 58)
    assert found[b] == Cycle(30 * S, "estimated", 58)
    assert found[CycleKey("SU12")].samples == 119
    assert a not in estimate_cycles(keys[:15], t_us[:15], t_us[:15])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 900), min_size=25, max_size=80))
def test_an_estimate_lies_between_what_was_seen(gaps: list[int]) -> None:
    t_us = np.cumsum(gaps).astype(np.int64) * S
    found = estimate_cycle(t_us, t_us)
    if found.origin == "estimated":
        assert 0 < found.us <= max(gaps) * S


def test_one_piece_without_a_cycle_time_makes_the_sum_unknown() -> None:
    known, guess = Cycle(5, "table"), Cycle(7, "estimated", 20)
    assert ideal_us([known, known]) == (10, "table")
    assert ideal_us([known, guess]) == (12, "estimated")
    assert ideal_us([known, Cycle(0, "unknown")]) == (None, "unknown")
    assert ideal_us([]) == (0, "table")
