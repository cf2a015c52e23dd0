"""Keeps events, but ends by SIGKILL at each STRIDEth step; ``killed_keeping.py ROOT STRIDE``.

A step is one of `killing`. After each kill it is said what is not as it should be, then everything
is kept once more, and again it is said.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select

from workspace_lib.reclosers.archive import Archive, open_archive
from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.keeping import keep_event
from workspace_lib.reclosers.record import device_time
from workspace_lib.reclosers.relay_plan import FetchedEvent, FetchedFile
from workspace_lib.reclosers.settings import Recloser
from workspace_lib.reclosers.tables import recloser_events, recloser_files
from workspace_lib.settings import Settings, load_settings
from workspace_lib.store.engines import Store, read
from workspace_lib.store.migrate import open_store

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from killing import Steps

NOW = datetime(2026, 8, 2, 16, tzinfo=UTC)
RECLOSER = Recloser(id="LAV-101", ced="LAV", remote=False)


def entry(second: int) -> HistoryEntry:
    return HistoryEntry(1, device_time(datetime(2026, 8, 2, 11, 10, second), 0, 3), "AG T")


RECORD = (
    FetchedFile("cev", "", b"report"),
    FetchedFile("cfg", "HR_1.CFG", b"channels"),
    FetchedFile("dat", "HR_1.DAT", b"samples"),
)
DAMAGED = (FetchedFile("cev", "", b"rep?rt", whole=False),)
#: What arrives, in this order: the second event comes damaged first.
ARRIVES = (
    FetchedEvent(entry(1), "whole", RECORD),
    FetchedEvent(entry(2), "damaged", DAMAGED, why="line 3: its checksum is wrong"),
    FetchedEvent(entry(2), "whole", (FetchedFile("cev", "", b"another report"),)),
    FetchedEvent(entry(3), "summary"),
)
#: States in the end.
ENDS = ["whole", "whole", "summary"]


def keep_all(store: Store, archive: Archive) -> None:
    for one in ARRIVES:
        keep_event(store, archive, RECLOSER, one, now=NOW)


def wrong(store: Store, archive: Archive, *, done: bool) -> Iterator[str]:
    """Say what is not as it should be: rows without bytes; in the end also all else."""
    with read(store.data) as connection:
        files = connection.execute(select(recloser_files)).all()
        columns = recloser_events.c
        states = connection.scalars(select(columns.state).order_by(columns.device_us)).all()
    for file in files:
        if archive.read(file.path, file.sha256) is None:
            yield f"{file.path} is not there"
    there = {
        path.relative_to(archive.root).as_posix()
        for path in archive.root.rglob("*")
        if path.is_file() and path.suffix != ".part"
    }
    if done and list(states) != ENDS:
        yield f"states are {states}"
    if done and there != {file.path for file in files} | {"LAV/LAV-101/Events.csv"}:
        yield f"files are {sorted(there)}"


def child(settings: Settings, kill_at: int) -> None:
    """Keep everything, and die at a step; the exit code is 0 where there are fewer steps."""
    steps = Steps(settings.outputs_dir, kill_at)
    with open_store(settings) as store, steps.counted(store):
        keep_all(store, open_archive(settings))


def forked(settings: Settings, kill_at: int) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            child(settings, kill_at)
        finally:  # never go on as a second parent
            error = sys.exception()
            if error is not None:
                sys.excepthook(type(error), error, error.__traceback__)
            os._exit(error is not None)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(root: str, stride: int) -> None:
    settings = load_settings("testsite", root=root)
    open_store(settings, create=True).close()
    fresh = Path(root) / "fresh"
    shutil.copytree(settings.outputs_dir, fresh)
    kills = 0
    while True:
        shutil.rmtree(settings.outputs_dir)
        shutil.copytree(fresh, settings.outputs_dir)
        step = 1 + kills * stride
        ended = forked(settings, step)
        if ended == 0:
            break
        if ended != -signal.SIGKILL:
            raise SystemExit(f"step {step} ended by {ended}")
        kills += 1
        with open_store(settings) as store:
            archive = open_archive(settings)
            told = list(wrong(store, archive, done=False))
            keep_all(store, archive)
            told += wrong(store, archive, done=True)
        if told:
            raise SystemExit(f"step {step}: {'; '.join(told)}")
    sys.stdout.write(f"{kills}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
