"""A web front over a filled store, and clients with each kind of token."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from fastapi import FastAPI
from sqlalchemy import insert
from starlette.testclient import TestClient

from workspace_lib.clock import FakeClock, to_us
from workspace_lib.files import atomic_write, sha256_bytes
from workspace_lib.rain.calibrating import calibrate
from workspace_lib.rain.days import merge_rows, new_rows
from workspace_lib.rain.settings import Gauge
from workspace_lib.rain.tables import rain_products
from workspace_lib.runs.tables import job_states, runs, schedulers
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store, write
from workspace_lib.store.migrate import open_store
from workspace_lib.store.publications import publish_run, record, write_artefact
from workspace_lib.web.app import create_app
from workspace_lib.web.tokens import SCOPES, Scope, create_token

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass
class Front:
    """The front under test: its application, store, clock and one token of each scope."""

    app: FastAPI
    store: Store
    clock: FakeClock
    tokens: dict[str, str]

    def client(self, scope: Scope | None = None) -> TestClient:
        """Return a client with the token of ``scope``, or without one."""
        headers = {"Authorization": f"Bearer {self.tokens[scope]}"} if scope else {}
        return TestClient(self.app, headers=headers, raise_server_exceptions=False)


def publish(store: Store, name: str, value: Any, run_id: str = "run-1") -> None:
    """Publish ``value`` as a run would."""
    artefact = write_artefact(
        store.outputs,
        name,
        value,
        run_id=run_id,
        attempt=1,
        folder=store.outputs / "runs" / run_id / "1" / "artefacts",
        unit="mm",
        as_of=NOW,
    )
    with write(store.control) as connection:
        record(connection, artefact, NOW, fresh_for_s=600)
        publish_run(connection, run_id, 1, NOW)


def add_run(store: Store, run_id: str, job: str = "rain_sums", **values: Any) -> None:
    """Write a run into the ledger."""
    row = {
        "id": run_id, "job": job, "slot": f"manual:{run_id}", "state": "succeeded", "attempt": 1,
        "spec": {}, "parameters": {}, "due_at": NOW, "not_before": NOW, "created_at": NOW,
    }  # fmt: skip
    with write(store.control) as connection:
        connection.execute(insert(runs).values(row | values))


def add_rain(settings: Settings, store: Store) -> None:
    """Give the site a calibrated gauge with an hour of rain, and one yearly file of it."""
    gauge = {"id": "mse", "name": "Mse", "folder": "Mse", "mm_per_tip": 0.2}
    curve = {
        "gauge": "mse", "valid_from": NOW - timedelta(days=9), "mm_per_tip": 0.2, "kind": "linear",
        "x": "tips/min", "coefficients": {"b": 1.05, "c": 0.0}, "source": {"certificate": "No. 1"},
    }  # fmt: skip
    for name, content in {"gauges": [gauge], "calibrations": [curve]}.items():
        path = settings.site_dir / f"{name}.yml"
        path.write_text(yaml.safe_dump({name: content}), encoding="utf-8")
    stamps = [to_us(NOW - timedelta(minutes=minute)) for minute in range(60, 0, -1)]
    with write(store.data) as connection:
        rows = new_rows(stamps, [1] * 60, file_id=1)
        merge_rows(connection, Gauge.model_validate(gauge), rows, NOW)
        path = "rain/products/mse/2026/Mse_sparse_2026.npz"
        content = b"a matrix"
        atomic_write(store.outputs / path, content)
        product = {
            "gauge": "mse", "year": 2026, "kind": "sparse_npz", "fingerprint": "f", "path": path,
            "sha256": sha256_bytes(content), "bytes": len(content), "written": NOW,
        }  # fmt: skip
        connection.execute(insert(rain_products).values(product))
    calibrate(store, settings, now=NOW)


@pytest.fixture(scope="session")
def recloser_filling(repository: Path) -> ModuleType:
    """What writes rows of the reclosers wing; test files cannot import each other."""
    path = repository / "tests" / "reclosers" / "filling.py"
    spec = importlib.util.spec_from_file_location("recloser_filling_for_web", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def recloser_report(recloser_filling: ModuleType) -> bytes:
    """The report of a simulated event, which takes long to simulate."""
    report: bytes = recloser_filling.report()
    return report


@pytest.fixture
def make_front(
    make_site: Callable[..., Settings], recloser_filling: ModuleType, recloser_report: bytes
) -> Iterator[Callable[..., Front]]:
    """Make a front whose site has these settings."""
    stores: list[Store] = []

    def make(**site: object) -> Front:
        settings = make_site({"timezone": "Europe/Paris", **site})
        store = open_store(settings, create=True)
        stores.append(store)
        if "rain" in settings.wings:
            add_rain(settings, store)
        if "reclosers" in settings.wings:
            recloser_filling.add_one(settings, store, recloser_report)
        clock = FakeClock(NOW)
        tokens = {scope: create_token(store, scope, scope, now=NOW) for scope in SCOPES}
        with write(store.control) as connection:
            connection.execute(
                insert(schedulers).values(id="s", host="h", pid=1, started_at=NOW, seen_at=NOW)
            )
            connection.execute(
                insert(job_states).values(
                    job="rain_sums", file="rain_sums.yml", valid=True, first_seen=NOW,
                    changed_at=NOW,
                )
            )  # fmt: skip
        return Front(create_app(settings, store, clock=clock), store, clock, tokens)

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def front(make_front: Callable[..., Front]) -> Front:
    """A front with three publications, five runs, a rain gauge and an event of a recloser."""
    made = make_front(wings={"rain": {}, "reclosers": {}})
    for number, name in enumerate(("rain.total", "rain.sums/Mse", "runs.summary")):
        publish(made.store, name, {"value": number}, run_id=f"run-{number}")
    for number in range(5):
        add_run(made.store, f"run-{number}")
    return made
