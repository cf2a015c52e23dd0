"""The simulated relay: what it makes is plausible, true, and made without the readers' code."""

from __future__ import annotations

import ast
import socket
import time
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from workspace_lib.reclosers import cascii
from workspace_lib.reclosers.cev import parse_cev
from workspace_lib.reclosers.faults import Phasors, fault_type, line_of, locate
from workspace_lib.reclosers.phasors import fourier
from workspace_lib.reclosers.simulator import RelaySimulator, RelaySpec, make_events
from workspace_lib.reclosers.simulator_events import KINDS, Options, SimulatedEvent

WHEN = make_events("351R", 1)[0].time
Model = Literal["351R", "651R"]


def test_no_simulator_imports_a_reader_of_its_wing(repository: Path) -> None:
    for path in (repository / "workspace_lib" / "reclosers").glob("simulator*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("workspace_lib"):
                inner = (node.module or "").removeprefix("workspace_lib.")
                # The list of reclosers says which relays there are; it reads nothing of them.
                allowed = "simulator" in inner or inner == "reclosers.settings"
                assert not inner.startswith("reclosers") or allowed, (path.name, inner)


@pytest.mark.parametrize("model", ["351R", "651R"])
@pytest.mark.parametrize("asked", ["", "C", "S16 L10", "S32 R"])
def test_its_reports_are_read_without_a_complaint(model: Model, asked: str) -> None:
    for event in make_events(model, 4, seed=5):
        record = parse_cev(event.cev(Options.of(asked.split())))
        assert record.issues == ()
        assert record.data.checksums.bad == 0
        assert str(record.data.trigger) == event.key[0]
        assert record.data.summary["EVENT"] == event.type


@pytest.mark.parametrize("kind", KINDS)
def test_currents_in_the_middle_of_the_fault_are_those_of_its_summary(kind: str) -> None:
    event = SimulatedEvent("351R", WHEN, kind, trip_s=0.15, open_s=0.18)
    record = parse_cev(event.cev(Options(16))).data
    row = round(16 * (4 + 0.17 * 60))
    for phase, name in enumerate(("IA", "IB", "IC")):
        now, quarter = record.channel(name)[row], record.channel(name)[row - 4]
        wanted = abs(complex(event.load[phase] + event.fault[0][phase]))
        assert np.hypot(now, quarter) == pytest.approx(wanted, rel=0.02, abs=3)


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_the_place_of_a_fault_is_where_analysis_finds_it(kind: str) -> None:
    event = SimulatedEvent("351R", WHEN, kind, distance=0.4, trip_s=0.15, open_s=0.18)
    record = parse_cev(event.cev(Options(16, raw=True, cycles=15))).data

    def at(row: int) -> Phasors:
        found = {
            name: complex(fourier(record.channel(name) * record.peak_factor, 16)[row])
            for name in ("IA", "IB", "IC", "VA", "VB", "VC")
        }
        return Phasors(
            (found["IA"], found["IB"], found["IC"]),
            (found["VA"] * 1000, found["VB"] * 1000, found["VC"] * 1000),
        )

    before, during = at(32), at(round(16 * (4 + 0.165 * 60)))
    line = line_of(record.settings)
    assert line is not None
    assert fault_type(before, during) == kind
    place = locate(kind, before, during, line)
    assert place.modified_takagi == pytest.approx(event.location, rel=0.01)
    assert place.reactance == pytest.approx(event.location, rel=0.01)


def test_currents_end_when_it_opens_and_bits_say_so() -> None:
    event = SimulatedEvent("351R", WHEN, "BC", trip_s=0.05, open_s=0.08)
    record = parse_cev(event.cev(Options(16, raw=True, cycles=15))).data
    after = record.t_s - record.trigger_s > 0.08
    assert np.abs(record.channel("IB")[after]).max() == 0
    assert not record.bit("52A")[after][4:].any()
    assert record.bit("TRIP")[after].all()


def test_events_of_one_seed_are_the_same_and_go_to_lockout() -> None:
    events = make_events("651R", 40, seed=2)
    assert [one.key for one in events] == [one.key for one in make_events("651R", 40, seed=2)]
    assert len({one.key for one in events}) == 40
    assert [one.time for one in events] == sorted((one.time for one in events), reverse=True)
    assert any(one.lockout for one in events)
    assert {one.shot for one in events} == {0, 1, 2, 3}


def test_it_takes_the_time_its_line_takes() -> None:
    simulator = RelaySimulator(RelaySpec(level="1", events=make_events("351R", 3)), baud=9600)
    endpoint = simulator.start(speed=10.0)
    try:
        with socket.create_connection((endpoint["host"], endpoint["port"]), 60) as line:
            began = time.monotonic()
            line.sendall(b"CEV 1\r")
            answer = b""
            while not answer.endswith(b"=>\x03"):
                answer += line.recv(4096)
            took = time.monotonic() - began
    finally:
        simulator.stop()
    assert took >= 0.9 * len(answer) * 10 / (10 * 9600)


def test_its_list_and_identity_carry_right_checksums() -> None:
    simulator = RelaySimulator(RelaySpec(level="1", events=make_events("651R", 5)))
    simulator.relay.feed(b"ID\rCHI\r")
    said = b"".join(one for one in simulator.relay.output if isinstance(one, bytes))
    lines = [line for line in cascii.lines(said) if line.good is not None]
    assert len(lines) >= 10
    assert all(line.good for line in lines)


def test_levels_and_refused_passwords_are_counted() -> None:
    simulator = RelaySimulator(RelaySpec(events=[]))
    simulator.relay.feed(b"CHI\rACC\rwrong\rwrong\rwrong\r2AC\rOTTER\r")
    truth = simulator.truth()
    assert (truth.passwords_refused, truth.alarms, truth.level) == (3, 2, "2")
    said = b"".join(one for one in simulator.relay.output if isinstance(one, bytes))
    assert b"Invalid Access Level" in said
    assert b"OTTER" not in said
    simulator.relay.feed(b"QUI\r")
    assert simulator.truth().level == "0"
