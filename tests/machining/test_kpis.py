"""TRS and its relatives against worked examples that were published, to the printed digits."""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from datetime import time as clock
from pathlib import Path
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from workspace_lib.clock import to_us
from workspace_lib.errors import DataQualityError, ParameterError
from workspace_lib.machining.calendars import Break, Calendar, Shift
from workspace_lib.machining.events import Event, make_events
from workspace_lib.machining.iso22400 import iso_22400
from workspace_lib.machining.kpis import (
    FORMULA_VERSION,
    Times,
    compute_kpis,
    count_times,
    pool,
    source_rates,
)
from workspace_lib.machining.losses import StopTime, pareto, waterfall
from workspace_lib.machining.pauses import find_pauses
from workspace_lib.machining.states import Rules, State, partition

S = 1_000_000
MINUTE = 60 * S
UTC = ZoneInfo("UTC")


def minutes(value: float) -> int:
    return round(value * MINUTE)


def shown(value: float | None, digits: int = 4) -> str:
    assert value is not None
    return f"{value:.{digits}f}"


@pytest.fixture
def oracle(real_data: Path) -> Callable[[str], dict[str, str]]:
    """What OEE_ORACLES.tsv expects: the numbers behind ``name=`` and ``name `` of one example."""
    with (real_data / "machining" / "OEE_ORACLES.tsv").open(encoding="utf-8") as file:
        rows = {row["id"]: row["expected"] for row in csv.DictReader(file, delimiter="\t")}

    def find(name: str) -> dict[str, str]:
        return dict(re.findall(r"(\w+)\s*=?\s*(\d+(?:\.\d+)?)", rows[name]))

    return find


#: The shift of flconsultants.fr: 08:00-17:00, a pause, half an hour without work at the end.
FL = Times(
    total_us=minutes(1440),
    closed_us=minutes(1440 - 540),
    planned_us=minutes(90),
    own_us=minutes(60),
    induced_us=minutes(90),
    produced=470,
    good=450,
    ideal_us=470 * minutes(0.6),
    stops=1,
)


def test_the_french_worked_day(oracle: Callable[[str], dict[str, str]]) -> None:
    expected, found = oracle("fl_trs"), compute_kpis(FL)
    times = found.times
    assert times.required_us == minutes(450)
    assert shown(times.functioning_us / MINUTE, 0) == expected["tF"]
    assert shown((times.ideal_us or 0) / MINUTE, 0) == expected["tN"]
    assert shown((times.useful_us or 0) / MINUTE, 0) == expected["tU"]
    for name, value in (
        ("TRS", found.trs),
        ("TRG", found.trg),
        ("TRE", found.tre),
        ("Tq", found.tq),
        ("Tp", found.tp),
        ("Do", found.do),
    ):
        assert shown(value) == expected[name], name
    assert found.flags == ()


def test_rates_are_products_of_their_factors() -> None:
    found = compute_kpis(FL)
    trs = (found.do or 0) * (found.tp or 0) * (found.tq or 0)
    assert found.trs == pytest.approx(trs, abs=1e-15)
    assert found.trg == pytest.approx(trs * (found.tc or 0), abs=1e-15)
    assert found.tre == pytest.approx(trs * (found.tc or 0) * (found.ts or 0), abs=1e-15)


def test_trs_backwards_is_good_pieces_of_the_theoretical_ones() -> None:
    theoretical = FL.required_us / minutes(0.6)
    assert compute_kpis(FL).trs == pytest.approx(450 / theoretical, abs=1e-15)


