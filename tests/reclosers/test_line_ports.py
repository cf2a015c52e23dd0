"""What lies between a line and its port: words of a gateway, addresses of relays."""

from __future__ import annotations

import pytest

from workspace_lib.clock import FakeClock, parse_instant
from workspace_lib.reclosers.line_ports import AddressedPort, GatewayPort
from workspace_lib.reclosers.relay_errors import GatewayBusy, GatewayLocked

START = parse_instant("2026-03-02T08:00:00Z")


class FakePort:
    """A port that has pieces to say, then hangs up; what is written is kept."""

    def __init__(self, *pieces: bytes, clock: FakeClock | None = None, silent_s: float = 0) -> None:
        self.pieces = list(pieces)
        self.written: list[bytes] = []
        self.clock = clock
        self.silent_s = silent_s
        self.flow = True
        self.closed = False

    def read(self, wait_s: float) -> bytes:
        if self.pieces:
            return self.pieces.pop(0)
        if self.clock is not None:
            self.clock.advance(self.silent_s)
        raise ConnectionError("the other end closed the connection")

    def write(self, data: bytes, wait_s: float) -> None:
        self.written.append(data)

    def resume(self) -> None:
        self.written.append(b"resume")

    def steer(self, *, flow: bool) -> None:
        self.flow = flow

    def wake(self) -> None:
        self.written.append(b"wake")

    def close(self) -> None:
        self.closed = True


def behind(*pieces: bytes) -> GatewayPort:
    return GatewayPort(FakePort(*pieces), "LAV-101", busy_text="in use", locked_text="locked")


def everything(port: AddressedPort) -> bytes:
    said = b""
    while True:
        try:
            said += port.read(0)
        except ConnectionError:
            return said


@pytest.mark.parametrize("pieces", [(b"Port In use by SCADA\r\n",), (b"Port in ", b"use")])
def test_a_busy_gateway_is_told_by_its_words_in_any_case_and_in_pieces(
    pieces: tuple[bytes, ...],
) -> None:
    with pytest.raises(GatewayBusy, match=r"LAV-101: The gateway says: Port"):
        behind(*pieces).greet(60)


def test_a_locked_gateway_is_told_by_its_words() -> None:
    with pytest.raises(GatewayLocked, match="Access LOCKED"):
        behind(b"Access LOCKED\r\n").greet(60)


def test_one_that_hangs_up_without_a_word_lets_nobody_through() -> None:
    with pytest.raises(GatewayLocked, match="without a word"):
        behind().greet(60)


def test_what_a_relay_says_at_once_is_not_lost_and_no_word_of_the_gateway() -> None:
    port = behind(b"\x02\r\nNot locked, not in use\r\n=\x03", b"more")
    port.greet(60)
    assert port.read(0) == b"\x02\r\nNot locked, not in use\r\n=\x03"
    assert port.read(0) == b"more"
    assert port.error is None


def test_words_that_come_later_are_read_first_and_raised_then() -> None:
    port = behind(b"\r\n", b"in use")
    assert port.read(0) == b"\r\n"
    assert port.read(0) == b"in use"  # the transcript has it
    with pytest.raises(GatewayBusy):
        port.read(0)
    with pytest.raises(GatewayBusy):
        port.write(b"QUI\r", 1)


def test_a_session_that_ends_after_the_gateways_limit_was_ended_by_it() -> None:
    clock = FakeClock(START)
    inner = FakePort(b"\x02\r\n=\x03", clock=clock, silent_s=58)
    port = GatewayPort(inner, "LAV-101", inactivity_s=60, clock=clock)
    port.read(0)
    with pytest.raises(ConnectionError, match=r"gateway ended the session after 58 s .* 60 s"):
        port.read(0)
    assert port.error is None


def test_one_that_hangs_up_much_later_without_a_word_just_dropped() -> None:
    clock = FakeClock(START)
    port = GatewayPort(FakePort(clock=clock, silent_s=20), "LAV-101", clock=clock)
    with pytest.raises(ConnectionError, match="other end closed"):
        port.read(0)
    assert port.error is None


