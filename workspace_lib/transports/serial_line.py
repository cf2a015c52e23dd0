"""A line to a device: bytes in and out under deadlines and a budget, with all of it written down.

XON and XOFF are honoured whatever the port is, and are no part of what is read. A line can be
closed from another thread, which wakes its reader.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from workspace_lib.clock import SYSTEM_CLOCK, Clock
from workspace_lib.errors import DeviceError, DeviceTimeout
from workspace_lib.transports.ports import Port, PortSettings, device_id, open_port
from workspace_lib.transports.transcript import Transcript

__all__ = ["Limits", "LineDropped", "PortSettings", "SerialLine", "device_id", "open_line"]

log = logging.getLogger("workspace_lib.transports.serial_line")

XON: Final = 0x11
XOFF: Final = 0x13
_FLOW: Final = bytes((XON, XOFF))
#: How long a port is asked at most before deadlines are looked at again [s].
_SLICE_S: Final = 0.2
#: How long closing waits for a reader to leave [s].
_LEAVE_S: Final = 5.0


class LineDropped(DeviceError):
    """The line is gone: the other end hung up, or it was closed here."""


@dataclass(frozen=True)
class Limits:
    """What a line may take.

    Attributes
    ----------
    byte_s : float
        Longest silence while something is waited for [s].
    command_s : float
        Longest time for one answer [s].
    session_s : float
        Longest time from opening to closing [s].
    connect_s : float
        Longest time for opening [s].
    most_bytes : int
        Most bytes that may arrive in one session.
    """

    byte_s: float = 15.0
    command_s: float = 900.0
    session_s: float = 1800.0
    connect_s: float = 15.0
    most_bytes: int = 32_000_000


def open_line(
    url: str,
    settings: PortSettings | None = None,
    limits: Limits | None = None,
    *,
    clock: Clock = SYSTEM_CLOCK,
) -> SerialLine:
    """Open a line by its address; give it to `devices.open_exclusive` as its opener.

    Raises
    ------
    ConfigError, DeviceBusy, DeviceError
        See `ports.open_port`.
    """
    settings, limits = settings or PortSettings(), limits or Limits()
    port = open_port(url, settings, limits.connect_s)
    return SerialLine(port, limits, where=url, xon_xoff=settings.xon_xoff, clock=clock)


class SerialLine:
    """An open line.

    One thread reads and writes; ``close`` may be called from any, and more than once.
    """

    def __init__(
        self,
        port: Port,
        limits: Limits,
        *,
        where: str = "",
        xon_xoff: bool = True,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.where = where
        self.limits = limits
        self.transcript = Transcript()
        self.received = 0
        self._port = port
        self._xon_xoff = xon_xoff
        self._clock = clock
        self._opened = clock.monotonic()
        self._session_end = self._opened + limits.session_s
        self._most_bytes = limits.most_bytes
        self._held = False
        self._pending = b""
        self._closing = threading.Event()
        self._use = threading.Lock()

    @property
    def held(self) -> bool:
        """Whether the other end stopped us by XOFF."""
        return self._held

    def command_deadline(self) -> float:
        """Return when an answer that is asked for now must be whole, by the clock [s]."""
        return self._clock.monotonic() + self.limits.command_s

    def allow(self, seconds: float, most_bytes: int = 65_536) -> None:
        """Give time [s] and bytes for leaving in good order after a limit was passed."""
        now = self._clock.monotonic()
        self._session_end = max(self._session_end, now + seconds)
        self._most_bytes = max(self._most_bytes, self.received + most_bytes)

    def end_session(self) -> None:
        """Have the session be over now; any thread may. Whoever reads next gets DeviceTimeout.

        `allow` still gives time to leave in good order.
        """
        self._session_end = min(self._session_end, self._clock.monotonic())

    def read(self, deadline: float | None = None, byte_s: float | None = None) -> bytes:
        """Return what arrives next, at least one byte.

        Parameters
        ----------
        deadline : float, optional
            By the clock's ``monotonic`` [s]; see `command_deadline`.
        byte_s : float, optional
            Longest silence [s]; otherwise that of the limits.

        Raises
        ------
        DeviceTimeout
            If nothing came in time; the message says which limit it was.
        LineDropped
            If the line is gone.
        DeviceError
            If more bytes came than one session may have.
        """
        began = self._clock.monotonic()
        silence = self.limits.byte_s if byte_s is None else byte_s
        while True:
            if self._pending:
                data, self._pending = self._pending, b""
                return data
            now = self._clock.monotonic()
            left = self._left(now, began + silence, deadline)
            self._pending = self._take(min(left, _SLICE_S))

    def poll(self) -> bytes:
        """Return what is there already, without waiting: nothing, most of the time."""
        data, self._pending = self._pending, b""
        while more := self._take(0.0):
            data += more
        return data

    def write(self, data: bytes, *, secret: bool = False, at_once: bool = False) -> None:
        """Send ``data``, waiting while the other end holds us by XOFF.

        Parameters
        ----------
        secret : bool
            A password: the transcript does not show it, nor its echo.
        at_once : bool
            Do not wait for XON: what ends a transmission must go out whatever the device says.

        Raises
        ------
        DeviceTimeout
            If the other end takes nothing in time.
        LineDropped
            If the line is gone.
        """
        began = self._clock.monotonic()
        while self._held and not at_once:
            left = self._left(self._clock.monotonic(), began + self.limits.byte_s, None)
            self._pending += self._take(min(left, _SLICE_S))
        self.transcript.add(self._since(), ">", data, secret=secret)
        with self._use:
            self._check()
            try:
                if at_once:
                    self._port.resume()
                self._port.write(data, self.limits.byte_s)
            except TimeoutError as error:
                raise DeviceTimeout(
                    f"It took no byte for {self.limits.byte_s:g} s.",
                    where=self.where,
                    fix="Look whether the device is on and its flow control set.",
                ) from error
            except OSError as error:
                raise self._gone(error) from error

    def resume(self) -> None:
        """Take an XOFF for lifted: its XON was lost, or the XOFF was noise."""
        self._held = False

    @contextmanager
    def binary(self) -> Iterator[None]:
        """Take every byte as it is for a while, as transfers of files need: no flow control.

        Raises
        ------
        ConfigError
            If the port has 7 data bits.
        LineDropped
            If the line is gone.
        """
        self._steer(flow=False)
        heeded, self._xon_xoff, self._held = self._xon_xoff, False, False
        try:
            yield
        finally:
            self._xon_xoff = heeded
            try:
                self._steer(flow=True)
            except LineDropped as error:
                log.info("%s: %s", self.where, error.what)  # whoever reads next is told

    def _steer(self, *, flow: bool) -> None:
        with self._use:
            self._check()
            try:
                self._port.steer(flow=flow)
            except OSError as error:
                raise self._gone(error) from error

    def close(self) -> None:
        """Give the line back; whoever reads meanwhile gets LineDropped."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._port.wake()
        entered = self._use.acquire(timeout=_LEAVE_S)
        try:
            self._port.close()
        except OSError as error:
            log.warning("Closing %s: %s", self.where, error)  # it is gone anyway
        finally:
            if entered:
                self._use.release()

    def _take(self, wait_s: float) -> bytes:
        """Return what the port has, without flow control; note and count it."""
        with self._use:
            self._check()
            try:
                data = self._port.read(wait_s)
            except OSError as error:
                raise self._gone(error) from error
        if not data:
            return b""
        self.transcript.add(self._since(), "<", data)
        self.received += len(data)
        if self.received > self._most_bytes:
            raise DeviceError(
                f"More than {self._most_bytes} bytes arrived.",
                where=self.where,
                fix="The device may be talking without end; look at the transcript.",
            )
        if self._xon_xoff:
            last = max(data.rfind(XON), data.rfind(XOFF))
            if last >= 0:
                self._held = data[last] == XOFF
                data = data.translate(None, _FLOW)
        return data

    def _left(self, now: float, silent: float, deadline: float | None) -> float:
        """Return the time to the first limit [s], or say which one was passed."""
        limits = [(silent, "it was silent too long"), (self._session_end, "the session is over")]
        if deadline is not None:
            limits.append((deadline, "the answer took too long"))
        end, why = min(limits)
        if now < end:
            return end - now
        if self._held:
            why += " (it stopped the line by XOFF)"
        raise DeviceTimeout(
            f"Nothing more came in time: {why}.",
            where=self.where,
            fix="Look at the transcript; the device may be off, asleep or set to another speed.",
        )

    def _check(self) -> None:
        if self._closing.is_set():
            raise LineDropped("The line was closed here.", where=self.where)

    def _gone(self, error: OSError) -> LineDropped:
        if self._closing.is_set():
            return LineDropped("The line was closed here.", where=self.where)
        return LineDropped(
            f"The line is gone ({error}).", where=self.where, fix="It is tried again later."
        )

    def _since(self) -> float:
        return self._clock.monotonic() - self._opened
