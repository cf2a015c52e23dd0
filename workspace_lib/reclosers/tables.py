"""The reclosers wing's tables: relays, visits, events with their files, and what follows from them.

Events and files are what relays and people brought; analyses, incidents and disturbances are
computed from them and can be made anew at any time.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
)

from workspace_lib.store.base import Instant, Json, RowId, data_metadata

#: What is known of each relay since its last visit. ``outcome`` and ``why`` are the last visit's;
#: ``failures`` counts visits in a row that brought nothing; it is left alone until ``not_before``.
recloser_relays = Table(
    "recloser_relays",
    data_metadata,
    Column("recloser", Text, primary_key=True),
    Column("ced", Text, nullable=False),
    Column("model", Text),
    Column("fid", Text),
    Column("visited", Instant),
    Column("answered", Instant),
    Column("outcome", Text),
    Column("why", Text),
    Column("failures", Integer, nullable=False),
    Column("not_before", Instant),
    Column("clock_read", Instant),
    Column("clock_error_s", Double),
    Column("clock_within_s", Double),
)

#: Every visit: how it ended, what it found, what the relay's clock said.
recloser_visits = Table(
    "recloser_visits",
    data_metadata,
    Column("visit_id", RowId, primary_key=True),
    Column("recloser", Text, nullable=False),
    Column("ced", Text, nullable=False),
    Column("began", Instant, nullable=False),
    Column("took_s", Double, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("why", Text),
    Column("found_level", Text),
    Column("listed", Integer, nullable=False),
    Column("known", Integer, nullable=False),
    Column("fetched", Integer, nullable=False),
    Column("summaries", Integer, nullable=False),
    Column("damaged", Integer, nullable=False),
    Column("clock_error_s", Double),
    Column("clock_within_s", Double),
    Column("clock_moved_s", Double),
    # Every byte both ways, as a file of the site's outputs.
    Column("transcript", Text),
    Column("run_id", Text),
    Index("ix_recloser_visits_recloser_began", "recloser", "began"),
)

#: One row for each event of a recloser: its identity is the recloser, the time of the trigger by
#: the relay's own clock (``device_us``, its wall time, to the millisecond) and the type as the
#: relay wrote it. ``triggered`` is that time in UTC as the relay's zone makes it. What follows is
#: the relay's own summary.
recloser_events = Table(
    "recloser_events",
    data_metadata,
    Column("event_id", RowId, primary_key=True),
    Column("recloser", Text, nullable=False),
    Column("ced", Text, nullable=False),
    Column("device_us", BigInteger, nullable=False),
    Column("event", Text, nullable=False),
    Column("triggered", Instant, nullable=False),
    # whole: its files are in the archive; summary: only the list knows it; damaged: never whole.
    Column("state", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("model", Text),
    Column("fid", Text),
    Column("reference", Text),
    Column("location", Double),
    Column("current_a", Double),
    Column("frequency_hz", Double),
    Column("setting_group", Text),
    Column("shot", Text),
    Column("targets", Text),
    Column("why", Text),
    Column("noticed", Instant, nullable=False),
    Column("stored", Instant),
    Column("run_id", Text),
    UniqueConstraint("recloser", "device_us", "event"),
    Index("ix_recloser_events_triggered", "triggered"),
    Index("ix_recloser_events_ced_triggered", "ced", "triggered"),
)

#: The files of each event: ``path`` is under the archive's root. ``state`` is ``kept``, or
#: ``quarantined`` for bytes that never came whole.
recloser_files = Table(
    "recloser_files",
    data_metadata,
    Column("file_id", RowId, primary_key=True),
    Column("event_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("path", Text, nullable=False, unique=True),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("stored", Instant, nullable=False),
    UniqueConstraint("event_id", "kind", "sha256"),
)

#: What was computed of each whole event by ``version`` of the analysis from the files with
#: ``input_sha256``; ``content`` is all of it, the columns are what people search by.
recloser_analyses = Table(
    "recloser_analyses",
    data_metadata,
    Column("event_id", BigInteger, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    Column("input_sha256", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("fault_type", Text),
    Column("phases", Text),
    Column("magnitude_a", Double),
    Column("distance", Double),
    Column("distance_low", Double),
    Column("distance_high", Double),
    Column("clearing_s", Double),
    Column("shot_number", Integer),
    Column("locked_out", Integer),
    Column("trouble", Text),
    Column("content", Json, nullable=False),
    Column("analysed", Instant, nullable=False),
    # Searches read this instead of the rows, whose content is a hundred times as large.
    Index(
        "ix_recloser_analyses_search",
        "kind",
        "fault_type",
        "phases",
        "magnitude_a",
        "distance",
        "event_id",
    ),
)

#: Which incident an event is a part of; an incident is known by its first event.
recloser_incident_events = Table(
    "recloser_incident_events",
    data_metadata,
    Column("event_id", BigInteger, primary_key=True, autoincrement=False),
    Column("incident_id", BigInteger, nullable=False, index=True),
)

#: Operations of one recloser that are one fault.
recloser_incidents = Table(
    "recloser_incidents",
    data_metadata,
    Column("incident_id", BigInteger, primary_key=True, autoincrement=False),
    Column("recloser", Text, nullable=False),
    Column("ced", Text, nullable=False),
    Column("started", Instant, nullable=False),
    Column("ended", Instant, nullable=False),
    Column("operations", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("fault_type", Text),
    Column("phases", Text),
    Column("magnitude_a", Double),
    Column("distance", Double),
    Column("distance_low", Double),
    Column("distance_high", Double),
    Column("disturbance_id", BigInteger, index=True),
    Index("ix_recloser_incidents_ced_started", "ced", "started"),
    Index("ix_recloser_incidents_started", "started"),
)

#: Incidents of neighbouring reclosers that are one fault; known by its first incident.
#: ``content`` says who tripped, who only saw it, and between which reclosers it was.
recloser_disturbances = Table(
    "recloser_disturbances",
    data_metadata,
    Column("disturbance_id", BigInteger, primary_key=True, autoincrement=False),
    Column("ced", Text, nullable=False),
    Column("started", Instant, nullable=False),
    Column("ended", Instant, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("patrol", Text, nullable=False),
    Column("content", Json, nullable=False),
    Index("ix_recloser_disturbances_started", "started"),
)
