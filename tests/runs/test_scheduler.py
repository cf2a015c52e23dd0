"""The scheduler: what is due is started once, and no part of a step keeps the others from work."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from sqlalchemy import select

from workspace_lib.clock import FakeClock
from workspace_lib.runs import cleaning, ledger, scheduler
from workspace_lib.runs.ledger_queries import list_schedulers, scheduler_last_seen
from workspace_lib.runs.scheduler import NOTIFY_EVERY_S, Scheduler
from workspace_lib.runs.states import Claim, Outcome
from workspace_lib.runs.tables import runs
from workspace_lib.settings import Settings
from workspace_lib.store.alarms import open_alarms
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.migrate import open_store
from workspace_lib.store.triggers import request_run

START = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
HOUR = 3600.0


class Executor:
    """Runs nothing; ends a run at once, or leaves it running, or cannot start it."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.store, self.clock = store, clock
        self.submitted: list[Claim] = []
        self.cancelled: list[tuple[str, int]] = []
        self.outcome: Outcome | None = Outcome("succeeded")
        self.error: dict[str, Exception] = {}
        self.closed = False
        self._running: set[tuple[str, int]] = set()

    def submit(self, claim: Claim) -> None:
        if claim.job in self.error:
            raise self.error[claim.job]
        self.submitted.append(claim)
        now, key = self.clock.now(), (claim.run_id, claim.attempt)
        assert ledger.begin(self.store, *key, host="elsewhere", pid=1, now=now)
        if self.outcome is None:
            self._running.add(key)
        else:
            assert ledger.finish(self.store, *key, self.outcome, now)

    def running(self) -> set[tuple[str, int]]:
        return self._running

    def cancel(self, run_id: str, attempt: int) -> None:
        self.cancelled.append((run_id, attempt))

    def reap(self) -> None:
        return

    def close(self) -> None:
        self.closed = True


