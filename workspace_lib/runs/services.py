"""The supervisor of services: starts each once, watches its heartbeat, restarts it with patience.

A service is a job with ``service: module:function``; each start is a run in the ledger, which lets
only one be active. Its process (`workspace_lib.runs.service_host`) lives on when the scheduler is
killed, and the next supervisor finds it by the ledger. Several may look after one store.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import psutil
from sqlalchemy import Row, select, update

from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.runs import ledger, processes
from workspace_lib.runs.executors.local import detached, runner_environment
from workspace_lib.runs.folders import RunFolders
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.ledger_queries import Run
from workspace_lib.runs.marks import SERVICE_HOST, Place, end_marked, run_marks
from workspace_lib.runs.states import ACTIVE, Claim, Outcome, owner_id
from workspace_lib.runs.tables import services
from workspace_lib.settings import Settings
from workspace_lib.store.alarms import clear_alarm, raise_alarm
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.upsert import upsert

#: A service that has hung so much longer than it may has not ended itself [s].
_MARGIN_S = 5.0
#: States of a service that has a process, as its row in the ledger says.
_UP = ("starting", "running", "stopping")

log = logging.getLogger("workspace_lib.runs.services")


class ServiceSupervisor:
    """Keeps the services of a site alive.

    Parameters
    ----------
    first_wait_s, longest_wait_s : float
        Before a service is started again: the first wait, doubled with each failure up to the
        longest [s].
    stable_s : float
        A service that has run so long counts as well; its failures are forgotten [s].
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        first_wait_s: float = 1.0,
        longest_wait_s: float = 60.0,
        stable_s: float = 60.0,
    ) -> None:
        self._settings = settings
        self._store = store
        self._place = Place.of(settings)
        self._first_wait_s = first_wait_s
        self._longest_wait_s = longest_wait_s
        self._stable_s = stable_s
        self._host = socket.gethostname()
        self._owner = owner_id("services", os.getpid())
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._alarmed: set[str] = set()
        self._well: set[str] = set()

    def step(self, now: datetime, specs: Iterable[JobSpec]) -> None:
        """Look at every service once: start, restart, stop what must be; returns at once."""
        wanted = {spec.name: spec for spec in specs}
        rows = self._rows()
        for child in self._children.values():
            child.poll()  # reaps it
        for job in sorted(rows.keys() - wanted.keys()):
            if rows[job].state != "stopped":
                self._retire(rows[job], now)
        for job, spec in sorted(wanted.items()):
            row = rows.get(job)
            run = self._active(job)
            if run is None:
                self._restart(spec, row, now)
            elif row is None or row.run_id != run.id:
                self._adopt(run)
            else:
                self._look(spec, row, run, now)

    def stop(self) -> None:
        """Stop every service of the site that runs on this machine, and wait for it."""
        rows = [
            row for row in self._rows().values() if self._is_here(row) and self._active(row.job)
        ]
        for row in rows:
            self._ask_to_stop(row)
        end = time.monotonic() + self._settings.runs.grace_s + _MARGIN_S
        while time.monotonic() < end and any(self._lives(row) for row in rows):
            time.sleep(0.05)
        for row in rows:
            self._clean_up(row, "It did not stop and was killed.")
            self._note(row.job, state="stopped", message=None, next_start_at=None)
            self._clear(row.job, SYSTEM_CLOCK.now())

    def _look(self, spec: JobSpec, row: Row[Any], run: Run, now: datetime) -> None:
        """Judge a service that should be running."""
        runs = self._settings.runs
        if not self._is_here(row):
            self._watch_age(row, run, now)
            return
        if not self._lives(row) and not self._has_ended(run):
            self._clean_up(row, f"Its process died{self._how(row)}.")
            self._fail(spec, row, now, f"Its process died{self._how(row)}.")
            return
        age_s = self._watch_age(row, run, now)
        if age_s > runs.service_hung_s + _MARGIN_S:
            reason = f"It hung: no heartbeat for {age_s:.0f} s."
            self._kill(row)
            self._clean_up(row, reason)
            self._fail(spec, row, now, reason)
        elif _fingerprint(JobSpec.from_dict(run.spec)) != _fingerprint(spec):
            if row.state != "stopping":
                log.info("The service %s changed and is started anew.", spec.name)
                self._ask_to_stop(row)
                self._note(row.job, state="stopping", next_start_at=now, message="Changed.")
        elif run.state == "running" and row.state not in ("running", "stopping"):
            self._note(row.job, state="running", message=None)
        elif row.failures and self._is_stable(run, now):
            self._note(row.job, failures=0)

    def _adopt(self, run: Run) -> None:
        """Take note of a start that another supervisor made but has not written down."""
        self._note(
            run.job, state="starting", run_id=run.id, attempt=run.attempt, host=run.host, pid=None
        )

    def _is_stable(self, run: Run, now: datetime) -> bool:
        begun = run.started_at
        return begun is not None and now - begun > timedelta(seconds=self._stable_s)

    def _restart(self, spec: JobSpec, row: Row[Any] | None, now: datetime) -> None:
        """Start a service that does not run, when its wait is over."""
        if row is not None and row.run_id is not None and row.state in _UP:
            # It ended without us: by itself, by its own watchdog, or cancelled by somebody.
            ended = ledger.get_run(self._store, row.run_id)
            if self._is_here(row):
                self._clean_up(row, "It ended.")
            if ended is not None and ended.state in ("succeeded", "cancelled"):
                self._note(spec.name, state="waiting", next_start_at=now)
            else:
                self._fail(spec, row, now, ended.message if ended and ended.message else "Lost.")
            return
        if row is not None and row.next_start_at is not None and row.next_start_at > now:
            self._complain(spec.name, row.message or "It does not run.", row.heartbeat_at, now)
            return
        claim = self._claim(spec, now)
        if claim is None:
            self._note(spec.name, state="waiting", message="It waits for a device or a capacity.")
            return
        again = row is not None and row.run_id is not None and row.state != "stopped"
        self._note(
            spec.name,
            state="starting",
            run_id=claim.run_id,
            attempt=claim.attempt,
            owner=self._owner,
            host=self._host,
            pid=None,
            started_at=now,
            heartbeat_at=now,
            next_start_at=None,
            restarts=row.restarts + 1 if row is not None and again else 0,
            failures=row.failures if row is not None and again else 0,
        )
        self._submit(claim)
        self._note(spec.name, pid=self._children[spec.name].pid)

    def _claim(self, spec: JobSpec, now: datetime) -> Claim | None:
        waiting = ledger.list_runs(self._store, job=spec.name, states=["due"], limit=1)
        if waiting:
            run_id: str | None = waiting[0].id
        else:
            with write(self._store.control) as connection:
                run_id = ledger.create_run(connection, spec, now, due=now, now=now)
        if run_id is None:
            return None
        return ledger.claim_one(
            self._store, run_id, owner=self._owner, now=now, lease_s=self._settings.runs.lease_s
        )

    def _submit(self, claim: Claim) -> None:
        folders = RunFolders(self._settings.outputs_dir, claim.run_id, claim.attempt)
        folders.log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", SERVICE_HOST, *self._place.words]
        marks = run_marks(self._place, claim.run_id, claim.attempt)
        with folders.log.open("ab") as stream:
            self._children[claim.job] = subprocess.Popen(
                [*command, claim.run_id, str(claim.attempt)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                cwd=self._settings.root,
                env={**runner_environment(self._settings), **marks},
                **detached(),
            )
        log.info("Started the service %s (run %s).", claim.job, claim.run_id)

    def _fail(self, spec: JobSpec, row: Row[Any], now: datetime, message: str) -> None:
        failures = row.failures + 1
        wait_s = min(self._first_wait_s * 2 ** min(failures - 1, 30), self._longest_wait_s)
        log.warning("The service %s failed, next start in %g s: %s", spec.name, wait_s, message)
        self._note(
            spec.name,
            state="waiting",
            message=message,
            failures=failures,
            next_start_at=now + timedelta(seconds=wait_s),
        )

    def _retire(self, row: Row[Any], now: datetime) -> None:
        """Stop a service whose job is gone or switched off."""
        if self._is_here(row) and self._lives(row):
            if row.state != "stopping":
                self._ask_to_stop(row)
                self._note(row.job, state="stopping", message="Its job is gone or switched off.")
                return
            longest_s = self._settings.runs.grace_s + _MARGIN_S
            if now - row.changed_at <= timedelta(seconds=longest_s):
                return  # it ends itself, at the latest when its grace is over
            self._kill(row)
        if self._is_here(row) and row.run_id is not None:
            self._clean_up(row, "It was stopped.")
        for waiting in ledger.list_runs(self._store, job=row.job, states=["due"]):
            ledger.request_cancel(self._store, waiting.id, self._owner, now)
        self._note(row.job, state="stopped", next_start_at=None)
        self._clear(row.job, now)

    def _ask_to_stop(self, row: Row[Any]) -> None:
        process = self._process(row)
        if process is None:
            return
        if os.name == "nt":  # where a signal would kill; it reads this with its next heartbeat
            ledger.request_cancel(self._store, row.run_id, self._owner, SYSTEM_CLOCK.now())
            return
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGTERM)

    def _kill(self, row: Row[Any]) -> None:
        process = self._process(row)
        if process is not None:
            child = self._children.get(row.job)
            ours = child if child is not None and child.pid == process.pid else process
            with contextlib.suppress(psutil.Error, subprocess.TimeoutExpired):
                process.kill()
                ours.wait(_MARGIN_S)

    def _clean_up(self, row: Row[Any], reason: str) -> None:
        """End what a service on this machine left behind, and its run in the ledger."""
        end_marked(self._place, row.run_id, row.attempt)
        folders = RunFolders(self._settings.outputs_dir, row.run_id, row.attempt)
        processes.remove_private(folders.private)
        run = ledger.get_run(self._store, row.run_id)
        if run is not None and run.attempt == row.attempt and run.state in ACTIVE:
            outcome = Outcome("lost", "runner_lost", reason)
            ledger.finish(self._store, row.run_id, row.attempt, outcome, SYSTEM_CLOCK.now())

    def _active(self, job: str) -> Run | None:
        """Return the active run of a service, whoever has started it."""
        found = ledger.list_runs(self._store, job=job, states=ACTIVE, limit=1)
        return found[0] if found else None

    def _has_ended(self, run: Run) -> bool:
        now = ledger.get_run(self._store, run.id)
        return now is None or now.ended

    def _is_here(self, row: Row[Any]) -> bool:
        return bool(row.host == self._host)

    def _process(self, row: Row[Any]) -> psutil.Process | None:
        """Return the living process of a service on this machine, checked by its command line."""
        child = self._children.get(row.job)
        pid = row.pid or (child.pid if child is not None else None)
        if pid is None:
            return None
        try:
            process = psutil.Process(pid)
            ours = row.run_id in process.cmdline()
            return process if ours and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None

    def _lives(self, row: Row[Any]) -> bool:
        return self._process(row) is not None

    def _how(self, row: Row[Any]) -> str:
        child = self._children.get(row.job)
        code = child.poll() if child is not None else None
        return "" if code is None else f" (exit code {code})"

    def _watch_age(self, row: Row[Any], run: Run, now: datetime) -> float:
        """Raise or clear the alarm of a stale heartbeat; returns its age [s]."""
        told = row.heartbeat_at or run.started_at or run.created_at
        age_s = (now - told).total_seconds()
        if age_s > self._settings.runs.service_stale_s:
            self._complain(row.job, f"No heartbeat for {age_s:.0f} s.", told, now)
        elif run.state == "running":
            self._clear(row.job, now)
        return float(age_s)

    def _complain(self, job: str, why: str, since: datetime | None, now: datetime) -> None:
        stale = timedelta(seconds=self._settings.runs.service_stale_s)
        if job in self._alarmed or (since is not None and now - since <= stale):
            return
        self._alarmed.add(job)
        self._well.discard(job)
        message = f"The service {job} is not well: {why}"
        log.error("%s", message)
        with write(self._store.control) as connection:
            raise_alarm(
                connection,
                f"service:{job}",
                wing="runs",
                severity="critical",
                message=message,
                now=now,
                source=job,
            )

    def _clear(self, job: str, now: datetime) -> None:
        if job in self._well:
            return
        with write(self._store.control) as connection:
            cleared = clear_alarm(connection, f"service:{job}", now)
        if cleared:
            log.info("The service %s is well again.", job)
        self._alarmed.discard(job)
        self._well.add(job)

    def _rows(self) -> dict[str, Row[Any]]:
        with read(self._store.control) as connection:
            return {row.job: row for row in connection.execute(select(services))}

    def _note(self, job: str, **values: Any) -> None:
        values["changed_at"] = SYSTEM_CLOCK.now()
        with write(self._store.control) as connection:
            known = update(services).where(services.c.job == job).values(values)
            if connection.execute(known).rowcount == 0:
                row = {"job": job, "state": "waiting", **values}
                upsert(connection, services, row, key=("job",))


def _fingerprint(spec: JobSpec) -> str:
    """What a service must be started anew for when it changes."""
    parts = (spec.service, spec.parameters, spec.devices, spec.capacity)
    return json.dumps(parts, sort_keys=True, default=dict)
