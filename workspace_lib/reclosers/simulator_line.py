"""One end of a simulated line: whose turn it is, who sleeps, and how fast bytes may leave.

It takes bytes and gives bytes at given times, and knows no sockets: `simulator_gateway` moves them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from workspace_lib.reclosers.simulator_relay import Hangup, Pause, RelaySpec, SimulatedRelay

_CAN, _XON, _XOFF = 0x18, 0x11, 0x13
_STX: Final = b"\x02"
PREFIXES: Final = b"@#$%&"
#: How much of a paced line is sent at once [s]: waking up more often only costs time.
TICK_S: Final = 0.025
#: How far a line that was kept waiting may catch up [s].
_CATCH_UP_S: Final = 1.0
#: Length and first byte of blocks of a file transfer, which are no messages.
_BLOCKS: Final = {133: 0x01, 1029: 0x02}


@dataclass(frozen=True)
class RelayAt:
    """A relay and where it is.

    Attributes
    ----------
    id
        What it is called here.
    spec
        How it is.
    line
        The line it is at, shared with all relays of that name: one session at a time, one pace.
        Empty: a line of its own.
    address
        Prefix and two digits (``@12``) of a relay that shares its port with others by addresses.
    wake
        Characters that wake it; empty: it never sleeps.
    asleep
        Whether it sleeps at the start.
    asleep_after_s
        Falls asleep after so long a silence, by the gateway's clock [s].
    baud
        Pace of its line [bit/s]; 0: the gateway's.
    """

    id: str
    spec: RelaySpec
    line: str = ""
    address: str = ""
    wake: str = ""
    asleep: bool = False
    asleep_after_s: float = 900.0
    baud: int = 0


class SleepyRelay:
    """A relay that may be asleep: then it swallows what comes until it is woken."""

    def __init__(self, at: RelayAt, relay: SimulatedRelay) -> None:
        self.at = at
        self.relay = relay
        self.asleep = at.asleep
        self._heard_s = -math.inf
        self._tail = b""

    def hear(self, data: bytes, now_s: float) -> None:
        """Take bytes at an instant of the clock [s]."""
        if self.at.wake and not self.asleep:
            self.asleep = self._heard_s + self.at.asleep_after_s < now_s and self._heard_s > 0
        self._heard_s = now_s
        if self.asleep:
            self._tail += data
            place = self._tail.find(self.at.wake.encode("latin-1"))
            if place < 0:
                self._tail = self._tail[-len(self.at.wake) :]
                return
            data = self._tail[place + len(self.at.wake) :]
            self.wake()
        self.relay.feed(data)

    def wake(self) -> None:
        """Be awake."""
        self.asleep, self._tail = False, b""


@dataclass
class Wire:
    """What relays of one line share: ``busy_until`` is when all that was sent has left [s]."""

    baud: int = 0
    byte_s: float = 0.0
    busy_until: float = 0.0
    session: object | None = None


@dataclass
class LineSession:
    """A client at a line: what it says goes to the relay it means, answers leave at their pace.

    Parameters
    ----------
    relays
        Those at this port; without addresses it is one.
    wire
        The line, which others may use at other times.
    """

    relays: Sequence[SleepyRelay]
    wire: Wire
    hung_up: bool = False
    _selected: SleepyRelay | None = None
    _typed: bytes = b""
    _sending: bytearray = field(default_factory=bytearray)
    _held: bool = False
    _resume: float = 0.0

    def __post_init__(self) -> None:
        if not self.relays[0].at.address:
            self._selected = self.relays[0]
        for one in self.relays:
            one.relay.forget_line()  # what was said while nobody listened is gone

    def hear(self, data: bytes, clock_s: float) -> None:
        """Take what the client said."""
        last = max(data.rfind(_XON), data.rfind(_XOFF))
        self._held = self._held if last < 0 else data[last] == _XOFF
        if _CAN in data:
            self._sending.clear()
            self._resume = 0.0
        if not self.relays[0].at.address:
            self.relays[0].hear(data, clock_s)
            return
        self._typed += data
        while self._typed:
            end = len(self._typed)
            place = next((n for n in range(end) if self._typed[n] in PREFIXES), end)
            if place == 0:
                if end < len("@12"):
                    return
                self._select(self._typed[:3].decode("latin-1"))
                self._typed = self._typed[3:]
                continue
            said, self._typed = self._typed[:place], self._typed[place:]
            if self._selected is not None:
                self._selected.hear(said, clock_s)

    def next_at(self, now: float) -> float:
        """Return when there is something to send: now, later, or never (infinity)."""
        if self._held or self.hung_up:
            return math.inf
        if self._resume > now:
            return self._resume
        if not self._sending and not any(one.relay.output for one in self.relays):
            return math.inf
        if not self.wire.byte_s or not self._sending:
            return now
        size = min(len(self._sending), self._tick())
        return self.wire.busy_until + size * self.wire.byte_s

    def take(self, now: float, most: int = 65_536) -> bytes:
        """Return what has gone over the line by now; sets ``hung_up`` where the line ended."""
        sent = bytearray()
        while len(sent) < most and not (self._held or self.hung_up or self._resume > now):
            if not self._sending and not self._fetch(now):
                break
            if not self._sending:  # it was a pause, or the end
                continue
            size = min(len(self._sending), most - len(sent))
            if self.wire.byte_s:
                self.wire.busy_until = max(self.wire.busy_until, now - _CATCH_UP_S)
                # A byte more or less: a clock does not divide evenly.
                done = int((now - self.wire.busy_until) / self.wire.byte_s + 1e-6)
                if done < min(size, self._tick()):
                    break
                size = min(size, done)
                self.wire.busy_until += size * self.wire.byte_s
            sent += self._sending[:size]
            del self._sending[:size]
        return bytes(sent)

    def close(self) -> None:
        """The client is gone: what was typed or being sent is forgotten; levels are not."""
        for one in self.relays:
            one.relay.forget_line()

    def _tick(self) -> int:
        return max(1, round(TICK_S / self.wire.byte_s))

    def _select(self, address: str) -> None:
        self._selected = next((one for one in self.relays if one.at.address == address), None)

    def _fetch(self, now: float) -> bool:
        """Take what the relays say next; returns whether there was anything."""
        for one in sorted(self.relays, key=lambda one: one is not self._selected):
            output = one.relay.output
            if not output:
                continue
            while output and isinstance(output[0], bytes):
                item = output.popleft()
                assert isinstance(item, bytes)
                self._sending += self._addressed(one.at.address, item)
            if not self._sending:
                item = output.popleft()
                if isinstance(item, Hangup):
                    self.hung_up = True
                elif isinstance(item, Pause):
                    self._resume = math.inf if item.seconds is None else now + item.seconds
            elif self.wire.byte_s:
                self.wire.busy_until = max(self.wire.busy_until, now)
            return True
        return False

    @staticmethod
    def _addressed(address: str, item: bytes) -> bytes:
        """Put the address before a message; echoes and blocks of a file are none."""
        block = _BLOCKS.get(len(item)) == item[0] and item[1] ^ item[2] == 0xFF
        if not address or block or _STX not in item[:3]:
            return item
        return address.encode("latin-1") + item
