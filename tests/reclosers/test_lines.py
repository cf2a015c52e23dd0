"""The line to a relay: through its gateway, awake, nobody else, and given back whatever happens."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import psutil
import pytest

from workspace_lib import simulators
from workspace_lib.clock import SYSTEM_CLOCK, FakeClock
from workspace_lib.errors import ConfigError, DeviceBusy, DeviceError, DeviceTimeout, ParameterError
from workspace_lib.process_trees import marked
from workspace_lib.reclosers import lines
from workspace_lib.reclosers.lines import relay_line
from workspace_lib.reclosers.relay import Manners
from workspace_lib.reclosers.relay_capture import CapturePlan, Visit, visit_relay
from workspace_lib.reclosers.relay_errors import GatewayBusy, GatewayLocked, RelayAsleep
from workspace_lib.reclosers.settings import Fleet, Gateway, Recloser
from workspace_lib.reclosers.simulator import RelaySimulator, RelaySpec, make_events
from workspace_lib.reclosers.simulator_gateway import GatewayManners, GatewaySimulator, RelayAt
from workspace_lib.reclosers.simulator_relay import SimulatedRelay
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store
from workspace_lib.transports.devices import Holder, open_exclusive
from workspace_lib.transports.helper_command import MARK, HelperFailed
from workspace_lib.transports.serial_line import Limits, LineDropped, SerialLine

DEADLINE_S = 60.0
ME = Holder("me")
Make = Callable[..., tuple[GatewaySimulator, dict[str, str]]]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not heed being asked to end is ended sooner than it would be."""
    monkeypatch.setattr(lines, "HELPER_GRACE_S", 0.3)


@pytest.fixture
def gateway() -> Iterator[Make]:
    """Start simulated gateways; they are stopped in the end."""
    running: list[GatewaySimulator] = []

    def start(*relays: RelayAt, **options: Any) -> tuple[GatewaySimulator, dict[str, str]]:
        simulator = GatewaySimulator(relays, options.pop("manners", None), **options)
        running.append(simulator)
        return simulator, simulator.start()["urls"]

    yield start
    for simulator in running:
        simulator.stop()


def relay(name: str = "R1", **options: Any) -> RelayAt:
    return RelayAt(name, RelaySpec(events=make_events("351R", 2)), **options)


def fleet(url: str, gateway: Gateway | None = None, **options: Any) -> Fleet:
    """A fleet of one recloser, behind a gateway."""
    behind = (gateway,) if gateway else ()
    one = Recloser(id="R1", ced="LAV", url=url, gateway=gateway.id if gateway else "", **options)
    return Fleet((one,), behind)


def opened(store: Store, of: Fleet, limits: Limits | None = None, **options: Any) -> Any:
    limits = limits or Limits(byte_s=DEADLINE_S)
    return relay_line(store, ME, of.reclosers[0], of, limits=limits, **options)


def visit(line: SerialLine, probe_s: float = DEADLINE_S) -> Visit:
    return visit_relay(
        line,
        set(),
        CapturePlan(report=""),
        password=lambda: "OTTER",
        manners=Manners(probe_s=probe_s, settle_s=0.05),
    )


def helper_program(tmp_path: Path, body: str) -> tuple[str, ...]:
    """The words of a helper command that is a Python program."""
    path = tmp_path / "helper.py"
    path.write_text(f"import os, signal, socket, subprocess, sys, time\n{body}\n")
    return (sys.executable, str(path), "{recloser}", "{host}", "{port}")


#: Opens the way: passes bytes on between its own port and the relay's, once it was started.
TUNNEL = """
import threading
server = socket.create_server(("127.0.0.1", int(os.environ["HELPER_PORT"])))
print("pass-through of", *sys.argv[1:], "is open", flush=True)
def copy(source, target):
    while data := source.recv(4096):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)
near, _ = server.accept()
far = socket.create_connection(("127.0.0.1", int(os.environ["RELAY_PORT"])))
threading.Thread(target=copy, args=(far, near), daemon=True).start()
copy(near, far)
time.sleep(600)
"""


