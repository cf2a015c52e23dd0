"""Strips and sparklines show what there is and nothing in between."""

from __future__ import annotations

from workspace_lib.views.marks import Mark, bar, heat_strip, sparkline, strip_legend
from workspace_lib.views.texts import Texts


def test_a_strip_keeps_the_newest_and_fills_up_with_blanks() -> None:
    marks = [Mark("good", "one"), Mark("bad", "two", "#run-2")]
    shown = heat_strip(marks, length=5).to_html()
    assert shown.count("is-none") == 3
    assert shown.index("is-none") < shown.index("one") < shown.index("two")
    assert heat_strip(marks, length=1).to_html().count("<li") == 1


def test_a_mark_says_its_state_to_those_who_cannot_see_it() -> None:
    shown = heat_strip([Mark("bad", '14:05 · failed "x"', "#run-2")], length=1).to_html()
    assert 'class="ws-sr">14:05 · failed &quot;x&quot;<' in shown
    assert 'href="#run-2"' in shown


def test_a_partial_mark_shows_its_share() -> None:
    assert "--ws-share:98%" in heat_strip([Mark("good", "x", share=0.98)], length=1).to_html()


def test_the_legend_names_only_what_is_shown(texts: Texts) -> None:
    shown = strip_legend(texts, {"good", "missed"}).to_html()
    assert "Good" in shown
    assert "Missed" in shown
    assert "Failed" not in shown


def test_a_missing_value_breaks_the_line() -> None:
    path = sparkline([1, 2, None, 3, 4]).to_html().split(' d="')[1].split('"')[0]
    assert path.count("M") == 2


def test_bars_stand_on_zero_and_missing_ones_are_absent() -> None:
    assert sparkline([0, 1, None, 4], bars=True).to_html().count('fill="var(--ws-s1)"') == 2


def test_nothing_known_is_no_drawing() -> None:
    assert not sparkline([None, None])


def test_a_bar_is_never_longer_than_its_cell() -> None:
    assert "width:100.0%" in bar(1.7).to_html()
    assert not bar(None)
