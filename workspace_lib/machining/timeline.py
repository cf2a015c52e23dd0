"""Instants of a machine's events: from wall-clock stamps in the order of the log.

Stamps that step back a little are put in order; those of an hour that comes twice are told apart by
the step between; any larger step is a clock that was set: what follows is a segment of its own, so
that no duration is negative.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntFlag
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from workspace_lib.machining.line_fields import Bools, Ints

#: Steps back up to this are lines written late [s].
TOLERANCE_S: Final = 60.0

_US: Final = 1_000_000
_HOUR_US: Final = 3600 * _US
_DAY_US: Final = 24 * _HOUR_US
#: Offsets of all zones in use change at whole quarters of an hour.
_QUARTER_US: Final = _HOUR_US // 4
_EPOCH: Final = datetime(1970, 1, 1)


class Mark(IntFlag):
    """What was odd about a stamp."""

    REORDERED = 1
    """It stood behind a later one."""
    SECOND = 2
    """It is of the second passage of an hour that came twice."""
    AMBIGUOUS = 4
    """Its hour came twice, and nothing tells which one it is of: taken for the first."""
    NONEXISTENT = 8
    """Its hour was left out; taken as if the clock had not been put forward."""
    STEP = 16
    """The clock was set back: here a segment begins."""


@dataclass(frozen=True)
class Timeline:
    """Instants of events in the order of the log.

    ``t_us`` [µs since 1970 UTC], ``marks`` of `Mark`, ``segment`` from 0 on, and ``order``: the
    events sorted by segment and instant, where equal ones stay in the order of the log.
    """

    t_us: Ints
    marks: NDArray[np.uint8]
    segment: NDArray[np.int32]
    order: Ints


def place(t_local_us: Ints, zone: ZoneInfo, *, tolerance_s: float = TOLERANCE_S) -> Timeline:
    """Return the instants of stamps.

    Parameters
    ----------
    t_local_us : array of int64, shape (events,)
        Naive stamps in the order of the log [µs since 1970 as if they were UTC].
    zone : ZoneInfo
        The zone of the machine's clock.
    tolerance_s : float
        Steps back up to this are no clock that was set [s].
    """
    tolerance = round(tolerance_s * _US)
    first, second = offsets(t_local_us, zone)
    twice, never = first > second, first < second
    is_second, decided = _passages(t_local_us, twice, tolerance)
    t_us = t_local_us - np.where(is_second, second, first)
    marks = np.zeros(len(t_us), np.uint8)
    marks[is_second] |= np.uint8(Mark.SECOND)
    marks[twice & ~decided] |= np.uint8(Mark.AMBIGUOUS)
    marks[never] |= np.uint8(Mark.NONEXISTENT)
    late, steps = _steps_back(t_us, tolerance)
    marks[late] |= np.uint8(Mark.REORDERED)
    marks[steps] |= np.uint8(Mark.STEP)
    segment = np.zeros(len(t_us), np.int32)
    segment[steps] = 1
    segment = np.cumsum(segment, dtype=np.int32)
    return Timeline(t_us, marks, segment, np.lexsort((t_us, segment)))


def offsets(t_local_us: Ints, zone: ZoneInfo) -> tuple[Ints, Ints]:
    """Return local time less UTC [µs] for the first and the second passage of each stamp.

    They differ only in an hour that comes twice (first > second) or never (first < second).
    """
    days, day = np.unique(t_local_us // _DAY_US, return_inverse=True)
    edges = [_offset(int(number) * _DAY_US, zone, 0) for number in [*days, *(days + 1)]]
    begin, end = np.array(edges, np.int64).reshape(2, -1)
    first = begin[day]
    second = first.copy()
    changing = np.flatnonzero((begin != end)[day])
    quarters, quarter = np.unique(t_local_us[changing] // _QUARTER_US, return_inverse=True)
    for fold, column in enumerate((first, second)):
        each = [_offset(int(number) * _QUARTER_US, zone, fold) for number in quarters]
        column[changing] = np.array(each, np.int64)[quarter]
    return first, second


def _offset(local_us: int, zone: ZoneInfo, fold: int) -> int:
    local = (_EPOCH + timedelta(microseconds=local_us)).replace(tzinfo=zone, fold=fold)
    found = local.utcoffset()
    assert found is not None  # a zone knows its offset
    return found // timedelta(microseconds=1)


def _passages(local: Ints, twice: Bools, tolerance: int) -> tuple[Bools, Bools]:
    """Return which stamps are of a second passage, and for which of a double hour that is known."""
    is_second, decided = np.zeros(len(local), bool), np.zeros(len(local), bool)
    if not twice.any():
        return is_second, decided
    steps = np.flatnonzero(np.diff(local) < 0) + 1
    latest, since = np.iinfo(np.int64).min, 0  # of this passage, and where it begins
    for number, step in enumerate(steps.tolist()):
        latest = max(latest, int(local[step - 1]))
        back = latest - int(local[step])
        if back <= tolerance:
            continue
        if (
            twice[step]
            and twice[step - 1]
            and back <= _HOUR_US + tolerance
            and not is_second[step - 1]
        ):
            end = _end_of_passage(local, steps[number + 1 :], step, tolerance)
            near = np.abs(local[since:end] - local[step]) < 2 * _HOUR_US
            mine = twice[since:end] & near
            decided[since:end] |= mine
            mine[: step - since] = False
            is_second[since:end] |= mine
        latest, since = int(local[step]), step
    return is_second, decided


def _end_of_passage(local: Ints, later: Ints, step: int, tolerance: int) -> int:
    """Return where the next step back that is no late line begins."""
    latest = int(local[step])
    for row in later.tolist():
        latest = max(latest, int(local[row - 1]))
        if latest - int(local[row]) > tolerance:
            return int(row)
    return len(local)


def _steps_back(t_us: Ints, tolerance: int) -> tuple[list[int], list[int]]:
    """Return where instants are late, and where the clock was set back."""
    late, steps = [], []
    latest = np.iinfo(np.int64).min
    # Between steps back the instants rise, so that only these need to be looked at.
    for row in (np.flatnonzero(np.diff(t_us) < 0) + 1).tolist():
        latest = max(latest, int(t_us[row - 1]))
        if latest - int(t_us[row]) <= tolerance:
            late.append(row)
        else:
            steps.append(row)
            latest = int(t_us[row])
    return late, steps


def local_us(stamp: datetime) -> int:
    """Return a naive local time as a stamp [µs since 1970 as if it were UTC]."""
    return (stamp.replace(tzinfo=UTC) - _EPOCH.replace(tzinfo=UTC)) // timedelta(microseconds=1)
