"""One visit of one recloser as a run over the fleet makes it: line, known events, keeping, report.

Everything that is new is kept as it arrives, so that a line that drops, or a run that is killed,
loses none of it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from workspace_lib import secrets
from workspace_lib.clock import SYSTEM_CLOCK, Clock
from workspace_lib.errors import ConfigError, DeviceBusy, DeviceError, StoreError, WorkspaceError
from workspace_lib.reclosers.archive import Archive
from workspace_lib.reclosers.fleet_answers import keep_answers
from workspace_lib.reclosers.fleet_report import RelayOutcome
from workspace_lib.reclosers.fleet_rest import Known, rest_after
from workspace_lib.reclosers.fleet_transcripts import keep_transcript
from workspace_lib.reclosers.keeping import keep_event, keep_visit, known_keys
from workspace_lib.reclosers.lines import relay_line
from workspace_lib.reclosers.relay import Manners
from workspace_lib.reclosers.relay_capture import Visit, clock_error_s, visit_relay
from workspace_lib.reclosers.relay_commands import job_command
from workspace_lib.reclosers.relay_errors import GatewayLocked, RelayRefused
from workspace_lib.reclosers.relay_plan import CapturePlan, FetchedEvent
from workspace_lib.reclosers.settings import Fleet, Recloser, RecloserSettings, zone_of
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store
from workspace_lib.transports.devices import Holder
from workspace_lib.transports.serial_line import Limits, SerialLine

log = logging.getLogger("workspace_lib.reclosers.fleet")

#: Outcomes after which a relay is visited again in the same run. A refusal is none: what was
#: refused once is refused again, and three refusals raise the relay's alarm.
AGAIN: Final = frozenset({"busy", "locked", "silent", "dropped", "damaged"})
_NOT_ITS_FAULT: Final = frozenset({"done", "busy", "locked"})
#: What is fetched of an event where the settings say nothing: 16 samples a cycle, whole length.
_REPORT: Final = "C"


@dataclass(frozen=True)
class FleetManners:
    """How a run over the fleet goes about it.

    Attributes
    ----------
    relay : Manners
        How each relay is spoken to.
    limits : Limits
        What each line may take; the session's length is the setting ``device_s``.
    least_s : float
        A visit that would have less time than this before the run must end is not begun [s].
    leave_s : float
        Kept at the end of the run for leaving relays in good order [s].
    again_s : float
        Rest of a relay before its second visit in a run; it doubles each time [s].
    """

    relay: Manners = field(default_factory=Manners)
    limits: Limits = field(default_factory=Limits)
    least_s: float = 20.0
    leave_s: float = 15.0
    again_s: float = 20.0


@dataclass(frozen=True)
class Ended:
    """How one visit ended.

    ``cut`` says that the run's time was over, or it was stopped; ``failed`` whether it was the
    relay that failed, and not its gateway, this host or the list; ``changed`` is what the relay
    was and is, where it is another device than before.
    """

    outcome: RelayOutcome
    why: str
    visit: Visit
    new: int = 0
    bytes: int = 0
    clock_error_s: float | None = None
    cut: str = ""
    failed: bool = False
    changed: str = ""

    @property
    def again(self) -> bool:
        """Whether the relay is to be visited again in this run."""
        return self.outcome in AGAIN and not self.cut


def plan_of(
    recloser: Recloser, wing: RecloserSettings, commands: Sequence[str] = ()
) -> CapturePlan:
    """Return what is fetched of a recloser: its own words for reports, else the wing's by model.

    ``commands`` are asked once in each visit, beside those of the wing.

    Raises
    ------
    ParameterError
        If a command is not among those that only read.
    """

    def words(model: str) -> str:
        if recloser.report is not None:
            return recloser.report
        named = (text for name, text in wing.reports.items() if name.startswith(model))
        return next(named, wing.reports.get("others", _REPORT))

    return CapturePlan(
        report=words("351"),
        report_651=words("651"),
        reads=wing.reads,
        renumber=wing.renumber,
        extras=tuple(dict.fromkeys(job_command(one).text for one in (*wing.commands, *commands))),
        formats=wing.formats,
    )


class Visiting:
    """Visits reclosers for one run; each of its methods may be called from any thread."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        wing: RecloserSettings,
        fleet: Fleet,
        archive: Archive,
        holder: Holder,
        *,
        run_id: str = "",
        commands: Sequence[str] = (),
        manners: FleetManners | None = None,
        now: Callable[[], datetime] | None = None,
        count: Callable[..., object] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._store, self._settings, self._wing = store, settings, wing
        self._fleet, self._archive, self._holder = fleet, archive, holder
        self._run_id = run_id
        self._commands = tuple(commands)
        self._manners = manners or FleetManners()
        self._clock = clock
        self._now = now or clock.now
        self._count = count
        self._lock = threading.Lock()
        self._over = ""
        self._under_way: set[SerialLine] = set()

    def end(self, why: str) -> None:
        """Have every visit end by CAN and QUI, and none begin."""
        with self._lock:
            if self._over:
                return
            self._over = why
            for line in self._under_way:
                line.end_session()

    @property
    def over(self) -> str:
        """Why visits were ended; empty as long as they were not."""
        return self._over

    def visit(self, recloser: Recloser, known: Known) -> Ended:
        """Visit one recloser once; what goes wrong with its line is told, not raised.

        Parameters
        ----------
        known : Known
            What was known of it when the run began.
        """
        began, started = self._now(), self._clock.monotonic()
        visit = Visit(began=began)
        kept: list[FetchedEvent] = []
        trouble: WorkspaceError | None = None
        opened: SerialLine | None = None
        try:
            limits = replace(self._manners.limits, session_s=self._wing.device_s)
            with relay_line(
                self._store,
                self._holder,
                recloser,
                self._fleet,
                clock=self._clock,
                limits=limits,
            ) as line:
                opened = line
                self._attend(line)
                visit = self._session(line, recloser, kept)
            keep_answers(self._archive, recloser, visit.extras, began)
        except (DeviceError, ConfigError, StoreError) as error:
            trouble = error
        finally:
            if opened is not None:
                with self._lock:
                    self._under_way.discard(opened)
        took_s = self._clock.monotonic() - started
        visit.began, visit.took_s = began, took_s
        ended = self._ended(recloser, visit, trouble, kept, opened, known)
        self._keep(recloser, ended, opened, known, began)
        log.info("%s: %s%s", recloser.id, ended.outcome, f" ({ended.why})" if ended.why else "")
        return ended

    def _attend(self, line: SerialLine) -> None:
        with self._lock:
            self._under_way.add(line)
            if self._over:
                line.end_session()

    def _session(self, line: SerialLine, recloser: Recloser, kept: list[FetchedEvent]) -> Visit:
        reference = recloser.password or self._wing.password

        def keep(event: FetchedEvent) -> None:
            number = keep_event(
                self._store, self._archive, recloser, event, now=self._now(), run_id=self._run_id
            )
            if number is None:
                return
            kept.append(event)
            if self._count is not None and event.state == "whole":
                size = sum(len(file.content) for file in event.files)
                with self._lock:
                    self._count(files=len(event.files), bytes=size)

        return visit_relay(
            line,
            known_keys(self._store, recloser.id),
            plan_of(recloser, self._wing, self._commands),
            password=None if reference is None else lambda: secrets.resolve(reference),
            manners=replace(self._manners.relay, date_order=recloser.date_order),
            keep=keep,
            clock=self._clock,
        )

    def _ended(
        self,
        recloser: Recloser,
        visit: Visit,
        trouble: WorkspaceError | None,
        kept: list[FetchedEvent],
        opened: SerialLine | None,
        known: Known,
    ) -> Ended:
        new = sum(event.state == "whole" for event in kept)
        error = trouble or visit.error
        outcome: RelayOutcome = visit.outcome
        why = str(error) if error is not None else visit.why
        cut = ""
        if trouble is not None:
            outcome = "silent" if opened is None else "dropped"
        if isinstance(error, GatewayLocked):
            outcome = "locked"
        elif isinstance(error, DeviceBusy):
            outcome = "busy"
        elif isinstance(error, RelayRefused | ConfigError):
            outcome = "refused"
        elif isinstance(error, StoreError):
            why = f"what came could not be kept: {error}"
        elif error is not None and opened is not None and self._over:
            outcome, why, cut = "dropped", self._over, self._over
        elif error is not None and visit.took_s >= self._wing.device_s:
            why = f"the visit took longer than {self._wing.device_s:g} s; {why}"
        if outcome == "done" and (bad := visit.count("damaged") + visit.count("moved")):
            outcome = "damaged"
            why = f"{bad} events did not arrive whole"
        refused = (f"{text}: {visit.refusals[text]}" for text in visit.refusals)
        return Ended(
            outcome=outcome,
            why="; ".join(filter(None, (why, *refused))),
            visit=visit,
            new=new,
            bytes=0 if opened is None else opened.received,
            clock_error_s=None
            if visit.clock is None
            else clock_error_s(visit.clock, zone_of(recloser, self._wing, self._settings)),
            cut=cut,
            failed=not (outcome in _NOT_ITS_FAULT or cut)
            and not isinstance(error, ConfigError | StoreError),
            changed=_changed(known.fid, visit.identity.get("FID", "")),
        )

    def _keep(
        self,
        recloser: Recloser,
        ended: Ended,
        opened: SerialLine | None,
        known: Known,
        began: datetime,
    ) -> None:
        """Keep the visit, its transcript, and how long the relay rests."""
        transcript = ""
        if opened is not None:
            transcript = keep_transcript(
                self._store.outputs, recloser, opened.transcript.text(), began
            )
        failures, rest = 0 if ended.outcome == "done" else known.failures, None
        if ended.failed:
            heard = ended.new > 0 and ended.outcome == "dropped"
            failures = 0 if heard else failures + 1
            rest = rest_after(ended.outcome, failures, self._wing)
        ended.visit.why = ended.why
        keep_visit(
            self._store,
            recloser,
            ended.visit,
            now=self._now(),
            run_id=self._run_id,
            outcome=ended.outcome,
            zone=zone_of(recloser, self._wing, self._settings),
            failures=failures,
            not_before=None if rest is None else began + rest,
            transcript=transcript,
        )


def _changed(before: str, now: str) -> str:
    return f"it was {before} and is {now}" if before and now and before != now else ""
