"""The board of rain: sums, a hanging hyetograph with its running sum, silent gauges, completeness.

Numbers are those the job ``rain_sums`` has published; the chart is drawn from the same rows, up to
the same instant, by the same functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from workspace_lib.clock import to_us
from workspace_lib.rain import queries
from workspace_lib.rain.analysis import US, Hyetograph, TipSeries, bin_sums, hyetograph
from workspace_lib.rain.settings import Gauge, load_network
from workspace_lib.views.blocks import (
    age,
    badge,
    card,
    empty,
    how_computed,
    legend,
    notice,
    notices,
    when,
)
from workspace_lib.views.blocks import cards as card_row
from workspace_lib.views.board import Board, Content, rows_of
from workspace_lib.views.charts import Row, Series, Spans, TimeChart
from workspace_lib.views.html import Html, join, tag
from workspace_lib.views.marks import Mark, heat_strip, sparkline, strip_row, strips
from workspace_lib.views.ranges import range_picker
from workspace_lib.views.tables import Column, table
from workspace_lib.views.texts import Texts
from workspace_lib.views.tiles import Tile

SUMS, TOTALS, GAUGES, COMPLETENESS = (
    "rain.sums",
    "rain.totals",
    "rain.gauges",
    "rain.completeness",
)
#: A gauge whose newest row is older than this is silent, where its job says no other limit [s].
SILENT_S = 1800.0
#: A chart has at most so many bars of one gauge, and so many gauges.
MOST_BARS, MOST_GAUGES = 130, 6
BINS_S = (300, 900, 1800, 3600, 10_800, 21_600, 86_400)
#: Less of a day than this is shown as partly measured [1].
WHOLE = 0.99


def tile(board: Board) -> Tile | None:
    """Return rain's tile of the overview: the wettest gauge of the last day, silent gauges."""
    texts, published = board.texts, board.published(SUMS)
    sums = [row for row in rows_of(published) if row["window"] == "P24h"]
    known = [row for row in sums if row["rain_mm"] is not None and row["missing_share"] < 1]
    wettest = max(known, key=lambda row: float(row["rain_mm"]), default=None)
    gauges, silent_ones = rows_of(board.published(GAUGES)), _silent(board)
    if not gauges:
        return None
    if silent_ones:
        said = texts("overview.silent", count=len(silent_ones), total=len(gauges))
    else:
        said = texts("overview.all_gauges", total=len(gauges))
    state = "bad" if len(silent_ones) == len(gauges) else "attention" if silent_ones else "good"
    return Tile(
        "rain",
        "stale" if published.stale else state,
        texts.number(wettest["rain_mm"], 1) if wettest else "–",
        unit="mm",
        note=f"{texts('rain.last_24h')} · {_wettest_note(texts, wettest)} · {said}"
        if wettest
        else said,
        as_of=published.as_of,
        spark=sparkline(
            _steps(board, wettest["gauge"], published.as_of, 24, 3600) if wettest else [],
            bars=True,
            label=texts("rain.per_hour"),
        ),
    )


def silent(board: Board) -> Html:
    """Return one sentence for each gauge that has been silent for too long."""
    texts, now = board.texts, board.now
    sentences = []
    for name, last in _silent(board):
        if last is None:
            sentences.append(notice("attention", texts("rain.never", gauge=name)))
            continue
        gone = texts.duration((now - last).total_seconds())
        moment = texts.moment(last, now=now)
        said = texts("rain.silent", gauge=name, age=gone, moment=moment)
        sentences.append(notice("attention", said))
    return notices(sentences)


