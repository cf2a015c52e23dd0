"""The states of a machine partition a window exactly, whatever its log holds."""

from __future__ import annotations

import time
from datetime import datetime
from datetime import time as clock
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workspace_lib.clock import to_us
from workspace_lib.errors import DataQualityError, ParameterError
from workspace_lib.machining.calendars import (
    Break,
    Calendar,
    PlannedStop,
    Shift,
    opening,
    planned_breaks,
)
from workspace_lib.machining.events import Event, Events, make_events
from workspace_lib.machining.kpis import compute_kpis, count_times
from workspace_lib.machining.losses import waterfall
from workspace_lib.machining.pauses import Anchor, Loss, PauseKind, PauseMark, Pauses, find_pauses
from workspace_lib.machining.spans import covers
from workspace_lib.machining.states import (
    Rules,
    State,
    States,
    check_partition,
    partition,
    state_seconds,
)

S = 1_000_000
MINUTE = 60 * S
UTC = ZoneInfo("UTC")
T0 = to_us(datetime(2025, 5, 28, tzinfo=UTC))
OPEN = Calendar(UTC)
SHIFT = Calendar(
    UTC, (Shift("day", clock(8), clock(17), breaks=(Break("b", clock(12), clock(13)),)),)
)
KINDS = {"p": Event.PIECE, "w": Event.WAIT, "stop": Event.STOP, "go": Event.START, "?": Event.OTHER}


def made(*words: str) -> Events:
    """Make events of words such as ``stop@08:10`` and ``w@08:20/300``: kind, time, seconds."""
    kinds, times, seconds = [], [], []
    for word in words:
        name, at = word.split("@")
        at, _, wait = at.partition("/")
        parsed = clock.fromisoformat(at)
        kinds.append(KINDS[name])
        times.append(minute(parsed.hour * 60 + parsed.minute) + parsed.second * S)
        seconds.append(float(wait or "nan"))
    return make_events(np.array(kinds, np.uint8), np.array(times, np.int64), np.array(seconds))


def minute(number: float) -> int:
    return T0 + round(number * MINUTE)


def hours(begin: float, end: float) -> tuple[int, int]:
    return minute(60 * begin), minute(60 * end)


def each_minute(begin: float, end: float) -> list[str]:
    return [f"p@{m // 60:02d}:{m % 60:02d}" for m in range(int(begin * 60), int(end * 60))]


def told(states: States) -> list[str]:
    """Say rows as ``STOP 30`` in minutes; micro-stops with a star."""
    return [
        f"{State(state).name}{'*' if micro else ''} {(end - begin) / MINUTE:g}"
        for begin, end, state, micro in zip(
            states.begin_us.tolist(),
            states.end_us.tolist(),
            states.state.tolist(),
            states.micro.tolist(),
            strict=True,
        )
    ]


def cut(
    window: tuple[int, int],
    events: Events,
    calendar: Calendar = OPEN,
    *,
    anchor: Anchor = "start",
    until_us: int | None = None,
    missing: list[tuple[int, int]] | None = None,
    rules: Rules | None = None,
) -> States:
    states = partition(
        window,
        calendar,
        events,
        find_pauses(events, anchor=anchor, until_us=until_us),
        until_us=until_us,
        missing=missing or (),
        rules=rules,
    )
    check_partition(states, window)
    return states


def test_a_morning_is_cut_into_its_states() -> None:
    events = made(
        "go@08:00", "p@08:10", "w@08:10/300", "p@08:20", "stop@08:20", "go@08:50", "p@09:00"
    )
    assert told(cut(hours(8, 9), events)) == ["RUN 10", "WAIT 5", "RUN 5", "STOP 30", "RUN 10"]


def test_closed_and_breaks_are_stronger_than_stops() -> None:
    events = made(
        "p@07:50", *each_minute(8, 11.5), "stop@11:30", "go@13:30", *each_minute(13.5, 17.2)
    )
    assert told(cut(hours(7, 18), events, SHIFT)) == [
        "CLOSED 60",
        "RUN 210",
        "STOP 30",
        "BREAK 60",
        "STOP 30",
        "RUN 210",
        "CLOSED 60",
    ]


def test_a_stop_is_stronger_than_a_wait() -> None:
    events = made("p@08:00", "w@08:05/1200", "stop@08:10", "go@08:15", "p@08:30")
    assert told(cut(hours(8, 8.5), events)) == ["RUN 5", "WAIT 5", "STOP 5", "WAIT 10", "RUN 5"]


