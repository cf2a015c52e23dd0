"""Every line of a machine's log ends as event, blank, unknown or malformed, and none is dropped."""

from __future__ import annotations

import re
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workspace_lib.machining.line_fields import NO_TIME
from workspace_lib.machining.line_judge import Kind, Reason
from workspace_lib.machining.lines import EVENTS, ParsedLines, parse
from workspace_lib.machining.timeline import local_us

DAY = b"""20250528 05:02:11|@MachineStart
20250528 05:02:40|@JobProfiel: R:215023 L:3359.0 C:7016 G ALU
20250528 05:03:02|@StukUitgevoerd: Stuk 1 uitgevoerd
20250528 05:03:20|@MachineWait: 12 sec

20250528 05:04:00|@ToolChange: 7
20250528 05:04
20250528 12:00:00|@MachineStop
"""


def kinds(lines: ParsedLines) -> list[Kind]:
    return [Kind(kind) for kind in lines.kind]


def only(content: bytes) -> ParsedLines:
    """Parse a single line."""
    lines = parse(content)
    assert len(lines) == 1
    return lines


def reason_of(content: bytes) -> Reason:
    lines = only(content)
    assert lines.kind[0] == Kind.MALFORMED
    return Reason(lines.reason[0])


def assert_sums_up(lines: ParsedLines, content: bytes) -> None:
    """The kinds add up to the physical lines, and each stands where it stood."""
    assert sum(lines.count(kind) for kind in Kind) == len(lines)
    physical = content.count(b"\n") + (not content.endswith(b"\n") and bool(content))
    assert len(lines) == physical
    feeds = [0, *(found.end() for found in re.finditer(b"\n", content))]
    assert lines.offset.tolist() == feeds[: len(lines)]
    malformed = lines.kind == Kind.MALFORMED
    assert ((lines.reason > 0) == malformed).all()
    named = (lines.kind == Kind.EVENT) | (lines.kind == Kind.UNKNOWN)
    assert ((lines.name >= 0) == named).all()
    assert (lines.t_local_us[named] != NO_TIME).all()
    for row in range(len(lines)):
        lines.line(row)
        lines.details(row)


def test_a_days_lines_are_all_accounted_for() -> None:
    lines = parse(DAY)
    assert kinds(lines) == [
        *(Kind.EVENT,) * 4,
        Kind.BLANK,
        Kind.UNKNOWN,
        Kind.MALFORMED,
        Kind.EVENT,
    ]
    assert_sums_up(lines, DAY)
    assert lines.counts() == {
        "StukUitgevoerd": 1,
        "MachineWait": 1,
        "MachineStop": 1,
        "MachineStart": 1,
        "JobProfiel": 1,
    }


def test_a_stamp_is_the_machines_own_clock() -> None:
    assert parse(DAY).t_local_us[0] == local_us(datetime(2025, 5, 28, 5, 2, 11))


@pytest.mark.parametrize(
    ("written", "details"),
    [
        (b"MachineWait: 12 sec", "12 sec"),
        (b"MachineWait:12 sec", "12 sec"),
        (b"MachineWait : 12 sec", "12 sec"),
        (b"MachineWait 12 sec", "12 sec"),
        (b"MachineWait  \t :  \t 12 sec", "12 sec"),
        (b"MachineWait:    12 sec", "12 sec"),
        (b"MachineWait:" + b" " * 200 + b"12 sec", "12 sec"),
        (b"MachineWait" + b" " * 9000 + b":" + b" " * 9000 + b"12 sec", "12 sec"),
        (b"MachineWait: 12 sec  ", "12 sec  "),
        (b"MachineWait:: 12 sec", ": 12 sec"),
        (b"MachineWait: a: b", "a: b"),
        (b"MachineWait: |@x", "|@x"),
        (b"MachineWait: a@b.c |@20250528 05:04:00|", "a@b.c |@20250528 05:04:00|"),
        (b"MachineWait", ""),
        (b"MachineWait:", ""),
        (b"MachineWait: ", ""),
        (b"MachineWait   ", ""),
    ],
)
def test_blanks_and_one_colon_may_stand_before_the_details(written: bytes, details: str) -> None:
    lines = only(b"20250528 05:03:20|@" + written + b"\n")
    assert lines.counts() == {"MachineWait": 1}
    assert lines.details(0) == details


