"""The network of rain gauges: where they stand and what fell there, days summed, calibrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from typing import Any, Final

import numpy as np

from workspace_lib.clock import from_us, localize, to_us
from workspace_lib.errors import PublishError
from workspace_lib.rain import queries
from workspace_lib.rain.analysis import TipSeries
from workspace_lib.rain.calibration_views import TOLD_MM_H, correction_column
from workspace_lib.rain.in_force import NOMINAL, UNCALIBRATED
from workspace_lib.rain.settings import load_network, load_rain
from workspace_lib.views.between import Between, Daily, between
from workspace_lib.views.blocks import badge, empty, tabs
from workspace_lib.views.board import Board, Content, rows_of
from workspace_lib.views.boards.rain import (
    GAUGES,
    SILENT_S,
    SUMS,
    TOTALS,
    reached,
    window_name,
)
from workspace_lib.views.boards.rain_chart import MOST_GAUGES
from workspace_lib.views.charts import Row, Series, TimeChart, from_datetimes
from workspace_lib.views.html import Html, join, tag
from workspace_lib.views.maps import Place, site_map
from workspace_lib.views.tables import Column, table

CALIBRATIONS, MONTHLY, CUMULATIVE = "rain.calibrations", "rain.monthly", "rain.cumulative"
#: Width of a month's bar [s]: that of the shortest.
MONTH_S: Final = 28 * 86_400
#: Windows of the map, and the one that is shown first.
MAP_WINDOWS: Final = ("P1h", "P24h", "P72h")
SHOWN_FIRST: Final = 1


def network_map(board: Board) -> Content:
    """Return the gauges on a map with the sum of a window at each, for some windows."""
    texts, published = board.texts, board.published(GAUGES)
    gauges = rows_of(published)
    placed = [row for row in gauges if row["lat"] is not None and row["lon"] is not None]
    if not placed:
        return Content(empty(texts, texts("rain.map.none")))
    sums = {(row["gauge"], row["window"]): row for row in rows_of(board.published(SUMS))}
    views: dict[str, Html] = {}
    for window in MAP_WINDOWS:
        rows = {row["gauge"]: sums.get((row["gauge"], window)) for row in placed}
        most = max((row["rain_mm"] or 0.0 for row in rows.values() if row), default=0.0)
        places = [_place(board, gauge, rows[gauge["gauge"]], window, most) for gauge in placed]
        views[window_name(window)] = site_map(texts, places, label=texts("rain.map"))
    left_out = [row["name"] for row in gauges if row not in placed]
    note = None
    if left_out:
        said = texts("rain.map.left_out", gauges=", ".join(left_out))
        note = tag("p", said, class_="ws-muted")
    body = tabs(views, "rain-map", first=SHOWN_FIRST)
    return Content(join([body, note]), stale=published.stale)


def _place(
    board: Board,
    gauge: Mapping[str, Any],
    row: Mapping[str, Any] | None,
    window: str,
    most_mm: float,
) -> Place:
    texts = board.texts
    limit_s = board.published(GAUGES).fresh_for_s or SILENT_S
    last: datetime | None = gauge["last"]
    silent = last is None or (board.now - last).total_seconds() > limit_s
    known = row is not None and row["rain_mm"] is not None and row["missing_share"] < 1
    if row is None or not known:
        says = f"{gauge['name']}: {texts('rain.not_measured')}"
        return Place(gauge["name"], gauge["lat"], gauge["lon"], says, state="stale")
    rain_mm = float(row["rain_mm"])
    value = texts.number(rain_mm, 1)
    said = texts(
        "rain.map.partly",
        value=value,
        window=window_name(window),
        share=texts.percent(1 - row["missing_share"], 0),
    )
    newest = texts.moment(last, now=board.now) if last else texts("rain.no_data")
    levels = load_rain(board.settings).thresholds_mm
    return Place(
        gauge["name"],
        gauge["lat"],
        gauge["lon"],
        f"{gauge['name']}: {said} · {texts('rain.last')}: {newest}",
        value,
        rain_mm / most_mm if most_mm > 0 else 0.0,
        "stale" if silent else reached(levels, window, rain_mm) or "good",
    )


def days_summed(board: Board, *, days: int = 400) -> Content:
    """Return the total between two days that the reader chooses, of the last ``days``."""
    texts, published = board.texts, board.published(TOTALS)
    network = load_network(board.settings).gauges
    zone = board.settings.zone
    last = published.as_of.astimezone(zone).date()
    known = [found for gauge in network if (found := queries.span(board.store, gauge))]
    if not known:
        return Content(empty(texts, texts("rain.none")))
    oldest = min(first for first, _ in known).astimezone(zone).date()
    first = max(oldest, last - timedelta(days=days - 1))
    midnights = [
        localize(datetime.combine(first + timedelta(days=n), time()), zone)
        for n in range((last - first).days + 1)
    ]
    series = queries.calibrated(board.store, network, midnights[0], published.as_of)
    edges = np.array([to_us(m) for m in midnights] + [to_us(published.as_of)], dtype=np.int64)
    edges[-1] = max(edges[-1], edges[-2] + 1)  # at midnight the last day has not begun
    rows = [_daily(one, edges) for one in series.values()]
    body = between(
        texts,
        Between(first, rows, "mm"),
        name="rain-between",
        label=texts("rain.between"),
        who=texts("rain.gauge"),
        largest=texts("rain.between.largest"),
    )
    return Content(body, stale=published.stale)


def _daily(one: TipSeries, edges_us: np.ndarray[Any, np.dtype[np.int64]]) -> Daily:
    depths = one.between(edges_us).depth(one.unit)
    missing = one.coverage.missing_share(edges_us[:-1], edges_us[1:])
    values = [
        None if share >= 1 or np.isnan(depth) else float(depth)
        for depth, share in zip(depths, missing, strict=True)
    ]
    return Daily(one.name, values, [float(1 - share) for share in missing])


def months(board: Board) -> Content:
    """Return what fell in each month, and the sum of the year so far."""
    texts, zone = board.texts, board.settings.zone
    by_month, by_day = board.published(MONTHLY), board.published(CUMULATIVE)
    rows = rows_of(by_month)
    measured = {row["month"] for row in rows if not np.isnan(_known(row))}
    if not measured:
        return Content(empty(texts, texts("rain.none")))
    # Months before the first measurement would only push the others to the edge.
    rows = [row for row in rows if row["month"] >= min(measured)]
    names = _wettest_names(rows)
    bars, lines = [], []
    for colour, name in enumerate(names, start=1):
        mine = [row for row in rows if row["name"] == name]
        starts = [localize(datetime.fromisoformat(f"{row['month']}-01"), zone) for row in mine]
        depths = np.array([_known(row) for row in mine])
        bars.append(Series(name, from_datetimes(starts), depths, "bar", colour, MONTH_S))
        days = [row for row in rows_of(by_day) if row["name"] == name]
        so_far = np.array([_known(row) for row in days])
        ends = from_datetimes([row["at"] for row in days])
        lines.append(Series(name, ends, so_far, "line", colour))
    first = min(series.times[0] for series in bars)
    last = max(
        max(series.times[-1] for series in bars) + MONTH_S * 1_000_000,
        *(series.times[-1] for series in lines if len(series.times)),
    )
    of_months = Row(texts("rain.months.sum"), "mm", bars, height=140, digits=0)
    # Of a single month the year so far says as much; it takes the room of both.
    single = len(measured) == 1
    height = 280 if single else 140
    of_year = Row(texts("rain.months.year"), "mm", lines, height=height, digits=0, labels=True)
    chart = TimeChart(
        "rain-months",
        texts("rain.months"),
        from_us(int(first)),
        from_us(int(last)),
        (of_year,) if single else (of_months, of_year),
    )
    return Content(chart.to_html(texts), stale=by_month.stale)


def _known(row: Mapping[str, Any]) -> float:
    """Return the depth of a row, NaN where nothing of its time was measured."""
    unknown = row["rain_mm"] is None or row["missing_share"] >= 1
    return np.nan if unknown else float(row["rain_mm"])


def _wettest_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    totals: dict[str, float] = {}
    for row in rows:
        totals[row["name"]] = totals.get(row["name"], 0.0) + (row["rain_mm"] or 0.0)
    if len(totals) <= MOST_GAUGES:
        return list(totals)
    return sorted(totals, key=lambda name: -totals[name])[:MOST_GAUGES]


def calibrations(board: Board) -> Content:
    """Return the calibration in force of each gauge, with its certificate and its version."""
    texts = board.texts
    try:
        published = board.published(CALIBRATIONS)
    except PublishError:
        return Content(empty(texts, texts("rain.calibration.none")))

    def since(row: Mapping[str, Any]) -> str:
        return texts.date(row["valid_from"])

    def version(row: Mapping[str, Any]) -> Html | str:
        # Without a record, its kind says what holds.
        if row["kind"] == UNCALIBRATED:
            return badge(texts, "attention", texts("rain.calibration.uncalibrated"))
        if row["kind"] == NOMINAL:
            return badge(texts, "partial", texts("rain.calibration.nominal"))
        return str(row["version"])

    def formula(row: Mapping[str, Any]) -> Html | str:
        if not row["formula"]:
            return "–"
        unit = str(row["x"]).replace("tips", texts("rain.tips"))
        return join([row["formula"], tag("br"), tag("small", unit)])

    columns = [
        Column("name", texts("rain.gauge")),
        Column("mm_per_tip", texts("rain.calibration.tip"), "mm", 3),
        Column("formula", texts("rain.calibration.formula"), show=formula, nowrap=True),
        Column("x", texts("rain.calibration.x"), shown=False),
        *(
            Column(
                correction_column(intensity),
                texts("rain.calibration.correction", intensity=intensity),
                "%",
                1,
            )
            for intensity in TOLD_MM_H
        ),
        Column("valid_from", texts("rain.calibration.from"), show=since, nowrap=True),
        Column("source", texts("rain.calibration.source")),
        Column("version", texts("rain.calibration.version"), show=version),
    ]
    label, none = texts("rain.calibrations"), texts("rain.calibration.none")
    shown = table(texts, columns, rows_of(published), label=label, now=board.now, none=none)
    return Content(shown, stale=published.stale)
