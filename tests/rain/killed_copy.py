"""Copies once, but ends by SIGKILL at one step; ``killed_copy.py ROOT STEP`` prints the steps.

A step is one of `killing`, or a command to the server. STEP 0 kills nothing.
"""

from __future__ import annotations

import ftplib
import sys
from datetime import UTC, datetime
from pathlib import Path

from workspace_lib.rain.copying import copy
from workspace_lib.settings import load_settings
from workspace_lib.store.migrate import open_store

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from killing import Steps


def main(root: str, kill_at: int) -> None:
    settings = load_settings("testsite", root=root)
    steps = Steps(settings.outputs_dir, kill_at)
    sent = ftplib.FTP.putline

    def send(connection: ftplib.FTP, line: str) -> None:
        steps.step()
        sent(connection, line)

    ftplib.FTP.putline = send  # type: ignore[method-assign]
    with open_store(settings) as store, steps.counted(store):
        copy(store, settings, now=datetime(2026, 11, 2, tzinfo=UTC))
    sys.stdout.write(f"{steps.count}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
