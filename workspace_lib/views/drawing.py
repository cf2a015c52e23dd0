"""The drawing of a chart over time as SVG, in the colours of the style sheet."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import numpy as np

from workspace_lib.clock import to_us
from workspace_lib.views.charts import (
    Row,
    Series,
    Spans,
    TimeChart,
    decimate,
    midnights,
    nice_ticks,
    tick_digits,
    ticks_of,
)
from workspace_lib.views.html import Html, tag
from workspace_lib.views.texts import Texts

FIRST_HEAD_PX = 28.0
#: Further room above the first row for the names of events, and the width of their letters.
EVENTS_PX, LETTER_PX = 22.0, 6.9
HEAD_PX = 38.0
FOOT_PX = 30.0
LINE_PX = 15.0
#: A drawing no wider has no room for names beside its lines.
NARROW_PX = 500


def draw(chart: TimeChart, texts: Texts, width: int, style: str) -> Html:
    """Return the chart as one SVG element of ``width`` pixels, scaled by the page [px]."""
    area = _Area(chart, width)
    pattern = f"hatch-{chart.name}-{style}"
    parts = [
        f'<defs><pattern id="{pattern}" width="5" height="5" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><rect width="1.6" height="5" fill="var(--ws-strong)"/>'
        "</pattern></defs>"
    ]
    parts.append(_time_grid(area, texts))
    top = 0.0
    for row, head, (low, high) in zip(chart.rows, head_heights(chart), chart.ranges, strict=True):
        top += head
        parts.append(_row(area, texts, row, low, high, top, pattern))
        top += row.height
    parts.append(_events(area))
    parts.append(_time_axis(area, texts, top))
    return Html(
        f'<svg class="ws-draw {style}" viewBox="0 0 {width} {area.height:g}" role="img" '
        f'aria-label="{tag("i", chart.label).markup[3:-4]}">{"".join(parts)}</svg>'
    )


def chart_height(chart: TimeChart) -> float:
    """Return the height of the drawing and of the interactive chart [px]."""
    return sum(row.height for row in chart.rows) + sum(head_heights(chart)) + FOOT_PX


def head_heights(chart: TimeChart) -> list[float]:
    """Return the room above each row for its title; between rows also for the last number [px]."""
    first = FIRST_HEAD_PX + (EVENTS_PX if chart.events else 0.0)
    return [first] + [HEAD_PX] * (len(chart.rows) - 1)


class _Area:
    """Where things are: margins and the scale of the time axis."""

    def __init__(self, chart: TimeChart, width: int) -> None:
        self.chart = chart
        self.width = width
        self.left = left_margin(chart)
        self.right = right_margin(chart, width)
        self.height = chart_height(chart)
        self.t0 = to_us(chart.t_from)
        self.span = max(1, to_us(chart.t_to) - self.t0)

    def x(self, t_us: float) -> float:
        share = min(1.0, max(0.0, (t_us - self.t0) / self.span))
        return self.left + share * (self.width - self.left - self.right)


def left_margin(chart: TimeChart) -> float:
    """Return the room for the numbers, or the names of spans, at the left [px]."""
    names = [len(span.name) for row in chart.rows for span in row.spans]
    return max(50.0, min(120.0, max(names, default=0) * 7.2 + 12))


def right_margin(chart: TimeChart, width: int) -> float:
    """Return the room for the names of lines at the right [px]; a phone has a legend instead."""
    names = [len(s.name) for row in chart.rows if row.labels for s in row.series]
    if width <= NARROW_PX or not names:
        return 12.0
    return max(12.0, min(150.0, max(names) * 7.6 + 26))


def spread(places: list[float], gap: float, low: float, high: float) -> list[float]:
    """Return the places, moved so that they are ``gap`` apart and not above ``high`` [px]."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + gap)
    if order and moved[order[-1]] > high:
        moved[order[-1]] = high
        for after, before in pairwise(order[::-1]):
            moved[before] = min(moved[before], moved[after] - gap)
    return [max(low, place) for place in moved]


