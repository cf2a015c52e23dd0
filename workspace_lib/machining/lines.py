"""The parser of machine logs: every physical line ends as event, blank, unknown or malformed.

A line reads ``YYYYMMDD HH:MM:SS|@Event[ ]*[:][ ]*[details]``. Well-formed lines are parsed as whole
arrays, odd ones singly. Nothing is dropped: the kinds add up to the lines, and where a line stood
in the source is its identity. Stamps stay the machine's own wall clock; `timeline` makes instants
of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workspace_lib.machining.encodings import Encoding, find_encoding
from workspace_lib.machining.line_arrays import cut_out
from workspace_lib.machining.line_fields import (
    BLOCK,
    HEAD,
    NO_TIME,
    Bools,
    Bytes,
    Ints,
    Names,
    parse_block,
)
from workspace_lib.machining.line_judge import Kind, Reason, judge
from workspace_lib.machining.physical import split

PIECE: Final = "StukUitgevoerd"
WAIT: Final = "MachineWait"
STOP: Final = "MachineStop"
START: Final = "MachineStart"
JOB: Final = "JobProfiel"
#: Events whose meaning is known; others are kept as they are.
EVENTS: Final = (PIECE, WAIT, STOP, START, JOB)

_BLANK, _AT = b" @"
_STAMP = re.compile(rb"\d{8} \d\d:\d\d:\d\d\|@")


@dataclass(frozen=True)
class ParsedLines:
    """Lines of a log as columns: one row for each physical line, in the order of the source.

    Attributes
    ----------
    text : bytes
        What was parsed, without NUL bytes.
    start, end, detail : array of int64, shape (lines,)
        Where in ``text`` each line begins and ends (without its line end), and its details begin.
    offset : array of int64, shape (lines,)
        Where in the source each line begins [bytes].
    kind, reason : array of uint8, shape (lines,)
        A `Kind`, and for malformed lines a `Reason`.
    t_local_us : array of int64, shape (lines,)
        The stamp: naive local time [µs since 1970 as if it were UTC], or `NO_TIME`.
    name : array of int32, shape (lines,)
        The event as a place in ``names``, -1 where there is none. The first are those of `EVENTS`.
    nul : array of int32, shape (lines,)
        How many NUL bytes were taken out of each line.
    names : tuple of str
    encoding : str
        Of names and details.
    pending : int
        How many bytes behind the last line feed were left for later [bytes].
    bom, torn : bool
        Whether the source begins with a UTF-8 mark, and whether the last line has no end.
    crlf, lone_cr : int
        How many lines end in CR LF; how many other CR there are, which stay in the values.
    """

    text: bytes
    start: Ints
    end: Ints
    detail: Ints
    offset: Ints
    kind: NDArray[np.uint8]
    reason: NDArray[np.uint8]
    t_local_us: Ints
    name: NDArray[np.int32]
    nul: NDArray[np.int32]
    names: tuple[str, ...]
    encoding: Encoding
    pending: int
    bom: bool
    torn: bool
    crlf: int
    lone_cr: int

    def __len__(self) -> int:
        return len(self.start)

    def count(self, kind: Kind) -> int:
        """Return how many lines are of a kind."""
        return int(self._kinds[kind])

    @cached_property
    def _kinds(self) -> Ints:
        return np.bincount(self.kind, minlength=len(Kind))

    def counts(self, kind: Kind = Kind.EVENT) -> dict[str, int]:
        """Return how often each name occurs among the lines of a kind."""
        numbers = np.bincount(self.name[self.kind == kind], minlength=len(self.names)).tolist()
        return {name: n for name, n in zip(self.names, numbers, strict=True) if n}

    def line(self, row: int) -> str:
        """Return the text of one line."""
        return self.text[self.start[row] : self.end[row]].decode(self.encoding)

    def details(self, row: int) -> str:
        """Return the details of one line, empty if it has none."""
        return self.text[self.detail[row] : self.end[row]].decode(self.encoding)

    def rows(self, name: str) -> Ints:
        """Return the rows of one event."""
        if name not in self.names:
            return np.zeros(0, np.int64)
        mine = (self.name == self.names.index(name)) & (self.kind <= Kind.UNKNOWN)
        return np.flatnonzero(mine)

    def details_array(self, rows: Ints | None = None) -> Any:
        """Return the details of many lines as one ``pyarrow.StringArray``."""
        if rows is None:
            return cut_out(self.text, self.detail, self.end, self.encoding)
        return cut_out(self.text, self.detail[rows], self.end[rows], self.encoding)


def parse(
    content: bytes,
    *,
    offset: int = 0,
    closed: bool = True,
    events: Sequence[str] = EVENTS,
    encoding: Encoding | None = None,
) -> ParsedLines:
    """Parse a log, or a slice of one that begins at the begin of a line; never raises.

    Parameters
    ----------
    content : bytes
        At most 2 GiB; `log_stream.parse_stream` parses what is larger.
    offset : int
        Where in the source the slice begins [bytes].
    closed : bool
        Whether nothing will be appended. If not, what stands behind the last line feed is pending:
        it is no line yet.
    events : sequence of str
        Names of events that are known.
    encoding : str, optional
        The encoding the machine writes; where the bytes are none of it, it is found out.
    """
    lines = split(content, offset, closed)
    text, buffer, start, end = lines.text, lines.buffer, lines.start, lines.end
    names = Names(events)
    columns = _columns(len(start))
    _parse_all(buffer, start, end, names, columns)
    _judge_rest(text, buffer, start, end, names, columns)
    kind, reason, name = columns["kind"], columns["reason"], columns["name"]
    glued = _glued(text, buffer, start, end)
    kind[glued], reason[glued] = Kind.MALFORMED, Reason.GLUED
    kind[(kind == Kind.EVENT) & (name >= names.known)] = Kind.UNKNOWN
    reason[(kind == Kind.MALFORMED) & (lines.nul > 0)] = Reason.NUL
    if lines.torn and kind[-1] in (Kind.UNKNOWN, Kind.MALFORMED):
        kind[-1], reason[-1] = Kind.MALFORMED, Reason.TORN
    name[kind == Kind.MALFORMED] = -1
    found = _encoding(text, encoding)
    return ParsedLines(
        text=text,
        start=start,
        end=end,
        detail=np.where(name >= 0, columns["detail"], end),
        offset=lines.offset,
        kind=kind,
        reason=reason,
        t_local_us=columns["t_us"],
        name=name,
        nul=lines.nul,
        names=tuple(name.decode(found, "replace") for name in names.all()),
        encoding=found,
        pending=lines.pending,
        bom=lines.bom,
        torn=lines.torn,
        crlf=lines.crlf,
        lone_cr=lines.lone_cr,
    )


def _encoding(text: bytes, wanted: Encoding | None) -> Encoding:
    if wanted is not None:
        try:
            text.decode(wanted)
        except UnicodeDecodeError:
            return find_encoding(text)
        return wanted
    return find_encoding(text)


def _columns(count: int) -> dict[str, NDArray[Any]]:
    return {
        "kind": np.full(count, Kind.MALFORMED, np.uint8),
        "reason": np.zeros(count, np.uint8),
        "t_us": np.full(count, NO_TIME),
        "name": np.full(count, -1, np.int32),
        "detail": np.zeros(count, np.int64),
    }


def _parse_all(
    buffer: Bytes, start: Ints, end: Ints, names: Names, columns: dict[str, NDArray[Any]]
) -> None:
    words = np.ndarray(len(buffer) - 7, "<u8", buffer, strides=(1,))
    for begin in range(0, len(start), BLOCK):
        block = slice(begin, begin + BLOCK)
        fields = parse_block(buffer, words, start[block], end[block], names)
        good = fields.accepted
        columns["kind"][block][good] = Kind.EVENT
        np.copyto(columns["t_us"][block], fields.t_us, where=good)
        np.copyto(columns["name"][block], fields.name, where=good)
        np.copyto(columns["detail"][block], fields.detail, where=good)


def _judge_rest(
    text: bytes,
    buffer: Bytes,
    start: Ints,
    end: Ints,
    names: Names,
    columns: dict[str, NDArray[Any]],
) -> None:
    """Judge the lines that were not accepted: singly, but for those that are plainly no event."""
    kind, reason = columns["kind"], columns["reason"]
    kind[end == start] = Kind.BLANK
    rest = np.flatnonzero(kind == Kind.MALFORMED)
    first = buffer[start[rest]]
    plain: Bools = (first > _BLANK) & (first < 128) & ((first < ord("0")) | (first > ord("9")))
    reason[rest[plain]] = Reason.NO_STAMP
    for row in rest[~plain].tolist():
        begin = int(start[row])
        judged = judge(text[begin : end[row]])
        kind[row], reason[row] = judged.kind, judged.reason
        columns["t_us"][row] = judged.t_us
        if judged.kind == Kind.EVENT:
            columns["name"][row] = names.number(judged.name)
            columns["detail"][row] = begin + judged.detail


def _glued(text: bytes, buffer: Bytes, start: Ints, end: Ints) -> list[int]:
    """Return the rows that hold a second event: writing broke off, and went on without a line end.

    Any @ but that behind a line's own stamp may be one of a second event.
    """
    is_at = buffer == _AT
    is_at[start[end - start >= HEAD] + HEAD - 1] = False
    places = np.flatnonzero(is_at)
    for back, expected in ((1, b"|"), (4, b":"), (7, b":"), (10, b" ")):
        places = places[places >= HEAD]
        places = places[buffer[places - back] == ord(expected)]
    rows = []
    for place in places.tolist():
        begin = place - HEAD + 1
        row = int(np.searchsorted(start, begin, side="right")) - 1
        if _STAMP.match(text, begin) and text.find(b"|@", start[row], begin) >= 0:
            rows.append(row)
    return rows
