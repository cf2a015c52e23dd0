"""What kind of fault it was, and how far away: from phasors before and during it.

Methods are those of IEEE C37.114: the loop of the fault makes a distance m (share of the line) of
voltage and current at one end. All quantities are primary: volts, amperes, ohms.
"""

from __future__ import annotations

import cmath
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
#: Both sequence currents are clear from this share of the positive sequence current on [1].
CLEAR: Final = 0.2
#: Three phases that changed are one or two of them to ground only from this share on [1].
UNEVEN: Final = 0.5
#: How far the angle between them may be from the middle of a sector [deg].
SECTOR_DEG: Final = 45.0
#: Angle of I0 against I2 [deg], and the types to ground that have it: of one and of two phases.
_SECTORS: Final = ((0.0, ("AG", "BCG")), (120.0, ("BG", "CAG")), (-120.0, ("CG", "ABG")))
TYPES: Final = ("AG", "BG", "CG", "AB", "BC", "CA", "ABG", "BCG", "CAG", "ABC")


Three = tuple[complex, complex, complex]


@dataclass(frozen=True)
class Phasors:
    """Phasors of three phases at one moment: currents ``i`` [A], voltages to ground ``v`` [V]."""

    i: Three
    v: Three

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

    By superimposed currents, which are those during the fault without the load before it: the
    phases whose current changed by a good part of the largest change take part; ground does where
    the superimposed zero sequence current is a good part of the positive one. A fault to ground is
    confirmed by the angle between negative and zero sequence current (`sector`), which decides
    where both are clear and speak for another type.
    """
    added = superimposed(before, during)
    changes = [abs(one) for one in added.i]
    largest = max(changes)
    if not largest > 0 or not math.isfinite(largest):
        return None
    phases = "".join(
        phase
        for phase, change in zip("ABC", changes, strict=True)
        if change >= TAKES_PART * largest
    )
    if abs(added.i0) < GROUNDED * abs(added.i1):
        return _named(phases, grounded=len(phases) == 1)
    kind = _named(phases, grounded=True)
    possible = sector(added)
    if possible is None or kind in possible:
        return kind
    if kind == "ABC" and min(abs(added.i0), abs(added.i2)) < UNEVEN * abs(added.i1):
        return kind
    single = possible[0]
    mean = (largest + min(changes)) / 2
    return single if changes["ABC".index(single[0])] >= mean else possible[1]


def superimposed(before: Phasors, during: Phasors) -> Phasors:
    """Return what the fault added to currents and voltages."""
    return Phasors(_less(during.i, before.i), _less(during.v, before.v))


def sector(added: Phasors) -> tuple[str, str] | None:
    """Return the two types to ground that the angle between I2 and I0 leaves, or None if unclear.

    The zero sequence current of a fault of phase A to ground, or of B and C to ground, has the
    angle of the negative sequence current of phase A; that of the other phases is 120° before or
    after it (Costello, Zimmerman: Determining the faulted phase, 2010). Each sector reaches
    `SECTOR_DEG` to both sides; both currents have to be a clear part of the positive one.

    Parameters
    ----------
    added : Phasors
        Superimposed phasors, so that an unbalanced load does not count.
    """
    if min(abs(added.i0), abs(added.i2)) <= CLEAR * abs(added.i1):
        return None
    angle = math.degrees(cmath.phase(added.i0 / added.i2))
    for centre, types in _SECTORS:
        if abs((angle - centre + 180) % 360 - 180) <= SECTOR_DEG:
            return types
    return None


def _named(phases: str, *, grounded: bool) -> str:
    if len(phases) == 3:
        return "ABC"
    name = "CA" if phases == "AC" else phases
    return f"{name}G" if grounded else name


def _less(these: Three, those: Three) -> Three:
    first, second, third = (one - other for one, other in zip(these, those, strict=True))
    return first, second, third


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


def _between(kind: str, phases: Three) -> complex:
    first, second = ("ABC".index(phase) for phase in kind[:2])
    return phases[first] - phases[second]


def _negative(i2: complex) -> Three:
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
