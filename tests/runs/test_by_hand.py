"""Runs by hand: a slot succeeds once, whoever starts it, and parameters take their types."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from workspace_lib.clock import FakeClock
from workspace_lib.errors import ParameterError
from workspace_lib.runs import ledger
from workspace_lib.runs.by_hand import ask_for_run, follow, typed_parameters
from workspace_lib.runs.folders import RunFolders
from workspace_lib.runs.job_spec import JobSpec, Retries
from workspace_lib.runs.reports import Display
from workspace_lib.runs.states import Claim, Outcome
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store, write

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SLOT = "2026-11-20T12:00:00Z"
SPEC = JobSpec("job", notebook="n", parameters={"days": 3})


class Executor:
    """Ends each run at once as told, and writes a line into its log."""

    def __init__(self, settings: Settings, store: Store, clock: FakeClock, *ends: Outcome) -> None:
        self.settings, self.store, self.clock = settings, store, clock
        self.ends = list(ends)
        self.submitted: list[Claim] = []

    def submit(self, claim: Claim) -> None:
        self.submitted.append(claim)
        key, now = (claim.run_id, claim.attempt), self.clock.now()
        log = RunFolders(self.settings.outputs_dir, *key).log
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"attempt {claim.attempt} works\n")
        assert ledger.begin(self.store, *key, host="h", pid=1, now=now)
        assert ledger.finish(self.store, *key, self.ends.pop(0), now)

    def running(self) -> set[tuple[str, int]]:
        return set()

    def cancel(self, run_id: str, attempt: int) -> None:
        raise AssertionError("nobody cancels here")

    def reap(self) -> None:
        return

    def close(self) -> None:
        return


def succeed(store: Store, run_id: str, outcome: Outcome | None = None) -> None:
    claim = ledger.claim_one(store, run_id, owner="t", now=NOW)
    assert claim is not None
    assert ledger.begin(store, run_id, claim.attempt, host="h", pid=1, now=NOW)
    assert ledger.finish(store, run_id, claim.attempt, outcome or Outcome("succeeded"), NOW)


def test_a_slot_that_has_succeeded_is_not_asked_for_again(any_store: Store) -> None:
    first = ask_for_run(any_store, SPEC, slot=SLOT, now=NOW)
    assert not first.already
    again = ask_for_run(any_store, SPEC, slot="2026-11-20T13:00:00+01:00", now=NOW)
    assert (again.run_id, again.already) == (first.run_id, False)
    succeed(any_store, first.run_id)
    assert ask_for_run(any_store, SPEC, slot=SLOT, now=NOW).already
    (run,) = ledger.list_runs(any_store)
    assert (run.state, run.attempt) == ("succeeded", 1)


def test_a_slot_that_failed_is_due_again_with_the_present_job(store: Store) -> None:
    first = ask_for_run(store, SPEC, slot=SLOT, now=NOW)
    succeed(store, first.run_id, Outcome("failed", "notebook_error"))
    changed = JobSpec("job", notebook="n", parameters={"days": 4, "deep": True})
    again = ask_for_run(store, changed, slot=SLOT, parameters={"days": 9}, now=NOW)
    assert again.run_id == first.run_id
    run = ledger.get_run(store, first.run_id)
    assert run is not None
    assert (run.state, run.parameters) == ("due", {"days": 9, "deep": True})


def test_without_a_slot_each_run_is_one_of_its_own(store: Store) -> None:
    asked = {ask_for_run(store, SPEC, now=NOW).slot for _ in range(3)}
    assert len(asked) == 3
    assert all(slot.startswith("manual:20261120T120000-") for slot in asked)


def test_a_service_is_not_run_by_hand(store: Store) -> None:
    with pytest.raises(ParameterError, match="service"):
        ask_for_run(store, JobSpec("job", service="m:serve"), now=NOW)


def test_a_run_is_started_where_no_scheduler_is(settings: Settings, store: Store) -> None:
    clock = FakeClock(NOW)
    executor = Executor(settings, store, clock, Outcome("succeeded"))
    asked = ask_for_run(store, SPEC, now=NOW)
    seen: list[str] = []
    said: list[str] = []
    (run,) = follow(
        settings,
        store,
        [asked.run_id],
        executor,
        show=lambda run: seen.append(run.state),
        show_log=said.append,
        clock=clock,
    )
    assert run.state == "succeeded"
    assert seen == ["due", "succeeded"]
    assert said == ["attempt 1 works\n"]


def test_a_run_is_followed_through_its_tries(settings: Settings, store: Store) -> None:
    clock = FakeClock(NOW)
    executor = Executor(
        settings, store, clock, Outcome("failed", "kernel_died"), Outcome("succeeded")
    )
    spec = JobSpec("job", notebook="n", retries=Retries(2, 30.0, ("kernel_died",)))
    asked = ask_for_run(store, spec, now=NOW)
    (run,) = follow(settings, store, [asked.run_id], executor, clock=clock)
    assert (run.state, run.attempt) == ("succeeded", 2)
    assert clock.now() - NOW >= timedelta(seconds=30)


def test_several_runs_of_a_job_go_one_after_the_other(settings: Settings, store: Store) -> None:
    clock = FakeClock(NOW)
    executor = Executor(settings, store, clock, *[Outcome("succeeded")] * 3)
    ids = [ask_for_run(store, SPEC, slot=f"event:{n}", now=NOW).run_id for n in range(3)]
    ended = follow(settings, store, ids, executor, clock=clock)
    assert [run.slot for run in ended] == ["event:0", "event:1", "event:2"]
    assert [claim.run_id for claim in executor.submitted] == ids


def test_a_run_waits_for_one_under_way_and_outlives_its_loss(
    settings: Settings, store: Store
) -> None:
    clock = FakeClock(NOW)
    other = ask_for_run(store, SPEC, slot="event:other", now=NOW)
    claim = ledger.claim_one(store, other.run_id, owner="dead", now=NOW, lease_s=30)
    assert claim is not None
    assert ledger.begin(store, other.run_id, 1, host="h", pid=1, now=NOW)
    asked = ask_for_run(store, SPEC, now=NOW)
    executor = Executor(settings, store, clock, Outcome("succeeded"))
    (run,) = follow(settings, store, [asked.run_id], executor, clock=clock)
    assert run.state == "succeeded"
    lost = ledger.get_run(store, other.run_id)
    assert lost is not None
    assert lost.state == "lost"


@pytest.fixture
def typed(settings: Settings) -> Settings:
    source = "days: int = 3\ngauges: list[str] = []\nname: str = ''\n"
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": source}
    path = settings.notebooks_dir / "jobs" / "n.ipynb"
    path.write_text(json.dumps({"cells": [cell]}))
    return settings


def test_assignments_take_the_types_of_the_notebook(typed: Settings) -> None:
    found = typed_parameters(typed, SPEC, ["days=7", "gauges=a,b", "name=x=y"])
    assert found == {"days": 7, "gauges": ["a", "b"], "name": "x=y"}


@pytest.mark.parametrize(
    ("text", "words"),
    [("days", "--set name=value"), ("day=7", "Did you mean 'days'"), ("days=x", "must be int")],
)
def test_wrong_assignments_are_refused(typed: Settings, text: str, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        typed_parameters(typed, SPEC, [text])


def test_a_run_that_cannot_be_started_is_given_back(settings: Settings, store: Store) -> None:
    class Broken(Executor):
        def submit(self, claim: Claim) -> None:
            raise OSError("no more processes")

    asked = ask_for_run(store, SPEC, now=NOW)
    executor: Any = Broken(settings, store, FakeClock(NOW))
    with pytest.raises(OSError, match="no more processes"):
        follow(settings, store, [asked.run_id], executor, clock=FakeClock(NOW))
    run = ledger.get_run(store, asked.run_id)
    assert run is not None
    assert run.state == "due"
    with write(store.control) as connection:
        assert ledger.end_waiting(connection, run.id, "skipped", "overlap", "test", NOW)


def test_each_state_of_a_run_is_shown_once(
    settings: Settings, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = FakeClock(NOW)
    executor = Executor(settings, store, clock, *[Outcome("succeeded")] * 9)
    ids = [ask_for_run(store, SPEC, slot=f"event:{n}", now=NOW).run_id for n in range(9)]
    display = Display()
    ended = follow(settings, store, ids, executor, show=display.show, clock=clock)
    display.close()
    assert len(ended) == 9
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(set(lines)) == 9
    assert "job, slot event:3: waits for its turn" in lines
