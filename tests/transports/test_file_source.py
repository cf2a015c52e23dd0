"""Opening a source by name: simulators, secrets, tries, and what the log says."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import pytest

from workspace_lib import simulators
from workspace_lib.errors import ConfigError, ParameterError, SourceError
from workspace_lib.settings import Settings, SourceSettings
from workspace_lib.transports.file_source import (
    FileRefused,
    Retry,
    SourceRefused,
    SourceUnreachable,
    TooManyConnections,
    TransferBroken,
    clean_path,
    is_partial,
    open_source,
    resolve,
)

SIMULATED: dict[str, object] = {
    "sources": {
        "rain": {
            "host": "simulator://rain",
            "user": "nobody",
            "password": "secret://DEMO_FTP_PASSWORD",
        }
    }
}


def test_a_simulator_is_found_with_its_user_and_secret(make_site: Callable[..., Settings]) -> None:
    settings = make_site(SIMULATED)
    simulators.announce(
        settings,
        "rain",
        {"host": "127.0.0.1", "port": 2121, "user": "gauges"},
        {"DEMO_FTP_PASSWORD": "made-up-now"},
    )
    address = resolve(settings, "rain")
    assert (address.host, address.port, address.user) == ("127.0.0.1", 2121, "gauges")
    assert address.password == "made-up-now"
    assert "made-up-now" not in repr(address)
    assert "gauges" not in address.label


def test_a_production_site_gets_neither_simulator_nor_demo_secret(
    make_site: Callable[..., Settings],
) -> None:
    demo = make_site(SIMULATED)
    simulators.announce(
        demo,
        "rain",
        {"host": "127.0.0.1", "port": 2121},
        {"DEMO_FTP_PASSWORD": "made-up-now"},
    )
    resolve(demo, "rain")
    real = make_site(SIMULATED | {"production": True}, name="real")
    with pytest.raises(ConfigError, match="production"):
        resolve(real, "rain")
    plain: dict[str, object] = {
        "production": True,
        "sources": {"rain": {"host": "ftp.example", "password": "secret://DEMO_FTP_PASSWORD"}},
    }
    with pytest.raises(ConfigError, match="DEMO_FTP_PASSWORD is not set"):
        resolve(make_site(plain, name="plain"), "rain")


def test_a_source_that_does_not_exist_is_told_with_those_that_do(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="Known sources: none"):
        open_source(settings, "plant")


@pytest.mark.parametrize(("kind", "port"), [("ftp", 21), ("ftps", 21), ("sftp", 22)])
def test_each_protocol_has_its_own_port(
    make_site: Callable[..., Settings], kind: str, port: int
) -> None:
    settings = make_site({"sources": {"plant": {"kind": kind, "host": "ftp.example"}}})
    assert resolve(settings, "plant").port == port


def test_a_closed_port_is_tried_again_and_then_told(
    make_site: Callable[..., Settings],
    free_port: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("PLANT_PASSWORD", "very-secret-word")
    settings = make_site(
        {
            "sources": {
                "plant": {
                    "host": "127.0.0.1",
                    "port": free_port,
                    "user": "operator",
                    "password": "secret://PLANT_PASSWORD",
                    "attempts": 3,
                    "wait_s": 0.001,
                }
            }
        }
    )
    with caplog.at_level(logging.INFO, "workspace_lib"), pytest.raises(SourceError) as caught:
        open_source(settings, "plant")
    assert f"ftp://127.0.0.1:{free_port}" in str(caught.value)
    assert "Check that the server runs" in str(caught.value)
    assert caplog.text.count("Connecting to source plant") == 3
    assert "very-secret-word" not in caplog.text
    assert "operator" not in caplog.text


def test_waits_double_up_to_the_longest() -> None:
    waits: list[float] = []
    retry = Retry(SourceSettings(host="x", attempts=5, wait_s=0.004, max_wait_s=0.02))
    retry._tell = lambda state: waits.append(state.next_action.sleep)  # type: ignore[method-assign]

    def fail() -> None:
        raise TransferBroken("cut")

    with pytest.raises(TransferBroken):
        retry.run(fail)
    assert len(waits) == 4
    for wait, least in zip(waits, (0.004, 0.008, 0.016, 0.02), strict=True):
        assert least <= wait <= least + 0.004


@pytest.mark.parametrize("error", [FileRefused("no"), SourceRefused("no"), ConfigError("no")])
def test_what_will_not_pass_is_not_tried_again(error: Exception) -> None:
    tries = 0

    def fail() -> None:
        nonlocal tries
        tries += 1
        raise error

    with pytest.raises(type(error)):
        Retry(SourceSettings(host="x", wait_s=0)).run(fail)
    assert tries == 1


def test_a_full_server_is_asked_again_only_by_the_patient() -> None:
    tries = 0

    def fail() -> None:
        nonlocal tries
        tries += 1
        raise TooManyConnections("421")

    retry = Retry(SourceSettings(host="x", attempts=4, wait_s=0))
    with pytest.raises(TooManyConnections):
        retry.run(fail, patient=False)
    assert tries == 1
    with pytest.raises(TooManyConnections):
        retry.run(fail)
    assert tries == 5


def test_stopping_ends_the_wait_between_tries() -> None:
    stop = threading.Event()
    retry = Retry(SourceSettings(host="x", attempts=9, wait_s=600, max_wait_s=600), stop)

    def fail() -> None:
        threading.Timer(0.05, stop.set).start()
        raise SourceUnreachable("gone")

    began = time.monotonic()
    with pytest.raises(SourceUnreachable):
        retry.run(fail)
    assert time.monotonic() - began < 60


def test_paths_are_cleaned_and_cannot_climb() -> None:
    assert clean_path("/a//b/./ c ") == "a/b/ c "
    assert clean_path("/") == ""
    with pytest.raises(ParameterError, match="climbs"):
        clean_path("a/../../b")


@pytest.mark.parametrize(
    ("name", "partial"),
    [
        ("G1/a.txt.part", True),
        ("G1/a.TMP", True),
        ("G1/a.filepart", True),
        ("G1/a.incomplete", True),
        ("G1/.hidden", True),
        ("G1/~$a.xlsx", True),
        (".old/a.txt", False),
        ("G1/part.txt", False),
    ],
)
def test_names_of_unfinished_files_are_known(name: str, partial: bool) -> None:
    assert is_partial(name) is partial
