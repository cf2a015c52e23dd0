"""Texts of an ERP: encodings that were mixed up, and comparison as its database compares.

MySQL compares most texts without regard to case and accents, other databases do not. So nothing is
left to the database: `fold` and `Like` say here what equals what.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

#: UTF-8 that was read as cp1252 and written again, maybe more than once.
_MOST_TIMES: Final = 3


def _as_cp1252(byte: int) -> str:
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        # The five bytes that cp1252 leaves open pass as control characters, as MySQL's latin1 does.
        return chr(byte)


_BYTE_OF: Final = {_as_cp1252(byte): byte for byte in range(0x80, 0x100)}
_REST: Final = re.escape("".join(_as_cp1252(byte) for byte in range(0x80, 0xC0)))
# Lead bytes C2 to C5 are the letters of western Europe, E2 its dashes, quotes and the euro. Others
# would turn a French "à »" into Samaritan.
_MIXED_UP: Final = re.compile(f"[ÂÃÄÅ][{_REST}]|â[{_REST}]{{2}}")
#: What is left where a character was lost for good.
_LOST: Final = re.compile("\ufffd|Ã(?= |$)")


@lru_cache(maxsize=4096)
def repair(text: str) -> str:
    """Return a text with ``PlanifiÃ©e`` made ``Planifiée`` again; others as they are."""
    if text.isascii():
        return text
    for _ in range(_MOST_TIMES):
        repaired = _MIXED_UP.sub(_put_right, text)
        if repaired == text:
            break
        text = repaired
    return text


def is_damaged(text: str) -> bool:
    """Return whether characters were lost that nobody can bring back (``Planifi\\ufffde``)."""
    return not text.isascii() and _LOST.search(text) is not None


def _put_right(match: re.Match[str]) -> str:
    found = match[0]
    try:
        character = bytes(_BYTE_OF[letter] for letter in found).decode()
    except UnicodeDecodeError:
        return found
    code = ord(character)
    usual = 0xA0 <= code < 0x180 or 0x2010 <= code < 0x2070 or 0x20A0 <= code < 0x2150
    return character if usual else found


@lru_cache(maxsize=65536)
def fold(text: str, *, case: bool = True, accents: bool = True) -> str:
    """Return a text so that two are equal where MySQL's usual collations say so.

    Parameters
    ----------
    case, accents : bool
        Whether upper and lower case, letters with and without accents are the same. Blanks at the
        end never count.
    """
    return _fold(text, case, accents).rstrip(" ")


def _fold(text: str, case: bool, accents: bool) -> str:
    if accents and not text.isascii():
        parts = unicodedata.normalize("NFKD", text)
        text = "".join(letter for letter in parts if not unicodedata.combining(letter))
    return text.casefold() if case else text


class Like:
    """A pattern of SQL's LIKE: ``%`` is anything, ``_`` one character, ``\\`` takes them literally.

    Parameters
    ----------
    pattern : str
        The whole text must match.
    case, accents : bool
        As for `fold`.
    """

    def __init__(self, pattern: str, *, case: bool = True, accents: bool = True) -> None:
        self.pattern, self._case, self._accents = pattern, case, accents
        self._expression = re.compile(self._translate(), re.DOTALL)

    def matches(self, text: str | None) -> bool:
        """Return whether the text matches; nothing (NULL) never does."""
        if text is None:
            return False
        return self._expression.fullmatch(_fold(text, self._case, self._accents)) is not None

    def _translate(self) -> str:
        made, literal = [], False
        for letter in self.pattern:
            if literal or letter not in "%_\\":
                made.append(re.escape(_fold(letter, self._case, self._accents)))
                literal = False
            elif letter == "\\":
                literal = True
            else:
                made.append(".*" if letter == "%" else ".")
        # A backslash at the end stands for itself.
        return "".join(made) + (re.escape("\\") if literal else "")
