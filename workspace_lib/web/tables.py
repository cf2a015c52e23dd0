"""The web front's table: tokens, of which only the hash is kept."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Integer, String, Table

from workspace_lib.store.base import Instant, Json, control_metadata

api_tokens = Table(
    "api_tokens",
    control_metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("scopes", Json, nullable=False),
    Column("created", Instant, nullable=False),
    Column("expires", Instant),
    Column("last_used", Instant),
    Column("revoked", Boolean, nullable=False, default=False),
)
