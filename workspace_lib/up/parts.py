"""The parts of a running workspace: simulators, scheduler, dashboards, web front."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workspace_lib import simulators
from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.errors import ConfigError
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store
from workspace_lib.up.supervisor import Part
from workspace_lib.views.access import announcement, kernel_environment

#: Wings that may bring a simulator.
WINGS = ("reclosers", "sensors", "rain", "machining", "benches")
#: Ports tried after a taken one before any free one is.
NEXT_PORTS = 20
#: A simulator writes its past files before it answers.
SIMULATOR_TIMEOUT_S = 90.0


def simulator_wings() -> list[str]:
    """Return the wings that bring a simulator which can be started as a program.

    One that tests alone use is none: its module has nothing that starts it.
    """
    return [wing for wing in WINGS if _is_program(f"workspace_lib.{wing}.simulator")]


def simulator_arguments(
    settings: Settings,
    wing: str,
    *,
    host: str | None = None,
    port: int | None = None,
    speed: float | None = None,
) -> list[str]:
    """Return the arguments of a wing's simulator.

    Raises
    ------
    ConfigError
        If the wing has none, or the site is marked ``production``.
    """
    simulators.refuse_in_production(settings)
    if wing not in simulator_wings():
        raise ConfigError(
            f"There is no simulator {wing!r}.", fix=f"Known: {', '.join(simulator_wings())}."
        )
    words = ["--site", str(settings.site_dir)]
    for option, value in (("--host", host), ("--port", port), ("--speed", speed)):
        if value is not None:
            words += [option, f"{value}"]
    return words


def simulator(settings: Settings, wing: str) -> Part:
    """Return the simulator of a wing, ready when it has announced itself to the site."""

    def forget() -> None:
        simulators.withdraw(settings, wing)

    def ready() -> str | None:
        try:
            found = simulators.endpoint(settings, wing)
        except ConfigError:
            return None
        return f"{found.get('host', '')}:{found.get('port', '')}".strip(":")

    return Part(
        name=f"simulator {wing}",
        command=[
            *(sys.executable, "-m", f"workspace_lib.{wing}.simulator"),
            *simulator_arguments(settings, wing),
        ],
        log=_log(settings, f"simulator-{wing}"),
        ready=ready,
        before=forget,
        environment=environment(settings),
        start_timeout_s=SIMULATOR_TIMEOUT_S,
    )


def scheduler(settings: Settings, store: Store) -> Part:
    """Return the scheduler, ready when the ledger has seen it."""
    from workspace_lib.runs.ledger_queries import list_schedulers

    began = SYSTEM_CLOCK.now()

    def ready() -> str | None:
        alive = [one for one in list_schedulers(store) if one.stopped_at is None]
        return "" if any(one.started_at >= began for one in alive) else None

    return Part(
        name="scheduler",
        command=_workspace(settings, "schedule"),
        log=_log(settings, "scheduler"),
        ready=ready,
        environment=environment(settings),
        grace_s=20.0,
    )


def dashboards(settings: Settings, token: str) -> Part | None:
    """Return the server of live dashboards, ready when it has announced its address.

    None where its packages are not installed, as on an edge client.
    """
    if not _exists("voila"):
        return None
    announced = announcement(settings)

    def forget() -> None:
        announced.unlink(missing_ok=True)

    def ready() -> str | None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            return str(json.loads(announced.read_text(encoding="utf-8"))["address"])
        return None

    return Part(
        name="dashboards",
        command=[
            *(sys.executable, "-m", "workspace_lib.views.live"),
            *("--site", str(settings.site_dir), "--announce", str(announced)),
        ],
        log=_log(settings, "dashboards"),
        ready=ready,
        before=forget,
        stdin=f"{token}\n",
        # Not even the server itself is given what the runs' secrets are.
        environment=kernel_environment(settings, environment(settings)),
    )


def web_front(settings: Settings, port: int) -> Part | None:
    """Return the web front, ready when it answers; None where its packages are not installed."""
    if not (_exists("workspace_lib.web.server") and _exists("fastapi") and _exists("uvicorn")):
        return None
    host = settings.web.host
    return Part(
        name="web front",
        command=_workspace(settings, "web", "--port", str(port)),
        log=_log(settings, "web"),
        ready=_answers(host, port),
        environment=environment(settings),
    )


def free_port(host: str, wanted: int) -> int:
    """Return ``wanted`` if nobody has it, else the next free one, else any (also for 0)."""
    tries = [*range(wanted, min(wanted + NEXT_PORTS, 65_536)), 0] if wanted else [0]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in tries:
        with socket.socket(family) as listener:
            if sys.platform != "win32":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, port))
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise ConfigError(f"No port is free on {host}.", fix="Check the address in site.yml.")


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment of a part: that of this process, and which workspace it belongs to.

    What systemd asked this process to report is not for its parts to answer.
    """
    inherited = {k: v for k, v in os.environ.items() if k not in ("NOTIFY_SOCKET", "WATCHDOG_USEC")}
    return {
        **inherited,
        "WORKSPACE_ROOT": str(settings.root),
        "WORKSPACE_OUTPUTS": str(settings.outputs_dir),
    }


def _answers(host: str, port: int) -> Callable[[], str | None]:
    from workspace_lib.watchdog import answers_http

    ask = answers_http(host, port, "/health")
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    where = f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"

    def ready() -> str | None:
        with contextlib.suppress(OSError):
            if ask():
                return where
        time.sleep(0.1)
        return None

    return ready


def _workspace(settings: Settings, *arguments: str) -> list[str]:
    site: list[Any] = ["--site", str(settings.site_dir)]
    return [sys.executable, "-m", "workspace_lib.cli", *site, *arguments]


def _log(settings: Settings, name: str) -> Path:
    return settings.outputs_dir / "logs" / "parts" / f"{name}.log"


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _is_program(module: str) -> bool:
    """Return whether ``python -m module`` does anything, without loading the module."""
    if not _exists(module):
        return False
    spec = importlib.util.find_spec(module)
    source = None if spec is None or spec.origin is None else Path(spec.origin)
    return source is not None and 'if __name__ == "__main__":' in source.read_text(encoding="utf-8")
