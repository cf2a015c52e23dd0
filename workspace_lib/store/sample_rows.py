"""Streams of samples and their hot rows: one packed row per sample in the data database.

A stream has named columns with units, floats or integers. A row's values are packed into one BLOB
of 8 bytes per column: five times as many rows per second as JSON, half the size, and one table for
streams of any width. Missing values are NaN, or the least integer. Columns can be added to a stream
later; older rows are shorter and read as missing there.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    select,
    update,
)

from workspace_lib.clock import SYSTEM_CLOCK, to_us
from workspace_lib.errors import ParameterError, StoreError
from workspace_lib.store.base import Instant, Json, RowId, data_metadata
from workspace_lib.store.upsert import insert_or_ignore

MISSING_INT = -(2**63)
_NAME = re.compile(r"[A-Za-z0-9_][\w.:/-]{0,199}")
_COLUMN = re.compile(r"[A-Za-z_]\w{0,62}")
_RESERVED = {"t", "seq"}

sample_streams = Table(
    "sample_streams",
    data_metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("columns", Json, nullable=False),
    # What tells two rows apart: "t", their time, or "seq", a number the device counts up.
    Column("key", Text, nullable=False),
    Column("step_s", Float),
    Column("created", Instant, nullable=False),
    UniqueConstraint("name"),
)

sample_rows = Table(
    "sample_rows",
    data_metadata,
    Column("stream_id", Integer, primary_key=True),
    Column("key", BigInteger, primary_key=True),
    Column("t", BigInteger, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

sample_segments = Table(
    "sample_segments",
    data_metadata,
    Column("id", RowId, primary_key=True),
    Column("stream_id", Integer, nullable=False, index=True),
    Column("path", Text, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("t_from", Instant, nullable=False),
    Column("t_to", Instant, nullable=False),
    Column("key_from", BigInteger, nullable=False),
    Column("key_to", BigInteger, nullable=False),
    Column("sealed", Instant, nullable=False),
    Column("replaced", Instant),
)

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SampleColumn:
    """One column of a stream; the unit is kept with it, e.g. ``V`` or ``degC``."""

    name: str
    unit: str | None = None
    kind: Literal["float", "int"] = "float"


@dataclass(frozen=True)
class Stream:
    """A registered stream.

    ``key`` says what tells two rows apart: ``t``, their time, or ``seq``, a number the device
    counts up. ``step_s`` is the expected time between two rows [s], by which gaps are judged.
    """

    id: int
    name: str
    columns: tuple[SampleColumn, ...]
    key: Literal["t", "seq"] = "t"
    step_s: float | None = None

    @cached_property
    def packer(self) -> struct.Struct:
        """Packs the values of one row."""
        return struct.Struct("<" + "".join("d" if c.kind == "float" else "q" for c in self.columns))

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The packed row as numpy reads it."""
        kinds = {"float": "<f8", "int": "<i8"}
        return np.dtype([(column.name, kinds[column.kind]) for column in self.columns])

    @cached_property
    def missing(self) -> bytes:
        """A packed row without any value."""
        return self.packer.pack(
            *(math.nan if column.kind == "float" else MISSING_INT for column in self.columns)
        )


class Row(NamedTuple):
    """One sample: time [µs UTC, or an aware datetime], a value per column, perhaps a number."""

    t: int | datetime
    values: Sequence[float | int | None]
    seq: int | None = None


class Appended(NamedTuple):
    """How many rows were new, and how many were there already."""

    inserted: int
    duplicates: int


class HotRows(NamedTuple):
    """Hot rows in the order of their keys: keys, times [µs UTC], packed values."""

    keys: Ints
    t: Ints
    values: npt.NDArray[Any]


