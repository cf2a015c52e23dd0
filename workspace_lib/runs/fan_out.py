"""Many runs at once: started as places come free, followed to their end, and taken up again.

The ledger holds all of it. Whoever follows a fan-out may be killed at any moment: what has ended
has ended, what goes on goes on, and who asks for the same runs again finds the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from sqlalchemy import func, select

from workspace_lib.clock import SYSTEM_CLOCK, Clock
from workspace_lib.runs import ledger
from workspace_lib.runs.executors import Executor, Places, can_start
from workspace_lib.runs.ledger_queries import Run, Standing, get_run, standings
from workspace_lib.runs.states import ACTIVE, owner_id
from workspace_lib.runs.tables import runs
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store, read

#: The ledger is looked at this often [s].
LOOK_EVERY_S = 0.2
#: Runs are taken in order, so only the next ones need a look.
_IN_VIEW = 300
_BATCH = 200


@dataclass
class Tally:
    """How far a fan-out is: runs in all, ended well, ended otherwise (ids), and going on."""

    total: int
    succeeded: int = 0
    otherwise: list[str] = field(default_factory=list)
    active: int = 0

    @property
    def ended(self) -> int:
        """Runs that have ended, one way or the other."""
        return self.succeeded + len(self.otherwise)


@dataclass(frozen=True)
class Backlog:
    """What backfills of a job have left: runs that wait, and runs that go on."""

    job: str
    waiting: int
    active: int


def drive(
    settings: Settings,
    store: Store,
    run_ids: Sequence[str],
    executor: Executor,
    *,
    most: int | None = None,
    show: Callable[[Tally], None] = lambda tally: None,
    tell: Callable[[Run], None] = lambda run: None,
    clock: Clock = SYSTEM_CLOCK,
) -> Tally:
    """Start runs as the executor's places come free, and return when all have ended.

    A scheduler that is there may start them as well: a run is claimed once.

    Parameters
    ----------
    most : int, optional
        At most so many at once; default: as many as there are places and lanes.
    show : callable
        Takes how far it is, at each look.
    tell : callable
        Takes each run that ended otherwise than well.

    Raises
    ------
    ExecutorError
        If no machine can take runs for long; what has begun goes on.
    """
    owner = owner_id("backfill", os.getpid())
    pending = dict.fromkeys(run_ids)
    tally = Tally(len(pending))
    places = Places(executor, settings, store, clock)
    while pending:
        now = clock.now()
        executor.reap()
        ledger.reap(store, now)
        view = standings(store, list(islice(pending, _IN_VIEW)))
        for one in view:
            if one.ended:
                del pending[one.id]
                if one.state == "succeeded":
                    tally.succeeded += 1
                else:
                    tally.otherwise.append(one.id)
                    if (run := get_run(store, one.id)) is not None:
                        tell(run)
        tally.active = sum(one.state in ACTIVE for one in view)
        room = places.free()
        if most is not None:
            room = min(room, most - tally.active)
        tally.active += _start(settings, store, executor, view, owner, room, now)
        show(tally)
        if pending:
            clock.sleep(LOOK_EVERY_S)
    return tally


def cancel_rest(store: Store, run_ids: Sequence[str], who: str, now: datetime) -> list[str]:
    """Cancel those runs that wait, at once, and ask those that go on; returns the ids of these."""
    asked = []
    for start in range(0, len(run_ids), _BATCH):
        for one in standings(store, run_ids[start : start + _BATCH]):
            if not one.ended and ledger.request_cancel(store, one.id, who, now) == "requested":
                asked.append(one.id)
    return asked


def backlogs(store: Store) -> list[Backlog]:
    """Return what backfills have left to do, by job."""
    query = (
        select(runs.c.job, runs.c.state, func.count())
        .where(runs.c.priority > 0, runs.c.state.in_(("due", *ACTIVE)))
        .group_by(runs.c.job, runs.c.state)
        .order_by(runs.c.job)
    )
    counts: dict[str, dict[str, int]] = {}
    with read(store.control) as connection:
        for job, state, count in connection.execute(query):
            counts.setdefault(job, {})[state] = count
    return [
        Backlog(job, by_state.get("due", 0), sum(by_state.get(state, 0) for state in ACTIVE))
        for job, by_state in counts.items()
    ]


def _start(
    settings: Settings,
    store: Store,
    executor: Executor,
    view: Iterable[Standing],
    owner: str,
    room: int,
    now: datetime,
) -> int:
    """Start the next run of each free lane while there is room; returns how many."""
    started = 0
    taken = {(one.job, one.lane) for one in view if one.state in ACTIVE}
    for one in view:
        if started >= room:
            break
        lane = (one.job, one.lane)
        if one.state != "due" or lane in taken:
            continue
        taken.add(lane)
        if one.not_before > now or not can_start(executor, one.job, one.spec):
            continue
        claim = ledger.claim_one(store, one.id, owner=owner, now=now, lease_s=settings.runs.lease_s)
        if claim is None:
            continue
        try:
            executor.submit(claim)
        except BaseException as error:
            ledger.give_back(store, claim, f"It could not be started ({error}).", wait_s=0, now=now)
            raise
        started += 1
    return started
