"""One of several views at a time."""

from __future__ import annotations

import re

import pytest

from workspace_lib.errors import ParameterError
from workspace_lib.views.choices import MOST, choices
from workspace_lib.views.html import tag

VIEWS = [("1 h", tag("p", "one")), ("24 h", tag("p", "day"))]


def test_each_view_has_a_button_that_names_it() -> None:
    made = choices("map", "Window", VIEWS).markup
    assert re.findall(r'<label for="map-(\d)">([^<]+)<', made) == [("0", "1 h"), ("1", "24 h")]


def test_one_view_is_chosen_at_first() -> None:
    made = choices("map", "Window", VIEWS, first=1).markup
    assert re.findall(r'id="map-(\d)" checked', made) == ["1"]


def test_views_can_be_chosen_without_a_script() -> None:
    assert "<script" not in choices("map", "Window", VIEWS).markup


@pytest.mark.parametrize("count", [0, MOST + 1])
def test_no_view_and_more_than_the_style_knows_are_refused(count: int) -> None:
    with pytest.raises(ParameterError):
        choices("map", "Window", VIEWS[:1] * count)
