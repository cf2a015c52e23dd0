"""lanes of a job's runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
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
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("lane", sa.Integer(), server_default="0", nullable=False))
        batch_op.drop_index(
            batch_op.f("uq_runs_one_active"),
            sqlite_where=sa.text("state IN ('claimed', 'running')"),
        )
        batch_op.create_index(
            "uq_runs_one_active",
            ["job", "lane"],
            unique=True,
            sqlite_where=sa.text("state IN ('claimed', 'running')"),
            postgresql_where=sa.text("state IN ('claimed', 'running')"),
        )


def _downgrade_control() -> None:
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_runs_one_active",
            sqlite_where=sa.text("state IN ('claimed', 'running')"),
            postgresql_where=sa.text("state IN ('claimed', 'running')"),
        )
        batch_op.create_index(
            batch_op.f("uq_runs_one_active"),
            ["job"],
            unique=True,
            sqlite_where=sa.text("state IN ('claimed', 'running')"),
            postgresql_where=sa.text("state IN ('claimed', 'running')"),
        )
        batch_op.drop_column("lane")


def _upgrade_data() -> None:
    pass


def _downgrade_data() -> None:
    pass
