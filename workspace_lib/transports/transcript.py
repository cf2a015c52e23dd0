"""What was said on a line, both ways, for people to read; passwords are not in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from workspace_lib.secrets import REDACTED

Direction = Literal[">", "<"]

#: Bytes that may be scattered through what was echoed.
_FLOW: Final = b"[\\x11\\x13]*"
_END_OF_ECHO = re.compile(rb"[\r\n\x02\x03]")


@dataclass(frozen=True)
class Said:
    """One piece: ``at_s`` since the line was opened [s], ``>`` written or ``<`` read."""

    at_s: float
    direction: Direction
    data: bytes
    secret: bool = False


class Transcript:
    """Everything that went over a line, in order.

    Secrets are kept only to find them again: `pieces` and `text` never show them, neither what was
    written nor what the other end echoed of it, also where the echo came in pieces.
    """

    def __init__(self) -> None:
        self._said: list[Said] = []
        self._secrets: set[bytes] = set()

    def add(self, at_s: float, direction: Direction, data: bytes, *, secret: bool = False) -> None:
        """Note what was said."""
        if secret and (word := data.strip(b"\r\n")):
            self._secrets.add(word)
        self._said.append(Said(at_s, direction, data, secret))

    def pieces(self) -> list[Said]:
        """Return what was said, with ``***`` in place of secrets."""
        hidden = self._hidden()
        found = []
        place = 0
        for one in self._said:
            if one.direction == ">":
                data = REDACTED.encode() + b"\r" if one.secret else self._mask(one.data)
                found.append(Said(one.at_s, ">", data, one.secret))
                continue
            kept = bytearray()
            for number, byte in enumerate(one.data, start=place):
                if number not in hidden:
                    kept.append(byte)
                elif hidden[number]:
                    kept += REDACTED.encode()
            place += len(one.data)
            found.append(Said(one.at_s, "<", bytes(kept), False))
        return found

    def text(self) -> str:
        """Return one line for each piece: seconds, direction, printable characters, escapes."""
        return "".join(
            f"{one.at_s:10.3f} {one.direction} {_printable(one.data)}\n" for one in self.pieces()
        )

    def _mask(self, data: bytes) -> bytes:
        for word in self._secrets:
            data = data.replace(word, REDACTED.encode())
        return data

    def _hidden(self) -> dict[int, bool]:
        """Return the places, among all bytes read, that show a secret; True where one begins."""
        if not self._secrets:
            return {}
        whole = b"".join(one.data for one in self._said if one.direction == "<")
        spans = [
            match.span()
            for word in self._secrets
            for match in re.finditer(_FLOW.join(re.escape(bytes([b])) for b in word), whole)
        ]
        # Whatever follows a secret up to the end of its line is its echo, garbled or not.
        place = 0
        after = False
        for one in self._said:
            if one.direction == ">":
                after = one.secret
                continue
            if after and one.data:
                end = _END_OF_ECHO.search(whole, place)
                spans.append((place, end.start() if end else len(whole)))
                after = False
            place += len(one.data)
        hidden: dict[int, bool] = {}
        for start, end_of_span in sorted(spans):
            for number in range(start, end_of_span):
                hidden[number] = number == start and (start - 1) not in hidden
        return hidden


def _printable(data: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 and byte != 92 else _escape(byte) for byte in data)


def _escape(byte: int) -> str:
    return {13: "\\r", 10: "\\n", 92: "\\\\"}.get(byte, f"\\x{byte:02x}")
