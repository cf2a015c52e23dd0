"""First tables of data."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade(database: str) -> None:
    """Take this step in one database."""
    if database == "control":
        _upgrade_control()
    else:
        _upgrade_data()


def downgrade(database: str) -> None:
    """Take this step back in one database."""
    if database == "control":
        _downgrade_control()
    else:
        _downgrade_data()


def _upgrade_control() -> None:
    pass


def _downgrade_control() -> None:
    pass


def _upgrade_data() -> None:
    op.create_table(
        "cursors",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("moved", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_cursors")),
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_meta")),
    )
    op.create_table(
        "rain_conflicts",
        sa.Column("gauge", sa.Text(), nullable=False),
        sa.Column("t", sa.BigInteger(), nullable=False),
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("tips", sa.Integer(), nullable=False),
        sa.Column("wind", sa.Integer(), nullable=True),
        sa.Column("battery_v", sa.Double(), nullable=True),
        sa.Column("kept_file_id", sa.BigInteger(), nullable=False),
        sa.Column("kept_tips", sa.Integer(), nullable=False),
        sa.Column("kept_wind", sa.Integer(), nullable=True),
        sa.Column("kept_battery_v", sa.Double(), nullable=True),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("noticed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("gauge", "t", "file_id", "line", name=op.f("pk_rain_conflicts")),
    )
    op.create_table(
        "rain_issues",
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("gauge", sa.Text(), nullable=True),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("noticed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("file_id", "line", "code", name=op.f("pk_rain_issues")),
    )
    op.create_table(
        "rain_tips",
        sa.Column("gauge", sa.Text(), nullable=False),
        sa.Column("t", sa.BigInteger(), nullable=False),
        sa.Column("tips", sa.Integer(), nullable=False),
        sa.Column("wind", sa.Integer(), nullable=True),
        sa.Column("battery_v", sa.Double(), nullable=True),
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("gauge", "t", name=op.f("pk_rain_tips")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "raw_objects",
        sa.Column(
            "ref", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False
        ),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column(
            "whole", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=True
        ),
        sa.Column("start", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("ref", name=op.f("pk_raw_objects")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_raw_objects_loose",
        "raw_objects",
        ["source", "device", "day"],
        unique=False,
        sqlite_where=sa.text("position IS NULL"),
        postgresql_where=sa.text("position IS NULL"),
    )
    op.create_index("ix_raw_objects_whole_start", "raw_objects", ["whole", "start"], unique=False)
    op.create_table(
        "sample_rows",
        sa.Column("stream_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.BigInteger(), nullable=False),
        sa.Column("t", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("stream_id", "key", name=op.f("pk_sample_rows")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sample_segments",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("stream_id", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("t_from", sa.BigInteger(), nullable=False),
        sa.Column("t_to", sa.BigInteger(), nullable=False),
        sa.Column("key_from", sa.BigInteger(), nullable=False),
        sa.Column("key_to", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.BigInteger(), nullable=False),
        sa.Column("replaced", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sample_segments")),
    )
    op.create_index(
        op.f("ix_sample_segments_stream_id"), "sample_segments", ["stream_id"], unique=False
    )
    op.create_table(
        "sample_streams",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("columns", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("step_s", sa.Float(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sample_streams")),
        sa.UniqueConstraint("name", name=op.f("uq_sample_streams_name")),
    )
    op.create_table(
        "source_files",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column(
            "path", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False
        ),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("modified", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("device", sa.Text(), nullable=True),
        sa.Column("first_seen", sa.BigInteger(), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("raw_ref", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source_files")),
        sa.UniqueConstraint(
            "source", "path", "version", name=op.f("uq_source_files_source_path_version")
        ),
    )
    op.create_index(
        "ix_source_files_source_state_id", "source_files", ["source", "state", "id"], unique=False
    )


def _downgrade_data() -> None:
    op.drop_index("ix_source_files_source_state_id", table_name="source_files")
    op.drop_table("source_files")
    op.drop_table("sample_streams")
    op.drop_index(op.f("ix_sample_segments_stream_id"), table_name="sample_segments")
    op.drop_table("sample_segments")
    op.drop_table("sample_rows")
    op.drop_index("ix_raw_objects_whole_start", table_name="raw_objects")
    op.drop_index(
        "ix_raw_objects_loose",
        table_name="raw_objects",
        sqlite_where=sa.text("position IS NULL"),
        postgresql_where=sa.text("position IS NULL"),
    )
    op.drop_table("raw_objects")
    op.drop_table("rain_tips")
    op.drop_table("rain_issues")
    op.drop_table("rain_conflicts")
    op.drop_table("meta")
    op.drop_table("cursors")
