"""Lines over real sockets, pseudo terminals and RFC 2217: deadlines, flow control, transcript."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest

from workspace_lib.clock import FakeClock
from workspace_lib.errors import ConfigError, DeviceBusy, DeviceError, DeviceTimeout
from workspace_lib.store.engines import Store
from workspace_lib.transports.devices import Holder, open_exclusive
from workspace_lib.transports.serial_line import (
    Limits,
    LineDropped,
    PortSettings,
    SerialLine,
    device_id,
    open_line,
)

START = datetime(2026, 3, 1, 8, tzinfo=UTC)
GENEROUS = Limits(byte_s=60, command_s=120, session_s=300)


class Ticking(FakeClock):
    """A clock that goes on by ``step`` seconds whenever it is looked at."""

    def __init__(self, step: float) -> None:
        super().__init__(START)
        self.step_s = step

    def monotonic(self) -> float:
        self.advance(self.step_s)
        return super().monotonic()


class Far:
    """The other end of a tunnel."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"socket://127.0.0.1:{self._server.getsockname()[1]}"

    def accept(self) -> socket.socket:
        self._server.settimeout(60)
        connection, _ = self._server.accept()
        connection.settimeout(60)
        return connection

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def far() -> Iterator[Far]:
    with closing(Far()) as one:
        yield one


def pair(
    far: Far, limits: Limits = GENEROUS, clock: FakeClock | None = None
) -> tuple[SerialLine, socket.socket]:
    line = open_line(far.url, limits=limits, **({"clock": clock} if clock else {}))
    return line, far.accept()


def read_exactly(line: SerialLine, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += line.read()
    return data


def test_bytes_go_both_ways_through_a_tunnel(far: Far) -> None:
    line, end = pair(far)
    with closing(line), end:
        line.write(b"ID\r")
        assert end.recv(10) == b"ID\r"
        end.sendall(b"\x02hello\x03")
        assert read_exactly(line, 7) == b"\x02hello\x03"


def test_what_came_before_the_other_end_hung_up_is_read(far: Far) -> None:
    line, end = pair(far)
    with closing(line):
        end.sendall(b"last words")
        end.close()
        assert read_exactly(line, 10) == b"last words"
        with pytest.raises(LineDropped, match="gone"):
            line.read()


def test_flow_control_is_no_part_of_what_is_read_and_holds_writing_up(far: Far) -> None:
    line, end = pair(far)
    with closing(line), end:
        end.sendall(b"ab\x13cd")
        assert read_exactly(line, 4) == b"abcd"
        assert line.held
        writer = threading.Thread(target=line.write, args=(b"CHI\r",), daemon=True)
        writer.start()
        end.settimeout(0.3)
        with pytest.raises(TimeoutError):
            end.recv(1)
        end.settimeout(60)
        end.sendall(b"e\x11f")
        assert end.recv(10) == b"CHI\r"
        writer.join(60)
        assert read_exactly(line, 2) == b"ef"


def test_a_device_that_never_says_go_on_is_told(far: Far) -> None:
    line, end = pair(far, Limits(byte_s=6, session_s=2000), Ticking(2.0))
    with closing(line), end:
        end.sendall(b"x\x13")
        assert line.read(byte_s=1000) == b"x"
        while not line.held:
            line.poll()
        with pytest.raises(DeviceTimeout, match="XOFF"):
            line.write(b"CHI\r")
        line.write(b"\x18", at_once=True)
        assert end.recv(10) == b"\x18"
        line.resume()
        line.write(b"CHI\r")
        assert end.recv(10) == b"CHI\r"


def test_without_flow_control_every_byte_counts(far: Far) -> None:
    with closing(open_line(far.url, PortSettings(xon_xoff=False), GENEROUS)) as line:
        end = far.accept()
        with end:
            end.sendall(b"a\x13\x11b")
            assert read_exactly(line, 4) == b"a\x13\x11b"
            assert not line.held


def test_during_a_binary_transfer_every_byte_counts_and_stays_in_the_transcript(far: Far) -> None:
    line, end = pair(far)
    with closing(line), end:
        end.sendall(b"a\x13")
        assert line.read() == b"a"
        with line.binary():
            assert not line.held
            end.sendall(bytes(range(256)))
            assert read_exactly(line, 256) == bytes(range(256))
            line.write(b"C")
            assert end.recv(10) == b"C"
        end.sendall(b"b\x13\x11c")
        assert read_exactly(line, 2) == b"bc"
        said = b"".join(one.data for one in line.transcript.pieces() if one.direction == "<")
        assert said == b"a\x13" + bytes(range(256)) + b"b\x13\x11c"


def test_a_line_that_drops_amid_a_binary_transfer_is_told_once(far: Far) -> None:
    line, end = pair(far)

    def transfer() -> None:
        with line.binary():
            line.close()
            line.read()

    with closing(line), end, pytest.raises(LineDropped, match="closed here"):
        transfer()


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (Limits(byte_s=3, command_s=100, session_s=100), "silent too long"),
        (Limits(byte_s=100, command_s=3, session_s=100), "answer took too long"),
        (Limits(byte_s=100, command_s=100, session_s=3), "session is over"),
    ],
)
def test_each_deadline_is_kept_and_named(far: Far, limits: Limits, why: str) -> None:
    line, end = pair(far, limits, Ticking(1.5))
    with closing(line), end, pytest.raises(DeviceTimeout, match=why):
        line.read(line.command_deadline())


