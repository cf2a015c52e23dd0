"""The reader of ``timestamp|key|value`` dumps, as MTConnect adapters send them (SHDR).

A line ends at its line feed and loses one CR there. It is malformed if it has no timestamp or fewer
than three fields. It may hold several pairs of key and value. A condition (key, level and four more
fields) is one pair, and so is a message that begins with @; their values hold ``|``. Lines of a
value that goes over several (``--multiline--``), and what an adapter says of itself (``* key: …``),
are kept as unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workspace_lib.clock import from_us
from workspace_lib.formats import Issue, Record
from workspace_lib.machining.encodings import Encoding, find_encoding
from workspace_lib.machining.line_fields import NO_TIME, Bools, Bytes, Ints
from workspace_lib.machining.line_judge import Kind
from workspace_lib.machining.physical import PhysicalLines, split

#: What a machine does, in MTConnect's words.
EXECUTION: Final = "execution"
#: Levels of a condition.
LEVELS: Final = frozenset({b"NORMAL", b"WARNING", b"FAULT", b"UNAVAILABLE"})

_PIPE, _ZERO, _POINT, _Z, _STAR = b"|0.Z*"
_SECONDS: Final = b"0000-00-00T00:00:00"
_WEIGHTS: Final = 10 ** np.arange(5, -1, -1, dtype=np.int64)
_LONGEST_STAMP: Final = 31
_CONDITION_FIELDS: Final = 6
_MULTILINE: Final = b"--multiline--"
_TOLD: Final = 20
_US: Final = 1_000_000


@dataclass(frozen=True)
class ShdrLog:
    """A dump as columns: one row for each physical line, and one for each pair in them.

    Attributes
    ----------
    lines : PhysicalLines
    kind : array of uint8, shape (lines,)
        A `Kind`; all good lines are events.
    t_us : array of int64, shape (lines,)
        Instants [µs since 1970 UTC], `NO_TIME` where there is none.
    row, key, begin, end : array, shape (pairs,)
        The line of each pair, its key as a place in ``keys``, and where its value stands in the
        text; in the order of the dump.
    keys : tuple of str
    encoding : str
    """

    lines: PhysicalLines
    kind: NDArray[np.uint8]
    t_us: Ints
    row: Ints
    key: Ints
    begin: Ints
    end: Ints
    keys: tuple[str, ...]
    encoding: Encoding

    def __len__(self) -> int:
        return len(self.kind)

    def counts(self) -> dict[str, int]:
        """Return how often each key occurs."""
        numbers = np.bincount(self.key, minlength=len(self.keys)).tolist()
        return dict(zip(self.keys, numbers, strict=True))

    def values(self, key: str) -> tuple[Ints, list[str]]:
        """Return the instants [µs since 1970 UTC] and values of one key, in the dump's order."""
        if key not in self.keys:
            return np.zeros(0, np.int64), []
        mine = np.flatnonzero(self.key == self.keys.index(key))
        places = zip(self.begin[mine].tolist(), self.end[mine].tolist(), strict=True)
        text = self.lines.text
        return self.t_us[self.row[mine]], [text[b:e].decode(self.encoding) for b, e in places]


def parse_shdr(content: bytes, *, offset: int = 0, closed: bool = True) -> ShdrLog:
    """Parse a dump, or a slice of one from ``offset`` on [bytes]; never raises.

    If it is not ``closed``, what stands behind the last line feed is pending.
    """
    lines = split(content, offset, closed)
    start, end = lines.start, lines.end
    kind = np.full(len(start), Kind.MALFORMED, np.uint8)
    kind[start == end] = Kind.BLANK
    pipes = np.flatnonzero(lines.buffer == _PIPE)
    first = np.searchsorted(pipes, start)
    count = np.searchsorted(pipes, end) - first
    fields = count >= 2
    padded = np.append(pipes, [len(lines.buffer)] * 2)
    stamp_end, key_end = padded[first], padded[first + 1]
    t_us = _instants(lines.buffer, start, stamp_end, fields)
    good = t_us != NO_TIME
    kind[good] = Kind.EVENT
    kind[(kind == Kind.MALFORMED) & (lines.buffer[start] == _STAR)] = Kind.UNKNOWN
    _mark_multiline(lines, kind)
    rows = np.flatnonzero(good)
    pairs = np.column_stack(
        (rows, stamp_end[rows] + 1, key_end[rows], key_end[rows] + 1, end[rows])
    )
    pairs = _with_several(lines, pairs, count[rows] > 2)
    encoding = find_encoding(lines.text)
    keys, codes = _codes(lines, pairs[:, 1], pairs[:, 2])
    return ShdrLog(
        lines=lines,
        kind=kind,
        t_us=t_us,
        row=pairs[:, 0],
        key=codes,
        begin=pairs[:, 3],
        end=pairs[:, 4],
        keys=tuple(key.decode(encoding) for key in keys),
        encoding=encoding,
    )


