"""Days as bytes: what comes out is what went in, and damage is noticed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from workspace_lib.errors import StoreError
from workspace_lib.rain.analysis import US
from workspace_lib.rain.blocks import (
    NO_WIND,
    ROW,
    RUN,
    WET,
    Rows,
    join,
    join_runs,
    pack_rows,
    pack_wet,
    runs_of,
    unpack_rows,
)

MIN = 60 * US


def minutes(count: int) -> Rows:
    """A day as a logger writes it: volts in steps of 32 mV, wind, some rain."""
    rng = np.random.default_rng(3)
    rows = np.zeros(count, ROW)
    rows["t_us"] = 19_417 * 86_400 * US + np.arange(count) * MIN
    rows["tips"] = rng.poisson(0.02, count)
    rows["wind"] = 200 + rng.integers(0, 41, count)
    rows["battery_v"] = np.round(0.032 * rng.integers(390, 396, count), 3)
    rows["file_id"] = np.arange(count) // 5 * 19
    return rows


@given(
    arrays.arrays(
        ROW,
        st.integers(0, 40),
        elements=st.tuples(
            st.integers(-(2**60), 2**60),
            st.integers(0, 2**31 - 1),
            st.integers(-(2**31), 2**31 - 1),
            st.floats(width=64),
            st.integers(0, 2**62),
        ),
    )
)
def test_any_rows_come_back_unchanged(rows: Rows) -> None:
    back = unpack_rows(pack_rows(rows))
    for name in ROW.names or ():
        assert np.array_equal(back[name], rows[name], equal_nan=name == "battery_v")


def test_a_day_of_minutes_takes_three_kilobytes_and_comes_back_exactly() -> None:
    rows = minutes(1440)
    rows["battery_v"][7] = np.nan
    rows["wind"][8] = NO_WIND
    packed = pack_rows(rows)
    assert len(packed) < 3500
    assert unpack_rows(packed).tobytes() == rows.tobytes()


def test_a_voltage_finer_than_a_millivolt_comes_back_exactly() -> None:
    rows = minutes(3)
    rows["battery_v"] = [12.2264, 0.1 + 0.2, 1e300]
    assert unpack_rows(pack_rows(rows))["battery_v"].tolist() == [12.2264, 0.1 + 0.2, 1e300]


@pytest.mark.parametrize("damage", ["cut", "format", "body", "nothing"])
def test_damaged_bytes_are_noticed(damage: str) -> None:
    packed = pack_rows(minutes(100))
    spoilt = {
        "cut": packed[:-9],
        "format": b"\xff" + packed[1:],
        "body": packed[:40] + bytes([packed[40] ^ 255]) + packed[41:],
        "nothing": b"",
    }[damage]
    with pytest.raises(StoreError, match="cannot be unpacked"):
        unpack_rows(spoilt, "rain_days: hydropolis, 2023-03-01")


def test_wet_rows_of_many_days_are_one_array() -> None:
    rows = minutes(2880)
    wet = join([pack_wet(rows[:1440]), pack_wet(rows[1440:1441]), pack_wet(rows[1441:])], WET)
    assert wet["t_us"].tolist() == rows["t_us"][rows["tips"] > 0].tolist()
    assert wet["tips"].tolist() == rows["tips"][rows["tips"] > 0].tolist()


def test_runs_end_where_more_than_a_step_and_a_half_passes() -> None:
    t_us = np.array([0, 60, 119, 180, 270, 361, 421], dtype=np.int64) * US
    runs = runs_of(t_us, MIN)
    assert (runs["first_us"] // US).tolist() == [0, 361]
    assert (runs["last_us"] // US).tolist() == [270, 421]


def test_runs_of_days_are_those_of_the_whole() -> None:
    t_us = minutes(2880)["t_us"][np.random.default_rng(1).random(2880) < 0.9]
    day = t_us // (86_400 * US)
    cut = [runs_of(t_us[day == number], MIN).tobytes() for number in np.unique(day)]
    assert join_runs(join(cut, RUN), MIN).tolist() == runs_of(t_us, MIN).tolist()
    assert len(join_runs(join([], RUN), MIN)) == 0
