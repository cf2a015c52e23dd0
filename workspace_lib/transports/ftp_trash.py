"""Clearing a source: verified files go to a trash folder on the server, and later for good.

Nothing here happens unless the site allows it (``allow_delete``). A file is moved only after its
bytes were read back from the raw archive and the server shows the same size; it is removed from
the trash only if it is still the one that was moved.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from sqlalchemy import select

from workspace_lib.clock import SYSTEM_CLOCK, ensure_utc
from workspace_lib.errors import ConfigError, SourceError, StoreError
from workspace_lib.files import sha256_bytes
from workspace_lib.settings import Settings
from workspace_lib.store import inventory, raw
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.inventory import DELETED, PARSED, FileRow, Listed
from workspace_lib.store.source_files import file_row, source_files
from workspace_lib.transports.file_source import (
    FileRefused,
    FileSource,
    Problem,
    SourceUnreachable,
    clean_path,
    is_partial,
    open_source,
)
from workspace_lib.transports.ftp_mirror import own_folders

log = logging.getLogger(__name__)

#: Says which files must stay on the server, and why: reasons by the files' ids.
MustStay = Callable[[Sequence[FileRow]], Mapping[int, str]]

_BATCH = 100
_PATHS_PER_QUERY = 500
_SUFFIX = re.compile(r"~(\d+)$")


@dataclass(frozen=True)
class TrashReport:
    """What one run of `trash` did: files moved, files removed for good, files left and why."""

    source: str
    allowed: bool = False
    moved: int = 0
    removed: int = 0
    kept: list[Problem] = field(default_factory=list)


def trash(
    store: Store,
    settings: Settings,
    source_name: str,
    *,
    must_stay: MustStay | None = None,
    limit: int | None = None,
    now: datetime | None = None,
    stop: threading.Event | None = None,
) -> TrashReport:
    """Move parsed and verified files to ``trash_folder/<date>``; remove what lay there long enough.

    Parameters
    ----------
    store : Store
        Its raw archive must hold the very bytes.
    settings, source_name
        The site, and which of its sources. Without ``allow_delete`` nothing is done at all.
    must_stay : callable, optional
        Asked for each batch of parsed files which of them are still needed on the server: by id,
        with the reason.
    limit : int, optional
        Most files moved in this run.
    now : datetime, optional
        The machine's clock otherwise.
    stop : threading.Event, optional
        Ends the run between two files.

    Raises
    ------
    ConfigError
        If removal is allowed and no ``trash_folder`` is set.
    SourceError
        If the source cannot be reached or listed.
    """
    source = settings.source(source_name)
    if not source.allow_delete:
        log.info("%s: removal is not allowed; nothing is moved.", source_name)
        return TrashReport(source_name)
    folder = clean_path(source.trash_folder or "")
    if not folder:
        raise ConfigError(
            f"The source {source_name} may be cleared, but has no trash folder.",
            where=str(settings.site_dir),
            fix="Set its trash_folder, on the same server.",
        )
    moment = ensure_utc(now or SYSTEM_CLOCK.now())
    with open_source(settings, source_name, stop=stop) as remote:
        run = _Clearing(store, source_name, remote, folder, moment, stop or threading.Event())
        run.must_stay = must_stay or run.must_stay
        run.limit = limit
        run.move(list(remote.list("/", skip=own_folders(source), problems=run.kept)))
        run.remove(moment.date() - timedelta(days=source.delete_after_days))
    log.info(
        "%s: %d files moved to the trash, %d removed from it, %d kept.",
        source_name,
        run.moved,
        run.removed,
        len(run.kept),
    )
    return TrashReport(source_name, True, run.moved, run.removed, run.kept)


class _Clearing:
    """One run: what it moved, removed and kept."""

    def __init__(
        self,
        store: Store,
        name: str,
        remote: FileSource,
        folder: str,
        now: datetime,
        stop: threading.Event,
    ) -> None:
        self.store, self.name, self.remote = store, name, remote
        self.folder, self.now, self.stop = folder, now, stop
        self.must_stay: MustStay = lambda rows: {}
        self.limit: int | None = None
        self.moved = self.removed = 0
        self.kept: list[Problem] = []

    def move(self, listed: Sequence[Listed]) -> None:
        """Move what is parsed, verified and unchanged."""
        ready = [item for item in listed if not is_partial(item.path)]
        rows = _newest(self.store, self.name, [item.path for item in ready])
        for start in range(0, len(ready), _BATCH):
            done: list[int] = []
            batch = [(rows.get(item.path), item) for item in ready[start : start + _BATCH]]
            parsed = [(row, item) for row, item in batch if row is not None and row.state == PARSED]
            needed = self.must_stay([row for row, _ in parsed]) if parsed else {}
            try:
                for row, item in parsed:
                    if self.stop.is_set() or self.limit == self.moved + len(done):
                        break
                    if row.id in needed:
                        self.kept.append((row.path, needed[row.id]))
                    elif self._move_one(row, item):
                        done.append(row.id)
            finally:
                if done:
                    with write(self.store.data) as connection:
                        inventory.mark_deleted(connection, done, self.now)
                    self.moved += len(done)

    def _move_one(self, row: FileRow, item: Listed) -> bool:
        try:
            self._prove(row, item)
            target = f"{self.folder}/{self.now.date().isoformat()}/{row.path}"
            if _size(self.remote, target) is not None:
                target += f"~{row.id}"
            # The last look before the file goes: it may have grown since the listing.
            if self.remote.size(row.path) != row.size:
                raise SourceError("it changed since it was fetched")
            try:
                self.remote.rename(row.path, target)
            except FileRefused:
                self.remote.make_folder(target.rpartition("/")[0])
                self.remote.rename(row.path, target)
        except SourceUnreachable:
            raise
        except (SourceError, StoreError) as error:
            self.kept.append((row.path, error.what))
            log.warning("%s: %s stays on the server: %s", self.name, row.path, error)
            return False
        return True

    def _prove(self, row: FileRow, item: Listed) -> None:
        if item.size != row.size:
            raise SourceError("it changed since it was fetched")
        if row.raw_ref is None or row.sha256 is None:
            raise StoreError("the raw archive does not hold it")
        content = raw.get(self.store, row.raw_ref)
        if len(content) != row.size or sha256_bytes(content) != row.sha256:
            raise StoreError("the raw archive holds other bytes")

    def remove(self, last_day: date) -> None:
        """Remove from the trash what came there on ``last_day`` or before, and is still the same.

        What an interrupted run moved without noting it is noted now.
        """
        try:
            found = list(self.remote.list(self.folder, problems=self.kept))
        except FileRefused:
            return  # nothing was ever moved
        places = {item.path: _places(item.path, self.folder) for item in found}
        rows = _newest(self.store, self.name, [p for _, paths in places.values() for p in paths])
        for item in found:
            if self.stop.is_set():
                return
            day, paths = places[item.path]
            path = next((path for path in paths if path in rows), paths[0])
            row = rows.get(path)
            if row is not None and row.state == PARSED and self._is_gone(row, item):
                with write(self.store.data) as connection:
                    inventory.mark_deleted(connection, [row.id], self.now)
            if day is None or day > last_day:
                continue
            if not _is_ours(self.store, self.name, path, item.size):
                self.kept.append((item.path, "it is not a file that was moved here"))
                continue
            try:
                self.remote.remove(item.path)
            except FileRefused as error:
                self.kept.append((item.path, error.what))
            else:
                self.removed += 1

    def _is_gone(self, row: FileRow, item: Listed) -> bool:
        return item.size == row.size and _size(self.remote, row.path) is None


def _newest(store: Store, source: str, paths: Sequence[str]) -> dict[str, FileRow]:
    found: dict[str, FileRow] = {}
    for row in _rows(store, source, paths):
        if row.path not in found or found[row.path].version < row.version:
            found[row.path] = row
    return found


def _rows(store: Store, source: str, paths: Sequence[str]) -> Iterator[FileRow]:
    unique = sorted(set(paths))
    for start in range(0, len(unique), _PATHS_PER_QUERY):
        part = unique[start : start + _PATHS_PER_QUERY]
        query = select(source_files).where(
            source_files.c.source == source, source_files.c.path.in_(part)
        )
        with read(store.data) as connection:
            for row in connection.execute(query).mappings():
                yield file_row(row)


def _is_ours(store: Store, source: str, path: str, size: int) -> bool:
    return any(row.state == DELETED and row.size == size for row in _rows(store, source, [path]))


def _size(remote: FileSource, path: str) -> int | None:
    try:
        return remote.size(path)
    except FileRefused:
        return None


def _places(path: str, folder: str) -> tuple[date | None, tuple[str, str]]:
    """Return the day a file came to the trash, and where it may have been before."""
    day, _, before = path[len(folder) + 1 :].partition("/")
    try:
        return date.fromisoformat(day), (before, _SUFFIX.sub("", before))
    except ValueError:
        return None, (before, before)