@pytest.fixture
def way(gateway: Make, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address at which a relay can be reached once the helper command opened the way."""
    _, urls = gateway(relay())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("HELPER_PORT", str(port))
    monkeypatch.setenv("RELAY_PORT", urls["R1"].rpartition(":")[2])
    return f"socket://127.0.0.1:{port}"


def left_of(store: Store, of: Fleet) -> list[psutil.Process]:
    """What still runs of a recloser's helper command."""
    return marked({MARK: f"{store.outputs}|{of.reclosers[0].line_id}"})


def test_a_relay_behind_a_gateway_is_visited(store: Store, gateway: Make) -> None:
    simulator, urls = gateway(relay())
    with opened(store, fleet(urls["R1"], Gateway(id="north"))) as line:
        assert line.where == "R1"
        found = visit(line)
    assert found.outcome == "done", found.why
    assert {e.key: e.content for e in found.events} == simulator.truth()["R1"].reports("")


def test_a_simulated_recloser_is_found_where_it_was_announced(
    store: Store, gateway: Make, settings: Settings
) -> None:
    _, urls = gateway(relay())
    of = fleet("simulator://reclosers/R1")
    with pytest.raises(ConfigError, match="make run"), opened(store, of):
        pass
    simulators.announce(settings, "reclosers", {"host": "127.0.0.1", "port": 1, "urls": urls})
    with opened(store, of) as line:
        assert visit(line).outcome == "done"
    with (
        pytest.raises(ConfigError, match="It has: R1"),
        opened(store, fleet("simulator://reclosers/R7")),
    ):
        pass


def test_one_that_is_only_listed_has_no_line(store: Store) -> None:
    of = Fleet((Recloser(id="R1", ced="LAV", remote=False),))
    with pytest.raises(ParameterError, match="not reachable"), opened(store, of):
        pass


def test_a_refused_connection_is_a_locked_gateway(store: Store, gateway: Make) -> None:
    _, urls = gateway(relay(), locked=["R1"])
    with (
        pytest.raises(GatewayLocked, match="refuses the connection"),
        opened(store, fleet(urls["R1"])),
    ):
        pass


@pytest.mark.parametrize("words", ["Port LOCKED\r\n", ""])
def test_a_gateway_that_takes_a_connection_and_hangs_up_is_locked(
    store: Store, gateway: Make, words: str
) -> None:
    manners = GatewayManners(locked="say", locked_text=words)
    _, urls = gateway(relay(), manners=manners, locked=["R1"])
    of = fleet(urls["R1"], Gateway(id="north"))
    with pytest.raises(GatewayLocked), opened(store, of) as line:
        visit(line)  # where its words come late they are heard in the session


def test_a_busy_gateway_is_told_by_its_words(store: Store, gateway: Make) -> None:
    simulator, urls = gateway(relay(), manners=GatewayManners(busy_text="In use by SCADA\r\n"))
    simulator.hold("R1")
    of = fleet(urls["R1"], Gateway(id="north", busy_text="in use"))
    with pytest.raises(GatewayBusy, match="In use by SCADA"), opened(store, of) as line:
        visit(line)


def test_busy_words_that_come_late_end_the_session_as_busy(store: Store) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked = threading.Event()

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"Sorry, busy\r\n")
                asked.wait(DEADLINE_S)

        thread = threading.Thread(target=answer)
        thread.start()
        of = fleet(f"socket://127.0.0.1:{server.getsockname()[1]}", Gateway(id="north"))
        with pytest.raises(GatewayBusy, match="Sorry, busy"), opened(store, of) as line:
            assert visit(line).outcome == "dropped"
        asked.set()
        thread.join(DEADLINE_S)


def test_a_gateway_that_is_busy_and_says_nothing_is_a_silent_relay(
    store: Store, gateway: Make
) -> None:
    simulator, urls = gateway(relay(), manners=GatewayManners(busy="silence"))
    simulator.hold("R1")
    with opened(store, fleet(urls["R1"], Gateway(id="north"))) as line:
        assert visit(line, probe_s=0.2).outcome == "silent"


def test_a_line_that_somebody_holds_is_busy_whichever_relay_of_it_is_wanted(
    store: Store, gateway: Make
) -> None:
    _, urls = gateway(relay("R1", line="A"), relay("R2", line="A"))
    one, two = (Recloser(id=n, ced="LAV", url=urls[n], line="A") for n in ("R1", "R2"))
    of = Fleet((one, two))
    with (
        relay_line(store, Holder("first"), one, of),
        pytest.raises(DeviceBusy, match="held by first"),
    ):
        relay_line(store, Holder("second"), two, of).__enter__()
    with relay_line(store, Holder("second"), two, of) as line:
        assert line.where == "R2"


def test_a_session_that_the_gateway_ends_for_silence_is_told_with_the_reason(
    store: Store, gateway: Make
) -> None:
    clock = FakeClock(SYSTEM_CLOCK.now())
    _, urls = gateway(relay(), manners=GatewayManners(inactivity_s=60), clock=clock)
    of = fleet(urls["R1"], Gateway(id="north", inactivity_s=60))
    limits, holder = Limits(byte_s=1e6, session_s=1e6), Holder("me", ttl_s=1e6)
    with relay_line(store, holder, of.reclosers[0], of, clock=clock, limits=limits) as line:
        line.write(b"\r")
        line.read()
        clock.advance(61)
        said = read_to_the_end(line)
    assert "the gateway ended the session after 61 s without a byte, its limit is 60 s" in said