def state_seconds(log: ShdrLog, key: str = EXECUTION) -> dict[str, float]:
    """Return how long each state of a key lasted [s].

    Its values are sorted by instant, equal ones in the order of the dump; each lasts up to the
    next one, the last up to the latest instant of the dump.
    """
    t_us, states = log.values(key)
    if not states:
        return {}
    order = np.argsort(t_us, kind="stable")
    latest = int(log.t_us[log.kind == Kind.EVENT].max())
    lasted = np.diff(np.append(t_us[order], latest))
    total: dict[str, int] = {}
    for place, duration in zip(order.tolist(), lasted.tolist(), strict=True):
        total[states[place]] = total.get(states[place], 0) + duration
    return {state: total[state] / _US for state in sorted(total)}


def execution_key(log: ShdrLog) -> str:
    """Return the key that tells what the machine does: its only one that ends in `EXECUTION`."""
    found = [key for key in log.keys if key.lower().endswith(EXECUTION)]
    return found[0] if len(found) == 1 else EXECUTION


def _instants(buffer: Bytes, start: Ints, stamp_end: Ints, wanted: Bools) -> Ints:
    """Return the instant of each stamp ``YYYY-MM-DDTHH:MM:SS[.f…][Z]`` [µs since 1970 UTC]."""
    t_us = np.full(len(start), NO_TIME)
    size = stamp_end - start
    possible = wanted & (size >= len(_SECONDS)) & (size <= _LONGEST_STAMP)
    for length in np.flatnonzero(np.bincount(size[possible])).tolist():
        mine = np.flatnonzero(possible & (size == length))
        windows = np.lib.stride_tricks.sliding_window_view(buffer, length)[start[mine]]
        instants, good = _of_length(windows)
        t_us[mine[good]] = instants[good]
    return t_us


