"""Starts the server of live dashboards: ``workspace dashboards`` and a part of ``workspace up``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from workspace_lib import secrets
from workspace_lib.errors import ConfigError
from workspace_lib.settings import Settings
from workspace_lib.views.access import kernel_environment
from workspace_lib.views.warm_kernels import WarmKernels


def serve(
    settings: Settings,
    token: str,
    *,
    port: int | None = None,
    announce: Path | None = None,
    listening: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve the dashboards until SIGTERM or Ctrl-C; this process keeps no secret but the token.

    Parameters
    ----------
    port : int, optional
        In place of the configured one; a taken one gives way to the next free one.
    announce : Path, optional
        File that gets address and port once the server listens.
    listening : callable, optional
        Told the address then.

    Raises
    ------
    ConfigError
        If there are no dashboards to show.
    """
    folder = settings.notebooks_dir / "dashboards"
    if not folder.is_dir():
        raise ConfigError(
            "There are no dashboards to show.", where=str(folder), fix="Run it in the workspace."
        )
    clean = kernel_environment(settings, os.environ)
    os.environ.clear()
    os.environ.update(clean)
    # Before the server itself is loaded: both take some seconds, and the first reader needs both.
    warm = WarmKernels(folder) if settings.dashboards.warm_kernels else None
    if warm is not None:
        warm.start()
    from workspace_lib.views.voila_server import run

    run(settings, token, port=port, announce=announce, listening=listening, warm=warm)


def main(arguments: list[str] | None = None) -> int:
    """Serve the dashboards as a part of ``workspace up``; the token comes by standard input."""
    import argparse

    from workspace_lib.logs import set_up_logging
    from workspace_lib.settings import load_settings

    parser = argparse.ArgumentParser()
    parser.add_argument("--site", required=True)
    parser.add_argument("--port", type=int)
    parser.add_argument("--announce", type=Path)
    options = parser.parse_args(arguments)
    settings = load_settings(options.site)
    set_up_logging(settings, console=False)
    token = sys.stdin.readline().strip()
    if not token:
        raise ConfigError("No token was given.", fix="Use: workspace dashboards.")
    secrets.remember(token)
    serve(settings, token, port=options.port, announce=options.announce)
    return 0


if __name__ == "__main__":
    sys.exit(main())
