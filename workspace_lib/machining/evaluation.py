"""One window of one machine, evaluated: the only way from events to figures.

Notebook, dashboard and API ask here, so that they cannot differ. Everything follows from the
arguments alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from workspace_lib.machining.anomalies import Anomaly, find_anomalies
from workspace_lib.machining.calendars import Calendar
from workspace_lib.machining.cycles import (
    Cycle,
    CycleKey,
    LengthClasses,
    estimate_cycles,
    find_cycle,
    ideal_us,
)
from workspace_lib.machining.details import JobProfile
from workspace_lib.machining.events import Event, Events
from workspace_lib.machining.iso22400 import Iso22400, iso_22400
from workspace_lib.machining.kpis import Kpis, MicroClass, compute_kpis, count_times
from workspace_lib.machining.line_fields import Ints
from workspace_lib.machining.losses import ParetoRow, Waterfall, pareto, waterfall
from workspace_lib.machining.pauses import Anchor, Pauses, find_pauses
from workspace_lib.machining.reasons import ReasonTree
from workspace_lib.machining.spans import Spans, measure
from workspace_lib.machining.states import Rules, State, States, check_partition, partition
from workspace_lib.machining.stops import Edit, Edited, apply_edits, edited_pauses, stop_times

_NO_REASONS = ReasonTree(())


@dataclass(frozen=True)
class Parameters:
    """What a site chooses for a machine; part of what a result is made of.

    ``cycles`` is the table of reference cycle times, as `cycles.make_table` gives it.
    ``estimates`` stand in where it has none: those of a longer time, such as `Evaluation.estimates`
    of a month, so that an hour and its day are judged alike. Without them the window is its own
    reference.
    """

    machine: str
    calendar: Calendar
    anchor: Anchor = "start"
    rules: Rules = field(default_factory=Rules)
    micro_class: MicroClass = "performance"
    lengths: LengthClasses = field(default_factory=LengthClasses)
    cycles: Mapping[CycleKey, Cycle] = field(default_factory=dict)
    estimates: Mapping[CycleKey, Cycle] | None = None
    reasons: ReasonTree = _NO_REASONS


@dataclass(frozen=True)
class Evaluation:
    """Everything about a window of a machine.

    ``original`` are the pauses of the log, ``pauses`` those after edits, which ``states`` count.
    ``cycles`` are the cycle times that were used, ``estimates`` those the window itself gives
    (empty if none were needed). ``calendar_assumed``: nobody gave shifts, so that the machine is
    taken to be open all the time, which has to be said with the figures.
    """

    window: tuple[int, int]
    original: Pauses
    edited: Edited
    pauses: Pauses
    states: States
    kpis: Kpis
    iso: Iso22400
    waterfall: Waterfall
    pareto: tuple[ParetoRow, ...]
    cycles: dict[CycleKey, Cycle]
    estimates: dict[CycleKey, Cycle]
    anomalies: tuple[Anomaly, ...]
    calendar_assumed: bool


def evaluate(
    window: tuple[int, int],
    events: Events,
    parameters: Parameters,
    *,
    jobs: Mapping[int, JobProfile | None] | None = None,
    edits: Sequence[Edit] = (),
    good: int | None = None,
    until_us: int | None = None,
    missing: Sequence[tuple[int, int]] = (),
) -> Evaluation:
    """Evaluate a window of a machine.

    Parameters
    ----------
    window : tuple of int
        Begin and end (excluded) [µs since 1970 UTC].
    events : Events
        Best with some from before and behind the window: a stop or a job may begin there.
    parameters : Parameters
    jobs : mapping of int to JobProfile, optional
        What each job says, by ``Events.row``.
    edits : sequence of Edit
        What people said about stops and waits.
    good : int, optional
        Good pieces of those made in required time; None if quality is not measured.
    until_us : int, optional
        Up to when the log is known to be whole [µs]; by default its last event.
    missing : sequence of tuple of int
        Spans of files that are known to be missing [µs].
    """
    original = find_pauses(events, anchor=parameters.anchor, until_us=until_us)
    edited = apply_edits(original, edits)
    pauses = edited_pauses(original, edited, parameters.reasons)
    calendar, rules = parameters.calendar, parameters.rules
    states = partition(
        window, calendar, events, pauses, until_us=until_us, missing=missing, rules=rules
    )
    check_partition(states, window)
    pieces_us, keys = piece_keys(events, jobs or {}, parameters)
    inside = (pieces_us >= window[0]) & (pieces_us < window[1])
    pieces_us = pieces_us[inside]
    keys = [key for key, here in zip(keys, inside.tolist(), strict=True) if here]
    used, estimates = _cycles(states, pieces_us, keys, parameters)
    ideal, origin = ideal_us(used[key] for key in keys)
    times = count_times(
        states,
        pauses,
        pieces_us=pieces_us,
        cycle_us=None if ideal is None else np.array([used[key].us for key in keys], np.int64),
        good=good,
        cycle_origin=origin,
        micro_class=parameters.micro_class,
    )
    return Evaluation(
        window=window,
        original=original,
        edited=edited,
        pauses=pauses,
        states=states,
        kpis=compute_kpis(times),
        iso=iso_22400(times),
        waterfall=waterfall(times),
        pareto=pareto(stop_times(states, edited, parameters.reasons)),
        cycles=used,
        estimates=estimates,
        anomalies=find_anomalies(
            events, original, states, anchor=parameters.anchor, orphans=edited.orphans
        ),
        calendar_assumed=calendar.assumed,
    )


def piece_keys(
    events: Events, jobs: Mapping[int, JobProfile | None], parameters: Parameters
) -> tuple[Ints, list[CycleKey]]:
    """Return when pieces were done, sorted [µs], and what kind each is of.

    A piece is of the last job before it in its segment; before the first, of no known reference.
    """
    place = np.flatnonzero(events.kind == Event.PIECE)
    place = place[np.argsort(events.t_us[place], kind="stable")]
    job = np.flatnonzero(events.kind == Event.JOB)
    before = np.searchsorted(job, place) - 1
    machine = CycleKey(parameters.machine)
    kinds = [machine]
    for row in events.row[job].tolist():
        profile = jobs.get(row)
        if profile is None:
            kinds.append(machine)
        else:
            length = parameters.lengths.of(profile.length_mm)
            kinds.append(CycleKey(parameters.machine, profile.reference, length))
    known = before >= 0
    if len(job):
        known &= events.segment[job[np.maximum(before, 0)]] == events.segment[place]
    chosen = np.where(known, before + 1, 0)
    return events.t_us[place], [kinds[one] for one in chosen.tolist()]


def _cycles(
    states: States, pieces_us: Ints, keys: Sequence[CycleKey], parameters: Parameters
) -> tuple[dict[CycleKey, Cycle], dict[CycleKey, Cycle]]:
    """Return the cycle time of each kind of piece, and what the window estimates."""
    names, given = list(dict.fromkeys(keys)), parameters.estimates
    found = {name: find_cycle(name, parameters.cycles, given) for name in names}
    if given is not None or all(cycle.origin == "table" for cycle in found.values()):
        return found, {}
    run = states.state == State.RUN
    # Pieces made outside of running time, at night for instance, would seem to take none.
    made = np.flatnonzero(states.at(pieces_us) == State.RUN)
    running = measure(Spans(states.begin_us[run], states.end_us[run]), pieces_us[made])
    estimates = estimate_cycles([keys[place] for place in made.tolist()], running)
    return {name: find_cycle(name, parameters.cycles, estimates) for name in names}, estimates
