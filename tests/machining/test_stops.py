"""What people say about stops grows as a list; the periods of the log never change."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workspace_lib.clock import to_us
from workspace_lib.errors import ParameterError
from workspace_lib.machining.calendars import Calendar
from workspace_lib.machining.events import Event, Events, make_events
from workspace_lib.machining.losses import StopTime, pareto
from workspace_lib.machining.pauses import Loss, Pauses, find_pauses
from workspace_lib.machining.reasons import Reason, ReasonTree
from workspace_lib.machining.states import State, partition
from workspace_lib.machining.stops import (
    Action,
    Edit,
    append_edit,
    apply_edits,
    audit,
    edited_pauses,
    keys,
    stop_times,
)

MINUTE = 60_000_000
UTC = ZoneInfo("UTC")
T0 = to_us(datetime(2025, 5, 28, 8, tzinfo=UTC))
TREE = ReasonTree(
    [
        Reason("tech", "Technical"),
        Reason("saw", "Saw", "tech", Loss.OWN),
        Reason("blade", "New blade", "tech", Loss.SETUP),
        Reason("org", "Organisation"),
        Reason("bars", "No bars", "org", Loss.INDUCED),
        Reason("service", "Service", "org", Loss.PLANNED),
        Reason("ran", "It did run", "org", Loss.NONE),
    ]
)


def at(minute: float) -> int:
    return T0 + round(minute * MINUTE)


def made(*lines: tuple[Event, float, float]) -> Events:
    kind, minute, seconds = zip(*lines, strict=True)
    t_us = np.array([at(value) for value in minute], np.int64)
    return make_events(np.array(kind, np.uint8), t_us, np.array(seconds, np.float64))


NAN = float("nan")
EVENTS = made(
    (Event.PIECE, 0, NAN),
    (Event.STOP, 10, NAN),
    (Event.START, 40, NAN),
    (Event.WAIT, 45, 300),
    (Event.PIECE, 55, NAN),
    (Event.PIECE, 60, NAN),
)
PAUSES = find_pauses(EVENTS)
STOP, WAIT = keys(PAUSES)


class Book:
    """A list of edits in the making, by somebody, a minute after another."""

    def __init__(self, pauses: Pauses = PAUSES) -> None:
        self.pauses = pauses
        self.edits: tuple[Edit, ...] = ()

    def add(self, action: Action, key: str = STOP, **more: object) -> Book:
        now = at(1000 + len(self.edits))
        more.setdefault("part_us", at(10) if key == STOP else at(45))
        edit = Edit(0, now, "Anna", action, key, **more)  # type: ignore[arg-type]
        self.edits = append_edit(self.pauses, self.edits, edit, TREE)
        return self

    def parts(self) -> list[tuple[float, float, str]]:
        return [
            ((part.begin_us - T0) / MINUTE, (part.end_us - T0) / MINUTE, part.reason)
            for part in apply_edits(self.pauses, self.edits).parts
        ]


def test_without_edits_periods_are_as_the_log_says() -> None:
    assert Book().parts() == [(10, 40, ""), (45, 50, "")]


def test_a_stop_gets_a_reason_and_another() -> None:
    book = Book().add("assign", reason="saw").add("assign", reason="bars")
    assert book.parts()[0] == (10, 40, "bars")
    lines = audit(PAUSES, book.edits)
    assert [(line.before, line.after) for line in lines] == [("", "saw"), ("saw", "bars")]
    assert [line.edit.who for line in lines] == ["Anna", "Anna"]


def test_a_stop_is_split_and_each_part_has_its_reason() -> None:
    book = Book().add("assign", reason="saw").add("split", split_us=at(25))
    book.add("assign", part_us=at(25), reason="bars")
    book.add("split", part_us=at(25), split_us=at(30))
    assert book.parts()[:3] == [(10, 25, "saw"), (25, 30, "bars"), (30, 40, "bars")]


def test_a_revert_takes_one_edit_back_and_keeps_it_in_the_trail() -> None:
    book = Book().add("assign", reason="saw").add("assign", reason="bars")
    book.add("revert", "", reverts=2)
    assert book.parts()[0] == (10, 40, "saw")
    assert len(book.edits) == 3
    lines = audit(PAUSES, book.edits)
    assert [line.in_force for line in lines] == [True, False, True]
    assert (lines[2].before, lines[2].after, lines[2].edit.key) == ("bars", "saw", STOP)


def test_a_split_can_be_reverted_once_its_parts_are_as_they_were() -> None:
    book = Book().add("split", split_us=at(25)).add("assign", part_us=at(25), reason="bars")
    with pytest.raises(ParameterError, match=r"revert of edit 1.*Revert first: 2"):
        book.add("revert", reverts=1)
    book.add("revert", reverts=2).add("revert", reverts=1)
    assert book.parts()[0] == (10, 40, "")


def test_comments_gather() -> None:
    book = Book().add("comment", text="<b>Saw & bars</b>").add("comment", WAIT, text="late")
    book.add("assign", reason="saw", text="heard it")
    parts = apply_edits(PAUSES, book.edits).parts
    assert parts[0].comments == ("<b>Saw & bars</b>", "heard it")
    assert parts[0].edits == (1, 3)
    assert parts[1].comments == ("late",)


def test_the_periods_of_the_log_stay_as_they_are() -> None:
    before = [column.tolist() for column in vars(PAUSES).values()]
    book = Book().add("split", split_us=at(25)).add("assign", part_us=at(25), reason="service")
    edited_pauses(PAUSES, apply_edits(PAUSES, book.edits), TREE)
    assert [column.tolist() for column in vars(PAUSES).values()] == before


@pytest.mark.parametrize(
    ("action", "more", "message"),
    [
        ("assign", {"reason": "nonsense"}, "'nonsense' is no reason.*Use one of saw, blade"),
        ("assign", {"reason": "tech"}, "'tech' is no reason that a stop can have"),
        ("assign", {"reason": ""}, "has the reason '' already"),
        ("assign", {"reason": "ran"}, "No piece was made in it"),
        ("assign", {"reason": "saw", "part_us": at(11)}, "No part of it begins at .*08:11"),
        ("assign", {"key": "stop-1", "reason": "saw"}, "assign of stop-1: There is no such period"),
        ("split", {"split_us": at(10)}, "08:10:00Z is not inside it. Split between"),
        ("split", {"split_us": at(40)}, "is not inside it"),
        ("split", {"split_us": at(400)}, "is not inside it"),
        ("comment", {"text": "  "}, "comment is empty"),
        ("comment", {"text": "x" * 2001}, "2001 characters.*at most 2000"),
        ("revert", {"reverts": 1}, "no edit 1"),
    ],
)
def test_what_is_impossible_is_refused(
    action: Action, more: dict[str, object], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        Book().add(action, **more)  # type: ignore[arg-type]


def test_an_edit_has_a_name_and_comes_after_the_last_one() -> None:
    edits = Book().add("assign", reason="saw").edits
    nobody = Edit(0, at(2000), " ", "assign", STOP, at(10), "bars")
    with pytest.raises(ParameterError, match="needs a name"):
        append_edit(PAUSES, edits, nobody, TREE)
    early = Edit(0, at(5), "Anna", "assign", STOP, at(10), "bars")
    with pytest.raises(ParameterError, match=r"before the last edit.*clock"):
        append_edit(PAUSES, edits, early, TREE)


def test_a_revert_is_not_reverted_and_nothing_twice() -> None:
    book = Book().add("assign", reason="saw").add("revert", reverts=1)
    with pytest.raises(ParameterError, match="no edit 2 that can be reverted"):
        book.add("revert", reverts=2)
    with pytest.raises(ParameterError, match="reverted already"):
        book.add("revert", reverts=1)


def test_a_wait_of_unknown_length_has_no_reason() -> None:
    pauses = find_pauses(made((Event.PIECE, 0, NAN), (Event.WAIT, 5, NAN), (Event.PIECE, 9, NAN)))
    with pytest.raises(ParameterError, match="counts for nothing"):
        Book(pauses).add("assign", keys(pauses)[0], part_us=at(5), reason="bars")


def test_an_open_stop_keeps_its_edits_when_the_log_grows() -> None:
    begun = find_pauses(made((Event.PIECE, 0, NAN), (Event.STOP, 10, NAN)), until_us=at(20))
    book = Book(begun).add("assign", reason="saw").add("split", split_us=at(15))
    assert [part.reason for part in apply_edits(PAUSES, book.edits).parts] == ["saw", "saw", ""]
    assert apply_edits(PAUSES, book.edits).orphans == ()


def test_an_edit_whose_period_is_gone_is_kept_and_told() -> None:
    book = Book().add("assign", reason="saw").add("split", WAIT, split_us=at(48))
    shorter = find_pauses(made((Event.PIECE, 0, NAN), (Event.WAIT, 45, 60), (Event.PIECE, 55, NAN)))
    edited = apply_edits(shorter, book.edits)
    assert [edit.number for edit in edited.orphans] == [1, 2]
    assert [line.in_force for line in audit(shorter, book.edits)] == [False, False]


def test_reasons_move_time_between_losses() -> None:
    book = Book().add("split", split_us=at(20)).add("assign", reason="service")
    book.add("assign", part_us=at(20), reason="blade").add("assign", WAIT, reason="saw")
    pauses = edited_pauses(PAUSES, apply_edits(PAUSES, book.edits), TREE)
    assert pauses.loss.tolist() == [Loss.PLANNED, Loss.SETUP, Loss.OWN]
    assert (pauses.length_us // MINUTE).tolist() == [30, 30, 5]
    states = partition((at(0), at(60)), Calendar(UTC), EVENTS, pauses)
    assert states.total_us(State.BREAK) == 10 * MINUTE
    assert states.total_us(State.STOP) == 20 * MINUTE


def test_the_pareto_is_of_the_time_that_the_states_have() -> None:
    book = Book().add("split", split_us=at(20)).add("assign", reason="saw")
    edited = apply_edits(PAUSES, book.edits)
    states = partition((at(15), at(60)), Calendar(UTC), EVENTS, edited_pauses(PAUSES, edited, TREE))
    times = stop_times(states, edited, TREE)
    assert times == (
        StopTime("Technical", "Saw", 5 * MINUTE),
        StopTime("stop", "unqualified", 20 * MINUTE),
        StopTime("wait", "unqualified", 5 * MINUTE),
    )
    assert [row.name for row in pareto(times)] == ["stop", "Technical", "wait"]


def test_stops_of_one_instant_have_names_of_their_own() -> None:
    events = made(
        (Event.STOP, 5, NAN), (Event.START, 5, NAN), (Event.STOP, 5, NAN), (Event.START, 9, NAN)
    )
    assert keys(find_pauses(events)) == (f"stop-{at(5)}", f"stop-{at(5)}-2")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["assign", "split", "comment", "revert"]),
            st.integers(9, 51),
            st.integers(9, 51),
            st.sampled_from(["", "saw", "bars", "tech"]),
            st.integers(1, 8),
        ),
        max_size=25,
    )
)
def test_whatever_people_do_the_parts_fill_their_periods(
    wanted: list[tuple[Action, int, int, str, int]],
) -> None:
    book = Book()
    for action, part, split, reason, reverts in wanted:
        key = STOP if part < 45 else WAIT
        more = {"part_us": at(part), "split_us": at(split), "reason": reason, "reverts": reverts}
        count = len(book.edits)
        try:
            book.add(action, key, text="x", **more)
        except ParameterError:
            assert len(book.edits) == count
    edited = apply_edits(PAUSES, book.edits)
    assert edited.orphans == ()
    for place in range(len(PAUSES)):
        mine = [part for part in edited.parts if part.pause == place]
        assert mine[0].begin_us == PAUSES.begin_us[place]
        assert mine[-1].end_us == PAUSES.end_us[place]
        assert all(one.end_us == two.begin_us for one, two in pairwise(mine))
        assert all(part.begin_us < part.end_us for part in mine)
    assert [line.edit.number for line in audit(PAUSES, book.edits)] == [
        *range(1, len(book.edits) + 1)
    ]
