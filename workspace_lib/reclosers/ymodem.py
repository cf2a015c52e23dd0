"""Receives files by Ymodem, the way relays send what ``FIL READ`` asks for.

Blocks of 128 or 1024 bytes with a CRC of 16 bits, each answered by ACK or NAK; block 0 tells name
and size, an empty one ends the batch (C. Forsberg, XMODEM/YMODEM Protocol Reference, 1988). What
arrives damaged is asked for again a bounded number of times; nothing is waited for without end.
"""

from __future__ import annotations

import binascii
import logging
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from workspace_lib.errors import DeviceTimeout, FrameError, WorkspaceError

log = logging.getLogger("workspace_lib.reclosers.ymodem")

SOH, STX, EOT, ACK, NAK, CAN = 0x01, 0x02, 0x04, 0x06, 0x15, 0x18
_C: Final = b"C"
_ACK: Final = bytes((ACK,))
_NAK: Final = bytes((NAK,))
#: What ends a transfer from this side; two would do, noise may take some.
CANCEL: Final = bytes((CAN,)) * 5
_SIZES: Final = {SOH: 128, STX: 1024}
#: What may stand between blocks: flow control of a careless sender, ends of lines, nothing.
_BLANK: Final = frozenset((0x00, 0x0A, 0x0D, 0x11, 0x13))
#: Bytes before the data of a block, and after them.
_HEAD, _TAIL = 2, 2
_NAME = re.compile(rb"([^\x00]*)\x00[ ]*(\d*)")
#: What a purge reads at most before it counts as talk without end.
_MOST_PURGED: Final = 8192


class ByteLine(Protocol):
    """What a transfer needs of a line; see `transports.serial_line`."""

    where: str

    def read(self, deadline: float | None = None, byte_s: float | None = None) -> bytes: ...

    def write(self, data: bytes, *, secret: bool = False, at_once: bool = False) -> None: ...

    def command_deadline(self) -> float: ...

    def binary(self) -> AbstractContextManager[None]: ...


@dataclass(frozen=True)
class Patience:
    """How long a sender is waited for, and how often it is asked again.

    Attributes
    ----------
    start_s : float
        Silence after which the sender is told again to begin [s].
    block_s : float
        Longest silence between two blocks [s].
    byte_s : float
        Longest silence within a block [s].
    quiet_s : float
        Silence after which a damaged block is over [s].
    tries : int
        How often one block is asked for; a silence counts for two.
    most_bytes : int
        Largest file that is taken.
    """

    start_s: float = 3.0
    block_s: float = 10.0
    byte_s: float = 2.0
    quiet_s: float = 1.0
    tries: int = 8
    most_bytes: int = 16_000_000


@dataclass(frozen=True)
class Received:
    """One file: ``content`` has ``size`` bytes, or is padded to whole blocks if no size was told.

    ``repeated`` is how many blocks had to be asked for again.
    """

    name: str
    content: bytes
    size: int | None
    repeated: int = 0


def receive(line: ByteLine, patience: Patience | None = None) -> tuple[list[Received], bytes]:
    """Receive the files of one batch from a sender that waits for being told to begin.

    Returns
    -------
    list of Received
        The files, in order.
    bytes
        What came after the end of the batch.

    Raises
    ------
    FrameError
        If the sender gives up, breaks the protocol, or a block never arrives whole. The sender was
        told to stop; the whole file must be asked for again.
    DeviceTimeout
        If it never begins.
    LineDropped
        If the line is gone.
    """
    receiver = _Receiver(line, patience or Patience())
    with line.binary():
        try:
            return receiver.batch(), bytes(receiver.buffer)
        except BaseException:
            cancel(line)
            raise


def cancel(line: ByteLine) -> None:
    """Tell a sender to stop; a line that is gone needs no telling."""
    try:
        line.write(CANCEL, at_once=True)
    except WorkspaceError as error:
        log.info("%s: the sender could not be told to stop (%s)", line.where, error.what)


