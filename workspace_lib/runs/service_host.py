"""The process of one service: calls its function, tells that it lives, ends it when it hangs.

``python -m workspace_lib.runs.service_host --site SITE --outputs OUTPUTS RUN_ID ATTEMPT``,
started by the supervisor (`workspace_lib.runs.services`) and living on without it. The function
must call its ``heartbeat`` more often than `runs.service_hung_s` and return soon after its ``stop``
is set.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import importlib
import io
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from workspace_lib import logs, secrets
from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.errors import ConfigError, ParameterError, WorkspaceError
from workspace_lib.files import atomic_write
from workspace_lib.runs import ledger, processes, provenance
from workspace_lib.runs.context import RUN_FILE_VARIABLE, use_demo_secrets
from workspace_lib.runs.folders import RunFolders
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.marks import LEFTOVER_GRACE_S
from workspace_lib.runs.states import Outcome, holder_id
from workspace_lib.runs.tables import services
from workspace_lib.runs.verdict import cause_of_error
from workspace_lib.settings import Settings, load_settings
from workspace_lib.store.engines import Store, write
from workspace_lib.store.migrate import open_store

KILLED_ITSELF = 70
_LONGEST_STATUS = 500
log = logging.getLogger("workspace_lib.runs.service")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one service until it is stopped; 0 if it was, 1 if it failed, 3 if it was not ours."""
    parser = argparse.ArgumentParser(prog="workspace_lib.runs.service_host", description=__doc__)
    parser.add_argument("--site", required=True, help="folder of the site")
    parser.add_argument("--outputs", required=True, type=Path, help="folder of its outputs")
    parser.add_argument("run_id")
    parser.add_argument("attempt", type=int)
    arguments = parser.parse_args(argv)
    processes.become_subreaper()
    settings = load_settings(arguments.site, outputs=arguments.outputs)
    with open_store(settings) as store:
        return ServiceHost(settings, store, arguments.run_id, arguments.attempt).run()


class Pulse:
    """When a service last said that it lives, and what it said."""

    def __init__(self) -> None:
        self._at = time.monotonic()
        self.text = ""

    def beat(self, text: str = "") -> None:
        """Say that the service lives; costs next to nothing, so it may be called in every round."""
        self._at = time.monotonic()
        self.text = text

    @property
    def age_s(self) -> float:
        """How long ago that was [s]."""
        return time.monotonic() - self._at


