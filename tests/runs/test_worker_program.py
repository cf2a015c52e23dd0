"""The command line and the environment of a dask worker for a site."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from workspace_lib.errors import ConfigError
from workspace_lib.runs.executors.worker_program import worker_command, worker_environment
from workspace_lib.settings import Settings

MakeSite = Callable[..., Settings]


def test_a_worker_is_told_scheduler_places_devices_and_certificates(make_site: MakeSite) -> None:
    runs = {
        "dask_address": "tls://far:8786",
        "dask_ca": "/keys/ca.pem",
        "dask_certificate": "/keys/w.pem",
        "dask_key": "/keys/w.key",
    }
    command = worker_command(make_site({"runs": runs}), 3, ["line:COM1", "line:COM2"])
    words = " ".join(command)
    assert "distributed.cli.dask_worker tls://far:8786 --nthreads 3" in words
    assert "--resources line:COM1=1,line:COM2=1" in words
    assert "--tls-ca-file /keys/ca.pem --tls-cert /keys/w.pem --tls-key /keys/w.key" in words


def test_a_worker_without_a_scheduler_is_refused(settings: Settings) -> None:
    with pytest.raises(ConfigError, match=r"runs\.dask_address"):
        worker_command(settings, 1)


def test_a_worker_serves_the_site_it_was_started_for(settings: Settings) -> None:
    environment = worker_environment(settings)
    assert environment["WORKSPACE_SITE"] == str(settings.site_dir)
    assert environment["WORKSPACE_OUTPUTS"] == str(settings.outputs_dir)
