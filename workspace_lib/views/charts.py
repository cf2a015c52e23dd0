"""Charts over time: one specification, drawn at once as SVG and made interactive by plotly.

The first paint of plotly takes seconds; the drawing is there with the page, takes the page's
colours in light and dark, and prints. Both come from the same numbers and the same ranges.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from workspace_lib.clock import ensure_utc, to_us
from workspace_lib.views.blocks import legend
from workspace_lib.views.html import Html, tag
from workspace_lib.views.texts import Texts

if TYPE_CHECKING:
    from plotly.graph_objects import Figure, FigureWidget

#: Most points of one line that are sent to a browser; extremes are kept.
MAX_POINTS = 2000
Kind = Literal["line", "bar"]


@dataclass(frozen=True)
class Series:
    """One series of a row.

    ``times`` are microseconds UTC [µs], ascending; a value that is NaN is missing and stays a gap.
    For bars ``times`` are the beginnings of their intervals and ``width_s`` their length [s].
    ``stroke`` is how thick a line is [px].
    """

    name: str
    times: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    kind: Kind = "line"
    colour: int = 1
    width_s: float = 0.0
    stroke: float = 2.0


@dataclass(frozen=True)
class Spans:
    """When something was measured (or ran): intervals ``[from, to)`` [µs] on a line of its own."""

    name: str
    spans: Sequence[tuple[int, int]]
    colour: int = 1


@dataclass(frozen=True)
class Event:
    """Something that happened at an instant [µs]: a line through all rows, its name above them."""

    name: str
    at: int
    strong: bool = False


@dataclass(frozen=True)
class Row:
    """A part of the chart with its own vertical axis; all rows share the time axis.

    ``height`` is in pixels of the drawing [px]; ``inverted`` hangs its bars from the top. Time
    outside of spans is missing, unless ``hatched`` is False: then they are states that were off.
    ``tight`` ends the axis just beyond the values in place of at round numbers.
    """

    title: str
    unit: str = ""
    series: Sequence[Series] = ()
    spans: Sequence[Spans] = ()
    height: int = 160
    inverted: bool = False
    digits: int = 1
    labels: bool = False
    hatched: bool = True
    tight: bool = False


@dataclass(frozen=True)
class TimeChart:
    """A chart over time: what the reader sees from ``t_from`` to ``t_to``, in rows.

    ``zero`` makes it a chart of a short event: times are milliseconds after that instant.
    """

    name: str
    label: str
    t_from: datetime
    t_to: datetime
    rows: Sequence[Row]
    zero: datetime | None = None
    events: Sequence[Event] = ()
    ranges: Sequence[tuple[float, float]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ranges", tuple(_range(row) for row in self.rows))

    def to_html(self, texts: Texts) -> Html:
        """Return the drawing in three widths and the data that make it interactive."""
        from workspace_lib.views.drawing import draw

        sizes = (("ws-wide", 1120), ("ws-mid", 740), ("ws-narrow", 400))
        drawn = [draw(self, texts, width, name) for name, width in sizes]
        content = json.dumps(self.figure_data(texts), separators=(",", ":"), allow_nan=False)
        # "<" would end the script element when it stands in a name.
        data = Html(
            '<script type="application/json" class="ws-figure">'
            + content.replace("<", "\\u003c")
            + "</script>"
        )
        return tag(
            "figure",
            tag("div", drawn, class_="ws-drawn"),
            tag("div", class_="ws-plot"),
            self._legend(),
            data,
            class_="ws-chart",
            lang=texts.language,
            role="group",
            aria_label=self.label,
        )

    def _legend(self) -> Html | None:
        """Return the names of lines for a phone, where there is no room beside them."""
        labelled = [series for row in self.rows if row.labels for series in row.series]
        if not labelled or any(row.spans and row.hatched for row in self.rows):
            return None  # spans have names and the same colours
        names = legend((f"ws-s{series.colour}", series.name) for series in labelled)
        return tag("div", names, class_="ws-only-narrow")

    def figure_data(self, texts: Texts) -> dict[str, Any]:
        """Return the plotly figure as plain data; colours are names of the style sheet."""
        from workspace_lib.views.interactive import figure_data

        return figure_data(self, texts)

    def figure(self, texts: Texts) -> Figure:
        """Return a plotly figure with the light colours filled in, for notebooks and exports."""
        from workspace_lib.views.interactive import figure

        return figure(self, texts)

    def widget(self, texts: Texts) -> FigureWidget:
        """Return the figure as a widget that a live page's code can change."""
        from workspace_lib.views.interactive import widget

        return widget(self, texts)


def decimate(
    times: npt.NDArray[np.int64], values: npt.NDArray[np.float64], max_points: int = MAX_POINTS
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return at most about ``max_points`` points: first, lowest, highest and gap of each bucket.

    Nothing that stands out disappears, and a gap stays a gap.
    """
    if len(times) <= max_points:
        return times, values
    buckets = np.array_split(np.arange(len(times)), max(1, max_points // 4))
    keep: set[int] = {0, len(times) - 1}
    for bucket in buckets:
        part = values[bucket]
        keep.add(int(bucket[0]))
        missing = np.isnan(part)
        if missing.any():
            keep.add(int(bucket[int(np.argmax(missing))]))
        if not missing.all():
            keep.add(int(bucket[int(np.nanargmin(part))]))
            keep.add(int(bucket[int(np.nanargmax(part))]))
    chosen = np.array(sorted(keep))
    return times[chosen], values[chosen]


def nice_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round values that embrace ``low`` to ``high``, about ``most`` steps."""
    if not high > low:
        high = low + 1.0
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * power >= rough * (1 - 1e-9))
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


