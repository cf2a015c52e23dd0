"""The list of what cannot be right in a machine's events."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np

from workspace_lib.machining.anomalies import KINDS, Anomaly, find_anomalies
from workspace_lib.machining.calendars import Calendar
from workspace_lib.machining.events import Event, make_events
from workspace_lib.machining.pauses import Anchor, find_pauses
from workspace_lib.machining.states import partition
from workspace_lib.machining.stops import Edit

S = 1_000_000
MINUTE = 60 * S
NAN = float("nan")


def found(
    *lines: tuple[Event, float, float], anchor: Anchor = "start", orphans: tuple[Edit, ...] = ()
) -> list[tuple[str, float, float, int]]:
    """Anomalies of events given by minute, in the order of a log."""
    kind, minute, seconds = zip(*lines, strict=True)
    t_us = np.array([round(value * MINUTE) for value in minute], np.int64)
    segment = np.zeros(len(lines), np.int32)
    segment[1:] = np.cumsum(np.diff(t_us) < 0)
    events = make_events(np.array(kind, np.uint8), t_us, np.array(seconds, np.float64), segment)
    pauses = find_pauses(events, anchor=anchor)
    states = partition((0, 60 * MINUTE), Calendar(ZoneInfo("UTC")), events, pauses)
    listed = find_anomalies(events, pauses, states, anchor=anchor, orphans=orphans)
    assert all(one.kind in KINDS for one in listed)
    return [(a.kind, a.begin_us / MINUTE, a.end_us / MINUTE, a.count) for a in listed]


BEGIN = (Event.PIECE, 0.0, NAN)
END = (Event.PIECE, 60.0, NAN)


def steady(*gaps: tuple[float, float]) -> list[tuple[Event, float, float]]:
    """Pieces every five minutes outside of gaps."""
    return [
        (Event.PIECE, float(minute), NAN)
        for minute in range(0, 65, 5)
        if not any(begin < minute < end for begin, end in gaps)
    ]


def day(
    *lines: tuple[Event, float, float], gap: tuple[float, float] = (0, 0)
) -> list[tuple[Event, float, float]]:
    return sorted([*steady(gap), *lines], key=lambda line: line[1])


def test_a_good_hour_has_none() -> None:
    lines = day((Event.STOP, 11, NAN), (Event.START, 14, NAN), (Event.WAIT, 21, 60))
    assert found(*lines) == []


def test_pieces_within_stops_and_waits_are_contradictions() -> None:
    lines = day((Event.STOP, 11, NAN), (Event.START, 21, NAN), (Event.WAIT, 31, 300))
    assert found(*lines) == [
        ("piece_in_stop", 11, 21, 2),
        ("piece_in_wait", 31, 36, 1),
    ]


def test_the_other_anchor_is_told_if_it_fits_better() -> None:
    lines = day((Event.WAIT, 31, 300), (Event.WAIT, 49.5, 240), gap=(26, 31))
    kinds = [one[0] for one in found(*lines)]
    assert "wait_anchor" in kinds
    assert "wait_anchor" not in [one[0] for one in found(*lines, anchor="end")]


def test_unpaired_stops_are_told() -> None:
    lines = day((Event.STOP, 11, NAN), (Event.STOP, 31, NAN), (Event.STOP, 32, NAN))
    lines = [line for line in lines if line[1] <= 32] + [(Event.START, 34, NAN)]
    lines += [(Event.PIECE, 36, NAN), (Event.START, 38, NAN), (Event.STOP, 40, NAN)]
    assert found(*lines) == [
        ("start_lost", 11, 15, 1),
        ("stop_repeated", 31, 34, 1),
        ("stop_lost", 36, 38, 1),
        ("stop_open", 40, 40, 1),
        ("silence", 40, 60, 1),
    ]


def test_long_silences_are_told() -> None:
    assert found(*day(gap=(20, 50))) == [("silence", 20, 50, 1)]


def test_a_clock_that_was_set_back_is_told() -> None:
    lines = [*steady(), (Event.PIECE, 42.0, NAN)]
    assert found(*lines) == [("clock_step", 42, 60, 1)]


def test_waits_that_count_for_nothing_are_told() -> None:
    lines = day((Event.WAIT, 11, NAN), (Event.WAIT, 12, 1e6))
    assert found(*lines) == [("wait_without_seconds", 11, 11, 1), ("wait_too_long", 12, 12, 1)]


def test_edits_without_a_period_are_told_wherever_they_are() -> None:
    edit = Edit(7, 0, "Anna", "assign", "stop-1", part_us=90 * MINUTE, reason="saw")
    assert found(*day(), orphans=(edit,)) == [("edit_without_period", 90, 90, 7)]


def test_what_lies_outside_the_window_is_not_told() -> None:
    lines = [*day(), (Event.STOP, 70, NAN), (Event.STOP, 72, NAN), (Event.START, 75, NAN)]
    assert found(*lines) == []
    assert Anomaly("silence", 0, 1).count == 1
