"""The doctor's look at the active site."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from workspace_lib import simulators
from workspace_lib.clock import SYSTEM_CLOCK, FakeClock
from workspace_lib.doctor import site
from workspace_lib.doctor.findings import Finding
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store, write

Make = Callable[..., Settings]


def states(findings: list[Finding]) -> list[str]:
    return [finding.state for finding in findings]


def source(**values: object) -> dict[str, object]:
    return {"timezone": "UTC", "sources": {"plant": values}}


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_site_without_a_store_is_told_how_to_make_one(settings: Settings) -> None:
    (finding,) = site.check_store(settings)
    assert finding.state == "attention"
    assert "workspace upgrade" in str(finding.fix)


def test_a_store_that_opens_and_can_be_written_is_ok(any_store: Store, settings: Settings) -> None:
    finding = site._try_to_write(any_store)
    assert finding.state == "ok"
    assert any_store.control.dialect.name in finding.message


def test_a_store_without_a_scheduler_wants_attention(store: Store, settings: Settings) -> None:
    findings = site.check_store(settings)
    assert states(findings) == ["ok", "attention"]
    assert findings[1].topic == "scheduler"


@pytest.mark.parametrize(("silent_s", "state"), [(2, "ok"), (600, "attention")])
def test_a_silent_scheduler_wants_attention(
    store: Store, settings: Settings, silent_s: int, state: str
) -> None:
    from workspace_lib.runs.tables import schedulers

    now = SYSTEM_CLOCK.now()
    with write(store.control) as connection:
        connection.execute(
            schedulers.insert().values(id="one", host="here", pid=1, started_at=now, seen_at=now)
        )
    clock = FakeClock(now + timedelta(seconds=silent_s))
    assert site.check_store(settings, clock)[-1].state == state


def test_a_clock_behind_the_store_wants_attention(any_store: Store) -> None:
    any_store.outputs.mkdir(exist_ok=True)
    behind = FakeClock(SYSTEM_CLOCK.now() - timedelta(hours=1))
    assert site._skew_s(any_store, behind) == pytest.approx(3600, abs=60)
    assert abs(site._skew_s(any_store, SYSTEM_CLOCK)) < 60


@pytest.mark.server
def test_an_unreachable_database_is_missing(make_site: Make, free_port: int) -> None:
    url = f"postgresql://workspace@127.0.0.1:{free_port}/workspace"
    (finding,) = site.check_store(make_site({"store": {"url": url}}))
    assert finding.state == "missing"


def test_job_files_with_problems_want_attention(make_site: Make) -> None:
    broken = make_site(jobs={"broken": {"notebook": "nowhere", "schedule": "*/5 * * * *"}})
    (finding,) = site.check_jobs(broken)
    assert finding.state == "attention"
    assert finding.fix == "See them with: workspace jobs check"
    assert states(site.check_jobs(make_site(name="other"))) == ["ok"]


def test_a_free_port_is_ok(make_site: Make, free_port: int) -> None:
    ports = {"dashboards": {"port": free_port}, "web": {"port": 0}}
    (finding,) = site.check_ports(make_site(ports))
    assert (finding.state, finding.message) == (
        "ok",
        f"127.0.0.1:{free_port} is free for dashboards.",
    )


def test_a_port_that_another_program_holds_wants_attention(
    make_site: Make, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = listener.getsockname()[1]
    monkeypatch.setattr(site, "_listener", lambda number: "nginx (pid 7)")
    (finding,) = site.check_ports(make_site({"dashboards": {"port": 0}, "web": {"port": port}}))
    assert finding.state == "attention"
    assert "nginx (pid 7)" in finding.message
    assert "WORKSPACE_WEB__PORT" in str(finding.fix)


def test_a_port_that_the_workspace_holds_is_ok(
    make_site: Make, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = listener.getsockname()[1]
    monkeypatch.setattr(site, "_listener", lambda number: "workspace up (pid 7)")
    assert states(
        site.check_ports(make_site({"dashboards": {"port": 0}, "web": {"port": port}}))
    ) == ["ok"]


def test_the_holder_of_a_port_is_named_with_its_process(listener: socket.socket) -> None:
    holder = site._listener(listener.getsockname()[1])
    assert holder is not None
    assert f"(pid {os.getpid()})" in holder


def test_a_misspelt_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSPACE_STORE__URL", "postgresql://db.plant/x")
    assert site.check_variables() == []
    monkeypatch.setenv("WORKSPACE_STOR__URL", "postgresql://db.plant/x")
    (finding,) = site.check_variables()
    assert finding.state == "attention"
    assert "WORKSPACE_STOR__URL" in finding.message


def test_a_secret_that_is_set_is_ok_and_not_shown(
    make_site: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANT_PASSWORD", "correct horse battery")
    findings = site.check_secrets(
        make_site(source(host="ftp.plant", password="secret://PLANT_PASSWORD"))
    )
    assert states(findings) == ["ok"]
    assert "correct horse" not in str(findings)


def test_a_secret_that_is_not_set_is_missing_with_its_place(make_site: Make) -> None:
    (finding,) = site.check_secrets(
        make_site(source(host="ftp.plant", password="secret://NOT_SET_HERE"))
    )
    assert finding.state == "missing"
    assert finding.needed
    assert finding.message.startswith("sources.plant.password: ")
    assert "NOT_SET_HERE" in str(finding.fix)


def test_secrets_inside_addresses_are_looked_up_too(make_site: Make) -> None:
    site_file = {"notify": {"addresses": ["mailto://me:{secret://NO_MAIL_PASSWORD}@plant"]}}
    (finding,) = site.check_secrets(make_site(site_file))
    assert finding.message.startswith("notify.addresses[0]: ")


def test_a_simulator_brings_its_own_secret(make_site: Make) -> None:
    settings = make_site(source(host="simulator://plant", password="secret://NOT_SET_HERE"))
    assert site.check_secrets(settings) == []


def test_a_password_that_a_wings_simulator_makes_up_is_not_missing_but_in_production(
    make_site: Make,
) -> None:
    wings = {"wings": {"reclosers": {"password": "secret://DEMO_OF_NONE"}}}
    assert site.check_secrets(make_site(wings)) == []
    assert states(site.check_secrets(make_site({**wings, "production": True}))) == ["missing"]


def test_a_wing_whose_list_can_be_read_is_ok(make_site: Make) -> None:
    made = make_site({"wings": {"rain": {}}})
    (made.site_dir / "gauges.yml").write_text("gauges: [{id: a, name: A, folder: a}]")
    (finding,) = site.check_wings(made)
    assert (finding.state, finding.message) == ("ok", "rain: 1 gauges.")


def test_a_wing_with_a_wrong_setting_is_told_with_its_place(make_site: Make) -> None:
    made = make_site({"wings": {"reclosers": {"commands": ["HIS C"]}}})
    (finding,) = site.check_wings(made)
    assert finding.state == "missing"
    assert "wings.reclosers" in finding.message


def test_a_wing_that_is_none_wants_attention(make_site: Make) -> None:
    (finding,) = site.check_wings(make_site({"wings": {"reclosrs": {}}}))
    assert (finding.state, finding.message) == ("attention", "There is no wing 'reclosrs'.")


def test_a_source_that_answers_is_ok(make_site: Make, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert states(site.check_sources(make_site(source(host="127.0.0.1", port=port)))) == ["ok"]


def test_a_source_that_does_not_answer_wants_attention(make_site: Make, free_port: int) -> None:
    (finding,) = site.check_sources(make_site(source(host="127.0.0.1", port=free_port)))
    assert finding.state == "attention"
    assert "sources.plant" in str(finding.fix)


def test_a_simulated_source_is_found_where_it_was_announced(
    make_site: Make, listener: socket.socket
) -> None:
    settings = make_site(source(host="simulator://plant"))
    assert states(site.check_sources(settings)) == ["attention"]
    host, port = listener.getsockname()
    simulators.announce(settings, "plant", {"host": host, "port": port})
    assert states(site.check_sources(settings)) == ["ok"]


def broker_site(make_site: Make, port: int) -> Settings:
    return make_site({"wings": {"benches": {"broker": f"mqtt://127.0.0.1:{port}"}}})


@pytest.fixture
def mosquitto(program: Callable[[str], str], tmp_path: Path, free_port: int) -> Iterator[int]:
    """A private broker; gives its port."""
    configuration = tmp_path / "mosquitto.conf"
    configuration.write_text(f"listener {free_port} 127.0.0.1\nallow_anonymous true\n")
    server = subprocess.Popen(
        [program("mosquitto"), "-c", configuration], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", free_port), 1).close()
            break
        except OSError:
            assert server.poll() is None, "the broker ended"
            assert time.monotonic() < deadline, "the broker does not start"
            time.sleep(0.05)
    yield free_port
    server.terminate()
    server.wait()


@pytest.mark.server
def test_a_broker_that_lets_a_client_in_is_ok(make_site: Make, mosquitto: int) -> None:
    (finding,) = site.check_brokers(broker_site(make_site, mosquitto))
    assert (finding.topic, finding.state) == ("mqtt", "ok")


def test_a_broker_that_is_not_there_wants_attention(make_site: Make, free_port: int) -> None:
    (finding,) = site.check_brokers(broker_site(make_site, free_port))
    assert finding.state == "attention"
    assert "does not answer" in finding.message


def test_something_that_is_no_broker_wants_attention(
    make_site: Make, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "CONNECT_TIMEOUT_S", 0.3)
    held: list[socket.socket] = []
    thread = threading.Thread(target=lambda: held.append(listener.accept()[0]), daemon=True)
    thread.start()
    (finding,) = site.check_brokers(broker_site(make_site, listener.getsockname()[1]))
    assert finding.state == "attention"
    assert "does not speak MQTT" in finding.message
    thread.join(10)
    for connection in held:
        connection.close()


@pytest.mark.parametrize(
    ("broker", "address"),
    [
        ("mqtt://plant:1884", ("plant", 1884)),
        ("plant", ("plant", 1883)),
        ("plant:1884", ("plant", 1884)),
        ({"host": "plant", "port": 1885}, ("plant", 1885)),
        ({}, ("127.0.0.1", 1883)),
    ],
)
def test_a_broker_may_be_written_in_several_ways(broker: object, address: tuple[str, int]) -> None:
    assert site._broker_address(broker) == address
