"""Units, containers, cron and CI call commands that exist and set settings that exist."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from workspace_lib.cli import build_parser
from workspace_lib.settings import Settings, load_settings

#: Those that tell systemd that they live, and the one of dask, which cannot.
WATCHED = ("workspace-scheduler", "workspace-dashboards", "workspace-web")
UNITS = (*WATCHED, "workspace-worker")
PROGRAM = "/opt/field-workspace/.venv/bin/workspace"
# No settings: read by load_settings itself before there are any, or demanded by tests.
NOT_IN_THE_CLASSES = {"WORKSPACE_ROOT"}
HERE = Path(__file__).resolve().parent.parent


def parses(words: list[str]) -> bool:
    """Say whether ``workspace`` takes these words."""
    try:
        build_parser().parse_args(words)
    except SystemExit:
        return False
    return True


def is_setting(variable: str) -> bool:
    """Say whether an environment variable names a setting, also inside sources and wings."""
    model: Any = Settings
    for key in variable.removeprefix("WORKSPACE_").lower().split("__"):
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return False
        if key not in model.model_fields:
            return False
        model = model.model_fields[key].annotation
        if getattr(model, "__origin__", None) is dict:
            return True
    return True


def workspace_variables(text: str) -> set[str]:
    return set(re.findall(r"\bWORKSPACE_[A-Z][A-Z0-9_]*\b", text))


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(HERE / "deploy" / "systemd" / f"{name}.service")
    return parser


@pytest.fixture(scope="module")
def compose(repository: Path) -> dict[str, Any]:
    return yaml.safe_load((repository / "compose.yaml").read_text())


@pytest.mark.parametrize("name", WATCHED)
def test_a_unit_restarts_on_failure_and_has_a_watchdog(name: str) -> None:
    service = unit(name)["Service"]
    assert service["Restart"] == "on-failure"
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"].removesuffix("s")) >= 10
    assert service["User"] == "workspace"


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_calls_commands_that_exist(name: str) -> None:
    service = unit(name)["Service"]
    commands = [service[key] for key in ("ExecStartPre", "ExecStart") if key in service]
    assert all(command.startswith(PROGRAM + " ") for command in commands)
    assert [c for c in commands if not parses(shlex.split(c)[1:])] == []


@pytest.mark.parametrize("name", ["workspace-scheduler", "workspace-worker"])
def test_stopping_what_starts_runs_leaves_them_alone(name: str) -> None:
    service = unit(name)["Service"]
    assert service["KillMode"] == "process"
    # A private /tmp is removed with the unit, under the feet of the runs that go on.
    assert "PrivateTmp" not in service
    assert "/tmp" in service["ReadWritePaths"].split()


def test_every_unit_that_ships_is_looked_at(repository: Path) -> None:
    shipped = {path.stem for path in (repository / "deploy" / "systemd").iterdir()}
    assert shipped == set(UNITS)


def test_systemd_accepts_the_units(repository: Path, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    ours = Path(sys.prefix) / "bin" / "workspace"
    copies = []
    for name in UNITS:
        text = (repository / "deploy" / "systemd" / f"{name}.service").read_text()
        copies.append(tmp_path / f"{name}.service")
        copies[-1].write_text(text.replace(PROGRAM, str(ours)))
    done = subprocess.run(
        [program, "verify", "--man=no", *copies], capture_output=True, text=True, check=False
    )
    about_ours = [line for line in done.stderr.splitlines() if "workspace-" in line]
    assert (done.returncode, about_ours) == (0, [])


def test_systemd_analyze_would_see_a_wrong_unit(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    wrong = tmp_path / "workspace-wrong.service"
    wrong.write_text("[Service]\nType=notify\nExecStart=/nowhere/workspace\n")
    done = subprocess.run([program, "verify", wrong], capture_output=True, check=False)
    assert done.returncode != 0


@pytest.mark.parametrize(
    "file",
    [
        "compose.yaml",
        "Dockerfile",
        "deploy/environment.example",
        *(f"deploy/systemd/{name}.service" for name in UNITS),
    ],
)
def test_every_workspace_variable_is_a_setting(repository: Path, file: str) -> None:
    variables = workspace_variables((repository / file).read_text()) - NOT_IN_THE_CLASSES
    assert [name for name in variables if not is_setting(name)] == []


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("WORKSPACE_SITE", True),
        ("WORKSPACE_STORE__URL", True),
        ("WORKSPACE_SOURCES__RAIN__HOST", True),
        ("WORKSPACE_STORE__ADDRESS", False),
        ("WORKSPACE_STORE_URL", False),
        ("WORKSPACE_SITE__URL", False),
    ],
)
def test_a_wrong_variable_would_be_noticed(name: str, known: bool) -> None:
    assert is_setting(name) is known


def test_the_example_environment_is_read_as_settings(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site = tmp_path / "plant"
    site.mkdir()
    (site / "site.yml").write_text("timezone: Europe/Paris\n")
    for line in (repository / "deploy" / "environment.example").read_text().splitlines():
        name, _, value = line.lstrip("#").partition("=")
        if re.fullmatch("WORKSPACE_[A-Z_]+", name):
            monkeypatch.setenv(name, value)
    settings = load_settings(site)
    assert settings.outputs_dir == Path("/var/lib/field-workspace/outputs/plant")
    assert settings.dashboards.token == "secret://DASHBOARDS_TOKEN"
    assert settings.store.url is not None
    assert "{secret://POSTGRES_PASSWORD}" in settings.store.url


def test_the_crontab_line_calls_tick_every_minute(repository: Path) -> None:
    lines = (repository / "deploy" / "crontab").read_text().splitlines()
    (line,) = [line for line in lines if line and not line.startswith("#")]
    *fields, command = line.split(maxsplit=5)
    assert fields == ["*"] * 5
    calls = re.findall(r"\.venv/bin/workspace ([a-z]+)", command)
    assert calls == ["tick"]
    assert parses(calls)


def our_services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: s for name, s in compose["services"].items() if s.get("build") == "."}


def test_compose_has_the_services_of_a_workspace_and_of_the_demo(compose: dict[str, Any]) -> None:
    demo = {name for name, s in compose["services"].items() if s.get("profiles") == ["demo"]}
    assert demo == {"ftp", "mariadb", "mosquitto", "relays"}
    assert {"scheduler", "dashboards", "web", "postgres"} <= set(compose["services"]) - demo


def test_compose_calls_commands_that_exist(compose: dict[str, Any]) -> None:
    calls = {name: service["command"] for name, service in our_services(compose).items()}
    assert {name: words for name, words in calls.items() if not parses(words)} == {}


def test_compose_keeps_everything_on_the_servers_own_address(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_compose_publishes_the_ports_that_the_settings_say(compose: dict[str, Any]) -> None:
    defaults = {
        "dashboards": Settings.model_fields["dashboards"],
        "web": Settings.model_fields["web"],
    }
    for name, field in defaults.items():
        port = field.get_default(call_default_factory=True).port
        assert compose["services"][name]["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_compose_names_only_what_it_declares(compose: dict[str, Any]) -> None:
    services, volumes, secrets = compose["services"], compose["volumes"], compose["secrets"]
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
        assert set(service.get("secrets", [])) <= set(secrets), name
        named = {
            v.split(":")[0] for v in service.get("volumes", []) if not v.startswith((".", "/"))
        }
        assert named <= set(volumes), name
        for variable, value in service.get("environment", {}).items():
            if variable.endswith("_FILE"):
                secret = str(value).removeprefix("/run/secrets/")
                assert secret in service["secrets"], (name, variable)


def test_compose_holds_no_secret_itself(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN|SECRET", variable):
                harmless = str(value).startswith(("/run/secrets/", "secret://")) or value in (
                    "1",
                    "true",
                )
                assert harmless, (name, variable)


def test_compose_names_exact_enough_images(compose: dict[str, Any]) -> None:
    images = [service["image"] for service in compose["services"].values()]
    assert [i for i in images if ":" not in i or i.endswith(":latest")] == []


def test_the_image_is_built_from_the_lock_by_the_same_tool(repository: Path) -> None:
    text = (repository / "Dockerfile").read_text()
    assert re.search(r"^FROM python:3\.11-slim-bookworm$", text, re.MULTILINE)
    assert "RUN python tools/environment.py\n" in text
    assert "pip install" not in text
    assert "://" not in text


def test_the_image_runs_the_command_without_root(repository: Path) -> None:
    lines = (repository / "Dockerfile").read_text().splitlines()
    assert 'ENTRYPOINT ["workspace"]' in lines
    assert lines.index("USER workspace") < lines.index('ENTRYPOINT ["workspace"]')
    (command,) = [line for line in lines if line.startswith("CMD")]
    assert parses(yaml.safe_load(command.removeprefix("CMD ")))


def test_what_the_image_copies_exists_and_is_let_through(repository: Path) -> None:
    allowed = {
        line.removeprefix("!")
        for line in (repository / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    for line in (repository / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY "):
            for source in line.split()[1:-1]:
                assert (repository / source).exists(), source
                assert source in allowed or source.split("/")[0] in allowed, source


def test_the_image_takes_no_outputs_and_no_secrets(repository: Path) -> None:
    lines = (repository / ".dockerignore").read_text().splitlines()
    assert lines[0] == "*"
    assert not {"!outputs", "!.env", "!secrets", "!.git"} & set(lines)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_docker_builds_the_image(repository: Path) -> None:
    docker = shutil.which("docker")
    if (
        docker is None
        or subprocess.run([docker, "info"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no docker daemon here")
    tag = f"field-workspace-test:{os.getpid()}"
    subprocess.run([docker, "build", "--tag", tag, repository], check=True)
    try:
        done = subprocess.run(
            [docker, "run", "--rm", tag, "--version"], capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith("workspace ")
    finally:
        subprocess.run([docker, "rmi", "--force", tag], check=False)


@pytest.fixture
def ci(repository: Path, tmp_path: Path) -> Path:
    """A clone with .ci/run, where what it calls are stubs that write down what they were told."""
    root = tmp_path / "clone"
    (root / ".ci").mkdir(parents=True)
    shutil.copy(repository / ".ci" / "run", root / ".ci")
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    demanded = "$WORKSPACE_REQUIRE_SERVICES $WORKSPACE_REQUIRE_DATA"
    note = f'echo "$(basename "$0") $* {demanded}" >> {tmp_path}/calls'
    failing = f'[ "$1" != "$(cat {tmp_path}/fails 2>/dev/null)" ]'
    for name in ("mosquitto", "mariadbd", "vsftpd", "chromium", "apt-get", "python3"):
        (stubs / name).write_text("#!/bin/sh\n")
    (stubs / "apt-get").write_text(f"#!/bin/sh\n{note}\n")
    (stubs / "make").write_text(f"#!/bin/sh\n{note}\n{failing}\n")
    for path in stubs.iterdir():
        path.chmod(0o755)
    return root


def run_ci(ci: Path) -> tuple[int, list[str]]:
    environment = {"PATH": f"{ci.parent / 'stubs'}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([ci / ".ci" / "run"], env=environment, check=False)
    return done.returncode, (ci.parent / "calls").read_text().splitlines()


def test_ci_demands_services_and_data_and_calls_check_and_test(ci: Path) -> None:
    assert run_ci(ci) == (0, ["make check 1 1", "make test 1 1"])


def test_ci_runs_the_tests_also_when_the_check_fails(ci: Path) -> None:
    (ci.parent / "fails").write_text("check")
    assert run_ci(ci) == (1, ["make check 1 1", "make test 1 1"])


def test_ci_can_be_run_as_it_is_cloned(repository: Path) -> None:
    assert (repository / ".ci" / "run").stat().st_mode & stat.S_IXUSR


def next_message(systemd: socket.socket, process: subprocess.Popen[bytes]) -> str:
    """What the service tells systemd next; fails if it ended instead."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            return systemd.recv(500).decode().splitlines()[0]
        except TimeoutError:
            assert process.poll() is None, "the service ended"
    raise AssertionError("the service says nothing")


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no UNIX sockets here")
@pytest.mark.parametrize("name", WATCHED)
def test_a_units_service_says_ready_and_alive_and_ends_when_told(
    name: str, settings: Settings, store: object, tmp_path: Path
) -> None:
    path = tmp_path / "notify"
    (settings.notebooks_dir / "dashboards").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(0.5)
        environment = {
            **os.environ,
            "NOTIFY_SOCKET": str(path),
            "WATCHDOG_USEC": "600000",
            "WORKSPACE_ROOT": str(settings.root),
            "WORKSPACE_SITE": settings.site,
            "WORKSPACE_DASHBOARDS__PORT": "0",
            "WORKSPACE_WEB__PORT": "0",
        }
        words = shlex.split(unit(name)["Service"]["ExecStart"])[1:]
        process = subprocess.Popen(
            [sys.executable, "-m", "workspace_lib.cli", *words], env=environment
        )
        try:
            received = [next_message(systemd, process) for _ in range(3)]
            assert received == ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]
            process.terminate()
            assert process.wait(60) in (0, -signal.SIGTERM)  # both are clean ends to systemd
        finally:
            process.kill()
            process.wait()


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize(("service", "name"), [("ftp", "rain"), ("relays", "reclosers")])
def test_the_simulated_plants_container_can_be_found_by_the_others(
    compose: dict[str, Any], tmp_path: Path, service: str, name: str
) -> None:
    words = [re.sub(r":\d+$", ":0", word) for word in compose["services"][service]["command"]]
    environment = {**os.environ, "WORKSPACE_SITE": "demo", "WORKSPACE_OUTPUTS": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "workspace_lib.cli", *words], env=environment, cwd=HERE
    )
    announced = tmp_path / "simulators" / f"{name}.json"
    try:
        deadline = time.monotonic() + 120
        while not announced.exists():
            assert process.poll() is None, "the simulator ended"
            assert time.monotonic() < deadline, "the simulator does not start"
            time.sleep(0.1)
        endpoint = json.loads(announced.read_text())["endpoint"]
        assert endpoint["host"] == socket.gethostname()
        socket.create_connection(("127.0.0.1", endpoint["port"]), 10).close()
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
