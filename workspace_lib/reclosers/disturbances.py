"""Incidents of neighbouring reclosers that are one fault: who tripped, who saw it, where it is.

A fault current flows from the source through every recloser down to the fault and no further. The
most downstream recloser that saw it and the next ones beyond, which did not, have it between them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from workspace_lib.errors import ParameterError
from workspace_lib.reclosers.analysis_values import EventAnalysis
from workspace_lib.reclosers.clock_quality import Corrected
from workspace_lib.reclosers.incidents import Outcome, fault_of, operation_of

Needed = Literal["yes", "no", "unknown"]
#: Incidents are one disturbance that overlap, or follow each other within so long [s].
TOLERANCE_S: Final = 2.0
#: Uncertainty of a clock that was never compared [s].
UNKNOWN_WITHIN_S: Final = 5.0


@dataclass(frozen=True)
class Place:
    """Where a recloser is: what it is fed through, and its feeder.

    ``upstream`` are the next reclosers towards the source, several where it can be fed from two
    sides; ``feeder`` is the line, or the territory, where no more is known.
    """

    recloser: str
    upstream: tuple[str, ...] = ()
    feeder: str = ""


@dataclass(frozen=True)
class Sighting:
    """An incident of one recloser, as far as neighbours matter.

    ``start`` and ``end`` are UTC and ``within_s`` is how well they are known [s], None: the clock
    was never compared. ``distance`` is that of the fault from this recloser, with its bounds, in
    the site's unit of length; ``magnitude_a`` [A primary]. ``key`` is the caller's.
    """

    recloser: str
    start: datetime
    end: datetime
    tripped: bool
    outcome: Outcome = "unknown"
    within_s: float | None = None
    fault_type: str | None = None
    magnitude_a: float | None = None
    distance: float | None = None
    distance_low: float | None = None
    distance_high: float | None = None
    key: int | str | None = None

    @property
    def saw_fault(self) -> bool:
        """Whether the fault's current flowed through it."""
        return self.fault_type is not None


@dataclass(frozen=True)
class Section:
    """Where a fault is: behind ``after`` and before each of ``before``, which did not see it.

    ``unknown`` are reclosers on the way whose events are not known: it may be behind them as well.
    Without ``before`` it is somewhere up to the end of the line.
    """

    after: str
    before: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Miscoordination:
    """An upstream recloser tripped for a fault that a downstream one saw as well.

    ``both_tripped``: the downstream one tripped, too. ``downstream_did_not_trip``: it stayed
    closed though it could have cleared the fault for fewer people.
    """

    kind: Literal["both_tripped", "downstream_did_not_trip"]
    upstream: str
    downstream: str


@dataclass(frozen=True)
class Patrol:
    """Whether somebody must go, why, and what to look for.

    ``why``: ``locked_out``, ``reclosed``, ``end_unknown``, ``cleared_elsewhere`` (nobody here
    tripped: a fuse or another device did), ``no_fault``. Distances are from ``recloser``.
    """

    needed: Needed
    why: str
    recloser: str | None = None
    fault_type: str | None = None
    distance: float | None = None
    distance_low: float | None = None
    distance_high: float | None = None
    sections: tuple[Section, ...] = ()