def _of_length(windows: Bytes) -> tuple[Ints, Bools]:
    """Parse stamps of one length, each a row of bytes; a fraction is cut after microseconds."""
    seconds = len(_SECONDS)
    good = np.ones(len(windows), bool)
    for place, expected in enumerate(_SECONDS):
        column = windows[:, place]
        good &= column == expected if expected != _ZERO else _is_digit(column)
    last = windows.shape[1] - (windows[:, -1] == _Z)
    fraction = np.zeros((len(windows), 6), np.int64)
    for place in range(seconds, windows.shape[1]):
        column, inside = windows[:, place], place < last
        if place == seconds:
            good &= ~inside | ((column == _POINT) & (last > seconds + 1))
            continue
        good &= ~inside | _is_digit(column)
        if place - seconds - 1 < 6:
            digit = column.astype(np.int64) - _ZERO
            fraction[:, place - seconds - 1] = np.where(inside, digit, 0)
    digits = windows[:, :seconds].astype(np.int64) - _ZERO
    year = digits[:, 0:4] @ _WEIGHTS[2:]
    month, day, hour, minute, second = (
        digits[:, place] * 10 + digits[:, place + 1] for place in (5, 8, 11, 14, 17)
    )
    good &= (year >= 1970) & (year < 2262) & (month >= 1) & (month <= 12) & (day >= 1)
    good &= (hour < 24) & (minute < 60) & (second < 60)
    months = np.where(good, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    days = months.astype("datetime64[D]").astype(np.int64) + day - 1
    good &= days < (months + 1).astype("datetime64[D]").astype(np.int64)
    total = ((days * 24 + hour) * 60 + minute) * 60 + second
    return total * _US + fraction @ _WEIGHTS, good


def _is_digit(column: Bytes) -> Bools:
    digit: Bools = (column - np.uint8(_ZERO)) <= 9  # wraps for bytes below
    return digit


def _mark_multiline(lines: PhysicalLines, kind: NDArray[np.uint8]) -> None:
    """Take lines within a value of several lines for unknown: they are no events of their own."""
    if _MULTILINE not in lines.text:
        return
    mark = b""
    for row in range(len(kind)):
        if mark:
            text = lines.text[lines.start[row] : lines.end[row]]
            if kind[row] == Kind.EVENT:
                mark = b""  # its end was lost
            else:
                kind[row] = Kind.UNKNOWN
                if text == mark:
                    mark = b""
        if kind[row] == Kind.EVENT:
            text = lines.text[lines.start[row] : lines.end[row]]
            at = text.rfind(b"|" + _MULTILINE)
            mark = text[at + 1 :] if at >= 0 else b""


def _with_several(lines: PhysicalLines, pairs: Ints, suspect: Bools) -> Ints:
    """Return the pairs (row, begin and end of key, of value) where lines hold more than one.

    Only ``suspect`` ones have enough fields.
    """
    first: list[tuple[int, int]] = []
    further: list[tuple[int, int, int, int, int]] = []
    for place in np.flatnonzero(suspect).tolist():
        row, at, _, _, end = pairs[place].tolist()
        fields = lines.text[at:end].split(b"|")
        condition = len(fields) == _CONDITION_FIELDS and fields[1].upper() in LEVELS
        if condition or len(fields) % 2 or fields[0].startswith(b"@"):
            continue
        first.append((place, at + len(fields[0]) + 1 + len(fields[1])))
        for number, (key, value) in enumerate(zip(fields[::2], fields[1::2], strict=True)):
            middle = at + len(key)
            stop = middle + 1 + len(value)
            if number:
                further.append((row, at, middle, middle + 1, stop))
            at = stop + 1
    if not further:
        return pairs
    changed = np.array(first)
    pairs[changed[:, 0], 4] = changed[:, 1]
    joined = np.concatenate((pairs, np.array(further, np.int64)))
    return joined[np.argsort(joined[:, 0], kind="stable")]


def _codes(lines: PhysicalLines, begin: Ints, end: Ints) -> tuple[list[bytes], Ints]:
    """Return the keys that occur, sorted, and which of them each pair has."""
    codes = np.zeros(len(begin), np.int64)
    size = end - begin
    found: list[bytes] = []
    for length in np.flatnonzero(np.bincount(size)).tolist():
        mine = np.flatnonzero(size == length)
        if length == 0 or length > 64:
            keys, inverse = np.unique(
                np.array([lines.text[b:e] for b, e in zip(begin[mine], end[mine], strict=True)]),
                return_inverse=True,
            )
        else:
            windows = np.lib.stride_tricks.sliding_window_view(lines.buffer, length)[begin[mine]]
            keys, inverse = np.unique(windows.view(f"S{length}")[:, 0], return_inverse=True)
        codes[mine] = inverse + len(found)
        found += keys.tolist()
    order = sorted(range(len(found)), key=found.__getitem__)
    places = np.empty(len(found), np.int64)
    places[order] = np.arange(len(found))
    return [found[place] for place in order], places[codes] if len(found) else codes


def read_shdr(path: Path) -> Record:
    """Read a dump; ``data`` is a `ShdrLog`. Nothing but an unreadable file is refused."""
    log = parse_shdr(path.read_bytes())
    good = log.t_us[log.kind == Kind.EVENT]
    meta = {
        "first_time": from_us(int(good.min())) if len(good) else None,
        "last_time": from_us(int(good.max())) if len(good) else None,
        "timezone": {"name": "UTC", "from": "file"},
        "rows": len(log.row),
    }
    return Record(log, meta, tuple(_issues(log)))


def describe_shdr(record: Record) -> dict[str, Any]:
    """Return the counts as `workspace inspect` tells them, and how long each state lasted."""
    log: ShdrLog = record.data
    kinds = np.bincount(log.kind, minlength=len(Kind)).tolist()
    return {
        "lines": len(log),
        "events": log.counts(),
        "blank": kinds[Kind.BLANK],
        "unknown": kinds[Kind.UNKNOWN],
        "malformed": kinds[Kind.MALFORMED],
        "encoding": log.encoding,
        "state_seconds": state_seconds(log, execution_key(log)),
    }


def _issues(log: ShdrLog) -> list[Issue]:
    lines, found = log.lines, []
    if not len(log):
        found.append(Issue("empty", "warning", "file", "The dump has no line."))
    if lines.bom:
        found.append(Issue("bom", "info", "file", "The dump starts with a UTF-8 mark."))
    if lines.crlf:
        found.append(Issue("crlf", "info", "file", f"{lines.crlf} lines end in CR LF."))
    if nul := int(lines.nul.sum()):
        found.append(Issue("nul", "warning", "file", f"{nul} NUL bytes were taken out."))
    if lines.torn:
        message = "The last line has no end: its value may be cut."
        found.append(Issue("no_final_newline", "warning", f"line {len(log)}", message))
    rows = np.flatnonzero(log.kind == Kind.EVENT)
    back = np.flatnonzero(log.t_us[rows] < np.maximum.accumulate(log.t_us[rows]))
    if len(back):
        message = f"{len(back)} lines are stamped before an earlier one."
        found.append(Issue("clock_step", "warning", f"line {rows[back[0]] + 1}", message))
    for row in np.flatnonzero(log.kind == Kind.MALFORMED)[:_TOLD].tolist():
        message = "The line has no timestamp, or fewer than three fields."
        found.append(Issue("bad_line", "error", f"line {row + 1}", message))
    return found
