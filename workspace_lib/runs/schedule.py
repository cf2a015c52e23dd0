"""Slots: the instants at which a job's schedule wants a run, exact also in the nights of DST.

Cron is cronsim's: a fixed time that a spring night skips comes at its end, one that an autumn
night repeats comes once, and steps such as ``*/30`` follow real time. An interval (``every``) is
counted in real time from the beginning of 1970, so every scheduler finds the same slots.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim

from workspace_lib.clock import EPOCH, ensure_utc
from workspace_lib.runs.job_spec import JobSpec

# A stretch of the past is searched for its newest slot from its end, in steps that widen.
_WINDOWS = (timedelta(hours=1), timedelta(days=1), timedelta(days=35), timedelta(days=400))


def is_scheduled(spec: JobSpec) -> bool:
    """Return whether a job has a schedule of its own (cron or an interval)."""
    return spec.schedule is not None or spec.every_s is not None


def root_of(spec: JobSpec, specs: Mapping[str, JobSpec]) -> JobSpec:
    """Return the job whose schedule a job follows: itself, or the first of its chain of `on:`."""
    root, seen = spec, {spec.name}
    while root.on is not None and root.on in specs and root.on not in seen:
        root = specs[root.on]
        seen.add(root.name)
    return root


def signature(spec: JobSpec) -> str:
    """Return a text that changes when what starts a job does."""
    parts: list[object] = [spec.schedule, spec.every_s, spec.on, spec.timezone, spec.enabled]
    if spec.on_published:
        parts.append(spec.on_published)
    return json.dumps(parts)


def slots_after(spec: JobSpec, after: datetime) -> Iterator[datetime]:
    """Yield the slots of a job later than ``after``, in UTC and in order, without end."""
    start = ensure_utc(after)
    if spec.every_s is not None:
        step = timedelta(seconds=spec.every_s)
        slot = EPOCH + ((start - EPOCH) // step + 1) * step
        while True:
            yield slot
            slot += step
    elif spec.schedule is not None:
        newest = start
        for local in CronSim(spec.schedule, start.astimezone(ZoneInfo(spec.timezone))):
            slot = ensure_utc(local)
            # In the repeated hour of autumn cronsim counts on the wall's clock, which went back.
            if slot > newest:
                newest = slot
                yield slot


def next_slots(spec: JobSpec, after: datetime, n: int) -> list[datetime]:
    """Return the next ``n`` slots of a job after an instant; none if it has no schedule."""
    return list(islice(slots_after(spec, after), n))


def due_slots(spec: JobSpec, last: datetime, now: datetime) -> list[datetime]:
    """Return the slots later than ``last`` up to and with ``now``, in order."""
    found = []
    for slot in slots_after(spec, last):
        if slot > now:
            break
        found.append(slot)
    return found


def newest_slot(spec: JobSpec, last: datetime, now: datetime) -> datetime | None:
    """Return the last of the slots that `due_slots` gives, without making them all."""
    for window in _WINDOWS:
        if now - window <= last:
            break
        if slots := due_slots(spec, now - window, now):
            return slots[-1]
    slots = due_slots(spec, last, now)
    return slots[-1] if slots else None
