"""Events written as COMTRADE come back to the step of their scale, in both editions."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from workspace_lib.errors import ParameterError
from workspace_lib.reclosers.cev import read_cev
from workspace_lib.reclosers.comtrade import parse_comtrade, read_comtrade, split_cff
from workspace_lib.reclosers.comtrade_write import to_cff, write_comtrade
from workspace_lib.reclosers.record import Analog, DeviceTime, Digital, EventRecord


def event(values: np.ndarray, bits: np.ndarray | None = None) -> EventRecord:
    count = len(values)
    states = np.zeros((count, 17), bool) if bits is None else bits
    return EventRecord(
        station="LCL 12, north",
        device="R 7",
        format="cev",
        revision="",
        data_type="ASCII",
        frequency_hz=60.0,
        start=DeviceTime(1_562_923_711_721_000_123),
        trigger=DeviceTime(1_562_923_711_754_333_456),
        t_ns=np.rint(np.arange(count) * 1e9 / 960).astype(np.int64),
        analog=tuple(Analog(f"I{n}", "A", "A", "", "P", 120.0) for n in range(values.shape[1])),
        digital=tuple(Digital(f"B{n}") for n in range(states.shape[1])),
        values=values,
        bits=states,
        rates=((960.0, count),),
    )


def back(one: EventRecord) -> EventRecord:
    files, issues = split_cff(to_cff(one))
    assert issues == []
    record = parse_comtrade(files)
    assert record.issues == ()
    found: EventRecord = record.data
    return found


def test_two_files_of_1999_come_back_to_half_a_step(tmp_path: Path) -> None:
    values = np.random.default_rng(3).normal(0, 1000, (64, 3))
    values[5, 1] = np.nan
    cfg, _ = write_comtrade(event(values), tmp_path, "a")
    record = read_comtrade(cfg)
    steps = (np.nanmax(values, axis=0) - np.nanmin(values, axis=0)) / (2 * 32767)
    assert record.issues == ()
    assert np.array_equal(np.isnan(record.data.values), np.isnan(values))
    assert np.nanmax(np.abs(record.data.values - values) / steps) <= 0.5 + 1e-6


@settings(max_examples=40, deadline=None)
@given(
    arrays.arrays(np.float64, (7, 2), elements=st.floats(-1e6, 1e6, width=32)),
    arrays.arrays(np.bool_, (7, 17)),
)
def test_any_values_and_bits_come_back_in_a_combined_file(
    values: np.ndarray, bits: np.ndarray
) -> None:
    found = back(event(values, bits))
    steps = (values.max(axis=0) - values.min(axis=0)) / (2 * (2**31 - 1))
    assert np.all(np.abs(found.values - values) <= steps + 1e-6 * np.abs(values).max() + 1e-9)
    assert np.array_equal(found.bits, bits)


def test_times_names_and_ratios_come_back() -> None:
    one = event(np.array([[1.0], [2.0]]))
    found = back(one)
    assert (found.start, found.trigger) == (one.start, one.trigger)
    assert found.station == "LCL 12  north"
    assert found.t_ns.tolist() == one.t_ns.tolist()
    assert (found.analog[0].ratio, found.analog[0].scale) == (120.0, "P")


def test_samples_without_a_rate_keep_their_times() -> None:
    one = replace(
        event(np.array([[1.0], [2.0], [3.0]])),
        rates=((0.0, 3),),
        t_ns=np.array([0, 1_000_000, 5_000_000]),
    )
    assert back(one).t_ns.tolist() == [0, 1_000_000, 5_000_000]


def test_values_scaled_to_rms_are_written_as_instantaneous_ones() -> None:
    one = replace(event(np.array([[1.0], [-1.0]])), peak_factor=math.sqrt(2))
    assert back(one).values[0, 0] == pytest.approx(math.sqrt(2))


def test_a_channel_that_never_changes_comes_back_exactly() -> None:
    assert back(event(np.full((3, 1), 12.5))).values.tolist() == [[12.5]] * 3


def test_an_event_without_a_time_is_refused() -> None:
    with pytest.raises(ParameterError, match="time of this event is not known"):
        to_cff(replace(event(np.zeros((2, 1))), start=None))


def test_a_real_event_of_a_relay_opens_in_any_viewer(real_data: Path, tmp_path: Path) -> None:
    import comtrade

    source = next((real_data / "recloser" / "sel710_cev").glob("*.cev"))
    one: EventRecord = read_cev(source).data
    cfg, dat = write_comtrade(one, tmp_path, "event")
    viewer = comtrade.load(str(cfg), str(dat))
    assert (viewer.analog_count, viewer.status_count) == (len(one.analog), len(one.digital))
    written = np.array(viewer.analog[0])
    wanted = one.channel("IA") * one.peak_factor
    assert np.abs(written - wanted).max() < 0.05