def test_a_session_that_is_over_can_be_given_time_to_leave(far: Far) -> None:
    clock = FakeClock(START)
    line, end = pair(far, Limits(session_s=10), clock)
    with closing(line), end:
        clock.advance(11)
        with pytest.raises(DeviceTimeout, match="session"):
            line.read()
        line.allow(5)
        end.sendall(b"bye")
        assert read_exactly(line, 3) == b"bye"


def test_a_session_can_be_ended_from_another_thread_and_left_in_good_order(far: Far) -> None:
    line, end = pair(far)
    ended: list[Exception] = []

    def wait() -> None:
        try:
            line.read()
        except DeviceTimeout as error:
            ended.append(error)

    with closing(line), end:
        reader = threading.Thread(target=wait)
        reader.start()
        line.end_session()
        reader.join(30)
        assert "session is over" in str(ended[0])
        line.allow(30)
        end.sendall(b"bye")
        assert read_exactly(line, 3) == b"bye"


def test_a_device_that_never_stops_talking_is_stopped(far: Far) -> None:
    line, end = pair(far, Limits(byte_s=60, most_bytes=1000))
    with closing(line), end:
        end.sendall(b"x" * 1001)
        with pytest.raises(DeviceError, match="More than 1000 bytes"):
            read_exactly(line, 1001)


def test_closing_in_another_thread_wakes_a_reader(far: Far) -> None:
    line, end = pair(far)
    woken: list[Exception] = []

    def wait() -> None:
        try:
            line.read()
        except LineDropped as error:
            woken.append(error)

    reader = threading.Thread(target=wait, daemon=True)
    reader.start()
    line.close()
    line.close()
    reader.join(30)
    end.close()
    assert "closed here" in str(woken[0])


def test_passwords_and_their_echo_are_not_in_the_transcript(far: Far) -> None:
    line, end = pair(far)
    with closing(line), end:
        line.write(b"ACC\r")
        line.write(b"OTTER\r", secret=True)
        # Echoed garbled, then whole and in pieces, with flow control in between.
        end.sendall(b"OTxER")
        read_exactly(line, 5)
        end.sendall(b"\r\nyou said OT\x13\x11T")
        read_exactly(line, 13)
        end.sendall(b"ER!\r\n\x02=>\x03")
        read_exactly(line, 9)
        text = line.transcript.text()
    assert "OT" not in text
    assert "ER" not in text
    assert "> ***\\r" in text
    assert "> ACC\\r" in text
    assert "you said ***" in text
    assert "!\\r\\n\\x02=>\\x03" in text


def test_the_transcript_has_every_byte_with_its_time(far: Far) -> None:
    line, end = pair(far)
    with closing(line), end:
        line.write(b"a\\\r\n")
        end.sendall(bytes(range(256)))
        read_exactly(line, 254)
        said = line.transcript.pieces()
        assert b"".join(one.data for one in said if one.direction == "<") == bytes(range(256))
        assert all(one.at_s >= 0 for one in said)
        assert line.transcript.text().splitlines()[0].endswith(r"> a\\\r\n")


def test_a_refused_connection_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(DeviceError, match="refused"):
        open_line(f"socket://127.0.0.1:{port}")


@pytest.mark.parametrize("url", ["socket://host", "socket://:5", "ftp://host:21", "socket://h:x"])
def test_an_address_that_is_no_line_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        open_line(url)


def test_one_line_has_one_name() -> None:
    assert device_id("socket://GW:5001") == device_id("rfc2217://gw:5001") == "tcp:gw:5001"
    assert device_id("com3") == "line:COM3"
    assert device_id("/dev/ttyUSB0") == "line:/dev/ttyUSB0"


