"""What jobs remember of publications."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
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
    with op.batch_alter_table("job_states", schema=None) as batch_op:
        batch_op.add_column(sa.Column("last_event", sa.BigInteger(), nullable=True))


def _downgrade_control() -> None:
    with op.batch_alter_table("job_states", schema=None) as batch_op:
        batch_op.drop_column("last_event")


def _upgrade_data() -> None:
    pass


def _downgrade_data() -> None:
    pass
