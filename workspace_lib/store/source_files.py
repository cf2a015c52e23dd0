"""The table of source files: every file a source ever showed, its versions and states.

`inventory` moves the rows; this module says what they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    RowMapping,
    Select,
    Table,
    Text,
    UniqueConstraint,
    select,
)

from workspace_lib.store.base import Instant, RowId, SortedText, data_metadata
from workspace_lib.store.upsert import prefix_end

SEEN, STABLE, FETCHED, PARSED = "seen", "stable", "fetched", "parsed"
QUARANTINED, DELETED = "quarantined", "deleted"
STATES = (SEEN, STABLE, FETCHED, PARSED, QUARANTINED, DELETED)

#: From which states a file may come into the key's state.
TRANSITIONS: dict[str, tuple[str, ...]] = {
    SEEN: (SEEN, STABLE),
    STABLE: (SEEN, STABLE),
    FETCHED: (SEEN, STABLE, PARSED, QUARANTINED, DELETED),
    PARSED: (FETCHED,),
    QUARANTINED: (FETCHED,),
    DELETED: (FETCHED, PARSED, QUARANTINED),
}

source_files = Table(
    "source_files",
    data_metadata,
    Column("id", RowId, primary_key=True),
    Column("source", Text, nullable=False),
    Column("path", SortedText, nullable=False),
    Column("version", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("modified", Instant),
    Column("sha256", Text),
    Column("device", Text),
    Column("first_seen", Instant, nullable=False),
    Column("seen", Instant, nullable=False),
    Column("state", Text, nullable=False),
    Column("raw_ref", Text),
    Column("message", Text),
    UniqueConstraint("source", "path", "version"),
    Index("ix_source_files_source_state_id", "source", "state", "id"),
)


@dataclass(frozen=True, slots=True)
class Listed:
    """One remote file as a listing shows it: path, size [bytes], time of change where known."""

    path: str
    size: int
    modified: datetime | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """One file that was fetched: its bytes are in the raw archive under ``raw_ref``."""

    path: str
    size: int
    sha256: str
    raw_ref: str | None
    modified: datetime | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class FileRow:
    """One version of one source file."""

    id: int
    source: str
    path: str
    version: int
    size: int
    modified: datetime | None
    sha256: str | None
    device: str | None
    first_seen: datetime
    seen: datetime
    state: str
    raw_ref: str | None
    message: str | None


def in_scope(source: str, prefix: str) -> Select[Any]:
    """Return a query of one source's files whose paths begin with ``prefix``."""
    query = select(source_files).where(source_files.c.source == source)
    if prefix:
        query = query.where(source_files.c.path >= prefix, source_files.c.path < prefix_end(prefix))
    return query


def file_row(row: RowMapping) -> FileRow:
    """Return a row of the table as its dataclass."""
    return FileRow(**row)
