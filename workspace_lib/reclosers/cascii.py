"""Compressed ASCII, the checksummed text of SEL relays: lines, fields, and whether they are whole.

Each line ends in a checksum of four hexadecimal digits in quotes: the sum, modulo 65,536, of all
bytes of the line up to and with the comma before it. Line ends and flow control between lines do
not count; inside a quoted text line ends are bytes of it (SEL-351A manual, appendix E).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

STX, ETX, XON, XOFF, CAN, SUB = 0x02, 0x03, 0x11, 0x13, 0x18, 0x1A
#: Bytes that steer the transmission and are no part of it.
_CONTROL: Final = bytes((STX, ETX, XON, XOFF, CAN, SUB, 0x00))
_CHECKSUM = re.compile(rb'"([0-9A-Fa-f]{4})"[ \t]*$')
_FIELD = re.compile(r'"([^"]*)"|([^,"]*)')
_LINE = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True)
class Line:
    """One logical line: ``text`` without its checksum and the comma before it.

    ``number`` counts lines of the file from 1; ``good`` is None where the line has no checksum.
    """

    text: str
    number: int
    good: bool | None

    @property
    def fields(self) -> list[str]:
        """The fields, without quotes and without blanks at their ends."""
        return split_fields(self.text)


def checksum(content: bytes) -> int:
    """Return the checksum of a line up to and with the comma before the checksum.

    Examples
    --------
    >>> f"{checksum(b'\\"FID\\",'):04X}"
    '0143'
    """
    return sum(content) & 0xFFFF


def split_fields(text: str) -> list[str]:
    """Return the fields of a line; commas inside quotes divide nothing.

    Examples
    --------
    >>> split_fields('1,"BG T", ,"a,b"')
    ['1', 'BG T', '', 'a,b']
    """
    found = []
    place = 0
    while place <= len(text):
        match = _FIELD.match(text, place)
        assert match is not None  # the second branch matches nothing at all
        found.append((match[1] if match[1] is not None else match[2]).strip())
        place = match.end()
        comma = text.find(",", place)
        if comma < 0:
            break
        place = comma + 1
    return found


def lines(content: bytes) -> Iterator[Line]:
    """Give the logical lines of a transmission or a file.

    What stands before the first quote of the first line (an echoed command, a prompt) is left
    out. A quoted text that goes over several lines is one logical line. Its checksum is tried with
    its line ends as they are, then as CR LF and as LF, because files lose them on their way.
    """
    body = content.translate(None, _CONTROL)
    start = number = 0
    pending: list[bytes] = []
    quotes = 0
    first = 0
    size = len(body)
    while start < size:
        match = _LINE.search(body, start)
        after = match.end() if match else size
        piece = body[start:after]
        number += 1
        if not pending:
            if not piece.strip():
                start = after
                continue
            first = number
        pending.append(piece)
        quotes += piece.count(b'"')
        if quotes % 2 == 0:
            yield _line(b"".join(pending), first)
            pending, quotes = [], 0
        start = after
    if pending:
        yield _line(b"".join(pending), first)


def _line(raw: bytes, number: int) -> Line:
    body = raw.rstrip(b"\r\n")
    match = _CHECKSUM.search(body)
    if match is None or not body[: match.start()].endswith(b","):
        return Line(_text(body), number, None)
    wanted = int(match[1], 16)
    counted = body[: match.start()]
    good = any(checksum(one) == wanted for one in _variants(counted, number))
    return Line(_text(counted[:-1]), number, good)


def _variants(counted: bytes, number: int) -> Iterator[bytes]:
    """Give the ways in which a line may have been counted."""
    yield counted
    if b"\n" in counted or b"\r" in counted:
        unified = _LINE.sub(b"\n", counted)
        yield unified.replace(b"\n", b"\r\n")
        yield unified
        yield unified.replace(b"\n", b"\r")
    if number == 1 and (quote := counted.find(b'"')) > 0:
        yield counted[quote:]  # an echoed command stands before it


def _text(body: bytes) -> str:
    return body.decode("latin-1")