def test_waits_that_overlap_count_once() -> None:
    events = made("p@08:00", "w@08:05/600", "w@08:10/600", "p@08:30")
    states = cut(hours(8, 8.5), events)
    assert states.total_us(State.WAIT) == 15 * MINUTE


def test_silence_is_unknown_and_never_run() -> None:
    events = made("go@08:00", "p@08:01", "p@08:40", "p@08:50")
    assert told(cut(hours(8, 9), events)) == ["RUN 1", "UNKNOWN 39", "RUN 10", "UNKNOWN 10"]
    lenient = cut(hours(8, 9), events, rules=Rules(no_signal_s=3600))
    assert told(lenient) == ["RUN 50", "UNKNOWN 10"]


def test_a_stop_or_wait_that_the_log_tells_is_no_silence() -> None:
    events = made("p@08:00", "stop@08:00", "go@10:00", "w@10:00/3600", "p@11:00")
    assert told(cut(hours(8, 11), events)) == ["STOP 120", "WAIT 60"]


def test_a_night_that_is_closed_is_no_silence() -> None:
    events = made("p@08:01", *each_minute(8.1, 11.9), *each_minute(13.1, 16.9), "p@16:59")
    states = cut(hours(7, 16.98), events, SHIFT)
    assert states.total_us(State.UNKNOWN) == MINUTE  # before the first evidence
    assert states.total_us(State.BREAK) == 60 * MINUTE


def test_silence_is_counted_over_a_break_together() -> None:
    events = made("p@11:50", "p@13:10")
    states = cut(hours(11.5, 13.5), events, SHIFT)
    assert told(states) == ["UNKNOWN 30", "BREAK 60", "UNKNOWN 30"]
    states = cut(hours(11.5, 13.5), made("p@11:55", "p@13:05"), SHIFT)
    assert told(states) == ["UNKNOWN 25", "RUN 5", "BREAK 60", "RUN 5", "UNKNOWN 25"]


def test_nothing_is_known_behind_the_last_evidence() -> None:
    events = made("go@08:00", "p@08:05", "stop@08:10")
    assert told(cut(hours(8, 9), events)) == ["RUN 10", "UNKNOWN 50"]
    known = cut(hours(8, 9), events, until_us=minute(8 * 60 + 30))
    assert told(known) == ["RUN 10", "STOP 20", "UNKNOWN 30"]
    quiet = cut(hours(8, 9), made("go@08:00", "p@08:05"), until_us=minute(8 * 60 + 30))
    assert told(quiet) == ["RUN 5", "UNKNOWN 55"]


def test_without_events_everything_that_is_open_is_unknown() -> None:
    assert told(cut(hours(11, 18), made(), SHIFT)) == [
        "UNKNOWN 60",
        "BREAK 60",
        "UNKNOWN 240",
        "CLOSED 60",
    ]


def test_a_missing_file_is_unknown_even_inside_a_stop() -> None:
    events = made("p@08:00", "stop@08:00", "go@12:00", "p@12:00")
    states = cut(hours(8, 12), events, missing=[hours(9, 10)])
    assert told(states) == ["STOP 60", "UNKNOWN 60", "STOP 120"]


def test_a_start_without_a_stop_was_a_stop_unless_it_is_silence() -> None:
    assert told(cut(hours(8, 8.5), made("p@08:00", "p@08:10", "go@08:20", "p@08:30"))) == [
        "RUN 10",
        "STOP 10",
        "RUN 10",
    ]
    assert told(cut(hours(8, 9), made("p@08:00", "p@08:10", "go@08:50", "p@09:00"))) == [
        "RUN 10",
        "UNKNOWN 40",
        "RUN 10",
    ]


def test_pauses_shorter_than_the_threshold_are_micro_stops() -> None:
    events = made("p@08:00", "w@08:05/59", "w@08:07/60", "stop@08:10:00", "go@08:10:30", "p@08:12")
    assert told(cut(hours(8, 8.2), events)) == [
        "RUN 5",
        "WAIT* 0.983333",
        "RUN 1.01667",
        "WAIT 1",
        "RUN 2",
        "STOP* 0.5",
        "RUN 1.5",
    ]
    assert not cut(hours(8, 8.2), events, rules=Rules(micro_s=0)).micro.any()


