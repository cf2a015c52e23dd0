"""Reading the ledger: one run with its attempts, lists, and how well each job does."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, exists, func, or_, select

from workspace_lib.errors import ParameterError
from workspace_lib.runs.states import ACTIVE, ENDED
from workspace_lib.runs.tables import attempts, job_states, runs, schedulers
from workspace_lib.store.engines import Store, read


@dataclass(frozen=True)
class Attempt:
    """One try of a run."""

    number: int
    state: str
    cause: str | None
    message: str | None
    partial: bool
    last_good: datetime | None
    owner: str
    host: str | None
    pid: int | None
    claimed_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    provenance: Mapping[str, Any] | None
    duration_s: float | None
    cpu_s: float | None
    peak_memory_bytes: int | None
    files: int | None
    bytes: int | None
    rows: int | None


@dataclass(frozen=True)
class Run:
    """One run as the ledger knows it; metrics are those of its newest attempt."""

    id: str
    job: str
    slot: str
    slot_at: datetime | None
    kind: str
    state: str
    cause: str | None
    message: str | None
    partial: bool
    last_good: datetime | None
    attempt: int
    tries: int
    spec: Mapping[str, Any]
    parameters: Mapping[str, Any]
    due_at: datetime
    not_before: datetime
    owner: str | None
    host: str | None
    lease_until: datetime | None
    heartbeat_at: datetime | None
    progress: float | None
    progress_text: str | None
    cancel_by: str | None
    cancel_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    duration_s: float | None
    cpu_s: float | None
    peak_memory_bytes: int | None
    files: int | None
    bytes: int | None
    rows: int | None
    attempts: tuple[Attempt, ...] = field(default=(), compare=False)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it unless somebody asks."""
        return self.state in ENDED


