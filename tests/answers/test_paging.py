"""Cursors read back, and what is no cursor of the list is refused with a sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace_lib.answers.paging import decode_cursor, encode_cursor
from workspace_lib.answers.problems import Refusal


@given(st.text(max_size=30), st.integers(-(2**63), 2**63 - 1))
def test_a_cursor_reads_back(name: str, number: int) -> None:
    assert decode_cursor(encode_cursor(name, number), str, int) == (name, number)


@given(st.text(max_size=60))
def test_any_other_text_is_refused_never_a_crash(text: str) -> None:
    try:
        key = decode_cursor(text, str, int)
    except Refusal:
        return
    assert encode_cursor(*key).rstrip("=")


@pytest.mark.parametrize(
    "cursor", [encode_cursor("a"), encode_cursor(1, "a"), encode_cursor("a", 2**70), "!!", ""]
)
def test_the_cursor_of_another_list_is_refused(cursor: str) -> None:
    with pytest.raises(Refusal, match="not one of this list"):
        decode_cursor(cursor, str, int)
