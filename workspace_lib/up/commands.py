"""Commands of a running workspace: ``workspace up``, ``simulate`` and ``dashboards``."""

from __future__ import annotations

import argparse
import io
import sys
from typing import Any


def register(subparsers: Any) -> None:
    """Add the parsers of this floor."""
    up = subparsers.add_parser(
        "up",
        help="bring the workspace up: scheduler, services, dashboards, web front",
        description="Migrate the store, then keep scheduler, services, dashboards and web front "
        "running until Ctrl-C.",
    )
    up.add_argument("--demo", action="store_true", help="with simulators in place of devices")
    up.add_argument("--once", action="store_true", help="run every job once and end: 0 or 1")
    up.set_defaults(handler=_up)

    simulate = subparsers.add_parser("simulate", help="run the simulator of a wing until Ctrl-C")
    simulate.add_argument("wing", metavar="WING", help="rain, …")
    simulate.add_argument("--port", type=int, help="port; by default a free one")
    simulate.add_argument("--address", metavar="HOST:PORT", help="address to listen on")
    simulate.add_argument("--speed", type=float, help="how fast its time goes by")
    simulate.set_defaults(handler=_simulate)

    dashboards = subparsers.add_parser("dashboards", help="serve the live dashboards alone")
    dashboards.add_argument("--host", help="address to listen on")
    dashboards.add_argument("--port", type=int, help="port; 0 takes a free one")
    dashboards.set_defaults(handler=_dashboards)


def _up(arguments: argparse.Namespace) -> int:
    from workspace_lib.logs import set_up_logging
    from workspace_lib.settings import load_settings
    from workspace_lib.up.workspace import Workspace

    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot write a mark gets another one in its place.
        sys.stdout.reconfigure(errors="replace")
    settings = load_settings(arguments.site)
    set_up_logging(settings, console=arguments.verbose, verbose=arguments.verbose)
    workspace = Workspace(settings, lambda line: print(line, flush=True))
    return workspace.up(demo=arguments.demo, once=arguments.once)


def _simulate(arguments: argparse.Namespace) -> int:
    import importlib
    import os

    from workspace_lib.errors import ParameterError
    from workspace_lib.settings import load_settings
    from workspace_lib.up.parts import environment, simulator_arguments

    settings = load_settings(arguments.site)
    host, port = None, arguments.port
    if arguments.address:
        host, _, number = arguments.address.rpartition(":")
        if not number.isdigit():
            raise ParameterError(
                f"{arguments.address!r} is no address.", fix="Write it as 127.0.0.1:2121."
            )
        port = int(number)
    wing = arguments.wing
    words = simulator_arguments(settings, wing, host=host, port=port, speed=arguments.speed)
    os.environ.update(environment(settings))
    # In this process, so that signals reach the simulator itself.
    return int(importlib.import_module(f"workspace_lib.{wing}.simulator").main(words) or 0)


def _dashboards(arguments: argparse.Namespace) -> int:
    import threading
    from collections.abc import Callable
    from urllib.parse import urlsplit

    from workspace_lib import watchdog
    from workspace_lib.logs import set_up_logging
    from workspace_lib.settings import load_settings
    from workspace_lib.views.access import announcement, make_token
    from workspace_lib.views.live import serve

    settings = load_settings(arguments.site)
    changes = {k: v for k in ("host", "port") if (v := getattr(arguments, k)) is not None}
    settings = settings.model_copy(
        update={"dashboards": settings.dashboards.model_copy(update=changes)}
    )
    set_up_logging(settings, verbose=arguments.verbose)
    token, made_up = make_token(settings)

    questions: list[Callable[[], bool]] = []

    def tell(address: str) -> None:
        print(f"Dashboards: {address}{f'?token={token}' if made_up else ''}", flush=True)
        where = urlsplit(address)
        if where.hostname and where.port:
            questions.append(watchdog.answers_http(where.hostname, where.port))

    ended = threading.Event()
    watchdog.guard(lambda: any(ask() for ask in questions), ended)
    try:
        serve(settings, token, announce=announcement(settings), listening=tell)
    finally:
        ended.set()
    return 0