def register_stream(
    connection: Connection,
    name: str,
    columns: Sequence[SampleColumn],
    *,
    key: Literal["t", "seq"] = "t",
    step_s: float | None = None,
) -> Stream:
    """Return the stream ``name``, made on first call; further columns may be added at the end.

    Raises
    ------
    ParameterError
        If a name cannot be used.
    StoreError
        If the stream exists with other columns, units or another key.
    """
    _check_names(name, columns)
    known = find_stream(connection, name)
    listed = [{"name": c.name, "unit": c.unit, "kind": c.kind} for c in columns]
    if known is None:
        connection.execute(
            insert_or_ignore(connection, sample_streams).values(
                name=name, columns=listed, key=key, step_s=step_s, created=SYSTEM_CLOCK.now()
            )
        )
        return get_stream(connection, name)
    shared = min(len(known.columns), len(columns))
    if known.key != key or known.columns[:shared] != tuple(columns[:shared]):
        raise StoreError(
            f"The stream {name} exists with other columns, units or another key.",
            where="sample_streams",
            fix="Give the new content a stream of another name.",
        )
    if len(columns) > len(known.columns) or (step_s is not None and step_s != known.step_s):
        longest = listed if len(columns) > len(known.columns) else None
        values: dict[str, Any] = {} if longest is None else {"columns": longest}
        if step_s is not None:
            values["step_s"] = step_s
        change = update(sample_streams).where(sample_streams.c.id == known.id)
        connection.execute(change.values(values))
        return get_stream(connection, name)
    return known


def find_stream(connection: Connection, name: str) -> Stream | None:
    """Return the stream of that name, None when there is none."""
    query = select(sample_streams).where(sample_streams.c.name == name)
    row = connection.execute(query).one_or_none()
    return None if row is None else _stream(row)


def get_stream(connection: Connection, name: str) -> Stream:
    """Return the stream of that name.

    Raises
    ------
    StoreError
        If there is none.
    """
    stream = find_stream(connection, name)
    if stream is None:
        raise StoreError(
            f"There is no stream {name!r}.",
            where="sample_streams",
            fix="It is made by the job that captures it; check the name.",
        )
    return stream


def list_streams(connection: Connection, prefix: str = "") -> list[Stream]:
    """Return all streams whose names begin with ``prefix``, by name."""
    rows = connection.execute(select(sample_streams))
    streams = [_stream(row) for row in rows if row.name.startswith(prefix)]
    return sorted(streams, key=lambda stream: stream.name)


def insert_rows(connection: Connection, stream: Stream, rows: Iterable[Row]) -> Appended:
    """Insert rows within the caller's transaction, so that a cursor can move with them.

    A row whose key is there already is left as it is and counted.

    Raises
    ------
    ParameterError
        If a row does not fit the stream.
    """
    return insert_packed(connection, stream, pack_rows(stream, rows))


def pack_rows(stream: Stream, rows: Iterable[Row]) -> list[tuple[int, int, bytes]]:
    """Return (key, time, packed values) of each row, for `insert_packed`.

    Raises
    ------
    ParameterError
        If a row has another number of values than the stream has columns, a value is no number,
        or the number of a stream with ``seq`` is missing.
    """
    by_seq = stream.key == "seq"
    pack = stream.packer.pack
    gaps = [math.nan if column.kind == "float" else MISSING_INT for column in stream.columns]
    packed = []
    for row in rows:
        t = row.t if isinstance(row.t, int) else to_us(row.t)
        values = row.values
        try:
            if None in values:
                filled = zip(values, gaps, strict=True)
                values = [gap if value is None else value for value, gap in filled]
            payload = pack(*values)
            key = row.seq if by_seq else t
            if key is None:
                raise ValueError("its number is missing")
        except (struct.error, ValueError, TypeError) as error:
            names = ", ".join(column.name for column in stream.columns)
            raise ParameterError(
                f"A row does not fit the stream {stream.name} ({names}): {error}.",
                where=f"t={row.t}",
            ) from error
        packed.append((key, t, payload))
    return packed


def structured(
    stream: Stream, t_us: Ints, values: dict[str, npt.ArrayLike], seq: Ints | None = None
) -> HotRows:
    """Return rows given as one array per column in their packed form; others are missing.

    Raises
    ------
    ParameterError
        If a column is unknown, or the numbers of a stream with ``seq`` are missing.
    """
    unknown = set(values) - {column.name for column in stream.columns}
    if unknown:
        raise ParameterError(f"The stream {stream.name} has no column {min(unknown)!r}.")
    if stream.key == "seq" and seq is None:
        raise ParameterError(f"The rows of the stream {stream.name} need their numbers.")
    t = np.asarray(t_us, dtype=np.int64)
    table = np.frombuffer(stream.missing, dtype=stream.dtype).repeat(len(t))
    for name, column in values.items():
        table[name] = column
    return HotRows(t if stream.key == "t" else np.asarray(seq, dtype=np.int64), t, table)


