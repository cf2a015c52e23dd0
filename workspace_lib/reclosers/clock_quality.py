"""How good a relay's clock is, from what it said at each visit; and events set right by it.

A relay has a quartz that drifts by some seconds a day, is set by people or a time source, and often
knows nothing of daylight saving time. Each visit compares it with this host's clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final, Literal
from zoneinfo import ZoneInfo

import numpy as np

from workspace_lib.errors import ParameterError
from workspace_lib.reclosers.record import DeviceTime

Quality = Literal["good", "fair", "bad", "unknown"]
_DAY_S: Final = 86_400.0
_HOUR_S: Final = 3600.0


@dataclass(frozen=True)
class Reading:
    """The relay's clock at a visit: by ``error_s`` ahead of the zone's time, known to ``within_s``.

    ``host`` is when it was read, in UTC.
    """

    host: datetime
    error_s: float
    within_s: float


@dataclass(frozen=True)
class ClockLimits:
    """What counts as good.

    Attributes
    ----------
    good_s, fair_s : float
        Largest error, with its uncertainty, of a good and of a fair clock [s].
    stale_days : float
        After so long without a reading nothing is known [d].
    drift_s_per_day : float
        What a quartz may drift [s/d]; an error that changes faster was set.
    step_s : float
        Least change that counts as a setting [s].
    hour_within_s : float
        How near to an hour an error looks like daylight saving time [s].
    """

    good_s: float = 1.0
    fair_s: float = 30.0
    stale_days: float = 30.0
    drift_s_per_day: float = 5.0
    step_s: float = 1.0
    hour_within_s: float = 120.0

    def __post_init__(self) -> None:
        if (
            not 0 < self.good_s <= self.fair_s
            or min(self.stale_days, self.drift_s_per_day, self.step_s, self.hour_within_s) <= 0
        ):
            raise ParameterError("Limits of clocks are positive, and good is below fair.")


@dataclass(frozen=True)
class Step:
    """The clock was set between two visits, by ``by_s`` [s]; ``hour`` if by about an hour."""

    after: datetime
    before: datetime
    by_s: float
    hour: bool


@dataclass(frozen=True)
class ClockQuality:
    """A relay's clock at one time.

    Attributes
    ----------
    quality : str
        ``good``, ``fair``, ``bad`` by its limits, ``unknown`` without a fresh reading.
    offset_s, within_s : float or None
        By how much it is fast now, and how well that is known [s].
    drift_s_per_day : float or None
        Since it was last set [s/d]; None from fewer than two readings or less than six hours.
    steps : tuple of Step
        When it was set.
    hour_off : bool
        Whether it is off by about an hour: it does not follow daylight saving time, or is in
        another zone.
    seasonal : bool
        Whether its error changed by an hour where the zone's time did: it keeps one time all year.
    last : datetime or None
        The last reading.
    """

    quality: Quality
    offset_s: float | None = None
    within_s: float | None = None
    drift_s_per_day: float | None = None
    steps: tuple[Step, ...] = ()
    hour_off: bool = False
    seasonal: bool = False
    last: datetime | None = None


@dataclass(frozen=True)
class Corrected:
    """An event's time in UTC, known to ``within_s`` [s]; None: the clock was never compared.

    ``by_s`` is what was taken off the relay's time [s]. ``how``: ``between`` two readings,
    ``beyond`` the first or last, ``set_between`` two readings of which it is not known which holds,
    ``none``. ``doubt``: ``twice`` for a wall time that the zone has twice, ``never`` for one that
    it does not have, else empty.
    """

    utc: datetime
    within_s: float | None
    by_s: float
    how: Literal["between", "beyond", "set_between", "none"]
    doubt: Literal["", "twice", "never"] = ""


@dataclass(frozen=True)
class TimeDoubts:
    """Times of a list of events that cannot all be right.

    ``repeated`` are times that more than one event has; ``backwards`` are pairs of an event and
    the next newer one, whose time is before it: the clock was set back between them.
    """

    repeated: tuple[DeviceTime, ...] = ()
    backwards: tuple[tuple[DeviceTime, DeviceTime], ...] = ()


def clock_quality(
    readings: Iterable[Reading],
    now: datetime,
    *,
    zone: ZoneInfo | None = None,
    limits: ClockLimits | None = None,
) -> ClockQuality:
    """Return how good a relay's clock is.

    The drift is the slope of a straight line through the readings since the last setting, weighted
    by how well they are known; the offset now is the last reading carried on by it, and becomes the
    less certain the longer ago that was.

    Parameters
    ----------
    readings : iterable of Reading
        In any order.
    now : datetime
        Aware.
    zone : ZoneInfo, optional
        The zone whose time the relay is meant to keep; without it nothing is ``seasonal``.
    """
    rules = limits or ClockLimits()
    known = _ordered(readings)
    if not known:
        return ClockQuality("unknown")
    steps = tuple(
        Step(before.host, after.host, after.error_s - before.error_s, _is_hour(
            after.error_s - before.error_s, rules
        ))
        for before, after in pairwise(known)
        if _was_set(before, after, rules)
    )  # fmt: skip
    last = known[-1]
    drift, drift_within = _drift(_since(known, steps), rules)
    days = (now - last.host).total_seconds() / _DAY_S
    offset = last.error_s + (drift or 0.0) * days
    within = last.within_s + drift_within * abs(days)
    hour_off = _is_hour(offset, rules)
    worst = abs(offset) + within
    quality: Quality = "bad"
    if days > rules.stale_days:
        quality = "unknown"
    elif worst <= rules.good_s:
        quality = "good"
    elif worst <= rules.fair_s:
        quality = "fair"
    seasonal = zone is not None and any(step.hour and _changes(step, zone) for step in steps)
    return ClockQuality(quality, offset, within, drift, steps, hour_off, seasonal, last.host)


def correct_time(
    device: DeviceTime,
    zone: ZoneInfo,
    readings: Iterable[Reading],
    *,
    limits: ClockLimits | None = None,
) -> Corrected:
    """Return an event's time in UTC, set right by the readings around it.

    Between two readings the error is taken to change evenly. Where the clock was set between them
    it is not known before or after the event: the middle of both errors is taken, and the time is
    uncertain by half their difference, except where only the zone's time changed, which the relay
    did not follow. Beyond the readings the drift counts as uncertainty.
    """
    rules = limits or ClockLimits()
    known = _ordered(readings)
    wall = device.to_datetime()
    doubt = _doubt(wall, zone)
    rough = wall.replace(tzinfo=zone).astimezone(UTC)
    more = _HOUR_S if doubt == "twice" else 0.0
    if not known:
        return Corrected(rough, None, 0.0, "none", doubt)
    utc, within, error, how = rough, 0.0, 0.0, "none"
    for _ in range(2):  # the first time finds the readings, the second is right by them
        error, within, how = _error_at(utc, known, zone, rules)
        # What is taken off is wall time: across a change of the zone's time an hour matters.
        utc = rough - timedelta(seconds=error)
    assert how != "none"  # there are readings
    return Corrected(utc, within + more, error, how, doubt)  # type: ignore[arg-type]


def time_doubts(newest_first: Sequence[DeviceTime]) -> TimeDoubts:
    """Return which times of a relay's list of events are doubtful; it is given newest first."""
    seen: set[int] = set()
    repeated: dict[int, DeviceTime] = {}
    for one in newest_first:
        if one.ns in seen:
            repeated.setdefault(one.ns, one)
        seen.add(one.ns)
    backwards = [(older, newer) for newer, older in pairwise(newest_first) if newer < older]
    return TimeDoubts(tuple(repeated.values()), tuple(backwards))


