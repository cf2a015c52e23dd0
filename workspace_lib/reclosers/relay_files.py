"""Event files that a relay keeps itself: COMTRADE by ``FIL READ`` and Ymodem, or ``FIL SHOW``.

Which files belong to an event is told by the trigger time in the configuration, never by the
number in a name: that only says where to look first.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from workspace_lib.errors import FrameError
from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.record import NS
from workspace_lib.reclosers.relay import RelaySession
from workspace_lib.reclosers.relay_checks import damage_of_text
from workspace_lib.reclosers.relay_commands import Command
from workspace_lib.reclosers.relay_directory import FileSet, Finder, event_sets
from workspace_lib.reclosers.relay_errors import (
    FileMissing,
    InvalidAccessLevel,
    InvalidCommand,
    RelayRefused,
    TransferRejected,
)
from workspace_lib.reclosers.relay_file_checks import (
    cut_to,
    data_type,
    judge,
    same_time,
    text_of,
    trigger_of,
)
from workspace_lib.reclosers.relay_history import History
from workspace_lib.reclosers.relay_plan import (
    CapturePlan,
    FetchedEvent,
    FetchedFile,
    FileKind,
    State,
)

log = logging.getLogger("workspace_lib.reclosers.relay_files")

DIRECTORY: Final = Command("FIL DIR EVENTS")
#: Folders that event files are in; older relays have but one list.
_FOLDERS: Final = ("EVENTS", "")
#: How often a refusal must come before it is believed: noise makes some too.
_BELIEVED: Final = 3
#: Kinds of a set in the order they are read: the small one that tells the time comes first.
_KINDS: Final[tuple[FileKind, ...]] = ("cfg", "dat", "hdr")
_NONE_YET: Final = "its files are not there yet"
#: A relay writes the files of an event within this time; what has none by then gets none [s].
_WRITES_S: Final = 900.0
_NONE_LEFT: Final = "the relay keeps no files of it"


class _NeverWhole(Exception):
    """A file that arrived damaged each time."""

    def __init__(self, file: FetchedFile, why: str) -> None:
        super().__init__(why)
        self.file = file


@dataclass
class EventFiles:
    """The event files of one relay during one visit.

    Attributes
    ----------
    session, history, plan
        Whom is asked, the list of its events, and how often it is asked.
    reads : int
        How often a file was asked for, over all events.
    """

    session: RelaySession
    history: History
    plan: CapturePlan
    reads: int = 0
    _folder: str = _FOLDERS[0]
    _way: Literal["", "READ", "SHOW"] = ""
    _version: int = -1
    _listing: list[bytes] = field(default_factory=list)
    _sets: list[FileSet] = field(default_factory=list)
    _sure: bool = False
    _finder: Finder = field(default_factory=Finder)
    _configs: dict[str, bytes] = field(default_factory=dict)

    def open(self) -> None:
        """Read the directory.

        Raises
        ------
        RelayRefused
            If the relay gives none: it has no files, or not for us.
        FrameError
            If it never came undamaged.
        """
        first: RelayRefused | None = None
        for self._folder in _FOLDERS:
            try:
                self._list_patiently()
                return
            except RelayRefused as error:
                first = first or error
                if isinstance(error, InvalidCommand | InvalidAccessLevel):
                    break
        self._folder = _FOLDERS[0]
        if first is not None:
            raise first

    def _list_patiently(self) -> None:
        for tries in range(self.plan.reads):
            try:
                self._list()
                return
            except (RelayRefused, FrameError) as error:
                if tries == self.plan.reads - 1:
                    raise
                log.info("FIL DIR %s: %s", self._folder, error.what)

    def fetch(self, wanted: HistoryEntry) -> FetchedEvent:
        """Fetch the files of one event.

        ``summary`` and ``gone`` if there are none of it; ``moved`` if they were not there yet, or
        were others each time; ``damaged`` if one never arrived whole.

        Raises
        ------
        RelayRefused
            If the relay gives away no files at all.
        """
        before, why, damaged = self.reads, "", 0
        for attempt in range(self.plan.renumber + 1):
            entry = self.history.find(wanted.key, again=attempt > 0)
            if entry is None and attempt == 0:
                continue
            if entry is None:
                state: State = "summary" if self.history.checked else "gone"
                return self._ended(wanted, state, before, "it is not listed any more")
            try:
                if self._version != self.history.version:
                    self._list()  # names may have moved on
                files = self._files(entry)
            except _NeverWhole as error:
                return self._ended(wanted, "damaged", before, str(error), (error.file,))
            except _Shifted as error:
                why, self._version = str(error), -1
                continue
            if files is None and self._sets and self._just_happened(entry):
                return self._ended(wanted, "moved", before, _NONE_YET)
            if files is None:
                return self._ended(wanted, "summary", before, _NONE_LEFT)
            why = "; ".join(judge(files, self.session.manners.date_order))
            if not why:
                return self._ended(entry, "whole", before, "", files)
            damaged += 1
            if damaged > 1:
                # Which of them it is cannot be told: their bytes arrived, and do not fit.
                files = tuple(replace(one, whole=False) for one in files)
                return self._ended(entry, "damaged", before, why, files)
        return self._ended(wanted, "moved", before, why)

    def _just_happened(self, entry: HistoryEntry) -> bool:
        """Return whether the relay may still be writing the files of its newest event.

        By its own clock, which its events are told in; without one, as long as it is the newest.
        """
        if entry is not self.history.entries[0]:
            return False
        now = self.session.relay_now()
        return now is None or (now.ns - entry.time.ns) / NS < _WRITES_S

    def _ended(
        self,
        entry: HistoryEntry,
        state: State,
        before: int,
        why: str,
        files: tuple[FetchedFile, ...] = (),
    ) -> FetchedEvent:
        return FetchedEvent(entry, state, files, self.reads - before, why)

    def _files(self, entry: HistoryEntry) -> tuple[FetchedFile, ...] | None:
        """Return the files of an event, None if there are none.

        Raises
        ------
        _Shifted
            If names belong to other events now.
        """
        found = self._find(entry)
        if (found is None or "hdr" not in found.names) and not self._sure:
            self._be_sure()
            found = self._find(entry)
        if found is None:
            if not self.history.unchanged():
                raise _Shifted("a new event came while it was looked for")
            return None
        config = self._configs.pop(found.stem)
        if self._way == "SHOW" and data_type(config) == "BINARY":
            raise TransferRejected(
                "The relay shows its files as text only, and their samples are binary.",
                where=self.session.line.where,
                fix="Fetch its reports: formats: cev.",
            )
        files = [FetchedFile("cfg", found.names["cfg"], config)]
        for kind in _KINDS[1:]:
            if kind not in found.names:
                continue
            content = self._read(found.names[kind], kind, config)
            files.append(FetchedFile(kind, found.names[kind], content))
        if not self.history.unchanged():
            # A new event may have moved every name on by one amid all this.
            self.history.read()
            if self._read(found.names["cfg"], "cfg", b"") != config:
                raise _Shifted(f"{found.stem} became that of another event")
        return tuple(files)

    def _find(self, entry: HistoryEntry) -> FileSet | None:
        """Return the set whose configuration has the time of the event, None if there is none."""
        keys = [one.key for one in self.history.entries]
        place = keys.index(entry.key)
        stems = [one.stem for one in self._sets]
        for stem in self._finder.candidates(stems, place, entry):
            one = next(one for one in self._sets if one.stem == stem)
            if stem not in self._configs:
                self._configs[stem] = self._read(one.names["cfg"], "cfg", b"")
                time = trigger_of(self._configs[stem])
                where = next(
                    (n for n, other in enumerate(self.history.entries) if same_time(other, time)),
                    None,
                )
                self._finder.note(stem, where)
            if same_time(entry, trigger_of(self._configs[stem])):
                return one
        return None

    def _read(self, name: str, kind: FileKind, config: bytes) -> bytes:
        """Return a file; it is asked for again where it arrived damaged."""
        why, last, tries, seen = "", b"", 0, Counter[bytes]()
        # What is shown as text has no checksum, and is read until readings agree.
        while tries < self.plan.reads * (2 if self._way == "SHOW" else 1):
            tries += 1
            try:
                content = self._once(name)
            except FileMissing as error:
                raise _Shifted(f"{name} is gone") from error
            except FrameError as error:
                self.session.disturbed = True
                why = error.what
                continue
            except RelayRefused as error:
                if not self._way:
                    raise
                why = error.what
                continue
            last = text_of(content) if kind != "dat" else cut_to(content, config)
            if last and self._way == "READ":
                return last
            damage = damage_of_text(last)
            seen[last] += not damage
            self.session.disturbed |= bool(damage) or len(seen) > 1
            if last and seen[last] >= self._agreeing:
                return last
            why = "; ".join(damage) or ("it came differently each time" if last else "it is empty")
        raise _NeverWhole(FetchedFile(kind, name, last, whole=False), f"{name}: {why}")

    @property
    def _agreeing(self) -> int:
        """How many readings must agree of what has no checksum; more on a line that errs."""
        return 3 if self.session.disturbed else 2

    def _once(self, name: str) -> bytes:
        """Ask for a file by the way that the relay knows; which that is shows at the first one."""
        self.reads += 1
        self.history.asked()
        if self._way == "READ":
            return self._by_ymodem(name)
        if self._way == "SHOW":
            return self._shown(name)
        ways: tuple[tuple[Callable[[str], bytes], Literal["READ", "SHOW"]], ...] = (
            (self._by_ymodem, "READ"),
            (self._shown, "SHOW"),
        )
        for ask, way in ways:
            for tries in range(_BELIEVED):
                try:
                    content = ask(name)
                except FileMissing:
                    raise
                except RelayRefused as error:
                    log.info("FIL %s %s is refused: %s", way, name, error.what)
                    if way == "SHOW" and tries == _BELIEVED - 1:
                        raise
                else:
                    self._way = way
                    return content
        raise AssertionError  # the last refusal was raised

    def _by_ymodem(self, name: str) -> bytes:
        received = self.session.fetch(self._command("READ", name))
        told = received.name.upper().replace("\\", "/").rpartition("/")[2]
        if told != name.upper():
            raise FrameError(f"{received.name} came in place of {name}.", fix="Ask again.")
        return received.content

    def _shown(self, name: str) -> bytes:
        content = self.session.ask(self._command("SHOW", name)).content
        return content.removeprefix(b"\r\n")

    def _directory(self) -> list[bytes]:
        """Return the lines of the directory, but for a head with the time of day."""
        self.history.asked()
        lines = self.session.ask(self._command("DIR")).content.splitlines()
        return [line for line in lines if b"Date:" not in line]

    def _command(self, verb: str, name: str = "") -> Command:
        return Command(" ".join(filter(None, ("FIL", verb, self._folder, name))))

    def _list(self) -> None:
        """Read the directory, and believe nothing any more of which file belongs to what."""
        self._believe(self._directory())
        self._version = self.history.version

    def _believe(self, found: list[bytes]) -> None:
        # What was damaged twice may have lost the same file, but shows it differently.
        self._listing, self._sets, self._sure = found, event_sets(found), False
        self._finder = Finder()
        self._configs.clear()

    def _be_sure(self) -> None:
        """Read the directory until readings agree: it has no checksum."""
        agreeing = 1
        for _ in range(2 * self.plan.reads):
            try:
                found = self._directory()
            except (FrameError, RelayRefused) as error:
                log.info("FIL DIR %s: %s", self._folder, error.what)
                continue
            if found != self._listing:
                self.session.disturbed, agreeing = True, 0
                self._believe(found)
            agreeing += 1
            if agreeing >= self._agreeing:
                self._sure = True
                return
        raise FrameError(
            "The directory of event files came differently each time.",
            where=self.session.line.where,
            fix="Look at the line's speed and its cable.",
        )


class _Shifted(Exception):
    """A new event gave files other names."""
