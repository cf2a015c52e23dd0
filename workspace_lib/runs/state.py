"""What a running notebook tells its runner: progress, counts, partial results, inputs, its error.

The kernel writes one small JSON file in the run's folder; the runner reads it with each heartbeat
and once more at the end. It outlives both, so that what was captured before a crash is known.
"""

from __future__ import annotations

import json
import os
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

from workspace_lib import secrets
from workspace_lib.files import atomic_write

FILE_NAME = "state.json"
#: Names the file to the kernel.
STATE_VARIABLE = "WORKSPACE_RUN_STATE"
#: What comes often (counts, progress, inputs) is written at most this often [s].
_PAUSE_S = 0.25


class RunState:
    """The state of one run, written to ``path`` as it changes; safe to use from threads."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.content: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._written = 0.0
        self._dirty = False
        self._listed: set[str] = set()

    def set(self, key: str, value: Any) -> None:
        """Set one entry and write it at once."""
        with self._lock:
            self.content[key] = value
            self._write()

    def append(self, key: str, value: Any) -> None:
        """Append to a list what does not stand there; written soon, as counts are."""
        name = f"{key}:{json.dumps(value, sort_keys=True)}"
        with self._lock:
            if name not in self._listed:
                self._listed.add(name)
                self.content.setdefault(key, []).append(value)
                self._soon()

    def set_soon(self, key: str, value: Any) -> None:
        """Set one entry; it is written within a quarter of a second, or by `flush`."""
        with self._lock:
            self.content[key] = value
            self._soon()

    def add(self, key: str, amounts: dict[str, int], *, at: str) -> None:
        """Add to the numbers of one entry; written within a quarter of a second, or by `flush`."""
        with self._lock:
            numbers = self.content.setdefault(key, {})
            for name, amount in amounts.items():
                numbers[name] = numbers.get(name, 0) + amount
            self.content["counted_at"] = at
            self._soon()

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            if self._dirty:
                self._write()

    def _soon(self) -> None:
        self._dirty = True
        if time.monotonic() - self._written >= _PAUSE_S:
            self._write()

    def _write(self) -> None:
        self._dirty = False
        self._written = time.monotonic()
        if self.path is not None:
            content = json.dumps(secrets.redact_tree(self.content), sort_keys=True)
            atomic_write(self.path, content.encode(), durable=False)


@cache
def kernel_state() -> RunState:
    """Return the one state of the run that this process is the kernel of."""
    path = os.environ.get(STATE_VARIABLE)
    return RunState(Path(path) if path else None)


def read_state(path: Path) -> dict[str, Any]:
    """Return what the run has told so far; empty if nothing."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return content
