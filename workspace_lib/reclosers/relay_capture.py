"""One visit to one relay: what is new in its memory, fetched, checked and handed over.

The store is not known here: what is known comes as a set of keys, each event is handed over as
soon as it is whole, and the report of the visit says the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal
from zoneinfo import ZoneInfo

from workspace_lib.clock import SYSTEM_CLOCK, Clock
from workspace_lib.errors import ConfigError, DeviceError, FrameError, WorkspaceError
from workspace_lib.reclosers import cascii
from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.record import NS, device_time
from workspace_lib.reclosers.relay import ClockReading, Line, Manners, RelaySession
from workspace_lib.reclosers.relay_commands import Command, job_command
from workspace_lib.reclosers.relay_errors import InvalidCommand, RelayRefused, RelaySilent
from workspace_lib.reclosers.relay_files import DIRECTORY, EventFiles
from workspace_lib.reclosers.relay_history import History
from workspace_lib.reclosers.relay_plan import (
    FORMATS,
    CapturePlan,
    FetchedEvent,
    FetchedFile,
    FileKind,
    Formats,
    Key,
    State,
    model_in,
)
from workspace_lib.reclosers.relay_reports import fetch_report

__all__ = [
    "FORMATS",
    "CapturePlan",
    "FetchedEvent",
    "FetchedFile",
    "FileKind",
    "Formats",
    "Key",
    "Outcome",
    "State",
    "Visit",
    "clock_error_s",
    "visit_relay",
]

log = logging.getLogger("workspace_lib.reclosers.relay_capture")

Outcome = Literal["done", "refused", "silent", "dropped"]
#: A relay's clock that moved by more than this during a visit was set [s].
_SET_S: Final = 2.0


@dataclass
class Visit:
    """What a visit found.

    Attributes
    ----------
    outcome : {"done", "refused", "silent", "dropped"}
        ``done`` also where single events are damaged.
    why : str
        The reason where it is not done.
    error : WorkspaceError or None
        What ended it, where it is not done.
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
    error: WorkspaceError | None = None
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
        visit.outcome, visit.why, visit.error = _outcome(error, session), str(error), error
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
    history = History(session, plan.reads)
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
    fetching = _Fetching(session, visit, history, plan)
    # The oldest first: it is the next to be overwritten.
    for entry in reversed(list(wanted.values())):
        event = fetching.fetch(entry)
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


class _Fetching:
    """Fetches events by the ways that the plan names and the relay has."""

    def __init__(
        self, session: RelaySession, visit: Visit, history: History, plan: CapturePlan
    ) -> None:
        self._session, self._visit, self._history, self._plan = session, visit, history, plan
        self._model = model_in(visit.identity)
        self._files: EventFiles | None = None
        self._asks_files = plan.wants_files(self._model)

    def fetch(self, entry: HistoryEntry) -> FetchedEvent:
        """Fetch one event; see `FetchedEvent` for how it can end."""
        parts = []
        if self._plan.wants_report():
            parts.append(fetch_report(self._session, entry, self._history, self._plan, self._model))
        if self._asks_files and not (parts and parts[0].state in ("moved", "gone")):
            try:
                if self._files is None:
                    files = EventFiles(self._session, self._history, self._plan)
                    files.open()
                    self._files = files
                parts.append(self._files.fetch(entry))
            except (RelayRefused, ConfigError) as error:
                if self._plan.formats != "auto":
                    raise
                self._asks_files = False
                self._visit.refusals[DIRECTORY.text] = error.what
        return _one(parts)


def _one(parts: list[FetchedEvent]) -> FetchedEvent:
    """Return one event of what came by both ways: whole if nothing is damaged or in doubt."""
    first = parts[0]
    if len(parts) == 1:
        return first
    states = [one.state for one in parts]
    for state in ("damaged", "moved", "whole", "summary", "gone"):
        if state in states:
            break
    found = next((one for one in parts if one.state == state), first)
    return replace(
        found,
        state=found.state,
        files=() if found.state == "moved" else tuple(f for one in parts for f in one.files),
        reads=sum(one.reads for one in parts),
        why="; ".join(one.why for one in parts if one.why),
    )


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
