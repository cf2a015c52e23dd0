"""Names by IEEE C37.232: legal on every system, told apart, and understood again."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime, timedelta

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from workspace_lib.errors import FormatError
from workspace_lib.reclosers.comname import (
    LONGEST,
    ComName,
    bounded,
    field,
    format_comname,
    house_name,
    parse_comname,
    text_of,
    time_code,
)
from workspace_lib.reclosers.record import device_time

#: Any text, and many that are nearly the same.
TEXTS = st.text() | st.text(alphabet="aA-_~ .,\t", max_size=6) | st.sampled_from(["CON", "nul.txt"])
WHEN = device_time(datetime(2026, 8, 2, 11, 10, 7), 260_000_000, 3)
OFFSETS = st.integers(-14 * 4, 14 * 4).map(lambda quarters: timedelta(minutes=15 * quarters))
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE | re.DOTALL)


def is_legal(name: str) -> bool:
    """Whether Windows takes a name, and COMNAME a field."""
    return (
        not re.search(r'[<>:"/\\|?*,]', name)
        and not any(unicodedata.category(one) in ("Cc", "Cs") for one in name)
        and not name.endswith((".", " "))
        and not RESERVED.fullmatch(name)
    )


def test_a_name_tells_when_where_and_what() -> None:
    name = ComName(WHEN, timedelta(hours=-4), "Boulevard north", "LAV-101", "Utility", ("AG T",))
    text = format_comname(name, "cev")
    assert text == "260802,111007260,-4,Boulevard-north,LAV-101,Utility,AG-T.cev"
    assert parse_comname(text) == name


@pytest.mark.parametrize(
    ("minutes", "code"), [(0, "0"), (-240, "-4"), (330, "+5h30"), (-210, "-3h30"), (630, "+10h30")]
)
def test_the_zone_is_written_as_the_standard_writes_it(minutes: int, code: str) -> None:
    assert time_code(timedelta(minutes=minutes)) == code


def test_names_that_others_gave_are_understood() -> None:
    found = parse_comname(
        "260802,11100726,-5,MANHATTAN 81D WSA,WSA MANHATN 13112 (451),TEC,,1.000,1.31,BG T,"
        "Compressed Default.CEV"
    )
    assert str(found.time) == "2026-08-02T11:10:07.26"
    assert (found.offset, found.station) == (timedelta(hours=-5), "MANHATTAN 81D WSA")
    assert (found.device, found.company) == ("WSA MANHATN 13112 (451)", "TEC")
    assert found.user == ("", "1.000", "1.31", "BG T", "Compressed Default")


def test_a_name_without_further_fields_is_understood() -> None:
    found = parse_comname("080528,160910,0,ONA,1,ABC.PMU")
    assert (str(found.time), found.device, found.user) == ("2008-05-28T16:09:10", "1", ())


@pytest.mark.parametrize("code", ["-5t", "-5s", "-5T"])
def test_a_mark_behind_the_zone_does_no_harm(code: str) -> None:
    assert parse_comname(f"080528,160910,{code},ONA,1,ABC.cfg").offset == timedelta(hours=-5)


@pytest.mark.parametrize(
    "name",
    [
        "Event 1.cev",
        "260802,111007",
        "261302,111007,0,A,B,C.cev",
        "260802,251007,0,A,B,C.cev",
        "260802,111007,east,A,B,C.cev",
        "26082,1111007,0,A,B,C.cev",
        "",
    ],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(FormatError, match=re.escape("C37.232")):
        parse_comname(name)


def test_blanks_become_one_hyphen_and_a_hyphen_two() -> None:
    assert field("AG T") == "AG-T"
    assert field("Saint-Jean") == "Saint--Jean"
    assert field("a  \t b").startswith("a-b~")


@given(TEXTS, TEXTS)
@example("a b", "a-b")
@example("a  b", "a b")
@example("a_b", "a,b")
@example("é", "e\u0301")
@example("a - b", "a----b")
def test_two_texts_never_give_the_same_field(one: str, other: str) -> None:
    assert (field(one) == field(other)) is (one == other)


@given(TEXTS, TEXTS)
@example("CON", "_CON")
@example("a.", "a")
def test_two_texts_never_give_the_same_folder(one: str, other: str) -> None:
    assert (house_name(one) == house_name(other)) is (one == other)


@given(TEXTS)
def test_a_folder_is_legal_everywhere(text: str) -> None:
    assert is_legal(house_name(text))
    assert house_name(text)


@given(TEXTS)
def test_what_has_no_mark_can_be_turned_back(text: str) -> None:
    made = field(text)
    assert "~" in made or text_of(made) == text


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,38}[A-Za-z0-9]", fullmatch=True))
def test_a_house_name_stays_as_it_is(text: str) -> None:
    assert house_name(text) == text or RESERVED.fullmatch(text)


@given(
    OFFSETS, TEXTS, TEXTS, TEXTS, st.lists(TEXTS, max_size=5), st.sampled_from(["", "cev", "hdr"])
)
def test_a_name_is_legal_and_not_too_long(
    offset: timedelta, station: str, device: str, company: str, user: list[str], ending: str
) -> None:
    name = format_comname(ComName(WHEN, offset, station, device, company, tuple(user)), ending)
    assert len(name.encode()) <= LONGEST
    assert is_legal(name.replace(",", "")) or not ending
    assert not name.startswith(".")


@given(
    OFFSETS, st.text("AZ az-09é", max_size=20), st.lists(st.text("AZ az-", max_size=9), max_size=3)
)
def test_a_name_that_is_understood_is_written_the_same(
    offset: timedelta, text: str, user: list[str]
) -> None:
    first = format_comname(ComName(WHEN, offset, text, "LAV-101", text, tuple(user)), "cev")
    assume("~" not in first)  # what a text was before its mark is not known
    assert format_comname(parse_comname(first), "cev") == first


def test_what_is_too_long_is_told_apart_by_digits() -> None:
    names = {bounded("x" * 300 + end, ".cev") for end in "ab"}
    assert len(names) == 2
    assert {len(name) for name in names} == {LONGEST}
