"""A simulated recloser relay, 351R or 651R, behind a TCP port or at a pseudo terminal.

It sends at the pace of its line, its events are computed from a feeder whose truth is known, and
it does wrong what real lines and relays do. It shares no code with the readers.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from workspace_lib.clock import SYSTEM_CLOCK, Clock
from workspace_lib.errors import ConfigError, WorkspaceError
from workspace_lib.reclosers.simulator_comtrade import Samples, comtrade_of
from workspace_lib.reclosers.simulator_events import SimulatedEvent, make_events
from workspace_lib.reclosers.simulator_files import Ways
from workspace_lib.reclosers.simulator_relay import (
    Fault,
    Hangup,
    Pause,
    RelaySpec,
    SimulatedRelay,
)

__all__ = [
    "Fault",
    "RelaySimulator",
    "RelaySpec",
    "RelayTruth",
    "main",
    "make_events",
    "truth_of",
]

_XON, _XOFF = 0x11, 0x13
_LOOK_S = 0.05


@dataclass(frozen=True)
class RelayTruth:
    """What a faultless client finds, and what it said.

    ``events`` newest first; ``erased`` are the keys of those whose report is gone, ``fileless`` of
    those whose files are. ``ways`` is how the relay gives files.
    """

    events: tuple[SimulatedEvent, ...]
    erased: frozenset[tuple[str, str]]
    commands: tuple[str, ...]
    level: str
    passwords_refused: int
    alarms: int
    ways: Ways = "none"
    fileless: frozenset[tuple[str, str]] = frozenset()

    def files(self) -> dict[tuple[str, str], dict[str, bytes]]:
        """Return the bytes of the files that are stored, by key and ending (cfg, dat, hdr)."""
        if self.ways == "none":
            return {}
        samples: Samples = "BINARY" if self.ways == "read" else "ASCII"
        gone = self.erased | self.fileless
        return {one.key: comtrade_of(one, samples) for one in self.events if one.key not in gone}

    def reports(self, options: str = "C") -> dict[tuple[str, str], bytes]:
        """Return the bytes of each report that is stored, by key, as asked with ``options``."""
        return {one.key: one.cev_of(options) for one in self.events if one.key not in self.erased}


def truth_of(relay: SimulatedRelay) -> RelayTruth:
    """Return what a faultless client finds at a relay now, and what clients said to it."""
    spec = relay.spec
    return RelayTruth(
        tuple(spec.events),
        frozenset(spec.erased),
        tuple(relay.commands),
        relay.level,
        relay.passwords_refused,
        relay.alarms,
        spec.ways,
        frozenset(spec.fileless),
    )


class _Pipe(Protocol):
    """A connection: bytes as they come, nothing after a while, OSError when it is over."""

    def read(self, wait_s: float) -> bytes: ...

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class RelaySimulator:
    """One relay that can be reached.

    Parameters
    ----------
    spec : RelaySpec
        How the relay is; without events it gets some.
    baud : int
        Pace of the line at ``speed=1`` [bit/s]; 0 sends as fast as it can.
    terminal : bool
        At a pseudo terminal in place of a TCP port (not on Windows).
    """

    def __init__(
        self,
        spec: RelaySpec | None = None,
        *,
        baud: int = 0,
        terminal: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.spec = spec or RelaySpec(events=make_events("351R", 6))
        self.relay = SimulatedRelay(self.spec, clock.now)
        self._baud = baud
        self._terminal = terminal
        self._byte_s = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._server: socket.socket | None = None
        self._ends: tuple[int, int] | None = None
        self.sessions = 0

    def start(self, port: int = 0, speed: float = 1.0) -> dict[str, Any]:
        """Start it and return ``url``, and ``host`` and ``port`` or the terminal's ``path``.

        Raises
        ------
        ConfigError
            If a terminal is wanted where there are none.
        """
        self._byte_s = 10 / (self._baud * speed) if self._baud and speed else 0.0
        self._stop.clear()
        if self._terminal:
            path = self._open_terminal()
            endpoint: dict[str, Any] = {"url": path, "path": path}
        else:
            self._server = socket.create_server(("127.0.0.1", port))
            self._server.settimeout(_LOOK_S)
            host, number = self._server.getsockname()[:2]
            endpoint = {"url": f"socket://{host}:{number}", "host": host, "port": number}
        self._thread = threading.Thread(target=self._serve, name="relay", daemon=True)
        self._thread.start()
        return endpoint

    def truth(self) -> RelayTruth:
        """Return what a faultless client finds now, and what clients said."""
        with self._lock:
            return truth_of(self.relay)

    def happen(self) -> SimulatedEvent:
        """Let an event happen now."""
        with self._lock:
            return self.relay.happen()

    def stop(self) -> None:
        """Stop it and give back its port."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10)
            self._thread = None
        if self._server is not None:
            self._server.close()
            self._server = None
        for end in self._ends or ():
            os.close(end)
        self._ends = None

    def _serve(self) -> None:
        while not self._stop.is_set():
            pipe = self._accept()
            if pipe is None:
                continue
            self.sessions += 1
            with contextlib.suppress(OSError):  # the client hung up, or was hung up on
                self._session(pipe)
            pipe.close()
            with self._lock:
                self.relay.forget_line()

    def _session(self, pipe: _Pipe) -> None:
        """Move bytes until the client hangs up; a client's XOFF holds the relay."""
        held = False
        resume = 0.0
        sending = memoryview(b"")
        while not self._stop.is_set():
            now = time.monotonic()
            paused = now < resume
            idle = not sending and not paused and not self.relay.output
            wait = _LOOK_S if idle or held or paused else 0.0
            if data := pipe.read(wait):
                last = max(data.rfind(_XON), data.rfind(_XOFF))
                held = held if last < 0 else data[last] == _XOFF
                with self._lock:
                    self.relay.feed(data)
                if b"\x18" in data:
                    sending, resume, paused = memoryview(b""), 0.0, False
            if held or paused:
                continue
            if not sending:
                with self._lock:
                    item = self.relay.output.popleft() if self.relay.output else b""
                if isinstance(item, Hangup):
                    return
                if isinstance(item, Pause):
                    resume = float("inf") if item.seconds is None else now + item.seconds
                    continue
                sending = memoryview(item)
            size = max(1, round(0.02 / self._byte_s)) if self._byte_s else 4096
            chunk, sending = bytes(sending[:size]), sending[size:]
            if chunk:
                pipe.write(chunk)
                self._stop.wait(len(chunk) * self._byte_s)

    def _accept(self) -> _Pipe | None:
        if self._server is None:
            return self._terminal_pipe()
        try:
            connection, _ = self._server.accept()
        except TimeoutError:
            return None
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _Socket(connection)

    def _open_terminal(self) -> str:
        if sys.platform == "win32":
            raise ConfigError("There are no pseudo terminals on Windows.", fix="Use a TCP port.")
        import pty
        import tty

        self._ends = pty.openpty()
        tty.setraw(self._ends[0])
        return os.ttyname(self._ends[1])

    def _terminal_pipe(self) -> _Pipe | None:
        return None if self._ends is None else _Terminal(self._ends[0])


class _Socket:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def read(self, wait_s: float) -> bytes:
        self._connection.settimeout(wait_s)
        try:
            data = self._connection.recv(4096)
        except (TimeoutError, BlockingIOError):
            return b""
        if not data:
            raise ConnectionError("the client hung up")
        return data

    def write(self, data: bytes) -> None:
        self._connection.settimeout(30)
        self._connection.sendall(data)

    def close(self) -> None:
        self._connection.close()


class _Terminal:
    """The far end of a pseudo terminal, which stays open: the near end comes and goes."""

    def __init__(self, end: int) -> None:
        self._end = end

    def read(self, wait_s: float) -> bytes:
        ready, _, _ = select.select([self._end], [], [], wait_s)
        return os.read(self._end, 4096) if ready else b""

    def write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._end, data) :]

    def close(self) -> None:
        """Leave it open for the next who comes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the simulated reclosers of a site until told to stop; see `simulator_main`."""
    from workspace_lib.reclosers.simulator_main import main as run

    return run(argv)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except WorkspaceError as failed:
        sys.exit(f"recloser simulator: {failed}")
