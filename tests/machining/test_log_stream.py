"""Logs of any size are parsed in parts, whatever the cuts, and summed up."""

from __future__ import annotations

import io
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workspace_lib.machining.line_judge import Kind, Reason
from workspace_lib.machining.lines import parse
from workspace_lib.machining.log_stream import LONGEST_LINE, parse_stream, summarise

DAY = b"""20250528 05:02:11|@MachineStart
20250528 05:03:02|@StukUitgevoerd: Stuk 1
20250528 05:03:20|@MachineWait: 12 sec

20250528 05:04:00|@ToolChange: 7
20250528 05:04
20250528 12:00:00|@MachineStop
"""


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.binary(max_size=60), st.booleans())
def test_where_a_log_is_cut_makes_no_difference(chunk: int, more: bytes, closed: bool) -> None:
    content = b"\xef\xbb\xbf" + DAY + more + DAY + more
    whole = parse(content, closed=closed)
    parts = list(parse_stream(io.BytesIO(content), chunk=chunk, closed=closed))
    assert [place for part in parts for place in part.offset.tolist()] == whole.offset.tolist()
    assert [kind for part in parts for kind in part.kind.tolist()] == whole.kind.tolist()
    summary, expected = summarise(parts), summarise([whole])
    assert summary.to_dict() | {"encoding": ""} == expected.to_dict() | {"encoding": ""}
    assert (summary.pending, summary.torn) == (expected.pending, expected.torn)
    assert (summary.late, summary.steps_back) == (expected.late, expected.steps_back)
    assert (summary.first_us, summary.first_step) == (expected.first_us, expected.first_step)


def test_the_kinds_add_up_to_the_lines() -> None:
    found = summarise(parse_stream(io.BytesIO(DAY * 50))).to_dict()
    assert found["lines"] == 350
    assert sum(found["events"].values()) == 200
    assert (found["blank"], found["unknown"], found["malformed"]) == (50, 50, 50)
    assert found["malformed_reasons"] == {"no_stamp": 50}


def test_parts_in_different_encodings_are_told() -> None:
    line = "20250528 05:03:02|@StukUitgevoerd: é\n"
    parts = [parse(line.encode("utf-8")), parse(line.encode("cp1252"), offset=50)]
    assert summarise(parts).mixed
    assert summarise(parts).encoding == "cp1252"
    assert not summarise(parts[:1]).mixed


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_line_without_end_is_counted_and_not_kept(end: bytes) -> None:
    long = b"20250528 05:03:02|@StukUitgevoerd: " + b"x" * (3 * LONGEST_LINE) + end
    parts = list(parse_stream(io.BytesIO(DAY + long + (DAY if end else b"")), chunk=1 << 16))
    summary = summarise(parts)
    assert summary.lines == (15 if end else 8)
    assert summary.malformed["too_long"] == 1
    assert (len(DAY), Reason.TOO_LONG) in summary.told
    if end:
        assert parts[-1].offset[0] == len(DAY + long)


def test_a_long_line_that_may_go_on_is_pending() -> None:
    long = b"20250528 05:03:02|@StukUitgevoerd: " + b"x" * (3 * LONGEST_LINE)
    summary = summarise(parse_stream(io.BytesIO(DAY + long), chunk=1 << 16, closed=False))
    assert (summary.lines, summary.pending) == (7, len(long))


def test_names_without_end_are_counted_and_not_kept() -> None:
    content = b"".join(b"20250528 05:03:02|@E%d: x\n" % number for number in range(5000))
    summary = summarise(parse_stream(io.BytesIO(content), chunk=1 << 14))
    assert summary.unknown.total() == 5000
    assert len(summary.unknown) <= 201


class Endless(io.RawIOBase):
    """A log that repeats a text up to a size."""

    def __init__(self, text: bytes, size: int) -> None:
        self.text, self.left = text, size

    def read(self, size: int = -1) -> bytes:
        size = min(size, self.left)
        self.left -= size
        return (self.text * (size // len(self.text) + 1))[:size]


@pytest.mark.parametrize("text", [DAY, b"\n", b"x\n", b"20250528 05:04:00|@Tool: 7\n", b"x" * 99])
def test_memory_does_not_grow_with_the_log(text: bytes) -> None:
    stream = Endless(text, 24 << 20 if text == DAY else 12 << 20)
    tracemalloc.start()
    summary = summarise(parse_stream(stream))  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert summary.lines
    assert peak < 150 << 20, f"{peak >> 20} MiB"


def test_a_summary_tells_where_the_clock_was_set_back() -> None:
    content = DAY + DAY
    summary = summarise([parse(content)])
    assert (summary.steps_back, summary.first_step) == (1, len(DAY))
    assert summary.told == [
        (int(offset), Reason.NO_STAMP)
        for part in [parse(content)]
        for offset in part.offset[part.kind == Kind.MALFORMED]
    ]
