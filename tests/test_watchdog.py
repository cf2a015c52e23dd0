"""Telling systemd that a service lives."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from workspace_lib import watchdog

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no UNIX sockets here")


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket on which systemd listens to a service."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield listener


def test_each_message_reaches_systemd_in_its_own_words(systemd: socket.socket) -> None:
    assert watchdog.ready("3 jobs")
    assert watchdog.alive()
    assert watchdog.stopping()
    received = [systemd.recv(200).decode() for _ in range(3)]
    assert received == ["READY=1\nSTATUS=3 jobs", "WATCHDOG=1", "STOPPING=1"]


def test_an_abstract_socket_is_understood(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = f"workspace-test-{tmp_path.name}-{id(tmp_path)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name)
        listener.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        assert watchdog.alive("well")
        assert listener.recv(200) == b"WATCHDOG=1\nSTATUS=well"


def test_without_systemd_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not watchdog.ready()


def test_a_socket_that_is_gone_does_not_end_the_service(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not watchdog.alive()


def test_a_guard_says_ready_once_and_alive_while_the_service_is_well(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000")
    stop = threading.Event()
    answers = iter([False, False, True, True])
    thread = watchdog.guard(lambda: next(answers, False), stop)
    assert thread is not None
    received = [systemd.recv(200) for _ in range(3)]
    assert received == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
    stop.set()
    thread.join(10)
    # Since the service was no longer well, nothing but the farewell followed.
    assert systemd.recv(200) == b"STOPPING=1"


def test_without_systemd_nothing_is_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert watchdog.guard(lambda: True, threading.Event()) is None


class Refusing(BaseHTTPRequestHandler):
    """A server that answers, if only with a refusal."""

    def do_HEAD(self) -> None:
        self.send_error(403)

    def log_message(self, *arguments: object) -> None:
        pass


def test_a_server_is_well_when_it_answers_whatever_it_says() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        ask = watchdog.answers_http("0.0.0.0", server.server_port)
        assert ask()
        server.shutdown()
        thread.join(10)
    assert not ask()
