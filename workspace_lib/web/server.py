"""Serving the web front: on this machine only, unless the site asks for tokens."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import signal
import socket
import sys
import threading
from collections.abc import Iterator

import uvicorn

from workspace_lib.errors import ConfigError
from workspace_lib.settings import Settings
from workspace_lib.store.migrate import open_store
from workspace_lib.web.app import create_app

log = logging.getLogger(__name__)

_BACKLOG = 2048


def is_loopback(host: str) -> bool:
    """Return whether an address is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_binding(settings: Settings) -> None:
    """Refuse to open the front to other machines without authentication.

    Raises
    ------
    ConfigError
        If the address is wider than this machine and pages are open.
    """
    web = settings.web
    if not is_loopback(web.host) and not web.require_token:
        raise ConfigError(
            f"The web front would be open to everyone who reaches {web.host}.",
            where="web.host",
            fix="Set web.require_token: true and make tokens with: workspace token create NAME.",
        )


def bind(settings: Settings) -> socket.socket:
    """Return a socket listening on the configured address (port 0 takes a free one).

    Raises
    ------
    ConfigError
        If the address is taken, not this machine's, or open without authentication.
    """
    check_binding(settings)
    family = socket.AF_INET6 if ":" in settings.web.host else socket.AF_INET
    listener = socket.socket(family)
    if sys.platform == "win32":
        # There SO_REUSEADDR would let two servers share the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.web.host, settings.web.port))
        # From here on the port is taken, and who comes early waits instead of being refused.
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"The web front cannot listen on {settings.web.host}:{settings.web.port} "
            f"({error.strerror}).",
            fix="Choose another port: WORKSPACE_WEB__PORT=0 takes a free one.",
        ) from error
    return listener


def serve(settings: Settings, listener: socket.socket, stop: threading.Event | None = None) -> None:
    """Serve the site until a signal comes or ``stop`` is set."""
    with open_store(settings) as store:
        config = uvicorn.Config(
            create_app(settings, store),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=5,
            limit_concurrency=500,
        )
        server = _Server(config)
        if stop is not None:

            def watch() -> None:
                stop.wait()
                server.should_exit = True

            threading.Thread(target=watch, name="web-stop", daemon=True).start()
        server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """Ends in good order at a signal, so that the store is closed and the process succeeds.

    Uvicorn's own raises the signal once more after it has stopped, which would end the process
    as if it had been killed.
    """

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGTERM and SIGINT while inside."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {s: signal.signal(s, self.handle_exit) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
