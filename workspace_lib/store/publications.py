"""Publications: what runs have made, and the pointer by which readers find the newest good one.

A run writes artefacts into its own folder (`write_artefact`) and records them (`record`). Only when
it has succeeded does `publish_run` move the published pointers, in the transaction that ends the
run. Readers take `load_published` and see the last good one, never a half or a failed one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    Row,
    Select,
    Table,
    Text,
    UniqueConstraint,
    delete,
    func,
    insert,
    or_,
    select,
    text,
)

from workspace_lib.clock import SYSTEM_CLOCK, iso
from workspace_lib.errors import PublishError
from workspace_lib.store.artefacts import (
    Artefact,
    Kind,
    Unit,
    check_name,
    read_artefact,
    write_artefact,
)
from workspace_lib.store.base import Instant, Json, RowId, control_metadata
from workspace_lib.store.engines import Store, read
from workspace_lib.store.upsert import upsert

__all__ = [
    "Artefact",
    "Publication",
    "Published",
    "artefacts_of_run",
    "check_name",
    "declare",
    "events_after",
    "forget_run",
    "keep_draft",
    "list_published",
    "load_published",
    "matches",
    "newest_event",
    "publish_run",
    "published_runs",
    "record",
    "withdraw",
    "write_artefact",
]

artefacts = Table(
    "artefacts",
    control_metadata,
    Column("id", RowId, primary_key=True),
    Column("name", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("unit", Json),
    Column("as_of", Instant, nullable=False),
    Column("fresh_for_s", Float),
    Column("manifest", Json, nullable=False),
    Column("recorded", Instant, nullable=False),
    UniqueConstraint("run_id", "attempt", "name"),
    Index(None, "name"),
)

published = Table(
    "published",
    control_metadata,
    Column("name", Text, primary_key=True),
    Column("artefact_id", ForeignKey("artefacts.id"), nullable=False),
    Column("fresh_for_s", Float),
    Column("moved", Instant, nullable=False),
)

#: What happened to the pointers, for those who react to it; rows are only added.
publication_events = Table(
    "publication_events",
    control_metadata,
    Column("id", RowId, primary_key=True),
    Column("name", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("run_id", Text),
    Column("attempt", Integer),
    Column("as_of", Instant),
    Column("at", Instant, nullable=False),
)

#: Which job publishes what, as the job files say it, for messages and for the overview.
publishers = Table(
    "publishers",
    control_metadata,
    Column("name", Text, primary_key=True),
    Column("job", Text, nullable=False),
    Index(None, "job"),
)


@dataclass(frozen=True)
class Published:
    """One publication as a reader finds it; ``data`` is read from the disk when asked for."""

    name: str
    kind: Kind
    as_of: datetime
    run_id: str
    attempt: int
    stale: bool
    fresh_for_s: float | None
    unit: Unit
    path: Path
    manifest: dict[str, Any]
    published: datetime | None
    is_draft: bool
    outputs: Path

    @cached_property
    def data(self) -> Any:
        """The content: a frame, a figure (PNG bytes or a plotly figure), a value, a file's path.

        Raises
        ------
        StoreError
            If the file is gone or has changed.
        """
        return read_artefact(self.outputs, self.manifest)

    def file(self, format: str) -> Path:
        """Return the file of one format, such as ``svg`` beside the PNG of a figure.

        Raises
        ------
        PublishError
            If it was not published in that format.
        """
        formats: dict[str, str]
        formats = {item["format"]: item["path"] for item in self.manifest["also"]}
        formats[self.manifest["format"]] = self.manifest["path"]
        if format not in formats:
            known = ", ".join(sorted(formats))
            raise PublishError(f"{self.name} has no {format}.", fix=f"It has: {known}.")
        return self.outputs / formats[format]


@dataclass(frozen=True)
class Publication:
    """An event: the pointer of ``name`` was ``published`` to a run's artefact, or ``withdrawn``."""

    id: int
    name: str
    event: str
    run_id: str | None
    attempt: int | None
    as_of: datetime | None
    at: datetime


# Drafts of notebooks run by hand: seen by the session that made them and by nobody else.
_drafts: dict[tuple[Path, str], Artefact] = {}


def keep_draft(store: Store, artefact: Artefact) -> None:
    """Let `load_published` in this process find ``artefact`` instead of what is published."""
    _drafts[store.outputs, artefact.name] = artefact


