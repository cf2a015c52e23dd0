"""Ymodem: files arrive to the byte or not at all, whatever happens to blocks and answers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from workspace_lib.errors import DeviceTimeout, FrameError
from workspace_lib.reclosers import ymodem
from workspace_lib.reclosers.simulator_files import Sender, blocks_of
from workspace_lib.reclosers.ymodem import CANCEL, Patience, Received, receive
from workspace_lib.transports.serial_line import LineDropped

Spoil = Callable[[int, bytes], bytes]
TEXT = b"STATION A,FEEDER 12,1999\r\n" * 200
#: Every byte there is, among them those that steer transfers and lines.
BINARY = bytes(range(256)) * 17 + b"\x18\x18\x04\x11\x13\x1a\x1a"


class Desk:
    """A line to a sender in memory; silence is at once a time-out.

    ``spoil`` changes what the sender says, by the number of the piece; ``deaf`` are numbers of
    answers that do not reach it.
    """

    where = "desk"

    def __init__(
        self, *senders: Sender, spoil: Spoil | None = None, deaf: tuple[int, ...] = ()
    ) -> None:
        self.senders = list(senders)
        self.spoil = spoil or (lambda number, data: data)
        self.deaf = deaf
        self.heard = bytearray()
        self.said = bytearray()
        self.pieces = 0
        self.binaries: list[str] = []

    def write(self, data: bytes, *, secret: bool = False, at_once: bool = False) -> None:
        for byte in data:
            self.heard.append(byte)
            if len(self.heard) in self.deaf:
                continue
            if self.senders:
                if said := self.senders[0].heard(byte):
                    self.pieces += 1
                    self.said += self.spoil(self.pieces, said)
                if self.senders[0].over:
                    self.senders.pop(0)

    def read(self, deadline: float | None = None, byte_s: float | None = None) -> bytes:
        if not self.said:
            raise DeviceTimeout("Nothing more came in time.")
        # In small pieces, as a slow line gives them.
        data, self.said = bytes(self.said[:100]), self.said[100:]
        return data

    def command_deadline(self) -> float:
        return 0.0

    @contextmanager
    def binary(self) -> Iterator[None]:
        self.binaries.append("on")
        yield
        self.binaries.append("off")


def fetched(desk: Desk, patience: Patience | None = None) -> Received:
    files, _ = receive(desk, patience)
    assert len(files) == 1
    return files[0]


def flip(place: int, *numbers: int) -> Spoil:
    """Change one byte of the pieces of these numbers."""

    def spoil(number: int, data: bytes) -> bytes:
        at = place % len(data)
        hit = number in numbers
        return data[:at] + bytes((data[at] ^ 0x41,)) + data[at + 1 :] if hit else data

    return spoil


@pytest.mark.parametrize("content", [TEXT, BINARY, b"x", b"", bytes(300_000)])
def test_a_file_arrives_to_the_byte_with_its_name(content: bytes) -> None:
    desk = Desk(Sender("HR_10001.DAT", content))
    assert fetched(desk) == Received("HR_10001.DAT", content, len(content))
    assert desk.binaries == ["on", "off"]
    assert not desk.senders  # it knows that all is over


def test_more_than_256_blocks_count_on_from_zero() -> None:
    content = random.Random(1).randbytes(600 * 1024)
    assert fetched(Desk(Sender("A.DAT", content))).content == content


def test_without_a_size_a_file_is_padded_to_whole_blocks() -> None:
    found = fetched(Desk(Sender("A.CFG", TEXT, told=False)))
    assert found.size is None
    assert found.content.startswith(TEXT)
    assert set(found.content[len(TEXT) :]) == {0x1A}


def test_several_files_of_one_batch_arrive() -> None:
    first, second = list(blocks_of("A", b"a" * 10)), list(blocks_of("B", b"b" * 200))
    joined = Sender("A", b"")
    joined._blocks = first

    class Batch(Sender):
        """Sends a second file in place of the end."""

        def heard(self, byte: int) -> bytes:
            said = super().heard(byte)
            if self._place == len(first) + 1 and self._blocks is not second:
                self._blocks, self._place = second, 0
                return second[0]
            return said

    batch = Batch("A", b"")
    batch._blocks = first
    files, rest = receive(Desk(batch))
    assert [(one.name, one.content) for one in files] == [("A", b"a" * 10), ("B", b"b" * 200)]
    assert rest == b""


def test_what_comes_after_the_batch_is_given_back() -> None:
    class Prompting(Sender):
        def heard(self, byte: int) -> bytes:
            said = super().heard(byte)
            return said + b"\x02\r\n=>\x03" if said[:2] == b"\x01\x00" and self._place > 1 else said

    files, rest = receive(Desk(Prompting("A.CFG", TEXT)))
    assert (files[0].content, rest) == (TEXT, b"\x02\r\n=>\x03")


@pytest.mark.parametrize("place", [0, 1, 2, 3, 500, -1])
@pytest.mark.parametrize("number", [1, 2, 3, 6, 7])
def test_one_changed_byte_costs_one_block_again(place: int, number: int) -> None:
    # Piece 1 is block 0, then six of data, then the end of the file.
    found = fetched(Desk(Sender("A.DAT", BINARY), spoil=flip(place, number)))
    assert found.content == BINARY


@pytest.mark.parametrize("lost", [1, 7, 1000])
@pytest.mark.parametrize("number", [1, 2, 5])
def test_lost_bytes_cost_one_block_again(lost: int, number: int) -> None:
    desk = Desk(Sender("A.DAT", BINARY), spoil=lambda n, d: d[lost:] if n == number else d)
    assert fetched(desk).content == BINARY


@pytest.mark.parametrize("deaf", range(1, 14))
def test_an_answer_that_is_lost_is_given_again(deaf: int) -> None:
    class Restless(Desk):
        """Its sender repeats itself where it hears nothing, as real ones do."""

        def read(self, deadline: float | None = None, byte_s: float | None = None) -> bytes:
            if not self.said and self.senders and not self.senders[0]._waits_for_c:
                self.said += self.senders[0]._current()
            return super().read(deadline, byte_s)

    for desk in (Desk, Restless):
        found = fetched(desk(Sender("A.DAT", BINARY), deaf=(deaf,)))
        assert found.content == BINARY


def test_a_block_that_comes_twice_is_taken_once() -> None:
    desk = Desk(Sender("A.DAT", BINARY), spoil=lambda n, d: d + d if n == 3 else d)
    assert fetched(desk).content == BINARY


@pytest.mark.parametrize("told", [True, False])
def test_an_end_that_is_noise_does_not_end_a_file(told: bool) -> None:
    # The beginning of a block becomes EOT, and so does a byte before the next block.
    def spoil(number: int, data: bytes) -> bytes:
        return b"\x04" + data[1:] if number == 3 else b"\x04" + data if number == 5 else data

    found = fetched(Desk(Sender("A.DAT", BINARY, told=told), spoil=spoil))
    assert found.content[: len(BINARY)] == BINARY


@pytest.mark.parametrize(
    "junk", [b"\r\n\x03", b"\x02\r\nFEEDER 12  Date: 03/01/26\r\n\x03", b"\x18"]
)
@pytest.mark.parametrize("number", [1, 2, 4, 8])
def test_what_is_said_between_blocks_is_no_part_of_the_file(junk: bytes, number: int) -> None:
    desk = Desk(Sender("A.DAT", BINARY), spoil=lambda n, d: junk + d if n == number else d)
    assert fetched(desk).content == BINARY


def test_a_sender_that_never_begins_is_told_to_stop() -> None:
    desk = Desk()
    with pytest.raises(DeviceTimeout, match="does not begin"):
        receive(desk)
    assert desk.heard.count(b"C") == Patience().tries + 1
    assert desk.heard.endswith(CANCEL)


def test_a_block_that_never_arrives_whole_ends_the_transfer() -> None:
    desk = Desk(Sender("A.DAT", BINARY), spoil=flip(600, *range(3, 99)))
    with pytest.raises(FrameError, match=r"Block 2 of A\.DAT never arrived whole"):
        receive(desk)
    assert desk.heard.count(ymodem.NAK) == Patience().tries
    assert not desk.senders  # it was told to stop, and did


def test_a_sender_that_falls_silent_is_given_up_sooner() -> None:
    desk = Desk(Sender("A.DAT", BINARY), spoil=lambda n, d: b"" if n > 2 else d)
    with pytest.raises(FrameError, match="never arrived"):
        receive(desk)
    assert desk.heard.count(ymodem.NAK) == Patience().tries // 2


def test_two_cancels_end_a_transfer_and_one_is_noise() -> None:
    desk = Desk(Sender("A.DAT", BINARY), spoil=lambda n, d: b"\x18\x18" if n == 4 else d)
    with pytest.raises(FrameError, match="stopped"):
        receive(desk)


def test_a_file_that_ends_too_soon_is_no_file() -> None:
    sender = Sender("A.DAT", BINARY)
    del sender._blocks[3:]
    with pytest.raises(FrameError, match=f"ended after 2048 of {len(BINARY)} bytes"):
        receive(Desk(sender))


def test_a_file_that_goes_on_after_its_size_is_no_file() -> None:
    sender = Sender("A.DAT", BINARY)
    sender._blocks[0] = next(iter(blocks_of("A.DAT", BINARY[:1000])))
    with pytest.raises(FrameError, match="longer than it should be"):
        receive(Desk(sender))


def test_a_file_of_a_size_that_cannot_be_is_not_begun() -> None:
    sender = Sender("A.DAT", b"")
    sender._blocks[0] = ymodem_head(b"A.DAT\x0099999999999 0 0")
    with pytest.raises(FrameError, match="more than is taken"):
        receive(Desk(sender))


def test_a_block_out_of_order_ends_the_transfer() -> None:
    sender = Sender("A.DAT", BINARY)
    del sender._blocks[2]
    with pytest.raises(FrameError, match=r"Block 3 of A\.DAT came in place of 2"):
        receive(Desk(sender))


def test_a_device_that_only_talks_is_no_sender() -> None:
    class Talking(Desk):
        def read(self, deadline: float | None = None, byte_s: float | None = None) -> bytes:
            return b"Relay self-test OK. " * 50

    with pytest.raises(FrameError, match="no transfer"):
        receive(Talking())


def test_a_line_that_drops_is_told_and_flow_control_is_put_back() -> None:
    class Dropping(Desk):
        def read(self, deadline: float | None = None, byte_s: float | None = None) -> bytes:
            raise LineDropped("gone")

        @contextmanager
        def binary(self) -> Iterator[None]:
            try:
                yield
            finally:
                self.binaries.append("off")

    desk = Dropping()
    with pytest.raises(LineDropped):
        receive(desk)
    assert desk.binaries == ["off"]


@pytest.mark.parametrize("seed", range(40))
def test_under_any_noise_a_file_arrives_to_the_byte_or_not_at_all(seed: int) -> None:
    dice = random.Random(seed)
    content = dice.randbytes(dice.choice([0, 50, 900, 20_000]))

    def spoil(number: int, data: bytes) -> bytes:
        if dice.random() > 0.3:
            return data
        at, size = dice.randrange(len(data)), dice.choice([1, 2])
        hit = bytes(byte ^ dice.randrange(1, 256) for byte in data[at : at + size])
        return (
            data[:at]
            + dice.choice([hit, b"", b"\x18", b"\x04", hit + b"\x02\x01"])
            + (data[at + size :])
        )

    desk = Desk(Sender("A.DAT", content), spoil=spoil, deaf=(dice.randrange(60),))
    try:
        found = fetched(desk)
    except (FrameError, DeviceTimeout):
        return
    assert (found.name, found.content) == ("A.DAT", content)


def ymodem_head(text: bytes) -> bytes:
    """Block 0 with any text."""
    import binascii

    data = text.ljust(128, b"\x00")
    return b"\x01\x00\xff" + data + binascii.crc_hqx(data, 0).to_bytes(2, "big")
