"""Files of an event: what fills their last block, of which event they are, if they are whole."""

from __future__ import annotations

from datetime import timedelta

import pytest

from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.record import device_time
from workspace_lib.reclosers.relay_file_checks import (
    cut_to,
    data_type,
    judge,
    same_time,
    text_of,
    trigger_of,
)
from workspace_lib.reclosers.relay_plan import FetchedFile
from workspace_lib.reclosers.simulator_comtrade import comtrade_of
from workspace_lib.reclosers.simulator_events import make_events

EVENT, OTHER = make_events("651R", 2)
FILES = comtrade_of(EVENT)
TEXTS = comtrade_of(EVENT, "ASCII")
ENTRY = HistoryEntry(1, device_time(EVENT.time, 0, 3), EVENT.type)


def fetched(**changed: bytes) -> list[FetchedFile]:
    parts = {**FILES, **changed}
    kinds = ("cfg", "dat", "hdr")
    return [FetchedFile(kind, f"HR_1.{kind.upper()}", parts[kind]) for kind in kinds]


@pytest.mark.parametrize("padding", [b"", b"\x1a", b"\x1a" * 127, b"\x00\x1a\x1a"])
def test_padding_of_texts_is_cut(padding: bytes) -> None:
    assert text_of(FILES["cfg"] + padding) == FILES["cfg"]
    assert cut_to(TEXTS["dat"] + padding, TEXTS["cfg"]) == TEXTS["dat"]


@pytest.mark.parametrize("padding", [0, 1, 127, 1023])
@pytest.mark.parametrize("end", [b"", b"\x1a", b"\x1a\x1a\x1a", b"\x00\x00"])
def test_samples_are_cut_where_the_configuration_says_they_end(padding: int, end: bytes) -> None:
    # The last sample may itself end in what pads.
    samples = FILES["dat"][: len(FILES["dat"]) - len(end)] + end
    assert cut_to(samples + b"\x1a" * padding, FILES["cfg"]) == samples


def test_a_sample_more_than_declared_is_kept() -> None:
    row = len(FILES["dat"]) // 480
    more = FILES["dat"] + FILES["dat"][:row]
    assert cut_to(more + b"\x1a" * 50, FILES["cfg"]) == more


def test_what_is_no_padding_is_not_cut() -> None:
    for content in (FILES["dat"] + b"x", FILES["dat"][:-1], FILES["dat"] + b"\x1a" * 5000):
        assert cut_to(content, FILES["cfg"]) == content
    assert cut_to(b"\x1a\x1a", b"no configuration") == b"\x1a\x1a"


def test_the_time_of_a_configuration_tells_its_event_to_the_millisecond() -> None:
    assert same_time(ENTRY, trigger_of(FILES["cfg"]))
    assert not same_time(ENTRY, trigger_of(comtrade_of(OTHER)["cfg"]))
    for micros, same in ((0, True), (999, True), (1000, False), (-999, True), (-1000, False)):
        shown = EVENT.time + timedelta(microseconds=micros)
        assert same_time(ENTRY, device_time(shown)) is same
    assert not same_time(ENTRY, None)
    assert trigger_of(b"nonsense") is None


def test_how_samples_are_written_is_told() -> None:
    assert data_type(FILES["cfg"]) == "BINARY"
    assert data_type(TEXTS["cfg"]) == "ASCII"
    assert data_type(b"nonsense") == ""


def test_whole_files_have_nothing_wrong() -> None:
    assert judge(fetched(), "MDY") == []
    assert judge(fetched()[:2], "MDY") == []


@pytest.mark.parametrize(
    "changed",
    [
        {"dat": FILES["dat"][:-1]},
        {"dat": FILES["dat"][: len(FILES["dat"]) // 2]},
        {"dat": FILES["dat"] + b"more"},
        {"dat": b""},
        {"cfg": FILES["cfg"][:300]},
        {"cfg": b"x"},
        {"cfg": FILES["cfg"].replace(b":", b";")},
        {"hdr": comtrade_of(OTHER)["hdr"]},
        {"cfg": comtrade_of(OTHER)["cfg"]},
    ],
)
def test_files_that_are_not_whole_or_not_of_one_event_are_damaged(
    changed: dict[str, bytes],
) -> None:
    assert judge(fetched(**changed), "MDY") != []


def test_a_header_of_another_kind_says_nothing() -> None:
    assert judge(fetched(hdr=b"<?xml version='1.0'?>"), "MDY") == []