def test_a_lost_lease_ends_the_reading_of_a_line(far: Far, store: Store) -> None:
    from workspace_lib.store import leases

    reading = threading.Event()

    def steal() -> None:
        assert reading.wait(60)
        leases.release(store.control, "r1", resource=device_id(far.url))

    thief = threading.Thread(target=steal, daemon=True)
    thief.start()

    def hold() -> None:
        with open_exclusive(
            store, device_id(far.url), Holder("r1", ttl_s=0.8), lambda: open_line(far.url)
        ) as line:
            reading.set()
            line.read(byte_s=120)

    with pytest.raises(DeviceError, match="lease"):
        hold()
    thief.join(60)


if sys.platform != "win32":
    import pty
    import tty

    @pytest.fixture
    def terminal() -> Iterator[tuple[int, str]]:
        """The other end of a pseudo terminal, and its name here."""
        master, slave = pty.openpty()
        tty.setraw(master)
        yield master, os.ttyname(slave)
        for end in (master, slave):
            os.close(end)

    def test_bytes_go_both_ways_through_a_terminal(terminal: tuple[int, str]) -> None:
        end, name = terminal
        seven = PortSettings(2400, data_bits=7, parity="E")
        with closing(open_line(name, seven, GENEROUS)) as line:
            line.write(b"ID\r")
            assert os.read(end, 10) == b"ID\r"
            os.write(end, b"\x02he\x13l\x11lo\x03")
            assert read_exactly(line, 7) == b"\x02hello\x03"

    def test_a_binary_transfer_through_a_terminal_is_not_steered(terminal: tuple[int, str]) -> None:
        import termios

        end, name = terminal
        with closing(open_line(name, limits=GENEROUS)) as line:
            settings = termios.tcgetattr(end)[0]
            assert settings & termios.IXOFF
            with line.binary():
                assert not termios.tcgetattr(end)[0] & (termios.IXOFF | termios.IXON)
                os.write(end, bytes(range(256)))
                assert read_exactly(line, 256) == bytes(range(256))
            assert termios.tcgetattr(end)[0] == settings
            os.write(end, b"he\x13l\x11lo")
            assert read_exactly(line, 5) == b"hello"

    def test_a_port_of_seven_bits_carries_no_files(terminal: tuple[int, str]) -> None:
        seven = PortSettings(2400, data_bits=7, parity="E")
        with (
            closing(open_line(terminal[1], seven, GENEROUS)) as line,
            pytest.raises(ConfigError, match="8 data bits"),
            line.binary(),
        ):
            pass

    def test_a_terminal_is_opened_by_one_program_only(terminal: tuple[int, str]) -> None:
        with closing(open_line(terminal[1])), pytest.raises(DeviceBusy):
            open_line(terminal[1])

    def test_what_must_go_out_at_once_does_although_a_terminal_was_stopped(
        terminal: tuple[int, str],
    ) -> None:
        end, name = terminal
        with closing(open_line(name, limits=GENEROUS)) as line:
            os.write(end, b"a\x13b")
            assert read_exactly(line, 2) == b"ab"
            line.write(b"\x18", at_once=True)
            assert os.read(end, 10) == b"\x18"

    def test_closing_wakes_a_reader_of_a_terminal(terminal: tuple[int, str]) -> None:
        line = open_line(terminal[1], limits=GENEROUS)
        woken = threading.Event()

        def wait() -> None:
            with pytest.raises(LineDropped):
                line.read()
            woken.set()

        threading.Thread(target=wait, daemon=True).start()
        line.close()
        assert woken.wait(30)


def test_a_remote_port_is_spoken_to_by_rfc_2217() -> None:
    import serial
    from serial.rfc2217 import PortManager

    class Connection:
        def __init__(self, end: socket.socket) -> None:
            self.end = end

        def write(self, data: bytes) -> None:
            self.end.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)

        def serve() -> None:
            end, _ = server.accept()
            device = serial.serial_for_url("loop://", timeout=0)
            manager = PortManager(device, Connection(end))
            with end:
                while data := end.recv(1000):
                    for byte in manager.filter(data):
                        device.write(byte)
                    if waiting := device.in_waiting:
                        answer = device.read(waiting)
                        end.sendall(b"".join(manager.escape(answer)))

        threading.Thread(target=serve, daemon=True).start()
        url = f"rfc2217://127.0.0.1:{server.getsockname()[1]}?timeout=60"
        with closing(open_line(url, PortSettings(2400, xon_xoff=False), GENEROUS)) as line:
            line.write(b"CHI\r")
            assert read_exactly(line, 4) == b"CHI\r"
            with line.binary():
                line.write(b"\x13\x11")
                assert read_exactly(line, 2) == b"\x13\x11"
