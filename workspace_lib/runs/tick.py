"""The scheduler's pure step: what an instant means for the ledger. Done twice, nothing changes.

A tick takes over changed job files, makes due the slots that have come, fires the jobs that are
`on:` others or wait for publications, and turns requests for runs (triggers) into runs. It starts
nothing. Any number of
schedulers may tick one store: each slot is one row, and the first to write it wins.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, or_, select, update

from workspace_lib.clock import iso
from workspace_lib.runs.job_memory import effective_specs, remember_jobs
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.ledger_entries import create_run, create_runs, requeue
from workspace_lib.runs.ledger_queries import known_jobs
from workspace_lib.runs.ledger_rows import end_waiting
from workspace_lib.runs.schedule import due_slots, is_scheduled, newest_slot
from workspace_lib.runs.specs import JobSet
from workspace_lib.runs.states import ACTIVE, ENDED, Cause, event_slot, slot_instant
from workspace_lib.runs.tables import job_states, runs
from workspace_lib.store import triggers
from workspace_lib.store.alarms import raise_alarm
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.publications import events_after, matches

#: A clock that went back further than this has been set; less is the difference of two machines.
CLOCK_TOLERANCE = timedelta(minutes=1)
#: Most gaps recorded one by one after a long outage; older ones are only counted.
GAP_LIMIT = 10_000
#: Publications looked at in one step for each job that waits for them.
_EVENTS = 10_000
#: How the slot of a run after publications begins; the id of the newest of them follows.
_PUBLISHED = "published-"
#: Rows written in one transaction, so that heartbeats need not wait.
_BATCH = 500

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Due:
    """A run that a tick made due."""

    job: str
    slot: str
    run_id: str


@dataclass
class TickReport:
    """What a tick did: runs made due, slots recorded as missed, runs that gave way to newer."""

    now: datetime
    created: list[Due] = field(default_factory=list)
    gaps: int = 0
    coalesced: int = 0
    jobs: int = 0

    @property
    def changed(self) -> bool:
        """Whether the ledger has something new."""
        return bool(self.created or self.gaps or self.coalesced)


def tick(store: Store, jobset: JobSet, now: datetime) -> TickReport:
    """Bring the ledger up to ``now`` and return what that meant."""
    report = TickReport(now)
    remember_jobs(store, jobset, now)
    specs = effective_specs(store, jobset)
    report.jobs = len(specs)
    known = known_jobs(store)
    for name, spec in specs.items():
        if spec.enabled and is_scheduled(spec):
            _take_slots(store, spec, known[name].last_slot, now, report)
    _fire(store, specs, now, report)
    _take_publications(store, specs, now, report)
    _take_triggers(store, specs, jobset, now, report)
    return report


def divide(
    spec: JobSpec, slots: list[datetime], now: datetime
) -> tuple[list[datetime], list[datetime]]:
    """Return which of the slots that have come are to run, and which were missed.

    ``skip`` runs only the newest, and only in time: a live capture cannot be caught up. ``latest``
    runs the newest for all. ``each`` runs them in order, the newest ``max_catch_up`` of them.
    """
    if spec.catch_up == "each":
        return slots[-spec.max_catch_up :], slots[: -spec.max_catch_up]
    if spec.catch_up == "latest":
        return slots[-1:], []
    in_time = now - slots[-1] <= timedelta(seconds=spec.max_lateness_s)
    return (slots[-1:], slots[:-1]) if in_time else ([], slots)


def _take_slots(
    store: Store, spec: JobSpec, last: datetime, now: datetime, report: TickReport
) -> None:
    if last - now > CLOCK_TOLERANCE:
        # Slots that were taken before the clock went back are in the ledger and stay unique.
        _log.warning("%s: the clock went back from %s to %s", spec.name, iso(last), iso(now))
        _move_cursor(store, spec.name, last, now)
        return
    newest = newest_slot(spec, last, now)
    if newest is None:
        return
    slots = [newest] if spec.catch_up == "latest" else due_slots(spec, last, now)
    to_run, missed = divide(spec, slots, now)
    if len(missed) > GAP_LIMIT:
        _log.warning(
            "%s: %d slots before %s were missed and are not recorded one by one",
            spec.name,
            len(missed) - GAP_LIMIT,
            iso(missed[-GAP_LIMIT]),
        )
        missed = missed[-GAP_LIMIT:]
    for start in range(0, len(missed), _BATCH):
        batch = missed[start : start + _BATCH]
        with write(store.control) as connection:
            if not _lock_cursor(connection, spec.name, last):
                return
            report.gaps += _record_gaps(connection, spec, batch, now)
            last = batch[-1]
            _set_cursor(connection, spec.name, last)
    with write(store.control) as connection:
        if not _lock_cursor(connection, spec.name, last):
            return
        report.coalesced += _give_way(connection, spec, slots[-1], now)
        for slot in to_run:
            _make_due(connection, spec, iso(slot), now, report, due=slot)
        _set_cursor(connection, spec.name, slots[-1])


def _record_gaps(
    connection: Connection, spec: JobSpec, slots: list[datetime], now: datetime
) -> int:
    texts = [iso(slot) for slot in slots]
    message = "No scheduler took this slot in time."
    made = create_runs(
        connection, spec, texts, now=now, state="skipped", cause="missed_slot", message=message
    )
    return len(made)


def _make_due(
    connection: Connection,
    spec: JobSpec,
    slot: str,
    now: datetime,
    report: TickReport,
    *,
    due: datetime,
    parameters: Mapping[str, Any] | None = None,
    priority: int = 0,
    lane: int = 0,
) -> str | None:
    """Create one run; with `overlap: skip` a slot is skipped at once while another run goes on."""
    of_schedule = slot_instant(slot) is not None and priority == 0
    if spec.overlap == "skip" and of_schedule and _goes_on(connection, spec.name):
        message = "A run of this job was still going on."
        create_run(
            connection, spec, slot, due=due, now=now, state="skipped", cause="overlap",
            message=message, parameters=parameters,
        )  # fmt: skip
        return None
    run_id = create_run(
        connection, spec, slot, due=due, now=now, parameters=parameters, priority=priority,
        lane=lane,
    )  # fmt: skip
    if run_id is not None:
        report.created.append(Due(spec.name, slot, run_id))
    return run_id


def _give_way(connection: Connection, spec: JobSpec, newest: datetime, now: datetime) -> int:
    """End the runs of older slots that still wait: one run of the newest does for all.

    Not for `each`, and not what somebody asked for (backfill, by hand, an event), nor a run that
    has begun and waits for its next try.
    """
    if spec.catch_up == "each":
        return 0
    waiting = connection.execute(
        select(runs.c.id).where(
            runs.c.job == spec.name,
            runs.c.state == "due",
            runs.c.slot_at < newest,
            runs.c.tries == 0,
            runs.c.priority == 0,
        )
    ).scalars()
    lost = spec.catch_up == "skip" and not _goes_on(connection, spec.name)
    cause: Cause = "missed_slot" if lost else "overlap"
    message = f"It had not begun when the slot {iso(newest)} came."
    return sum(
        end_waiting(connection, run_id, "skipped", cause, message, now) for run_id in waiting.all()
    )


def _goes_on(connection: Connection, job: str) -> bool:
    """Return whether a run of the schedule's lane is active or waits for its next try."""
    begun = or_(runs.c.state.in_(ACTIVE), (runs.c.state == "due") & (runs.c.tries > 0))
    query = select(runs.c.id).where(runs.c.job == job, runs.c.lane == 0, begun).limit(1)
    return connection.execute(query).first() is not None


