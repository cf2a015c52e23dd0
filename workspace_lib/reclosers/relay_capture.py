"""One visit to one relay: what is new in its memory, fetched, checked and handed over.

The store is not known here: what is known comes as a set of keys, each event is handed over as
soon as it is whole, and the report of the visit says the rest.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal
from zoneinfo import ZoneInfo

from workspace_lib.clock import SYSTEM_CLOCK, Clock
from workspace_lib.errors import ConfigError, DeviceError, FrameError, ParameterError
from workspace_lib.reclosers import cascii
from workspace_lib.reclosers.history import HistoryEntry, parse_chi, parse_his
from workspace_lib.reclosers.record import NS, device_time
from workspace_lib.reclosers.relay import ClockReading, Line, Manners, RelaySession
from workspace_lib.reclosers.relay_checks import check_report, without_padding
from workspace_lib.reclosers.relay_commands import Command, job_command
from workspace_lib.reclosers.relay_errors import (
    InvalidCommand,
    NoDataAvailable,
    RelayRefused,
    RelaySilent,
)

log = logging.getLogger("workspace_lib.reclosers.relay_capture")

Key = tuple[str, str]
State = Literal["whole", "summary", "damaged", "moved", "gone"]
Outcome = Literal["done", "refused", "silent", "dropped"]
#: Times after which an event counts as listed but no longer stored.
_EMPTY: Final = 2
#: A relay's clock that moved by more than this during a visit was set [s].
_SET_S: Final = 2.0


@dataclass(frozen=True)
class CapturePlan:
    """What is fetched of a relay, and how often it is tried.

    Attributes
    ----------
    report : str
        Words after the number of an event: ``C`` is 16 samples a cycle, the whole length.
    reads : int
        How often an event or a list that arrives damaged is read.
    renumber : int
        How often the list is read again because an event had another number by then.
    extras : tuple of str
        Further commands that only read, asked once in each visit.

    Raises
    ------
    ParameterError
        If a command is not among those that only read.
    """

    report: str = "C"
    reads: int = 3
    renumber: int = 3
    extras: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.reads < 2 or self.renumber < 1:
            raise ParameterError("Reads must be at least 2, and renumberings 1.")
        self.command(1)
        for text in self.extras:
            job_command(text)

    def command(self, number: int) -> Command:
        """Return the command that asks for an event by its number."""
        return Command(f"CEV {number} {self.report}".rstrip())


@dataclass(frozen=True)
class FetchedEvent:
    """One event of the list and what became of it.

    ``whole``: ``content`` is the report as the relay sent it. ``summary``: it is listed and its
    report is not stored any more. ``damaged``: it never arrived whole, ``content`` is the last
    try. ``moved``: its number changed each time. ``gone``: it was listed once and then not again.
    """

    entry: HistoryEntry
    state: State
    content: bytes | None = None
    reads: int = 0
    why: str = ""

    @property
    def key(self) -> Key:
        """What the event is known by."""
        return self.entry.key

    @property
    def sha256(self) -> str | None:
        """Digest of the content."""
        return None if self.content is None else hashlib.sha256(self.content).hexdigest()


@dataclass
class Visit:
    """What a visit found.

    Attributes
    ----------
    outcome : {"done", "refused", "silent", "dropped"}
        ``done`` also where single events are damaged.
    why : str
        The reason where it is not done.
    found_level : str
        At which level the relay was found; other than ``0`` and ``1`` somebody left it there.
    identity : mapping
        What ``ID`` answers: FID, DEVID …
    listed : tuple of HistoryEntry
        The relay's list when the visit began.
    history, history_command : bytes, str
        The list as it came, and the command that brought it.
    known : int
        Events of the list that were known.
    repeated : tuple
        Keys that the list has more than once: the newest of them is fetched.
    events : list of FetchedEvent
        Everything that was not known.
    extras : dict
        Answers to further commands, as they came; those that were refused are in ``refusals``.
    clock : ClockReading or None
        The relay's clock against this host's, the closest reading.
    clock_moved_s : float
        By how much the relay's clock was set during the visit [s], 0 if it was not.
    aside : tuple of bytes
        What the relay said unasked.
    """

    outcome: Outcome = "done"
    why: str = ""
    found_level: str = ""
    asked_password: bool = False
    identity: Mapping[str, str] = field(default_factory=dict)
    listed: tuple[HistoryEntry, ...] = ()
    history: bytes = b""
    history_command: str = ""
    known: int = 0
    repeated: tuple[Key, ...] = ()
    events: list[FetchedEvent] = field(default_factory=list)
    extras: dict[str, bytes] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    clock: ClockReading | None = None
    clock_moved_s: float = 0.0
    aside: tuple[bytes, ...] = ()
    began: datetime | None = None
    took_s: float = 0.0

    def count(self, state: State) -> int:
        """Return how many events ended so."""
        return sum(event.state == state for event in self.events)


def visit_relay(
    line: Line,
    known: Collection[Key],
    plan: CapturePlan | None = None,
    *,
    password: Callable[[], str] | None = None,
    manners: Manners | None = None,
    keep: Callable[[FetchedEvent], None] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Visit:
    """Visit a relay over an open line and fetch what is not known.

    Parameters
    ----------
    known : collection of (str, str)
        Keys of events that need not be fetched: time to the millisecond, and type.
    password : callable, optional
        Returns the password of level 1; called only where the relay asks for it.
    keep : callable, optional
        Gets each event at once, so that a line that drops loses none that was whole; what it
        raises ends the visit and is passed on.

    Returns
    -------
    Visit
        Also where the relay refused, was silent or dropped; only faults of ``keep`` are raised.
    """
    visit = Visit(began=clock.now())
    start = clock.monotonic()
    session = RelaySession(line, password, manners or Manners(), clock)
    try:
        with session:
            _visit(session, visit, known, plan or CapturePlan(), keep)
    except _Kept as error:
        raise error.cause from None
    except (DeviceError, ConfigError) as error:
        visit.outcome, visit.why = _outcome(error, session), str(error)
        log.warning("Visit of %s: %s", line.where, error)
    visit.found_level, visit.asked_password = session.found_level, session.asked_password
    visit.aside = tuple(session.aside)
    visit.clock = min(session.readings, key=lambda one: one.within_s, default=None)
    visit.clock_moved_s = _moved(session.readings)
    visit.took_s = clock.monotonic() - start
    return visit


def clock_error_s(reading: ClockReading, zone: ZoneInfo) -> float:
    """Return by how much the relay's clock is fast, if it is meant to keep the time of ``zone``."""
    wall = device_time(reading.host.astimezone(zone).replace(tzinfo=None))
    return (reading.relay.ns - wall.ns) / NS


