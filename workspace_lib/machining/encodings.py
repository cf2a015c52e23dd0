"""The encoding of a machine's texts: mark, else strict UTF-8, else cp1252, else latin-1."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

Encoding = Literal["ascii", "utf-8", "cp1252", "latin-1"]

BOM: Final = b"\xef\xbb\xbf"
#: From the one that says least to the one that takes everything.
ENCODINGS: Final[tuple[Encoding, ...]] = ("ascii", "utf-8", "cp1252", "latin-1")

#: Bytes that are no characters of cp1252.
_NOT_CP1252: Final = (b"\x81", b"\x8d", b"\x8f", b"\x90", b"\x9d")


def find_encoding(content: bytes) -> Encoding:
    """Return the first encoding in which all bytes are text; latin-1 takes every byte.

    Examples
    --------
    >>> find_encoding("Arrêt".encode("cp1252"))
    'cp1252'
    """
    if content.isascii():
        return "ascii"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        # Looked for instead of decoded: that takes a tenth of the time.
        return "latin-1" if any(byte in content for byte in _NOT_CP1252) else "cp1252"
    return "utf-8"


def join_encodings(found: Iterable[Encoding]) -> tuple[Encoding, bool]:
    """Return the encoding of a text in parts, and whether the parts disagree on one.

    ASCII agrees with all. Parts that disagree are told by the one that takes most.
    """
    used = {encoding for encoding in found if encoding != "ascii"}
    if not used:
        return "ascii", False
    return max(used, key=ENCODINGS.index), len(used) > 1
