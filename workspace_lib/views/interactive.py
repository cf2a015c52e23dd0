"""The interactive form of a chart over time: a plotly figure in our own template."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from workspace_lib.clock import from_us, to_us
from workspace_lib.views.charts import (
    Event,
    Row,
    Series,
    TimeChart,
    decimate,
    milliseconds,
    nice_ticks,
)
from workspace_lib.views.drawing import (
    FOOT_PX,
    HEAD_PX,
    LETTER_PX,
    LINE_PX,
    apart,
    chart_height,
    head_heights,
    left_margin,
    right_margin,
    spread,
)
from workspace_lib.views.texts import Texts
from workspace_lib.views.theme import LIGHT

if TYPE_CHECKING:
    from plotly.graph_objects import Figure, FigureWidget

_COLOUR = re.compile(r"var\(--ws-([\w-]+)\)")
#: Name of the annotations that a phone has no room for.
LABEL = "label"
#: Width of the page for which names above the rows are placed [px].
_WIDE_PX = 1120
_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Arial, sans-serif'


def figure_data(chart: TimeChart, texts: Texts) -> dict[str, Any]:
    """Return data and layout as plain values; a colour is ``var(--ws-NAME)``.

    The page's script fills the colours in when it draws, so that the chart follows light and dark.
    ``narrow`` is what a phone changes in the layout.
    """
    height = chart_height(chart)
    head = head_heights(chart)[0]
    plot = height - head - FOOT_PX
    layout: dict[str, Any] = {
        "height": height,
        "margin": {
            "l": left_margin(chart),
            "r": right_margin(chart, 1120),
            "t": head,
            "b": FOOT_PX,
        },
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": _FONT, "size": 12, "color": "var(--ws-muted)"},
        "showlegend": False,
        "hovermode": "x unified",
        "hoversubplots": "axis",
        "hoverlabel": {
            "bgcolor": "var(--ws-surface)",
            "bordercolor": "var(--ws-strong)",
            "font": {"color": "var(--ws-text)", "family": _FONT},
        },
        "dragmode": "zoom",
        "barmode": "overlay",
        "annotations": [],
        "separators": ",\u202f" if texts.language == "fr" else ".,",
        "xaxis": _time_axis(chart, texts),
    }
    data: list[dict[str, Any]] = []
    top = 0.0
    for number, (row, (low, high)) in enumerate(
        zip(chart.rows, chart.ranges, strict=True), start=1
    ):
        axis = f"y{number}" if number > 1 else "y"
        start = 1 - top / plot
        end = 1 - (top + row.height) / plot
        name = f"yaxis{number}" if number > 1 else "yaxis"
        layout[name] = _axis(row, low, high, max(0.0, end), min(1.0, start))
        layout["annotations"].append(_title(row, min(1.0, start), left_margin(chart)))
        data += _traces(chart, texts, row, axis)
        if row.labels:
            layout["annotations"] += _labels(row, low, high, start, plot)
        top += row.height + HEAD_PX
    layout["shapes"] = [_event_line(chart, texts, event) for event in chart.events]
    layout["annotations"] += _event_names(chart, texts)
    return {"data": data, "layout": layout, "narrow": _narrow(chart)}


def _time_axis(chart: TimeChart, texts: Texts) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "gridcolor": "var(--ws-line)",
        "linecolor": "var(--ws-strong)",
        "tickcolor": "var(--ws-strong)",
        "ticks": "outside",
        "ticklen": 4,
        "showline": True,
        "anchor": f"y{len(chart.rows)}" if len(chart.rows) > 1 else "y",
        "tickangle": 0,
        "nticks": 10,
        "range": [_x(chart, texts, to_us(one)) for one in (chart.t_from, chart.t_to)],
    }
    if chart.zero is not None:
        return axis | {
            "type": "linear",
            "zeroline": False,
            "ticksuffix": " ms",
            "hoverformat": ".1f",
        }
    return axis | {
        "type": "date",
        "hoverformat": "%-d %b %Y %H:%M",
        "tickformatstops": [
            {"dtickrange": [None, 60_000], "value": "%H:%M:%S"},
            {"dtickrange": [60_000, 43_200_000], "value": "%-d %b %H:%M"},
            {"dtickrange": [43_200_000, "M1"], "value": "%-d %b"},
            {"dtickrange": ["M1", None], "value": "%b %Y"},
        ],
        "ticklabelmode": "instant",
    }


def _event_line(chart: TimeChart, texts: Texts, event: Event) -> dict[str, Any]:
    x = _x(chart, texts, event.at)
    return {
        "type": "line",
        "xref": "x",
        "yref": "paper",
        "x0": x,
        "x1": x,
        "y0": 0,
        "y1": 1,
        "line": {
            "color": "var(--ws-bad)" if event.strong else "var(--ws-muted)",
            "width": 1,
            "dash": "solid" if event.strong else "dot",
        },
    }


def _event_names(chart: TimeChart, texts: Texts) -> list[dict[str, Any]]:
    """Return the names of events above the rows, apart from each other on a wide page."""
    events = sorted(chart.events, key=lambda event: event.at)
    first, last = (milliseconds(chart, to_us(one)) for one in (chart.t_from, chart.t_to))
    left, right = left_margin(chart), _WIDE_PX - right_margin(chart, _WIDE_PX)
    scale = (right - left) / max(last - first, 1e-9)
    dots = [left + (milliseconds(chart, event.at) - first) * scale for event in events]
    widths = [len(event.name) * LETTER_PX for event in events]
    middles = apart(dots, widths, left, _WIDE_PX - 4.0)
    return [
        {
            "name": LABEL,
            "text": _plain(event.name),
            "xref": "x",
            "yref": "paper",
            "x": _x(chart, texts, event.at),
            "y": 1,
            "ax": middle - dot,
            "ay": -32,
            "yanchor": "bottom",
            "arrowcolor": "var(--ws-muted)",
            "arrowwidth": 1,
            "arrowhead": 0,
            "font": {"color": "var(--ws-muted)", "size": 12},
        }
        for event, dot, middle in zip(events, dots, middles, strict=True)
        if middle is not None
    ]


def _narrow(chart: TimeChart) -> dict[str, Any]:
    """Return what a phone changes in the layout, by the path of each key."""
    return {"margin.r": right_margin(chart, 400), "xaxis.nticks": 4, "dragmode": False}


def figure(chart: TimeChart, texts: Texts) -> Figure:
    """Return a plotly figure with the light colours filled in."""
    from plotly.graph_objects import Figure as PlotlyFigure

    filled = _filled(figure_data(chart, texts))
    return PlotlyFigure(data=filled["data"], layout=filled["layout"])


def widget(chart: TimeChart, texts: Texts) -> FigureWidget:
    """Return the figure as a widget, for pages whose data change while they are open."""
    from plotly.graph_objects import FigureWidget as PlotlyWidget

    filled = _filled(figure_data(chart, texts))
    return PlotlyWidget(data=filled["data"], layout=filled["layout"])


def _filled(node: Any) -> Any:
    if isinstance(node, str):
        return _COLOUR.sub(lambda match: LIGHT[match[1]], node)
    if isinstance(node, list):
        return [_filled(item) for item in node]
    if isinstance(node, dict):
        return {key: _filled(value) for key, value in node.items()}
    return node


def _axis(row: Row, low: float, high: float, bottom: float, top: float) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "domain": [bottom, top],
        "gridcolor": "var(--ws-line)",
        "zeroline": False,
        "fixedrange": True,
    }
    if row.spans:
        names = [span.name for span in row.spans]
        axis |= {
            "tickmode": "array",
            "tickvals": list(range(len(names))),
            "ticktext": [_plain(name) for name in names],
            "range": [len(names) - 0.5, -0.5],
            "showgrid": False,
        }
    else:
        ticks = [one for one in nice_ticks(low, high, 4) if low <= one <= high]
        axis |= {
            "range": [high, low] if row.inverted else [low, high],
            "tickmode": "array",
            "tickvals": ticks,
        }
    return axis


def _title(row: Row, top: float, left: float) -> dict[str, Any]:
    title = f"{row.title} [{row.unit}]" if row.unit else row.title
    return {
        "text": _plain(title),
        "xref": "paper",
        "yref": "paper",
        "x": 0,
        "y": top,
        "xanchor": "left",
        "yanchor": "bottom",
        "xshift": -left,
        "yshift": 6,
        "showarrow": False,
        "font": {"color": "var(--ws-muted)", "size": 12},
    }


def _labels(row: Row, low: float, high: float, start: float, plot: float) -> list[dict[str, Any]]:
    ends = [
        (series, float(series.values[~np.isnan(series.values)][-1]))
        for series in row.series
        if not np.isnan(series.values).all()
    ]

    def pixel(value: float) -> float:
        share = (value - low) / (high - low)
        return row.height * (share if row.inverted else 1 - share)

    places = spread([pixel(value) for _, value in ends], LINE_PX, 4, row.height)
    # In the coordinates of the paper: one tied to a value at the edge would not be shown.
    return [
        {
            "name": LABEL,
            # The stroke has the line's colour; a name in it could be too pale to read.
            "text": f'<span style="color:var(--ws-s{series.colour})">━</span> '
            + _plain(series.name),
            "xref": "paper",
            "yref": "paper",
            "x": 1,
            "y": start - place / plot,
            "xanchor": "left",
            "yanchor": "middle",
            "xshift": 4,
            "showarrow": False,
            "font": {"color": "var(--ws-muted)", "size": 12},
        }
        for (series, _), place in zip(ends, places, strict=True)
    ]


def _traces(chart: TimeChart, texts: Texts, row: Row, axis: str) -> list[dict[str, Any]]:
    if row.spans:
        return _span_traces(chart, texts, row, axis)
    bars = [series for series in row.series if series.kind == "bar"]
    traces = []
    for number, series in enumerate(row.series):
        times, values = series.times, series.values
        if series.kind == "line":
            times, values = decimate(times, values)
        hover = f"%{{y:.{row.digits}f}} {_plain(row.unit)}<extra>{_plain(series.name)}</extra>"
        trace: dict[str, Any] = {
            "x": [_x(chart, texts, int(moment)) for moment in times],
            "y": [None if np.isnan(v) else round(float(v), 6) for v in values],
            "name": _plain(series.name),
            "xaxis": "x",
            "yaxis": axis,
            "hovertemplate": hover,
        }
        traces.append(trace | _look(series, number, len(bars)))
    return traces


def _look(series: Series, number: int, count: int) -> dict[str, Any]:
    colour = f"var(--ws-s{series.colour})"
    if series.kind == "line":
        return {
            "type": "scatter",
            "mode": "lines",
            "line": {"color": colour, "width": series.stroke},
        }
    width_ms = series.width_s * 1000
    return {
        "type": "bar",
        "marker": {"color": colour, "line": {"width": 0}},
        "width": width_ms * 0.92 / count,
        "offset": width_ms * (0.04 + 0.92 / count * number),
    }


def _span_traces(chart: TimeChart, texts: Texts, row: Row, axis: str) -> list[dict[str, Any]]:
    traces: list[dict[str, Any]] = []
    common = {
        "type": "bar",
        "orientation": "h",
        "xaxis": "x",
        "yaxis": axis,
        "width": 0.55,
        "hoverinfo": "skip",
    }
    for number, span in enumerate(row.spans):
        start, end = chart.t_from, chart.t_to
        if row.hatched:
            traces.append(
                common
                | {
                    "y": [number],
                    "base": [_wall(texts, start)],
                    "x": [(end - start).total_seconds() * 1000],
                    "name": texts("chart.missing"),
                    "marker": {
                        "color": "rgba(0,0,0,0)",
                        "line": {"width": 0},
                        "pattern": {"shape": "/", "fgcolor": "var(--ws-strong)", "size": 5},
                    },
                }
            )
        if not span.spans:
            continue
        traces.append(
            common
            | {
                "y": [number] * len(span.spans),
                "base": [_x(chart, texts, first) for first, _ in span.spans],
                "x": [(last - first) / 1000 for first, last in span.spans],
                "name": _plain(span.name),
                "marker": {"color": f"var(--ws-s{span.colour})", "line": {"width": 0}},
            }
        )
    return traces


def _wall(texts: Texts, moment: datetime) -> str:
    """Return local wall time: plotly knows no zones."""
    return texts.local(moment).strftime("%Y-%m-%d %H:%M:%S")


def _x(chart: TimeChart, texts: Texts, t_us: int) -> str | float:
    """Return an instant [µs] as the axis has it: local wall time, or milliseconds."""
    if chart.zero is not None:
        return round(milliseconds(chart, t_us), 3)
    return _wall(texts, from_us(t_us))


def _plain(name: str) -> str:
    """Return a name that plotly shows as it is: it reads a few HTML elements in texts."""
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("%{", "% {")