class _Kept(Exception):
    """What ``keep`` raised, carried past the handling of what devices do."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _outcome(error: Exception, session: RelaySession) -> Outcome:
    if isinstance(error, RelayRefused | ConfigError):
        return "refused"
    if isinstance(error, RelaySilent) and not session.found_level:
        return "silent"
    return "dropped"


def _visit(
    session: RelaySession,
    visit: Visit,
    known: Collection[Key],
    plan: CapturePlan,
    keep: Callable[[FetchedEvent], None] | None,
) -> None:
    visit.identity = _identity(session, plan)
    history = _History(session, plan.reads)
    entries = history.read()
    visit.listed, visit.history = tuple(entries), history.content
    visit.history_command = history.command.verb
    wanted: dict[Key, HistoryEntry] = {}
    repeated: list[Key] = []
    for entry in entries:
        if entry.key in wanted:
            repeated.append(entry.key)
        elif entry.key in known:
            visit.known += 1
        else:
            wanted[entry.key] = entry
    visit.repeated = tuple(dict.fromkeys(repeated))
    # The oldest first: it is the next to be overwritten.
    for entry in reversed(list(wanted.values())):
        event = _fetch(session, entry, history, plan)
        visit.events.append(event)
        if keep is not None:
            try:
                keep(event)
            except Exception as error:
                raise _Kept(error) from error
    for text in plan.extras:
        try:
            visit.extras[text] = _patiently(session, job_command(text), plan.reads)
        except (RelayRefused, FrameError) as error:
            visit.refusals[text] = error.what


class _History:
    """Reads a relay's list: by CHI with its checksums, by HIS where the relay has no CHI."""

    def __init__(self, session: RelaySession, reads: int) -> None:
        self._session = session
        self._reads = reads
        self.command = Command("CHI")
        self.content = b""
        self._entries: list[HistoryEntry] = []
        self._fresh = False

    @property
    def checked(self) -> bool:
        """Whether the list has checksums."""
        return self.command.verb == "CHI"

    def read(self) -> list[HistoryEntry]:
        """Return the list as it is now, newest first."""
        damage: FrameError | None = None
        unknown = 0
        for _ in range(2 * self._reads):
            try:
                self.content = self._session.ask(self.command).content
                found = self._parse()
            except NoDataAvailable:
                found = []
            except InvalidCommand:
                unknown += 1  # once it may be noise
                if unknown == 1:
                    continue
                if not self.checked:
                    raise
                self.command, unknown = Command("HIS"), 0
                continue
            except FrameError as error:
                damage = error
                continue
            self._entries, self._fresh = found, True
            return found
        raise damage or FrameError("The list of events cannot be read.")

    def _parse(self) -> list[HistoryEntry]:
        if self.checked:
            return parse_chi(self.content)
        text = self.content.decode("latin-1")
        return parse_his(text, self._session.manners.date_order)

    def find(self, key: Key, *, again: bool) -> HistoryEntry | None:
        """Return an event with the number it has now.

        The list is read anew unless it has checksums and nothing was asked since it was read.
        """
        if again or not self.checked or not self._fresh:
            self.read()
        self._fresh = False
        return next((one for one in self._entries if one.key == key), None)


