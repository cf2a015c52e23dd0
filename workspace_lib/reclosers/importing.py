"""Events that people fetched by hand, taken into the archive and the store.

So nothing of the history is fetched again: an event has the same identity whether it came from a
relay or from a folder. The folder is only read. Doing it twice changes nothing, and so does taking
in the archive's own folder, which makes the rows of a lost store anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from sqlalchemy import select

from workspace_lib.errors import ParameterError
from workspace_lib.files import sha256_bytes
from workspace_lib.reclosers.archive import Archive, open_archive
from workspace_lib.reclosers.events_csv import write_events_csv
from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.import_files import (
    KNOWN,
    FoundEvent,
    FoundList,
    Other,
    find_events,
)
from workspace_lib.reclosers.import_report import Became, ImportLine, ImportReport
from workspace_lib.reclosers.import_whose import Owners
from workspace_lib.reclosers.keeping import NEAR_US, keep_event
from workspace_lib.reclosers.relay_plan import FetchedEvent, FetchedFile, FileKind
from workspace_lib.reclosers.report import DateOrder
from workspace_lib.reclosers.settings import Recloser, load_fleet
from workspace_lib.reclosers.tables import recloser_events, recloser_files
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store, read


def import_folder(
    store: Store,
    settings: Settings,
    folder: Path,
    *,
    ced: str = "all",
    recloser: str | None = None,
    dry_run: bool = False,
    now: datetime,
    run_id: str = "",
) -> ImportReport:
    """Take in what lies in a folder and below.

    Parameters
    ----------
    ced : str
        Territories whose reclosers are meant, with commas; ``all`` by default.
    recloser : str, optional
        The recloser that all files are of.
    dry_run : bool
        Only say what would be done.
    now : datetime
        When it is done.

    Raises
    ------
    ParameterError
        If the site has no such territory or recloser.
    FormatError
        If the folder cannot be read.
    StoreError
        If the archive or the store cannot be written; what was taken in so far stays.
    """
    fleet = load_fleet(settings)
    meant = fleet.choose(ced, recloser or "all")
    only = meant[0] if recloser is not None and len(meant) == 1 else None
    if recloser is not None and only is None:
        raise ParameterError("Name one recloser.", fix="Leave it out if there are more.")
    task = _Import(store, open_archive(settings), folder, Owners(meant, only), dry_run)
    task.run(now, run_id)
    return task.report


@dataclass(frozen=True)
class _Part:
    """A file of an event, whose bytes are read again when they are kept: folders may be large."""

    kind: FileKind
    path: Path
    sha256: str


@dataclass(frozen=True)
class _Event:
    """An event with its recloser and the files that it is told by."""

    recloser: Recloser
    entry: HistoryEntry
    state: Literal["whole", "damaged", "summary"]
    path: Path
    why: str = ""
    parts: tuple[_Part, ...] = ()
    samples: int = 0

    @property
    def key(self) -> tuple[int, str]:
        """Time [µs] and type."""
        return self.entry.time.ns // 1000, self.entry.event

    def fetched(self) -> FetchedEvent | None:
        """Return it with its bytes; None where a file has changed since it was looked at."""
        files = []
        for part in self.parts:
            content = part.path.read_bytes()
            if sha256_bytes(content) != part.sha256:
                return None
            whole = self.state == "whole"
            files.append(FetchedFile(part.kind, part.path.name, content, whole))
        return FetchedEvent(self.entry, self.state, tuple(files), why=self.why)


class _Import:
    """One import: first everything is looked at, then it is kept recloser by recloser."""

    def __init__(
        self, store: Store, archive: Archive, folder: Path, owners: Owners, dry_run: bool
    ) -> None:
        self._store, self._archive = store, archive
        self._folder, self._owners = folder, owners
        self.report = ImportReport(dry_run=dry_run)
        self._whole: dict[str, list[_Event]] = {}
        self._damaged: dict[str, list[_Event]] = {}
        self._listed: dict[str, list[_Event]] = {}
        self._reclosers: dict[str, Recloser] = {}

    def run(self, now: datetime, run_id: str) -> None:
        for found in find_events(self._folder, self._order, self._known_files()):
            self._look(found)
        for name in sorted(self._reclosers):
            recloser = self._reclosers[name]
            self._keep_all(recloser, now, run_id)
            if not self.report.dry_run:
                write_events_csv(self._store, self._archive, recloser)

    # What is there

    def _look(self, found: FoundEvent | FoundList | Other) -> None:
        if isinstance(found, Other):
            self._other(found)
        elif isinstance(found, FoundList):
            self._list(found)
        else:
            self._event(found)

    def _other(self, found: Other) -> None:
        if found.why == KNOWN:
            self._line("known", found.path)
        elif found.why:
            self._line("unclear", found.path, why=found.why)
        else:
            self.report.ignored += 1

    def _event(self, found: FoundEvent) -> None:
        whose = self._owners.of(self._below(found.paths[0]), found.names)
        if whose.recloser is None or found.entry is None:
            why = "; ".join(one for one in (found.damage, whose.why) if one)
            self._line("unclear", found.paths[0], why=why)
            return
        parts = tuple(
            _Part(file.kind, path, file.sha256)
            for file, path in zip(found.files, found.paths, strict=True)
        )
        one = _Event(
            whose.recloser,
            found.entry,
            "damaged" if found.damage else "whole",
            found.paths[0],
            found.damage or found.doubts,
            parts,
            found.samples,
        )
        self._add(self._damaged if found.damage else self._whole, one)

    def _list(self, found: FoundList) -> None:
        for bad in found.bad:
            self._line("unclear", found.path, why=bad)
        self.report.ignored += not (found.bad or found.listed)
        whose = self._owners.of(self._below(found.path), found.names)
        for one in found.listed:
            recloser, why = whose.recloser, whose.why
            if one.recloser:
                recloser = self._owners.named(one.recloser)
                why = f"{one.recloser!r} is no recloser that is meant"
            if recloser is None:
                self._line("unclear", found.path, why=f"line {one.line}: {why}")
            elif one.state != "damaged":  # else the relay may still have it
                why = f"listed in {found.path.name}"
                self._add(self._listed, _Event(recloser, one.entry, "summary", found.path, why))

    def _add(self, to: dict[str, list[_Event]], one: _Event) -> None:
        self._reclosers[one.recloser.id] = one.recloser
        to.setdefault(one.recloser.id, []).append(one)

    # What becomes of it

    def _keep_all(self, recloser: Recloser, now: datetime, run_id: str) -> None:
        stored = self._stored(recloser.id)
        groups = (self._whole, self._damaged, self._listed)
        whole, damaged, listed = (group.pop(recloser.id, []) for group in groups)
        types = _Types((*whole, *damaged, *listed), stored)
        for one, others in _merged([types.named(one) for one in whole]):
            known = stored.get(one.key) == "whole"
            for other in others:
                self._line("known", other.path, other, "another report of an event that is kept")
            if self._keep(one, now, run_id):  # also where it is known: it may bring more files
                self._line("known" if known else "taken", one.path, one)
                stored[one.key] = "whole"
        for one in map(types.named, (*damaged, *listed)):
            if stored.get(one.key) in ("whole", "summary"):
                self._line("known", one.path, one)
            elif self._keep(one, now, run_id):
                bad = one.state == "damaged"
                self._line("damaged" if bad else "listed", one.path, one, one.why if bad else "")
                stored[one.key] = one.state

    def _keep(self, one: _Event, now: datetime, run_id: str) -> bool:
        """Keep an event, unless its files have changed meanwhile."""
        try:
            event = one.fetched()
        except OSError as error:
            said = f"it cannot be read ({error.strerror or error})"
            self._line("unclear", one.path, one, said)
            return False
        if event is None:
            self._line("unclear", one.path, one, "it was changed meanwhile; import it again")
            return False
        if not self.report.dry_run:
            keep_event(
                self._store,
                self._archive,
                one.recloser,
                event,
                now=now,
                run_id=run_id,
                origin="import",
                base=self._base(one),
                index=False,
            )
        return True

    def _base(self, one: _Event) -> str:
        """Return the name that the files of an event have in the archive, if they lie there."""
        bases = {self._archive.base_of(one.recloser, part.path) for part in one.parts}
        return bases.pop() if len(bases) == 1 else ""

    def _stored(self, recloser: str) -> dict[tuple[int, str], str]:
        columns = recloser_events.c
        query = select(columns.device_us, columns.event, columns.state)
        with read(self._store.data) as connection:
            rows = connection.execute(query.where(columns.recloser == recloser)).all()
        return {(row.device_us, row.event): row.state for row in rows}

    def _known_files(self) -> Callable[[Path, Sequence[str]], bool]:
        """Return what tells whether files are kept, of the recloser that their path tells."""
        query = (
            select(recloser_files.c.sha256, recloser_events.c.recloser)
            .join(recloser_events, recloser_events.c.event_id == recloser_files.c.event_id)
            .where(recloser_files.c.state == "kept")
        )
        kept: dict[str, set[str]] = {}
        with read(self._store.data) as connection:
            for digest, recloser in connection.execute(query):
                kept.setdefault(digest, set()).add(recloser)

        def known(path: Path, digests: Sequence[str]) -> bool:
            whose = self._owners.of(self._below(path)).recloser
            return all(
                digest in kept and (whose is None or whose.id in kept[digest]) for digest in digests
            )

        return known

    def _order(self, path: Path) -> DateOrder:
        whose = self._owners.of(self._below(path)).recloser
        return whose.date_order if whose is not None else "MDY"

    def _below(self, path: Path) -> Path:
        """Return a path with the name of the folder itself, which may tell the recloser."""
        return Path(self._folder.resolve().name) / path.relative_to(self._folder)

    def _line(self, became: Became, path: Path, one: _Event | None = None, why: str = "") -> None:
        recloser = event = ""
        if one is not None:
            recloser, event = one.recloser.id, f"{one.entry.time} {one.entry.event}".strip()
        below = path.relative_to(self._folder).as_posix()
        self.report.lines.append(ImportLine(became, below, recloser, event, why))


class _Types:
    """Types of events that came without one: records tell none, lists and reports do."""

    def __init__(self, told: Iterable[_Event], stored: Iterable[tuple[int, str]]) -> None:
        self._known = {one.key for one in told} | set(stored)

    def named(self, one: _Event) -> _Event:
        """Return an event with the type and time of the only one that it can be."""
        if one.entry.event:
            return one
        time_us = one.key[0]
        near = {key for key in self._known if key[1] and abs(key[0] - time_us) <= NEAR_US}
        if len(near) != 1:
            return one
        time_us, event = near.pop()
        time = replace(one.entry.time, ns=time_us * 1000)
        return replace(one, entry=replace(one.entry, time=time, event=event))


def _merged(events: Sequence[_Event]) -> Iterable[tuple[_Event, list[_Event]]]:
    """Give each event once with all its files, and what it has no room for.

    Of two reports the one with more samples is taken.
    """
    together: dict[tuple[int, str], list[_Event]] = {}
    for one in events:
        together.setdefault(one.key, []).append(one)
    for same in together.values():
        best, *others = sorted(same, key=lambda one: one.samples, reverse=True)
        left = []
        for other in others:
            kinds = {part.kind for part in best.parts}
            if kinds & {part.kind for part in other.parts}:
                left.append(other)
            else:
                entry = _fuller(best.entry, other.entry)
                best = replace(best, entry=entry, parts=(*best.parts, *other.parts))
        yield best, left


def _fuller(entry: HistoryEntry, other: HistoryEntry) -> HistoryEntry:
    """Return an entry with what it lacks by the other."""
    lacking = {
        name: getattr(other, name)
        for name in ("location", "current", "frequency", "group", "shot", "targets", "reference")
        if getattr(entry, name) in (None, "")
    }
    return replace(entry, **lacking)
