"""Plots of rain: bars that hang from the top, the running sum below, missing time hatched.

The same numbers (`analysis.hyetograph`) as an interactive plotly figure and as a matplotlib figure
for paper. Units stand on every axis. Colours are told apart by colour-blind people too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from workspace_lib.clock import from_us, to_us
from workspace_lib.rain.analysis import (
    Hyetograph,
    Ints,
    TipSeries,
    hyetograph,
    pleasant_bin_s,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from plotly.graph_objects import Figure as PlotlyFigure

Language = Literal["en", "fr"]

RAIN: Final = "#0072B2"
CUMULATIVE: Final = "#D55E00"
MISSING: Final = "#999999"
#: Bars take the upper part of a panel, the running sum has the rest to itself.
_HEADROOM: Final = 2.2
_TEXTS: Final[dict[str, dict[str, str]]] = {
    "en": {
        "rain": "Rain",
        "cumulative": "Cumulative",
        "missing": "Missing",
        "per": "per",
        "time": "Time",
        "tips": "tips",
    },
    "fr": {
        "rain": "Pluie",
        "cumulative": "Cumul",
        "missing": "Manquant",
        "per": "par",
        "time": "Heure",
        "tips": "basculements",
    },
}


def hyetograph_figure(
    series: Sequence[TipSeries],
    t_from: datetime,
    t_to: datetime,
    *,
    bin_s: float | None = None,
    zone: tzinfo | None = None,
    language: Language = "en",
) -> PlotlyFigure:
    """Return an interactive figure with one panel per gauge.

    Parameters
    ----------
    series : sequence of TipSeries
        The gauges, one panel each.
    t_from, t_to : datetime
        The span (from, to].
    bin_s : float, optional
        Width of a bar [s]; one that suits the span otherwise.
    zone : tzinfo, optional
        Zone of the time axis; UTC otherwise.
    language : {'en', 'fr'}
        Language of the texts.
    """
    from plotly.subplots import make_subplots

    width_s, zone, texts = _width(t_from, t_to, bin_s), zone or t_from.tzinfo, _TEXTS[language]
    count = max(len(series), 1)
    figure = make_subplots(
        rows=count,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=min(0.08, 0.3 / count),
        subplot_titles=[one.name for one in series],
        specs=[[{"secondary_y": True}]] * count,
    )
    for row, one in enumerate(series, start=1):
        data = hyetograph(one, to_us(t_from), to_us(t_to), width_s)
        depth_title, sum_title = _titles(data, width_s, texts)
        middles, edges = _times(_middles(data), zone), _times(data.edges_us, zone)
        common: dict[str, Any] = {"showlegend": row == 1}
        figure.add_bar(
            x=middles,
            y=data.depth,
            width=width_s * 1000,
            name=texts["rain"],
            legendgroup="rain",
            marker={"color": RAIN, "line": {"width": 0}},
            hovertemplate=f"%{{x}}<br>%{{y:.1f}} {_unit(data, texts)}<extra></extra>",
            row=row,
            col=1,
            **common,
        )
        figure.add_scatter(
            x=edges,
            y=data.cumulative,
            mode="lines",
            name=texts["cumulative"],
            legendgroup="cumulative",
            line={"color": CUMULATIVE, "width": 2},
            hovertemplate=f"%{{x}}<br>%{{y:.1f}} {_unit(data, texts)}<extra></extra>",
            row=row,
            col=1,
            secondary_y=True,
            **common,
        )
        top = _top(data.cumulative)
        x, y = _boxes(data, zone, top)
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            line={"width": 0, "color": MISSING},
            fill="toself",
            fillpattern={"shape": "/", "fgcolor": MISSING, "bgcolor": "rgba(0,0,0,0)", "size": 6},
            name=texts["missing"],
            legendgroup="missing",
            hoverinfo="skip",
            row=row,
            col=1,
            secondary_y=True,
            **common,
        )
        figure.update_yaxes(
            title_text=depth_title,
            range=[_top(data.depth) * _HEADROOM, 0],
            row=row,
            col=1,
            secondary_y=False,
        )
        figure.update_yaxes(
            title_text=sum_title,
            range=[0, top],
            tickmode="auto",
            showgrid=False,
            row=row,
            col=1,
            secondary_y=True,
        )
    figure.update_xaxes(range=[*_times(np.array([to_us(t_from), to_us(t_to)]), zone)])
    figure.update_xaxes(title_text=_time_title(texts, zone), row=count, col=1)
    figure.update_layout(
        height=120 + 220 * count,
        bargap=0,
        template="plotly_white",
        margin={"l": 70, "r": 70, "t": 50, "b": 50},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "xanchor": "left"},
    )
    return figure


def hyetograph_print(
    series: Sequence[TipSeries],
    t_from: datetime,
    t_to: datetime,
    *,
    bin_s: float | None = None,
    zone: tzinfo | None = None,
    language: Language = "en",
) -> Figure:
    """Return the figure of `hyetograph_figure` for paper, by matplotlib (no pyplot, no window)."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
    from matplotlib.figure import Figure

    width_s, zone, texts = _width(t_from, t_to, bin_s), zone or t_from.tzinfo, _TEXTS[language]
    count = max(len(series), 1)
    figure = Figure(figsize=(9.0, 0.8 + 2.2 * count), layout="constrained")
    panels = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    for panel, one in zip(panels, series, strict=False):
        data = hyetograph(one, to_us(t_from), to_us(t_to), width_s)
        depth_title, sum_title = _titles(data, width_s, texts)
        edges = date2num(_times(data.edges_us, zone))  # type: ignore[no-untyped-call]
        bars = panel.stairs(np.nan_to_num(data.depth), edges, fill=True, color=RAIN)
        panel.set_ylim(_top(data.depth) * _HEADROOM, 0)
        panel.set_ylabel(depth_title)
        panel.set_title(one.name, loc="left", fontsize="medium")
        below = panel.twinx()
        (line,) = below.plot(edges, data.cumulative, color=CUMULATIVE, linewidth=1.5)
        below.set_ylim(0, _top(data.cumulative))
        below.set_ylabel(sum_title)
        spans = [
            below.axvspan(
                *_times(np.array(gap), zone), facecolor="none", edgecolor=MISSING, hatch="///", lw=0
            )
            for gap in data.gaps
        ]
        if panel is panels[0]:
            shown = [(bars, texts["rain"]), (line, texts["cumulative"])]
            shown += [(spans[0], texts["missing"])] if spans else []
            handles, labels = zip(*shown, strict=True)
            panel.legend(handles, labels, loc="center left", fontsize="small")
        panel.set_xlim(*_times(np.array([to_us(t_from), to_us(t_to)]), zone))
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    panels[-1].xaxis.set_major_locator(locator)
    panels[-1].xaxis.set_major_formatter(
        ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
    )
    panels[-1].set_xlabel(_time_title(texts, zone))
    return figure


