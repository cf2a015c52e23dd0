"""The simulated reclosers of a site as a program, and what they are like."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from workspace_lib import simulators
from workspace_lib.clock import SYSTEM_CLOCK, FakeClock, parse_instant
from workspace_lib.errors import ConfigError
from workspace_lib.reclosers.cev import parse_cev
from workspace_lib.reclosers.lines import relay_line
from workspace_lib.reclosers.relay import Manners
from workspace_lib.reclosers.relay_capture import CapturePlan, clock_error_s, visit_relay
from workspace_lib.reclosers.relay_errors import GatewayLocked
from workspace_lib.reclosers.settings import Fleet, Gateway, Recloser, load_fleet
from workspace_lib.reclosers.simulator_comtrade import comtrade_of
from workspace_lib.reclosers.simulator_main import (
    CLOCK_ERROR_S,
    DEMO,
    NAME,
    SECRET,
    FleetSimulator,
    main,
    simulated,
    simulator_of,
)
from workspace_lib.settings import Settings, load_settings
from workspace_lib.store.engines import Store
from workspace_lib.transports.devices import Holder
from workspace_lib.transports.serial_line import Limits

DEADLINE_S = 60.0
ZONE = ZoneInfo("Europe/Paris")
NOW = parse_instant("2026-03-20T12:00:00Z")
LIST = """
gateways: [{id: north, inactivity_s: 60}]
reclosers:
  - {id: A-1, ced: LAV, url: "simulator://reclosers/A-1", gateway: north, baud: 19200}
  - {id: A-2, ced: LAV, url: "simulator://reclosers/A-2", gateway: north, upstream: [A-1]}
  - {id: A-3, ced: LAV, url: "socket://gateway.example:5001"}
  - {id: A-4, ced: LAV, remote: false}
