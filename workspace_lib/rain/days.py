"""The days of a gauge in the store: reading stretches of time, and merging new rows into them.

A row belongs to the UTC day in which its stamp lies. Stretches are open at their start and closed
at their end, (from, to], as a row stamped t counts the step that ends at t. Times are whole
microseconds since 1970 UTC [µs].
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection, and_, func, select, text

from workspace_lib.rain.analysis import JITTER, US, Coverage, Ints
from workspace_lib.rain.blocks import (
    DAY_US,
    NO_WIND,
    ROW,
    RUN,
    WET,
    Rows,
    join,
    join_runs,
    pack_rows,
    pack_wet,
    runs_of,
    unpack_rows,
)
from workspace_lib.rain.settings import Gauge
from workspace_lib.rain.tables import rain_conflicts, rain_days
from workspace_lib.store.upsert import batches, insert_or_ignore, insert_or_replace

#: What becomes of two different rows of one gauge and stamp.
KEEP_FIRST: Final = "keep first"
#: A row on its way into the store: `ROW`, and its line in the file (from 1).
NEW_ROW: Final = np.dtype([*((name, ROW[name]) for name in ROW.names or ()), ("line", "<i4")])
#: Values in one IN list.
_LISTED: Final = 500

_day = rain_days.c
_VALUES: Final = [column.name for column in rain_days.columns if not column.primary_key]


@dataclass(frozen=True)
class Merged:
    """What became of rows on their way into the store.

    ``rows`` is the array of `NEW_ROW` that was new, by stamp; ``pause_us`` the time since the row
    before each, stored or new [µs] (0: there is none up to a day before); ``last_day`` the last day
    that had rows until then, None if there was none.
    """

    rows: Rows
    pause_us: Ints
    duplicates: int = 0
    conflicts: int = 0
    last_day: int | None = None


def read_wet(connection: Connection, gauge_id: str, from_us: int, to_us: int) -> tuple[Ints, Ints]:
    """Return stamps [µs] and tips [1] of the rows in (from, to] that have tips, by stamp."""
    query = select(_day.wet).where(_within(gauge_id, from_us, to_us), _day.tip_sum > 0)
    wet = join(connection.execute(query.order_by(_day.day)).scalars().all(), WET)
    t_us = wet["t_us"].astype(np.int64)
    begin, end = np.searchsorted(t_us, (from_us, to_us), side="right")
    return t_us[begin:end], wet["tips"][begin:end].astype(np.int64)


def read_coverage(connection: Connection, gauge: Gauge, from_us: int, to_us: int) -> Coverage:
    """Return for which time in (from, to] there are rows of a gauge."""
    step_us = gauge.step_s * US
    # Rows just outside may cover time inside, or join with rows there.
    near = int(JITTER * step_us)
    begin, end = from_us - near, to_us + near
    query = select(_day.covered).where(_within(gauge.id, begin, end)).order_by(_day.day)
    runs = join(connection.execute(query).scalars().all(), RUN)
    if np.any(runs["step_us"] != step_us):  # the gauge's step was another one when it was stored
        runs = runs_of(
            read_rows(connection, gauge.id, begin - DAY_US, end + DAY_US)["t_us"], step_us
        )
    runs = join_runs(runs, step_us)
    start_us = np.clip(runs["first_us"] - step_us, from_us, to_us)
    end_us = np.clip(runs["last_us"], from_us, to_us)
    some = end_us > start_us
    return Coverage(start_us[some], end_us[some])


def read_rows(connection: Connection, gauge_id: str, from_us: int, to_us: int) -> Rows:
    """Return all rows in (from, to] as an array of `blocks.ROW`, by stamp.

    Raises
    ------
    StoreError
        If what the store has of a day is damaged.
    """
    query = select(_day.day, _day.rows).where(_within(gauge_id, from_us, to_us))
    parts = [
        unpack_rows(content, _where(gauge_id, day))
        for day, content in connection.execute(query.order_by(_day.day))
    ]
    if not parts:
        return np.empty(0, ROW)
    rows = np.concatenate(parts)
    begin, end = np.searchsorted(rows["t_us"], (from_us, to_us), side="right")
    return rows[begin:end]


def last_row(connection: Connection, gauge_id: str, until_us: int | None = None) -> Any | None:
    """Return the newest row of a gauge, one of `blocks.ROW`, or None; unpacks one day, or two.

    Parameters
    ----------
    until_us : int, optional
        Of the rows up to this instant, included [µs].
    """
    query = select(_day.day, _day.rows).where(_day.gauge == gauge_id)
    if until_us is not None:
        query = query.where(_day.day <= until_us // DAY_US)
    # The day of the instant may have later rows only; the day before it that has any has earlier.
    for day, content in connection.execute(query.order_by(_day.day.desc()).limit(2)):
        rows = unpack_rows(content, _where(gauge_id, day))
        known = len(rows)
        if until_us is not None:
            known = int(np.searchsorted(rows["t_us"], until_us, side="right"))
        if known:
            return rows[known - 1]
    return None


def span(connection: Connection, gauge_id: str) -> tuple[int, int] | None:
    """Return the stamps of the first and the last row of a gauge [µs], or None."""
    query = select(_day.covered).where(_day.gauge == gauge_id).limit(1)
    first = connection.scalar(query.order_by(_day.day))
    last = connection.scalar(query.order_by(_day.day.desc()))
    if first is None or last is None:
        return None
    return int(join([first], RUN)["first_us"][0]), int(join([last], RUN)["last_us"][-1])


def new_rows(
    t_us: Any,
    tips: Any,
    *,
    wind: Any = NO_WIND,
    battery_v: Any = np.nan,
    file_id: Any,
    line: Any = 0,
) -> Rows:
    """Return columns (or one value for all) as an array of `NEW_ROW`, for `merge_rows`."""
    rows = np.empty(len(t_us), NEW_ROW)
    rows["t_us"], rows["tips"], rows["wind"] = t_us, tips, wind
    rows["battery_v"], rows["file_id"], rows["line"] = battery_v, file_id, line
    return rows


def merge_rows(connection: Connection, gauge: Gauge, rows: Rows, now: datetime) -> Merged:
    """Add rows to a gauge's days; what is there already is kept for ever.

    Of several rows of one stamp the first one stays: the stored one, else the first in ``rows``.
    An equal one is a duplicate; a different one, also if only its battery differs, is written to
    ``rain_conflicts``. Days that get no new row are not written.

    Parameters
    ----------
    connection : Connection
        In a writing transaction.
    gauge : Gauge
        Whose rows they are; its step tells what they cover.
    rows : array of NEW_ROW
        In the order in which they came.
    now : datetime
        The instant written beside a conflict.
    """
    if not len(rows):
        return Merged(np.empty(0, NEW_ROW), np.empty(0, np.int64))
    _lock(connection, gauge.id)
    last_day = connection.scalar(select(func.max(_day.day)).where(_day.gauge == gauge.id))
    days = np.unique(rows["t_us"] // DAY_US)
    known, stored = _stored(connection, gauge.id, days)
    both = np.concatenate((stored, rows))
    order = np.argsort(both["t_us"], kind="stable")
    both = both[order]
    first = np.append(True, np.diff(both["t_us"]) != 0)
    kept = both[np.maximum.accumulate(np.where(first, np.arange(len(both)), 0))]
    equal = _equal(both, kept)
    fresh = first & (order >= len(stored))
    conflict = ~first & ~equal
    result, is_new = both[first], fresh[first]
    blocks = list(_blocks(gauge, result, is_new, known))
    if blocks:
        connection.execute(insert_or_replace(connection, rain_days, _VALUES), blocks)
    if conflict.any():
        noted = list(_conflicts(gauge.id, both[conflict], kept[conflict], now))
        connection.execute(insert_or_ignore(connection, rain_conflicts), noted)
    pause_us = _pauses(connection, gauge.id, result, is_new)
    duplicates = int((~first & equal).sum())
    return Merged(result[is_new], pause_us, duplicates, int(conflict.sum()), last_day)


def _within(gauge_id: str, from_us: int, to_us: int) -> Any:
    first, last = int((from_us + 1) // DAY_US), int(to_us // DAY_US)
    return and_(_day.gauge == gauge_id, _day.day >= first, _day.day <= last)


def _where(gauge_id: str, day: int) -> str:
    return f"rain_days: {gauge_id}, {np.datetime64(day, 'D')}"


def _lock(connection: Connection, gauge_id: str) -> None:
    """Keep other writers from the gauge's days until the transaction ends.

    SQLite has one writer at a time; PostgreSQL would let two read one day and the second overwrite
    what the first has added.
    """
    if connection.dialect.name == "postgresql":
        name = f"rain_days {gauge_id}"
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": name})


def _stored(connection: Connection, gauge_id: str, days: Ints) -> tuple[dict[int, int], Rows]:
    """Return the revisions of days, and all their rows by stamp."""
    known: dict[int, int] = {}
    parts = [np.empty(0, NEW_ROW)]
    for some in batches(days.tolist(), _LISTED):
        query = select(_day.day, _day.revision, _day.rows).where(
            _day.gauge == gauge_id, _day.day.in_(some)
        )
        for day, revision, content in connection.execute(query.order_by(_day.day)):
            known[day] = revision
            rows = unpack_rows(content, _where(gauge_id, day))
            parts.append(np.zeros(len(rows), NEW_ROW))
            for name in ROW.names or ():
                parts[-1][name] = rows[name]
    return known, np.concatenate(parts)


def _equal(rows: Rows, others: Rows) -> Any:
    volts, other_volts = rows["battery_v"], others["battery_v"]
    same_volts = (volts == other_volts) | (np.isnan(volts) & np.isnan(other_volts))
    same_counts = (rows["tips"] == others["tips"]) & (rows["wind"] == others["wind"])
    return same_counts & same_volts


def _blocks(
    gauge: Gauge, rows: Rows, is_new: Any, known: dict[int, int]
) -> Iterator[dict[str, Any]]:
    """Yield the rows of `rain_days` for every day that has new rows."""
    day = rows["t_us"] // DAY_US
    edges = np.flatnonzero(np.diff(day, prepend=day[0] - 1, append=day[-1] + 1))
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if not is_new[begin:end].any():
            continue
        mine, number = rows[begin:end], int(day[begin])
        yield {
            "gauge": gauge.id,
            "day": number,
            "revision": known.get(number, 0) + 1,
            "row_count": end - begin,
            "tip_sum": int(mine["tips"].sum(dtype=np.int64)),
            "wet": pack_wet(mine),
            "covered": runs_of(mine["t_us"], gauge.step_s * US).tobytes(),
            "rows": pack_rows(mine),
        }


def _conflicts(gauge_id: str, rows: Rows, kept: Rows, now: datetime) -> Iterator[dict[str, Any]]:
    for row, other in zip(_plain(rows), _plain(kept), strict=True):
        yield {
            "gauge": gauge_id,
            "policy": KEEP_FIRST,
            "noticed": now,
            "t": row["t_us"],
            "line": row["line"],
            **{name: row[name] for name in ("file_id", "tips", "wind", "battery_v")},
            **{f"kept_{name}": other[name] for name in ("file_id", "tips", "wind", "battery_v")},
        }


def _plain(rows: Rows) -> Iterable[dict[str, Any]]:
    """Return rows as dictionaries, with None for what is not known."""
    for values in rows.tolist():
        row = dict(zip(rows.dtype.names or (), values, strict=True))
        row["wind"] = None if row["wind"] == NO_WIND else row["wind"]
        row["battery_v"] = None if np.isnan(row["battery_v"]) else row["battery_v"]
        yield row


def _pauses(connection: Connection, gauge_id: str, rows: Rows, is_new: Any) -> Ints:
    """Return the time between each new row and the row before it, which may be a day earlier."""
    t_us = rows["t_us"].astype(np.int64)
    pause = np.diff(t_us, prepend=t_us[0])
    day = t_us // DAY_US
    # The row before the first one of a day is in the day before, which was perhaps not read.
    begins = np.flatnonzero(is_new & (np.diff(day, prepend=day[0] - 2) > 1))
    pause[begins] = 0
    for some in batches(begins.tolist(), _LISTED):
        before = (day[some] - 1).tolist()
        query = select(_day.day, _day.covered).where(_day.gauge == gauge_id, _day.day.in_(before))
        last = {
            row.day: int(join([row.covered], RUN)["last_us"][-1])
            for row in connection.execute(query)
        }
        for place in some:
            if (earlier := last.get(int(day[place]) - 1)) is not None:
                pause[place] = t_us[place] - earlier
    new_pause: Ints = pause[is_new]
    return new_pause
