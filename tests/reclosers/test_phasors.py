"""Phasors of known sines, of published rows, and of synthesised events with known truth."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace_lib.errors import DataQualityError, ParameterError
from workspace_lib.reclosers.cev import read_cev
from workspace_lib.reclosers.comtrade import read_comtrade
from workspace_lib.reclosers.phasors import (
    A,
    cosine,
    degrees,
    fourier,
    from_filtered,
    samples_per_cycle,
    sequences,
)
from workspace_lib.reclosers.record import EventRecord

FILTERS = [fourier, cosine]


def sine(rms: float, angle_deg: float, per_cycle: int, cycles: float = 4) -> np.ndarray:
    n = np.arange(int(cycles * per_cycle))
    return rms * math.sqrt(2) * np.cos(2 * np.pi * n / per_cycle + math.radians(angle_deg))


@pytest.mark.parametrize("filtering", FILTERS)
@given(st.floats(0.1, 1e4), st.floats(-179, 179), st.sampled_from([4, 16, 32, 128]))
def test_a_sine_has_its_magnitude_and_angle_in_every_window(
    filtering: Any, rms: float, angle: float, per_cycle: int
) -> None:
    found = filtering(sine(rms, angle, per_cycle), per_cycle)
    known = found[~np.isnan(found)]
    assert len(known) >= 2 * per_cycle
    wanted = rms * np.exp(1j * math.radians(angle))
    assert np.abs(known - wanted).max() <= 1e-9 * rms


@pytest.mark.parametrize("filtering", FILTERS)
@pytest.mark.parametrize("harmonic", [0, 2, 3, 5])
def test_dc_and_harmonics_vanish(filtering: Any, harmonic: int) -> None:
    n = np.arange(64)
    values = sine(10, 30, 16) + 50 * np.cos(2 * np.pi * harmonic * n / 16)
    assert abs(filtering(values, 16)[-1]) == pytest.approx(10, rel=1e-9)


def test_before_a_whole_cycle_nothing_is_known() -> None:
    found = fourier(sine(1, 0, 16), 16)
    assert np.isnan(found[:15]).all()
    assert not np.isnan(found[15:]).any()


def test_a_missing_sample_spoils_only_the_windows_that_hold_it() -> None:
    values = sine(1, 0, 16)
    values[20] = np.nan
    found = fourier(values, 16)
    assert np.flatnonzero(np.isnan(found)).tolist() == [*range(15), *range(20, 36)]


def test_a_quarter_that_is_no_whole_number_of_samples_is_refused() -> None:
    with pytest.raises(ParameterError, match="Fourier"):
        cosine(np.zeros(30), 6)


def test_published_rows_a_quarter_apart_give_the_published_magnitude() -> None:
    assert abs(from_filtered([2380.0, 1375.0], 4)[1]) == pytest.approx(2749, abs=0.5)


def test_balanced_phases_have_a_positive_sequence_alone() -> None:
    zero, positive, negative = sequences(1, A**2, A)
    assert abs(positive) == pytest.approx(1)
    assert abs(zero) == pytest.approx(0, abs=1e-12)
    assert abs(negative) == pytest.approx(0, abs=1e-12)


def test_angles_lie_above_minus_180_up_to_180() -> None:
    assert degrees([-1 + 0j, 1j, -1j]).tolist() == [180.0, 90.0, -90.0]


@pytest.fixture
def truth(real_data: Path) -> Any:
    folder = real_data / "recloser" / "derived_cev"
    found = json.loads((folder / "TRUTH.json").read_text())
    return {Path(key).name: (read_cev(folder / Path(key).name).data, one)
            for key, one in found.items()}  # fmt: skip


def test_a_filtered_event_has_the_phasors_it_was_made_of(truth: Any) -> None:
    event, wanted = truth["D1_351R_4spc_filtered.CEV"]
    row = wanted["star_row"]
    names = ("IA", "IB", "IC")
    found = {name: from_filtered(event.channel(name), 4)[row] for name in names}
    for name in names:
        magnitude, angle = wanted["phasors_primary_rms"][name]
        assert abs(found[name]) == pytest.approx(magnitude, abs=1.5)  # rows are whole amperes
        against = wanted["phasors_primary_rms"]["IB"][1]
        turned = degrees(found[name], found["IB"])
        assert (float(turned) - (angle - against) + 180) % 360 - 180 == pytest.approx(0, abs=1.0)
    zero, positive, negative = sequences(*(found[name] for name in names))
    assert abs(positive) == pytest.approx(wanted["seq"]["I1"], rel=2e-3)
    assert 3 * abs(negative) == pytest.approx(wanted["seq"]["I2x3"], rel=2e-3)
    assert 3 * abs(zero) == pytest.approx(wanted["seq"]["I0x3"], rel=2e-3)


def test_a_raw_event_has_the_phasors_it_was_made_of(truth: Any) -> None:
    event, wanted = truth["D3_651R2_raw32_dig4.CEV"]
    per_cycle = samples_per_cycle(event)
    assert per_cycle == 32
    row = wanted["trigger_row"] + int(4 * per_cycle)
    for name, (magnitude, _) in wanted["phasors_primary_rms"].items():
        found = fourier(event.channel(name) * event.peak_factor, per_cycle)
        assert abs(found[row]) == pytest.approx(magnitude, rel=5e-3)


def test_a_record_of_many_rates_has_no_phasors(truth: Any) -> None:
    event: EventRecord = truth["D1_351R_4spc_filtered.CEV"][0]
    changed = event.__class__(**{**event.__dict__, "rates": ((1000.0, 5), (50.0, 60))})
    with pytest.raises(DataQualityError):
        samples_per_cycle(changed)


def test_published_samples_have_the_published_phasor(real_data: Path) -> None:
    event = read_comtrade(real_data / "recloser" / "zs_xtz_multirate" / "xtz.cfg").data
    values = event.values[:, 0]
    published = {0: -84.691, 602: 65.465, 1282: 85.316}
    for place, value in published.items():
        assert values[place] == pytest.approx(value, abs=5e-4)
    found = fourier(values[:64], 64)[63]
    assert abs(found) == pytest.approx(60.19, abs=5e-3)
    # There angles follow the sine.
    assert float(degrees(found * 1j)) == pytest.approx(-95.654, abs=5e-3)
    assert complex(found * 1j) == pytest.approx(complex(-5.93, -59.897), abs=2e-3)


def test_a_sliding_rms_of_filtered_rows_is_too_small_by_the_root_of_two(real_data: Path) -> None:
    path = real_data / "recloser" / "sel710_cev" / "Ex1_710 (1).cev"
    event: EventRecord = read_cev(path).data
    for name in ("IA", "IB", "IC"):
        rows = event.channel(name)
        pair = abs(from_filtered(rows, 4)[160])
        sliding = math.sqrt(float(np.mean(rows[157:161] ** 2)))
        assert event.summary[f"{name}(A)"] == pytest.approx(pair, abs=0.1)
        assert sliding == pytest.approx(pair / math.sqrt(2), rel=0.02)
