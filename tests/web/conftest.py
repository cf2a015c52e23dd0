"""A web front over a filled store, and clients with each kind of token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import insert
from starlette.testclient import TestClient

from workspace_lib.clock import FakeClock
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


@pytest.fixture
def make_front(make_site: Callable[..., Settings]) -> Iterator[Callable[..., Front]]:
    """Make a front whose site has these settings."""
    stores: list[Store] = []

    def make(**site: object) -> Front:
        settings = make_site({"timezone": "Europe/Paris", **site})
        store = open_store(settings, create=True)
        stores.append(store)
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
    """A front with three publications and five runs."""
    made = make_front()
    for number, name in enumerate(("rain.total", "rain.sums/Mse", "runs.summary")):
        publish(made.store, name, {"value": number}, run_id=f"run-{number}")
    for number in range(5):
        add_run(made.store, f"run-{number}")
    return made
