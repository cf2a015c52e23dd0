"""The table of calibrations in force, and the curves of what they correct."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workspace_lib.rain.calibration import Calibration, Origin
from workspace_lib.rain.calibration_views import (
    calibrations_frame,
    correction_curves,
    correction_figure,
    correction_print,
)
from workspace_lib.rain.in_force import GaugeCalibrations
from workspace_lib.rain.settings import Gauge

START = datetime(2020, 1, 1, tzinfo=UTC)
CHANGE = datetime(2022, 1, 1, tzinfo=UTC)
AT = datetime(2023, 1, 1, tzinfo=UTC)
NETWORK = [
    Gauge(id=name, name=name.upper(), folder=name, mm_per_tip=0.3) for name in ("a", "b", "c")
]


def record(gauge: str, **changes: Any) -> Calibration:
    values: dict[str, Any] = {
        "valid_from": START,
        "valid_to": None,
        "mm_per_tip": 0.2,
        "kind": "quadratic",
        "unit": "mm/h",
        "coefficients": {"a": 0.0008, "b": 1.0761, "c": 0},
        "origin": Origin("No. 1", date(2019, 12, 1), "X"),
    }
    return Calibration(gauge, **{**values, **changes})


def in_force(*records: Calibration, nominal: float | None = None) -> dict[str, GaugeCalibrations]:
    return {
        gauge.id: GaugeCalibrations(
            gauge.id, tuple(one for one in records if one.gauge == gauge.id), nominal
        )
        for gauge in NETWORK
    }


def test_the_table_has_what_is_in_force_at_the_instant() -> None:
    new = record("a", valid_from=CHANGE, domain=(0, 200), beyond="clamp", unit="tips/min")
    found = in_force(record("a", valid_to=CHANGE), new, record("b", valid_to=CHANGE))
    frame = calibrations_frame(NETWORK, found, AT).set_index("gauge")
    assert frame["kind"].to_dict() == {"a": "quadratic", "b": "uncalibrated", "c": "uncalibrated"}
    first = frame.loc["a"]
    assert (first["name"], first["x"], first["mm_per_tip"]) == ("A", "tips/min", 0.2)
    assert first["formula"] == "y = 0.0008 x² + 1.0761 x"
    assert (first["domain"], first["beyond"]) == ("0 – 200", "clamp")
    assert (first["valid_from"], first["version"]) == (CHANGE, new.version)
    assert first["source"] == "No. 1, 2019-12-01, X"
    assert first["correction_100_mm_h"] == pytest.approx(0.0008 * 100 / 12 * 100 + 7.61)
    assert pd.isna(frame.loc["b", "correction_100_mm_h"])
    assert pd.isna(first["valid_to"])
    assert frame.loc["b", ["formula", "source", "version"]].tolist() == ["", "", "uncalibrated"]


def test_the_table_says_where_depths_are_nominal() -> None:
    frame = calibrations_frame(NETWORK, in_force(nominal=0.3), AT)
    assert set(frame["kind"]) == {"nominal"}
    assert set(frame["version"]) == {"nominal:0.3"}
    assert frame["mm_per_tip"].tolist() == [0.3] * 3


def test_gauges_with_equal_corrections_share_a_curve() -> None:
    found = in_force(record("a"), record("b", origin=Origin("No. 2")), record("c", mm_per_tip=0.25))
    curves = correction_curves(NETWORK, found, AT)
    assert [curve.names for curve in curves] == [("A", "B"), ("C",)]


def test_a_curve_is_the_correction_over_the_intensity() -> None:
    (curve,) = correction_curves(NETWORK[:1], in_force(record("a")), AT)
    at_100 = curve.within[curve.intensity_mm_h == 100]
    assert at_100 == pytest.approx([15.61])
    assert np.isnan(curve.beyond).all()


def test_a_curve_says_what_lies_beyond_the_domain() -> None:
    limited = record("a", domain=(10, 100), beyond="extrapolate")
    (curve,) = correction_curves(NETWORK[:1], in_force(limited), AT)
    inside = (curve.intensity_mm_h >= 10) & (curve.intensity_mm_h <= 100)
    assert np.array_equal(~np.isnan(curve.within), inside)
    assert np.array_equal(~np.isnan(curve.beyond), ~inside)


def test_no_calibration_has_no_curve() -> None:
    curves = correction_curves(NETWORK, in_force(nominal=0.2), AT)
    assert curves == []
    assert len(correction_figure(curves).data) == 0
    assert correction_print(curves).axes[0].get_xlabel() == "Measured intensity [mm/h]"


@pytest.mark.parametrize(
    ("language", "axis"), [("en", "Measured intensity [mm/h]"), ("fr", "Intensité mesurée [mm/h]")]
)
def test_both_figures_name_their_axes_and_dot_what_lies_beyond(language: Any, axis: str) -> None:
    limited = record("a", domain=(10, 100), beyond="extrapolate")
    curves = correction_curves(NETWORK, in_force(limited, record("b")), AT)
    figure = correction_figure(curves, language=language)
    assert figure.layout.xaxis.title.text == axis
    assert [line.line.dash for line in figure.data] == ["solid", "dot", "solid"]
    paper = correction_print(curves, language=language)
    assert paper.axes[0].get_xlabel() == axis
    assert [line.get_linestyle() for line in paper.axes[0].lines] == ["-", ":", "-"]


def test_of_many_gauges_the_first_ones_are_named() -> None:
    (curve,) = correction_curves(NETWORK[:1], in_force(record("a")), AT)
    many = dataclasses.replace(curve, names=("A", "B", "C", "D", "E"))
    assert correction_figure([many]).data[0].name == "A, B, C and 2 more"
