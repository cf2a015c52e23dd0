"""Time: instants are microseconds UTC in the store and aware datetimes in Python."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from workspace_lib.errors import DataQualityError, ParameterError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Clock(Protocol):
    """What the workspace needs of a clock; tests bring their own."""

    def now(self) -> datetime:
        """Return the instant, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never step back [s]."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for ``seconds`` [s]."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class FakeClock:
    """A clock that moves only when told; sleeping moves it."""

    def __init__(self, start: datetime) -> None:
        self._now = ensure_utc(start)
        self._monotonic = 0.0
        self._lock = threading.Lock()

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by ``seconds`` [s]."""
        with self._lock:
            self._now += timedelta(seconds=seconds)
            self._monotonic += seconds

    def step(self, to: datetime) -> None:
        """Set the wall clock as NTP would: the monotonic clock does not notice."""
        with self._lock:
            self._now = ensure_utc(to)


SYSTEM_CLOCK = SystemClock()


def ensure_utc(instant: datetime) -> datetime:
    """Return ``instant`` in UTC; refuse a naive one rather than guess its zone.

    Raises
    ------
    ParameterError
        If ``instant`` has no time zone.
    """
    if instant.tzinfo is None:
        raise ParameterError(
            f"The time {instant.isoformat()} has no zone.",
            fix="Give it as UTC (…Z) or with an offset.",
        )
    return instant.astimezone(UTC)


def to_us(instant: datetime) -> int:
    """Return microseconds since 1970-01-01 UTC [µs], exactly (no float in between)."""
    return (ensure_utc(instant) - EPOCH) // _MICROSECOND


def from_us(us: int) -> datetime:
    """Return the aware UTC datetime of ``us`` microseconds since 1970-01-01 UTC [µs]."""
    return EPOCH + timedelta(microseconds=us)


def iso(instant: datetime | int) -> str:
    """Return ISO 8601 text in UTC ending in ``Z``, without superfluous zeros.

    Examples
    --------
    >>> iso(1677629040_000_000)
    '2023-03-01T00:04:00Z'
    """
    moment = from_us(instant) if isinstance(instant, int) else ensure_utc(instant)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    if moment.microsecond:
        text += f".{moment.microsecond:06d}".rstrip("0")
    return text + "Z"


def parse_instant(text: str) -> datetime:
    """Return the UTC instant written in ISO 8601 with a zone.

    Raises
    ------
    ParameterError
        If the text is no ISO 8601 instant or names no zone.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ParameterError(
            f"{text!r} is not a time.", fix="Write it as 2026-03-29T01:30:00Z."
        ) from error
    return ensure_utc(moment)


def localize(naive: datetime, zone: ZoneInfo, *, first: bool = True) -> datetime:
    """Return the UTC instant of a naive local stamp in ``zone``.

    In the repeated hour of autumn ``first`` chooses which of the two instants is meant.

    Raises
    ------
    DataQualityError
        If the local time does not exist (the skipped hour of spring).
    """
    aware = naive.replace(tzinfo=zone, fold=0 if first else 1)
    instant = aware.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) != naive:
        raise DataQualityError(
            f"The local time {naive.isoformat()} does not exist in {zone.key}.",
            fix="The clock was put forward there; check the device's zone.",
        )
    return instant
