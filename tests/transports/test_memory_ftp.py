"""The FTP server in memory: clients see an ordinary server, and nothing is left on the disk."""

from __future__ import annotations

import ftplib
import io
from collections.abc import Iterator
from typing import Any

import pytest

from workspace_lib.errors import ConfigError
from workspace_lib.transports.memory_ftp import MemoryFtp, MemoryTree

pytestmark = pytest.mark.server


@pytest.fixture
def server() -> Iterator[MemoryFtp]:
    """A server with one file in a folder."""
    pytest.importorskip("pyftpdlib")
    memory = MemoryFtp("gauges")
    memory.tree.put("a/one.txt", b"0123456789", 1_700_000_000)
    yield memory
    memory.stop()


@pytest.fixture
def client(server: MemoryFtp) -> Iterator[ftplib.FTP]:
    """A client that is logged in."""
    endpoint = server.start()
    with ftplib.FTP(timeout=30) as ftp:
        ftp.connect(endpoint["host"], endpoint["port"])
        ftp.login(endpoint["user"], endpoint["password"])
        yield ftp


def fetch(ftp: ftplib.FTP, path: str, rest: int | None = None) -> bytes:
    sink = io.BytesIO()
    ftp.retrbinary(f"RETR {path}", sink.write, rest=rest)
    return sink.getvalue()


def test_files_are_listed_with_size_and_time(client: ftplib.FTP) -> None:
    ((name, facts),) = list(client.mlsd("/a"))
    assert (name, facts["type"], facts["size"]) == ("one.txt", "file", "10")
    assert facts["modify"] == "20231114221320"
    client.voidcmd("TYPE I")
    assert client.size("/a/one.txt") == 10
    assert client.sendcmd("MDTM /a/one.txt") == "213 20231114221320"
    lines: list[str] = []
    client.dir("/a", lines.append)
    assert lines[0].endswith("one.txt")


def test_a_file_is_fetched_whole_or_from_an_offset(client: ftplib.FTP) -> None:
    assert fetch(client, "/a/one.txt") == b"0123456789"
    assert fetch(client, "/a/one.txt", rest=7) == b"789"


def test_uploads_appends_renames_and_removals(client: ftplib.FTP, server: MemoryFtp) -> None:
    client.mkd("/b")
    client.storbinary("STOR /b/part", io.BytesIO(b"new"))
    client.storbinary("APPE /b/part", io.BytesIO(b"er"))
    client.rename("/b/part", "/b/whole")
    client.delete("/a/one.txt")
    client.rmd("/a")
    assert client.nlst("/b") == ["whole"]
    assert server.tree.files() == {"/b/whole": b"newer"}
    assert not server.tree.is_folder("/a")


def test_folders_can_be_entered_and_renamed(client: ftplib.FTP, server: MemoryFtp) -> None:
    client.cwd("/a")
    assert client.pwd() == "/a"
    assert client.nlst() == ["one.txt"]
    client.cwd("/")
    client.rename("/a", "/c")
    assert server.tree.files() == {"/c/one.txt": b"0123456789"}


@pytest.mark.parametrize(
    "command", ["SIZE /none", "MDTM /none", "CWD /none", "DELE /none", "RMD /a", "MKD /a"]
)
def test_what_cannot_be_is_refused(client: ftplib.FTP, command: str) -> None:
    client.voidcmd("TYPE I")
    with pytest.raises(ftplib.error_perm, match=r"^550"):
        client.sendcmd(command)


def test_a_missing_file_is_not_fetched(client: ftplib.FTP) -> None:
    with pytest.raises(ftplib.error_perm, match=r"^550"):
        fetch(client, "/none")


def test_nobody_enters_without_the_password(server: MemoryFtp) -> None:
    endpoint = server.start()
    with ftplib.FTP(timeout=30) as ftp:
        ftp.connect(endpoint["host"], endpoint["port"])
        with pytest.raises(ftplib.error_perm, match="530"):
            ftp.login(endpoint["user"], "guess")


def test_each_start_has_a_password_of_its_own_and_keeps_the_files(server: MemoryFtp) -> None:
    first: dict[str, Any] = server.start()
    server.stop()
    second = server.start()
    assert first["password"] != second["password"]
    assert server.tree.files() == {"/a/one.txt": b"0123456789"}


def test_a_taken_port_is_said_so(server: MemoryFtp) -> None:
    port = server.start()["port"]
    with pytest.raises(ConfigError, match="cannot listen"):
        MemoryFtp("other").start(port)


def test_a_tree_keeps_files_and_folders_apart() -> None:
    tree = MemoryTree()
    tree.put("a/b", b"")
    with pytest.raises(IsADirectoryError):
        tree.put("a", b"")
    with pytest.raises(FileExistsError):
        tree.make_folders("a/b/c")
    assert tree.names("/") == ["a"]
