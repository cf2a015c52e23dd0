"""The doctor's look at the active site: store, jobs, ports, settings, secrets, sources, brokers."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import socket
import threading
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from workspace_lib import secrets, simulators
from workspace_lib.clock import SYSTEM_CLOCK, Clock
from workspace_lib.doctor.findings import Finding
from workspace_lib.errors import WorkspaceError
from workspace_lib.settings import Settings, SourceSettings, unknown_variables

if TYPE_CHECKING:
    from workspace_lib.store.engines import Store

CONNECT_TIMEOUT_S = 3.0
SKEW_S = 1.0
SCHEDULER_SILENT_S = 30.0
#: Passwords of this name are made up by simulators when they start.
_OF_SIMULATORS = "secret://DEMO_"
DEFAULT_PORTS = {"ftp": 21, "ftps": 21, "sftp": 22}


def check_store(settings: Settings, clock: Clock = SYSTEM_CLOCK) -> list[Finding]:
    """Check that the store is there, of this site and schema, writable, and its clock near ours."""
    from sqlalchemy.exc import SQLAlchemyError

    from workspace_lib.store.migrate import open_store

    if settings.store.url is None and not (settings.outputs_dir / "control.db").exists():
        fix = "Make it with: workspace upgrade (make run does it too)."
        return [Finding("store", "attention", "There is no store yet.", fix)]
    try:
        with open_store(settings) as store:
            findings = [_try_to_write(store)]
            skew = _skew_s(store, clock)
            if abs(skew) > SKEW_S:
                message = f"The store's clock and this machine's differ by {skew:+.1f} s."
                fix = "Set both by the same time service."
                findings.append(Finding("store", "attention", message, fix))
            findings += _scheduler_seen(store, clock)
            return findings
    except WorkspaceError as error:
        return [Finding("store", "missing", error.what, error.fix)]
    except SQLAlchemyError as error:
        message = f"The store cannot be opened ({_first_line(error)})."
        fix = "Check store.url and that the database server runs."
        return [Finding("store", "missing", message, fix)]


def check_jobs(settings: Settings) -> list[Finding]:
    """Check that the site's job files are valid."""
    from workspace_lib.runs.specs import load_jobs

    jobs = load_jobs(settings)
    if jobs.problems:
        message = f"{len(jobs.problems)} problems in the job files."
        return [Finding("jobs", "attention", message, "See them with: workspace jobs check")]
    return [Finding("jobs", "ok", f"{len(jobs.specs)} jobs in {settings.site_dir / 'jobs'}")]


def check_ports(settings: Settings) -> list[Finding]:
    """Check that the ports on which the site listens are free, or held by the workspace itself."""
    findings = []
    for topic, section in (("dashboards", settings.dashboards), ("web", settings.web)):
        port = section.port
        if port == 0:
            continue
        holder = _holder(section.host, port)
        address = f"{section.host}:{port}"
        if holder is None:
            findings.append(Finding("ports", "ok", f"{address} is free for {topic}."))
        elif "workspace" in holder or "voila" in holder:
            findings.append(Finding("ports", "ok", f"{address} serves {topic} ({holder})."))
        else:
            message = f"{address}, wanted for {topic}, is taken by {holder}."
            fix = f"End that, or set WORKSPACE_{topic.upper()}__PORT to another."
            findings.append(Finding("ports", "attention", message, fix))
    return findings


def check_variables() -> list[Finding]:
    """Check that no variable of the environment is a misspelt setting, which is ignored."""
    fix = "Remove it, or write it as docs/settings.md has it."
    return [
        Finding("settings", "attention", f"{name} is no setting and is ignored.", fix)
        for name in unknown_variables(os.environ)
    ]


