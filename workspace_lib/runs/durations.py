"""Durations as job files and settings write them: ``30s``, ``10m``, ``2h``, ``1d``."""

from __future__ import annotations

import re

from workspace_lib.errors import ParameterError

PATTERN = r"^[0-9]+(\.[0-9]+)?(s|m|h|d)$"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def parse_duration(text: object) -> float:
    """Return the seconds [s] that ``text`` says.

    Raises
    ------
    ParameterError
        If it is no number with one of the units s, m, h, d, or is zero.
    """
    if not isinstance(text, str) or re.match(PATTERN, text) is None:
        raise ParameterError(f"{text!r} is no duration.", fix="Write it as 30s, 10m, 2h or 1d.")
    seconds = float(text[:-1]) * _SECONDS[text[-1]]
    if seconds == 0:
        raise ParameterError(f"The duration {text!r} is zero.", fix="Write it as 30s, 10m or 2h.")
    return seconds


def duration_text(seconds: float) -> str:
    """Return a duration [s] in the largest unit that gives a whole number.

    Examples
    --------
    >>> duration_text(5400)
    '90m'
    """
    for unit in ("d", "h", "m"):
        count, rest = divmod(seconds, _SECONDS[unit])
        if count and not rest:
            return f"{count:.0f}{unit}"
    return f"{seconds:g}s"
