"""FTP sources against a real server that does everything wrong, one thing at a time."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from workspace_lib.errors import StoreError
from workspace_lib.settings import Settings
from workspace_lib.transports.file_source import (
    FileChanged,
    FileRefused,
    SourceRefused,
    SourceUnreachable,
    TooManyConnections,
    TransferBroken,
    open_source,
)

pytestmark = pytest.mark.server
Start = Callable[..., Any]
Plant = Callable[..., Settings]

CONTENT = bytes(range(256)) * 800
DIALECTS: dict[str, set[str]] = {
    "mlsd": set(),
    "size-mdtm": {"MLSD"},
    "list": {"MLSD", "SIZE"},
    "list-only": {"MLSD", "SIZE", "MDTM", "NLST"},
    "no-mdtm": {"MLSD", "MDTM"},
}


def fetched(settings: Settings, path: str, **more: Any) -> bytes:
    sink = io.BytesIO()
    with open_source(settings, "plant") as source:
        source.fetch(path, sink, **more)
    return sink.getvalue()


@pytest.fixture(params=DIALECTS.values(), ids=DIALECTS)
def dialect(request: pytest.FixtureRequest, ftp_server: Start, faults: Start) -> Any:
    """A server that lists its files in each of the known ways."""
    return ftp_server(faults=faults(missing=request.param))


def test_all_files_are_listed_whatever_the_server_understands(dialect: Any, plant: Plant) -> None:
    names = ["top.txt", "G1/A0 01.txt", "G1/sub/é à.txt", "G2/ blanks .txt", "G2/a -> b.txt"]
    for number, name in enumerate(names):
        dialect.put(name, b"x" * number)
    with open_source(plant(dialect), "plant") as source:
        listed = {item.path: item.size for item in source.list()}
    assert listed == {name: number for number, name in enumerate(names)}


def test_files_with_strange_names_are_fetched(dialect: Any, plant: Plant) -> None:
    for name in ("G2/ blanks .txt", "G1/é à.txt", "-la", "G1/100% #1.txt"):
        dialect.put(name, name.encode())
        assert fetched(plant(dialect), name) == name.encode()


@pytest.mark.parametrize("known", ["mlsd", "size-mdtm"])
def test_times_are_exact_and_in_utc(
    ftp_server: Start, faults: Start, plant: Plant, known: str
) -> None:
    server = ftp_server(faults=faults(missing=DIALECTS[known], zone_shift_s=7200))
    path = server.put("a.txt", b"1", age_s=1000)
    with open_source(plant(server), "plant") as source:
        (item,) = source.list()
    assert item.modified == datetime.fromtimestamp(int(path.stat().st_mtime), UTC)


@pytest.mark.parametrize("shift_s", [0, 7200, -5 * 3600, 20700])
def test_the_wrong_zone_of_list_is_put_right_by_mdtm(
    ftp_server: Start, faults: Start, plant: Plant, shift_s: int
) -> None:
    server = ftp_server(faults=faults(missing=DIALECTS["list"], zone_shift_s=shift_s))
    path = server.put("a.txt", b"1", age_s=3600)
    with open_source(plant(server), "plant") as source:
        (item,) = source.list()
    modified = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    assert item.modified == modified.replace(second=0, microsecond=0)


def test_without_mdtm_a_time_in_an_unknown_zone_stays_unknown(
    ftp_server: Start, faults: Start, plant: Plant
) -> None:
    server = ftp_server(faults=faults(missing=DIALECTS["list-only"], zone_shift_s=7200))
    server.put("a.txt", b"1")
    with open_source(plant(server), "plant") as source:
        assert [item.modified for item in source.list()] == [None]


@pytest.mark.parametrize("answer", ["550 No files found.", "450 No files found."])
def test_an_error_for_an_empty_folder_means_an_empty_folder(
    dialect: Any, plant: Plant, answer: str
) -> None:
    dialect.faults.empty_is_550 = answer
    (dialect.root / "empty").mkdir()
    dialect.put("full/a.txt", b"1")
    with open_source(plant(dialect), "plant") as source:
        assert [item.path for item in source.list()] == ["full/a.txt"]


def test_a_folder_that_may_not_be_read_is_told_and_the_rest_is_listed(
    ftp_server: Start, plant: Plant
) -> None:
    server = ftp_server()
    server.put("full/a.txt", b"1")
    (server.root / "empty").mkdir()
    server.faults.empty_is_550 = "550 Permission denied."
    problems: list[tuple[str, str]] = []
    with open_source(plant(server), "plant") as source:
        listed = [item.path for item in source.list(problems=problems)]
        assert listed == ["full/a.txt"]
        assert [path for path, _ in problems] == ["empty"]
        with pytest.raises(FileRefused, match="Permission denied"):
            list(source.list())


def test_a_missing_folder_is_an_error_and_not_empty(ftp_server: Start, plant: Plant) -> None:
    with (
        open_source(plant(ftp_server()), "plant") as source,
        pytest.raises(FileRefused, match="nowhere"),
    ):
        list(source.list("nowhere", problems=[]))


def test_a_name_in_another_encoding_is_told_and_the_rest_is_listed(
    ftp_server: Start, plant: Plant
) -> None:
    server = ftp_server(encoding="latin-1")
    server.put("é.txt", b"1")
    server.put("plain.txt", b"2")
    problems: list[tuple[str, str]] = []
    with open_source(plant(server), "plant") as source:
        assert [item.path for item in source.list(problems=problems)] == ["plain.txt"]
    assert "not utf-8" in problems[0][1]
    with open_source(plant(server, encoding="latin-1"), "plant") as source:
        assert [item.path for item in source.list()] == ["plain.txt", "é.txt"]


@pytest.mark.parametrize("missing", [set(), {"MLSD", "SIZE"}], ids=["mlsd", "list"])
@pytest.mark.parametrize("at", [1, 70, 150])
def test_a_listing_that_is_cut_is_asked_again(
    ftp_server: Start, faults: Start, plant: Plant, at: int, missing: set[str]
) -> None:
    server = ftp_server(faults=faults(missing=missing, cut_listings=[at]))
    for number in range(5):
        server.put(f"{number}.txt", b"1")
    with open_source(plant(server), "plant") as source:
        assert len(list(source.list())) == 5


@pytest.mark.slow
def test_a_folder_of_ten_thousand_files_takes_few_questions_without_mlsd(
    ftp_server: Start, faults: Start, plant: Plant
) -> None:
    server = ftp_server(faults=faults(missing={"MLSD"}))
    for number in range(10_000):
        (server.root / f"{number:05}.txt").write_bytes(b"1")
    with open_source(plant(server), "plant") as source:
        assert len({item.path for item in source.list()}) == 10_000
    assert len(server.commands) < 30


@pytest.mark.parametrize("ends", ["lies", "says", "dies"])
@pytest.mark.parametrize("at", [1, 100, 65_536, len(CONTENT) - 1])
def test_a_transfer_that_is_cut_is_taken_up_where_it_broke(
    ftp_server: Start, plant: Plant, at: int, ends: str
) -> None:
    server = ftp_server()
    server.put("a.bin", CONTENT)
    server.faults.cut_ends = ends
    server.faults.cuts["a.bin"] = [at]
    assert fetched(plant(server), "a.bin") == CONTENT
    assert f"REST {at}" in server.commands


def test_all_bytes_and_a_lost_answer_make_a_whole_file(ftp_server: Start, plant: Plant) -> None:
    server = ftp_server()
    server.put("a.bin", CONTENT)
    server.faults.cut_ends = "says"
    server.faults.cuts["a.bin"] = [len(CONTENT)]
    assert fetched(plant(server), "a.bin") == CONTENT
    assert server.count("RETR") == 1


def test_a_transfer_that_never_ends_well_is_told(ftp_server: Start, plant: Plant) -> None:
    server = ftp_server()
    server.put("a.bin", CONTENT)
    server.faults.cuts["a.bin"] = [0, 0, 0]
    with pytest.raises(TransferBroken, match=f"after 0 of {len(CONTENT)} bytes"):
        fetched(plant(server), "a.bin")


def test_a_server_that_cannot_skip_is_read_from_the_start(
    ftp_server: Start, faults: Start, plant: Plant
) -> None:
    server = ftp_server(faults=faults(missing={"REST"}))
    server.put("a.bin", CONTENT)
    server.faults.cuts["a.bin"] = [1000]
    assert fetched(plant(server), "a.bin") == CONTENT
    assert fetched(plant(server), "a.bin", offset=70_000) == CONTENT[70_000:]


def test_a_file_is_read_from_an_offset(ftp_server: Start, plant: Plant) -> None:
    server = ftp_server()
    server.put("a.bin", CONTENT)
    settings = plant(server)
    assert fetched(settings, "a.bin", offset=1234) == CONTENT[1234:]
    assert fetched(settings, "a.bin", offset=1234, expected=len(CONTENT)) == CONTENT[1234:]
    assert fetched(settings, "a.bin", offset=len(CONTENT)) == b""


def test_a_file_that_is_not_the_listed_one_is_told(ftp_server: Start, plant: Plant) -> None:
    server = ftp_server()
    server.put("a.bin", CONTENT)
    with pytest.raises(FileChanged, match="10 bytes were expected"):
        fetched(plant(server), "a.bin", expected=10)


def test_a_file_growing_while_it_is_read_is_told(ftp_server: Start, plant: Plant) -> None:
    server = ftp_server()
    server.put("a.bin", CONTENT)

    def grow(path: Path) -> None:
        with path.open("ab") as stream:
            stream.write(b"more")

    server.faults.during_retr = grow
    with pytest.raises(FileChanged):
        fetched(plant(server), "a.bin", expected=len(CONTENT))


def test_a_missing_file_is_refused_at_once(ftp_server: Start, plant: Plant) -> None:
    server = ftp_server()
    with pytest.raises(FileRefused, match="nothing"):
        fetched(plant(server), "nothing.txt")
    assert server.count("RETR") == 1
    with open_source(plant(server), "plant") as source, pytest.raises(FileRefused):
        source.size("nothing.txt")


def test_a_full_disk_here_is_not_the_servers_fault(ftp_server: Start, plant: Plant) -> None:
    server = ftp_server()
    server.put("a.bin", CONTENT)
    with (
        open_source(plant(server), "plant") as source,
        Path("/dev/full").open("wb", buffering=0) as full,
        pytest.raises(StoreError, match="No space left"),
    ):
        source.fetch("a.bin", full)
    assert server.count("RETR") == 1


def test_a_wrong_password_is_told_without_it(ftp_server: Start, plant: Plant) -> None:
    server = ftp_server(auth_failed_timeout=0)
    with pytest.raises(SourceRefused) as caught:
        open_source(plant(server, user="somebody"), "plant")
    assert "secret://PLANT_PASSWORD" in str(caught.value)
    assert "very-secret-word" not in str(caught.value)
    assert server.count("PASS") == 1


def test_a_full_server_is_told(ftp_server: Start, plant: Plant) -> None:
    server = ftp_server(per_client=1)
    settings = plant(server)
    with open_source(settings, "plant"), pytest.raises(TooManyConnections, match="421"):
        open_source(settings, "plant", patient=False)


def test_a_wrong_address_for_data_is_not_believed(ftp_server: Start, plant: Plant) -> None:
    server = ftp_server(masquerade_address="192.0.2.7")
    server.put("a.txt", b"1")
    assert fetched(plant(server), "a.txt") == b"1"


def test_active_mode_works_where_the_site_asks_for_it(ftp_server: Start, plant: Plant) -> None:
    server = ftp_server()
    server.put("a.txt", b"1")
    assert fetched(plant(server, passive=False), "a.txt") == b"1"
    assert server.count("PASV") == 0


def test_a_connection_that_was_lost_is_made_again(ftp_server: Start, plant: Plant) -> None:
    server = ftp_server(timeout=0.2)
    server.put("a.txt", b"1")
    with open_source(plant(server), "plant") as source:
        assert server.all_gone.wait(30)
        sink = io.BytesIO()
        source.fetch("a.txt", sink)
    assert sink.getvalue() == b"1"


def test_all_paths_are_under_the_sources_folder(ftp_server: Start, plant: Plant) -> None:
    server = ftp_server()
    server.put("deep/er/G1/a.txt", b"1")
    for folder in ("/deep/er", "deep/er/"):
        with open_source(plant(server, folder=folder), "plant") as source:
            assert [item.path for item in source.list()] == ["G1/a.txt"]
            assert [item.path for item in source.list("/G1")] == ["G1/a.txt"]
            assert source.size("G1/a.txt") == 1


def test_listing_can_stay_in_one_folder_and_skip_some(ftp_server: Start, plant: Plant) -> None:
    server = ftp_server()
    for name in ("a.txt", "G1/b.txt", "trash/c.txt", "G1/trash/d.txt"):
        server.put(name, b"1")
    with open_source(plant(server), "plant") as source:
        assert [item.path for item in source.list(recursive=False)] == ["a.txt"]
        assert [item.path for item in source.list(skip=("trash",))] == [
            "a.txt",
            "G1/b.txt",
            "G1/trash/d.txt",
        ]


def test_links_are_followed_to_files_but_not_round_in_circles(
    ftp_server: Start, faults: Start, plant: Plant
) -> None:
    for missing in (set(), {"MLSD", "NLST"}):
        server = ftp_server(folder=f"links{len(missing)}", faults=faults(missing=missing))
        server.put("a.txt", b"123")
        (server.root / "b.txt").symlink_to(server.root / "a.txt")
        (server.root / "loop").symlink_to(server.root)
        with open_source(plant(server), "plant") as source:
            found = {item.path: item.size for item in source.list()}
        assert found["b.txt"] == 3
        assert found["a.txt"] == 3


def test_files_are_renamed_and_removed_and_folders_made(ftp_server: Start, plant: Plant) -> None:
    server = ftp_server()
    server.put("a.txt", b"1")
    with open_source(plant(server), "plant") as source:
        source.make_folder("x/y z")
        source.make_folder("x/y z")
        source.rename("a.txt", "x/y z/b.txt")
        assert source.size("x/y z/b.txt") == 1
        source.remove("x/y z/b.txt")
    assert list((server.root / "x" / "y z").iterdir()) == []


def test_a_server_that_went_away_is_unreachable(ftp_server: Start, plant: Plant) -> None:
    server = ftp_server()
    server.put("a.txt", b"1")
    with open_source(plant(server), "plant") as source:
        server.faults.refused = {"USER": "421 Shutting down."}
        server.faults.cut_ends = "dies"
        server.faults.cuts["a.txt"] = [0] * 9
        with pytest.raises(SourceUnreachable):
            source.fetch("a.txt", io.BytesIO())
