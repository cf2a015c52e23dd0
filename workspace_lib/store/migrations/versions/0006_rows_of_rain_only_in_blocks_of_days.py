"""Rows of rain only in blocks of days; the raw archive fills them anew."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
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
    op.drop_table("rain_tips")
    _parse_again()


def _downgrade_data() -> None:
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
    _parse_again()


def _parse_again() -> None:
    # The bytes of every file are in the archive, and until this step only rain's were parsed: the
    # next capture makes its rows of them, in the order in which they came.
    op.execute("UPDATE source_files SET state = 'fetched' WHERE state = 'parsed'")
