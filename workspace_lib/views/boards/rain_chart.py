"""The chart of rain: a hanging hyetograph with its running sum, and when each gauge measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from workspace_lib.clock import to_us
from workspace_lib.rain import queries
from workspace_lib.rain.analysis import Hyetograph, TipSeries, hyetograph
from workspace_lib.rain.settings import load_network
from workspace_lib.views.blocks import empty, how_computed, when
from workspace_lib.views.board import Board, Content
from workspace_lib.views.boards.rain import TOTALS, window_name
from workspace_lib.views.charts import Row, Series, Spans, TimeChart
from workspace_lib.views.html import Html, join, tag
from workspace_lib.views.ranges import range_picker
from workspace_lib.views.texts import Texts

#: A chart has at most so many bars of one gauge, and so many gauges.
MOST_BARS, MOST_GAUGES = 130, 6
BINS_S = (300, 900, 1800, 3600, 10_800, 21_600, 86_400)


def chart(board: Board, *, days: int) -> Content:
    """Return bars that hang from the top, running sums, and when each gauge measured."""
    texts = board.texts
    published = board.published(TOTALS)
    until = published.as_of
    since = until - timedelta(days=days)
    gauges = load_network(board.settings).gauges
    series = queries.calibrated(board.store, gauges, since, until)
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


def bin_width_s(span_s: float) -> int:
    """Return the narrowest width of a bar that a phone can still show [s]."""
    return next((width for width in BINS_S if span_s / width <= MOST_BARS), BINS_S[-1])


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


def _with_gaps(rain: Hyetograph) -> NDArray[np.float64]:
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
    return sorted(series.values(), key=lambda one: -int(one.row_pm.sum()))[:most]


def _how(board: Board, series: Sequence[TipSeries], bin_s: int) -> Html:
    texts = board.texts
    published = board.published(TOTALS)
    versions = sorted({version for one in series for version in one.calibration})
    said = texts("rain.how.calibrated", versions=", ".join(versions) or "–")
    return how_computed(
        texts,
        {
            texts("rain.how.formula"): said,
            texts("rain.how.bars"): texts("rain.how.bar", width=texts.duration(bin_s)),
            texts("rain.how.tips"): texts.number(sum(int(one.tips.sum()) for one in series)),
            texts("rain.how.until"): when(texts, published.as_of, board.now),
            texts("as_of.run"): tag("code", published.run_id),
        },
    )
