"""A day of one gauge as bytes: all rows compressed, the wet ones and the coverage ready to join.

``wet`` and ``covered`` are plain arrays, so that many days are one array by joining their bytes.
``rows`` is a head, then its columns, each stored byte by byte of equal rank (all lowest bytes, then
all second ones ...) and deflated: a day of minutes takes 3 kB instead of 46.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workspace_lib.errors import StoreError
from workspace_lib.rain.analysis import JITTER, US, Ints

DAY_US: Final = 86_400 * US
#: In the column ``wind``: the file says nothing of the wind.
NO_WIND: Final = -(2**31)
#: A row as it is stored: stamp [µs since 1970 UTC], counts [1], battery [V] (NaN: unknown), and
#: the file it came from.
ROW: Final = np.dtype(
    [
        ("t_us", "<i8"),
        ("tips", "<i4"),
        ("wind", "<i4"),
        ("battery_v", "<f8"),
        ("file_id", "<i8"),
    ]
)
#: A row with tips.
WET: Final = np.dtype([("t_us", "<i8"), ("tips", "<i4")])
#: What the calibration made of a row with tips: depth [mm] (NaN: none), `calibration.Flag`.
DEPTH: Final = np.dtype([("rain_mm", "<f8"), ("flags", "u1")])
#: Rows with no pause between them: first and last stamp, and the step each counts [µs].
RUN: Final = np.dtype([("first_us", "<i8"), ("last_us", "<i8"), ("step_us", "<i8")])

_HEAD: Final = struct.Struct("<BBI")  # format, how the battery is written, number of rows
_FORMAT: Final = 1
_AS_VOLTS, _AS_MILLIVOLTS = 0, 1
_UNKNOWN_MV: Final = -(2**31)
#: zlib's usual level takes three times as long, for a twentieth less.
_LEVEL: Final = 3

Rows = NDArray[Any]


def pack_rows(rows: Rows) -> bytes:
    """Return an array of `ROW` as bytes.

    Voltages of whole millivolts, as loggers write them, are kept as such: they take a third.
    """
    volts = rows["battery_v"]
    millivolts, exact = _millivolts(volts)
    battery = millivolts if exact else volts
    columns = (
        np.diff(rows["t_us"], prepend=0),
        np.diff(rows["file_id"], prepend=0),
        rows["tips"],
        rows["wind"],
        battery,
    )
    head = _HEAD.pack(_FORMAT, _AS_MILLIVOLTS if exact else _AS_VOLTS, len(rows))
    return head + zlib.compress(b"".join(_by_rank(column) for column in columns), _LEVEL)


def unpack_rows(content: bytes, where: str = "") -> Rows:
    """Return the array of `ROW` that was packed.

    Raises
    ------
    StoreError
        If the bytes are not those that were stored; ``where`` says whose they are.
    """
    try:
        form, kind, count = _HEAD.unpack_from(content)
        if form != _FORMAT:
            raise ValueError(f"format {form}")
        body = zlib.decompress(content[_HEAD.size :])
        battery_type = "<i4" if kind == _AS_MILLIVOLTS else "<f8"
        stamps, files, tips, wind, battery = _from_ranks(
            body, count, ("<i8", "<i8", "<i4", "<i4", battery_type)
        )
    except (struct.error, zlib.error, ValueError) as error:
        raise StoreError(
            f"The rows of a day cannot be unpacked: {error}.",
            where=where or None,
            fix="Restore a backup, or replay the files of that day.",
        ) from error
    rows = np.empty(count, ROW)
    rows["t_us"], rows["file_id"] = np.cumsum(stamps), np.cumsum(files)
    rows["tips"], rows["wind"] = tips, wind
    if kind == _AS_MILLIVOLTS:
        rows["battery_v"] = np.where(battery == _UNKNOWN_MV, np.nan, battery / 1000.0)
    else:
        rows["battery_v"] = battery
    return rows


def pack_wet(rows: Rows) -> bytes:
    """Return the rows that have tips as the bytes of an array of `WET`."""
    wet = rows[rows["tips"] > 0]
    packed = np.empty(len(wet), WET)
    packed["t_us"], packed["tips"] = wet["t_us"], wet["tips"]
    return packed.tobytes()


def join(blocks: Iterable[bytes], kind: np.dtype[Any]) -> Rows:
    """Return the bytes of many days as one array of `WET`, `RUN` or `DEPTH`."""
    return np.frombuffer(b"".join(blocks), dtype=kind)


def runs_of(t_us: Ints, step_us: int) -> Rows:
    """Return sorted stamps as an array of `RUN`: rows up to 1.5 steps apart belong together."""
    first, last = _runs(t_us, t_us, step_us)
    return _as_runs(first, last, step_us)


def join_runs(runs: Rows, step_us: int) -> Rows:
    """Return runs of successive days, sorted, as one array of `RUN` without cuts at midnight."""
    first, last = _runs(runs["first_us"], runs["last_us"], step_us)
    return _as_runs(first, last, step_us)


def _runs(first: Ints, last: Ints, step_us: int) -> tuple[Ints, Ints]:
    if not len(first):
        return first, last
    pause = first[1:] - last[:-1] > JITTER * step_us
    return first[np.append(True, pause)], last[np.append(pause, True)]


def _as_runs(first: Ints, last: Ints, step_us: int) -> Rows:
    runs = np.empty(len(first), RUN)
    runs["first_us"], runs["last_us"], runs["step_us"] = first, last, step_us
    return runs


def _millivolts(volts: NDArray[np.float64]) -> tuple[NDArray[np.int32], bool]:
    """Return voltages in whole millivolts, and whether they come back from them unchanged."""
    unknown = np.isnan(volts)
    with np.errstate(over="ignore"):
        scaled = np.where(unknown, 0.0, np.rint(volts * 1000.0))
    if np.any(np.abs(scaled) >= 2**31):
        return np.zeros(len(volts), np.int32), False
    exact = bool(np.all(unknown | (scaled / 1000.0 == volts)))
    return np.where(unknown, _UNKNOWN_MV, scaled).astype("<i4"), exact


def _by_rank(column: NDArray[Any]) -> bytes:
    """Return the lowest bytes of all values, then the second ones, and so on."""
    little = np.ascontiguousarray(column.astype(column.dtype.newbyteorder("<"), copy=False))
    return little.view(np.uint8).reshape(-1, little.itemsize).T.tobytes()


def _from_ranks(body: bytes, count: int, kinds: Iterable[str]) -> list[NDArray[Any]]:
    columns, begin = [], 0
    for kind in map(np.dtype, kinds):
        size = kind.itemsize
        ranks = np.frombuffer(body, np.uint8, count * size, begin).reshape(size, count)
        columns.append(np.ascontiguousarray(ranks.T).view(kind).reshape(count))
        begin += count * size
    if begin != len(body):
        raise ValueError(f"{len(body)} bytes instead of {begin}")
    return columns
