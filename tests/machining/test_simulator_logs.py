"""Simulated days of machines are like the real ones, and what was done to them is known."""

from __future__ import annotations

import ast
import csv
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from workspace_lib.errors import ParameterError
from workspace_lib.machining.details import job_profiles, parse_wait, wait_seconds
from workspace_lib.machining.line_judge import Kind
from workspace_lib.machining.lines import PIECE, START, STOP, ParsedLines, parse
from workspace_lib.machining.repeats import is_repeated
from workspace_lib.machining.simulator_logs import (
    DAMAGE,
    DEM12,
    MACHINES,
    LogFile,
    MachineLogs,
    SimulatedMachine,
)

FIRST = date(2025, 5, 2)
WEDNESDAY = date(2025, 5, 28)


def seconds_of(lines: ParsedLines, name: str) -> list[int]:
    """Stamps of an event [s of the day]."""
    return (lines.t_local_us[lines.rows(name)] // 1_000_000 % 86_400).tolist()


@dataclass(frozen=True)
class Aggregates:
    """What the real days were summed up to, by the way their program did it."""

    pieces: int
    occupation: float
    wait: float
    stop: float
    production_h: float
    wait_h: float
    stop_h: float
    stops_a_day: float


def aggregate(logs: list[LogFile]) -> Aggregates:
    """Sum up days: times within first and last piece, rates as means of days."""
    pieces, windows, waits, stops, stop_count = 0, [], [], [], 0
    for log in logs:
        lines = parse(log.content)
        at = seconds_of(lines, PIECE)
        pieces += len(at)
        windows.append((at[-1] - at[0]) / 3600)
        waits.append(float(np.nansum(wait_seconds(lines)[1])) / 3600)
        halts, starts = seconds_of(lines, STOP)[:-1], seconds_of(lines, START)[1:]
        stop_count += len(halts)
        stops.append(sum(b - a for a, b in zip(halts, starts, strict=True)) / 3600)
    window, wait, stop = np.array(windows), np.array(waits), np.array(stops)
    return Aggregates(
        pieces=pieces,
        occupation=100 * float(np.mean((window - wait - stop) / window)),
        wait=100 * float(np.mean(wait / window)),
        stop=100 * float(np.mean(stop / window)),
        production_h=float(np.mean(window - wait - stop)),
        wait_h=float(np.mean(wait)),
        stop_h=float(np.mean(stop)),
        stops_a_day=stop_count / len(logs),
    )


def real_row(folder: Path, name: str, machine: str) -> dict[str, str]:
    with (folder / "machining" / "certif_devia" / name).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    (row,) = (row for row in rows if machine in (row.get("nom"), row.get("centre_usinage")))
    return row


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_twenty_days_add_up_as_the_real_ones(machine: SimulatedMachine, real_data: Path) -> None:
    """Within 6 % of pieces, 3 points of rates, 10 % of hours and of stops."""
    source = MachineLogs(seed=1)
    found = aggregate([source.log(machine, day) for day in source.days(FIRST, 20)])
    overview = real_row(real_data, "q1_centres_overview.csv", machine.name)
    stops = real_row(real_data, "q4_stops_per_machine.csv", machine.name)
    times = real_row(real_data, "q8_wait_vs_production.csv", machine.name)
    assert found.pieces == pytest.approx(int(overview["total_pieces_produites"]), rel=0.06)
    assert found.occupation == pytest.approx(float(times["taux_occupation_moyen"]), abs=3)
    assert found.wait == pytest.approx(float(times["taux_attente_moyen"]), abs=3)
    assert found.stop == pytest.approx(float(times["taux_arret_moyen"]), abs=3)
    assert found.production_h == pytest.approx(
        float(times["temps_production_moyen_heures"]), rel=0.1
    )
    assert found.wait_h == pytest.approx(float(times["temps_attente_moyen_heures"]), rel=0.1)
    assert found.stop_h == pytest.approx(float(times["temps_arret_moyen_heures"]), rel=0.1)
    assert found.stops_a_day == pytest.approx(float(stops["moyenne_arrets_par_jour"]), rel=0.1)
    total = float(stops["duree_totale_arrets_heures"])
    assert found.stop_h * 20 == pytest.approx(total, rel=0.1)


def test_pieces_per_hour_dip_at_noon_and_stay_within_two_shifts() -> None:
    source = MachineLogs(seed=1)
    hours = [
        second // 3600
        for day in source.days(FIRST, 20)
        for second in source.log(DEM12, day).truth.pieces
    ]
    per_hour = np.bincount(hours, minlength=24) / 20
    assert set(np.flatnonzero(per_hour).tolist()) <= set(range(5, 22))
    assert per_hour[12] < 0.6 * per_hour[11]
    assert 30 < per_hour[11] < 50  # 41 in truth


def test_sundays_are_free_and_few_saturdays_are_worked() -> None:
    days = MachineLogs(seed=1).days(FIRST, 20)
    assert [day.weekday() for day in days].count(5) == 1
    assert 6 not in [day.weekday() for day in days]
    assert date(2025, 5, 24) in days


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_the_truth_of_a_day_is_what_is_in_its_log(machine: SimulatedMachine) -> None:
    log = MachineLogs(seed=3).log(machine, WEDNESDAY)
    assert log.path == f"{machine.folder}/20250528.LOG"
    lines = parse(log.content)
    assert lines.count(Kind.EVENT) == len(lines) == log.truth.lines
    assert tuple(seconds_of(lines, PIECE)) == log.truth.pieces
    rows, seconds = wait_seconds(lines)
    at = (lines.t_local_us[rows] // 1_000_000 % 86_400).tolist()
    assert tuple(zip(at, seconds.tolist(), strict=True)) == log.truth.waits
    pairs = zip(seconds_of(lines, STOP)[:-1], seconds_of(lines, START)[1:], strict=True)
    assert tuple(pairs) == log.truth.stops
    assert np.all(np.diff(lines.t_local_us) >= 0)
    _, jobs = job_profiles(lines)
    assert {job.reference for job in jobs if job} == set(machine.references)
    assert all(job and job.length_mm and 4800 <= job.length_mm <= 6200 for job in jobs)


def test_no_piece_is_made_during_a_wait_or_a_stop() -> None:
    truth = MachineLogs(seed=3).log(DEM12, WEDNESDAY).truth
    pieces = np.array(truth.pieces)
    for begin, length in truth.waits:
        assert not np.any((pieces > begin) & (pieces < begin + length))
    for begin, end in truth.stops:
        assert not np.any((pieces > begin) & (pieces < end))


def test_a_wait_may_be_written_at_its_end() -> None:
    at_start = MachineLogs(seed=3).log(DEM12, WEDNESDAY)
    at_end = MachineLogs(seed=3, anchor="end").log(DEM12, WEDNESDAY)
    assert at_start.truth.waits == at_end.truth.waits
    lines = parse(at_end.content)
    rows, seconds = wait_seconds(lines)
    begins = lines.t_local_us[rows] // 1_000_000 % 86_400 - seconds
    assert begins.tolist() == [begin for begin, _ in at_end.truth.waits]


def test_a_day_depends_on_seed_machine_and_date_alone() -> None:
    one = MachineLogs(seed=3).log(DEM12, WEDNESDAY)
    assert MachineLogs(seed=3).log(DEM12, WEDNESDAY) == one
    assert MachineLogs(seed=4).log(DEM12, WEDNESDAY).content != one.content
    assert MachineLogs(seed=3, damage=["bom"]).log(DEM12, WEDNESDAY).truth.pieces == (
        one.truth.pieces
    )


def test_a_log_grows_line_by_line() -> None:
    log = MachineLogs(seed=3).log(DEM12, WEDNESDAY)
    assert log.written(0) == b""
    assert log.written(86_400) == log.content
    morning = log.written(9 * 3600)
    assert log.content.startswith(morning)
    assert morning.endswith(b"\n")
    last = parse(morning).t_local_us[-1] // 1_000_000
    assert 8 * 3600 < int(last) % 86_400 <= 9 * 3600


def assert_as_told(log: LogFile) -> ParsedLines:
    lines, truth = parse(log.content), log.truth
    assert len(lines) == truth.lines
    assert lines.counts() == truth.events
    assert lines.count(Kind.BLANK) == truth.blank
    assert lines.count(Kind.UNKNOWN) == truth.unknown
    assert lines.count(Kind.MALFORMED) == truth.malformed
    assert int(lines.nul.sum()) == truth.nul
    return lines


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_each_damage_is_found_as_it_was_done(name: str, machine: SimulatedMachine) -> None:
    source = MachineLogs(seed=5, damage=[name], always=True)
    whole = MachineLogs(seed=5).log(machine, WEDNESDAY)
    log = source.log(machine, WEDNESDAY)
    assert log.truth.damage == (name,)
    assert log.content != whole.content
    lines = assert_as_told(log)
    assert lines.bom == (name == "bom")
    assert (lines.crlf > 0) == (name == "crlf")
    assert lines.torn == (name == "torn")
    assert (lines.encoding == "cp1252") == (name == "accents")
    assert (log.truth.repeated > 0) == (name == "repeat")
    assert int(is_repeated(lines).sum()) == log.truth.repeated
    assert bool(np.any(np.diff(lines.t_local_us[lines.name >= 0]) < -1_800_000_000)) == (
        name in ("clock_step", "repeat")
    )


@pytest.mark.parametrize("seed", range(12))
def test_all_damage_at_once_loses_no_line(seed: int) -> None:
    source = MachineLogs(seed=seed, damage=list(DAMAGE), always=True)
    for machine in MACHINES:
        log = source.log(machine, WEDNESDAY)
        lines = assert_as_told(log)
        kept = ~is_repeated(lines)
        assert int((~kept).sum()) == log.truth.repeated
        rows = [row for row in lines.rows(PIECE).tolist() if kept[row]]
        assert len(rows) == len(log.truth.pieces)


def test_damage_is_drawn_for_each_day() -> None:
    source = MachineLogs(seed=5, damage=list(DAMAGE))
    met = [name for day in source.days(FIRST, 60) for name in source.log(DEM12, day).truth.damage]
    assert set(met) == set(DAMAGE)
    assert len(met) < 60 * len(DAMAGE) / 3


def test_damage_of_no_known_name_is_refused() -> None:
    with pytest.raises(ParameterError, match="fire"):
        MachineLogs(seed=1, damage=["fire"])


def test_the_simulator_shares_no_code_with_the_reader(repository: Path) -> None:
    source = repository / "workspace_lib" / "machining" / "simulator_logs.py"
    imported = {
        node.module
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.ImportFrom)
    }
    assert not [name for name in imported if re.search("machining", name or "")]


def test_waits_are_whole_seconds() -> None:
    lines = parse(MachineLogs(seed=3).log(DEM12, WEDNESDAY).content)
    seconds = [parse_wait(lines.details(row)) for row in lines.rows("MachineWait").tolist()]
    assert all(value and value >= 1 and value == int(value) for value in seconds)
