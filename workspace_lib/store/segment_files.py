"""Segment files of samples: finding, writing and reading Parquet files of a stream's rows."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import BigInteger, Connection, and_, or_, select, true, type_coerce

from workspace_lib.clock import from_us
from workspace_lib.errors import StoreError
from workspace_lib.files import atomic_write, safe_name, sha256_bytes
from workspace_lib.store.sample_rows import MISSING_INT, HotRows, Ints, Stream, sample_segments

FOLDER = "data"


@dataclass(frozen=True, slots=True)
class Segment:
    """One Parquet file of a stream: rows from ``t_from`` to ``t_to`` [µs UTC, both inside]."""

    id: int
    path: str
    rows: int
    t_from: int
    t_to: int
    key_from: int
    key_to: int


@dataclass(frozen=True, slots=True)
class Written:
    """A segment's file before it is registered."""

    path: str
    rows: int
    bytes: int
    sha256: str
    t_from: int
    t_to: int
    key_from: int
    key_to: int


def live_segments(
    connection: Connection,
    stream: Stream,
    *,
    times: tuple[int | None, int | None] | None = None,
    keys: tuple[int, int] | None = None,
) -> list[Segment]:
    """Return the segments of a stream by time.

    With ``times`` those with rows from the first to before the second [µs, None is open]; with
    ``keys`` those with keys from the first to the second; with both, those of either.
    """
    columns = sample_segments.c
    query = select(
        columns.id,
        columns.path,
        columns.rows,
        type_coerce(columns.t_from, BigInteger),
        type_coerce(columns.t_to, BigInteger),
        columns.key_from,
        columns.key_to,
    ).where(columns.stream_id == stream.id, columns.replaced.is_(None))
    wanted = []
    if times is not None:
        low, high = times
        after = true() if low is None else columns.t_to >= low
        wanted.append(and_(after, true() if high is None else columns.t_from < high))
    if keys is not None:
        wanted.append(and_(columns.key_to >= int(keys[0]), columns.key_from <= int(keys[1])))
    if wanted:
        query = query.where(or_(*wanted))
    rows = connection.execute(query.order_by(columns.t_from, columns.id))
    return [Segment(*row) for row in rows]


def read_segment(
    outputs: Path,
    stream: Stream,
    segment: Segment,
    columns: Sequence[str] | None = None,
    *,
    t_from: int | None = None,
    t_to: int | None = None,
) -> pa.Table:
    """Return a segment as a table: ``t`` [µs], ``seq`` where the stream has it, the columns.

    Columns that were added to the stream later are null.

    Raises
    ------
    StoreError
        If the file is missing or damaged.
    """
    names = [column.name for column in stream.columns] if columns is None else list(columns)
    keys = ["t"] if stream.key == "t" else ["t", "seq"]
    path = outputs / segment.path
    try:
        with pq.ParquetFile(path, memory_map=True, page_checksum_verification=True) as file:
            there = set(file.schema_arrow.names)
            table = file.read(columns=[*keys, *(name for name in names if name in there)])
    except (OSError, pa.ArrowException) as error:
        raise StoreError(
            f"A segment of the stream {stream.name} cannot be read: {error}.",
            where=str(path),
            fix="Restore the file from a backup.",
        ) from error
    for name in names:
        if name not in there:
            kind = next(column.kind for column in stream.columns if column.name == name)
            empty = pa.nulls(len(table), pa.float64() if kind == "float" else pa.int64())
            table = table.append_column(name, empty)
    table = table.select([*keys, *names]).replace_schema_metadata(None)
    starts_early = t_from is not None and segment.t_from < t_from
    ends_late = t_to is not None and segment.t_to >= t_to
    if starts_early or ends_late:
        t = times(table)
        # Segments are sorted by time.
        low = int(np.searchsorted(t, t_from)) if t_from is not None else 0
        high = int(np.searchsorted(t, t_to)) if t_to is not None else len(t)
        table = table.slice(low, high - low)
    return table


def hot_table(stream: Stream, hot: HotRows, columns: Sequence[str] | None = None) -> pa.Table:
    """Return hot rows as a table like `read_segment` gives."""
    names = [column.name for column in stream.columns] if columns is None else list(columns)
    arrays = [_time_array(hot.t)]
    keys = ["t"]
    if stream.key == "seq":
        arrays.append(pa.array(hot.keys))
        keys.append("seq")
    for name in names:
        values = np.ascontiguousarray(hot.values[name])
        if values.dtype.kind == "f":
            arrays.append(pa.array(values, from_pandas=True))
        else:
            arrays.append(pa.array(values, mask=values == MISSING_INT))
    return pa.table(arrays, names=[*keys, *names])


def times(table: pa.Table) -> Ints:
    """Return the times of a table [µs UTC]."""
    column = table.column("t").combine_chunks()
    return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)


def keys_of(table: pa.Table, stream: Stream) -> Ints:
    """Return what tells the rows apart."""
    if stream.key == "t":
        return times(table)
    return np.asarray(table.column("seq").combine_chunks().to_numpy(), dtype=np.int64)


def without(hot: HotRows, keys: Iterable[Ints]) -> HotRows:
    """Return hot rows except those whose key is among ``keys``."""
    keep = np.ones(len(hot.keys), dtype=bool)
    for some in keys:
        keep &= ~np.isin(hot.keys, some)
    return hot if keep.all() else HotRows(hot.keys[keep], hot.t[keep], hot.values[keep])


def in_order(table: pa.Table, stream: Stream) -> pa.Table:
    """Return the rows of a table by time, then by number."""
    order = (
        [("t", "ascending")] if stream.key == "t" else [("t", "ascending"), ("seq", "ascending")]
    )
    return table.sort_by(order)


def write_segment(outputs: Path, stream: Stream, table: pa.Table) -> Written:
    """Write rows that are in order to a new file, on the disk when this returns."""
    sink = pa.BufferOutputStream()
    encodings = {
        field.name: "BYTE_STREAM_SPLIT"
        if pa.types.is_floating(field.type)
        else "DELTA_BINARY_PACKED"
        for field in table.schema
    }
    # Whoever opens the file by itself finds the stream's name and units in it.
    units = {column.name: column.unit for column in stream.columns}
    pq.write_table(
        table.replace_schema_metadata({"stream": stream.name, "units": json.dumps(units)}),
        sink,
        compression="zstd",
        use_dictionary=False,
        column_encoding=encodings,
        write_page_checksum=True,
    )
    content = sink.getvalue().to_pybytes()
    t, keys = times(table), keys_of(table, stream)
    day = from_us(int(t[0])).date().isoformat()
    name = f"{safe_name(stream.name)}-{stream.id}"
    path = f"{FOLDER}/{name}/{day}/{int(t[0])}-{uuid.uuid4().hex[:8]}.parquet"
    atomic_write(outputs / path, content)
    return Written(
        path,
        len(table),
        len(content),
        sha256_bytes(content),
        int(t[0]),
        int(t[-1]),
        int(keys.min()),
        int(keys.max()),
    )


def _time_array(t: Ints) -> Any:
    return pa.array(t).cast(pa.timestamp("us", tz="UTC"))