class ServiceHost:
    """One start of a service, from its beginning in the ledger to its end there."""

    def __init__(self, settings: Settings, store: Store, run_id: str, attempt: int) -> None:
        run = ledger.get_run(store, run_id)
        if run is None:
            raise ParameterError(f"There is no run {run_id!r}.", fix="List them: workspace runs.")
        self._settings = settings
        self._store = store
        self._id = run_id
        self._attempt = attempt
        self._spec = JobSpec.from_dict(run.spec)
        self._slot = run.slot
        self._parameters = dict(run.parameters)
        self._folders = RunFolders(settings.outputs_dir, run_id, attempt)
        self._stop = threading.Event()
        self._stop_at: float | None = None
        self._over = threading.Event()
        self._fenced = False
        self._pulse = Pulse()

    def run(self) -> int:
        """Serve; returns the exit code."""
        self._set_up_logging()
        if not ledger.begin(
            self._store,
            self._id,
            self._attempt,
            host=socket.gethostname(),
            pid=os.getpid(),
            now=SYSTEM_CLOCK.now(),
            provenance={
                "parameters": secrets.redact_tree(self._parameters),
                "service": self._spec.service,
                "git": provenance.git_state(self._settings.root),
                "versions": provenance.versions(),
            },
        ):
            log.warning("Attempt %s of run %s is not ours to run.", self._attempt, self._id)
            return 3
        log.info("The service %s starts: %s", self._spec.name, self._spec.service)
        signal.signal(signal.SIGTERM, lambda *_: self._ask_to_stop())
        signal.signal(signal.SIGINT, lambda *_: self._ask_to_stop())
        threading.Thread(target=self._watch, daemon=True).start()
        outcome = self._serve()
        self._over.set()
        return self._finish(outcome)

    def _serve(self) -> Outcome:
        try:
            function = load_function(str(self._spec.service))
            self._write_run_file()
            function(self._stop, self._pulse.beat, **self._parameters)
        except Exception as error:
            log.exception("The service %s failed", self._spec.name)
            names = [cls.__name__ for cls in type(error).__mro__]
            message = secrets.redact(f"{names[0]}: {error}")
            return Outcome("failed", cause_of_error(names), message)
        if not self._stop.is_set():
            return Outcome("failed", "notebook_error", "The service ended by itself.")
        log.info("The service %s has stopped.", self._spec.name)
        return Outcome("succeeded", message="Stopped.")

    def _write_run_file(self) -> None:
        """Let `current_run` work in the service: it names the holder of the service's devices."""
        processes.make_private(self._folders.private)
        path = self._folders.private / "run.json"
        about = {
            "run_id": self._id,
            "attempt": self._attempt,
            "job": self._spec.name,
            "slot": self._slot,
            "slot_at": None,
            "parameters": self._parameters,
            "folder": str(self._folders.folder),
            "log": None,
            "fresh_for_s": self._spec.fresh_for_s,
            "holder": holder_id(self._id, self._attempt),
        }
        atomic_write(path, json.dumps(about).encode(), durable=False)
        os.environ[RUN_FILE_VARIABLE] = str(path)
        os.environ["WORKSPACE_SITE"] = str(self._settings.site_dir)
        os.environ["WORKSPACE_ROOT"] = str(self._settings.root)
        os.environ["WORKSPACE_OUTPUTS"] = str(self._settings.outputs_dir)

    def _ask_to_stop(self) -> None:
        if self._stop_at is None:
            self._stop_at = time.monotonic()
        self._stop.set()

    def _watch(self) -> None:
        """Pass the service's heartbeat on; end the process when the service hangs."""
        runs = self._settings.runs
        pause_s = min(runs.heartbeat_s, 1.0)
        while not self._over.wait(pause_s):
            age_s = self._pulse.age_s
            stopping_s = time.monotonic() - self._stop_at if self._stop_at else 0.0
            if self._stop.is_set() and stopping_s > runs.grace_s:
                self._give_up(f"It did not stop within {runs.grace_s:g} s.")
            if not self._stop.is_set() and age_s > runs.service_hung_s:
                self._give_up(f"It hung: no heartbeat for {age_s:.0f} s.")
            try:
                self._pass_on(age_s)
            except (SQLAlchemyError, WorkspaceError, OSError) as error:
                log.warning("The heartbeat could not be written: %s", error)

    def _pass_on(self, age_s: float) -> None:
        now = SYSTEM_CLOCK.now()
        text = secrets.redact(self._pulse.text)[:_LONGEST_STATUS]
        beat = ledger.heartbeat(self._store, self._id, self._attempt, now, progress=(None, text))
        if not beat.alive:
            log.warning("The service belongs to a later attempt.")
            self._fenced = True
        if beat.cancel or not beat.alive:
            self._ask_to_stop()
            return
        with write(self._store.control) as connection:
            connection.execute(
                update(services)
                .where(services.c.job == self._spec.name, services.c.run_id == self._id)
                .values(
                    heartbeat_at=SYSTEM_CLOCK.now() - timedelta(seconds=age_s),
                    status=text,
                    pid=os.getpid(),
                    host=socket.gethostname(),
                )
            )

    def _give_up(self, reason: str) -> None:
        """End this process from within, whatever its main thread is stuck in."""
        log.critical("The service %s is killed. %s", self._spec.name, reason)
        with contextlib.suppress(OSError), self._folders.log.open("a") as stream:
            faulthandler.dump_traceback(stream)
        processes.end_descendants(grace_s=LEFTOVER_GRACE_S)
        with contextlib.suppress(SQLAlchemyError, WorkspaceError):
            outcome = Outcome("lost", "runner_lost", reason)
            ledger.finish(self._store, self._id, self._attempt, outcome, SYSTEM_CLOCK.now())
        processes.remove_private(self._folders.private)
        os._exit(KILLED_ITSELF)

    def _finish(self, outcome: Outcome) -> int:
        processes.end_descendants(grace_s=LEFTOVER_GRACE_S)
        processes.remove_private(self._folders.private)
        if self._fenced:
            return 3
        ledger.finish(self._store, self._id, self._attempt, outcome, SYSTEM_CLOCK.now())
        return 0 if outcome.state == "succeeded" else 1

    def _set_up_logging(self) -> None:
        use_demo_secrets(self._settings)
        settings = self._settings.logging
        logging.getLogger(logs.LOGGER).setLevel(settings.level)
        logs.add_run_log(
            self._folders.log,
            max_megabytes=settings.max_megabytes,
            keep_files=settings.keep_files,
        )
        sys.stdout = _ToLog(log, logging.INFO)
        sys.stderr = _ToLog(log, logging.WARNING)


def load_function(name: str) -> Callable[..., None]:
    """Return the function that ``module:function`` names.

    Raises
    ------
    ConfigError
        If there is none.
    """
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"The service {name} cannot be loaded ({error}).") from error
    if not callable(found):
        raise ConfigError(f"{name} is no function.")
    loaded: Callable[..., None] = found
    return loaded


class _ToLog(io.TextIOBase):
    """A standard stream that goes to the log line by line, so that it is dated and redacted."""

    def __init__(self, logger: logging.Logger, level: int) -> None:
        self._logger = logger
        self._level = level
        self._line = ""

    def write(self, text: str) -> int:
        *whole, self._line = (self._line + text).split("\n")
        for line in whole:
            if line.strip():
                self._logger.log(self._level, "%s", line)
        return len(text)


if __name__ == "__main__":
    sys.exit(main())
