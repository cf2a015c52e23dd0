"""``Events.csv``: made from the store for people, and read from wherever people got theirs."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from workspace_lib.errors import FormatError
from workspace_lib.reclosers.archive import Archive
from workspace_lib.reclosers.events_csv import (
    COLUMNS,
    looks_like_events,
    parse_events_csv,
    write_events_csv,
)
from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.keeping import keep_event
from workspace_lib.reclosers.record import device_time
from workspace_lib.reclosers.relay_plan import FetchedEvent, FetchedFile
from workspace_lib.reclosers.settings import Recloser
from workspace_lib.store.engines import Store

NOW = datetime(2026, 8, 2, 16, tzinfo=UTC)
LAV_101 = Recloser(id="LAV-101", ced="LAV", remote=False)
FIRST = HistoryEntry(
    2,
    device_time(datetime(2026, 8, 2, 11, 10, 7), 260_000_000, 3),
    "AG T",
    location=12.5,
    current=1480.0,
    frequency=60.01,
    group="1",
    shot="2",
    targets="INST 51",
)
SECOND = HistoryEntry(1, device_time(datetime(2026, 8, 2, 11, 10, 19), 4_000_000, 3), "=CMD()")


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An empty archive of relays that keep the time of Montréal."""
    return Archive(tmp_path / "events", zone=ZoneInfo("America/Toronto"))


@pytest.fixture
def content(store: Store, archive: Archive) -> bytes:
    """The table of a recloser with two events, one of them with a file."""
    files = (FetchedFile("cev", "", b"report"),)
    keep_event(store, archive, LAV_101, FetchedEvent(FIRST, "whole", files), now=NOW)
    keep_event(store, archive, LAV_101, FetchedEvent(SECOND, "summary"), now=NOW)
    return (archive.root / "LAV/LAV-101/Events.csv").read_bytes()


def test_its_columns_are_those_of_the_relays_list_and_its_files(content: bytes) -> None:
    newest, oldest = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
    assert tuple(oldest) == COLUMNS
    assert oldest == {
        "#": "2",
        "DATE": "2026-08-02",
        "TIME": "11:10:07.260",
        "EVENT": "AG T",
        "LOCAT": "12.5",
        "CURR": "1480",
        "FREQ": "60.01",
        "GRP": "1",
        "SHOT": "2",
        "TARGETS": "INST 51",
        "STATE": "whole",
        "FILES": "2026/260802,111007260,-4,LAV,LAV-101,,AG-T.cev",
    }
    assert (newest["#"], newest["STATE"], newest["FILES"]) == ("1", "summary", "")


def test_a_spreadsheet_opens_it_and_runs_nothing(content: bytes) -> None:
    assert content.startswith(b"\xef\xbb\xbf")
    assert content.count(b"\r\n") == content.count(b"\n") == 3
    assert b"'=CMD()" in content


def test_it_is_read_as_it_was_written(content: bytes) -> None:
    listed, issues = parse_events_csv(content)
    assert issues == []
    assert [one.entry.key for one in listed] == [SECOND.key, FIRST.key]
    assert [one.state for one in listed] == ["summary", "whole"]
    assert listed[1].entry == FIRST


def test_it_is_written_only_when_it_changes(store: Store, archive: Archive, content: bytes) -> None:
    assert not write_events_csv(store, archive, LAV_101)
    path = archive.root / "LAV/LAV-101/Events.csv"
    path.write_bytes(b"changed by somebody")
    assert write_events_csv(store, archive, LAV_101)
    assert path.read_bytes() == content


