"""How a dask worker for the site is started: its command line and its environment."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from workspace_lib.errors import ConfigError
from workspace_lib.settings import Settings


def worker_command(settings: Settings, places: int, devices: Sequence[str] = ()) -> list[str]:
    """Return the command line of a worker that takes ``places`` runs at once.

    Parameters
    ----------
    devices : sequence of str
        What only this machine has: jobs that hold one of these run here.

    Raises
    ------
    ConfigError
        If the site names no dask scheduler, or dask is not installed.
    """
    runs = settings.runs
    if not runs.dask_address:
        raise ConfigError(
            "The site has no dask scheduler.",
            where="runs.dask_address",
            fix="Set it, as tcp://host:8786.",
        )
    if find_spec("distributed") is None:
        raise ConfigError("dask is not installed.", fix="Install the extra: pip install '.[dask]'.")
    command = [sys.executable, "-m", "distributed.cli.dask_worker", runs.dask_address]
    command += ["--nthreads", str(places), "--name", f"{socket.gethostname()}-{os.getpid()}"]
    # The memory of runs is theirs; dask would only look at the worker's own.
    command += ["--no-dashboard", "--memory-limit", "0"]
    if devices:
        command += ["--resources", ",".join(f"{device}=1" for device in devices)]
    for option, path in (
        ("--tls-ca-file", runs.dask_ca),
        ("--tls-cert", runs.dask_certificate),
        ("--tls-key", runs.dask_key),
    ):
        if path is not None:
            command += [option, str(path)]
    return command


def worker_environment(settings: Settings) -> dict[str, str]:
    """Return the environment of a worker: the site as it is here, and what is set already."""
    return {
        **os.environ,
        "WORKSPACE_ROOT": str(settings.root),
        "WORKSPACE_SITE": str(settings.site_dir),
        "WORKSPACE_OUTPUTS": str(settings.outputs_dir),
    }
