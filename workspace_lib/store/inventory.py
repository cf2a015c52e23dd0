"""Inventory of source files: every file a source ever showed, its versions, and how far each came.

A file is known by source, path and version: when its size or time changes after it was fetched,
the same path gets a new version. A listing never deletes anything here; a file that is missing
from a listing is only counted, because listings lie (lost connections, other options, no rights).

States: ``seen`` (perhaps still being written), ``stable`` (may be fetched), ``fetched`` (its bytes
are in the raw archive, not parsed yet), ``parsed``, ``quarantined`` (could not be parsed; the
reason is in ``message``), ``deleted`` (removed from the source by us after its bytes were
verified).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    bindparam,
    func,
    select,
    update,
)

from workspace_lib.errors import StoreError
from workspace_lib.store import raw
from workspace_lib.store.listings import CHANGE_OPEN_ROW, Observation, observe
from workspace_lib.store.source_files import (
    DELETED,
    FETCHED,
    PARSED,
    QUARANTINED,
    SEEN,
    STABLE,
    STATES,
    TRANSITIONS,
    Fetched,
    FileRow,
    Listed,
    file_row,
    in_scope,
    source_files,
)
from workspace_lib.store.upsert import batches, insert_or_ignore, prefix_end

__all__ = [
    "DELETED",
    "FETCHED",
    "PARSED",
    "QUARANTINED",
    "SEEN",
    "STABLE",
    "STATES",
    "Fetched",
    "FileRow",
    "Listed",
    "Observation",
    "clear_quarantine",
    "count_states",
    "list_files",
    "mark_deleted",
    "mark_parsed",
    "observe",
    "pending",
    "quarantine",
    "register_fetched",
    "replay",
]

_PATHS_PER_QUERY = 500


def register_fetched(
    connection: Connection, source: str, fetched: Sequence[Fetched], now: datetime
) -> int:
    """Record files whose bytes are durably in the raw archive; returns how many became pending.

    Idempotent. A file that was never listed is added. A version whose bytes equal those of the
    version before it takes over that one's state, so that a touched file is not parsed twice.
    """
    current = _current(connection, source, [item.path for item in fetched])
    raw.register(
        connection,
        [
            raw.RawRow(item.raw_ref, item.size, item.sha256)
            for item in fetched
            if item.raw_ref is not None
        ],
    )
    updates: list[dict[str, Any]] = []
    inserts: list[dict[str, Any]] = []
    pending_now = 0
    for item in {item.path: item for item in fetched}.values():
        versions = current.get(item.path, [])
        newest = versions[-1] if versions else None
        before = versions[-2] if len(versions) > 1 else None
        if newest is not None and newest.state not in (SEEN, STABLE):
            if newest.sha256 == item.sha256 and newest.state != DELETED:
                continue
            newest, before = None, newest
        state, message = FETCHED, None
        if (
            before is not None
            and before.sha256 == item.sha256
            and before.state
            in (
                PARSED,
                QUARANTINED,
            )
        ):
            state, message = before.state, f"Same bytes as version {before.version}."
        pending_now += state == FETCHED
        values = {
            "size": item.size,
            "modified": item.modified,
            "sha256": item.sha256,
            "raw_ref": item.raw_ref,
            "state": state,
            "message": message,
            "seen": now,
        }
        if newest is not None:
            values["modified"] = item.modified or newest.modified
            values["device"] = item.device or newest.device
            updates.append({f"new_{key}": value for key, value in values.items()})
            updates[-1]["row"] = newest.id
        else:
            inserts.append(
                {
                    **values,
                    "source": source,
                    "path": item.path,
                    "version": 1 if before is None else before.version + 1,
                    "device": item.device or (before.device if before else None),
                    "first_seen": now,
                }
            )
    if updates:
        connection.execute(_FETCH_OPEN_ROW, updates)
    if inserts:
        connection.execute(insert_or_ignore(connection, source_files), inserts)
    return pending_now


def pending(
    connection: Connection,
    source: str,
    *,
    limit: int,
    after_id: int = 0,
    prefix: str = "",
) -> list[FileRow]:
    """Return files that are fetched and not parsed yet, in the order they came to be known."""
    query = (
        in_scope(source, prefix)
        .where(source_files.c.state == FETCHED, source_files.c.id > after_id)
        .order_by(source_files.c.id)
        .limit(limit)
    )
    return [file_row(row) for row in connection.execute(query).mappings()]


def mark_parsed(connection: Connection, ids: Sequence[int], now: datetime) -> None:
    """Record that the rows of these files are in the store; same transaction as the rows.

    Raises
    ------
    StoreError
        If one of them was not fetched.
    """
    _move(connection, ids, PARSED, now)


def quarantine(connection: Connection, id: int, reason: str, now: datetime) -> None:
    """Put a file aside that cannot be parsed, with the reason; its bytes stay in the archive."""
    _move(connection, [id], QUARANTINED, now, reason)


def mark_deleted(connection: Connection, ids: Sequence[int], now: datetime) -> None:
    """Record that we removed these files from the source; their bytes stay in the archive."""
    _move(connection, ids, DELETED, now)


def replay(
    connection: Connection,
    source: str,
    *,
    prefix: str = "",
    ids: Sequence[int] | None = None,
    now: datetime,
) -> int:
    """Make parsed or quarantined files pending again, by path prefix or by ids; returns how many.

    Only the newest version of each path is taken, unless ``ids`` name others.
    """
    return _reopen(connection, source, (PARSED, QUARANTINED, DELETED), prefix, ids, now)


def clear_quarantine(
    connection: Connection,
    source: str,
    *,
    prefix: str = "",
    ids: Sequence[int] | None = None,
    now: datetime,
) -> int:
    """Make quarantined files pending again, after a reader was repaired; returns how many."""
    return _reopen(connection, source, (QUARANTINED,), prefix, ids, now)


def list_files(
    connection: Connection,
    source: str | None = None,
    *,
    state: str | None = None,
    prefix: str = "",
    limit: int = 100,
) -> list[FileRow]:
    """Return files of the inventory by source and path, for people who look."""
    query = select(source_files)
    if source is not None:
        query = query.where(source_files.c.source == source)
    if state is not None:
        query = query.where(source_files.c.state == state)
    if prefix:
        query = query.where(source_files.c.path >= prefix, source_files.c.path < prefix_end(prefix))
    order = (source_files.c.source, source_files.c.path, source_files.c.version)
    rows = connection.execute(query.order_by(*order).limit(limit)).mappings()
    return [file_row(row) for row in rows]


def count_states(connection: Connection, source: str | None = None) -> dict[str, dict[str, int]]:
    """Return how many files of each source are in each state."""
    query = select(source_files.c.source, source_files.c.state, func.count()).group_by(
        source_files.c.source, source_files.c.state
    )
    if source is not None:
        query = query.where(source_files.c.source == source)
    counts: dict[str, dict[str, int]] = {}
    for name, state, number in connection.execute(query):
        counts.setdefault(name, {})[state] = number
    return counts


_FETCH_OPEN_ROW = CHANGE_OPEN_ROW.values(
    sha256=bindparam("new_sha256"),
    raw_ref=bindparam("new_raw_ref"),
    message=bindparam("new_message"),
    device=bindparam("new_device"),
)


def _current(connection: Connection, source: str, paths: Sequence[str]) -> dict[str, list[FileRow]]:
    found: dict[str, list[FileRow]] = {}
    for part in batches(paths, _PATHS_PER_QUERY):
        query = (
            select(source_files)
            .where(source_files.c.source == source, source_files.c.path.in_(part))
            .order_by(source_files.c.version)
        )
        for row in connection.execute(query).mappings():
            found.setdefault(row["path"], []).append(file_row(row))
    return found


def _move(
    connection: Connection,
    ids: Sequence[int],
    state: str,
    now: datetime,
    message: str | None = None,
) -> None:
    allowed = TRANSITIONS[state]
    values: dict[str, Any] = {"state": state, "seen": now}
    if state != DELETED:
        values["message"] = message
    for part in batches(ids, _PATHS_PER_QUERY):
        moved = connection.execute(
            update(source_files)
            .where(source_files.c.id.in_(part), source_files.c.state.in_(allowed))
            .values(values)
        ).rowcount
        if moved == len(part):
            continue
        query = select(source_files.c.id, source_files.c.state)
        rows = connection.execute(query.where(source_files.c.id.in_(part)))
        there = {row.id: row.state for row in rows}
        wrong = [number for number in part if there.get(number) != state]
        if wrong:
            raise StoreError(
                f"File {wrong[0]} is {there.get(wrong[0], 'unknown')} and cannot become {state}.",
                where="source_files",
                fix=f"A file becomes {state} from: {', '.join(allowed)}.",
            )


def _reopen(
    connection: Connection,
    source: str,
    states: tuple[str, ...],
    prefix: str,
    ids: Sequence[int] | None,
    now: datetime,
) -> int:
    columns = source_files.c
    change = (
        update(source_files)
        .where(columns.source == source, columns.state.in_(states), columns.raw_ref.is_not(None))
        .values(state=FETCHED, seen=now, message=None)
    )
    if ids is not None:
        return sum(
            connection.execute(change.where(columns.id.in_(part))).rowcount
            for part in batches(ids, _PATHS_PER_QUERY)
        )
    later = source_files.alias("later")
    superseded = (
        select(later.c.id)
        .where(
            later.c.source == columns.source,
            later.c.path == columns.path,
            later.c.version > columns.version,
            later.c.raw_ref.is_not(None),
        )
        .exists()
    )
    if prefix:
        change = change.where(columns.path >= prefix, columns.path < prefix_end(prefix))
    return connection.execute(change.where(~superseded)).rowcount