def test_the_french_worked_day_from_its_events() -> None:
    """The same day as a machine would log it: waits, stops and 470 pieces."""
    at = to_us(datetime(2025, 5, 28, tzinfo=UTC))
    breaks = (
        Break("pause", clock(12), clock(13)),
        Break("no work", clock(16, 30), clock(17)),
    )
    shift = Shift("day", clock(8), clock(17), breaks=breaks)
    lines: list[tuple[Event, float, float]] = [
        (Event.START, 8 * 60, np.nan),
        (Event.WAIT, 8 * 60, 1800),
        (Event.WAIT, 14 * 60, 3600),
        (Event.STOP, 10 * 60, np.nan),
        (Event.START, 11 * 60, np.nan),
        (Event.STOP, 16.5 * 60, np.nan),
        (Event.START, 17 * 60, np.nan),
    ]
    running = [*range(8 * 60 + 30, 600), *range(660, 720), *range(780, 840), *range(900, 990)]
    assert len(running) == 300
    pieces = np.array([running[n * 300 // 470] + 0.5 for n in range(470)])
    lines += [(Event.PIECE, float(minute), np.nan) for minute in pieces]
    kind, minute, seconds = zip(*lines, strict=True)
    events = make_events(
        np.array(kind, np.uint8),
        at + np.rint(np.array(minute) * MINUTE).astype(np.int64),
        np.array(seconds),
    )
    pauses = find_pauses(events)
    window = (at, at + minutes(1440))
    states = partition(window, Calendar(UTC, (shift,)), events, pauses)
    done = events.times(Event.PIECE)
    cycle = np.full(len(done), minutes(0.6))
    times = count_times(states, pauses, pieces_us=done, cycle_us=cycle, good=450)
    assert replace(times, stops=1) == FL
    assert [(step.name, step.us // MINUTE) for step in waterfall(times).steps] == [
        ("closed", 900),
        ("planned", 90),
        ("unknown", 0),
        ("own_stops", 60),
        ("setup", 0),
        ("induced_stops", 90),
        ("micro_stops", 0),
        ("speed", 18),
        ("quality", 12),
    ]


CLASSIC = {
    "oee_com": Times(
        total_us=minutes(480),
        planned_us=minutes(60),
        own_us=minutes(47),
        produced=19271,
        good=19271 - 423,
        ideal_us=19271 * S,
    ),
    "waycalc": Times(
        total_us=minutes(480), own_us=minutes(60), produced=400, good=380, ideal_us=minutes(400)
    ),
    "versa_A": Times(
        total_us=minutes(480),
        planned_us=minutes(25),
        own_us=minutes(32),
        produced=2240,
        good=2190,
        ideal_us=22400 * S,
    ),
    "versa_B": Times(
        total_us=minutes(480),
        planned_us=minutes(25),
        own_us=minutes(18),
        produced=450,
        good=425,
        ideal_us=450 * 45 * S,
    ),
}


@pytest.mark.parametrize("name", CLASSIC)
def test_classic_shifts(name: str, oracle: Callable[[str], dict[str, str]]) -> None:
    expected, times = oracle(name), CLASSIC[name]
    found, iso = compute_kpis(times), iso_22400(times)
    run = expected.get("run", expected.get("NOT"))
    assert run is None or shown(times.functioning_us / MINUTE, 0) == run
    assert "good" not in expected or str(times.good) == expected["good"]
    for key, rate, index in (
        ("A", found.do, iso.availability),
        ("P", found.tp, iso.effectiveness),
        ("Q", found.tq, iso.quality_ratio),
        ("OEE", found.trs, iso.oee),
    ):
        digits = len(expected[key].split(".")[1])
        assert shown(rate, digits) == shown(index, digits) == expected[key], key


def test_two_machines_together_are_not_the_mean_of_both() -> None:
    both = compute_kpis(pool([CLASSIC["versa_A"], CLASSIC["versa_B"]])).trs
    each = [compute_kpis(CLASSIC[name]).trs or 0 for name in ("versa_A", "versa_B")]
    assert shown(both) == "0.7514"
    assert both == pytest.approx((365 + 318.75) / 910, abs=1e-15)
    # Both were required for 455 minutes, so that here even the mean would do; three shifts of the
    # one and one of the other tell them apart, and so does any factor.
    more = compute_kpis(pool([*[CLASSIC["versa_A"]] * 3, CLASSIC["versa_B"]]))
    assert shown(more.trs) == "0.7768"
    assert shown(sum(each) / 2) == "0.7514"
    factors = [compute_kpis(CLASSIC[name]).tq or 0 for name in ("versa_A", "versa_B")]
    assert shown(compute_kpis(pool([CLASSIC["versa_A"], CLASSIC["versa_B"]])).tq) == "0.9619"
    assert shown(sum(factors) / 2) == "0.9611"


def test_an_example_on_the_level_of_events(oracle: Callable[[str], dict[str, str]]) -> None:
    """Running, stopped, running again; the time that was planned is longer than the window."""
    expected = oracle("flux_apq")
    at = to_us(datetime(2021, 3, 22, tzinfo=UTC))
    kind = [Event.START, Event.OTHER, Event.STOP, Event.START, Event.OTHER]
    hour = np.array([0, 1, 2, 3, 3.5])
    events = make_events(
        np.array(kind, np.uint8), at + (hour * 60 * MINUTE).astype(np.int64), np.full(5, np.nan)
    )
    window, until = (at, at + minutes(240)), at + minutes(240)
    pauses = find_pauses(events, until_us=until)
    states = partition(
        window, Calendar(UTC), events, pauses, until_us=until, rules=Rules(no_signal_s=4000)
    )
    run = states.total_us(State.RUN)
    assert run // S == int(expected["runTime"])
    produced, bad = 1440 - 1200, 14 - 10
    times = Times(
        total_us=minutes(480),
        own_us=minutes(480) - run,
        produced=produced,
        good=produced - bad,
        ideal_us=produced * 30 * S,
    )
    found = compute_kpis(times)
    for key, rate in (("A", found.do), ("P", found.tp), ("Q", found.tq), ("OEE", found.trs)):
        assert shown(rate, len(expected[key].split(".")[1])) == expected[key], key


# --- 38 real batches of a soda line ---------------------------------------------------------------


def _sheet(book: zipfile.ZipFile, number: int) -> list[dict[str, str]]:
    """Cells of a sheet by their column's letters, row by row."""
    space = {"x": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}
    shared = [
        "".join(item.itertext())
        for item in ElementTree.fromstring(book.read("xl/sharedStrings.xml")).findall("x:si", space)
    ]
    rows = []
    tree = ElementTree.fromstring(book.read(f"xl/worksheets/sheet{number}.xml"))
    for row in tree.iter(f"{{{space['x']}}}row"):
        cells = {}
        for cell in row.findall("x:c", space):
            value = cell.find("x:v", space)
            if value is not None and value.text is not None:
                text = shared[int(value.text)] if cell.get("t") == "s" else value.text
                cells[(cell.get("r") or "").rstrip("0123456789")] = text
        rows.append(cells)
    return rows


def test_the_soda_line(real_data: Path) -> None:
    folder = real_data / "machining"
    lines = (folder / "EXPECTED_soda.tsv").read_text(encoding="utf-8").splitlines()[1:]
    expected = dict(line.split("\t") for line in lines)
    with zipfile.ZipFile(folder / "soda_line" / "Manufacturing_Line_Productivity.xlsx") as book:
        batches, products, factors, downtime = (_sheet(book, n) for n in (1, 2, 3, 4))
    ideal = {row["A"]: minutes(float(row["D"])) for row in products[1:]}
    header = downtime[1]
    lost = {
        row["A"]: {header[at]: minutes(float(us)) for at, us in row.items() if at != "A"}
        for row in downtime[2:]
        if row["A"].isdigit()  # not the sums below
    }
    day, parts, midnights, wrong = minutes(1440), [], 0, 0
    for row in batches[1:]:
        begin, end = (round(float(row[column]) * day / MINUTE) * MINUTE for column in ("E", "F"))
        begin, end = begin % day, end % day
        midnights += end < begin
        length, own = (end - begin) % day, sum(lost[row["C"]].values())
        wrong += own != length - ideal[row["B"]]
        parts.append(
            Times(total_us=length, own_us=own, produced=1, ideal_us=ideal[row["B"]], stops=1)
        )
    whole = pool(parts)
    found = compute_kpis(whole)
    assert str(len(parts)) == expected["batches"]
    assert str(whole.total_us // MINUTE) == expected["total_minutes"]
    assert str((whole.ideal_us or 0) // MINUTE) == expected["ideal_minutes"]
    assert str(whole.own_us // MINUTE) == expected["downtime_minutes"]
    assert shown(found.trs_before_quality, 6) == expected["ideal_over_total"]
    assert str(midnights) == expected["batches_crossing_midnight"]
    assert str(wrong) == expected["batches_where_downtime_differs_from_duration_minus_min"]
    assert found.trs is None
    assert found.flags == ("quality_not_measured",)

    by_operator = {row["B"]: row["C"] for row in factors[1:]}
    stops = [
        StopTime(by_operator[factor], factor, us)
        for each in [dict.fromkeys(by_operator, 0), *lost.values()]
        for factor, us in each.items()
    ]
    levels = {row.name: row for row in pareto(stops)}
    assert str(levels["Yes"].us // MINUTE) == expected["operator_error_minutes"]
    reasons = sorted(
        (reason for row in levels.values() for reason in row.reasons),
        key=lambda row: (-row.us, row.name),
    )
    assert ";".join(f"{row.name} {row.us // MINUTE}" for row in reasons) == expected["pareto"]


# --- what must never happen -----------------------------------------------------------------------


def test_quality_that_nobody_measures_is_never_a_hundred_percent() -> None:
    found = compute_kpis(replace(FL, good=None, useful_us=None))
    assert found.tq is None
    assert found.trs is found.trg is found.tre is None
    assert shown(found.trs_before_quality) == "0.6267"
    assert found.flags == ("quality_not_measured",)
    assert iso_22400(found.times).oee is None


def test_the_other_rates_are_there_when_one_is_missing() -> None:
    found = compute_kpis(replace(FL, ideal_us=None, useful_us=None, cycle_origin="unknown"))
    assert found.tp is None
    assert shown(found.do) == "0.6667"
    assert shown(found.tc) == "0.8333"
    assert found.flags == ("cycle_unknown",)


def test_faster_than_the_reference_is_shown_and_flagged_not_capped() -> None:
    found = compute_kpis(replace(FL, produced=600, good=600, ideal_us=minutes(360), useful_us=None))
    assert shown(found.tp, 2) == "1.20"
    assert shown(found.trs, 2) == "0.80"
    assert found.flags == ("tp_above_100",)


def test_unknown_time_is_told_apart_and_has_a_lower_bound() -> None:
    times = replace(FL, planned_us=minutes(90), unknown_us=minutes(50), own_us=minutes(10))
    found = compute_kpis(times)
    assert shown(found.coverage) == "0.8889"
    assert "unknown_time" in found.flags
    assert shown(found.trs) == "0.6750"
    assert shown(compute_kpis(times.with_unknown_lost()).trs) == "0.6000"
    assert shown(found.trg) == "0.5000"


def test_micro_stops_lower_performance_or_availability_but_never_trs() -> None:
    slow = compute_kpis(replace(FL, own_us=minutes(45), micro_us=minutes(15)))
    stopped = compute_kpis(
        replace(FL, own_us=minutes(45), micro_us=minutes(15), micro_class="availability")
    )
    assert slow.trs == stopped.trs
    assert shown(slow.do) == "0.7000"
    assert shown(stopped.do) == "0.6667"
    assert shown(slow.tp) == "0.8952"
    assert shown(stopped.tp) == "0.9400"


def test_an_estimated_cycle_time_is_marked() -> None:
    assert compute_kpis(replace(FL, cycle_origin="estimated")).flags == ("cycle_estimated",)
    assert pool([FL, replace(FL, cycle_origin="estimated")]).cycle_origin == "estimated"


def test_a_day_without_required_time_has_no_trs() -> None:
    found = compute_kpis(Times(total_us=minutes(1440), closed_us=minutes(1440)))
    assert (found.do, found.trs, found.trg, found.tre) == (None, None, None, 0.0)


def test_a_day_without_pieces_has_a_trs_of_zero() -> None:
    found = compute_kpis(Times(total_us=minutes(480), own_us=minutes(480)))
    assert (found.trs, found.do, found.flags) == (0.0, 0.0, ())


def test_pooling_sums_times_and_counts() -> None:
    both = pool([FL, FL])
    assert both.produced == 940
    assert compute_kpis(both).trs == compute_kpis(FL).trs
    unmeasured = pool([FL, replace(FL, good=None, useful_us=None)])
    assert unmeasured.good is None
    idle = Times(total_us=minutes(1440), closed_us=minutes(1440))
    assert pool([FL, idle]).good == 450


def test_what_cannot_be_pooled_is_refused() -> None:
    with pytest.raises(ParameterError, match="one class"):
        pool([FL, replace(FL, micro_class="availability")])
    with pytest.raises(ParameterError, match="must be some"):
        pool([])


@pytest.mark.parametrize(
    "wrong", [{"own_us": minutes(600)}, {"good": 471}, {"planned_us": -1}, {"produced": -1}]
)
def test_times_that_contradict_themselves_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(DataQualityError):
        replace(FL, useful_us=None, **wrong)  # type: ignore[arg-type]


def test_results_carry_the_version_of_their_formulas() -> None:
    assert compute_kpis(FL).formula_version == FORMULA_VERSION


def test_pieces_of_a_break_are_shown_and_part_of_no_rate() -> None:
    at = to_us(datetime(2025, 5, 28, 8, tzinfo=UTC))
    lunch = Shift("day", clock(8), clock(9), breaks=(Break("b", clock(8, 30), clock(8, 40)),))
    t_us = at + np.arange(0, 61, 10) * MINUTE
    events = make_events(np.zeros(7, np.uint8), t_us, np.full(7, np.nan))
    pauses = find_pauses(events)
    states = partition((at, at + minutes(60)), Calendar(UTC, (lunch,)), events, pauses)
    times = count_times(states, pauses, pieces_us=t_us, cycle_us=np.full(7, minutes(8)))
    # The one of 08:30 was made before the break, the one of 08:40 in it, and 09:00 is outside.
    assert (times.produced, times.outside) == (5, 1)
    assert times.ideal_us == 5 * minutes(8)
    assert "pieces_outside" in compute_kpis(times).flags


def test_rates_of_the_first_evaluation_add_up_to_one(real_data: Path) -> None:
    at = to_us(datetime(2025, 5, 28, 8, tzinfo=UTC))
    kind = [Event.PIECE, Event.WAIT, Event.STOP, Event.START, Event.PIECE]
    t_us = at + np.array([0, 5, 8, 18, 20]) * MINUTE
    events = make_events(np.array(kind, np.uint8), t_us, np.array([np.nan, 300, *[np.nan] * 3]))
    pauses = find_pauses(events)
    states = partition((at, at + minutes(20)), Calendar(UTC), events, pauses)
    rates = source_rates(states)
    # The wait runs into the stop: 3 of its minutes count as wait, none of them twice.
    assert (rates.occupation, rates.wait, rates.stop, rates.unknown) == (0.35, 0.15, 0.5, 0.0)
    closed = Calendar(UTC, (Shift("day", clock(8), clock(8, 10)),))
    with pytest.raises(ParameterError, match="no calendar"):
        source_rates(partition((at, at + minutes(20)), closed, events, pauses))
    # So do the published ones, which are means of days: to their two digits.
    with (real_data / "machining" / "certif_devia" / "q8_wait_vs_production.csv").open() as file:
        for row in csv.DictReader(file):
            shares = ("taux_occupation_moyen", "taux_attente_moyen", "taux_arret_moyen")
            assert sum(float(row[name]) for name in shares) == pytest.approx(100, abs=0.015)
