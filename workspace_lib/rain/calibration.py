"""Calibration of tipping buckets: from counts of tips to depths of rain: pure numpy.

A bucket loses rain while it turns, the more the harder it rains. A calibration therefore says two
things of a gauge for a time: how deep one tip is at rest (``mm_per_tip``), and how the measured
rate becomes the true one. The second is a curve y = f(x) of a *rate*, never of a count: x and y
are in the unit that the record states, because the same coefficients mean another rain in another
unit. Counts stay as they are; a depth [mm] exists only where a dated record, or the site's explicit
word, says what a tip is worth.

The kinds of curve are those in use for tipping buckets: static factor, polynomial, power law
(I = b xⁿ), certificate with points, and the time lost per tip (Duchon, Fiebrich & Grimsley 2014,
doi:10.1175/JTECH-D-13-00169.1).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from itertools import pairwise
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workspace_lib.clock import ensure_utc, iso
from workspace_lib.errors import ParameterError
from workspace_lib.files import sha256_bytes
from workspace_lib.rain.analysis import Floats

Kind = Literal["linear", "quadratic", "power", "table", "undercatch"]
Unit = Literal["tips/min", "mm/min", "mm/h"]
Beyond = Literal["clamp", "extrapolate", "refuse"]

#: The coefficients of each kind: y = b x + c; a x² + b x + c; b xⁿ; x / (1 − t_u r), where t_u [s]
#: is the time lost per tip and r the rate [tips/s].
COEFFICIENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "linear": ("b", "c"),
    "quadratic": ("a", "b", "c"),
    "power": ("b", "n"),
    "table": (),
    "undercatch": ("t_u",),
}
_VERSION_LENGTH: Final = 12


@dataclass(frozen=True)
class Origin:
    """Where a calibration comes from."""

    certificate: str = ""
    dated: date | None = None
    operator: str = ""

    def __str__(self) -> str:
        dated = self.dated.isoformat() if self.dated else ""
        return ", ".join(filter(None, (self.certificate, dated, self.operator)))


@dataclass(frozen=True)
class Calibration:
    """What is known of a gauge for a time.

    Parameters
    ----------
    gauge : str
        House name of the gauge.
    valid_from, valid_to : datetime
        It is in force for rows stamped in (from, to], for good without ``valid_to``.
    mm_per_tip : float
        Depth of one tip at rest [mm].
    kind : str
        Kind of the curve, see `COEFFICIENTS`.
    unit : str
        Unit of x and y: the rate of tips [tips/min], or the intensity [mm/min], [mm/h].
    coefficients : mapping
        The numbers of the curve; those of a polynomial and of a power law belong to ``unit``.
    points : sequence of (x, y)
        The points of a table, between which it is interpolated linearly.
    domain : (low, high), optional
        For which x it was determined [unit]; a table's is that of its points.
    beyond : {'clamp', 'extrapolate', 'refuse'}
        What to do outside: keep the factor y/x of the nearest end, follow the curve, or give no
        depth. The rows are flagged in any case.
    origin : Origin
        Certificate, date and operator.

    Raises
    ------
    ParameterError
        If it contradicts itself or lacks something.
    """

    gauge: str
    valid_from: datetime
    valid_to: datetime | None
    mm_per_tip: float
    kind: Kind
    unit: Unit
    coefficients: Mapping[str, float] = field(default_factory=dict)
    points: tuple[tuple[float, float], ...] = ()
    domain: tuple[float, float] | None = None
    beyond: Beyond | None = None
    origin: Origin = Origin()

    def __post_init__(self) -> None:
        """Bring numbers into one form, so that equal records have equal versions; check them."""
        coefficients = {name: float(value) for name, value in sorted(self.coefficients.items())}
        points = tuple((float(x), float(y)) for x, y in self.points)
        domain = self.domain and (float(self.domain[0]), float(self.domain[1]))
        if self.kind == "table" and points and domain is None:
            domain = (points[0][0], points[-1][0])
        for name, value in {
            "valid_from": ensure_utc(self.valid_from),
            "valid_to": self.valid_to and ensure_utc(self.valid_to),
            "mm_per_tip": float(self.mm_per_tip),
            "coefficients": coefficients,
            "points": points,
            "domain": domain,
        }.items():
            object.__setattr__(self, name, value)
        problem = self._problem()
        if problem:
            raise ParameterError(
                f"The calibration of {self.gauge} from {iso(self.valid_from)} {problem}.",
                fix="See docs/rain.md, Calibration.",
            )

    def _problem(self) -> str:
        numbers = [self.mm_per_tip, *self.coefficients.values(), *(self.domain or ())]
        numbers += [number for point in self.points for number in point]
        if self.kind not in COEFFICIENTS:
            return f"is of no known kind ({', '.join(COEFFICIENTS)})"
        if self.unit not in get_args(Unit):
            return f"has no known unit of x ({', '.join(get_args(Unit))})"
        if not all(map(math.isfinite, numbers)):
            return "holds something that is no finite number"
        if self.mm_per_tip <= 0:
            return "has a depth of a tip that is not above zero"
        if self.valid_to is not None and self.valid_to <= self.valid_from:
            return "ends before it begins"
        if set(self.coefficients) != set(COEFFICIENTS[self.kind]):
            wanted = ", ".join(COEFFICIENTS[self.kind]) or "no coefficients, only points"
            return f"is of kind {self.kind}, which has {wanted}"
        return self._problem_of_points() or self._problem_of_domain()

    def _problem_of_points(self) -> str:
        if self.kind != "table":
            return "has points, which only a table has" if self.points else ""
        x = [point[0] for point in self.points]
        if len(x) < 2:
            return "is a table with fewer than two points"
        if x[0] <= 0 or any(after <= before for before, after in pairwise(x)):
            return "is a table whose x do not rise from above zero"
        if self.domain != (x[0], x[-1]):
            return "is a table, whose domain is that of its points"
        return ""

    def _problem_of_domain(self) -> str:
        if self.domain is None:
            return "says what to do beyond a domain and has none" if self.beyond else ""
        if not 0 <= self.domain[0] < self.domain[1]:
            return "has a domain that does not rise from zero or above"
        if self.beyond not in get_args(Beyond):
            return f"does not say what to do beyond its domain ({', '.join(get_args(Beyond))})"
        return ""

    @cached_property
    def version(self) -> str:
        """Name of what it says: a short SHA-256 of all of it except ``valid_to``.

        That it ended later changes nothing of the days before.
        """
        content = {name: value for name, value in self.content().items() if name != "valid_to"}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return sha256_bytes(text.encode())[:_VERSION_LENGTH]

    def content(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return {
            "gauge": self.gauge,
            "valid_from": iso(self.valid_from),
            "valid_to": self.valid_to and iso(self.valid_to),
            "mm_per_tip": self.mm_per_tip,
            "kind": self.kind,
            "unit": self.unit,
            "coefficients": dict(self.coefficients),
            "points": [list(point) for point in self.points],
            "domain": self.domain and list(self.domain),
            "beyond": self.beyond,
            "certificate": self.origin.certificate,
            "dated": self.origin.dated and self.origin.dated.isoformat(),
            "operator": self.origin.operator,
        }

    @property
    def formula(self) -> str:
        """The curve as text, x and y in ``unit``."""
        number = {name: f"{value:g}" for name, value in self.coefficients.items()}
        if self.kind == "linear":
            text = f"y = {number['b']} x + {number['c']}"
        elif self.kind == "quadratic":
            text = f"y = {number['a']} x² + {number['b']} x + {number['c']}"
        elif self.kind == "power":
            text = f"y = {number['b']} x^{number['n']}"
        elif self.kind == "undercatch":
            text = f"y = x / (1 − {number['t_u']} s · r)"
        else:
            pairs = "; ".join(f"{x:g} → {y:g}" for x, y in self.points)
            return f"linear between {pairs}"
        return text.replace("+ -", "− ").removesuffix(" + 0")

    @property
    def per_tip_rate(self) -> float:
        """What a rate of one tip per minute is in ``unit``."""
        return {"tips/min": 1.0, "mm/min": 1.0, "mm/h": 60.0}[self.unit] * (
            1.0 if self.unit == "tips/min" else self.mm_per_tip
        )

    def correct(self, rate: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the true rate of each measured one, and which lie beyond the domain.

        Parameters
        ----------
        rate : array_like
            Measured rates, not negative [unit].

        Returns
        -------
        true : array
            In the same unit; NaN where the calibration gives none. No rain stays no rain.
        beyond : array of bool
            Outside the domain, or where the curve gives nothing finite from zero up.
        """
        x = np.asarray(rate, dtype=np.float64)
        beyond = np.zeros(x.shape, dtype=bool)
        at = x
        if self.domain is not None:
            low, high = self.domain
            beyond = (x < low) | (x > high)
            if self.beyond == "clamp":
                at = np.clip(x, low, high)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            y = self._curve(at)
            if self.beyond == "clamp":
                y = np.where(beyond, y / at * x, y)
        if self.beyond == "refuse":
            y = np.where(beyond, np.nan, y)
        impossible = ~(np.isfinite(y) & (y >= 0))
        nothing = x == 0
        true = np.where(nothing, 0.0, np.where(impossible, np.nan, y))
        return true, (beyond | impossible) & ~nothing

    def factor(self, intensity_mm_h: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the factor of a measured intensity [mm/h], above zero, and what lies beyond."""
        per_minute = np.asarray(intensity_mm_h, dtype=np.float64) / 60.0 / self.mm_per_tip
        rate = per_minute * self.per_tip_rate
        true, beyond = self.correct(rate)
        return true / rate, beyond

    def _curve(self, x: Floats) -> Floats:
        k = self.coefficients
        y: Floats
        if self.kind == "linear":
            y = k["b"] * x + k["c"]
        elif self.kind == "quadratic":
            y = k["a"] * x * x + k["b"] * x + k["c"]
        elif self.kind == "power":
            y = k["b"] * x ** k["n"]
        elif self.kind == "undercatch":
            lost = k["t_u"] * x / self.per_tip_rate / 60.0
            y = np.where(lost < 1.0, x / (1.0 - lost), np.nan)
        else:
            nodes = np.array(self.points)
            which = np.clip(np.searchsorted(nodes[:, 0], x) - 1, 0, len(nodes) - 2)
            (x0, y0), (x1, y1) = nodes[which].T, nodes[which + 1].T
            y = y0 + (x - x0) * (y1 - y0) / (x1 - x0)
        return y

    def depth(self, tips: ArrayLike, interval_s: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the depth of rows of tips [mm], and which lie beyond the domain.

        Parameters
        ----------
        tips : array_like
            Tips of each row.
        interval_s : array_like
            For how long each row counts [s].
        """
        minutes = np.asarray(interval_s, dtype=np.float64) / 60.0
        unit = self.per_tip_rate
        true, beyond = self.correct(np.asarray(tips) / minutes * unit)
        mm: Floats = true / unit * minutes * self.mm_per_tip
        return mm, beyond


def depth_of_tip(tip_ml: Sequence[float], funnel_cm2: float) -> float:
    """Return the depth of one tip [mm] from the volumes that tip the bucket's sides.

    mm = 10 V / A, with the mean of the sides, which take turns.

    Parameters
    ----------
    tip_ml : sequence of float
        Volume of a tip of each side, or of both [ml].
    funnel_cm2 : float
        Area of the funnel [cm²].

    Raises
    ------
    ParameterError
        If one of them is not above zero.
    """
    if not tip_ml or min(tip_ml) <= 0 or funnel_cm2 <= 0:
        raise ParameterError("The volume of a tip and the area of the funnel are above zero.")
    return 10.0 * math.fsum(tip_ml) / len(tip_ml) / funnel_cm2


def points_of_errors(errors: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Return the points (measured, true) of a certificate of (reference, error [%]).

    The error is (measured − reference) / reference.
    """
    return tuple((true * (1 + percent / 100), true) for true, percent in errors)
