"""From events to incidents and disturbances, as the store keeps them: pure, so that they can always
be made anew and are the same.

An event that is only listed takes part by what its relay says of it: the time, the word for the
event (``AG T``), the current.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import median
from typing import Any, Final
from zoneinfo import ZoneInfo

from workspace_lib.reclosers.analysis_relay import told_type
from workspace_lib.reclosers.analysis_values import EventAnalysis
from workspace_lib.reclosers.clock_quality import ClockLimits, Reading, correct_time
from workspace_lib.reclosers.disturbances import Disturbance, Network, Place, Sighting
from workspace_lib.reclosers.disturbances import disturbances as group_disturbances
from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.incidents import (
    ASSUMED_GAP_S,
    Incident,
    Operation,
    fault_of,
    operation_of,
)
from workspace_lib.reclosers.incidents import incidents as group_operations
from workspace_lib.reclosers.record import DeviceTime
from workspace_lib.reclosers.settings import Fleet

#: A record that began this long before the first trip is a part of its incident [s].
BEFORE_S: Final = 2.0
#: Readings of a clock to each side of an event that can matter for its time.
_NEAR: Final = 4


@dataclass(frozen=True)
class KnownEvent:
    """What incidents need of an event.

    ``gap_s`` is the longest time between two operations by the relay's settings [s], ``last_shot``
    the one after which it stays open; None where its files do not say it.
    """

    event_id: int
    device_us: int
    event: str
    triggered: datetime
    location: float | None = None
    current_a: float | None = None
    shot: str = ""
    analysis: EventAnalysis | None = None
    gap_s: float | None = None
    last_shot: int | None = None

    @property
    def time(self) -> DeviceTime:
        """Time of the trigger by the relay's own clock."""
        return DeviceTime(self.device_us * 1000, 3)

    @property
    def known(self) -> EventAnalysis:
        """What was computed, else what the relay says; under the time and word of the list."""
        found = self.analysis
        if found is None:
            kind = told_type(self.event)
            found = EventAnalysis(
                kind="trigger" if kind is None else "fault",
                fault_type=kind,
                phases="" if kind is None else kind.replace("G", ""),
                magnitude_a=self.current_a,
                shot=int(self.shot) if self.shot.isdecimal() else None,
            )
        return replace(found, trigger=str(self.time), event=self.event)

    @property
    def matters(self) -> bool:
        """Whether it is a part of some incident in any case: it tripped, or saw a fault."""
        return self.known.kind == "fault" or operation_of("", self.known) is not None


@dataclass(frozen=True)
class IncidentFound:
    """An incident with its events' numbers in the order of time; ``values`` are its row's."""

    events: tuple[int, ...]
    values: Mapping[str, Any]

    @property
    def incident_id(self) -> int:
        """It is known by its first event."""
        return self.events[0]


@dataclass(frozen=True)
class StoredIncident:
    """An incident as disturbances need it: its row, and its beginning by the relay's clock [µs]."""

    incident_id: int
    recloser: str
    ced: str
    device_us: int
    started: datetime
    ended: datetime
    operations: int
    outcome: Any
    fault_type: str | None
    magnitude_a: float | None
    distance: float | None
    distance_low: float | None
    distance_high: float | None


def entry_of(event: KnownEvent, **told: Any) -> HistoryEntry:
    """Return an event as the entry of a relay's list, which its analysis is compared with."""
    return HistoryEntry(
        0, event.time, event.event, event.location, event.current_a, shot=event.shot, **told
    )


def incidents_of(recloser: str, events: Iterable[KnownEvent]) -> list[IncidentFound]:
    """Return the incidents of one recloser from all of its events.

    Operations are grouped by `incidents.incidents`. What else was recorded meanwhile, or until the
    recloser has reset, belongs to it: closings, openings, pick-ups. Faults that it saw without a
    trip are incidents without operations.
    """
    ordered = sorted(events, key=lambda one: (one.device_us, one.event_id))
    by_key = {(one.time.ns, one.event): one for one in ordered}
    gap_s = next((one.gap_s for one in reversed(ordered) if one.gap_s), ASSUMED_GAP_S)
    last_shot = next((one.last_shot for one in reversed(ordered) if one.last_shot), None)
    known = {one.event_id: one.known for one in ordered}
    operations: dict[int, Operation] = {}
    for one in ordered:
        operation = operation_of(recloser, known[one.event_id])
        if operation is not None:
            operations[one.event_id] = operation
    found = [
        (incident, [by_key[one.time.ns, one.event] for one in incident.operations])
        for incident in group_operations(operations.values(), gap_s, last_shot)
    ]
    seen: list[Operation] = []
    for one in ordered:
        if one.event_id in operations:
            continue
        kind = known[one.event_id].kind
        members = _place(found, one, 0.0 if kind == "trigger" else gap_s)
        if members is not None:
            members.append(one)
        elif kind == "fault":
            seen.append(Operation(recloser, one.time, one.event))
    rows = [_found(incident.outcome, members, operations) for incident, members in found]
    for incident in group_operations(seen, gap_s):
        members = [by_key[one.time.ns, one.event] for one in incident.operations]
        rows.append(_found("unknown", members, {}))
    return sorted(rows, key=lambda row: (row.values["started"], row.incident_id))


