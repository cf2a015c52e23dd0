"""A running simulator is found by name; a production site takes none."""

from __future__ import annotations

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