def _fetch(
    session: RelaySession, wanted: HistoryEntry, history: _History, plan: CapturePlan
) -> FetchedEvent:
    """Fetch one event; see `FetchedEvent` for how it can end."""
    reads = bad = moved = empty = missing = 0
    why, last = "", b""
    seen: set[bytes] = set()
    while bad < plan.reads and moved < plan.renumber and empty < _EMPTY:
        entry = history.find(wanted.key, again=reads + missing > 0)
        if entry is None and missing == 0:
            missing = 1  # its line may have been lost on the way
            continue
        if entry is None:
            # A list without checksums may have shown what never was.
            state: State = "summary" if history.checked else "gone"
            return FetchedEvent(wanted, state, reads=reads, why="it is not listed any more")
        reads += 1
        try:
            content = without_padding(session.ask(plan.command(entry.number)).content)
        except NoDataAvailable:
            empty += 1
            continue
        except (FrameError, InvalidCommand) as error:
            session.disturbed = True
            bad, why = bad + 1, error.what
            continue
        check = check_report(content)
        doubts = "; ".join(check.doubtful[:3])
        if session.disturbed and not doubts:
            # A sum of bytes does not tell two changes that undo each other.
            doubts = "the line is disturbed"
        if check.damaged:
            session.disturbed = True
            bad, why, last = bad + 1, "; ".join(check.damaged[:3]), content
        elif check.time != str(wanted.time):
            moved, why = moved + 1, f"what came under its number is of {check.time}"
        elif doubts and content not in seen:
            bad += bool(seen)
            seen.add(content)
            last, why = content, doubts
        else:
            return FetchedEvent(entry, "whole", content, reads, doubts)
    if empty >= _EMPTY:
        return FetchedEvent(wanted, "summary", reads=reads, why="its report is not stored any more")
    if moved >= plan.renumber:
        return FetchedEvent(wanted, "moved", reads=reads, why=why)
    return FetchedEvent(wanted, "damaged", last or None, reads, why)


def _patiently(session: RelaySession, command: Command, reads: int) -> bytes:
    """Return the answer to a command that is asked again where it came damaged."""
    for _ in range(reads - 1):
        try:
            return session.ask(command).content
        except (FrameError, InvalidCommand) as error:
            log.info("%s: %s", command.text, error)
    return session.ask(command).content


def _identity(session: RelaySession, plan: CapturePlan) -> dict[str, str]:
    """Return what ``ID`` answers, line by line; lines that arrived damaged are left out."""
    try:
        content = _patiently(session, Command("ID"), plan.reads)
    except (RelayRefused, FrameError) as error:
        log.warning("The relay does not say what it is: %s", error)
        return {}
    found = {}
    for line in cascii.lines(content):
        if line.good:
            key, _, value = line.fields[0].partition("=")
            found[key] = value
    return found


def _moved(readings: list[ClockReading]) -> float:
    if len(readings) < 2:
        return 0.0
    first, last = readings[0], readings[-1]
    relay = (last.relay.ns - first.relay.ns) / NS
    host = (last.host - first.host).total_seconds()
    moved = relay - host
    return moved if abs(moved) > _SET_S + first.within_s + last.within_s else 0.0