def test_an_unknown_event_is_kept_as_it_is() -> None:
    lines = only(b"20250528 05:04:00|@ToolChange: n\xb0 7; 'x'\n")
    assert lines.kind[0] == Kind.UNKNOWN
    assert lines.counts(Kind.UNKNOWN) == {"ToolChange": 1}
    assert lines.details(0) == "n° 7; 'x'"


def test_a_name_that_begins_like_a_known_one_is_another() -> None:
    content = b"".join(
        b"20250528 05:04:00|@%s: 1\n" % name
        for name in (b"MachineStopped", b"MachineWai", b"machinewait", b"JobProfielen", b"StukX")
    )
    assert parse(content).count(Kind.UNKNOWN) == 5


def test_which_events_are_known_is_the_sites_choice() -> None:
    line = b"20250528 05:04:00|@ToolChange: 7\n"
    assert parse(line, events=[*EVENTS, "ToolChange"]).counts() == {"ToolChange": 1}


def test_a_known_name_may_begin_with_another_one() -> None:
    content = b"20250528 05:04:00|@Tool: 7\n20250528 05:04:00|@ToolChange: 8\n"
    assert parse(content, events=["ToolChange", "Tool"]).counts() == {"ToolChange": 1, "Tool": 1}


def test_names_of_any_length_are_read() -> None:
    name = b"Een" * 40
    lines = only(b"20250528 05:04:00|@" + name + b": x\n")
    assert lines.counts(Kind.UNKNOWN) == {name.decode(): 1}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"hello", Reason.NO_STAMP),
        (b"2025", Reason.NO_STAMP),
        (b"20250528 05:04", Reason.NO_STAMP),
        (b"20250528T05:04:00|@MachineStop", Reason.NO_STAMP),
        (b"2025052805:04:00|@MachineStop", Reason.NO_STAMP),
        (b"|@MachineStop", Reason.NO_STAMP),
        (b"20251328 05:04:00|@MachineStop", Reason.BAD_TIME),
        (b"20250230 05:04:00|@MachineStop", Reason.BAD_TIME),
        (b"20250229 05:04:00|@MachineStop", Reason.BAD_TIME),
        (b"20250500 05:04:00|@MachineStop", Reason.BAD_TIME),
        (b"00000101 05:04:00|@MachineStop", Reason.BAD_TIME),
        (b"18990101 05:04:00|@MachineStop", Reason.BAD_TIME),
        (b"20250528 24:00:00|@MachineStop", Reason.BAD_TIME),
        (b"20250528 05:60:00|@MachineStop", Reason.BAD_TIME),
        (b"20250528 05:04:60|@MachineStop", Reason.BAD_TIME),
        (b"20250528 05:04:00", Reason.NO_EVENT),
        (b"20250528 05:04:00|", Reason.NO_EVENT),
        (b"20250528 05:04:00|@", Reason.NO_EVENT),
        (b"20250528 05:04:00|@ MachineStop", Reason.NO_EVENT),
        (b"20250528 05:04:00|MachineStop", Reason.NO_EVENT),
        (b"20250528 05:04:00 @MachineStop", Reason.NO_EVENT),
        (b"20250528 05:04:00|@MachineWait;12", Reason.BAD_NAME),
        (b"20250528 05:04:00|@Mach20250528 05:05:00|@MachineStop", Reason.GLUED),
        (b"20250528 05:04:00|@MachineStop20250528 05:05:00|@MachineStart", Reason.GLUED),
        (b"20250528 05:04:00|@MachineWait: 1220250528 05:05:00|@MachineStop", Reason.GLUED),
        (b" 20250528 05:04:00|@A: 20250528 05:05:00|@B", Reason.GLUED),
        (b"20250528 05:0420250528 05:05:00|@MachineStop", Reason.NO_STAMP),
    ],
)
def test_a_malformed_line_is_kept_with_its_reason(line: bytes, reason: Reason) -> None:
    assert reason_of(line + b"\n") == reason
    assert parse(line + b"\n").line(0) == line.decode()


@pytest.mark.parametrize("day", [b"20240229", b"20250131", b"20251231", b"20000229"])
def test_the_last_days_of_months_exist(day: bytes) -> None:
    lines = only(day + b" 23:59:59|@MachineStop\n")
    stamp = datetime.strptime(day.decode(), "%Y%m%d").replace(hour=23, minute=59, second=59)
    assert lines.t_local_us[0] == local_us(stamp)