def pack_arrays(
    stream: Stream, t_us: Ints, values: dict[str, npt.ArrayLike], seq: Ints | None = None
) -> list[tuple[int, int, bytes]]:
    """Return (key, time, packed values) of rows given as arrays; raises as `structured` does."""
    rows = structured(stream, t_us, values, seq)
    buffer, width = rows.values.tobytes(), stream.packer.size
    payloads = (buffer[at : at + width] for at in range(0, len(buffer), width))
    return list(zip(rows.keys.tolist(), rows.t.tolist(), payloads, strict=True))


def insert_packed(
    connection: Connection, stream: Stream, packed: Sequence[tuple[int, int, bytes]]
) -> Appended:
    """Insert packed rows within the caller's transaction; see `insert_rows`."""
    if not packed:
        return Appended(0, 0)
    if connection.dialect.name == "sqlite":
        inserted = connection.exec_driver_sql(
            f"INSERT INTO sample_rows (stream_id, key, t, payload) VALUES ({stream.id}, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            list(packed),
        ).rowcount
    else:
        # One statement with three arrays: twice as fast as a statement per row.
        keys, times, payloads = zip(*packed, strict=True)
        inserted = connection.exec_driver_sql(
            "INSERT INTO sample_rows (stream_id, key, t, payload)"
            f" SELECT {stream.id}, u.key, u.t, u.payload"
            " FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[]) AS u(key, t, payload)"
            " ON CONFLICT DO NOTHING",
            (list(keys), list(times), list(payloads)),
        ).rowcount
    return Appended(inserted, len(packed) - inserted)


def read_hot(
    connection: Connection,
    stream: Stream,
    t_from: int | None = None,
    t_to: int | None = None,
    limit: int | None = None,
) -> HotRows:
    """Return the hot rows with ``t_from`` <= t < ``t_to`` [µs], at most ``limit`` of them."""
    columns = sample_rows.c
    # With time as the key the primary key finds the range.
    time = columns.key if stream.key == "t" else columns.t
    query = select(columns.key, columns.t, columns.payload).where(columns.stream_id == stream.id)
    if t_from is not None:
        query = query.where(time >= t_from)
    if t_to is not None:
        query = query.where(time < t_to)
    rows = connection.execute(query.order_by(columns.key).limit(limit)).all()
    width = stream.packer.size
    payload = b"".join(
        # A column was added after this row was written.
        row[2] if len(row[2]) == width else bytes(row[2]) + stream.missing[len(row[2]) :]
        for row in rows
    )
    return HotRows(
        np.fromiter((row[0] for row in rows), np.int64, len(rows)),
        np.fromiter((row[1] for row in rows), np.int64, len(rows)),
        np.frombuffer(payload, dtype=stream.dtype),
    )


def hot_keys(connection: Connection, stream: Stream, keys: tuple[int, int]) -> Ints:
    """Return the keys of hot rows from the first to the second."""
    key = sample_rows.c.key
    query = select(key).where(sample_rows.c.stream_id == stream.id, key >= keys[0], key <= keys[1])
    return np.array(connection.scalars(query).all(), dtype=np.int64)


def _stream(row: Any) -> Stream:
    columns = tuple(SampleColumn(**column) for column in row.columns)
    return Stream(row.id, row.name, columns, row.key, row.step_s)


def _check_names(name: str, columns: Sequence[SampleColumn]) -> None:
    if not _NAME.fullmatch(name):
        raise ParameterError(
            f"{name!r} cannot name a stream.", fix="Use letters, digits and . _ - : / ."
        )
    names = [column.name for column in columns]
    for column in names:
        if not _COLUMN.fullmatch(column) or column in _RESERVED or names.count(column) > 1:
            raise ParameterError(
                f"{column!r} cannot name a column of {name}.",
                fix="Use letters, digits and _; t and seq are taken; name each once.",
            )
    if not columns:
        raise ParameterError(f"The stream {name} needs at least one column.")
