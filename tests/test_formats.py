"""The registry of readers, and ``workspace inspect`` with its exit codes and its envelope."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from workspace_lib import formats
from workspace_lib.cli import main
from workspace_lib.errors import FormatError
from workspace_lib.formats import Issue, Reader, Record

A0 = (
    b"ARCHIEST, 1677629040, 1, 0, 12.226\n"
    b"ARCHIEST, 1677629100, 2, 0, 12.258\n"
    b"ARCHIEST, 1677629220, 0, 0, 12.258\n"
)
COMMON = [
    "kind",
    "format",
    "reader_version",
    "bytes",
    "sha256",
    "identity",
    "rows",
    "first_time",
    "last_time",
    "timezone",
    "issues",
]


@pytest.fixture
def a0_file(tmp_path: Path) -> Path:
    """A small A0 file under a name of its own."""
    path = tmp_path / "Hydropol_010323_000400.txt"
    path.write_bytes(A0)
    return path


@pytest.fixture
def nan_reader() -> Iterator[Reader]:
    """A registered reader that knows little: values are NaN, times unknown, many issues."""

    def read(path: Path) -> Record:
        issues = tuple(Issue("odd", "warning", f"line {n}", "Odd.") for n in range(25))
        return Record(None, {}, issues)

    reader = formats.register(
        Reader(
            "sensor",
            "test-nan",
            3,
            lambda name, head: name.endswith(".nan"),
            read,
            lambda record: {"mean": float("nan"), "nested": {"values": [1.0, float("inf")]}},
        )
    )
    yield reader
    formats._registry.pop("test-nan")


def test_inspect_prints_one_envelope(a0_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(a0_file), "--json"]) == 0
    envelope = json.loads(capsys.readouterr().out)
    assert list(envelope)[: len(COMMON)] == COMMON
    assert envelope["kind"] == "rain"
    assert envelope["format"] == "hsm-a0"
    assert envelope["bytes"] == len(A0)
    assert envelope["identity"] == envelope["gauge"] == "Hydropol"
    assert envelope["rows"] == 3
    assert envelope["tips"] == 3
    assert envelope["first_time"] == "2023-03-01T00:04:00Z"
    assert envelope["last_time"] == "2023-03-01T00:07:00Z"
    assert envelope["timezone"] == {"name": "UTC", "from": "file"}
    assert envelope["issues"] == []
    assert envelope["total_mm"] is None
    assert envelope["missing"] == 1


def test_inspect_reads_a_file_with_issues(
    a0_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a0_file.write_bytes(A0 + b"ARCHIEST, what, 0, 0, 12.2\n")
    assert main(["inspect", str(a0_file), "--json"]) == 0
    issue = json.loads(capsys.readouterr().out)["issues"][0]
    assert (issue["code"], issue["severity"], issue["where"]) == ("bad_number", "error", "line 4")


def test_inspect_speaks_to_people_too(a0_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a0_file.write_bytes(A0 + b"what\n")
    assert main(["inspect", str(a0_file)]) == 0
    text = capsys.readouterr().out
    assert "gauge           Hydropol" in text
    assert "total_mm        unknown" in text
    assert "error field_count (line 4): 1 fields instead of 5." in text


def test_an_unknown_format_is_exit_code_1_and_names_the_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0")
    assert main(["inspect", str(path), "--json"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "hsm-a0" in err


@pytest.mark.parametrize("content", [b"", b"\0" * 175, b"ARCHIEST, 0, 0, 0, 0\n"])
def test_a_recognised_but_unreadable_file_is_exit_code_2(
    a0_file: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    a0_file.write_bytes(content)
    assert main(["inspect", str(a0_file), "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert a0_file.name in err


def test_a_file_that_is_not_there_is_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(tmp_path / "none.txt")]) == 2
    assert "none.txt" in capsys.readouterr().err


def test_unknown_values_are_null_and_never_nan(
    nan_reader: Reader, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.nan"
    path.write_bytes(b"?")
    assert main(["inspect", str(path), "--json"]) == 0
    envelope = json.loads(capsys.readouterr().out)
    assert envelope["mean"] is None
    assert envelope["nested"] == {"values": [1.0, None]}
    assert envelope["first_time"] is None
    assert envelope["timezone"] == {"name": None, "from": "none"}


def test_the_text_shows_some_issues_and_says_how_many_more(
    nan_reader: Reader, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.nan"
    path.write_bytes(b"?")
    main(["inspect", str(path)])
    assert "and 5 more" in capsys.readouterr().out


def test_the_registry_names_what_it_knows(tmp_path: Path) -> None:
    path = tmp_path / "unknown"
    path.write_bytes(b"")
    with pytest.raises(FormatError, match=r"Known formats: .*hsm-a0"):
        formats.find_reader(path)


def test_registering_a_format_again_replaces_its_reader(nan_reader: Reader) -> None:
    again = Reader("sensor", "test-nan", 4, nan_reader.sniff, nan_reader.read)
    formats.register(again)
    assert [reader.version for reader in formats.readers() if reader.format == "test-nan"] == [4]


def test_issues_are_counted_by_code() -> None:
    issues = tuple(Issue(code, "info", "line 1", "") for code in ("a", "b", "a"))
    assert formats.count_issues(issues) == {"a": 2, "b": 1}


def test_the_real_files_are_inspected(real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = real_data / "rain/hsm/Hydropol_010323_000400.txt"
    assert main(["inspect", str(path), "--json"]) == 0
    envelope = json.loads(capsys.readouterr().out)
    assert envelope["sha256"] == "7821f88795823329cb62468cca59d396206b0f9594cb320de5a3814ceb4e51ff"
    assert (envelope["gauge"], envelope["label"]) == ("Hydropol", ["ARCHIEST"])
    assert (envelope["rows"], envelope["tips"], envelope["issues"]) == (5, 0, [])
    assert envelope["first_time"] == "2023-03-01T00:04:00Z"
    assert envelope["last_time"] == "2023-03-01T00:08:00Z"
