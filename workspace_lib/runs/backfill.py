"""Backfill: the slots of a schedule in a stretch of the past, run where they are wanted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from sqlalchemy import select

from workspace_lib.clock import ensure_utc, iso, parse_instant
from workspace_lib.errors import ParameterError
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.ledger_entries import create_runs, requeue
from workspace_lib.runs.schedule import due_slots, is_scheduled, root_of
from workspace_lib.runs.states import ENDED, FAILED
from workspace_lib.runs.tables import runs
from workspace_lib.store.engines import Store, write

#: ``none``: slots that never ran; ``failed``: those that failed too; ``all``: every slot anew.
Mode = Literal["none", "failed", "all"]
MODES: tuple[Mode, ...] = ("none", "failed", "all")
#: Most slots of one backfill.
MAX_SLOTS = 20_000
#: Scheduled runs of the job pass runs of this priority.
PRIORITY = 1
_BATCH = 200
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class BackfillReport:
    """How many slots there are, and the runs that are due for them: new ones and old ones anew.

    ``pending`` are those that wait or go on already, such as of a backfill that was interrupted.
    """

    slots: int
    created: tuple[str, ...]
    repeated: tuple[str, ...]
    pending: tuple[str, ...] = ()

    @property
    def run_ids(self) -> tuple[str, ...]:
        """All runs that are due."""
        return self.created + self.repeated


def backfill(
    store: Store, spec: JobSpec, slots: list[datetime], mode: Mode, now: datetime
) -> BackfillReport:
    """Make the runs of ``slots`` due as ``mode`` says; a run under way is left alone.

    They let scheduled runs of the job pass, run in order, as many at once as the job's ``fan_out``
    allows, and never take a published pointer from something newer. Asked twice, only ``all`` does
    something twice.
    """
    created: list[str] = []
    repeated: list[str] = []
    pending: list[str] = []
    again = {"none": ("skipped",), "failed": ("skipped", *FAILED)}.get(mode)
    for start in range(0, len(slots), _BATCH):
        texts = [iso(slot) for slot in slots[start : start + _BATCH]]
        lanes = {text: spec.lane(number) for number, text in enumerate(texts, start)}
        with write(store.control) as connection:
            created += create_runs(
                connection, spec, texts, now=now, priority=PRIORITY, lanes=list(lanes.values())
            )
            new = set(created)
            existing = connection.execute(
                select(runs.c.id, runs.c.slot, runs.c.state)
                .where(runs.c.job == spec.name, runs.c.slot.in_(texts))
                .order_by(runs.c.slot_at)
            ).all()
            for run in existing:
                wanted = again is None or run.state in again
                if wanted and requeue(
                    connection, run.id, now=now, spec=spec, priority=PRIORITY, lane=lanes[run.slot]
                ):
                    repeated.append(run.id)
                elif run.state not in ENDED and run.id not in new:
                    pending.append(run.id)
    return BackfillReport(len(slots), tuple(created), tuple(repeated), tuple(pending))


def backfill_slots(
    spec: JobSpec, specs: Mapping[str, JobSpec], first: datetime, last: datetime, now: datetime
) -> list[datetime]:
    """Return the slots of a job from ``first`` to ``last``, both with, that have come by ``now``.

    A job that is `on:` another has the other's slots.

    Raises
    ------
    ParameterError
        If the job has no schedule, or the stretch too many slots.
    """
    root = root_of(spec, specs)
    if not is_scheduled(root):
        raise ParameterError(
            f"{spec.name} has no schedule, so it has no slots.",
            fix=f"Run it once: workspace run {spec.name}.",
        )
    slots = due_slots(root, ensure_utc(first) - _MICROSECOND, min(ensure_utc(last), now))
    if len(slots) > MAX_SLOTS:
        raise ParameterError(
            f"That is {len(slots)} slots; {MAX_SLOTS} is the most at once.",
            fix="Give a shorter stretch with --from and --to.",
        )
    return slots


def parse_edge(text: str, zone: ZoneInfo, *, end: bool) -> datetime:
    """Return the instant of ``--from`` or ``--to``: an instant, or a local day as a whole.

    Raises
    ------
    ParameterError
        If it is neither.
    """
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        try:
            day = date.fromisoformat(text)
        except ValueError as error:
            raise ParameterError(f"{text!r} is no day.") from error
        midnight = datetime.combine(day + timedelta(days=int(end)), time(), zone)
        return ensure_utc(midnight) - (_MICROSECOND if end else timedelta())
    return parse_instant(text)
