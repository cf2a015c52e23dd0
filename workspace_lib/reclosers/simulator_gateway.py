"""A simulated gateway: many relays, each behind a TCP port, served by one thread.

Ports are locked, busy, or end a session that is silent too long, as those of a real pass-through.
Relays of one line share its pace, and one session at a time is on a line.
"""

from __future__ import annotations

import contextlib
import math
import selectors
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar
from zoneinfo import ZoneInfo

from workspace_lib.clock import SYSTEM_CLOCK, Clock
from workspace_lib.errors import ConfigError, ParameterError
from workspace_lib.reclosers.simulator import RelayTruth, truth_of
from workspace_lib.reclosers.simulator_events import SimulatedEvent
from workspace_lib.reclosers.simulator_line import LineSession, RelayAt, SleepyRelay, Wire
from workspace_lib.reclosers.simulator_relay import SimulatedRelay

__all__ = ["GatewayManners", "GatewaySimulator", "RelayAt"]

_BLOCK: Final = 65_536
#: How long the thread waits at most: clocks of tests are looked at so often [s].
_LOOK_S: Final = 0.05
#: How long a client that was hung up on may take to read what was said last [s].
_LINGER_S: Final = 2.0

T = TypeVar("T")


@dataclass(frozen=True)
class GatewayManners:
    """How the gateway treats its clients.

    Attributes
    ----------
    inactivity_s
        A session without a byte either way for so long is ended, by the gateway's clock [s]; 0:
        never.
    inactivity_text
        What it says then.
    locked
        A locked port refuses the connection, or says ``locked_text`` (which may be empty) and
        hangs up.
    locked_text, busy_text
        Its words.
    busy
        A port that somebody else holds says ``busy_text`` and hangs up, or is silent.
    """

    inactivity_s: float = 0.0
    inactivity_text: str = ""
    locked: Literal["refuse", "say"] = "refuse"
    locked_text: str = "Port locked"
    busy: Literal["say", "silence"] = "say"
    busy_text: str = "Port busy"


