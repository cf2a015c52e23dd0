"""What events people look for, and the condition on the store's rows that it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import permutations
from typing import Any, Final, Literal

from sqlalchemy import CompoundSelect, Select, and_, func, or_, select, true, union_all
from sqlalchemy.sql import ColumnElement

from workspace_lib.reclosers.faults import TYPES
from workspace_lib.reclosers.tables import (
    recloser_analyses,
    recloser_events,
    recloser_incident_events,
    recloser_incidents,
)

State = Literal["whole", "summary", "damaged"]
_EVENTS: Final = recloser_events.c
_ANALYSES: Final = recloser_analyses.c


@dataclass(frozen=True)
class EventFilter:
    """What events are looked for; what is empty or None does not matter.

    Attributes
    ----------
    since, until : datetime or None
        Triggered at or after, and before (UTC).
    models : tuple of str
        Any of these is a part of the relay's model.
    kinds, fault_types : tuple of str
        As the analysis tells: any of these.
    phases : str
        All of these phases take part, for instance ``AB``; whether ground does is not asked.
    magnitude_a, distance : (float or None, float or None)
        From and to, both included, of the current [A primary] and of the distance (in the unit of
        the line's settings).
    outcome : str or None
        Of the incident it is a part of: momentary, permanent or unknown.
    state : {"whole", "summary", "damaged"} or None
        Whether its files are kept.
    text : str
        Words that all occur in the recloser, type, targets, reference or reason.
    """

    ceds: tuple[str, ...] = ()
    reclosers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    kinds: tuple[str, ...] = ()
    fault_types: tuple[str, ...] = ()
    phases: str = ""
    magnitude_a: tuple[float | None, float | None] = (None, None)
    distance: tuple[float | None, float | None] = (None, None)
    outcome: str | None = None
    state: State | None = None
    text: str = ""


def condition(wanted: EventFilter) -> ColumnElement[bool]:
    """Return the condition of what is looked for."""
    found: list[ColumnElement[bool]] = [true()]
    if wanted.ceds:
        found.append(_EVENTS.ced.in_(wanted.ceds))
    if wanted.reclosers:
        found.append(_EVENTS.recloser.in_(wanted.reclosers))
    if wanted.models:
        named = [_EVENTS.model.icontains(one, autoescape=True) for one in wanted.models]
        found.append(or_(*named))
    if wanted.since is not None:
        found.append(_EVENTS.triggered >= wanted.since)
    if wanted.until is not None:
        found.append(_EVENTS.triggered < wanted.until)
    if wanted.state is not None:
        found.append(_EVENTS.state == wanted.state)
    if words := wanted.text.split():
        said = func.lower(_said())
        found += [said.contains(word.lower(), autoescape=True) for word in words]
    if (analysed := _analysed(wanted)) is not None:
        found.append(analysed)
    if wanted.outcome is not None:
        parts_of = select(recloser_incident_events.c.event_id).join(
            recloser_incidents,
            recloser_incidents.c.incident_id == recloser_incident_events.c.incident_id,
        )
        found.append(_among(parts_of.where(recloser_incidents.c.outcome == wanted.outcome)))
    return and_(*found)


def _analysed(wanted: EventFilter) -> ColumnElement[bool] | None:
    """Return the condition on what was computed, else on what the relay says; None without one."""
    computed: list[ColumnElement[bool]] = []
    told: list[ColumnElement[bool]] = []
    if wanted.kinds:
        computed.append(_ANALYSES.kind.in_(wanted.kinds))
    if wanted.fault_types:
        computed.append(_ANALYSES.fault_type.in_(wanted.fault_types))
        told.append(_of_type(wanted.fault_types))
    if phases := set(wanted.phases) & set("ABC"):
        computed += [_ANALYSES.phases.contains(one, autoescape=True) for one in sorted(phases)]
        told.append(_of_type([one for one in TYPES if phases <= set(one)]))
    for column, own, (least, most) in (
        (_ANALYSES.magnitude_a, _EVENTS.current_a, wanted.magnitude_a),
        (_ANALYSES.distance, _EVENTS.location, wanted.distance),
    ):
        if least is not None:
            computed.append(column >= least)
            told.append(own >= least)
        if most is not None:
            computed.append(column <= most)
            told.append(own <= most)
    if not computed:
        return None
    by_analysis = select(_ANALYSES.event_id).where(*computed)
    if wanted.kinds:
        return _among(by_analysis)
    by_relay = select(_EVENTS.event_id).where(_EVENTS.state != "whole", *told)
    return _among(union_all(by_analysis, by_relay))


def _among(numbers: Select[Any] | CompoundSelect[Any]) -> ColumnElement[bool]:
    """Return the condition that an event is among those of a query.

    The sum keeps SQLite from beginning with these, so that it looks through the index of times and
    is done as soon as a page is full; which are among them is known by then, in either order.
    """
    return (_EVENTS.event_id + 0).in_(numbers)


def _of_type(types: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition that a relay calls its event one of these types, as in ``ACG T``.

    Relays write the letters in an order of their own.
    """
    words = sorted({"".join(letters) for one in types for letters in permutations(one)})
    begins = [_EVENTS.event.startswith(f"{word} ") for word in words]
    return or_(_EVENTS.event.in_(words), *begins)


def _said() -> ColumnElement[str]:
    """Return the words of an event that people look for."""
    text: ColumnElement[str] = _EVENTS.recloser + " " + _EVENTS.event
    for column in (_EVENTS.targets, _EVENTS.reference, _EVENTS.why):
        text = text + " " + func.coalesce(column, "")
    return text