def _width(t_from: datetime, t_to: datetime, bin_s: float | None) -> float:
    return bin_s or pleasant_bin_s((t_to - t_from).total_seconds())


def _times(instants_us: Ints, zone: tzinfo | None) -> list[datetime]:
    """Return wall times in ``zone``, without it: both libraries would show UTC otherwise."""
    return [from_us(int(us)).astimezone(zone).replace(tzinfo=None) for us in instants_us]


def _middles(data: Hyetograph) -> Ints:
    middles: Ints = (data.edges_us[:-1] + data.edges_us[1:]) // 2
    return middles


def _boxes(
    data: Hyetograph, zone: tzinfo | None, top: float
) -> tuple[list[datetime | None], list[float | None]]:
    """Return the outlines of the gaps, one after the other, as a filled line wants them."""
    x: list[datetime | None] = []
    y: list[float | None] = []
    for gap in data.gaps:
        start, end = _times(np.array(gap), zone)
        x += [start, start, end, end, start, None]
        y += [0.0, top, top, 0.0, 0.0, None]
    return x, y


def _top(values: Any) -> float:
    """Return a round number a little above all values, and above zero."""
    largest = float(np.nanmax(values, initial=0.0))
    if largest <= 0:
        return 1.0
    step = 10.0 ** np.floor(np.log10(largest))
    return float(np.ceil(largest * 1.05 / step * 4) / 4 * step)


def _unit(data: Hyetograph, texts: dict[str, str]) -> str:
    return texts["tips"] if data.unit == "tips" else data.unit


def _titles(data: Hyetograph, width_s: float, texts: dict[str, str]) -> tuple[str, str]:
    unit = _unit(data, texts)
    width = _duration(width_s)
    return f"{texts['rain']} [{unit} {texts['per']} {width}]", f"{texts['cumulative']} [{unit}]"


def _duration(seconds: float) -> str:
    for size, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds / size:g} {name}"
    return f"{seconds:g} s"


def _time_title(texts: dict[str, str], zone: tzinfo | None) -> str:
    return f"{texts['time']} [{zone}]"