class _Receiver:
    """One batch."""

    def __init__(self, line: ByteLine, patience: Patience) -> None:
        self.line = line
        self.patience = patience
        self.buffer = bytearray()
        self.deadline = line.command_deadline()
        self.repeated = 0

    def batch(self) -> list[Received]:
        """Return all files up to the empty block 0."""
        files: list[Received] = []
        while True:
            try:
                head = self._head(bool(files))
            except (FrameError, DeviceTimeout) as error:
                if not files:
                    raise
                # All of it is here; only the batch was not ended as it should.
                log.info("%s: no end of the batch (%s)", self.line.where, error.what)
                return files
            match = _NAME.match(head)
            if match is None or not match[1].strip():
                self._say(_ACK)
                return files
            size = int(match[2]) if match[2] else None
            name = match[1].decode("latin-1")
            if size is not None and size > self.patience.most_bytes:
                raise self._broken(f"{name} has {size} bytes, more than is taken.")
            self._say(_ACK + _C)
            files.append(self._file(name, size))

    def _head(self, later: bool) -> bytes:
        """Return block 0, telling the sender to begin until it does."""
        self._say(_C)
        for _ in range(self.patience.tries if not later else 3):
            try:
                mark = self._mark(self.patience.start_s, greedy=True)
                if mark == EOT and not later:
                    raise _Damaged
                if mark == EOT:  # its acknowledgement was lost
                    self._say(_ACK + _C)
                    continue
                number, data = self._block(mark)
            except (DeviceTimeout, _Damaged) as error:
                self._give_up_block(error)
                self._say(_C)
                continue
            if number == 0:
                return data
            raise self._broken(f"Block {number} came first.")
        raise DeviceTimeout(
            "The sender does not begin.",
            where=self.line.where,
            fix="Ask for the file again; if it stays so, the relay may not send by Ymodem.",
        )

    def _file(self, name: str, size: int | None) -> Received:
        content = bytearray()
        blocks = tries = 0
        before = self.repeated
        ended = False
        while True:
            if tries >= self.patience.tries:
                raise self._broken(f"Block {blocks + 1} of {name} never arrived whole.")
            try:
                mark = self._mark(self.patience.block_s)
                if mark == EOT:
                    # One byte may be noise: only the second in a row ends the file, and where no
                    # size was told, only if nothing follows.
                    if size is None or len(content) < size:
                        self._silent()
                    if ended:
                        break
                    ended, tries = True, tries + 1
                    self._say(_NAK)
                    continue
                number, data = self._block(mark)
            except (DeviceTimeout, _Damaged) as error:
                self._give_up_block(error)
                ended = False
                # Whoever is silent is not waited for as often as one who sends what is damaged.
                tries += 2 if isinstance(error, DeviceTimeout) else 1
                self.repeated += 1
                # A sender that never heard the C after block 0 would take NAK for its beginning,
                # with sums of 8 bits in place of CRC.
                self._say(_NAK if blocks else _C)
                continue
            ended = False
            if number == (blocks + 1) % 256:
                content += data
                blocks, tries = blocks + 1, 0
                if len(content) > (self.patience.most_bytes if size is None else size + 1024):
                    raise self._broken(f"{name} is longer than it should be ({size} bytes).")
            elif number == blocks % 256:
                tries += 1  # it did not hear that the block had arrived
                self.repeated += 1
            else:
                raise self._broken(f"Block {number} of {name} came in place of {blocks + 1}.")
            self._say(_ACK if blocks else _ACK + _C)
        self._say(_ACK)
        if size is not None and len(content) < size:
            raise self._broken(f"{name} ended after {len(content)} of {size} bytes.")
        whole = bytes(content if size is None else content[:size])
        return Received(name, whole, size, self.repeated - before)

    def _mark(self, silence_s: float, *, greedy: bool = False) -> int:
        """Return the first byte of what comes next; if ``greedy``, whatever stands before it."""
        cancels = 0
        for _ in range(_MOST_PURGED):
            byte = self._byte(silence_s)
            if byte == CAN:
                cancels += 1
                if cancels == 2:
                    raise FrameError(
                        "The sender stopped the transfer.", where=self.line.where, fix="Ask again."
                    )
                continue
            cancels = 0
            if byte in _SIZES or byte == EOT:
                return byte
            if not greedy and byte not in _BLANK:
                raise _Damaged
        raise self._broken("What comes is no transfer.")

    def _block(self, mark: int) -> tuple[int, bytes]:
        """Return number and data of the block that ``mark`` began."""
        size = _SIZES[mark]
        while len(self.buffer) < _HEAD:
            self._fill(self.patience.byte_s)
        if self.buffer[0] ^ self.buffer[1] != 0xFF:
            raise _Damaged
        while len(self.buffer) < _HEAD + size + _TAIL:
            self._fill(self.patience.byte_s)
        block = bytes(self.buffer[: _HEAD + size + _TAIL])
        if binascii.crc_hqx(block[_HEAD:], 0):  # over data and CRC it is 0
            raise _Damaged
        del self.buffer[: len(block)]
        return block[0], block[_HEAD:-_TAIL]

    def _byte(self, silence_s: float) -> int:
        if not self.buffer:
            self._fill(silence_s)
        return self.buffer.pop(0)

    def _fill(self, silence_s: float) -> None:
        self.buffer += self.line.read(self.deadline, silence_s)

    def _silent(self) -> None:
        """Make sure that nothing follows."""
        try:
            if not self.buffer:
                self._fill(self.patience.quiet_s / 4)
        except DeviceTimeout:
            return
        raise _Damaged

    def _give_up_block(self, error: DeviceTimeout | _Damaged) -> None:
        """Forget a block; wait until the sender is silent, because it hears nothing before."""
        purged = len(self.buffer)
        self.buffer.clear()
        if isinstance(error, DeviceTimeout):
            return
        while purged <= _MOST_PURGED:
            try:
                purged += len(self.line.read(self.deadline, self.patience.quiet_s))
            except DeviceTimeout:
                return
        raise self._broken("The sender does not wait for an answer.")

    def _say(self, data: bytes) -> None:
        self.line.write(data)

    def _broken(self, what: str) -> FrameError:
        return FrameError(what, where=self.line.where, fix="Ask for the file again.")


class _Damaged(Exception):
    """A block that is not whole."""
