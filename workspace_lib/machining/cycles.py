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

#: Fewer intervals give no estimate.
LEAST_SAMPLES: Final = 20
#: The estimate is this quantile of the times between pieces: what the machine does when it is well.
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
        """Return the class of a length, such as ``1000–3000``; empty if it is not known."""
        if length_mm is None or not np.isfinite(length_mm):
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

    ``samples``: how many times between pieces an estimate is made of.
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
    t_us: Ints,
    running_us: Ints,
    *,
    quantile: float = QUANTILE,
    least: int = LEAST_SAMPLES,
) -> Cycle:
    """Estimate the cycle time of one kind of piece from when pieces were done.

    Stamps have whole seconds and bars are unloaded together, so that pieces come in groups of one
    instant: the time since the group before is shared by all of its pieces. Only gaps in which the
    machine ran all the time count. The estimate is a low quantile of these times, so that slow
    pieces and short interruptions do not make the reference slower.

    Parameters
    ----------
    t_us : array of int64, shape (pieces,)
        Sorted instants of pieces made one after the other [µs].
    running_us : array of int64, shape (pieces,)
        For each piece how long the machine had been running in all [µs], counted from anywhere: a
        gap in which it did not run all the time is longer than that grew.
    quantile : float
        Between 0 and 1.
    least : int
        Fewer times give no estimate.
    """
    if not 0 <= quantile <= 1:
        raise ParameterError(f"A quantile is between 0 and 1, not {quantile}.")
    instants, first, count = np.unique(t_us, return_index=True, return_counts=True)
    gaps = np.diff(instants)
    whole = gaps == np.diff(running_us[first])
    each, weight = (gaps / count[1:])[whole], count[1:][whole]
    samples = int(weight.sum())
    if samples < max(least, 1):
        return UNKNOWN_CYCLE
    order = np.argsort(each)
    rank = np.searchsorted(np.cumsum(weight[order]), quantile * samples)
    value = round(float(each[order][min(int(rank), len(order) - 1)]))
    return Cycle(max(value, 1), "estimated", samples)


def estimate_cycles(
    keys: Sequence[CycleKey], t_us: Ints, running_us: Ints, *, least: int = LEAST_SAMPLES
) -> dict[CycleKey, Cycle]:
    """Estimate the cycle time of each kind among pieces of one machine, sorted by instant.

    A time counts for a kind only if the piece before was of the same kind. What has too few pieces
    for an estimate is left out. The kind that stands for all references of the machine is
    estimated too, for those.
    """
    names = list(dict.fromkeys(keys))
    number = {name: place for place, name in enumerate(names)}
    code = np.array([number[key] for key in keys], np.int64)
    found: dict[CycleKey, Cycle] = {}
    for machine in dict.fromkeys(name.machine for name in names):
        mine = np.array([names[one].machine == machine for one in code], bool)
        found[CycleKey(machine)] = estimate_cycle(t_us[mine], running_us[mine], least=least)
    changed = np.flatnonzero(code[1:] != code[:-1]) + 1
    lots = np.split(np.arange(len(code)), changed)
    # A jump of the running time between lots keeps the gap between them from counting.
    far = np.repeat(np.arange(len(lots)), [len(lot) for lot in lots]) << 50
    for name, place in number.items():
        mine = code == place
        found[name] = estimate_cycle(t_us[mine], (running_us + far)[mine], least=least)
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