class World:
    """A scheduler with a clock, an executor and a site of its own."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings, self.store = settings, store
        self.clock = FakeClock(START)
        self.executor = Executor(store, self.clock)
        self.scheduler = self.another()

    def another(self, services: Any = None) -> Scheduler:
        return Scheduler(self.settings, self.store, self.executor, services, self.clock)

    def job(self, name: str = "job", **content: Any) -> None:
        path = self.settings.site_dir / "jobs" / f"{name}.yml"
        if "service" not in content:
            content = {"notebook": "n", **content}
        path.write_text(yaml.safe_dump(content))

    def alarms(self) -> list[str]:
        with read(self.store.control) as connection:
            return [alarm.key for alarm in open_alarms(connection)]

    def started(self) -> list[str]:
        return [f"{claim.job} {claim.slot[11:16]}" for claim in self.executor.submitted]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """Instants at which people would have been told."""
    calls: list[datetime] = []
    fake = SimpleNamespace(notify_changes=lambda store, settings, now: calls.append(now))
    monkeypatch.setitem(sys.modules, "workspace_lib.runs.notify", fake)
    return calls


@pytest.fixture
def world(settings: Settings, store: Store, told: list[datetime]) -> World:
    notebook = settings.notebooks_dir / "jobs" / "n.ipynb"
    notebook.write_text(json.dumps({"cells": []}))
    return World(settings, store)


def test_what_is_due_is_started_once(world: World) -> None:
    world.job(schedule="0 * * * *")
    assert world.scheduler.step().started == []
    world.clock.advance(HOUR)
    report = world.scheduler.step()
    assert [claim.job for claim in report.started] == ["job"]
    assert report.failed == []
    world.scheduler.step()
    assert world.started() == ["job 11:00"]
    (run,) = ledger.list_runs(world.store)
    assert run.state == "succeeded"


def test_a_chain_goes_through_in_a_few_steps(world: World) -> None:
    world.job("first", schedule="0 * * * *")
    world.job("second", on="first")
    world.job("third", on="second")
    world.scheduler.step()
    world.clock.advance(HOUR)
    for _ in range(3):
        world.scheduler.step()
    assert world.started() == ["first 11:00", "second 11:00", "third 11:00"]


def test_the_scheduler_says_that_it_lives(world: World) -> None:
    world.scheduler.step()
    assert scheduler_last_seen(world.store) == START
    world.clock.advance(10)
    world.scheduler.step()
    assert scheduler_last_seen(world.store) == START + timedelta(seconds=10)
    world.scheduler.close()
    (seen,) = list_schedulers(world.store)
    assert seen.stopped_at == START + timedelta(seconds=10)


def test_a_changed_job_file_is_taken_at_the_next_step(world: World) -> None:
    world.job(schedule="0 * * * *")
    world.scheduler.step()
    world.job(schedule="45 * * * *")
    world.scheduler.step()
    world.clock.advance(HOUR)
    world.scheduler.step()
    assert world.started() == ["job 10:45"]


def test_a_wrong_job_file_keeps_the_last_good_one(world: World) -> None:
    world.job(schedule="0 * * * *")
    world.scheduler.step()
    world.job(schedule="0 * * * *", notebok="n")
    world.scheduler.step()
    assert world.alarms() == ["job:job"]
    world.clock.advance(HOUR)
    world.scheduler.step()
    assert world.started() == ["job 11:00"]
    # Also in a scheduler that never saw the good one.
    world.clock.advance(HOUR)
    world.another().step()
    assert world.started() == ["job 11:00", "job 12:00"]
    world.job(schedule="0 * * * *")
    world.scheduler.step()
    assert world.alarms() == []


def test_a_missing_notebook_is_found_when_it_comes(world: World) -> None:
    world.job(notebook="later", schedule="0 * * * *")
    world.scheduler.step()
    assert world.alarms() == ["job:job"]
    (world.settings.notebooks_dir / "jobs" / "later.ipynb").write_text(json.dumps({"cells": []}))
    world.scheduler.step()
    assert world.alarms() == []


def test_no_more_runs_at_once_than_the_settings_say(world: World) -> None:
    for name in ("a", "b", "c"):
        world.job(name, schedule="0 * * * *")
    world.executor.outcome = None
    world.scheduler.step()
    world.clock.advance(HOUR)
    world.scheduler.step()
    world.scheduler.step()
    assert len(world.started()) == world.settings.runs.max_parallel == 2


def test_a_run_that_cannot_be_started_is_tried_later_and_does_not_stop_others(
    world: World,
) -> None:
    world.job("a", schedule="0 * * * *")
    world.job("b", schedule="0 * * * *")
    world.scheduler.step()
    world.executor.error["a"] = OSError("no more processes")
    world.clock.advance(HOUR)
    report = world.scheduler.step()
    assert report.failed == ["start"]
    assert world.started() == ["b 11:00"]
    assert world.alarms() == ["scheduler:start"]
    del world.executor.error["a"]
    world.clock.advance(15)
    assert world.scheduler.step().failed == []
    assert world.started() == ["b 11:00", "a 11:00"]
    assert world.alarms() == []


def test_people_are_told_every_few_seconds(world: World, told: list[datetime]) -> None:
    for _ in range(3):
        world.scheduler.step()
        world.clock.advance(NOTIFY_EVERY_S / 2)
    assert told == [START, START + timedelta(seconds=NOTIFY_EVERY_S)]


def test_a_failing_part_does_not_stop_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch, told: list[datetime]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no luck")

    monkeypatch.setattr(scheduler, "tick", broken)
    with write(world.store.control) as connection:
        spec = scheduler.effective_specs(world.store, world.scheduler.jobset)
        assert spec == {}
        request_run(connection, "job", "x", now=START)
    report = world.scheduler.step()
    assert report.failed == ["tick"]
    assert told == [START]
    assert world.alarms() == ["scheduler:tick"]
    assert scheduler_last_seen(world.store) == START


def test_a_run_without_heartbeat_is_lost_but_not_when_only_the_clock_jumped(world: World) -> None:
    world.job(schedule="0 * * * *", catch_up="skip")
    world.executor.outcome = None
    world.scheduler.step()
    world.clock.advance(HOUR - 1800)
    world.scheduler.step()
    world.clock.step(world.clock.now() + timedelta(minutes=10))
    assert world.scheduler.step().lost == []
    # Nobody gave a heartbeat in the time that really passed.
    world.clock.advance(world.settings.runs.lease_s + 1)
    (run,) = ledger.list_runs(world.store, states=["running"])
    assert world.scheduler.step().lost == [run.id]


def test_a_cancelled_run_is_hurried_once(world: World) -> None:
    world.job(schedule="0 * * * *")
    world.executor.outcome = None
    world.scheduler.step()
    world.clock.advance(HOUR)
    (claim,) = world.scheduler.step().started
    ledger.request_cancel(world.store, claim.run_id, "ann", world.clock.now())
    world.scheduler.step()
    world.scheduler.step()
    assert world.executor.cancelled == [(claim.run_id, 1)]


def test_a_new_scheduler_finds_the_runs_under_way(world: World) -> None:
    world.job(schedule="0 * * * *")
    world.executor.outcome = None
    world.scheduler.step()
    world.clock.advance(HOUR)
    (claim,) = world.scheduler.step().started
    world.scheduler.close()
    second = world.another()
    second.step()
    assert world.started() == ["job 11:00"]
    assert ledger.finish(world.store, claim.run_id, 1, Outcome("succeeded"), world.clock.now())


def test_services_get_their_jobs_and_are_stopped(world: World) -> None:
    class Services:
        def __init__(self) -> None:
            self.seen: list[list[str]] = []
            self.stopped = False

        def step(self, now: datetime, specs: list[Any]) -> None:
            self.seen.append([spec.name for spec in specs])

        def stop(self) -> None:
            self.stopped = True

    world.job("serving", service="workspace_lib.files:sha256_file", parameters={})
    world.job("resting", service="workspace_lib.files:sha256_file", enabled=False)
    services = Services()
    one = world.another(services)
    one.step()
    assert services.seen == [["serving"]]
    one.close()
    assert services.stopped


def test_the_loop_ends_when_asked_and_says_so(world: World) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=world.scheduler.run, args=(stop,))
    thread.start()
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    assert world.executor.closed


def test_cleaning_comes_once_an_hour(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[datetime] = []
    monkeypatch.setattr(cleaning, "clean", lambda store, settings, now: done.append(now))
    monkeypatch.setattr(cleaning, "is_due", lambda store, now: not done)
    world.scheduler.step()
    world.scheduler.step()
    assert done == [START]


LOOP = """
import sys
from datetime import datetime, timedelta
from types import SimpleNamespace
sys.modules["workspace_lib.runs.notify"] = SimpleNamespace(notify_changes=lambda *_: None)
from workspace_lib.clock import FakeClock
from workspace_lib.runs import ledger
from workspace_lib.runs.scheduler import Scheduler
from workspace_lib.runs.states import Outcome
from workspace_lib.settings import load_settings
from workspace_lib.store.migrate import open_store

