"""Pieces of a text as one Arrow array, without a Python object for each."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workspace_lib.machining.encodings import Encoding

Ints = NDArray[np.int64]

#: An element of Arrow's views holds up to so many bytes itself.
_INLINE: Final = 12
_PADDING: Final = 16


def cut_out(text: bytes, begin: Ints, end: Ints, encoding: Encoding) -> Any:
    """Return the pieces of a text of at most 2 GiB as a ``pyarrow.StringArray``.

    Parameters
    ----------
    begin, end : array of int64, shape (pieces,)
        Where each piece begins and ends in ``text`` [bytes].
    """
    # Loaded here: it takes longer than the parsing of a day.
    import pyarrow as pa

    views = pa.Array.from_buffers(
        pa.binary_view(),
        len(begin),
        [None, pa.py_buffer(_views(text, begin, end)), pa.py_buffer(text)],
    )
    if encoding in ("ascii", "utf-8"):
        return views.cast(pa.string())
    _, edges, values = views.cast(pa.binary()).buffers()
    content = values.to_pybytes() if values is not None else b""
    places = np.frombuffer(edges, np.int32)[: len(begin) + 1]
    sizes = _utf8_sizes(encoding)[np.frombuffer(content, np.uint8)]
    grown = np.concatenate(([0], np.cumsum(sizes)))[places].astype(np.int32)
    encoded = content[: places[-1]].decode(encoding).encode()
    return pa.StringArray.from_buffers(len(begin), pa.py_buffer(grown), pa.py_buffer(encoded))


def _views(text: bytes, begin: Ints, end: Ints) -> NDArray[np.uint32]:
    """Return Arrow's views: length, first four bytes, and the place or the other eight bytes."""
    padded = np.frombuffer(text + bytes(_PADDING), np.uint8)
    eights: NDArray[np.uint64] = np.ndarray(len(padded) - 7, "<u8", padded, strides=(1,))
    fours: NDArray[np.uint32] = np.ndarray(len(padded) - 3, "<u4", padded, strides=(1,))
    length = end - begin
    head = eights[begin] & _first_bytes(length, 8)
    tail = fours[begin + 8] & _first_bytes(length - 8, 4).astype(np.uint32)
    inline = length <= _INLINE
    views = np.empty((len(begin), 4), "<u4")
    views[:, 0] = length
    views[:, 1] = head.astype(np.uint32)
    views[:, 2] = np.where(inline, (head >> np.uint64(32)).astype(np.uint32), 0)
    views[:, 3] = np.where(inline, tail, begin.astype(np.uint32))
    return views


def _first_bytes(length: Ints, most: int) -> NDArray[np.uint64]:
    """Return masks of the first bytes of a number, ``most`` of them at most."""
    masks = np.array([(1 << 8 * count) - 1 for count in range(most + 1)], np.uint64)
    return masks[np.clip(length, 0, most)]


def _utf8_sizes(encoding: Encoding) -> Ints:
    """Return how many bytes each byte of an encoding takes in UTF-8."""
    texts = [bytes([byte]).decode(encoding, "replace") for byte in range(256)]
    return np.array([len(text.encode()) for text in texts], np.int64)
