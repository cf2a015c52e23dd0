"""The stream of a relay, taken apart: frames between STX and ETX, what is outside, prompts.

A prompt counts only where nothing can follow: as the last line of a closed frame, or outside of
frames after a silence. An ``=>`` amid settings or samples is text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

STX, ETX = 0x02, 0x03
#: Longest first: each contains the shorter ones.
PROMPTS: Final = (b"==>>", b"=>>", b"=+>", b"==>", b"=>", b"=")
LEVELS: Final = {
    b"=": "0",
    b"=>": "1",
    b"=+>": "E",
    b"==>": "B",
    b"=>>": "2",
    b"==>>": "C",
}
_LAST_LINE = re.compile(rb"(?:\A|[\r\n])[ \t]*([=+>]{1,4})[ \t]*\Z")
_ASKS = re.compile(rb"Password\s*:\s*\??\s*\Z", re.IGNORECASE)
_EDGES: Final = re.compile(rb"[\x02\x03]")


@dataclass(frozen=True)
class Frame:
    """What stood between STX and ETX; ``whole`` is False if another STX came before an ETX.

    ``after`` is how many bytes outside of frames had come before it.
    """

    content: bytes
    whole: bool = True
    after: int = 0


@dataclass
class FrameReader:
    """Takes bytes as they come; frames, prompts and what is outside are picked up from it.

    Attributes
    ----------
    frames : list of Frame
        Closed frames that were not picked up yet, without prompts.
    outside : bytearray
        What stood outside of frames: echoes, mostly.
    prompt : bytes
        The last prompt of a frame; empty if none came since it was reset.
    """

    frames: list[Frame] = field(default_factory=list)
    outside: bytearray = field(default_factory=bytearray)
    prompt: bytes = b""
    _open: bytearray | None = None

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        place = 0
        for edge in _EDGES.finditer(data):
            self._text(data[place : edge.start()])
            place = edge.end()
            if data[edge.start()] == STX:
                self._close(whole=False)
                self._open = bytearray()
            else:
                self._close(whole=True)
        self._text(data[place:])

    @property
    def within(self) -> bool:
        """Whether a frame was begun and not closed."""
        return self._open is not None

    @property
    def begun(self) -> bytes:
        """What there is of a frame that was begun and not closed."""
        return bytes(self._open or b"")

    @property
    def asks_password(self) -> bool:
        """Whether the last thing said asks for a password; its frame need not be closed."""
        tail = self._open if self._open is not None else self.outside
        if _ASKS.search(bytes(tail[-40:])):
            return True
        last = self.frames[-1].content[-40:] if self.frames else b""
        return _ASKS.search(last) is not None and not tail.strip()

    def bare_prompt(self) -> bytes:
        """Return the prompt that stands last and outside of frames; it may still be growing."""
        return b"" if self.within else _prompt_at_end(bytes(self.outside))[1]

    def take(self) -> list[Frame]:
        """Return the closed frames and forget them, with what was outside and the prompt."""
        found, self.frames = self.frames, []
        self.outside.clear()
        self.prompt = b""
        return found

    def drop_open(self) -> bytes:
        """Forget a frame that was begun and not closed; return what there was of it."""
        rest, self._open = bytes(self._open or b""), None
        return rest

    def _text(self, data: bytes) -> None:
        if data:
            target = self.outside if self._open is None else self._open
            target += data

    def _close(self, *, whole: bool) -> None:
        if self._open is None:
            return
        content, self._open = bytes(self._open), None
        if whole:
            content, prompt = _prompt_at_end(content)
            if prompt:
                self.prompt = prompt
                if not content.strip():
                    return
        if content:
            self.frames.append(Frame(content, whole, len(self.outside)))


def _prompt_at_end(text: bytes) -> tuple[bytes, bytes]:
    """Return ``text`` without its prompt, and the prompt if its last line is one and only that.

    Examples
    --------
    >>> _prompt_at_end(b"Level 1\\r\\n=>"), _prompt_at_end(b"a =>")
    ((b'Level 1\\r\\n', b'=>'), (b'a =>', b''))
    """
    stripped = text.rstrip(b"\r\n")
    match = _LAST_LINE.search(stripped)
    if match is None or match[1] not in PROMPTS:
        return text, b""
    return stripped[: match.start(1)], match[1]
