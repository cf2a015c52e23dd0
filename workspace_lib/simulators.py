"""Simulated devices: what every simulator offers, and how others find a running one.

A running simulator announces its address (and the password it made up) in the folder
``simulators`` of the site's outputs; ``simulator://NAME`` in a source's settings is looked up
there. A site marked ``production`` refuses both.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

from workspace_lib import secrets
from workspace_lib.errors import ConfigError
from workspace_lib.files import atomic_write, safe_name
from workspace_lib.settings import Settings

SCHEME = "simulator://"
REGISTRY_FOLDER = "simulators"


class Simulator(Protocol):
    """A device or server that speaks real wire bytes and knows the truth of what it said."""

    def start(self, port: int = 0, speed: float = 1.0) -> dict[str, Any]:
        """Start it and return its endpoint: ``host``, ``port`` and what a client needs besides."""
        ...

    def truth(self) -> Any:
        """Return what a faultless reader must find."""
        ...

    def stop(self) -> None:
        """Stop it and give back its port."""
        ...


def announce(
    settings: Settings, name: str, endpoint: dict[str, Any], made_up: dict[str, str] | None = None
) -> None:
    """Make a running simulator known to the site under ``name``, with the secrets it made up.

    Raises
    ------
    ConfigError
        If the site is marked ``production``.
    """
    refuse_in_production(settings)
    entry = {"endpoint": endpoint, "secrets": made_up or {}, "pid": os.getpid()}
    content = json.dumps(entry, indent=2).encode()
    atomic_write(_path(settings, name), content, durable=False, private=True)


def run(
    settings: Settings,
    name: str,
    make: Callable[[], tuple[Simulator, dict[str, Any]]],
    *,
    secret: str,
    says: Callable[[dict[str, Any]], str],
) -> None:
    """Keep a simulator running and known to the site until SIGTERM or SIGINT.

    Parameters
    ----------
    name : str
        What it is announced as.
    make : callable
        Makes and starts it, and returns it with its endpoint.
    secret : str
        What the password in its endpoint is announced as.
    says : callable
        The line that is printed once it runs, made of its endpoint.

    Raises
    ------
    ConfigError
        If the site is marked ``production``.
    """
    refuse_in_production(settings)
    told = threading.Event()
    for kind in (signal.SIGTERM, signal.SIGINT):
        signal.signal(kind, lambda *_: told.set())
    simulator, endpoint = make()
    try:
        password = endpoint.pop("password")
        endpoint = _from_outside(endpoint)
        announce(settings, name, endpoint, {secret: password})
        sys.stdout.write(f"{says(endpoint)}\n")
        sys.stdout.flush()
        while not told.wait(1.0):
            pass
    finally:
        withdraw(settings, name)
        simulator.stop()


def _from_outside(endpoint: dict[str, Any]) -> dict[str, Any]:
    """Return an endpoint as other containers find it, where it listens on every address."""
    host = endpoint["host"]
    if host not in ("0.0.0.0", "::"):
        return endpoint
    here = socket.gethostname()
    urls = {
        name: url.replace(f"//{host}:", f"//{here}:")
        for name, url in endpoint.get("urls", {}).items()
    }
    return {**endpoint, "host": here} | ({"urls": urls} if urls else {})


def withdraw(settings: Settings, name: str) -> None:
    """Take a simulator that stopped out of the registry."""
    _path(settings, name).unlink(missing_ok=True)


def endpoint(settings: Settings, name: str) -> dict[str, Any]:
    """Return the endpoint of the running simulator ``name``.

    Raises
    ------
    ConfigError
        If none of that name was announced, or the site is marked ``production``.
    """
    refuse_in_production(settings)
    path = _path(settings, name)
    if not path.exists():
        raise ConfigError(
            f"No simulator {name!r} is running for the site {settings.site_name}.",
            fix=f"Start it: make run, or: workspace simulate {name}.",
        )
    found: dict[str, Any] = _read(path)["endpoint"]
    return found


def url_of(outputs: Path, address: str) -> str:
    """Return where ``simulator://NAME/THING`` is: one of the ``urls`` of a running simulator.

    For those who know a store and not its settings; a site marked ``production`` refuses such
    addresses where it reads them.

    Raises
    ------
    ConfigError
        If no simulator of that name is running, or it has no such thing.
    """
    name, _, thing = address.removeprefix(SCHEME).partition("/")
    path = outputs / REGISTRY_FOLDER / f"{safe_name(name)}.json"
    if not path.exists():
        raise ConfigError(
            f"No simulator {name!r} is running.",
            where=address,
            fix=f"Start it: make run, or: workspace simulate {name}.",
        )
    urls = _read(path)["endpoint"].get("urls", {})
    if thing not in urls:
        raise ConfigError(
            f"The simulator {name!r} has no {thing!r}.",
            where=address,
            fix=f"It has: {', '.join(urls) or 'nothing of that kind'}. Start it again after a "
            "change of its list.",
        )
    return str(urls[thing])


def secret(settings: Settings, name: str) -> str | None:
    """Return the demo secret ``name`` of a running simulator, or None."""
    return None if settings.production else _secret_in(settings.outputs_dir, name)


def bring_secrets(outputs: Path) -> None:
    """Have `secrets.resolve` find what running simulators made up, for whoever uses one."""
    secrets.add_provider(_provider(outputs))


@cache
def _provider(outputs: Path) -> Callable[[str], str | None]:
    return partial(_secret_in, outputs)


def _secret_in(outputs: Path, name: str) -> str | None:
    for path in sorted((outputs / REGISTRY_FOLDER).glob("*.json")):
        made_up = _read(path)["secrets"]
        if name in made_up:
            return str(made_up[name])
    return None


def refuse_in_production(settings: Settings) -> None:
    """Raise ConfigError if the site is marked ``production``."""
    if settings.production:
        raise ConfigError(
            f"The site {settings.site_name} is marked production and takes no simulator.",
            where=str(settings.site_dir),
            fix="Point the source at the real device.",
        )


def _path(settings: Settings, name: str) -> Path:
    return settings.outputs_dir / REGISTRY_FOLDER / f"{safe_name(name)}.json"


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
