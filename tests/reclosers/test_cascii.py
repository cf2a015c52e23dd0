"""Lines of compressed ASCII: what they hold, and whether they came whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace_lib.reclosers.cascii import checksum, lines, split_fields


def line(text: str, end: str = "\r\n") -> bytes:
    counted = f"{text},".encode("latin-1")
    return counted + f'"{checksum(counted):04X}"{end}'.encode()


def test_published_checksums_are_right(real_data: Path) -> None:
    path = real_data / "recloser" / "protocol_samples" / "cascii_checksum_vectors.tsv"
    vectors = [row.split("\t") for row in path.read_text().splitlines()[1:]]
    assert len(vectors) == 13
    for content, wanted, _ in vectors:
        assert f"{checksum(content.encode()):04X}" == wanted


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_lines_end_as_the_relay_or_an_editor_ends_them(end: str) -> None:
    content = line('"FID","BCBFID"', end) + line('"A","B"', end)
    assert [one.fields for one in lines(content)] == [["FID", "BCBFID"], ["A", "B"]]
    assert all(one.good for one in lines(content))


def test_control_characters_are_no_part_of_a_line() -> None:
    content = b"\x02" + line('"FID"').replace(b"I", b"I\x13\x11") + b"\x03\x1a"
    (found,) = lines(content)
    assert (found.text, found.good) == ('"FID"', True)


def test_an_echoed_command_before_the_first_line_is_not_counted() -> None:
    (found,) = lines(b"CEV 2" + line('"FID"'))
    assert found.good is True


@pytest.mark.parametrize("kept", ["\r\n", "\n", "\r"])
def test_a_text_over_several_lines_is_one_line_whatever_became_of_its_ends(kept: str) -> None:
    sent = line('"Group 1\r\nCTR := 500\r\n"')
    (found,) = lines(sent.replace(b"\r\n", kept.encode()))
    assert found.good is True
    assert "CTR := 500" in found.text


def test_a_changed_byte_is_noticed() -> None:
    found = list(lines(line('"A"') + line("1,2,3").replace(b"2", b"7")))
    assert [one.good for one in found] == [True, False]
    assert found[1].number == 2


def test_a_line_without_checksum_is_neither_good_nor_bad() -> None:
    (found,) = lines(b"=>>")
    assert found.good is None


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ('1,"BG T", ,"a,b"', ["1", "BG T", "", "a,b"]),
        ("", [""]),
        ('"a",', ["a", ""]),
        ('"a"b,c', ["a", "c"]),
    ],
)
def test_commas_in_quotes_divide_nothing(text: str, fields: list[str]) -> None:
    assert split_fields(text) == fields


@given(st.binary(max_size=300))
def test_any_bytes_end_as_lines(content: bytes) -> None:
    assert sum(1 for _ in lines(content)) <= len(content)


@given(st.lists(st.text("ABC 12.-*", max_size=8), min_size=1, max_size=6))
def test_what_was_written_is_read(fields: list[str]) -> None:
    text = ",".join(f'"{field}"' for field in fields)
    (found,) = lines(line(text))
    assert found.good is True
    assert found.fields == [field.strip() for field in fields]
