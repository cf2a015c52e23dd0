"""The connection to a dask scheduler: lost and found again, and over TLS with a certificate."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
from distributed import LocalCluster, Security

from workspace_lib.errors import ConfigError, ExecutorError
from workspace_lib.runs.executors.dask import DaskExecutor
from workspace_lib.settings import Settings
from workspace_lib.store.migrate import open_store

MakeSite = Callable[..., Settings]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """Settings of a scheduler without workers that asks for a certificate."""
    pytest.importorskip("cryptography")
    security = Security.temporary()
    folder = tmp_path_factory.mktemp("keys")
    parts = {
        "dask_ca": security.tls_ca_file,
        "dask_certificate": security.tls_client_cert,
        "dask_key": security.tls_client_key,
    }
    for name, content in parts.items():
        (folder / name).write_text(content)
    with LocalCluster(
        n_workers=0, protocol="tls", security=security, dashboard_address="127.0.0.1:0"
    ) as cluster:
        paths = {name: str(folder / name) for name in parts}
        yield {"executor": "dask", "dask_address": cluster.scheduler_address, **paths}


def site_of(make_site: MakeSite, runs: dict[str, object]) -> Settings:
    made = make_site({"timezone": "UTC", "runs": runs})
    open_store(made, create=True).close()
    return made


def test_who_has_a_certificate_is_let_in(make_site: MakeSite, guarded: dict[str, object]) -> None:
    executor = DaskExecutor(site_of(make_site, guarded))
    assert executor.workers == []
    executor.close()


def test_who_has_none_is_told_so(make_site: MakeSite, guarded: dict[str, object]) -> None:
    runs = {"executor": "dask", "dask_address": guarded["dask_address"]}
    with pytest.raises(ConfigError, match=r"runs\.dask_ca"):
        DaskExecutor(make_site({"runs": runs}))


def test_a_dask_scheduler_that_is_restarted_is_found_again(
    make_site: MakeSite, wait_until: Callable[..., None]
) -> None:
    with LocalCluster(n_workers=0, protocol="tcp", dashboard_address="127.0.0.1:0") as cluster:
        address = cluster.scheduler_address
        executor = DaskExecutor(site_of(make_site, {"executor": "dask", "dask_address": address}))
        assert executor.workers == []
    executor._looked_at = None
    with pytest.raises(ExecutorError, match="does not answer"):
        _ = executor.workers
    port = int(address.rpartition(":")[2])

    def is_found() -> bool:
        with contextlib.suppress(ExecutorError):
            return executor.workers == []
        return False

    with LocalCluster(n_workers=0, scheduler_port=port, dashboard_address="127.0.0.1:0"):
        wait_until(is_found, "the new one is found")
        executor.close()