def test_a_long_stop_that_a_window_cuts_is_no_micro_stop() -> None:
    events = made("p@08:00", "stop@08:09:30", "go@08:30", "p@08:31")
    states = cut((minute(480), minute(490)), events)
    assert told(states) == ["RUN 9.5", "STOP 0.5"]


def test_a_wait_that_is_logged_at_its_end_is_evidence_of_its_begin() -> None:
    events = made("w@08:10/300", "p@08:20")
    states = cut(hours(8, 8.5), events, anchor="end")
    assert told(states) == ["UNKNOWN 5", "WAIT 5", "RUN 10", "UNKNOWN 10"]


def test_planned_stops_of_the_calendar_are_breaks() -> None:
    plan = PlannedStop("service", datetime(2025, 5, 28, 9), datetime(2025, 5, 28, 10))
    events = made(*each_minute(8, 9), "stop@09:00", "go@10:05", *each_minute(10.1, 10.5))
    states = cut(hours(8, 10), events, Calendar(UTC, planned=(plan,)))
    assert told(states) == ["RUN 60", "BREAK 60"]


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(ParameterError, match="is empty"):
        cut((T0, T0), made())


def test_states_that_do_not_fill_their_window_are_refused() -> None:
    states = cut(hours(8, 9), made("p@08:00", "p@09:00"))
    check_partition(states, hours(8, 9))
    with pytest.raises(DataQualityError, match="do not partition"):
        check_partition(states, hours(8, 10))
    hole = States(
        states.begin_us + np.array([0, *[1] * (len(states) - 1)]),
        states.end_us - 1,
        states.state,
        states.micro,
        states.pause,
    )
    with pytest.raises(DataQualityError, match="do not partition"):
        check_partition(hole, hours(8, 9))


def test_every_state_is_named_with_its_seconds() -> None:
    assert state_seconds(cut(hours(8, 9), made())) == {
        "UNKNOWN": 3600.0,
        "RUN": 0.0,
        "WAIT": 0.0,
        "STOP": 0.0,
        "BREAK": 0.0,
        "CLOSED": 0.0,
    }


CALENDARS = [
    OPEN,
    SHIFT,
    Calendar(
        ZoneInfo("Europe/Paris"),
        (
            Shift("n", clock(21), clock(2, 30), breaks=(Break("x", clock(2), clock(2, 20)),)),
            Shift("m", clock(2, 30), clock(13)),
        ),
        planned=(PlannedStop("s", datetime(2025, 10, 26, 1), datetime(2025, 10, 26, 3)),),
    ),
]
NIGHTS = [
    T0,
    to_us(datetime(2025, 10, 25, 18, tzinfo=UTC)),
    to_us(datetime(2025, 3, 29, 18, tzinfo=UTC)),
]

