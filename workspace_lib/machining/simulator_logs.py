"""Part of the simulator: days of machining centres as LOG files, damaged as mirrors damage them.

A day depends on the seed, the machine and the date alone. Pieces, waits and stops are those of a
joinery's three machines on average: 20 days of each, May 2025. It knows nothing of the reader.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Final, Literal

import numpy as np

from workspace_lib.errors import ParameterError

#: What may be done to a log, and on how many of a hundred days of one machine it is.
DAMAGE: Final = {
    "nul": 10,
    "bom": 15,
    "crlf": 20,
    "torn": 10,
    "clock_step": 10,
    "repeat": 10,
    "unknown": 30,
    "malformed": 20,
    "blank": 20,
    "accents": 20,
}
Anchor = Literal["start", "end"]

_DAY: Final = timedelta(days=1)
_BEGIN_S: Final = 5 * 3600
_NOON_S: Final = 12 * 3600
_LONGEST_LUNCH_S: Final = 2600
_SATURDAY, _SUNDAY = 5, 6
#: One Saturday in four is worked, and half as long.
_SATURDAY_SHARE: Final = 0.5
#: Nineteen of twenty days are no Saturdays.
_WEEKDAY_SHARE: Final = 20 / (19 + _SATURDAY_SHARE)
_MEAN_WAIT_S: Final = 40.0
_PIECES_PER_BAR: Final = 6
_PIECE, _WAIT, _STOP = range(3)
_COLOURS: Final = ("654", "ALU", "WS", "LAQ", "7016 G ALU", "9010")


@dataclass(frozen=True)
class SimulatedMachine:
    """A machine and its mean day: pieces [1], times in production, wait and stop [h], stops [1]."""

    name: str
    folder: str
    pieces: float
    production_h: float
    wait_h: float
    stop_h: float
    stops: float
    references: tuple[str, ...]


#: Means per day of 20 days each.
DEM12: Final = SimulatedMachine(
    "DEM12", "DEM12 (PVC)", 479.6, 7.85, 2.13, 3.38, 17.80, ("6112", "6101", "6112C", "6121")
)
DEMALU: Final = SimulatedMachine(
    "DEMALU", "DEMALU (ALU)", 333.5, 7.49, 1.36, 3.39, 15.70, ("215002", "215023", "GY1104")
)
SU12: Final = SimulatedMachine(
    "SU12", "SU12 (HYBRIDE)", 808.7, 10.03, 2.26, 1.89, 25.95, ("76281", "141015", "6112", "A-1.2")
)
MACHINES: Final = (DEM12, DEMALU, SU12)


@dataclass(frozen=True)
class LogTruth:
    """What a faultless reader finds in a log.

    Seconds are of the day and of the true clock: each piece, (begin, length) of each wait, (begin,
    end) of each stop. ``repeated`` lines are copies of others; ``events`` counts them, too.
    """

    pieces: tuple[int, ...]
    waits: tuple[tuple[int, int], ...]
    stops: tuple[tuple[int, int], ...]
    lines: int
    events: dict[str, int]
    blank: int
    unknown: int
    malformed: int
    nul: int
    repeated: int
    damage: tuple[str, ...]


@dataclass(frozen=True)
class LogFile:
    """A day's log: its path, its bytes, when each line is written [s of the day], the truth."""

    path: str
    content: bytes
    written_s: tuple[int, ...]
    ends: tuple[int, ...]
    truth: LogTruth

    def written(self, until_s: float) -> bytes:
        """Return what stands in the log at a time of the day [s]."""
        count = int(np.searchsorted(self.written_s, until_s, side="right"))
        return self.content[: self.ends[count - 1]] if count else b""


@dataclass(frozen=True)
class _Line:
    written_s: int
    name: str = ""
    details: str = ""
    raw: bytes | None = None
    """Instead of a stamp and an event."""
    kind: Literal["event", "blank", "unknown", "malformed"] = "event"
    shift_s: int = 0
    """How far the machine's clock is off."""
    repeated: bool = False


@dataclass
class _Day:
    machine: SimulatedMachine
    day: date
    dice: np.random.Generator
    lines: list[_Line] = field(default_factory=list)
    bom: bool = False
    end: bytes = b"\n"
    torn: bool = False


Spans = tuple[tuple[int, int], ...]
#: Where on the axis of production time, what, and how long it takes [s].
Step = tuple[int, int, int]


