"""The simulated gateway: many relays behind few lines, locked, busy, silent, asleep."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from workspace_lib.clock import FakeClock, parse_instant
from workspace_lib.errors import ConfigError, ParameterError
from workspace_lib.reclosers.relay import Manners
from workspace_lib.reclosers.relay_capture import CapturePlan, Visit, visit_relay
from workspace_lib.reclosers.simulator import Fault, RelaySpec, make_events
from workspace_lib.reclosers.simulator_gateway import GatewayManners, GatewaySimulator, RelayAt
from workspace_lib.transports.serial_line import Limits, open_line

DEADLINE_S = 60.0
START = parse_instant("2026-03-02T08:00:00Z")

Make = Callable[..., tuple[GatewaySimulator, dict[str, str]]]


@pytest.fixture
def gateway() -> Iterator[Make]:
    """Start gateways; they are stopped in the end."""
    running: list[GatewaySimulator] = []

    def start(
        *relays: RelayAt, speed: float = 1.0, **options: Any
    ) -> tuple[GatewaySimulator, dict[str, str]]:
        simulator = GatewaySimulator(relays, options.pop("manners", None), **options)
        running.append(simulator)
        return simulator, simulator.start(speed=speed)["urls"]

    yield start
    for simulator in running:
        simulator.stop()


def relay(name: str = "R1", **options: Any) -> RelayAt:
    """A relay that is at level 1 and has two events."""
    spec = options.pop("spec", None) or RelaySpec(level="1", events=make_events("351R", 2))
    return RelayAt(name, spec, **options)


def connect(url: str) -> socket.socket:
    """A connection to the address of a relay."""
    host, _, port = url.removeprefix("socket://").rpartition(":")
    return socket.create_connection((host, int(port)), DEADLINE_S)


def listen(line: socket.socket, until: bytes = b"\r\n=>\x03") -> bytes:
    """What comes until a prompt, or the end."""
    said = b""
    while not said.endswith(until) and (more := line.recv(65_536)):
        said += more
    return said


def ask(line: socket.socket, command: bytes) -> bytes:
    line.sendall(command)
    return listen(line)


def visit(url: str, report: str = "") -> Visit:
    line = open_line(url, limits=Limits(byte_s=DEADLINE_S))
    try:
        return visit_relay(
            line,
            set(),
            CapturePlan(report=report),
            password=lambda: "OTTER",
            manners=Manners(probe_s=DEADLINE_S, settle_s=0.05),
        )
    finally:
        line.close()


def test_each_relay_answers_at_its_own_port(gateway: Make) -> None:
    simulator, urls = gateway(*(relay(f"R{n}", spec=RelaySpec(rid=f"NO {n}")) for n in range(3)))
    assert len(set(urls.values())) == 3
    for number in range(3):
        with connect(urls[f"R{number}"]) as line:
            line.sendall(b"QUI\r")
            assert f"NO {number}".encode() in listen(line, b"\r\n=\x03")
    assert simulator.sessions() == {"R0": 1, "R1": 1, "R2": 1}


def test_two_hundred_relays_are_served_by_one_thread(gateway: Make) -> None:
    before = threading.active_count()
    simulator, urls = gateway(
        *(relay(f"R{n}", spec=RelaySpec(events=make_events("351R", 2, seed=n))) for n in range(200))
    )
    assert threading.active_count() == before + 1
    with ThreadPoolExecutor(8) as pool:
        visits = dict(zip(urls, pool.map(visit, urls.values()), strict=True))
    truth = simulator.truth()
    for name, found in visits.items():
        assert found.outcome == "done", found.why
        assert {e.key: e.content for e in found.events} == truth[name].reports("")


def test_a_refusing_port_that_is_locked_takes_no_connection_until_it_is_unlocked(
    gateway: Make,
) -> None:
    simulator, urls = gateway(relay("R1"), relay("R2"), locked=["R1"])
    with pytest.raises(ConnectionRefusedError):
        connect(urls["R1"])
    with connect(urls["R2"]) as line:
        assert b"CHI" in ask(line, b"CHI\r")
    simulator.unlock("R1")
    with connect(urls["R1"]) as line:
        assert b"CHI" in ask(line, b"CHI\r")


def test_a_talking_port_that_is_locked_says_so_and_hangs_up(gateway: Make) -> None:
    manners = GatewayManners(locked="say", locked_text="No access: port is locked\r\n")
    _, urls = gateway(relay(), manners=manners, locked=["R1"])
    with connect(urls["R1"]) as line:
        line.sendall(b"CHI\r")
        assert listen(line, b"nothing") == b"No access: port is locked\r\n"


def test_locking_ends_the_session_that_is_on(gateway: Make) -> None:
    simulator, urls = gateway(relay())
    with connect(urls["R1"]) as line:
        ask(line, b"CHI\r")
        simulator.lock("R1")
        assert line.recv(100) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(urls["R1"])


def test_a_held_port_is_busy_until_it_is_released(gateway: Make) -> None:
    simulator, urls = gateway(relay(), manners=GatewayManners(busy_text="In use by SCADA\r\n"))
    simulator.hold("R1")
    with connect(urls["R1"]) as line:
        assert listen(line, b"nothing") == b"In use by SCADA\r\n"
    simulator.release("R1")
    with connect(urls["R1"]) as line:
        assert b"CHI" in ask(line, b"CHI\r")


def test_a_held_port_can_be_silent(gateway: Make) -> None:
    simulator, urls = gateway(
        relay(), manners=GatewayManners(busy="silence"), clock=(clock := FakeClock(START))
    )
    simulator.hold("R1")
    with connect(urls["R1"]) as line:
        line.sendall(b"CHI\r")
        line.settimeout(0.2)
        with pytest.raises(TimeoutError):
            line.recv(1)
    assert simulator.truth()["R1"].commands == ()
    assert clock.monotonic() == 0


def test_a_line_has_one_session_at_a_time_whichever_relay_it_is_with(gateway: Make) -> None:
    _, urls = gateway(relay("R1", line="A"), relay("R2", line="A"), relay("R3", line="B"))
    with connect(urls["R1"]) as first:
        ask(first, b"CHI\r")
        with connect(urls["R2"]) as second:
            assert listen(second, b"nothing") == b"Port busy"
        with connect(urls["R3"]) as other:
            assert b"CHI" in ask(other, b"CHI\r")


def test_a_line_is_free_again_once_its_client_has_gone(
    gateway: Make, wait_until: Callable[..., None]
) -> None:
    _, urls = gateway(relay("R1", line="A"), relay("R2", line="A"))
    with connect(urls["R1"]) as line:
        ask(line, b"CHI\r")

    def answers() -> bool:
        with connect(urls["R2"]) as second:
            return b"CHI" in ask(second, b"CHI\r")

    wait_until(answers, "the second relay answers")


def test_silence_ends_a_session_and_talking_does_not(
    gateway: Make, wait_until: Callable[..., None]
) -> None:
    clock = FakeClock(START)
    manners = GatewayManners(inactivity_s=60, inactivity_text="Inactivity timeout\r\n")
    _, urls = gateway(relay(), manners=manners, clock=clock)
    with connect(urls["R1"]) as line:
        for _ in range(4):
            clock.advance(50)
            ask(line, b"CHI\r")
        clock.advance(60)
        assert listen(line, b"nothing") == b"Inactivity timeout\r\n"


def test_a_session_is_dropped_amid_a_report(gateway: Make) -> None:
    simulator, urls = gateway(relay(), baud=9600)
    with connect(urls["R1"]) as line:
        line.sendall(b"CEV 1\r")
        line.recv(10)
        simulator.drop("R1")
        said = listen(line, b"nothing")
    assert b"SETTINGS" not in said


def test_what_a_relay_does_wrong_it_does_behind_a_gateway_too(gateway: Make) -> None:
    spec = RelaySpec(
        events=make_events("351R", 2), faults=[Fault("noise"), Fault("stall", wait_s=0.05, nth=1)]
    )
    simulator, urls = gateway(relay(spec=spec))
    found = visit(urls["R1"])
    assert found.outcome == "done"
    assert {e.key: e.content for e in found.events} == simulator.truth()["R1"].reports("")
    assert max(event.reads for event in found.events) > 1


def test_a_stall_without_end_is_ended_by_can(gateway: Make) -> None:
    spec = RelaySpec(level="1", events=make_events("351R", 1), faults=[Fault("stall", at=100)])
    _, urls = gateway(relay(spec=spec))
    with connect(urls["R1"]) as line:
        line.sendall(b"CEV 1\r")
        listen(line, b"\x13")
        assert ask(line, b"\x18").endswith(b"=>\x03")


def test_xoff_of_the_client_stops_it_and_xon_lets_it_go_on(gateway: Make) -> None:
    _, urls = gateway(relay(), baud=9600)
    with connect(urls["R1"]) as line:
        line.sendall(b"\x13CHI\r")
        line.settimeout(0.2)
        with pytest.raises(TimeoutError):
            line.recv(1)
        line.settimeout(DEADLINE_S)
        assert b"REC_NUM" in ask(line, b"\x11")


def test_a_paced_line_takes_the_time_its_bytes_take(gateway: Make) -> None:
    # Faster than real, so that the test is short; a loaded machine may only make it longer.
    _, urls = gateway(relay(), baud=19_200, speed=5)
    with connect(urls["R1"]) as line:
        began = time.monotonic()
        size = len(ask(line, b"CEV 1\r"))
        took = time.monotonic() - began
    assert took >= 0.97 * size * 10 / (5 * 19_200)


def test_a_line_may_have_a_pace_of_its_own(gateway: Make) -> None:
    _, urls = gateway(relay("R1", baud=2400), relay("R2"), baud=1_000_000)
    took = {}
    for name, url in urls.items():
        with connect(url) as line:
            began = time.monotonic()
            size = len(ask(line, b"ID\r"))
            took[name] = time.monotonic() - began
    assert took["R1"] >= 0.9 * size * 10 / 2400


def test_lines_do_not_wait_for_each_other_but_relays_of_one_line_do(gateway: Make) -> None:
    simulator, urls = gateway(
        *(relay(f"R{n}", line=f"L{n % 4}") for n in range(8)), baud=19_200, speed=4
    )
    sizes: dict[str, int] = {}
    began: dict[str, float] = {}
    ended: dict[str, float] = {}
    together = threading.Barrier(4)

    def of_line(number: int) -> None:
        together.wait(DEADLINE_S)
        for name in (f"R{number}", f"R{number + 4}"):
            with connect(urls[name]) as line:
                began[name] = time.monotonic()
                sizes[name] = len(ask(line, b"CEV 1\r"))
                ended[name] = time.monotonic()

    threads = [threading.Thread(target=of_line, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    first = [f"R{n}" for n in range(4)]
    assert max(began[name] for name in first) < min(ended[name] for name in first)
    for number in range(4):
        one, other = f"R{number}", f"R{number + 4}"
        line_s = 10 / (4 * 19_200) * (sizes[one] + sizes[other])
        assert ended[other] - began[one] >= 0.97 * line_s
    assert set(simulator.sessions().values()) == {1}


def test_a_sleeping_relay_swallows_everything_until_it_hears_its_characters(gateway: Make) -> None:
    simulator, urls = gateway(relay(wake="ABCD", asleep=True))
    with connect(urls["R1"]) as line:
        line.sendall(b"\x18\rCHI\rAB")
        line.settimeout(0.2)
        with pytest.raises(TimeoutError):
            line.recv(1)
        assert simulator.asleep("R1")
        line.settimeout(DEADLINE_S)
        line.sendall(b"CD")
        assert b"REC_NUM" in ask(line, b"CHI\r")
    assert simulator.truth()["R1"].commands == ("CHI",)


def test_it_falls_asleep_again_after_a_silence(gateway: Make) -> None:
    clock = FakeClock(START)
    simulator, urls = gateway(relay(wake="WAKE", asleep_after_s=600), clock=clock)
    clock.advance(1)
    with connect(urls["R1"]) as line:
        ask(line, b"CHI\r")
        clock.advance(599)
        ask(line, b"CHI\r")
        clock.advance(601)
        line.sendall(b"CHI\r")
        line.settimeout(0.2)
        with pytest.raises(TimeoutError):
            line.recv(1)
    assert simulator.asleep("R1")


def test_a_relay_can_be_put_to_sleep_if_something_wakes_it(gateway: Make) -> None:
    simulator, _ = gateway(relay("R1", wake="ABCD"), relay("R2"))
    simulator.sleep("R1")
    assert simulator.asleep("R1")
    with pytest.raises(ParameterError, match="Nothing wakes R2"):
        simulator.sleep("R2")


def test_relays_with_addresses_share_a_port_and_answer_to_theirs_only(gateway: Make) -> None:
    specs = {name: RelaySpec(level="1", rid=f"HERE IS {name}") for name in ("12", "13")}
    simulator, urls = gateway(
        *(RelayAt(f"R{n}", spec, line="A", address=f"@{n}") for n, spec in specs.items())
    )
    assert urls["R12"] == urls["R13"]
    with connect(urls["R12"]) as line:
        line.sendall(b"QUI\r@")  # not yet to anybody
        said = ask(line, b"13TIM\r")
        assert b"@13\x02\r\nHERE IS 13" in said
        assert b"HERE IS 12" in ask(line, b"@12TIM\r")
        line.sendall(b"@77TIM\r@12")
        assert b"@12\x02" in ask(line, b"TIM\r")
    truth = simulator.truth()
    assert truth["R12"].commands == ("TIM", "TIM")
    assert truth["R13"].commands == ("TIM",)


def test_what_another_relay_of_the_line_says_unasked_has_its_own_address(gateway: Make) -> None:
    specs = {name: RelaySpec("351R", level="1", auto=True) for name in ("12", "13")}
    simulator, urls = gateway(
        *(RelayAt(f"R{n}", spec, line="A", address=f"#{n}") for n, spec in specs.items())
    )
    with connect(urls["R12"]) as line:
        ask(line, b"#12TIM\r")
        simulator.happen("R13")
        assert listen(line).startswith(b"#13\x02")


def test_its_relays_keep_the_time_of_their_zone(gateway: Make) -> None:
    from zoneinfo import ZoneInfo

    zone = ZoneInfo("Europe/Paris")
    simulator, urls = gateway(relay(), zone=zone, clock=FakeClock(START))
    with connect(urls["R1"]) as line:
        assert b"Time: 09:00:00.000" in ask(line, b"TIM\r")
    assert simulator.happen("R1").time.hour == 9


def test_a_given_event_happens_and_is_the_newest(gateway: Make) -> None:
    simulator, _ = gateway(relay())
    event = make_events("351R", 1, seed=9, last=START.replace(tzinfo=None))[0]
    assert simulator.happen("R1", event) is event
    assert simulator.truth()["R1"].events[0] is event
    assert simulator.change("R1", lambda one: len(one.spec.events)) == 3


def test_it_starts_at_the_ports_that_are_wished(gateway: Make) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    simulator = GatewaySimulator([relay()])
    try:
        endpoint = simulator.start(port)
        assert endpoint["port"] == port
        with pytest.raises(ConfigError, match="runs already"):
            simulator.start()
    finally:
        simulator.stop()
    with pytest.raises(ConnectionRefusedError):
        connect(endpoint["urls"]["R1"])
    assert simulator.truth()["R1"].level == "1"


def test_relays_that_do_not_exist_or_exist_twice_are_told(gateway: Make) -> None:
    simulator, _ = gateway(relay())
    with pytest.raises(ParameterError, match="Known: R1"):
        simulator.lock("R9")
    with pytest.raises(ParameterError, match="'R1'"):
        GatewaySimulator([relay(), relay()])
    with pytest.raises(ParameterError, match="No relays"):
        GatewaySimulator([])
