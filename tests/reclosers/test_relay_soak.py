"""Relays with several faults at once: in the end all is fetched and nothing of it is wrong."""

from __future__ import annotations

import random
from typing import Any, Literal, get_args

import pytest

from workspace_lib.reclosers.relay import Manners
from workspace_lib.reclosers.relay_capture import CapturePlan, visit_relay
from workspace_lib.reclosers.relay_commands import ALLOWED
from workspace_lib.reclosers.simulator import Fault, RelaySpec, make_events
from workspace_lib.reclosers.simulator_relay import FaultKind
from workspace_lib.reclosers.ymodem import Patience
from workspace_lib.transports.serial_line import Limits

QUICK = Patience(start_s=0.4, block_s=0.4, byte_s=0.2, quiet_s=0.05)
#: Each fault happens once or twice; then a visit goes well.
MOST_VISITS = 12


def troubled(dice: random.Random, seed: int) -> RelaySpec:
    """A relay with some events and some faults."""
    models: tuple[Literal["351R", "651R"], ...] = ("351R", "651R")
    model = dice.choice(models)
    kinds = [kind for kind in get_args(FaultKind) if kind != "clock"]
    faults = [
        Fault(
            dice.choice(kinds),
            dice.choice(["ACC", "ID", "CHI", "CEV", "CEV", "CEV", "FIL", "FIL READ", "QUI"]),
            at=dice.choice([dice.randrange(60), dice.randrange(5000), -dice.randrange(1, 40)]),
            size=dice.choice([1, 1, 2, 5, 200]),
            wait_s=dice.choice([None, 0.05]),
            nth=dice.randrange(4),
            times=dice.choice([1, 1, 2]),
        )
        for _ in range(dice.randrange(1, 5))
    ]
    events = make_events(model, 3, seed=seed)
    return RelaySpec(
        model,
        events=events,
        faults=faults,
        bare_prompts=dice.random() < 0.2,
        has_chi=dice.random() < 0.8,
        auto=dice.random() < 0.3,
        erased={events[1].key} if dice.random() < 0.2 else set(),
        level=dice.choice("00001EB2C"),
        jumper=dice.random() < 0.2,
        file_numbers=dice.choice(["up", "newest"]),
        tells_size=dice.random() < 0.7,
    )


@pytest.mark.parametrize("seed", range(8))
def test_whatever_goes_wrong_in_the_end_all_is_there_and_nothing_is_wrong(
    reach: Any, seed: int
) -> None:
    relay = reach(troubled(random.Random(seed), seed))
    stored: dict[tuple[str, str], bytes] = {}
    summaries: set[tuple[str, str]] = set()
    for _ in range(MOST_VISITS):
        with relay.line(Limits(byte_s=0.4)) as line:
            visit = visit_relay(
                line,
                {*stored, *summaries},
                CapturePlan(report=""),
                password=lambda: "OTTER",
                manners=Manners(probe_s=0.4, settle_s=0.05, transfer=QUICK),
            )
        truth = relay.simulator.truth()
        reports, files = truth.reports(""), truth.files()
        for event in visit.events:
            if event.state == "whole":
                assert event.content == reports[event.key], event.why
                kept = {one.kind: one.content for one in event.files if one.kind != "cev"}
                assert kept == files.get(event.key, {}), event.why
                assert event.key not in stored
                stored[event.key] = event.content
            elif event.state == "summary":
                assert event.key in truth.erased
                summaries.add(event.key)
        assert all(text.split()[0] in ALLOWED for text in truth.commands)
        assert truth.passwords_refused == 0
        if visit.outcome == "done" and stored.keys() == reports.keys():
            break
    assert stored == relay.simulator.truth().reports("")
    assert truth.alarms == 0
