"""Frequency by the rotation of phasors: exact on sines, unknown where nothing turns."""

from __future__ import annotations

import math

import numpy as np
import pytest

from workspace_lib.errors import DataQualityError, ParameterError
from workspace_lib.reclosers.frequency import frequency
from workspace_lib.reclosers.record import Analog, EventRecord

PER_CYCLE = 32
RATE = 60.0 * PER_CYCLE


def event(
    hz: float,
    names: tuple[str, ...] = ("VA", "VB", "VC"),
    *,
    rate: float = RATE,
    gone_from: int | None = None,
    peak_factor: float = math.sqrt(2),
) -> EventRecord:
    times = np.arange(int(rate * 0.25)) / rate
    values = np.column_stack(
        [7.2 * np.cos(math.tau * (hz * times - n / 3) + 0.4) for n in range(len(names))]
    )
    if gone_from is not None:
        values[gone_from:] = 0.0
    return EventRecord(
        "", "", "cev", "", "ASCII", 60.0, None, None,
        np.rint(times * 1e9).astype(np.int64), tuple(Analog(one) for one in names), (),
        values, np.zeros((len(times), 0), dtype=bool), ((rate, len(times)),),
        peak_factor=peak_factor,
    )  # fmt: skip


@pytest.mark.parametrize("hz", [57.0, 59.5, 60.0, 60.01, 62.5])
def test_three_voltages_tell_their_frequency(hz: float) -> None:
    found = frequency(event(hz))
    assert np.isnan(found[: 2 * PER_CYCLE - 1]).all()
    assert found[2 * PER_CYCLE :] == pytest.approx(hz, abs=0.005)


def test_one_channel_tells_it_less_exactly() -> None:
    found = frequency(event(59.5), ["VB"])
    assert found[2 * PER_CYCLE :] == pytest.approx(59.5, abs=0.05)


def test_the_voltages_of_a_side_are_found_by_their_names() -> None:
    found = frequency(event(59.8, ("VAY", "VBY", "VCY")))
    assert found[-1] == pytest.approx(59.8, abs=0.005)


def test_a_voltage_that_is_gone_tells_nothing() -> None:
    found = frequency(event(60.0, gone_from=300))
    assert found[299] == pytest.approx(60.0, abs=0.005)
    assert np.isnan(found[300 + PER_CYCLE :]).all()


def test_a_record_shorter_than_two_cycles_tells_nothing() -> None:
    short = event(60.0)
    kept = {"t_ns": short.t_ns[:40], "values": short.values[:40], "bits": short.bits[:40]}
    assert np.isnan(frequency(EventRecord(**{**vars(short), **kept}))).all()


def test_an_event_without_voltages_is_told() -> None:
    with pytest.raises(ParameterError, match="three voltages"):
        frequency(event(60.0, ("IA", "IB", "IC")))
    with pytest.raises(ParameterError, match="2 channels"):
        frequency(event(60.0), ["VA", "VB"])


def test_samples_that_make_no_whole_cycle_are_told() -> None:
    with pytest.raises(DataQualityError):
        frequency(event(60.0, rate=1000.0))
