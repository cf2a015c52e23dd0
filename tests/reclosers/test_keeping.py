"""What visits bring is kept: bytes first, then rows, once, and never for the worse."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from workspace_lib.errors import StoreError
from workspace_lib.reclosers import keeping, placing
from workspace_lib.reclosers.archive import Archive
from workspace_lib.reclosers.cev import read_cev
from workspace_lib.reclosers.comtrade import read_comtrade
from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.keeping import keep_event, keep_visit, known_keys
from workspace_lib.reclosers.placing import MOST_TRIES
from workspace_lib.reclosers.record import device_time
from workspace_lib.reclosers.relay import ClockReading, Manners
from workspace_lib.reclosers.relay_capture import Visit, visit_relay
from workspace_lib.reclosers.relay_plan import FetchedEvent, FetchedFile, State
from workspace_lib.reclosers.settings import Recloser
from workspace_lib.reclosers.simulator import RelaySpec, make_events
from workspace_lib.reclosers.tables import (
    recloser_events,
    recloser_files,
    recloser_relays,
    recloser_visits,
)
from workspace_lib.store.engines import Store, read

MONTREAL = ZoneInfo("America/Toronto")
LAV_101 = Recloser(id="LAV-101", ced="LAV", name="Boulevard north", remote=False)
NOW = datetime(2026, 8, 2, 16, tzinfo=UTC)
ENTRY = HistoryEntry(
    3,
    device_time(datetime(2026, 8, 2, 11, 10, 7), 260_000_000, 3),
    "AG T",
    location=12.5,
    current=1480.0,
    frequency=60.01,
    group="1",
    shot="2",
    targets="INST 51",
)
KEY = ("2026-08-02T11:10:07.260", "AG T")


def whole(*contents: bytes, why: str = "") -> FetchedEvent:
    """The event with a report."""
    files = tuple(FetchedFile("cev", "", one) for one in contents or (b"report",))
    return FetchedEvent(ENTRY, "whole", files, 1, why)


def damaged(content: bytes = b"rep?rt") -> FetchedEvent:
    """The event that never came whole."""
    files = (FetchedFile("cev", "", content, whole=False),)
    return FetchedEvent(ENTRY, "damaged", files, 3, "line 4: its checksum is wrong")


def summary() -> FetchedEvent:
    """The event of which only the list knows."""
    return FetchedEvent(ENTRY, "summary", why="its report is not stored any more")


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An empty archive of relays that keep the time of Montréal."""
    return Archive(tmp_path / "events", zone=MONTREAL)


def rows_of(store: Store, table: Any) -> list[dict[str, Any]]:
    """Every row of a table, in the order of its key."""
    with read(store.data) as connection:
        found = connection.execute(select(table).order_by(*table.primary_key.columns))
        return [dict(row._mapping) for row in found]


def everything(store: Store, archive: Archive) -> dict[str, Any]:
    """All that is kept: rows, and the files of the archive."""
    files = {
        path.relative_to(archive.root).as_posix(): path.read_bytes()
        for path in sorted(archive.root.rglob("*"))
        if path.is_file()
    }
    return {
        "files": files,
        **{table.name: rows_of(store, table) for table in (recloser_events, recloser_files)},
    }


def test_an_event_is_kept_with_its_summary_and_its_file(any_store: Store, archive: Archive) -> None:
    number = keep_event(
        any_store, archive, LAV_101, whole(), now=NOW, run_id="r1", fid="SEL-351R-R115-V0"
    )
    (row,) = rows_of(any_store, recloser_events)
    assert row == {
        "event_id": number,
        "recloser": "LAV-101",
        "ced": "LAV",
        "device_us": 1_785_669_007_260_000,
        "event": "AG T",
        "triggered": datetime(2026, 8, 2, 15, 10, 7, 260_000, tzinfo=UTC),
        "state": "whole",
        "origin": "relay",
        "model": "SEL-351R",
        "fid": "SEL-351R-R115-V0",
        "reference": None,
        "location": 12.5,
        "current_a": 1480.0,
        "frequency_hz": 60.01,
        "setting_group": "1",
        "shot": "2",
        "targets": "INST 51",
        "why": None,
        "noticed": NOW,
        "stored": NOW,
        "run_id": "r1",
    }
    (file,) = rows_of(any_store, recloser_files)
    assert (file["event_id"], file["kind"], file["state"], file["bytes"]) == (
        number,
        "cev",
        "kept",
        6,
    )
    assert archive.read(file["path"], file["sha256"]) == b"report"


