"""Part of the simulator: made-up weather, and the loggers that write it into A0 files.

Weather and faults depend on the seed and on absolute time alone, so that a simulator started
again tells the same story. It knows nothing of the reader it tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workspace_lib.errors import ParameterError

Ints = NDArray[np.int64]

DAY_MIN: Final = 1440
FILE_MIN: Final = 5
OFFSET_MIN: Final = 4  # files start at minutes 4, 9, 14, … of the hour
#: A block of days holds one storm, which makes about 0.7 % of all minutes wet.
BLOCK_MIN: Final = 4 * DAY_MIN
STORM_MIN: Final = 240
_RESET_S: Final = 1_072_915_260  # where a logger's clock starts that lost its battery: 2004

#: What may go wrong, and on how many of a hundred days of one gauge it does.
FAULTS: Final = {
    "gap": 25,
    "clock_reset": 20,
    "duplicate": 50,
    "truncated": 25,
    "hourly": 20,
    "jitter": 30,
    "nul": 10,
    "empty": 10,
    "bad_line": 15,
}
#: Faults of a single file, as against those of a stretch of time.
_FILE_FAULTS: Final = tuple(name for name in FAULTS if name not in ("gap", "hourly"))


@dataclass(frozen=True)
class SimulatedGauge:
    """A gauge: its key in the truth, its folder, the name its logger has and the label inside.

    With ``base`` it delivers there, and something else has to copy its files into ``folder``.
    """

    id: str
    folder: str
    logger: str
    label: str
    base: str | None = None


@dataclass(frozen=True)
class LoggerFile:
    """A file a logger delivers, and what a faultless reader finds in it.

    ``complete_s`` is when it is whole [s since 1970 UTC], ``rows`` the (stamp [s], tips) that must
    reach the store; the other rows and lines of it are counted.
    """

    path: str
    content: bytes
    complete_s: int
    rows: tuple[tuple[int, int], ...]
    conflicts: int = 0
    set_aside: int = 0
    bad_lines: int = 0
    refused: bool = False
    fault: str | None = None


@dataclass(frozen=True)
class _Line:
    stamp: int
    tips: int
    wind: int
    battery: str

    def text(self, label: str) -> bytes:
        return f"{label}, {self.stamp}, {self.tips}, {self.wind}, {self.battery}\n".encode()


class Loggers:
    """Loggers of a network under made-up weather.

    Parameters
    ----------
    gauges : sequence of SimulatedGauge
        The gauges; their order counts for the weather.
    seed : int
        Another seed gives another story.
    faults : sequence of str
        Names out of `FAULTS` that happen.

    Raises
    ------
    ParameterError
        If a fault has none of these names.
    """

    def __init__(self, gauges: Sequence[SimulatedGauge], seed: int, faults: Sequence[str]) -> None:
        unknown = sorted(set(faults) - set(FAULTS))
        if unknown:
            raise ParameterError(
                f"There are no faults called {', '.join(unknown)}.",
                fix=f"Known faults: {', '.join(FAULTS)}.",
            )
        self.gauges = tuple(gauges)
        self.seed = seed
        self.faults = tuple(faults)
        self._storm = lru_cache(maxsize=256)(self._make_storm)
        self._plan = lru_cache(maxsize=4096)(self._make_plan)

    def slot_at(self, minute: int) -> int:
        """Return the number of the file slot that holds a minute [min since 1970]."""
        return (minute - OFFSET_MIN) // FILE_MIN

    def files(self, number: int, first_slot: int, last_slot: int) -> Iterator[LoggerFile]:
        """Yield the files of gauge ``number`` from ``first_slot`` to before ``last_slot``."""
        if last_slot <= first_slot:
            return
        minutes = np.arange(first_slot * FILE_MIN, last_slot * FILE_MIN) + OFFSET_MIN
        tips, keep = self.counted(number, minutes)
        columns = (minutes * 60, tips, winds(minutes), millivolts(minutes))
        rows = list(zip(*(column.tolist() for column in columns), strict=True))
        for index in range(last_slot - first_slot):
            lines = [
                _Line(rows[at][0], rows[at][1], rows[at][2], f"{rows[at][3] / 1000:.3f}")
                for at in range(index * FILE_MIN, (index + 1) * FILE_MIN)
                if keep[at]
            ]
            if lines:
                yield self._deliver(number, first_slot + index, lines)

    def tips(self, number: int, minutes: Ints) -> Ints:
        """Return how often the bucket of gauge ``number`` tips in each of these minutes."""
        result = np.zeros(len(minutes), np.int64)
        blocks = minutes // BLOCK_MIN
        for block in np.unique(blocks).tolist():
            here = blocks == block
            begin, storm = self._storm(number, block)
            place = minutes[here] - block * BLOCK_MIN - begin
            wet = (place >= 0) & (place < STORM_MIN)
            values = np.zeros(len(place), np.int64)
            values[wet] = storm[place[wet]]
            result[here] = values
        return result

    def _make_storm(self, number: int, block: int) -> tuple[int, Ints]:
        """Return when the storm of a block begins there [min], and the tips of its minutes."""
        common = np.random.default_rng([self.seed, block])
        begin = int(common.integers(30, BLOCK_MIN - STORM_MIN - 30))
        peak, width = common.uniform(1.5, 4.0), common.uniform(9.0, 14.0)
        own = np.random.default_rng([self.seed, block, number, 1])
        middle = 60 + own.integers(-4, 5)  # the storm crosses the network
        shape = np.exp(-0.5 * ((np.arange(STORM_MIN) - middle) / width) ** 2)
        rate = peak * own.uniform(0.8, 1.2) * shape
        rate[np.abs(np.arange(STORM_MIN) - 130) < 25] += 0.09  # it drizzles on
        return begin, own.poisson(rate)

    def counted(self, number: int, minutes: Ints) -> tuple[Ints, NDArray[np.bool_]]:
        """Return what is logged in successive minutes [min since 1970], and which have a row.

        Gaps and hourly rows are those of the loggers' faults; an hourly row has its hour's tips.
        """
        tips = self.tips(number, minutes)
        keep = np.ones(len(minutes), bool)
        for day in range(int(minutes[0]) // DAY_MIN - 1, int(minutes[-1]) // DAY_MIN + 1):
            plan = self._plan(number, day)
            if "hourly" in plan:
                full = day * DAY_MIN + plan["hourly"]
                hour = (minutes > full - 60) & (minutes <= full)
                keep &= ~hour | (minutes == full)
                whole = self.tips(number, np.arange(full - 59, full + 1)).sum()
                tips = np.where(minutes == full, whole, tips)
            if "gap" in plan:
                begin = day * DAY_MIN + plan["gap"]
                keep &= (minutes < begin) | (minutes >= begin + plan["gap_length"])
        return tips, keep

    def _make_plan(self, number: int, day: int) -> dict[str, int]:
        """Return which faults a gauge has on a day, and in which minute or file of it."""
        rng = np.random.default_rng([self.seed, number, day, 2])
        plan: dict[str, int] = {}
        for name, percent in FAULTS.items():
            happens, place, length = rng.integers(0, (100, 280, 150)).tolist()
            if name not in self.faults or happens >= percent:
                continue
            if name == "hourly":
                plan["hourly"] = 60 * (1 + place % 23)
            elif name == "gap":
                plan |= {"gap": place * FILE_MIN, "gap_length": 7 + length}
            else:
                plan[name] = place
        return plan

    def _fault_of(self, number: int, slot: int) -> str | None:
        day, minute = divmod(slot * FILE_MIN + OFFSET_MIN, DAY_MIN)
        plan = self._plan(number, day)
        return next((name for name in _FILE_FAULTS if plan.get(name) == minute // FILE_MIN), None)

    def _deliver(self, number: int, slot: int, lines: list[_Line]) -> LoggerFile:
        gauge, fault = self.gauges[number], self._fault_of(number, slot)
        made = _Made(lines)
        if fault:
            rng = np.random.default_rng([self.seed, number, slot, 3])
            made = _SPOIL[fault](gauge.label, lines, rng, slot)
        content = made.content
        if content is None:
            content = b"".join(line.text(gauge.label) for line in made.lines)
        rows = made.lines if made.rows is None else made.rows
        name = _file_name(gauge.logger, made.lines[0].stamp)
        return LoggerFile(
            f"{gauge.folder}/{name}",
            content,
            ((slot + 1) * FILE_MIN + OFFSET_MIN) * 60,
            tuple((row.stamp, row.tips) for row in rows),
            conflicts=made.conflicts,
            set_aside=made.set_aside,
            bad_lines=made.bad_lines,
            refused=not rows and not made.set_aside,
            fault=fault,
        )


@dataclass(frozen=True)
class _Made:
    """What a logger wrote: its lines, or other bytes, and which rows are to be found in them."""

    lines: Sequence[_Line]
    content: bytes | None = None
    rows: Sequence[_Line] | None = None
    conflicts: int = 0
    set_aside: int = 0
    bad_lines: int = 0


def _reset_clock(label: str, lines: list[_Line], rng: np.random.Generator, slot: int) -> _Made:
    start = _RESET_S + 300 * (slot % 100_000)  # so that no two files get one name
    wrong = [replace(line, stamp=start + 60 * nth) for nth, line in enumerate(lines)]
    return _Made(wrong, rows=(), set_aside=len(wrong))


def _duplicate(label: str, lines: list[_Line], rng: np.random.Generator, slot: int) -> _Made:
    at = int(rng.integers(len(lines)))
    again = replace(lines[at], battery=f"{float(lines[at].battery) + 0.704:.3f}")
    return _Made([*lines[: at + 1], again, *lines[at + 1 :]], rows=lines, conflicts=1)


def _truncate(label: str, lines: list[_Line], rng: np.random.Generator, slot: int) -> _Made:
    texts = [line.text(label) for line in lines]
    whole = b"".join(texts)
    least = len(texts[0]) if len(texts) > 1 else len(whole) - 4
    cut = int(rng.integers(least, len(whole) - 1))
    rows, begin, bad = [], 0, 0
    for line, text in zip(lines, texts, strict=True):
        if begin + text.rindex(b",") < cut:  # the counts are whole
            rows.append(line)
        elif begin < cut:
            bad = 1
        begin += len(text)
    return _Made(lines, whole[:cut], rows, bad_lines=bad)


def _jitter(label: str, lines: list[_Line], rng: np.random.Generator, slot: int) -> _Made:
    shifts = rng.integers(-1, 2, len(lines)).tolist()
    shifted = zip(lines, shifts, strict=True)
    return _Made([replace(line, stamp=line.stamp + shift) for line, shift in shifted])


def _nul(label: str, lines: list[_Line], rng: np.random.Generator, slot: int) -> _Made:
    return _Made(lines, b"\0" * 35 * len(lines), (), bad_lines=1)


def _empty(label: str, lines: list[_Line], rng: np.random.Generator, slot: int) -> _Made:
    return _Made(lines, b"", ())


def _bad_line(label: str, lines: list[_Line], rng: np.random.Generator, slot: int) -> _Made:
    at = int(rng.integers(len(lines)))
    texts = [line.text(label) for line in lines]
    place = len(label) + 6  # within the stamp
    texts[at] = texts[at][:place] + b"??" + texts[at][place + 2 :]
    return _Made(lines, b"".join(texts), [*lines[:at], *lines[at + 1 :]], bad_lines=1)


_SPOIL: Final[dict[str, Callable[[str, list[_Line], np.random.Generator, int], _Made]]] = {
    "clock_reset": _reset_clock,
    "duplicate": _duplicate,
    "truncated": _truncate,
    "jitter": _jitter,
    "nul": _nul,
    "empty": _empty,
    "bad_line": _bad_line,
}


def millivolts(minutes: Ints) -> Ints:
    """Return the voltage of a battery under a solar panel [mV], in the steps its logger knows."""
    sun = np.sin((minutes % DAY_MIN - 480) / DAY_MIN * 2 * math.pi)
    steps = np.rint((12_800 + 900 * sun) / 32).astype(np.int64) + minutes * 7919 % 3
    return 32 * steps


def winds(minutes: Ints) -> Ints:
    """Return what the wind sensor counts in each minute [1]."""
    gusts: Ints = (200 + 50 * np.sin(minutes / 97)).astype(np.int64) + minutes * 7919 % 41
    return gusts


def _file_name(logger: str, first_s: int) -> str:
    first = datetime.fromtimestamp(first_s, UTC)
    return f"{logger[:8]}_{first:%d%m%y_%H%M%S}.txt"
