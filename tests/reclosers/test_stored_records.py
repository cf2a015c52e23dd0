"""Which of an event's files its waves are taken from, and what the others say beside it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from workspace_lib.errors import FormatError, StoreError
from workspace_lib.files import sha256_bytes
from workspace_lib.reclosers.comtrade_write import to_cff
from workspace_lib.reclosers.hdr import EventSummary
from workspace_lib.reclosers.queries import EventFile
from workspace_lib.reclosers.simulator_comtrade import comtrade_of
from workspace_lib.reclosers.simulator_events import SimulatedEvent
from workspace_lib.reclosers.stored_records import input_hash, read_record

EVENT = SimulatedEvent("651R", datetime(2026, 3, 1, 7, 50), "AG")
NOW = datetime(2026, 3, 2, tzinfo=UTC)


class Shelf:
    """An archive in memory."""

    def __init__(self, **contents: bytes) -> None:
        self.contents = {f"event.{kind}": content for kind, content in contents.items()}
        self.files = [self.row(kind, content) for kind, content in contents.items()]

    @staticmethod
    def row(kind: str, content: bytes, state: str = "kept") -> EventFile:
        digest = sha256_bytes(content)
        return EventFile(1, 1, kind, "", f"event.{kind}", len(content), digest, state, NOW)

    def read(self, path: str, sha256: str) -> bytes:
        assert sha256_bytes(self.contents[path]) == sha256
        return self.contents[path]


@pytest.fixture(scope="module")
def comtrade() -> dict[str, bytes]:
    """The COMTRADE files of the event."""
    return comtrade_of(EVENT, "BINARY")


def test_a_report_alone_is_the_record() -> None:
    shelf = Shelf(cev=EVENT.cev_of("C"))
    found = read_record(shelf.read, shelf.files)
    assert found.source == "cev"
    assert found.settings == found.record.settings
    assert found.relay == ()


def test_more_samples_a_cycle_are_better_and_the_report_says_the_rest(comtrade) -> None:
    shelf = Shelf(cev=EVENT.cev_of("S4"), **comtrade)
    found = read_record(shelf.read, shelf.files)
    assert found.source == "comtrade"
    # The line is only in the report's settings, the summary in both.
    assert "Z1MAG" in found.settings
    assert any(isinstance(one, EventSummary) for one in found.relay)
    assert any(isinstance(one, dict) and one.get("EVENT") for one in found.relay)


def test_a_record_without_the_bit_of_a_trip_is_worse(comtrade) -> None:
    config = comtrade["cfg"].replace(b"TRIP", b"OTHR")
    shelf = Shelf(cev=EVENT.cev_of("S4"), **{**comtrade, "cfg": config})
    assert read_record(shelf.read, shelf.files).source == "cev"


def test_one_that_cannot_be_read_leaves_the_other(comtrade) -> None:
    shelf = Shelf(cev=b"nothing", **comtrade)
    found = read_record(shelf.read, shelf.files)
    assert found.source == "comtrade"
    assert [one.partition(":")[0] for one in found.troubles] == ["cev"]


def test_a_combined_file_and_a_text_for_people_are_read() -> None:
    record = read_record((shelf := Shelf(cev=EVENT.cev_of("C"))).read, shelf.files).record
    combined = Shelf(cff=to_cff(record))
    assert read_record(combined.read, combined.files).source == "comtrade"


def test_without_a_file_that_can_be_read_it_says_why_for_each(comtrade) -> None:
    shelf = Shelf(cev=b"nothing", txt=b"words")
    with pytest.raises(FormatError, match="cev: "):
        read_record(shelf.read, shelf.files)
    with pytest.raises(FormatError, match="it has none"):
        read_record(shelf.read, [])
    half = Shelf(cfg=comtrade["cfg"])
    with pytest.raises(FormatError, match="it has none"):
        read_record(half.read, half.files)


def test_what_was_set_aside_is_not_read() -> None:
    aside = [Shelf.row("cev", EVENT.cev_of("C"), "quarantined")]
    with pytest.raises(FormatError):
        read_record(Shelf().read, aside)


def test_an_archive_out_of_reach_is_no_fault_of_the_file() -> None:
    def away(path: str, sha256: str) -> bytes:
        raise StoreError("The archive is away.")

    with pytest.raises(StoreError):
        read_record(away, Shelf(cev=b"x").files)


def test_the_hash_stands_for_the_kept_files_in_any_order(comtrade) -> None:
    files = Shelf(**comtrade).files
    assert input_hash(files) == input_hash(files[::-1])
    assert input_hash([*files, Shelf.row("cev", b"bad", "quarantined")]) == input_hash(files)
    assert input_hash(files[1:]) != input_hash(files)
