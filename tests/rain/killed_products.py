"""Makes and sends the products of a site, then clears its raw files, and is killed on the way.

``killed_products.py ROOT NOW STEP`` works on the site ``testsite``. At the given step it ends by
SIGKILL; with 0 it goes on to the end and prints how many steps there were. A step is whatever
another process or the next start could see: a file opened, renamed or removed, a connection made, a
statement of the database begun, a transaction committed.
"""

from __future__ import annotations

import os
import signal
import sys

from sqlalchemy import event

from workspace_lib.clock import parse_instant
from workspace_lib.rain.clearing import clear_raw
from workspace_lib.rain.products import make_products
from workspace_lib.settings import load_settings
from workspace_lib.store.migrate import open_store

SEEN = {"open", "os.rename", "os.remove", "os.mkdir", "socket.connect"}


def main(root: str, instant: str, kill_at: str) -> None:
    settings, now = load_settings("testsite", root=root), parse_instant(instant)
    steps, armed = 0, False

    def step(*_: object) -> None:
        nonlocal steps
        if armed:
            steps += 1
            if steps == int(kill_at):
                os.kill(os.getpid(), signal.SIGKILL)

    def audit(name: str, arguments: tuple[object, ...]) -> None:
        if name == "socket.connect" or (
            name in SEEN and str(arguments[0]).startswith(str(settings.outputs_dir))
        ):
            step()

    with open_store(settings) as store:
        sys.addaudithook(audit)
        event.listen(store.data, "before_cursor_execute", step)
        event.listen(store.data, "commit", step)
        armed = True
        make_products(store, settings, now=now)
        clear_raw(store, settings, now=now)
        armed = False
    sys.stdout.write(f"{steps}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
