"""Copies once, but ends by SIGKILL at one step; ``killed_copy.py ROOT STEP`` prints the steps.

A step is whatever another process, the server or the next start could see: a command to the
server, a file opened, named or removed, a statement of the database begun, a transaction committed.
STEP 0 kills nothing.
"""

from __future__ import annotations

import ftplib
import os
import signal
import sys
from datetime import UTC, datetime

from sqlalchemy import event

from workspace_lib.rain.copying import copy
from workspace_lib.settings import load_settings
from workspace_lib.store.migrate import open_store

SEEN = {"open", "os.rename", "os.link", "os.remove", "os.mkdir"}


def main(root: str, kill_at: int) -> None:
    settings = load_settings("testsite", root=root)
    steps, armed = 0, False

    def step(*_: object) -> None:
        nonlocal steps
        if armed:
            steps += 1
            if steps == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def audit(name: str, arguments: tuple[object, ...]) -> None:
        if name in SEEN and str(arguments[0]).startswith(str(settings.outputs_dir)):
            step()

    sent = ftplib.FTP.putline

    def send(connection: ftplib.FTP, line: str) -> None:
        step()
        sent(connection, line)

    ftplib.FTP.putline = send  # type: ignore[method-assign]
    with open_store(settings) as store:
        sys.addaudithook(audit)
        event.listen(store.data, "before_cursor_execute", step)
        event.listen(store.data, "commit", step)
        armed = True
        copy(store, settings, now=datetime(2026, 11, 2, tzinfo=UTC))
        armed = False
    sys.stdout.write(f"{steps}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
