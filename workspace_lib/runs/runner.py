"""The runner: one process per attempt, which owns its heartbeat, its processes and its outcome.

``python -m workspace_lib.runs.runner --site SITE --outputs OUTPUTS RUN_ID ATTEMPT``
starts the process in which papermill runs the notebook, tells the ledger that the run lives, stops
it at its timeout, when it is cancelled or when the run belongs to somebody else, ends every process
it has left behind, and writes how it ended. It depends on no scheduler: that may come and go
meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from workspace_lib import logs, secrets
from workspace_lib.clock import SYSTEM_CLOCK, iso
from workspace_lib.errors import ConfigError, ParameterError, WorkspaceError
from workspace_lib.files import atomic_write, sha256_file
from workspace_lib.runs import ledger, processes, provenance
from workspace_lib.runs.context import RUN_FILE_VARIABLE, use_demo_secrets
from workspace_lib.runs.folders import RunFolders
from workspace_lib.runs.forked import ChildProcess, ForkedProcess
from workspace_lib.runs.marks import LEFTOVER_GRACE_S, Place, end_marked, run_marks
from workspace_lib.runs.notebook_child import RESULT_FILE, STOP
from workspace_lib.runs.notebook_parameters import check_value, parse_parameters_cell
from workspace_lib.runs.output_notebook import count_cells, mark_stopped
from workspace_lib.runs.state import STATE_VARIABLE, read_state
from workspace_lib.runs.states import Outcome, holder_id
from workspace_lib.runs.verdict import Ending, StopReason, judge
from workspace_lib.settings import Settings, load_settings
from workspace_lib.store.engines import Store, read
from workspace_lib.store.migrate import open_store
from workspace_lib.store.publications import Artefact, artefacts_of_run
from workspace_lib.store.published_files import lay_out

_SAMPLE_EVERY_S = 1.0
COULD_NOT_BEGIN = 2
NOT_OURS = 3

log = logging.getLogger("workspace_lib.runs.runner")


def main(argv: Sequence[str] | None = None, *, forked: tuple[int, int] | None = None) -> int:
    """Run one attempt; returns 0 if it succeeded, 1 if not.

    2 says that it could not begin, 3 that it was not ours to run. ``forked`` is the process of the
    notebook, if it was forked for us: its process id, and what writes to its standard input.
    """
    parser = argparse.ArgumentParser(prog="workspace_lib.runs.runner", description=__doc__)
    parser.add_argument("--site", required=True, help="folder of the site")
    parser.add_argument("--outputs", required=True, type=Path, help="folder of its outputs")
    parser.add_argument("run_id")
    parser.add_argument("attempt", type=int)
    arguments = parser.parse_args(argv)
    for name in (RUN_FILE_VARIABLE, STATE_VARIABLE, secrets.REPORT_TO, secrets.REPORT_KEY):
        os.environ.pop(name, None)  # of a run whose notebook started this one
    processes.become_subreaper()
    place = Place(arguments.site, str(arguments.outputs))
    child = (
        start_child(place, arguments.run_id, arguments.attempt)
        if forked is None
        else ForkedProcess(forked[0], os.fdopen(forked[1], "w", encoding="utf-8"))
    )
    try:
        settings = load_settings(arguments.site, outputs=arguments.outputs)
        with open_store(settings) as store:
            return Runner(settings, store, arguments.run_id, arguments.attempt, child).run()
    except WorkspaceError as error:
        # Nothing has begun: the lease of the claim runs out, and the run is due again.
        sys.stderr.write(f"The run could not begin: {secrets.redact(str(error))}\n")
        return COULD_NOT_BEGIN
    finally:
        _let_go(child)


def start_child(place: Place, run_id: str, attempt: int) -> ChildProcess:
    """Start the process that will run the notebook; it imports papermill until it is asked."""
    return subprocess.Popen(
        [sys.executable, "-m", "workspace_lib.runs.notebook_child", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, **run_marks(place, run_id, attempt)},
        text=True,
        encoding="utf-8",
    )


class Runner:
    """One attempt, from its beginning in the ledger to its end there."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        run_id: str,
        attempt: int,
        child: ChildProcess,
    ) -> None:
        run = ledger.get_run(store, run_id)
        if run is None:
            raise ParameterError(f"There is no run {run_id!r}.", fix="List them: workspace runs.")
        self._settings = settings
        self._store = store
        self._id = run_id
        self._attempt = attempt
        self._child = child
        self._job = run.job
        self._slot = run.slot
        self._slot_at = run.slot_at
        self._spec = run.spec
        self._parameters = dict(run.parameters)
        self._folders = RunFolders(settings.outputs_dir, run_id, attempt)
        self._notebook = settings.notebooks_dir / "jobs" / f"{run.spec['notebook']}.ipynb"
        self._events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._over = threading.Event()
        self._meter = processes.TreeMeter()
        self._stop: StopReason | None = None

    def run(self) -> int:
        """Do all of it; returns the exit code."""
        logging.getLogger(logs.LOGGER).setLevel(self._settings.logging.level)
        logs.add_run_log(self._folders.log)
        self._end_earlier_attempts()
        known = provenance.describe(self._settings, self._notebook, self._parameters)
        known["start"] = "warm" if isinstance(self._child, ForkedProcess) else "cold"
        started = SYSTEM_CLOCK.now()
        if not ledger.begin(
            self._store,
            self._id,
            self._attempt,
            host=socket.gethostname(),
            pid=os.getpid(),
            now=started,
            provenance=known,
        ):
            log.warning("Attempt %s of run %s is not ours to run.", self._attempt, self._id)
            return NOT_OURS
        log.info(
            "Run %s, attempt %s of %s, slot %s", self._id, self._attempt, self._job, self._slot
        )
        signal.signal(signal.SIGTERM, lambda *_: self._events.put(("stop", "terminated")))
        beat = threading.Thread(target=self._beat, daemon=True)
        beat.start()
        try:
            outcome = self._execute(started, known)
        except (OSError, WorkspaceError, SQLAlchemyError) as error:
            log.exception("The runner failed")
            self._end_processes()
            bad = isinstance(error, ParameterError)
            cause = "bad_parameters" if bad else "runner_lost"
            outcome = Outcome("failed", cause, secrets.redact(str(error)))  # type: ignore[arg-type]
            self._mark(outcome.message or "")
        finally:
            processes.remove_private(self._folders.private)
        return self._finish(outcome)

    def _execute(self, started: datetime, known: dict[str, Any]) -> Outcome:
        self._check_parameters()
        self._folders.folder.mkdir(parents=True, exist_ok=True)
        processes.make_private(self._folders.private)
        begin = time.monotonic()
        self._ask_child()
        self._watch(begin)
        self._end_processes()
        outcome = self._judge(time.monotonic() - begin)
        if outcome.state != "succeeded":
            self._mark(outcome.message or outcome.state)
        self._write_manifest(outcome, started, known)
        return outcome

    def _end_earlier_attempts(self) -> None:
        """End what a lost attempt may have left on this machine: it could hold the device."""
        for number in range(1, self._attempt):
            earlier = RunFolders(self._settings.outputs_dir, self._id, number)
            end_marked(Place.of(self._settings), self._id, number)
            processes.remove_private(earlier.private)
            if earlier.folder.is_dir():
                mark_stopped(earlier.notebook, self._notebook, "The runner died.")

    def _check_parameters(self) -> None:
        """Refuse what the notebook does not declare: papermill would only warn of it."""
        if not self._notebook.is_file():
            raise ConfigError("The notebook does not exist.", where=str(self._notebook))
        declared = {item.name: item for item in parse_parameters_cell(self._notebook)}
        for name, value in self._parameters.items():
            if name not in declared:
                raise ParameterError(
                    f"The notebook has no parameter {name!r}.",
                    where=str(self._notebook),
                    fix=f"It has: {', '.join(declared) or 'none'}.",
                )
            if wrong := check_value(declared[name], value):
                raise ParameterError(wrong, where=str(self._notebook))

    def _ask_child(self) -> None:
        """Tell the kernel's side which run it is, and let it begin."""
        spec, folders, settings = self._spec, self._folders, self._settings
        run_file = folders.private / "run.json"
        about = {
            "run_id": self._id,
            "attempt": self._attempt,
            "job": self._job,
            "slot": self._slot,
            "slot_at": iso(self._slot_at) if self._slot_at else None,
            "parameters": self._parameters,
            "folder": str(folders.folder),
            "log": str(folders.log),
            "fresh_for_s": spec["fresh_for_s"],
            "holder": holder_id(self._id, self._attempt),
        }
        atomic_write(run_file, json.dumps(about).encode(), durable=False)
        request = {
            "notebook": str(self._notebook),
            "output": str(folders.notebook),
            "parameters": self._parameters,
            "private": str(folders.private),
            "log": str(folders.log),
            "level": settings.logging.level,
            "start_timeout_s": settings.runs.start_timeout_s,
            "cell_timeout_s": spec["cell_timeout_s"],
            "secrets": self._secrets(),
            "environment": {
                "WORKSPACE_SITE": str(settings.site_dir),
                "WORKSPACE_ROOT": str(settings.root),
                "WORKSPACE_OUTPUTS": str(settings.outputs_dir),
                RUN_FILE_VARIABLE: str(run_file),
                STATE_VARIABLE: str(folders.state),
            },
        }
        self._tell(json.dumps(request))
        threading.Thread(target=self._await_child, daemon=True).start()

    def _secrets(self) -> list[str]:
        """Return every secret that the site or the notebook names, to be redacted from the start.

        The kernel tells of those it resolves besides; these are known even if that fails.
        """
        use_demo_secrets(self._settings)
        texts = [self._notebook.read_text(encoding="utf-8"), json.dumps(self._parameters)]
        for path in sorted(self._settings.site_dir.rglob("*.y*ml")):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                texts.append(path.read_text(encoding="utf-8"))
        for reference in sorted(set().union(*map(secrets.references, texts))):
            with contextlib.suppress(ConfigError):  # not set: then nobody can print it either
                secrets.resolve(reference)
        return secrets.known_values()

    def _await_child(self) -> None:
        self._events.put(("exit", self._child.wait()))

    def _tell(self, line: str) -> None:
        with contextlib.suppress(OSError):  # it died: its exit is on the way
            assert self._child.stdin is not None
            self._child.stdin.write(line + "\n")
            self._child.stdin.flush()

    def _watch(self, begin: float) -> None:
        """Wait for the child's end; stop it when that is due."""
        deadline = begin + float(self._spec["timeout_s"])
        kill_at: float | None = None
        while True:
            limit = deadline if kill_at is None else kill_at
            wait_s = min(_SAMPLE_EVERY_S, max(limit - time.monotonic(), 0.0))
            try:
                kind, what = self._events.get(timeout=wait_s)
            except queue.Empty:
                self._meter.sample()
                processes.reap_orphans(keep=[self._child.pid])
                if time.monotonic() < limit:
                    continue
                kind, what = ("kill", None) if kill_at is not None else ("stop", "timeout")
            if kind == "exit":
                return
            if kind == "kill":
                log.warning("It did not stop within its grace and is killed.")
                self._child.kill()
                kill_at = time.monotonic() + _SAMPLE_EVERY_S
            elif self._stop is None:
                kill_at = time.monotonic() + self._begin_stop(what)

    def _begin_stop(self, reason: StopReason) -> float:
        """Interrupt the notebook; returns how long it may take to end [s]."""
        if reason == "terminated" and self._cancel_asked():
            reason = "cancelled"
        self._stop = reason
        log.warning("The run is stopped: %s.", reason)
        self._tell(STOP)
        # Whoever owns the run now may be talking to the same device already.
        return 0.0 if reason == "fenced" else self._settings.runs.grace_s

    def _cancel_asked(self) -> bool:
        run = ledger.get_run(self._store, self._id)
        return run is not None and run.attempt == self._attempt and run.cancel_at is not None

    def _beat(self) -> None:
        """Say that the run lives, until it is over."""
        heard = time.monotonic()
        while not self._over.wait(self._settings.runs.heartbeat_s):
            try:
                beat = ledger.heartbeat(
                    self._store,
                    self._id,
                    self._attempt,
                    SYSTEM_CLOCK.now(),
                    progress=self._progress(),
                )
            except (SQLAlchemyError, WorkspaceError, OSError) as error:
                log.warning("The heartbeat could not be written: %s", error)
                if time.monotonic() - heard > self._settings.runs.lease_s:
                    # Others may take the run and its devices by now.
                    self._events.put(("stop", "silent"))
                    return
                continue
            heard = time.monotonic()
            if not beat.alive:
                self._events.put(("stop", "fenced"))
                return
            if beat.cancel:
                self._events.put(("stop", "cancelled"))

    def _progress(self) -> tuple[float | None, str | None] | None:
        told = read_state(self._folders.state).get("progress")
        return (told["fraction"], told["text"]) if told else None

    def _end_processes(self) -> None:
        """End everything that is left of the run, whatever it did to get away."""
        if self._child.poll() is None:
            self._child.kill()
        self._meter.sample()
        processes.end_descendants(grace_s=LEFTOVER_GRACE_S, children=[self._child])
        if sys.platform != "linux":
            end_marked(Place.of(self._settings), self._id, self._attempt)
        self._child.wait()

    def _judge(self, duration_s: float) -> Outcome:
        result = None
        with contextlib.suppress(FileNotFoundError):
            path = self._folders.private / RESULT_FILE
            result = json.loads(path.read_text(encoding="utf-8"))
        run = ledger.get_run(self._store, self._id)
        ending = Ending(
            result=result,
            stop=self._stop,
            state=read_state(self._folders.state),
            declared=self._spec["publishes"],
            published=[artefact.name for artefact in self._artefacts()],
            timeout_s=float(self._spec["timeout_s"]),
            asked_by=run.cancel_by if run else None,
        )
        metrics = {
            "duration_s": duration_s,
            "cpu_s": self._meter.cpu_s,
            "peak_memory_bytes": self._meter.peak_bytes,
        }
        return judge(ending, metrics)

    def _artefacts(self) -> list[Artefact]:
        with read(self._store.control) as connection:
            return artefacts_of_run(connection, self._id, self._attempt)

    def _mark(self, message: str) -> None:
        with contextlib.suppress(OSError):  # a full disk has been told already
            mark_stopped(self._folders.notebook, self._notebook, message)

    def _write_manifest(self, outcome: Outcome, started: datetime, known: dict[str, Any]) -> None:
        folders = self._folders
        told = read_state(folders.state)
        what = {
            "inputs": told.get("inputs", []),
            "outputs": [
                {"name": made.name, "path": made.path, "sha256": made.sha256, "bytes": made.bytes}
                for made in self._artefacts()
            ],
        }
        manifest = {
            "run_id": self._id,
            "attempt": self._attempt,
            "job": self._job,
            "slot": self._slot,
            "state": outcome.state,
            "cause": outcome.cause,
            "message": outcome.message,
            "partial": outcome.partial,
            "last_good": iso(outcome.last_good) if outcome.last_good else None,
            "started": iso(started),
            "ended": iso(SYSTEM_CLOCK.now()),
            "metrics": dict(outcome.metrics),
            "cells": count_cells(folders.notebook),
            **known,
            **what,
            "output_notebook": _file(folders.notebook, folders.outputs),
        }
        content = json.dumps(secrets.redact_tree(manifest), indent=1, ensure_ascii=False)
        atomic_write(folders.manifest, content.encode("utf-8"))
        ledger.set_provenance(self._store, self._id, self._attempt, {**known, **what})

    def _finish(self, outcome: Outcome) -> int:
        if self._stop == "fenced":
            return NOT_OURS
        now = SYSTEM_CLOCK.now()
        try:
            mine = ledger.finish(self._store, self._id, self._attempt, outcome, now)
        finally:
            self._over.set()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it would only spoil the exit code
        if not mine:
            return NOT_OURS
        self._folders.state.unlink(missing_ok=True)
        log.log(
            logging.INFO if outcome.state == "succeeded" else logging.ERROR,
            "Ended %s%s%s",
            outcome.state,
            f" ({outcome.cause})" if outcome.cause else "",
            f": {outcome.message}" if outcome.message else "",
        )
        if outcome.state != "succeeded":
            return 1
        try:
            lay_out(self._store, run_id=self._id)
        except (OSError, WorkspaceError) as error:
            # It is published all the same; the next cleaning lays the copies out.
            log.warning("The folder of published files is not up to date: %s", error)
        return 0


def _let_go(child: ChildProcess) -> None:
    with contextlib.suppress(OSError):
        assert child.stdin is not None
        child.stdin.close()
    try:
        child.wait(5.0)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _file(path: Path, outputs: Path) -> dict[str, str] | None:
    if not path.is_file():
        return None
    return {"path": path.relative_to(outputs).as_posix(), "sha256": sha256_file(path)}


if __name__ == "__main__":
    sys.exit(main())