def _fire(store: Store, specs: Mapping[str, JobSpec], now: datetime, report: TickReport) -> None:
    """Make due the jobs that are `on:` a run that has succeeded, with its slot."""
    after: dict[str, list[JobSpec]] = {}
    for spec in specs.values():
        if spec.on is not None and spec.enabled:
            after.setdefault(spec.on, []).append(spec)
    unfired = runs.c.fired.is_(False) & (runs.c.state == "succeeded")
    with read(store.control) as connection:
        query = select(runs.c.id).where(unfired).order_by(runs.c.ended_at, runs.c.id)
        found = connection.execute(query.limit(_BATCH)).scalars().all()
    for run_id in found:
        with write(store.control) as connection:
            run = connection.execute(
                select(runs).where(runs.c.id == run_id, unfired).with_for_update(skip_locked=True)
            ).first()
            if run is None:
                continue
            done = [
                _fire_one(connection, spec, run, now, report) for spec in after.get(run.job, [])
            ]
            if all(done):
                connection.execute(update(runs).where(runs.c.id == run_id).values(fired=True))


def _fire_one(
    connection: Connection, spec: JobSpec, upstream: Any, now: datetime, report: TickReport
) -> bool:
    """Make one job due after ``upstream``; False to try again when its present run has ended."""
    existing = connection.execute(
        select(runs.c.id, runs.c.state).where(runs.c.job == spec.name, runs.c.slot == upstream.slot)
    ).first()
    lane = spec.lane(upstream.lane - 1) if upstream.lane else 0
    if existing is None:
        if upstream.slot_at is not None and upstream.priority == 0:
            report.coalesced += _give_way(connection, spec, upstream.slot_at, now)
        _make_due(
            connection, spec, upstream.slot, now, report, due=now, priority=upstream.priority,
            lane=lane,
        )  # fmt: skip
        return True
    if existing.state in ACTIVE:
        return False
    if existing.state in ENDED:
        # The slot's inputs have been made anew, so what was made of them is made again.
        requeue(connection, existing.id, now=now, spec=spec, priority=upstream.priority, lane=lane)
        report.created.append(Due(spec.name, upstream.slot, existing.id))
    return True


