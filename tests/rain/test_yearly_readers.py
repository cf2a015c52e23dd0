"""The yearly files of the programs that came before: what is a tip count, and what is not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace_lib import formats
from workspace_lib.cli import main
from workspace_lib.errors import FormatError
from workspace_lib.rain.yearly_grammar import kind_of, parse_yearly_name
from workspace_lib.rain.yearly_readers import NO_WIND, YearlyFile, parse_yearly, read_yearly

HEADER = b"Station,Timestamp,Rain,Wind,Battery,Year\n"
#: 2024-01-01T00:00:00Z [s since 1970].
START_S = 1_704_067_200


def row(
    minute: int, rain: str, wind: str = "7", battery: str = "12.194", label: str = "MSE"
) -> str:
    return f"{label},{START_S + 60 * minute},{rain},{wind},{battery},2024.0\n"


def concatenated(*rows: str, name: str = "Mse_concatenated_2024.csv") -> YearlyFile:
    return parse_yearly(HEADER + "".join(rows).encode(), name)


def codes(parsed: YearlyFile) -> list[str]:
    return [found.issue.code for found in parsed.issues]


def test_a_concatenated_file_holds_counts_of_tips() -> None:
    parsed = concatenated(row(0, "0"), row(1, "3", "241", "12.258"))
    assert parsed.unit == "tips"
    assert parsed.rows["tips"].tolist() == [0, 3]
    assert parsed.rows["t_us"].tolist() == [START_S * 10**6, (START_S + 60) * 10**6]
    assert (parsed.rows["wind"][1], parsed.rows["battery_v"][1]) == (241, 12.258)
    assert parsed.issues == ()


def test_counts_written_as_floats_are_counts() -> None:
    parsed = concatenated(row(0, "2.0", "7.0"), row(1, "na", "na", "na"))
    assert parsed.unit == "tips"
    assert (parsed.rows["tips"].tolist(), parsed.rows["wind"].tolist()) == ([2], [7])


@pytest.mark.parametrize("word", ["na", "NaN", "", "NA"])
def test_a_minute_that_was_not_recorded_is_missing_and_not_zero(word: str) -> None:
    parsed = concatenated(row(0, "0"), row(1, word, word, word), row(2, "0"))
    assert parsed.rows["t_us"].tolist() == [START_S * 10**6, (START_S + 120) * 10**6]
    assert (parsed.missing, parsed.unrecorded) == (1, 1)
    assert codes(parsed) == ["unrecorded"]


def test_missing_minutes_count_gaps_and_what_was_not_recorded() -> None:
    parsed = concatenated(row(0, "na"), row(1, "0"), row(5, "1"), row(6, "na"))
    assert parsed.missing == 3 + 2


def test_a_row_without_wind_or_battery_is_a_row() -> None:
    parsed = concatenated(row(0, "4", "na", ""))
    assert parsed.rows["wind"][0] == NO_WIND
    assert np.isnan(parsed.rows["battery_v"][0])


def test_a_fraction_of_a_tip_makes_millimetres_of_the_whole_file() -> None:
    parsed = concatenated(row(0, "1.0"), row(1, "0.2"))
    assert parsed.unit == "mm"
    assert "tips" not in parsed.rows.dtype.names
    assert codes(parsed) == ["not_tips"]


def test_the_form_that_holds_counts_times_a_depth_is_never_taken_for_tips() -> None:
    content = (
        b"Datetime_TU,Station,Rain,Wind,Battery\n"
        b"2024-06-01 00:00:00+00:00,Mse,1.0,120.0,12.9\n2024-06-01 00:01:00+00:00,Mse,na,na,na\n"
    )
    parsed = parse_yearly(content, "Mse_concatenated_2024.csv")
    assert parsed.unit == "mm"
    assert parsed.rows["rain_mm"].tolist() == [1.0]
    assert parsed.rows["t_us"].tolist() == [1_717_200_000 * 10**6]
    assert parsed.missing == 1


def test_a_treated_file_is_millimetres_of_an_unknown_calibration(tmp_path: Path) -> None:
    path = tmp_path / "Mse_treated_2024.csv"
    path.write_bytes(HEADER + row(0, "1.0769").encode())
    meta = read_yearly(path).meta
    assert (meta["unit"], meta["calibration"]) == ("mm", "unknown")


def test_the_label_inside_is_reported_and_decides_nothing(tmp_path: Path) -> None:
    path = tmp_path / "Hydropolis_concatenated_2024.csv"
    path.write_bytes(HEADER + (row(0, "0", label="ARCHIEST") + row(1, "0", label="MSE")).encode())
    meta = read_yearly(path).meta
    assert meta["identity"] == "Hydropolis"
    assert meta["label"] == ["ARCHIEST", "MSE"]


def test_repeated_stamps_are_kept_and_said(tmp_path: Path) -> None:
    parsed = concatenated(row(0, "0"), row(0, "0", battery="14.105"), row(0, "0", battery="14.105"))
    assert len(parsed.rows) == 3
    assert codes(parsed) == ["repeated_stamp"]
    assert parsed.issues[0].issue.message.endswith(
        "before them: 2; of these, with other values: 1."
    )


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("MSE,1704067260,0,7\n", "field_count"),
        ("MSE,17040x7260,0,7,12.2,2024\n", "bad_number"),
        ("MSE,1704067260,none!,7,12.2,2024\n", "bad_number"),
        ("MSE,1704067260,0,7,12.2.2,2024\n", "bad_number"),
        ("MSE,1704067260,-1,7,12.2,2024\n", "negative_tips"),
        ("MSE,1704067260,99999999999,7,12.2,2024\n", "bad_number"),
        ("MSE,170,0,7,12.2,2024\n", "stamp_out_of_range"),
        ("MSE\0,1704067260,0,7,12.2,2024\n", "nul_bytes"),
        ("MSE\x1b,1704067260,0,7,12.2,2024\n", "odd_bytes"),
        ("MSE,1704067260,0,7,1", "truncated_line"),
    ],
)
def test_a_bad_line_is_a_named_issue_with_its_text(line: str, code: str) -> None:
    parsed = concatenated(row(0, "1"), "\n", line)
    found = next(found for found in parsed.issues if found.line)
    assert (found.issue.code, found.line) == (code, 4)
    assert found.text
    assert parsed.rows["tips"].tolist() == [1]
    assert parsed.lines == len(parsed.rows) + parsed.blank + parsed.bad + parsed.unrecorded + 1


def test_a_last_line_without_an_end_is_a_row_if_its_values_are_whole() -> None:
    parsed = concatenated(row(0, "1"), row(1, "2").rstrip("\n"))
    assert parsed.rows["tips"].tolist() == [1, 2]
    assert codes(parsed) == ["no_final_newline"]


def test_a_last_depth_without_an_end_may_be_half_and_is_none() -> None:
    parsed = parse_yearly(b"Timestamp,Mse\n1704067200,1.2\n1704067260,1", "x.csv")
    assert parsed.rows["rain_mm"].tolist() == [1.2]
    assert codes(parsed) == ["no_final_newline", "truncated_line"]


def test_rows_of_another_year_than_the_name_says_are_noticed() -> None:
    parsed = concatenated(row(0, "0"), name="Mse_concatenated_2023.csv")
    assert codes(parsed) == ["year_differs"]
    assert len(parsed.rows) == 1


def test_a_sparse_file_has_a_column_for_each_gauge() -> None:
    content = b"Timestamp,Mse,CRBM\r\n1704067200.0,0.0,0.4\r\n1704067260.0,na,0.2\r\n"
    parsed = parse_yearly(content, "network_sparse.csv")
    assert parsed.unit == "mm"
    assert parsed.labels == ("Mse", "CRBM")
    assert parsed.rows["rain_mm"][parsed.rows["label"] == b"CRBM"].tolist() == [0.4, 0.2]
    assert parsed.rows["rain_mm"][parsed.rows["label"] == b"Mse"].tolist() == [0.0]


@pytest.mark.parametrize(
    ("name", "label", "kind", "year"),
    [
        ("Hydropolis_concatenated_2004.csv", "Hydropolis", "concatenated", 2004),
        ("Rue_Brives_treated_2024.csv", "Rue_Brives", "treated", 2024),
        ("Hydropolis_treated_2004_sparse.csv", "Hydropolis", "sparse", 2004),
        ("Mse_concatenated_2024_backup_20240901.csv", "Mse", "concatenated", 2024),
    ],
)
def test_the_name_says_whose_and_what_it_is(name: str, label: str, kind: str, year: int) -> None:
    known = parse_yearly_name(name)
    assert known is not None
    assert (known.label, known.kind, known.year) == (label, kind, year)


def test_without_a_name_only_whole_counts_are_tips() -> None:
    assert kind_of("x.csv", HEADER + row(0, "0").encode()) == "concatenated"
    assert kind_of("x.csv", HEADER + row(0, "0.0").encode()) == "treated"
    assert kind_of("x.csv", HEADER + row(0, "na").encode()) == "treated"
    assert kind_of("x.csv", b"Timestamp,Mse\n1704067200,0.0\n") == "sparse"
    assert kind_of("x.csv", b"pluvio,a,b,c\nHydropolis,0.0008,1.0761,0\n") is None


def test_a_file_of_that_name_with_another_content_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "Mse_concatenated_2024.csv"
    path.write_bytes(b"nothing of the kind\n")
    assert formats.find_reader(path).format == "hsm-concatenated"
    with pytest.raises(FormatError, match="header"):
        formats.inspect(path)


def test_a_file_of_a_header_alone_is_unreadable() -> None:
    with pytest.raises(FormatError, match="only a header"):
        concatenated()


REAL = {
    "Hydropol_010323_000400.txt": ("hsm-a0", "Hydropol", 5, 0),
    "Hydropolis_concatenated_2004.csv": ("hsm-concatenated", "Hydropolis", 2, 0),
    "Hydropolis_treated_2004.csv": ("hsm-treated", "Hydropolis", 2, None),
    "Hydropolis_treated_2004_sparse.csv": ("hsm-sparse", "Hydropolis", 2, None),
    "Mse_concatenated_2024_first30.csv": ("hsm-concatenated", "Mse", 30, 0),
}


@pytest.mark.parametrize("name", sorted(REAL))
def test_inspect_reads_the_real_files(
    name: str, real_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(real_data / "rain" / "hsm" / name), "--json"]) == 0
    told = capsys.readouterr().out
    found = json.loads(told)
    assert "NaN" not in told
    assert (found["format"], found["gauge"], found["rows"], found["tips"]) == REAL[name]
    assert (found["total_mm"], found["missing"], found["stamp"]) == (None, 0, "end")


def test_the_real_clock_reset_minute_has_two_batteries(real_data: Path) -> None:
    record = read_yearly(real_data / "rain" / "hsm" / "Hydropolis_concatenated_2004.csv")
    assert record.data["t_us"].tolist() == [1_072_915_260 * 10**6] * 2
    assert record.data["battery_v"].tolist() == [13.404, 14.105]
    assert [issue.code for issue in record.issues] == ["repeated_stamp"]


NUMBERS = [b"0", b"3", b"3.0", b"0.2", b"-1", b"1e5", b"12.194", b" 7 ", b"2024", b"9" * 14]
ODD = [b"na", b"", b"x", b'"', b"MSE", b"\xc3\xa9", b"\xff", b"\0", b"\x1b"]
FIELDS = st.sampled_from([*NUMBERS, *ODD, b"1704067200", b"1704067260.0"])
LINES = st.one_of(
    st.binary(max_size=30),
    st.lists(FIELDS, min_size=1, max_size=8).map(b",".join),
    st.tuples(st.integers(1704067200, 1704067500), FIELDS, FIELDS, FIELDS).map(
        lambda parts: b"MSE,%d,%b,%b,%b,2024.0" % parts
    ),
)


@given(
    st.lists(LINES, max_size=12),
    st.sampled_from([b"\n", b"\r\n"]),
    st.booleans(),
    st.sampled_from(["concatenated", "treated"]),
)
def test_every_line_of_any_file_is_accounted_for(
    lines: list[bytes], end: bytes, finished: bool, kind: str
) -> None:
    content = HEADER + end.join(lines) + (end if finished else b"")
    try:
        parsed = parse_yearly(content, f"Mse_{kind}_2024.csv")
    except FormatError:
        return
    counted = len(parsed.rows) + parsed.blank + parsed.bad + parsed.unrecorded + 1
    assert parsed.lines == counted
    assert parsed.missing is not None
    assert parsed.missing >= 0
    value = "tips" if parsed.unit == "tips" else "rain_mm"
    assert (parsed.rows[value] >= 0).all()


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40, unique=True), st.data())
def test_counts_written_in_any_form_come_back(minutes: list[int], data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(0, 99), min_size=len(minutes), max_size=len(minutes)))
    forms = ("%d", "%d.0", "%d.", " %d ", "+%d")
    rows = [
        row(minute, data.draw(st.sampled_from(forms)) % count)
        for minute, count in zip(minutes, counts, strict=True)
    ]
    parsed = concatenated(*rows)
    assert parsed.rows["tips"].tolist() == counts
    assert parsed.missing == max(minutes) - min(minutes) + 1 - len(minutes)