def read_to_the_end(line: SerialLine) -> str:
    """Read until the line drops, and return the reason."""
    while True:
        try:
            line.read(byte_s=1e6)
        except LineDropped as error:
            return str(error)


def test_silences_are_kept_below_what_the_gateway_allows(store: Store, gateway: Make) -> None:
    _, urls = gateway(relay())
    with opened(store, fleet(urls["R1"], Gateway(id="north", inactivity_s=30))) as line:
        assert line.limits.byte_s == pytest.approx(24)
    with opened(store, fleet(urls["R1"], Gateway(id="north"))) as line:
        assert line.limits.byte_s == DEADLINE_S


def test_a_relay_that_drops_amid_a_report_is_dropped(store: Store, gateway: Make) -> None:
    simulator, urls = gateway(relay(), baud=9600)
    of = fleet(urls["R1"], Gateway(id="north"))
    with opened(store, of, Limits(session_s=1e6)) as line:
        line.write(b"ACC\rOTTER\rCEV 1\r")
        line.read()
        simulator.drop("R1")
        assert "The line is gone" in read_to_the_end(line)


def test_a_sleeping_relay_is_woken_and_visited(store: Store, gateway: Make) -> None:
    simulator, urls = gateway(relay(wake="ABCD", asleep=True))
    of = fleet(urls["R1"], Gateway(id="north"), wake="ABCD", wake_baud=2400)
    with opened(store, of, prompt_s=0.5) as line:
        assert visit(line).outcome == "done"
        assert "ABCD" in line.transcript.text()
    assert not simulator.asleep("R1")


def test_one_that_is_awake_gets_no_wake_up_characters(store: Store, gateway: Make) -> None:
    simulator, urls = gateway(relay(wake="ABCD"))
    with opened(store, fleet(urls["R1"], wake="ABCD"), prompt_s=DEADLINE_S) as line:
        assert visit(line).outcome == "done"
        assert "ABCD" not in line.transcript.text()
    assert not any("ABCD" in said for said in simulator.truth()["R1"].commands)


def test_one_that_does_not_wake_up_is_told(store: Store, gateway: Make) -> None:
    _, urls = gateway(relay(wake="WXYZ", asleep=True))
    of = fleet(urls["R1"], wake="ABCD")
    with pytest.raises(RelayAsleep, match="3 times"), opened(store, of, prompt_s=0.1):
        pass


def test_relays_of_one_line_are_told_apart_by_their_addresses(store: Store, gateway: Make) -> None:
    models: dict[int, Literal["351R", "651R"]] = {12: "351R", 13: "651R"}
    events = {n: make_events(models[n], 2, seed=n) for n in (12, 13)}
    simulator, urls = gateway(
        *(
            RelayAt(
                f"R{n}",
                RelaySpec(models[n], events=events[n], auto=True),
                line="A",
                address=f"@{n}",
            )
            for n in (12, 13)
        )
    )
    reclosers = tuple(
        Recloser(id=f"R{n}", ced="LAV", url=urls[f"R{n}"], line="A", address=n) for n in (12, 13)
    )
    of = Fleet(reclosers)
    for one in reclosers:
        with relay_line(store, ME, one, of, limits=Limits(byte_s=DEADLINE_S)) as line:
            simulator.happen("R13" if one.id == "R12" else "R12")
            found = visit(line)
        assert found.outcome == "done", found.why
        truth = simulator.truth()[one.id]
        assert {e.key: e.content for e in found.events} == truth.reports("")
        for event in found.events:
            files = {file.kind: file.content for file in event.files if file.kind != "cev"}
            assert files == truth.files().get(event.key, {})
        assert found.aside == ()
        said = line.transcript.text()
        assert "@12" in said
        assert "@13" in said


