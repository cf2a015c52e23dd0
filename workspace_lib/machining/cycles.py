"""Cycle times: how long a piece takes at the reference rate (tCR of NF E60-182).

They come from a table that people keep, by machine, reference and length class. Where it has no
entry, a robust estimate from the pieces themselves stands in, and says so.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np

from workspace_lib.errors import ConfigError, ParameterError
from workspace_lib.machining.line_fields import Ints

#: Pieces in a row whose mean time counts.
BLOCK: Final = 10
#: Fewer such means give no estimate.
LEAST_SAMPLES: Final = 20
#: The estimate is this quantile of them.
QUANTILE: Final = 0.1

Origin = Literal["table", "estimated", "unknown"]


@dataclass(frozen=True)
class LengthClasses:
    """Classes of bar lengths: ``limits`` are the lower ends of all but the first [mm].

    Raises
    ------
    ConfigError
        If the limits do not rise.
    """

    limits: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if any(one >= other for one, other in pairwise(self.limits)):
            raise ConfigError(f"The limits of length classes do not rise: {self.limits}.")

    def of(self, length_mm: float | None) -> str:
        """Return the class of a length, such as ``1000–3000``; empty if there is none."""
        if not self.limits or length_mm is None or not np.isfinite(length_mm):
            return ""
        place = bisect_right(self.limits, length_mm)
        low = f"{self.limits[place - 1]:g}" if place else "0"
        return f"{low}–{self.limits[place]:g}" if place < len(self.limits) else f"{low}–"


@dataclass(frozen=True)
class CycleKey:
    """What a cycle time is for; an empty field stands for all."""

    machine: str = ""
    reference: str = ""
    length_class: str = ""


@dataclass(frozen=True)
class Cycle:
    """A cycle time: ``us`` per piece [µs] (0 if it is not known), and where it comes from.

    ``samples``: how many means of pieces in a row an estimate is made of.
    """

    us: int
    origin: Origin
    samples: int = 0


UNKNOWN_CYCLE: Final = Cycle(0, "unknown")


def make_table(seconds: Mapping[CycleKey, float]) -> dict[CycleKey, Cycle]:
    """Return a table of cycle times given in seconds [s].

    Raises
    ------
    ConfigError
        If a cycle time is not above zero.
    """
    for key, value in seconds.items():
        if not 0 < value < 1e9:
            raise ConfigError(
                f"A piece cannot take {value} s.",
                where=f"cycle time of {key}",
                fix="Give the seconds that a piece takes at the reference rate.",
            )
    return {key: Cycle(max(round(value * 1e6), 1), "table") for key, value in seconds.items()}


def find_cycle(
    key: CycleKey,
    table: Mapping[CycleKey, Cycle],
    estimates: Mapping[CycleKey, Cycle] | None = None,
) -> Cycle:
    """Return the cycle time of a kind of piece: what is most particular in the table first.

    A reference counts for more than a length class. Estimates are looked at only where the table
    has nothing at all, and in the same order.
    """
    order = [
        CycleKey(machine, reference, length)
        for machine in dict.fromkeys((key.machine, ""))
        for reference in dict.fromkeys((key.reference, ""))
        for length in dict.fromkeys((key.length_class, ""))
    ]
    for known in (table, estimates or {}):
        for one in order:
            if one in known:
                return known[one]
    return UNKNOWN_CYCLE


def estimate_cycle(
    own_us: Ints, *, block: int = BLOCK, quantile: float = QUANTILE, least: int = LEAST_SAMPLES
) -> Cycle:
    """Estimate the cycle time of one kind of piece: the rate the machine keeps when it is well.

    Times between single pieces say little: bars are loaded, then their pieces come fast, several
    within a second. So the mean of every ``block`` pieces in a row counts, and of these means a low
    quantile, which slow times and short interruptions do not move.

    Parameters
    ----------
    own_us : array of int64, shape (pieces,)
        How long the machine ran for each piece, in their order [µs].
    block : int
        Pieces in a row.
    quantile : float
        Between 0 and 1.
    least : int
        Fewer means give no estimate.

    Raises
    ------
    ParameterError
        If the quantile is none, or the block is empty.
    """
    if not 0 <= quantile <= 1 or block < 1:
        raise ParameterError(
            f"A quantile is between 0 and 1, not {quantile}; a block has pieces, not {block}."
        )
    sums = np.concatenate((np.zeros(1, np.int64), np.cumsum(own_us)))
    means = (sums[block:] - sums[:-block]) / block
    if len(means) < max(least, 1):
        return UNKNOWN_CYCLE
    value = round(float(np.quantile(means, quantile, method="inverted_cdf")))
    return Cycle(value, "estimated", len(means)) if value > 0 else UNKNOWN_CYCLE


def estimate_cycles(
    keys: Sequence[CycleKey], running_us: Ints, *, least: int = LEAST_SAMPLES
) -> dict[CycleKey, Cycle]:
    """Estimate the cycle time of each kind among the pieces of one machine.

    What has too few pieces for an estimate is left out. The kind that stands for all references of
    the machine is estimated too, for those.

    Parameters
    ----------
    keys : sequence of CycleKey
        The kind of each piece, in the order they were made.
    running_us : array of int64, shape (pieces,)
        How long the machine had been running in all when each was done [µs]: what it grew by since
        the piece before is what a piece took.
    """
    names = list(dict.fromkeys(keys))
    number = {name: place for place, name in enumerate(names)}
    code = np.array([number[key] for key in keys[1:]], np.int64)  # nothing is before the first
    own = np.diff(running_us)
    found = {CycleKey(key.machine): estimate_cycle(own, least=least) for key in names[:1]}
    for name, place in number.items():
        if name not in found:
            found[name] = estimate_cycle(own[code == place], least=least)
    return {name: cycle for name, cycle in found.items() if cycle.origin != "unknown"}


def ideal_us(cycles: Iterable[Cycle]) -> tuple[int | None, Origin]:
    """Return what pieces take at the reference rate [µs], and how sure that is.

    One piece without a cycle time makes the sum unknown; one estimate makes it estimated.
    """
    listed = list(cycles)
    origins = {cycle.origin for cycle in listed}
    if "unknown" in origins:
        return None, "unknown"
    return sum(cycle.us for cycle in listed), "estimated" if "estimated" in origins else "table"