class MachineLogs:
    """Logs of machines, day by day.

    Parameters
    ----------
    seed : int
        Another seed gives another story.
    damage : sequence of str
        Names out of `DAMAGE` that happen.
    anchor : str
        Whether a wait is written when it starts or when it ends.
    always : bool
        Whether all of ``damage`` happens every day.

    Raises
    ------
    ParameterError
        If a damage has none of these names.
    """

    def __init__(
        self,
        seed: int,
        damage: Sequence[str] = (),
        *,
        anchor: Anchor = "start",
        always: bool = False,
    ) -> None:
        unknown = sorted(set(damage) - set(DAMAGE))
        if unknown:
            raise ParameterError(
                f"There is no damage called {', '.join(unknown)}.",
                fix=f"Known damage: {', '.join(DAMAGE)}.",
            )
        self.seed, self.damage = seed, tuple(damage)
        self.anchor: Anchor = anchor
        self.always = always

    def is_worked(self, day: date) -> bool:
        """Return whether there is a log of a day."""
        if day.weekday() == _SATURDAY:
            return day.isocalendar().week % 4 == 1
        return day.weekday() != _SUNDAY

    def days(self, first: date, count: int) -> list[date]:
        """Return the first ``count`` days that are worked, from a date on."""
        found: list[date] = []
        while len(found) < count:
            if self.is_worked(first):
                found.append(first)
            first += _DAY
        return found

    def log(self, machine: SimulatedMachine, day: date) -> LogFile:
        """Return the log of a machine and a day."""
        key = [self.seed, zlib.crc32(machine.name.encode()), day.toordinal()]
        made = _Day(machine, day, np.random.default_rng(key))
        pieces, waits, stops = _work(made, self.anchor)
        # Drawn whether it happens or not, so that one damage does not change the others.
        chances = made.dice.uniform(0, 100, len(DAMAGE))
        happens = tuple(
            name
            for (name, share), chance in zip(DAMAGE.items(), chances, strict=True)
            if name in self.damage and (self.always or chance < share)
        )
        for name in happens:
            _damage(made, name)
        return _file(made, pieces, waits, stops, happens)


def _work(made: _Day, anchor: Anchor) -> tuple[tuple[int, ...], Spans, Spans]:
    """Fill a day with what happened; returns pieces, waits and stops."""
    machine, dice = made.machine, made.dice
    share = _SATURDAY_SHARE if made.day.weekday() == _SATURDAY else _WEEKDAY_SHARE
    share *= float(np.clip(dice.normal(1, 0.06), 0.8, 1.2))
    # On an axis of production time alone, waits and stops are cuts of no width.
    production = round(machine.production_h * 3600 * share)
    stopped = machine.stop_h * 3600 * share
    lunch = round(min(_LONGEST_LUNCH_S, 0.25 * stopped))
    stop_count = max(1, int(dice.poisson(machine.stops * share)) - 1)
    wait_count = max(1, round(machine.wait_h * 3600 * share / _MEAN_WAIT_S))
    cuts = [
        *_cuts(dice, _STOP, stop_count, stopped - lunch, 1.2, production),
        *_cuts(dice, _WAIT, wait_count, machine.wait_h * 3600 * share, 0.8, production),
    ]
    count = max(2, int(dice.poisson(machine.pieces * share)))
    at_piece = np.sort(dice.integers(0, production + 1, count))
    at_piece[0], at_piece[-1] = 0, production
    steps = sorted([*cuts, *((at, _PIECE, 0) for at in at_piece.tolist())])
    return _walk(made, anchor, _with_lunch(steps, lunch))


def _cuts(
    dice: np.random.Generator, what: int, count: int, total_s: float, sigma: float, production: int
) -> list[Step]:
    """Return waits or stops of a total length at random places of the production time."""
    lengths = dice.lognormal(0, sigma, count)
    lengths = np.maximum(1, np.rint(lengths * total_s / lengths.sum())).astype(int)
    places = dice.integers(1, production, count)
    return [(at, what, size) for at, size in zip(places.tolist(), lengths.tolist(), strict=True)]


def _with_lunch(steps: list[Step], lunch: int) -> list[Step]:
    """Add the stop at noon, or amid a day that is over before."""
    clock, lost = _BEGIN_S, 0
    for number, (at, _, size) in enumerate(steps):
        clock = _BEGIN_S + at + lost
        if clock >= _NOON_S:
            return [*steps[:number], (at, _STOP, lunch), *steps[number:]]
        lost += size
    middle = len(steps) // 2
    return [*steps[:middle], (steps[middle][0], _STOP, lunch), *steps[middle:]]


def _walk(made: _Day, anchor: Anchor, steps: list[Step]) -> tuple[tuple[int, ...], Spans, Spans]:
    """Write a line for each step along the production time."""
    machine, dice, lines = made.machine, made.dice, made.lines
    begin = _BEGIN_S + int(dice.integers(0, 600))
    lines.append(_Line(begin - int(dice.integers(5, 60)), "MachineStart"))
    pieces: list[int] = []
    waits: list[tuple[int, int]] = []
    stops: list[tuple[int, int]] = []
    now = begin
    before = 0
    for at, what, size in steps:
        now += at - before
        before = at
        if what == _PIECE:
            if len(pieces) % _PIECES_PER_BAR == 0:
                lines.append(_Line(now, "JobProfiel", _bar(machine, dice)))
            pieces.append(now)
            lines.append(_Line(now, "StukUitgevoerd", f"Stuk {len(pieces)} uitgevoerd"))
        elif what == _WAIT:
            waits.append((now, size))
            lines.append(_Line(now + size * (anchor == "end"), "MachineWait", f"{size} sec"))
        else:
            stops.append((now, now + size))
            lines.append(_Line(now, "MachineStop"))
            lines.append(_Line(now + size, "MachineStart"))
        now += size
    lines.append(_Line(now + int(dice.integers(5, 300)), "MachineStop"))
    return tuple(pieces), tuple(waits), tuple(stops)