def test_keeping_it_twice_changes_nothing(any_store: Store, archive: Archive) -> None:
    first = keep_event(any_store, archive, LAV_101, whole(), now=NOW)
    before = everything(any_store, archive)
    assert keep_event(any_store, archive, LAV_101, whole(), now=NOW + timedelta(hours=4)) == first
    assert everything(any_store, archive) == before


def test_what_need_not_be_fetched_is_known_by_its_key(store: Store, archive: Archive) -> None:
    assert known_keys(store, "LAV-101") == frozenset()
    keep_event(store, archive, LAV_101, whole(), now=NOW)
    assert known_keys(store, "LAV-101") == {KEY} == {ENTRY.key}
    assert known_keys(store, "LAV-102") == frozenset()


@pytest.mark.parametrize(
    ("event", "known"), [(whole(), True), (summary(), True), (damaged(), False)]
)
def test_a_damaged_event_is_asked_for_again(
    store: Store, archive: Archive, event: FetchedEvent, known: bool
) -> None:
    keep_event(store, archive, LAV_101, event, now=NOW)
    assert (KEY in known_keys(store, "LAV-101")) is known


def test_a_full_check_asks_again_for_what_only_the_list_knows(
    store: Store, archive: Archive
) -> None:
    keep_event(store, archive, LAV_101, summary(), now=NOW)
    assert known_keys(store, "LAV-101", states=("whole",)) == frozenset()


@pytest.mark.parametrize("later", [whole(b"another report"), damaged(), summary()])
def test_a_whole_event_is_never_overwritten(
    store: Store, archive: Archive, later: FetchedEvent
) -> None:
    keep_event(store, archive, LAV_101, whole(), now=NOW)
    before = everything(store, archive)
    keep_event(store, archive, LAV_101, later, now=NOW + timedelta(days=1))
    assert everything(store, archive) == before


@pytest.mark.parametrize("first", [damaged(), summary()])
def test_it_becomes_whole_when_it_comes_whole(
    any_store: Store, archive: Archive, first: FetchedEvent
) -> None:
    number = keep_event(any_store, archive, LAV_101, first, now=NOW)
    later = NOW + timedelta(hours=4)
    assert keep_event(any_store, archive, LAV_101, whole(), now=later) == number
    (row,) = rows_of(any_store, recloser_events)
    assert (row["state"], row["why"], row["noticed"], row["stored"]) == ("whole", None, NOW, later)


def test_what_is_damaged_lies_in_quarantine(store: Store, archive: Archive) -> None:
    keep_event(store, archive, LAV_101, damaged(), now=NOW)
    (file,) = rows_of(store, recloser_files)
    assert file["state"] == "quarantined"
    assert file["path"].startswith("LAV/LAV-101/quarantine/")
    (row,) = rows_of(store, recloser_events)
    assert (row["state"], row["stored"]) == ("damaged", None)
    assert row["why"] == "line 4: its checksum is wrong"


def test_only_some_tries_of_a_damaged_event_are_kept(store: Store, archive: Archive) -> None:
    for number in range(MOST_TRIES + 4):
        keep_event(store, archive, LAV_101, damaged(b"try %d" % number), now=NOW)
    assert len(rows_of(store, recloser_files)) == MOST_TRIES
    keep_event(store, archive, LAV_101, whole(), now=NOW)
    assert rows_of(store, recloser_files)[-1]["state"] == "kept"


def test_bytes_that_were_thought_damaged_are_taken_out_of_quarantine(
    any_store: Store, archive: Archive
) -> None:
    keep_event(any_store, archive, LAV_101, damaged(b"report"), now=NOW)
    keep_event(any_store, archive, LAV_101, whole(b"report"), now=NOW)
    (file,) = rows_of(any_store, recloser_files)
    assert (file["state"], "quarantine" in file["path"]) == ("kept", False)
    assert archive.read(file["path"], file["sha256"]) == b"report"


def test_a_damaged_event_whose_report_is_gone_is_not_asked_for_again(
    store: Store, archive: Archive
) -> None:
    keep_event(store, archive, LAV_101, damaged(), now=NOW)
    keep_event(store, archive, LAV_101, summary(), now=NOW)
    assert known_keys(store, "LAV-101") == {KEY}
    keep_event(store, archive, LAV_101, damaged(), now=NOW)
    (row,) = rows_of(store, recloser_events)
    assert row["state"] == "summary"


@pytest.mark.parametrize("state", ["moved", "gone"])
def test_what_moved_or_is_gone_is_left_to_the_next_visit(
    store: Store, archive: Archive, state: State
) -> None:
    assert keep_event(store, archive, LAV_101, FetchedEvent(ENTRY, state), now=NOW) is None
    assert rows_of(store, recloser_events) == []


