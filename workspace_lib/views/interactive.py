"""The interactive form of a chart over time: a plotly figure in our own template."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from workspace_lib.clock import from_us
from workspace_lib.views.charts import Row, Series, TimeChart, decimate, nice_ticks
from workspace_lib.views.drawing import (
    FIRST_HEAD_PX,
    FOOT_PX,
    HEAD_PX,
    LINE_PX,
    chart_height,
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
_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Arial, sans-serif'


def figure_data(chart: TimeChart, texts: Texts) -> dict[str, Any]:
    """Return data and layout as plain values; a colour is ``var(--ws-NAME)``.

    The page's script fills the colours in when it draws, so that the chart follows light and dark.
    ``narrow`` is what a phone changes in the layout.
    """
    height = chart_height(chart)
    plot = height - FIRST_HEAD_PX - FOOT_PX
    layout: dict[str, Any] = {
        "height": height,
        "margin": {
            "l": left_margin(chart),
            "r": right_margin(chart, 1120),
            "t": FIRST_HEAD_PX,
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
        "xaxis": {
            "type": "date",
            "range": [_wall(texts, chart.t_from), _wall(texts, chart.t_to)],
            "gridcolor": "var(--ws-line)",
            "linecolor": "var(--ws-strong)",
            "tickcolor": "var(--ws-strong)",
            "ticks": "outside",
            "ticklen": 4,
            "showline": True,
            "anchor": f"y{len(chart.rows)}" if len(chart.rows) > 1 else "y",
            "hoverformat": "%-d %b %Y %H:%M",
            "tickformatstops": [
                {"dtickrange": [None, 60_000], "value": "%H:%M:%S"},
                {"dtickrange": [60_000, 43_200_000], "value": "%-d %b %H:%M"},
                {"dtickrange": [43_200_000, "M1"], "value": "%-d %b"},
                {"dtickrange": ["M1", None], "value": "%b %Y"},
            ],
            "ticklabelmode": "instant",
            "tickangle": 0,
            "nticks": 10,
        },
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
    return {"data": data, "layout": layout, "narrow": _narrow(chart)}


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
        ticks = nice_ticks(low, high, 4)
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
            "x": _walls(texts, times),
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
        return {"type": "scatter", "mode": "lines", "line": {"color": colour, "width": 2}}
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
                "base": [_wall(texts, from_us(first)) for first, _ in span.spans],
                "x": [(last - first) / 1000 for first, last in span.spans],
                "name": _plain(span.name),
                "marker": {"color": f"var(--ws-s{span.colour})", "line": {"width": 0}},
            }
        )
    return traces


def _wall(texts: Texts, moment: datetime) -> str:
    """Return local wall time: plotly knows no zones."""
    return texts.local(moment).strftime("%Y-%m-%d %H:%M:%S")


def _walls(texts: Texts, times: npt.NDArray[np.int64]) -> Sequence[str]:
    return [_wall(texts, from_us(int(moment))) for moment in times]


def _plain(name: str) -> str:
    """Return a name that plotly shows as it is: it reads a few HTML elements in texts."""
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("%{", "% {")
