"""Holding a source's listing against the inventory: what is new, whole, changed or missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import (
    BigInteger,
    Engine,
    RowMapping,
    bindparam,
    literal_column,
    type_coerce,
    update,
)

from workspace_lib.clock import to_us
from workspace_lib.store.engines import read, write
from workspace_lib.store.source_files import (
    DELETED,
    SEEN,
    STABLE,
    FileRow,
    Listed,
    file_row,
    in_scope,
    source_files,
)
from workspace_lib.store.upsert import batches, insert_or_ignore

# A transaction stays short, so that other writers get their turn.
_ROWS_PER_WRITE = 20_000
_MINUTE_US = 60_000_000
_DAY_US = 86_400_000_000


#: Changes size, time and state of a file that was not fetched yet.
CHANGE_OPEN_ROW = (
    update(source_files)
    .where(
        source_files.c.id == bindparam("row"),
        literal_column("state IN ('seen', 'stable')"),
    )
    .values(
        size=bindparam("new_size"),
        modified=bindparam("new_modified"),
        seen=bindparam("new_seen"),
        state=bindparam("new_state"),
    )
)


@dataclass(frozen=True)
class Observation:
    """What a listing told: files to fetch now, and counts.

    ``waiting`` are in the hands of a writer, ``known`` unchanged and fetched, ``new`` new paths or
    new versions, ``vanished`` known files the listing does not show (nothing is done to them).
    """

    to_fetch: list[FileRow]
    waiting: int
    known: int
    new: int
    vanished: int


def observe(
    engine: Engine,
    source: str,
    listed: Iterable[Listed],
    *,
    now: datetime,
    stable_after_s: float,
    scope: str = "",
    limit: int | None = None,
    device_of: Callable[[str], str | None] | None = None,
) -> Observation:
    """Hold a listing against the inventory and say which files to fetch.

    A file is taken when two listings show the same size and time, or when its time is
    ``stable_after_s`` seconds old. Until then it waits. Rows are written in short transactions of
    their own; running it twice changes nothing.

    Parameters
    ----------
    engine : Engine
        The data database (``store.data``).
    source : str
        Name of the source.
    listed : iterable of Listed
        The listing, in any order.
    now : datetime
        The instant of the listing.
    stable_after_s : float
        Age from which a file counts as whole [s]; 0 takes every file at once.
    scope : str
        Beginning of the paths this listing covers; others are not counted as vanished.
    limit : int, optional
        Most files in ``to_fetch``; the others stay stable and come next time.
    device_of : callable, optional
        Gives the device of a path, kept in the row.
    """
    listing = {item.path: item for item in listed}
    known = _known(engine, source, scope)
    now_us, stable_before = to_us(now), to_us(now) - int(stable_after_s * 1_000_000)
    inserts: list[dict[str, Any]] = []
    updates: list[dict[str, Any]] = []
    waiting = unchanged = new = 0
    stable: set[str] = set()
    for path, item in listing.items():
        modified = None if item.modified is None else to_us(item.modified)
        old = known.get(path)
        if old is not None:
            same = old.size == item.size and _same_time(old.modified, modified)
            if old.state not in (SEEN, STABLE, DELETED) and same:
                unchanged += 1
                continue
        else:
            same = False
        whole = stable_after_s == 0 or (modified is not None and modified <= stable_before)
        open_row = old is not None and old.state in (SEEN, STABLE)
        state = STABLE if whole or (open_row and same) else SEEN
        if state == STABLE:
            stable.add(path)
        else:
            waiting += 1
        if open_row:
            assert old is not None
            if not same or old.state != state:
                updates.append(
                    {
                        "row": old.id,
                        "new_size": item.size,
                        "new_modified": old.modified if modified is None else modified,
                        "new_seen": now_us,
                        "new_state": state,
                    }
                )
            continue
        new += 1
        inserts.append(
            {
                "source": source,
                "path": path,
                "version": 1 if old is None else old.version + 1,
                "size": item.size,
                "modified": modified,
                "device": device_of(path) if device_of else None,
                "first_seen": now_us,
                "seen": now_us,
                "state": state,
            }
        )
    for part in batches(inserts, _ROWS_PER_WRITE):
        with write(engine) as connection:
            connection.execute(insert_or_ignore(connection, source_files), list(part))
    for part in batches(updates, _ROWS_PER_WRITE):
        with write(engine) as connection:
            connection.execute(CHANGE_OPEN_ROW, list(part))
    vanished = sum(1 for path, row in known.items() if row.state != DELETED and path not in listing)
    to_fetch: list[FileRow] = []
    if stable:
        with read(engine) as connection:
            query = in_scope(source, scope).where(source_files.c.state == STABLE)
            rows = connection.execute(query.order_by(source_files.c.path)).mappings()
            to_fetch = [file_row(row) for row in islice(_only(rows, stable), limit)]
    return Observation(to_fetch, waiting, unchanged, new, vanished)


@dataclass(frozen=True, slots=True)
class _Known:
    id: int
    version: int
    size: int
    modified: int | None
    state: str


def _known(engine: Engine, source: str, scope: str) -> dict[str, _Known]:
    columns = source_files.c
    query = (
        in_scope(source, scope)
        .with_only_columns(
            columns.path,
            columns.id,
            columns.version,
            columns.size,
            type_coerce(columns.modified, BigInteger),
            columns.state,
        )
        .order_by(columns.path, columns.version)
    )
    with read(engine) as connection:
        # A later version of a path replaces the earlier one.
        return {row[0]: _Known(*row[1:]) for row in connection.execute(query)}


def _same_time(old: int | None, new: int | None) -> bool:
    """Whether two times [µs] can be the same: LIST shows minutes, or for old files only days."""
    if old is None or new is None or old == new:
        return True
    coarse, fine = (old, new) if old < new else (new, old)
    step = _DAY_US if coarse % _DAY_US == 0 else _MINUTE_US
    return coarse % step == 0 and fine - fine % step == coarse


def _only(rows: Iterable[RowMapping], paths: set[str]) -> Iterator[RowMapping]:
    return (row for row in rows if row["path"] in paths)
