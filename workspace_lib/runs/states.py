"""The states of a run, why it is in one, and which may follow which."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from workspace_lib.clock import ensure_utc, iso, parse_instant
from workspace_lib.errors import ParameterError, StoreError

State = Literal[
    "due",
    "claimed",
    "running",
    "succeeded",
    "failed",
    "timed_out",
    "lost",
    "cancelled",
    "skipped",
]
Cause = Literal[
    "notebook_error",
    "kernel_died",
    "cell_timeout",
    "run_timeout",
    "device_busy",
    "source_unavailable",
    "input_missing",
    "no_manifest",
    "runner_lost",
    "cancelled",
    "overlap",
    "missed_slot",
    "bad_parameters",
]
STATES: tuple[State, ...] = get_args(State)
CAUSES: tuple[Cause, ...] = get_args(Cause)
#: States of a run that somebody works on.
ACTIVE: tuple[State, ...] = ("claimed", "running")
#: States in which a run has ended.
ENDED: tuple[State, ...] = ("succeeded", "failed", "timed_out", "lost", "cancelled", "skipped")
#: Ends that a retry or a backfill may mend.
FAILED: tuple[State, ...] = ("failed", "timed_out", "lost", "cancelled")

#: Which state may follow which. An ended run becomes due again only when a person or a job it is
#: `on:` asks for it; an active one only for a retry.
TRANSITIONS: Mapping[State, tuple[State, ...]] = {
    "due": ("claimed", "skipped", "cancelled", "failed"),
    "claimed": ("running", "due", "failed", "timed_out", "lost", "cancelled", "skipped"),
    "running": ("due", "succeeded", "failed", "timed_out", "lost", "cancelled", "skipped"),
    "succeeded": ("due",),
    "failed": ("due",),
    "timed_out": ("due",),
    "lost": ("due",),
    "cancelled": ("due",),
    "skipped": ("due",),
}

MANUAL = "manual:"
EVENT = "event:"


@dataclass(frozen=True)
class Claim:
    """A run that was claimed: all an executor needs to start it."""

    run_id: str
    attempt: int
    job: str
    slot: str
    parameters: dict[str, Any]
    spec: dict[str, Any]

    @property
    def holder(self) -> str:
        """Name under which this attempt holds devices and capacities."""
        return holder_id(self.run_id, self.attempt)


@dataclass(frozen=True)
class Beat:
    """Answer to a heartbeat: whether the attempt still owns its run, and whether it must stop."""

    alive: bool
    cancel: bool


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended.

    ``partial`` says that what was captured before the end is kept; ``last_good`` is the instant
    up to which it is whole. ``metrics`` may hold ``duration_s`` [s], ``cpu_s`` [s],
    ``peak_memory_bytes``, ``files``, ``bytes`` and ``rows``.
    """

    state: State
    cause: Cause | None = None
    message: str | None = None
    partial: bool = False
    last_good: datetime | None = None
    metrics: Mapping[str, float | int | None] = field(default_factory=dict)


def check_transition(old: str, new: str) -> None:
    """Refuse a change of state that the table above does not know.

    Raises
    ------
    StoreError
        If ``new`` may not follow ``old``.
    """
    if new not in TRANSITIONS.get(old, ()):  # type: ignore[call-overload]
        raise StoreError(f"A run that is {old} cannot become {new}.")


def holder_id(run_id: str, attempt: int) -> str:
    """Return the name under which one attempt of a run holds devices and capacities."""
    return f"{run_id}:{attempt}"


def new_run_id(now: datetime) -> str:
    """Return a new id of a run: sortable by time, short enough for paths and sockets."""
    return f"{ensure_utc(now):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:12]}"


def manual_slot(now: datetime) -> str:
    """Return the slot of a run that a person asks for now."""
    return f"{MANUAL}{ensure_utc(now):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"


def event_slot(key: str) -> str:
    """Return the slot of a run that an event asks for: ``test:42`` gives ``event:test:42``."""
    return f"{EVENT}{key}"


def slot_text(slot: datetime | str) -> str:
    """Return the text of a slot, the same for equal instants however they were written.

    Raises
    ------
    ParameterError
        If a text is neither an instant with its zone nor ``manual:…`` nor ``event:…``.
    """
    if isinstance(slot, datetime):
        return iso(slot)
    if slot.startswith((MANUAL, EVENT)):
        if slot in (MANUAL, EVENT) or any(mark.isspace() for mark in slot):
            raise ParameterError(f"{slot!r} is no slot.", fix="Write it as event:test:42.")
        return slot
    return iso(parse_instant(slot))


def slot_instant(slot: str) -> datetime | None:
    """Return the instant of a slot, or None for a manual one or an event."""
    return None if slot.startswith((MANUAL, EVENT)) else parse_instant(slot)


def owner_id(what: str, pid: int) -> str:
    """Return a name for a scheduler or a command that claims runs: who, which process, where."""
    return f"{what}@{socket.gethostname()}:{pid}:{uuid.uuid4().hex[:4]}"