class GatewaySimulator:
    """A gateway and the relays behind it.

    Parameters
    ----------
    relays : sequence of RelayAt
        Relays with an ``address`` share the port of their line; others have one each.
    manners : GatewayManners
        How it treats clients.
    baud : int
        Pace of each line at ``speed=1`` [bit/s], where its relays have none; 0 sends as fast as it
        can.
    locked : collection of str
        Relays whose port is locked at startup.
    zone : ZoneInfo, optional
        What the relays' clocks keep; otherwise UTC.
    clock : Clock
        For the relays' clocks, inactivity and sleep; the pace goes by real time.
    """

    def __init__(
        self,
        relays: Sequence[RelayAt],
        manners: GatewayManners | None = None,
        *,
        baud: int = 0,
        locked: Collection[str] = (),
        zone: ZoneInfo | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        twice = [name for name, count in Counter(one.id for one in relays).items() if count > 1]
        if twice or not relays:
            raise ParameterError(f"Two relays are {twice[0]!r}." if twice else "No relays.")
        self.manners = manners or GatewayManners()
        self._clock = clock

        def now_at_relay() -> Any:
            return clock.now().astimezone(zone) if zone else clock.now()

        self._wires: dict[str, Wire] = {}
        self._ports: dict[str, _Door] = {}
        self._relays: dict[str, SleepyRelay] = {}
        for at in relays:
            one = SleepyRelay(at, SimulatedRelay(at.spec, now_at_relay))
            self._relays[at.id] = one
            wire = self._wires.setdefault(at.line or f"of {at.id}", Wire(at.baud or baud))
            key = f"line {at.line}" if at.address and at.line else at.id
            door = self._ports.setdefault(key, _Door(wire))
            door.relays.append(one)
        self._door_of = {one.at.id: door for door in self._ports.values() for one in door.relays}
        for name in locked:
            self._door(name).locked = True
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._clients: set[_Client] = set()
        self._selector: selectors.BaseSelector | None = None
        self._bell: tuple[socket.socket, socket.socket] | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False

    def start(self, port: int = 0, speed: float = 1.0, host: str = "127.0.0.1") -> dict[str, Any]:
        """Open the ports and return ``host``, ``port`` of the first, and ``urls`` by relay.

        Parameters
        ----------
        port : int
            The first port, others follow; 0 takes free ones.
        speed : float
            How much faster than real its lines are.

        Raises
        ------
        ConfigError
            If it runs already.
        """
        if self._thread is not None:
            raise ConfigError("The simulated gateway runs already.", fix="Call stop() first.")
        for wire in self._wires.values():
            wire.byte_s = 10 / (wire.baud * speed) if wire.baud and speed else 0.0
            wire.busy_until, wire.session = 0.0, None
        self._selector = selectors.DefaultSelector()
        self._bell = socket.socketpair()
        for end in self._bell:
            end.setblocking(False)
        self._selector.register(self._bell[0], selectors.EVENT_READ)
        for number, door in enumerate(self._ports.values()):
            door.address = (host, port + number if port else 0)
            self._open(door)
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name="gateway", daemon=True)
        self._thread.start()
        urls = {name: f"socket://{host}:{door.address[1]}" for name, door in self._door_of.items()}
        first = next(iter(self._ports.values())).address[1]
        return {"host": host, "port": first, "urls": urls}

    def stop(self) -> None:
        """Hang up on everybody and give back the ports."""
        if self._thread is None or self._selector is None or self._bell is None:
            return
        self._stopping = True
        self._ring()
        self._thread.join(10)
        self._thread = None
        for client in list(self._clients):
            self._forget(client)
        for door in self._ports.values():
            if door.socket is not None:
                door.socket.close()
                door.socket = None
        self._selector.close()
        for end in self._bell:
            end.close()
        self._selector = self._bell = None

    def truth(self) -> dict[str, RelayTruth]:
        """Return, by relay, what a faultless client finds now, and what clients said."""

        def tell() -> dict[str, RelayTruth]:
            return {name: truth_of(one.relay) for name, one in self._relays.items()}

        return self._do(tell)

    def sessions(self) -> dict[str, int]:
        """Return how many sessions there were, by relay: those of its port."""
        return self._do(lambda: {name: door.sessions for name, door in self._door_of.items()})

    def asleep(self, relay: str) -> bool:
        """Return whether a relay sleeps."""
        return self._do(lambda: self._relay(relay).asleep)

    def lock(self, relay: str) -> None:
        """Lock a relay's port; a session that is on ends."""
        door = self._door(relay)

        def do() -> None:
            door.locked = True
            for client in [one for one in self._clients if one.door is door]:
                self._hang_up(client)
            self._reopen(door)

        self._do(do)

    def unlock(self, relay: str) -> None:
        """Unlock a relay's port."""
        door = self._door(relay)

        def do() -> None:
            door.locked = False
            self._reopen(door)

        self._do(do)

    def hold(self, relay: str) -> None:
        """Have somebody else hold a relay's port from now on."""
        door = self._door(relay)
        self._do(lambda: setattr(door, "held", True))

    def release(self, relay: str) -> None:
        """Have whoever holds a relay's port let go of it."""
        door = self._door(relay)
        self._do(lambda: setattr(door, "held", False))

    def drop(self, relay: str) -> None:
        """Hang up on whoever is in session with a relay."""
        door = self._door(relay)

        def do() -> None:
            for client in [one for one in self._clients if one.door is door]:
                self._hang_up(client)

        self._do(do)

    def sleep(self, relay: str) -> None:
        """Put a relay to sleep."""
        one = self._relay(relay)
        if not one.at.wake:
            raise ParameterError(f"Nothing wakes {relay}.", fix="Give it characters: wake='ABCD'.")
        self._do(lambda: setattr(one, "asleep", True))

    def happen(self, relay: str, event: SimulatedEvent | None = None) -> SimulatedEvent:
        """Let an event happen now at a relay, any or the given one, which has a later time."""
        one = self._relay(relay).relay

        def do() -> SimulatedEvent:
            if event is None:
                return one.happen()
            one.spec.events.insert(0, event)
            return event

        return self._do(do)

    def change(self, relay: str, what: Callable[[SimulatedRelay], T]) -> T:
        """Do something with a relay between two of its answers; returns what ``what`` does."""
        one = self._relay(relay).relay
        return self._do(lambda: what(one))

    def _relay(self, name: str) -> SleepyRelay:
        if name not in self._relays:
            raise ParameterError(
                f"There is no relay {name!r}.", fix=f"Known: {', '.join(self._relays)}."
            )
        return self._relays[name]

    def _door(self, name: str) -> _Door:
        self._relay(name)
        return self._door_of[name]

    def _do(self, what: Callable[[], T]) -> T:
        """Have the thread do something between two looks, and wait for it."""
        if self._thread is None or threading.current_thread() is self._thread:
            return what()
        done: Future[T] = Future()
        self._calls.append((what, done))
        self._ring()
        return done.result(timeout=60)

    def _ring(self) -> None:
        if self._bell is not None:
            with contextlib.suppress(BlockingIOError):  # it rings already
                self._bell[1].send(b"!")

    def _serve(self) -> None:
        assert self._selector is not None
        assert self._bell is not None
        while not self._stopping:
            for key, mask in self._selector.select(self._wait_s()):
                if key.fileobj is self._bell[0]:
                    self._bell[0].recv(_BLOCK)
                elif isinstance(key.data, _Door):
                    self._accept(key.data)
                else:
                    self._move(key.data, mask)
            while self._calls:
                what, done = self._calls.popleft()
                try:
                    done.set_result(what())
                except Exception as error:  # noqa: BLE001  it is raised where it was called
                    done.set_exception(error)
            self._say_what_is_due()
        while self._calls:
            self._calls.popleft()[1].set_exception(ConfigError("The gateway was stopped."))

    def _wait_s(self) -> float:
        if not self._clients:
            return 1.0
        now = time.monotonic()
        due = min(client.due(now) for client in self._clients)
        return min(max(due - now, 0.0), _LOOK_S)

    def _say_what_is_due(self) -> None:
        now, clock_s = time.monotonic(), self._clock.monotonic()
        limit = self.manners.inactivity_s
        for client in list(self._clients):
            if client.ends_at is not None:
                if now >= client.ends_at:
                    self._forget(client)
                continue
            if limit and clock_s - client.active_s >= limit:
                client.unsent += self.manners.inactivity_text.encode("latin-1")
                self._hang_up(client)
            elif client.due(now) <= now:
                self._push(client)

    def _open(self, door: _Door) -> None:
        """Bind a port; a locked one that refuses is bound, so that nobody has it, and no more."""
        assert self._selector is not None
        door.socket = socket.socket(socket.AF_INET6 if ":" in door.address[0] else socket.AF_INET)
        door.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.socket.bind(door.address)
        door.address = door.socket.getsockname()[:2]
        door.socket.setblocking(False)
        if not (door.locked and self.manners.locked == "refuse"):
            door.socket.listen(16)
            self._selector.register(door.socket, selectors.EVENT_READ, door)

    def _reopen(self, door: _Door) -> None:
        if door.socket is None or self._selector is None:
            return
        with contextlib.suppress(KeyError):  # a locked one is not registered
            self._selector.unregister(door.socket)
        door.socket.close()
        self._open(door)

    def _accept(self, door: _Door) -> None:
        assert self._selector is not None
        assert door.socket is not None
        try:
            connection, _ = door.socket.accept()
        except (BlockingIOError, ConnectionError):
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = _Client(connection, door, self._clock.monotonic())
        self._clients.add(client)
        self._selector.register(connection, selectors.EVENT_READ, client)
        if door.locked:
            client.unsent += self.manners.locked_text.encode("latin-1")
            self._hang_up(client)
        elif door.held or door.wire.session is not None:
            if self.manners.busy == "say":
                client.unsent += self.manners.busy_text.encode("latin-1")
                self._hang_up(client)
        else:
            client.session = LineSession(door.relays, door.wire)
            door.wire.session = client
            door.sessions += 1

    def _move(self, client: _Client, mask: int) -> None:
        if client not in self._clients:
            return
        if mask & selectors.EVENT_READ:
            try:
                data = client.socket.recv(_BLOCK)
            except BlockingIOError:
                data = None
            except OSError:
                data = b""
            if data == b"":
                self._forget(client)
                return
            if data and client.ends_at is None:
                client.active_s = self._clock.monotonic()
                if client.session is not None:
                    client.session.hear(data, client.active_s)
        if client.ends_at is None:
            self._push(client)
        elif client.unsent:
            self._flush(client)

    def _push(self, client: _Client) -> None:
        """Send what a client's relays have said by now."""
        session = client.session
        if session is not None and not client.unsent:
            if said := session.take(time.monotonic()):
                client.unsent += said
                client.active_s = self._clock.monotonic()
            if session.hung_up:
                self._hang_up(client)
                return
        self._flush(client)

    def _flush(self, client: _Client) -> None:
        assert self._selector is not None
        if client.unsent:
            try:
                sent = client.socket.send(client.unsent)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._forget(client)
                return
            del client.unsent[:sent]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.unsent else 0)
        if wanted != client.wanted:
            self._selector.modify(client.socket, wanted, client)
            client.wanted = wanted
        if client.ends_at is not None and not client.unsent:
            # Not closed at once: what it has not read yet would be lost with what it says now.
            with contextlib.suppress(OSError):
                client.socket.shutdown(socket.SHUT_WR)

    def _hang_up(self, client: _Client) -> None:
        """Say what is left, and end it; the line is free at once."""
        if client.ends_at is None:
            client.ends_at = time.monotonic() + _LINGER_S
            self._leave(client)
            self._flush(client)

    def _leave(self, client: _Client) -> None:
        if client.session is not None:
            client.session.close()
            client.session = None
        if client.door.wire.session is client:
            client.door.wire.session = None

    def _forget(self, client: _Client) -> None:
        if client not in self._clients:
            return
        assert self._selector is not None
        self._clients.discard(client)
        self._leave(client)
        self._selector.unregister(client.socket)
        client.socket.close()


class _Door:
    """One TCP port, and the relays that are behind it."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.relays: list[SleepyRelay] = []
        self.address: tuple[str, int] = ("127.0.0.1", 0)
        self.socket: socket.socket | None = None
        self.locked = False
        self.held = False
        self.sessions = 0


class _Client:
    """A connection; without a session nobody answers it."""

    def __init__(self, connection: socket.socket, door: _Door, active_s: float) -> None:
        self.socket = connection
        self.door = door
        self.active_s = active_s
        self.session: LineSession | None = None
        self.unsent = bytearray()
        self.wanted = selectors.EVENT_READ
        self.ends_at: float | None = None

    def due(self, now: float) -> float:
        """Return when it is to be looked at [s]."""
        if self.ends_at is not None:
            return self.ends_at
        if self.unsent or self.session is None:
            return math.inf  # the selector tells when it takes more
        return self.session.next_at(now)
