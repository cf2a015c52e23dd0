"""Mirroring a source of files into the raw archive: nothing lost, nothing twice, at any moment.

Each step may be the last one before a power cut. A file counts only when its bytes are on the disk
and its row says so; until then it is simply fetched again. What the archive has already is not
stored twice. Nothing is ever deleted because a listing does not show it.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

from workspace_lib.clock import SYSTEM_CLOCK, ensure_utc
from workspace_lib.errors import ConfigError, SourceError
from workspace_lib.files import safe_name
from workspace_lib.settings import Settings, SourceSettings
from workspace_lib.store import inventory, raw_pack
from workspace_lib.store.engines import Store
from workspace_lib.store.inventory import Listed
from workspace_lib.transports.fetching import Fetching, Progress
from workspace_lib.transports.file_source import (
    Problem,
    clean_path,
    is_partial,
    open_source,
)

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

log = logging.getLogger(__name__)

INCOMING = "incoming"
CLOSED_AFTER = timedelta(hours=36)


@dataclass(frozen=True)
class MirrorReport:
    """What one run of `mirror` saw and took.

    ``listed`` = ``known`` + ``waiting`` + what could be fetched; of that, ``fetched`` (``bytes``)
    was taken, ``failed`` was tried in vain and ``left`` is for the next run. ``ignored`` are names
    that say they are unfinished, or that the caller did not select.
    """

    source: str
    listed: int = 0
    new: int = 0
    known: int = 0
    waiting: int = 0
    ignored: int = 0
    fetched: int = 0
    bytes: int = 0
    left: int = 0
    stopped: bool = False
    failed: list[Problem] = field(default_factory=list)


def mirror(
    store: Store,
    settings: Settings,
    source_name: str,
    *,
    folder: str = "/",
    select: Callable[[str], bool] | None = None,
    device_of: Callable[[str], str],
    day_of: Callable[[str], date | None],
    now: datetime | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> MirrorReport:
    """Bring new and changed files of a source into the raw archive.

    Parameters
    ----------
    store : Store
        Where the inventory and the archive are.
    settings, source_name
        The site, and which of its sources.
    folder : str
        Where to look, relative to the source's folder.
    select : callable, optional
        Says whether a path is wanted.
    device_of, day_of : callable
        Give the device and the day of a path, under which it is archived.
    now : datetime, optional
        The instant of the listing; the machine's clock otherwise.
    progress : Progress, optional
        Told the bytes to come and those that came, by the calling thread.
    stop : threading.Event, optional
        Ends the run after the files under way.

    Raises
    ------
    SourceError
        If the source cannot be reached or listed, or another process mirrors it right now. What
        was fetched before is kept.
    StoreError
        If the disk or the database does not take what arrived.
    """
    source = settings.source(source_name)
    stop = stop or threading.Event()
    with only_mirror(store.outputs, source_name):
        incoming = store.outputs / INCOMING / safe_name(source_name)
        _clear(incoming)
        problems: list[Problem] = []
        listed, ignored = _list(settings, source_name, folder, select, problems, stop)
        observed = inventory.observe(
            store.data,
            source_name,
            listed,
            now=now or SYSTEM_CLOCK.now(),
            stable_after_s=source.stable_after_s,
            scope=f"{clean_path(folder)}/".lstrip("/"),
            device_of=device_of,
        )
        wanted = observed.to_fetch[: source.slice_files]
        log.info(
            "%s: %d files listed, %d new, %d known, %d waiting, %d to fetch now.",
            source_name,
            len(listed),
            observed.new,
            observed.known,
            observed.waiting,
            len(wanted),
        )
        run = Fetching(store, settings, source_name, incoming, device_of, day_of, now, stop)
        if wanted:
            run.take(wanted, source.connections, progress)
    return MirrorReport(
        source=source_name,
        listed=len(listed),
        new=observed.new,
        known=observed.known,
        waiting=observed.waiting + run.changed,
        ignored=ignored,
        fetched=run.fetched,
        bytes=run.bytes,
        left=len(observed.to_fetch) - run.fetched - run.changed - len(run.failed),
        stopped=stop.is_set(),
        failed=[*problems, *run.failed],
    )


def upload(
    settings: Settings,
    source_name: str,
    items: Mapping[str, bytes | Path],
    *,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> list[str]:
    """Put files into the source's ``upload_folder``, each proved; return the paths on the server.

    Raises
    ------
    ConfigError
        If the source has no ``upload_folder``.
    SourceError
        If one cannot be put in place; those before it stand, and the old file of that name too.
    """
    folder = settings.source(source_name).upload_folder
    if folder is None:
        raise ConfigError(
            f"The source {source_name} takes no uploads.",
            where=str(settings.site_dir),
            fix="Set its upload_folder.",
        )
    sizes = {
        name: item.stat().st_size if isinstance(item, Path) else len(item)
        for name, item in items.items()
    }
    if progress is not None:
        progress.total = sum(sizes.values())
    done = []
    with open_source(settings, source_name, stop=stop) as source:
        for name, item in items.items():
            if stop is not None and stop.is_set():
                break
            path = clean_path(f"{folder}/{name}")
            source.upload(path, item)
            done.append(path)
            if progress is not None:
                progress.update(sizes[name])
    log.info("%s: %d files uploaded.", source_name, len(done))
    return done


def pack_closed_days(
    store: Store, source_name: str, now: datetime, *, limit: int | None = None
) -> list[str]:
    """Pack the small files of each device's closed days; return the paths of the ZIPs.

    A day is closed 36 hours after its end in UTC: by then it is over in every zone, and what a
    gauge sends late has come. Whether its files are parsed does not matter, because refs stay
    valid; a file that comes later still is packed along the next time.

    Parameters
    ----------
    store : Store
        Where the archive is.
    source_name : str
        Name of the source.
    now : datetime
        The instant.
    limit : int, optional
        Most days packed in this call.
    """
    before = (ensure_utc(now) - CLOSED_AFTER).date()
    return raw_pack.pack_days(store, source_name, before=before, limit=limit)


@contextmanager
def only_mirror(outputs: Path, source_name: str) -> Iterator[None]:
    """Keep other processes from mirroring the same source; ends with the process at the latest.

    Raises
    ------
    SourceError
        If another one is at it.
    """
    path = outputs / INCOMING / f"{safe_name(source_name)}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as stream:
        try:
            if sys.platform == "win32":
                msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SourceError(
                f"The source {source_name} is being mirrored by another process.",
                where=str(path),
                fix="Wait for it; it goes on where this would begin.",
            ) from error
        yield


def own_folders(source: SourceSettings) -> tuple[str, ...]:
    """Return the folders of the source that hold what we put there: uploads and trash."""
    named = (source.upload_folder, source.trash_folder)
    return tuple(clean_path(folder) for folder in named if folder and clean_path(folder))


def _list(
    settings: Settings,
    source_name: str,
    folder: str,
    select: Callable[[str], bool] | None,
    problems: list[Problem],
    stop: threading.Event,
) -> tuple[list[Listed], int]:
    skip = tuple(
        path for path in own_folders(settings.source(source_name)) if path != clean_path(folder)
    )
    wanted, ignored = [], 0
    with open_source(settings, source_name, stop=stop) as source:
        for item in source.list(folder, skip=skip, problems=problems):
            if is_partial(item.path) or (select is not None and not select(item.path)):
                ignored += 1
            else:
                wanted.append(item)
    for path, reason in problems:
        log.warning("%s: %s is left out of the listing: %s", source_name, path, reason)
    return wanted, ignored


def _clear(incoming: Path) -> None:
    """Remove what an earlier process left half fetched; only one mirrors at a time."""
    incoming.mkdir(parents=True, exist_ok=True)
    for part in incoming.glob("*.part"):
        part.unlink()