def _take_publications(
    store: Store, specs: Mapping[str, JobSpec], now: datetime, report: TickReport
) -> None:
    """Make due the jobs that run after publications: once for all that came since the last look."""
    known = known_jobs(store)
    for name, spec in specs.items():
        if not spec.on_published or not spec.enabled:
            continue
        last = known[name].last_event or 0
        with read(store.control) as connection:
            events = events_after(connection, last, limit=_EVENTS)
            own = _runs_of(connection, name, {event.run_id for event in events})
        if not events:
            continue
        wanted = [
            event
            for event in events
            if event.event == "published"
            and event.run_id not in own
            and matches(spec.on_published, event.name)
        ]
        with write(store.control) as connection:
            query = select(job_states.c.last_event).where(job_states.c.job == name)
            seen = connection.execute(query.with_for_update()).scalar_one()
            if (seen or 0) != last:
                continue  # another scheduler was there first
            if wanted and not _waits_for_publications(connection, name):
                slot = event_slot(f"{_PUBLISHED}{wanted[-1].id}")
                _make_due(connection, spec, slot, now, report, due=now)
            connection.execute(
                update(job_states).where(job_states.c.job == name).values(last_event=events[-1].id)
            )


def _runs_of(connection: Connection, job: str, run_ids: set[str | None]) -> set[str]:
    query = select(runs.c.id).where(runs.c.job == job, runs.c.id.in_(run_ids - {None}))
    return set(connection.execute(query).scalars())


def _waits_for_publications(connection: Connection, job: str) -> bool:
    """Return whether such a run has yet to begin: it will see what has been published since."""
    query = select(runs.c.id).where(
        runs.c.job == job,
        runs.c.state == "due",
        runs.c.slot.startswith(event_slot(_PUBLISHED), autoescape=True),
    )
    return connection.execute(query.limit(1)).first() is not None


def _take_triggers(
    store: Store, specs: Mapping[str, JobSpec], jobset: JobSet, now: datetime, report: TickReport
) -> None:
    with read(store.control) as connection:
        asked = triggers.pending(connection)
    for request in asked:
        spec = specs.get(request.job)
        if spec is None and (request.job in jobset.files or not jobset.readable):
            continue  # its file is wrong just now
        if spec is not None and not spec.enabled:
            continue
        with write(store.control) as connection:
            if spec is None or spec.service is not None:
                what = f"{request.job} {'is a service' if spec else 'does not exist'}"
                raise_alarm(
                    connection,
                    f"trigger:{request.job}",
                    wing="runs",
                    severity="warning",
                    message=f"A run was asked for ({request.key}), but the job {what}.",
                    now=now,
                    source=request.job,
                )
                triggers.mark_taken(connection, request.id, None, now)
                continue
            slot = event_slot(request.key)
            _make_due(connection, spec, slot, now, report, due=now, parameters=request.parameters)
            same = select(runs.c.id).where(runs.c.job == spec.name, runs.c.slot == slot)
            triggers.mark_taken(connection, request.id, connection.execute(same).scalar_one(), now)


def _lock_cursor(connection: Connection, job: str, expected: datetime) -> bool:
    """Lock a job's cursor for this transaction; False if another scheduler moved it meanwhile."""
    query = select(job_states.c.last_slot).where(job_states.c.job == job).with_for_update()
    return bool(connection.execute(query).scalar_one() == expected)


def _set_cursor(connection: Connection, job: str, slot: datetime) -> None:
    connection.execute(update(job_states).where(job_states.c.job == job).values(last_slot=slot))


def _move_cursor(store: Store, job: str, last: datetime, now: datetime) -> None:
    with write(store.control) as connection:
        if _lock_cursor(connection, job, last):
            _set_cursor(connection, job, now)
