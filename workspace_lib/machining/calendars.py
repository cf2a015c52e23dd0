"""Shift calendars: when a machine is open, when it has planned breaks, where its day begins.

A calendar is written in wall-clock time and asked in instants. Its wall clock is mapped so that
order is kept on both nights that change the time: an hour that comes twice means its first
passage, and a time that is left out means the moment of the change. So a shift that ends where the
next begins does so in instants too, a night shift has seven hours in spring and nine in autumn,
and no two shifts ever overlap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import combinations, pairwise
from typing import Final
from zoneinfo import ZoneInfo

from workspace_lib.clock import from_us, to_us
from workspace_lib.errors import ConfigError
from workspace_lib.machining.spans import Spans, clip, make_spans, subtract

#: Where a production day begins, unless the site says otherwise.
DAY_START: Final = time(5)
EVERY_DAY: Final = frozenset(range(7))

_DAY: Final = timedelta(days=1)
_US: Final = 1_000_000


@dataclass(frozen=True)
class Break:
    """A planned break of a shift, by the wall clock."""

    name: str
    begin: time
    end: time


@dataclass(frozen=True)
class Shift:
    """Opening times of some weekdays, by the wall clock.

    Parameters
    ----------
    name : str
    begin, end : time
        An end that is not later than the begin is on the next day: 05:00 to 05:00 is a whole day.
    weekdays : frozenset of int
        On which days it begins: 0 for Monday … 6 for Sunday.
    breaks : tuple of Break
        Inside the shift; those before its begin by the clock are on the next day.
    first_day, last_day : date, optional
        Between which days, both included, the shift is in force.

    Raises
    ------
    ConfigError
        If a weekday is none, or a break is empty, not inside, or overlaps another.
    """

    name: str
    begin: time
    end: time
    weekdays: frozenset[int] = EVERY_DAY
    breaks: tuple[Break, ...] = ()
    first_day: date = date.min
    last_day: date = date.max

    def __post_init__(self) -> None:
        where = f"shift {self.name!r}"
        if not self.weekdays <= EVERY_DAY:
            raise ConfigError(
                f"Weekdays are 0 to 6, not {sorted(self.weekdays - EVERY_DAY)}.", where=where
            )
        if self.last_day < self.first_day:
            raise ConfigError(
                f"It ends to be in force on {self.last_day}, before {self.first_day}.", where=where
            )
        length, spans = self.length, []
        for pause in self.breaks:
            begin = _since(self.begin, pause.begin)
            end = begin + (_since(pause.begin, pause.end) or _DAY)
            if end > length:
                raise ConfigError(
                    f"The break {pause.name!r} ({_clock(pause)}) is not inside {_clock(self)}.",
                    where=where,
                    fix="Give a break by times between begin and end of its shift.",
                )
            spans.append((begin, end, pause))
        for one, other in pairwise(sorted(spans, key=lambda span: span[:2])):
            if other[0] < one[1]:
                raise ConfigError(
                    f"The breaks {one[2].name!r} ({_clock(one[2])}) and {other[2].name!r} "
                    f"({_clock(other[2])}) overlap.",
                    where=where,
                )

    @property
    def length(self) -> timedelta:
        """How long it is by the wall clock."""
        return _since(self.begin, self.end) or _DAY


@dataclass(frozen=True)
class DayPlan:
    """What holds on one day instead of its weekday's shifts; no shifts: closed, as on holidays."""

    day: date
    shifts: tuple[Shift, ...] = ()
    name: str = ""


@dataclass(frozen=True)
class PlannedStop:
    """Time that is planned once not to be required: maintenance, trials, no work; wall clock."""

    name: str
    begin: datetime
    end: datetime


@dataclass(frozen=True)
class ShiftSpan:
    """One shift of one day: instants, and the wall clock they were made of.

    ``day`` is the production day it begins in; ``begin_us`` and ``end_us`` [µs since 1970 UTC].
    """

    name: str
    day: date
    begin_us: int
    end_us: int
    begin_local: datetime
    end_local: datetime


