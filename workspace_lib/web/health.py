"""``/health`` for watchdogs and ``/metrics`` for Prometheus: one look at the store serves both."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from pydantic import BaseModel, Field
from sqlalchemy import func, select

from workspace_lib.answers.problems import responses
from workspace_lib.clock import Clock, iso
from workspace_lib.runs.tables import runs, schedulers
from workspace_lib.store.alarms import open_alarms
from workspace_lib.store.engines import Store, read
from workspace_lib.store.publications import list_published
from workspace_lib.web.access import Reader

#: A scheduler that has not said a word for this long is taken for dead.
SCHEDULER_SILENT = timedelta(seconds=10)
router = APIRouter(tags=["operation"])


@dataclass(frozen=True)
class Condition:
    """How the site is at one instant."""

    at: datetime
    scheduler_seen: datetime | None
    runs_by_state: dict[str, int]
    publication_ages_s: dict[str, float]
    stale: tuple[str, ...]
    alarms: int

    @property
    def scheduler_lives(self) -> bool:
        """Whether a scheduler was seen of late."""
        return self.scheduler_seen is not None and self.at - self.scheduler_seen <= SCHEDULER_SILENT


class Health(BaseModel):
    """Whether the site is well; names of what is not, nothing confidential."""

    status: Literal["ok", "attention"] = Field(description="ok, or that something needs a person.")
    scheduler: Literal["alive", "silent"] = Field(description="Whether a scheduler was seen.")
    scheduler_seen: str | None = Field(description="When it was last seen (UTC).")
    stale: int = Field(description="Publications older than they may be.")
    alarms: int = Field(description="Alarms that are open.")


def condition(store: Store, now: datetime) -> Condition:
    """Return how the site is: scheduler, runs of the last day, publications, alarms."""
    with read(store.control) as connection:
        seen = connection.execute(
            select(func.max(schedulers.c.seen_at)).where(schedulers.c.stopped_at.is_(None))
        ).scalar()
        counts = connection.execute(
            select(runs.c.state, func.count())
            .where(runs.c.due_at >= now - timedelta(days=1))
            .group_by(runs.c.state)
        ).all()
        alarms = len(open_alarms(connection))
    publications = list_published(store, now=now)
    return Condition(
        at=now,
        scheduler_seen=seen,
        runs_by_state=dict(counts),
        publication_ages_s={p.name: (now - p.as_of).total_seconds() for p in publications},
        stale=tuple(p.name for p in publications if p.stale),
        alarms=alarms,
    )


@router.get(
    "/health",
    responses={503: {"model": Health, "description": "No scheduler is alive."}},
)
def health(request: Request, response: Response) -> Health:
    """Say whether the site is well; 503 when no scheduler is alive. Open: it tells only counts."""
    state = condition(request.app.state.store, _now(request))
    if not state.scheduler_lives:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    well = state.scheduler_lives and not state.stale and not state.alarms
    return Health(
        status="ok" if well else "attention",
        scheduler="alive" if state.scheduler_lives else "silent",
        scheduler_seen=iso(state.scheduler_seen) if state.scheduler_seen else None,
        stale=len(state.stale),
        alarms=state.alarms,
    )


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **responses(HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS),
    },
)
def metrics(request: Request, token: Reader) -> Response:
    """Return the site's figures in the text format of Prometheus."""
    state = condition(request.app.state.store, _now(request))
    registry = CollectorRegistry()
    by_state = Gauge(
        "workspace_runs", "Runs due in the last 24 h by state.", ["state"], registry=registry
    )
    for name, count in state.runs_by_state.items():
        by_state.labels(name).set(count)
    age = Gauge(
        "workspace_publication_age_seconds",
        "Age of the content of each publication.",
        ["name"],
        registry=registry,
    )
    stale = Gauge(
        "workspace_publication_stale", "1 where older than allowed.", ["name"], registry=registry
    )
    for name, seconds in state.publication_ages_s.items():
        age.labels(name).set(seconds)
        stale.labels(name).set(name in state.stale)
    Gauge("workspace_alarms_open", "Alarms that are open.", registry=registry).set(state.alarms)
    if state.scheduler_seen is not None:
        Gauge(
            "workspace_scheduler_last_seen_seconds",
            "Unix time at which a scheduler was last seen.",
            registry=registry,
        ).set(state.scheduler_seen.timestamp())
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")


def _now(request: Request) -> datetime:
    clock: Clock = request.app.state.clock
    return clock.now()