LINE = st.tuples(
    st.sampled_from(list(Event)),
    st.integers(-3600, 40_000),  # seconds from the begin of the window
    st.one_of(st.just(float("nan")), st.floats(0, 20_000), st.integers(0, 90).map(float)),
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[tuple[int, int], Calendar, Events, Anchor, Rules]:
    begin = draw(st.sampled_from(NIGHTS)) + draw(st.integers(0, 10**7))
    window = (begin, begin + draw(st.integers(1, 40_000 * S)))
    lines = draw(st.lists(LINE, max_size=40))
    if draw(st.booleans()):
        lines.sort(key=lambda line: line[1])
    steps = np.array([line[1] for line in lines], np.int64)
    segment = np.zeros(len(lines), np.int32)
    segment[1:] = np.cumsum(np.diff(steps) < -60)
    events = make_events(
        np.array([line[0] for line in lines], np.uint8),
        begin + steps * S,
        np.array([line[2] for line in lines], np.float64),
        segment,
    )
    rules = Rules(
        draw(st.sampled_from([0.0, 60.0, 900.0, 1e6])), draw(st.sampled_from([0.0, 60.0]))
    )
    anchors: list[Anchor] = ["start", "end"]
    return window, draw(st.sampled_from(CALENDARS)), events, draw(st.sampled_from(anchors)), rules


@settings(max_examples=400, deadline=None)
@given(streams(), st.data())
def test_whatever_the_log_holds_its_states_partition_the_window(
    stream: tuple[tuple[int, int], Calendar, Events, Anchor, Rules], data: st.DataObject
) -> None:
    window, calendar, events, anchor, rules = stream
    pauses = find_pauses(events, anchor=anchor)
    loss = st.sampled_from([None, *Loss])
    for place in range(len(pauses)):
        chosen = data.draw(loss)
        if chosen is not None:
            pauses.loss[place] = chosen
    states = partition(window, calendar, events, pauses, rules=rules)
    check_partition(states, window)
    assert sum(states.total_us(state) for state in State) == window[1] - window[0]
    _rows_are_of_their_pauses(states, pauses)
    pieces = events.times(Event.PIECE)
    for micro_class in ("performance", "availability"):
        times = count_times(
            states,
            pauses,
            pieces_us=pieces,
            cycle_us=np.full(len(pieces), 7 * S),
            good=0,
            micro_class="performance" if micro_class == "performance" else "availability",
        )
        assert times.total_us == window[1] - window[0]
        found = compute_kpis(times)
        assert all(rate is None or 0 <= rate <= 1 for rate in (found.do, found.tc, found.ts))
        assert all(rate is None or rate >= 0 for rate in (found.tp, found.tq, found.trs))
        fall = waterfall(times)
        assert fall.left_us + sum(step.us for step in fall.steps) == window[1] - window[0]


def _rows_are_of_their_pauses(states: States, pauses: Pauses) -> None:
    """No row claims a stop or wait that its pause does not cover."""
    stopped = (states.state == State.STOP) | (states.state == State.WAIT)
    of = states.pause[stopped]
    assert (of >= 0).all()
    assert (states.begin_us[stopped] >= pauses.begin_us[of]).all()
    assert (states.end_us[stopped] <= pauses.end_us[of]).all()


@settings(max_examples=150, deadline=None)
@given(streams())
def test_every_instant_has_the_strongest_state_that_covers_it(
    stream: tuple[tuple[int, int], Calendar, Events, Anchor, Rules],
) -> None:
    window, calendar, events, anchor, rules = stream
    pauses = find_pauses(events, anchor=anchor)
    states = partition(window, calendar, events, pauses, rules=rules)
    is_open, breaks = opening(calendar, *window), planned_breaks(calendar, *window)
    last = int(events.t_us.max(initial=window[0]))
    for begin, end, state in zip(
        states.begin_us.tolist(), states.end_us.tolist(), states.state.tolist(), strict=True
    ):
        for instant in (begin, (begin + end) // 2, end - 1):
            at = np.array([instant])
            covering = (pauses.begin_us <= instant) & (instant < pauses.end_us)
            lost = (pauses.marks & PauseMark.STOP_LOST) > 0
            stops = covering & (pauses.kind == PauseKind.STOP)
            waits = covering & (pauses.kind == PauseKind.WAIT)
            if not covers(is_open, at)[0]:
                allowed = {State.CLOSED}
            elif covers(breaks, at)[0]:
                allowed = {State.BREAK}
            elif not len(events) or instant >= last:
                allowed = {State.UNKNOWN}
            elif (stops & ~lost).any():
                allowed = {State.STOP}
            elif waits.any():
                allowed = {State.WAIT}
            elif (stops & lost).any():
                allowed = {State.STOP, State.UNKNOWN}
            else:
                allowed = {State.RUN, State.UNKNOWN}
            assert state in allowed


@settings(max_examples=100, deadline=None)
@given(streams(), st.floats(0.01, 0.99))
def test_two_halves_of_a_window_are_the_whole(
    stream: tuple[tuple[int, int], Calendar, Events, Anchor, Rules], share: float
) -> None:
    window, calendar, events, anchor, rules = stream
    middle = window[0] + max(round((window[1] - window[0]) * share), 1)
    if middle >= window[1]:
        return
    pauses = find_pauses(events, anchor=anchor)
    whole, left, right = (
        partition(part, calendar, events, pauses, rules=rules)
        for part in (window, (window[0], middle), (middle, window[1]))
    )
    for state in State:
        assert whole.total_us(state) == left.total_us(state) + right.total_us(state)


def test_a_hundred_thousand_events_take_no_time() -> None:
    number = 100_000
    kind = np.resize(np.array([Event.PIECE, Event.STOP, Event.START, Event.WAIT], np.uint8), number)
    events = make_events(kind, T0 + np.arange(number) * 20 * S, np.full(number, 30.0))
    window = (T0, T0 + number * 20 * S)
    pauses = find_pauses(events)
    began = time.process_time()
    states = partition(window, SHIFT, events, pauses)
    assert time.process_time() - began < 5
    check_partition(states, window)
