"""Rows of the reclosers wing as captures and analyses leave them, for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert

from workspace_lib.clock import to_us
from workspace_lib.files import sha256_bytes
from workspace_lib.reclosers.tables import (
    recloser_analyses,
    recloser_disturbances,
    recloser_events,
    recloser_files,
    recloser_incident_events,
    recloser_incidents,
    recloser_relays,
    recloser_visits,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def add_relay(connection: Connection, recloser: str, ced: str = "LAV", **values: Any) -> None:
    """Write what is known of a relay that answered an hour ago."""
    row = {
        "recloser": recloser, "ced": ced, "model": "351R", "fid": "SEL-351R-R111",
        "visited": NOW - timedelta(hours=1), "answered": NOW - timedelta(hours=1),
        "outcome": "new", "failures": 0, "clock_read": NOW - timedelta(hours=1),
        "clock_error_s": 0.4, "clock_within_s": 0.1,
    }  # fmt: skip
    connection.execute(insert(recloser_relays).values(row | values))


def add_visit(connection: Connection, recloser: str, ced: str = "LAV", **values: Any) -> None:
    """Write a visit that found nothing new."""
    row = {
        "recloser": recloser, "ced": ced, "began": NOW - timedelta(hours=1), "took_s": 12.5,
        "outcome": "known", "found_level": "0", "listed": 3, "known": 3, "fetched": 0,
        "summaries": 0, "damaged": 0, "clock_error_s": 0.4, "clock_within_s": 0.1,
    }  # fmt: skip
    connection.execute(insert(recloser_visits).values(row | values))


def add_event(
    connection: Connection,
    recloser: str = "LAV-101",
    triggered: datetime = NOW,
    event: str = "AG T",
    *,
    analysis: Mapping[str, Any] | None = None,
    files: Sequence[tuple[str, str, bytes]] = (),
    **values: Any,
) -> int:
    """Write an event whose relay's clock keeps UTC; returns its number.

    Parameters
    ----------
    analysis : mapping, optional
        Columns of its analysis; without it nothing was computed.
    files : sequence of (str, str, bytes)
        Kind, path under the archive and content of each of its files.
    """
    row = {
        "recloser": recloser, "ced": recloser.split("-")[0], "device_us": to_us(triggered),
        "event": event, "triggered": triggered, "state": "whole", "origin": "capture",
        "model": "351R", "noticed": triggered,
    }  # fmt: skip
    written = connection.execute(insert(recloser_events).values(row | values))
    assert written.inserted_primary_key is not None
    number = int(written.inserted_primary_key[0])
    if analysis is not None:
        computed = {
            "event_id": number, "version": 1, "input_sha256": "0" * 64, "kind": "fault",
            "content": {}, "analysed": NOW,
        }  # fmt: skip
        connection.execute(insert(recloser_analyses).values(computed | dict(analysis)))
    for kind, path, content in files:
        connection.execute(
            insert(recloser_files).values(
                event_id=number, kind=kind, name=path.rpartition("/")[2], path=path,
                bytes=len(content), sha256=sha256_bytes(content), state="kept", stored=NOW,
            )
        )  # fmt: skip
    return number


def add_incident(connection: Connection, events: Sequence[int], **values: Any) -> int:
    """Write an incident of events; it is known by the first of them."""
    row = {
        "incident_id": events[0], "recloser": "LAV-101", "ced": "LAV", "started": NOW,
        "ended": NOW, "operations": len(events), "outcome": "momentary",
    }  # fmt: skip
    connection.execute(insert(recloser_incidents).values(row | values))
    connection.execute(
        insert(recloser_incident_events),
        [{"event_id": event, "incident_id": events[0]} for event in events],
    )
    return events[0]


def add_disturbance(connection: Connection, number: int, **values: Any) -> None:
    """Write a disturbance."""
    row = {
        "disturbance_id": number, "ced": "LAV", "started": NOW, "ended": NOW,
        "outcome": "permanent", "patrol": "go", "content": {"tripped": ["LAV-101"]},
    }  # fmt: skip
    connection.execute(insert(recloser_disturbances).values(row | values))
