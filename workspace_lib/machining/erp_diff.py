"""What changed in the ERP since it was read last: compared by key, with a history.

The ERP has no time of change, only a journal that may or may not be written. So every run reads
every row and compares. Nothing is forgotten: a row that is gone stays, marked with when it went.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from workspace_lib.errors import DataQualityError
from workspace_lib.machining.erp_rows import ErpRow, ErpTable, Key, Value

What = Literal["inserted", "changed", "deleted", "restored"]
#: Tables with fewer rows may lose any share of them: one of two is half already.
FEW_ROWS = 10


class SourceShrunken(DataQualityError):
    """The source holds so much less than before that it is not believed; nothing is changed."""


@dataclass(frozen=True, slots=True)
class KeptRow:
    """A row as it was read last: what tells it from another, its values, and when it went."""

    digest: bytes
    row: ErpRow
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One row of the history; ``row`` is what is kept from now on."""

    table: str
    key: Key
    what: What
    at: datetime
    row: ErpRow
    digest: bytes

    def columns(self, table: ErpTable, before: ErpRow | None) -> dict[str, tuple[Value, Value]]:
        """Return the columns that differ from the row before, each with both values."""
        old = before.values if before is not None else (None,) * len(table.columns)
        pairs = zip(table.columns, old, self.row.values, strict=True)
        return {name: (was, now) for name, was, now in pairs if was != now}


class Kept(Protocol):
    """What was kept of the last run, by table."""

    def digests(self, table: str) -> Mapping[Key, bytes]:
        """Return what tells the rows apart that stand in the source as far as is known."""
        ...

    def is_deleted(self, table: str, key: Key) -> bool:
        """Return whether a row is known that was gone."""
        ...

    def row(self, table: str, key: Key) -> ErpRow:
        """Return a row as it was read last."""
        ...


@dataclass
class ErpState:
    """The state in memory: rows by key and the history, plain enough to be stored anywhere."""

    rows: dict[str, dict[Key, KeptRow]] = field(default_factory=dict)
    history: list[Change] = field(default_factory=list)

    def digests(self, table: str) -> dict[Key, bytes]:
        kept = self.rows.get(table, {})
        return {key: row.digest for key, row in kept.items() if row.deleted_at is None}

    def is_deleted(self, table: str, key: Key) -> bool:
        row = self.rows.get(table, {}).get(key)
        return row is not None and row.deleted_at is not None

    def row(self, table: str, key: Key) -> ErpRow:
        return self.rows[table][key].row

    def apply(self, changes: Iterable[Change]) -> None:
        """Take changes over; the same once more changes nothing."""
        for change in changes:
            gone = change.at if change.what == "deleted" else None
            kept = KeptRow(change.digest, change.row, gone)
            rows = self.rows.setdefault(change.table, {})
            if rows.get(change.key) != kept:
                rows[change.key] = kept
                self.history.append(change)

    def plain(self) -> dict[str, Any]:
        """Return the rows as plain values: by table, key and columns."""
        return {
            table: {
                key: {
                    "values": kept.row.values,
                    "raw": dict(kept.row.raw),
                    "deleted_at": kept.deleted_at,
                }
                for key, kept in rows.items()
            }
            for table, rows in self.rows.items()
        }


def refuse_shrunken(table: str, known: int, found: int, most_percent: float) -> None:
    """Raise `SourceShrunken` if a table is empty that was not, or lost too large a share.

    Parameters
    ----------
    known, found : int
        Rows of the last run that stand, and of those how many the source still has [1].
    most_percent : float
        The largest share that may go in one run [%].
    """
    lost = known - found
    if known == 0 or lost <= 0:
        return
    share = 100 * lost / known
    if found == 0 or (known >= FEW_ROWS and share > most_percent):
        raise SourceShrunken(
            f"{lost} of {known} rows are gone ({share:.0f} %), more than {most_percent:g} % at "
            "once: the source is not believed.",
            where=f"table {table}",
            fix="If it is true, run it once with allow_shrink=True.",
        )


def compare(
    table: ErpTable,
    rows: Iterable[ErpRow],
    kept: Kept,
    at: datetime,
    *,
    most_percent: float = 20.0,
    allow_shrink: bool = False,
    counts: Counter[str] | None = None,
) -> Iterator[Change]:
    """Yield what differs between a table's rows and what was kept of them.

    Whoever takes the changes takes them over only when all came: the last may be a refusal.

    Parameters
    ----------
    rows : iterable of ErpRow
        All rows of the table, each key once.
    at : datetime
        When they were read, aware.
    counts : Counter, optional
        Told of rows, and of changes by what they are.

    Raises
    ------
    SourceShrunken
        At the end, if more of the known rows are gone than may be.
    """
    counts = Counter() if counts is None else counts
    known = dict(kept.digests(table.name))
    before = len(known)
    for row in rows:
        counts["rows"] += 1
        digest = row.digest()
        was = known.pop(row.key, None)
        if was == digest:
            continue
        what: What = "changed"
        if was is None:
            what = "restored" if kept.is_deleted(table.name, row.key) else "inserted"
        counts[what] += 1
        yield Change(table.name, row.key, what, at, row, digest)
    if not allow_shrink:
        refuse_shrunken(table.name, before, before - len(known), most_percent)
    for key, digest in known.items():
        counts["deleted"] += 1
        yield Change(table.name, key, "deleted", at, kept.row(table.name, key), digest)
