"""An index of the issues of rain by gauge."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
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
    op.create_index(
        "ix_rain_issues_gauge_code", "rain_issues", ["gauge", "code", "noticed"], unique=False
    )


def _downgrade_data() -> None:
    op.drop_index("ix_rain_issues_gauge_code", table_name="rain_issues")
