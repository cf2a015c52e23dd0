"""Times of events: of made ones, and of synthesised files whose truth is known."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workspace_lib.errors import ParameterError
from workspace_lib.reclosers.cev import read_cev
from workspace_lib.reclosers.record import Analog, DeviceTime, Digital, EventRecord
from workspace_lib.reclosers.timing import timing

PER_CYCLE, HZ = 32, 60.0


def event(
    *,
    inception: int | None = 128,
    end: int | None = 320,
    bits: dict[str, tuple[int, int]] | None = None,
    load: float = 100.0,
    fault: float = 2000.0,
) -> EventRecord:
    """An event of 16 cycles: load, a fault of one phase, and no current from ``end`` on."""
    count = 16 * PER_CYCLE
    n = np.arange(count)
    values = np.column_stack(
        [load * math.sqrt(2) * np.cos(2 * np.pi * (n / PER_CYCLE - k / 3)) for k in range(3)]
    )
    if inception is not None:
        values[inception:, 1] *= fault / load
    if end is not None:
        values[end:] = 0
    marks = bits or {"TRIP": (256, count), "52A": (0, 300)}
    states = np.column_stack([(n >= first) & (n < last) for first, last in marks.values()])
    return EventRecord(
        station="", device="", format="comtrade", revision="1999", data_type="BINARY",
        frequency_hz=HZ, start=DeviceTime(0), trigger=DeviceTime(0),
        t_ns=np.rint(n * 1e9 / (HZ * PER_CYCLE)).astype(np.int64),
        analog=tuple(Analog(name, "A") for name in ("IA", "IB", "IC")),
        digital=tuple(Digital(name) for name in marks),
        values=values, bits=states, rates=((HZ * PER_CYCLE, count),),
    )  # fmt: skip


def cycles(seconds: float | None) -> float:
    assert seconds is not None
    return seconds * HZ


def test_a_cleared_fault_has_all_its_times() -> None:
    found = timing(event())
    assert cycles(found.inception_s) == pytest.approx(4, abs=0.1)
    assert cycles(found.trip_s) == pytest.approx(8, abs=0.01)
    assert cycles(found.contacts_open_s) == pytest.approx(300 / 32, abs=0.01)
    assert cycles(found.clearing_s) == pytest.approx(6, abs=0.1)
    assert cycles(found.relay_s) == pytest.approx(4, abs=0.1)
    assert cycles(found.opening_s) == pytest.approx(2, abs=0.1)


def test_the_energy_is_that_of_the_worst_phase() -> None:
    assert timing(event()).i2t == pytest.approx(2000**2 * 6 / 60, rel=0.03)


def test_load_alone_has_no_inception_and_no_clearing() -> None:
    found = timing(event(inception=None, end=None, bits={"52A": (0, 9999)}))
    assert (found.inception_s, found.clearing_s, found.i2t) == (None, None, None)
    assert (found.trip_s, found.contacts_open_s) == (None, None)


def test_opening_by_hand_is_no_fault() -> None:
    found = timing(event(inception=None))
    assert found.inception_s is None
    assert cycles(found.current_zero_s) == pytest.approx(10, abs=0.2)


def test_a_fault_that_goes_on_is_not_cleared() -> None:
    found = timing(event(end=None))
    assert found.inception_s is not None
    assert found.clearing_s is None


def test_contacts_that_close_again_end_the_dead_time() -> None:
    bits = {"52A": (0, 300), "52A3P": (450, 512)}
    found = timing(event(bits=bits))
    assert cycles(found.dead_s) == pytest.approx((450 - 320) / 32, abs=0.1)


def test_the_shot_is_that_at_the_trigger_and_lockout_is_told() -> None:
    found = timing(event(bits={"SH2": (0, 400), "79LO": (500, 512)}))
    assert (found.shot, found.locked_out) == (2, True)


def test_an_event_without_currents_is_refused() -> None:
    with pytest.raises(ParameterError, match="It has: IA, IB, IC"):
        timing(event(), ("IX",))


def test_whether_it_locked_out_is_unknown_without_such_a_bit() -> None:
    assert timing(event()).locked_out is None
    assert timing(event(bits={"79LO": (600, 601)})).locked_out is False


def test_a_weak_fault_to_ground_shows_in_the_sum_of_the_phases() -> None:
    # 80 A beside a load of 500 A: no phase changes by as much as a load may.
    heavy = event(load=500.0, fault=580.0, end=None)
    assert cycles(timing(heavy).inception_s) == pytest.approx(4, abs=0.3)


@pytest.mark.parametrize("per_cycle", [4, 16])
def test_currents_that_a_relays_filter_lets_fade_end_when_they_ended(per_cycle: int) -> None:
    fine = event(inception=128, end=320)
    weights = np.cos(2 * np.pi * np.arange(PER_CYCLE) / PER_CYCLE) * 2 / PER_CYCLE
    filtered = np.column_stack([np.convolve(one, weights)[: len(one)] for one in fine.values.T])[
        :: PER_CYCLE // per_cycle
    ]
    rate = HZ * per_cycle
    slow = EventRecord(
        **{
            **vars(fine),
            "values": filtered / math.sqrt(2),
            "bits": fine.bits[:: PER_CYCLE // per_cycle],
            "t_ns": np.rint(np.arange(len(filtered)) * 1e9 / rate).astype(np.int64),
            "rates": ((rate, len(filtered)),),
            "peak_factor": math.sqrt(2),
        }
    )
    assert cycles(timing(slow).current_zero_s) == pytest.approx(10, abs=0.3)


def test_missing_samples_are_no_end_of_currents() -> None:
    found = event(end=None)
    found.values[200:230] = np.nan
    assert timing(found).current_zero_s is None
    assert cycles(timing(found).inception_s) == pytest.approx(4, abs=0.1)


def test_a_record_shorter_than_a_cycle_has_no_times() -> None:
    whole = event()
    kept = {"t_ns": whole.t_ns[:20], "values": whole.values[:20], "bits": whole.bits[:20]}
    found = timing(EventRecord(**{**vars(whole), **kept}))
    assert (found.inception_s, found.current_zero_s) == (None, None)


@pytest.mark.parametrize(
    "name",
    ["D1_351R_4spc_filtered.CEV", "D2_351A_raw16_dig4.CEV", "D3_651R2_raw32_dig4.CEV"],
)
def test_synthesised_events_are_cleared_when_they_were_made_to(real_data: Path, name: str) -> None:
    folder = real_data / "recloser" / "derived_cev"
    truth: dict[str, Any] = {
        Path(key).name: one for key, one in json.loads((folder / "TRUTH.json").read_text()).items()
    }
    found = timing(read_cev(folder / name).data)
    assert found.clearing_s is not None
    assert found.clearing_s * 60 == pytest.approx(truth[name]["clearing_cycles"], abs=0.25)