def record(
    connection: Connection,
    artefact: Artefact,
    now: datetime,
    *,
    fresh_for_s: float | None = None,
) -> int:
    """Write an artefact into the ledger of artefacts (control); a run may replace its own.

    Returns
    -------
    int
        The artefact's id.

    Raises
    ------
    PublishError
        If that run's attempt has published this name already: what readers see does not change
        behind their back.
    """
    mine = (
        (artefacts.c.run_id == artefact.run_id)
        & (artefacts.c.attempt == artefact.attempt)
        & (artefacts.c.name == artefact.name)
    )
    taken = connection.execute(
        select(published.c.name).join(artefacts, artefacts.c.id == published.c.artefact_id)
        .where(mine)
    ).first()  # fmt: skip
    if taken is not None:
        raise PublishError(
            f"The run {artefact.run_id} has published {artefact.name} already.",
            fix="Start another run.",
        )
    values = {
        "name": artefact.name,
        "run_id": artefact.run_id,
        "attempt": artefact.attempt,
        "kind": artefact.kind,
        "path": artefact.path,
        "sha256": artefact.sha256,
        "bytes": artefact.bytes,
        "unit": artefact.unit,
        "as_of": artefact.as_of,
        "fresh_for_s": fresh_for_s,
        "manifest": artefact.manifest,
        "recorded": now,
    }
    upsert(connection, artefacts, values, key=("run_id", "attempt", "name"))
    return int(connection.execute(select(artefacts.c.id).where(mine)).scalar_one())


def artefacts_of_run(connection: Connection, run_id: str, attempt: int) -> list[Artefact]:
    """Return what one attempt has recorded, by name."""
    rows = connection.execute(
        select(artefacts)
        .where(artefacts.c.run_id == run_id, artefacts.c.attempt == attempt)
        .order_by(artefacts.c.name)
    )
    return [_artefact(row) for row in rows]


def publish_run(
    connection: Connection,
    run_id: str,
    attempt: int,
    now: datetime,
    *,
    fresh_for_s: float | None = None,
    keep_newer: bool = False,
) -> list[str]:
    """Move the published pointers to what one attempt has made; call it only for a success.

    It belongs into the transaction that ends the run. Done twice, the second changes nothing.

    Parameters
    ----------
    fresh_for_s : float, optional
        Age after which these publications are stale [s]; default: as recorded.
    keep_newer : bool
        Leave a pointer alone whose content speaks for a later instant: for a backfill.

    Returns
    -------
    list of str
        The names whose pointer was moved.
    """
    _in_turn(connection)
    moved = []
    made = connection.execute(
        select(artefacts)
        .where(artefacts.c.run_id == run_id, artefacts.c.attempt == attempt)
        .order_by(artefacts.c.name)
    ).all()
    current = _current(connection, [row.name for row in made])
    for row in made:
        before = current.get(row.name)
        if before is not None and before.artefact_id == row.id:
            continue
        if before is not None and keep_newer and row.as_of < before.as_of <= now:
            continue
        limit = row.fresh_for_s if fresh_for_s is None else fresh_for_s
        upsert(
            connection,
            published,
            {"name": row.name, "artefact_id": row.id, "fresh_for_s": limit, "moved": now},
            key=("name",),
        )
        _tell(connection, row.name, "published", now, run_id, attempt, row.as_of)
        moved.append(row.name)
    return moved


def withdraw(connection: Connection, name: str, now: datetime) -> bool:
    """Take a publication away from readers (its device was dismounted); its files stay."""
    _in_turn(connection)
    gone = connection.execute(delete(published).where(published.c.name == name)).rowcount
    if gone:
        _tell(connection, name, "withdrawn", now, None, None, None)
    return bool(gone)


def events_after(connection: Connection, event_id: int = 0, limit: int = 1000) -> list[Publication]:
    """Return the events after the one with ``event_id``, oldest first.

    Events become visible in the order of their ids, so a reader that remembers the last one it
    has seen misses none.
    """
    rows = connection.execute(
        select(publication_events)
        .where(publication_events.c.id > event_id)
        .order_by(publication_events.c.id)
        .limit(limit)
    )
    return [Publication(**row._mapping) for row in rows]


def newest_event(connection: Connection) -> int:
    """Return the id of the newest event; 0 if there is none."""
    return int(connection.execute(select(func.max(publication_events.c.id))).scalar() or 0)


