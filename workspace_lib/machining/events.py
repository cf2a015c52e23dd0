"""Events of a machine as columns: what the calculations read, wherever they came from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from workspace_lib.machining.details import wait_seconds
from workspace_lib.machining.line_fields import NO_TIME, Bools, Ints
from workspace_lib.machining.lines import JOB, PIECE, START, STOP, WAIT, ParsedLines
from workspace_lib.machining.timeline import TOLERANCE_S, Timeline, place


class Event(IntEnum):
    """What an event means."""

    PIECE = 0
    WAIT = 1
    STOP = 2
    START = 3
    JOB = 4
    OTHER = 5
    """Its meaning is not known; it shows that the machine was there."""


_MEANING = {
    PIECE: Event.PIECE,
    WAIT: Event.WAIT,
    STOP: Event.STOP,
    START: Event.START,
    JOB: Event.JOB,
}


@dataclass(frozen=True)
class Events:
    """Events sorted by segment and instant, equal ones in the order of the log.

    ``kind`` of `Event`, ``t_us`` [µs since 1970 UTC], ``wait_us`` of waits [µs] (-1 where the log
    says none), ``segment`` (another one after the clock was set back), ``row`` (the event's place
    in what it was made of), each of shape (events,).
    """

    kind: NDArray[np.uint8]
    t_us: Ints
    wait_us: Ints
    segment: NDArray[np.int32]
    row: Ints

    def __len__(self) -> int:
        return len(self.t_us)

    def times(self, kind: Event) -> Ints:
        """Return the instants of one kind of event, sorted [µs]."""
        return np.sort(self.t_us[self.kind == kind])


def make_events(
    kind: NDArray[np.uint8],
    t_us: Ints,
    seconds: NDArray[np.float64],
    segment: NDArray[np.int32] | None = None,
) -> Events:
    """Return events in their order.

    Parameters
    ----------
    kind : array of uint8, shape (events,)
        An `Event` each, in the order of the log.
    t_us : array of int64, shape (events,)
        Instants [µs since 1970 UTC].
    seconds : array of float64, shape (events,)
        How long a wait was [s], NaN where there is none; rounded to whole microseconds.
    segment : array of int32, shape (events,), optional
        As `timeline.Timeline` gives them.
    """
    part = np.zeros(len(t_us), np.int32) if segment is None else segment
    good = (kind == Event.WAIT) & np.isfinite(seconds) & (seconds >= 0) & (seconds < 1e12)
    wait_us = np.full(len(t_us), -1, np.int64)
    wait_us[good] = np.rint(seconds[good] * 1e6).astype(np.int64)
    order = np.lexsort((t_us, part))
    return Events(kind[order], t_us[order], wait_us[order], part[order], order.astype(np.int64))


def read_events(
    lines: ParsedLines,
    zone: ZoneInfo,
    *,
    keep: Bools | None = None,
    tolerance_s: float = TOLERANCE_S,
) -> tuple[Events, Timeline]:
    """Return the events of a parsed log, and how their instants were found.

    ``Events.row`` counts the lines of the log. ``keep`` says which lines count: those of blocks
    that were uploaded again do not.
    """
    good = (lines.t_local_us != NO_TIME) & (lines.name >= 0)
    rows = np.flatnonzero(good if keep is None else good & keep)
    timeline = place(lines.t_local_us[rows], zone, tolerance_s=tolerance_s)
    meaning = [_MEANING.get(name, Event.OTHER) for name in lines.names]
    kind = np.array([*meaning, Event.OTHER], np.uint8)[lines.name[rows]]
    seconds = np.full(len(lines), np.nan)
    waits, values = wait_seconds(lines)
    seconds[waits] = values
    found = make_events(kind, timeline.t_us, seconds[rows], timeline.segment)
    return Events(found.kind, found.t_us, found.wait_us, found.segment, rows[found.row]), timeline