def _ordered(readings: Iterable[Reading]) -> list[Reading]:
    """Return readings in the order of time, the best known of those at one time."""
    found: dict[datetime, Reading] = {}
    for one in readings:
        if one.host.tzinfo is None or one.within_s < 0:
            raise ParameterError(
                "A reading has an aware time and an uncertainty that is not negative.",
                fix="Give the host's time in UTC.",
            )
        kept = found.get(one.host)
        if kept is None or one.within_s < kept.within_s:
            found[one.host] = one
    return [found[host] for host in sorted(found)]


def _was_set(before: Reading, after: Reading, limits: ClockLimits) -> bool:
    days = (after.host - before.host).total_seconds() / _DAY_S
    least = limits.step_s + limits.drift_s_per_day * days + before.within_s + after.within_s
    return abs(after.error_s - before.error_s) > least


def _since(known: Sequence[Reading], steps: Sequence[Step]) -> list[Reading]:
    if not steps:
        return list(known)
    return [one for one in known if one.host >= steps[-1].before]


def _drift(known: Sequence[Reading], limits: ClockLimits) -> tuple[float | None, float]:
    """Return the drift [s/d] and how well it is known; that of any quartz where it is not."""
    if len(known) < 2 or known[-1].host - known[0].host < timedelta(hours=6):
        return None, limits.drift_s_per_day
    days = np.array([(one.host - known[0].host).total_seconds() / _DAY_S for one in known])
    errors = np.array([one.error_s for one in known])
    spread = np.array([max(one.within_s, 1e-3) for one in known])
    weights = 1 / spread**2
    middle = float(np.average(days, weights=weights))
    away = days - middle
    below = float((weights * away**2).sum())
    slope = float((weights * away * (errors - np.average(errors, weights=weights))).sum() / below)
    # A bound, not a standard deviation: all readings may be off to the same side at each end.
    within = float((spread[0] + spread[-1]) / days[-1])
    return slope, min(within, limits.drift_s_per_day)


