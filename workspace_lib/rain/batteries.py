"""Batteries of rain loggers: their lowest voltage of each day, and where it is going.

A logger whose panel is dirty or whose battery is old sinks a little lower every night for weeks
before it falls silent; the voltage of the moment, full of sun, does not show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workspace_lib.clock import to_us
from workspace_lib.rain.blocks import DAY_US
from workspace_lib.rain.days import read_rows
from workspace_lib.rain.settings import Gauge
from workspace_lib.store.engines import Store, read

#: Fewer days than these say nothing about where a voltage is going.
FEWEST_DAYS: Final = 5
#: A battery under a panel is watched for so long: weather averages out, a fault does not.
WATCHED: Final = timedelta(days=30)


@dataclass(frozen=True)
class DailyLows:
    """The lowest voltage of each UTC day that has one: days since 1970 [d], ``volts`` [V]."""

    days: NDArray[np.int64]
    volts: NDArray[np.float64]


def daily_lows(store: Store, gauge: Gauge, t_from: datetime, t_to: datetime) -> DailyLows:
    """Return the lowest battery voltage of each UTC day in (from, to]."""
    with read(store.data) as connection:
        rows = read_rows(connection, gauge.id, to_us(t_from), to_us(t_to))
    known = rows[~np.isnan(rows["battery_v"])]
    days, first = np.unique(known["t_us"] // DAY_US, return_index=True)
    volts = np.minimum.reduceat(known["battery_v"], first) if len(days) else np.empty(0)
    return DailyLows(days.astype(np.int64), volts.astype(np.float64))


def trend(lows: DailyLows) -> float | None:
    """Return by how much the lowest voltage changes from day to day [V/d], or None if unknown.

    The median of the slopes between all pairs of days (Theil 1950, Sen 1968), which one day of
    frost or of a torn cable does not move.
    """
    if len(lows.days) < FEWEST_DAYS:
        return None
    from scipy.stats import theilslopes

    return float(theilslopes(lows.volts, lows.days).slope)
