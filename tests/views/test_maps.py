"""A map without tiles puts every place where it is, and writes over nothing."""

from __future__ import annotations

import math
import re
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace_lib.views.maps import (
    LINE_PX,
    Place,
    Projection,
    nice_length_km,
    place_labels,
    site_map,
)
from workspace_lib.views.texts import Texts

TEXTS = Texts("en", ZoneInfo("Europe/Paris"))


def place(name: str, lat: float, lon: float, **more: object) -> Place:
    return Place(name, lat, lon, f"{name} says", **more)  # type: ignore[arg-type]


MONTPELLIER = [
    place("Hydropolis", 43.621, 3.860, value="12.4", share=1.0),
    place("Polytech", 43.633, 3.863, value="0.0", share=0.0),
    place("Triolet", 43.630, 3.867, state="stale"),
]


def test_a_kilometre_is_as_long_to_the_east_as_to_the_north() -> None:
    east_degrees = 1 / (111.13 * math.cos(math.radians(45.5)))
    corners = [place("a", 45, 3), place("b", 46, 3), place("c", 45, 3 + 100 * east_degrees)]
    project = Projection(corners, 640, 420)
    (ax, ay), (_, by), (cx, _) = (project(corner) for corner in corners)
    assert (cx - ax) / 100 == pytest.approx((ay - by) / 111.13, rel=1e-6)


def test_north_is_at_the_top() -> None:
    south, north = place("south", 43.0, 3.0), place("north", 43.1, 3.0)
    project = Projection([south, north], 640, 420)
    assert project(north)[1] < project(south)[1]


def test_a_single_place_stands_in_the_middle() -> None:
    only = place("only", 43.6, 3.9)
    x, _ = Projection([only], 640, 420)(only)
    assert x == pytest.approx(320)


def test_each_place_has_its_name_its_value_and_what_it_says() -> None:
    drawn = site_map(TEXTS, MONTPELLIER, label="Network").markup
    assert drawn.count("Hydropolis says") == 2  # a drawing for each width
    assert "12.4" in drawn
    assert 'aria-label="Network"' in drawn


def test_dry_unknown_and_stale_places_look_different() -> None:
    drawn = site_map(TEXTS, MONTPELLIER, label="Network").markup
    assert drawn.count("is-dry") == 2
    assert drawn.count("is-unknown") == 2
    assert drawn.count("ws-ring ws-stale") == 2


def test_a_name_is_text_and_never_markup() -> None:
    drawn = site_map(TEXTS, [place("<b>&", 43, 3)], label="<i>").markup
    assert "<b>" not in drawn
    assert "<i>" not in drawn


def test_the_scale_says_its_length() -> None:
    drawn = site_map(TEXTS, MONTPELLIER, label="Network").markup
    assert re.search(r">(500|200|100) m<", drawn)


@pytest.mark.parametrize(
    ("most", "length"), [(0.73, 0.5), (1.0, 1.0), (34.0, 20.0), (0.0021, 0.002)]
)
def test_scales_are_round(most: float, length: float) -> None:
    assert nice_length_km(most) == pytest.approx(length)


@given(
    st.lists(
        st.tuples(st.floats(20, 600), st.floats(20, 380), st.floats(20, 160)),
        min_size=1,
        max_size=25,
    )
)
def test_no_label_lies_on_another_or_outside(places: list[tuple[float, float, float]]) -> None:
    dots, widths = [(x, y) for x, y, _ in places], [wide for *_, wide in places]
    corners = place_labels(dots, widths, 640, 400)
    boxes = [
        (corner[0], corner[1], corner[0] + wide, corner[1] + LINE_PX)
        for corner, wide in zip(corners, widths, strict=True)
        if corner is not None
    ]
    for number, one in enumerate(boxes):
        assert one[0] >= 0
        assert one[1] >= 0
        assert one[2] <= 640
        assert one[3] <= 400
        for other in boxes[number + 1 :]:
            apart = one[2] <= other[0] or other[2] <= one[0]
            assert apart or one[3] <= other[1] or other[3] <= one[1]
