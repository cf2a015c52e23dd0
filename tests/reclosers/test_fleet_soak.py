"""A fleet with faults, captured by a process that is killed at random: nothing lost, nothing twice.

Every stored event is byte for byte what the simulated relay has.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
from sqlalchemy import func, select

from workspace_lib.reclosers.simulator import Fault
from workspace_lib.reclosers.simulator_gateway import RelayAt
from workspace_lib.reclosers.simulator_relay import FaultKind
from workspace_lib.reclosers.tables import recloser_events, recloser_files
from workspace_lib.store.engines import read

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")

SCRIPT = Path(__file__).with_name("killed_fleet.py")
#: Of the answers that have a fault.
FAULTS = 0.05
#: Runs after the kills until every relay was read.
MOST_RUNS = 12
VERBS = ("ACC", "ID", "CHI", "CEV", "CEV", "CEV", "QUI")


def some_faults(dice: random.Random, events: int) -> list[Fault]:
    """Faults with about one of twenty answers, each once."""
    kinds = [kind for kind in get_args(FaultKind) if kind != "clock"]
    return [
        Fault(
            dice.choice(kinds),
            dice.choice(VERBS),
            at=dice.choice([dice.randrange(60), dice.randrange(9000), -dice.randrange(1, 40)]),
            size=dice.choice([1, 2, 5, 200]),
            wait_s=dice.choice([None, 0.05]),
            nth=nth,
        )
        for nth in range(events + 4)
        if dice.random() < FAULTS
    ]


@pytest.fixture
def survive(
    start_fleet: Callable[..., Any], fleets: ModuleType
) -> Callable[..., tuple[int, int, int]]:
    """Capture a fleet in spite of kills, and check what is kept; returns events, faults, runs."""

    def survive_it(relays: int, lines: int, kills: int, within_s: float) -> tuple[int, int, int]:
        dice = random.Random(relays)
        behind = []
        for n in range(relays):
            events = dice.randrange(1, 10) if relays > 50 else dice.randrange(1, 6)
            spec = fleets.spec(n, events, faults=some_faults(dice, events))
            behind.append(RelayAt(f"R-{n}", spec, line=f"l{n % lines}"))
        faults = sum(len(at.spec.faults) for at in behind)
        fleet = start_fleet(behind, wing={"parallel": 16})
        root = str(fleet.settings.root)

        def run(day: int) -> subprocess.Popen[str]:
            started = subprocess.Popen(
                [sys.executable, str(SCRIPT), root, str(day)], stdout=subprocess.PIPE, text=True
            )
            assert started.stdout is not None
            assert started.stdout.readline() == "began\n"
            return started

        for day in range(kills):
            running = run(day)
            try:
                running.wait(dice.uniform(0.2, within_s))
            except subprocess.TimeoutExpired:
                running.kill()
            running.communicate()
            assert running.returncode in (0, 3, -signal.SIGKILL)
        runs = 0
        said = ""
        for runs in range(1, MOST_RUNS + 1):
            running = run(kills + runs)
            said, _ = running.communicate(timeout=900)
            assert running.returncode in (0, 3), said
            if fleet.stored() == fleet.truth():
                break
        truth = fleet.truth()
        stored = fleet.stored()
        assert stored.keys() == truth.keys(), said
        assert stored == truth
        check_archive(fleet, len(truth))
        alarms = [name for name, one in fleet.gateway.truth().items() if one.alarms]
        assert alarms == []
        return len(truth), faults, kills + runs

    return survive_it


def check_archive(fleet: Any, events: int) -> None:
    """The archive has the files that the store knows and no others but unfinished ones."""
    root = fleet.store.outputs / "raw" / "reclosers"
    there = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith(".") and path.name != "Events.csv"
    }
    with read(fleet.store.data) as connection:
        known = set(connection.scalars(select(recloser_files.c.path)))
        kept = connection.scalar(select(func.count()).where(recloser_events.c.state == "whole"))
        twice = connection.execute(
            select(recloser_events.c.recloser)
            .group_by(
                recloser_events.c.recloser, recloser_events.c.device_us, recloser_events.c.event
            )
            .having(func.count() > 1)
        ).all()
    quarantined = {path for path in there | known if "/quarantine/" in path}
    assert there - quarantined == known - quarantined
    assert (kept, twice) == (events, [])


@pytest.mark.timeout(300)
def test_a_capture_that_is_killed_goes_on_and_ends_with_every_event_once(
    survive: Callable[..., tuple[int, int, int]],
) -> None:
    events, faults, _ = survive(relays=12, lines=4, kills=2, within_s=1.5)
    assert events >= 35
    assert faults > 0


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_two_hundred_relays_a_thousand_events_and_many_kills(
    survive: Callable[..., tuple[int, int, int]], record_property: Callable[[str, object], None]
) -> None:
    events, faults, runs = survive(relays=200, lines=40, kills=15, within_s=8.0)
    assert events >= 950
    assert faults > 50
    assert runs > 15
    record_property("soak", f"{events} events, {faults} faults, {runs} runs")
