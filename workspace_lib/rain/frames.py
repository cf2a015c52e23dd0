"""Tables of the rain wing as pandas frames, for notebooks and dashboards (extra ``notebooks``).

One calculation, many views: every number comes from `analysis` and `queries`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from workspace_lib.clock import from_us, to_us
from workspace_lib.rain import batteries, queries
from workspace_lib.rain.analysis import PM_PER_MM, WINDOWS_S, TipSeries
from workspace_lib.rain.settings import Gauge
from workspace_lib.rain.sums import Records, Total, periods, records, sums_at, total
from workspace_lib.store.engines import Store

#: Units of the columns below, for `publish`.
TOTALS_UNITS: Final = {
    "rain_mm": "mm",
    "missing_share": "1",
    "tips": "1",
    "uncalibrated_tips": "1",
}
SUMS_UNITS: Final = {"window_s": "s", **TOTALS_UNITS}
MAXIMA_UNITS: Final = {**SUMS_UNITS, "window_missing_share": "1"}
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

    Columns: gauge, name, from, to, tips, rain_mm [mm] (empty where a tip has no depth),
    missing_share [1], uncalibrated_tips.
    """
    rows = []
    for one in series.values():
        found = total(one, to_us(t_from), to_us(t_to))
        rows.append({**_whose(one), "from": t_from, "to": t_to, **_amounts(found)})
    return pd.DataFrame(rows)


def monthly(
    series: Mapping[str, TipSeries], t_from: datetime, t_to: datetime, zone: ZoneInfo
) -> pd.DataFrame:
    """Return what fell in each month of the zone, as far as it lies in (from, to].

    Columns: gauge, name, month (2026-11), and from ``from`` on those of `totals`.
    """
    rows = []
    for one in series.values():
        for month in periods(t_from, t_to, zone, "month"):
            found = total(one, month.from_us, month.to_us)
            span = {"from": from_us(month.from_us), "to": from_us(month.to_us)}
            rows.append({**_whose(one), "month": month.name, **span, **_amounts(found)})
    return pd.DataFrame(rows)


def cumulative(
    series: Mapping[str, TipSeries], t_from: datetime, t_to: datetime, zone: ZoneInfo
) -> pd.DataFrame:
    """Return what fell from the beginning of each year of the zone to the end of each of its days.

    Columns: gauge, name, year, day, at (the end of the day, or ``t_to``), tips, rain_mm [mm] (empty
    from the first tip without a depth on), missing_share [1] of the time since the year began (or
    since ``t_from``), uncalibrated_tips.
    """
    rows = []
    for one in series.values():
        for year in periods(t_from, t_to, zone, "year"):
            so_far = Records.empty(year.from_us).total
            for day in periods(from_us(year.from_us), from_us(year.to_us), zone, "day"):
                so_far += total(one, day.from_us, day.to_us)
                when = {"year": int(year.name), "day": day.name, "at": from_us(day.to_us)}
                rows.append({**_whose(one), **when, **_amounts(so_far)})
    return pd.DataFrame(rows)


def maxima(
    series: Mapping[str, TipSeries], t_from: datetime, t_to: datetime, zone: ZoneInfo
) -> pd.DataFrame:
    """Return the largest sums of each year of the zone, one row per gauge, year and window.

    Columns: gauge, name, year, window, window_s [s], tips, tips_at, rain_mm [mm] with the end of
    its window ``rain_at`` and the missing share of that window (``window_missing_share`` [1]);
    missing_share [1] and uncalibrated_tips of the year. Instants are the first ones, empty where it
    did not rain; windows with a tip without a depth count for tips alone, so that with any of
    them, or with time missing, more may have fallen. The series must reach 72 h before ``t_from``.
    """
    rows = []
    for one in series.values():
        for year in periods(t_from, t_to, zone, "year"):
            found = records(one, year.from_us, year.to_us)
            amounts = _amounts(found.total)
            for window, window_s in WINDOWS_S.items():
                tips, rain = found.tips[window], found.rain_pm[window]
                unknown = rain.at_us is None and found.total.uncalibrated > 0
                rows.append(
                    {
                        **_whose(one),
                        "year": int(year.name),
                        "window": window,
                        "window_s": window_s,
                        "tips": tips.amount,
                        "tips_at": _instant(tips.at_us),
                        "rain_mm": np.nan if unknown else rain.amount / PM_PER_MM,
                        "rain_at": _instant(rain.at_us),
                        "window_missing_share": rain.missing_share,
                        "missing_share": amounts["missing_share"],
                        "uncalibrated_tips": amounts["uncalibrated_tips"],
                    }
                )
    frame = pd.DataFrame(rows)
    if len(frame):
        frame["window_missing_share"] = frame["window_missing_share"].astype(float)
        for column in ("tips_at", "rain_at"):
            frame[column] = pd.to_datetime(frame[column], utc=True)
    return frame


def gauges(store: Store, network: Sequence[Gauge], now: datetime) -> pd.DataFrame:
    """Return the state of the gauges: place, last row and its age, battery, what was noticed.

    Columns: gauge, name, lat, lon [deg], mm_per_tip [mm], last, age_min [min], battery_v [V],
    battery_trend_v_per_d [V/d], conflicts, set_aside, bad_lines.
    """
    last, noticed = queries.last_rows(store, network, now), queries.troubles(store, network)
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


def _whose(series: TipSeries) -> dict[str, str]:
    return {"gauge": series.gauge, "name": series.name}


def _amounts(found: Total) -> dict[str, float]:
    return {
        "tips": found.tips,
        "rain_mm": found.rain_mm,
        "missing_share": found.missing_share,
        "uncalibrated_tips": found.uncalibrated,
    }


def _instant(at_us: int | None) -> datetime | None:
    return None if at_us is None else from_us(at_us)
