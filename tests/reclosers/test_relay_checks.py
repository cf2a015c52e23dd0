"""Whether a report is taken for whole: real and simulated ones are, changed ones are not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workspace_lib.reclosers.relay_checks import check_report, without_padding
from workspace_lib.reclosers.simulator import make_events

EVENT = make_events("351R", 1)[0]
REPORT = EVENT.cev_of("")


def test_a_report_as_it_was_sent_is_whole_and_tells_its_time() -> None:
    check = check_report(REPORT)
    assert (check.damaged, check.doubtful, check.time) == ((), (), EVENT.key[0])


@pytest.mark.parametrize("name", ["D1_351R_4spc_filtered", "D2_351A_raw16_dig4"])
def test_reports_after_the_manuals_are_whole(real_data: Path, name: str) -> None:
    content = (real_data / "recloser" / "derived_cev" / f"{name}.CEV").read_bytes()
    assert check_report(content.replace(b"\x02", b"").replace(b"\x03", b"")).damaged == ()


@settings(deadline=None)
@given(st.integers(0, len(REPORT) - 1), st.integers(1, 255))
def test_a_byte_that_changed_is_never_taken_for_whole(place: int, flip: int) -> None:
    changed = bytearray(REPORT)
    changed[place] ^= flip
    check = check_report(bytes(changed))
    assert check.damaged or check.doubtful


@settings(deadline=None)
@given(st.integers(0, len(REPORT) - 2), st.integers(1, 300))
def test_bytes_that_were_lost_are_never_taken_for_whole(place: int, size: int) -> None:
    changed = REPORT[:place] + REPORT[place + size :]
    check = check_report(changed)
    assert check.damaged or check.doubtful


def test_each_line_that_was_lost_as_a_whole_is_noticed() -> None:
    ends = [match.end() for match in re.finditer(rb"\r\n", REPORT)]
    for start, end in zip([0, *ends], ends, strict=False):
        check = check_report(REPORT[:start] + REPORT[end:])
        assert check.damaged or check.doubtful, REPORT[start:end]


def test_two_reports_in_one_are_damaged() -> None:
    newer, older = (one.cev_of("C") for one in make_events("351R", 2))
    assert "Another event" in check_report(newer + older).damaged[0]


def test_padding_is_taken_off_the_end_only() -> None:
    assert without_padding(b"a\x1ab\x1a\x1a\x00") == b"a\x1ab"


@pytest.mark.parametrize("content", [b"", b"=>", b"Invalid Command", b'"FID","0143"\r\n'])
def test_what_is_no_report_is_damaged(content: bytes) -> None:
    assert check_report(content).damaged