@pytest.mark.parametrize("blank", [b"", b"\r", b" ", b"\t \r", b"   "])
def test_lines_of_blanks_are_blank(blank: bytes) -> None:
    assert only(blank + b"\n").kind[0] == Kind.BLANK


def test_nul_bytes_are_taken_out_and_counted() -> None:
    content = b"20250528 05:03:20|@Mach\0ineWait: 1\0\x002 sec\n" + DAY
    lines = parse(content)
    assert lines.details(0) == "12 sec"
    assert lines.nul.tolist() == [3, *(0,) * 8]
    assert_sums_up(lines, content)


def test_a_line_whose_text_is_nul_says_so() -> None:
    hole = b"20250528 05:" + bytes(500) + b"\n"
    lines = parse(DAY + hole + DAY)
    assert lines.reason[8] == Reason.NUL
    assert lines.nul[8] == 500
    assert lines.offset[9] == len(DAY + hole)
    assert_sums_up(lines, DAY + hole + DAY)


def test_nothing_but_nul_bytes_is_a_blank_line() -> None:
    lines = only(bytes(100))
    assert (lines.kind[0], lines.nul[0]) == (Kind.BLANK, 100)


def test_a_mark_of_utf8_is_no_part_of_the_first_line() -> None:
    lines = parse(b"\xef\xbb\xbf" + DAY)
    assert lines.bom
    assert lines.kind[0] == Kind.EVENT
    assert lines.line(0) == "20250528 05:02:11|@MachineStart"
    assert_sums_up(lines, b"\xef\xbb\xbf" + DAY)


def test_a_mark_amid_the_log_does_no_harm() -> None:
    lines = parse(DAY + b"\xef\xbb\xbf" + DAY)
    assert not lines.bom
    assert lines.count(Kind.EVENT) == 10


def test_a_mark_alone_is_a_blank_line() -> None:
    assert only(b"\xef\xbb\xbf").kind[0] == Kind.BLANK


def test_windows_line_ends_say_the_same() -> None:
    windows = DAY.replace(b"\n", b"\r\n")
    lines, plain = parse(windows), parse(DAY)
    assert kinds(lines) == kinds(plain)
    assert [lines.line(row) for row in range(8)] == [plain.line(row) for row in range(8)]
    assert (lines.crlf, lines.lone_cr) == (8, 0)
    assert_sums_up(lines, windows)


def test_a_lone_carriage_return_stays_in_the_value() -> None:
    lines = parse(
        b"20250528 05:03:02|@StukUitgevoerd: a\rb\r\r\n20250528 05:04:00|@MachineStop\r\n"
    )
    assert lines.details(0) == "a\rb\r"
    assert lines.counts() == {"StukUitgevoerd": 1, "MachineStop": 1}
    assert (lines.crlf, lines.lone_cr) == (2, 2)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("utf-8", "Arrêt n° 3 €"), ("cp1252", "Arrêt n° 3 €"), ("ascii", "Arret no 3")],
)
def test_the_encoding_is_found_out(encoding: str, text: str) -> None:
    lines = only(b"20250528 05:03:02|@StukUitgevoerd: " + text.encode(encoding) + b"\n")
    assert lines.encoding == encoding
    assert lines.details(0) == text
    assert lines.details_array().to_pylist() == [text]


def test_latin1_takes_what_nothing_else_does() -> None:
    lines = only(b"20250528 05:03:02|@StukUitgevoerd: \x81\xe9\n")
    assert lines.encoding == "latin-1"
    assert lines.details_array().to_pylist() == ["\x81é"]


def test_a_site_may_say_the_encoding() -> None:
    line = b"20250528 05:03:02|@StukUitgevoerd: \xe9\n"
    assert parse(line, encoding="latin-1").encoding == "latin-1"
    assert parse(line, encoding="utf-8").encoding == "cp1252"  # it is not


def test_a_tail_without_line_feed_is_pending_while_the_log_is_written() -> None:
    lines = parse(DAY + b"20250528 12:00:07|@Machine", closed=False)
    assert len(lines) == 8
    assert lines.pending == 26
    assert not lines.torn


def test_a_tail_without_line_feed_is_a_line_once_the_log_is_closed() -> None:
    lines = parse(DAY + b"20250528 12:00:07|@MachineStart")
    assert (len(lines), lines.torn, lines.pending) == (9, True, 0)
    assert lines.counts()["MachineStart"] == 2