def cards(board: Board, *, days: int) -> Html:
    """Return the wettest gauge, of all days and of the last, and how complete the data are."""
    texts, now = board.texts, board.now
    published = board.published(TOTALS)
    totals = [row for row in rows_of(published) if row["rain_mm"] is not None]
    sums = [row for row in rows_of(board.published(SUMS)) if row["window"] == "P24h"]
    sums = [row for row in sums if row["rain_mm"] is not None]
    gauges = rows_of(board.published(GAUGES))
    limit_s = board.published(GAUGES).fresh_for_s or SILENT_S
    fresh = [r for r in gauges if r["last"] and (now - r["last"]).total_seconds() <= limit_s]
    wettest = max(totals, key=lambda row: float(row["rain_mm"]), default=None)
    day = max(sums, key=lambda row: float(row["rain_mm"]), default=None)
    missing = [float(row["missing_share"]) for row in totals]
    measured = 1 - sum(missing) / len(missing) if missing else None
    until = published.as_of
    per_day = _steps(board, wettest["gauge"], until, days, 86_400) if wettest else []
    per_hour = _steps(board, day["gauge"], until, 24, 3600) if day else []
    measured_state = "unknown" if measured is None else "good" if measured >= WHOLE else "partial"
    all_fresh = len(fresh) == len(gauges)
    return card_row(
        card(
            texts("rain.total", days=days),
            texts.number(wettest["rain_mm"], 1) if wettest else "–",
            unit="mm",
            note=_wettest_note(texts, wettest),
            spark=sparkline(per_day, bars=True, label=texts("rain.per_day")),
            stale=published.stale,
        ),
        card(
            texts("rain.last_24h"),
            texts.number(day["rain_mm"], 1) if day else "–",
            unit="mm",
            note=_wettest_note(texts, day),
            spark=sparkline(per_hour, bars=True, label=texts("rain.per_hour")),
            stale=published.stale,
        ),
        card(
            texts("rain.gauges"),
            f"{texts.number(len(fresh))} / {texts.number(len(gauges))}",
            note=texts("rain.gauges.note", limit=texts.duration(limit_s)),
            state=badge(texts, "good" if all_fresh else "attention"),
        ),
        card(
            texts("rain.coverage"),
            texts.percent(measured),
            note=texts("rain.coverage.note", days=days),
            state=badge(texts, measured_state),
        ),
    )


def chart(board: Board, *, days: int) -> Content:
    """Return bars that hang from the top, running sums, and when each gauge measured."""
    texts = board.texts
    published = board.published(TOTALS)
    until = published.as_of
    since = until - timedelta(days=days)
    gauges = load_network(board.settings).gauges
    series = queries.tips(board.store, gauges, since, until)
    if not any(len(one.t_us) or len(one.coverage.start_us) for one in series.values()):
        return Content(empty(texts, texts("rain.none")))
    bin_s = bin_width_s(days * 86_400)
    shown = _wettest(series, MOST_GAUGES)
    drawn = [(one, hyetograph(one, to_us(since), to_us(until), bin_s)) for one in shown]
    rows = [
        *_rain_rows(texts, [(o, h) for o, h in drawn if h.unit == "mm"], "mm", bin_s),
        *_rain_rows(texts, [(o, h) for o, h in drawn if h.unit != "mm"], "tips", bin_s),
    ]
    spans = [Spans(one.name, _intervals(one), colour) for colour, one in enumerate(shown, start=1)]
    rows.append(Row(texts("rain.coverage"), spans=spans, height=22 * len(spans)))
    figure = TimeChart("rain", texts("rain.chart"), since, until, tuple(rows))
    left_out = len(series) - len(shown)
    note = texts("rain.shown", shown=len(shown), total=len(series)) if left_out else None
    picker = range_picker(texts, since, until)
    body = join(
        [picker, figure.to_html(texts), tag("p", note, class_="ws-muted") if note else None]
    )
    return Content(body, how=_how(board, list(series.values()), bin_s), stale=published.stale)


