"""Calibrations: the published numbers, units of x, domains, versions."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace_lib.errors import ParameterError
from workspace_lib.rain.calibration import (
    Calibration,
    Origin,
    depth_of_tip,
    points_of_errors,
)

START = datetime(2020, 1, 1, tzinfo=UTC)
NETWORK = {"a": 0.0008, "b": 1.0761, "c": 0}


def record(**changes: Any) -> Calibration:
    values: dict[str, Any] = {
        "gauge": "hydropolis",
        "valid_from": START,
        "valid_to": None,
        "mm_per_tip": 0.2,
        "kind": "quadratic",
        "unit": "tips/min",
        "coefficients": NETWORK,
    }
    return Calibration(**{**values, **changes})


def depth(one: Calibration, tips: Any, interval_s: Any = 60.0) -> np.ndarray:
    return one.depth(tips, interval_s)[0]


class TestThePublishedNumbers:
    def test_counts_of_a_minute_become_those_of_the_original(self) -> None:
        expected = [1.0769, 2.1554, 3.2355, 4.3172, 5.4005, 6.4854, 7.5719, 8.66, 9.7497, 10.841]
        found = record().correct(np.arange(1, 11))[0]
        assert found == pytest.approx(expected, abs=1e-12)
        assert depth(record(), np.arange(1, 11)) == pytest.approx(0.2 * np.array(expected))

    def test_intensities_in_mm_per_hour_become_those_of_the_reference(self) -> None:
        measured = [1, 10, 50, 100, 200, 300]
        expected = [1.0769, 10.841, 55.805, 115.61, 247.22, 394.83]
        assert record(unit="mm/h").correct(measured)[0] == pytest.approx(expected, abs=1e-12)

    @pytest.mark.parametrize(
        ("unit", "percent"), [("mm/h", 15.61), ("mm/min", 7.743333), ("tips/min", 8.276667)]
    )
    def test_the_unit_of_x_decides_what_a_hundred_mm_per_hour_become(
        self, unit: Any, percent: float
    ) -> None:
        # 100 mm/h with 0.2 mm a tip is 500 tips in an hour.
        assert depth(record(unit=unit), 500, 3600.0) == pytest.approx(100 * (1 + percent / 100))

    def test_the_time_lost_per_tip_gives_the_undercatch_of_duchon(self) -> None:
        gauge = record(
            kind="undercatch", unit="mm/h", mm_per_tip=0.254, coefficients={"t_u": 0.450}
        )
        for measured, undercatch in ((19.9, 0.00979), (175.2, 0.0862)):
            true = gauge.correct(measured)[0]
            assert 1 - measured / true == pytest.approx(undercatch, abs=5e-5)

    def test_time_lost_is_the_same_in_every_unit(self) -> None:
        kinds = [
            record(kind="undercatch", unit=unit, coefficients={"t_u": 0.45})
            for unit in ("tips/min", "mm/min", "mm/h")
        ]
        found = [float(depth(one, 30, 60.0)) for one in kinds]
        assert found == pytest.approx([30 * 0.2 / (1 - 0.45 * 30 / 60)] * 3)

    def test_a_bucket_that_only_turns_has_no_depth(self) -> None:
        mm, beyond = record(kind="undercatch", coefficients={"t_u": 0.5}).depth([119, 120, 150], 60)
        assert np.isnan(mm).tolist() == beyond.tolist() == [False, True, True]

    def test_a_power_law_is_that_of_the_rate(self) -> None:
        gauge = record(kind="power", unit="mm/h", coefficients={"b": 0.9, "n": 1.05})
        assert gauge.correct([1, 100])[0] == pytest.approx([0.9, 0.9 * 100**1.05])

    @pytest.mark.parametrize(
        ("tip_ml", "funnel_cm2", "mm", "tolerance"),
        [
            ((4.22,), 211.24, 0.2, 0.001),  # Davis Vantage Pro2
            ((8.24,), np.pi * (20.32 / 2) ** 2, 0.254, 0.0002),  # 8-inch funnel, 0.01 inch
            ((6.48,), np.pi * (20.32 / 2) ** 2, 0.2, 0.0003),
            ((16.2,), np.pi * (20.32 / 2) ** 2, 0.5, 0.0007),
            ((3.408,), np.pi * (16.5 / 2) ** 2, 0.159383, 2e-6),  # TA1 left
            ((3.434,), np.pi * (16.5 / 2) ** 2, 0.160599, 2e-6),  # TA1 right
            ((4.139,), np.pi * (16.5 / 2) ** 2, 0.193570, 2e-6),  # TB1
            ((3.408, 3.434), np.pi * (16.5 / 2) ** 2, (0.159383 + 0.160599) / 2, 2e-6),
            ((535 / 125,), 214.0, 0.2, 1e-9),  # 4onse
        ],
    )
    def test_the_depth_of_a_tip_is_its_volume_on_the_funnel(
        self, tip_ml: tuple[float, ...], funnel_cm2: float, mm: float, tolerance: float
    ) -> None:
        assert depth_of_tip(tip_ml, funnel_cm2) == pytest.approx(mm, abs=tolerance)

    def test_a_funnel_without_an_area_is_refused(self) -> None:
        with pytest.raises(ParameterError, match="above zero"):
            depth_of_tip([4.2], 0)


class TestTables:
    POINTS = ((10.0, 11.0), (50.0, 60.0), (100.0, 130.0))

    def table(self, beyond: Any = "clamp") -> Calibration:
        return record(kind="table", unit="mm/h", coefficients={}, points=self.POINTS, beyond=beyond)

    def test_it_is_linear_between_its_points_and_goes_through_them(self) -> None:
        found, beyond = self.table().correct([10, 30, 50, 75, 100])
        assert found.tolist() == [11.0, 35.5, 60.0, 95.0, 130.0]
        assert not beyond.any()

    def test_beyond_it_keeps_the_factor_of_its_end_if_clamped(self) -> None:
        found, beyond = self.table("clamp").correct([1, 200])
        assert found == pytest.approx([1.1, 260.0])
        assert beyond.all()

    def test_beyond_it_goes_on_along_its_last_leg_if_extrapolated(self) -> None:
        found, beyond = self.table("extrapolate").correct([2, 200])
        assert found == pytest.approx([11 - 8 * 49 / 40, 130 + 100 * 70 / 50])
        assert beyond.all()

    def test_beyond_it_there_is_no_depth_if_refused(self) -> None:
        found, beyond = self.table("refuse").correct([1, 50, 200])
        assert np.isnan(found).tolist() == beyond.tolist() == [True, False, True]

    def test_a_certificate_of_errors_becomes_points_of_measured_and_true(self) -> None:
        assert points_of_errors([(50, -2.0), (100, -8.0)]) == ((49.0, 50), (92.0, 100))


class TestDomains:
    @pytest.mark.parametrize(
        ("beyond", "expected"),
        [
            ("clamp", 20 * 10.841 / 10),
            ("extrapolate", 0.0008 * 400 + 1.0761 * 20),
            ("refuse", np.nan),
        ],
    )
    def test_what_happens_beyond_it_is_what_the_record_says(
        self, beyond: Any, expected: float
    ) -> None:
        found, flagged = record(domain=(0, 10), beyond=beyond).correct([10, 20])
        assert found[0] == pytest.approx(10.841)
        assert found[1] == pytest.approx(expected, nan_ok=True)
        assert flagged.tolist() == [False, True]

    def test_clamping_never_loses_rain(self) -> None:
        found = record(domain=(1, 10), beyond="clamp").correct([0.5, 10, 100])[0]
        assert (np.diff(found) > 0).all()

    def test_no_rain_stays_no_rain(self) -> None:
        for beyond in ("clamp", "extrapolate", "refuse"):
            line = {"kind": "linear", "coefficients": {"b": 1, "c": 0.3}}
            found, flagged = record(**line, domain=(1, 9), beyond=beyond).correct([0.0, 1.0])
            assert found == pytest.approx([0.0, 1.3])
            assert not flagged.any()

    def test_a_curve_that_falls_below_zero_gives_no_depth(self) -> None:
        found, beyond = record(kind="linear", coefficients={"b": 1, "c": -5}).correct([0, 3, 9])
        assert found[[0, 2]].tolist() == [0.0, 4.0]
        assert np.isnan(found[1])
        assert beyond.tolist() == [False, True, False]


class TestRates:
    def test_the_same_count_over_another_interval_is_another_rate(self) -> None:
        one = record(unit="mm/h")
        assert depth(one, 10, 60) == pytest.approx(0.0008 * 120 * 120 / 60 + 1.0761 * 2)
        assert depth(one, 10, 3600) == pytest.approx(0.0008 * 2 * 2 + 1.0761 * 2)

    @given(st.integers(1, 400), st.floats(1, 7200))
    def test_a_static_calibration_gives_the_same_depth_over_any_interval(
        self, tips: int, interval_s: float
    ) -> None:
        for unit in ("tips/min", "mm/min", "mm/h"):
            static = record(kind="linear", unit=unit, coefficients={"b": 1.1, "c": 0})
            assert depth(static, tips, interval_s) == pytest.approx(tips * 0.2 * 1.1)

    @pytest.mark.parametrize(("unit", "at_100"), [("mm/h", 1.1561), ("mm/min", 1.077433)])
    def test_the_factor_is_that_of_an_intensity_in_any_unit(self, unit: Any, at_100: float) -> None:
        found, beyond = record(unit=unit, domain=(0, 150), beyond="refuse").factor([100, 1e4])
        assert found[0] == pytest.approx(at_100, abs=1e-6)
        assert beyond.tolist() == [False, True]


class TestVersions:
    def test_it_is_that_of_the_content_whatever_the_spelling_of_its_numbers(self) -> None:
        again = record(coefficients={"c": 0.0, "b": 1.0761, "a": 8e-4}, mm_per_tip=0.2)
        assert record().version == again.version
        assert len(record().version) == 12

    @pytest.mark.parametrize(
        "change",
        [
            {"unit": "mm/h"},
            {"mm_per_tip": 0.21},
            {"coefficients": {**NETWORK, "b": 1.07}},
            {"domain": (0, 10), "beyond": "clamp"},
            {"gauge": "polytech"},
            {"valid_from": START + timedelta(days=1)},
            {"origin": Origin("No. 4", date(2020, 1, 2), "A. B.")},
        ],
    )
    def test_another_content_has_another_version(self, change: dict[str, Any]) -> None:
        assert record(**change).version != record().version

    def test_ending_a_record_changes_nothing_of_what_it_said(self) -> None:
        assert record(valid_to=START + timedelta(days=9)).version == record().version

    def test_the_same_instant_in_another_zone_is_the_same_record(self) -> None:
        other = START.astimezone(datetime.fromisoformat("2020-01-01T00:00+05:00").tzinfo)
        assert record(valid_from=other).version == record().version


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"mm_per_tip": 0}, "depth of a tip"),
        ({"mm_per_tip": float("nan")}, "no finite number"),
        ({"coefficients": {"a": 1, "b": 1}}, "quadratic, which has a, b, c"),
        ({"coefficients": {**NETWORK, "d": 1}}, "quadratic, which has a, b, c"),
        ({"kind": "cubic"}, "no known kind"),
        ({"unit": "tips"}, "no known unit of x"),
        ({"valid_to": START}, "ends before it begins"),
        ({"domain": (5, 5), "beyond": "clamp"}, "does not rise"),
        ({"domain": (-1, 5), "beyond": "clamp"}, "does not rise"),
        ({"domain": (0, 5)}, "does not say what to do beyond"),
        ({"beyond": "clamp"}, "has none"),
        ({"points": ((1, 1), (2, 2))}, "only a table has"),
        ({"kind": "table", "coefficients": {}, "beyond": "clamp"}, "fewer than two points"),
        (
            {"kind": "table", "coefficients": {}, "points": ((2, 1), (1, 2)), "beyond": "clamp"},
            "do not rise",
        ),
        (
            {"kind": "table", "coefficients": {}, "points": ((1, 1), (2, 2))},
            "does not say what to do beyond",
        ),
        (
            {
                "kind": "table",
                "coefficients": {},
                "points": ((1, 1), (2, 2)),
                "domain": (0, 9),
                "beyond": "clamp",
            },
            "that of its points",
        ),
    ],
)
def test_a_record_that_lacks_something_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ParameterError, match=problem) as caught:
        record(**change)
    assert "hydropolis" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "formula"),
    [
        ({}, "y = 0.0008 x² + 1.0761 x"),
        ({"coefficients": {"a": 1, "b": -2, "c": -3}}, "y = 1 x² − 2 x − 3"),
        ({"kind": "linear", "coefficients": {"b": 1.1, "c": 0.5}}, "y = 1.1 x + 0.5"),
        ({"kind": "power", "coefficients": {"b": 0.9, "n": 1.05}}, "y = 0.9 x^1.05"),
        ({"kind": "undercatch", "coefficients": {"t_u": 0.45}}, "y = x / (1 − 0.45 s · r)"),
        (
            {
                "kind": "table",
                "coefficients": {},
                "points": ((1, 1.1), (2, 2.3)),
                "beyond": "clamp",
            },
            "linear between 1 → 1.1; 2 → 2.3",
        ),
    ],
)
def test_the_formula_is_readable(change: dict[str, Any], formula: str) -> None:
    assert record(**change).formula == formula
