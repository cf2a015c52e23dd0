"""``workspace up``: the store, the simulators, the jobs once, then everything that stays."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from workspace_lib.errors import ConfigError, WorkspaceError
from workspace_lib.runs.context import use_demo_secrets
from workspace_lib.runs.executors import open_executor
from workspace_lib.runs.executors.local import LocalExecutor
from workspace_lib.runs.specs import load_jobs
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store
from workspace_lib.store.migrate import open_store
from workspace_lib.store.upgrade import upgrade
from workspace_lib.up import parts
from workspace_lib.up.first_runs import (
    Display,
    Outcome,
    jobs_to_run,
    never_succeeded,
    run_jobs,
    summary,
)
from workspace_lib.up.supervisor import PartError, Supervisor

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

log = logging.getLogger(__name__)

LOCK_FILE = "up.lock"


class Workspace:
    """A workspace that is being started, stays up, and ends.

    Parameters
    ----------
    say : callable
        Takes a line for the person at the terminal.
    """

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        self._stop = threading.Event()

    def up(self, *, demo: bool = False, once: bool = False) -> int:
        """Bring the workspace up and stay until a signal comes; returns the exit code.

        Parameters
        ----------
        demo : bool
            Start the simulators, and run the jobs that never succeeded before anything else.
        once : bool
            Run every job once and end: 0 if all succeeded, 1 if not.

        Raises
        ------
        ConfigError
            If the workspace is up already for this site.
        """
        settings = self._settings
        settings.outputs_dir.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(settings.outputs_dir / LOCK_FILE, settings.site_name):
            self._migrate()
            supervisor = Supervisor(self._say, self._stop.is_set)
            with self._signals(), open_store(settings) as store:
                try:
                    return self._live(supervisor, store, demo=demo, once=once)
                except PartError:
                    if self._stop.is_set():
                        return 130
                    raise
                finally:
                    self._end(supervisor, quiet=once)

    def _live(self, supervisor: Supervisor, store: Store, *, demo: bool, once: bool) -> int:
        if demo:
            for wing in parts.simulator_wings():
                if self._stop.is_set():
                    return 130
                where = supervisor.start(parts.simulator(self._settings, wing))
                self._say(f"Simulator {wing}: {where}")
            use_demo_secrets(self._settings)
        code = 0
        if demo or once:
            outcome = self._run_jobs(store, everything=once)
            code = 0 if outcome.succeeded else 1
        if self._stop.is_set():
            return 130
        if once:
            return code
        self._start_servers(supervisor, store)
        supervisor.run(self._stop)
        return 0

    def _migrate(self) -> None:
        done = upgrade(self._settings)
        where = "PostgreSQL" if self._settings.store.url else str(self._settings.outputs_dir)
        if done.before is None:
            self._say(f"Store:     made in {where}")
        elif done.before != done.after:
            self._say(
                f"Store:     moved from {done.before} to {done.after} (backup: {done.backup})"
            )
        else:
            self._say(f"Store:     {where}")

    def _run_jobs(self, store: Store, *, everything: bool) -> Outcome:
        settings = self._settings
        jobset = load_jobs(settings)
        for problem in jobset.problems:
            self._say(f"  ✕ {problem}")
        roots = jobs_to_run(jobset) if everything else never_succeeded(store, jobset)
        if not roots:
            reason = "there are none" if not jobset.specs else "all have succeeded before"
            self._say(f"Jobs:      {reason}")
            return Outcome(problems=[str(problem) for problem in jobset.problems])
        self._say(f"Jobs:      {', '.join(spec.name for spec in roots)}, and what follows them")
        executor = open_executor(settings)
        try:
            outcome = run_jobs(
                settings, store, jobset, roots, executor, Display(), stopped=self._stop.is_set
            )
        finally:
            if self._stop.is_set() and isinstance(executor, LocalExecutor):
                executor.stop()
            executor.close()
        for line in summary(store, outcome):
            self._say(line)
        return outcome

    def _start_servers(self, supervisor: Supervisor, store: Store) -> None:
        from workspace_lib.views.access import make_token

        settings = self._settings
        supervisor.start(parts.scheduler(settings, store))
        self._say("Scheduler: running")
        token, made_up = make_token(settings)
        if (boards := parts.dashboards(settings, token)) is None:
            self._say("Dashboards: not installed (they are in the extra `dashboards`)")
        else:
            where = supervisor.start(boards)
            self._tell_port("dashboards", settings.dashboards.port, where)
            key = f"?token={token}" if made_up else "  (token: as set)"
            self._say(f"Dashboards: {where}{key}")
        port = parts.free_port(settings.web.host, settings.web.port)
        if (front := parts.web_front(settings, port)) is not None:
            try:
                where = supervisor.start(front)
            except WorkspaceError as error:
                self._say(f"Web front: {error}")
            else:
                self._tell_port("web front", settings.web.port, where)
                self._say(f"Web front: {where}")
        self._say("Ctrl-C ends everything.")

    def _tell_port(self, name: str, wanted: int, where: str) -> None:
        if wanted and f":{wanted}/" not in where:
            self._say(f"Port {wanted} is taken; the {name} took the next free one.")

    def _end(self, supervisor: Supervisor, *, quiet: bool) -> None:
        if not quiet:
            self._say("Ending …")
        left = supervisor.stop(after=self._end_runners)
        if left:
            self._say(f"These processes could not be ended: {left}")
        elif not quiet:
            self._say("Ended.")

    def _end_runners(self) -> None:
        # Runs outlive the scheduler on purpose, but not a workspace that somebody closes. Those of
        # dask workers are theirs.
        if self._settings.runs.executor != "local":
            return
        executor = LocalExecutor(self._settings)
        executor.stop()
        executor.close()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        names = [n for n in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, n)]
        numbers = [getattr(signal, name) for name in names]
        before = {number: signal.getsignal(number) for number in numbers}
        for number in numbers:
            signal.signal(number, lambda *_: self._stop.set())
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop(self) -> None:
        """Have `up` end, from another thread."""
        self._stop.set()


@contextlib.contextmanager
def one_at_a_time(path: Path, site: str) -> Iterator[None]:
    """Hold the lock of a site's workspace; the system gives it back however this process ends.

    Raises
    ------
    ConfigError
        If another process holds it.
    """
    with path.open("a+", encoding="utf-8") as stream:
        if not _lock(stream):
            stream.seek(0)
            who = stream.read().strip() or "unknown"
            raise ConfigError(
                f"The workspace of the site {site} is up already (process {who}).",
                where=str(path),
                fix="Use that one, or end it first.",
            )
        stream.seek(0)
        stream.truncate()
        stream.write(str(os.getpid()))
        stream.flush()
        yield


def _lock(stream: IO[str]) -> bool:
    try:
        if sys.platform == "win32":
            stream.seek(1 << 20)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
