"""What lies between a line and its port: a gateway that has its own words, addresses of relays.

Each wraps a port and is one, so that deadlines, flow control and transcript stay where they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from workspace_lib.clock import SYSTEM_CLOCK, Clock
from workspace_lib.errors import DeviceError
from workspace_lib.reclosers.relay_errors import GatewayBusy, GatewayLocked
from workspace_lib.transports.ports import Port
from workspace_lib.transports.transcript import Direction

_STX: Final = b"\x02"
#: A gateway says what it has to say before anything a relay says.
_GREETING: Final = 400
#: A session that ended after this part of the gateway's limit was ended by it.
_NEAR: Final = 0.9
_CR: Final = 0x0D
#: A gateway that lets nobody through hangs up within this time [s].
_AT_ONCE_S: Final = 5.0
#: Outside of a frame an address may stand alone; within one only before the next.
_OUTSIDE = re.compile(rb"(?P<address>@\d\d)?(?P<edge>\x02)|(?P<alone>@\d\d)")
_INSIDE = re.compile(rb"(?P<address>@\d\d)?(?P<edge>\x02)|(?P<alone>(?!))|\x03")
#: Bytes at the end that may begin an address of which the rest has not come yet.
_BEGUN = re.compile(rb"@\d{0,2}\Z")


class GatewayPort:
    """A port behind a gateway: its words are errors with names, and so is how it ends a session.

    Parameters
    ----------
    port : Port
        The way through the gateway.
    where : str
        What it is called in errors.
    busy_text, locked_text : str
        What the gateway says in place of a relay; part of it, in any case. Empty: nothing.
    inactivity_s : float or None
        After this silence the gateway ends a session [s].
    """

    def __init__(
        self,
        port: Port,
        where: str,
        *,
        busy_text: str = "",
        locked_text: str = "",
        inactivity_s: float | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._port = port
        self._where = where
        self._words = [
            (text.lower().encode(), kind)
            for text, kind in ((busy_text, GatewayBusy), (locked_text, GatewayLocked))
            if text
        ]
        self._inactivity_s = inactivity_s
        self._clock = clock
        self._opened = self._active = clock.monotonic()
        self._head = b""
        self._met = False
        self._ahead = b""
        self.error: DeviceError | None = None

    def greet(self, seconds: float) -> None:
        """Listen for so long whether the gateway itself says something [s].

        Raises
        ------
        GatewayLocked, GatewayBusy
            By what it says, or because it hangs up without a word.
        """
        end = self._clock.monotonic() + seconds
        while (left := end - self._clock.monotonic()) > 0 and not self._met:
            try:
                heard = self._receive(left)
            except OSError:
                break
            self._ahead += heard
            if self.error is not None or not heard:
                break
        if self.error is not None:
            raise self.error

    def read(self, wait_s: float) -> bytes:
        data, self._ahead = self._ahead, b""
        if data:
            return data
        if self.error is not None:
            raise self.error
        return self._receive(wait_s)

    def write(self, data: bytes, wait_s: float) -> None:
        if self.error is not None:
            raise self.error
        self._port.write(data, wait_s)
        self._active = self._clock.monotonic()

    def resume(self) -> None:
        self._port.resume()

    def steer(self, *, flow: bool) -> None:
        self._port.steer(flow=flow)

    def wake(self) -> None:
        self._port.wake()

    def close(self) -> None:
        self._port.close()

    def _receive(self, wait_s: float) -> bytes:
        try:
            data = self._port.read(wait_s)
        except OSError as error:
            raise self._ended(error) from error
        if data:
            self._active = self._clock.monotonic()
            if not self._met:
                self._look(data)
        return data

    def _look(self, data: bytes) -> None:
        """Find the gateway's words before the first frame of the relay."""
        self._head += data
        before, frame, _ = self._head.partition(_STX)
        heard = before.lower()
        for words, kind in self._words:
            if words in heard and self.error is None:
                self.error = kind(
                    f"The gateway says: {before.decode('latin-1').strip()}.",
                    where=self._where,
                    fix="It is tried again later."
                    if kind is GatewayBusy
                    else "Have its pass-through unlocked.",
                )
        self._met = self.error is None and (bool(frame) or len(before) > _GREETING)

    def _ended(self, error: OSError) -> OSError:
        silent_s = self._clock.monotonic() - self._active
        limit = self._inactivity_s
        if limit is not None and silent_s >= _NEAR * limit:
            return ConnectionError(
                f"the gateway ended the session after {silent_s:.0f} s without a byte, its limit "
                f"is {limit:g} s"
            )
        soon = self._clock.monotonic() - self._opened < _AT_ONCE_S
        if soon and not self._head and self.error is None:
            self.error = GatewayLocked(
                "The gateway hung up without a word.",
                where=self._where,
                fix="Look whether its pass-through is locked, or somebody else has it.",
            )
        return error


class AddressedPort:
    """A port to one relay of several at a line (protocol LMD): ``@12`` stands before each message.

    What other relays say is set aside. While a file is transferred bytes pass as they are: the
    relay that was addressed last is the one that sends.

    Parameters
    ----------
    address : int
        That of the relay, 1 to 99.
    note : callable, optional
        Told what the line above does not see, for its transcript: addresses and what is set aside.
    """

    def __init__(
        self, port: Port, address: int, note: Callable[[Direction, bytes], None] | None = None
    ) -> None:
        self._port = port
        self._note = note
        self._address = b"@%02d" % address
        self._addressed = False
        self._begins = True
        self._binary = False
        self._open = False
        self._ours = True
        self._tail = b""
        self.aside = bytearray()

    def read(self, wait_s: float) -> bytes:
        data = self._tail + self._port.read(wait_s)
        self._tail = b""
        return data if self._binary else self._filter(data)

    def write(self, data: bytes, wait_s: float) -> None:
        # Control characters alone are no message: CAN is for whoever was addressed last.
        message = bool(data) and (data[0] >= 0x20 or data[0] == _CR)
        prefix = not self._binary and self._begins and (message or not self._addressed)
        if prefix and self._note is not None:
            self._note(">", self._address)
        self._port.write(self._address + data if prefix else data, wait_s)
        self._addressed = True
        # What comes now without an address is the echo of this.
        self._ours = self._ours or prefix
        if message and not self._binary:
            self._begins = data[-1] == _CR

    def resume(self) -> None:
        self._port.resume()

    def steer(self, *, flow: bool) -> None:
        self._port.steer(flow=flow)
        self._binary = not flow
        self._open, self._ours, self._begins = False, True, True

    def wake(self) -> None:
        self._port.wake()

    def close(self) -> None:
        self._port.close()

    def _filter(self, data: bytes) -> bytes:
        """Return what our relay said; an address counts before a message, never within one."""
        kept = bytearray()
        place = 0
        while place < len(data):
            edge = (_INSIDE if self._open else _OUTSIDE).search(data, place)
            end = len(data) if edge is None else edge.start()
            if edge is None and (begun := _BEGUN.search(data, place)):
                end, self._tail = begun.start(), data[begun.start() :]
            self._put(data[place:end], kept)
            if edge is None:
                break
            place = edge.end()
            if address := edge["address"] or edge["alone"]:
                self._ours = address == self._address
                if self._note is not None:
                    self._note("<", address)
            if edge["alone"] is None:
                self._put(data[place - 1 : place], kept)
                self._open = edge["edge"] is not None
        return bytes(kept)

    def _put(self, said: bytes, kept: bytearray) -> None:
        (kept if self._ours else self.aside).extend(said)
        if said and not self._ours and self._note is not None:
            self._note("<", said)