def sums(board: Board) -> Content:
    """Return the sums of all windows that end at the newest row, one line per gauge."""
    texts, published = board.texts, board.published(SUMS)
    by_gauge: dict[str, dict[str, Any]] = {}
    windows: dict[str, float] = {}
    for row in rows_of(published):
        line = by_gauge.setdefault(row["gauge"], {"name": row["name"]})
        windows[row["window"]] = row["window_s"]
        # What nobody measured has no value: it is neither sorted nor exported as zero.
        line[row["window"]] = row["rain_mm"] if row["missing_share"] < 1 else None
        line[f"{row['window']}.missing"] = row["missing_share"]
    columns = [
        Column("name", texts("rain.gauge")),
        *(
            Column(name, window_name(name), None, 1, show=_sum_cell(texts, name))
            for name in sorted(windows, key=lambda name: windows[name])
        ),
    ]
    label = texts("rain.sums")
    none = texts("rain.none")
    shown = table(texts, columns, list(by_gauge.values()), label=label, now=board.now, none=none)
    incomplete = any(
        (value or 0) > 1 - WHOLE
        for line in by_gauge.values()
        for key, value in line.items()
        if key.endswith(".missing")
    )
    note = tag("p", texts("rain.sums.missing"), class_="ws-muted") if incomplete else None
    return Content(join([shown, note]), stale=published.stale)


def status(board: Board) -> Content:
    """Return each gauge with its newest data, its battery, and what could not be used of it."""
    texts, now, published = board.texts, board.now, board.published(GAUGES)
    limit_s = published.fresh_for_s or SILENT_S

    def state(row: Mapping[str, Any]) -> Html:
        if row["last"] is None:
            return badge(texts, "unknown", texts("rain.no_data"))
        late = (now - row["last"]).total_seconds() > limit_s
        return badge(texts, "stale", texts("rain.is_silent")) if late else badge(texts, "good")

    def last(row: Mapping[str, Any]) -> Html | str:
        if row["last"] is None:
            return "–"
        since = tag("small", age(texts, row["last"], now))
        return join([when(texts, row["last"], now), " ", since])

    columns = [
        Column("name", texts("rain.gauge")),
        Column("state", texts("runs.state"), show=state, sortable=False),
        Column("last", texts("rain.last"), show=last),
        Column("battery_v", texts("rain.battery"), "V", 1),
        Column("conflicts", texts("rain.conflicts"), digits=0),
        Column("set_aside", texts("rain.set_aside"), digits=0),
        Column("bad_lines", texts("rain.bad_lines"), digits=0),
    ]
    label, none = texts("rain.status"), texts("rain.none")
    shown = table(texts, columns, rows_of(published), label=label, now=now, none=none)
    return Content(shown, stale=published.stale)


def completeness(board: Board) -> Content:
    """Return for each gauge and day whether it measured all, some or nothing of it."""
    texts, published = board.texts, board.published(COMPLETENESS)
    by_gauge: dict[str, list[tuple[str, float]]] = {}
    for row in rows_of(published):
        by_gauge.setdefault(row["name"], []).append((str(row["day"]), float(row["share"])))
    if not by_gauge:
        return Content(empty(texts, texts("rain.none")))
    length = max(len(days) for days in by_gauge.values())
    rows = []
    for name, days in by_gauge.items():
        marks = []
        for day, share in sorted(days):
            moment = datetime.fromisoformat(day).replace(hour=12, tzinfo=board.settings.zone)
            says = f"{texts.date(moment, year=False)} · {texts.percent(share)}"
            marks.append(Mark("measured", says, share=share))
        mean = sum(share for _, share in days) / len(days)
        strip = heat_strip(marks, length=length)
        rows.append(strip_row(name, None, strip, texts.percent(mean), None))
    words = [("ws-measured", texts("rain.coverage")), ("ws-missed", texts("rain.missing"))]
    return Content(join([strips(rows), legend(words)]), stale=published.stale)


def bin_width_s(span_s: float) -> int:
    """Return the narrowest width of a bar that a phone can still show [s]."""
    return next((width for width in BINS_S if span_s / width <= MOST_BARS), BINS_S[-1])


def window_name(window: str) -> str:
    """Return a window as people read it: ``P5min`` is ``5 min``.

    Examples
    --------
    >>> window_name("P72h")
    '72 h'
    """
    digits = "".join(mark for mark in window if mark.isdigit())
    unit = window[1 + len(digits) :]
    return f"{digits}\u00a0{unit}"


def _silent(board: Board) -> list[tuple[str, datetime | None]]:
    """Return name and newest row of each gauge without data for too long."""
    published = board.published(GAUGES)
    limit_s = published.fresh_for_s or SILENT_S
    return [
        (row["name"], row["last"])
        for row in rows_of(published)
        if row["last"] is None or (board.now - row["last"]).total_seconds() > limit_s
    ]