@dataclass(frozen=True)
class Disturbance:
    """Incidents that are one fault, in the order of time."""

    sightings: tuple[Sighting, ...]
    started: datetime
    ended: datetime
    tripped: tuple[str, ...]
    only_saw: tuple[str, ...]
    sections: tuple[Section, ...]
    miscoordinations: tuple[Miscoordination, ...]
    outcome: Outcome
    patrol: Patrol

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it; times are ISO 8601."""
        found = asdict(self)
        for name in ("started", "ended"):
            found[name] = getattr(self, name).isoformat()
        for told, one in zip(found["sightings"], self.sightings, strict=True):
            told["start"], told["end"] = one.start.isoformat(), one.end.isoformat()
        return found


def sighting_of(
    recloser: str,
    analyses: Sequence[EventAnalysis],
    times: Sequence[Corrected],
    outcome: Outcome = "unknown",
    key: int | str | None = None,
) -> Sighting:
    """Return what the events of one incident of a recloser say, or one event that did not trip.

    Parameters
    ----------
    analyses : sequence of EventAnalysis
        Of its events, in the order of time, at least one.
    times : sequence of Corrected
        Their times set right, one for each.
    outcome : {"momentary", "permanent", "unknown"}
        That of the incident.

    Raises
    ------
    ParameterError
        If there is no event, or not one time for each.
    """
    if not analyses or len(analyses) != len(times):
        raise ParameterError("A sighting has events, and one time for each of them.")
    fault = fault_of(analyses)
    instants = [one.utc for one in times]
    doubts = [one.within_s for one in times]
    known = [one for one in doubts if one is not None]
    return Sighting(
        recloser,
        min(instants),
        max(instants),
        any(operation_of(recloser, one) is not None for one in analyses),
        outcome,
        max(known) if len(known) == len(doubts) else None,
        fault.fault_type,
        fault.magnitude_a,
        fault.distance,
        fault.distance_low,
        fault.distance_high,
        key,
    )


class Network:
    """Which recloser is fed through which.

    Raises
    ------
    ParameterError
        If a recloser is fed through itself.
    """

    def __init__(self, places: Iterable[Place]) -> None:
        self._places: Mapping[str, Place] = {one.recloser: one for one in places}
        self._above: dict[str, frozenset[str]] = {}
        for name in self._places:
            self._above[name] = frozenset(self._walk(name))
            if name in self._above[name]:
                raise ParameterError(
                    f"{name} is fed through itself.", fix="Mend its 'upstream' in the list."
                )
        self._below: dict[str, list[str]] = {}
        for name, place in self._places.items():
            for upper in place.upstream:
                self._below.setdefault(upper, []).append(name)

    def _walk(self, name: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(self._places[name].upstream)
        while waiting:
            upper = waiting.pop()
            if upper not in seen:
                seen.add(upper)
                waiting += self._places[upper].upstream if upper in self._places else ()
        return seen

    def feeds(self, upper: str, lower: str) -> bool:
        """Return whether ``lower`` is fed through ``upper``."""
        return upper in self._above.get(lower, frozenset())

    def below(self, name: str) -> tuple[str, ...]:
        """Return the next reclosers that are fed through one, by name."""
        return tuple(sorted(self._below.get(name, ())))

    def related(self, first: str, second: str) -> bool:
        """Return whether one fault can be seen by both.

        One feeds the other; or they are of one feeder and the place of one is not known. Branches
        of one line are only joined by a recloser above both that saw it, too.
        """
        if self.feeds(first, second) or self.feeds(second, first):
            return True
        one, other = self._places.get(first), self._places.get(second)
        if one is None or other is None or not one.feeder or one.feeder != other.feeder:
            return False
        return any(not place.upstream and not self.below(place.recloser) for place in (one, other))


def disturbances(
    sightings: Iterable[Sighting],
    network: Network,
    *,
    watched: Collection[str] | None = None,
    tolerance_s: float = TOLERANCE_S,
    unknown_within_s: float = UNKNOWN_WITHIN_S,
) -> list[Disturbance]:
    """Return the disturbances that incidents of all reclosers make, in the order of time.

    Parameters
    ----------
    sightings : iterable of Sighting
        One for each incident, in any order.
    network : Network
        Which recloser is fed through which.
    watched : collection of str, optional
        Reclosers whose events of that time are known: only of these it can be said that they did
        not see a fault. Else all that are not among the sightings count as watched.
    tolerance_s, unknown_within_s : float
        How far incidents of one fault are apart besides what their clocks make of it [s]; what an
        unknown clock makes [s].

    Raises
    ------
    ParameterError
        If a tolerance is negative, or an incident ends before it starts.
    """
    if tolerance_s < 0 or unknown_within_s < 0:
        raise ParameterError("Tolerances are not negative.", fix="Take some seconds.")
    ordered = sorted(sightings, key=lambda one: (one.start, one.recloser))
    for one in ordered:
        if one.end < one.start:
            raise ParameterError(f"An incident of {one.recloser} ends before it starts.")
    groups = _groups(ordered, network, tolerance_s, unknown_within_s)
    return [_disturbance(group, network, watched) for group in groups]


def _groups(
    ordered: Sequence[Sighting], network: Network, tolerance_s: float, unknown_within_s: float
) -> list[list[Sighting]]:
    """Return what belongs together, by pairs; ``ordered`` is by start."""
    leader = list(range(len(ordered)))

    def find(number: int) -> int:
        while leader[number] != number:
            leader[number] = leader[leader[number]]
            number = leader[number]
        return number

    def within(one: Sighting) -> float:
        return unknown_within_s if one.within_s is None else one.within_s

    widest = max((within(one) for one in ordered), default=0.0)
    open_ones: list[int] = []
    for number, one in enumerate(ordered):
        # Nothing that starts later reaches back to what ended so long ago.
        reach = timedelta(seconds=tolerance_s + 2 * widest)
        open_ones = [other for other in open_ones if ordered[other].end + reach >= one.start]
        for other in open_ones:
            before = ordered[other]
            apart = (one.start - before.end).total_seconds()
            near = apart <= tolerance_s + within(one) + within(before)
            if (
                near
                and before.recloser != one.recloser
                and network.related(before.recloser, one.recloser)
            ):
                leader[find(number)] = find(other)
        open_ones.append(number)
    groups: dict[int, list[Sighting]] = {}
    for number, one in enumerate(ordered):
        groups.setdefault(find(number), []).append(one)
    return sorted(groups.values(), key=lambda group: (group[0].start, group[0].recloser))


def _disturbance(
    group: Sequence[Sighting], network: Network, watched: Collection[str] | None
) -> Disturbance:
    tripped = _names(one.recloser for one in group if one.tripped)
    saw = _names(one.recloser for one in group if one.saw_fault)
    sections = _sections(saw, network, watched)
    outcome = _outcome(group)
    return Disturbance(
        sightings=tuple(group),
        started=group[0].start,
        ended=max(one.end for one in group),
        tripped=tripped,
        only_saw=tuple(name for name in saw if name not in tripped),
        sections=sections,
        miscoordinations=_coordination(tripped, saw, network),
        outcome=outcome,
        patrol=_patrol(group, outcome, sections, bool(saw)),
    )


def _names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _sections(
    saw: Sequence[str], network: Network, watched: Collection[str] | None
) -> tuple[Section, ...]:
    """Return a section for each recloser that saw the fault and feeds none that did."""
    lowest = [name for name in saw if not any(network.feeds(name, other) for other in saw)]
    found = []
    for name in lowest:
        before, unknown, seen = [], [], {name}
        waiting = list(network.below(name))
        while waiting:
            lower = waiting.pop(0)
            if lower in seen:  # fed from two sides
                continue
            seen.add(lower)
            if watched is None or lower in watched:
                before.append(lower)
            else:
                unknown.append(lower)
                waiting += network.below(lower)
        found.append(Section(name, tuple(sorted(before)), tuple(sorted(unknown))))
    return tuple(found)


def _coordination(
    tripped: Sequence[str], saw: Sequence[str], network: Network
) -> tuple[Miscoordination, ...]:
    found = []
    for upper in tripped:
        for lower in saw:
            if network.feeds(upper, lower):
                kind: Literal["both_tripped", "downstream_did_not_trip"] = (
                    "both_tripped" if lower in tripped else "downstream_did_not_trip"
                )
                found.append(Miscoordination(kind, upper, lower))
    return tuple(found)


def _outcome(group: Sequence[Sighting]) -> Outcome:
    """Return how it ended for the line: as it ended for those that tripped."""
    outcomes = {one.outcome for one in group if one.tripped}
    if "permanent" in outcomes:
        return "permanent"
    return "momentary" if outcomes == {"momentary"} else "unknown"


def _patrol(
    group: Sequence[Sighting], outcome: Outcome, sections: tuple[Section, ...], seen: bool
) -> Patrol:
    any_trip = any(one.tripped for one in group)
    needed: Needed = "unknown"
    if not seen:  # also one that was opened by hand, which locks it out
        why = "no_fault"
    elif outcome == "permanent":
        needed, why = "yes", "locked_out"
    elif not any_trip:
        why = "cleared_elsewhere"
    elif outcome == "momentary":
        needed, why = "no", "reclosed"
    else:
        why = "end_unknown"
    nearest = [section.after for section in sections]
    told = [one for one in group if one.recloser in nearest]
    # Of several shots the one that tells a distance, the narrowest first.
    told.sort(key=lambda one: (one.distance is None, _width(one)))
    best = told[0] if told else None
    return Patrol(
        needed,
        why,
        best.recloser if best else None,
        best.fault_type if best else None,
        best.distance if best else None,
        best.distance_low if best else None,
        best.distance_high if best else None,
        sections,
    )


def _width(one: Sighting) -> float:
    if one.distance_low is None or one.distance_high is None:
        return float("inf")
    return one.distance_high - one.distance_low
