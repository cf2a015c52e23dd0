"""The A0 reader: every line ends as a row, as blank, or as a named issue that is kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace_lib import formats
from workspace_lib.errors import FormatError
from workspace_lib.rain import grammar
from workspace_lib.rain.readers import (
    parse_a0,
    parse_a0_many,
    parse_a0_name,
    read_a0,
    sniff_a0,
)
from workspace_lib.settings import Settings

GOOD = b"ARCHIEST, 1677629040, 0, 0, 12.226\n"
NAME = "Hydropol_010323_000400.txt"


def codes(content: bytes) -> list[str]:
    return [found.issue.code for found in parse_a0_many([content]).issues]


def test_a_line_becomes_stamp_tips_wind_and_battery() -> None:
    record = parse_a0(b"ARCHIEST, 1677629040, 3, 241, 12.290\n", NAME)
    row = record.data[0]
    assert (row["t_us"], row["tips"], row["wind"]) == (1677629040_000_000, 3, 241)
    assert row["battery_v"] == 12.290
    assert row["label"] == b"ARCHIEST"
    assert record.issues == ()


def test_identity_is_the_name_and_not_the_inner_label() -> None:
    record = parse_a0(GOOD, NAME)
    assert record.meta["identity"] == "Hydropol"
    assert record.meta["label"] == ["ARCHIEST"]


def test_the_name_says_when_the_first_row_was() -> None:
    assert parse_a0_name(NAME).first == datetime(2023, 3, 1, 0, 4, tzinfo=UTC)
    assert parse_a0_name("Hydropol_991323_000400.txt").first is None
    assert parse_a0_name("Hydropolis_treated_2004.csv") is None


def test_a_name_that_contradicts_the_first_row_is_an_issue() -> None:
    record = parse_a0(GOOD, "Hydropol_010323_000500.txt")
    assert [issue.code for issue in record.issues] == ["name_differs"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"ARCHIEST, 1677629040, 0, 0\n", "field_count"),
        (b"ARCHIEST, 1677629040, 0, 0, 12.2, 7\n", "field_count"),
        (b"garbage\n", "field_count"),
        (b"ARCHIEST, 16776x9040, 0, 0, 12.226\n", "bad_number"),
        (b"ARCHIEST, 1677629040, 0.2, 0, 12.226\n", "bad_number"),
        (b"ARCHIEST, 1677629040, , 0, 12.226\n", "bad_number"),
        (b"ARCHIEST, 1677629040, 0, 0, twelve\n", "bad_number"),
        (b"ARCHIEST, 1677629040, 99999999999, 0, 12.2\n", "bad_number"),
        (b"ARCHIEST, 1677629040, -1, 0, 12.226\n", "negative_tips"),
        (b"ARCHIEST, 0, 0, 0, 12.226\n", "stamp_out_of_range"),
        (b"ARCHIEST, 9677629040, 0, 0, 12.226\n", "stamp_out_of_range"),
        (b"ARCH\0EST, 1677629040, 0, 0, 12.226\n", "nul_bytes"),
        (b", 1677629040, 0, 0, 12.226\n", "bad_label"),
        (b"ARCH\xff, 1677629040, 0, 0, 12.226\n", "bad_label"),
        (b"A" * 33 + b", 1677629040, 0, 0, 12.226\n", "bad_label"),
    ],
)
def test_a_bad_line_is_a_named_issue_with_its_text(line: bytes, code: str) -> None:
    batch = parse_a0_many([GOOD + line])
    assert len(batch.rows) == 1
    found = batch.issues[0]
    assert (found.issue.code, found.line, found.issue.severity) == (code, 2, "error")
    assert found.text == line.rstrip().decode("latin-1").encode("unicode_escape").decode()
    assert batch.bad.tolist() == [1]


@pytest.mark.parametrize(
    "line",
    [
        b"ARCHIEST,1677629040,0,0,12.226\n",
        b"ARCHIEST,\t1677629040 ,  0, 0,12.226 \n",
        b" ARCHIEST, 1677629040, 0, 0, 12.226\n",
        b"ARCHIEST, 1677629040, 0, 0, +12.226\n",
        b"ARCHIEST, 1677629040, 0, 0, 12.226\r\n",
    ],
)
def test_odd_spacing_is_read_all_the_same(line: bytes) -> None:
    row = parse_a0_many([line]).rows[0]
    assert (row["t_us"], row["tips"], row["battery_v"]) == (1677629040_000_000, 0, 12.226)
    assert row["label"] == b"ARCHIEST"


def test_negative_wind_and_battery_are_values() -> None:
    row = parse_a0_many([b"X, 1677629040, 0, -5, -0.5\n"]).rows[0]
    assert (row["wind"], row["battery_v"]) == (-5, -0.5)


def test_blank_lines_are_counted_as_blank() -> None:
    batch = parse_a0_many([b"\n" + GOOD + b"  \t\n\r\n"])
    assert (batch.lines[0], batch.blank[0], batch.bad[0], len(batch.rows)) == (4, 3, 0, 1)


def test_a_last_line_without_newline_that_is_whole_is_a_row_and_an_issue() -> None:
    content = GOOD + GOOD.replace(b"9040", b"9100").rstrip()
    batch = parse_a0_many([content])
    assert batch.rows["t_us"].tolist() == [1677629040_000_000, 1677629100_000_000]
    assert codes(content) == ["no_final_newline"]


@pytest.mark.parametrize("kept", [27, 28, 29, 31, 34])
def test_what_stands_last_in_an_unfinished_line_may_be_half_a_number(kept: int) -> None:
    row = parse_a0_many([GOOD[:kept].replace(b" 0, 0,", b" 2, 7,")]).rows[0]
    assert (row["tips"], row["wind"]) == (2, 7)
    assert np.isnan(row["battery_v"])


@pytest.mark.parametrize("kept", [3, 12, 22, 25, 26])
def test_a_last_line_that_is_cut_is_an_issue_and_no_row(kept: int) -> None:
    content = GOOD + GOOD[:kept]
    assert len(parse_a0_many([content]).rows) == 1
    assert codes(content) == ["no_final_newline", "truncated_line"]


def test_bom_and_crlf_are_said_once_per_file() -> None:
    content = b"\xef\xbb\xbf" + (GOOD + GOOD).replace(b"\n", b"\r\n")
    assert codes(content) == ["bom", "crlf"]
    assert len(parse_a0_many([content]).rows) == 2


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\0" * 175, b"no\nrow\n", b"\n\n"])
def test_a_file_without_a_single_row_is_unreadable(content: bytes) -> None:
    with pytest.raises(FormatError, match="No line is a row"):
        parse_a0(content, NAME)


def test_many_files_are_counted_each_for_itself() -> None:
    batch = parse_a0_many([GOOD * 5, b"", b"bad\n" + GOOD, GOOD.rstrip()])
    assert batch.rows["file"].tolist() == [0] * 5 + [2, 3]
    assert batch.rows["line"].tolist() == [1, 2, 3, 4, 5, 2, 1]
    assert batch.lines.tolist() == [5, 0, 2, 1]
    assert batch.bad.tolist() == [0, 0, 1, 0]
    assert [(found.file, found.issue.code) for found in batch.issues] == [
        (1, "empty"),
        (2, "field_count"),
        (3, "no_final_newline"),
    ]


def test_no_files_give_no_rows() -> None:
    batch = parse_a0_many([])
    assert len(batch.rows) == 0
    assert batch.lines.tolist() == []


@given(
    st.lists(
        st.lists(
            st.one_of(
                st.binary(max_size=40).filter(lambda line: b"\n" not in line),
                st.text("A0123456789,. -\t\r\0", max_size=40).map(str.encode),
                st.builds(
                    "{}, {}, {}, {}, {}".format,
                    st.sampled_from(["ARCHIEST", "Mse", "x" * 32]),
                    st.integers(0, 2**33),
                    st.integers(-2, 2_000_000),
                    st.integers(-2, 2_000_000),
                    st.decimals(-3, 2_000_000, places=3),
                ).map(str.encode),
            ),
            max_size=6,
        ),
        max_size=5,
    )
)
def test_every_line_ends_as_row_blank_or_issue_as_the_judge_of_one_line_says(
    files: list[list[bytes]],
) -> None:
    contents = [b"".join(line + b"\n" for line in lines) for lines in files]
    batch = parse_a0_many(contents)
    rows = {(row["file"], row["line"]): row for row in batch.rows}
    refused = {(found.file, found.line): found.issue.code for found in batch.issues if found.line}
    for file, lines in enumerate(files):
        for number, line in enumerate(lines, start=1):
            text = line.removesuffix(b"\r")
            if number == 1:
                text = text.removeprefix(b"\xef\xbb\xbf")
            outcome = grammar.parse_line(text)
            if not text.strip(b" \t"):
                assert (file, number) not in rows
                assert (file, number) not in refused
            elif isinstance(outcome, grammar.Refusal):
                assert refused[file, number] == outcome.code
            else:
                row = rows[file, number]
                found = (row["t_us"], row["tips"], row["wind"], row["battery_v"], row["label"])
                assert found == outcome
    assert np.array_equal(
        batch.lines,
        batch.blank + batch.bad + np.bincount(batch.rows["file"], minlength=len(files)),
    )


@given(st.decimals(0, 999_999, places=6), st.integers(0, 6))
def test_battery_voltages_are_rounded_as_python_rounds_them(value: object, places: int) -> None:
    text = f"{value:.{places}f}"
    row = parse_a0_many([f"X, 1677629040, 0, 0, {text}\n".encode()]).rows[0]
    assert row["battery_v"] == float(text)


def test_the_detector_goes_by_name_or_by_content() -> None:
    assert sniff_a0("whatever.dat", b"\n" + GOOD)
    assert sniff_a0(NAME, b"\0\0")
    assert not sniff_a0("notes.txt", b"Station,Timestamp,Rain\n")
    assert not sniff_a0("calib.csv", b"pluvio,a,b,c\nHydropolis,0.0008,1.0761,0\n")


def test_the_two_real_files_are_read_whole(real_data: Path) -> None:
    first = read_a0(real_data / "rain/hsm/Hydropol_010323_000400.txt")
    second = read_a0(real_data / "rain/hsm/Hydropol_010323_000900.txt")
    stamps = [*first.data["t_us"].tolist(), *second.data["t_us"].tolist()]
    assert stamps == [(1677629040 + 60 * nth) * 1_000_000 for nth in range(10)]
    assert first.data["battery_v"].tolist() == [12.226, 12.226, 12.258, 12.258, 12.290]
    assert second.data["battery_v"].tolist() == [12.258, 12.258, 12.258, 12.258, 12.226]
    assert first.data["tips"].sum() == second.data["tips"].sum() == 0
    assert first.issues == second.issues == ()


@pytest.mark.parametrize(
    ("folder", "name", "gauge", "total_mm"),
    [
        ("somewhere", "Hydropol_010323_000400.txt", "hydropolis", 0.6),
        ("Polytech", "Polytech_010323_000400.txt", "polytech", None),
        ("Polytech", "Hydropol_010323_000400.txt", "Hydropol", None),
        ("somewhere", "Nobody_010323_000400.txt", "Nobody", None),
        ("somewhere", "Hydropolis_concatenated_2023.csv", "hydropolis", 0.6),
        ("somewhere", "Hydropolis_treated_2023.csv", "hydropolis", None),
    ],
)
def test_inspect_asks_the_site_whose_a_file_is_and_what_a_tip_means(
    folder: str,
    name: str,
    gauge: str,
    total_mm: float | None,
    make_site: Callable[..., Settings],
    tmp_path: Path,
) -> None:
    settings = make_site()
    (settings.site_dir / "gauges.yml").write_text(
        "gauges:\n"
        "  - {id: hydropolis, name: Hydropolis, folder: Hydropolis, mm_per_tip: 0.2}\n"
        "  - {id: polytech, name: Polytech, folder: Polytech}\n"
    )
    path = tmp_path / folder / name
    path.parent.mkdir(exist_ok=True)
    header = "Station,Timestamp,Rain,Wind,Battery,Year\n"
    yearly = f"{header}X,1677629040,3,0,12.226,2023\n".encode()
    path.write_bytes(GOOD.replace(b", 0, 0,", b", 3, 0,") if name.endswith("txt") else yearly)
    found = formats.inspect(path, settings=settings)
    assert (found["gauge"], found["total_mm"], found["stamp"]) == (gauge, total_mm, "end")
    assert formats.inspect(path)["total_mm"] is None