def _is_hour(seconds: float, limits: ClockLimits) -> bool:
    return abs(abs(seconds) - _HOUR_S) <= limits.hour_within_s


def _changes(step: Step, zone: ZoneInfo) -> bool:
    """Return whether the zone's time changed between the visits, against the clock's error."""
    before, after = (one.astimezone(zone).utcoffset() for one in (step.after, step.before))
    if before is None or after is None or before == after:
        return False
    # The zone went ahead by an hour, and the clock that stayed is behind by one.
    return (after - before).total_seconds() * step.by_s < 0


def _doubt(wall: datetime, zone: ZoneInfo) -> Literal["", "twice", "never"]:
    first, second = (wall.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return ""
    again = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None)
    return "twice" if again == wall else "never"


def _error_at(
    utc: datetime, known: Sequence[Reading], zone: ZoneInfo, limits: ClockLimits
) -> tuple[float, float, str]:
    """Return the clock's error at a time, how well it is known [s], and how it was found."""
    after = next((number for number, one in enumerate(known) if one.host >= utc), len(known))
    if 0 < after < len(known):
        left, right = known[after - 1], known[after]
        within = max(left.within_s, right.within_s)
        if _was_set(left, right, limits):
            by_s = right.error_s - left.error_s
            if _is_hour(by_s, limits) and _changes(Step(left.host, right.host, by_s, True), zone):
                # Nobody set it: the zone's time changed, and it is known when.
                same = utc.astimezone(zone).utcoffset() == left.host.astimezone(zone).utcoffset()
                return (left if same else right).error_s, within + limits.step_s, "between"
            half = abs(right.error_s - left.error_s) / 2
            return (left.error_s + right.error_s) / 2, half + within, "set_between"
        share = (utc - left.host) / (right.host - left.host)
        error = left.error_s + share * (right.error_s - left.error_s)
        # Its drift changes with the weather: a tenth of what it drifted.
        return error, within + 0.1 * abs(right.error_s - left.error_s), "between"
    nearest = known[0] if after == 0 else known[-1]
    days = abs((utc - nearest.host).total_seconds()) / _DAY_S
    return nearest.error_s, nearest.within_s + limits.drift_s_per_day * days, "beyond"
