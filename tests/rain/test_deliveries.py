"""The badly delivered history: its bytes are what it says they are, file by file."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest

from workspace_lib.rain.deliveries import (
    MISHAPS,
    TOLD,
    UNKNOWN_MV,
    Delivery,
    NetworkHistory,
    Told,
    write_lines,
)
from workspace_lib.rain.loggers import Loggers, SimulatedGauge

GAUGES = [SimulatedGauge(name.lower(), name, name, f"L {name}") for name in ("Alpha", "Bravo")]
START = datetime(2023, 12, 20, 12, tzinfo=UTC)
#: What leaves the lines of a file such that the plainest reader reads them.
PLAIN = ("", "battery_twice", "row_twice", "tips_twice", "overlap", "retold", "late", "backwards")


def history(seed: int = 1) -> NetworkHistory:
    return NetworkHistory(GAUGES, START, 40, chapters=4, file_min=60, seed=seed)


@pytest.fixture(scope="module")
def delivered() -> list[Delivery]:
    """Every file of forty days, in order of arrival."""
    return [file for _, files in history().chapters() for file in files]


def plain(content: bytes) -> list[tuple[int, int, int, int]]:
    """Rows as the plainest reader reads them."""
    rows = []
    for line in content.decode().splitlines():
        _, stamp, tips, wind, volts = line.split(", ")
        rows.append((int(stamp), int(tips), int(wind), round(float(volts) * 1000)))
    return rows


def test_lines_are_written_as_loggers_write_them() -> None:
    rows = np.array([(1_677_629_040, 0, 238, 12_226), (1_677_629_100, 105, 0, 9_050)], TOLD)
    content, ends = write_lines(rows, "LOG001")
    assert content == b"LOG001, 1677629040, 0, 238, 12.226\nLOG001, 1677629100, 105, 0, 9.050\n"
    assert ends.tolist() == [35, len(content)]
    assert write_lines(rows[:0], "X")[0] == b""


@pytest.mark.parametrize("mishap", PLAIN)
def test_the_plainest_reader_finds_the_rows_that_are_told(
    delivered: list[Delivery], mishap: str
) -> None:
    files = [file for file in delivered if file.mishap == mishap]
    assert files
    for file in files:
        assert plain(file.content) == file.rows.tolist()


def test_every_mishap_happens(delivered: list[Delivery]) -> None:
    assert {file.mishap for file in delivered} == {"", *MISHAPS}


def test_a_half_file_is_the_beginning_of_its_whole(delivered: list[Delivery]) -> None:
    sent: dict[str, list[Delivery]] = {}
    for file in delivered:
        if file.mishap == "half_then_whole":
            sent.setdefault(file.path, []).append(file)
    assert sent
    for half, whole in sent.values():
        assert whole.content.startswith(half.content)
        assert len(half.content) < len(whole.content)
        known = half.rows["battery_mv"] != UNKNOWN_MV
        assert np.array_equal(half.rows[known], whole.rows[: len(half.rows)][known])
        assert np.flatnonzero(~known).tolist() in ([], [len(half.rows) - 1])


def test_every_minute_is_told_but_those_that_were_lost(delivered: list[Delivery]) -> None:
    loggers = Loggers(GAUGES, 1, ("gap", "hourly"))
    first = int(START.timestamp()) // 60
    minutes = np.arange(first, first + 40 * 1440)
    for number, gauge in enumerate(GAUGES):
        _, keep = loggers.counted(number, minutes)
        mine = [file.rows["stamp"] for file in delivered if file.gauge == gauge.id]
        told = np.unique(np.round(np.concatenate(mine) / 60))
        assert set(told.tolist()) <= set(minutes[keep].tolist())
        assert len(told) > 0.95 * keep.sum()


def test_the_truth_keeps_the_first_row_of_each_stamp() -> None:
    told = history()
    rows: dict[str, dict[int, tuple[int, ...]]] = {gauge.id: {} for gauge in GAUGES}
    later: Counter[bool] = Counter()
    for _, files in told.chapters():
        for file in files:
            for row in file.rows.tolist():
                kept = rows[file.gauge].setdefault(row[0], row)
                later[kept == row] += 1
    truth = told.truth()
    for gauge, mine in truth.rows.items():
        assert mine.tolist() == [rows[gauge][stamp] for stamp in sorted(rows[gauge])]
    assert truth.duplicates == later[True] - sum(map(len, rows.values()))
    assert truth.conflicts == later[False] > 0


def test_the_same_seed_is_the_same_history(delivered: list[Delivery]) -> None:
    def contents(files: list[Delivery]) -> list[tuple[str, bytes, Told]]:
        return [(file.path, file.content, file.rows.tolist()) for file in files]

    again = [file for _, files in history().chapters() for file in files]
    other = [file for _, files in history(seed=2).chapters() for file in files]
    assert contents(again) == contents(delivered) != contents(other)
