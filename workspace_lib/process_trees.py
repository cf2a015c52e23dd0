"""Processes that belong together: found by a mark in their environment, ended to the last one."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping

import psutil

log = logging.getLogger("workspace_lib.process_trees")

_GIVE_UP_S = 10.0


def marked(marks: Mapping[str, str]) -> list[psutil.Process]:
    """Return the processes of this user whose environment holds all of ``marks``, but not this."""
    found = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            environment = process.environ()
        except (psutil.Error, OSError):
            continue  # another user's, or already gone
        if all(environment.get(name) == value for name, value in marks.items()):
            found.append(process)
    return found


def end_all(
    find: Callable[[], list[psutil.Process]],
    *,
    grace_s: float,
    is_over: Callable[[], bool] = lambda: True,
) -> list[int]:
    """End every process that ``find`` gives until it gives none: asked first, then killed.

    Parameters
    ----------
    find : callable
        Gives what is left; called again and again, because processes may start others meanwhile.
    grace_s : float
        Time between SIGTERM and SIGKILL [s].
    is_over : callable
        Confirms that nothing is left when ``find`` gives nothing: a list of processes is not
        taken in one moment, and one that forks just then is in neither half of it.

    Returns
    -------
    list of int
        Process ids that could not be ended (of another user, or stuck in the system).
    """
    asked: set[int] = set()
    start = time.monotonic()
    while True:
        left = find()
        if not left and is_over():
            return []
        elapsed = time.monotonic() - start
        if elapsed > grace_s + _GIVE_UP_S:
            pids = [process.pid for process in left]
            log.error("These processes could not be ended: %s.", pids)
            return pids
        for process in left:
            try:
                if elapsed >= grace_s:
                    process.kill()
                elif process.pid not in asked:
                    asked.add(process.pid)
                    process.terminate()
            except psutil.Error:
                continue  # gone, or not ours: the next look tells
        time.sleep(0.02 if elapsed < 0.5 else 0.1)
