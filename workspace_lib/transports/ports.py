"""Ports that give and take bytes: a serial port, a remote one (RFC 2217), or a tunnel over TCP.

A tunnel is a plain socket here and not pyserial's: that one reads byte by byte, loses what came
just before the other end closed, cannot be woken from another thread, and closes in 0.3 s.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import serial

from workspace_lib.errors import ConfigError, DeviceBusy, DeviceError

TUNNEL = "socket"
REMOTE = "rfc2217"
_BLOCK = 65_536


@dataclass(frozen=True)
class PortSettings:
    """How a port speaks: ``baud`` [bit/s], framing, and flow control by XON and XOFF.

    A tunnel has no framing of its own; whoever is at its other end sets it.
    """

    baud: int = 9600
    data_bits: Literal[7, 8] = 8
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: Literal[1, 2] = 1
    xon_xoff: bool = True


class Port(Protocol):
    """What a line needs of a port; every method may raise OSError once the port is gone."""

    def read(self, wait_s: float) -> bytes:
        """Return what is there, waiting for the first byte up to ``wait_s`` [s]; else nothing."""
        ...

    def write(self, data: bytes, wait_s: float) -> None:
        """Send all of ``data``; TimeoutError if that takes more than ``wait_s`` [s]."""
        ...

    def resume(self) -> None:
        """Send again although the other end said XOFF, where the system itself heeds that."""
        ...

    def steer(self, *, flow: bool) -> None:
        """Turn flow control as it was set off for a binary transfer, and on again.

        ConfigError if the port has no 8 data bits.
        """
        ...

    def wake(self) -> None:
        """Wake whoever reads or writes in another thread."""
        ...

    def close(self) -> None:
        """Give the port back."""
        ...


def open_port(url: str, settings: PortSettings, connect_s: float) -> Port:
    """Open ``/dev/ttyUSB0``, ``COM3``, ``socket://host:port`` or ``rfc2217://host:port``.

    Raises
    ------
    ConfigError
        If the address is none of these.
    DeviceBusy
        If somebody else has the port open.
    DeviceError
        If it cannot be opened.
    """
    scheme = url.partition("://")[0] if "://" in url else ""
    try:
        if scheme == TUNNEL:
            return _Tunnel(_address(url), connect_s)
        if scheme in ("", REMOTE):
            return _SerialPort(url, settings, remote=scheme == REMOTE)
    except ValueError as error:
        raise ConfigError(f"The port cannot be set as asked ({error}).", where=url) from error
    except OSError as error:
        raise _of_opening(url, error) from error
    raise ConfigError(
        f"{scheme}:// is no line.",
        where=url,
        fix="Give a port (/dev/ttyUSB0, COM3), socket://host:port or rfc2217://host:port.",
    )


def device_id(url: str) -> str:
    """Return the name under which a line is leased: the same for every spelling of one line.

    Examples
    --------
    >>> device_id("socket://Gateway-1:5001"), device_id("com3")
    ('tcp:gateway-1:5001', 'line:COM3')
    """
    if "://" in url:
        host, port = _address(url)
        return f"tcp:{host.lower()}:{port}"
    return f"line:{url.upper() if url.lower().startswith('com') else url}"


def _address(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise ConfigError("The address has no host and port.", where=url, fix="socket://host:port")
    return host, port


def _of_opening(url: str, error: OSError) -> DeviceError:
    busy = "lock" in str(error).lower() or "busy" in str(error).lower()
    if busy or "PermissionError(13, 'Access is denied.'" in str(error):
        return DeviceBusy(
            f"Another program has the port open ({error}).", where=url, fix="End that program."
        )
    if isinstance(error, ConnectionRefusedError):
        return DeviceError(
            "The connection was refused.",
            where=url,
            fix="Look whether the gateway is up, and whether its pass-through is unlocked.",
        )
    return DeviceError(f"It cannot be opened ({error}).", where=url, fix="Look at the cabling.")


class _Tunnel:
    """A TCP connection."""

    def __init__(self, address: tuple[str, int], connect_s: float) -> None:
        self._socket = socket.create_connection(address, timeout=connect_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def read(self, wait_s: float) -> bytes:
        # A timeout of 0 would mean "do not block", and another error.
        self._socket.settimeout(max(wait_s, 0.001))
        try:
            data = self._socket.recv(_BLOCK)
        except TimeoutError:
            return b""
        if not data:
            raise ConnectionError("the other end closed the connection")
        return data

    def write(self, data: bytes, wait_s: float) -> None:
        self._socket.settimeout(max(wait_s, 0.001))
        self._socket.sendall(data)

    def resume(self) -> None:
        """Nothing below a socket knows of XOFF."""

    def steer(self, *, flow: bool) -> None:
        """Nothing below a socket has flow control."""

    def wake(self) -> None:
        with contextlib.suppress(OSError):  # the other end may be gone already
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()


class _SerialPort:
    """A port of pyserial."""

    def __init__(self, url: str, settings: PortSettings, *, remote: bool) -> None:
        self._remote = remote
        self._settings = settings
        self._where = url
        self._wait_s = -1.0
        more: dict[str, Any] = {} if remote else {"exclusive": True}
        self._port = serial.serial_for_url(
            url,
            baudrate=settings.baud,
            bytesize=settings.data_bits,
            parity=settings.parity,
            stopbits=settings.stop_bits,
            xonxoff=settings.xon_xoff,
            **more,
        )
        if not remote:
            self._heed_only_here()

    def _heed_only_here(self) -> None:
        """Have the system send XOFF where its buffer fills, but not stop at one that comes.

        The line does that: a system that was stopped by a disturbed byte cannot be started again,
        and pyserial would try to write without a pause.
        """
        if sys.platform != "win32":
            import termios

            attributes = termios.tcgetattr(self._port.fd)
            attributes[0] &= ~termios.IXON
            termios.tcsetattr(self._port.fd, termios.TCSANOW, attributes)

    def read(self, wait_s: float) -> bytes:
        if wait_s != self._wait_s:
            # Private, because the public way sets up the whole port anew: over RFC 2217 that is
            # a negotiation, on a real port a system call for each.
            self._port._timeout = self._wait_s = wait_s
        first: bytes = self._port.read(1)
        if first and (waiting := self._port.in_waiting):
            with contextlib.suppress(OSError):  # what came before is told; the next read raises
                first += self._port.read(waiting)
        return first

    def write(self, data: bytes, wait_s: float) -> None:
        if not self._remote:  # over RFC 2217 pyserial knows no limit for writing
            self._port._write_timeout = wait_s
        try:
            self._port.write(data)
        except serial.SerialTimeoutException as error:
            raise TimeoutError("the port takes no more bytes") from error

    def resume(self) -> None:
        if sys.platform == "win32" and not self._remote:
            self._port.set_output_flow_control(True)

    def steer(self, *, flow: bool) -> None:
        if not flow and self._settings.data_bits != 8:
            raise ConfigError(
                "Files need 8 data bits, and the port has 7.",
                where=self._where,
                fix="Set the relay's port and this one to 8 data bits, or fetch reports only.",
            )
        if not self._settings.xon_xoff:
            return
        if sys.platform != "win32" and not self._remote:
            import termios

            # Only what is meant: pyserial would set up the whole port anew, and lose bytes.
            try:
                attributes = termios.tcgetattr(self._port.fd)
                attributes[0] &= ~(termios.IXON | termios.IXOFF)
                attributes[0] |= termios.IXOFF if flow else 0
                termios.tcsetattr(self._port.fd, termios.TCSANOW, attributes)
            except termios.error as error:
                raise OSError(*error.args) from error
        else:
            self._port.xonxoff = flow

    def wake(self) -> None:
        for name in ("cancel_read", "cancel_write"):
            if hasattr(self._port, name):
                with contextlib.suppress(OSError):  # it may be gone already
                    getattr(self._port, name)()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            # What the other end does not take would hold closing up for half a minute.
            self._port.reset_output_buffer()
        self._port.close()
