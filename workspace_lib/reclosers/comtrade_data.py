"""The samples of a COMTRADE record (DAT): text or binary, as arrays, without a loop over them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from workspace_lib.errors import FormatError
from workspace_lib.formats import Issue
from workspace_lib.reclosers.comtrade_config import Config
from workspace_lib.reclosers.record import Bits, Floats

#: A DAT in memory.
Content = bytes | memoryview
#: How analog samples lie in binary files, and what stands for a missing one.
_STORED: Final[dict[str, tuple[str, float]]] = {
    "BINARY": ("<i2", -(2.0**15)),
    "BINARY32": ("<i4", -(2.0**31)),
    "FLOAT32": ("<f4", float(-np.finfo(np.float32).max)),
}
#: What stands for a missing sample in text.
_MISSING_TEXT: Final = 99_999.0
#: A time that is not given, in binary files.
_NO_TIME: Final = 0xFFFFFFFF
#: Samples are numbers: a byte that belongs to none is damage, whatever its encoding.
_ASCII: Final = bytes(byte if byte < 128 else ord("?") for byte in range(256))
#: Values scaled at once: they stay in the processor's cache, and all that is in use beside the
#: values stays below them, or the system takes the memory back after each file and gives it anew.
_CHUNK: Final = 16_384


@dataclass(frozen=True)
class Samples:
    """Samples of a record.

    ``values`` of shape (samples, analog) in the units of the channels, NaN where missing; ``bits``
    of shape (samples, digital); ``ticks`` are times as stored, None where they are not given.
    """

    values: Floats
    bits: Bits
    ticks: NDArray[Any] | None


def parse_data(content: Content, config: Config, name: str = "") -> tuple[Samples, list[Issue]]:
    """Parse a DAT.

    Raises
    ------
    FormatError
        If there is not one whole sample.
    """
    issues: list[Issue] = []
    read = _text if config.data_type == "ASCII" else _binary
    samples = read(content, config, name, issues)
    if not len(samples.values):
        raise FormatError(
            "There is not one whole sample.",
            where=name or None,
            fix="Fetch the record again; its transmission was cut off.",
        )
    return samples, issues


def row_type(config: Config) -> np.dtype[Any]:
    """Return how one sample lies in a binary file."""
    stored, _ = _STORED[config.data_type]
    words = -(-len(config.digital) // 16)
    return np.dtype(
        [
            ("n", "<u4"),
            ("t", "<u4"),
            ("analog", stored, (len(config.analog),)),
            ("bits", "<u2", (words,)),
        ]
    )


def _binary(content: Content, config: Config, name: str, issues: list[Issue]) -> Samples:
    layout = row_type(config)
    count, rest = divmod(len(content), layout.itemsize)
    if rest and bytes(content[-rest:]).strip(b"\x1a\x00"):
        issues.append(
            Issue("trailing_bytes", "warning", name or "data", f"{rest} bytes are no sample.")
        )
    rows = np.frombuffer(content, dtype=layout, count=count)
    words = rows["bits"]
    # All at once, because rows are short; what fills a row's last word is left out of the view.
    packed = np.ascontiguousarray(words).view(np.uint8).reshape(-1)
    bits = np.unpackbits(packed, bitorder="little").reshape(count, words.shape[1] * 16)
    bits = bits[:, : len(config.digital)]
    known = rows["t"] != _NO_TIME
    ticks = rows["t"] if count and known.all() else None
    return Samples(_scaled(rows["analog"], config), bits.view(np.bool_), ticks)


def _scaled(stored: NDArray[Any], config: Config) -> Floats:
    gain, offset = np.array(config.gain), np.array(config.offset)
    missing = -1.0 if config.is_1991 and config.data_type == "BINARY" else None
    if missing is None:
        missing = _STORED[config.data_type][1]
    count, width = stored.shape
    rows = max(1, min(count, _CHUNK // max(1, width)))
    # One long row for numpy: short ones cost more than their values.
    gains, offsets = (np.tile(one, rows) for one in (gain, offset))
    values = np.empty(stored.shape, dtype=np.float64)
    flat = values.reshape(-1)
    for first in range(0, count if width else 0, rows):
        part = np.ascontiguousarray(stored[first : first + rows]).reshape(-1)
        out = flat[first * width :][: len(part)]
        # Damaged floats may be of any size; what they become is seen, not warned of.
        with np.errstate(over="ignore", invalid="ignore"):
            # Turned into floats first: a product that also converts goes through a small buffer.
            out[...] = part
            out *= gains[: len(part)]
            out += offsets[: len(part)]
        if part.dtype.kind == "i" and part.min() > missing:
            continue
        absent = part == part.dtype.type(missing)
        if absent.any():
            out[absent] = np.nan
    return values


def _text(content: Content, config: Config, name: str, issues: list[Issue]) -> Samples:
    body = bytes(content).rstrip(b"\x1a\x00 \r\n\t")
    if not body.isascii():
        body = body.translate(_ASCII)
    width = 2 + len(config.analog) + len(config.digital)
    refused: list[int] = []

    def skip(row: Any) -> str:
        refused.append(row.actual_columns)
        return "skip"

    names = [str(number) for number in range(width)]
    try:
        table = csv.read_csv(
            io.BytesIO(body),
            read_options=csv.ReadOptions(
                column_names=names, use_threads=False, block_size=max(1 << 20, len(body) // 8 + 1)
            ),
            parse_options=csv.ParseOptions(invalid_row_handler=skip, quote_char=False),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.float64()),
                null_values=["", " ", "NaN", "nan"],
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise FormatError(
            f"The samples are no numbers: {str(error).splitlines()[0]}",
            where=name or None,
            fix="Fetch the record again.",
        ) from error
    if refused:
        issues.append(
            Issue(
                "short_row",
                "error",
                name or "data",
                f"{len(refused)} rows have not {width} fields (the first {refused[0]}): left out.",
            )
        )
    columns = [column.to_numpy(zero_copy_only=False) for column in table.columns]
    count = table.num_rows
    analog = len(config.analog)
    values = np.empty((count, analog), dtype=np.float64)
    for number, (gain, offset) in enumerate(zip(config.gain, config.offset, strict=True)):
        stored = columns[2 + number]
        values[:, number] = np.where(stored == _MISSING_TEXT, np.nan, stored * gain + offset)
    bits = np.zeros((count, len(config.digital)), dtype=np.bool_)
    unknown = 0
    for number in range(len(config.digital)):
        states = columns[2 + analog + number]
        bits[:, number] = states == 1
        unknown += int(np.count_nonzero((states != 0) & (states != 1)))
    if unknown:
        said = f"{unknown} states are neither 0 nor 1: taken for 0."
        issues.append(Issue("bad_bits", "warning", name or "data", said))
    ticks = columns[1]
    return Samples(values, bits, None if not count or np.isnan(ticks).any() else ticks)