@dataclass(frozen=True)
class Calendar:
    """Shifts, exceptions by date, planned stops and the begin of the production day of a machine.

    A calendar without shifts is open day and night: see `assumed`.

    Raises
    ------
    ConfigError
        If two shifts overlap (both are named), a day has two plans, or a planned stop is empty.
    """

    zone: ZoneInfo
    shifts: tuple[Shift, ...] = ()
    days: tuple[DayPlan, ...] = ()
    planned: tuple[PlannedStop, ...] = ()
    day_start: time = DAY_START
    _plans: dict[date, DayPlan] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        plans = {plan.day: plan for plan in self.days}
        if len(plans) < len(self.days):
            days = [plan.day for plan in self.days]
            twice = min(day for day in days if days.count(day) > 1)
            raise ConfigError(f"The day {twice} has two plans.", fix="Keep one of them.")
        for stop in self.planned:
            if stop.end <= stop.begin:
                raise ConfigError(
                    f"The planned stop {stop.name!r} ends at {stop.end}, not after {stop.begin}."
                )
        object.__setattr__(self, "_plans", plans)
        for one, other in combinations(self.shifts, 2):
            _refuse_weekly_overlap(one, other)
        for plan in self.days:
            _refuse_overlap_around(self, plan.day)

    @property
    def assumed(self) -> bool:
        """Whether nobody gave shifts, so that the machine is taken to be open all the time."""
        return not self.shifts

    def shifts_on(self, day: date) -> tuple[Shift, ...]:
        """Return the shifts that begin on a day of the wall clock."""
        if day in self._plans:
            return self._plans[day].shifts
        if not self.shifts:
            return (Shift("", self.day_start, self.day_start),)
        return tuple(
            shift
            for shift in self.shifts
            if day.weekday() in shift.weekdays and shift.first_day <= day <= shift.last_day
        )


def instant_us(local: datetime, zone: ZoneInfo) -> int:
    """Return the instant of a wall-clock time [µs], such that later times are never earlier.

    An hour that comes twice means its first passage; a time that is left out means the change.
    """
    first = to_us(local.replace(tzinfo=zone, fold=0))
    second = to_us(local.replace(tzinfo=zone, fold=1))
    if second >= first:
        return first
    low, high = second // _US, first // _US  # before the change, and at it or behind
    before = from_us(second).astimezone(zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, UTC).astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high * _US


def shift_spans(calendar: Calendar, begin_us: int, end_us: int) -> tuple[ShiftSpan, ...]:
    """Return the shifts that lie at least in part in a window, whole, in their order."""
    return tuple(span for span, _ in _shifts_in(calendar, begin_us, end_us))


def opening(calendar: Calendar, begin_us: int, end_us: int) -> Spans:
    """Return when a window is open (tO of NF E60-182)."""
    pairs = [(span.begin_us, span.end_us) for span, _ in _shifts_in(calendar, begin_us, end_us)]
    return clip(make_spans(pairs), begin_us, end_us)


def planned_breaks(calendar: Calendar, begin_us: int, end_us: int) -> Spans:
    """Return the planned breaks and planned stops of a window."""
    zone, pairs = calendar.zone, []
    for span, shift in _shifts_in(calendar, begin_us, end_us):
        for pause in shift.breaks:
            begin = span.begin_local + _since(shift.begin, pause.begin)
            end = begin + (_since(pause.begin, pause.end) or _DAY)
            pairs.append((instant_us(begin, zone), instant_us(end, zone)))
    for stop in calendar.planned:
        pairs.append((instant_us(stop.begin, zone), instant_us(stop.end, zone)))
    return clip(make_spans(pairs), begin_us, end_us)


def required(calendar: Calendar, begin_us: int, end_us: int) -> Spans:
    """Return when a window is open and nothing else is planned (tR of NF E60-182)."""
    return subtract(opening(calendar, begin_us, end_us), planned_breaks(calendar, begin_us, end_us))


def day_span(calendar: Calendar, day: date) -> tuple[int, int]:
    """Return begin and end (excluded) of a production day [µs]: 23, 24 or 25 hours."""
    return _day_begin(calendar, day), _day_begin(calendar, day + _DAY)


