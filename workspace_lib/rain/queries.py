"""The read side of the rain wing: what notebooks and dashboards ask the store.

Every function takes an open store, read-only or not, and returns plain arrays and dataclasses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import func, select

from workspace_lib.clock import from_us, localize, to_us
from workspace_lib.errors import DataQualityError
from workspace_lib.rain import days as stored
from workspace_lib.rain.analysis import Coverage, TipSeries
from workspace_lib.rain.blocks import NO_WIND
from workspace_lib.rain.depths import read_depths
from workspace_lib.rain.policies import SET_ASIDE as SET_ASIDE
from workspace_lib.rain.settings import Gauge
from workspace_lib.rain.tables import rain_conflicts, rain_issues
from workspace_lib.store.engines import Store, read

#: Codes of issues: lines that are no rows (`SET_ASIDE`: rows whose stamp cannot be true).
BAD_LINES = (
    "field_count",
    "truncated_line",
    "bad_number",
    "stamp_out_of_range",
    "negative_tips",
    "nul_bytes",
    "bad_label",
)


@dataclass(frozen=True)
class LastRow:
    """The newest row of a gauge: when, its battery [V], its wind [1]."""

    t: datetime
    battery_v: float | None
    wind: int | None


@dataclass(frozen=True)
class Troubles:
    """What was not stored as a row of a gauge: conflicts, and issues by code."""

    conflicts: int
    issues: dict[str, int]


def tips(
    store: Store, gauges: Sequence[Gauge], t_from: datetime, t_to: datetime
) -> dict[str, TipSeries]:
    """Return the rain of gauges in (from, to], with its coverage, by their house names."""
    begin, end = to_us(t_from), to_us(t_to)
    found = {}
    with read(store.data) as connection:
        for gauge in gauges:
            t_us, counts = stored.read_wet(connection, gauge.id, begin, end)
            covered = stored.read_coverage(connection, gauge, begin, end)
            found[gauge.id] = TipSeries(
                gauge.id, gauge.name, t_us, counts, covered, gauge.mm_per_tip
            )
    return found


def calibrated(
    store: Store, gauges: Sequence[Gauge], t_from: datetime, t_to: datetime
) -> dict[str, TipSeries]:
    """Return what `tips` does, with the calibrated depth of each row, its flags and its versions.

    The depth is NaN where no calibration is in force, and where rows have changed since the job
    rain_calibration ran; the flags tell which (`in_force.Flag`).
    """
    begin, end = to_us(t_from), to_us(t_to)
    found = {}
    with read(store.data) as connection:
        for gauge in gauges:
            rows = read_depths(connection, gauge.id, begin, end)
            found[gauge.id] = TipSeries(
                gauge.id,
                gauge.name,
                rows.t_us,
                rows.tips,
                stored.read_coverage(connection, gauge, begin, end),
                gauge.mm_per_tip,
                rows.rain_mm,
                rows.versions,
                rows.flags,
            )
    return found


def coverage(store: Store, gauge: Gauge, t_from: datetime, t_to: datetime) -> Coverage:
    """Return for which time in (from, to] there are rows of a gauge."""
    with read(store.data) as connection:
        return stored.read_coverage(connection, gauge, to_us(t_from), to_us(t_to))


def last_rows(
    store: Store, gauges: Sequence[Gauge], until: datetime | None = None
) -> dict[str, LastRow]:
    """Return the newest row (up to an instant) of each gauge that has one."""
    found = {}
    with read(store.data) as connection:
        for gauge in gauges:
            row = stored.last_row(connection, gauge.id, None if until is None else to_us(until))
            if row is not None:
                volts, wind = float(row["battery_v"]), int(row["wind"])
                found[gauge.id] = LastRow(
                    from_us(int(row["t_us"])),
                    None if math.isnan(volts) else volts,
                    None if wind == NO_WIND else wind,
                )
    return found


def latest(store: Store, gauges: Sequence[Gauge], until: datetime | None = None) -> datetime | None:
    """Return the stamp of the network's newest row (up to an instant), or None if there is none."""
    return max((row.t for row in last_rows(store, gauges, until).values()), default=None)


def as_of(store: Store, gauges: Sequence[Gauge], until: datetime | None = None) -> datetime:
    """Return up to when the network's rain is known (at an instant): `latest`, which there must be.

    Raises
    ------
    DataQualityError
        If there is not one row yet.
    """
    newest = latest(store, gauges, until)
    if newest is None:
        names = ", ".join(gauge.id for gauge in gauges) or "no gauge"
        raise DataQualityError(
            f"There is no rain data of {names} yet.",
            where="rain_days",
            fix="Run the job rain_capture, and look at its report.",
        )
    return newest


def span(store: Store, gauge: Gauge) -> tuple[datetime, datetime] | None:
    """Return the stamps of the first and the last row of a gauge, or None."""
    with read(store.data) as connection:
        found = stored.span(connection, gauge.id)
    return None if found is None else (from_us(found[0]), from_us(found[1]))


def daily_completeness(
    store: Store,
    gauges: Sequence[Gauge],
    days: int,
    until: datetime,
    zone: ZoneInfo,
) -> dict[date, dict[str, float]]:
    """Return for each local day which share of it has rows, by gauge, 0 to 1 [1].

    Parameters
    ----------
    days : int
        How many days, the last of which holds ``until``.
    until : datetime
        The last day is judged up to here.
    zone : ZoneInfo
        Whose days these are; they have 23 or 25 hours at the changes of summer time.
    """
    last = until.astimezone(zone).date()
    dates = [last - timedelta(days=days - 1 - day) for day in range(days)]
    midnights = [to_us(localize(datetime.combine(day, time()), zone)) for day in dates]
    edges = np.array([*midnights, to_us(until)], dtype=np.int64)
    shares: dict[date, dict[str, float]] = {day: {} for day in dates}
    if edges[-1] == edges[-2]:  # at midnight the last day has not begun
        edges[-1] += 1
    with read(store.data) as connection:
        for gauge in gauges:
            covered = stored.read_coverage(connection, gauge, int(edges[0]), int(edges[-1]))
            missing = covered.missing_share(edges[:-1], edges[1:]).tolist()
            for day, share in zip(dates, missing, strict=True):
                shares[day][gauge.id] = 1.0 - share
    return shares


def troubles(
    store: Store, gauges: Sequence[Gauge], since: datetime | None = None
) -> dict[str, Troubles]:
    """Return what was noticed of each gauge (since an instant): conflicts and issues by code."""
    found = {}
    with read(store.data) as connection:
        for gauge in gauges:
            conflicts = select(func.count()).where(rain_conflicts.c.gauge == gauge.id)
            issues = (
                select(rain_issues.c.code, func.count())
                .where(rain_issues.c.gauge == gauge.id)
                .group_by(rain_issues.c.code)
                .order_by(rain_issues.c.code)
            )
            if since is not None:
                conflicts = conflicts.where(rain_conflicts.c.noticed >= since)
                issues = issues.where(rain_issues.c.noticed >= since)
            counts = {row[0]: row[1] for row in connection.execute(issues)}
            found[gauge.id] = Troubles(connection.scalar(conflicts) or 0, counts)
    return found
