"""What two machines tell of themselves, and when a worker is not fit to take runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from workspace_lib.errors import ConfigError, ExecutorError
from workspace_lib.runs.executors import dask, free_places, open_executor, worker_facts
from workspace_lib.runs.executors.dask import DaskExecutor, Worker
from workspace_lib.runs.executors.worker_facts import (
    WorkerFacts,
    code_hash,
    look_around,
    mark_outputs,
    other_code,
    unfit,
)
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store

HERE = WorkerFacts(
    host="here",
    machine="m1",
    site="plant",
    store="s1",
    outputs="s1",
    on_sqlite=False,
    code="c1",
    commit="a" * 40,
    lock="l1",
    versions={"python": "3.11.2", "numpy": "2.3.0"},
)


@pytest.fixture
def executor(make_site: Callable[..., Settings]) -> DaskExecutor:
    """An executor that has looked a moment ago, at an address where nobody listens."""
    runs = {"executor": "dask", "dask_address": "tcp://127.0.0.1:1"}
    made = open_executor(make_site({"timezone": "UTC", "runs": runs}))
    assert isinstance(made, DaskExecutor)
    return made


def see(executor: DaskExecutor, monkeypatch: pytest.MonkeyPatch, *workers: Worker) -> None:
    executor._workers = {worker.address: worker for worker in workers}
    monkeypatch.setattr(executor, "_look", lambda: None)


def worker(name: str, *, places: int = 2, busy: int = 0, **values: Any) -> Worker:
    defaults: dict[str, Any] = {"resources": frozenset(), "trouble": None}
    tasks = {f"task-{number}" for number in range(busy)}
    return Worker(f"tcp://{name}", name, places, tasks, **{**defaults, **values})


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"site": "other"}, "serves the site other"),
        ({"store": "s2"}, "another store"),
        ({"outputs": None}, "another folder of outputs"),
        ({"outputs": "s2"}, "another folder of outputs"),
        ({"trouble": "the store cannot be opened (away)"}, "cannot be opened"),
    ],
)
def test_a_worker_elsewhere_than_the_site_is_unfit(changed: dict[str, Any], words: str) -> None:
    assert words in str(unfit(HERE, replace(HERE, **changed)))


def test_a_worker_like_this_machine_is_fit() -> None:
    there = replace(HERE, host="there", machine="m2")
    assert unfit(HERE, there) is None
    assert other_code(HERE, there) is None


def test_sqlite_is_refused_on_a_second_machine_and_only_there() -> None:
    here = replace(HERE, on_sqlite=True)
    assert unfit(here, replace(here, host="a-container-of-it")) is None
    assert "PostgreSQL" in str(unfit(here, replace(here, host="there", machine="m2")))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"code": "c2", "commit": "b" * 40}, "commit bbbbbbbbbb there, aaaaaaaaaa here"),
        ({"code": "c2"}, "other code or notebooks"),
        ({"lock": None}, "another requirements.lock"),
        ({"versions": {"python": "3.11.2"}}, "numpy missing there, 2.3.0 here"),
    ],
)
def test_a_difference_of_code_is_named(changed: dict[str, Any], words: str) -> None:
    assert words in str(other_code(HERE, replace(HERE, **changed)))


def test_outputs_that_are_marked_are_known_again(store: Store, settings: Settings) -> None:
    assert look_around(settings).outputs is None
    mark_outputs(settings)
    found = look_around(settings)
    assert found.store is not None
    assert found.outputs == found.store
    assert found.on_sqlite


def test_a_store_that_is_away_is_told(settings: Settings) -> None:
    assert "cannot be opened" in str(look_around(settings).trouble)


def test_a_notebook_that_changes_changes_the_code(
    settings: Settings,
    write_notebook: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    # The library itself may just be edited by somebody.
    monkeypatch.setattr(worker_facts, "_PACKAGE", tmp_path / "library")
    before = code_hash(settings)
    write_notebook(settings, ".ipynb_checkpoints/job-checkpoint", "1 + 1")
    assert code_hash(settings) == before, "what Jupyter keeps is not run"
    write_notebook(settings, "job", "1 + 1")
    assert code_hash(settings) != before


def test_dask_needs_an_address(make_site: Callable[..., Settings]) -> None:
    with pytest.raises(ConfigError, match="address"):
        open_executor(make_site({"runs": {"executor": "dask"}}))


def test_a_dask_scheduler_that_is_away_is_told(
    executor: DaskExecutor, store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask, "CONNECT_TIMEOUT_S", 0.3)
    with pytest.raises(ExecutorError, match="does not answer"):
        free_places(executor, settings, store)


def test_without_a_fit_worker_it_says_what_is_wrong_with_each(
    executor: DaskExecutor, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    see(executor, monkeypatch, worker("far", trouble="it has another store"))
    with pytest.raises(ExecutorError, match="far: it has another store"):
        executor.free_places(store)


def test_places_of_others_and_of_unfit_workers_are_not_free(
    executor: DaskExecutor, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, unfit_one = worker("a", busy=1), worker("b", trouble="it is paused")
    see(executor, monkeypatch, busy, unfit_one, worker("c", busy=5))
    assert executor.free_places(store) == 1


def test_a_device_that_a_worker_offers_is_had_there_only(
    executor: DaskExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    offering = worker("with", busy=2, resources=frozenset({"line:COM1"}))
    see(executor, monkeypatch, worker("without"), offering)
    assert not executor.can_start("job", {"devices": ["line:COM1"]}), "its worker is full"
    assert executor.can_start("job", {"devices": ["line:COM2"]})
    offering.tasks.pop()
    assert executor.can_start("job", {"devices": ["line:COM1"]})