def production_day(calendar: Calendar, t_us: int) -> date:
    """Return the production day of an instant."""
    day = from_us(t_us).astimezone(calendar.zone).date()
    while t_us < _day_begin(calendar, day):
        day -= _DAY
    while t_us >= _day_begin(calendar, day + _DAY):
        day += _DAY
    return day


def production_days(
    calendar: Calendar, begin_us: int, end_us: int
) -> tuple[tuple[date, int, int], ...]:
    """Split a window by production days: day, begin and end (excluded) of each part [µs]."""
    parts = []
    while begin_us < end_us:
        day = production_day(calendar, begin_us)
        end = min(day_span(calendar, day)[1], end_us)
        parts.append((day, begin_us, end))
        begin_us = end
    return tuple(parts)


def _day_begin(calendar: Calendar, day: date) -> int:
    return instant_us(datetime.combine(day, calendar.day_start), calendar.zone)


def _shifts_in(calendar: Calendar, begin_us: int, end_us: int) -> Iterator[tuple[ShiftSpan, Shift]]:
    zone = calendar.zone
    # A shift is at most a day long, and the clock is changed by less than another.
    day = from_us(begin_us).astimezone(zone).date() - 2 * _DAY
    last = from_us(end_us).astimezone(zone).date() + _DAY
    while day <= last:
        for shift in sorted(calendar.shifts_on(day), key=lambda shift: shift.begin):
            begin = datetime.combine(day, shift.begin)
            span = (instant_us(begin, zone), instant_us(begin + shift.length, zone))
            if span[0] < end_us and span[1] > begin_us and span[0] < span[1]:
                yield _shift_span(calendar, shift, begin, span), shift
        day += _DAY


def _shift_span(
    calendar: Calendar, shift: Shift, begin: datetime, span: tuple[int, int]
) -> ShiftSpan:
    day = production_day(calendar, span[0])
    return ShiftSpan(shift.name, day, *span, begin, begin + shift.length)


def _refuse_weekly_overlap(one: Shift, other: Shift) -> None:
    for later in (-1, 0, 1):  # days from the begin of the one to the begin of the other
        for weekday in sorted(one.weekdays):
            if (weekday + later) % 7 not in other.weekdays:
                continue
            begin = later * _DAY + (_time(other.begin) - _time(one.begin))
            if begin < one.length and begin + other.length > timedelta(0):
                day = _common_day(one, other, later, weekday)
                if day is not None:
                    raise _overlap(one, other, f"on {day:%A}s, for instance {day}")


def _common_day(one: Shift, other: Shift, later: int, weekday: int) -> date | None:
    """Return a day on which the one begins, and the other so many days later; None: never."""
    first = max(one.first_day.toordinal(), other.first_day.toordinal() - later)
    last = min(one.last_day.toordinal(), other.last_day.toordinal() - later)
    if first <= 2:
        # Shifts in force since ever: a day that people know is a better example.
        first = max(2, min(date(2024, 1, 1).toordinal(), last - 7))
    first += (weekday - (first - 1)) % 7  # the ordinal 1 is a Monday
    return date.fromordinal(first) if first <= last else None


def _refuse_overlap_around(calendar: Calendar, day: date) -> None:
    spans = [
        (datetime.combine(on, shift.begin), shift)
        for on in (day - _DAY, day, day + _DAY)
        for shift in calendar.shifts_on(on)
    ]
    for one, other in combinations(sorted(spans, key=lambda span: span[0]), 2):
        if other[0] < one[0] + one[1].length:
            raise _overlap(one[1], other[1], f"on {other[0]:%Y-%m-%d}")


def _overlap(one: Shift, other: Shift, when: str) -> ConfigError:
    return ConfigError(
        f"The shifts {one.name!r} ({_clock(one)}) and {other.name!r} ({_clock(other)}) overlap "
        f"{when}.",
        fix="Let one end where the other begins.",
    )


def _since(begin: time, end: time) -> timedelta:
    """Return how long it is from one time of the day to the next other, less than a day."""
    return (_time(end) - _time(begin)) % _DAY


def _time(at: time) -> timedelta:
    return datetime.combine(date.min, at) - datetime.combine(date.min, time.min)


def _clock(span: Shift | Break) -> str:
    return f"{span.begin:%H:%M}–{span.end:%H:%M}"