def apart(places: list[float], widths: list[float], low: float, high: float) -> list[float | None]:
    """Return the middles of labels, moved so that none is over another [px].

    ``places`` are ascending. Where they cannot all stand between ``low`` and ``high``, the last
    ones have no place (None).
    """
    gap = 10.0
    fitting = 0
    room = high - low
    for width in widths:
        room -= width + gap
        fitting += room >= -gap
    moved = [max(place, low + w / 2) for place, w in zip(places, widths, strict=True)][:fitting]
    for n in range(1, fitting):
        moved[n] = max(moved[n], moved[n - 1] + (widths[n - 1] + widths[n]) / 2 + gap)
    edge = high
    for n in reversed(range(fitting)):
        moved[n] = min(moved[n], edge - widths[n] / 2)
        edge = moved[n] - widths[n] / 2 - gap
    return [*moved, *[None] * (len(places) - fitting)]


def _events(area: _Area) -> str:
    """Return a line through all rows for each event, its name above where there is room."""
    events = sorted(area.chart.events, key=lambda event: event.at)
    if not events:
        return ""
    dots = [area.x(event.at) for event in events]
    widths = [len(event.name) * LETTER_PX for event in events]
    middles = apart(dots, widths, area.left, area.width - 4)
    top, bottom = FIRST_HEAD_PX + EVENTS_PX, area.height - FOOT_PX
    parts = []
    for event, x, middle in zip(events, dots, middles, strict=True):
        look = "ws-event is-strong" if event.strong else "ws-event"
        lead = "" if middle is None else f"M{middle:.1f} 17L{x:.1f} {top - 6:g}"
        parts.append(f'<path class="{look}" d="{lead}M{x:.1f} {top - 6:g}V{bottom:g}"/>')
        if middle is not None:
            said = tag("text", event.name, x=f"{middle:.1f}", y=12, text_anchor="middle")
            parts.append(said.markup)
    return "".join(parts)


def _time_grid(area: _Area, texts: Texts) -> str:
    chart = area.chart
    if chart.zero is not None or chart.t_to - chart.t_from > timedelta(days=45):
        return ""
    bottom = area.height - FOOT_PX
    lines = "".join(
        f"M{area.x(to_us(day)):.1f} {FIRST_HEAD_PX:g}V{bottom:g}"
        for day in midnights(chart.t_from, chart.t_to, texts)
    )
    return f'<path class="ws-grid" d="{lines}"/>' if lines else ""


def _time_axis(area: _Area, texts: Texts, bottom: float) -> str:
    chart = area.chart
    most = max(2, int((area.width - area.left - area.right) / 78))
    parts = [f'<path class="ws-axis" d="M{area.left:g} {bottom:g}H{area.width - area.right:g}"/>']
    ticks = ticks_of(chart, texts, most)
    # Where each tick is the first of a day there is nothing to tell apart.
    plain = all(is_first for _, _, is_first in ticks)
    for moment, label, is_first in ticks:
        x = area.x(to_us(moment))
        strong = ' class="ws-strong"' if is_first and not plain else ""
        parts.append(
            f'<path class="ws-axis" d="M{x:.1f} {bottom:g}v4"/>'
            f'<text x="{x:.1f}" y="{bottom + 18:g}" text-anchor="middle"{strong}>{label}</text>'
        )
    return "".join(parts)


def _row(
    area: _Area, texts: Texts, row: Row, low: float, high: float, top: float, pattern: str
) -> str:
    title = f"{row.title} [{row.unit}]" if row.unit else row.title
    parts = [tag("text", title, x=0, y=f"{top - 12:g}").markup]
    if row.spans:
        return parts[0] + _spans(area, row, top, pattern)

    def y(value: float) -> float:
        share = (value - low) / (high - low)
        return top + row.height * (share if row.inverted else 1 - share)

    ticks = [t for t in nice_ticks(low, high, 4) if low - 1e-9 <= t <= high + 1e-9]
    digits = tick_digits(ticks)
    right = area.width - area.right
    for value in ticks:
        parts.append(
            f'<path class="ws-grid" d="M{area.left:g} {y(value):.1f}H{right:g}"/>'
            f'<text x="{area.left - 8:g}" y="{y(value) + 4:.1f}" text-anchor="end">'
            f"{texts.number(value, digits)}</text>"
        )
    bars = [s for s in row.series if s.kind == "bar"]
    for number, series in enumerate(row.series):
        if series.kind == "bar":
            parts.append(_bars(area, series, y, low, number, len(bars)))
        else:
            parts.append(_line(area, series, y))
    if row.labels and area.width > NARROW_PX:
        parts.append(_labels(area, row, y, top))
    return "".join(parts)


