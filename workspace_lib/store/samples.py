"""Samples: series of rows in time, from benches at 1 Hz to sensors over years.

New rows enter the hot table and are sealed into Parquet segments; a reader calls `query` and sees
one series, whichever tier a row is in. Writers use `append`, or `sample_writer.Writer` for streams
whose sender waits for an acknowledgement.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sqlalchemy import Engine

from workspace_lib.clock import from_us, to_us
from workspace_lib.errors import ParameterError
from workspace_lib.store.decimate import bucket_edges, extreme_rows, thin
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.sample_rows import (
    Appended,
    HotRows,
    Ints,
    Row,
    SampleColumn,
    Stream,
    find_stream,
    get_stream,
    insert_packed,
    insert_rows,
    list_streams,
    pack_arrays,
    pack_rows,
    read_hot,
    register_stream,
)
from workspace_lib.store.segment_files import (
    Segment,
    hot_table,
    in_order,
    keys_of,
    live_segments,
    read_segment,
    times,
    without,
)
from workspace_lib.store.segments import clean, compact, import_arrays, seal, seal_all
from workspace_lib.store.upsert import batches

__all__ = [
    "Appended",
    "Row",
    "SampleColumn",
    "Segment",
    "Stream",
    "append",
    "append_arrays",
    "clean",
    "compact",
    "coverage",
    "find_stream",
    "get_stream",
    "import_arrays",
    "insert_rows",
    "list_streams",
    "query",
    "register_stream",
    "seal",
    "seal_all",
]

_ROWS_PER_WRITE = 20_000
# A gap is a distance of more than this many steps.
_GAP_STEPS = 1.5


def append(engine: Engine, stream: Stream, rows: Iterable[Row]) -> Appended:
    """Insert rows in short transactions; rows whose key is there already are counted and left.

    Returns when all of them are committed.

    Raises
    ------
    ParameterError
        If a row does not fit the stream; nothing is inserted then.
    """
    return _append_packed(engine, stream, pack_rows(stream, rows))


def append_arrays(
    engine: Engine,
    stream: Stream,
    t_us: Ints,
    values: dict[str, npt.ArrayLike],
    seq: Ints | None = None,
) -> Appended:
    """Insert rows given as one array per column, like `append`; for long series.

    Parameters
    ----------
    engine : Engine
        The data database (``store.data``).
    stream : Stream
        Where they belong.
    t_us : array of int, shape (n,)
        Times [µs UTC].
    values : dict of arrays, each of shape (n,)
        Values by column, NaN where missing; columns left out are missing.
    seq : array of int, shape (n,), optional
        Numbers of the rows, for a stream whose key is ``seq``.
    """
    return _append_packed(engine, stream, pack_arrays(stream, t_us, values, seq))


def query(
    store: Store,
    stream: str,
    t_from: datetime | int | None = None,
    t_to: datetime | int | None = None,
    columns: Sequence[str] | None = None,
    max_points: int | None = None,
) -> pa.Table:
    """Return the rows with ``t_from`` <= t < ``t_to``, by time, from both tiers, each once.

    Parameters
    ----------
    store : Store
        The open store; read-only is enough.
    stream : str
        Name of the stream.
    t_from, t_to : datetime or int, optional
        The range, aware or in microseconds [µs UTC]; None is open.
    columns : sequence of str, optional
        Which columns; all when left out.
    max_points : int, optional
        Most rows returned. A longer series is thinned: of each of many equal time spans the rows
        with the least and the greatest value of each column are kept, unchanged. Spans without
        rows give none.

    Returns
    -------
    pyarrow.Table
        ``t`` (timestamp[us, UTC]), ``seq`` where the stream has it, and the columns, null where a
        value is missing; the unit of each column is in its field's metadata.

    Raises
    ------
    StoreError
        If there is no such stream or a segment is damaged.
    ParameterError
        If a column is unknown, or ``max_points`` is too small for the columns.
    """
    low, high = _us(t_from), _us(t_to)
    spec, hot, segments = _find(store, stream, low, high)
    names = _names(spec, columns)
    parts = _read_parts(store, spec, hot, segments, names, low, high)
    if max_points is None:
        table = pa.concat_tables(parts)
    else:
        span = _span(hot, segments, low, high)
        table = _thinned(parts, names, bucket_edges(*span, max_points, len(names)), max_points)
    return _with_units(_ordered(table, spec), spec)


def coverage(
    store: Store,
    stream: str,
    t_from: datetime | int | None = None,
    t_to: datetime | int | None = None,
    *,
    step_s: float | None = None,
) -> list[tuple[datetime, datetime]]:
    """Return the intervals in which the stream has data, in order; what lies between is missing.

    A row stands for one step from its time on; two rows more than one and a half steps apart have
    a gap between them.

    Parameters
    ----------
    store, stream, t_from, t_to
        As for `query`.
    step_s : float, optional
        Expected time between two rows [s]; the stream's own when left out.

    Raises
    ------
    ParameterError
        If no step is known.
    """
    low, high = _us(t_from), _us(t_to)
    spec, hot, segments = _find(store, stream, low, high)
    step = step_s if step_s is not None else spec.step_s
    if not step or step <= 0:
        raise ParameterError(
            f"The expected step of the stream {stream} is not known.", fix="Give step_s."
        )
    parts = [times(part) for part in _read_parts(store, spec, hot, segments, [], low, high)]
    t = np.sort(np.concatenate(parts))
    if len(t) == 0:
        return []
    step_us = round(step * 1_000_000)
    breaks = np.flatnonzero(np.diff(t) > _GAP_STEPS * step_us)
    starts = t[np.concatenate(([0], breaks + 1))]
    ends = t[np.concatenate((breaks, [len(t) - 1]))] + step_us
    if high is not None:
        ends = np.minimum(ends, high)
    return [
        (from_us(start), from_us(end))
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]


def _append_packed(
    engine: Engine, stream: Stream, packed: Sequence[tuple[int, int, bytes]]
) -> Appended:
    inserted = duplicates = 0
    for part in batches(packed, _ROWS_PER_WRITE):
        with write(engine) as connection:
            done = insert_packed(connection, stream, part)
        inserted += done.inserted
        duplicates += done.duplicates
    return Appended(inserted, duplicates)


def _find(
    store: Store, stream: str, low: int | None, high: int | None
) -> tuple[Stream, HotRows, list[Segment]]:
    """Return the stream, its hot rows without those that are sealed too, and its segments."""
    with read(store.data) as connection:
        spec = get_stream(connection, stream)
        # Hot rows first, then the segments in one look: a sealing in between then shows rows in
        # both tiers, which is mended below; the other order would show them in neither.
        hot = read_hot(connection, spec, low, high)
        keys = (int(hot.keys[0]), int(hot.keys[-1])) if len(hot.keys) else None
        segments = live_segments(connection, spec, times=(low, high), keys=keys)
    if keys is not None:
        first, last = keys
        near = (part for part in segments if part.key_to >= first and part.key_from <= last)
        sealed = (keys_of(read_segment(store.outputs, spec, part, []), spec) for part in near)
        hot = without(hot, sealed)
    inside = [
        part
        for part in segments
        if (low is None or part.t_to >= low) and (high is None or part.t_from < high)
    ]
    return spec, hot, inside


def _read_parts(
    store: Store,
    spec: Stream,
    hot: HotRows,
    segments: Sequence[Segment],
    names: Sequence[str],
    low: int | None,
    high: int | None,
) -> Iterator[pa.Table]:
    for segment in segments:
        yield read_segment(store.outputs, spec, segment, names, t_from=low, t_to=high)
    yield hot_table(spec, hot, names)


def _thinned(
    parts: Iterable[pa.Table], names: Sequence[str], edges: Ints, max_points: int
) -> pa.Table:
    """Return at most ``max_points`` rows; long series are thinned while they are read."""
    kept: list[pa.Table] = []
    waiting: list[pa.Table] = []
    rows = 0
    for part in parts:
        waiting.append(part)
        rows += len(part)
        if rows > max_points:
            kept += [_extremes(table, names, edges) for table in waiting]
            waiting = []
    table = pa.concat_tables(kept + waiting)
    if rows <= max_points:
        return table
    table = table.sort_by("t")
    chosen = thin(times(table), [_floats(table, name) for name in names], edges, max_points)
    return table.take(chosen)


def _extremes(table: pa.Table, names: Sequence[str], edges: Ints) -> pa.Table:
    if len(table) <= 2 * len(names) + 2:
        return table
    t = times(table)
    if np.any(t[1:] < t[:-1]):
        table = table.sort_by("t")
        t = times(table)
    return table.take(extreme_rows(t, [_floats(table, name) for name in names], edges))


def _ordered(table: pa.Table, spec: Stream) -> pa.Table:
    table = table.combine_chunks()
    t = times(table)
    # Segments follow one another in time unless data came late.
    if np.all(t[1:] > t[:-1]):
        return table
    return in_order(table, spec)


def _with_units(table: pa.Table, spec: Stream) -> pa.Table:
    units = {column.name: column.unit for column in spec.columns}
    fields = [
        field.with_metadata({"unit": units[field.name]}) if units.get(field.name) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))


def _span(
    hot: HotRows, segments: Sequence[Segment], low: int | None, high: int | None
) -> tuple[int, int]:
    first = [segment.t_from for segment in segments] + [int(t) for t in hot.t[:1]]
    last = [segment.t_to for segment in segments]
    if len(hot.t):
        first.append(int(hot.t.min()))
        last.append(int(hot.t.max()))
    start, stop = min(first, default=0), max(last, default=0) + 1
    return (
        start if low is None else max(start, low),
        stop if high is None else min(stop, high),
    )


def _names(spec: Stream, columns: Sequence[str] | None) -> list[str]:
    known = [column.name for column in spec.columns]
    if columns is None:
        return known
    unknown = [name for name in columns if name not in known]
    if unknown:
        raise ParameterError(
            f"The stream {spec.name} has no column {unknown[0]!r}.",
            fix=f"Its columns: {', '.join(known)}.",
        )
    return list(dict.fromkeys(columns))


def _floats(table: pa.Table, name: str) -> npt.NDArray[Any]:
    column = table.column(name).combine_chunks()
    if pa.types.is_integer(column.type):
        # Only to find extremes; the rows themselves keep their integers.
        column = column.cast(pa.float64(), safe=False)
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _us(instant: datetime | int | None) -> int | None:
    return to_us(instant) if isinstance(instant, datetime) else instant
