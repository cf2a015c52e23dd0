"""The grammar of an A0 line, twice: over whole arrays of lines, and over one line that is odd.

The arrays take what is well-formed, millions of lines a second; whatever they refuse is judged
line by line, which gives the issue its name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

LABEL_BYTES: Final = 32
FIELDS: Final = 5
#: Stamps outside are no times of a logger: before 1990 or from 2100 on [s since 1970 UTC].
FIRST_STAMP_S: Final = 631_152_000
LAST_STAMP_S: Final = 4_102_444_800
MAX_COUNT: Final = 2**31 - 1
_NEWLINE, _RETURN, _BLANK, _TAB, _COMMA, _POINT, _ZERO = b"\n\r \t,.0"

_INTEGER = re.compile(rb"[+-]?\d{1,12}")
_DECIMAL = re.compile(rb"[+-]?(\d{1,12}(\.\d{0,9})?|\.\d{1,9})")

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Refusal:
    """Why a line is not a row."""

    code: str
    message: str


@dataclass(frozen=True)
class Lines:
    """All lines of several joined files: where each starts and ends, and whose it is."""

    content: bytes
    buffer: NDArray[np.uint8]
    start: Ints
    end: Ints  # of the text, without CR and LF
    file: Ints
    number: Ints  # from 1 within its file
    carriage_return: Bools
    blank: Bools

    @classmethod
    def split(cls, content: bytes, sizes: Ints) -> Lines:
        """Split joined files, each of which ends in a newline (or is empty)."""
        buffer = np.frombuffer(content, dtype=np.uint8)
        end = np.flatnonzero(buffer == _NEWLINE)
        start = np.concatenate(([0], end[:-1] + 1)) if len(end) else np.zeros(0, np.int64)
        file = np.searchsorted(np.cumsum(sizes), start, side="right")
        first_of_file = np.searchsorted(file, file, side="left") if len(file) else file
        number = np.arange(len(start)) - first_of_file + 1
        carriage_return = (end > start) & (buffer[end - 1] == _RETURN)
        end = end - carriage_return
        lines = cls(content, buffer, start, end, file, number, carriage_return, end == start)
        return lines._with_whitespace_blank()

    def text(self, index: int) -> bytes:
        """Return the bytes of one line, without its line end."""
        return self.content[self.start[index] : self.end[index]]

    def _with_whitespace_blank(self) -> Lines:
        """Count lines of blanks and tabs alone as blank."""
        suspects = np.flatnonzero(~self.blank & (self.buffer[self.start] <= _BLANK))
        for index in suspects.tolist():
            self.blank[index] = not self.text(index).strip(b" \t")
        return self


def parse_fields(lines: Lines) -> tuple[dict[str, NDArray[Any]], Bools]:
    """Return the five fields of every line as arrays, and which lines the grammar accepts.

    Fields of lines that are not accepted hold nothing of meaning.
    """
    buffer, start, end = lines.buffer, lines.start, lines.end
    count = len(start)
    commas = np.flatnonzero(buffer == _COMMA)
    before = np.searchsorted(commas, start)
    accepted = ~lines.blank & (np.searchsorted(commas, end) - before == FIELDS - 1)
    accepted &= ~_has_odd_bytes(lines)
    # The commas of accepted lines; others are pointed at zero so that indexing stays legal.
    picked = np.where(accepted, before, 0)
    if len(commas) < FIELDS - 1:
        return _empty_fields(count), np.zeros(count, bool)
    separators = [commas[np.minimum(picked + nth, len(commas) - 1)] for nth in range(FIELDS - 1)]
    stamp, good_stamp = _integers(buffer, separators[0], separators[1], digits=12)
    tips, good_tips = _integers(buffer, separators[1], separators[2], digits=6)
    wind, good_wind = _integers(buffer, separators[2], separators[3], digits=6)
    volts, good_volts = _decimals(buffer, separators[3], end)
    label, good_label = _labels(buffer, start, separators[0], accepted)
    accepted &= good_stamp & good_tips & good_wind & good_volts & good_label
    accepted &= (stamp >= FIRST_STAMP_S) & (stamp < LAST_STAMP_S)
    fields = {
        "t_us": stamp * 1_000_000,
        "tips": tips,
        "wind": wind,
        "battery_v": volts,
        "label": label,
    }
    return fields, accepted


def parse_line(text: bytes, *, cut: bool = False) -> tuple[int, int, int, float, bytes] | Refusal:
    """Judge one line: its fields (t_us, tips, wind, battery_v, label), or why it is not a row.

    ``cut`` says that the line is the last of a file without a final newline. A comma follows the
    counts, so they are whole; what stands last, the battery, may be half a number and is unknown.
    """
    if b"\0" in text:
        return Refusal("nul_bytes", f"{text.count(0)} NUL bytes stand in the line.")
    parts = [part.strip(b" \t\r") for part in text.split(b",")]
    if len(parts) != FIELDS:
        if cut and len(parts) < FIELDS:
            return Refusal("truncated_line", f"The line is cut in field {len(parts)} of {FIELDS}.")
        return Refusal("field_count", f"{len(parts)} fields instead of {FIELDS}.")
    label, stamp, tips, wind, volts = parts
    for name, value, pattern in (
        ("stamp", stamp, _INTEGER),
        ("tips", tips, _INTEGER),
        ("wind", wind, _INTEGER),
        ("battery", volts, _DECIMAL),
    ):
        if cut and name == "battery":
            continue
        if pattern.fullmatch(value) is None:
            shown = printable(value, 40)
            return Refusal("bad_number", f"The {name} '{shown}' is not a number.")
    if not FIRST_STAMP_S <= int(stamp) < LAST_STAMP_S:
        return Refusal("stamp_out_of_range", f"{int(stamp)} s is no time between 1990 and 2100.")
    if int(tips) < 0:
        return Refusal("negative_tips", f"{int(tips)} tips cannot be.")
    if int(tips) > MAX_COUNT or abs(int(wind)) > MAX_COUNT:
        return Refusal("bad_number", "A count is larger than any counter.")
    if not 0 < len(label) <= LABEL_BYTES or not label.isascii() or not label.decode().isprintable():
        return Refusal("bad_label", f"The label is not 1 to {LABEL_BYTES} printable characters.")
    return int(stamp) * 1_000_000, int(tips), int(wind), math.nan if cut else float(volts), label


def printable(text: bytes, limit: int = 200) -> str:
    """Return bytes as text that any database and any terminal takes: odd ones as ``\\x00``."""
    return text[:limit].decode("latin-1").encode("unicode_escape").decode("ascii")


def _has_odd_bytes(lines: Lines) -> Bools:
    """Return which lines hold bytes other than printable ASCII (a CR before the LF is none)."""
    buffer = lines.buffer
    odd = np.flatnonzero(((buffer < _BLANK) & (buffer != _NEWLINE)) | (buffer > 126))
    result = np.zeros(len(lines.start), bool)
    if len(odd):
        owner = np.searchsorted(lines.start, odd, side="right") - 1
        result[owner[odd < lines.end[owner]]] = True
    return result


def _field_start(buffer: NDArray[np.uint8], comma: Ints) -> Ints:
    """Return where a field begins: after its comma and one blank, if there is one."""
    after = comma + 1
    blank: Bools = buffer[np.minimum(after, len(buffer) - 1)] == _BLANK
    return after + blank.astype(np.int64)


def _integers(
    buffer: NDArray[np.uint8], comma: Ints, end: Ints, *, digits: int
) -> tuple[Ints, Bools]:
    """Parse the unsigned integers between a comma and ``end``, of at most ``digits`` digits."""
    return _digits(buffer, _field_start(buffer, comma), end, digits)


def _digits(
    buffer: NDArray[np.uint8], first: Ints, end: Ints, limit: int, *, least: int = 1
) -> tuple[Ints, Bools]:
    length = end - first
    good = (length >= least) & (length <= limit)
    value = np.zeros(len(first), np.int64)
    for size, mine in _by_length(length, good):
        digits = _cut(buffer, first[mine], size) - np.uint8(_ZERO)  # wraps for other bytes
        if digits.max() > 9:
            good[mine] = (digits <= 9).all(axis=1)
        number = digits[:, 0].astype(np.int64)
        for place in range(1, size):
            number = 10 * number + digits[:, place]
        value[mine] = number
    return value, good


def _by_length(length: Ints, wanted: Bools) -> Iterator[tuple[int, Ints]]:
    """Yield each length above 0 that a wanted field has, and which fields have it."""
    for size in np.flatnonzero(np.bincount(length[wanted])).tolist():
        if size:
            yield size, np.flatnonzero(wanted & (length == size))


def _cut(buffer: NDArray[np.uint8], first: Ints, size: int) -> NDArray[np.uint8]:
    """Return ``size`` bytes from each place on, one row for each."""
    windows = np.lib.stride_tricks.sliding_window_view(buffer, size)
    pieces: NDArray[np.uint8] = windows[first]
    return pieces


def _decimals(
    buffer: NDArray[np.uint8], comma: Ints, end: Ints
) -> tuple[NDArray[np.float64], Bools]:
    """Parse unsigned decimals of at most 6 + 6 digits; the division rounds as ``float`` does."""
    first = _field_start(buffer, comma)
    length = end - first
    point = end.copy()
    for place in range(7):
        at = end - 1 - place
        point = np.where(
            (place < length) & (point == end) & (buffer[np.maximum(at, 0)] == _POINT), at, point
        )
    has_point = point < end
    whole, good_whole = _digits(buffer, first, point, 6)
    fraction_start = point + has_point
    fraction, good_fraction = _digits(buffer, fraction_start, end, 6, least=0)
    places = end - fraction_start
    good = good_whole & good_fraction & (~has_point | (places > 0))
    scale = 10.0 ** np.clip(places, 0, 6)
    return (whole * scale.astype(np.int64) + fraction) / scale, good


def _labels(
    buffer: NDArray[np.uint8], start: Ints, comma: Ints, wanted: Bools
) -> tuple[NDArray[Any], Bools]:
    """Cut out the labels; blanks at their edges are left to the slower judge."""
    length = comma - start
    good = wanted & (length >= 1) & (length <= LABEL_BYTES)
    good &= (buffer[start] != _BLANK) & (buffer[np.maximum(comma - 1, 0)] != _BLANK)
    labels = np.zeros(len(start), f"S{LABEL_BYTES}")
    for size, mine in _by_length(length, good):
        labels[mine] = _cut(buffer, start[mine], size).view(f"S{size}")[:, 0]
    return labels, good


def _empty_fields(count: int) -> dict[str, NDArray[Any]]:
    return {
        "t_us": np.zeros(count, np.int64),
        "tips": np.zeros(count, np.int64),
        "wind": np.zeros(count, np.int64),
        "battery_v": np.zeros(count),
        "label": np.zeros(count, f"S{LABEL_BYTES}"),
    }
