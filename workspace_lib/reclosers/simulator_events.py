"""Events of a simulated relay: a fault on a feeder, computed, and written as the relay writes it.

A feeder behind a source, a line with a fault at some distance, a load. Currents and voltages follow
from the sequence networks; a fault current begins at zero, so that it has its offset, and ends when
the recloser opens. Everything is known beforehand, so that what a reader finds can be compared.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Model = Literal["351R", "651R"]
Floats = NDArray[np.float64]

NOMINAL_HZ: Final = 60.0
LENGTH_CYCLES: Final = 15
BEFORE_CYCLES: Final = 4
#: Line, source and load of every simulated feeder [Ω primary, V, A].
_Z1: Final = cmath.rect(10.7, math.radians(68.9))
_Z0: Final = cmath.rect(31.9, math.radians(72.5))
_ZS1: Final = cmath.rect(1.6, math.radians(82))
_ZS0: Final = cmath.rect(1.1, math.radians(80))
_VOLT: Final = 14_400.0
LENGTH: Final = 24.2
CTR: Final = 120
PTR: Final = 120
_TURN: Final = cmath.rect(1, math.radians(120))
_PHASES: Final = "ABC"
#: Which phase a fault's sequence networks refer to, for each type.
_REFERENCE: Final = {"AG": 0, "BG": 1, "CG": 2, "BC": 0, "CA": 1, "AB": 2, "ABC": 0}
KINDS: Final = (*_REFERENCE, "ER")
FIDS: Final = {
    "351R": "SEL-351R-R115-V0-Z002002-D20030418",
    "651R": "SEL-651R-2-R406-V2-Z006003-D20190308",
}
_DATE: Final = "MONTH DAY YEAR HOUR MIN SEC MSEC"
_SUMMARY: Final = (
    "FREQ SAM/CYC_A SAM/CYC_D NUM_OF_CYC EVENT LOCATION SHOT TARGETS IA IB IC IN IG 3I2"
)
_COLUMNS: Final = {
    "351R": "IA IB IC IN IG VA(kV) VB(kV) VC(kV) VS(kV) VDC FREQ",
    "651R": "IA IB IC IN IG VAY(kV) VBY(kV) VCY(kV) VAZ(kV) VBZ(kV) VCZ(kV) FREQ",
}
_BITS: Final = {
    "351R": (
        "TRIP CLOSE 52A CF RCSF OPTMN RSTMN * 79RS 79CY 79LO SH0 SH1 SH2 SH3 SH4 "
        "51P 51PT 51PR 51G 51GT 51GR 50P1 67P1 FSA FSB FSC LOP * * * 3PO"
    ),
    "651R": (
        "EN TRIPLED * * * * * * TRIP3P CLOSE3P 52A3P 52AA 52AB 52AC CF RCSF "
        "79RS3P 79CY3P 79LO3P SH03P SH13P SH23P SH33P SH43P 51P 51PT 51PR 51G1 51G1T 51G1R 50P1 * "
        + " ".join(f"LT{n:02d}" for n in range(1, 33))
        + " "
        + " ".join(f"SV{n:02d}" for n in range(1, 33))
        + " FSA FSB FSC * LOP PWR_SRC1 TOSLP BTFAIL "
        + " ".join(f"IN{n}" for n in range(101, 109))
        + " *" * 16
    ),
}


def bit_names(model: Model) -> list[str]:
    """Return the names of a relay's bits; ``*`` is one without a meaning."""
    return _BITS[model].split()


def checksum(line: bytes) -> bytes:
    """Return the four digits a relay writes after ``line``, which ends in a comma."""
    total = 0
    for byte in line:
        total = (total + byte) % 65_536
    return b"%04X" % total


def checked(content: str) -> bytes:
    """Return a line of compressed ASCII with its checksum and line end."""
    line = content.encode("ascii") + b","
    return line + b'"' + checksum(line) + b'"\r\n'


def quoted(names: Sequence[str]) -> str:
    """Return names in quotes with commas between them."""
    return ",".join(f'"{name}"' for name in names)


