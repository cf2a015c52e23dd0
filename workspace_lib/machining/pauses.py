"""Stops and waits of a machine, found in its events; nothing unpaired vanishes.

Rules for what does not pair:

- A stop after a stop belongs to the first, unless pieces were made between: then a start was lost,
  and the first stop ends with the first of these pieces.
- A start without a stop: the machine was not running before it, and the begin of that is not known.
  It is taken for the last event before; where that is long ago, silence is stronger.
- A stop without a start ends with the first piece after it, or else with the last evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from workspace_lib.machining.events import Event, Events
from workspace_lib.machining.line_fields import Bools, Ints

Anchor = Literal["start", "end"]

#: Waits that say to be longer are not believed [s].
LONGEST_WAIT_S: Final = 86_400.0


class PauseKind(IntEnum):
    """Of what a pause is."""

    WAIT = 0
    STOP = 1


class PauseMark(IntFlag):
    """What is odd about a pause."""

    PIECES = 1
    """Pieces were made strictly inside: a contradiction."""
    REPEATED = 2
    """Further stops came before the start."""
    START_LOST = 4
    """It ends with a piece, since the start is missing."""
    STOP_LOST = 8
    """Its begin is inferred, since the stop is missing."""
    OPEN = 16
    """It ends with the evidence."""
    TOO_LONG = 32
    """A wait that says to be longer than is believed; it counts for nothing."""
    NO_SECONDS = 64
    """A wait whose details say no seconds; it counts for nothing."""


class Loss(IntEnum):
    """What time of a pause is lost to; classes of NF E60-182 where they exist."""

    NONE = 0
    """Nothing: the machine did run."""
    OWN = 1
    """Own stop (arrêt propre): breakdown, adjustment."""
    INDUCED = 2
    """Induced stop (arrêt induit): no material, no operator."""
    SETUP = 3
    """Own stop that makes the machine ready for another product."""
    MINOR = 4
    """Micro-stop, whatever its length."""
    PLANNED = 5
    """Not required time: it counts as a planned break."""


@dataclass(frozen=True)
class Pauses:
    """Stops and waits as columns, each of shape (pauses,), sorted by begin.

    ``begin_us``, ``end_us`` [µs since 1970 UTC]; ``kind`` of `PauseKind`, ``marks`` of `PauseMark`,
    ``loss`` of `Loss`; ``length_us``, how long the whole pause was of which this may be a part
    [µs]; ``row``, the event it begins with, as `Events.row`; ``pieces`` made strictly inside.
    """

    begin_us: Ints
    end_us: Ints
    kind: NDArray[np.uint8]
    marks: NDArray[np.uint8]
    loss: NDArray[np.uint8]
    length_us: Ints
    row: Ints
    pieces: Ints

    def __len__(self) -> int:
        return len(self.begin_us)


@dataclass(frozen=True)
class AnchorCheck:
    """How many waits have pieces strictly inside if the log writes waits at their start or end."""

    waits: int
    start: int
    end: int

    @property
    def fits(self) -> Anchor | None:
        """The anchor with fewer contradictions; None if nothing tells them apart."""
        if self.start == self.end:
            return None
        return "start" if self.start < self.end else "end"


def check_anchor(events: Events, *, longest_wait_s: float = LONGEST_WAIT_S) -> AnchorCheck:
    """Return which anchor of waits the pieces fit: none may fall strictly inside a wait."""
    waits = (events.wait_us > 0) & (events.wait_us <= round(longest_wait_s * 1e6))
    at, length = events.t_us[waits], events.wait_us[waits]
    pieces = events.times(Event.PIECE)
    start = _inside(pieces, at, at + length) > 0
    end = _inside(pieces, at - length, at) > 0
    return AnchorCheck(len(at), int(start.sum()), int(end.sum()))


def find_pauses(
    events: Events,
    *,
    anchor: Anchor = "start",
    until_us: int | None = None,
    longest_wait_s: float = LONGEST_WAIT_S,
) -> Pauses:
    """Return the stops and waits of events.

    Parameters
    ----------
    events : Events
        Best with what came before the window that is asked about: a stop may begin there.
    anchor : "start" or "end"
        Whether a wait is logged when it begins or when it ends.
    until_us : int, optional
        Up to when the log is known to be whole [µs]; by default its last event. An open stop ends
        here, and no wait goes beyond.
    longest_wait_s : float
        Longer waits are not believed [s].
    """
    until = int(events.t_us.max(initial=0)) if until_us is None else until_us
    stops = _stops(events, until)
    waits = np.flatnonzero(events.kind == Event.WAIT)
    at, length = events.t_us[waits], events.wait_us[waits]
    marks = np.zeros(len(waits), np.int64)
    marks[length < 0] |= PauseMark.NO_SECONDS
    marks[length > round(longest_wait_s * 1e6)] |= PauseMark.TOO_LONG
    length = np.where(marks > 0, 0, length)
    begin = at if anchor == "start" else at - length
    rows = np.array([row for row, *_ in stops], np.int64)
    begin = np.concatenate((np.array([stop[1] for stop in stops], np.int64), begin))
    end = np.array([stop[2] for stop in stops], np.int64)
    end = np.concatenate((end, np.minimum(begin[len(stops) :] + length, np.maximum(at, until))))
    marks = np.concatenate((np.array([stop[3] for stop in stops], np.int64), marks))
    kind = np.repeat([PauseKind.STOP, PauseKind.WAIT], [len(stops), len(waits)])
    inside = _inside(events.times(Event.PIECE), begin, end)
    marks[inside > 0] |= PauseMark.PIECES
    row = events.row[np.concatenate((rows, waits))]
    order = np.lexsort((row, begin))
    return Pauses(
        begin_us=begin[order],
        end_us=end[order],
        kind=kind[order].astype(np.uint8),
        marks=marks[order].astype(np.uint8),
        loss=np.where(kind == PauseKind.STOP, Loss.OWN, Loss.INDUCED)[order].astype(np.uint8),
        length_us=(end - begin)[order],
        row=row[order],
        pieces=inside[order],
    )


def disjoint(begin: Ints, end: Ints) -> tuple[Ints, Ints, Bools]:
    """Cut pauses sorted by begin so that none overlaps an earlier one; some become empty.

    Returns begins, ends, and which are left.
    """
    reached = np.maximum.accumulate(end) if len(end) else end
    cut = begin.copy()
    cut[1:] = np.maximum(begin[1:], reached[:-1])
    return cut, end, cut < end


def _inside(pieces: Ints, begin: Ints, end: Ints) -> Ints:
    """Count the pieces strictly inside each span."""
    found: Ints = np.searchsorted(pieces, end, "left") - np.searchsorted(pieces, begin, "right")
    return np.maximum(found, 0)


def _stops(events: Events, until: int) -> list[tuple[int, int, int, int]]:
    """Return place, begin, end and marks of each stop; a loop over stops and starts alone."""
    t_us, segment = events.t_us, events.segment
    places = np.flatnonzero((events.kind == Event.STOP) | (events.kind == Event.START))
    pieces = np.flatnonzero(events.kind == Event.PIECE)
    next_piece = np.append(pieces, len(events))[np.searchsorted(pieces, places)]
    first_of = np.searchsorted(segment, segment[places])
    end_of = np.searchsorted(segment, segment[places], "right")
    found: list[tuple[int, int, int, int]] = []
    opened: tuple[int, int, int, int] | None = None  # place, marks, next piece, end of its segment
    columns = (places, events.kind[places], next_piece, first_of, end_of)
    for place, kind, piece, first, end in zip(*(c.tolist() for c in columns), strict=True):
        if opened and (place >= opened[3] or (kind == Event.STOP and opened[2] < place)):
            found.append(_unfinished(t_us, opened, until))
            opened = None
        if kind == Event.STOP:
            if opened:
                opened = (opened[0], opened[1] | PauseMark.REPEATED, *opened[2:])
            else:
                opened = (place, 0, piece, end)
        elif opened:
            found.append((opened[0], int(t_us[opened[0]]), int(t_us[place]), opened[1]))
            opened = None
        else:
            begin = int(t_us[max(place - 1, first)])
            found.append((place, begin, int(t_us[place]), int(PauseMark.STOP_LOST)))
    if opened:
        found.append(_unfinished(t_us, opened, until))
    return found


def _unfinished(
    t_us: Ints, opened: tuple[int, int, int, int], until: int
) -> tuple[int, int, int, int]:
    place, marks, piece, end = opened
    begin = int(t_us[place])
    if piece < end:
        return place, begin, int(t_us[piece]), marks | PauseMark.START_LOST
    last = until if end == len(t_us) else int(t_us[end - 1])
    return place, begin, max(begin, last), marks | PauseMark.OPEN
