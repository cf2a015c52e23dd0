"""A chart's drawing and its interactive form show the same numbers, gaps stay gaps."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from workspace_lib.clock import to_us
from workspace_lib.views.charts import (
    Event,
    Row,
    Series,
    Spans,
    TimeChart,
    decimate,
    from_datetimes,
    midnights,
    nice_ticks,
    tick_digits,
    time_ticks,
)
from workspace_lib.views.drawing import apart, spread
from workspace_lib.views.texts import Texts

START = datetime(2026, 11, 10, 23, tzinfo=UTC)
HOUR = 3_600_000_000


def hours(count: int) -> np.ndarray:
    return to_us(START) + np.arange(count, dtype=np.int64) * HOUR


@pytest.fixture
def make_chart() -> Callable[..., TimeChart]:
    def make(name: str = "Mse", values: list[float] | None = None) -> TimeChart:
        numbers = np.array([0.0, 2.5, np.nan, 4.0] if values is None else values)
        times = hours(len(numbers))
        bars = Series(name, times, numbers, "bar", 1, 3600)
        line = Series(name, times, np.nancumsum(numbers), "line", 2)
        spans = Spans(name, [(int(times[0]), int(times[1]))], 1)
        rows = (
            Row("Rain", "mm", [bars], inverted=True),
            Row("Sum", "mm", [line], labels=True),
            Row("Measured", spans=[spans], height=40),
        )
        return TimeChart("rain", "Rain of Mse", START, START + timedelta(hours=4), rows)

    return make


def drawings(chart: TimeChart, texts: Texts) -> list[ElementTree.Element]:
    return [
        ElementTree.fromstring(found)
        for found in re.findall(r"<svg class=\"ws-draw.*?</svg>", chart.to_html(texts).to_html())
    ]


def test_there_is_a_drawing_for_each_width(
    make_chart: Callable[..., TimeChart], texts: Texts
) -> None:
    widths = [svg.attrib["viewBox"].split()[2] for svg in drawings(make_chart(), texts)]
    assert widths == ["1120", "740", "400"]


def test_every_axis_has_its_unit(make_chart: Callable[..., TimeChart], texts: Texts) -> None:
    written = [element.text for element in drawings(make_chart(), texts)[0].iter("text")]
    assert "Rain [mm]" in written
    assert "Sum [mm]" in written


def test_numbers_on_the_axis_are_written_in_the_language(
    make_chart: Callable[..., TimeChart], french: Texts
) -> None:
    chart = make_chart(values=[0.0, 0.4])
    written = [element.text for element in drawings(chart, french)[0].iter("text")]
    assert "0,2" in written
    assert "11 nov." in written


def test_a_hostile_name_stays_a_name(make_chart: Callable[..., TimeChart], texts: Texts) -> None:
    hostile = '</script><script>alert(1)</script>&"%{x}<b>'
    html = make_chart(hostile).to_html(texts).to_html()
    assert html.count("<script") == 1
    assert "<b>" not in html
    data = json.loads(re.search(r'class="ws-figure">(.*?)</script>', html)[1])  # type: ignore[index]
    assert "<b>" not in json.dumps(data)


def test_a_gap_breaks_the_line_and_is_null_for_plotly(texts: Texts) -> None:
    values = np.array([1.0, 2.0, np.nan, 3.0])
    line = Series("Mse", hours(4), values, "line")
    chart = TimeChart("x", "x", START, START + timedelta(hours=4), (Row("v", "V", [line]),))
    path = next(p for p in drawings(chart, texts)[0].iter("path") if p.get("stroke-width") == "2")
    assert path.attrib["d"].count("M") == 2
    assert chart.figure_data(texts)["data"][0]["y"] == [1.0, 2.0, None, 3.0]


def test_bars_hang_from_the_top_where_the_row_is_inverted(
    make_chart: Callable[..., TimeChart], texts: Texts
) -> None:
    axis = make_chart().figure_data(texts)["layout"]["yaxis"]
    assert axis["range"][0] > axis["range"][1] == 0


def test_times_are_those_of_the_sites_clocks(
    make_chart: Callable[..., TimeChart], texts: Texts
) -> None:
    data = make_chart().figure_data(texts)["data"]
    assert data[0]["x"][0] == "2026-11-11 00:00:00"


def test_plotly_takes_the_figure(make_chart: Callable[..., TimeChart], texts: Texts) -> None:
    figure = make_chart().figure(texts)
    assert [trace.type for trace in figure.data] == ["bar", "scatter", "bar", "bar"]
    assert "var(" not in figure.to_json()


def test_a_chart_can_become_a_widget(make_chart: Callable[..., TimeChart], texts: Texts) -> None:
    assert len(make_chart().widget(texts).data) == 4


def test_missing_time_is_hatched(make_chart: Callable[..., TimeChart], texts: Texts) -> None:
    traces = make_chart().figure_data(texts)["data"]
    assert [t["name"] for t in traces if t.get("marker", {}).get("pattern")] == ["no data"]
    fills = [rect.get("fill", "") for rect in drawings(make_chart(), texts)[0].iter("rect")]
    assert any(fill.startswith("url(#hatch-rain") for fill in fills)


def test_a_chart_without_values_is_drawn_all_the_same(texts: Texts) -> None:
    nothing = Series("Mse", hours(3), np.full(3, np.nan), "line")
    row = Row("v", "V", [nothing], labels=True)
    chart = TimeChart("x", "x", START, START + timedelta(hours=4), (row,))
    assert chart.to_html(texts)
    assert chart.figure(texts)


@given(
    arrays(np.float64, st.integers(1, 5000), elements=st.floats(-1e6, 1e6) | st.just(np.nan)),
    st.integers(8, 400),
)
def test_decimation_keeps_extremes_ends_and_gaps(values: np.ndarray, most: int) -> None:
    times = np.arange(len(values), dtype=np.int64)
    kept_times, kept = decimate(times, values, most)
    assert len(kept) <= max(most, 4) + 4 or len(values) <= most
    assert (kept_times[0], kept_times[-1]) == (times[0], times[-1])
    assert np.all(np.diff(kept_times) > 0)
    assert np.array_equal(values[kept_times], kept, equal_nan=True)
    if not np.isnan(values).all():
        assert np.nanmax(kept) == np.nanmax(values)
        assert np.nanmin(kept) == np.nanmin(values)
    assert np.isnan(kept).any() == np.isnan(values).any()


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_ticks_are_round_few_and_embrace_the_values(low: float, span: float) -> None:
    ticks = nice_ticks(low, low + span, 4)
    rounding = 1e-6 * (abs(low) + span)
    assert ticks[0] <= low + rounding
    assert ticks[-1] >= low + span - rounding
    assert 2 <= len(ticks) <= 8


def test_ticks_are_written_apart() -> None:
    assert tick_digits([0.0, 0.25, 0.5]) == 2
    assert tick_digits([0.0, 20.0]) == 0


@pytest.mark.parametrize(
    ("span", "labels"),
    [
        (timedelta(hours=6), ["11 Nov", "00:30", "01:00"]),
        (timedelta(hours=30), ["11 Nov", "03:00", "06:00"]),
        (timedelta(days=10), ["11 Nov", "12 Nov", "13 Nov"]),
        (timedelta(days=365), ["Jan 2027", "Apr", "Jul"]),
    ],
)
def test_time_ticks_are_few_and_fall_on_whole_steps(
    texts: Texts, span: timedelta, labels: list[str]
) -> None:
    ticks = time_ticks(START, START + span, texts, 12 if span < timedelta(days=100) else 5)
    assert [label for _, label, _ in ticks[:3]] == labels
    assert len(ticks) <= 13


def test_days_begin_at_local_midnight_also_where_the_clock_changes() -> None:
    texts = Texts("en", ZoneInfo("Europe/Paris"))
    found = midnights(datetime(2026, 10, 23, tzinfo=UTC), datetime(2026, 10, 28, tzinfo=UTC), texts)
    assert [day.strftime("%d %H:%M %z") for day in found] == [
        "24 00:00 +0200",
        "25 00:00 +0200",
        "26 00:00 +0100",
        "27 00:00 +0100",
        "28 00:00 +0100",
    ]


@given(st.lists(st.floats(0, 170), max_size=6))
def test_labels_do_not_lie_on_each_other(places: list[float]) -> None:
    moved = sorted(spread(places, 15, 0, 170))
    assert all(b - a >= 15 - 1e-6 for a, b in pairwise(moved))


def test_instants_become_microseconds() -> None:
    assert from_datetimes([START]).tolist() == [to_us(START)]


def event_chart(*names: str) -> TimeChart:
    """Half a second about an event: a wave, a bit, and marks 10 ms apart."""
    base = to_us(START)
    times = base + np.arange(-200, 300, dtype=np.int64) * 1000
    wave = Series("IA", times, 100.0 * np.sin(np.arange(500) / 3), colour=1, stroke=1.5)
    marks = [Event(name, base + n * 10_000, strong=n == 0) for n, name in enumerate(names)]
    rows = (
        Row("Currents", "A", [wave], tight=True, labels=True),
        Row("Bits", spans=[Spans("TRIP", [(base, base + 50_000)], 9)], height=20, hatched=False),
    )
    ends = START - timedelta(milliseconds=200), START + timedelta(milliseconds=299)
    return TimeChart("event", "An event", *ends, rows, zero=START, events=tuple(marks))


def test_a_chart_of_an_event_counts_milliseconds_from_it(texts: Texts) -> None:
    chart = event_chart("trigger")
    [wide, *_] = drawings(chart, texts)
    said = [element.text for element in wide.iter() if element.tag.endswith("text")]
    assert {"−100\u00a0ms", "0\u00a0ms", "200\u00a0ms"} <= set(said)
    data = chart.figure_data(texts)
    assert data["layout"]["xaxis"]["type"] == "linear"
    assert data["layout"]["xaxis"]["range"] == [-200.0, 299.0]
    assert data["data"][0]["x"][:2] == [-200.0, -199.0]
    [span] = [trace for trace in data["data"] if trace["type"] == "bar"]
    assert (span["base"], span["x"]) == ([0.0], [50.0])


def test_events_are_lines_through_all_rows_with_their_names(texts: Texts) -> None:
    chart = event_chart("trigger", "trip <10>", "open")
    markup = chart.to_html(texts).to_html()
    assert "trip <10>" not in markup
    [wide, *_] = drawings(chart, texts)
    lines = [one for one in wide.iter() if (one.get("class") or "").startswith("ws-event")]
    assert [one.get("class") for one in lines] == ["ws-event is-strong", "ws-event", "ws-event"]
    layout = chart.figure_data(texts)["layout"]
    assert [shape["x0"] for shape in layout["shapes"]] == [0.0, 10.0, 20.0]
    assert {"trigger", "open"} <= {note["text"] for note in layout["annotations"]}


def test_an_axis_that_is_tight_ends_just_beyond_its_values() -> None:
    low, high = event_chart().ranges[0]
    assert (low, high) == pytest.approx((-110.0, 110.0), rel=0.01)


def test_names_of_events_stand_apart_or_are_left_out() -> None:
    assert apart([50.0, 52.0], [40.0, 40.0], 0.0, 200.0) == [50.0, 100.0]
    assert apart([150.0, 199.0], [40.0, 40.0], 0.0, 200.0) == [130.0, 180.0]
    assert apart([10.0, 20.0, 30.0], [60.0, 60.0, 60.0], 0.0, 140.0) == [30.0, 100.0, None]