def test_the_gateways_command_opens_the_way_and_is_gone_afterwards(
    store: Store, way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    words = helper_program(tmp_path, TUNNEL)
    gateway = Gateway(id="north", host="gw-1", helper=words, ready="is open", ready_s=DEADLINE_S)
    of = fleet(way, gateway)
    with opened(store, of) as line:
        assert len(left_of(store, of)) == 1
        assert visit(line).outcome == "done"
    assert left_of(store, of) == []
    assert f"pass-through of R1 gw-1 {way.rpartition(':')[2]} is open" in caplog.text


def test_without_a_word_to_wait_for_the_line_is_tried_until_it_opens(
    store: Store, way: str, tmp_path: Path
) -> None:
    words = helper_program(tmp_path, TUNNEL.replace("server =", "time.sleep(0.3); server ="))
    of = fleet(way, Gateway(id="north", helper=words, ready_s=DEADLINE_S))
    with opened(store, of) as line:
        assert visit(line).outcome == "done"
    assert left_of(store, of) == []


def test_a_command_that_fails_is_told_with_what_it_said(
    store: Store, way: str, tmp_path: Path
) -> None:
    words = helper_program(tmp_path, "sys.exit('no licence left')")
    of = fleet(way, Gateway(id="north", helper=words, ready_s=DEADLINE_S))
    with pytest.raises(HelperFailed, match="no licence left"), opened(store, of):
        pass


#: Leaves a process in another session, which does not heed being asked, and says it is ready.
LEAVES_ONE = """
if os.fork():
    os._exit(0)
os.setsid()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(os.name == "nt", reason="it forks")
@pytest.mark.parametrize("how", ["well", "badly", "closed port"])
def test_whatever_the_command_leaves_behind_is_ended_however_the_session_ends(
    store: Store, gateway: Make, tmp_path: Path, how: str
) -> None:
    _, urls = gateway(relay(), locked=["R1"] if how == "closed port" else [])
    words = helper_program(tmp_path, LEAVES_ONE)
    of = fleet(urls["R1"], Gateway(id="north", helper=words, ready="ready", ready_s=DEADLINE_S))
    expected = {"well": None, "badly": DeviceError, "closed port": GatewayLocked}[how]
    raised = nullcontext() if expected is None else pytest.raises(expected)
    with raised, opened(store, of):
        assert len(left_of(store, of)) == 1
        if how == "badly":
            raise DeviceError("something")
    assert left_of(store, of) == []


@pytest.mark.skipif(os.name == "nt", reason="it sends signals")
def test_a_command_that_is_never_ready_is_ended_and_the_line_is_free(
    store: Store, way: str, tmp_path: Path
) -> None:
    words = helper_program(
        tmp_path, "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    )
    of = fleet(way, Gateway(id="north", helper=words, ready="open", ready_s=0.3))
    with pytest.raises(HelperFailed, match=r"not ready within 0\.3 s"), opened(store, of):
        pass
    assert left_of(store, of) == []
    with open_exclusive(store, of.reclosers[0].line_id, Holder("other"), _Nothing):
        pass  # the lease was given back


def test_a_line_that_is_not_open_when_the_time_is_over_is_given_up(
    store: Store, way: str, tmp_path: Path
) -> None:
    of = fleet(way, Gateway(id="north", helper=helper_program(tmp_path, "time.sleep(600)")))
    waiting = opened(store, of, over=lambda: bool(left_of(store, of)))
    with pytest.raises(DeviceTimeout, match="time was over"), waiting:
        pass
    assert left_of(store, of) == []


class _Nothing:
    def close(self) -> None:
        """There is nothing to close."""


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo terminals")
def test_a_relay_at_a_serial_port_is_visited(store: Store) -> None:
    simulator = RelaySimulator(RelaySpec(events=make_events("351R", 1)), terminal=True)
    try:
        path = simulator.start()["url"]
        with opened(store, fleet(path, baud=19_200)) as line:
            found = visit(line)
        assert {e.key: e.content for e in found.events} == simulator.truth().reports("")
    finally:
        simulator.stop()


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo terminals")
def test_at_a_serial_port_it_is_woken_at_the_speed_it_listens_to(store: Store) -> None:
    relay = SleepingTerminal()
    try:
        of = fleet(relay.path, wake="ABCD", wake_baud=2400, baud=9600)
        with opened(store, of, prompt_s=0.3) as line:
            assert visit(line).outcome == "done"
    finally:
        relay.stop()
    assert relay.woken_at == 2400


class SleepingTerminal:
    """A relay at a pseudo terminal that sleeps until it hears its characters."""

    def __init__(self) -> None:
        import pty
        import tty

        self._near, self._far = pty.openpty()
        tty.setraw(self._near)
        self.path = os.ttyname(self._far)
        self.woken_at = 0
        self._relay = SimulatedRelay(RelaySpec(), SYSTEM_CLOCK.now)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        import select
        import termios

        heard = b""
        while not self._stop.is_set():
            if not select.select([self._near], [], [], 0.02)[0]:
                continue
            data = os.read(self._near, 4096)
            if not self.woken_at:
                heard += data
                speed = termios.tcgetattr(self._far)[5]
                if b"ABCD" in heard:
                    self.woken_at = {termios.B2400: 2400, termios.B9600: 9600}.get(speed, -1)
                continue
            self._relay.feed(data)
            while self._relay.output:
                item = self._relay.output.popleft()
                assert isinstance(item, bytes)
                os.write(self._near, item)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)
        os.close(self._near)
        os.close(self._far)