"""

Start = Callable[..., FleetSimulator]


@pytest.fixture
def start(settings: Settings) -> Iterator[Start]:
    """Start the simulated reclosers of a site and announce them; they are stopped in the end."""
    running: list[FleetSimulator] = []

    def it(fleet: Fleet | None = None, **options: Any) -> FleetSimulator:
        options = {"pace": 0.0, **options}
        simulator = FleetSimulator(fleet or simulated(settings), ZONE, **options)
        running.append(simulator)
        endpoint = simulator.start(speed=0)
        simulators.announce(settings, NAME, endpoint)
        return simulator

    yield it
    for simulator in running:
        simulator.stop()


def test_the_demo_s_list_is_what_is_simulated_where_a_site_lists_none(
    repository: Path, settings: Settings
) -> None:
    demo = load_fleet(load_settings("demo", root=repository))
    own = simulated(settings)
    assert [one.id for one in own.reclosers] == [one.id for one in demo.reclosers]
    assert [name for name, _ in DEMO] == [one.id for one in demo.reclosers]
    for ours, listed in zip(own.reclosers, demo.reclosers, strict=True):
        assert (ours.ced, ours.url, ours.gateway, ours.upstream, ours.wake) == (
            *(listed.ced, listed.url, listed.gateway, listed.upstream, listed.wake),
        )


def test_of_a_site_s_list_those_with_a_simulator_s_address_are_simulated(
    settings: Settings,
) -> None:
    (settings.site_dir / "reclosers.yml").write_text(LIST)
    found = simulated(settings)
    assert [one.id for one in found.reclosers] == ["A-1", "A-2"]
    simulator = simulator_of(settings)
    try:
        assert set(simulator.start(speed=0)["urls"]) == {"A-1", "A-2"}
    finally:
        simulator.stop()


def test_a_list_without_any_of_them_gets_those_of_the_demo(settings: Settings) -> None:
    (settings.site_dir / "reclosers.yml").write_text(
        "reclosers: [{id: X, ced: LAV, url: /dev/ttyUSB0}]"
    )
    assert len(simulated(settings).reclosers) == len(DEMO)
    with pytest.raises(ConfigError, match="No recloser"):
        FleetSimulator(Fleet(()), ZONE)


def test_the_demo_has_one_of_each_trouble_and_both_models(start: Start) -> None:
    truth = start(clock=FakeClock(NOW)).truth()
    assert truth.locked == {"MTL-601"}
    assert truth.asleep == {"MAT-402"}
    assert truth.wrong_clock == {"LAV-103"}
    erased = {name for name, relay in truth.relays.items() if relay.erased}
    assert erased == {"MAT-301"}
    models = {event.model for relay in truth.relays.values() for event in relay.events}
    assert models == {"351R", "651R"}
    assert sum(len(relay.events) for relay in truth.relays.values()) > 40


def test_reports_and_files_bear_the_names_of_their_recloser(start: Start) -> None:
    fleet = Fleet(
        tuple(
            Recloser(id=name, ced="LAV", name=place, url=f"simulator://reclosers/{name}")
            for name, place in (("A-1", "Université, nord"), ("A-2", "Pins"), ("A-3", "Moulin"))
        )
    )
    relays = start(fleet, clock=FakeClock(NOW)).truth().relays
    report = parse_cev(relays["A-1"].events[0].cev_of("C")).data
    assert (report.device, report.station) == ("A-1", "UNIVERSITE  NORD")
    files = comtrade_of(relays["A-2"].events[0])
    assert files["cfg"].startswith(b"PINS,A-2 SEL-651R,1999\r\n")
    assert b"\r\nPINS\r\n" in files["hdr"]


def test_every_demo_relay_is_visited_or_told(
    start: Start, settings: Settings, store: Store
) -> None:
    simulator = start()
    fleet = simulated(settings)
    truth = simulator.truth()
    whole = 0
    for recloser in fleet.reclosers:
        line = relay_line(
            store, Holder("me"), recloser, fleet, limits=Limits(byte_s=DEADLINE_S), prompt_s=0.5
        )
        if recloser.id in truth.locked:
            with pytest.raises(GatewayLocked):
                line.__enter__()
            continue
        with line as opened:
            found = visit_relay(
                opened,
                set(),
                CapturePlan(report=""),
                password=lambda: simulator.password,
                manners=Manners(probe_s=DEADLINE_S, settle_s=0.02),
            )
        assert found.outcome == "done", (recloser.id, found.why)
        relay = truth.relays[recloser.id]
        assert found.count("whole") == len(relay.reports("C"))
        assert found.count("summary") == len(relay.erased)
        assert found.clock is not None
        wrong = CLOCK_ERROR_S if recloser.id in truth.wrong_clock else 0
        assert clock_error_s(found.clock, ZONE) == pytest.approx(wrong, abs=30)
        whole += found.count("whole")
    assert whole > 30


def test_a_fault_comes_shot_by_shot_to_those_that_see_it(start: Start) -> None:
    clock = FakeClock(NOW)
    fleet = Fleet(
        (
            Recloser(id="A", ced="LAV", url="simulator://reclosers/A"),
            Recloser(id="B", ced="LAV", url="simulator://reclosers/B", upstream=("A",)),
        ),
        (Gateway(id="north"),),
    )
    simulator = start(fleet, clock=clock, seed=4)
    before = simulator.truth().relays
    happening = simulator.fault()
    assert simulator.advance() >= 1
    clock.advance(60)
    simulator.advance()
    assert simulator.advance() == 0
    after = simulator.truth().relays
    for name in ("A", "B"):
        new = [event for event in after[name].events if event not in before[name].events]
        assert sorted(e.key for e in new) == sorted(
            one.event.key for one in happening if one.recloser == name
        )


def test_while_it_runs_faults_go_on_happening(
    settings: Settings, wait_until: Callable[..., None]
) -> None:
    simulator = FleetSimulator(simulated(settings), ZONE, pace=0)

    def newest() -> Any:
        times = [e.time for r in simulator.truth().relays.values() for e in r.events]
        return max(times)

    began = SYSTEM_CLOCK.now().astimezone(ZONE).replace(tzinfo=None) - timedelta(seconds=2)
    try:
        simulator.start(speed=1000)
        wait_until(lambda: newest() > began, "a fault happens")
    finally:
        simulator.stop()


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no SIGTERM to handle")
def test_its_process_announces_itself_and_withdraws_when_told_to_stop(
    settings: Settings, store: Store
) -> None:
    (settings.site_dir / "reclosers.yml").write_text(LIST)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "workspace_lib.reclosers.simulator"),
            *("--site", settings.site_name, "--speed", "0"),
        ],
        env=os.environ | {"WORKSPACE_ROOT": str(settings.root)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("recloser simulator: 2 relays from socket://")
        password = simulators.secret(settings, SECRET)
        assert password is not None
        assert password not in str(simulators.endpoint(settings, NAME))
        fleet = load_fleet(settings)
        with relay_line(store, Holder("me"), fleet.recloser("A-1"), fleet) as line:
            found = visit_relay(line, set(), CapturePlan(report=""), password=lambda: password)
        assert found.outcome == "done", found.why
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=DEADLINE_S) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    with pytest.raises(ConfigError, match="No simulator"):
        simulators.endpoint(settings, NAME)


def test_a_wrong_list_ends_the_program_with_the_reason(settings: Settings) -> None:
    (settings.site_dir / "reclosers.yml").write_text("reclosers: [{id: A}]")
    done = subprocess.run(
        [sys.executable, "-m", "workspace_lib.reclosers.simulator", "--site", settings.site_name],
        env=os.environ | {"WORKSPACE_ROOT": str(settings.root)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 1
    assert "The list of reclosers is wrong" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_production_site_takes_no_simulator(
    make_site: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_site({"production": True})
    monkeypatch.setenv("WORKSPACE_ROOT", str(Path(settings.root)))
    with pytest.raises(ConfigError, match="production"):
        main(["--site", settings.site_name])
