"""Uploads: readers see the old file or the new one, and the new one is proved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workspace_lib.errors import SourceError
from workspace_lib.settings import Settings
from workspace_lib.transports.file_source import FileRefused, open_source

pytestmark = pytest.mark.server
CONTENT = bytes(range(256)) * 400


@pytest.fixture
def server(ftp_server: Callable[..., Any]) -> Any:
    return ftp_server()


@pytest.fixture
def settings(server: Any, plant: Callable[..., Settings]) -> Settings:
    return plant(server)


def names(server: Any) -> list[str]:
    return sorted(path.relative_to(server.root).as_posix() for path in server.root.rglob("*.*"))


def test_the_steps_of_an_upload_in_order(server: Any, settings: Settings) -> None:
    server.put("out/a.txt", b"old")
    with open_source(settings, "plant") as source:
        source.upload("out/a.txt", CONTENT)
    assert (server.root / "out" / "a.txt").read_bytes() == CONTENT
    verbs = [line.split(" ")[0] for line in server.commands]
    steps = [verb for verb in verbs if verb in ("STOR", "SIZE", "RETR", "RNFR", "RNTO", "DELE")]
    # Sent, counted, (the old one is there:) read back, renamed over, read back again.
    assert steps == ["STOR", "SIZE", "SIZE", "RETR", "RNFR", "RNTO", "RETR"]
    (sent,) = [line for line in server.commands if line.startswith("STOR")]
    assert sent.startswith("STOR /out/a.txt.")
    assert sent.endswith(".part")


def test_a_file_on_disk_is_uploaded_and_folders_are_made(
    server: Any, settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "local.bin"
    path.write_bytes(CONTENT)
    with open_source(settings, "plant") as source:
        source.upload("2026/03/ é.bin", path)
    assert (server.root / "2026" / "03" / " é.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("verb", ["RNFR", "RNTO"])
def test_a_refused_rename_leaves_the_old_file_and_no_rest(
    server: Any, settings: Settings, verb: str
) -> None:
    server.put("a.txt", b"old")
    server.faults.refused = {verb: "550 Rename refused."}
    with open_source(settings, "plant") as source, pytest.raises(SourceError, match="refused"):
        source.upload("a.txt", CONTENT)
    assert (server.root / "a.txt").read_bytes() == b"old"
    assert names(server) == ["a.txt"]


def test_a_short_arrival_leaves_the_old_file_and_no_rest(server: Any, settings: Settings) -> None:
    server.put("a.txt", b"old")
    server.faults.after_stor = lambda path: path.write_bytes(CONTENT[:-1])
    with open_source(settings, "plant") as source, pytest.raises(SourceError, match="arrived"):
        source.upload("a.txt", CONTENT)
    assert (server.root / "a.txt").read_bytes() == b"old"
    assert names(server) == ["a.txt"]


def test_other_bytes_of_the_same_size_leave_the_old_file(server: Any, settings: Settings) -> None:
    server.put("a.txt", b"old")
    server.faults.after_stor = lambda path: path.write_bytes(CONTENT[::-1])
    with open_source(settings, "plant") as source, pytest.raises(SourceError, match="other bytes"):
        source.upload("a.txt", CONTENT)
    assert (server.root / "a.txt").read_bytes() == b"old"
    assert names(server) == ["a.txt"]


def test_other_bytes_are_told_also_for_a_new_file(server: Any, settings: Settings) -> None:
    server.faults.after_stor = lambda path: path.write_bytes(CONTENT[::-1])
    with open_source(settings, "plant") as source, pytest.raises(SourceError, match="other bytes"):
        source.upload("new.txt", CONTENT)


def test_a_lost_answer_to_the_rename_is_no_failure(server: Any, settings: Settings) -> None:
    # The first RNTO is done, but answered as if the server were busy: it is asked again, and the
    # temporary name is gone by then.
    server.faults.lose_rename = True
    with open_source(settings, "plant") as source:
        source.upload("a.txt", CONTENT)
    assert (server.root / "a.txt").read_bytes() == CONTENT
    assert names(server) == ["a.txt"]


def test_an_upload_that_may_not_be_is_refused(server: Any, settings: Settings) -> None:
    server.faults.refused = {"STOR": "550 Not enough privileges."}
    with open_source(settings, "plant") as source, pytest.raises(FileRefused, match="privileges"):
        source.upload("out/a.txt", CONTENT)


def test_an_upload_that_breaks_once_is_sent_again(server: Any, settings: Settings) -> None:
    server.faults.refused = {"STOR": "452 Disk is full for a moment."}
    original = server.faults.refused

    class Once(dict[str, str]):
        def __getitem__(self, key: str) -> str:
            server.faults.refused = {}
            return original[key]

    server.faults.refused = Once(original)
    with open_source(settings, "plant") as source:
        source.upload("a.txt", CONTENT)
    assert (server.root / "a.txt").read_bytes() == CONTENT
