"""Directories of event files: which sets there are, and where an event is looked for first."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.record import device_time
from workspace_lib.reclosers.relay_directory import Finder, event_sets

ENTRY = HistoryEntry(1, device_time(datetime(2026, 3, 1), 0, 3), "AG T")


def listing(*stems: str, endings: tuple[str, ...] = ("CFG", "DAT", "HDR")) -> list[bytes]:
    lines = [f"{stem}.{ending:<20} R  03/01/2026 07:50:00" for stem in stems for ending in endings]
    return [line.encode() for line in ("", "HISTORY.TXT   R", *lines, "")]


def test_files_of_one_stem_are_a_set_and_other_files_are_none() -> None:
    more = [b"C4_10001.TXT  R", b"E4_10001.TXT  R"]
    sets = event_sets(listing("HR_10001", "HR_10002") + more)
    assert [one.stem for one in sets] == ["HR_10002", "HR_10001"]
    assert sets[0].names == {"cfg": "HR_10002.CFG", "dat": "HR_10002.DAT", "hdr": "HR_10002.HDR"}


def test_a_header_may_be_missing_and_samples_may_not() -> None:
    assert len(event_sets(listing("HR_10001", endings=("CFG", "DAT")))) == 1
    assert event_sets(listing("HR_10001", endings=("CFG", "HDR"))) == []
    assert event_sets([b"", b"No files"]) == []


def test_names_with_commas_and_blanks_are_known_and_cannot_be_asked_for() -> None:
    name = "230107,235959210,-5,STATION A,FEEDER 12,HQ,,10001"
    assert event_sets(listing(name)) == []
    assert [one.stem for one in event_sets(listing(name, "HR_10002"))] == ["HR_10002"]


def test_small_letters_are_the_relays_own() -> None:
    (one,) = event_sets(listing("hr_10001", endings=("cfg", "dat")))
    assert (one.stem, one.names["cfg"]) == ("HR_10001", "hr_10001.cfg")


def test_numbers_that_begin_anew_are_the_newer_ones() -> None:
    sets = event_sets(listing("HR_42766", "HR_42767", "HR_10000", "HR_10001"))
    assert [one.number for one in sets] == [10001, 10000, 42767, 42766]


class Relay:
    """Sets of files, and to which event of a list each belongs."""

    def __init__(self, places: list[int | None]) -> None:
        self.stems = [f"HR_{10_000 + len(places) - n}" for n in range(len(places))]
        self.places = dict(zip(self.stems, places, strict=True))
        self.finder = Finder()
        self.opened: list[str] = []

    def find(self, place: int, entry: HistoryEntry = ENTRY) -> str | None:
        for stem in self.finder.candidates(self.stems, place, entry):
            self.opened.append(stem)
            self.finder.note(stem, self.places[stem])
            if self.places[stem] == place:
                return stem
        return None


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("erased", [0, 1, 5])
def test_every_event_is_found_and_none_is_opened_more_often_than_once(
    backwards: bool, erased: int
) -> None:
    places = [place for place in range(20) if place < 20 - erased]
    for wanted in places:
        relay = Relay(list(reversed(places)) if backwards else list(places))
        found = relay.find(wanted)
        assert found is not None
        assert relay.places[found] == wanted
        assert len(relay.opened) <= 4


def test_upward_numbers_are_found_at_once() -> None:
    relay = Relay(list(range(20)))
    for place in (19, 7, 0):
        assert relay.find(place) is not None
    assert len(relay.opened) == 3


def test_an_event_without_files_is_known_to_have_none_after_a_few() -> None:
    relay = Relay([0, 1, 2, 3, 5, 6, 7, 8, 9])
    assert relay.find(4) is None
    assert len(relay.opened) <= 4
    assert relay.find(9) is not None


def test_sets_of_events_that_are_not_listed_are_passed_by() -> None:
    relay = Relay([0, None, 1, None, 2])
    for place in range(3):
        assert relay.find(place) is not None
    assert relay.find(3) is None


def test_a_reference_number_in_the_list_tells_the_file() -> None:
    relay = Relay([4, 2, 0, 1, 3])
    assert relay.find(1, replace(ENTRY, reference="10002")) == "HR_10002"
    assert relay.opened == ["HR_10002"]


def test_an_empty_directory_has_nothing() -> None:
    assert Relay([]).find(0) is None
