"""Physical lines: where each begins and ends in a text and in its source, before anything is read.

Lines end in LF or CR LF; any other CR stays in them. NUL bytes are taken out and counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workspace_lib.machining.encodings import BOM
from workspace_lib.machining.line_fields import PADDING, Bytes, Ints

_CR, _LF = b"\r\n"
#: Text is searched for line ends in pieces that stay in the processor's cache [bytes].
_PIECE: Final = 1 << 20


@dataclass(frozen=True)
class PhysicalLines:
    """The lines of a text.

    Attributes
    ----------
    text : bytes
        The source without NUL bytes, and without what is pending.
    buffer : array of uint8
        The bytes of the text and `PADDING` zeros.
    start, end : array of int64, shape (lines,)
        Where in ``text`` each line begins, and ends without its line end.
    offset : array of int64, shape (lines,)
        Where in the source each line begins [bytes].
    nul : array of int32, shape (lines,)
        How many NUL bytes each had.
    pending : int
        How many bytes behind the last line feed were left for later [bytes].
    bom, torn : bool
        Whether the source begins with a UTF-8 mark, and whether the last line has no end.
    crlf, lone_cr : int
        How many lines end in CR LF, and how many other CR there are.
    """

    text: bytes
    buffer: Bytes
    start: Ints
    end: Ints
    offset: Ints
    nul: NDArray[np.int32]
    pending: int
    bom: bool
    torn: bool
    crlf: int
    lone_cr: int


def split(content: bytes, offset: int, closed: bool) -> PhysicalLines:
    """Return the lines of a source, or of a slice of one from ``offset`` on [bytes].

    If it is not ``closed``, what stands behind the last line feed is pending.
    """
    body = content if closed else content[: content.rfind(b"\n") + 1]
    text = body.replace(b"\0", b"") if b"\0" in body else body
    buffer: Bytes = np.frombuffer(text + bytes(PADDING), np.uint8)
    torn = bool(body) and not body.endswith(b"\n")
    start, end = _ends(buffer[: len(text)], torn)
    where, nul = _places(body, text, start, offset)
    bom = offset == 0 and text.startswith(BOM)
    if bom:
        start[0] = len(BOM)
    has_cr = b"\r" in text
    crlf = _strip_cr(buffer, start, end) if has_cr else 0
    return PhysicalLines(
        text=text,
        buffer=buffer,
        start=start,
        end=end,
        offset=where,
        nul=nul,
        pending=len(content) - len(body),
        bom=bom,
        torn=torn,
        crlf=crlf,
        lone_cr=text.count(b"\r") - crlf if has_cr else 0,
    )


def _ends(buffer: Bytes, torn: bool) -> tuple[Ints, Ints]:
    """Return where each line begins and ends (at its line feed)."""
    pieces = [
        np.flatnonzero(buffer[begin : begin + _PIECE] == _LF) + begin
        for begin in range(0, len(buffer), _PIECE)
    ]
    end = np.concatenate(pieces) if pieces else np.zeros(0, np.int64)
    start = np.empty(len(end) + torn, np.int64)
    start[:1] = 0
    start[1:] = end[: len(start) - 1] + 1
    return start, np.append(end, len(buffer)) if torn else end


def _strip_cr(buffer: Bytes, start: Ints, end: Ints) -> int:
    """Move the ends of lines that end in CR LF before the CR; returns how many there are."""
    # A CR at the very end of a torn line is half of a line end, too.
    crlf = (end > start) & (buffer[end - 1] == _CR)
    end -= crlf
    return int(np.count_nonzero(crlf))


def _places(body: bytes, text: bytes, start: Ints, offset: int) -> tuple[Ints, NDArray[np.int32]]:
    """Return where each line begins in the source, and how many NUL bytes it has there."""
    if len(text) == len(body):
        return start + offset, np.zeros(len(start), np.int32)
    # In the text, the k-th of them would stand where it stood less the k before it.
    places = np.flatnonzero(np.frombuffer(body, np.uint8) == 0)
    places -= np.arange(len(places))
    before = np.searchsorted(places, start, side="left")
    nul = np.diff(np.append(before, len(places))).astype(np.int32)
    return start + before + offset, nul
