"""The rain wing's tables: days of rows, what contradicted them, and what was made of them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, LargeBinary, Table, Text

from workspace_lib.store.base import Instant, Json, data_metadata

#: All rows of a gauge whose stamps lie in one UTC day (``day`` counts from 1970-01-01), as one
#: block; `workspace_lib.rain.blocks` says what the bytes are. ``wet`` and ``covered`` stand before
#: ``rows`` because a database reads a row from its beginning: sums never touch the large one.
rain_days = Table(
    "rain_days",
    data_metadata,
    Column("gauge", Text, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("revision", Integer, nullable=False),
    Column("row_count", Integer, nullable=False),
    Column("tip_sum", BigInteger, nullable=False),
    Column("wet", LargeBinary, nullable=False),
    Column("covered", LargeBinary, nullable=False),
    Column("rows", LargeBinary, nullable=False),
    # What has changed is asked of all days every few minutes, and must not read their blocks.
    Index("ix_rain_days_revision", "gauge", "day", "revision"),
    sqlite_with_rowid=False,
)

#: Calibrated depths of the wet rows of a day, in their order, and what they were computed from.
rain_depths = Table(
    "rain_depths",
    data_metadata,
    Column("gauge", Text, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("revision", Integer, nullable=False),
    Column("calibration", Text, nullable=False),
    Column("depths", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

#: Every calibration record that was ever used, by its version.
rain_calibrations = Table(
    "rain_calibrations",
    data_metadata,
    Column("version", Text, primary_key=True),
    Column("gauge", Text, nullable=False, index=True),
    Column("valid_from", Instant),
    Column("valid_to", Instant),
    Column("content", Json, nullable=False),
    Column("noticed", Instant, nullable=False),
)

#: Yearly products as they were made last, and from what: an equal fingerprint is not made again.
rain_products = Table(
    "rain_products",
    data_metadata,
    Column("gauge", Text, primary_key=True),
    Column("year", Integer, primary_key=True, autoincrement=False),
    Column("kind", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("path", Text, nullable=False),
    Column("target", Text),
    Column("written", Instant, nullable=False),
    Column("uploaded", Instant),
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
    # Dashboards count them by gauge and code, of which a bad logger gives thousands a month.
    Index("ix_rain_issues_gauge_code", "gauge", "code", "noticed"),
)
