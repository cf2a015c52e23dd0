"""Types of faults and distances: of circuits that are solved here, and of a published event."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace_lib.errors import ParameterError
from workspace_lib.reclosers.faults import (
    TYPES,
    Line,
    Phasors,
    fault_type,
    line_of,
    locate,
    sector,
    superimposed,
)
from workspace_lib.reclosers.phasors import A

LINE = Line(complex(2.0, 8.0), complex(5.0, 24.0), 10.0)
SETTINGS = {
    "Z1MAG": "2.14", "Z1ANG": "68.86", "Z0MAG": "6.38", "Z0ANG": "72.47", "LL": "4.84",
    "CTR": "120", "PTR": "180",
}  # fmt: skip


def polar(magnitude: float, degrees: float) -> complex:
    return magnitude * complex(np.exp(1j * math.radians(degrees)))


def circuit(kind: str, m: float, ohms: float, load: float = 0.0) -> tuple[Phasors, Phasors]:
    """Solve a radial feeder (source, line, fault) in sequence networks; returns before, during.

    The load hangs at the fault and is neglected during it, so that the reactance method is off by
    the fault's resistance only.
    """
    source, z1s, z0s = 14_400 + 0j, complex(0.3, 1.2), complex(0.2, 1.0)
    z1, z0 = m * LINE.z1, m * LINE.z0
    first, zero = z1s + z1, z0s + z0
    i1 = i2 = i0 = 0j
    if kind == "AG":
        i1 = i2 = i0 = source / (2 * first + zero + 3 * ohms)
    elif kind == "BC":
        i1 = source / (2 * first + ohms)
        i2 = -i1
    elif kind == "BCG":
        below = first * (zero + 3 * ohms) / (first + zero + 3 * ohms)
        i1 = source / (first + below)
        i2 = -i1 * (zero + 3 * ohms) / (first + zero + 3 * ohms)
        i0 = -i1 * first / (first + zero + 3 * ohms)
    else:
        i1 = source / (first + ohms)
    before_i1 = complex(load)

    def phases(zero_: complex, positive: complex, negative: complex) -> tuple[complex, ...]:
        return (
            zero_ + positive + negative,
            zero_ + A**2 * positive + A * negative,
            zero_ + A * positive + A**2 * negative,
        )

    during = Phasors(
        phases(i0, i1, i2),  # type: ignore[arg-type]
        phases(-i0 * z0s, source - i1 * z1s, -i2 * z1s),  # type: ignore[arg-type]
    )
    before = Phasors(
        phases(0, before_i1, 0),  # type: ignore[arg-type]
        phases(0, source - before_i1 * z1s, 0),  # type: ignore[arg-type]
    )
    return before, during


@pytest.mark.parametrize("kind", ["AG", "BC", "BCG", "ABC"])
@given(st.floats(0.05, 1.0))
def test_a_solid_fault_is_where_it_is_by_every_method(kind: str, m: float) -> None:
    before, during = circuit(kind, m, 0.0)
    assert fault_type(before, during) == kind
    found = locate(kind, before, during, LINE)
    for distance in (found.reactance, found.takagi, found.modified_takagi):
        assert distance == pytest.approx(m * 10, rel=1e-6)


@pytest.mark.parametrize("kind", ["AG", "BC"])
def test_resistance_without_load_misleads_no_method_with_a_homogeneous_current(kind: str) -> None:
    before, during = circuit(kind, 0.6, 5.0)
    found = locate(kind, before, during, LINE)
    assert found.takagi == pytest.approx(6.0, rel=1e-6)
    assert found.modified_takagi == pytest.approx(6.0, rel=1e-6)


def test_the_phases_may_be_exchanged() -> None:
    before, during = circuit("AG", 0.4, 0.0)

    def turned(at: Phasors) -> Phasors:
        return Phasors((at.i[2], at.i[0], at.i[1]), (at.v[2], at.v[0], at.v[1]))

    assert fault_type(turned(before), turned(during)) == "BG"
    assert locate("BG", turned(before), turned(during), LINE).reactance == pytest.approx(4.0)


def test_nothing_that_changes_is_no_fault() -> None:
    before, _ = circuit("AG", 0.4, 0.0, load=100)
    assert fault_type(before, before) is None


def test_an_unknown_type_is_refused() -> None:
    before, during = circuit("AG", 0.4, 0.0)
    with pytest.raises(ParameterError, match="AG, BG"):
        locate("AD", before, during, LINE)
    assert "AD" not in TYPES


def test_the_line_comes_from_the_settings_in_primary_ohms() -> None:
    line = line_of(SETTINGS)
    assert line is not None
    assert abs(line.z1) == pytest.approx(2.14 * 180 / 120)
    assert line.length == 4.84


@pytest.mark.parametrize("missing", ["Z1MAG", "CTR", "LL"])
def test_without_a_setting_there_is_no_line(missing: str) -> None:
    assert line_of({**SETTINGS, missing: ""}) is None


def test_a_published_event_is_as_far_as_published(real_data: Path) -> None:
    path = real_data / "recloser" / "protocol_samples" / "sel351a_eve_example_p497.txt"
    lines = [line for line in path.read_text().splitlines() if re.match(r"(-?\d+ ){3}", line)]
    rows = [[float(number) for number in re.findall(r"-?\d+\.?\d*", line)[:11]] for line in lines]
    mark = next(number for number, line in enumerate(lines) if "*" in line)

    def at(row: int) -> Phasors:
        x, y = np.array(rows[row]), np.array(rows[row - 1])
        phasor = x + 1j * y
        return Phasors(tuple(phasor[:3]), tuple(phasor[5:8] * 1000))

    before, during = at(4 + mark % 4), at(mark)  # whole cycles apart
    assert fault_type(before, during) == "AG"
    line = line_of(SETTINGS)
    assert line is not None
    found = locate("AG", before, during, line)
    assert found.reactance == pytest.approx(2.33, abs=0.02)
    assert found.takagi == pytest.approx(2.35, abs=0.02)
    assert found.modified_takagi == pytest.approx(2.35, abs=0.02)


# --- load, weak faults, the angle between I2 and I0 -----------------------------------------------


def feeder(kind: str, m: float, ohms: float, load_ohms: complex) -> tuple[Phasors, Phasors]:
    """Solve a feeder in phase quantities: source, line to the fault, load behind it in each phase.

    The load is an impedance to ground at the fault, so that its currents change with the voltage.
    Returns before and during; any of the ten types.
    """
    source = 14_400 * np.array([1, A**2, A])
    one, zero = complex(0.3, 1.2) + m * LINE.z1, complex(0.2, 1.0) + m * LINE.z0
    own, mutual = (zero + 2 * one) / 3, (zero - one) / 3
    series = np.full((3, 3), mutual) + np.eye(3) * (own - mutual)
    loads = np.diag([1 / load_ohms] * 3)
    fault = np.zeros((3, 3), complex)
    phases = ["ABC".index(letter) for letter in kind if letter != "G"]
    if len(phases) == 1:
        fault[phases[0], phases[0]] = 1 / ohms
    else:
        # To a common point: grounded by the same resistance, or not at all.
        arms = np.zeros((3, 3), complex)
        for phase in phases:
            arms[phase, phase] = 1 / ohms
        column = arms.sum(axis=1, keepdims=True)
        ground = 1 / ohms if kind.endswith("G") else 0.0
        fault = arms - column @ column.T / (column.sum() + ground)

    def solve(admittance: np.ndarray) -> Phasors:
        volts = np.linalg.solve(np.eye(3) + series @ admittance, source)
        current = admittance @ volts
        behind = np.full((3, 3), (complex(0.2, 1.0) - complex(0.3, 1.2)) / 3)
        behind += np.eye(3) * complex(0.3, 1.2)
        return Phasors(tuple(current), tuple(source - behind @ current))

    return solve(loads), solve(loads + fault)


@pytest.mark.parametrize("kind", TYPES)
@given(st.floats(0.05, 1.0), st.floats(0.5, 60.0), st.floats(20.0, 2000.0), st.floats(0.0, 35.0))
def test_every_type_is_known_under_any_load(
    kind: str, m: float, ohms: float, load: float, angle: float
) -> None:
    before, during = feeder(kind, m, ohms, polar(load, angle))
    assert fault_type(before, during) == kind


@pytest.mark.parametrize("kind", TYPES)
@given(st.floats(0.05, 1.0), st.floats(0.1, 5.0), st.floats(200.0, 2000.0), st.floats(0.0, 30.0))
def test_resistance_and_load_mislead_takagi_by_little(
    kind: str, m: float, ohms: float, load: float, angle: float
) -> None:
    found = locate(kind, *feeder(kind, m, ohms, polar(load, angle)), LINE)
    assert found.takagi == pytest.approx(m * LINE.length, abs=0.03 * LINE.length)


@pytest.mark.parametrize("kind", TYPES)
def test_a_fault_weaker_than_the_load_is_known(kind: str) -> None:
    before, during = feeder(kind, 0.8, 150.0, polar(25.0, 20.0))
    load = abs(before.i[0])
    added = max(abs(now - then) for now, then in zip(during.i, before.i, strict=True))
    assert added < 0.3 * load  # 90 A of a fault in 500 A of load
    assert fault_type(before, during) == kind


@pytest.mark.parametrize(
    ("kind", "types"),
    [
        ("AG", ("AG", "BCG")), ("BG", ("BG", "CAG")), ("CG", ("CG", "ABG")),
        ("BCG", ("AG", "BCG")), ("CAG", ("BG", "CAG")), ("ABG", ("CG", "ABG")),
    ],
)  # fmt: skip
def test_the_angle_between_sequence_currents_leaves_two_types(
    kind: str, types: tuple[str, str]
) -> None:
    assert sector(superimposed(*feeder(kind, 0.5, 2.0, polar(200.0, 20.0)))) == types


def test_without_ground_the_angle_says_nothing() -> None:
    for kind in ("AB", "BC", "CA", "ABC"):
        assert sector(superimposed(*feeder(kind, 0.5, 2.0, polar(200.0, 20.0)))) is None


def test_the_angle_decides_where_sizes_mislead() -> None:
    # A transformer behind the recloser feeds zero sequence current into all three phases.
    def phases(zero: complex, positive: complex, negative: complex) -> tuple[complex, ...]:
        return (
            zero + positive + negative,
            zero + A**2 * positive + A * negative,
            zero + A * positive + A**2 * negative,
        )

    none = Phasors((0j, 0j, 0j), (0j, 0j, 0j))
    infeed = Phasors(phases(900 + 0j, 200 + 0j, 200 + 0j), (0j, 0j, 0j))  # type: ignore[arg-type]
    assert min(abs(one) for one in infeed.i) > 0.5 * max(abs(one) for one in infeed.i)
    assert fault_type(none, infeed) == "AG"
    turned = Phasors((infeed.i[2], infeed.i[0], infeed.i[1]), infeed.v)
    assert fault_type(none, turned) == "BG"


def test_a_three_phase_fault_that_is_a_little_uneven_stays_one() -> None:
    none = Phasors((0j, 0j, 0j), (0j, 0j, 0j))
    uneven = Phasors((1000 + 0j, 900 * A**2, 820 * A), (0j, 0j, 0j))
    assert fault_type(none, uneven) == "ABC"
