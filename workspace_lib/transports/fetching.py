"""Fetching many files over a few connections, and registering them in batches."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.settings import Settings
from workspace_lib.store import inventory, raw
from workspace_lib.store.engines import Store, write
from workspace_lib.store.inventory import Fetched, FileRow
from workspace_lib.transports.file_source import (
    FileChanged,
    FileRefused,
    FileSource,
    Problem,
    SourceUnreachable,
    TransferBroken,
    open_source,
)

log = logging.getLogger(__name__)

#: Files that are fetched, brought to the disk and registered together.
BATCH_FILES = 500
BATCH_BYTES = 32 << 20
#: Files that wait for the disk; more would only fill the memory.
QUEUED_FILES = 200
#: On a slow line, what has arrived is registered after this time anyway [s].
BATCH_SECONDS = 10.0
#: Files up to this size are held in memory until they are registered; larger ones in a part file.
MEMORY_BYTES = 128 << 10
#: So many broken transfers without a good one between: it is the source, not the files.
GIVE_UP_AFTER = 20
#: How long a worker that is told to end may still wait for its server [s].
LAST_BLOCK_SECONDS = 5.0


class Progress(Protocol):
    """What a progress display must offer; a ``tqdm`` bar (``unit="B"``) does. Counts bytes."""

    total: float | None

    def update(self, n: float | None = 1) -> object:
        """Advance by ``n`` [bytes]."""
        ...


class _Abort(Exception):
    """Ends a worker in the middle of a file."""


@dataclass(frozen=True)
class _Taken:
    """A file that arrived whole."""

    row: FileRow
    content: bytes | Path
    sha256: str


@dataclass(frozen=True)
class _Failed:
    """A file that did not arrive, or what ended a worker (then ``row`` is None)."""

    row: FileRow | None
    error: BaseException | None


class Fetching:
    """One run's fetching: some workers with a connection each, the caller registers.

    ``fetched``, ``bytes``, ``changed`` and ``failed`` tell afterwards what came of it.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        source_name: str,
        incoming: Path,
        device_of: Callable[[str], str],
        day_of: Callable[[str], date | None],
        now: datetime | None,
        stop: threading.Event,
    ) -> None:
        self.store, self.settings, self.name = store, settings, source_name
        self.incoming, self.device_of, self.day_of = incoming, device_of, day_of
        self.now, self.stop = now, stop
        self.fetched = self.bytes = self.changed = 0
        self.failed: list[Problem] = []
        self._todo: deque[FileRow] = deque()
        self._done: queue.Queue[_Taken | _Failed] = queue.Queue(maxsize=QUEUED_FILES)
        # Ends work between two files, and waiting for the server; the second ends it at once.
        self._ending, self._abort = threading.Event(), threading.Event()
        self._arrived = 0
        self._count = threading.Lock()

    def take(self, files: Sequence[FileRow], connections: int, progress: Progress | None) -> None:
        """Fetch and register ``files``."""
        self._todo.extend(files)
        if progress is not None:
            progress.total = sum(row.size for row in files)
        workers = [
            threading.Thread(target=self._work, args=(number == 0,), name=f"{self.name}-{number}")
            for number in range(min(connections, len(files)))
        ]
        for worker in workers:
            worker.daemon = True
            worker.start()
        try:
            lost = self._collect(len(workers), progress)
        finally:
            self._abort.set()
            self._ending.set()
            deadline = time.monotonic() + LAST_BLOCK_SECONDS
            while any(worker.is_alive() for worker in workers) and time.monotonic() < deadline:
                with contextlib.suppress(queue.Empty):
                    self._done.get(timeout=0.05)
        if lost is not None and self._todo and not self.stop.is_set():
            raise lost

    def _collect(self, running: int, progress: Progress | None) -> SourceUnreachable | None:
        batch: list[_Taken] = []
        waiting_bytes, told, broken = 0, 0, 0
        lost: SourceUnreachable | None = None
        since = time.monotonic()
        while running:
            if self.stop.is_set():
                self._ending.set()
            with contextlib.suppress(queue.Empty):
                item = self._done.get(timeout=0.1)
                if isinstance(item, _Taken):
                    broken = 0
                    batch.append(item)
                    waiting_bytes += item.row.size
                elif item.row is None:
                    running -= 1
                    if item.error is not None and not isinstance(item.error, SourceUnreachable):
                        raise item.error
                    lost = item.error or lost
                else:
                    broken = broken + 1 if isinstance(item.error, TransferBroken) else 0
                    self._note(item.row, item.error)
            if progress is not None and self._arrived > told:
                progress.update(self._arrived - told)
                told = self._arrived
            late = time.monotonic() - since > BATCH_SECONDS
            if batch and (
                not running or late or len(batch) >= BATCH_FILES or waiting_bytes >= BATCH_BYTES
            ):
                self._register(batch)
                batch, waiting_bytes = [], 0
            if not batch:
                since = time.monotonic()
            if broken >= GIVE_UP_AFTER and not self._ending.is_set():
                self._ending.set()
                lost = SourceUnreachable(
                    f"{broken} transfers broke one after the other; the last: {self.failed[-1][1]}",
                    where=f"source {self.name}",
                    fix="Check the server and the network; the next run goes on here.",
                )
        return lost

    def _note(self, row: FileRow, error: BaseException | None) -> None:
        if isinstance(error, FileChanged):
            self.changed += 1
            log.info("%s", error)
        else:
            self.failed.append((row.path, str(error)))
            log.warning("%s: %s is tried again in the next run: %s", self.name, row.path, error)

    def _register(self, batch: list[_Taken]) -> None:
        items = [
            raw.RawItem(
                self.device_of(taken.row.path),
                self.day_of(taken.row.path),
                taken.row.path.rsplit("/", 1)[-1],
                taken.content,
            )
            for taken in batch
        ]
        refs = raw.put_many(self.store.outputs, self.name, items)
        fetched = [
            Fetched(
                path=taken.row.path,
                size=taken.row.size,
                sha256=taken.sha256,
                raw_ref=ref,
                modified=taken.row.modified,
                device=item.device,
            )
            for taken, item, ref in zip(batch, items, refs, strict=True)
        ]
        with write(self.store.data) as connection:
            inventory.register_fetched(
                connection, self.name, fetched, self.now or SYSTEM_CLOCK.now()
            )
        for taken in batch:
            if isinstance(taken.content, Path):
                taken.content.unlink(missing_ok=True)
        self.fetched += len(batch)
        self.bytes += sum(taken.row.size for taken in batch)

    def _work(self, first: bool) -> None:
        """Fetch until nothing is left; always ends with a message without a row."""
        error: BaseException | None = None
        try:
            with open_source(self.settings, self.name, stop=self._ending, patient=first) as source:
                self._fetch_each(source)
        except _Abort:
            pass
        except SourceUnreachable as trouble:
            # Others may go on with fewer connections; if not, the run ends with this.
            log.warning("%s: one connection less: %s", self.name, trouble)
            error = trouble
        except BaseException as trouble:  # noqa: BLE001 - handed to the calling thread
            error = trouble
        finally:
            self._done.put(_Failed(None, error))

    def _fetch_each(self, source: FileSource) -> None:
        while not self._ending.is_set():
            try:
                row = self._todo.popleft()
            except IndexError:
                return
            try:
                self._done.put(self._fetch(source, row))
            except (FileRefused, FileChanged, TransferBroken) as error:
                self._done.put(_Failed(row, error))
            except SourceUnreachable:
                self._todo.appendleft(row)
                raise

    def _fetch(self, source: FileSource, row: FileRow) -> _Taken:
        def count(block: int) -> None:
            if self._abort.is_set():
                raise _Abort
            with self._count:
                self._arrived += block

        if row.size <= MEMORY_BYTES:
            memory = io.BytesIO()
            source.fetch(row.path, memory, expected=row.size, on_bytes=count)
            content = memory.getvalue()
            return _Taken(row, content, hashlib.sha256(content).hexdigest())
        part = self.incoming / f"{uuid.uuid4().hex}.part"
        try:
            with part.open("x+b") as stream:
                source.fetch(row.path, stream, expected=row.size, on_bytes=count)
                stream.seek(0)
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return _Taken(row, part, digest)