@dataclass(frozen=True)
class Waiting:
    """The run of a job that is to be claimed next."""

    id: str
    job: str
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class Standing:
    """Where a run stands: as much as is needed of many runs at once."""

    id: str
    job: str
    lane: int
    state: str
    not_before: datetime
    spec: Mapping[str, Any]

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it unless somebody asks."""
        return self.state in ENDED


@dataclass(frozen=True)
class JobSummary:
    """How a job did: ended runs, share that succeeded, median duration [s], gaps."""

    job: str
    runs: int
    succeeded: int
    failed: int
    gaps: int
    success_rate: float | None
    median_duration_s: float | None
    last_state: str | None
    last_ended: datetime | None
    last_success: datetime | None


@dataclass(frozen=True)
class SchedulerSeen:
    """A scheduler and when it was last seen."""

    id: str
    host: str
    pid: int
    started_at: datetime
    seen_at: datetime
    stopped_at: datetime | None


_RUN_FIELDS = tuple(name for name in Run.__dataclass_fields__ if name != "attempts")
_ATTEMPT_FIELDS = tuple(Attempt.__dataclass_fields__)


def get_run(store: Store, run_id: str) -> Run | None:
    """Return a run with its attempts, or None."""
    with read(store.control) as connection:
        row = connection.execute(select(runs).where(runs.c.id == run_id)).first()
        if row is None:
            return None
        tries = connection.execute(
            select(attempts).where(attempts.c.run_id == run_id).order_by(attempts.c.number)
        ).all()
    return _run(row, tuple(_attempt(item) for item in tries))


def standings(store: Store, run_ids: Sequence[str]) -> list[Standing]:
    """Return where these runs stand, in their order."""
    query = select(
        runs.c.id, runs.c.job, runs.c.lane, runs.c.state, runs.c.not_before, runs.c.spec
    ).where(runs.c.id.in_(run_ids))
    with read(store.control) as connection:
        found = {row.id: Standing(*row) for row in connection.execute(query)}
    return [found[run_id] for run_id in run_ids if run_id in found]


def find_run(store: Store, job: str, slot: str) -> Run | None:
    """Return the run of a job for a slot (its text), or None."""
    with read(store.control) as connection:
        row = connection.execute(select(runs).where(runs.c.job == job, runs.c.slot == slot)).first()
    return None if row is None else _run(row)


def find_run_id(store: Store, text: str) -> str:
    """Return the id of the run that ``text`` is the beginning of.

    Raises
    ------
    ParameterError
        If there is none, or more than one.
    """
    query = select(runs.c.id).where(runs.c.id.startswith(text, autoescape=True)).order_by(runs.c.id)
    with read(store.control) as connection:
        found = connection.execute(query.limit(5)).scalars().all()
    if text in found or len(found) == 1:
        return text if text in found else str(found[0])
    if not found:
        raise ParameterError(f"There is no run {text!r}.", fix="List them: workspace runs.")
    raise ParameterError(f"{text!r} begins several runs: {', '.join(found)}.", fix="Write more.")


def list_runs(
    store: Store,
    *,
    job: str | None = None,
    states: Sequence[str] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 100,
) -> list[Run]:
    """Return runs, newest first by when they were due, without their attempts."""
    conditions: list[ColumnElement[bool]] = []
    if job is not None:
        conditions.append(runs.c.job == job)
    if states:
        conditions.append(runs.c.state.in_(states))
    if since is not None:
        conditions.append(runs.c.due_at >= since)
    if until is not None:
        conditions.append(runs.c.due_at < until)
    query = (
        select(runs)
        .where(*conditions)
        .order_by(runs.c.due_at.desc(), runs.c.created_at.desc(), runs.c.id.desc())
        .limit(limit)
    )
    with read(store.control) as connection:
        return [_run(row) for row in connection.execute(query)]


def waiting_runs(store: Store, now: datetime) -> list[Waiting]:
    """Return, for each lane of a job without an active run, the run that may start there now.

    A run that waits for its next try comes before younger ones of its job, so that slots which
    must be taken in order are.
    """
    other = runs.alias()
    busy = exists().where(
        other.c.job == runs.c.job, other.c.lane == runs.c.lane, other.c.state.in_(ACTIVE)
    )
    place = func.row_number().over(
        partition_by=(runs.c.job, runs.c.lane),
        order_by=(
            (runs.c.tries > 0).desc(),
            runs.c.priority,
            runs.c.due_at,
            runs.c.slot_at,
            runs.c.created_at,
            runs.c.id,
        ),
    )
    queue = (
        select(runs.c.id, place.label("place"))
        .where(runs.c.state == "due", runs.c.kind == "notebook", ~busy)
        .subquery()
    )
    query = (
        select(runs.c.id, runs.c.job, runs.c.spec)
        .join(queue, queue.c.id == runs.c.id)
        .where(queue.c.place == 1, runs.c.not_before <= now)
        .order_by(runs.c.priority, runs.c.due_at, runs.c.job)
    )
    with read(store.control) as connection:
        return [Waiting(*row) for row in connection.execute(query)]


def count_active(store: Store, host: str | None = None) -> int:
    """Return how many runs of notebooks are active on ``host``, or at all, whoever claimed them."""
    query = (
        select(func.count())
        .select_from(runs)
        .where(runs.c.state.in_(ACTIVE), runs.c.kind == "notebook")
    )
    if host is not None:
        claimed = and_(runs.c.host.is_(None), runs.c.owner.contains(f"@{host}:"))
        query = query.where(or_(runs.c.host == host, claimed))
    with read(store.control) as connection:
        return connection.execute(query).scalar_one()


def cancel_asked(store: Store) -> list[tuple[str, int]]:
    """Return run id and attempt of active runs that somebody asked to cancel."""
    query = select(runs.c.id, runs.c.attempt).where(
        runs.c.state.in_(ACTIVE), runs.c.cancel_at.is_not(None)
    )
    with read(store.control) as connection:
        return [(row.id, row.attempt) for row in connection.execute(query)]


def job_summaries(store: Store, *, since: datetime | None = None) -> dict[str, JobSummary]:
    """Return how each job did, by name; ``since`` leaves out runs that ended before.

    The success rate counts runs that succeeded among those that succeeded, failed, timed out or
    were lost; skipped and cancelled ones are neither. A gap is a slot that was missed.
    """
    recent = [runs.c.ended_at >= since] if since is not None else []
    counts = (
        select(runs.c.job, runs.c.state, runs.c.cause, func.count(), func.max(runs.c.ended_at))
        .where(runs.c.ended_at.is_not(None), *recent)
        .group_by(runs.c.job, runs.c.state, runs.c.cause)
    )
    durations = select(runs.c.job, runs.c.duration_s).where(
        runs.c.state == "succeeded", runs.c.duration_s.is_not(None), *recent
    )
    grouped: dict[str, list[tuple[str, str | None, int, datetime]]] = {}
    took: dict[str, list[float]] = {}
    with read(store.control) as connection:
        for job, state, cause, count, ended in connection.execute(counts):
            grouped.setdefault(job, []).append((state, cause, count, ended))
        for job, duration in connection.execute(durations):
            took.setdefault(job, []).append(duration)
    return {job: _summary(job, rows, took.get(job, [])) for job, rows in sorted(grouped.items())}


def list_schedulers(store: Store) -> list[SchedulerSeen]:
    """Return the schedulers of this store, the one seen last first."""
    query = select(schedulers).order_by(schedulers.c.seen_at.desc())
    with read(store.control) as connection:
        return [SchedulerSeen(**row._mapping) for row in connection.execute(query)]


def scheduler_last_seen(store: Store) -> datetime | None:
    """Return when any scheduler of this store was last seen, or None if never."""
    with read(store.control) as connection:
        seen: datetime | None = connection.execute(
            select(func.max(schedulers.c.seen_at))
        ).scalar_one()
    return seen


def known_jobs(store: Store) -> dict[str, Row[Any]]:
    """Return what the scheduler remembers of each job, by name."""
    with read(store.control) as connection:
        return {row.job: row for row in connection.execute(select(job_states))}


def _summary(
    job: str, rows: list[tuple[str, str | None, int, datetime]], took: list[float]
) -> JobSummary:
    def total(*states: str) -> int:
        return sum(count for state, _, count, _ in rows if state in states)

    succeeded, failed = total("succeeded"), total("failed", "timed_out", "lost")
    ran = [row for row in rows if row[0] != "skipped"]
    last = max(ran, key=lambda row: row[3], default=None)
    return JobSummary(
        job=job,
        runs=succeeded + failed,
        succeeded=succeeded,
        failed=failed,
        gaps=sum(count for state, cause, count, _ in rows if cause == "missed_slot"),
        success_rate=succeeded / (succeeded + failed) if succeeded + failed else None,
        median_duration_s=statistics.median(took) if took else None,
        last_state=last[0] if last else None,
        last_ended=last[3] if last else None,
        last_success=max(
            (ended for state, _, _, ended in rows if state == "succeeded"), default=None
        ),
    )


def _run(row: Row[Any], tries: tuple[Attempt, ...] = ()) -> Run:
    return Run(**{name: row._mapping[name] for name in _RUN_FIELDS}, attempts=tries)


def _attempt(row: Row[Any]) -> Attempt:
    return Attempt(**{name: row._mapping[name] for name in _ATTEMPT_FIELDS})
