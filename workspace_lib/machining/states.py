"""The states of a machine: an exact partition of a window, without overlap and without hole.

From strongest to weakest:

1. CLOSED: outside the calendar.
2. BREAK: a planned break, or a pause whose reason was planned.
3. UNKNOWN: a missing file; before the first and behind the last evidence.
4. STOP: from stop to start.
5. WAIT: as the machine wrote it.
6. UNKNOWN: silence, more required time between two signs of life than a limit.
7. STOP that is inferred from a start without a stop.
8. RUN: what is left.

Micro-stops are stops and waits shorter than a threshold; they keep their state and are marked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workspace_lib.errors import DataQualityError, ParameterError
from workspace_lib.machining.calendars import Calendar, opening, planned_breaks
from workspace_lib.machining.events import Events
from workspace_lib.machining.line_fields import Bools, Ints
from workspace_lib.machining.pauses import Loss, PauseKind, PauseMark, Pauses, disjoint
from workspace_lib.machining.spans import Spans, make_spans, measure, subtract, union

#: Silence up to this is the time between two pieces [s].
NO_SIGNAL_S: Final = 900.0
#: Shorter stops and waits are micro-stops: "generally less than a minute".
MICRO_S: Final = 60.0

_NOTHING: Final = make_spans(())


class State(IntEnum):
    """What a machine was doing."""

    UNKNOWN = 0
    RUN = 1
    WAIT = 2
    STOP = 3
    BREAK = 4
    CLOSED = 5


@dataclass(frozen=True)
class Rules:
    """Limits that a site chooses: ``no_signal_s`` and ``micro_s`` [s]."""

    no_signal_s: float = NO_SIGNAL_S
    micro_s: float = MICRO_S


@dataclass(frozen=True)
class States:
    """A window cut into states: row i begins where row i - 1 ends.

    ``begin_us``, ``end_us`` [µs since 1970 UTC]; ``state`` of `State`; ``micro``; ``pause``, the
    place in `Pauses` that a row is of, or -1; each of shape (rows,).
    """

    begin_us: Ints
    end_us: Ints
    state: NDArray[np.uint8]
    micro: Bools
    pause: Ints

    def __len__(self) -> int:
        return len(self.begin_us)

    def total_us(self, state: State) -> int:
        """Return how long a state lasted [µs]."""
        return int((self.end_us - self.begin_us)[self.state == state].sum())

    def at(self, t_us: Ints) -> NDArray[np.uint8]:
        """Return in which state instants end; those outside the window count to its edge.

        A piece is stamped when it is done: one of the moment a break begins was made before.
        """
        place = np.searchsorted(self.begin_us, t_us, "left") - 1
        return self.state[np.clip(place, 0, len(self) - 1)]


def partition(
    window: tuple[int, int],
    calendar: Calendar,
    events: Events,
    pauses: Pauses,
    *,
    until_us: int | None = None,
    missing: Iterable[tuple[int, int]] = (),
    rules: Rules | None = None,
) -> States:
    """Return the states of a window.

    Parameters
    ----------
    window : tuple of int
        Begin and end (excluded) [µs since 1970 UTC].
    calendar : Calendar
    events : Events
        Every event is a sign of life; best with some from before and behind the window.
    pauses : Pauses
        As `pauses.find_pauses` gives them, or as people have edited them.
    until_us : int, optional
        Up to when the log is known to be whole [µs]; by default its last event.
    missing : iterable of tuple of int
        Spans of files that are known to be missing [µs].
    rules : Rules, optional

    Raises
    ------
    ParameterError
        If the window is empty.
    """
    begin, end = window
    if end <= begin:
        raise ParameterError(
            f"The window from {begin} to {end} µs is empty.", fix="Let it end after its begin."
        )
    rules = rules or Rules()
    is_open, breaks = opening(calendar, begin, end), planned_breaks(calendar, begin, end)
    unknown = _without_evidence(window, events, pauses, until_us, missing)
    micro = _is_micro(pauses, rules)
    counted = (pauses.loss != Loss.NONE) & (pauses.begin_us < pauses.end_us)
    planned = counted & (pauses.loss == Loss.PLANNED)
    lost = (pauses.marks & PauseMark.STOP_LOST) > 0
    stop = counted & ~planned & (pauses.kind == PauseKind.STOP)
    wait = counted & ~planned & (pauses.kind == PauseKind.WAIT)
    # Stronger first. Of equal ones a long pause is stronger than a micro-stop.
    layers = [
        (State.CLOSED, _plain(subtract(make_spans([window]), is_open))),
        (State.BREAK, _plain(breaks)),
        (State.BREAK, _owned(pauses, planned)),
        (State.UNKNOWN, _plain(unknown)),
        (State.STOP, _owned(pauses, stop & ~lost & ~micro)),
        (State.STOP, _owned(pauses, stop & ~lost & micro)),
        (State.WAIT, _owned(pauses, wait & ~micro)),
        (State.WAIT, _owned(pauses, wait & micro)),
        (State.UNKNOWN, _plain(_silence(window, calendar, events, pauses, until_us, rules))),
        (State.STOP, _owned(pauses, stop & lost)),
    ]
    return _sweep(window, layers, micro)


def check_partition(states: States, window: tuple[int, int]) -> None:
    """Refuse states that do not exactly partition a window.

    Raises
    ------
    DataQualityError
        If rows overlap, leave a hole, are empty, or do not add up to the window.
    """
    begin, end = states.begin_us, states.end_us
    good = (
        len(states) > 0
        and (int(begin[0]), int(end[-1])) == window
        and bool((begin[1:] == end[:-1]).all())
        and bool((begin < end).all())
    )
    if not good:
        raise DataQualityError(
            f"The states do not partition the window from {window[0]} to {window[1]} µs.",
            fix="Make them by states.partition of this window.",
        )


def state_seconds(states: States) -> dict[str, float]:
    """Return how long each state lasted [s]; all of them are named."""
    return {state.name: states.total_us(state) / 1e6 for state in State}


_Layer = tuple[Ints, Ints, Ints]


def _plain(spans: Spans) -> _Layer:
    return spans.begin, spans.end, np.full(len(spans), -1, np.int64)


def _owned(pauses: Pauses, chosen: Bools) -> _Layer:
    owner = np.flatnonzero(chosen)
    begin, end, left = disjoint(pauses.begin_us[owner], pauses.end_us[owner])
    return begin[left], end[left], owner[left]


def _sweep(window: tuple[int, int], layers: list[tuple[State, _Layer]], is_micro: Bools) -> States:
    """Cut the window at all edges, give each piece its strongest layer, join equal neighbours."""
    edges = np.concatenate(
        [np.array(window, np.int64), *(edge for _, row in layers for edge in row[:2])]
    )
    edges = np.unique(np.clip(edges, *window))
    at = edges[:-1]
    state = np.full(len(at), State.RUN, np.uint8)
    pause = np.full(len(at), -1, np.int64)
    free = np.ones(len(at), bool)
    for name, (begin, end, owner) in layers:
        if not len(begin):
            continue
        place = np.searchsorted(begin, at, "right") - 1
        mine = free & (place >= 0) & (at < end[place])
        state[mine], pause[mine] = name, owner[place[mine]]
        free &= ~mine
    micro = np.zeros(len(at), bool)
    of_pause = pause >= 0
    micro[of_pause] = is_micro[pause[of_pause]]
    first = np.ones(len(at), bool)
    first[1:] = (state[1:] != state[:-1]) | (pause[1:] != pause[:-1])
    begins = at[first]
    ends = np.append(begins[1:], edges[-1])
    return States(begins, ends, state[first], micro[first], pause[first])


def _is_micro(pauses: Pauses, rules: Rules) -> Bools:
    short: Bools = pauses.length_us < round(rules.micro_s * 1e6)
    # What somebody has given a reason is what they say, however short.
    given = np.isin(pauses.loss, (Loss.PLANNED, Loss.SETUP))
    micro: Bools = (short & ~given) | (pauses.loss == Loss.MINOR)
    return micro


def _without_evidence(
    window: tuple[int, int],
    events: Events,
    pauses: Pauses,
    until_us: int | None,
    missing: Iterable[tuple[int, int]],
) -> Spans:
    if not len(events):
        return make_spans([window])
    first, last = int(events.t_us.min()), int(events.t_us.max())
    first = int(pauses.begin_us.min(initial=first))  # a wait may be logged when it ends
    until = last if until_us is None else until_us
    return make_spans([(window[0], first), (until, window[1]), *missing])


def _silence(
    window: tuple[int, int],
    calendar: Calendar,
    events: Events,
    pauses: Pauses,
    until_us: int | None,
    rules: Rules,
) -> Spans:
    """Return the gaps between signs of life that hold more required time than the limit.

    Only required time counts: a night that is closed is no silence, and a morning with one event
    after half an hour is, however the calendar cuts it.
    """
    known = (pauses.begin_us < pauses.end_us) & ((pauses.marks & PauseMark.STOP_LOST) == 0)
    begin, end = pauses.begin_us[known], pauses.end_us[known]
    until = np.array([] if until_us is None else [until_us], np.int64)
    signs = np.unique(np.concatenate((events.t_us, begin, end, until)))
    # Of what lies outside the window, the nearest sign on each side is enough.
    first = max(int(np.searchsorted(signs, window[0], "right")) - 1, 0)
    signs = signs[first : int(np.searchsorted(signs, window[1], "left")) + 1]
    if len(signs) < 2:
        return _NOTHING
    low, high = int(signs[0]), int(signs[-1])
    needed = subtract(opening(calendar, low, high), planned_breaks(calendar, low, high))
    # A pause is evidence of itself: the time in it is no silence.
    silent = np.diff(measure(subtract(needed, union(begin, end)), signs))
    long = silent > round(rules.no_signal_s * 1e6)
    return union(signs[:-1][long], signs[1:][long])
