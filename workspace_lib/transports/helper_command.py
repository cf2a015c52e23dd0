"""A command that must run while a line is used, such as the one that opens a pass-through.

It runs in a session of its own and is ended with everything it started: children that left it, and
those that ignore being asked, too. They are found by a mark in their environment, which they
inherit, so that also what a killed process left behind is found when the line is used next.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import psutil

from workspace_lib.clock import SYSTEM_CLOCK, Clock
from workspace_lib.errors import DeviceError
from workspace_lib.process_trees import end_all, marked
from workspace_lib.secrets import redact

log = logging.getLogger("workspace_lib.transports.helper_command")

#: Environment variable of the mark.
MARK: Final = "WORKSPACE_LINE_HELPER"
_LOOK_S: Final = 0.05
_LAST_LINES: Final = 8
_LONGEST_LINE: Final = 2_000


class HelperFailed(DeviceError):
    """The command that opens the way to a device did not do so."""


def fill_words(words: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """Return the words of a command with each ``{name}`` replaced by its value.

    Examples
    --------
    >>> fill_words(("connect", "{host}:{port}"), {"host": "gw", "port": "5001"})
    ['connect', 'gw:5001']
    """
    filled = []
    for word in words:
        for name, value in values.items():
            word = word.replace(f"{{{name}}}", value)
        filled.append(word)
    return filled


class HelperCommand:
    """A running command; `close` ends all of it.

    Parameters
    ----------
    words : sequence of str
        The command and its arguments; no shell looks at them.
    mark : str
        What the command is for, the same each time: what still runs with this mark is ended first.
    ready : str
        Text it writes once it is ready; empty: it need not say so.
    grace_s : float
        Time between asking its processes to end and ending them [s].

    Raises
    ------
    HelperFailed
        If it cannot be started.
    """

    def __init__(
        self,
        words: Sequence[str],
        mark: str,
        ready: str = "",
        *,
        clock: Clock = SYSTEM_CLOCK,
        grace_s: float = 2.0,
    ) -> None:
        self._name = words[0]
        self._mark = mark
        self._ready = ready
        self._clock = clock
        self._grace_s = grace_s
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._told = threading.Event()
        self._silent = threading.Event()
        self._closing = threading.Lock()
        self._closed = False
        if left := marked({MARK: mark}):
            log.warning("%s still ran from before and is ended: %s.", self._name, left)
            end_all(lambda: marked({MARK: mark}), grace_s=grace_s)
        windows = sys.platform == "win32"
        try:
            self._process = subprocess.Popen(
                list(words),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, MARK: mark},
                start_new_session=not windows,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) if windows else 0,
            )
        except OSError as error:
            raise HelperFailed(
                f"The command cannot be started ({error.strerror}).",
                where=self._name,
                fix="Correct the gateway's helper.",
            ) from error
        log.info("%s was started (process %d).", self._name, self._process.pid)
        self._reader = threading.Thread(target=self._read, name="helper-output", daemon=True)
        self._reader.start()

    def wait_ready(self, within_s: float, look: Callable[[], None] = lambda: None) -> None:
        """Wait until it has written the text it writes when it is ready.

        ``look`` is called again and again meanwhile, and may raise to give up.

        Raises
        ------
        HelperFailed
            If it does not in time, or ends without having done so.
        """
        end = self._clock.monotonic() + within_s
        while self._ready and not self._told.wait(_LOOK_S):
            self.check()
            look()
            # What it left running may say so in its place, as long as anybody can.
            if self._silent.is_set() and not self._told.is_set():
                self._wait_ended(1.0)  # its output is closed before it has ended
                self.check()
                raise self._failed("It ended without a word that it is ready")
            if self._clock.monotonic() >= end:
                raise self._failed(f"It was not ready within {within_s:g} s")
        self.check()

    def check(self) -> None:
        """Raise HelperFailed if it ended with an error."""
        if code := self._exit_code():
            self._silent.wait(1.0)  # its last words are read
            raise self._failed(f"It ended with {code}")

    def close(self) -> None:
        """End it and all it started, at the latest by force; more than once does nothing."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            # Two looks in a row: one that forks just then is not in the first.
            end_all(self._tree, grace_s=self._grace_s, is_over=lambda: not self._tree())
            self._process.poll()
            self._reader.join(2.0)
            log.info("%s was ended.", self._name)

    def _wait_ended(self, within_s: float) -> None:
        end = self._clock.monotonic() + within_s
        while self._exit_code() is None and self._clock.monotonic() < end:
            self._clock.sleep(_LOOK_S / 5)

    def _exit_code(self) -> int | None:
        """Return how it ended, or None; its number stays taken, so that it means nobody else."""
        if sys.platform != "win32":
            look = os.WEXITED | os.WNOHANG | os.WNOWAIT
            try:
                found = os.waitid(os.P_PID, self._process.pid, look)
            except ChildProcessError:  # whoever inherits orphans here has collected it
                return self._process.poll()
            if found is None:
                return None
            ended = found.si_code == os.CLD_EXITED
            return found.si_status if ended else -found.si_status
        return self._process.poll()

    def _tree(self) -> list[psutil.Process]:
        """Return what is left of it: itself, those of its session, with its mark, or below them."""
        found = {process.pid: process for process in marked({MARK: self._mark})}
        found.update({one.pid: one for one in _of_session(self._process.pid)})
        for process in list(found.values()):
            try:
                found.update({one.pid: one for one in process.children(recursive=True)})
            except psutil.Error:
                continue  # gone meanwhile
        return [one for one in found.values() if _lives(one)]

    def _failed(self, why: str) -> HelperFailed:
        said = redact(" / ".join(self._last))
        return HelperFailed(
            f"{why}{f', saying: {said}' if said else ''}.",
            where=self._name,
            fix="Try the command by hand; its output is in the log.",
        )

    def _read(self) -> None:
        """Put what it says into the log, until nobody is left who could say anything."""
        assert self._process.stdout is not None
        tail = b""
        with self._process.stdout as stream:
            while data := os.read(stream.fileno(), 4096):
                *lines, tail = (tail + data).split(b"\n")
                for line in lines:
                    self._note(line)
                # A word without a line end counts too.
                self._look_for_ready(tail)
                tail = tail[-_LONGEST_LINE:]
        if tail:
            self._note(tail)
        self._silent.set()

    def _note(self, line: bytes) -> None:
        text = redact(line.decode("utf-8", "replace").strip())[:_LONGEST_LINE]
        if text:
            self._last.append(text)
            log.info("%s: %s", self._name, text)
        self._look_for_ready(line)

    def _look_for_ready(self, said: bytes) -> None:
        if self._ready and self._ready.encode() in said:
            self._told.set()


def _of_session(leader: int) -> list[psutil.Process]:
    if sys.platform == "win32":
        return [psutil.Process(leader)] if psutil.pid_exists(leader) else []
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader:
                found.append(process)
        except OSError:
            continue  # gone meanwhile
    return found


def _lives(process: psutil.Process) -> bool:
    try:
        return process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
