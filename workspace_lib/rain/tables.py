"""The rain wing's tables: raw tips as they came, what contradicted them, and what was refused."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Integer, Table, Text

from workspace_lib.store.base import Instant, data_metadata

#: One row per gauge and stamp, never changed: what the logger counted in the step ending at ``t``.
rain_tips = Table(
    "rain_tips",
    data_metadata,
    Column("gauge", Text, primary_key=True),
    Column("t", Instant, primary_key=True),
    Column("tips", Integer, nullable=False),
    Column("wind", Integer),
    Column("battery_v", Double),
    Column("file_id", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: Rows for a stamp that already had others: the first one is kept, this one is remembered.
rain_conflicts = Table(
    "rain_conflicts",
    data_metadata,
    Column("gauge", Text, primary_key=True),
    Column("t", Instant, primary_key=True),
    Column("file_id", BigInteger, primary_key=True),
    Column("line", Integer, primary_key=True),
    Column("tips", Integer, nullable=False),
    Column("wind", Integer),
    Column("battery_v", Double),
    Column("kept_file_id", BigInteger, nullable=False),
    Column("kept_tips", Integer, nullable=False),
    Column("kept_wind", Integer),
    Column("kept_battery_v", Double),
    Column("policy", Text, nullable=False),
    Column("noticed", Instant, nullable=False),
)

#: Lines that are no rows, or rows set aside because their stamp cannot be true, with their text.
rain_issues = Table(
    "rain_issues",
    data_metadata,
    Column("file_id", BigInteger, primary_key=True),
    Column("line", Integer, primary_key=True),
    Column("code", Text, primary_key=True),
    Column("gauge", Text),
    Column("severity", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("noticed", Instant, nullable=False),
)