def _bars(area: _Area, series: Series, y: object, low: float, number: int, count: int) -> str:
    assert callable(y)
    base = y(max(0.0, low))
    width_us = series.width_s * 1e6
    room = 0.92 / count
    path = ""
    for start, value in zip(series.times, series.values, strict=True):
        if np.isnan(value) or value == 0 or start + width_us < area.t0:
            continue
        x0 = area.x(start + width_us * (0.04 + room * number))
        x1 = area.x(start + width_us * (0.04 + room * (number + 1)))
        width = max(0.8, x1 - x0 - (0.4 if count > 1 else 0))
        path += f"M{x0:.1f} {base:.1f}V{y(value):.1f}h{width:.1f}V{base:.1f}z"
    return f'<path d="{path}" fill="var(--ws-s{series.colour})"/>' if path else ""


def _line(area: _Area, series: Series, y: object) -> str:
    assert callable(y)
    times, values = decimate(series.times, series.values, 600)
    path, pen = "", "M"
    for moment, value in zip(times, values, strict=True):
        if np.isnan(value):
            pen = "M"
            continue
        path += f"{pen}{area.x(moment):.1f} {y(value):.1f}"
        pen = "L"
    return (
        f'<path d="{path}" fill="none" stroke="var(--ws-s{series.colour})" '
        f'stroke-width="{series.stroke:g}" '
        'stroke-linejoin="round"/>'
        if path
        else ""
    )


def _labels(area: _Area, row: Row, y: object, top: float) -> str:
    assert callable(y)
    ends = [
        (series, float(series.values[~np.isnan(series.values)][-1]))
        for series in row.series
        if not np.isnan(series.values).all()
    ]
    places = spread([y(value) for _, value in ends], LINE_PX, top + 4, top + row.height)
    x = area.width - area.right + 8
    parts = []
    for (series, _), place in zip(ends, places, strict=True):
        parts.append(
            f'<path d="M{x - 6:g} {place:.1f}h8" stroke="var(--ws-s{series.colour})" '
            f'stroke-width="3"/>'
            + tag("text", series.name, x=f"{x + 6:g}", y=f"{place + 4:.1f}").markup
        )
    return "".join(parts)


def _spans(area: _Area, row: Row, top: float, pattern: str) -> str:
    room = row.height / max(1, len(row.spans))
    thick = min(12.0, room - 6)
    return "".join(
        _span(area, span, top + room * (number + 0.5), thick, pattern if row.hatched else None)
        for number, span in enumerate(row.spans)
    )


def _span(area: _Area, span: Spans, middle: float, thick: float, pattern: str | None) -> str:
    right = area.width - area.right
    y = middle - thick / 2
    off = f'<path class="ws-grid" d="M{area.left:g} {middle:.1f}H{right:g}"/>'
    if pattern is not None:
        off = (
            f'<rect x="{area.left:g}" y="{y:.1f}" width="{right - area.left:g}" '
            f'height="{thick:g}" fill="url(#{pattern})"/>'
        )
    parts = [
        off,
        tag(
            "text", span.name, x=f"{area.left - 8:g}", y=f"{middle + 4:.1f}", text_anchor="end"
        ).markup,
    ]
    for start, end in span.spans:
        x0, x1 = area.x(start), area.x(end)
        if x1 > area.left and x0 < right:
            parts.append(
                f'<rect x="{x0:.1f}" y="{y:.1f}" width="{max(1.0, x1 - x0):.1f}" '
                f'height="{thick:g}" fill="var(--ws-s{span.colour})"/>'
            )
    return "".join(parts)