def matches(patterns: Iterable[str], name: str) -> bool:
    """Return whether a publication's name fits one of the patterns (``rain.*``)."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def declare(connection: Connection, job: str, names: Iterable[str]) -> None:
    """Say what ``job`` publishes, in place of what was said of it before."""
    wanted = set(names)
    known = set(
        connection.execute(select(publishers.c.name).where(publishers.c.job == job)).scalars()
    )
    for name in sorted(wanted - known):
        upsert(connection, publishers, {"name": name, "job": job}, key=("name",))
    if gone := known - wanted:
        connection.execute(
            delete(publishers).where(publishers.c.job == job, publishers.c.name.in_(gone))
        )


def published_runs(connection: Connection) -> set[tuple[str, int]]:
    """Return the runs and attempts that readers see: their folders must be kept."""
    rows = connection.execute(
        select(artefacts.c.run_id, artefacts.c.attempt)
        .join(published, published.c.artefact_id == artefacts.c.id)
        .distinct()
    )
    return {(row.run_id, row.attempt) for row in rows}


def forget_run(connection: Connection, run_id: str) -> int:
    """Forget the artefacts of a run whose folder is being removed, except published ones."""
    visible = select(published.c.artefact_id)
    result = connection.execute(
        delete(artefacts).where(artefacts.c.run_id == run_id, artefacts.c.id.not_in(visible))
    )
    return result.rowcount


def load_published(store: Store, name: str, *, now: datetime | None = None) -> Published:
    """Return the publication ``name``: this session's draft, else what the last good run made.

    Raises
    ------
    PublishError
        If it was never published; the job that publishes it is named where it is known.
    """
    check_name(name)
    moment = now or SYSTEM_CLOCK.now()
    if (draft := _drafts.get((store.outputs, name))) is not None:
        return _view(store, draft, moment, moved=None, fresh_for_s=None)
    with read(store.control) as connection:
        row = connection.execute(_published().where(published.c.name == name)).first()
        if row is None:
            raise PublishError(f"{name} was never published.", fix=_advice(connection, name))
    return _found(store, row, moment)


def list_published(
    store: Store, *, prefix: str = "", now: datetime | None = None
) -> list[Published]:
    """Return all publications by name, or those whose name starts with ``prefix``."""
    moment = now or SYSTEM_CLOCK.now()
    query = _published().order_by(published.c.name)
    if prefix:
        query = query.where(published.c.name.startswith(prefix, autoescape=True))
    with read(store.control) as connection:
        rows = connection.execute(query).all()
    return [_found(store, row, moment) for row in rows]


def _published() -> Select[Any]:
    return select(
        artefacts,
        published.c.fresh_for_s.label("limit_s"),
        published.c.moved,
    ).join(artefacts, artefacts.c.id == published.c.artefact_id)


def _current(connection: Connection, names: list[str]) -> dict[str, Any]:
    rows = connection.execute(
        select(published.c.name, published.c.artefact_id, artefacts.c.as_of)
        .join(artefacts, artefacts.c.id == published.c.artefact_id)
        .where(published.c.name.in_(names))
    )
    return {row.name: row for row in rows}


def _in_turn(connection: Connection) -> None:
    """Let the transactions that write events follow one another, as they do on SQLite.

    PostgreSQL gives out ids before the commit: a reader could see an event and never the earlier
    one of a transaction that took longer. It is taken before any row, so nobody waits in a circle.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('publication events'))"))


def _tell(
    connection: Connection,
    name: str,
    event: str,
    now: datetime,
    run_id: str | None,
    attempt: int | None,
    as_of: datetime | None,
) -> None:
    connection.execute(
        insert(publication_events).values(
            name=name, event=event, run_id=run_id, attempt=attempt, as_of=as_of, at=now
        )
    )


def _found(store: Store, row: Row[Any], now: datetime) -> Published:
    return _view(store, _artefact(row), now, moved=row.moved, fresh_for_s=row.limit_s)


def _view(
    store: Store,
    artefact: Artefact,
    now: datetime,
    *,
    moved: datetime | None,
    fresh_for_s: float | None,
) -> Published:
    stale = fresh_for_s is not None and now - artefact.as_of > timedelta(seconds=fresh_for_s)
    return Published(
        name=artefact.name,
        kind=artefact.kind,
        as_of=artefact.as_of,
        run_id=artefact.run_id,
        attempt=artefact.attempt,
        stale=stale,
        fresh_for_s=fresh_for_s,
        unit=artefact.unit,
        path=store.outputs / artefact.path,
        manifest=artefact.manifest,
        published=moved,
        is_draft=moved is None,
        outputs=store.outputs,
    )


def _artefact(row: Row[Any]) -> Artefact:
    return Artefact(
        name=row.name,
        kind=row.kind,
        path=row.path,
        sha256=row.sha256,
        bytes=row.bytes,
        unit=row.unit,
        as_of=row.as_of,
        run_id=row.run_id,
        attempt=row.attempt,
        manifest=row.manifest,
    )


def _advice(connection: Connection, name: str) -> str:
    thing = name.partition("/")[0]
    job = connection.execute(
        select(publishers.c.job)
        .where(or_(publishers.c.name == name, publishers.c.name.in_([thing, f"{thing}/*"])))
        .order_by(publishers.c.name.desc())
    ).scalar()
    made = connection.execute(
        select(artefacts).where(artefacts.c.name == name).order_by(artefacts.c.id.desc())
    ).first()
    advice = f"The job {job} publishes it: workspace run {job}." if job else ""
    if made is not None:
        late = f"The run {made.run_id} made it ({iso(made.recorded)}) but has not succeeded."
        advice = f"{late} {advice}".rstrip()
    return advice or "No job of this site says that it publishes it: see workspace jobs."
