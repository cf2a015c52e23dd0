"""Mirrors a site again and again, each time killed at another step and then taken up again.

``killed_mirror.py ROOT SERVED POINT…`` mirrors the source ``plant`` of the site ``testsite`` into
its fresh store. Each POINT is a share of a run's steps (see `killing`), 0 to 1; ``all`` stands for
every step. Prints how many kills were survived; ends with the first difference between archive and
server.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import traceback
from datetime import date
from pathlib import Path

from sqlalchemy import func, select

from workspace_lib.settings import Settings, load_settings
from workspace_lib.store import inventory, raw
from workspace_lib.store.engines import Store, read
from workspace_lib.store.migrate import open_store
from workspace_lib.transports import fetching, ftp_mirror

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from killing import Steps


def mirror(store: Store, settings: Settings) -> ftp_mirror.MirrorReport:
    return ftp_mirror.mirror(
        store,
        settings,
        "plant",
        device_of=lambda path: path.split("/")[0],
        day_of=lambda path: date(2026, 3, 1),
    )


def mirror_until(settings: Settings, kill_at: int) -> int:
    """Mirror, but end by SIGKILL at one step; return how many steps there were."""
    steps = Steps(settings.outputs_dir, kill_at)
    with open_store(settings) as store, steps.counted(store):
        mirror(store, settings)
    return steps.count


def finish(settings: Settings, served: Path) -> int:
    """Mirror to the end and hold the archive against the server; return how many files came."""
    with open_store(settings) as store:
        report = mirror(store, settings)
        assert report.failed == [], report
        with read(store.data) as connection:
            rows = inventory.list_files(connection, "plant", limit=1000)
            objects = connection.execute(select(func.count()).select_from(raw.raw_objects))
            number = objects.scalar()
        held = {row.path: raw.get(store, str(row.raw_ref)) for row in rows}
        there = {
            path.relative_to(served).as_posix(): path.read_bytes()
            for path in served.rglob("*")
            if path.is_file()
        }
        assert held == there, "the archive holds other bytes than the server"
        assert len(rows) == len(held) == number, "something is there twice"
        assert {(row.version, row.state) for row in rows} == {(1, "fetched")}
        loose = [path for path in (store.outputs / "raw").rglob("*") if path.is_file()]
        named = [path for path in loose if not path.name.startswith(".")]
        assert len(named) == len(held), "the archive's folders hold something twice"
        incoming = store.outputs / ftp_mirror.INCOMING / "plant"
        assert list(incoming.iterdir()) == [], "something is left over"
        again = mirror(store, settings)
        assert (again.fetched, again.known) == (0, len(there)), again
    return report.fetched


def forked(work: object, *arguments: object) -> tuple[int, str]:
    """Call ``work`` in a child; return its status and what it returned, as text."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reading)
            os.write(writing, str(work(*arguments)).encode())  # type: ignore[operator]
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a child must never return
            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        said = stream.read().decode()
    return os.waitpid(child, 0)[1], said


def main(root: str, served: str, *points: str) -> None:
    fetching.BATCH_FILES = 4
    settings = load_settings("testsite", root=root)
    outputs, fresh = settings.outputs_dir, Path(root) / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    outputs.rename(fresh)

    def restore() -> None:
        shutil.rmtree(outputs, ignore_errors=True)
        shutil.copytree(fresh, outputs)

    restore()
    status, said = forked(mirror_until, settings, 0)
    assert status == 0, "a run that nobody kills fails"
    steps = int(said)
    shares = [n / (steps - 1) for n in range(steps)] if "all" in points else map(float, points)
    survived = 0
    taken_up = set()
    for kill_at in sorted({1 + round(share * (steps - 1)) for share in shares}):
        restore()
        status, _ = forked(mirror_until, settings, kill_at)
        # The last steps of a run are not always the same in number.
        assert os.WTERMSIG(status) == signal.SIGKILL or kill_at > steps * 0.9, (kill_at, status)
        status, said = forked(finish, settings, Path(served))
        assert status == 0, f"killed at step {kill_at} of {steps}"
        taken_up.add(int(said))
        survived += 1
    assert survived == 1 or len(taken_up) > 1, "all kills came at the same moment"
    sys.stdout.write(f"{survived}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
