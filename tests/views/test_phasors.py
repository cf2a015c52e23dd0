"""Phasors in a circle: arrows where they point, names beside their tips."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from workspace_lib.views.phasors import Arrow, phasor_circle, series_of
from workspace_lib.views.texts import Texts

THREE = [
    Arrow("IA", "A", 100.0, 0.0),
    Arrow("IB", "B", 100.0, -120.0),
    Arrow("IC", "C", 50.0, 120.0),
]


def circle(texts: Texts, arrows: list[Arrow], title: str = "Currents") -> str:
    return phasor_circle(texts, arrows, title=title, unit="A").to_html()


def tips(shown: str) -> list[tuple[float, float]]:
    """Where arrows end, from the middle, north up [px]."""
    found = re.findall(r'd="M130 130L([\d.]+) ([\d.]+)', shown)
    return [(float(x) - 130, 130 - float(y)) for x, y in found]


def test_arrows_point_where_angles_say_and_are_as_long_as_magnitudes(texts: Texts) -> None:
    a, b, c = tips(circle(texts, THREE))
    assert a == pytest.approx((96.0, 0.0), abs=0.1)
    assert b == pytest.approx((-48.0, -83.1), abs=0.1)
    assert c == pytest.approx((-24.0, 41.6), abs=0.1)


def test_pale_arrows_are_drawn_first_and_without_a_name(texts: Texts) -> None:
    before = Arrow("before", "A", 40.0, 10.0, strong=False)
    shown = circle(texts, [*THREE, before])
    assert shown.index("opacity") < shown.index('stroke-width="2.5"')
    assert ">before<" not in shown


def test_those_who_cannot_see_it_are_told_magnitudes_and_angles(texts: Texts) -> None:
    shown = circle(texts, THREE, title="Currents <1>")
    assert "Currents &lt;1&gt;: IA 100 A, 0°; IB 100 A, −120°" in shown
    ElementTree.fromstring(re.search(r"<svg.*</svg>", shown)[0])  # type: ignore[index]


def test_names_of_neighbours_stand_apart(texts: Texts) -> None:
    shown = circle(texts, [THREE[0], Arrow("IG", "N", 97.0, 2.0)])
    found = re.findall(r'class="ws-strong" x="([\d.]+)" y="([\d.]+)"', shown)
    (x0, y0), (x1, y1) = ((float(x), float(y)) for x, y in found)
    assert abs(x0 - x1) > 20 or abs(y0 - y1) > 12


def test_no_arrow_goes_through_the_name_of_its_neighbour_or_the_scale(texts: Texts) -> None:
    near = [
        Arrow("IA", "A", 1110.0, -70.1),
        Arrow("IB", "B", 100.0, -134.4),
        Arrow("IC", "C", 100.0, 105.6),
        Arrow("IG", "", 1057.0, -74.6),
    ]
    shown = circle(texts, near)
    written = re.findall(r'<text[^>]* x="([\d.]+)" y="([\d.]+)"', shown)
    assert len(written) == 5
    for tip in tips(shown):
        for x, y in ((float(x) - 130, 134 - float(y)) for x, y in written):
            along = [(tip[0] * part / 20, tip[1] * part / 20) for part in range(21)]
            assert all(abs(x - a) > 7 or abs(y - b) > 5 for a, b in along)


def test_without_any_magnitude_there_is_nothing_to_draw(texts: Texts) -> None:
    assert circle(texts, []) == ""
    assert circle(texts, [Arrow("IA", "A", 0.0, 0.0)]) == ""


def test_phases_and_ground_have_their_colours() -> None:
    assert [series_of(phase) for phase in ("A", "B", "C", "N", "")] == [1, 6, 3, 8, 8]