@dataclass(frozen=True)
class Options:
    """What was asked with a report: samples per cycle, unfiltered or not, its length [cycles]."""

    per_cycle: int = 4
    raw: bool = False
    cycles: int = LENGTH_CYCLES

    @classmethod
    def of(cls, words: Sequence[str]) -> Options:
        """Understand the words after the number of the event as a relay does."""
        per_cycle, raw, cycles = 4, False, LENGTH_CYCLES
        for word in words:
            if word == "C":
                per_cycle = 16
            elif word == "R":
                raw, per_cycle = True, max(per_cycle, 16)
            elif word[:1] == "S" and word[1:].isdigit():
                per_cycle = int(word[1:])
            elif word[:1] == "L" and word[1:].isdigit():
                cycles = min(int(word[1:]), LENGTH_CYCLES)
        return cls(per_cycle, raw, cycles + (1 if raw else 0))


@dataclass(frozen=True)
class SimulatedEvent:
    """One event as the relay has it, with everything that is true of it.

    ``time`` is the relay's wall time of the trigger, to the millisecond. ``distance`` is where the
    fault is on the line [1]; the fault begins ``inception_s`` after the trigger, trips at
    ``trip_s``, and its current ends at ``open_s`` [s]. Where ``trips`` is False another recloser
    ends it, and this one sees it and stays closed. ``rid`` and ``tid`` are the relay's names, as
    its settings have them.
    """

    model: Model
    time: datetime
    kind: str
    shot: int = 0
    distance: float = 0.5
    load_a: float = 110.0
    angle_deg: float = 30.0
    inception_s: float = -0.012
    trip_s: float = 0.05
    open_s: float = 0.085
    lockout: bool = False
    trips: bool = True
    rid: str = "FEEDER 12"
    tid: str = "STATION A"

    @property
    def opens(self) -> bool:
        """Whether this recloser trips and opens."""
        return self.trips and self.kind != "ER"

    @property
    def type(self) -> str:
        """What the relay calls it: `` T`` stands for a trip."""
        return f"{self.kind} T" if self.opens else self.kind

    @property
    def key(self) -> tuple[str, str]:
        """Time to the millisecond and type: what an event is known by."""
        return self.time.isoformat(timespec="milliseconds"), self.type

    @property
    def location(self) -> float | None:
        """Distance of the fault, in the unit of the line's length; None without a fault."""
        return None if self.kind == "ER" else round(self.distance * LENGTH, 2)

    @property
    def targets(self) -> str:
        return "" if self.kind == "ER" else f"INST {' '.join(self.kind)}"

    @cached_property
    def load(self) -> NDArray[np.complex128]:
        """Load currents before the fault, shape (3,) [A RMS]."""
        start = math.radians(self.angle_deg - 15)
        return np.array(
            [cmath.rect(self.load_a, start - n * math.tau / 3) for n in range(3)], np.complex128
        )

    @cached_property
    def fault(self) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
        """Currents that the fault adds, and voltages during it, shape (3,) each [A, V RMS]."""
        source = cmath.rect(_VOLT, math.radians(self.angle_deg))
        if self.kind == "ER":
            return self.load * 0.4, np.array([source * _TURN**-n for n in range(3)])
        first = _REFERENCE[self.kind]
        source *= _TURN**-first
        one, zero = _ZS1 + self.distance * _Z1, _ZS0 + self.distance * _Z0
        load = complex(self.load[first])
        behind = source
        source -= one * load  # where the fault is, before it
        if self.kind in ("AG", "BG", "CG"):
            i1 = i2 = i0 = source / (2 * one + zero)
        elif self.kind == "ABC":
            i1, i2, i0 = source / one, 0j, 0j
        else:
            i1 = source / (2 * one)
            i2, i0 = -i1, 0j
        v1, v2, v0 = behind - (i1 + load) * _ZS1, -i2 * _ZS1, -i0 * _ZS0
        currents, volts = np.zeros(3, np.complex128), np.zeros(3, np.complex128)
        for n in range(3):
            place = (first + n) % 3
            currents[place] = i1 * _TURN**-n + i2 * _TURN**n + i0
            volts[place] = v1 * _TURN**-n + v2 * _TURN**n + v0
        return currents, volts

    @property
    def volts(self) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
        """Voltages before and during the fault, shape (3,) each [V RMS]."""
        sound = cmath.rect(_VOLT, math.radians(self.angle_deg))
        healthy = np.array([sound * _TURN**-n for n in range(3)]) - _ZS1 * self.load
        return healthy, self.fault[1]

    @property
    def current_a(self) -> int:
        """Largest phase current during the event [A RMS]."""
        return round(float(np.abs(self.load + self.fault[0]).max()))

    def signals(self, times: Floats) -> tuple[Floats, Floats]:
        """Return instantaneous currents and voltages, shape (samples, 3) each [A, V]."""
        turn = math.tau * NOMINAL_HZ
        spin = np.exp(1j * turn * times)[:, None]
        ends = times < self.open_s if self.kind != "ER" else np.ones(len(times), bool)
        during = (times >= self.inception_s) & ends
        loaded = ends | (not self.opens)
        currents = np.where(loaded[:, None], (self.load * spin).real, 0.0)
        added, faulted = self.fault
        # It begins at zero, which leaves an offset that decays with the circuit's X/R.
        start = (added * np.exp(1j * turn * self.inception_s)).real
        decay = np.exp(-np.maximum(times - self.inception_s, 0.0) / 0.02)
        currents += np.where(during[:, None], (added * spin).real - start * decay[:, None], 0.0)
        sound = cmath.rect(_VOLT, math.radians(self.angle_deg))
        flowing = np.where(loaded[:, None], self.load, 0.0)
        healthy = np.array([sound * _TURN**-n for n in range(3)]) - _ZS1 * flowing
        phasors = np.where(during[:, None], faulted, healthy)
        return math.sqrt(2) * currents, math.sqrt(2) * (phasors * spin).real

    def bits(self, times: Floats) -> NDArray[np.bool_]:
        """Return the states of the relay's bits, shape (samples, names)."""
        names = _BITS[self.model].split()
        tripped = (times >= self.trip_s) & self.opens
        closed = ~((times >= self.open_s) & self.opens)
        three = "3P" if self.model == "651R" else ""
        ground = "51G1" if three else "51G"
        faulted = (times >= 0) & (times < self.open_s) & (self.kind != "ER")
        states = {
            f"TRIP{three}": tripped,
            f"52A{three}": closed,
            f"79RS{three}": ~tripped & (self.shot == 0),
            f"79CY{three}": tripped & (not self.lockout),
            f"79LO{three}": tripped & self.lockout,
            f"SH{self.shot}{three}": np.ones(len(times), bool),
            "51P": faulted,
            ground: faulted & (self.kind.endswith("G")),
            "50P1": faulted,
            "EN": np.ones(len(times), bool),
            "PWR_SRC1": np.ones(len(times), bool),
            "3PO": ~closed,
        }
        for phase in _PHASES:
            states[f"FS{phase}"] = faulted & (phase in self.kind)
        return np.column_stack([states.get(name, np.zeros(len(times), bool)) for name in names])

    def cev(self, options: Options) -> bytes:
        """Return the compressed event report, as the relay sends it between STX and ETX."""
        per_cycle = options.per_cycle
        rows = options.cycles * per_cycle
        trigger = BEFORE_CYCLES * per_cycle
        # Filtered samples are decimated ones of a full-cycle filter at 16 samples a cycle or more.
        fine = max(1, 16 // per_cycle)
        rate = NOMINAL_HZ * per_cycle * fine
        times = (np.arange(-per_cycle * fine, rows * fine) - trigger * fine) / rate
        currents, volts = self.signals(times)
        values = np.hstack((currents, currents.sum(axis=1)[:, None], volts / 1000)) / math.sqrt(2)
        if not options.raw:
            values = _cosine(values, per_cycle * fine)
        values = values[per_cycle * fine :: fine]
        times = times[per_cycle * fine :: fine]
        star = min(trigger + round(self.open_s * NOMINAL_HZ * per_cycle / 2), rows - 1)
        names, line = self._columns(values)
        states = self.bits(times)
        packed = [bytes(one).hex().upper() for one in np.packbits(states, axis=1)]
        every = max(1, per_cycle // 4)
        parts = [*self._head(options)]
        parts.append(checked(f'{quoted(names)},"TRIG","{_BITS[self.model]} "'))
        for n in range(rows):
            mark = '">"' if n == trigger else '"*"' if n == star else " "
            shown = packed[n] if n % every == 0 else ""
            parts.append(checked(f'{line[n]},{mark},"{shown}"'))
        parts += [checked('"SETTINGS"'), checked(f'"{self._settings()}"')]
        return b"".join(parts)

    def cev_of(self, words: str) -> bytes:
        """Return the report as it is sent when ``words`` are asked with it."""
        return self.cev(Options.of(words.split()))

    def _head(self, options: Options) -> list[bytes]:
        fid = f"FID={FIDS[self.model]}"
        when = self.time
        if self.model == "351R":
            first = [
                checked('"FID","BCBFID"'),
                checked(f'"{fid}","BCBFID=SEL-BCB-R103-D20020101"'),
            ]
        else:
            first = [checked('"FID"'), checked(f'"{fid}"')]
        amps = np.abs(self.load + self.fault[0])
        residual = abs(complex((self.load + self.fault[0]).sum()))
        turned = np.array([_TURN ** (2 * n) for n in range(3)])
        negative = abs(complex(((self.load + self.fault[0]) * turned).sum()))
        location = "$$$$$$$$" if self.location is None else f"{self.location:.2f}"
        summary = (
            f'59.98,{options.per_cycle},4,{options.cycles},"{self.type}",{location},{self.shot},'
            f'"{self.targets}",{amps[0]:.0f},{amps[1]:.0f},{amps[2]:.0f},0,{residual:.0f},'
            f"{negative:.0f}"
        )
        return [
            *first,
            checked(quoted(_DATE.split())),
            checked(
                f"{when.month},{when.day},{when.year},{when.hour},{when.minute},{when.second},"
                f"{when.microsecond // 1000}"
            ),
            checked(quoted(_SUMMARY.split())),
            checked(summary),
        ]

    def _columns(self, values: Floats) -> tuple[list[str], list[str]]:
        """Return names of columns, and the text of each row of ``values`` (ABC, residual, kV)."""
        if self.model == "351R":
            form, more = "%d,%d,%d,0,%d,%.1f,%.1f,%.1f", ",0.0,24,60.0"
        else:
            form, more = "%.1f,%.1f,%.1f,0.0,%.1f,%.3f,%.3f,%.3f", ",0.000,0.000,0.000,59.98"
        names = _COLUMNS[self.model].split()
        return names, [form % tuple(row) + more for row in values.tolist()]

    def _settings(self) -> str:
        equals = "=" if self.model == "351R" else ":="
        ratios = "PTR" if self.model == "351R" else "PTRY"
        pairs = {
            "RID": self.rid,
            "TID": self.tid,
            "CTR": str(CTR),
            ratios: str(PTR),
            "Z1MAG": f"{abs(_Z1) * CTR / PTR:.2f}",
            "Z1ANG": f"{math.degrees(cmath.phase(_Z1)):.2f}",
            "Z0MAG": f"{abs(_Z0) * CTR / PTR:.2f}",
            "Z0ANG": f"{math.degrees(cmath.phase(_Z0)):.2f}",
            "LL": f"{LENGTH:.2f}",
            "NFREQ": "60",
            # Three reclosings; the fourth trip locks out. In cycles.
            "79OI1": "30.00",
            "79OI2": "600.00",
            "79OI3": "600.00",
            "79OI4": "0.00",
            "79RSD": "1800.00",
            "TR": "51PT + 51GT + OC",
        }
        lines = [f"{key:<6}{equals} {value}" for key, value in pairs.items()]
        return "\r\n" + "\r\n".join(["Group 1", "Group Settings:", *lines, "=>"]) + "\r\n"


def _cosine(values: Floats, per_cycle: int) -> Floats:
    """Return the full-cycle cosine filter of each column, shape as given."""
    weights = 2 / per_cycle * np.cos(math.tau * np.arange(per_cycle) / per_cycle)
    return np.column_stack([np.convolve(one, weights)[: len(values)] for one in values.T])


def make_events(
    model: Model, count: int, *, seed: int = 1, last: datetime = datetime(2026, 3, 1, 7, 50)
) -> list[SimulatedEvent]:
    """Return ``count`` events, newest first: shots of faults that reclose, or go to lockout."""
    dice = np.random.default_rng(seed)
    events: list[SimulatedEvent] = []
    when = last
    while len(events) < count:
        kind = str(dice.choice(KINDS))
        shots = 1 if kind == "ER" else int(dice.integers(1, 5))
        place, load = float(dice.uniform(0.05, 0.95)), float(dice.uniform(40, 180))
        for shot in reversed(range(shots)):
            trip = float(dice.uniform(0.04, 0.08))
            events.append(
                SimulatedEvent(
                    model,
                    when.replace(microsecond=int(dice.integers(0, 1000)) * 1000),
                    kind,
                    shot,
                    place,
                    load,
                    float(dice.uniform(0, 360)),
                    -float(dice.uniform(0.004, 0.014)),
                    trip,
                    trip + float(dice.uniform(0.025, 0.045)),
                    lockout=shot == 3,
                )
            )
            when -= timedelta(seconds=float(dice.uniform(2, 20)))
        when -= timedelta(hours=float(dice.uniform(1, 200)))
    return events[:count]
