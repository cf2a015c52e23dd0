"""Telling systemd that a service is ready and alive, as its unit's ``Type=notify`` asks.

Where nobody listens (a terminal, Windows, a container) every call does nothing.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable

_SOCKET = "NOTIFY_SOCKET"
_INTERVAL = "WATCHDOG_USEC"
_PROBE_TIMEOUT_S = 5.0


def ready(status: str = "") -> bool:
    """Say that the service has started; returns whether somebody was told."""
    return _send(f"READY=1\nSTATUS={status}" if status else "READY=1")


def alive(status: str = "") -> bool:
    """Say that the service lives; systemd restarts one that is silent for ``WatchdogSec``."""
    return _send(f"WATCHDOG=1\nSTATUS={status}" if status else "WATCHDOG=1")


def stopping() -> bool:
    """Say that the service is about to end in good order."""
    return _send("STOPPING=1")


def guard(is_well: Callable[[], bool], stop: threading.Event) -> threading.Thread | None:
    """Say ready, then alive, for as long as ``is_well()``; for servers with a loop of their own.

    A hung server no longer answers, is no longer reported alive, and is restarted by systemd.
    Returns the thread that asks until ``stop`` is set, or None where systemd does not listen.
    """
    # Kept, because a server may empty its environment before others see it.
    address = os.environ.get(_SOCKET)
    if not address:
        return None
    # Three chances within the time systemd allows.
    interval_s = int(os.environ.get(_INTERVAL, "30000000")) / 1e6 / 3

    def watch() -> None:
        started = False
        while not stop.is_set():
            if is_well():
                started = started or _send("READY=1", address)
                _send("WATCHDOG=1", address)
            stop.wait(interval_s if started else min(interval_s, 0.5))
        _send("STOPPING=1", address)

    thread = threading.Thread(target=watch, name="watchdog", daemon=True)
    thread.start()
    return thread


def answers_http(host: str, port: int, path: str = "/") -> Callable[[], bool]:
    """Return a question for `guard`: whether a web server answers at all, whatever it says."""
    from http.client import HTTPConnection, HTTPException

    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)

    def ask() -> bool:
        connection = HTTPConnection(reached, port, timeout=_PROBE_TIMEOUT_S)
        try:
            connection.request("HEAD", path)
            connection.getresponse()
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()
        return True

    return ask


def _send(message: str, address: str | None = None) -> bool:
    address = address or os.environ.get(_SOCKET)
    if not address or not hasattr(socket, "AF_UNIX"):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        try:
            channel.sendto(message.encode(), address)
        except OSError:
            # A service must not fail because nobody listens to its heartbeat.
            return False
    return True
