"""Calibrated depths in the store: beside each day's rows with tips, and of which calibration.

A day is stale if it has no depths, if its rows have changed since, or if what is in force for it,
or the gauge's declared step, is not what its depths were made with. Raw counts are never touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection, and_, case, or_, select, true

from workspace_lib.rain.analysis import Floats, Ints
from workspace_lib.rain.blocks import DAY_US, DEPTH, RUN, WET, Rows, join, unpack_rows
from workspace_lib.rain.calibration import Calibration
from workspace_lib.rain.in_force import (
    NOMINAL,
    STEP,
    UNCALIBRATED,
    Flag,
    Flags,
    GaugeCalibrations,
    row_intervals,
)
from workspace_lib.rain.settings import Gauge
from workspace_lib.rain.tables import rain_calibrations, rain_days, rain_depths
from workspace_lib.store.upsert import batches, insert_or_replace

#: Between versions in the column ``calibration``.
_BETWEEN: Final = " "
_LISTED: Final = 500
_day, _depth = rain_days.c, rain_depths.c
_same = and_(_depth.gauge == _day.gauge, _depth.day == _day.day)


@dataclass(frozen=True)
class Depths:
    """Rows with tips, by stamp: stamps [µs], tips [1], depths [mm] (NaN: none), flags (`Flag`).

    ``versions`` are those of the calibrations that made them, ``nominal:…`` among them where a
    depth is nominal.
    """

    t_us: Ints
    tips: Ints
    rain_mm: Floats
    flags: Flags
    versions: tuple[str, ...]


@dataclass(frozen=True)
class DayDepths:
    """The depths of a day as they are to be stored; ``flags`` of its rows with tips."""

    day: int
    revision: int
    calibration: str
    content: bytes
    flags: Flags
    changed: bool


def read_depths(connection: Connection, gauge_id: str, from_us: int, to_us: int) -> Depths:
    """Return the rows in (from, to] that have tips, with their depths."""
    query = (
        select(_day.wet, _day.revision, _depth.revision, _depth.calibration, _depth.depths)
        .select_from(rain_days.outerjoin(rain_depths, _same))
        .where(
            _day.gauge == gauge_id,
            _day.day >= (from_us + 1) // DAY_US,
            _day.day <= to_us // DAY_US,
            _day.tip_sum > 0,
        )
        .order_by(_day.day)
    )
    wet_parts, depth_parts, texts = [], [], []
    for wet, revision, of, calibration, content in connection.execute(query):
        wet_parts.append(wet)
        current = of == revision
        depth_parts.append(content if current else _pending(len(wet) // WET.itemsize))
        if current:
            texts.append(calibration)
    rows, depths = join(wet_parts, WET), join(depth_parts, DEPTH)
    begin, end = np.searchsorted(rows["t_us"], (from_us, to_us), side="right")
    rows, depths = rows[begin:end], depths[begin:end]
    flags = np.ascontiguousarray(depths["flags"])
    versions = dict.fromkeys(name for text in texts for name in text.split(_BETWEEN))
    nominal = bool(np.any(flags & np.uint8(Flag.NOMINAL)))
    return Depths(
        rows["t_us"].astype(np.int64),
        rows["tips"].astype(np.int64),
        depths["rain_mm"].astype(np.float64),
        flags,
        tuple(
            name
            for name in versions
            if name != UNCALIBRATED
            and not name.startswith(STEP)
            and (nominal or not name.startswith(NOMINAL))
        ),
    )


def stale_days(
    connection: Connection, calibrations: GaugeCalibrations, *, rebuild: bool = False
) -> dict[int, int]:
    """Return the days of a gauge to be calibrated, newest first, with the revision of their rows.

    The day after one whose rows have changed is among them: its first row counts from the last
    one of the day before. ``rebuild`` takes every day.
    """
    changed = or_(_depth.revision.is_(None), _depth.revision != _day.revision)
    other = or_(
        *(
            and_(_day.day >= first, _day.day <= last, _depth.calibration != text)
            for first, last, text in _stretches(calibrations)
        )
    )
    joined = rain_days.outerjoin(rain_depths, _same)
    query = (
        select(_day.day, _day.revision, changed.label("changed"))
        .select_from(joined)
        .where(_day.gauge == calibrations.gauge, true() if rebuild else or_(changed, other))
    )
    found, after = {}, set()
    for day, revision, has_changed in connection.execute(query):
        found[day] = revision
        if has_changed:
            after.add(day + 1)
    for some in batches(sorted(after - found.keys()), _LISTED):
        of_these = select(_day.day, _day.revision).where(
            _day.gauge == calibrations.gauge, _day.day.in_(some)
        )
        found.update((row.day, row.revision) for row in connection.execute(of_these))
    return dict(sorted(found.items(), reverse=True))


def calibrate_days(
    connection: Connection, gauge: Gauge, calibrations: GaugeCalibrations, days: dict[int, int]
) -> list[DayDepths]:
    """Return the depths of days, which are given with the revision that is to stand beside them.

    Raises
    ------
    StoreError
        If what the store has of a day is damaged.
    """
    numbers = list(days)
    before = _last_stamps(connection, gauge.id, [day - 1 for day in numbers])
    query = (
        select(
            _day.day,
            case((_day.tip_sum > 0, _day.rows)).label("rows"),
            _depth.revision.label("revision"),
            _depth.calibration.label("calibration"),
            _depth.depths.label("depths"),
        )
        .select_from(rain_days.outerjoin(rain_depths, _same))
        .where(_day.gauge == gauge.id, _day.day.in_(numbers))
    )
    made = []
    for row in connection.execute(query):
        where = f"rain_days: {gauge.id}, {np.datetime64(row.day, 'D')}"
        depths = np.empty(0, DEPTH)
        if row.rows is not None:
            rows = unpack_rows(row.rows, where)
            depths = _depths(rows, before.get(row.day - 1), gauge, calibrations)
        text = _made_with(calibrations, row.day)
        now = (days[row.day], text, depths.tobytes())
        changed = now != (row.revision, row.calibration, row.depths)
        made.append(DayDepths(row.day, *now, depths["flags"], changed))
    return made


def write_depths(connection: Connection, gauge_id: str, made: Iterable[DayDepths]) -> None:
    """Store the depths of days of a gauge, in place of what they had."""
    rows = [
        {
            "gauge": gauge_id,
            "day": one.day,
            "revision": one.revision,
            "calibration": one.calibration,
            "depths": one.content,
        }
        for one in made
    ]
    if rows:
        values = ["revision", "calibration", "depths"]
        connection.execute(insert_or_replace(connection, rain_depths, values), rows)


def keep_records(connection: Connection, records: Sequence[Calibration], now: datetime) -> int:
    """Keep calibration records for ever, by their version; returns how many were new.

    Of one that is known only the end can have changed since.
    """
    if not records:
        return 0
    column = rain_calibrations.c
    names = [one.version for one in records]
    known = set(connection.scalars(select(column.version).where(column.version.in_(names))))
    rows = [
        {
            "version": one.version,
            "gauge": one.gauge,
            "valid_from": one.valid_from,
            "valid_to": one.valid_to,
            "content": one.content(),
            "noticed": now,
        }
        for one in records
    ]
    connection.execute(
        insert_or_replace(connection, rain_calibrations, ["valid_to", "content"]), rows
    )
    return len(set(names) - known)


def ended_since(connection: Connection, records: Sequence[Calibration]) -> list[Calibration]:
    """Return those of the records that are kept with another end than they have now."""
    column = rain_calibrations.c
    query = select(column.version, column.valid_to)
    kept = {row.version: row.valid_to for row in connection.execute(query)}
    return [one for one in records if kept.get(one.version, one.valid_to) != one.valid_to]


def _depths(
    rows: Rows, before_us: int | None, gauge: Gauge, calibrations: GaugeCalibrations
) -> Any:
    t_us = rows["t_us"].astype(np.int64)
    interval_s, known = row_intervals(t_us, before_us, gauge.step_s)
    wet = rows["tips"] > 0
    found = np.empty(int(wet.sum()), DEPTH)
    found["rain_mm"], found["flags"] = calibrations.depths(
        t_us[wet], rows["tips"][wet].astype(np.int64), interval_s[wet], known[wet]
    )
    return found


def _last_stamps(connection: Connection, gauge_id: str, days: list[int]) -> dict[int, int]:
    """Return the stamp of the last row of each day that has rows [µs]."""
    query = select(_day.day, _day.covered).where(_day.gauge == gauge_id, _day.day.in_(days))
    return {
        day: int(join([covered], RUN)["last_us"][-1]) for day, covered in connection.execute(query)
    }


def _stretches(calibrations: GaugeCalibrations) -> list[tuple[int, int, str]]:
    """Return days from first to last in which the same is in force all day long, and its text."""
    changes = sorted({change // DAY_US for change in calibrations.changes_us()})
    begins = sorted({-(10**6), *changes, *(day + 1 for day in changes)})
    ends = [day - 1 for day in begins[1:]] + [10**6]
    return [
        (first, last, _made_with(calibrations, first))
        for first, last in zip(begins, ends, strict=True)
    ]


def _made_with(calibrations: GaugeCalibrations, day: int) -> str:
    """Return what the depths of a day are made with, as it stands beside them."""
    return _BETWEEN.join(calibrations.made_with(day * DAY_US, (day + 1) * DAY_US - 1))


def _pending(count: int) -> bytes:
    pending = np.empty(count, DEPTH)
    pending["rain_mm"], pending["flags"] = np.nan, Flag.PENDING
    return pending.tobytes()
