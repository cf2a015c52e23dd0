"""The report of a run over the fleet: totals, trouble, text, CSV."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from workspace_lib.errors import StoreError
from workspace_lib.reclosers.fleet_report import COLUMNS, FleetReport, RelayLine

BEGAN = datetime(2026, 5, 4, 12, 30, 15, tzinfo=UTC)
DONE = RelayLine(
    "LAV-101", "LAV", "SEL-351R", new=3, known=12, clock_error_s=-0.42, seconds=31.26, bytes=45_000
)
SILENT = RelayLine("MAT-7", "MAT", outcome="silent", attempts=2, why="It says\nnothing, at all.")


def report(*relays: RelayLine, **more: Any) -> FleetReport:
    return replace(FleetReport(BEGAN, took_s=42.4, relays=relays), **more)


def test_a_run_in_which_all_was_read_is_complete_and_without_trouble() -> None:
    found = report(DONE, replace(DONE, recloser="LAV-102", new=1))
    assert (found.complete, found.trouble) == (True, "")
    assert found.outcomes == {"done": 2}
    assert found.totals == {
        "relays": 2,
        "new": 4,
        "known": 24,
        "summaries": 0,
        "damaged": 0,
        "bytes": 90_000,
        "attempts": 0,
        "seconds": 62.5,
    }


def test_each_kind_of_trouble_is_one_part_of_a_sentence() -> None:
    found = report(
        SILENT,
        replace(SILENT, recloser="MAT-8"),
        replace(SILENT, recloser="MAT-9", outcome="refused"),
        left=("A", "B", "C", "D", "E", "F", "G"),
        resting=("X",),
        changed=(("Y", "it was a 351R and is a 651R"),),
        files_wrong=(("LAV/L/1.cev", "It was changed."),),
    )
    assert not found.complete
    assert found.trouble == (
        "silent: 2 (MAT-7, MAT-8); refused: 1 (MAT-9); "
        "left for the next run: 7 (A, B, C, D, E and 2 more); resting after failures: 1 (X); "
        "another device than before: 1 (Y); stored files missing or changed: 1 (LAV/L/1.cev)"
    )


def test_the_text_has_a_line_for_each_relay_in_columns() -> None:
    lines = report(DONE, SILENT, not_remote=2, files_checked=9).to_text().splitlines()
    assert lines[0] == "Reclosers, run of 2026-05-04T12:30:15Z, 42 s"
    heading, first, second = lines[2:5]
    assert heading.split() == list(COLUMNS)
    at = heading.index("outcome")
    assert (first[at : at + 4], second[at : at + 6]) == ("done", "silent")
    # Numbers end below the end of their heading.
    end = heading.index("known") + len("known")
    assert first[:end].endswith("12")
    assert "-0.420" in first
    assert second.endswith("It says nothing, at all.")
    rest = "\n".join(lines[5:])
    assert "2 relays (1 done, 1 silent): 3 events new, 12 known" in rest
    assert "2 cannot be reached and are only listed." in rest
    assert "9 stored files checked." in rest
    assert rest.endswith("To look at: silent: 1 (MAT-7).")


def test_the_text_of_a_run_without_relays_says_so() -> None:
    assert "0 relays (none): 0 events new" in report().to_text()


def test_the_csv_gives_back_what_was_written() -> None:
    rows = list(csv.DictReader(report(DONE, SILENT).to_csv().splitlines(keepends=True)))
    assert rows[0]["clock_error_s"] == "-0.42"
    assert rows[1]["clock_error_s"] == ""
    assert rows[1]["why"] == SILENT.why
    assert [row["recloser"] for row in rows] == ["LAV-101", "MAT-7"]


def test_plain_values_can_be_published_as_json() -> None:
    plain = json.loads(json.dumps(report(DONE, SILENT).to_dict()))
    assert plain["relays"][0] == asdict(DONE)
    assert (plain["complete"], plain["outcomes"]) == (False, {"done": 1, "silent": 1})
    assert plain["began"] == "2026-05-04T12:30:15Z"


def test_a_frame_has_the_columns_also_without_rows() -> None:
    assert list(report().to_frame().columns) == list(COLUMNS)
    assert report(DONE).to_frame()["new"].tolist() == [3]


def test_a_report_is_kept_as_text_and_as_a_table_that_spreadsheets_read(tmp_path: Path) -> None:
    text, table = report(DONE).save(tmp_path / "new")
    assert (text.name, table.name) == (
        "report_20260504T123015Z.txt",
        "report_20260504T123015Z.csv",
    )
    assert text.read_text() == report(DONE).to_text()
    assert table.read_bytes().startswith(b"\xef\xbb\xbfrecloser,")


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="report cannot be kept"):
        report(DONE).save(tmp_path / "file" / "reports")
