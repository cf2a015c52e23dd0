"""The executor of one machine: each runner is a process of its own session, so it outlives us."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from workspace_lib import secrets
from workspace_lib.runs import processes
from workspace_lib.runs.context import RUN_FILE_VARIABLE
from workspace_lib.runs.folders import RunFolders
from workspace_lib.runs.marks import (
    ATTEMPT_MARK,
    OUTPUTS_MARK,
    RUN_MARK,
    RUNNER,
    SITE_MARK,
    WORKER_MARK,
    Place,
    end_marked,
    living_owners,
)
from workspace_lib.runs.output_notebook import mark_stopped
from workspace_lib.runs.state import STATE_VARIABLE
from workspace_lib.runs.states import Claim
from workspace_lib.runs.warm import WarmParent, WarmRunner
from workspace_lib.settings import Settings

#: A runner that was told to end takes this long beside its notebook's grace [s].
_STOP_MARGIN_S = 10.0
#: What belongs to another run, if the scheduler itself was started from a notebook.
_NOT_INHERITED = (
    RUN_MARK,
    ATTEMPT_MARK,
    SITE_MARK,
    OUTPUTS_MARK,
    RUN_FILE_VARIABLE,
    STATE_VARIABLE,
    secrets.REPORT_TO,
    secrets.REPORT_KEY,
    WORKER_MARK,
)

log = logging.getLogger("workspace_lib.runs.executors.local")


@dataclass
class _Runner:
    """A runner that lives, or did: ours (``child``), or one of a scheduler before us."""

    process: psutil.Process
    child: subprocess.Popen[bytes] | WarmRunner | None = None
    notebook: str | None = None

    def lives(self) -> bool:
        if isinstance(self.child, WarmRunner):
            return self.child.lives()
        if self.child is not None:
            return self.child.poll() is None
        with contextlib.suppress(psutil.Error):
            return self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE
        return False

    def wait(self, longest_s: float) -> None:
        """Wait for its end, so that its exit code is known where it is our child."""
        with contextlib.suppress(psutil.Error, subprocess.TimeoutExpired):
            (self.child or self.process).wait(longest_s)


class LocalExecutor:
    """Starts runners on this machine and finds those that an earlier scheduler has started."""

    def __init__(
        self,
        settings: Settings,
        variables: Mapping[str, str] | None = None,
        *,
        keep_warm: bool = False,
    ) -> None:
        """Take over the runners that live here.

        Parameters
        ----------
        variables : mapping, optional
            For the environment of the runners started from now on.
        keep_warm : bool
            Keep a warm parent to fork them from, until `close`; else one is used that is there.
        """
        self._settings = settings
        self._warm = WarmParent(settings, owner=keep_warm)
        self._variables = dict(variables or {})
        self._place = Place.of(settings)
        found = living_owners(self._place, [RUNNER])
        self._runners = {key: _Runner(process) for key, process in found.items()}
        self._end_orphans()
        self._warm.keep(self._environment())

    def submit(self, claim: Claim) -> None:
        """Start the runner of a claimed run; it depends on this process no more."""
        folders = RunFolders(self._settings.outputs_dir, claim.run_id, claim.attempt)
        folders.log.parent.mkdir(parents=True, exist_ok=True)
        words = [sys.executable, "-m", RUNNER, *self._place.words]
        words += [claim.run_id, str(claim.attempt)]
        root, environment = self._settings.root, self._environment()
        with folders.log.open("ab") as stream:
            run = (claim.run_id, claim.attempt)
            child = self._warm.start_runner(
                words, run, environment=environment, cwd=root, stream=stream
            ) or subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                cwd=root,
                env=environment,
                **detached(),
            )
        runner = _Runner(psutil.Process(child.pid), child, claim.spec.get("notebook"))
        self._runners[claim.run_id, claim.attempt] = runner

    @property
    def warm_parent(self) -> int | None:
        """Process id of the warm parent that this keeps, once runs can be forked off it."""
        return self._warm.pid

    def running(self) -> set[tuple[str, int]]:
        """Return run id and attempt of the runners that live."""
        return {key for key, runner in self._runners.items() if runner.lives()}

    def cancel(self, run_id: str, attempt: int) -> None:
        """Have the runner look at the ledger now; where signals kill (Windows) it does so soon."""
        runner = self._runners.get((run_id, attempt))
        if runner is not None and os.name != "nt" and runner.lives():
            with contextlib.suppress(psutil.Error):
                runner.process.terminate()

    def reap(self) -> None:
        """Forget runners that ended; end what a killed one has left behind."""
        for key, runner in list(self._runners.items()):
            if runner.lives():
                continue
            del self._runners[key]
            code = runner.child.returncode if runner.child is not None else None
            if code is None or code < 0 or code > 3:
                self._clean_up(key, runner, code)
        self._warm.keep(self._environment())

    def stop(self) -> None:
        """End every runner that lives and wait for it: for a workspace that leaves nothing behind.

        Their runs are recorded as lost and tried again as their jobs allow.
        """
        longest_s = self._settings.runs.grace_s + _STOP_MARGIN_S
        living = [runner for runner in self._runners.values() if runner.lives()]
        for runner in living:
            with contextlib.suppress(psutil.Error):
                runner.process.terminate()
        end = time.monotonic() + longest_s
        while any(runner.lives() for runner in living) and time.monotonic() < end:
            time.sleep(0.05)
        for runner in living:
            if runner.lives():
                with contextlib.suppress(psutil.Error):
                    runner.process.kill()
            runner.wait(_STOP_MARGIN_S)
        self.reap()
        self._warm.stop()

    def close(self) -> None:
        """Let go of the runners."""
        self._warm.stop()
        for runner in self._runners.values():
            if isinstance(runner.child, WarmRunner):
                runner.child.close()
            elif runner.child is not None and runner.child.poll() is None:
                runner.child.returncode = 0  # it is not ours to wait for any more
        self._runners.clear()

    def _environment(self) -> dict[str, str]:
        return {**runner_environment(self._settings), **self._variables}

    def _clean_up(self, key: tuple[str, int], runner: _Runner, code: int | None) -> None:
        run_id, attempt = key
        folders = RunFolders(self._settings.outputs_dir, run_id, attempt)
        if code is None and not folders.private.exists():
            return  # it was not our child, and has cleaned up itself
        log.warning("The runner of run %s, attempt %s, died.", run_id, attempt)
        end_marked(self._place, run_id, attempt)
        processes.remove_private(folders.private)
        source = self._settings.notebooks_dir / "jobs" / f"{runner.notebook}.ipynb"
        with contextlib.suppress(OSError):  # a full disk is told by others
            mark_stopped(folders.notebook, source, "The runner died.")

    def _end_orphans(self) -> None:
        """End the notebooks of runners that died while nobody watched."""
        marked = set()
        for process in processes.marked(self._place.marks):
            with contextlib.suppress(psutil.Error, KeyError, ValueError):
                marks = process.environ()
                marked.add((marks[RUN_MARK], int(marks[ATTEMPT_MARK])))
        folders = dict(_private_folders(self._settings.outputs_dir))
        # An owner lives before what it makes: one that is not there now was not there then.
        living = living_owners(self._place)
        for run_id, attempt in marked - living.keys():
            log.warning("Ending what run %s, attempt %s, left behind.", run_id, attempt)
            end_marked(self._place, run_id, attempt)
        for key in folders.keys() - living.keys():
            processes.remove_private(folders[key])


def runner_environment(settings: Settings) -> dict[str, str]:
    """Return the environment of a process that belongs to the site, but to no run yet."""
    inherited = {k: v for k, v in os.environ.items() if k not in _NOT_INHERITED}
    return {
        **inherited,
        "WORKSPACE_ROOT": str(settings.root),
        "WORKSPACE_OUTPUTS": str(settings.outputs_dir),
    }


def detached() -> dict[str, Any]:
    """Return how `subprocess.Popen` starts a process that outlives this one and its terminal."""
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        return {"creationflags": flags}
    return {"start_new_session": True}


def _private_folders(outputs: Path) -> Iterator[tuple[tuple[str, int], Path]]:
    """Find the private folders of this site's runs by what their runners wrote into them."""
    sample = processes.private_folder(outputs, "", 0)
    for folder in sample.parent.glob(sample.name.rpartition("-")[0] + "-*"):
        try:
            about = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # somebody else's, or one that is just being made
        key = (about["run_id"], about["attempt"])
        if folder == processes.private_folder(outputs, *key):
            yield key, folder
