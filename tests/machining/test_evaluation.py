"""A machine's window from its log to its figures: simulated days come out as they were made."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import date, datetime, timedelta
from datetime import time as clock
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from workspace_lib.clock import to_us
from workspace_lib.machining.calendars import Break, Calendar, Shift, day_span, instant_us
from workspace_lib.machining.cycles import CycleKey, LengthClasses, make_table
from workspace_lib.machining.details import JobProfile, job_profiles
from workspace_lib.machining.evaluation import Evaluation, Parameters, evaluate, piece_keys
from workspace_lib.machining.events import Event, Events, make_events, read_events
from workspace_lib.machining.kpis import pool, source_rates
from workspace_lib.machining.lines import parse
from workspace_lib.machining.pauses import Loss, check_anchor
from workspace_lib.machining.reasons import Reason, ReasonTree
from workspace_lib.machining.simulator_logs import MACHINES, LogFile, MachineLogs, SimulatedMachine
from workspace_lib.machining.states import Rules, State
from workspace_lib.machining.stops import Edit, keys

S = 1_000_000
PARIS = ZoneInfo("Europe/Paris")
WEDNESDAY = date(2025, 5, 28)
OPEN = Calendar(PARIS)
SHIFTS = Calendar(
    PARIS, (Shift("day", clock(5), clock(21), breaks=(Break("b", clock(12), clock(12, 30)),)),)
)


def read(content: bytes) -> tuple[Events, dict[int, JobProfile | None]]:
    lines = parse(content)
    rows, jobs = job_profiles(lines)
    events, _ = read_events(lines, PARIS)
    return events, dict(zip(rows.tolist(), jobs, strict=True))


def simulated(machine: SimulatedMachine, day: date = WEDNESDAY) -> LogFile:
    return MachineLogs(seed=3, damage=()).log(machine, day)


def whole_day(log: LogFile, parameters: Parameters, day: date = WEDNESDAY) -> Evaluation:
    events, jobs = read(log.content)
    return evaluate(day_span(parameters.calendar, day), events, parameters, jobs=jobs)


def stamp(day: date, second: int) -> int:
    return instant_us(datetime.combine(day, clock()) + timedelta(seconds=second), PARIS)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_a_simulated_day_has_the_times_that_were_made(machine: SimulatedMachine) -> None:
    log = simulated(machine)
    events, jobs = read(log.content)
    first, last = (stamp(WEDNESDAY, log.truth.pieces[place]) for place in (0, -1))
    anchor = check_anchor(events).fits
    assert anchor is not None
    parameters = Parameters(machine.name, OPEN, anchor=anchor, rules=Rules(no_signal_s=7200))
    found = evaluate((first, last), events, parameters, jobs=jobs)
    truth = np.zeros(86_400, np.uint8)
    for begin, length in log.truth.waits:
        truth[begin : begin + length] = 1
    for begin, end in log.truth.stops:
        truth[begin:end] = 2
    truth = truth[log.truth.pieces[0] : log.truth.pieces[-1]]
    assert found.states.total_us(State.STOP) == int((truth == 2).sum()) * S
    assert found.states.total_us(State.WAIT) == int((truth == 1).sum()) * S
    assert found.states.total_us(State.UNKNOWN) == 0
    rates = source_rates(found.states)
    assert rates.occupation + rates.wait + rates.stop == pytest.approx(1, abs=1e-12)
    assert found.kpis.times.produced + found.kpis.times.outside == len(log.truth.pieces) - 1


def test_a_day_by_its_shifts_has_an_estimated_trs_that_says_so() -> None:
    found = whole_day(simulated(MACHINES[0]), Parameters("DEM12", SHIFTS))
    assert found.kpis.flags[:2] == ("quality_not_measured", "cycle_estimated")
    assert found.kpis.trs is None
    assert found.kpis.trs_before_quality is not None
    assert 0 < found.kpis.trs_before_quality < 1
    assert not found.calendar_assumed
    assert found.waterfall.left == "net"


def test_a_table_of_cycle_times_makes_it_sure() -> None:
    table = make_table({CycleKey("DEM12"): 30})
    found = whole_day(simulated(MACHINES[0]), Parameters("DEM12", SHIFTS, cycles=table))
    assert found.kpis.times.ideal_us == found.kpis.times.produced * 30 * S
    assert "cycle_estimated" not in found.kpis.flags


def test_pieces_of_closed_hours_make_no_estimate_faster() -> None:
    begin, end = day_span(SHIFTS, WEDNESDAY)
    t_us = np.arange(begin, end, 60 * S)  # one a minute, also at night and in the break
    events = make_events(np.zeros(len(t_us), np.uint8), t_us, np.full(len(t_us), np.nan))
    found = evaluate((begin, end), events, Parameters("SU12", SHIFTS))
    assert [cycle.us for cycle in found.cycles.values()] == [60 * S]
    assert found.kpis.times.outside == 30 + 8 * 60 - 1
    assert found.kpis.tp == pytest.approx(1, abs=0.002)


def test_hours_add_up_to_their_day() -> None:
    log = simulated(MACHINES[2])
    events, jobs = read(log.content)
    begin, end = day_span(SHIFTS, WEDNESDAY)
    parameters = Parameters("SU12", SHIFTS)
    own = evaluate((begin, end), events, parameters, jobs=jobs)
    parameters = replace(parameters, estimates=own.estimates)
    cuts = np.linspace(begin, end, 25).astype(int).tolist()
    hours = [
        evaluate((one, two), events, parameters, jobs=jobs).kpis.times
        for one, two in pairwise(cuts)
    ]
    assert pool(hours) == own.kpis.times


def test_a_piece_is_of_the_job_before_it() -> None:
    kind = np.array([Event.PIECE, Event.JOB, Event.PIECE, Event.JOB, Event.PIECE, Event.PIECE])
    segment = np.array([0, 0, 0, 0, 0, 1], np.int32)
    t_us = np.array([1, 2, 3, 4, 5, 2]) * S
    events = make_events(kind.astype(np.uint8), t_us, np.full(6, np.nan), segment)
    jobs = {1: JobProfile("6112", 2000.0, "654"), 3: None}
    parameters = Parameters("SU12", OPEN, lengths=LengthClasses((1000,)))
    at, kinds = piece_keys(events, jobs, parameters)
    assert (at // S).tolist() == [1, 2, 3, 5]
    assert kinds == [
        CycleKey("SU12"),
        CycleKey("SU12"),  # behind a step of the clock: of no known job
        CycleKey("SU12", "6112", "1000–"),
        CycleKey("SU12"),
    ]


def test_edits_change_the_figures_and_the_log_stays() -> None:
    log = simulated(MACHINES[1])
    events, jobs = read(log.content)
    reasons = ReasonTree([Reason("plan", "Planned", loss=Loss.PLANNED)])
    parameters = Parameters("DEMALU", SHIFTS, reasons=reasons)
    window = day_span(SHIFTS, WEDNESDAY)
    before = evaluate(window, events, parameters, jobs=jobs)
    longest = int(np.argmax(before.original.end_us - before.original.begin_us))
    key, begin = keys(before.original)[longest], int(before.original.begin_us[longest])
    edit = Edit(1, to_us(datetime(2025, 6, 1, tzinfo=PARIS)), "Anna", "assign", key, begin, "plan")
    after = evaluate(window, events, parameters, jobs=jobs, edits=[edit])
    assert after.kpis.times.planned_us > before.kpis.times.planned_us
    assert (after.kpis.do or 0) > (before.kpis.do or 0)
    assert after.kpis.tre == before.kpis.tre
    assert after.original.loss.tolist() == before.original.loss.tolist()
    orphan = evaluate(window, events, parameters, jobs=jobs, edits=[replace(edit, key="stop-1")])
    assert "edit_without_period" in [one.kind for one in orphan.anomalies]


def test_a_window_without_events_is_unknown_and_has_no_trs() -> None:
    nothing = make_events(np.zeros(0, np.uint8), np.zeros(0, np.int64), np.zeros(0))
    found = evaluate(day_span(SHIFTS, WEDNESDAY), nothing, Parameters("SU12", SHIFTS))
    assert (found.kpis.trs, found.kpis.do, found.kpis.coverage) == (None, None, 0.0)
    assert found.kpis.flags == ("unknown_time",)
    assert evaluate((0, S), nothing, Parameters("SU12", OPEN)).calendar_assumed


def test_damaged_days_are_evaluated_too_and_told() -> None:
    logs = MachineLogs(seed=5)
    for machine in MACHINES:
        for day in logs.days(date(2025, 5, 2), 10):
            found = whole_day(logs.log(machine, day), Parameters(machine.name, SHIFTS), day)
            assert found.waterfall.window_us == 86_400 * S


def test_a_day_takes_no_time() -> None:
    events, jobs = read(simulated(MACHINES[2]).content)
    window, parameters = day_span(SHIFTS, WEDNESDAY), Parameters("SU12", SHIFTS)
    began = time.process_time()
    evaluate(window, events, parameters, jobs=jobs)
    assert time.process_time() - began < 1
