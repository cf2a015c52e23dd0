"""What kind of fault it was, and how far away: from phasors before and during it.

Methods are those of IEEE C37.114: the loop of the fault makes a distance m (share of the line) of
voltage and current at one end. All quantities are primary: volts, amperes, ohms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from workspace_lib.errors import ParameterError
from workspace_lib.reclosers.phasors import A, sequences

#: A phase takes part whose current changed by this share of the largest change [1].
TAKES_PART: Final = 0.5
#: Ground takes part from this share of zero in positive sequence current on [1].
GROUNDED: Final = 0.1
TYPES: Final = ("AG", "BG", "CG", "AB", "BC", "CA", "ABG", "BCG", "CAG", "ABC")


@dataclass(frozen=True)
class Phasors:
    """Phasors of three phases at one moment: currents ``i`` [A], voltages to ground ``v`` [V]."""

    i: tuple[complex, complex, complex]
    v: tuple[complex, complex, complex]

    @property
    def i0(self) -> complex:
        """Zero sequence current [A]."""
        return complex(sequences(*self.i)[0])

    @property
    def i1(self) -> complex:
        """Positive sequence current [A]."""
        return complex(sequences(*self.i)[1])

    @property
    def i2(self) -> complex:
        """Negative sequence current [A]."""
        return complex(sequences(*self.i)[2])


@dataclass(frozen=True)
class Line:
    """A line: impedances of its whole length [Ω primary], and that length in the site's unit."""

    z1: complex
    z0: complex
    length: float

    @property
    def k0(self) -> complex:
        """Compensation of ground loops: (Z0 − Z1) / 3 Z1 [1]."""
        return (self.z0 - self.z1) / (3 * self.z1)


@dataclass(frozen=True)
class Distance:
    """How far the fault is by each method, in the line's unit of length; None: not known."""

    reactance: float | None
    takagi: float | None
    modified_takagi: float | None


def line_of(settings: Mapping[str, str]) -> Line | None:
    """Return the line from a relay's settings (secondary Z1MAG, Z1ANG …, CTR, PTR), or None.

    Primary ohms are secondary ones times PTR / CTR.
    """
    try:
        z1, a1, z0, a0, length = (
            float(settings[key].split()[0]) for key in ("Z1MAG", "Z1ANG", "Z0MAG", "Z0ANG", "LL")
        )
        ct = float(settings["CTR"].split()[0])
        pt = float((settings.get("PTR") or settings["PTRY"]).split()[0])
    except (KeyError, ValueError, IndexError):
        return None
    if min(z1, z0, length, ct, pt) <= 0:
        return None
    ratio = pt / ct
    return Line(_polar(z1 * ratio, a1), _polar(z0 * ratio, a0), length)


def fault_type(before: Phasors, during: Phasors) -> str | None:
    """Return the type of a fault, one of `TYPES`, or None where no current changed.

    The phases whose superimposed current is a good part of the largest take part; ground does where
    the zero sequence current is a good part of the positive one.
    """
    changes = [abs(now - then) for now, then in zip(during.i, before.i, strict=True)]
    largest = max(changes)
    if not largest > 0 or not math.isfinite(largest):
        return None
    phases = "".join(
        phase
        for phase, change in zip("ABC", changes, strict=True)
        if change >= TAKES_PART * largest
    )
    positive = abs(during.i1)
    grounded = positive > 0 and abs(during.i0) >= GROUNDED * positive
    if len(phases) == 3:
        return "ABC"
    if len(phases) == 1:
        return f"{phases}G"
    name = "CA" if phases == "AC" else phases
    return f"{name}G" if grounded else name


def locate(kind: str, before: Phasors, during: Phasors, line: Line) -> Distance:
    """Return how far a fault is by the reactance, Takagi and modified Takagi methods.

    Reactance m = Im(V/I) / Im(Z1); Takagi m = Im(V·ΔI*) / Im(Z1·I·ΔI*) with ΔI the superimposed
    current of the loop (Takagi 1982); modified Takagi takes 3 I0 (ground) or the loop's negative
    sequence current in its place and needs no load current (IEEE C37.114).

    Raises
    ------
    ParameterError
        If there is no such type of fault.
    """
    if kind not in TYPES:
        raise ParameterError(f"{kind!r} is no type of fault.", fix=f"Types: {', '.join(TYPES)}.")
    voltage, current = _loop(kind, during, line)
    # Of the fault's own phases: the compensation of ground loops is none of the fault's current.
    change = _uncompensated(kind, during) - _uncompensated(kind, before)
    if _is_single(kind):
        polarising = 3 * during.i0
    elif kind == "ABC":
        polarising = change
    else:
        polarising = _between(kind, _negative(during.i2))
    return Distance(
        _share(voltage / current, line.z1, line.length) if current else None,
        _along(voltage, current, change, line),
        _along(voltage, current, polarising, line),
    )


def _loop(kind: str, at: Phasors, line: Line) -> tuple[complex, complex]:
    """Return voltage and current of the faulted loop."""
    current = _uncompensated(kind, at)
    if _is_single(kind):
        return at.v["ABC".index(kind[0])], current + line.k0 * 3 * at.i0
    return _between(kind, at.v), current


def _is_single(kind: str) -> bool:
    return len(kind) == 2 and kind.endswith("G")


def _uncompensated(kind: str, at: Phasors) -> complex:
    return at.i["ABC".index(kind[0])] if _is_single(kind) else _between(kind, at.i)


def _between(kind: str, phases: tuple[complex, complex, complex]) -> complex:
    first, second = ("ABC".index(phase) for phase in kind[:2])
    return phases[first] - phases[second]


def _negative(i2: complex) -> tuple[complex, complex, complex]:
    """Return the negative sequence current of each phase: A, aA, a²A."""
    return i2, A * i2, A**2 * i2


def _share(impedance: complex, z1: complex, length: float) -> float | None:
    return impedance.imag / z1.imag * length if z1.imag else None


def _along(voltage: complex, current: complex, polarising: complex, line: Line) -> float | None:
    below = (line.z1 * current * polarising.conjugate()).imag
    if not below:
        return None
    return (voltage * polarising.conjugate()).imag / below * line.length


def _polar(magnitude: float, angle_deg: float) -> complex:
    return complex(
        magnitude * math.cos(math.radians(angle_deg)), magnitude * math.sin(math.radians(angle_deg))
    )