def test_a_torn_name_is_no_unknown_event() -> None:
    lines = parse(DAY + b"20250528 12:00:07|@MachineSt")
    assert (lines.kind[-1], lines.reason[-1]) == (Kind.MALFORMED, Reason.TORN)
    assert lines.line(8) == "20250528 12:00:07|@MachineSt"


def test_a_slice_stands_where_it_stood_in_the_log() -> None:
    whole = parse(DAY)
    cut = int(whole.offset[3])
    part = parse(DAY[cut:], offset=cut)
    assert part.offset.tolist() == whole.offset[3:].tolist()


def test_an_empty_log_has_no_lines() -> None:
    for closed in (True, False):
        lines = parse(b"", closed=closed)
        assert (len(lines), lines.pending, lines.encoding) == (0, 0, "ascii")
        assert lines.details_array().to_pylist() == []


def test_midnight_is_a_line_like_others() -> None:
    lines = parse(b"20250528 23:59:59|@MachineStop\n20250529 00:00:00|@MachineStart\n")
    assert np.diff(lines.t_local_us).tolist() == [1_000_000]


def test_details_of_many_lines_come_as_one_array() -> None:
    lines = parse(DAY)
    array = lines.details_array()
    assert array.to_pylist() == [lines.details(row) for row in range(len(lines))]
    rows = lines.rows("JobProfiel")
    assert lines.details_array(rows).to_pylist() == ["R:215023 L:3359.0 C:7016 G ALU"]


def test_many_lines_are_parsed_as_few() -> None:
    lines = parse(DAY * 9000)
    assert len(lines) == 72_000
    assert lines.count(Kind.EVENT) == 45_000
    assert lines.count(Kind.BLANK) == lines.count(Kind.UNKNOWN) == lines.count(Kind.MALFORMED)
    assert lines.offset[-8] == len(DAY) * 8999


ORACLE = re.compile(rb"(\d{8} \d\d:\d\d:\d\d)\|@(\w+)[ \t]*(?::[ \t]*)?(.*)", re.DOTALL)
PARTS = st.sampled_from(
    [
        *[
            b"2025",
            b"0528",
            b" 05:03:20",
            b"20250528 05:03:20|@",
            b"|@",
            b":",
            b" ",
            b"\n",
            b"\r\n",
        ],
        *[b"MachineWait", b"StukUitgevoerd", b"JobProfiel: R:1 L:2 C:3", b": 12 sec", b"\0", b"\r"],
        *[
            b"\xef\xbb\xbf",
            b"\xe9",
            b"\x81",
            b"\x85",
            b"\xa0",
            b"99",
            b"\t",
            b"\x0b",
            b"ToolChange",
        ],
        *[b"20250230 05:03:20|@MachineStop\n", b"20250528 25:03:20|@MachineStop\n"],
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.one_of(PARTS, st.binary(max_size=4)), max_size=30).map(b"".join))
def test_any_bytes_are_parsed_and_sum_up(content: bytes) -> None:
    lines = parse(content)
    assert_sums_up(lines, content)
    array = lines.details_array().to_pylist()
    assert array == [lines.details(row) for row in range(len(lines))]
    pending = parse(content, closed=False)
    assert len(pending) == content.count(b"\n")
    assert pending.pending == len(content) - content.rfind(b"\n") - 1


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_changed_line_means_what_a_plain_expression_says(data: st.DataObject) -> None:
    line = bytearray(b"20250528 05:03:20|@MachineWait: 12 sec")
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(line) - 1))
        line[place] = data.draw(st.integers(1, 127).filter(lambda byte: byte not in b"\n\r"))
    lines = only(bytes(line) + b"\n")
    found = ORACLE.fullmatch(bytes(line).lstrip())
    try:
        assert found is not None
        stamp = datetime.strptime(found[1].decode(), "%Y%m%d %H:%M:%S")
        expected = local_us(stamp) if 1990 <= stamp.year < 2100 and found[1][-2:] < b"60" else None
    except (AssertionError, ValueError):
        expected = None
    if expected is None or found is None or found[0][19 + len(found[2]) :][:1] not in b": \t":
        assert lines.kind[0] == Kind.MALFORMED
        return
    assert lines.t_local_us[0] == expected
    assert lines.names[lines.name[0]].encode() == found[2]
    assert lines.details(0).encode() == found[3]
