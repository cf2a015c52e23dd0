"""Frames and prompts in what a relay sends, however it is cut into pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workspace_lib.reclosers import relay_errors
from workspace_lib.reclosers.relay_errors import refusal
from workspace_lib.reclosers.relay_frames import LEVELS, PROMPTS, Frame, FrameReader

REAL = b'id\r\n\x02\r\n"LIB61850ID=5C9A14CB","04F1"\r\n\x03\x02\r\n=>>\x03'


def read(*pieces: bytes) -> FrameReader:
    reader = FrameReader()
    for piece in pieces:
        reader.feed(piece)
    return reader


def test_an_answer_and_its_prompt_are_two_frames() -> None:
    reader = read(REAL)
    assert reader.prompt == b"=>>"
    assert [one.content for one in reader.frames] == [b'\r\n"LIB61850ID=5C9A14CB","04F1"\r\n']
    assert reader.outside == b"id\r\n"


@settings(deadline=None)
@given(st.lists(st.integers(0, len(REAL)), max_size=6))
def test_pieces_make_no_difference(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(REAL)]
    reader = read(*(REAL[a:b] for a, b in pairwise(edges)))
    assert (reader.prompt, reader.frames, reader.outside) == (
        b"=>>",
        read(REAL).frames,
        b"id\r\n",
    )


@pytest.mark.parametrize("prompt", PROMPTS)
def test_each_prompt_is_known_in_a_frame_at_its_end_and_outside(prompt: bytes) -> None:
    assert read(b"\x02\r\n" + prompt + b"\x03").prompt == prompt
    assert read(b"\x02Level\r\n" + prompt + b"\r\n\x03").prompt == prompt
    assert read(b"\x02Level\r\n\x03\r\n" + prompt).bare_prompt() == prompt
    assert prompt in LEVELS


@pytest.mark.parametrize(
    "text", [b"a =>", b"=>>>", b"=> CEV 1", b"\r\nLL = ", b"=>\r\nmore", b"+>", b"=>>=", b"x="]
)
def test_what_only_looks_like_a_prompt_is_text(text: bytes) -> None:
    assert read(b"\x02" + text + b"\x03").prompt == b""
    assert read(text).bare_prompt() == b""


def test_an_arrow_in_a_frame_that_goes_on_is_no_prompt() -> None:
    reader = read(b"\x02SETTINGS\r\n=>")
    assert (reader.prompt, reader.bare_prompt(), reader.within) == (b"", b"", True)


def test_a_frame_without_end_is_told() -> None:
    reader = read(b"\x02half of an ans\x02\r\n=>\x03")
    assert reader.frames == [Frame(b"half of an ans", whole=False)]
    assert reader.prompt == b"=>"


def test_a_frame_knows_what_was_outside_before_it() -> None:
    reader = read(b"\x02unasked\x03CHI\r\n\x02asked\x03")
    assert [one.after for one in reader.frames] == [0, 5]


@pytest.mark.parametrize(
    "text", [b"\r\n\x02Password: ? ", b"\x02\r\nPassword: ?", b"\x02Password: ?\x03\r\n"]
)
def test_the_question_for_a_password_is_known(text: bytes) -> None:
    assert read(text).asks_password
    assert not read(text + b"\x02 no longer\x03").asks_password


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (b"\r\nInvalid Access Level\r\n", relay_errors.InvalidAccessLevel),
        (b"Invalid Command\r\n", relay_errors.InvalidCommand),
        (b'"No Data Available","0668"\r\n', relay_errors.NoDataAvailable),
        (
            b"Event summary number 10003 has not been viewed with the NEXT option",
            relay_errors.NotYetViewed,
        ),
        (b"The file specified does not exist", relay_errors.FileMissing),
        (b"303 Transfer Rejected - Cannot access file", relay_errors.TransferRejected),
        (b"invalid parameter", relay_errors.InvalidParameter),
        (b"command requires a number", relay_errors.InvalidParameter),
    ],
)
def test_words_of_refusal_become_errors_with_names(words: bytes, kind: type) -> None:
    found = refusal(words, "tcp:gw:1")
    assert type(found) is kind
    assert found is not None
    assert found.where == "tcp:gw:1"


def test_an_answer_that_contains_such_words_is_an_answer() -> None:
    assert refusal(b"Invalid Command" + b"." * 500) is None
    assert refusal(b"Level 1") is None
