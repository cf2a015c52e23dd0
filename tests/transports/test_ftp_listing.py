"""Listings: MLSD, the dialects of LIST, and the server's zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from workspace_lib.transports.ftp_listing import (
    Entry,
    date_entries,
    measured_offset,
    parse_list,
    parse_mlsd,
    parse_timestamp,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_mlsd_gives_name_size_and_time_in_utc() -> None:
    entry = parse_mlsd("type=file;size=61;modify=20230301000400.25;unique=1g; A0 01.txt")
    assert entry == Entry(
        "A0 01.txt", "file", 61, datetime(2023, 3, 1, 0, 4, 0, 250_000, tzinfo=UTC)
    )


def test_mlsd_keeps_blanks_at_both_ends_of_a_name() -> None:
    entry = parse_mlsd("Type=file;Size=1;  two blanks ")
    assert entry is not None
    assert entry.name == " two blanks "


def test_mlsd_knows_folders_and_leaves_out_the_folder_itself() -> None:
    folder = parse_mlsd("type=dir;size=0;modify=20071127230206; ebooks")
    assert folder == Entry("ebooks", "folder")
    assert parse_mlsd("type=cdir; /data") is None
    assert parse_mlsd("type=pdir; ..") is None


def test_mlsd_shows_links_as_links() -> None:
    entry = parse_mlsd("type=OS.unix=slink:/data/x;modify=20230301000400; x")
    assert entry == Entry("x", "link")


def test_a_line_without_a_name_is_no_mlsd() -> None:
    with pytest.raises(ValueError, match="no name"):
        parse_mlsd("type=file;size=1;")


def test_years_of_old_servers_are_read() -> None:
    assert parse_timestamp("191230301000400") == datetime(2023, 3, 1, 0, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "name", "kind", "size", "shown"),
    [
        (
            "-rw-r--r--   1 gauges   gauges         61 Mar 01 00:04 A0 01.txt",
            "A0 01.txt",
            "file",
            61,
            datetime(2026, 3, 1, 0, 4),
        ),
        (
            "-rw-r--r--    1 1000     1000           61 Dec 31 23:59  lead.txt",
            " lead.txt",
            "file",
            61,
            datetime(2025, 12, 31, 23, 59),
        ),
        ("-rw-r--r-- 1 root root 61 Mar  1  2023 old.txt", "old.txt", "file", 61, None),
        (
            "-rw-rw-r--+ 1 me Domain Users 2048 févr. 28 08:15 relevé.csv",
            "relevé.csv",
            "file",
            2048,
            datetime(2026, 2, 28, 8, 15),
        ),
        (
            "-rw-r--r-- 1 me us 7 28 Feb 08:15 day first.csv",
            "day first.csv",
            "file",
            7,
            datetime(2026, 2, 28, 8, 15),
        ),
        (
            "-rw-r--r--. 1 me us 7 2026-02-28 08:15 iso.csv",
            "iso.csv",
            "file",
            7,
            datetime(2026, 2, 28, 8, 15),
        ),
        ("drwxr-xr-x   2 root     root         4096 Nov 20 13:26  b", " b", "folder", None, None),
        ("lrwxrwxrwx 1 a b 11 Mar  1 00:04 now -> 2026/A0.txt", "now", "link", None, None),
        (
            "03-01-26  12:04AM                   61 A0 01.txt",
            "A0 01.txt",
            "file",
            61,
            datetime(2026, 3, 1, 0, 4),
        ),
        (
            "02-28-2026  15:30              1234567 b.csv",
            "b.csv",
            "file",
            1_234_567,
            datetime(2026, 2, 28, 15, 30),
        ),
        ("02-28-26  03:30PM       <DIR>          G 01", "G 01", "folder", None, None),
    ],
)
def test_list_is_read_in_unix_and_windows_style(
    line: str, name: str, kind: str, size: int | None, shown: datetime | None
) -> None:
    entry = parse_list(line, NOW)
    assert entry is not None
    assert (entry.name, entry.kind, entry.size, entry.shown) == (name, kind, size, shown)


@pytest.mark.parametrize(
    "line",
    ["total 12", "", "drwxr-xr-x 2 a b 4096 Mar  1 00:04 ..", "crw-rw-rw- 1 a b 1 Mar 1 00:04 tty"],
)
def test_list_lines_without_a_file_are_left_out(line: str) -> None:
    assert parse_list(line, NOW) is None


def test_an_unknown_style_is_told() -> None:
    with pytest.raises(ValueError, match="unknown style"):
        parse_list("+i8388621.48594,m825718503,r,s280,\tdjb.html", NOW)


def test_a_leap_day_belongs_to_the_last_leap_year() -> None:
    entry = parse_list("-rw-r--r-- 1 a b 1 Feb 29 10:00 x", datetime(2024, 6, 1, tzinfo=UTC))
    assert entry is not None
    assert entry.shown == datetime(2024, 2, 29, 10, 0)


class Server:
    """Shows files in its own zone, and counts how often it is asked for a time in UTC."""

    def __init__(self, instants: list[datetime], zone: str) -> None:
        self.instants = {f"f{number}": instant for number, instant in enumerate(instants)}
        self.zone = ZoneInfo(zone)
        self.asked = 0

    def entries(self) -> list[Entry]:
        return [
            Entry(
                name,
                "file",
                1,
                shown=instant.astimezone(self.zone).replace(tzinfo=None, second=0),
            )
            for name, instant in self.instants.items()
        ]

    def mdtm(self, name: str) -> datetime | None:
        self.asked += 1
        return self.instants[name]


@pytest.mark.parametrize("zone", ["UTC", "America/Montreal", "Asia/Kathmandu", "Pacific/Auckland"])
def test_the_zone_of_a_listing_is_measured(zone: str) -> None:
    start = datetime(2026, 1, 10, 8, 0, 42, tzinfo=UTC)
    server = Server([start + timedelta(minutes=5 * n) for n in range(2000)], zone)
    dated = date_entries(server.entries(), server.mdtm)
    assert [entry.modified for entry in dated] == [
        instant.replace(second=0) for instant in server.instants.values()
    ]
    assert server.asked == 3


def test_summer_time_within_a_listing_is_found_by_few_questions() -> None:
    start = datetime(2025, 10, 1, tzinfo=UTC)
    hours = [start + timedelta(hours=n, minutes=7, seconds=30) for n in range(24 * 180)]
    # Local stamps of the repeated hour tell two stories; no file is there.
    server = Server([i for i in hours if not (i.month == 10 and i.day == 26)], "Europe/Paris")
    dated = date_entries(server.entries(), server.mdtm)
    assert [entry.modified for entry in dated] == [
        instant.replace(second=0) for instant in server.instants.values()
    ]
    assert server.asked < 100


def test_times_stay_unknown_where_the_server_knows_no_mdtm() -> None:
    server = Server([NOW], "Europe/Paris")
    dated = date_entries(server.entries(), lambda name: None)
    assert [entry.modified for entry in dated] == [None]
    assert measured_offset(server.entries(), lambda name: None) is None


def test_times_without_sense_stay_unknown_and_questions_end() -> None:
    server = Server([NOW + timedelta(minutes=n) for n in range(5000)], "UTC")
    strange = {name: NOW + timedelta(hours=7 * n) for n, name in enumerate(server.instants)}

    def mdtm(name: str) -> datetime:
        server.asked += 1
        return strange[name]

    dated = date_entries(server.entries(), mdtm)
    assert {entry.modified for entry in dated} == {None}
    assert server.asked < 200


def test_the_offset_of_the_newest_file_is_the_servers_zone() -> None:
    server = Server([NOW - timedelta(days=200), NOW], "Europe/Paris")
    assert measured_offset(server.entries(), server.mdtm) == timedelta(hours=1)
