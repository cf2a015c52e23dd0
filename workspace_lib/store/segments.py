"""Sealing of samples: hot rows become Parquet segments, small segments become one per day.

The file reaches the disk first; then one transaction deletes the hot rows and registers the
segment, so that at every instant each row is in exactly one of the two tiers. No key is in two
live segments. A segment that was replaced lives on for an hour for readers that just found it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sqlalchemy import Connection, delete, insert, select, update

from workspace_lib.clock import SYSTEM_CLOCK, from_us, to_us
from workspace_lib.errors import StoreError
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.sample_rows import (
    Appended,
    HotRows,
    Ints,
    Stream,
    get_stream,
    hot_keys,
    list_streams,
    read_hot,
    sample_rows,
    sample_segments,
    sample_streams,
    structured,
)
from workspace_lib.store.segment_files import (
    FOLDER,
    Segment,
    Written,
    hot_table,
    in_order,
    keys_of,
    live_segments,
    read_segment,
    without,
    write_segment,
)

KEEP_REPLACED_S = 3600.0
# One pass of sealing deletes this many rows in one transaction of about 0.2 s.
_ROWS_PER_PASS = 100_000
# Compaction leaves segments of this size alone and does not make larger ones.
_ROWS_PER_SEGMENT = 2_000_000
_DAY_US = 86_400_000_000
_TRIES = 10

#: Called between the steps with the one just done; tests stop the process there.
after_step: Callable[[str], None] = lambda step: None  # noqa: E731


def seal(
    store: Store, stream: str, before: datetime, *, now: datetime | None = None
) -> list[Segment]:
    """Move the hot rows older than ``before`` into Parquet segments, one or more per UTC day.

    Rows whose key is in a segment already (sent again after sealing) are only removed. Safe to
    repeat, and to run in two processes at once.

    Raises
    ------
    StoreError
        If there is no such stream, or two sealings keep meeting.
    """
    made: list[Segment] = []
    moment = now or SYSTEM_CLOCK.now()
    overtaken = 0
    while overtaken < _TRIES:
        with read(store.data) as connection:
            spec = get_stream(connection, stream)
            hot = read_hot(connection, spec, t_to=to_us(before), limit=_ROWS_PER_PASS)
            if len(hot.keys) == 0:
                return made
            near = live_segments(connection, spec, keys=_range(hot))
        delete_hot = partial(_delete_hot, spec=spec, hot=hot, before=to_us(before))
        try:
            made += _store_rows(store, spec, hot, near, moment, delete_hot)
            overtaken = 0
        except _Overtaken:
            overtaken += 1
    raise StoreError(
        f"The stream {stream} is being sealed by another process.",
        fix="Nothing was lost; let one job seal it.",
    )


def seal_all(
    store: Store, before: datetime, *, prefix: str = "", now: datetime | None = None
) -> int:
    """Seal every stream whose name begins with ``prefix``; returns how many segments were made."""
    with read(store.data) as connection:
        names = [stream.name for stream in list_streams(connection, prefix)]
    return sum(len(seal(store, name, before, now=now)) for name in names)


def import_arrays(
    store: Store,
    stream: str,
    t_us: Ints,
    values: dict[str, npt.ArrayLike],
    seq: Ints | None = None,
    *,
    now: datetime | None = None,
) -> Appended:
    """Write a long finished series straight into segments, past the hot rows.

    For histories and recorded files: many times as fast as `samples.append_arrays`, with the same
    arguments and the same meaning. Rows whose key is there already are counted and left.

    Raises
    ------
    StoreError
        If there is no such stream, or its segments keep changing.
    ParameterError
        If a column is unknown, or the numbers of a stream with ``seq`` are missing.
    """
    with read(store.data) as connection:
        spec = get_stream(connection, stream)
    table = structured(spec, t_us, values, seq)
    # The first of several rows with one key is taken, as `append` does.
    keys, first = np.unique(table.keys, return_index=True)
    rows = HotRows(keys, table.t[first], table.values[first])
    inserted = 0
    for start in range(0, len(keys), _ROWS_PER_SEGMENT):
        some = HotRows(*(part[start : start + _ROWS_PER_SEGMENT] for part in rows))
        made = _import_rows(store, spec, some, now or SYSTEM_CLOCK.now())
        inserted += sum(part.rows for part in made)
    return Appended(inserted, len(table.keys) - inserted)


def _import_rows(store: Store, spec: Stream, rows: HotRows, now: datetime) -> list[Segment]:
    for _ in range(_TRIES):
        with read(store.data) as connection:
            fresh = without(rows, [hot_keys(connection, spec, _range(rows))])
            if len(fresh.keys) == 0:
                return []
            near = live_segments(connection, spec, keys=_range(fresh))
        with suppress(_Overtaken):
            return _store_rows(store, spec, fresh, near, now, lambda connection: None)
    raise StoreError(f"The segments of the stream {spec.name} keep changing.", fix="Try again.")


def compact(
    store: Store, stream: str, *, before: date, now: datetime | None = None
) -> list[Segment]:
    """Merge the small segments of each UTC day before ``before`` into one; returns the new ones."""
    with read(store.data) as connection:
        spec = get_stream(connection, stream)
        segments = live_segments(connection, spec)
    by_day: dict[int, list[Segment]] = {}
    limit = to_us(datetime.fromisoformat(f"{before.isoformat()}T00:00:00+00:00"))
    for segment in segments:
        if segment.t_to < limit and segment.rows < _ROWS_PER_SEGMENT // 2:
            by_day.setdefault(segment.t_from // _DAY_US, []).append(segment)
    made = []
    for group in (part for day in by_day.values() for part in _groups(day)):
        tables = [read_segment(store.outputs, spec, segment) for segment in group]
        table = in_order(pa.concat_tables(tables), spec)
        path = write_segment(store.outputs, spec, table)
        after_step("written")
        with write(store.data) as connection:
            _lock(connection, spec)
            if not _replace(connection, group, now or SYSTEM_CLOCK.now()):
                # Somebody else compacted meanwhile.
                (store.outputs / path.path).unlink(missing_ok=True)
                continue
            made.append(_register(connection, spec, path, now or SYSTEM_CLOCK.now()))
        after_step("committed")
    return made


def clean(
    store: Store, *, now: datetime | None = None, keep_s: float = KEEP_REPLACED_S
) -> list[str]:
    """Remove segments that were replaced ``keep_s`` ago [s], and files that no row names.

    Returns the paths removed, relative to the outputs.
    """
    limit = (now or SYSTEM_CLOCK.now()) - timedelta(seconds=keep_s)
    columns = sample_segments.c
    with write(store.data) as connection:
        connection.execute(
            delete(sample_segments).where(columns.replaced.is_not(None), columns.replaced < limit)
        )
    after_step("forgotten")
    # The files are listed before the table, so that a segment made in between is not taken.
    found = [path for path in (store.outputs / FOLDER).glob("*/*/*") if path.is_file()]
    with read(store.data) as connection:
        known = set(connection.scalars(select(columns.path)))
    removed = []
    for path in found:
        relative = path.relative_to(store.outputs).as_posix()
        # A file that is younger may be about to be registered.
        if relative not in known and time.time() - path.stat().st_mtime >= keep_s:
            path.unlink(missing_ok=True)
            removed.append(relative)
    return sorted(removed)


def _store_rows(
    store: Store,
    spec: Stream,
    rows: HotRows,
    near: list[Segment],
    now: datetime,
    then: Callable[[Connection], None],
) -> list[Segment]:
    """Write rows to segments, but for those in the segments ``near``, and register these.

    ``then`` does what belongs to it in the same transaction.
    """
    fresh = without(
        rows, (keys_of(read_segment(store.outputs, spec, part, []), spec) for part in near)
    )
    written = []
    days = fresh.t // _DAY_US
    for day in np.unique(days):
        some = HotRows(*(part[days == day] for part in fresh))
        written.append(write_segment(store.outputs, spec, in_order(hot_table(spec, some), spec)))
    after_step("written")
    try:
        with write(store.data) as connection:
            _lock(connection, spec)
            now_near = live_segments(connection, spec, keys=_range(rows))
            if [part.id for part in now_near] != [part.id for part in near]:
                raise _Overtaken
            then(connection)
            after_step("deleted")
            made = [_register(connection, spec, part, now) for part in written]
    except _Overtaken:
        for part in written:
            (store.outputs / part.path).unlink(missing_ok=True)
        raise
    after_step("committed")
    return made


class _Overtaken(Exception):
    """Another process sealed or compacted the same rows meanwhile."""


def _delete_hot(connection: Connection, spec: Stream, hot: HotRows, before: int) -> None:
    columns = sample_rows.c
    low, high = int(hot.keys[0]), int(hot.keys[-1])
    with connection.begin_nested() as savepoint:
        gone = connection.execute(
            delete(sample_rows).where(
                columns.stream_id == spec.id,
                columns.key >= low,
                columns.key <= high,
                columns.t < before,
            )
        ).rowcount
        if gone == len(hot.keys):
            return
        # Rows came into the range since it was read: delete only those that were read.
        savepoint.rollback()
    gone = connection.exec_driver_sql(
        f"DELETE FROM sample_rows WHERE stream_id = {spec.id} AND key = "
        + ("?" if connection.dialect.name == "sqlite" else "%s"),
        [(key,) for key in hot.keys.tolist()],
    ).rowcount
    if gone != len(hot.keys):
        raise _Overtaken


def _range(rows: HotRows) -> tuple[int, int]:
    return int(rows.keys[0]), int(rows.keys[-1])


def _lock(connection: Connection, spec: Stream) -> None:
    """Let one process at a time change the segments of a stream (SQLite has one writer anyway)."""
    connection.execute(
        select(sample_streams.c.id).where(sample_streams.c.id == spec.id).with_for_update()
    )


def _replace(connection: Connection, segments: Sequence[Segment], now: datetime) -> bool:
    ids = [segment.id for segment in segments]
    columns = sample_segments.c
    with connection.begin_nested() as savepoint:
        replaced = connection.execute(
            update(sample_segments)
            .where(columns.id.in_(ids), columns.replaced.is_(None))
            .values(replaced=now)
        ).rowcount
        if replaced == len(ids):
            return True
        savepoint.rollback()
    return False


def _register(connection: Connection, spec: Stream, part: Written, now: datetime) -> Segment:
    number = connection.execute(
        insert(sample_segments).values(
            stream_id=spec.id,
            path=part.path,
            rows=part.rows,
            bytes=part.bytes,
            sha256=part.sha256,
            t_from=from_us(part.t_from),
            t_to=from_us(part.t_to),
            key_from=part.key_from,
            key_to=part.key_to,
            sealed=now,
        )
    ).inserted_primary_key
    assert number is not None
    return Segment(
        number[0], part.path, part.rows, part.t_from, part.t_to, part.key_from, part.key_to
    )


def _groups(segments: list[Segment]) -> list[list[Segment]]:
    groups: list[list[Segment]] = [[]]
    for segment in segments:
        rows = sum(member.rows for member in groups[-1])
        if rows + segment.rows > _ROWS_PER_SEGMENT:
            groups.append([])
        groups[-1].append(segment)
    return [group for group in groups if len(group) > 1]
