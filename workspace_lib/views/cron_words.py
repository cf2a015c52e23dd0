"""Schedules as people say them: ``20 3 * * *`` is "daily at 03:20"."""

from __future__ import annotations

import re
from typing import Final

from workspace_lib.views.texts import Texts

_STEP: Final = re.compile(r"\*/(\d+)")


def cron_words(texts: Texts, schedule: str, zone: str) -> str | None:
    """Return in words when a cron schedule starts a job, None where words would be longer.

    Known are steps of minutes, one minute of every hour, and one time of every day or of one day
    of the week.

    Parameters
    ----------
    zone : str
        Time zone of the schedule; it is named where it is not the one the page is written in.
    """
    fields = schedule.split()
    if len(fields) != 5:
        return None
    minute, hour, *days = fields
    if (hour, *days) == ("*",) * 4:
        return _of_minutes(texts, minute)
    day_of_month, month, weekday = days
    if (day_of_month, month) != ("*", "*") or not (minute.isdigit() and hour.isdigit()):
        return None
    at = f"{int(hour):02d}:{int(minute):02d}"
    if zone != texts.zone.key:
        at = f"{at} ({zone})"
    if weekday == "*":
        return texts("runs.daily", at=at)
    if weekday.isdigit():
        # In cron Sunday is 0 as well as 7.
        return texts("runs.weekly", day=texts(f"weekday.{int(weekday) or 7}"), at=at)
    return None


def _of_minutes(texts: Texts, minute: str) -> str | None:
    if minute.isdigit():
        return texts("runs.hourly", minute=int(minute))
    step = 1 if minute == "*" else int(found[1]) if (found := _STEP.fullmatch(minute)) else 0
    # A step that does not divide the hour begins anew at its end: that is not "every".
    return texts("runs.every", duration=f"{step}\u00a0min") if step and 60 % step == 0 else None
