"""Processes: a run owns everything it starts, ends all of it, and knows what it cost.

On Linux a run's parent is a subreaper: whatever the notebook starts, also through a double fork or
in a session of its own, falls to the runner when its parent ends, so that it can be found and
ended. Elsewhere processes are found by the run's mark in their environment.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

import psutil

from workspace_lib.errors import ConfigError
from workspace_lib.process_trees import end_all, marked
from workspace_lib.runs.forked import ChildProcess

__all__ = [
    "TreeMeter",
    "become_subreaper",
    "descendants",
    "die_with_parent",
    "end_all",
    "end_descendants",
    "is_private",
    "make_private",
    "marked",
    "private_folder",
    "reap_orphans",
    "remove_private",
]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
#: Longest path of the private folder: a UNIX socket's path may have 107 bytes.
_LONGEST_FOLDER = 80


def become_subreaper() -> bool:
    """Make this process inherit orphaned descendants; returns False where the system cannot."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int | None = None) -> bool:
    """Have the kernel end this process at once when its parent ends (Linux; else False).

    ``parent`` is the process id the caller expects: if it is gone already, this process ends now.
    """
    if not _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL) if hasattr(signal, "SIGKILL") else 9):
        return False
    if parent is not None and os.getppid() != parent:
        os._exit(1)
    return True


def descendants() -> list[psutil.Process]:
    """Return the living processes below this one; reaps those of its orphans that have ended."""
    living = []
    for process in _below():
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                living.append(process)
        except psutil.NoSuchProcess:
            continue
    return living


def reap_orphans(keep: Iterable[int] = ()) -> None:
    """Collect ended orphans that fell to this process, but not the children in ``keep``."""
    if sys.platform == "win32":
        return
    kept = set(keep)
    for process in _below(recursive=False):
        try:
            if process.pid not in kept and process.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(process.pid, os.WNOHANG)
        except (psutil.NoSuchProcess, ChildProcessError):
            continue


def end_descendants(*, grace_s: float, children: Sequence[ChildProcess] = ()) -> list[int]:
    """End everything below this process; returns the process ids of what could not be ended.

    ``children`` are those that somebody else here waits for: they are polled, not reaped.
    """
    keep = [child.pid for child in children]

    def look() -> list[psutil.Process]:
        for child in children:
            child.poll()
        reap_orphans(keep)
        return descendants()

    return end_all(look, grace_s=grace_s, is_over=lambda: not _has_children())


class TreeMeter:
    """What this process and all below it used: CPU seconds and the peak of resident memory.

    Memory that processes share (forked ones do, with each other and their parent) counts once,
    divided among them, where the system tells (Linux).
    """

    def __init__(self) -> None:
        self._cpu: dict[tuple[int, float], float] = {}
        self.peak_bytes = 0

    def sample(self) -> None:
        """Look once; short peaks between two looks are missed, CPU time is not (POSIX)."""
        total = 0
        for process in [psutil.Process(), *_below()]:
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    self._cpu[process.pid, process.create_time()] = times.user + times.system
                    total += _memory(process)
            except psutil.Error:
                continue
        self.peak_bytes = max(self.peak_bytes, total)

    @property
    def cpu_s(self) -> float:
        """CPU time of everything seen or waited for [s]."""
        seen = sum(self._cpu.values())
        if sys.platform == "win32":
            return seen
        import resource

        used = 0.0
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            usage = resource.getrusage(who)
            used += usage.ru_utime + usage.ru_stime
        return max(seen, used)


def private_folder(outputs: Path, run_id: str, attempt: int) -> Path:
    """Return the path of a run's private folder for sockets: short, and the same for everyone.

    A run that was killed leaves it behind; whoever cleans up after it finds it by this name.
    """
    base = Path(tempfile.gettempdir())
    if os.name != "nt" and len(str(base)) > _LONGEST_FOLDER - 40:
        base = Path("/tmp")
    key = sha256(f"{outputs}|{run_id}|{attempt}".encode()).hexdigest()[:12]
    user = os.getuid() if hasattr(os, "getuid") else 0
    return base / f"workspace-{user}-{key}"


def is_private(folder: Path) -> bool:
    """Return whether ``folder`` is there, is no link, and only this user can enter it."""
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return False
    mine = not hasattr(os, "getuid") or (
        status.st_uid == os.getuid() and not status.st_mode & 0o077
    )
    return mine and stat.S_ISDIR(status.st_mode)


def make_private(folder: Path) -> Path:
    """Make ``folder`` anew so that only this user can enter it.

    Raises
    ------
    ConfigError
        If somebody else made something of that name.
    """
    remove_private(folder)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError as error:
        raise ConfigError(
            f"{folder} belongs to somebody else.", fix="Set TMPDIR to a folder of your own."
        ) from error
    return folder


def remove_private(folder: Path) -> None:
    """Remove a private folder, if it is ours and no link."""
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return
    if folder.is_symlink() or (hasattr(os, "getuid") and status.st_uid != os.getuid()):
        return
    shutil.rmtree(folder, ignore_errors=True)


def _below(*, recursive: bool = True) -> list[psutil.Process]:
    """Return the processes below this one, ended ones too.

    Where it has no child nothing is below it, and the system's whole table need not be read.
    """
    if sys.platform != "win32" and not _has_children():
        return []
    return psutil.Process().children(recursive=recursive)


def _memory(process: psutil.Process) -> int:
    """Return the memory a process holds, its share of what it shares with others [bytes]."""
    if sys.platform == "linux":
        try:
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            lines = []
        for line in lines:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return int(process.memory_info().rss)


def _has_children() -> bool:
    """Whether this process has any child, living or not: the system's own, exact answer."""
    if sys.platform == "win32":
        return False
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _prctl(option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(option, value, 0, 0, 0) == 0)