site, root, start, steps = sys.argv[1:]

class Executor:
    def submit(self, claim):
        key = (claim.run_id, claim.attempt)
        assert ledger.begin(store, *key, host="here", pid=1, now=clock.now())
        print("ran", claim.job, claim.slot, flush=True)
        assert ledger.finish(store, *key, Outcome("succeeded"), clock.now())
    def running(self): return set()
    def reap(self): pass
    def cancel(self, *_): pass
    def close(self): pass

clock = FakeClock(datetime.fromisoformat(start))
with open_store(load_settings(site, root=root)) as store:
    scheduler = Scheduler(load_settings(site, root=root), store, Executor(), clock=clock)
    assert not scheduler.step().failed
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(int(steps)):
        clock.advance(60)
        assert not scheduler.step().failed
    print("done", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def start_scheduler() -> Any:
    """Start schedulers in processes of their own; they are ended after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(settings: Settings, steps: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                LOOP,
                settings.site,
                str(settings.root),
                START.isoformat(),
                str(steps),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def say(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


@pytest.mark.slow
@pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.server)]
)
def test_two_schedulers_at_once_run_each_slot_once(
    database: str,
    make_site: Callable[..., Settings],
    start_scheduler: Callable[..., subprocess.Popen[str]],
    request: pytest.FixtureRequest,
) -> None:
    # The two clocks are not one: no lease may run out because the other is ahead.
    site: dict[str, object] = {"timezone": "Europe/Paris", "runs": {"lease_s": 86_400}}
    if database == "postgresql":
        site["store"] = {"url": request.getfixturevalue("postgres_store_url")}
    every = {"notebook": "n", "schedule": "*/10 * * * *", "catch_up": "each"}
    jobs = {
        "a": every,
        "b": {**every, "schedule": "*/15 * * * *"},
        "c": {"notebook": "n", "on": "a"},
    }
    settings = make_site(site, jobs)
    (settings.notebooks_dir / "jobs" / "n.ipynb").write_text(json.dumps({"cells": []}))
    with open_store(settings, create=True) as store:
        pair = [start_scheduler(settings, 120) for _ in range(2)]
        for process in pair:
            say(process)
        ran = []
        for process in pair:
            assert process.stdout is not None
            for line in iter(process.stdout.readline, "done\n"):
                assert line.startswith("ran "), line
                ran.append(line)
        with read(store.control) as connection:
            rows = connection.execute(select(runs.c.job, runs.c.state, runs.c.attempt)).all()
    # Two hours: twelve slots of ten minutes, eight of fifteen; the last may just be due.
    assert len(ran) == len(set(ran))
    assert {(job, sum(row.job == job for row in rows)) for job in "ab"} == {("a", 12), ("b", 8)}
    assert all(row.attempt <= 1 for row in rows)
    assert len([row for row in rows if row.state == "succeeded"]) == len(ran) >= 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("catch_up", "ran", "gaps"),
    [
        ("skip", [], ["11:00", "12:00", "13:00"]),
        ("latest", ["13:00"], []),
        ("each", ["11:00", "12:00", "13:00"], []),
    ],
)
def test_a_scheduler_is_killed_and_three_slots_are_missed(
    world: World,
    start_scheduler: Callable[..., subprocess.Popen[str]],
    catch_up: str,
    ran: list[str],
    gaps: list[str],
) -> None:
    world.job(schedule="0 * * * *", catch_up=catch_up)
    killed = start_scheduler(world.settings, 5)
    say(killed)
    assert killed.stdout is not None
    assert killed.stdout.readline() == "done\n"
    killed.kill()
    killed.wait()
    world.clock.advance(3 * HOUR)
    for _ in range(5):
        world.another().step()
        world.clock.advance(2)
    assert [text.split()[1] for text in world.started()] == ran
    skipped = ledger.list_runs(world.store, states=["skipped"])
    assert [run.slot[11:16] for run in reversed(skipped)] == gaps
    assert all(run.cause == "missed_slot" for run in skipped)
    assert len(ledger.list_runs(world.store)) == len(ran) + len(gaps)
