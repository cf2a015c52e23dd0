"""SFTP sources against a real server: the pinned key first, then the same duties as FTP."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import paramiko
import pytest

from workspace_lib.errors import ConfigError, SourceError
from workspace_lib.settings import Settings
from workspace_lib.store import inventory, raw
from workspace_lib.store.engines import read
from workspace_lib.store.migrate import open_store
from workspace_lib.transports.file_source import (
    FileChanged,
    FileRefused,
    SourceRefused,
    SourceUnreachable,
    TransferBroken,
    open_source,
)
from workspace_lib.transports.ftp_mirror import mirror

pytestmark = pytest.mark.server
Plant = Callable[..., Settings]
CONTENT = bytes(range(256)) * 2000


def fetched(settings: Settings, path: str, **more: Any) -> bytes:
    sink = io.BytesIO()
    with open_source(settings, "plant") as source:
        source.fetch(path, sink, **more)
    return sink.getvalue()


def test_an_unknown_server_is_refused_and_its_line_is_told(sftp_server: Any, plant: Plant) -> None:
    with pytest.raises(SourceRefused) as caught:
        open_source(plant(sftp_server, known_host=None), "plant")
    assert "not pinned yet" in str(caught.value)
    assert f"known_host to: {sftp_server.key_line}" in str(caught.value)
    assert sftp_server.connections == 1


def test_another_key_than_the_pinned_one_is_refused(sftp_server: Any, plant: Plant) -> None:
    other = paramiko.ECDSAKey.generate()
    line = f"{other.get_name()} {other.get_base64()}"
    with pytest.raises(SourceRefused, match="not the pinned one"):
        open_source(plant(sftp_server, known_host=line), "plant")


def test_a_key_of_a_kind_the_server_lacks_is_refused(sftp_server: Any, plant: Plant) -> None:
    other = paramiko.RSAKey.generate(2048)
    with pytest.raises(SourceRefused, match="known_host"):
        open_source(plant(sftp_server, known_host=f"ssh-rsa {other.get_base64()}"), "plant")


@pytest.mark.parametrize("form", ["{line}", "host,10.0.0.1 {line} me@here", "[host]:22 {line}"])
def test_the_line_may_come_from_known_hosts(sftp_server: Any, plant: Plant, form: str) -> None:
    line = form.format(line=sftp_server.key_line)
    with open_source(plant(sftp_server, known_host=line), "plant") as source:
        assert list(source.list()) == []


def test_a_line_without_a_key_is_a_wrong_setting(sftp_server: Any, plant: Plant) -> None:
    with pytest.raises(ConfigError, match="no public key"):
        open_source(plant(sftp_server, known_host="SHA256:abcdef"), "plant")


def test_a_wrong_password_is_refused_and_not_logged(
    sftp_server: Any, plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(SourceRefused, match="log-in"):
        open_source(plant(sftp_server, user="other"), "plant")
    assert "very-secret-word" not in caplog.text
    assert sftp_server.connections == 1


def test_a_private_key_lets_in(
    sftp_server: Any, plant: Plant, user_key: paramiko.PKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = io.StringIO()
    user_key.write_private_key(text)
    monkeypatch.setenv("PLANT_PASSWORD", text.getvalue())
    with open_source(plant(sftp_server), "plant") as source:
        assert list(source.list()) == []
    monkeypatch.setenv("PLANT_PASSWORD", "-----BEGIN PRIVATE KEY-----\nx\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        open_source(plant(sftp_server), "plant")


def test_files_are_listed_with_size_and_time(sftp_server: Any, plant: Plant) -> None:
    path = sftp_server.put("G1/ é à.txt", b"123")
    sftp_server.put("top.txt", b"1")
    (sftp_server.root / "link.txt").symlink_to(path)
    (sftp_server.root / "loop").symlink_to(sftp_server.root)
    with open_source(plant(sftp_server), "plant") as source:
        listed = {item.path: item for item in source.list()}
        assert [item.path for item in source.list(recursive=False)] == ["link.txt", "top.txt"]
        assert [item.path for item in source.list(skip=("G1",))] == ["link.txt", "top.txt"]
    assert set(listed) == {"G1/ é à.txt", "top.txt", "link.txt"}
    assert listed["link.txt"].size == 3
    modified = datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
    assert listed["G1/ é à.txt"].modified == modified


def test_a_file_is_fetched_whole_or_from_an_offset(sftp_server: Any, plant: Plant) -> None:
    sftp_server.put("a.bin", CONTENT)
    settings = plant(sftp_server)
    assert fetched(settings, "a.bin") == CONTENT
    assert fetched(settings, "a.bin", offset=70_000, expected=len(CONTENT)) == CONTENT[70_000:]


@pytest.mark.parametrize("at", [0, 1, 40_000, len(CONTENT) - 1])
@pytest.mark.parametrize("size", [len(CONTENT), 100_000], ids=["prefetched", "plain"])
def test_a_transfer_that_is_cut_is_taken_up(
    sftp_server: Any, plant: Plant, at: int, size: int
) -> None:
    content = CONTENT[:size]
    sftp_server.put("a.bin", content)
    sftp_server.cuts["a.bin"] = [min(at, size - 1)]
    assert fetched(plant(sftp_server), "a.bin", expected=size) == content
    assert sftp_server.connections == 2


def test_a_transfer_that_never_ends_well_is_told(sftp_server: Any, plant: Plant) -> None:
    sftp_server.put("a.bin", CONTENT)
    sftp_server.cuts["a.bin"] = [10] * 1000
    with pytest.raises(TransferBroken):
        fetched(plant(sftp_server), "a.bin")


def test_a_file_that_grows_while_it_is_read_is_told(sftp_server: Any, plant: Plant) -> None:
    sftp_server.put("a.bin", CONTENT[:1000])

    def grow(path: Path) -> None:
        with path.open("ab") as stream:
            stream.write(b"more")

    sftp_server.before_read = grow
    with pytest.raises(FileChanged, match="1000 bytes were expected"):
        fetched(plant(sftp_server), "a.bin", expected=1000)


def test_a_missing_file_is_refused(sftp_server: Any, plant: Plant) -> None:
    with open_source(plant(sftp_server), "plant") as source:
        with pytest.raises(FileRefused, match="nothing"):
            source.fetch("nothing", io.BytesIO())
        with pytest.raises(FileRefused, match="nothing"):
            source.size("nothing")
        with pytest.raises(FileRefused):
            list(source.list("nowhere"))
    assert sftp_server.connections == 1


def test_uploads_replace_the_old_file_only_when_proved(sftp_server: Any, plant: Plant) -> None:
    with open_source(plant(sftp_server), "plant") as source:
        source.upload("out/é x.bin", CONTENT)
        source.upload("out/é x.bin", b"new")
        sftp_server.refuse_rename = True
        with pytest.raises(SourceError, match="renamed"):
            source.upload("out/é x.bin", b"newer")
    assert (sftp_server.root / "out" / "é x.bin").read_bytes() == b"new"
    assert len(list((sftp_server.root / "out").iterdir())) == 1


def test_a_server_that_cannot_rename_over_a_file_keeps_the_old_one(
    sftp_server: Any, plant: Plant
) -> None:
    sftp_server.posix_rename = False
    with open_source(plant(sftp_server), "plant") as source:
        source.upload("a.bin", b"first")
        with pytest.raises(FileRefused, match="renamed"):
            source.upload("a.bin", b"second")
    assert (sftp_server.root / "a.bin").read_bytes() == b"first"
    assert len(list(sftp_server.root.iterdir())) == 1


def test_files_are_renamed_and_removed(sftp_server: Any, plant: Plant) -> None:
    sftp_server.put("a.txt", b"1")
    with open_source(plant(sftp_server), "plant") as source:
        source.make_folder("x/y")
        source.make_folder("x/y")
        source.rename("a.txt", "x/y/b.txt")
        assert source.size("x/y/b.txt") == 1
        source.remove("x/y/b.txt")
    assert list((sftp_server.root / "x" / "y").iterdir()) == []


def test_a_port_where_nobody_speaks_ssh_is_unreachable(
    sftp_server: Any, plant: Plant, free_port: int
) -> None:
    with pytest.raises(SourceUnreachable, match="Check that the server runs"):
        open_source(plant(sftp_server, port=free_port), "plant")


def test_an_sftp_source_is_mirrored(sftp_server: Any, plant: Plant) -> None:
    for n in range(30):
        sftp_server.put(f"G{n % 3}/A0 {n:02}é.txt", b"tips %d" % n)
    sftp_server.put("G1/big.log", CONTENT * 4)
    settings = plant(sftp_server)
    with open_store(settings, create=True) as store:
        for expected in (31, 0):
            report = mirror(
                store,
                settings,
                "plant",
                device_of=lambda path: path.split("/")[0],
                day_of=lambda path: date(2026, 3, 1),
            )
            assert (report.fetched, report.failed) == (expected, [])
        with read(store.data) as connection:
            rows = inventory.pending(connection, "plant", limit=100)
        for row in rows:
            assert raw.get(store, str(row.raw_ref)) == (sftp_server.root / row.path).read_bytes()
        assert len(rows) == 31
