"""What a session needs of a line, how a relay is spoken to, and what its clock said."""

from __future__ import annotations

import logging
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from workspace_lib.reclosers import ymodem
from workspace_lib.reclosers.record import DeviceTime, device_time
from workspace_lib.reclosers.report import DateOrder, full_year

log = logging.getLogger("workspace_lib.reclosers.relay")

_HEADER = re.compile(
    rb"Date:\s*(\d{1,4})[/-](\d{1,2})[/-](\d{1,4})\s+Time:\s*(\d\d):(\d\d):(\d\d)(?:\.(\d{1,3}))?"
)


class Line(Protocol):
    """What a session needs of a line; see `transports.serial_line`."""

    where: str

    def read(self, deadline: float | None = None, byte_s: float | None = None) -> bytes: ...

    def poll(self) -> bytes: ...

    def write(self, data: bytes, *, secret: bool = False, at_once: bool = False) -> None: ...

    def command_deadline(self) -> float: ...

    def allow(self, seconds: float, most_bytes: int = ...) -> None: ...

    def resume(self) -> None: ...

    def binary(self) -> AbstractContextManager[None]: ...


@dataclass(frozen=True)
class Manners:
    """How a relay is spoken to.

    Attributes
    ----------
    probe_s : float
        Longest silence while its prompt is looked for, and after one that brought no answer [s].
    settle_s : float
        Silence after which a prompt outside of a frame is whole [s].
    tries : int
        How often its prompt is looked for.
    date_order : {"MDY", "YMD", "DMY"}
        The relay's setting DATE_F.
    transfer : Patience
        How long it is waited for while it sends a file.
    """

    probe_s: float = 5.0
    settle_s: float = 0.5
    tries: int = 3
    date_order: DateOrder = "MDY"
    transfer: ymodem.Patience = field(default_factory=ymodem.Patience)


@dataclass(frozen=True)
class ClockReading:
    """What the relay's clock said, and this host's: ``host`` is off by at most ``within_s`` [s]."""

    relay: DeviceTime
    host: datetime
    within_s: float


def clock_in(
    content: bytes, order: DateOrder, host: datetime, within_s: float
) -> ClockReading | None:
    """Return what the head of an answer says of the relay's clock; None if it says nothing.

    Parameters
    ----------
    order : {"MDY", "YMD", "DMY"}
        The relay's setting DATE_F.
    host : datetime
        This host's time when the relay said it, off by at most ``within_s`` [s].
    """
    match = _HEADER.search(content)
    if match is None:
        return None
    parts = dict(zip(order, (int(match[n]) for n in (1, 2, 3)), strict=True))
    try:
        hour, minute, second = (int(match[n]) for n in (4, 5, 6))
        moment = datetime(full_year(parts["Y"]), parts["M"], parts["D"], hour, minute, second)
    except ValueError:
        log.warning("%r is no date in the order %s.", match[0].decode("latin-1"), order)
        return None
    rest = int((match[7] or b"0").ljust(3, b"0")) * 1_000_000
    return ClockReading(device_time(moment, rest, 3), host, within_s)