def check_secrets(settings: Settings) -> list[Finding]:
    """Check that every secret the settings name is set; their values are shown to nobody."""
    secrets.add_provider(lambda name: simulators.secret(settings, name))
    simulated = {name for name, source in settings.sources.items() if _is_simulated(source.host)}
    findings = []
    for place, reference in _references(settings):
        source = place.removeprefix("sources.").partition(".")[0]
        if place.startswith("sources.") and source in simulated:
            continue  # the simulator makes it when it starts
        try:
            secrets.resolve(reference)
        except WorkspaceError as error:
            if reference.startswith(_OF_SIMULATORS) and not settings.production:
                continue  # the same, for what is in a wing's own list
            message = f"{place}: {error.what}"
            findings.append(Finding("secrets", "missing", message, error.fix))
        else:
            findings.append(Finding("secrets", "ok", f"{place}: {reference} is set."))
    return findings


def check_wings(settings: Settings) -> list[Finding]:
    """Check that the settings and lists of each wing the site has can be read."""
    findings = []
    for wing in sorted(settings.wings):
        name = f"workspace_lib.{wing}.settings"
        if importlib.util.find_spec(f"workspace_lib.{wing}") is None:
            fix = f"Take wings.{wing} out of {settings.site_dir / 'site.yml'}."
            findings.append(Finding("wings", "attention", f"There is no wing {wing!r}.", fix))
            continue
        try:
            said = importlib.import_module(name).describe(settings)
        except WorkspaceError as error:
            where = f" ({error.where})" if error.where else ""
            findings.append(Finding("wings", "missing", f"{wing}: {error.what}{where}", error.fix))
        else:
            findings.append(Finding("wings", "ok", f"{wing}: {said}."))
    return findings


def check_sources(settings: Settings) -> list[Finding]:
    """Check that each source of files answers on its port."""
    findings = []
    for name, source in sorted(settings.sources.items()):
        try:
            host, port = _endpoint(settings, source)
            with closing(socket.create_connection((host, port), CONNECT_TIMEOUT_S)):
                findings.append(Finding("sources", "ok", f"{name}: {host}:{port} answers."))
        except WorkspaceError as error:
            findings.append(Finding("sources", "attention", f"{name}: {error.what}", error.fix))
        except OSError as error:
            message = f"{name}: {source.host} does not answer ({error})."
            fix = f"Check sources.{name} in {settings.site_dir / 'site.yml'} and the network."
            findings.append(Finding("sources", "attention", message, fix))
    return findings


def check_brokers(settings: Settings) -> list[Finding]:
    """Check that each MQTT broker of the wings (``wings.<wing>.broker``) lets a client in."""
    findings = []
    for wing in sorted(settings.wings):
        broker = settings.wings[wing].get("broker")
        if not broker:
            continue
        host, port = _broker_address(broker)
        trouble = _ask_broker(host, port)
        if trouble is None:
            findings.append(Finding("mqtt", "ok", f"{wing}: the broker {host}:{port} answers."))
        else:
            message = f"{wing}: the broker {host}:{port} {trouble}."
            fix = f"Start it (sudo systemctl start mosquitto) or set wings.{wing}.broker."
            findings.append(Finding("mqtt", "attention", message, fix))
    return findings


def _try_to_write(store: Store) -> Finding:
    where = f"{store.control.dialect.name}, {store.outputs}"
    for engine in (store.control, store.data):
        with engine.connect() as connection:
            connection = connection.execution_options(workspace_write=True)
            connection.begin().rollback()
    return Finding("store", "ok", f"Opened and writable ({where}).")


def _skew_s(store: Store, clock: Clock) -> float:
    """Seconds by which the store's clock is ahead of ours."""
    from sqlalchemy import text

    if store.control.dialect.name == "postgresql":
        with store.control.connect() as connection:
            theirs = connection.execute(text("SELECT extract(epoch FROM clock_timestamp())"))
            theirs_s: float = float(theirs.scalar_one())
            return theirs_s - clock.now().timestamp()
    # SQLite has no clock of its own; a file written in the future shows that ours stepped back.
    written: float = (store.outputs / "control.db").stat().st_mtime
    return max(0.0, written - clock.now().timestamp())


