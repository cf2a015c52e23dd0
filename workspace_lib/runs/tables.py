"""The ledger's tables: runs and their attempts, job states, schedulers, services, notices."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
)

from workspace_lib.store.base import Instant, Json, control_metadata

_STATES = (
    "'due', 'claimed', 'running', 'succeeded', 'failed', 'timed_out', 'lost', 'cancelled', "
    "'skipped'"
)


def _metrics() -> list[Column[object]]:
    """Return the columns of what a run cost and did; a table needs columns of its own."""
    return [
        Column("duration_s", Float),
        Column("cpu_s", Float),
        Column("peak_memory_bytes", BigInteger),
        Column("files", BigInteger),
        Column("bytes", BigInteger),
        Column("rows", BigInteger),
    ]


#: One row per job and slot; ``attempt`` is the number of the newest attempt and fences older ones.
runs = Table(
    "runs",
    control_metadata,
    Column("id", Text, primary_key=True),
    Column("job", Text, nullable=False),
    # A UTC instant, ``manual:<id>`` or ``event:<key>``.
    Column("slot", Text, nullable=False),
    Column("slot_at", Instant),
    Column("kind", Text, nullable=False, default="notebook"),
    Column("state", Text, nullable=False),
    Column("cause", Text),
    Column("message", Text),
    Column("partial", Boolean, nullable=False, default=False),
    Column("last_good", Instant),
    Column("attempt", Integer, nullable=False, default=0),
    # Attempts that really began since the run was last made due; what `retries.attempts` limits.
    Column("tries", Integer, nullable=False, default=0),
    Column("spec", Json, nullable=False),
    Column("parameters", Json, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("not_before", Instant, nullable=False),
    Column("busy_since", Instant),
    # 0: as scheduled; 1: backfill, which lets scheduled runs pass.
    Column("priority", Integer, nullable=False, default=0),
    # Runs of one job and lane never overlap; 0 is the schedule's, others are those of a backfill
    # whose job lets it fan out.
    Column("lane", Integer, nullable=False, server_default="0"),
    Column("owner", Text),
    Column("host", Text),
    Column("lease_s", Float),
    Column("lease_until", Instant),
    Column("heartbeat_at", Instant),
    Column("progress", Float),
    Column("progress_text", Text),
    Column("cancel_by", Text),
    Column("cancel_at", Instant),
    Column("created_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("ended_at", Instant),
    *_metrics(),
    # False from a success until the jobs that are `on:` this one have been made due.
    Column("fired", Boolean),
    UniqueConstraint("job", "slot"),
    CheckConstraint(f"state IN ({_STATES})", name="state"),
    Index("ix_runs_state_not_before", "state", "not_before"),
    Index("ix_runs_job_due_at", "job", "due_at"),
    Index("ix_runs_ended_at", "ended_at"),
)
# A job never runs twice at once in a lane, whoever claims: the database itself refuses.
Index(
    "uq_runs_one_active",
    runs.c.job,
    runs.c.lane,
    unique=True,
    sqlite_where=runs.c.state.in_(("claimed", "running")),
    postgresql_where=runs.c.state.in_(("claimed", "running")),
)
Index(
    "ix_runs_unfired",
    runs.c.id,
    sqlite_where=runs.c.fired.is_(False),
    postgresql_where=runs.c.fired.is_(False),
)

#: Every try of a run, with who made it, where, from what, and how it ended.
attempts = Table(
    "attempts",
    control_metadata,
    Column("run_id", Text, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("state", Text, nullable=False),
    Column("cause", Text),
    Column("message", Text),
    Column("partial", Boolean, nullable=False, default=False),
    Column("last_good", Instant),
    Column("owner", Text, nullable=False),
    Column("host", Text),
    Column("pid", Integer),
    Column("claimed_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("ended_at", Instant),
    Column("provenance", Json),
    *_metrics(),
    CheckConstraint(f"state IN ({_STATES})", name="state"),
)

#: What the scheduler remembers of each job: the last good spec, and how far it has looked.
job_states = Table(
    "job_states",
    control_metadata,
    Column("job", Text, primary_key=True),
    Column("file", Text, nullable=False),
    Column("spec", Json),
    # Changes when the schedule does: past slots of a schedule that did not exist are not missed.
    Column("signature", Text),
    Column("valid", Boolean, nullable=False),
    Column("problems", Json),
    Column("present", Boolean, nullable=False, default=True),
    Column("first_seen", Instant, nullable=False),
    Column("last_slot", Instant),
    # The last publication event that was looked at for `on_published`.
    Column("last_event", BigInteger),
    Column("changed_at", Instant, nullable=False),
)

#: Every scheduler that ever ran on this store, and when it was last seen.
schedulers = Table(
    "schedulers",
    control_metadata,
    Column("id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("stopped_at", Instant),
)

#: The service of each `service:` job, as its supervisor sees it.
services = Table(
    "services",
    control_metadata,
    Column("job", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("run_id", Text),
    Column("attempt", Integer),
    Column("owner", Text),
    Column("host", Text),
    Column("pid", Integer),
    Column("started_at", Instant),
    Column("heartbeat_at", Instant),
    Column("status", Text),
    Column("restarts", Integer, nullable=False, default=0),
    Column("failures", Integer, nullable=False, default=0),
    Column("next_start_at", Instant),
    Column("message", Text),
    Column("changed_at", Instant, nullable=False),
)

#: What people have been told, so that they are told once.
notices = Table(
    "notices",
    control_metadata,
    Column("key", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("message", Text),
    Column("since", Instant, nullable=False),
    Column("told_at", Instant),
)
