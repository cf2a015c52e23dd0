"""Devices and capacities of a run: taken when it is claimed, all or none."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.states import holder_id
from workspace_lib.store import leases


def wanted(spec: JobSpec) -> list[tuple[str, int]]:
    """Return resource and most holders at once, in the order in which all runs take them."""
    needs = dict.fromkeys(spec.devices, 1) | dict(spec.capacity)
    return sorted(needs.items())


def acquire_all(
    connection: Connection, spec: JobSpec, holder: str, *, ttl_s: float, now: datetime
) -> str | None:
    """Take everything ``spec`` needs and return None, or return the resource that is busy.

    What was taken before the busy one stays taken: the caller rolls its transaction back.
    """
    for resource, capacity in wanted(spec):
        if not leases.acquire_in(
            connection, resource, holder, capacity=capacity, ttl_s=ttl_s, now=now
        ):
            return resource
    return None


def renew_all(connection: Connection, run: Row[Any], now: datetime) -> bool:
    """Keep everything a run's newest attempt holds; False if it needs something it has lost.

    What ran out may have been given to somebody else, so it is never renewed: the attempt must
    stop.
    """
    holder = holder_id(run.id, run.attempt)
    renewed = leases.renew_in(connection, holder, ttl_s=run.lease_s, now=now)
    return renewed or not wanted(JobSpec.from_dict(run.spec))


def release_all(connection: Connection, holder: str) -> None:
    """Give back everything ``holder`` has."""
    leases.release_in(connection, holder)