def test_one_that_drops_earlier_just_dropped() -> None:
    clock = FakeClock(START)
    inner = FakePort(b"\x02\r\n=\x03", clock=clock, silent_s=2)
    port = GatewayPort(inner, "LAV-101", inactivity_s=60, clock=clock)
    port.read(0)
    with pytest.raises(ConnectionError, match="other end closed"):
        port.read(0)


def test_an_address_stands_before_each_message_and_not_within_one() -> None:
    inner = FakePort()
    port = AddressedPort(inner, 7)
    for data in (b"\x18", b"\r", b"CH", b"I\r", b"\x18", b"QUI\r"):
        port.write(data, 1)
    assert inner.written == [b"@07\x18", b"@07\r", b"@07CH", b"I\r", b"\x18", b"@07QUI\r"]


def test_addresses_are_taken_off_and_what_others_say_is_set_aside() -> None:
    said = b"CHI\r\n@12\x02answer @99\x03@13\x02unasked\x03@13\x02\r\n=\x03@12\x02\r\n=>\x03"
    port = AddressedPort(FakePort(said), 12)
    port.write(b"CHI\r", 1)
    assert everything(port) == b"CHI\r\n\x02answer @99\x03\x02\r\n=>\x03"
    assert bytes(port.aside) == b"\x02unasked\x03\x02\r\n=\x03"


def test_what_the_line_does_not_see_is_noted() -> None:
    noted: list[tuple[str, bytes]] = []
    said = b"@12\x02mine\x03@13\x02unasked\x03"
    port = AddressedPort(
        FakePort(said), 12, lambda direction, data: noted.append((direction, data))
    )
    port.write(b"CHI\r", 1)
    everything(port)
    assert noted[:3] == [(">", b"@12"), ("<", b"@12"), ("<", b"@13")]
    assert b"".join(data for _, data in noted[3:]) == b"\x02unasked\x03"


def test_it_does_not_matter_in_which_pieces_it_comes() -> None:
    said = b"@13\x02x\x03@12\x02a@1\x03@13boo@12\x02b\x03"
    for size in range(1, len(said)):
        pieces = [said[n : n + size] for n in range(0, len(said), size)]
        port = AddressedPort(FakePort(*pieces), 12)
        assert everything(port) == b"\x02a@1\x03\x02b\x03", size
        assert bytes(port.aside) == b"\x02x\x03boo", size


def test_a_frame_without_an_end_does_not_swallow_the_next_message() -> None:
    port = AddressedPort(FakePort(b"@13\x02cut off@12\x02mine\x03"), 12)
    assert everything(port) == b"\x02mine\x03"


def test_the_echo_after_another_s_message_is_ours() -> None:
    inner = FakePort(b"@13\x02unasked\x03")
    port = AddressedPort(inner, 12)
    port.read(0)
    port.write(b"TIM\r", 1)
    inner.pieces.append(b"TIM\r\n\x02no address\x03")
    assert port.read(0) == b"TIM\r\n\x02no address\x03"


def test_files_pass_as_they_are() -> None:
    inner = FakePort(b"@1", b"3\x02@13\x02", b"@12\x02b\x03")
    port = AddressedPort(inner, 12)
    port.write(b"FIL READ\r", 1)
    assert port.read(0) == b""  # it may be an address
    port.steer(flow=False)
    assert not inner.flow
    port.write(b"\x06", 1)
    assert port.read(0) == b"@13\x02@13\x02"
    port.steer(flow=True)
    assert port.read(0) == b"\x02b\x03"
    assert inner.written == [b"@12FIL READ\r", b"\x06"]


def test_the_rest_is_the_port_s_own() -> None:
    inner = FakePort()
    for port in (AddressedPort(inner, 1), GatewayPort(inner, "R")):
        inner.closed = False
        inner.written.clear()
        port.resume()
        port.wake()
        port.steer(flow=True)
        port.close()
        assert inner.closed
        assert inner.written == [b"resume", b"wake"]
