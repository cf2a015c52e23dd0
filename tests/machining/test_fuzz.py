"""Damaged at random, a day's log is still read: no line is lost, nothing raises, nothing hangs."""

from __future__ import annotations

import random
from datetime import date
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from workspace_lib.machining.details import job_profiles, wait_seconds
from workspace_lib.machining.komax import parse_errors, parse_jobs
from workspace_lib.machining.line_fields import NO_TIME
from workspace_lib.machining.line_judge import Kind
from workspace_lib.machining.lines import parse
from workspace_lib.machining.repeats import is_repeated
from workspace_lib.machining.shdr import parse_shdr, state_seconds
from workspace_lib.machining.simulator_logs import DAMAGE, MACHINES, MachineLogs
from workspace_lib.machining.timeline import place

PARIS = ZoneInfo("Europe/Paris")
DAYS = (date(2025, 3, 31), date(2025, 5, 28), date(2025, 10, 27))


def mutate(content: bytes, dice: random.Random) -> bytes:
    """Change a log as bad disks, bad lines and bad programs do."""
    text = bytearray(content)
    for _ in range(dice.randint(1, 30)):
        at = dice.randrange(len(text) or 1)
        size = dice.choice([1, 1, 1, 5, 40, 400])
        what = dice.randrange(6)
        if what == 0:
            text[at : at + size] = bytes(min(size, len(text) - at))
        elif what == 1:
            del text[at : at + size]
        elif what == 2:
            text[at:at] = dice.randbytes(size)
        elif what == 3:
            text[at : at + size] = dice.randbytes(size)
        elif what == 4:
            text[at:at] = text[(begin := dice.randrange(len(text) or 1)) : begin + 5 * size]
        else:
            text[at:at] = dice.choice([b"\n", b"\r", b"\r\n", b"\0", b"|@", b": ", b"\xef\xbb\xbf"])
    return bytes(text[: dice.randrange(len(text) // 2, len(text) + 1)])


def assert_is_read(content: bytes) -> None:
    lines = parse(content)
    assert sum(lines.count(kind) for kind in Kind) == len(lines)
    assert len(lines) == content.count(b"\n") + (bool(content) and content[-1:] != b"\n")
    assert int(lines.nul.sum()) == content.count(0)
    starts = np.flatnonzero(np.frombuffer(b"\n" + content, np.uint8)[:-1] == 10)
    assert lines.offset.tolist() == starts.tolist()
    details = lines.details_array().to_pylist()
    assert details == [lines.details(row) for row in range(len(lines))]
    wait_seconds(lines)
    job_profiles(lines)
    kept = (lines.t_local_us != NO_TIME) & ~is_repeated(lines)
    line = place(lines.t_local_us[kept], PARIS)
    same = np.diff(line.segment[line.order]) == 0
    assert (np.diff(line.t_us[line.order])[same] >= 0).all()
    dump = parse_shdr(content)
    assert len(dump) == len(lines)
    state_seconds(dump)
    for log in (parse_jobs(content), parse_errors(content)):
        assert log.lines == log.entry_lines + log.blank + log.malformed


def read_mutated(seed: int, rounds: int) -> None:
    dice = random.Random(seed)
    for _ in range(rounds):
        source = MachineLogs(dice.randrange(1000), dice.sample(list(DAMAGE), 4), always=True)
        log = source.log(dice.choice(MACHINES), dice.choice(DAYS))
        assert_is_read(mutate(log.content, dice))


@pytest.mark.parametrize("seed", range(4))
def test_a_mutated_day_is_read(seed: int) -> None:
    read_mutated(seed, 10)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(100, 110))
def test_many_mutated_days_are_read(seed: int) -> None:
    read_mutated(seed, 200)
