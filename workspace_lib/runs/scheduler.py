"""The scheduler: steps through the ledger again and again, and starts what is due.

Each part of a step stands alone: one that fails is logged, raises the alarm ``scheduler:<part>``
until it works again, and does not keep the others from their work. Several schedulers may share a
store. Ending one leaves the runs under way alone: their runners own them.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from workspace_lib import watchdog
from workspace_lib.clock import SYSTEM_CLOCK, Clock
from workspace_lib.runs import cleaning, ledger
from workspace_lib.runs.executors import can_start, free_places
from workspace_lib.runs.job_memory import effective_specs
from workspace_lib.runs.ledger_queries import cancel_asked
from workspace_lib.runs.specs import JobSet, job_folder, load_jobs
from workspace_lib.runs.states import Claim, owner_id
from workspace_lib.runs.tables import schedulers
from workspace_lib.runs.tick import TickReport, tick
from workspace_lib.settings import Settings
from workspace_lib.store.alarms import clear_alarm, raise_alarm
from workspace_lib.store.engines import Store, write
from workspace_lib.store.upsert import insert_or_replace

if TYPE_CHECKING:
    from workspace_lib.runs.executors import Executor
    from workspace_lib.runs.services import ServiceSupervisor

#: The ledger is told this often that the scheduler lives [s].
SEEN_EVERY_S = 2.0
#: People are told of failures and recoveries this often [s].
NOTIFY_EVERY_S = 5.0
#: A clock that moved so much more or less than time did was set, or the machine slept [s].
CLOCK_JUMP_S = 20.0
#: A claim that could not be started is given back for so long [s].
_START_AGAIN_S = 10.0

T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass
class StepReport:
    """What one step did."""

    now: datetime
    tick: TickReport | None = None
    started: list[Claim] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


class Scheduler:
    """Takes what is due from the ledger and gives it to an executor.

    Parameters
    ----------
    executor : Executor
        Starts the runners.
    services : ServiceSupervisor, optional
        Keeps the services of `service:` jobs alive; without one they rest.
    name : str, optional
        Its name in the ledger; by default one that is unique.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        executor: Executor,
        services: ServiceSupervisor | None = None,
        clock: Clock = SYSTEM_CLOCK,
        *,
        name: str | None = None,
    ) -> None:
        self.owner = name or owner_id("scheduler", os.getpid())
        self._settings = settings
        self._store = store
        self._executor = executor
        self._services = services
        self._clock = clock
        self._jobset = JobSet(readable=False)
        self._fingerprint: object = None
        self._troubles: dict[str, str | None] = {}
        self._last: dict[str, float] = {}
        self._clocks: tuple[datetime, float] | None = None
        self._no_reaping_before = clock.monotonic()
        self._hurried: set[tuple[str, int]] = set()
        self._started_at = clock.now()

    @property
    def jobset(self) -> JobSet:
        """The job files as last read."""
        return self._jobset

    def step(self) -> StepReport:
        """Do everything that is due now, once."""
        now = self._clock.now()
        report = StepReport(now)
        self._watch_clock(now)
        if self._is_time("seen", SEEN_EVERY_S):
            self._part("seen", lambda: self._seen(now), report)
        self._part("reap", lambda: self._reap(now, report), report)
        self._part("jobs", self._load_jobs, report)
        report.tick = self._part("tick", lambda: tick(self._store, self._jobset, now), report)
        self._part("cancel", self._hurry_cancelled, report)
        self._part("start", lambda: self._start(now, report), report)
        if self._services is not None:
            self._part("services", lambda: self._step_services(now), report)
        if self._is_time("notify", NOTIFY_EVERY_S):
            self._part("notify", lambda: self._notify(now), report)
        self._part("cleaning", lambda: self._clean(now), report)
        return report

    def run(self, stop: threading.Event) -> None:
        """Step until ``stop`` is set, then say so in the ledger; runs under way go on."""
        _log.info("%s starts for the site %s", self.owner, self._settings.site_name)
        watchdog.ready()
        try:
            while not stop.is_set():
                began = self._clock.monotonic()
                self.step()
                watchdog.alive()
                spent = self._clock.monotonic() - began
                stop.wait(max(0.0, self._settings.runs.tick_s - spent))
        finally:
            watchdog.stopping()
            self.close()
            _log.info("%s ends", self.owner)

    def close(self) -> None:
        """Stop the services, let go of the runs, and write the end into the ledger."""
        report = StepReport(self._clock.now())
        if self._services is not None:
            self._part("services", self._services.stop, report)
        self._executor.close()
        now = self._clock.now()
        self._part("seen", lambda: self._seen(now, stopped=True), report)

    def _seen(self, now: datetime, *, stopped: bool = False) -> None:
        with write(self._store.control) as connection:
            statement = insert_or_replace(
                connection, schedulers, ("host", "pid", "seen_at", "stopped_at")
            )
            connection.execute(
                statement.values(
                    id=self.owner,
                    host=socket.gethostname(),
                    pid=os.getpid(),
                    started_at=self._started_at,
                    seen_at=now,
                    stopped_at=now if stopped else None,
                )
            )

    def _reap(self, now: datetime, report: StepReport) -> None:
        self._executor.reap()
        # After a jump of the clock every lease looks old; the living get time for a heartbeat.
        if self._clock.monotonic() >= self._no_reaping_before:
            report.lost = ledger.reap(self._store, now)

    def _load_jobs(self) -> None:
        fingerprint = tuple(_fingerprint(self._settings))
        if fingerprint != self._fingerprint:
            self._jobset = load_jobs(self._settings)
            self._fingerprint = fingerprint
            for problem in self._jobset.problems:
                _log.warning("%s", problem)

    def _hurry_cancelled(self) -> None:
        asked = set(cancel_asked(self._store))
        for run_id, attempt in asked - self._hurried:
            self._executor.cancel(run_id, attempt)
        self._hurried = asked

    def _start(self, now: datetime, report: StepReport) -> None:
        claims = ledger.claim(
            self._store,
            owner=self.owner,
            now=now,
            limit=free_places(self._executor, self._settings, self._store),
            can_start=partial(can_start, self._executor),
            lease_s=self._settings.runs.lease_s,
        )
        troubles = []
        for claim in claims:
            try:
                self._executor.submit(claim)
            except Exception as error:  # noqa: BLE001 - the other claims must not wait for a lease
                reason = f"It could not be started ({error})."
                ledger.give_back(self._store, claim, reason, wait_s=_START_AGAIN_S, now=now)
                troubles.append(error)
            else:
                report.started.append(claim)
                _log.info("run %s of %s, slot %s: started", claim.run_id, claim.job, claim.slot)
        if troubles:
            raise troubles[0]

    def _step_services(self, now: datetime) -> None:
        assert self._services is not None
        specs = effective_specs(self._store, self._jobset).values()
        self._services.step(now, [spec for spec in specs if spec.service and spec.enabled])

    def _notify(self, now: datetime) -> None:
        # What tells people is slow to load and needs no place in a tick by cron.
        from workspace_lib.runs.notify import notify_changes

        notify_changes(self._store, self._settings, now)

    def _clean(self, now: datetime) -> None:
        if cleaning.is_due(self._store, now):
            cleaning.clean(self._store, self._settings, now)

    def _watch_clock(self, now: datetime) -> None:
        monotonic = self._clock.monotonic()
        if self._clocks is not None:
            before, then = self._clocks
            jump = (now - before).total_seconds() - (monotonic - then)
            if abs(jump) > CLOCK_JUMP_S:
                _log.warning("the clock was set by %+.0f s, or the machine slept", jump)
                self._no_reaping_before = monotonic + self._settings.runs.lease_s
        self._clocks = (now, monotonic)

    def _is_time(self, what: str, every_s: float) -> bool:
        monotonic = self._clock.monotonic()
        if what in self._last and monotonic - self._last[what] < every_s:
            return False
        self._last[what] = monotonic
        return True

    def _part(self, name: str, action: Callable[[], T], report: StepReport) -> T | None:
        """Do one part of a step; its failure is told and stays its own."""
        try:
            result = action()
        except Exception as error:  # noqa: BLE001 - one part must not keep the others from working
            text = f"{type(error).__name__}: {error}"
            report.failed.append(name)
            if self._troubles.get(name) != text:
                _log.exception("scheduler, part %s", name)
            self._troubles[name] = text
            self._alarm(name, text)
            return None
        if self._troubles.get(name, "") is not None:
            self._alarm(name, None)
            self._troubles[name] = None
        return result

    def _alarm(self, name: str, message: str | None) -> None:
        key, now = f"scheduler:{name}", self._clock.now()
        try:
            with write(self._store.control) as connection:
                if message is None:
                    clear_alarm(connection, key, now)
                else:
                    raise_alarm(
                        connection, key, wing="runs", severity="critical", message=message, now=now,
                        source=self.owner,
                    )  # fmt: skip
        except SQLAlchemyError as error:
            # The store itself is the trouble: the log has to do.
            _log.error("the alarm %s cannot be written: %s", key, error)


def _fingerprint(settings: Settings) -> Iterator[tuple[str, int, int]]:
    """Yield what changes when a job file, or a notebook it is checked against, does."""
    folders: tuple[tuple[Path, str], ...] = (
        (job_folder(settings), "*.y*ml"),
        (settings.notebooks_dir / "jobs", "**/*.ipynb"),
    )
    for folder, pattern in folders:
        yield str(folder), int(folder.is_dir()), 0
        for path in sorted(folder.glob(pattern)):
            try:
                found = path.stat()
            except FileNotFoundError:
                continue  # an editor replaces it just now; the next step sees it
            yield str(path), found.st_mtime_ns, found.st_size