def test_doubts_about_a_whole_event_are_kept(store: Store, archive: Archive) -> None:
    keep_event(store, archive, LAV_101, whole(why="there are no settings"), now=NOW)
    (row,) = rows_of(store, recloser_events)
    assert (row["state"], row["why"]) == ("whole", "there are no settings")


def test_two_events_of_one_instant_are_two(store: Store, archive: Archive) -> None:
    other = HistoryEntry(2, ENTRY.time, "PULSE")
    keep_event(store, archive, LAV_101, whole(), now=NOW)
    keep_event(store, archive, LAV_101, FetchedEvent(other, "whole", whole().files), now=NOW)
    assert len(rows_of(store, recloser_events)) == 2
    assert len({file["path"] for file in rows_of(store, recloser_files)}) == 2


def test_all_files_of_an_event_have_one_base_name(store: Store, archive: Archive) -> None:
    files = (
        FetchedFile("cev", "", b"report"),
        FetchedFile("cfg", "HR_10001.CFG", b"channels"),
        FetchedFile("dat", "HR_10001.DAT", b"samples"),
        FetchedFile("hdr", "HR_10001.HDR", b"told"),
    )
    keep_event(store, archive, LAV_101, FetchedEvent(ENTRY, "whole", files), now=NOW)
    rows = rows_of(store, recloser_files)
    assert {row["kind"]: row["name"] for row in rows} == {one.kind: one.name for one in files}
    assert {Path(row["path"]).suffix for row in rows} == {".cev", ".cfg", ".dat", ".hdr"}
    assert len({Path(row["path"]).with_suffix("") for row in rows}) == 1


def test_a_record_with_a_damaged_file_stays_together_in_quarantine(
    store: Store, archive: Archive
) -> None:
    files = (
        FetchedFile("cev", "", b"report"),
        FetchedFile("cfg", "HR_10001.CFG", b"channels"),
        FetchedFile("dat", "HR_10001.DAT", b"samp", whole=False),
    )
    keep_event(store, archive, LAV_101, FetchedEvent(ENTRY, "damaged", files), now=NOW)
    states = {row["kind"]: row["state"] for row in rows_of(store, recloser_files)}
    assert states == {"cev": "kept", "cfg": "quarantined", "dat": "quarantined"}


def test_the_model_is_told_by_the_report_where_nothing_else_does(
    store: Store, archive: Archive
) -> None:
    (event,) = make_events("651R", 1)
    keep_event(store, archive, LAV_101, whole(event.cev_of("C")), now=NOW)
    (row,) = rows_of(store, recloser_events)
    assert row["model"] == "SEL-651R-2"


def test_bytes_without_rows_are_taken_over(
    store: Store, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*args: object) -> None:
        raise StoreError("The disk is full.")

    monkeypatch.setattr(keeping, "_keep_files", die)
    with pytest.raises(StoreError):
        keep_event(store, archive, LAV_101, whole(), now=NOW)
    assert rows_of(store, recloser_events) == []
    monkeypatch.undo()
    keep_event(store, archive, LAV_101, whole(), now=NOW)
    kept = everything(store, archive)
    assert [name for name in kept["files"] if name.endswith(".cev")] == [
        kept["recloser_files"][0]["path"]
    ]


def test_two_who_keep_the_same_events_at_once_keep_each_once(
    any_store: Store, archive: Archive
) -> None:
    times = [device_time(datetime(2026, 8, 2, 11, 10, second), 0, 3) for second in range(12)]
    events = [
        FetchedEvent(HistoryEntry(1, time, "AG T"), "whole", whole(str(time).encode()).files)
        for time in times
    ]
    start = threading.Barrier(4)

    def keep_all(number: int) -> None:
        start.wait()
        for event in events if number % 2 else reversed(events):
            keep_event(any_store, archive, LAV_101, event, now=NOW)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(keep_all, range(4)))
    files = rows_of(any_store, recloser_files)
    assert len(rows_of(any_store, recloser_events)) == len(files) == len(events)
    kept = {archive.read(file["path"], file["sha256"]) for file in files}
    assert kept == {str(time).encode() for time in times}
    assert len(list(archive.root.rglob("*.cev"))) == len(events)


