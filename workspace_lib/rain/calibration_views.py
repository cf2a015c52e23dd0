"""Calibrations as people look at them: what is in force as a table, and how much it corrects.

The curve shows the correction [%] over the measured intensity [mm/h], whatever unit a record is in,
so that gauges can be compared; as an interactive plotly figure and as a matplotlib one for paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from workspace_lib.clock import to_us
from workspace_lib.rain.analysis import Floats
from workspace_lib.rain.calibration import Calibration
from workspace_lib.rain.in_force import NOMINAL, UNCALIBRATED, GaugeCalibrations
from workspace_lib.rain.settings import Gauge

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from plotly.graph_objects import Figure as PlotlyFigure

Language = Literal["en", "fr"]

#: Intensities at which the table tells the correction [mm/h]: steady rain, and a downpour.
TOLD_MM_H: Final = (20, 100)
#: Up to which measured intensity curves are drawn [mm/h]; harder rain lasts seconds.
HARDEST_MM_H: Final = 300.0
#: Names in a label before the others are only counted.
_NAMED: Final = 3
#: Colours that colour-blind people tell apart (Okabe and Ito).
_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_TEXTS: Final[dict[str, dict[str, str]]] = {
    "en": {
        "intensity": "Measured intensity [mm/h]",
        "correction": "Correction [%]",
        "beyond": "beyond the domain",
        "more": "and {count} more",
    },
    "fr": {
        "intensity": "Intensité mesurée [mm/h]",
        "correction": "Correction [%]",
        "beyond": "hors du domaine",
        "more": "et {count} autres",
    },
}


def correction_column(intensity_mm_h: int) -> str:
    """Return the name of the column of the correction at an intensity."""
    return f"correction_{intensity_mm_h}_mm_h"


#: Units of the columns of `calibrations_frame`, for `publish`.
CALIBRATIONS_UNITS: Final = {
    "mm_per_tip": "mm",
    **{correction_column(intensity): "%" for intensity in TOLD_MM_H},
}


@dataclass(frozen=True)
class Curve:
    """The correction [%] of gauges that share it, over the measured intensity [mm/h].

    ``within`` is NaN beyond the domain of the calibration, ``beyond`` within it.
    """

    names: tuple[str, ...]
    intensity_mm_h: Floats
    within: Floats
    beyond: Floats

    def label(self, texts: Mapping[str, str]) -> str:
        """Return the names of its gauges; of many, the first ones."""
        named = ", ".join(self.names[:_NAMED])
        more = len(self.names) - _NAMED
        return f"{named} {texts['more'].format(count=more)}" if more > 0 else named


def calibrations_frame(
    network: Sequence[Gauge], calibrations: Mapping[str, GaugeCalibrations], at: datetime
) -> pd.DataFrame:
    """Return what is in force for rows stamped ``at``, one row per gauge.

    Columns: gauge, name, kind (``nominal`` or ``uncalibrated`` without a record), formula, x (unit
    of x and y), mm_per_tip [mm], domain, beyond, valid_from, valid_to, version, source, and the
    correction at each measured intensity of ``TOLD_MM_H`` (correction_20_mm_h, …) [%], empty
    without a record.
    """
    import pandas as pd

    told = [correction_column(intensity) for intensity in TOLD_MM_H]
    rows = []
    for gauge in network:
        mine = calibrations[gauge.id]
        record = mine.at(to_us(at))
        row: dict[str, Any] = {"gauge": gauge.id, "name": gauge.name}
        if record is None:
            kind = UNCALIBRATED if mine.nominal_mm is None else NOMINAL
            row |= {"kind": kind, "mm_per_tip": mine.nominal_mm, "version": mine.fallback}
        else:
            row |= {
                "kind": record.kind,
                "formula": record.formula,
                "x": record.unit,
                "mm_per_tip": record.mm_per_tip,
                "domain": " – ".join(f"{end:g}" for end in record.domain or ()),
                "beyond": record.beyond,
                "valid_from": record.valid_from,
                "valid_to": record.valid_to,
                "version": record.version,
                "source": str(record.origin),
            }
            factors, _ = record.factor(np.array(TOLD_MM_H, dtype=float))
            row |= dict(zip(told, (factors - 1.0) * 100.0, strict=True))
        rows.append(row)
    texts = ["gauge", "name", "kind", "formula", "x", "domain", "beyond", "version", "source"]
    columns = [*texts[:5], "mm_per_tip", *texts[5:7], "valid_from", "valid_to", *texts[7:], *told]
    frame = pd.DataFrame(rows, columns=columns)
    frame[texts] = frame[texts].astype(object).where(frame[texts].notna(), "")
    for name in ("mm_per_tip", *told):
        frame[name] = frame[name].astype(float)
    for name in ("valid_from", "valid_to"):
        frame[name] = pd.to_datetime(frame[name], utc=True)
    return frame


def correction_curves(
    network: Sequence[Gauge], calibrations: Mapping[str, GaugeCalibrations], at: datetime
) -> list[Curve]:
    """Return the corrections in force at ``at``; gauges with equal ones share a curve."""
    shared: dict[Any, tuple[Calibration, list[str]]] = {}
    for gauge in network:
        record = calibrations[gauge.id].at(to_us(at))
        if record is not None:
            same = {"gauge", "valid_from", "valid_to", "certificate", "dated", "operator"}
            told = {key: value for key, value in record.content().items() if key not in same}
            shared.setdefault(repr(told), (record, []))[1].append(gauge.name)
    intensity = np.linspace(1.0, HARDEST_MM_H, 300)
    curves = []
    for record, names in shared.values():
        factor, beyond = record.factor(intensity)
        percent = (factor - 1.0) * 100.0
        within = np.where(beyond, np.nan, percent)
        curves.append(Curve(tuple(names), intensity, within, np.where(beyond, percent, np.nan)))
    return curves


def correction_figure(curves: Sequence[Curve], *, language: Language = "en") -> PlotlyFigure:
    """Return the corrections as an interactive figure."""
    from plotly.graph_objects import Figure

    texts = _TEXTS[language]
    figure = Figure()
    for number, curve in enumerate(curves):
        colour = _COLOURS[number % len(_COLOURS)]
        parts = ((curve.within, "solid", curve.label(texts)), (curve.beyond, "dot", None))
        for percent, dash, label in parts:
            if np.isnan(percent).all() and label is None:
                continue
            figure.add_scatter(
                x=curve.intensity_mm_h,
                y=percent,
                mode="lines",
                line={"color": colour, "dash": dash, "width": 2},
                name=label or f"{curve.label(texts)}, {texts['beyond']}",
                hovertemplate="%{x:.0f} mm/h<br>%{y:+.1f} %<extra></extra>",
            )
    figure.update_xaxes(title_text=texts["intensity"], rangemode="tozero")
    figure.update_yaxes(title_text=texts["correction"])
    figure.update_layout(
        height=340,
        template="plotly_white",
        showlegend=True,
        margin={"l": 70, "r": 30, "t": 50, "b": 50},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "xanchor": "left"},
    )
    return figure


def correction_print(curves: Sequence[Curve], *, language: Language = "en") -> Figure:
    """Return the figure of `correction_figure` for paper, by matplotlib (no pyplot, no window)."""
    from matplotlib.figure import Figure

    texts = _TEXTS[language]
    figure = Figure(figsize=(7.0, 3.5), layout="constrained")
    axes = figure.subplots()
    for number, curve in enumerate(curves):
        colour = _COLOURS[number % len(_COLOURS)]
        axes.plot(curve.intensity_mm_h, curve.within, color=colour, label=curve.label(texts))
        if not np.isnan(curve.beyond).all():
            label = f"{curve.label(texts)}, {texts['beyond']}"
            axes.plot(curve.intensity_mm_h, curve.beyond, color=colour, ls=":", label=label)
    axes.set_xlabel(texts["intensity"])
    axes.set_ylabel(texts["correction"])
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    if curves:
        axes.legend(fontsize="small")
    return figure
