"""Files of a simulated relay: what the readers find in them is what the simulator computed."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from workspace_lib.reclosers.comtrade import read_comtrade
from workspace_lib.reclosers.hdr import read_hdr
from workspace_lib.reclosers.simulator_comtrade import (
    PER_CYCLE,
    Samples,
    analog_values,
    comtrade_of,
    first_sample,
)
from workspace_lib.reclosers.simulator_events import (
    BEFORE_CYCLES,
    KINDS,
    LENGTH_CYCLES,
    SimulatedEvent,
    bit_names,
    make_events,
)

WHEN = datetime(2026, 3, 1, 7, 49, 59, 987_000)
Model = Literal["351R", "651R"]


def written(event: SimulatedEvent, folder: Path, samples: Samples = "BINARY") -> Path:
    """Write the files of an event; returns the path of its configuration."""
    for ending, content in comtrade_of(event, samples).items():
        (folder / f"HR_10001.{ending.upper()}").write_bytes(content)
    return folder / "HR_10001.CFG"


@pytest.mark.parametrize("samples", ["BINARY", "ASCII"])
@pytest.mark.parametrize("model", ["351R", "651R"])
def test_its_files_are_read_without_a_complaint(
    tmp_path: Path, model: Model, samples: Samples
) -> None:
    for event in make_events(model, 3, seed=7):
        record = read_comtrade(written(event, tmp_path, samples))
        assert record.issues == ()
        found = record.data
        assert (found.revision, found.data_type, found.frequency_hz) == ("1999", samples, 60.0)
        assert found.rates == ((60.0 * PER_CYCLE, LENGTH_CYCLES * PER_CYCLE),)
        assert str(found.trigger)[:-3] == event.key[0]
        assert str(found.start) == first_sample(event).isoformat(timespec="microseconds")


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_those_that_were_computed_to_half_a_step(tmp_path: Path, kind: str) -> None:
    event = SimulatedEvent("651R", WHEN, kind, distance=0.3)
    found = read_comtrade(written(event, tmp_path)).data
    truth = analog_values(event)
    step = np.maximum(np.abs(truth).max(axis=0), 1.0) * 1.0002 / 32_767
    assert found.values.shape == truth.shape
    assert (np.abs(found.values - truth) <= step / 2 + 1e-9).all()
    assert [one.name for one in found.analog][:5] == ["IA", "IB", "IC", "IN", "IG"]
    assert {one.scale for one in found.analog} == {"P"}
    assert {one.ratio for one in found.analog} == {120.0}


@pytest.mark.parametrize("samples", ["BINARY", "ASCII"])
def test_bits_are_those_of_the_event_at_their_times(tmp_path: Path, samples: Samples) -> None:
    event = SimulatedEvent("651R", WHEN, "CG", trip_s=0.05, open_s=0.08)
    found = read_comtrade(written(event, tmp_path, samples)).data
    names = [one.name for one in found.digital]
    assert names == [name for name in bit_names("651R") if name != "*"]
    times = (np.arange(found.samples) - BEFORE_CYCLES * PER_CYCLE) / (60 * PER_CYCLE)
    assert (found.bit("TRIP3P") == (times >= 0.05)).all()
    assert (found.bit("52A3P") == (times < 0.08)).all()
    assert found.trigger_s == pytest.approx(BEFORE_CYCLES / 60, abs=1e-6)


def test_the_header_says_what_the_relay_knows(tmp_path: Path) -> None:
    event = SimulatedEvent("651R", WHEN, "AG", distance=0.4)
    written(event, tmp_path)
    record = read_hdr(tmp_path / "HR_10001.HDR")
    assert record.issues == ()
    found = record.data.summary
    assert (str(found.time), found.event) == event.key
    assert (found.location, found.breaker, found.shot) == (event.location, "Open", "0")
    assert str(found.trip_time) == "2026-03-01T07:50:00.037"
    for n, name in enumerate(("IA", "IB", "IC")):
        fault = complex((event.load + event.fault[0])[n])
        assert found.fault[name].magnitude == pytest.approx(abs(fault), abs=0.51)
        assert found.fault[name].angle_deg == pytest.approx(np.angle(fault, deg=True), abs=0.006)
        assert found.prefault[name].magnitude == pytest.approx(abs(event.load[n]), abs=0.51)
    assert found.fault["VA"].magnitude == pytest.approx(abs(event.volts[1][0]) / 1000, abs=6e-4)


def test_a_relay_that_found_no_fault_says_so(tmp_path: Path) -> None:
    written(SimulatedEvent("651R", WHEN, "ER"), tmp_path)
    found = read_hdr(tmp_path / "HR_10001.HDR").data.summary
    assert (found.event, found.location, found.trip_time, found.breaker) == (
        "ER",
        None,
        None,
        "Closed",
    )


def test_the_same_event_has_the_same_files() -> None:
    first, again = (make_events("651R", 1)[0] for _ in range(2))
    assert comtrade_of(first) == comtrade_of(again)
    assert comtrade_of(first)["dat"] != comtrade_of(make_events("651R", 2)[1])["dat"]
