"""The doctor's look at the dask workers of a site."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from workspace_lib.doctor import cluster
from workspace_lib.doctor.cluster import check_cluster
from workspace_lib.runs.executors import dask
from workspace_lib.runs.executors.dask import Worker
from workspace_lib.settings import Settings

MakeSite = Callable[..., Settings]


@pytest.fixture
def site(make_site: MakeSite) -> Settings:
    runs = {"executor": "dask", "dask_address": "tcp://127.0.0.1:1"}
    return make_site({"timezone": "UTC", "runs": runs, "store": {"url": "postgresql://db/w"}})


def worker(name: str, trouble: str | None = None, warning: str | None = None) -> Worker:
    return Worker(f"tcp://{name}", name, 2, set(), frozenset(), trouble, warning)


def test_a_site_with_one_machine_has_nothing_to_look_at(settings: Settings) -> None:
    assert check_cluster(settings) == []


def test_sqlite_and_a_scheduler_that_is_away_are_told(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask, "CONNECT_TIMEOUT_S", 0.3)
    site = make_site({"runs": {"executor": "dask", "dask_address": "tcp://127.0.0.1:1"}})
    on_sqlite, away = check_cluster(site)
    assert (on_sqlite.state, away.state) == ("attention", "missing")
    assert "SQLite" in on_sqlite.message
    assert "does not answer" in away.message


def test_fit_workers_are_counted_and_each_of_the_others_is_told(
    site: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [worker("a"), worker("b", warning="other code"), worker("c", "it has another store")]
    monkeypatch.setattr(cluster, "_workers", lambda settings: found)
    findings = check_cluster(site)
    assert [finding.state for finding in findings] == ["attention", "attention", "ok"]
    assert "2 workers with 4 places (a, b)" in findings[-1].message


def test_a_cluster_without_a_fit_worker_is_missing(
    site: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_workers", lambda settings: [worker("c", "it is paused")])
    assert [finding.state for finding in check_cluster(site)] == ["attention", "missing"]
