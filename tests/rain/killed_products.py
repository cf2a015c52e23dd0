"""Makes and sends the products of a site, then clears its raw files, and is killed on the way.

``killed_products.py ROOT NOW STEP`` works on the site ``testsite``. At the given step it ends by
SIGKILL; with 0 it goes on to the end and prints how many steps, as `killing` has them, there were.
"""

from __future__ import annotations

import sys
from pathlib import Path

from workspace_lib.clock import parse_instant
from workspace_lib.rain.clearing import clear_raw
from workspace_lib.rain.products import make_products
from workspace_lib.settings import load_settings
from workspace_lib.store.migrate import open_store

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from killing import Steps


def main(root: str, instant: str, kill_at: str) -> None:
    settings, now = load_settings("testsite", root=root), parse_instant(instant)
    steps = Steps(settings.outputs_dir, int(kill_at))
    with open_store(settings) as store, steps.counted(store):
        make_products(store, settings, now=now)
        clear_raw(store, settings, now=now)
    sys.stdout.write(f"{steps.count}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
