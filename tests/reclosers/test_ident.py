"""Answers to ID: every value by its key, the model, and nothing believed that arrived damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from workspace_lib.errors import FormatError
from workspace_lib.reclosers.cascii import checksum
from workspace_lib.reclosers.ident import Identity, model_of, parse_ident, read_ident, sniff_ident


def line(text: str) -> bytes:
    return f'{text},"{checksum(f"{text},".encode()):04X}"\r\n'.encode()


ANSWER = (
    b"\x02\r\n"
    + line('"FID=SEL-351R-R112-V0-Z004003-D20020610"')
    + line('"CID=59A0"')
    + line('"DEVID=LCL 12"')
    + b"\x03\x02\r\n=>\x03"
)


def identity(content: bytes) -> Identity:
    found: Identity = parse_ident(content).data
    return found


def test_an_answer_gives_its_values_and_the_model() -> None:
    found = identity(ANSWER)
    assert found.model == "SEL-351R"
    assert dict(found.values) == {
        "FID": "SEL-351R-R112-V0-Z004003-D20020610",
        "CID": "59A0",
        "DEVID": "LCL 12",
    }
    assert (found.checksums.good, found.checksums.bad) == (3, 0)


def test_an_echoed_command_disturbs_nothing() -> None:
    assert identity(b"ID" + ANSWER).model == "SEL-351R"


def test_a_damaged_line_is_told_and_not_believed() -> None:
    record = parse_ident(ANSWER.replace(b"LCL 12", b"LCL 13"))
    assert "DEVID" not in record.data.values
    assert [(issue.code, issue.where) for issue in record.issues] == [("checksum", "line 4")]


def test_lines_without_quotes_and_checksums_are_read() -> None:
    assert identity(b"FID=SEL-321-R415-V656112pb-D960101\r\n").model == "SEL-321"


@pytest.mark.parametrize("content", [b"", b"Invalid Command\r\n", line('"CID=59A0"')])
def test_what_names_no_relay_is_refused(content: bytes) -> None:
    with pytest.raises(FormatError):
        parse_ident(content)


@pytest.mark.parametrize(
    ("fid", "model"),
    [
        ("SEL-651R-2-R403-V0-Z005003-D20150318", "SEL-651R-2"),
        ("SEL-387-5-R612-V0-Z101101-D20080131", "SEL-387-5"),
        ("SEL-751A-X134-V0-Z001001-D20080101", "SEL-751A"),
        ("SEL 351A-Rxxx-VO-z001001-Dxxxxxxxx", "SEL-351A"),
        ("BOOTLDR-R501-V0-Z000000-D20140224", None),
        ("", None),
    ],
)
def test_the_model_stands_before_the_release(fid: str, model: str | None) -> None:
    assert model_of(fid) == model


def test_the_head_of_an_event_is_no_answer_to_id() -> None:
    assert sniff_ident("x", ANSWER)
    assert not sniff_ident("x", line('"FID"') + line('"FID=SEL-351R-R112-V0-Z004003-D20020610"'))


def test_the_real_answer_is_whole(real_data: Path) -> None:
    folder = real_data / "recloser" / "protocol_samples"
    found: Identity = read_ident(folder / "sel700g_id_reply_lines.txt").data
    assert found.model == "SEL-700G"
    assert found.values["PARTNO"] == "0700G12B1B1B7281A230"
    assert (found.checksums.good, found.checksums.bad) == (13, 0)
