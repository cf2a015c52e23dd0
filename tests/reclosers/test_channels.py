"""Which channels are the three currents and voltages, whatever a family calls them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from workspace_lib.errors import DataQualityError
from workspace_lib.reclosers.channels import find_three, plain_name, three_phase
from workspace_lib.reclosers.record import Analog, EventRecord, Scale

PER_CYCLE = 16


def record(
    names: list[str],
    *,
    units: list[str] | None = None,
    scale: Scale | None = "P",
    peak_factor: float = 1.0,
    settings: dict[str, str] | None = None,
    cycles: int = 4,
) -> EventRecord:
    """Sines of 10 in each channel, a third of a cycle apart."""
    n = np.arange(cycles * PER_CYCLE)
    values = [10 * np.cos(math.tau * (n / PER_CYCLE - k / 3)) for k in range(len(names))]
    return EventRecord(
        "", "", "cev", "", "ASCII", 60.0, None, None, np.rint(n * 1e9 / 960).astype(np.int64),
        tuple(
            Analog(name, unit, scale=scale)
            for name, unit in zip(names, units or ["A"] * 3 + ["kV"] * 3, strict=False)
        ),
        (), np.column_stack(values), np.zeros((len(n), 0), dtype=bool), ((960.0, len(n)),),
        settings or {}, peak_factor=peak_factor,
    )  # fmt: skip


def test_units_and_peaks_become_amperes_and_volts() -> None:
    found = three_phase(
        record(["IA", "IB", "IC", "VA", "VB", "VC"], units=["kA"] * 3 + ["kV"] * 3, peak_factor=2.0)
    )
    assert found.event.values.max(axis=0) == pytest.approx(20_000, rel=0.05)
    assert (found.voltages, found.notes, found.event.peak_factor) == (True, (), 1.0)


@pytest.mark.parametrize(("size", "volts"), [(1.0, 10e3), (1000.0, 10e3)])
def test_voltages_without_a_unit_are_kilovolts_unless_they_are_too_large(
    size: float, volts: float
) -> None:
    made = record(["IA", "IB", "IC", "VA", "VB", "VC"], units=["A"] * 3 + [""] * 3)
    made.values[:, 3:] *= size
    found = three_phase(made)
    assert found.event.values[:, 3].max() == pytest.approx(volts, rel=0.05)
    assert [note.code for note in found.notes] == ["unit_assumed"]


def test_secondary_values_need_a_ratio_which_settings_may_tell() -> None:
    made = record(["IA", "IB", "IC"], scale="S", settings={"CTR": "120.0"})
    assert three_phase(made).currents.max() == pytest.approx(1200, rel=0.05)
    with pytest.raises(DataQualityError, match="ratio"):
        three_phase(record(["IA", "IB", "IC"], scale="S", settings={"CTR": "none"}))


def test_what_scale_they_are_may_be_unknown() -> None:
    found = three_phase(record(["IA", "IB", "IC"], scale=None))
    assert {note.code for note in found.notes} == {"scale_assumed", "no_voltages"}


def test_line_to_line_voltages_are_none_to_ground() -> None:
    found = three_phase(record(["IA", "IB", "IC", "VAB", "VBC", "VCA"]))
    assert not found.voltages


def test_the_first_circuit_of_two_is_taken() -> None:
    names = ["IAX", "IBX", "ICX", "IAW", "IBW", "ICW"]
    assert find_three([Analog(name) for name in names], "I") == (3, 4, 5)
    assert find_three([Analog(name) for name in names], "V") is None


def test_phases_tell_where_names_do_not_if_each_has_one_channel() -> None:
    named = [Analog(f"feeder {n}", "A", phase) for n, phase in enumerate("ACB")]
    assert find_three(named, "I") == (0, 2, 1)
    assert find_three([*named, Analog("other", "A", "B")], "I") is None


@pytest.mark.parametrize(
    ("name", "plain"),
    [("IA(A)", "IA"), ("ia [A]", "IA"), ("V_A (kV)", "VA"), ("3I0", "3I0"), ("", "")],
)
def test_names_are_compared_without_units_and_blanks(name: str, plain: str) -> None:
    assert plain_name(name) == plain


def test_rows_that_a_report_leaves_out_are_missing() -> None:
    whole = record(["IA", "IB", "IC"])
    kept = np.r_[0:16, 32:64]
    cut = EventRecord(
        **{
            **vars(whole),
            "values": whole.values[kept],
            "bits": whole.bits[kept],
            "t_ns": whole.t_ns[kept],
            "rates": ((0.0, 48),),
        }
    )
    found = three_phase(cut)
    assert (found.per_cycle, found.event.samples) == (16, 64)
    assert np.isnan(found.currents[16:32]).all()
    assert found.currents[32:] == pytest.approx(whole.values[32:])
    assert {note.code for note in found.notes} >= {"gaps", "missing_samples"}


def test_what_has_no_phasors_is_told() -> None:
    with pytest.raises(DataQualityError, match="three currents"):
        three_phase(record(["VA", "VB", "VC"], units=["V"] * 3))
    short = record(["IA", "IB", "IC"])
    kept = {"values": short.values[:9], "bits": short.bits[:9], "t_ns": short.t_ns[:9]}
    with pytest.raises(DataQualityError, match="shorter than a cycle"):
        three_phase(EventRecord(**{**vars(short), **kept}))
    slow = record(["IA", "IB", "IC"])
    times = {"t_ns": slow.t_ns * 7 // 2, "rates": ((274.0, slow.samples),)}
    with pytest.raises(DataQualityError, match="too far apart"):
        three_phase(EventRecord(**{**vars(slow), **times}))
