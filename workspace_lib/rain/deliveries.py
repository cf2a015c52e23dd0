"""Part of the simulator: a long history of a network, cut into A0 files as badly as they ever came.

`Loggers` writes a file every five minutes; this makes months of all gauges at once, for proofs over
years. What must come back is known from what was written, not from what a reader makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workspace_lib.rain.loggers import Ints, Loggers, SimulatedGauge, millivolts, winds

#: A row as it was written: its stamp [s since 1970 UTC], counts [1], battery [mV] (-1: half a
#: number, so that it is unknown).
TOLD: Final = np.dtype([("stamp", "i8"), ("tips", "i4"), ("wind", "i4"), ("battery_mv", "i4")])
UNKNOWN_MV: Final = -1

#: What happens to how many of a thousand files.
MISHAPS: Final = {
    "battery_twice": 20,
    "row_twice": 20,
    "tips_twice": 10,
    "overlap": 40,
    "half": 20,
    "half_then_whole": 30,
    "retold": 10,
    "clock_reset": 8,
    "clock_ahead": 4,
    "nul": 5,
    "empty_then_whole": 10,
    "bad_line": 20,
    "foreign_label": 30,
    "line_ends": 20,
    "blank_lines": 10,
    "backwards": 10,
    "late": 20,
    "shared_folder": 20,
}
#: On how many of a hundred stretches of a day a logger's minutes are off by a second.
_JITTER_PERCENT: Final = 15
_RESET_S: Final = 1_072_915_260  # 2004-01-01T00:01Z, where a clock starts that lost its battery
_AHEAD_S: Final = 400 * 86_400
#: When a file is delivered: with its chapter, with the next one, after all.
_NOW, _NEXT, _LAST = 0, 1, -1

Told = NDArray[Any]


@dataclass(frozen=True)
class Delivery:
    """A file as it arrives: where, its bytes, and the rows it was written from, line by line.

    ``rows`` are those that a faultless reader finds; ``set_aside`` rows and ``bad_lines`` are
    counted, and a file that is ``refused`` has no row at all.
    """

    gauge: str
    path: str
    content: bytes
    rows: Told
    set_aside: int = 0
    bad_lines: int = 0
    refused: bool = False
    mishap: str = ""
    when: int = _NOW


@dataclass
class HistoryTruth:
    """What a faultless reader has found when everything was delivered.

    ``rows`` by gauge: the first row of each stamp, by stamp. ``duplicates`` and ``conflicts`` are
    the later rows of a stamp that are equal to its first one, and those that are not.
    """

    rows: dict[str, Told]
    duplicates: int
    conflicts: int
    set_aside: int
    bad_lines: int
    refused: list[str]
    files: int
    mishaps: set[str]


@dataclass
class _Account:
    told: dict[str, list[Told]]
    set_aside: int = 0
    bad_lines: int = 0
    files: int = 0
    refused: list[str] = field(default_factory=list)
    mishaps: set[str] = field(default_factory=set)


class NetworkHistory:
    """The history of a network, delivered in chapters.

    Parameters
    ----------
    gauges : sequence of SimulatedGauge
        The network; the first eight letters of ``logger`` name a gauge in the shared folder.
    start : datetime
        From when on there are rows.
    days : float
        For how long [d].
    chapters : int
        How many parts it comes in; what was delivered badly is delivered again in a later one.
    file_min : int
        How long a file is, more or less [min].
    seed : int
        Another seed, another history.
    shared_folder : str
        Where files of any gauge may arrive.
    """

    def __init__(
        self,
        gauges: Sequence[SimulatedGauge],
        start: datetime,
        days: float,
        *,
        chapters: int,
        file_min: int,
        seed: int = 1,
        shared_folder: str = "A",
    ) -> None:
        first = int(start.timestamp()) // 60
        self._edges = first + np.linspace(0, days * 1440, chapters + 1).astype(int)
        self._loggers = Loggers(gauges, seed, ("gap", "hourly"))
        self._file_min = file_min
        self._seed = seed
        self._shared = shared_folder
        self._account = _Account({gauge.id: [] for gauge in gauges})

    def chapters(self) -> Iterator[tuple[datetime, list[Delivery]]]:
        """Yield when each chapter is over, and the files that arrive until then, in order."""
        postponed: list[Delivery] = []
        last: list[Delivery] = []
        for number in range(len(self._edges) - 1):
            arriving, postponed = postponed, []
            for gauge in range(len(self._loggers.gauges)):
                for sent in self._cut(gauge, number):
                    {_NOW: arriving, _NEXT: postponed, _LAST: last}[sent.when].append(sent)
            yield self._tell(int(self._edges[number + 1]), arriving)
        yield self._tell(int(self._edges[-1]) + 1440, postponed + last)

    def truth(self) -> HistoryTruth:
        """Return what a faultless reader has found of all chapters so far."""
        rows, duplicates, conflicts = {}, 0, 0
        for gauge, parts in self._account.told.items():
            told = np.concatenate([np.empty(0, TOLD), *parts])
            _, first, which = np.unique(told["stamp"], return_index=True, return_inverse=True)
            equal = told == told[first[which]]
            duplicates += int(equal.sum()) - len(first)
            conflicts += int((~equal).sum())
            rows[gauge] = told[first]
        account = self._account
        return HistoryTruth(
            rows,
            duplicates,
            conflicts,
            account.set_aside,
            account.bad_lines,
            account.refused,
            account.files,
            account.mishaps,
        )

    def _tell(self, minute: int, arriving: list[Delivery]) -> tuple[datetime, list[Delivery]]:
        account = self._account
        for sent in arriving:
            account.told[sent.gauge].append(sent.rows)
            account.set_aside += sent.set_aside
            account.bad_lines += sent.bad_lines
            account.files += 1
            account.mishaps.add(sent.mishap)
            if sent.refused:
                account.refused.append(sent.path)
        return datetime.fromtimestamp(minute * 60, UTC), arriving

    def _cut(self, number: int, chapter: int) -> Iterator[Delivery]:
        """Yield the files of one gauge and chapter, spoilt as the dice say."""
        gauge = self._loggers.gauges[number]
        rng = np.random.default_rng([self._seed, number, chapter, 4])
        rows = self._rows(number, chapter, rng)
        if not len(rows):
            return
        length = self._file_min
        pieces = rng.integers(max(1, length // 2), 1 + length + length // 2, 2 * len(rows))
        first = int(self._edges[chapter]) * 60
        begins = first + 60 * np.cumsum(pieces)
        cuts = np.unique([0, *np.searchsorted(rows["stamp"], begins), len(rows)])
        text, ends = write_lines(rows, gauge.label)
        dice = rng.integers(0, 1000, len(cuts) - 1).tolist()
        for begin, end, die in zip(cuts[:-1].tolist(), cuts[1:].tolist(), dice, strict=True):
            piece = _Piece(gauge, rows, begin, end, text, ends, rng, self._shared)
            name = _mishap(die) if end - begin > 2 else ""
            for sent in _SPOIL[name](piece):
                yield replace(sent, mishap=name)

    def _rows(self, number: int, chapter: int, rng: np.random.Generator) -> Told:
        """Return what a logger counts in a chapter, with its gaps, hourly rows and jitter."""
        minutes = np.arange(self._edges[chapter], self._edges[chapter + 1], dtype=np.int64)
        tips, keep = self._loggers.counted(number, minutes)
        stretch = minutes // 1440
        unsteady = rng.integers(0, 100, int(stretch[-1] - stretch[0]) + 1) < _JITTER_PERCENT
        shifts = np.where(unsteady[stretch - stretch[0]], rng.integers(-1, 2, len(minutes)), 0)
        rows = np.empty(len(minutes), TOLD)
        rows["stamp"] = minutes * 60 + shifts
        rows["tips"], rows["wind"] = tips, winds(minutes)
        rows["battery_mv"] = millivolts(minutes)
        return rows[keep]


def write_lines(rows: Told, label: str) -> tuple[bytes, Ints]:
    """Return rows as the lines of an A0 file, and where each of them ends."""
    volts, millis = np.divmod(rows["battery_mv"], 1000)
    fields = (
        label.encode(),
        *(b", ", *_digits(rows["stamp"])),
        *(b", ", *_digits(rows["tips"])),
        *(b", ", *_digits(rows["wind"])),
        *(b", ", *_digits(volts)),
        *(b".", *_digits(1000 + millis)[1:]),
        b"\n",
    )
    columns: list[Any] = []
    for part in fields:
        columns.extend(part if isinstance(part, bytes) else [part])
    letters = np.empty((len(rows), len(columns)), np.uint8)
    for place, column in enumerate(columns):
        letters[:, place] = column
    some = letters > 0
    return letters[some].tobytes(), np.cumsum(some.sum(axis=1))


def _digits(values: NDArray[Any]) -> list[NDArray[np.uint8]]:
    """Return numbers as columns of digits, zero bytes in place of leading zeros."""
    columns: list[NDArray[np.uint8]] = []
    rest = values.astype(np.uint32)  # quicker to divide than longer ones
    while not columns or rest.any():
        higher = rest // np.uint32(10)
        digit = (rest - higher * np.uint32(10)).astype(np.uint8) + np.uint8(ord("0"))
        columns.insert(0, np.where(rest > 0, digit, np.uint8(0)) if columns else digit)
        rest = higher
    return columns


@dataclass(frozen=True)
class _Piece:
    """The rows of one file, before anything has happened to it."""

    gauge: SimulatedGauge
    all_rows: Told
    begin: int
    end: int
    text: bytes
    ends: Ints
    rng: np.random.Generator
    shared_folder: str

    @property
    def rows(self) -> Told:
        return self.all_rows[self.begin : self.end]

    @property
    def content(self) -> bytes:
        return self.text[self.ends[self.begin - 1] if self.begin else 0 : self.ends[self.end - 1]]

    def lines(self) -> list[bytes]:
        return self.content.splitlines(keepends=True)

    def pick(self) -> int:
        """Return the place of some row."""
        return int(self.rng.integers(self.end - self.begin))

    def sent(self, rows: Told | None = None, content: bytes | None = None, **what: Any) -> Delivery:
        """Return the file, as it is or with other rows, or bytes."""
        told = self.rows if rows is None else rows
        if content is None:
            content = self.content if rows is None else write_lines(told, self.gauge.label)[0]
        first = datetime.fromtimestamp(int(self.rows["stamp"][0]), UTC)
        name = f"{self.gauge.logger[:8]}_{first:%d%m%y_%H%M%S}.txt"
        folder = what.pop("folder", self.gauge.folder)
        return Delivery(self.gauge.id, f"{folder}/{name}", content, told, **what)

    def without_rows(self, content: bytes, **what: Any) -> Delivery:
        return self.sent(np.empty(0, TOLD), content, **what)

    def again(self, **changes: int) -> Told:
        """Return the rows with one of them written twice, the second time with ``changes``."""
        at = self.pick()
        other = self.rows[at : at + 1].copy()
        for name, by in changes.items():
            other[name] += by
        return np.concatenate((self.rows[: at + 1], other, self.rows[at + 1 :]))


_Spoilt = Iterator[Delivery]


def _whole(piece: _Piece) -> _Spoilt:
    yield piece.sent()


def _battery_twice(piece: _Piece) -> _Spoilt:
    yield piece.sent(piece.again(battery_mv=704))


def _row_twice(piece: _Piece) -> _Spoilt:
    yield piece.sent(piece.again())


def _tips_twice(piece: _Piece) -> _Spoilt:
    yield piece.sent(piece.again(tips=1))


def _overlap(piece: _Piece) -> _Spoilt:
    begin = max(0, piece.begin - 1 - piece.pick())
    yield piece.sent(piece.all_rows[begin : piece.end], when=_NEXT)


def _half(piece: _Piece) -> _Spoilt:
    lines, rows = piece.lines(), piece.rows.copy()
    cut = int(piece.rng.integers(len(lines[0]), len(piece.content)))
    begin = count = bad = 0
    for number, line in enumerate(lines):
        whole, counts = begin + len(line) <= cut, begin + line.rindex(b",") < cut
        count += counts
        if counts and not whole:
            rows["battery_mv"][number] = UNKNOWN_MV
        bad += begin < cut and not counts
        begin += len(line)
    yield piece.sent(rows[:count], piece.content[:cut], bad_lines=bad)


def _half_then_whole(piece: _Piece) -> _Spoilt:
    yield from _half(piece)
    yield piece.sent(when=_NEXT)


def _retold(piece: _Piece) -> _Spoilt:
    yield piece.sent()
    rows = piece.rows.copy()
    rows["tips"][piece.pick()] += 1
    yield piece.sent(rows, when=_NEXT)


def _clock_reset(piece: _Piece) -> _Spoilt:
    rows = piece.rows.copy()
    rows["stamp"] = _RESET_S + 60 * np.arange(len(rows))
    content, _ = write_lines(rows, piece.gauge.label)
    yield piece.without_rows(content, set_aside=len(rows))


def _clock_ahead(piece: _Piece) -> _Spoilt:
    rows = piece.rows.copy()
    rows["stamp"] += _AHEAD_S
    content, _ = write_lines(rows, piece.gauge.label)
    yield piece.without_rows(content, set_aside=len(rows))


def _nul(piece: _Piece) -> _Spoilt:
    yield piece.without_rows(b"\0" * len(piece.content), bad_lines=1, refused=True)


def _empty_then_whole(piece: _Piece) -> _Spoilt:
    yield piece.without_rows(b"", refused=True)
    yield piece.sent(when=_NEXT)


def _bad_line(piece: _Piece) -> _Spoilt:
    lines, at = piece.lines(), piece.pick()
    lines[at] = lines[at].replace(b", 1", b", 1?", 1)  # within the stamp
    yield piece.sent(np.delete(piece.rows, at), b"".join(lines), bad_lines=1)


def _foreign_label(piece: _Piece) -> _Spoilt:
    content, _ = write_lines(piece.rows, "ARCHIOUEST")
    yield piece.sent(content=content)


def _line_ends(piece: _Piece) -> _Spoilt:
    yield piece.sent(content=b"\xef\xbb\xbf" + piece.content.replace(b"\n", b"\r\n"))


def _blank_lines(piece: _Piece) -> _Spoilt:
    lines = piece.lines()
    lines.insert(piece.pick(), b" \n\n")
    yield piece.sent(content=b"".join(lines))


def _backwards(piece: _Piece) -> _Spoilt:
    yield piece.sent(piece.rows[::-1])


def _late(piece: _Piece) -> _Spoilt:
    yield piece.sent(when=_LAST)


def _shared_folder(piece: _Piece) -> _Spoilt:
    yield piece.sent(folder=piece.shared_folder)


_SPOIL: Final[dict[str, Callable[[_Piece], _Spoilt]]] = {
    "": _whole,
    "battery_twice": _battery_twice,
    "row_twice": _row_twice,
    "tips_twice": _tips_twice,
    "overlap": _overlap,
    "half": _half,
    "half_then_whole": _half_then_whole,
    "retold": _retold,
    "clock_reset": _clock_reset,
    "clock_ahead": _clock_ahead,
    "nul": _nul,
    "empty_then_whole": _empty_then_whole,
    "bad_line": _bad_line,
    "foreign_label": _foreign_label,
    "line_ends": _line_ends,
    "blank_lines": _blank_lines,
    "backwards": _backwards,
    "late": _late,
    "shared_folder": _shared_folder,
}


def _mishap(die: int) -> str:
    """Return what happens where a die of a thousand sides shows ``die``; nothing: empty."""
    for name, share in MISHAPS.items():
        if die < share:
            return name
        die -= share
    return ""
