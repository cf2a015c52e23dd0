"""What a relay says of an event, in whatever place, and how it compares with what is computed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from workspace_lib.reclosers.analysis_relay import Told, compare, told, told_type
from workspace_lib.reclosers.analysis_values import Comparison, Moment, Phasor
from workspace_lib.reclosers.hdr import EventSummary, Measured
from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.record import device_time

WHEN = device_time(datetime(2026, 3, 1, 7, 50), 0, 3)


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("AG T", "AG"), ("BCG", "BCG"), ("ACG T", "CAG"), ("AC", "CA"), ("ABC T", "ABC"),
        ("ER", None), ("TRIP", None), ("TRIG", None), ("PULSE", None), ("", None), ("AAG", None),
        ("Curr Imbal Trip", None),
    ],
)  # fmt: skip
def test_types_are_known_in_the_relays_words(word: str, kind: str | None) -> None:
    assert told_type(word) == kind


def test_a_value_is_taken_from_the_first_place_that_has_it() -> None:
    summary = {"EVENT": "AG T", "LOCATION": None, "IA": 800.0, "IB": 90.0, "SHOT": 0.0}
    header = EventSummary(event="BG T", location=4.5, fault={"VA": Measured(7.2, 0.0)})
    entry = HistoryEntry(1, WHEN, "CG T", 9.9, 700.0, 59.9, shot="2")
    found = told([summary, header, entry])
    assert (found.event, found.location, found.current_a) == ("AG T", 4.5, 800.0)
    assert (found.frequency_hz, found.shot, found.time) == (59.9, 0, WHEN)
    assert found.fault == {"IA": 800.0, "IB": 90.0}


def test_names_with_units_and_sides_are_the_same_quantities() -> None:
    assert told([{"IA(A)": 628.8, "VAB(V)": 3072.8}]).fault == {"IA": 628.8}
    header = EventSummary(fault={"VAY": Measured(7.2, 0.0), "IG": Measured(700.0, None)})
    assert told([header]).fault == {"VA": 7200.0, "IG": 700.0}


def test_what_is_no_number_is_not_said() -> None:
    assert told([{"LOCATION": "far", "FREQ": float("nan"), "SHOT": "x", "EVENT": None}]) == Told()


def compared(said: Told, **values: Any) -> dict[str, Comparison]:
    given: dict[str, Any] = dict.fromkeys(
        ("fault_type", "during", "before", "magnitude_a", "distance", "line_length",
         "frequency_hz", "shot", "start", "trip_s", "reclosed_s")
    )  # fmt: skip
    return {one.quantity: one for one in compare(said, **{**given, **values})}


@pytest.mark.parametrize(
    ("quantity", "said", "values", "agrees"),
    [
        ("magnitude", Told(current_a=1000), {"magnitude_a": 1054.0}, True),
        ("magnitude", Told(current_a=1000), {"magnitude_a": 1056.0}, False),
        ("distance", Told(location=10.0), {"distance": 11.1, "line_length": 20.0}, True),
        ("distance", Told(location=10.0), {"distance": 11.2, "line_length": 20.0}, False),
        ("frequency", Told(frequency_hz=59.9), {"frequency_hz": 59.99}, True),
        ("frequency", Told(frequency_hz=59.9), {"frequency_hz": 60.02}, False),
        ("shot", Told(shot=1), {"shot": 1}, True),
        ("shot", Told(shot=1), {"shot": 2}, False),
        ("type", Told(event="BG T"), {"fault_type": "BG"}, True),
        ("type", Told(event="BG T"), {"fault_type": "BCG"}, False),
        ("trip time", Told(trip_time=WHEN.later(50_000_000)), {"trip_s": 0.058}, True),
        ("trip time", Told(trip_time=WHEN.later(50_000_000)), {"trip_s": 0.061}, False),
    ],
)
def test_values_agree_within_their_tolerances(
    quantity: str, said: Told, values: dict[str, Any], agrees: bool
) -> None:
    found = compared(said, start=WHEN, **values)
    assert found[quantity].agrees is agrees


def test_what_one_of_both_does_not_have_is_not_compared() -> None:
    assert compared(Told(event="ER", current_a=10.0), fault_type="AG") == {}
    assert compared(Told(trip_time=WHEN), trip_s=0.05) == {}


def test_sums_of_phases_may_be_off_by_a_share_of_the_largest_current() -> None:
    during = Moment(0.1, {"IG": Phasor(15.0, 0.0)})
    said = Told(fault={"IG": 0.0})
    assert compared(said, during=during, magnitude_a=2000.0)["IG"].agrees
    assert not compared(said, during=during, magnitude_a=100.0)["IG"].agrees
