"""Processes forked for us before our own code was loaded: handles that behave like `Popen`'s.

The warm parent (`workspace_lib.runs.warm_parent`) forks the runner, which is given the process of
its notebook; that one is given its kernel. Each of the two is a child of the one that is given it,
so that it can be waited for, and falls to it in the tree of processes as a started one would.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from typing import IO, Protocol

from workspace_lib.errors import ExecutorError


class ChildProcess(Protocol):
    """What we need of a child, started or forked; `subprocess.Popen` has all of it."""

    pid: int
    stdin: IO[str] | None

    @property
    def returncode(self) -> int | None:
        """Exit code, negative for a signal; None while it lives, as far as is known."""
        ...

    def poll(self) -> int | None:
        """Return the exit code; None while it lives."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit code."""
        ...

    def kill(self) -> None:
        """Kill it."""
        ...


class ForkedProcess:
    """A forked process; safe to use from threads.

    Parameters
    ----------
    pid : int
        Its process id; it must not have been waited for.
    stdin : IO[str], optional
        Writes to its standard input.
    ours : bool
        Whether it is a child of this process; the exit code of another's is not known, and 0.
    """

    def __init__(self, pid: int, stdin: IO[str] | None = None, *, ours: bool = True) -> None:
        self.pid = pid
        self._ours = ours
        self.stdin = stdin
        # What launches kernels looks for them.
        self.stdout = self.stderr = None
        self.returncode: int | None = None
        self._lock = threading.Lock()
        self._end = pidfd_of(pid)

    def poll(self) -> int | None:
        """Return the exit code; None while it lives."""
        with self._lock:
            if self.returncode is None and not self._ours:
                self.returncode = 0 if has_ended(self._end) else None
            elif self.returncode is None and sys.platform != "win32":
                try:
                    pid, status = os.waitpid(self.pid, os.WNOHANG)
                except ChildProcessError:
                    pid, status = self.pid, 0  # somebody else waited for it, as `Popen` has it
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit code.

        Raises
        ------
        subprocess.TimeoutExpired
            If it lives on after ``timeout`` [s].
        """
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            left = None if end is None else max(end - time.monotonic(), 0.0)
            if not has_ended(self._end, left):
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None and sys.platform == "linux":
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._end, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it."""
        if sys.platform != "win32":
            self.send_signal(signal.SIGKILL)

    def __del__(self) -> None:
        os.close(self._end)


def has_ended(pidfd: int, wait_s: float | None = 0.0) -> bool:
    """Return whether the process of ``pidfd`` has ended, at the latest after ``wait_s``."""
    with selectors.DefaultSelector() as selector:
        selector.register(pidfd, selectors.EVENT_READ)
        return bool(selector.select(wait_s))


def pidfd_of(pid: int) -> int:
    """Return a handle of a process, which no later process of that number takes over."""
    if sys.platform != "linux":
        raise elsewhere()
    return os.pidfd_open(pid)


def elsewhere() -> ExecutorError:
    """Return what is told where a process should be forked and the system is another."""
    return ExecutorError(
        "Processes are forked on Linux alone.",
        fix="Set runs.warm and dashboards.warm_kernels to off: both start cold then.",
    )
