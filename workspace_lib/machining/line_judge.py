"""Judges one line that the vectorised part refused: what it is, or why it is nothing.

It accepts all that the vectorised part accepts, and odd forms besides: marks, blanks and other
bytes that are no ASCII in front of the stamp, as mirrors and editors leave them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Final

from workspace_lib.clock import to_us
from workspace_lib.machining.line_fields import FIRST_YEAR, LAST_YEAR, NO_TIME


class Kind(IntEnum):
    """What a physical line ends as."""

    EVENT = 0
    BLANK = 1
    UNKNOWN = 2
    MALFORMED = 3


class Reason(IntEnum):
    """Why a line is malformed; ``NONE`` for all others."""

    NONE = 0
    NO_STAMP = 1
    BAD_TIME = 2
    NO_EVENT = 3
    BAD_NAME = 4
    NUL = 5
    TORN = 6
    TOO_LONG = 7
    GLUED = 8

    @property
    def code(self) -> str:
        """The reason as issues name it, such as ``no_stamp``."""
        return self.name.lower()


#: What people read about a malformed line.
MESSAGES: Final = {
    Reason.NO_STAMP: "The line does not begin with a date and a time.",
    Reason.BAD_TIME: "There is no such date or time.",
    Reason.NO_EVENT: "No '|@' and name of an event follow the stamp.",
    Reason.BAD_NAME: "Something other than a blank or a colon follows the event's name.",
    Reason.NUL: "NUL bytes stand where text was.",
    Reason.TORN: "The last line has no end and names no known event.",
    Reason.GLUED: "A second stamp follows in the line: the end of the first event is lost.",
    Reason.TOO_LONG: "The line is longer than any event.",
}

_STAMP = re.compile(rb"[\s\x80-\xff]*(\d{8} \d\d:\d\d:\d\d)")
_NAME = re.compile(rb"\|@([A-Za-z0-9_\x80-\xff]+)")
_AFTER = re.compile(rb"[ \t]*(?::[ \t]*)?")
_BLANKS: Final = b" \t\r\v\f"


@dataclass(frozen=True)
class Judged:
    """A line that was looked at singly; ``detail`` counts from its begin."""

    kind: Kind
    reason: Reason = Reason.NONE
    t_us: int = NO_TIME
    name: bytes = b""
    detail: int = 0


def judge(line: bytes) -> Judged:
    """Return what one line without its line end and without NUL is; never raises."""
    if not line.strip(_BLANKS):
        return Judged(Kind.BLANK)
    stamp = _STAMP.match(line)
    if stamp is None:
        return Judged(Kind.MALFORMED, Reason.NO_STAMP)
    t_us = _instant(stamp[1])
    if t_us == NO_TIME:
        return Judged(Kind.MALFORMED, Reason.BAD_TIME)
    name = _NAME.match(line, stamp.end())
    if name is None:
        return Judged(Kind.MALFORMED, Reason.NO_EVENT, t_us)
    if line[name.end() : name.end() + 1] not in (b"", b" ", b"\t", b":", b"\r"):
        return Judged(Kind.MALFORMED, Reason.BAD_NAME, t_us)
    after = _AFTER.match(line, name.end())
    assert after is not None  # it matches nothing, too
    return Judged(Kind.EVENT, Reason.NONE, t_us, name[1], after.end())


def _instant(stamp: bytes) -> int:
    year, month, day = int(stamp[:4]), int(stamp[4:6]), int(stamp[6:8])
    hour, minute, second = int(stamp[9:11]), int(stamp[12:14]), int(stamp[15:17])
    if not FIRST_YEAR <= year <= LAST_YEAR:
        return NO_TIME
    try:
        local = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return NO_TIME
    return to_us(local)