def _bar(machine: SimulatedMachine, dice: np.random.Generator) -> str:
    reference = machine.references[int(dice.integers(len(machine.references)))]
    colour = _COLOURS[int(dice.integers(len(_COLOURS)))]
    return f"R:{reference} L:{dice.uniform(4800, 6200):.1f} C:{colour}"


def _damage(made: _Day, name: str) -> None:
    lines, dice = made.lines, made.dice
    last = max(line.written_s for line in lines)
    if name == "bom":
        made.bom = True
    elif name == "crlf":
        made.end = b"\r\n"
    elif name == "torn":
        made.torn = True
        lines.append(
            _Line(last + 60, raw=_stamp(made.day, last + 60) + b"|@Stuk", kind="malformed")
        )
    elif name == "clock_step":
        since = int(dice.integers(len(lines) // 3, 2 * len(lines) // 3))
        lines[since:] = [replace(line, shift_s=-2400) for line in lines[since:]]
    elif name == "repeat":
        since = int(dice.integers(0, len(lines) // 2))
        until = int(dice.integers(since + 20, len(lines) - 5))
        again = [
            replace(line, written_s=lines[until - 1].written_s, repeated=True, raw=_raw(made, line))
            for line in lines[since:until]
        ]
        lines[until:until] = again
    elif name == "nul":
        place = _place(made)
        text = _raw(made, lines[place])
        lines[place] = replace(lines[place], raw=text[:30] + b"\0" * 3 + text[30:])
        hole = _stamp(made.day, lines[place].written_s)[:12] + bytes(400)
        lines.insert(place, _Line(lines[place].written_s, raw=hole, kind="malformed"))
    else:
        for _ in range(int(dice.integers(1, 6))):
            place = _place(made)
            at = lines[place].written_s
            lines.insert(place, _inserted(made, name, at))


def _inserted(made: _Day, name: str, at: int) -> _Line:
    stamp = _stamp(made.day, at)
    if name == "unknown":
        return _Line(
            at, raw=stamp + b"|@GereedschapWissel: T%d" % made.dice.integers(99), kind="unknown"
        )
    if name == "malformed":
        texts = (stamp[:11], b"#### herstart ####", b"20250532" + stamp[8:] + b"|@MachineStop")
        return _Line(at, raw=texts[int(made.dice.integers(3))], kind="malformed")
    if name == "blank":
        return _Line(at, raw=b"", kind="blank")
    return _Line(at, raw=stamp + "|@Melding: arrêt réglé".encode("cp1252"), kind="unknown")


def _place(made: _Day) -> int:
    """Return the place of a line after the first, not within a copied block."""
    places = [n for n, line in enumerate(made.lines) if n and line.raw is None and not line.shift_s]
    copied = [n for n, line in enumerate(made.lines) if line.repeated]
    if copied:
        places = [n for n in places if n > copied[-1] + 1] or [len(made.lines) - 1]
    return places[int(made.dice.integers(len(places)))]


def _stamp(day: date, second: int) -> bytes:
    moment = datetime.combine(day, datetime.min.time()) + timedelta(seconds=second)
    return moment.strftime("%Y%m%d %H:%M:%S").encode()


def _raw(made: _Day, line: _Line) -> bytes:
    if line.raw is not None:
        return line.raw
    details = f": {line.details}" if line.details else ""
    return _stamp(made.day, line.written_s + line.shift_s) + f"|@{line.name}{details}".encode()


def _file(
    made: _Day, pieces: tuple[int, ...], waits: Spans, stops: Spans, happens: tuple[str, ...]
) -> LogFile:
    texts = [_raw(made, line) + made.end for line in made.lines]
    if made.bom:
        texts[0] = b"\xef\xbb\xbf" + texts[0]
    if made.torn:
        texts[-1] = texts[-1].removesuffix(made.end)
    kinds = Counter(line.kind for line in made.lines)
    truth = LogTruth(
        pieces=pieces,
        waits=waits,
        stops=stops,
        lines=len(texts),
        events=dict(Counter(line.name for line in made.lines if line.kind == "event")),
        blank=kinds["blank"],
        unknown=kinds["unknown"],
        malformed=kinds["malformed"],
        nul=sum(text.count(0) for text in texts),
        repeated=sum(line.repeated for line in made.lines),
        damage=happens,
    )
    written = np.maximum.accumulate([line.written_s for line in made.lines]).tolist()
    ends = np.cumsum([len(text) for text in texts]).tolist()
    path = f"{made.machine.folder}/{made.day:%Y%m%d}.LOG"
    return LogFile(path, b"".join(texts), tuple(written), tuple(ends), truth)
