"""``workspace probe``: what it says, and that it stores nothing."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from workspace_lib.cli import main
from workspace_lib.errors import ConfigError, DeviceError, SourceError
from workspace_lib.settings import Settings
from workspace_lib.transports import probes
from workspace_lib.transports.probes import probe


def said(settings: Settings, name: str) -> str:
    return "\n".join(probe(settings, name))


@pytest.mark.server
def test_a_source_is_listed_and_nothing_is_stored(
    ftp_server: Callable[..., Any], plant: Callable[..., Settings], faults: Callable[..., Any]
) -> None:
    server = ftp_server(faults=faults(missing={"MLSD"}, zone_shift_s=-18_000))
    for number in range(8):
        server.put(f"G1/{number}.txt", b"x" * number, age_s=600)
    server.put("G1/9.txt.part", b"")
    settings = plant(server)
    text = said(settings, "plant")
    assert "Listed 9 files, 28 bytes" in text
    assert "G1/4.txt  4 bytes  20" in text
    assert "and 4 more" in text
    assert "1 of them have names of unfinished files" in text
    assert "does not know: MLSD" in text
    assert "very-secret-word" not in text
    assert not settings.outputs_dir.exists()


@pytest.mark.server
def test_the_zone_of_the_server_is_measured(
    ftp_server: Callable[..., Any], plant: Callable[..., Settings], faults: Callable[..., Any]
) -> None:
    server = ftp_server(faults=faults(zone_shift_s=-18_000))
    server.put("a.txt", b"1")
    assert "Its LIST is -5 h from UTC." in said(plant(server), "plant")


@pytest.mark.server
def test_a_clock_that_is_ahead_is_noticed(
    ftp_server: Callable[..., Any], plant: Callable[..., Settings]
) -> None:
    server = ftp_server()
    server.put("a.txt", b"1", age_s=-7200)
    assert "in the future" in said(plant(server), "plant")


@pytest.mark.server
def test_an_sftp_source_is_probed(sftp_server: Any, plant: Callable[..., Settings]) -> None:
    sftp_server.put("a.txt", b"1")
    assert "Listed 1 files" in said(plant(sftp_server), "plant")


@pytest.mark.server
def test_the_command_prints_and_answers_by_its_exit_code(
    ftp_server: Callable[..., Any],
    plant: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = ftp_server()
    server.put("a.txt", b"1")
    settings = plant(server)
    monkeypatch.setenv("WORKSPACE_ROOT", str(settings.root))
    assert main(["--site", "testsite", "probe", "plant"]) == 0
    assert "Listed 1 files" in capsys.readouterr().out
    assert main(["--site", "testsite", "probe", "nothing"]) == 1
    assert "Known: plant" in capsys.readouterr().err


def test_an_unknown_name_is_told_with_the_known_ones(make_site: Callable[..., Settings]) -> None:
    settings = make_site({"sources": {"b": {"host": "x"}}, "devices": {"line:A": None}})
    with pytest.raises(ConfigError, match=r"Known: b, line:A\."):
        said(settings, "c")
    with pytest.raises(ConfigError, match="where the device line:A is"):
        said(settings, "line:A")


def test_a_source_that_does_not_answer_is_an_error(
    make_site: Callable[..., Settings], free_port: int
) -> None:
    source = {"host": "127.0.0.1", "port": free_port, "attempts": 1}
    with pytest.raises(SourceError):
        said(make_site({"sources": {"plant": source}}), "plant")


def test_a_device_behind_an_address_takes_a_connection(
    make_site: Callable[..., Settings], free_port: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"socket://127.0.0.1:{server.getsockname()[1]}"
        settings = make_site({"devices": {"line:A": place}})
        assert "took a connection" in said(settings, "line:A")
    with pytest.raises(DeviceError, match="does not take a connection"):
        said(make_site({"devices": {"line:A": f"socket://127.0.0.1:{free_port}"}}), "line:A")


def test_a_port_that_is_not_there_is_told(
    make_site: Callable[..., Settings], tmp_path: Path
) -> None:
    port = tmp_path / "ttyUSB0"
    settings = make_site({"devices": {"line:A": str(port)}})
    with pytest.raises(DeviceError, match="not there"):
        said(settings, "line:A")
    port.touch()
    assert "is there" in said(settings, "line:A")


def test_a_wing_may_probe_its_own_devices(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "_probers", [])

    def prober(settings: Settings, name: str) -> Iterator[str] | None:
        return iter([f"{name} answers"]) if name == "relay:1" else None

    probes.register(prober)
    probes.register(prober)
    assert len(probes._probers) == 1
    assert said(settings, "relay:1") == "relay:1 answers"
