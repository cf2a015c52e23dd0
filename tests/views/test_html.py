"""What a device, a file or a person wrote never becomes markup."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace_lib.views.html import Html, join, tag, text

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>'


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def parse(block: Html) -> _Elements:
    parser = _Elements()
    parser.feed(block.to_html())
    return parser


def test_text_in_an_element_is_escaped() -> None:
    assert tag("p", "a < b & c").to_html() == "<p>a &lt; b &amp; c</p>"


def test_finished_html_is_not_escaped_again() -> None:
    assert tag("p", tag("b", "x")).to_html() == "<p><b>x</b></p>"


@given(st.text())
def test_any_text_stays_text_in_content_and_in_attributes(value: str) -> None:
    found = parse(tag("p", value, title=value))
    assert found.elements == ["p"]
    assert [name for name, _ in found.attributes] == ["title"]


def test_hostile_text_brings_no_element_with_it() -> None:
    found = parse(join([tag("td", HOSTILE, data_sort=HOSTILE), HOSTILE, text(HOSTILE)]))
    assert found.elements == ["td"]
    assert found.attributes == [("data-sort", HOSTILE)]


@pytest.mark.parametrize(
    ("attributes", "written"),
    [
        ({"class_": "a"}, ' class="a"'),
        ({"data_as_of": 1}, ' data-as-of="1"'),
        ({"hidden": True}, " hidden"),
        ({"hidden": False, "id": None}, ""),
    ],
)
def test_attributes_are_keywords(attributes: dict[str, object], written: str) -> None:
    assert tag("p", **attributes).to_html() == f"<p{written}></p>"


def test_elements_without_an_end_have_none() -> None:
    assert tag("br").to_html() == "<br>"


def test_children_may_be_lists_numbers_and_none() -> None:
    assert tag("p", ["a", None, [1, 2.5]], "b").to_html() == "<p>a12.5b</p>"


def test_a_notebook_shows_a_block_as_it_is() -> None:
    assert tag("p", "x")._repr_html_() == "<p>x</p>"
