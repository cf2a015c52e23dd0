"""Indices of ISO 22400 from the same times as TRS."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workspace_lib.machining.iso22400 import iso_22400
from workspace_lib.machining.kpis import Times, compute_kpis

MINUTE = 60_000_000
SHIFT = Times(
    total_us=480 * MINUTE,
    planned_us=60 * MINUTE,
    own_us=40 * MINUTE,
    setup_us=30 * MINUTE,
    induced_us=50 * MINUTE,
    micro_us=20 * MINUTE,
    produced=200,
    good=190,
    ideal_us=200 * MINUTE,
    stops=4,
)


def test_indices_of_a_shift() -> None:
    found = iso_22400(SHIFT)
    assert found.availability == 300 / 420
    assert found.effectiveness == 200 / 300
    assert found.quality_ratio == 0.95
    assert found.scrap_ratio == 0.05
    assert found.allocation_ratio == 380 / 420
    assert found.allocation_efficiency == 380 / 420
    assert found.utilization_efficiency == 300 / 380
    assert found.technical_efficiency == 300 / 350
    assert found.setup_rate == 30 / 330
    assert found.production_process_ratio == 300 / 420
    assert found.throughput == pytest.approx(200 / 7, abs=1e-12)


def test_oee_is_trs_and_nee_does_not_count_set_up_as_lost() -> None:
    found = iso_22400(SHIFT)
    assert found.oee == pytest.approx(compute_kpis(SHIFT).trs, abs=1e-15)
    assert found.oee is not None
    assert found.nee == pytest.approx(found.oee * 330 / 300, abs=1e-15)


def test_both_ways_to_count_the_time_between_failures() -> None:
    found = iso_22400(SHIFT)
    assert (found.mtbf_s, found.mtbf_2014_s, found.mttr_s) == (75 * 60, 60 * 60, 10 * 60)
    without = iso_22400(replace(SHIFT, stops=0))
    assert (without.mtbf_s, without.mttr_s, without.mtbf_2014_s) == (None, None, 300 * 60)


def test_micro_stops_that_lower_availability_are_down_time() -> None:
    found = iso_22400(replace(SHIFT, micro_class="availability"))
    assert found.availability == 280 / 420
    assert found.production_process_ratio == 280 / 420


def test_what_is_not_known_has_no_index() -> None:
    found = iso_22400(Times(total_us=MINUTE, closed_us=MINUTE))
    assert (found.availability, found.oee, found.throughput) == (None, None, None)
    assert iso_22400(replace(SHIFT, good=None, useful_us=None)).quality_ratio is None
