"""Events of a machine as columns, from any source."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np

from workspace_lib.clock import iso
from workspace_lib.machining.events import Event, make_events, read_events
from workspace_lib.machining.lines import parse
from workspace_lib.machining.repeats import is_repeated

PARIS = ZoneInfo("Europe/Paris")
LOG = b"""20250528 05:00:00|@MachineStart
20250528 05:00:20|@StukUitgevoerd: a
nonsense
20250528 05:00:31|@MachineWait: 12,5 sec
20250528 05:00:40|@Onbekend: x
20250528 05:00:41|@MachineWait: ? sec
20250528 05:01:00|@MachineStop
"""


def test_a_log_gives_events_by_meaning_with_their_lines() -> None:
    events, timeline = read_events(parse(LOG), PARIS)
    assert [Event(kind).name for kind in events.kind] == [
        "START",
        "PIECE",
        "WAIT",
        "OTHER",
        "WAIT",
        "STOP",
    ]
    assert events.row.tolist() == [0, 1, 3, 4, 5, 6]
    assert iso(int(events.t_us[0])) == "2025-05-28T03:00:00Z"
    assert events.wait_us.tolist() == [-1, -1, 12_500_000, -1, -1, -1]
    assert timeline.segment.max() == 0


def test_lines_that_were_uploaded_again_do_not_count() -> None:
    lines = parse(LOG + LOG)
    events, _ = read_events(lines, PARIS, keep=~is_repeated(lines))
    assert len(events) == 6


def test_equal_instants_stay_in_the_order_of_the_log_and_segments_apart() -> None:
    kind = np.array([Event.STOP, Event.START, Event.PIECE, Event.PIECE], np.uint8)
    t_us = np.array([50, 50, 20, 10], np.int64)
    segment = np.array([0, 0, 1, 1], np.int32)
    events = make_events(kind, t_us, np.full(4, np.nan), segment)
    assert events.row.tolist() == [0, 1, 3, 2]
    assert events.times(Event.PIECE).tolist() == [10, 20]


def test_seconds_that_are_none_are_not_believed() -> None:
    seconds = np.array([0.0000014, -1, np.inf, np.nan, 1e13])
    events = make_events(np.full(5, Event.WAIT, np.uint8), np.arange(5), seconds)
    assert events.wait_us.tolist() == [1, -1, -1, -1, -1]
