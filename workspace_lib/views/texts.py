"""What dashboards say, in English and French, and how they write numbers and times.

One dict of messages per language, the same keys in both. Text of one panel belongs here as well,
under the name of its board, so that no word of a page is written anywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from workspace_lib.clock import ensure_utc
from workspace_lib.views.messages import MESSAGES, Language

#: Shown in place of a value that does not exist; missing is not zero.
MISSING = "–"
NARROW_SPACE = "\u202f"
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400


@dataclass(frozen=True)
class Texts:
    """Writes for one language and one time zone."""

    language: Language
    zone: ZoneInfo

    def __call__(self, key: str, **values: object) -> str:
        """Return the message ``key``, filled with ``values``.

        Raises
        ------
        KeyError
            If there is no such message.
        """
        message = MESSAGES[self.language][key]
        return message.format(**values) if values else message

    def has(self, key: str) -> bool:
        """Return whether the message ``key`` exists."""
        return key in MESSAGES[self.language]

    def number(self, value: float | int | None, digits: int = 0) -> str:
        """Return a number with as many decimals as the measurement can carry."""
        if value is None or value != value:
            return MISSING
        written = f"{value:,.{digits}f}"
        if written.startswith("-") and not any(mark in "123456789" for mark in written):
            written = written[1:]
        if self.language == "fr":
            written = written.replace(",", NARROW_SPACE).replace(".", ",")
        return written.replace("-", "−")

    def percent(self, share: float | None, digits: int = 1) -> str:
        """Return a share of one as percentage."""
        if share is None or share != share:
            return MISSING
        space = NARROW_SPACE if self.language == "fr" else ""
        # 99.96 % of success is not 100 %: round down, so that only everything is everything.
        scale = 10**digits
        floored = int(share * 100 * scale + 1e-9) / scale
        shown = 0 if floored == int(floored) and floored in (0, 100) else digits
        return f"{self.number(floored, shown)}{space}%"

    def local(self, instant: datetime) -> datetime:
        """Return the instant in the site's zone."""
        return ensure_utc(instant).astimezone(self.zone)

    def time(self, instant: datetime | None, *, seconds: bool = False) -> str:
        """Return the local time of day."""
        if instant is None:
            return MISSING
        return self.local(instant).strftime("%H:%M:%S" if seconds else "%H:%M")

    def date(self, instant: datetime | None, *, year: bool = True) -> str:
        """Return the local day, with the month's name so that nobody mistakes it."""
        if instant is None:
            return MISSING
        local = self.local(instant)
        month = self(f"month.{local.month}")
        return f"{local.day} {month} {local.year}" if year else f"{local.day} {month}"

    def moment(self, instant: datetime | None, *, now: datetime | None = None) -> str:
        """Return day and time; the day is left out today, the year in this year."""
        if instant is None:
            return MISSING
        if now is not None and self.local(instant).date() == self.local(now).date():
            return self.time(instant)
        same_year = now is not None and self.local(instant).year == self.local(now).year
        return f"{self.date(instant, year=not same_year)} {self.time(instant)}"

    def duration(self, seconds: float | None) -> str:
        """Return a duration [s] in the two units that matter."""
        if seconds is None or seconds != seconds:
            return MISSING
        if seconds < 10:
            return f"{self.number(seconds, 1)} s"
        if seconds < 2 * MINUTE_S:
            return f"{seconds:.0f} s"
        if seconds < 2 * HOUR_S:
            return f"{seconds / MINUTE_S:.0f} min"
        if seconds < 2 * DAY_S:
            hours, minutes = divmod(round(seconds / MINUTE_S), 60)
            return f"{hours} h {minutes:02d}" if minutes else f"{hours} h"
        return f"{seconds / DAY_S:.0f} {self('unit.days')}"

    def age(self, instant: datetime | None, now: datetime) -> str:
        """Return how long ago (or in how long) an instant is."""
        if instant is None:
            return self("time.never")
        seconds = (now - instant) / timedelta(seconds=1)
        if abs(seconds) < MINUTE_S:
            return self("time.now") if seconds >= 0 else self("time.soon")
        key = "time.ago" if seconds > 0 else "time.in"
        length = abs(seconds)
        # Nobody counts the seconds of an age.
        minutes = length < 2 * MINUTE_S
        return self(key, duration=f"{round(length / 60)} min" if minutes else self.duration(length))

    def zone_name(self, instant: datetime) -> str:
        """Return the zone as a reader knows it, e.g. ``Europe/Paris (UTC+1)``."""
        offset = self.local(instant).strftime("%z")
        hours, minutes = int(offset[1:3]), offset[3:5]
        clock = f"{offset[0]}{hours}" + (f":{minutes}" if minutes != "00" else "")
        return f"{self.zone.key} (UTC{clock.replace('-', '−')})"


def languages() -> Mapping[Language, Mapping[str, str]]:
    """Return all messages by language, for tests and for the style guide."""
    return MESSAGES