def disturbances_of(
    stored: Iterable[StoredIncident],
    network: Network,
    zones: Mapping[str, ZoneInfo],
    readings: Mapping[str, Sequence[Reading]],
    *,
    watched: Collection[str],
    limits: ClockLimits,
    tolerance_s: float,
) -> list[tuple[tuple[int, ...], Disturbance]]:
    """Return the disturbances of neighbouring territories, each with its incidents' numbers.

    Times are set right by what is known of each relay's clock, or nothing would fit together.

    Parameters
    ----------
    zones : mapping
        Zone whose time a recloser's clock keeps.
    readings : mapping
        Readings of each recloser's clock, in the order of time.
    watched : collection of str
        Reclosers of which it can be said that they did not see a fault.
    """
    sightings = [
        _sighting(one, zones[one.recloser], readings.get(one.recloser, ()), limits)
        for one in stored
    ]
    found = group_disturbances(sightings, network, watched=watched, tolerance_s=tolerance_s)
    return [(tuple(int(one.key or 0) for one in each.sightings), each) for each in found]


def network_of(fleet: Fleet) -> Network:
    """Return which recloser is fed through which; where the list does not say it, by territory.

    Raises
    ------
    ParameterError
        If a recloser is fed through itself.
    """
    return Network(Place(one.id, one.upstream, one.ced) for one in fleet.reclosers)


def areas_of(fleet: Fleet) -> Mapping[str, frozenset[str]]:
    """Return by territory those it must be looked at with, because lines lead across."""
    area = {ced: frozenset({ced}) for ced in fleet.ceds}
    by_id = fleet.by_id
    for one in fleet.reclosers:
        for upper in one.upstream:
            joined = area[one.ced] | area[by_id[upper].ced]
            area |= dict.fromkeys(joined, joined)
    return area


def _place(
    found: Sequence[tuple[Incident, list[KnownEvent]]], event: KnownEvent, after_s: float
) -> list[KnownEvent] | None:
    """Return the events of the last incident that had begun by then, unless it is long over."""
    for incident, members in reversed(found):
        since_s = (event.time.ns - incident.start.ns) / 1e9
        if since_s >= -BEFORE_S:
            return members if since_s <= incident.duration_s + after_s else None
    return None


def _found(
    outcome: str, members: Sequence[KnownEvent], operations: Mapping[int, Operation]
) -> IncidentFound:
    ordered = sorted(members, key=lambda one: (one.device_us, one.event_id))
    fault = fault_of([one.known for one in ordered])
    distance, low, high = fault.distance, fault.distance_low, fault.distance_high
    if distance is None:
        # Nothing was computed: what relays found, whose uncertainty they do not tell.
        told = [
            one.location
            for one in ordered
            if one.analysis is None
            and one.location is not None
            and one.known.fault_type == fault.fault_type
        ]
        distance = median(told) if told else None
    values = {
        "started": ordered[0].triggered,
        "ended": max(one.triggered for one in ordered),
        "operations": sum(one.event_id in operations for one in ordered),
        "outcome": outcome,
        "fault_type": fault.fault_type,
        "phases": fault.phases or None,
        "magnitude_a": fault.magnitude_a,
        "distance": distance,
        "distance_low": low,
        "distance_high": high,
    }
    return IncidentFound(tuple(one.event_id for one in ordered), values)


def _sighting(
    one: StoredIncident, zone: ZoneInfo, readings: Sequence[Reading], limits: ClockLimits
) -> Sighting:
    place = bisect_left(readings, one.started, key=lambda reading: reading.host)
    near = readings[max(0, place - _NEAR) : place + _NEAR]
    right = correct_time(DeviceTime(one.device_us * 1000, 3), zone, near, limits=limits)
    return Sighting(
        recloser=one.recloser,
        start=right.utc,
        end=right.utc + (one.ended - one.started),
        tripped=one.operations > 0,
        outcome=one.outcome,
        within_s=right.within_s,
        fault_type=one.fault_type,
        magnitude_a=one.magnitude_a,
        distance=one.distance,
        distance_low=one.distance_low,
        distance_high=one.distance_high,
        key=one.incident_id,
    )
