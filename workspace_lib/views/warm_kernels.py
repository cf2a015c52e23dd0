"""Keeps the parent of live dashboards' kernels; light, so that it can be started first."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

log = logging.getLogger(__name__)

#: The parent answers within this, or is given up [s]; it loads for a few seconds first.
_PATIENCE_S = 30.0
#: After so many failures without a success between them it is not started anew.
_MOST_FAILURES = 3
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
#: Longest order for a kernel [bytes].
LONGEST_ORDER = 1_000_000


class WarmKernels:
    """Keeps the parent of the kernels; every failure means that kernels start by themselves.

    Parameters
    ----------
    folder : Path
        The dashboards' notebooks; the parent loads what they import.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        #: The parent that is asked is the last; those before it wait for their kernels to end.
        self._failures = 0
        self._parents: list[tuple[subprocess.Popen[bytes], socket.socket]] = []

    @property
    def parents(self) -> list[int]:
        """The processes of the parents, the one that is asked last."""
        return [process.pid for process, _ in self._parents]

    def start(self) -> None:
        """Start the parent, which loads while the first readers are still on their way."""
        if sys.platform == "win32" or not can_fork():
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(_PATIENCE_S)
        with theirs:
            words = ["-m", "workspace_lib.views.kernel_parent", str(theirs.fileno())]
            process = subprocess.Popen(
                [sys.executable, *words, str(self._folder)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **_ONE_THREAD},
            )
        self._parents.append((process, ours))

    def fork(self, arguments: list[str], environment: dict[str, str], cwd: str) -> int | None:
        """Return the process of a new kernel, or None if it has to start by itself."""
        with self._lock:
            if not self._parents:
                return None
            channel = self._parents[-1][1]
            order = {"arguments": arguments, "environment": environment, "cwd": cwd}
            try:
                channel.send(json.dumps(order).encode())
                said = json.loads(channel.recv(LONGEST_ORDER) or b"{}")
            except (OSError, ValueError) as error:
                said = {"error": str(error)}
            if "pid" in said:
                self._failures = 0
                return int(said["pid"])
            changed = bool(said.get("changed"))
            if not changed:
                self._failures += 1
                self._end(*self._parents.pop())
            self._parents = [one for one in self._parents if one[0].poll() is None]
            why = "the package was changed" if changed else str(said.get("error", "it ended"))
            if self._failures < _MOST_FAILURES:
                log.info("The parent of the kernels is started anew: %s", why)
                self.start()
            else:
                log.warning("Kernels start by themselves from now on, their parent failed: %s", why)
            return None

    def stop(self) -> None:
        """End the parents; their kernels end with them."""
        with self._lock:
            while self._parents:
                self._end(*self._parents.pop())

    @staticmethod
    def _end(process: subprocess.Popen[bytes], channel: socket.socket) -> None:
        channel.close()
        process.kill()
        process.wait()


def can_fork() -> bool:
    """Return whether this system can fork a process safely and watch it."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open") and hasattr(os, "fork")