def tick_digits(ticks: Sequence[float]) -> int:
    """Return the decimals that tell the ticks apart."""
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    return next((d for d in range(6) if abs(round(step, d) - step) < 1e-9), 6)


def ticks_of(chart: TimeChart, texts: Texts, most: int) -> list[tuple[datetime, str, bool]]:
    """Return at most ``most`` times of a chart with their label; True marks what is set strong."""
    if chart.zero is None:
        return time_ticks(chart.t_from, chart.t_to, texts, most)
    first, last = (milliseconds(chart, to_us(one)) for one in (chart.t_from, chart.t_to))
    found = [one for one in nice_ticks(first, last, most) if first <= one <= last]
    digits = tick_digits(found)
    return [
        (chart.zero + timedelta(milliseconds=one), f"{texts.number(one, digits)}\u00a0ms", one == 0)
        for one in found
    ]


def milliseconds(chart: TimeChart, t_us: int) -> float:
    """Return an instant [µs] as milliseconds after the chart's zero [ms]."""
    return (int(t_us) - to_us(chart.zero or chart.t_from)) / 1000


def time_ticks(
    t_from: datetime, t_to: datetime, texts: Texts, most: int
) -> list[tuple[datetime, str, bool]]:
    """Return at most ``most`` local times with their label; True marks the first of a day.

    Labels are the day at midnight, otherwise the time of day. Over more than some months they are
    firsts of months, the year beside the first of them and beside January; True marks these.
    """
    hours = (t_to - t_from) / timedelta(hours=1)
    for step in (0.25, 0.5, 1, 2, 3, 6, 12):
        if hours / step <= most:
            return _hour_ticks(t_from, t_to, texts, step)
    for days in (1, 2, 3, 7, 14):
        if hours / 24 / days <= most:
            return _day_ticks(t_from, t_to, texts, days)
    for months in (1, 2, 3, 6):
        if hours / 24 / 30.4 / months <= most:
            return _month_ticks(t_from, t_to, texts, months)
    return _month_ticks(t_from, t_to, texts, 12 * max(1, math.ceil(hours / 24 / 365 / most)))


def midnights(t_from: datetime, t_to: datetime, texts: Texts, step_days: int = 1) -> list[datetime]:
    """Return the local midnights from ``t_from`` to ``t_to``."""
    day = texts.local(t_from).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    found: list[datetime] = []
    while True:
        # Adding days to an aware local time keeps its wall clock, also where a day has 23 hours.
        if ensure_utc(day) > t_to:
            return found
        if day >= t_from:
            found.append(day)
        day = day + timedelta(days=step_days)


def _day_ticks(
    t_from: datetime, t_to: datetime, texts: Texts, days: int
) -> list[tuple[datetime, str, bool]]:
    return [
        (moment, texts.date(moment, year=False), True)
        for moment in midnights(t_from, t_to, texts, days)
    ]


def _month_ticks(
    t_from: datetime, t_to: datetime, texts: Texts, step: int
) -> list[tuple[datetime, str, bool]]:
    first, last = texts.local(t_from), texts.local(t_to)
    ticks: list[tuple[datetime, str, bool]] = []
    for number in range(12 * first.year, 12 * last.year + 12, step):
        year, month = divmod(number, 12)
        wall = first.replace(
            year=year, month=month + 1, day=1, hour=0, minute=0, second=0, microsecond=0, fold=0
        )
        if t_from <= ensure_utc(wall) <= t_to:
            label, named = texts(f"month.{wall.month}"), month == 0 or not ticks
            ticks.append((wall, f"{label} {wall.year}" if named else label, named))
    return ticks


def _hour_ticks(
    t_from: datetime, t_to: datetime, texts: Texts, step_h: float
) -> list[tuple[datetime, str, bool]]:
    first = texts.local(t_from).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    ticks = []
    per_day = round(24 / step_h)
    for number in range(10_000):
        day, part = divmod(number, per_day)
        wall = first + timedelta(days=day, minutes=part * step_h * 60)
        if ensure_utc(wall) > t_to:
            break
        if wall >= t_from:
            label = texts.date(wall, year=False) if part == 0 else texts.time(wall)
            ticks.append((wall, label, part == 0))
    return ticks


def _range(row: Row) -> tuple[float, float]:
    if row.spans:
        return (-0.5, len(row.spans) - 0.5)
    parts = [s.values[~np.isnan(s.values)] for s in row.series]
    known = np.concatenate(parts) if parts else np.array([])
    if not known.size:
        return (0.0, 1.0)
    low, high = float(known.min()), float(known.max())
    if row.tight and high > low:
        room = 0.05 * (high - low)
        return (low - room, high + room)
    if any(s.kind == "bar" for s in row.series) or 0 <= low < 0.3 * high:
        low = min(0.0, low)
    # A little room, so that a line at its highest does not run along the edge.
    high = high + 0.03 * (high - low) if high > low else low + 1.0
    ticks = nice_ticks(low, high, 4)
    return (ticks[0], ticks[-1])


def from_datetimes(moments: Sequence[datetime]) -> npt.NDArray[np.int64]:
    """Return instants as the microseconds a series takes [µs]."""
    return np.array([to_us(moment) for moment in moments], dtype=np.int64)
