"""Many runs at once: bounded by places and lanes, counted as they end, and taken up again."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest

from workspace_lib.clock import FakeClock, iso
from workspace_lib.errors import ExecutorError
from workspace_lib.runs import ledger
from workspace_lib.runs.backfill import backfill
from workspace_lib.runs.fan_out import Tally, backlogs, cancel_rest, drive
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.ledger_queries import Run
from workspace_lib.runs.reports import FanOutBar
from workspace_lib.runs.states import Claim, Outcome
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SLOTS = [NOW - timedelta(hours=hours) for hours in range(12, 0, -1)]
WIDE = JobSpec("job", notebook="n", schedule="0 * * * *", fan_out=3)


class Places:
    """An executor with so many places, whose runs end at the look after the one they began at."""

    def __init__(self, store: Store, clock: FakeClock, places: int, *, bad: str = "") -> None:
        self.store, self.clock, self.places, self.bad = store, clock, places, bad
        self.order: list[str] = []
        self.most = 0
        self.going: list[Claim] = []

    def submit(self, claim: Claim) -> None:
        key = (claim.run_id, claim.attempt)
        assert ledger.begin(self.store, *key, host="h", pid=1, now=self.clock.now())
        self.going.append(claim)
        self.order.append(claim.slot)
        self.most = max(self.most, len(self.going))

    def reap(self) -> None:
        for claim in self.going:
            how = (
                Outcome("failed", "notebook_error", "It broke.")
                if claim.slot == self.bad
                else Outcome("succeeded")
            )
            ledger.finish(self.store, claim.run_id, claim.attempt, how, self.clock.now())
        self.going = []

    def free_places(self, store: Store) -> int:
        return self.places - len(self.going)

    def can_start(self, job: str, spec: object) -> bool:
        return True

    def running(self) -> set[tuple[str, int]]:
        return set()

    def cancel(self, run_id: str, attempt: int) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.mark.parametrize(
    ("places", "most", "at_once"),
    [(9, None, 3), (2, None, 2), (9, 1, 1)],
    ids=["lanes", "places", "most"],
)
def test_as_many_go_on_as_lanes_places_and_the_person_allow(
    settings: Settings, store: Store, clock: FakeClock, places: int, most: int | None, at_once: int
) -> None:
    made = backfill(store, WIDE, SLOTS, "none", NOW)
    executor = Places(store, clock, places)
    tally = drive(settings, store, made.run_ids, executor, most=most, clock=clock)
    assert (tally.succeeded, tally.otherwise) == (12, [])
    assert executor.most == at_once
    assert sorted(executor.order) == sorted(set(executor.order)), "none twice"


def test_those_that_fail_are_told_and_the_others_go_on(
    settings: Settings, store: Store, clock: FakeClock
) -> None:
    made = backfill(store, WIDE, SLOTS, "none", NOW)
    told: list[Run] = []
    seen: list[int] = []
    executor = Places(store, clock, 9, bad="2026-11-20T03:00:00Z")
    tally = drive(
        settings,
        store,
        made.run_ids,
        executor,
        clock=clock,
        show=lambda now: seen.append(now.ended),
        tell=told.append,
    )
    assert (tally.succeeded, tally.ended) == (11, 12)
    assert [(run.slot, run.cause) for run in told] == [("2026-11-20T03:00:00Z", "notebook_error")]
    assert seen == sorted(seen)


def test_one_that_was_interrupted_is_taken_up_where_it_was(
    settings: Settings, store: Store, clock: FakeClock
) -> None:
    made = backfill(store, WIDE, SLOTS, "none", NOW)
    first = Places(store, clock, 2)

    def stop(tally: Tally) -> None:
        if tally.ended >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive(settings, store, made.run_ids, first, clock=clock, show=stop)
    first.reap()
    (left,) = backlogs(store)
    assert (left.waiting, left.active) == (6, 0)
    again = backfill(store, WIDE, SLOTS, "none", NOW)
    assert (again.created, len(again.pending)) == ((), 6)
    second = Places(store, clock, 9)
    assert drive(settings, store, again.pending, second, clock=clock).succeeded == 6
    assert sorted(first.order + second.order) == [iso(slot) for slot in SLOTS]


def test_cancelling_ends_what_waits_and_asks_what_goes_on(store: Store, clock: FakeClock) -> None:
    made = backfill(store, WIDE, SLOTS, "none", NOW)
    (claim,) = ledger.claim(store, owner="t", now=NOW, limit=1)
    assert cancel_rest(store, made.run_ids, "anna", NOW) == [claim.run_id]
    assert [(one.waiting, one.active) for one in backlogs(store)] == [(0, 1)]
    taken_up = backfill(store, WIDE, SLOTS, "failed", NOW)
    assert len(taken_up.repeated) == 11


def test_without_a_terminal_a_line_says_how_it_ended() -> None:
    stream = io.StringIO()
    bar = FanOutBar(3, stream)
    bar.show(Tally(3, succeeded=1, active=2))
    assert stream.getvalue() == ""
    bar.show(Tally(3, succeeded=2, otherwise=["x"]))
    bar.close()
    assert "3 of 3 runs ended, 1 of them failed" in stream.getvalue()


def test_a_terminal_shows_a_bar() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    bar = FanOutBar(4, stream)
    bar.show(Tally(4, succeeded=3, active=1))
    bar.close()
    assert "75%" in stream.getvalue()


class Away(Places):
    """Its machines are away for so many looks."""

    def __init__(self, store: Store, clock: FakeClock, looks: int) -> None:
        super().__init__(store, clock, 9)
        self.looks = looks

    def free_places(self, store: Store) -> int:
        self.looks -= 1
        if self.looks >= 0:
            raise ExecutorError("No worker can take runs.")
        return super().free_places(store)


def test_machines_that_are_away_for_a_moment_are_waited_for(
    settings: Settings, store: Store, clock: FakeClock
) -> None:
    made = backfill(store, WIDE, SLOTS, "none", NOW)
    executor = Away(store, clock, looks=100)
    assert drive(settings, store, made.run_ids, executor, clock=clock).succeeded == 12


def test_machines_that_stay_away_end_the_waiting_and_leave_the_runs(
    settings: Settings, store: Store, clock: FakeClock
) -> None:
    made = backfill(store, WIDE, SLOTS, "none", NOW)
    with pytest.raises(ExecutorError, match="No worker"):
        drive(settings, store, made.run_ids, Away(store, clock, looks=10_000), clock=clock)
    assert [(one.waiting, one.active) for one in backlogs(store)] == [(12, 0)]