def _scheduler_seen(store: Store, clock: Clock) -> list[Finding]:
    from sqlalchemy import func, select

    from workspace_lib.runs.tables import schedulers

    with store.control.connect() as connection:
        running = schedulers.c.stopped_at.is_(None)
        seen = connection.execute(select(func.max(schedulers.c.seen_at)).where(running)).scalar()
    if seen is None:
        fix = "Start one: workspace up, or workspace schedule."
        return [Finding("scheduler", "attention", "No scheduler runs.", fix)]
    silent = clock.now() - seen
    if silent > timedelta(seconds=SCHEDULER_SILENT_S):
        message = f"The scheduler was last seen {silent.total_seconds():.0f} s ago."
        return [Finding("scheduler", "attention", message, "Look at its log and restart it.")]
    return [Finding("scheduler", "ok", "The scheduler runs.")]


def _holder(host: str, port: int) -> str | None:
    """Return who listens on a port as ``command line (pid n)``, or None if it is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        if os.name != "nt":
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError:
            return _listener(port) or "another program"
    return None


def _listener(port: int) -> str | None:
    import psutil

    try:
        for connection in psutil.net_connections("inet"):
            listening = connection.status == psutil.CONN_LISTEN
            if listening and getattr(connection.laddr, "port", 0) == port and connection.pid:
                command = " ".join(psutil.Process(connection.pid).cmdline()[:4])
                return f"{command} (pid {connection.pid})"
    except psutil.Error:
        return None
    return None


def _references(settings: Settings) -> list[tuple[str, str]]:
    """Every ``secret://NAME`` in the settings with the place where it stands."""
    found: list[tuple[str, str]] = []

    def walk(place: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                walk(f"{place}.{key}" if place else str(key), inner)
        elif isinstance(value, list | tuple):
            for number, inner in enumerate(value):
                walk(f"{place}[{number}]", inner)
        elif isinstance(value, str):
            found.extend((place, match) for match in re.findall(r"secret://\w+", value))

    walk("", settings.model_dump(mode="json"))
    return found


def _is_simulated(host: str) -> bool:
    return host.startswith(simulators.SCHEME)


def _endpoint(settings: Settings, source: SourceSettings) -> tuple[str, int]:
    if _is_simulated(source.host):
        found = simulators.endpoint(settings, source.host.removeprefix(simulators.SCHEME))
        return str(found["host"]), int(found["port"])
    return source.host, source.port or DEFAULT_PORTS[source.kind]


def _broker_address(broker: Any) -> tuple[str, int]:
    if isinstance(broker, Mapping):
        return str(broker.get("host", "127.0.0.1")), int(broker.get("port", 1883))
    parts = urlsplit(broker if "//" in broker else f"//{broker}")
    return parts.hostname or "127.0.0.1", parts.port or 1883


def _ask_broker(host: str, port: int) -> str | None:
    """Connect to a broker as an MQTT client; return what is wrong, or None."""
    from paho.mqtt.client import Client, ConnectFlags
    from paho.mqtt.enums import CallbackAPIVersion
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    answered = threading.Event()

    def on_connect(
        client: Client, data: Any, flags: ConnectFlags, code: ReasonCode, more: Properties | None
    ) -> None:
        # A refusal for want of a password is an answer too: the wing has its own.
        answered.set()

    client = Client(CallbackAPIVersion.VERSION2)
    client.connect_timeout = CONNECT_TIMEOUT_S
    client.on_connect = on_connect
    try:
        client.connect(host, port, keepalive=10)
    except OSError as error:
        return f"does not answer ({error})"
    client.loop_start()
    try:
        if not answered.wait(CONNECT_TIMEOUT_S):
            return "takes connections but does not speak MQTT"
    finally:
        client.disconnect()
        client.loop_stop()
    return None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