def _wettest_note(texts: Texts, row: Mapping[str, Any] | None) -> str | None:
    if row is None:
        return None
    return texts("rain.wettest", gauge=row["name"]) if row["rain_mm"] else texts("rain.dry")


def _sum_cell(texts: Texts, window: str) -> Any:
    def cell(row: Mapping[str, Any]) -> Html:
        value, missing = row.get(window), row.get(f"{window}.missing") or 0.0
        if missing >= 1:
            return tag("span", texts("rain.not_measured"), class_="ws-muted")
        shown = texts.number(value, 1)
        if missing <= 1 - WHOLE:
            return tag("span", shown)
        left = tag("small", f" ({texts.percent(1 - missing, 0)})")
        return join([shown, left])

    return cell


def _rain_rows(
    texts: Texts, drawn: Sequence[tuple[TipSeries, Hyetograph]], unit: str, bin_s: int
) -> list[Row]:
    if not drawn:
        return []
    bars, lines = [], []
    for colour, (one, rain) in enumerate(drawn, start=1):
        starts = rain.edges_us[:-1]
        bars.append(Series(one.name, starts, rain.depth, "bar", colour, bin_s))
        lines.append(Series(one.name, rain.edges_us, _with_gaps(rain), "line", colour))
    width = window_name(f"P{bin_s // 60}min" if bin_s < 3600 else f"P{bin_s // 3600}h")
    unit = texts("rain.tips") if unit == "tips" else unit
    return [
        Row(texts("rain.intensity", width=width), unit, bars, height=120, inverted=True),
        Row(texts("rain.cumulative"), unit, lines, height=170, labels=True),
    ]


def _with_gaps(rain: Hyetograph) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the running sum, broken where a whole bin is missing: it is not known there."""
    values = rain.cumulative.copy()
    missing = np.isnan(rain.depth)
    values[1:][missing] = np.nan
    return values


def _intervals(one: TipSeries) -> list[tuple[int, int]]:
    pairs = zip(one.coverage.start_us, one.coverage.end_us, strict=True)
    return [(int(start), int(end)) for start, end in pairs]


def _wettest(series: Mapping[str, TipSeries], most: int) -> list[TipSeries]:
    if len(series) <= most:
        return list(series.values())
    return sorted(series.values(), key=lambda one: -float(one.depth(int(one.tips.sum()))))[:most]


def _steps(
    board: Board, gauge_id: str, until: datetime, count: int, step_s: int
) -> list[float | None]:
    """Return the rain of the last steps of a gauge, None where none of a step was measured."""
    since = until - timedelta(seconds=count * step_s)
    gauges: list[Gauge] = [g for g in load_network(board.settings).gauges if g.id == gauge_id]
    values: list[float | None] = []
    for one in queries.tips(board.store, gauges, since, until).values():
        edges = to_us(since) + np.arange(count + 1, dtype=np.int64) * step_s * US
        depths = one.depth(bin_sums(one.t_us, one.tips, edges))
        missing = one.coverage.missing_share(edges[:-1], edges[1:])
        values += [
            None if share >= 1 else float(depth)
            for depth, share in zip(depths, missing, strict=True)
        ]
    return values


def _how(board: Board, series: Sequence[TipSeries], bin_s: int) -> Html:
    texts = board.texts
    published = board.published(TOTALS)
    depths = sorted({one.mm_per_tip for one in series if one.mm_per_tip is not None})
    per_tip = ", ".join(f"{texts.number(depth, 2)} mm" for depth in depths) or "–"
    return how_computed(
        texts,
        {
            texts("rain.how.formula"): texts("rain.raw_note", depth=per_tip),
            texts("rain.how.bars"): texts("rain.how.bar", width=texts.duration(bin_s)),
            texts("rain.how.tips"): texts.number(sum(int(one.tips.sum()) for one in series)),
            texts("rain.how.until"): when(texts, published.as_of, board.now),
            texts("as_of.run"): tag("code", published.run_id),
        },
    )
