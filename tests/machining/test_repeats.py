"""A log that was uploaded again holds blocks twice; equal lines that are genuine are kept."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workspace_lib.machining.line_judge import Kind
from workspace_lib.machining.lines import parse
from workspace_lib.machining.repeats import Repeat, is_repeated, repeated_blocks

MORNING = b"""20250528 05:00:00|@MachineStart
20250528 05:00:20|@StukUitgevoerd: a
20250528 05:00:20|@StukUitgevoerd: a
20250528 05:00:31|@MachineWait: 12 sec
20250528 05:01:00|@StukUitgevoerd: a
"""
LATER = b"""20250528 05:02:00|@StukUitgevoerd: b
20250528 05:02:20|@MachineStop
"""


def test_equal_lines_are_two_pieces() -> None:
    assert repeated_blocks(parse(MORNING + LATER)) == ()


def test_a_log_that_was_appended_whole_to_itself_is_there_once() -> None:
    lines = parse(MORNING + MORNING + LATER)
    assert repeated_blocks(lines) == (Repeat(first=5, count=5, of=0),)
    assert is_repeated(lines).tolist() == [False] * 5 + [True] * 5 + [False] * 2


def test_the_end_of_a_log_may_be_sent_again() -> None:
    tail = b"".join(MORNING.splitlines(keepends=True)[1:])
    assert repeated_blocks(parse(MORNING + tail + LATER)) == (Repeat(first=5, count=4, of=1),)


def test_an_upload_that_is_still_under_way_is_found() -> None:
    part = b"".join(MORNING.splitlines(keepends=True)[:3])
    assert repeated_blocks(parse(MORNING + LATER + part)) == (Repeat(first=7, count=3, of=0),)


@pytest.mark.parametrize("cut", range(1, 33))
def test_an_upload_that_broke_off_and_was_repeated_is_found(cut: int) -> None:
    """Wherever it broke off: the line it broke off in is malformed, and whole in the copy."""
    lines = parse(MORNING + LATER[:cut] + MORNING + LATER)
    assert lines.kind[5] == Kind.MALFORMED
    # The copy's first line stands at the end of the broken one.
    assert repeated_blocks(lines) == (Repeat(first=6, count=4, of=1),)
    assert len(lines) == 6 + 4 + 2


def test_a_log_may_be_sent_many_times() -> None:
    assert is_repeated(parse((MORNING + LATER) * 4)).tolist() == [False] * 7 + [True] * 21


def test_a_clock_that_was_set_back_repeats_nothing() -> None:
    again = MORNING.replace(b"12 sec", b"13 sec")
    assert repeated_blocks(parse(MORNING + again + LATER)) == ()


def test_a_late_line_that_equals_an_earlier_one_is_kept() -> None:
    late = b"20250528 05:00:20|@StukUitgevoerd: a\n"
    assert repeated_blocks(parse(MORNING + late + LATER)) == ()


def test_two_lines_are_no_upload() -> None:
    pair = b"".join(MORNING.splitlines(keepends=True)[3:])
    assert repeated_blocks(parse(MORNING + pair + LATER)) == ()


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 40), st.integers(0, 30), st.integers(0, 10))
def test_what_is_found_is_what_was_sent_again(size: int, begin: int, more: int) -> None:
    lines = [b"20250528 05:%02d:00|@StukUitgevoerd: n\n" % minute for minute in range(size + more)]
    again = lines[min(begin, size - 3) : size]
    content = b"".join([*lines[:size], *again, *lines[size:]])
    assert repeated_blocks(parse(content)) == (
        Repeat(first=size, count=len(again), of=size - len(again)),
    )


@pytest.mark.parametrize(
    "content",
    [
        (MORNING + LATER) * 3000,
        b"20250528 05:00:01|@A\n20250528 05:00:00|@A\n" * 20_000,
        b"".join(b"20250528 05:00:%02d|@A\n" % (n * 7 % 60) for n in range(40_000)),
        b"20250528 05:00:01|@A\n" * 20_000 + b"20250528 05:00:00|@A\n" * 20_000,
    ],
)
def test_a_hostile_log_takes_no_time(content: bytes) -> None:
    lines = parse(content)
    began = time.process_time()
    repeated_blocks(lines)
    assert time.process_time() - began < 5
