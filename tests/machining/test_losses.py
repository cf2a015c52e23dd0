"""A waterfall adds up to its window or is refused; a Pareto has two levels."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace_lib.errors import DataQualityError
from workspace_lib.machining.kpis import MicroClass, Times
from workspace_lib.machining.losses import StopTime, check_waterfall, pareto, waterfall

TIMES = Times(
    total_us=1000,
    closed_us=400,
    planned_us=50,
    unknown_us=20,
    own_us=60,
    setup_us=15,
    induced_us=45,
    micro_us=10,
    produced=10,
    good=9,
    ideal_us=300,
)


def test_losses_lead_from_the_window_to_what_is_useful() -> None:
    fall = waterfall(TIMES)
    assert [(step.name, step.us, step.left_us) for step in fall.steps] == [
        ("closed", 400, 600),
        ("planned", 50, 550),
        ("unknown", 20, 530),
        ("own_stops", 60, 470),
        ("setup", 15, 455),
        ("induced_stops", 45, 410),
        ("micro_stops", 10, 400),
        ("speed", 100, 300),
        ("quality", 30, 270),
    ]
    assert (fall.left, fall.left_us, fall.gained) == ("useful", 270, False)


def test_what_is_not_measured_is_no_loss() -> None:
    net = waterfall(replace(TIMES, good=None, useful_us=None))
    assert (net.left, net.left_us) == ("net", 300)
    running = waterfall(replace(TIMES, ideal_us=None, useful_us=None))
    assert (running.left, running.left_us) == ("running", 400)


def test_faster_than_the_reference_is_a_gain() -> None:
    fall = waterfall(replace(TIMES, ideal_us=450, useful_us=None))
    assert fall.gained
    assert fall.steps[-2].us == -50
    assert fall.left_us == 405


def test_a_waterfall_that_does_not_add_up_is_refused() -> None:
    fall = waterfall(TIMES)
    with pytest.raises(DataQualityError, match="add up to 1000 µs, not to the window of 999"):
        check_waterfall(fall, 999)
    with pytest.raises(DataQualityError, match="add up to 1001"):
        check_waterfall(replace(fall, left_us=271), 1000)
    bent = (replace(fall.steps[0], left_us=601), *fall.steps[1:])
    with pytest.raises(DataQualityError, match="After 'closed' 601"):
        check_waterfall(replace(fall, steps=bent), 1000)


@given(
    st.lists(st.integers(0, 10**13), min_size=7, max_size=7),
    st.integers(0, 10**13),
    st.integers(0, 1000),
    st.data(),
    st.sampled_from(["performance", "availability"]),
)
def test_every_waterfall_adds_up(
    losses: list[int], rest: int, produced: int, data: st.DataObject, micro: MicroClass
) -> None:
    names = ("closed", "planned", "unknown", "own", "induced", "setup", "micro")
    times = Times(
        total_us=sum(losses) + rest,
        **{f"{name}_us": us for name, us in zip(names, losses, strict=True)},
        produced=produced,
        good=data.draw(st.none() | st.integers(0, produced)),
        ideal_us=data.draw(st.none() | st.integers(0, 10**14)),
        micro_class=micro,
    )
    fall = waterfall(times)
    assert fall.left_us + sum(step.us for step in fall.steps) == times.total_us


def test_a_pareto_has_categories_and_reasons_in_them() -> None:
    rows = pareto(
        [
            StopTime("technical", "saw", 30),
            StopTime("material", "no bars", 50),
            StopTime("technical", "saw", 10),
            StopTime("technical", "air", 10, count=3),
            StopTime("people", "meeting", 0),
        ]
    )
    assert [(row.name, row.us, row.count) for row in rows] == [
        ("material", 50, 1),
        ("technical", 50, 5),
        ("people", 0, 1),
    ]
    assert [row.cumulated for row in rows] == [0.5, 1.0, 1.0]
    technical = rows[1]
    assert [(row.name, row.us, row.count, row.share) for row in technical.reasons] == [
        ("saw", 40, 2, 0.4),
        ("air", 10, 3, 0.1),
    ]


def test_no_stops_have_no_shares() -> None:
    assert pareto([]) == ()
    (row,) = pareto([StopTime("a", "b", 0)])
    assert (row.share, row.cumulated) == (None, None)
