"""A run over the fleet: every chosen relay is asked what is new, and only that is fetched.

Reclosers are grouped by the line they share. One session at a time is on a line, lines are worked
on side by side. A relay that fails is tried again after the others of its line; what is left when
the run's time is over comes first in the next.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import select

from workspace_lib.clock import SYSTEM_CLOCK, Clock
from workspace_lib.errors import StoreError
from workspace_lib.reclosers.archive import Archive, open_archive
from workspace_lib.reclosers.fleet_line import Ended, FleetManners, Visiting, plan_of
from workspace_lib.reclosers.fleet_report import FleetReport, RelayLine
from workspace_lib.reclosers.fleet_rest import Known, load_known
from workspace_lib.reclosers.fleet_transcripts import clean_transcripts
from workspace_lib.reclosers.relay_plan import model_in
from workspace_lib.reclosers.settings import Recloser, load_fleet, load_reclosers
from workspace_lib.reclosers.tables import recloser_events, recloser_files
from workspace_lib.settings import Settings
from workspace_lib.site_files import split_names
from workspace_lib.store.engines import Store, read
from workspace_lib.transports.devices import Holder

__all__ = ["FleetManners", "FleetReport", "RelayLine", "capture_fleet"]

log = logging.getLogger("workspace_lib.reclosers.fleet")

#: How often the time and the wish to stop are looked at [s].
_LOOK_S: Final = 0.2
_NEVER: Final = datetime.min.replace(tzinfo=UTC)
_TIME_IS_OVER: Final = "the run's time was over"
_STOPPED: Final = "the run was stopped"


def capture_fleet(
    store: Store,
    settings: Settings,
    *,
    holder: Holder,
    ced: str | Iterable[str] = "all",
    reclosers: str | Iterable[str] = "all",
    full: bool = False,
    commands: Sequence[str] = (),
    now: datetime | None = None,
    run_id: str = "",
    deadline_s: float | None = None,
    progress: Callable[[float, str], object] | None = None,
    count: Callable[..., object] | None = None,
    stop: threading.Event | None = None,
    manners: FleetManners | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> FleetReport:
    """Fetch what is new from the relays of a site and keep it.

    Running it twice changes nothing; a run that is killed at any moment is gone on with by the
    next one.

    Parameters
    ----------
    holder : Holder
        Who uses the lines: ``run.holder`` in a job.
    ced, reclosers : str or iterable of str
        Territories, and house names; ``all``, or names with commas.
    full : bool
        The full check: relays that rest after failures are visited too, and the stored files of
        the reclosers are compared with their SHA-256.
    commands : sequence of str
        Further commands that only read, asked once in each visit: ``EVE``, ``EVE C``, ``HIS`` …
    now : datetime, optional
        The instant that is noted; the clock's otherwise.
    run_id : str
        The run that is noted.
    deadline_s : float, optional
        Longest time of the run [s]; sessions that are on then are ended in good order.
    progress : callable, optional
        Told which fraction of the relays is done, and a word for it; as ``run.progress``.
    count : callable, optional
        Told the ``files`` and ``bytes`` that are safe; as ``run.count``.
    stop : threading.Event, optional
        Ends the run as its deadline would.
    manners : FleetManners, optional
        How it goes about it.

    Returns
    -------
    FleetReport
        Also where relays failed.

    Raises
    ------
    ParameterError
        If a territory or a recloser is unknown; the known ones are listed. If a command is not
        among those that only read.
    ConfigError
        If the settings or the list of reclosers are wrong.
    StoreError
        If the store cannot be written.
    """
    wing, fleet = load_reclosers(settings), load_fleet(settings)
    chosen = fleet.choose(ced, reclosers)
    manners = manners or FleetManners()
    archive = open_archive(settings)
    began, started = now or clock.now(), clock.monotonic()
    named = split_names(reclosers) != ["all"]
    known = load_known(store)
    wanted: list[_Turn] = []
    resting: list[str] = []
    for one in chosen:
        state = known.get(one.id, Known())
        if one.remote:
            plan_of(one, wing, commands)  # a wrong one is told before anybody is called
            if state.may_be_visited(began, full=full, named=named):
                wanted.append(_Turn(one, state))
            else:
                resting.append(one.id)
    visiting = Visiting(
        store,
        settings,
        wing,
        fleet,
        archive,
        holder,
        run_id=run_id,
        commands=commands,
        manners=manners,
        now=None if now is None else lambda: began,
        count=count,
        clock=clock,
    )
    run = _Run(
        visiting,
        wanted,
        manners,
        attempts=wing.attempts,
        parallel=wing.parallel,
        end=None if deadline_s is None else started + deadline_s,
        progress=progress,
        stop=stop or threading.Event(),
        clock=clock,
    )
    run.go()
    visited = [turn.recloser for turn in wanted if turn.ended]
    for one in visited:
        clean_transcripts(store.outputs, one, wing.transcripts_days, began)
    checked, wrong = _check(store, archive, visited, run.is_over) if full else (0, [])
    return FleetReport(
        began=began,
        took_s=round(clock.monotonic() - started, 3),
        relays=tuple(_line(turn) for turn in wanted if turn.ended),
        resting=tuple(resting),
        left=tuple(one.recloser.id for one in wanted if not one.ended or one.ended[-1].cut),
        not_remote=sum(not one.remote for one in chosen),
        changed=tuple((one.recloser.id, one.changed) for one in wanted if one.changed),
        files_checked=checked,
        files_wrong=tuple(wrong),
    )


@dataclass
class _Turn:
    """A recloser that is wanted, how its visits ended, and when the next one is due [s]."""

    recloser: Recloser
    known: Known
    ended: list[Ended] = field(default_factory=list)
    due: float = 0.0

    @property
    def changed(self) -> str:
        """What the relay was and is, where it is another device than before."""
        return next((one.changed for one in reversed(self.ended) if one.changed), "")


class _LineQueue:
    """The reclosers of one line that wait, those that were visited longest ago first."""

    def __init__(self, turns: Iterable[_Turn]) -> None:
        self.waiting = deque(sorted(turns, key=lambda turn: turn.known.visited or _NEVER))
        self.again: list[_Turn] = []

    def __len__(self) -> int:
        return len(self.waiting) + len(self.again)

    def due(self) -> float:
        """Return when somebody of this line is to be visited [s]; it must not be empty."""
        return 0.0 if self.waiting else min(turn.due for turn in self.again)

    def take(self) -> _Turn:
        """Return who is next; those who failed come after the others."""
        if self.waiting:
            return self.waiting.popleft()
        turn = min(self.again, key=lambda one: one.due)
        self.again.remove(turn)
        return turn


class _Run:
    """Gives lines to threads until nobody waits any more, or the time is over."""

    def __init__(
        self,
        visiting: Visiting,
        turns: Sequence[_Turn],
        manners: FleetManners,
        *,
        attempts: int,
        parallel: int,
        end: float | None,
        progress: Callable[[float, str], object] | None,
        stop: threading.Event,
        clock: Clock,
    ) -> None:
        self._visiting, self._manners, self._clock = visiting, manners, clock
        self._attempts, self._parallel = attempts, parallel
        self._end, self._progress, self._stop = end, progress, stop
        self._total, self._turns = len(turns), turns
        by_line: dict[str, list[_Turn]] = {}
        for turn in turns:
            by_line.setdefault(turn.recloser.line_id, []).append(turn)
        self._idle = [_LineQueue(of_line) for of_line in by_line.values()]
        self._running: dict[Future[Ended], tuple[_LineQueue, _Turn]] = {}

    def is_over(self) -> bool:
        """Return whether the time is over, or the run is to stop."""
        return self._stop.is_set() or self._left() <= 0

    def go(self) -> None:
        """Visit all; sessions are ended in good order also where something goes wrong here."""
        threads = min(self._parallel, max(len(self._idle), 1))
        with ThreadPoolExecutor(threads, thread_name_prefix="reclosers") as pool:
            try:
                while True:
                    self._look_at_the_time()
                    self._begin(pool)
                    if not self._running and not self._may_begin():
                        break
                    self._wait()
            except BaseException:
                self._visiting.end(_STOPPED)
                raise

    def _left(self) -> float:
        return float("inf") if self._end is None else self._end - self._clock.monotonic()

    def _may_begin(self) -> bool:
        """Return whether any visit may still begin, now or later."""
        manners = self._manners
        enough = self._left() > manners.least_s + manners.leave_s
        return enough and not self._visiting.over and any(self._idle)

    def _look_at_the_time(self) -> None:
        if self._stop.is_set():
            self._visiting.end(_STOPPED)
        elif self._left() <= self._manners.leave_s:
            self._visiting.end(_TIME_IS_OVER)

    def _begin(self, pool: ThreadPoolExecutor) -> None:
        """Give free threads to lines; those with the most reclosers left first."""
        if not self._may_begin():
            return
        now = self._clock.monotonic()
        ready = [one for one in self._idle if len(one) and one.due() <= now]
        ready.sort(key=len, reverse=True)
        for queue in ready[: max(self._parallel - len(self._running), 0)]:
            turn = queue.take()
            self._idle.remove(queue)
            future = pool.submit(self._visiting.visit, turn.recloser, turn.known)
            self._running[future] = (queue, turn)

    def _wait(self) -> None:
        if not self._running:
            self._stop.wait(_LOOK_S)
            return
        done, _ = wait(self._running, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
        for future in done:
            queue, turn = self._running.pop(future)
            ended = future.result()
            turn.ended.append(ended)
            self._idle.append(queue)
            if ended.again and len(turn.ended) < self._attempts:
                rest_s = self._manners.again_s * 2 ** (len(turn.ended) - 1)
                turn.due = self._clock.monotonic() + rest_s
                queue.again.append(turn)
        if done:
            self._tell()

    def _tell(self) -> None:
        if self._progress is None:
            return
        waiting = sum(map(len, self._idle))
        waiting += sum(len(queue) + 1 for queue, _ in self._running.values())
        done = self._total - waiting
        new = sum(ended.new for turn in self._turns for ended in turn.ended)
        self._progress(done / self._total, f"{done} of {self._total} relays, {new} events new")


def _line(turn: _Turn) -> RelayLine:
    """Return what became of a relay over all its visits of this run."""
    last = turn.ended[-1]
    # Events of the first visit are known to the second.
    earlier = sum(one.new for one in turn.ended[:-1])
    told = [one.visit for one in turn.ended if one.visit.identity]
    clocks = [one.clock_error_s for one in turn.ended if one.clock_error_s is not None]
    return RelayLine(
        recloser=turn.recloser.id,
        ced=turn.recloser.ced,
        model=model_in(told[-1].identity) if told else "",
        outcome=last.outcome,
        new=sum(one.new for one in turn.ended),
        known=max(last.visit.known - earlier, 0),
        summaries=sum(one.visit.count("summary") for one in turn.ended),
        damaged=last.visit.count("damaged") + last.visit.count("moved"),
        clock_error_s=clocks[-1] if clocks else None,
        seconds=round(sum(one.visit.took_s for one in turn.ended), 3),
        bytes=sum(one.bytes for one in turn.ended),
        attempts=len(turn.ended),
        why="; ".join(filter(None, (last.why, turn.changed))),
    )


def _check(
    store: Store, archive: Archive, reclosers: Sequence[Recloser], is_over: Callable[[], bool]
) -> tuple[int, list[tuple[str, str]]]:
    """Compare the stored files of reclosers with their SHA-256; return how many, and wrong ones."""
    files, events = recloser_files.c, recloser_events.c
    checked, wrong = 0, list[tuple[str, str]]()
    for one in reclosers:
        query = (
            select(files.path, files.sha256)
            .join(recloser_events, events.event_id == files.event_id)
            .where(events.recloser == one.id)
            .order_by(files.file_id)
        )
        with read(store.data) as connection:
            rows = connection.execute(query).all()
        for path, sha256 in rows:
            if is_over():
                return checked, wrong
            checked += 1
            try:
                archive.read(path, sha256)
            except StoreError as error:
                log.error("%s: %s", path, error)
                wrong.append((path, error.what))
        archive.sweep(one)
    return checked, wrong
