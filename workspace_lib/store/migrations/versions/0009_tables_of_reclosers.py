"""tables of reclosers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
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
        "recloser_analyses",
        sa.Column("event_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("input_sha256", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("fault_type", sa.Text(), nullable=True),
        sa.Column("phases", sa.Text(), nullable=True),
        sa.Column("magnitude_a", sa.Double(), nullable=True),
        sa.Column("distance", sa.Double(), nullable=True),
        sa.Column("distance_low", sa.Double(), nullable=True),
        sa.Column("distance_high", sa.Double(), nullable=True),
        sa.Column("clearing_s", sa.Double(), nullable=True),
        sa.Column("shot_number", sa.Integer(), nullable=True),
        sa.Column("locked_out", sa.Integer(), nullable=True),
        sa.Column("trouble", sa.Text(), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("analysed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_recloser_analyses")),
    )
    op.create_index(
        "ix_recloser_analyses_search",
        "recloser_analyses",
        ["kind", "fault_type", "phases", "magnitude_a", "distance", "event_id"],
        unique=False,
    )
    op.create_table(
        "recloser_disturbances",
        sa.Column("disturbance_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ced", sa.Text(), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("patrol", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("disturbance_id", name=op.f("pk_recloser_disturbances")),
    )
    op.create_index(
        "ix_recloser_disturbances_started", "recloser_disturbances", ["started"], unique=False
    )
    op.create_table(
        "recloser_events",
        sa.Column("event_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("recloser", sa.Text(), nullable=False),
        sa.Column("ced", sa.Text(), nullable=False),
        sa.Column("device_us", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("triggered", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("fid", sa.Text(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("location", sa.Double(), nullable=True),
        sa.Column("current_a", sa.Double(), nullable=True),
        sa.Column("frequency_hz", sa.Double(), nullable=True),
        sa.Column("setting_group", sa.Text(), nullable=True),
        sa.Column("shot", sa.Text(), nullable=True),
        sa.Column("targets", sa.Text(), nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("noticed", sa.BigInteger(), nullable=False),
        sa.Column("stored", sa.BigInteger(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_recloser_events")),
        sa.UniqueConstraint(
            "recloser",
            "device_us",
            "event",
            name=op.f("uq_recloser_events_recloser_device_us_event"),
        ),
    )
    op.create_index(
        "ix_recloser_events_ced_triggered", "recloser_events", ["ced", "triggered"], unique=False
    )
    op.create_index("ix_recloser_events_triggered", "recloser_events", ["triggered"], unique=False)
    op.create_table(
        "recloser_files",
        sa.Column("file_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("stored", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("file_id", name=op.f("pk_recloser_files")),
        sa.UniqueConstraint(
            "event_id", "kind", "sha256", name=op.f("uq_recloser_files_event_id_kind_sha256")
        ),
        sa.UniqueConstraint("path", name=op.f("uq_recloser_files_path")),
    )
    op.create_table(
        "recloser_incident_events",
        sa.Column("event_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_recloser_incident_events")),
    )
    op.create_index(
        op.f("ix_recloser_incident_events_incident_id"),
        "recloser_incident_events",
        ["incident_id"],
        unique=False,
    )
    op.create_table(
        "recloser_incidents",
        sa.Column("incident_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("recloser", sa.Text(), nullable=False),
        sa.Column("ced", sa.Text(), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=False),
        sa.Column("operations", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("fault_type", sa.Text(), nullable=True),
        sa.Column("phases", sa.Text(), nullable=True),
        sa.Column("magnitude_a", sa.Double(), nullable=True),
        sa.Column("distance", sa.Double(), nullable=True),
        sa.Column("distance_low", sa.Double(), nullable=True),
        sa.Column("distance_high", sa.Double(), nullable=True),
        sa.Column("disturbance_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("incident_id", name=op.f("pk_recloser_incidents")),
    )
    op.create_index(
        "ix_recloser_incidents_ced_started", "recloser_incidents", ["ced", "started"], unique=False
    )
    op.create_index(
        op.f("ix_recloser_incidents_disturbance_id"),
        "recloser_incidents",
        ["disturbance_id"],
        unique=False,
    )
    op.create_index(
        "ix_recloser_incidents_started", "recloser_incidents", ["started"], unique=False
    )
    op.create_table(
        "recloser_relays",
        sa.Column("recloser", sa.Text(), nullable=False),
        sa.Column("ced", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("fid", sa.Text(), nullable=True),
        sa.Column("visited", sa.BigInteger(), nullable=True),
        sa.Column("answered", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=True),
        sa.Column("clock_read", sa.BigInteger(), nullable=True),
        sa.Column("clock_error_s", sa.Double(), nullable=True),
        sa.Column("clock_within_s", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("recloser", name=op.f("pk_recloser_relays")),
    )
    op.create_table(
        "recloser_visits",
        sa.Column("visit_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("recloser", sa.Text(), nullable=False),
        sa.Column("ced", sa.Text(), nullable=False),
        sa.Column("began", sa.BigInteger(), nullable=False),
        sa.Column("took_s", sa.Double(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("found_level", sa.Text(), nullable=True),
        sa.Column("listed", sa.Integer(), nullable=False),
        sa.Column("known", sa.Integer(), nullable=False),
        sa.Column("fetched", sa.Integer(), nullable=False),
        sa.Column("summaries", sa.Integer(), nullable=False),
        sa.Column("damaged", sa.Integer(), nullable=False),
        sa.Column("clock_error_s", sa.Double(), nullable=True),
        sa.Column("clock_within_s", sa.Double(), nullable=True),
        sa.Column("clock_moved_s", sa.Double(), nullable=True),
        sa.Column("transcript", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("visit_id", name=op.f("pk_recloser_visits")),
    )
    op.create_index(
        "ix_recloser_visits_recloser_began", "recloser_visits", ["recloser", "began"], unique=False
    )


def _downgrade_data() -> None:
    op.drop_index("ix_recloser_visits_recloser_began", table_name="recloser_visits")
    op.drop_table("recloser_visits")
    op.drop_table("recloser_relays")
    op.drop_index("ix_recloser_incidents_started", table_name="recloser_incidents")
    op.drop_index(op.f("ix_recloser_incidents_disturbance_id"), table_name="recloser_incidents")
    op.drop_index("ix_recloser_incidents_ced_started", table_name="recloser_incidents")
    op.drop_table("recloser_incidents")
    op.drop_index(
        op.f("ix_recloser_incident_events_incident_id"), table_name="recloser_incident_events"
    )
    op.drop_table("recloser_incident_events")
    op.drop_table("recloser_files")
    op.drop_index("ix_recloser_events_triggered", table_name="recloser_events")
    op.drop_index("ix_recloser_events_ced_triggered", table_name="recloser_events")
    op.drop_table("recloser_events")
    op.drop_index("ix_recloser_disturbances_started", table_name="recloser_disturbances")
    op.drop_table("recloser_disturbances")
    op.drop_index("ix_recloser_analyses_search", table_name="recloser_analyses")
    op.drop_table("recloser_analyses")