def test_a_table_that_somebody_keeps_open_holds_nothing_up(
    store: Store, archive: Archive, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(13, "The process cannot access the file")

    monkeypatch.setattr(Path, "replace", refuse)
    third = HistoryEntry(1, device_time(datetime(2026, 8, 3), 0, 3), "ER")
    assert keep_event(store, archive, LAV_101, FetchedEvent(third, "summary"), now=NOW)
    monkeypatch.undo()
    assert (archive.root / "LAV/LAV-101/Events.csv").read_bytes() == content
    assert write_events_csv(store, archive, LAV_101)


@pytest.mark.parametrize(
    "text",
    [
        "DATE,TIME,EVENT\n12/25/25,23:59:59.007,BG T\n",
        "DATE;TIME;EVENT\r\n25/12/2025;23:59:59.007;BG T\r\n",
        "Type\tDate\tHeure\nBG T\t2025-12-25\t23:59:59,007\n",
        "Horodatage;Évènement\n25.12.2025 23:59:59.007;BG T\n",
        "DATE_TIME,EVENT\n2025-12-25T23:59:59.007,BG T\n",
        "Recloser LAV-101\n\n#,Date,Time,Event\n1,12/25/2025,23:59:59.007,BG T\n",
        "1,12/25/25,23:59:59.007,BG T,12.5,1480,60.01,1,2,INST 51\n",
        "1,12/25/25,23:59:59.007,BG T\n",
    ],
)
def test_tables_of_others_are_understood(text: str) -> None:
    for encoded in (text.encode(), text.encode("utf-8-sig"), text.encode("cp1252")):
        assert looks_like_events(encoded)
        listed, issues = parse_events_csv(encoded)
        assert issues == []
        assert [one.entry.key for one in listed] == [("2025-12-25T23:59:59.007", "BG T")]


def test_a_table_of_a_spreadsheet_in_utf_16_is_understood() -> None:
    text = "DATE\tTIME\tEVENT\r\n12/25/25\t23:59:59.007\tBG T\r\n"
    listed, _ = parse_events_csv(text.encode("utf-16"))
    assert listed[0].entry.event == "BG T"


def test_the_order_of_dates_is_the_one_that_fits_all_rows() -> None:
    rows = "DATE,TIME,EVENT\n{},00:00:00.001,ER\n{},00:00:00.001,ER\n"
    listed, issues = parse_events_csv(rows.format("03/02/26", "31/01/26").encode(), "MDY")
    assert issues == []
    assert [str(one.entry.time)[:10] for one in listed] == ["2026-02-03", "2026-01-31"]


@pytest.mark.parametrize(("order", "day"), [("MDY", "2026-03-02"), ("DMY", "2026-02-03")])
def test_dates_that_fit_in_any_order_are_the_relays(order: str, day: str) -> None:
    content = b"DATE,TIME,EVENT\n03/02/26,00:00:00.001,ER\n"
    listed, _ = parse_events_csv(content, order)  # type: ignore[arg-type]
    assert str(listed[0].entry.time)[:10] == day


def test_rows_that_are_none_are_told_with_their_line() -> None:
    content = (
        b"DATE,TIME,EVENT\n12/25/25,23:59:59.007,BG T\n"
        b"never,,ER\n12/25/25,23:59:58,ER\n99/99/25,00:00:00.001,ER\n\n"
    )
    listed, issues = parse_events_csv(content)
    assert len(listed) == 1
    assert [(one.code, one.where) for one in issues] == [
        ("bad_time", "line 3"),
        ("no_milliseconds", "line 4"),
        ("bad_time", "line 5"),
    ]


def test_what_the_relay_could_not_find_is_unknown() -> None:
    content = b"DATE;TIME;EVENT;LOCAT;CURR\n12/25/25;23:59:59.007;BG T;$$$$$$;1 480\n"
    listed, _ = parse_events_csv(content)
    assert listed[0].entry.location is None


@pytest.mark.parametrize(
    "content", [b"", b"a,b,c\n1,2,3\n", b"\x00\xff" * 100, b"DATE,TIME\n12/25/25,23:59:59.007\n"]
)
def test_other_files_are_no_tables_of_events(content: bytes) -> None:
    assert not looks_like_events(content)
    with pytest.raises(FormatError, match="no table of events"):
        parse_events_csv(content)
