"""rain in blocks of days."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
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
        "rain_calibrations",
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("gauge", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=True),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("noticed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_rain_calibrations")),
    )
    op.create_index(
        op.f("ix_rain_calibrations_gauge"), "rain_calibrations", ["gauge"], unique=False
    )
    op.create_table(
        "rain_days",
        sa.Column("gauge", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("tip_sum", sa.BigInteger(), nullable=False),
        sa.Column("wet", sa.LargeBinary(), nullable=False),
        sa.Column("covered", sa.LargeBinary(), nullable=False),
        sa.Column("rows", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("gauge", "day", name=op.f("pk_rain_days")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rain_depths",
        sa.Column("gauge", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("calibration", sa.Text(), nullable=False),
        sa.Column("depths", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("gauge", "day", name=op.f("pk_rain_depths")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rain_products",
        sa.Column("gauge", sa.Text(), nullable=False),
        sa.Column("year", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=True),
        sa.Column("written", sa.BigInteger(), nullable=False),
        sa.Column("uploaded", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("gauge", "year", "kind", name=op.f("pk_rain_products")),
    )


def _downgrade_data() -> None:
    op.drop_table("rain_products")
    op.drop_table("rain_depths")
    op.drop_table("rain_days")
    op.drop_index(op.f("ix_rain_calibrations_gauge"), table_name="rain_calibrations")
    op.drop_table("rain_calibrations")