def test_a_relays_report_and_record_are_read_from_the_archives_folder(
    store: Store, archive: Archive, reach: Callable[..., Any], patient: Manners
) -> None:
    relay = reach(RelaySpec("651R", events=make_events("651R", 2)))

    def keep(event: FetchedEvent) -> None:
        keep_event(store, archive, LAV_101, event, now=NOW)

    with relay.line() as line:
        visit = visit_relay(line, (), password=lambda: "OTTER", manners=patient, keep=keep)
    keep_visit(store, LAV_101, visit, now=NOW, zone=MONTREAL)
    assert {row["state"] for row in rows_of(store, recloser_events)} == {"whole"}
    assert {row["model"] for row in rows_of(store, recloser_events)} == {"SEL-651R-2"}
    configs = sorted(archive.root.rglob("*.cfg"))
    reports = sorted(archive.root.rglob("*.cev"))
    assert [one.stem for one in configs] == [one.stem for one in reports]
    for config, report in zip(configs, reports, strict=True):
        trigger = read_comtrade(config).data.trigger
        assert trigger is not None
        assert abs(trigger.ns - read_cev(report).data.trigger.ns) < 1_000_000


def test_another_who_was_quicker_wins(
    any_store: Store, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = placing.place

    def meanwhile(*args: Any) -> Any:
        placed = place(*args)
        monkeypatch.setattr(keeping, "place", place)
        keep_event(any_store, archive, LAV_101, whole(b"by another"), now=NOW)
        return placed

    monkeypatch.setattr(keeping, "place", meanwhile)
    number = keep_event(any_store, archive, LAV_101, whole(b"by this one"), now=NOW)
    (row,) = rows_of(any_store, recloser_events)
    (file,) = rows_of(any_store, recloser_files)
    assert row["event_id"] == number
    assert archive.read(file["path"], file["sha256"]) == b"by another"


def visited(**changes: Any) -> Visit:
    """A visit that went well, by a relay whose clock is 2.5 s fast."""
    host = datetime(2026, 8, 2, 15, 59, tzinfo=UTC)
    relay = device_time(datetime(2026, 8, 2, 11, 59, 2), 500_000_000, 3)
    values: dict[str, Any] = {
        "found_level": "0",
        "identity": {"FID": "SEL-351R-R115-V0-Z002002-D20030418"},
        "listed": (ENTRY,),
        "events": [whole()],
        "clock": ClockReading(relay, host, 0.2),
        "began": host,
        "took_s": 12.5,
    }
    return Visit(**values | changes)


def test_a_visit_says_what_it_found_and_what_the_clock_said(any_store: Store) -> None:
    keep_visit(any_store, LAV_101, visited(), now=NOW, run_id="r1", zone=MONTREAL)
    (row,) = rows_of(any_store, recloser_visits)
    assert (row["outcome"], row["listed"], row["fetched"]) == ("done", 1, 1)
    assert row["clock_error_s"] == pytest.approx(2.5)
    (relay,) = rows_of(any_store, recloser_relays)
    assert (relay["model"], relay["failures"], relay["clock_within_s"]) == ("SEL-351R", 0, 0.2)
    assert relay["answered"] == relay["visited"] == visited().began


def test_a_relay_that_fails_is_counted_and_what_was_known_of_it_stays(any_store: Store) -> None:
    keep_visit(any_store, LAV_101, visited(), now=NOW, zone=MONTREAL)
    later = NOW + timedelta(hours=4)
    silent = visited(
        outcome="silent", why="no answer", found_level="", identity={}, clock=None, began=later
    )
    for _ in range(2):
        keep_visit(any_store, LAV_101, silent, now=later, zone=MONTREAL)
    (relay,) = rows_of(any_store, recloser_relays)
    assert (relay["outcome"], relay["why"], relay["failures"]) == ("silent", "no answer", 2)
    assert (relay["model"], relay["answered"]) == ("SEL-351R", visited().began)
    assert relay["clock_error_s"] == pytest.approx(2.5)


def test_a_line_that_was_never_reached_is_kept_as_told(store: Store) -> None:
    rest = NOW + timedelta(hours=1)
    keep_visit(
        store,
        LAV_101,
        Visit(why="somebody has the port"),
        now=NOW,
        outcome="busy",
        failures=4,
        not_before=rest,
    )
    (relay,) = rows_of(store, recloser_relays)
    assert (relay["outcome"], relay["failures"], relay["not_before"]) == ("busy", 4, rest)
    assert relay["answered"] is None


def test_a_visit_names_the_relay_of_events_that_did_not(store: Store, archive: Archive) -> None:
    keep_event(store, archive, LAV_101, summary(), now=NOW)
    keep_visit(store, LAV_101, visited(events=[summary()]), now=NOW)
    (row,) = rows_of(store, recloser_events)
    assert row["model"] == "SEL-351R"
