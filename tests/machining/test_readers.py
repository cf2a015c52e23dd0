"""``workspace inspect`` tells what a machine's file holds, or refuses it with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workspace_lib import formats
from workspace_lib.cli import main
from workspace_lib.errors import FormatError
from workspace_lib.machining.readers import read_log, sniff_log, sniff_shdr
from workspace_lib.settings import Settings

LOG = b"""20250528 05:02:11|@MachineStart
20250528 05:03:02|@StukUitgevoerd: Stuk 1
20250528 05:03:20|@MachineWait: 12 sec

20250528 05:04:00|@ToolChange: 7
20250528 05:04
20250528 12:00:00|@MachineStop
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file under a name."""

    def write_it(content: bytes, name: str = "20250528.LOG") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write_it


def codes(path: Path) -> list[str]:
    return [issue.code for issue in read_log(path).issues]


def test_a_log_is_told_of(write: Callable[..., Path]) -> None:
    told = formats.inspect(write(LOG))
    assert (told["kind"], told["format"]) == ("machine_log", "machine-log")
    assert told["lines"] == 7
    assert told["events"] == {
        "StukUitgevoerd": 1,
        "MachineWait": 1,
        "MachineStop": 1,
        "MachineStart": 1,
    }
    assert (told["blank"], told["unknown"], told["malformed"]) == (1, 1, 1)
    assert told["unknown_events"] == {"ToolChange": 1}
    assert told["malformed_reasons"] == {"no_stamp": 1}
    assert told["encoding"] == "ascii"
    assert (told["first_time"], told["last_time"]) == ("2025-05-28T05:02:11", "2025-05-28T12:00:00")
    assert told["issues"] == [
        {
            "code": "unknown_event",
            "severity": "info",
            "where": "file",
            "message": "1 unknown events: ToolChange.",
        },
        {
            "code": "no_stamp",
            "severity": "error",
            "where": "byte 147",
            "message": "The line does not begin with a date and a time.",
        },
    ]


def test_the_command_line_tells_the_same_as_json(
    write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(LOG)
    assert main(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == formats.inspect(path)


def test_a_site_knows_the_zone_of_its_machines(
    write: Callable[..., Path], settings: Settings
) -> None:
    path = write(LOG)
    assert formats.inspect(path)["timezone"] == {"name": None, "from": "none"}
    told = formats.inspect(path, settings=settings)
    assert told["timezone"] == {"name": "Europe/Paris", "from": "site"}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf" + LOG, "bom"),
        (LOG.replace(b"\n", b"\r\n"), "crlf"),
        (LOG.replace(b"Stuk 1", b"Stuk\r1"), "lone_cr"),
        (LOG.replace(b"Stuk 1", b"Stuk\x001"), "nul"),
        (LOG[:-3], "no_final_newline"),
        (LOG + LOG, "clock_step"),
        (LOG + b"20250528 11:59:50|@MachineStart\n", "late_lines"),
        (LOG.replace(b"20250528 05:02", b"20250527 05:02"), "name_differs"),
        (LOG.replace(b"MachineStop", b"MachineStop;"), "bad_name"),
    ],
)
def test_what_is_odd_about_a_log_is_an_issue(
    write: Callable[..., Path], content: bytes, code: str
) -> None:
    assert code in codes(write(content))


def test_a_log_that_is_as_it_should_be_has_no_issues(write: Callable[..., Path]) -> None:
    assert (
        codes(write(LOG.replace(b"|@ToolChange: 7\n20250528 05:04\n", b"|@MachineStart\n"))) == []
    )


def test_a_log_is_known_by_its_name_or_its_lines() -> None:
    assert sniff_log("20250528.LOG", b"")
    assert sniff_log("20250528.log", b"whatever")
    assert sniff_log("log.txt", LOG)
    assert sniff_log("log.txt", b"\xef\xbb\xbf" + LOG)
    assert sniff_log("log.txt", b"half a line\n" + LOG)
    assert not sniff_log("log.txt", b"20250528 05:02:11 started\n")


def test_a_dump_is_known_by_its_lines_or_if_it_is_empty_by_its_name() -> None:
    assert sniff_shdr("x", b"2018-03-19T09:25:19.631Z|Xabs|1.5\n")
    assert sniff_shdr("Mazak03-20161115-20161116.txt", b"")
    assert not sniff_shdr("x.txt", b"")
    assert not sniff_shdr("Mazak03-20161115-20161116.txt", b"hello\n")


def real_files(folder: Path, *patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in (folder / "machining").glob(pattern))


def test_every_real_log_has_one_reader(real_data: Path) -> None:
    paths = real_files(real_data, "nist_sms/*.txt", "komax565/*.?dc", "mtconnect/*.txt")
    assert len(paths) == 19 + 18 + 1
    for path in paths:
        with path.open("rb") as stream:
            head = stream.read(formats.SNIFF_BYTES)
        fitting = [reader.format for reader in formats.readers() if reader.sniff(path.name, head)]
        assert len(fitting) == 1, (path.name, fitting)
        told = formats.inspect(path)
        assert {"lines", "events", "blank", "unknown", "malformed", "encoding"} <= set(told)
        assert told["kind"] == ("machine_job" if path.parent.name == "komax565" else "shdr")
        assert ("state_seconds" in told) == (told["kind"] == "shdr")


def test_real_tables_that_are_no_logs_are_refused_by_name(real_data: Path) -> None:
    folders = ("ladder99", "production_4tu", "cnc_mill", "soda_line", "point85", "certif_devia")
    paths = real_files(real_data, *(f"{folder}/*" for folder in folders))
    assert len(paths) == 17
    for path in paths:
        with pytest.raises(FormatError, match="machine-log") as refused:
            formats.find_reader(path)
        assert refused.value.where == str(path)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=200), damage=st.integers(0, len(LOG)))
def test_any_file_named_as_a_log_is_told_of(tmp_path: Path, content: bytes, damage: int) -> None:
    path = tmp_path / "20250528.LOG"
    path.write_bytes(LOG[:damage] + content + LOG[damage:])
    told = formats.inspect(path)
    assert told["lines"] == (
        sum(told["events"].values()) + told["blank"] + told["unknown"] + told["malformed"]
    )
    json.dumps(told)
