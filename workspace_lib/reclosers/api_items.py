"""The items of the reclosers wing's API, as its description has them, and how they are made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, Field

from workspace_lib.answers.paging import Page
from workspace_lib.reclosers.queries import EventFile, EventRow, RelayState, StoredAnalysis
from workspace_lib.reclosers.queries_incidents import (
    DisturbanceRow,
    IncidentRow,
    Offender,
    clock_word,
)
from workspace_lib.reclosers.settings import Recloser

Outcome = Literal["momentary", "permanent", "unknown"]
State = Literal["whole", "summary", "damaged"]


class RecloserOut(BaseModel):
    """One recloser: its place, its last visit, its clock, its newest event."""

    id: str = Field(description="House name, as the other routes take it.", examples=["LAV-101"])
    ced: str = Field(description="Territory.", examples=["LAV"])
    name: str
    remote: bool = Field(description="Whether it can be reached; others are only listed.")
    lat: float | None = Field(description="Latitude [deg].")
    lon: float | None = Field(description="Longitude [deg].")
    upstream: list[str] = Field(description="The next reclosers towards the source.")
    model: str | None = Field(description="As its relay said of itself.", examples=["651R"])
    fid: str | None = Field(description="Firmware of its relay.")
    visited: datetime | None = Field(description="When it was last tried.")
    answered: datetime | None = Field(description="When it last answered.")
    outcome: str | None = Field(description="How the last visit ended.", examples=["done"])
    why: str | None = Field(description="Why, if not well.")
    failures: int = Field(description="Visits in a row that brought nothing [1].")
    clock_error_s: float | None = Field(description="By how much its clock is fast [s].")
    clock_within_s: float | None = Field(description="How well that is known [s].")
    clock_read: datetime | None = Field(description="When it was read.")
    clock: str = Field(description="good, fair, poor or unknown.", examples=["good"])
    events: int = Field(description="Events that are known of it [1].")
    last_event: datetime | None = Field(description="Trigger of its newest event.")


class EventOut(BaseModel):
    """One event: what its relay says, what was computed, what it is a part of."""

    id: int = Field(examples=[1017])
    recloser: str = Field(examples=["LAV-101"])
    ced: str = Field(examples=["LAV"])
    triggered: datetime = Field(description="Its time in UTC, as the relay's zone makes it.")
    relay_time: str = Field(
        description="Its time by the relay's own clock.", examples=["2026-03-01T07:50:00.123"]
    )
    event: str = Field(description="Its type in the relay's word.", examples=["AG T"])
    state: State = Field(description="whole: its files are kept; summary: it is only listed.")
    origin: str = Field(description="How it came: relay or import.")
    model: str | None
    reference: str | None = Field(description="The relay's number for it.")
    relay_location: float | None = Field(description="Distance in the relay's word.")
    relay_current_a: float | None = Field(description="Current in the relay's word [A].")
    relay_frequency_hz: float | None = Field(description="Frequency in the relay's word [Hz].")
    setting_group: str | None
    relay_shot: str | None = Field(description="Shot in the relay's word.")
    targets: str | None = Field(description="Targets of the relay.")
    why: str | None = Field(description="Why it is not whole.")
    files: int = Field(description="How many files it has [1].")
    kind: str | None = Field(
        description="fault, trip, opening, closing, trigger or unreadable; null: not analysed.",
        examples=["fault"],
    )
    fault_type: str | None = Field(description="Phases and ground.", examples=["AG"])
    phases: str | None = Field(examples=["A"])
    magnitude_a: float | None = Field(description="Largest current of the fault [A RMS primary].")
    distance: float | None = Field(description="Distance of the fault, in the line's unit.")
    distance_low: float | None = Field(description="It is at least so far,")
    distance_high: float | None = Field(description="and at most so far.")
    clearing_s: float | None = Field(description="From inception to the end of currents [s].")
    shot_number: int | None = Field(description="Reclosings before it [1].")
    locked_out: bool | None = Field(description="Whether it stayed open within the record.")
    trouble: str | None = Field(description="Why it could not be analysed.")
    incident: int | None = Field(description="The incident it is a part of.")
    outcome: Outcome | None = Field(description="How that incident ended.")


class EventPage(Page[EventOut]):
    """One page of events."""

    total: int | None = Field(None, description="Events on all pages, where that was asked [1].")


class FileOut(BaseModel):
    """One file of an event."""

    kind: str = Field(description="cev, cfg, dat, hdr …", examples=["cev"])
    name: str = Field(description="Name in the archive, by IEEE C37.232.")
    relay_name: str = Field(description="Name the relay had for it; empty for a report.")
    bytes: int = Field(description="Its size.")
    sha256: str = Field(description="Hash of its content, its ETag.")
    state: str = Field(description="kept, or quarantined for what never came whole.")
    stored: datetime


class EventDetailOut(EventOut):
    """All that is known of one event."""

    fid: str | None = Field(description="Firmware of the relay.")
    noticed: datetime = Field(description="When it was first listed.")
    stored: datetime | None = Field(description="When its files were stored.")
    kept: list[FileOut] = Field(description="Its files.")
    siblings: list[int] = Field(description="All events of its incident, oldest first.")
    analysed: datetime | None
    analysis_version: int | None
    analysis_source: str | None = Field(description="Which file the waves were taken from.")
    analysis: dict[str, Any] | None = Field(
        description="Everything computed: phasors, times, each value beside the relay's own."
    )


class IncidentOut(BaseModel):
    """Operations of one recloser that are one fault."""

    id: int
    recloser: str = Field(examples=["LAV-101"])
    ced: str = Field(examples=["LAV"])
    started: datetime
    ended: datetime
    operations: int = Field(description="Trips; 0: it only saw the fault [1].")
    outcome: Outcome = Field(description="permanent: the recloser locked out, a patrol must go.")
    fault_type: str | None = Field(examples=["AG"])
    phases: str | None
    magnitude_a: float | None = Field(description="Largest current [A RMS primary].")
    distance: float | None = Field(description="Distance of the fault, in the line's unit.")
    distance_low: float | None
    distance_high: float | None
    disturbance: int | None = Field(description="The disturbance it is a part of.")


class DisturbanceOut(BaseModel):
    """Incidents of neighbouring reclosers that are one fault."""

    id: int
    ced: str = Field(examples=["LAV"])
    started: datetime = Field(description="By the clocks of the relays, set right.")
    ended: datetime
    outcome: Outcome
    patrol: str = Field(description="Whether somebody must go: yes, no or unknown.")
    content: dict[str, Any] = Field(
        description="Who tripped, who only saw it, between which reclosers it is."
    )


class OffenderOut(BaseModel):
    """A recloser by how often it had incidents."""

    recloser: str = Field(examples=["LAV-101"])
    ced: str = Field(examples=["LAV"])
    incidents: int = Field(description="Faults it tripped for [1].")
    operations: int = Field(description="Trips [1].")
    momentary: int
    permanent: int
    unknown: int
    share: float = Field(description="Share of all incidents of the span [1].")
    last: datetime = Field(description="When the last one began.")


def recloser_item(recloser: Recloser, state: RelayState | None, clock_good_s: float) -> RecloserOut:
    """Return a recloser of the list with what is known of its relay."""
    known = {
        name: getattr(state, name)
        for name in RecloserOut.model_fields
        if state is not None and hasattr(state, name)
    }
    listed = recloser.model_dump(include={"id", "ced", "name", "remote", "lat", "lon", "upstream"})
    never = dict.fromkeys(RecloserOut.model_fields) | {"failures": 0, "events": 0}
    clock = "unknown" if state is None else clock_word(state, clock_good_s)
    return RecloserOut.model_validate({**never, **known, **listed, "clock": clock})


def event_item(row: EventRow) -> EventOut:
    """Return an event as lists have it."""
    return EventOut.model_validate(_event(row))


def event_detail(
    row: EventRow,
    files: Sequence[EventFile],
    analysis: StoredAnalysis | None,
    siblings: Sequence[EventRow],
) -> EventDetailOut:
    """Return an event with its files and all that was computed of it."""
    return EventDetailOut.model_validate(
        {
            **_event(row),
            "fid": row.fid,
            "noticed": row.noticed,
            "stored": row.stored,
            "kept": [_file(one) for one in files],
            "siblings": [one.event_id for one in siblings],
            "analysed": analysis and analysis.analysed,
            "analysis_version": analysis and analysis.version,
            "analysis_source": analysis and (analysis.source or None),
            "analysis": (analysis and dict(analysis.content)) or None,
        }
    )


def incident_item(row: IncidentRow) -> IncidentOut:
    """Return an incident."""
    return IncidentOut.model_validate(
        {**vars(row), "id": row.incident_id, "disturbance": row.disturbance_id}
    )


def disturbance_item(row: DisturbanceRow) -> DisturbanceOut:
    """Return a disturbance."""
    return DisturbanceOut.model_validate({**vars(row), "id": row.disturbance_id})


def offender_item(row: Offender) -> OffenderOut:
    """Return a recloser that trips again and again."""
    return OffenderOut.model_validate(vars(row))


def _event(row: EventRow) -> dict[str, Any]:
    return {
        **vars(row),
        "id": row.event_id,
        "relay_time": row.device_time,
        "relay_location": row.location,
        "relay_current_a": row.current_a,
        "relay_frequency_hz": row.frequency_hz,
        "relay_shot": row.shot,
        "incident": row.incident_id,
    }


def _file(file: EventFile) -> FileOut:
    return FileOut(
        kind=file.kind,
        name=PurePosixPath(file.path).name,
        relay_name=file.name,
        bytes=file.bytes,
        sha256=file.sha256,
        state=file.state,
        stored=file.stored,
    )
