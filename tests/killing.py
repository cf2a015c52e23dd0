"""For programs that end by SIGKILL at one of their steps, to be taken up again by the test.

A step is whatever another process, a server or the next start could see: a file of the site opened,
named, linked or removed, a folder made, a connection made, a statement of the database begun, a
transaction committed; and what the program itself tells to be one.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import event

from workspace_lib.store.engines import Store

SEEN = {"open", "os.rename", "os.link", "os.remove", "os.mkdir"}


class Steps:
    """Counts steps, and ends this process at the one numbered ``kill_at``; 0 ends it nowhere."""

    def __init__(self, outputs: Path, kill_at: int) -> None:
        self.count = 0
        self._outputs, self._kill_at = str(outputs), kill_at
        self._armed = False

    def step(self, *_: object) -> None:
        """Count a step, if steps are counted now."""
        if self._armed:
            self.count += 1
            if self.count == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def counted(self, store: Store) -> Iterator[None]:
        """Count the steps of what happens within."""
        sys.addaudithook(self._audit)
        event.listen(store.data, "before_cursor_execute", self.step)
        event.listen(store.data, "commit", self.step)
        self._armed = True
        yield
        self._armed = False

    def _audit(self, name: str, arguments: tuple[object, ...]) -> None:
        if name == "socket.connect" or (
            name in SEEN and str(arguments[0]).startswith(self._outputs)
        ):
            self.step()
