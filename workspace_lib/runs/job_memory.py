"""What the scheduler remembers of each job: its last good specification, and what is wrong now."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.ledger_queries import known_jobs
from workspace_lib.runs.ledger_rows import end_waiting
from workspace_lib.runs.schedule import signature
from workspace_lib.runs.specs import JobSet
from workspace_lib.runs.tables import job_states, runs
from workspace_lib.store.alarms import clear_alarm, raise_alarm
from workspace_lib.store.engines import Store, write
from workspace_lib.store.publications import declare, newest_event
from workspace_lib.store.upsert import insert_or_ignore

_log = logging.getLogger(__name__)


def remember_jobs(store: Store, jobset: JobSet, now: datetime) -> list[str]:
    """Take over job files that changed and return the jobs that did.

    A job seen for the first time, or with another schedule, or again after it was away or at rest,
    starts at ``now``: neither slots nor publications of its past are caught up. A wrong file
    leaves the last good specification in force and raises the alarm ``job:<name>`` until it is
    right.
    """
    known = known_jobs(store)
    changed = []
    for name in jobset.files:
        if _differs(known.get(name), jobset, name):
            with write(store.control) as connection:
                if name in jobset.specs:
                    _take_over(connection, jobset.specs[name], now)
                else:
                    _keep_last_good(connection, jobset, name, now)
            changed.append(name)
    if jobset.readable:
        for name in known.keys() - jobset.files.keys():
            if known[name].present:
                with write(store.control) as connection:
                    _retire(connection, name, now)
                changed.append(name)
    return changed


def effective_specs(store: Store, jobset: JobSet) -> dict[str, JobSpec]:
    """Return the specifications in force: those of right files, and the last good of wrong ones."""
    specs = dict(jobset.specs)
    for name, row in known_jobs(store).items():
        wrong = name in jobset.files or not jobset.readable
        if name not in specs and wrong and row.present and row.spec is not None:
            specs[name] = JobSpec.from_dict(row.spec)
    return dict(sorted(specs.items()))


def _differs(row: Row[Any] | None, jobset: JobSet, name: str) -> bool:
    if row is None or not row.present:
        return True
    if name in jobset.specs:
        return not row.valid or bool(row.spec != _plain(jobset.specs[name]))
    return row.valid or bool(row.problems != _problems(jobset, name))


def _take_over(connection: Connection, spec: JobSpec, now: datetime) -> None:
    row = _locked(connection, spec.name, spec.file, now)
    values: dict[str, Any] = {
        "file": spec.file,
        "spec": spec.to_dict(),
        "signature": signature(spec),
        "valid": True,
        "problems": None,
        "present": True,
        "changed_at": now,
    }
    if row.signature != signature(spec) or not row.present:
        values |= {"last_slot": now, "last_event": newest_event(connection)}
    connection.execute(update(job_states).where(job_states.c.job == spec.name).values(values))
    declare(connection, spec.name, spec.publishes)
    clear_alarm(connection, f"job:{spec.name}", now)
    _log.info("job %s taken over from %s", spec.name, spec.file)


def _keep_last_good(connection: Connection, jobset: JobSet, name: str, now: datetime) -> None:
    row = _locked(connection, name, jobset.files[name], now)
    problems = _problems(jobset, name)
    values: dict[str, Any] = {"valid": False, "problems": problems, "changed_at": now}
    if not row.present:
        values |= {"present": True, "spec": None, "signature": None}
    connection.execute(update(job_states).where(job_states.c.job == name).values(values))
    good = row.spec is not None and row.present
    kept = "The last good one stays in force." if good else "It does not run."
    message = f"The job {name} has a wrong file: {'; '.join(problems)} {kept}"
    raise_alarm(
        connection, f"job:{name}", wing="runs", severity="warning", message=message, now=now,
        source=jobset.files[name],
    )  # fmt: skip
    _log.warning("%s", message)


def _retire(connection: Connection, name: str, now: datetime) -> None:
    """Forget a job whose file is gone; what waits of it is cancelled, what runs goes on."""
    connection.execute(
        update(job_states).where(job_states.c.job == name).values(present=False, changed_at=now)
    )
    waiting = select(runs.c.id).where(runs.c.job == name, runs.c.state == "due")
    for run_id in connection.execute(waiting).scalars().all():
        end_waiting(
            connection, run_id, "cancelled", "cancelled", "The job's file was removed.", now
        )
    declare(connection, name, ())
    clear_alarm(connection, f"job:{name}", now)
    _log.info("job %s is gone", name)


def _locked(connection: Connection, name: str, file: str, now: datetime) -> Row[Any]:
    connection.execute(
        insert_or_ignore(connection, job_states).values(
            job=name, file=file, valid=False, present=True, first_seen=now, last_slot=now,
            changed_at=now,
        )
    )  # fmt: skip
    query = select(job_states).where(job_states.c.job == name).with_for_update()
    return connection.execute(query).one()


def _problems(jobset: JobSet, name: str) -> list[str]:
    return [str(problem) for problem in jobset.problems_of(name)]


def _plain(spec: JobSpec) -> Any:
    """Return the specification as it comes back from the store."""
    return json.loads(json.dumps(spec.to_dict()))
