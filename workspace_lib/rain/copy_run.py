"""Part of `copying`: one run, from the base folder into the archive, from there into place."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import select

from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.errors import SourceError
from workspace_lib.files import sha256_bytes
from workspace_lib.rain.capture import day_of, device_of
from workspace_lib.rain.ingest import identify
from workspace_lib.rain.readers import parse_a0_name
from workspace_lib.rain.settings import Gauge, Network
from workspace_lib.reports import counts_frame, plain
from workspace_lib.settings import Settings
from workspace_lib.store import inventory, raw
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.source_files import Fetched, FileRow, source_files
from workspace_lib.store.upsert import batches
from workspace_lib.transports.file_source import (
    FileRefused,
    FileSource,
    Problem,
    SourceUnreachable,
    TooManyConnections,
    clean_path,
    open_source,
)
from workspace_lib.transports.ftp_mirror import MirrorReport, mirror
from workspace_lib.transports.uploads import remote_sha256, upload_verified

log = logging.getLogger(__name__)

#: Below a gauge's folder: what the base has under a name that the gauge itself filled otherwise.
ASIDE: Final = "from_base"
#: Files that are put in place and then noted together.
BATCH_FILES: Final = 200
_PATHS_PER_QUERY: Final = 500

#: What became of a file: put in place; in place of its shorter self; there before; beside another.
Outcome = Literal["copied", "replaced", "there", "aside"]


@dataclass(frozen=True)
class CopyReport:
    """What one run of `copy` saw and did.

    ``listed``, ``new``, ``waiting``, ``fetched``, ``left`` and ``failed`` are those of the mirror
    of the base folder, the last two also of what was not put in place. Of the files put in place
    (``bytes`` in all), ``copied`` are new there, ``replaced`` took the place of a beginning or an
    earlier version of themselves, ``there`` needed nothing, and ``aside`` lie in the subfolder
    `ASIDE`, since the gauge filled their name otherwise. ``handed_over`` of them are of gauges that
    deliver directly by now.
    """

    base: str
    target: str
    listed: int
    new: int
    waiting: int
    fetched: int
    bytes: int
    left: int
    copied: int
    replaced: int
    there: int
    aside: int
    handed_over: int
    packed_days: int
    gauges: tuple[str, ...] = ()
    files_by_gauge: dict[str, int] = field(default_factory=dict)
    failed: tuple[tuple[str, str], ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every file that could be copied was."""
        return not self.failed and not self.left

    @property
    def trouble(self) -> str:
        """What somebody should look at, in one sentence; empty if there is nothing."""
        parts = []
        if self.failed:
            parts.append(f"{len(self.failed)} files could not be copied")
        if self.aside:
            parts.append(f"{self.aside} files stand in {ASIDE}, since their names were taken")
        return "; ".join(parts)

    def to_frame(self) -> Any:
        """Return the counts as a pandas frame, for people who look at the notebook."""
        return counts_frame(self, self.target, {"files": self.files_by_gauge})

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, to be published."""
        return plain(self)


class CopyRun:
    """One run: which gauges are wanted, and what became of their files."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        network: Network,
        base: str,
        target: str,
        wanted: frozenset[str],
        now: datetime | None,
        stop: threading.Event | None,
    ) -> None:
        self.store, self.settings = store, settings
        self.network, self.at_base = network, network.at_base()
        self.base, self.target, self.wanted = base, target, wanted
        self.now, self.stop = now, stop or threading.Event()
        self.outcomes: Counter[Outcome] = Counter()
        self.by_gauge: Counter[str] = Counter()
        self.failed: list[Problem] = []
        self.bytes = self.handed_over = self.left = 0

    @property
    def files(self) -> int:
        """How many files were put in place."""
        return self.outcomes.total() - self.outcomes["there"]

    @property
    def there(self) -> int:
        """How many files needed nothing."""
        return self.outcomes["there"]

    def fetch(self) -> MirrorReport:
        """Bring what is new in the base folder into the archive."""
        if not self.wanted:
            return MirrorReport(self.base)
        return mirror(
            self.store,
            self.settings,
            self.base,
            select=lambda path: self._gauge(path) is not None,
            device_of=lambda path: device_of(self.at_base, path),
            day_of=day_of,
            now=self.now,
            stop=self.stop,
        )

    def deliver(self, progress: Callable[[float, str], object] | None) -> None:
        """Put what is in the archive and not done yet into the folders of the gauges."""
        waiting = [row for row in self._waiting() if self._gauge(row.path) is not None]
        newest = {row.path: row for row in waiting}
        superseded = [row.id for row in waiting if newest[row.path] is not row]
        self._note([], superseded)
        done = 0
        with ExitStack() as stack:
            sources: list[FileSource] = []
            for batch in batches(list(newest.values()), BATCH_FILES):
                if self.stop.is_set():
                    break
                todo = self._not_there(batch)
                if todo and not sources:
                    sources = self._connect(stack)
                self._place_all(sources, todo)
                done += len(batch)
                if progress:
                    progress(done / len(newest), "copying")
        self.left = len(newest) - done

    def report(self, fetched: MirrorReport, packed_days: int) -> CopyReport:
        """Return what came of it."""
        return CopyReport(
            base=self.base,
            target=self.target,
            listed=fetched.listed,
            new=fetched.new,
            waiting=fetched.waiting,
            fetched=fetched.fetched,
            bytes=self.bytes,
            left=fetched.left + self.left,
            copied=self.outcomes["copied"],
            replaced=self.outcomes["replaced"],
            there=self.there,
            aside=self.outcomes["aside"],
            handed_over=self.handed_over,
            packed_days=packed_days,
            gauges=tuple(sorted(self.wanted)),
            files_by_gauge=dict(sorted(self.by_gauge.items())),
            failed=(*fetched.failed, *self.failed),
        )

    def _gauge(self, path: str) -> Gauge | None:
        """Return whose raw file a path in the base folder is, if that gauge is wanted."""
        if parse_a0_name(path.rpartition("/")[2]) is None:
            return None
        gauge, _ = identify(self.at_base, path)
        return gauge if gauge is not None and gauge.id in self.wanted else None

    def _path(self, path: str) -> str:
        """Return where a file of the base folder belongs on the target."""
        gauge = self._gauge(path)
        assert gauge is not None
        within = path.removeprefix(f"{clean_path(gauge.folder)}/")
        if within == path:
            within = path.rpartition("/")[2]
        return clean_path(f"{self.network.gauge(gauge.id).folder}/{within}")

    def _waiting(self) -> Iterator[FileRow]:
        after = 0
        while True:
            with read(self.store.data) as connection:
                rows = inventory.pending(connection, self.base, limit=2000, after_id=after)
            if not rows:
                return
            after = rows[-1].id
            yield from rows

    def _not_there(self, rows: Sequence[FileRow]) -> list[FileRow]:
        """Note what the target had already, by its inventory; return the others."""
        places = {row.id: self._path(row.path) for row in rows}
        known: set[tuple[str, str | None]] = set()
        for part in batches(
            sorted({*places.values(), *map(aside, places.values())}), _PATHS_PER_QUERY
        ):
            columns = source_files.c
            query = select(columns.path, columns.sha256).where(
                columns.source == self.target, columns.path.in_(part)
            )
            with read(self.store.data) as connection:
                known |= {(path, digest) for path, digest in connection.execute(query)}
        there = [
            row
            for row in rows
            if {(places[row.id], row.sha256), (aside(places[row.id]), row.sha256)} & known
        ]
        self._note([], [row.id for row in there])
        for row in there:
            self._tally(row, "there")
        done = {row.id for row in there}
        return [row for row in rows if row.id not in done]

    def _connect(self, stack: ExitStack) -> list[FileSource]:
        """Open the connections to the target: one, and more if the server has room."""
        sources = [stack.enter_context(open_source(self.settings, self.target, stop=self.stop))]
        for _ in range(self.settings.source(self.target).connections - 1):
            try:
                more = open_source(self.settings, self.target, stop=self.stop, patient=False)
            except TooManyConnections as error:
                log.info("%s: one connection less: %s", self.target, error)
                break
            sources.append(stack.enter_context(more))
        return sources

    def _place_all(self, sources: Sequence[FileSource], rows: Sequence[FileRow]) -> None:
        """Put a batch in place, each connection its share, and note what is."""
        if not rows:
            return
        contents = dict(
            zip(
                (row.id for row in rows),
                raw.get_many(self.store, [row.raw_ref or "" for row in rows]),
                strict=True,
            )
        )
        placed: list[tuple[FileRow, str, Outcome]] = []

        def work(source: FileSource, share: Sequence[FileRow]) -> None:
            for row in share:
                if self.stop.is_set():
                    return
                try:
                    path, outcome = self._place(source, row, contents[row.id])
                except SourceUnreachable:
                    raise
                except SourceError as error:
                    self.failed.append((row.path, str(error)))
                    log.warning("%s: %s is tried again: %s", self.base, row.path, error)
                else:
                    placed.append((row, path, outcome))

        shares = [rows[number :: len(sources)] for number in range(len(sources))]
        try:
            with ThreadPoolExecutor(len(sources)) as pool:
                list(pool.map(work, sources, shares))
        finally:
            self._note(
                [self._fetched(row, path) for row, path, _ in placed],
                [row.id for row, _, _ in placed],
            )
            for row, _, outcome in placed:
                self._tally(row, outcome)

    def _place(self, source: FileSource, row: FileRow, content: bytes) -> tuple[str, Outcome]:
        """Put one file where it belongs; return where it is now, and what that took."""
        path = self._path(row.path)
        there = _on_target(source, path)
        outcome: Outcome = "copied"
        if there is not None and there.sha256 == row.sha256:
            return path, "there"
        if there is not None and (there.begins(content) or there.sha256 in self._earlier(row)):
            outcome = "replaced"
        elif there is not None:
            path, outcome = aside(path), "aside"
            beside = _on_target(source, path)
            if beside is not None and beside.sha256 == row.sha256:
                return path, outcome
        upload_verified(source, path, content, tag=f"copy{row.id}")
        return path, outcome

    def _earlier(self, row: FileRow) -> set[str | None]:
        """Return the digests of earlier versions of a file, which may stand on the target."""
        query = select(source_files.c.sha256).where(
            source_files.c.source == self.base,
            source_files.c.path == row.path,
            source_files.c.version < row.version,
            source_files.c.sha256.is_not(None),
        )
        with read(self.store.data) as connection:
            return set(connection.execute(query).scalars())

    def _fetched(self, row: FileRow, path: str) -> Fetched:
        assert row.sha256 is not None
        return Fetched(path, row.size, row.sha256, row.raw_ref, device=row.device)

    def _note(self, fetched: Sequence[Fetched], done: Sequence[int]) -> None:
        """Enter files into the target's inventory and close them in the base's, at once."""
        if not done:
            return
        moment = self.now or SYSTEM_CLOCK.now()
        with write(self.store.data) as connection:
            inventory.register_fetched(connection, self.target, fetched, moment)
            inventory.mark_parsed(connection, done, moment)

    def _tally(self, row: FileRow, outcome: Outcome) -> None:
        gauge = self._gauge(row.path)
        assert gauge is not None
        self.outcomes[outcome] += 1
        if outcome == "there":
            return
        self.by_gauge[gauge.id] += 1
        self.bytes += row.size
        self.handed_over += gauge.delivery == "direct"


def aside(path: str) -> str:
    """Return where a file goes whose place on the target is taken by another."""
    folder, _, name = path.rpartition("/")
    return clean_path(f"{folder}/{ASIDE}/{name}")


@dataclass(frozen=True)
class _Standing:
    """A file that stands on the target: its size [bytes] and its SHA-256."""

    size: int
    sha256: str

    def begins(self, content: bytes) -> bool:
        """Return whether it is the beginning of ``content``: cut off, or still being sent."""
        return self.size < len(content) and sha256_bytes(content[: self.size]) == self.sha256


def _on_target(source: FileSource, path: str) -> _Standing | None:
    """Return what stands at a path of the target, if anything does."""
    try:
        size = source.size(path)
    except FileRefused:
        return None
    return _Standing(size, remote_sha256(source, path, size))
