"""Tables of the rain wing as pandas frames, for notebooks and dashboards (extra ``notebooks``).

One calculation, many views: every number comes from `analysis` and `queries`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import pandas as pd

from workspace_lib.clock import to_us
from workspace_lib.rain import batteries, queries
from workspace_lib.rain.analysis import WINDOWS_S, TipSeries
from workspace_lib.rain.settings import Gauge
from workspace_lib.rain.sums import sums_at, total
from workspace_lib.store.engines import Store

#: Units of the columns below, for `publish`.
TOTALS_UNITS: Final = {
    "rain_mm": "mm",
    "missing_share": "1",
    "tips": "1",
    "uncalibrated_tips": "1",
}
SUMS_UNITS: Final = {"window_s": "s", **TOTALS_UNITS}
GAUGES_UNITS: Final = {
    "lat": "deg",
    "lon": "deg",
    "mm_per_tip": "mm",
    "battery_v": "V",
    "battery_trend_v_per_d": "V/d",
    "age_min": "min",
}


def sums(series: Mapping[str, TipSeries], at: datetime) -> pd.DataFrame:
    """Return the sums of all windows that end at ``at``, one row per gauge and window.

    Columns: gauge, name, window, window_s [s], at, tips, rain_mm [mm] (empty where a tip has no
    depth), missing_share [1], uncalibrated_tips. The series must reach 72 h back.
    """
    rows = []
    for one in series.values():
        for window, window_s in WINDOWS_S.items():
            found = sums_at(one, window_s, to_us(at))
            rows.append(
                {
                    "gauge": one.gauge,
                    "name": one.name,
                    "window": window,
                    "window_s": window_s,
                    "at": at,
                    "tips": int(found.amounts.tips[0]),
                    "rain_mm": float(found.amounts.rain_mm[0]),
                    "missing_share": float(found.missing_share[0]),
                    "uncalibrated_tips": int(found.amounts.uncalibrated[0]),
                }
            )
    return pd.DataFrame(rows)


def wide_sums(frame: pd.DataFrame, value: str = "rain_mm") -> pd.DataFrame:
    """Return `sums` as people read them: one row per gauge, one column per window."""
    wide = frame.pivot(index="name", columns="window", values=value)
    return wide.reindex(index=list(dict.fromkeys(frame["name"])), columns=list(WINDOWS_S))


def totals(series: Mapping[str, TipSeries], t_from: datetime, t_to: datetime) -> pd.DataFrame:
    """Return what fell in (from, to], one row per gauge.

    Columns: gauge, name, from, to, tips, rain_mm [mm], missing_share [1], uncalibrated_tips.
    """
    rows = []
    for one in series.values():
        found = total(one, to_us(t_from), to_us(t_to))
        rows.append(
            {
                "gauge": one.gauge,
                "name": one.name,
                "from": t_from,
                "to": t_to,
                "tips": found.tips,
                "rain_mm": found.rain_mm,
                "missing_share": found.missing_share,
                "uncalibrated_tips": found.uncalibrated,
            }
        )
    return pd.DataFrame(rows)


def gauges(store: Store, network: Sequence[Gauge], now: datetime) -> pd.DataFrame:
    """Return the state of the gauges: place, last row and its age, battery, what was noticed.

    Columns: gauge, name, lat, lon [deg], mm_per_tip [mm], last, age_min [min], battery_v [V],
    battery_trend_v_per_d [V/d], conflicts, set_aside, bad_lines.
    """
    last, noticed = queries.last_rows(store, network), queries.troubles(store, network)
    rows = []
    for gauge in network:
        newest, trouble = last.get(gauge.id), noticed[gauge.id]
        aside = sum(trouble.issues.get(code, 0) for code in queries.SET_ASIDE)
        bad = sum(trouble.issues.get(code, 0) for code in queries.BAD_LINES)
        rows.append(
            {
                "gauge": gauge.id,
                "name": gauge.name,
                "lat": gauge.lat,
                "lon": gauge.lon,
                "mm_per_tip": gauge.mm_per_tip,
                "last": newest.t if newest else None,
                "age_min": (now - newest.t) / timedelta(minutes=1) if newest else None,
                "battery_v": newest.battery_v if newest else None,
                "battery_trend_v_per_d": batteries.trend(
                    batteries.daily_lows(store, gauge, now - batteries.WATCHED, now)
                ),
                "conflicts": trouble.conflicts,
                "set_aside": aside,
                "bad_lines": bad,
            }
        )
    frame = pd.DataFrame(rows)
    numbers = ["lat", "lon", "mm_per_tip", "age_min", "battery_v", "battery_trend_v_per_d"]
    frame[numbers] = frame[numbers].astype(float)
    frame["last"] = pd.to_datetime(frame["last"], utc=True)
    return frame


def completeness(
    store: Store, network: Sequence[Gauge], days: int, until: datetime, zone: ZoneInfo
) -> pd.DataFrame:
    """Return which share of each local day has rows: gauge, name, day, share [1].

    The last day is judged up to ``until``.
    """
    shares = queries.daily_completeness(store, network, days, until, zone)
    rows = [
        (gauge.id, gauge.name, day.isoformat(), share[gauge.id])
        for gauge in network
        for day, share in shares.items()
    ]
    return pd.DataFrame(rows, columns=["gauge", "name", "day", "share"])
