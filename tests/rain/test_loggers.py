"""The made-up weather and the loggers: the same story each time, in the real grammar."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest

from workspace_lib.errors import ParameterError
from workspace_lib.rain.loggers import FAULTS, LoggerFile, Loggers, SimulatedGauge

GAUGES = [SimulatedGauge(name.lower(), name, name, "LOG001") for name in ("Hydropolis", "Polytech")]
#: 2026-11-01T00:00Z [min since 1970].
START = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) // 60
TEN_DAYS = 10 * 1440
LINE = re.compile(rb"LOG001, \d{10}, \d+, \d+, \d{2}\.\d{3}")


def files(*faults: str, seed: int = 1, days: int = 10, number: int = 0) -> list[LoggerFile]:
    loggers = Loggers(GAUGES, seed, faults)
    first = loggers.slot_at(START) + 1
    return list(loggers.files(number, first, first + days * 288))


def test_without_faults_every_five_minutes_give_a_file_of_five_lines() -> None:
    delivered = files()
    assert len(delivered) == 2880
    assert delivered[0].path == "Hydropolis/Hydropol_011126_000400.txt"
    for file in delivered:
        lines = file.content.split(b"\n")
        assert lines.pop() == b""
        assert len(lines) == len(file.rows) == 5
        assert all(LINE.fullmatch(line) for line in lines)
    stamps = [stamp for file in delivered for stamp, _ in file.rows]
    assert np.array_equal(np.diff(stamps), np.full(len(stamps) - 1, 60))


def test_about_seven_minutes_in_a_thousand_are_wet() -> None:
    tips = Loggers(GAUGES, 1, ()).tips(0, np.arange(START, START + 365 * 1440))
    assert 0.005 < (tips > 0).mean() < 0.010
    assert 300 < tips.sum() * 0.2 < 3000


def test_it_rains_within_any_ten_days_and_on_both_gauges_at_about_the_same_time() -> None:
    loggers = Loggers(GAUGES, 1, ())
    for start in range(START, START + 60 * 1440, 7 * 1440):
        minutes = np.arange(start, start + TEN_DAYS)
        first, second = loggers.tips(0, minutes), loggers.tips(1, minutes)
        assert first.sum() > 0
        wet = minutes[first > 0]
        assert np.abs(minutes[second > 0][:, None] - wet).min(axis=1).max() < 60


def test_a_simulator_started_again_tells_the_same_story() -> None:
    every = tuple(FAULTS)
    whole = {file.path: file for file in files(*every)}
    loggers = Loggers(GAUGES, 1, every)
    begin = loggers.slot_at(START) + 1 + 700
    for step in range(3):
        for file in loggers.files(0, begin + step * 11, begin + (step + 1) * 11):
            assert whole[file.path] == file


def test_another_seed_is_another_story() -> None:
    assert [file.rows for file in files()] != [file.rows for file in files(seed=2)]


@pytest.mark.parametrize("fault", [name for name in FAULTS if name not in ("gap", "hourly")])
def test_a_fault_of_a_file_happens_and_is_accounted_for(fault: str) -> None:
    spoilt = [file for file in files(fault, days=40) if file.fault]
    assert {file.fault for file in spoilt} == {fault}
    for file in spoilt:
        found = file.content.count(b"\n") + (not file.content.endswith(b"\n"))
        if fault == "duplicate":
            assert (found, len(file.rows), file.conflicts) == (6, 5, 1)
        elif fault == "clock_reset":
            assert (file.rows, file.set_aside) == ((), 5)
            assert b", 10" in file.content.split(b"\n")[0]
        elif fault == "truncated":
            assert not file.content.endswith(b"\n") or found < 5
            assert 1 <= len(file.rows) <= 5
        elif fault in ("nul", "empty"):
            assert file.refused
            assert not file.content.strip(b"\0")
        elif fault == "bad_line":
            assert (len(file.rows), file.bad_lines) == (4, 1)
            assert b"??" in file.content
        else:
            assert len(file.rows) == 5


def test_jitter_moves_rows_by_a_second() -> None:
    steps = np.diff([stamp for file in files("jitter", days=40) for stamp, _ in file.rows])
    assert set(Counter(steps.tolist())) <= {58, 59, 60, 61, 62}
    assert {59, 61} <= set(steps.tolist())


def test_a_gap_leaves_minutes_without_a_row() -> None:
    steps = np.diff([stamp for file in files("gap", days=20) for stamp, _ in file.rows])
    assert steps.max() > 7 * 60


def test_an_hourly_row_holds_the_tips_of_its_hour() -> None:
    plain = {stamp: tips for file in files(days=60) for stamp, tips in file.rows}
    rows = [row for file in files("hourly", days=60) for row in file.rows]
    hours = [
        (stamp, tips) for (before, _), (stamp, tips) in pairwise(rows) if stamp - before == 3600
    ]
    assert hours
    assert all(stamp % 3600 == 0 for stamp, _ in hours)
    for stamp, tips in hours:
        assert tips == sum(plain[stamp - 60 * nth] for nth in range(60))
    assert sum(tips for _, tips in rows) == sum(plain.values())


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(ParameterError, match="flood"):
        Loggers(GAUGES, 1, ("flood",))
