"""Where the batteries of the loggers are going."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from workspace_lib.clock import to_us
from workspace_lib.rain import frames
from workspace_lib.rain.batteries import DailyLows, daily_lows, trend
from workspace_lib.rain.days import merge_rows, new_rows
from workspace_lib.rain.settings import Gauge
from workspace_lib.store.engines import Store, write

START = datetime(2026, 3, 1, tzinfo=UTC)
GAUGE = Gauge(id="alpha", name="Alpha", folder="Alpha")


def lows(*volts: float) -> DailyLows:
    return DailyLows(np.arange(len(volts), dtype=np.int64), np.array(volts))


def fill(store: Store, days: int, per_day: float) -> None:
    """Four rows a day: low at night, high at noon, sinking by ``per_day`` [V]; one without."""
    stamps, volts = [], []
    for day in range(days):
        for hour, sun in ((3, 0.0), (9, 0.6), (15, 0.9), (21, np.nan)):
            stamps.append(to_us(START + timedelta(days=day, hours=hour)))
            volts.append(12.6 + sun + per_day * day)
    rows = new_rows(stamps, 0, battery_v=volts, file_id=1)
    with write(store.data) as connection:
        merge_rows(connection, GAUGE, rows, START)


def test_the_low_of_each_day_is_found_without_the_unknown(any_store: Store) -> None:
    fill(any_store, 3, -0.1)
    found = daily_lows(any_store, GAUGE, START, START + timedelta(days=2))
    assert found.days.tolist() == [20513, 20514]
    assert found.volts == pytest.approx([12.6, 12.5])


def test_a_sinking_battery_has_its_slope() -> None:
    assert trend(lows(12.6, 12.5, 12.4, 12.3, 12.2)) == pytest.approx(-0.1)


def test_one_odd_day_does_not_move_the_trend() -> None:
    steady = [12.5] * 10
    steady[4] = 3.0
    assert trend(lows(*steady)) == pytest.approx(0.0)


def test_a_few_days_say_nothing() -> None:
    assert trend(lows(12.6, 12.5, 12.4, 12.3)) is None


def test_the_state_of_a_gauge_shows_where_its_battery_goes(store: Store) -> None:
    fill(store, 8, -0.05)
    frame = frames.gauges(store, [GAUGE], START + timedelta(days=8))
    assert frame["battery_trend_v_per_d"].tolist() == pytest.approx([-0.05])
    assert frames.GAUGES_UNITS["battery_trend_v_per_d"] == "V/d"
