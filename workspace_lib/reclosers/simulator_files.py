"""Files of a simulated relay: its directory, and Ymodem as a sender, with what goes wrong.

It answers byte by byte and never waits: a receiver that hears nothing asks again.
"""

from __future__ import annotations

import binascii
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal

from workspace_lib.reclosers.simulator_comtrade import comtrade_of
from workspace_lib.reclosers.simulator_events import SimulatedEvent

if TYPE_CHECKING:
    from workspace_lib.reclosers.simulator_relay import Fault

Ways = Literal["read", "show", "both", "none"]
Numbers = Literal["up", "newest"]
_SOH, _STX, _EOT, _ACK, _NAK, _CAN, _C = 0x01, 0x02, 0x04, 0x06, 0x15, 0x18, 0x43
_XON, _XOFF = b"\x11", b"\x13"
_FIRST: Final = 10_001
_NAME = re.compile(r"HR_(\d+)\.(CFG|DAT|HDR)")
#: What happens at a place of the stream instead of changing it.
BEFALL: Final = ("event", "clock", "auto")


def names_of(events: Sequence[SimulatedEvent], numbers: Numbers) -> dict[str, SimulatedEvent]:
    """Return the event of each stem; ``newest`` numbers from the newest on, which shifts."""
    count = len(events)
    return {
        f"HR_{_FIRST + (place if numbers == 'newest' else count - 1 - place)}": event
        for place, event in enumerate(events)
    }


def directory(stems: Mapping[str, SimulatedEvent]) -> str:
    """Return what ``FIL DIR EVENTS`` answers."""
    lines = ["", "HISTORY.TXT               R", "CHISTORY.TXT              R"]
    for stem, event in stems.items():
        when = f"{event.time:%m/%d/%Y %H:%M:%S}"
        lines.append(f"C4_{stem[3:]}.TXT              R   {when}")
        lines += [f"{stem}.{ending:<17}  R   {when}" for ending in ("CFG", "DAT", "HDR")]
    return "\r\n".join(lines) + "\r\n"


def content_of(
    name: str, stems: dict[str, SimulatedEvent], *, text: bool
) -> tuple[SimulatedEvent, bytes] | None:
    """Return the event and the bytes of a file, None if there is none of this name."""
    match = _NAME.fullmatch(name)
    event = stems.get(f"HR_{match[1]}") if match else None
    if match is None or event is None:
        return None
    return event, comtrade_of(event, "ASCII" if text else "BINARY")[match[2].lower()]


def blocks_of(name: str, content: bytes, *, told: bool = True) -> Iterator[bytes]:
    """Give block 0 and the blocks of a file, the last ones short."""
    head = name.encode("ascii") + b"\x00"
    if told:
        head += f"{len(content)} 0 100644".encode("ascii")
    yield _block(0, head.ljust(128, b"\x00"))
    number, place = 1, 0
    while place < len(content):
        size = 1024 if len(content) - place > 512 else 128
        yield _block(number % 256, content[place : place + size].ljust(size, b"\x1a"))
        number, place = number + 1, place + size


def _block(number: int, data: bytes) -> bytes:
    crc = binascii.crc_hqx(data, 0)
    start = _SOH if len(data) == 128 else _STX
    return bytes((start, number, 255 - number)) + data + crc.to_bytes(2, "big")


class Sender:
    """One transfer; whoever drives it passes what the receiver says and sends what comes back.

    Parameters
    ----------
    told : bool
        Whether block 0 tells the size.
    """

    def __init__(self, name: str, content: bytes, *, told: bool = True) -> None:
        self._blocks = list(blocks_of(name, content, told=told))
        self._place = -1
        self._cancels = 0
        self._waits_for_c = True
        self.over = False
        self.cancelled = False
        self.length = sum(map(len, self._blocks)) + 2 + 133

    def heard(self, byte: int) -> bytes:
        """Return what the sender answers to a byte of the receiver."""
        self._cancels = self._cancels + 1 if byte == _CAN else 0
        if self._cancels >= 2:
            self.over = self.cancelled = True
            return b""
        if byte == _C:
            return self._go_on() if self._waits_for_c else self._again_if_first()
        if byte == _NAK:
            return self._current() if self._place >= 0 else b""
        return self._acknowledged() if byte == _ACK and not self._waits_for_c else b""

    def _go_on(self) -> bytes:
        self._waits_for_c = False
        self._place += 1
        return self._current()

    def _again_if_first(self) -> bytes:
        return self._current() if self._place in (0, 1, len(self._blocks) + 1) else b""

    def _acknowledged(self) -> bytes:
        if self._place == len(self._blocks) + 1:
            self.over = True
            return b""
        if self._place in (0, len(self._blocks)):
            self._waits_for_c = True
            return b""
        self._place += 1
        return self._current()

    def _current(self) -> bytes:
        if self._place < len(self._blocks):
            return self._blocks[self._place]
        return bytes((_EOT,)) if self._place == len(self._blocks) else _block(0, bytes(128))


class Trouble:
    """Does to a stream of bytes what faults say, each at its place.

    Parameters
    ----------
    length : int
        How long the stream is if nothing goes wrong.
    befall : callable
        Called with a fault that happens to the relay itself.
    """

    def __init__(
        self,
        faults: Sequence[Fault],
        length: int,
        dice: random.Random,
        befall: Callable[[Fault], None],
    ) -> None:
        self._due = [
            (fault, min(fault.at, length - 1) if fault.at >= 0 else max(length + fault.at, 0))
            for fault in faults
        ]
        self._dice = dice
        self._befall = befall
        self._sent = 0

    def spoil(self, data: bytes) -> list[bytes | tuple[str, float | None]]:
        """Return what goes out in place of ``data``: bytes, ``("pause", s)``, ``("hangup", 0)``."""
        out: list[bytes | tuple[str, float | None]] = []
        start, self._sent = self._sent, self._sent + len(data)
        left = []
        for fault, at in sorted(self._due, key=lambda one: one[1]):
            if at >= self._sent:
                left.append((fault, at))
                continue
            place = max(at - start, 0)
            if fault.every:
                places = range(place, self._sent - start, fault.every)
                left.append((fault, start + place + len(places) * fault.every))
            else:
                places = range(place, place + 1)
            if fault.kind in BEFALL:
                self._befall(fault)
            elif fault.kind == "cut":
                self._due = left
                return [*out, data[:place], ("hangup", None)]
            elif fault.kind == "stall":
                out += [data[:place] + _XOFF, ("pause", fault.wait_s)]
                data, start = _XON + data[place:], start + place
            for each in places:
                tail = data[each:]
                if fault.kind == "noise":
                    hit = bytes(one ^ self._dice.randrange(1, 128) for one in tail[: fault.size])
                    data = data[:each] + hit + tail[fault.size :]
                elif fault.kind == "drop":
                    data = data[:each] + tail[fault.size :]
        self._due = left
        return [*out, data]
