"""Frames and plots: the same numbers as the analysis, units on every axis, missing shown."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from workspace_lib.clock import to_us
from workspace_lib.rain import frames, plots
from workspace_lib.rain.analysis import US, WINDOWS_S, Coverage, TipSeries, coverage_of
from workspace_lib.rain.settings import Network
from workspace_lib.store.engines import Store

START = datetime(2026, 11, 1, tzinfo=UTC)
END = START + timedelta(days=4)
MIN = 60 * US


@pytest.fixture
def series() -> dict[str, TipSeries]:
    """Four days with a gap of six hours: a gauge with a known depth of a tip, one without."""
    begin = to_us(START)
    minutes = np.setdiff1d(np.arange(1, 4 * 1440 + 1), np.arange(2000, 2360))
    wet = np.array([100, 101, 1500, 4 * 1440 - 3, 4 * 1440])
    tips = np.array([1, 5, 2, 3, 4])
    known = TipSeries(
        "a", "Alpha", begin + wet * MIN, tips, coverage_of(begin + minutes * MIN), 0.2
    )
    unknown = TipSeries("b", "Beta", begin + wet[:2] * MIN, tips[:2], known.coverage, None)
    return {"a": known, "b": unknown}


def test_sums_have_a_row_per_gauge_and_window(series: dict[str, TipSeries]) -> None:
    frame = frames.sums(series, END)
    assert len(frame) == 2 * len(WINDOWS_S)
    first = frame[frame["gauge"] == "a"].set_index("window")
    assert first.loc["P5min", "tips"] == 7
    assert first.loc["P5min", "rain_mm"] == pytest.approx(1.4)
    assert first.loc["P72h", "tips"] == 9
    assert first.loc["P72h", "missing_share"] == pytest.approx(360 / (72 * 60))
    second = frames.sums(series, START + timedelta(hours=2)).set_index(["gauge", "window"]).loc["b"]
    assert np.isnan(second.loc["P30min", "rain_mm"])
    assert second.loc["P30min", "uncalibrated_tips"] == 6
    assert second.loc["P5min", "rain_mm"] == 0


def test_wide_sums_have_a_column_per_window_in_order(series: dict[str, TipSeries]) -> None:
    wide = frames.wide_sums(frames.sums(series, END))
    assert list(wide.columns) == list(WINDOWS_S)
    assert list(wide.index) == ["Alpha", "Beta"]
    assert wide.loc["Alpha", "P5min"] == pytest.approx(1.4)


def test_totals_say_what_is_missing(series: dict[str, TipSeries]) -> None:
    frame = frames.totals(series, START, END).set_index("gauge")
    assert frame.loc["a", "tips"] == 15
    assert frame.loc["a", "rain_mm"] == pytest.approx(3.0)
    assert frame.loc["a", "missing_share"] == pytest.approx(360 / (4 * 1440))


def test_months_are_clipped_to_the_span_and_say_what_is_missing(
    series: dict[str, TipSeries],
) -> None:
    paris = ZoneInfo("Europe/Paris")
    begin = datetime(2026, 10, 31, tzinfo=paris)
    frame = frames.monthly({"a": series["a"]}, begin, END, paris)
    assert frame["month"].tolist() == ["2026-10", "2026-11"]
    assert frame["tips"].tolist() == [0, 15]
    assert frame["rain_mm"].tolist() == [0.0, 3.0]
    # In Paris November began an hour before the rows do.
    assert frame["missing_share"].tolist() == [1.0, pytest.approx((360 + 60) / (4 * 1440 + 60))]


def test_the_cumulative_curve_begins_anew_each_year(series: dict[str, TipSeries]) -> None:
    utc = ZoneInfo("UTC")
    shifted = {"a": moved(series["a"], timedelta(days=59))}  # now from 30 December on
    begin = datetime(2026, 12, 30, tzinfo=UTC)
    frame = frames.cumulative(shifted, begin, begin + timedelta(days=4), utc)
    assert frame["year"].tolist() == [2026, 2026, 2027, 2027]
    assert frame["tips"].tolist() == [6, 8, 0, 7]
    assert frame["rain_mm"].tolist() == [1.2, 1.6, 0.0, 1.4]
    assert frame["missing_share"].tolist() == [0.0, 360 / 2880, 0.0, 0.0]
    assert frame["at"].iloc[-1] == begin + timedelta(days=4)


def test_a_curve_is_unknown_from_the_first_tip_without_a_depth_on(
    series: dict[str, TipSeries],
) -> None:
    depths = np.array([0.2, 1.0, np.nan, 0.6, 0.8])
    one = {"a": replace(series["a"], rain_mm=depths)}
    frame = frames.cumulative(one, START, END, ZoneInfo("UTC"))
    assert np.array_equal(frame["rain_mm"], [1.2, np.nan, np.nan, np.nan], equal_nan=True)
    assert frame["uncalibrated_tips"].tolist() == [0, 2, 2, 2]


def test_maxima_name_their_instant_by_year_and_window(series: dict[str, TipSeries]) -> None:
    frame = frames.maxima(series, START - timedelta(days=365), END, ZoneInfo("UTC"))
    assert len(frame) == 2 * 2 * len(WINDOWS_S)
    assert set(frames.MAXIMA_UNITS) <= set(frame.columns)
    rows = frame.set_index(["gauge", "year", "window"])
    assert rows.loc[("a", 2026, "P5min"), "tips"] == 7
    assert rows.loc[("a", 2026, "P5min"), "rain_mm"] == 1.4
    assert rows.loc[("a", 2026, "P5min"), "rain_at"] == END
    assert rows.loc[("a", 2026, "P72h"), "tips"] == 9
    assert rows.loc[("a", 2026, "P72h"), "window_missing_share"] == pytest.approx(360 / 4320)
    assert rows.loc[("a", 2025, "P5min"), "rain_mm"] == 0.0
    assert pd.isna(rows.loc[("a", 2025, "P5min"), "rain_at"])
    assert rows.loc[("a", 2025, "P5min"), "missing_share"] == 1.0


def test_maxima_without_a_depth_are_counts_alone(series: dict[str, TipSeries]) -> None:
    row = frames.maxima(series, START, END, ZoneInfo("UTC")).set_index("gauge").loc["b"].iloc[0]
    assert (row["tips"], row["uncalibrated_tips"]) == (6, 6)
    assert np.isnan(row["rain_mm"])


def moved(one: TipSeries, by: timedelta) -> TipSeries:
    """The same rain at another time."""
    shift = by // timedelta(microseconds=1)
    covered = Coverage(one.coverage.start_us + shift, one.coverage.end_us + shift)
    return replace(one, t_us=one.t_us + shift, coverage=covered)


def test_the_state_of_gauges_with_and_without_rows(
    store: Store, network: Network, store_rows: Any
) -> None:
    store_rows(store, "hydropolis", [to_us(START)], 0)
    frame = frames.gauges(store, network.gauges, START + timedelta(minutes=42))
    first, second = frame.to_dict("records")
    assert (first["age_min"], first["last"]) == (42.0, pd.Timestamp(START))
    assert np.isnan(first["battery_v"])
    assert pd.isna(second["last"])
    assert np.isnan(second["age_min"])
    assert set(frames.GAUGES_UNITS) <= set(frame.columns)


def test_completeness_has_a_row_per_gauge_and_day(store: Store, network: Network) -> None:
    frame = frames.completeness(store, network.gauges, 3, END, ZoneInfo("UTC"))
    assert len(frame) == 6
    assert (frame["share"] == 0.0).all()
    assert sorted(set(frame["day"])) == ["2026-11-03", "2026-11-04", "2026-11-05"]


def axes(figure: Any) -> dict[str, Any]:
    layout = figure.to_dict()["layout"]
    return {name: axis for name, axis in layout.items() if "axis" in name}


def test_bars_hang_from_the_top_and_every_axis_has_its_unit(series: dict[str, TipSeries]) -> None:
    figure = plots.hyetograph_figure([*series.values()], START, END, bin_s=3600)
    titles = {name: axis.get("title", {}).get("text") for name, axis in axes(figure).items()}
    assert titles["yaxis"] == "Rain [mm per 1 h]"
    assert titles["yaxis2"] == "Cumulative [mm]"
    assert titles["yaxis3"] == "Rain [tips per 1 h]"
    assert titles["xaxis2"] == "Time [UTC]"
    high, low = axes(figure)["yaxis"]["range"]
    assert high > 1.2
    assert low == 0


def test_the_figure_holds_the_numbers_of_the_analysis(series: dict[str, TipSeries]) -> None:
    figure = plots.hyetograph_figure([series["a"]], START, END, bin_s=3600)
    bars, line, gaps = figure.data
    assert np.nansum(bars.y) == pytest.approx(3.0)
    assert line.y[-1] == pytest.approx(3.0)
    start, end = datetime(2026, 11, 2, 9, 19), datetime(2026, 11, 2, 15, 19)
    assert list(gaps.x) == [start, start, end, end, start, None]
    assert gaps.fillpattern.shape == "/"


def test_texts_are_french_where_the_site_is_and_times_are_local(
    series: dict[str, TipSeries],
) -> None:
    paris = ZoneInfo("Europe/Paris")
    figure = plots.hyetograph_figure([series["b"]], START, END, zone=paris, language="fr")
    titles = [axis.get("title", {}).get("text") for axis in axes(figure).values()]
    assert "Pluie [basculements par 30 min]" in titles
    assert "Heure [Europe/Paris]" in titles
    assert figure.data[1].x[0] == datetime(2026, 11, 1, 1)


def test_a_dry_or_empty_network_is_drawn_too() -> None:
    nothing = TipSeries(
        "a", "A", np.zeros(0, np.int64), np.zeros(0, np.int64), coverage_of(np.zeros(0, np.int64))
    )
    assert plots.hyetograph_figure([nothing], START, END).to_json()
    assert plots.hyetograph_figure([], START, END).to_json()
    plots.hyetograph_print([nothing], START, END).savefig(io.BytesIO())
    plots.hyetograph_print([], START, END).savefig(io.BytesIO())


def test_the_printed_figure_shows_the_same(series: dict[str, TipSeries]) -> None:
    figure = plots.hyetograph_print([*series.values()], START, END, bin_s=3600)
    rain, _, total, _ = figure.axes
    assert rain.get_ylabel() == "Rain [mm per 1 h]"
    assert total.get_ylabel() == "Cumulative [mm]"
    assert figure.axes[1].get_xlabel() == "Time [UTC]"
    bottom, top = rain.get_ylim()
    assert bottom > top == 0
    assert total.lines[0].get_ydata()[-1] == pytest.approx(3.0)
    (gap,) = [patch for patch in total.patches if patch.get_hatch()]
    assert gap.get_width() == pytest.approx(0.25)


def test_equal_rain_makes_equal_pictures(series: dict[str, TipSeries]) -> None:
    pictures = [io.BytesIO(), io.BytesIO()]
    for picture in pictures:
        plots.hyetograph_print([*series.values()], START, END).savefig(picture, format="png")
    assert pictures[0].getvalue() == pictures[1].getvalue()
