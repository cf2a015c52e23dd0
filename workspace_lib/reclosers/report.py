"""What the text reports of SEL relays have in common: their head, settings, nominal frequency."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from workspace_lib.errors import FrameError
from workspace_lib.reclosers.record import DeviceTime, device_time

DateOrder = Literal["MDY", "YMD", "DMY"]
#: A date and a time of day as reports write them; `moment` makes a time of it.
STAMP: Final = re.compile(
    r"(\d{1,4})[/-](\d{1,2})[/-](\d{1,4})\s+(\d{1,2}):(\d{2}):(\d{2})(?:\.(\d{1,3}))?"
)
#: Bytes that frame a transmission and are no part of its text.
_FRAME: Final = dict.fromkeys((0x00, 0x02, 0x03, 0x11, 0x13, 0x18, 0x1A))
_HEAD = re.compile(r"(?P<relay>.*?)\s*Date:\s*(?P<date>[\d/-]+)\s+Time:\s*(?P<time>[\d:.]+)")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)")
_SETTING = re.compile(r"(?:^|(?<=\s))([A-Za-z0-9_]+)[ \t]*:?=")


@dataclass(frozen=True)
class Head:
    """The head of a report: settings RID and TID, and a time; ``line`` is where it stands, from 0.

    ``stamp`` is the time as written; what it means depends on the relay's order of dates.
    """

    relay: str
    terminal: str
    stamp: str
    line: int


def text_lines(content: bytes) -> list[str]:
    """Return the lines of a report without its frame; any byte is a character."""
    return content.decode("latin-1").translate(_FRAME).splitlines()


def find_head(lines: Sequence[str]) -> Head | None:
    """Return the first head: a line with date and time, and the terminal below it."""
    for place, line in enumerate(lines):
        if match := _HEAD.match(line):
            below = lines[place + 1].strip() if place + 1 < len(lines) else ""
            stamp = f"{match['date']} {match['time']}"
            return Head(match["relay"].strip(), below, stamp, place)
    return None


def moment(match: re.Match[str], order: DateOrder) -> DeviceTime:
    """Return the time of a match of `STAMP`.

    Raises
    ------
    FrameError
        If it is no time in that order of the date.
    """
    parts = dict(zip(order, (int(match[n]) for n in (1, 2, 3)), strict=True))
    hour, minute, second = (int(match[n]) for n in (4, 5, 6))
    try:
        whole = datetime(full_year(parts["Y"]), parts["M"], parts["D"], hour, minute, second)
    except ValueError as error:
        raise FrameError(
            f"{match[0]!r} is no time in the order {order}.",
            fix="Set the order of dates of this relay (its setting DATE_F).",
        ) from error
    return device_time(whole, int((match[7] or "0").ljust(3, "0")) * 1_000_000, 3)


def full_year(number: int) -> int:
    """Return the year of two digits, or the number itself where it has more."""
    return number if number >= 100 else number + (2000 if number < 80 else 1900)


def parse_settings(text: str) -> dict[str, str]:
    """Return the settings of a relay's ``SHO`` text: ``KEY = value`` or ``KEY := value``.

    Examples
    --------
    >>> parse_settings("CTR := 500   CTRN := 500\\nTR  =OC + 51PT")
    {'CTR': '500', 'CTRN': '500', 'TR': 'OC + 51PT'}
    """
    settings: dict[str, str] = {}
    for line in text.splitlines():
        keys = list(_SETTING.finditer(line))
        for number, key in enumerate(keys):
            end = keys[number + 1].start() if number + 1 < len(keys) else len(line)
            settings.setdefault(key[1], line[key.end() : end].strip())
    return settings


def nominal_hz(told: Iterable[str | None], measured: float | None) -> float | None:
    """Return the nominal frequency [Hz]: as told, else the one next to what was measured [Hz].

    A measured frequency is no time base; without any the answer is None.
    """
    for text in told:
        if text and (number := _NUMBER.match(text.strip())) and 10 <= float(number[0]) <= 400:
            return float(number[0])
    if measured is None:
        return None
    return 50.0 if 48 < measured < 52 else 60.0
