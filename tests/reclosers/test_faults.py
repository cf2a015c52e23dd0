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
from workspace_lib.reclosers.faults import TYPES, Line, Phasors, fault_type, line_of, locate
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
        return Phasors(tuple(phasor[:3]), tuple(phasor[5:8] * 1000))  # type: ignore[arg-type]

    before, during = at(4 + mark % 4), at(mark)  # whole cycles apart
    assert fault_type(before, during) == "AG"
    line = line_of(SETTINGS)
    assert line is not None
    found = locate("AG", before, during, line)
    assert found.reactance == pytest.approx(2.33, abs=0.02)
    assert found.takagi == pytest.approx(2.35, abs=0.02)
    assert found.modified_takagi == pytest.approx(2.35, abs=0.02)
