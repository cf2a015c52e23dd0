"""One process that keeps others alive: started in order, restarted with patience, ended together.

Every part is a process of its own with its own log. On Linux this process adopts whatever its parts
leave behind, so that nothing outlives it; a part ends when this process is killed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from workspace_lib.errors import WorkspaceError
from workspace_lib.runs import processes

log = logging.getLogger(__name__)

#: Waits between restarts [s]; one that lived for `STEADY_S` starts from the first again.
BACK_OFF_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
STEADY_S = 60.0
LOOK_EVERY_S = 0.2
LOG_BYTES = 5_000_000


class PartError(WorkspaceError):
    """A part of the workspace could not be started."""


@dataclass(frozen=True)
class Part:
    """One process of the workspace.

    ``ready`` returns a text once the part does its work (its address, say), None before. ``stdin``
    is written to it at its start and is how secrets reach it: an environment can be read by others.
    """

    name: str
    command: Sequence[str]
    log: Path
    ready: Callable[[], str | None] = lambda: ""
    stdin: str | None = None
    environment: Mapping[str, str] | None = None
    before: Callable[[], None] = lambda: None
    start_timeout_s: float = 60.0
    grace_s: float = 10.0


@dataclass
class _State:
    part: Part
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    again_at: float | None = None
    address: str | None = None
    told: bool = field(default=False)


class Supervisor:
    """Starts parts, restarts those that end, and ends them all.

    Parameters
    ----------
    say : callable
        Takes a line for the person at the terminal.
    stopped : callable
        Whether to give up waiting for a part, because everything is about to end.
    """

    def __init__(
        self,
        say: Callable[[str], None] = lambda line: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._say = say
        self._stopped = stopped
        self._states: dict[str, _State] = {}
        processes.become_subreaper()

    def start(self, part: Part) -> str:
        """Start a part, wait until it is ready, and return what `Part.ready` said.

        Raises
        ------
        PartError
            If it ends or is not ready in time; its log's last lines are in the message.
        """
        state = self._states[part.name] = _State(part)
        self._launch(state)
        end = time.monotonic() + part.start_timeout_s
        while time.monotonic() < end:
            found = part.ready()
            if found is not None and state.process is not None and state.process.poll() is None:
                state.address = found
                return found
            if state.process is None or state.process.poll() is not None or self._stopped():
                break
            time.sleep(0.05)
        del self._states[part.name]
        self._end(state)
        raise PartError(
            f"{part.name} did not start: {last_line(part.log)}",
            where=str(part.log),
            fix="Look into its log.",
        )

    def step(self) -> None:
        """Look at every part once: say who ended, start again who has waited long enough."""
        now = time.monotonic()
        for state in self._states.values():
            if state.process is None:
                if state.again_at is not None and now >= state.again_at:
                    self._launch(state)
                continue
            if (code := state.process.poll()) is None:
                self._look_at(state, now)
                continue
            state.process = None
            wait_s = BACK_OFF_S[min(state.failures, len(BACK_OFF_S) - 1)]
            state.failures += 1
            state.again_at = now + wait_s
            line = f"{state.part.name} ended ({_code(code)}); started again in {wait_s:g} s."
            log.warning("%s See %s", line, state.part.log)
            self._say(f"{line} Log: {state.part.log}")
        processes.reap_orphans(self._own())

    def run(self, stop: threading.Event) -> None:
        """Look again and again until ``stop`` is set."""
        while not stop.wait(LOOK_EVERY_S):
            self.step()

    def pid(self, name: str) -> int | None:
        """Return the process id of a part that lives, else None."""
        state = self._states.get(name)
        alive = state is not None and state.process is not None and state.process.poll() is None
        return state.process.pid if alive and state is not None and state.process else None

    def stop(self, after: Callable[[], None] = lambda: None) -> list[int]:
        """End all parts, together, then whatever is left below this process.

        Parameters
        ----------
        after : callable
            Called when the parts have ended and before the rest is, for those who end in good
            order when they are asked in their own way.

        Returns
        -------
        list of int
            Process ids that could not be ended.
        """
        ending = list(reversed(self._states.values()))
        for state in ending:
            _ask_to_end(state.process)
        for state in ending:
            self._end(state)
        self._states.clear()
        with contextlib.suppress(WorkspaceError, OSError):
            after()
        return processes.end_descendants(grace_s=3.0)

    def _launch(self, state: _State) -> None:
        part = state.part
        part.before()
        part.log.parent.mkdir(parents=True, exist_ok=True)
        keep_small(part.log)
        with part.log.open("ab") as stream:
            process = subprocess.Popen(
                list(part.command),
                stdin=subprocess.PIPE if part.stdin is not None else subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env=dict(part.environment) if part.environment is not None else None,
                **_own_group(),
            )
        if part.stdin is not None and process.stdin is not None:
            _hand_over(process.stdin, part.stdin)
        state.process, state.started = process, time.monotonic()
        state.again_at, state.told = None, False
        log.info("%s started, process %d", part.name, process.pid)

    def _look_at(self, state: _State, now: float) -> None:
        if state.failures and not state.told and (found := state.part.ready()) is not None:
            state.told = True
            state.address = found
            self._say(f"{state.part.name} is back. {found}".rstrip())
        if state.failures and now - state.started > STEADY_S:
            state.failures = 0

    def _end(self, state: _State) -> None:
        process = state.process
        if process is None:
            return
        _ask_to_end(process)
        began = time.monotonic()
        try:
            process.wait(state.part.grace_s)
            log.info("%s ended after %.1f s", state.part.name, time.monotonic() - began)
        except subprocess.TimeoutExpired:
            log.warning("%s does not end and is killed", state.part.name)
            process.kill()
            process.wait()

    def _own(self) -> list[int]:
        return [state.process.pid for state in self._states.values() if state.process is not None]


def _ask_to_end(process: subprocess.Popen[bytes] | None) -> None:
    if process is None or process.poll() is not None:
        return
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            process.send_signal(signal.CTRL_BREAK_EVENT)
        else:
            process.terminate()


def last_line(path: Path) -> str:
    """Return the last line of a log that says something."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "it left no log."
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing."


def keep_small(path: Path, limit: int = LOG_BYTES) -> None:
    """Put a log that has grown aside before a part is started again; one old log is kept."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > limit:
            path.replace(path.with_name(f"{path.name}.1"))


def _hand_over(stream: IO[bytes], text: str) -> None:
    # A part that ended at once is told of by its log, not by a broken pipe.
    with contextlib.suppress(OSError), stream:
        stream.write(text.encode())


def _code(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _own_group() -> dict[str, Any]:
    """Return how a part is started: Ctrl-C at the terminal reaches us alone, and we end it."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    parent = os.getpid()

    def die_with_us() -> None:
        processes.die_with_parent(parent)

    # This process has no threads that hold locks when it starts a part.
    return {"start_new_session": True, "preexec_fn": die_with_us}
