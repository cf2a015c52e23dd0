"""What in a machine's events cannot be right, listed so that somebody can look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from workspace_lib.machining.events import Events
from workspace_lib.machining.pauses import Anchor, PauseKind, PauseMark, Pauses, check_anchor
from workspace_lib.machining.states import State, States
from workspace_lib.machining.stops import Edit

#: Kinds of anomalies, in the order they are told for one instant.
KINDS: Final = (
    "clock_step",
    "piece_in_stop",
    "piece_in_wait",
    "start_lost",
    "stop_lost",
    "stop_repeated",
    "stop_open",
    "wait_too_long",
    "wait_without_seconds",
    "wait_anchor",
    "silence",
    "edit_without_period",
)


@dataclass(frozen=True)
class Anomaly:
    """One thing that is odd: its kind, from when to when [µs since 1970 UTC], how many.

    ``count``: pieces of a contradiction, waits of an anchor, the number of an edit; else 1.
    """

    kind: str
    begin_us: int
    end_us: int
    count: int = 1


# Plain numbers: operations on flags take long where a log is nothing but odd.
_OF_MARKS: Final = (
    (int(PauseMark.START_LOST), "start_lost"),
    (int(PauseMark.STOP_LOST), "stop_lost"),
    (int(PauseMark.REPEATED), "stop_repeated"),
    (int(PauseMark.OPEN), "stop_open"),
    (int(PauseMark.TOO_LONG), "wait_too_long"),
    (int(PauseMark.NO_SECONDS), "wait_without_seconds"),
)


def find_anomalies(
    events: Events,
    pauses: Pauses,
    states: States,
    *,
    anchor: Anchor,
    orphans: Sequence[Edit] = (),
) -> tuple[Anomaly, ...]:
    """Return what is odd in the window of states, by time.

    Parameters
    ----------
    events, pauses, states
        The pauses as the log gave them, and states made of them or of edited ones.
    anchor : "start" or "end"
        What the pauses were found with: told if the pieces fit the other one better.
    orphans : sequence of Edit
        Edits that fit no period.
    """
    found = [*_of_pauses(pauses), *_clock_steps(events), *_silences(states)]
    begin, end = int(states.begin_us[0]), int(states.end_us[-1])
    check = check_anchor(events)
    if check.fits not in (None, anchor):
        wrong = check.start if anchor == "start" else check.end
        found.append(Anomaly("wait_anchor", begin, end, wrong))
    found += [
        Anomaly("edit_without_period", edit.part_us, edit.part_us, edit.number) for edit in orphans
    ]
    inside = [
        one
        for one in found
        if one.kind == "edit_without_period" or (one.begin_us < end and one.end_us >= begin)
    ]
    return tuple(sorted(inside, key=lambda one: (one.begin_us, KINDS.index(one.kind), one.end_us)))


def _of_pauses(pauses: Pauses) -> list[Anomaly]:
    found = []
    for place in np.flatnonzero(pauses.marks).tolist():
        span = (int(pauses.begin_us[place]), int(pauses.end_us[place]))
        marks = int(pauses.marks[place])
        if marks & int(PauseMark.PIECES):
            is_stop = pauses.kind[place] == PauseKind.STOP
            kind = "piece_in_stop" if is_stop else "piece_in_wait"
            found.append(Anomaly(kind, *span, int(pauses.pieces[place])))
        found += [Anomaly(kind, *span) for mark, kind in _OF_MARKS if marks & mark]
    return found


def _clock_steps(events: Events) -> list[Anomaly]:
    """Return where a segment begins: from where the clock was set back to, to where it had been."""
    steps = np.flatnonzero(np.diff(events.segment)) + 1
    return [
        Anomaly("clock_step", int(events.t_us[step]), int(events.t_us[step - 1]))
        for step in steps.tolist()
    ]


def _silences(states: States) -> list[Anomaly]:
    rows = np.flatnonzero(states.state == State.UNKNOWN).tolist()
    return [Anomaly("silence", int(states.begin_us[r]), int(states.end_us[r])) for r in rows]
