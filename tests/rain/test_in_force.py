"""Which calibration is in force for a row, and for how long the row counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from workspace_lib.clock import to_us
from workspace_lib.errors import ParameterError
from workspace_lib.rain.analysis import US
from workspace_lib.rain.calibration import Calibration
from workspace_lib.rain.in_force import Flag, GaugeCalibrations, row_intervals

START = datetime(2020, 1, 1, tzinfo=UTC)


def record(**changes: Any) -> Calibration:
    values: dict[str, Any] = {
        "gauge": "hydropolis",
        "valid_from": START,
        "valid_to": None,
        "mm_per_tip": 0.2,
        "kind": "quadratic",
        "unit": "tips/min",
        "coefficients": {"a": 0.0008, "b": 1.0761, "c": 0},
    }
    return Calibration(**{**values, **changes})


def test_the_interval_is_that_to_the_row_before_if_it_is_about_a_step() -> None:
    stamps = np.cumsum([0, 59, 61, 60, 3600, 60, 20, 30, 60]) * US
    interval_s, known = row_intervals(stamps, -60 * US, 60)
    assert interval_s.tolist() == [60, 59, 61, 60, 60, 60, 60, 30, 60]
    assert known.tolist() == [True, True, True, True, False, True, False, True, True]


def test_the_first_row_of_all_counts_an_unknown_interval() -> None:
    interval_s, known = row_intervals(np.array([to_us(START)]), None, 300)
    assert (interval_s.tolist(), known.tolist()) == ([300.0], [False])


def test_no_rows_have_no_intervals() -> None:
    interval_s, known = row_intervals(np.zeros(0, np.int64), None, 60)
    assert len(interval_s) == len(known) == 0


class TestValidity:
    CHANGE = datetime(2022, 6, 1, 12, tzinfo=UTC)
    END = datetime(2023, 1, 1, tzinfo=UTC)

    @pytest.fixture
    def gauge(self) -> GaugeCalibrations:
        old = record(valid_to=self.CHANGE)
        new = record(valid_from=self.CHANGE, valid_to=self.END, mm_per_tip=0.25)
        return GaugeCalibrations("hydropolis", (new, old))

    @pytest.fixture
    def depths(self, gauge: GaugeCalibrations) -> Callable[..., tuple[list[float], list[int]]]:
        def of(*instants: datetime, nominal: float | None = None) -> tuple[list[float], list[int]]:
            chosen = dataclasses.replace(gauge, nominal_mm=nominal)
            t = np.array([to_us(at) for at in instants])
            ones = np.ones(len(t))
            mm, flags = chosen.depths(t, ones.astype(np.int64), ones * 60, ones.astype(bool))
            return mm.tolist(), flags.tolist()

        return of

    def test_a_row_belongs_to_the_record_in_force_in_its_step(
        self, depths: Callable[..., tuple[list[float], list[int]]]
    ) -> None:
        # A row stamped at the change counts the minute before it.
        found, flags = depths(self.CHANGE, self.CHANGE + timedelta(minutes=1))
        assert found == pytest.approx([0.2 * 1.0769, 0.25 * 1.0769])
        assert flags == [0, 0]

    def test_without_a_record_there_is_no_depth_and_a_flag(
        self, depths: Callable[..., tuple[list[float], list[int]]]
    ) -> None:
        found, flags = depths(START, self.END, self.END + timedelta(minutes=1))
        assert np.isnan(found).tolist() == [True, False, True]
        assert flags == [Flag.UNCALIBRATED, 0, Flag.UNCALIBRATED]

    def test_the_nominal_depth_is_flagged_where_the_site_allows_it(
        self, depths: Callable[..., tuple[list[float], list[int]]]
    ) -> None:
        found, flags = depths(START, self.END, nominal=0.2)
        assert found == pytest.approx([0.2, 0.25 * 1.0769])
        assert flags == [Flag.NOMINAL, 0]

    def test_rows_of_unknown_intervals_are_flagged(self, gauge: GaugeCalibrations) -> None:
        t = np.array([to_us(self.END)])
        _, flags = gauge.depths(t, np.array([1]), np.array([60.0]), np.array([False]))
        assert flags.tolist() == [Flag.UNKNOWN_INTERVAL]

    def test_versions_in_force_are_told_in_their_order(self, gauge: GaugeCalibrations) -> None:
        old, new = (one.version for one in gauge.records)
        minute = timedelta(minutes=1)

        def versions(first: datetime, last: datetime) -> tuple[str, ...]:
            return gauge.versions(to_us(first), to_us(last))

        assert versions(START + minute, self.CHANGE) == (old,)
        assert versions(START, self.CHANGE) == ("uncalibrated", old)
        assert versions(self.CHANGE, self.CHANGE + minute) == (old, new)
        assert versions(self.CHANGE + minute, self.END) == (new,)
        assert versions(self.CHANGE + minute, self.END + minute) == (new, "uncalibrated")
        assert versions(self.END + minute, self.END + 2 * minute) == ("uncalibrated",)
        nominal = dataclasses.replace(gauge, nominal_mm=0.2)
        assert nominal.versions(0, to_us(START)) == ("nominal:0.2",)

    def test_the_record_of_an_instant_is_that_of_a_row_stamped_then(
        self, gauge: GaugeCalibrations
    ) -> None:
        old, new = gauge.records
        minute = timedelta(minutes=1)
        instants = (START, START + minute, self.CHANGE, self.CHANGE + minute, self.END + minute)
        assert [gauge.at(to_us(at)) for at in instants] == [None, old, old, new, None]

    def test_changes_are_the_ends_of_validity(self, gauge: GaugeCalibrations) -> None:
        assert gauge.changes_us() == [to_us(at) for at in (START, self.CHANGE, self.END)]

    @pytest.mark.parametrize("end", [None, datetime(2022, 6, 2, tzinfo=UTC)])
    def test_two_records_in_force_at_once_are_refused(self, end: datetime | None) -> None:
        with pytest.raises(ParameterError, match="in force at once"):
            GaugeCalibrations("hydropolis", (record(valid_to=end), record(valid_from=self.CHANGE)))

    def test_a_record_of_another_gauge_is_refused(self) -> None:
        with pytest.raises(ParameterError, match="polytech"):
            GaugeCalibrations("hydropolis", (record(gauge="polytech"),))
