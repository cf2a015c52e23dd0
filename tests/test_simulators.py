"""A running simulator is found by name; a production site takes none."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from workspace_lib import secrets, simulators
from workspace_lib.errors import ConfigError
from workspace_lib.settings import Settings


def test_an_announced_simulator_is_found_with_its_secret(settings: Settings) -> None:
    simulators.announce(settings, "rain", {"host": "127.0.0.1", "port": 2121}, {"PW": "made-up"})
    assert simulators.endpoint(settings, "rain") == {"host": "127.0.0.1", "port": 2121}
    assert simulators.secret(settings, "PW") == "made-up"


def test_the_registry_is_for_its_owner_only(settings: Settings) -> None:
    simulators.announce(settings, "rain", {"port": 1})
    path = settings.outputs_dir / simulators.REGISTRY_FOLDER / "rain.json"
    mode = path.stat().st_mode & 0o777
    assert mode == 0o600


def test_a_withdrawn_simulator_is_gone_and_the_error_says_how_to_start_it(
    settings: Settings,
) -> None:
    simulators.announce(settings, "rain", {"port": 1})
    simulators.withdraw(settings, "rain")
    with pytest.raises(ConfigError, match="make run"):
        simulators.endpoint(settings, "rain")


def test_a_production_site_refuses_simulators_and_their_secrets(make_site) -> None:
    demo = make_site()
    simulators.announce(demo, "rain", {"port": 1}, {"PW": "made-up"})
    production = make_site({"production": True})
    with pytest.raises(ConfigError, match="production"):
        simulators.endpoint(production, "rain")
    with pytest.raises(ConfigError, match="production"):
        simulators.announce(production, "rain", {"port": 2})
    assert simulators.secret(production, "PW") is None


def test_what_a_simulator_has_several_of_is_found_by_its_address(settings: Settings) -> None:
    urls = {"LAV-101": "socket://127.0.0.1:5001"}
    simulators.announce(settings, "reclosers", {"host": "127.0.0.1", "urls": urls})
    outputs = settings.outputs_dir
    assert simulators.url_of(outputs, "simulator://reclosers/LAV-101") == urls["LAV-101"]
    with pytest.raises(ConfigError, match="no 'LAV-102'"):
        simulators.url_of(outputs, "simulator://reclosers/LAV-102")
    with pytest.raises(ConfigError, match="make run"):
        simulators.url_of(outputs, "simulator://relays/LAV-101")


def test_secrets_are_found_once_a_simulator_is_used(settings: Settings) -> None:
    simulators.announce(settings, "reclosers", {"host": "127.0.0.1"}, {"OF_A_RELAY": "made-up"})
    with pytest.raises(ConfigError, match="not set"):
        secrets.resolve("secret://OF_A_RELAY")
    simulators.bring_secrets(settings.outputs_dir)
    simulators.bring_secrets(settings.outputs_dir)
    assert secrets.resolve("secret://OF_A_RELAY") == "made-up"


class _Relay:
    """A simulator that notes that it was stopped."""

    stopped = False

    def start(self, port: int = 0, speed: float = 1.0) -> dict[str, Any]:
        urls = {"LAV-101": "socket://0.0.0.0:5001"}
        return {"host": "0.0.0.0", "port": 5001, "urls": urls, "password": "made-up"}

    def truth(self) -> None:
        return None

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def _own_signals() -> Iterator[None]:
    """What a simulator's program does to signals ends with the test."""
    kinds = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(kind) for kind in kinds]
    yield
    for kind, handler in zip(kinds, before, strict=True):
        signal.signal(kind, handler)


@pytest.mark.usefixtures("_own_signals")
def test_a_simulator_runs_until_told_and_other_machines_find_it(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    relay = _Relay()
    found: dict[str, Any] = {}

    def says(endpoint: dict[str, Any]) -> str:
        found.update(simulators.endpoint(settings, "relays"))
        signal.raise_signal(signal.SIGTERM)
        return f"listens on {endpoint['port']}"

    simulators.run(settings, "relays", lambda: (relay, relay.start()), secret="PW", says=says)
    here = socket.gethostname()
    assert found == {"host": here, "port": 5001, "urls": {"LAV-101": f"socket://{here}:5001"}}
    assert capsys.readouterr().out == "listens on 5001\n"
    assert relay.stopped
    with pytest.raises(ConfigError, match="make run"):
        simulators.endpoint(settings, "relays")
