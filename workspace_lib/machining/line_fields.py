"""Vectorised part of the parser of machine logs: stamps, names and details of many lines at once.

Eight bytes are read as one number, so that a stamp is three numbers and a check of its digits a few
operations on whole arrays. What is refused here is judged singly by `line_judge`, which knows why.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]

#: The stamp and the mark before the name: ``YYYYMMDD HH:MM:SS|@``.
HEAD: Final = 19
#: So many bytes behind the text must be readable: a line of one byte is read as if it were longer.
PADDING: Final = 64
#: Longer names are judged singly.
NAME_LIMIT: Final = 40
#: No stamp.
NO_TIME: Final = np.iinfo(np.int64).min
#: Lines that are worked on together: their arrays stay in the processor's cache.
BLOCK: Final = 32_768
FIRST_YEAR, LAST_YEAR = 1990, 2099

_US: Final = 1_000_000
_DAY_US: Final = 86_400 * _US
_HIGH: Final = np.uint64(0x8080808080808080)
_COLON, _BLANK, _TAB, _CR, _LF = b": \t\r\n"

_SHORT: Final = 16
#: So many unknown names are matched one by one.
_MET: Final = 24
#: A name of fewer than one in so many is not worth it.
_RARE: Final = 200
#: So often one blank is skipped in all lines that have more.
_PASSES: Final = 8
_SHORT_NAME = re.compile(rb"([A-Za-z0-9_\x80-\xff]{1,16})[: \t\r\n\0]")
_WORD = np.zeros(256, bool)
_WORD[list(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")] = True
_WORD[128:] = True  # letters with accents, whatever the encoding
#: What may follow a name.
_ENDS = np.zeros(256, bool)
_ENDS[[_COLON, _BLANK, _TAB, _CR, _LF, 0]] = True  # 0: behind the text


def _pattern(text: bytes) -> tuple[np.uint64, np.uint64]:
    """Return what to XOR eight bytes with and what to add to find bytes that do not fit.

    In ``text`` 0 stands for a digit, ? for any byte. After XOR a digit is 0 … 9 and a byte that
    has to be the same 0; what is added lifts everything else to 128 or more.
    """
    xor = bytes(0 if c == ord("?") else c for c in text)
    add = bytes({ord("0"): 0x76, ord("?"): 0}.get(c, 0x7F) for c in text)
    return np.uint64(int.from_bytes(xor, "little")), np.uint64(int.from_bytes(add, "little"))


_DATE = _pattern(b"00000000")
_TIME = _pattern(b" 00:00:0")
_MARK = _pattern(b"0|@?????")
_ALL: Final = np.uint64(2**64 - 1)
_MARK_BYTES: Final = np.uint64(0xFFFFFF)


@dataclass(frozen=True)
class Fields:
    """What the lines of a block say; only where ``accepted`` does it mean anything.

    ``t_us`` is the naive local stamp [µs since 1970 as if it were UTC], ``name`` the number of the
    name, ``detail`` where the details begin in the text.
    """

    accepted: Bools
    t_us: Ints
    name: NDArray[np.int32]
    detail: Ints


@dataclass(frozen=True)
class _Pattern:
    """A name of up to 16 bytes as two numbers, and which of their bits it has."""

    first: np.uint64
    second: np.uint64
    first_bits: np.uint64
    second_bits: np.uint64

    @classmethod
    def of(cls, name: bytes) -> _Pattern:
        """Return the pattern of a name."""
        parts = (name[:8], name[8:])
        first, second = (np.uint64(int.from_bytes(part, "little")) for part in parts)
        bits = [np.uint64((1 << 8 * len(part)) - 1) for part in parts]
        return cls(first, second, bits[0], bits[1])

    def hits(self, first: Words, second: Words) -> Bools:
        """Return where a text that begins with two numbers begins with the name."""
        hits: Bools = (second & self.second_bits) == self.second
        hits &= (first if self.first_bits == _ALL else first & self.first_bits) == self.first
        return hits


class Names:
    """Names of events and their numbers; new ones are added as they are met."""

    def __init__(self, known: Sequence[str]) -> None:
        self.numbers: dict[bytes, int] = {}
        for name in map(str.encode, known):
            self.number(name)
        self.known = len(self.numbers)
        # Longer ones last: they take the place of one that they begin with.
        short = sorted((name for name in self.numbers if len(name) <= _SHORT), key=len)
        self._quick = [(self.numbers[name], _Pattern.of(name)) for name in short]
        self._sizes = np.array([*map(len, self.numbers), 0], np.int64)

    def number(self, name: bytes) -> int:
        """Return the number of a name."""
        return self.numbers.setdefault(name, len(self.numbers))

    def all(self) -> tuple[bytes, ...]:
        """Return the names by number."""
        return tuple(self.numbers)

    def find(self, buffer: Bytes, words: Words, at: Ints, wanted: Bools) -> tuple[Any, Any]:
        """Return number (-1: none) and length of the names that begin at ``at``."""
        first, second = words[at], words[at + 8]
        number = np.full(len(at), -1, np.int32)
        for code, pattern in self._quick:
            np.copyto(number, code, where=pattern.hits(first, second))
        length = self._sizes[number]
        np.copyto(number, -1, where=~_ENDS[buffer[at + length]])
        rest = np.flatnonzero((number < 0) & wanted)
        for _ in range(_MET if len(rest) else 0):
            # Others are matched one by one as they are met: logs have few.
            name = _SHORT_NAME.match(buffer[at[rest[0]] :][: _SHORT + 1].tobytes())
            if name is None:
                break
            hit = _Pattern.of(name[1]).hits(first[rest], second[rest])
            hit &= _ENDS[buffer[at[rest] + len(name[1])]]
            if np.count_nonzero(hit) * _RARE < len(rest):
                break
            number[rest[hit]], length[rest[hit]] = self.number(name[1]), len(name[1])
            rest = rest[~hit]
            if not len(rest):
                return number, length
        if len(rest):
            number[rest], length[rest] = self._read(buffer, at[rest])
        return number, length

    def _read(self, buffer: Bytes, at: Ints) -> tuple[Any, Any]:
        windows = np.lib.stride_tricks.sliding_window_view(buffer, NAME_LIMIT)[at]
        is_word = _WORD[windows]
        length = np.where(is_word.all(axis=1), 0, is_word.argmin(axis=1))
        good = (length > 0) & _ENDS[buffer[at + length]]
        number = np.full(len(at), -1, np.int32)
        texts = np.where(np.arange(NAME_LIMIT) < length[:, None], windows, 0).astype(np.uint8)
        keys = np.ascontiguousarray(texts).view(f"S{NAME_LIMIT}")[:, 0]
        names, inverse = np.unique(keys[good], return_inverse=True)
        codes = np.array([self.number(name) for name in names.tolist()], np.int32)
        if len(codes):
            number[good] = codes[inverse]
        return number, np.where(good, length, 0)


def parse_block(buffer: Bytes, words: Words, start: Ints, end: Ints, names: Names) -> Fields:
    """Parse lines of a text.

    Parameters
    ----------
    buffer, words : array
        The bytes of the text with `PADDING` bytes behind, and the same read as a number of eight
        bytes from each place on.
    start, end : array of int, shape (lines,)
        Where each line begins and ends, without its line end.
    names : Names
        Names by number; new ones are added.
    """
    accepted = end - start > HEAD
    day_us, good = _dates(words[start])
    accepted &= good
    second, good = _times(words[start + 8], words[start + 16])
    accepted &= good
    at = start + HEAD
    number, length = names.find(buffer, words, at, accepted)
    accepted &= number >= 0
    detail = _skip(buffer, at + length, accepted)
    return Fields(accepted, day_us + second, number, np.minimum(detail, end))


def _fits(value: Words, add: np.uint64) -> Bools:
    fits: Bools = ((value | (value + add)) & _HIGH) == 0
    return fits


def _dates(words: Words) -> tuple[Ints, Bools]:
    """Return the day of each stamp [µs since 1970], worked out once for each run of equal ones."""
    first = np.concatenate(([0], np.flatnonzero(words[1:] != words[:-1]) + 1))
    value = words[first] ^ _DATE[0]
    good = _fits(value, _DATE[1])
    digits = value[:, None] >> np.arange(0, 64, 8, dtype=np.uint64) & np.uint64(0xF)
    digit = digits.astype(np.int64)
    year = digit[:, 0] * 1000 + digit[:, 1] * 100 + digit[:, 2] * 10 + digit[:, 3]
    month, day = digit[:, 4] * 10 + digit[:, 5], digit[:, 6] * 10 + digit[:, 7]
    good &= (year >= FIRST_YEAR) & (year <= LAST_YEAR) & (month >= 1) & (month <= 12) & (day >= 1)
    month_start = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = month_start.astype("datetime64[D]").astype(np.int64) + day - 1
    next_month = (month_start + 1).astype("datetime64[D]").astype(np.int64)
    good &= days < next_month
    count = np.diff(np.append(first, len(words)))
    return np.repeat(days * _DAY_US, count), np.repeat(good, count)


def _times(middle: Words, last: Words) -> tuple[Ints, Bools]:
    """Return the time of day of each stamp [µs] from its bytes 8 to 15 and 16 to 23."""
    value, mark = middle ^ _TIME[0], last ^ _MARK[0]
    good = _fits(value, _TIME[1])
    good &= _fits(mark & _MARK_BYTES, _MARK[1])
    pairs = value * np.uint64(10) + (value >> np.uint64(8))  # two digits each, in their byte
    byte = np.uint64(0xFF)
    hour, minute = pairs >> np.uint64(8) & byte, pairs >> np.uint64(32) & byte
    tens = value >> np.uint64(56)
    good &= (hour < 24) & (minute < 60) & (tens < 6)
    seconds = (hour * np.uint64(60) + minute) * np.uint64(60) + tens * np.uint64(10)
    seconds += mark & np.uint64(0xF)
    return seconds.astype(np.int64) * _US, good


def _skip(buffer: Bytes, at: Ints, wanted: Bools) -> Ints:
    """Return where details begin: behind blanks, one colon and blanks."""
    at, colon = _skip_once(buffer, at, np.zeros(len(at), bool))
    # Few have more than ``name: details``: ``name : details``, and fewer more than that.
    odd = np.flatnonzero(wanted)
    for _ in range(_PASSES):
        here = buffer[at[odd]]
        odd = odd[(here == _BLANK) | (here == _TAB) | (~colon[odd] & (here == _COLON))]
        if not len(odd):
            return at
        at[odd], colon[odd] = _skip_once(buffer, at[odd], colon[odd])
    for index in odd.tolist():
        at[index] = _skip_one(buffer, int(at[index]), bool(colon[index]))
    return at


def _skip_once(buffer: Bytes, at: Ints, had_colon: Bools) -> tuple[Ints, Bools]:
    colon = ~had_colon & (buffer[at] == _COLON)
    at = at + colon
    here = buffer[at]
    at += (here == _BLANK) | (here == _TAB)
    return at, had_colon | colon


def _skip_one(buffer: Bytes, at: int, colon: bool) -> int:
    text = buffer[at : at + 64].tobytes()
    while True:
        stripped = text.lstrip(b" \t")
        at += len(text) - len(stripped)
        if stripped[:1] == b":" and not colon:
            colon, at = True, at + 1
        elif stripped or not text:
            return at
        text = buffer[at : at + 4096].tobytes()
