"""Simulated relays that can be reached, and quick manners towards them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from workspace_lib.reclosers.relay import Manners, RelaySession
from workspace_lib.reclosers.simulator import RelaySimulator, RelaySpec
from workspace_lib.reclosers.simulator_gateway import GatewayManners, RelayAt
from workspace_lib.reclosers.ymodem import Patience
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store
from workspace_lib.store.migrate import open_store
from workspace_lib.transports.serial_line import Limits, PortSettings, SerialLine, open_line

#: A simulated relay sends without a pause; what is lost is asked for again soon.
QUICK = Patience(start_s=1.0, block_s=1.0, byte_s=0.3, quiet_s=0.1)
# A prompt outside of a frame, and the second of two, are waited for so long.
PATIENT = Manners(probe_s=60, settle_s=0.05, transfer=QUICK)
#: For relays that are silent in the test: what comes later than this counts as never.
BRISK = Manners(probe_s=0.6, settle_s=0.05, tries=2, transfer=QUICK)


class Reached:
    """A running relay and lines to it."""

    def __init__(self, simulator: RelaySimulator, url: str) -> None:
        self.simulator = simulator
        self.url = url
        self.transcripts: list[str] = []

    @contextmanager
    def line(self, limits: Limits | None = None) -> Iterator[SerialLine]:
        """A line to it; its transcript is kept."""
        line = open_line(self.url, PortSettings(), limits or Limits(byte_s=60))
        try:
            yield line
        finally:
            line.close()
            self.transcripts.append(line.transcript.text())

    @contextmanager
    def session(
        self, manners: Manners = PATIENT, password: str = "OTTER", limits: Limits | None = None
    ) -> Iterator[RelaySession]:
        """A session that was logged in."""
        with self.line(limits) as line, RelaySession(line, lambda: password, manners) as session:
            yield session


Start = Callable[..., Reached]


@pytest.fixture
def reach() -> Iterator[Start]:
    """Start relays; they are stopped in the end."""
    running: list[RelaySimulator] = []

    def start(
        spec: RelaySpec | None = None, *, baud: int = 0, terminal: bool = False, speed: float = 1.0
    ) -> Reached:
        simulator = RelaySimulator(spec, baud=baud, terminal=terminal)
        running.append(simulator)
        return Reached(simulator, simulator.start(speed=speed)["url"])

    yield start
    for simulator in running:
        simulator.stop()


@pytest.fixture
def brisk() -> Manners:
    """Manners towards a relay that is silent in the test."""
    return BRISK


@pytest.fixture
def patient() -> Manners:
    """Manners towards a relay that answers."""
    return PATIENT


@pytest.fixture(scope="session")
def filling() -> ModuleType:
    """What writes rows as captures and analyses leave them."""
    return _beside("filling")


@pytest.fixture(scope="session")
def fleets() -> ModuleType:
    """What makes fleets of simulated relays and reads what is kept of them."""
    return _beside("fleets")


@pytest.fixture
def start_fleet(
    fleets: ModuleType, make_site: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Any]]:
    """Start relays behind a gateway and make the site that lists them; stopped in the end.

    ``more`` is what the list says of a relay besides, by its name; ``wing`` are settings.
    """
    monkeypatch.setenv(fleets.SECRET, fleets.PASSWORD)
    with ExitStack() as stack:

        def start(
            relays: list[RelayAt],
            manners: GatewayManners | None = None,
            *,
            more: dict[str, dict[str, Any]] | None = None,
            also: list[dict[str, Any]] | None = None,
            wing: dict[str, Any] | None = None,
            store: dict[str, Any] | None = None,
            **gateway: Any,
        ) -> Any:
            simulator, urls = fleets.start_gateway(relays, manners, **gateway)
            stack.callback(simulator.stop)
            wings = {"reclosers": {"password": f"secret://{fleets.SECRET}"} | (wing or {})}
            settings = make_site({"timezone": "UTC", "wings": wings, "store": store or {}})
            entries = [
                fleets.entry_of(at, urls[at.id], **(more or {}).get(at.id, {})) for at in relays
            ]
            fleets.write_fleet(settings, [*entries, *(also or [])])
            opened = stack.enter_context(open_store(settings, create=True))
            return fleets.SimulatedFleet(settings, opened, simulator, urls, relays)

        yield start


def _beside(name: str) -> ModuleType:
    """Load a module that stands beside the tests."""
    spec = importlib.util.spec_from_file_location(
        f"recloser_{name}", Path(__file__).parent / f"{name}.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def recloser_store(make_site: Callable[..., Settings]) -> Iterator[Store]:
    """An empty store of a site with reclosers."""
    with open_store(make_site({"wings": {"reclosers": {}}}), create=True) as store:
        yield store
