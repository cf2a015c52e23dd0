"""Dumps of MTConnect adapters: every line accounted for, states as long as they lasted."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workspace_lib.clock import from_us, to_us
from workspace_lib.machining.line_fields import NO_TIME
from workspace_lib.machining.line_judge import Kind
from workspace_lib.machining.shdr import ShdrLog, execution_key, parse_shdr, state_seconds

DUMP = b"""2018-02-08T18:49:31.786974Z|execution|UNAVAILABLE
2018-03-19T09:25:19.631Z|Xabs|1.5
2018-03-19T09:25:20Z|execution|ACTIVE
2018-03-19T09:25:30.5Z|pneu_cond|Unavailable||||
2018-03-19T09:25:40.2343750Z|execution|STOPPED
2018-03-19T09:25:50Z|Tool_suffix|
"""

EXPECTED = "EXPECTED_nist_execution_seconds.tsv"
#: This file has no line that the rule stated with the expected values calls bad: every timestamp
#: can be parsed and every line has three fields.
NO_BAD_LINE = "Mazak03-20180319-20180320.txt"


def pairs(log: ShdrLog) -> list[tuple[int, str, str]]:
    text = log.lines.text
    rows = zip(log.row, log.key, log.begin, log.end, strict=True)
    return [(int(row), log.keys[key], text[b:e].decode("latin-1")) for row, key, b, e in rows]


def assert_sums_up(log: ShdrLog, content: bytes) -> None:
    assert len(log) == content.count(b"\n") + (bool(content) and not content.endswith(b"\n"))
    assert ((log.t_us != NO_TIME) == (log.kind == Kind.EVENT)).all()
    assert (log.kind[log.row] == Kind.EVENT).all()
    assert set(log.row.tolist()) == set((log.kind == Kind.EVENT).nonzero()[0].tolist())
    for key in log.keys:
        log.values(key)


def test_a_dump_is_read_line_by_line() -> None:
    log = parse_shdr(DUMP)
    assert_sums_up(log, DUMP)
    assert log.counts() == {"Tool_suffix": 1, "Xabs": 1, "execution": 3, "pneu_cond": 1}
    assert log.values("execution")[1] == ["UNAVAILABLE", "ACTIVE", "STOPPED"]
    assert log.values("Tool_suffix")[1] == [""]
    assert log.values("pneu_cond")[1] == ["Unavailable||||"]
    assert log.values("nothing")[1] == []


@pytest.mark.parametrize(
    ("stamp", "microsecond"),
    [
        ("2018-03-19T09:25:20Z", 0),
        ("2018-03-19T09:25:20", 0),
        ("2018-03-19T09:25:20.5Z", 500_000),
        ("2018-03-19T09:25:20.631Z", 631_000),
        ("2018-03-19T09:25:20.786974Z", 786_974),
        ("2018-03-19T09:25:20.2343759Z", 234_375),
        ("2018-03-19T09:25:20.123456789", 123_456),
    ],
)
def test_instants_have_any_number_of_decimals(stamp: str, microsecond: int) -> None:
    log = parse_shdr(f"{stamp}|a|b\n".encode())
    assert log.t_us.tolist() == [to_us(datetime(2018, 3, 19, 9, 25, 20, microsecond, UTC))]


@pytest.mark.parametrize(
    "line",
    [
        b"2018-02-29T09:25:20Z|a|b",
        b"2018-13-01T09:25:20Z|a|b",
        b"2018-00-01T09:25:20Z|a|b",
        b"2018-03-19T24:25:20Z|a|b",
        b"2018-03-19 09:25:20Z|a|b",
        b"2018-03-19T09:25:20.Z|a|b",
        b"2018-03-19T09:25:20,5Z|a|b",
        b"2018-03-19T09:25:2xZ|a|b",
        b"2018-03-19T09:25Z|a|b",
        b"2018-03-19T09:25:20Z|a",
        b"2018-03-19T09:25:20Z",
        b"|||",
        b"hello",
    ],
)
def test_a_line_without_time_or_value_is_malformed(line: bytes) -> None:
    log = parse_shdr(DUMP + line + b"\n" + DUMP)
    assert log.kind[6] == Kind.MALFORMED
    assert (log.kind == Kind.MALFORMED).sum() == 1
    assert_sums_up(log, DUMP + line + b"\n" + DUMP)


def test_a_carriage_return_before_the_line_feed_is_no_part_of_the_value() -> None:
    log = parse_shdr(b"2018-03-19T09:25:50Z|Tool_suffix|\r\n2018-03-19T09:25:50Z|a|b\rc\n")
    assert pairs(log) == [(0, "Tool_suffix", ""), (1, "a", "b\rc")]


def test_nul_bytes_are_taken_out_and_counted() -> None:
    log = parse_shdr(DUMP.replace(b"ACTIVE", b"AC\0\0TIVE"))
    assert log.values("execution")[1] == ["UNAVAILABLE", "ACTIVE", "STOPPED"]
    assert log.lines.nul.tolist() == [0, 0, 2, 0, 0, 0]


def test_a_line_may_hold_several_pairs() -> None:
    log = parse_shdr(b"2022-08-08T13:53:50.3910782Z|Z1actm|4447|Z1actw|20.9|p1Fact|63|x|\n" + DUMP)
    assert pairs(log)[:5] == [
        (0, "Z1actm", "4447"),
        (0, "Z1actw", "20.9"),
        (0, "p1Fact", "63"),
        (0, "x", ""),
        (1, "execution", "UNAVAILABLE"),
    ]


def test_a_condition_is_one_pair() -> None:
    log = parse_shdr(b"2022-08-08T13:53:50Z|system|FAULT|12|3|HIGH|too hot\n")
    assert pairs(log) == [(0, "system", "FAULT|12|3|HIGH|too hot")]


def test_the_lines_of_a_long_value_are_kept_as_unknown() -> None:
    asset = b"""2022-08-08T13:43:36Z|@ASSET@|123456.2201|CuttingTool|--multiline--ABCD
<CuttingTool>
</CuttingTool>
--multiline--ABCD
"""
    log = parse_shdr(asset + DUMP)
    assert log.kind.tolist() == [Kind.EVENT, *(Kind.UNKNOWN,) * 3, *(Kind.EVENT,) * 6]
    assert log.counts()["@ASSET@"] == 1


def test_a_long_value_without_end_hides_no_events() -> None:
    log = parse_shdr(b"2022-08-08T13:43:36Z|@ASSET@|1|T|--multiline--ABCD\n<a>\n" + DUMP)
    assert log.counts()["execution"] == 3


def test_what_an_adapter_says_of_itself_is_unknown() -> None:
    assert parse_shdr(b"* adapterVersion: 1\n").kind.tolist() == [Kind.UNKNOWN]


def test_a_tail_without_line_feed_is_pending_while_the_dump_is_written() -> None:
    log = parse_shdr(DUMP + b"2018-03-19T09:26:00Z|execution|ACT", closed=False)
    assert (len(log), log.lines.pending) == (6, 34)


def test_states_last_up_to_the_next_one_and_to_the_end_of_the_dump() -> None:
    log = parse_shdr(b"".join(DUMP.splitlines(keepends=True)[1:]))
    assert state_seconds(log) == {"ACTIVE": 20.234375, "STOPPED": 9.765625}


def test_states_are_sorted_by_their_instants() -> None:
    lines = DUMP.splitlines(keepends=True)[1:]
    assert state_seconds(parse_shdr(b"".join(reversed(lines)))) == {
        "ACTIVE": 20.234375,
        "STOPPED": 9.765625,
    }


def test_a_dump_without_states_has_none() -> None:
    assert state_seconds(parse_shdr(b"")) == {}
    assert state_seconds(parse_shdr(DUMP), "mode") == {}


def test_the_key_of_states_may_be_that_of_a_path() -> None:
    assert execution_key(parse_shdr(DUMP)) == "execution"
    assert execution_key(parse_shdr(DUMP.replace(b"execution", b"pExecution"))) == "pExecution"
    assert execution_key(parse_shdr(b"")) == "execution"


def expected_rows(folder: Path) -> list[dict[str, str]]:
    lines = (folder / EXPECTED).read_text().splitlines()
    table = [line.split("\t") for line in lines if not line.startswith("#")]
    return [dict(zip(table[0], row, strict=True)) for row in table[1:]]


def test_real_dumps_give_the_states_that_are_expected(real_data: Path) -> None:
    folder = real_data / "machining"
    rows = expected_rows(folder)
    assert len(rows) == 19
    for row in rows:
        content = (folder / "nist_sms" / row["file"]).read_bytes()
        log = parse_shdr(content)
        assert_sums_up(log, content)
        seconds = state_seconds(log)
        found = {state: f"{seconds.get(state, 0.0):.3f}" for state in list(row)[4:]}
        assert found == {state: row[state] for state in found}, row["file"]
        assert set(seconds) <= set(found)
        assert len(log) == int(row["lines"])
        assert log.counts().get("execution", 0) == int(row["execution_events"])
        bad = int((log.kind == Kind.MALFORMED).sum())
        assert bad == (0 if row["file"] == NO_BAD_LINE else int(row["bad_lines"])), row["file"]


def test_the_real_dump_that_should_have_a_bad_line_has_none_by_its_rule(real_data: Path) -> None:
    content = (real_data / "machining" / "nist_sms" / NO_BAD_LINE).read_bytes()
    for line in content.split(b"\n"):
        stamp, _key, _value = line.removesuffix(b"\r").split(b"|", 2)
        datetime.fromisoformat(stamp.decode())


def test_a_real_dump_of_several_pairs_in_a_line_is_read(real_data: Path) -> None:
    content = (real_data / "machining" / "mtconnect" / "okuma_shdr.txt").read_bytes()
    log = parse_shdr(content)
    assert_sums_up(log, content)
    assert (log.kind == Kind.MALFORMED).sum() == 0
    assert len(log) == 10_770
    assert log.counts()["avail"] == 4
    assert set(state_seconds(log, execution_key(log))) == {"ACTIVE", "PROGRAM_COMPLETED", "READY"}


PARTS = st.sampled_from(
    [
        *[
            b"2018-03-19T09:25:20.631Z|execution|ACTIVE\n",
            b"2018-03-19T09:25:19Z|",
            b"|",
            b"a",
            b"\n",
        ],
        *[
            b"--multiline--A",
            b"\r\n",
            b"\0",
            b"2018-02-30T09:25:20Z|a|b\n",
            b"a|b|c|d",
            b"|@ASSET@|",
        ],
        *[b"|NORMAL||||\n", b"*", b"\xe9", b"execution", b".5", b"Z"],
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(PARTS, st.binary(max_size=4)), max_size=25).map(b"".join))
def test_any_bytes_are_parsed_and_sum_up(content: bytes) -> None:
    log = parse_shdr(content)
    assert_sums_up(log, content)
    good = log.t_us[log.kind == Kind.EVENT]
    if "execution" in log.keys:
        first = min(log.values("execution")[0])
        total = sum(state_seconds(log).values())
        assert total == pytest.approx((int(good.max()) - int(first)) / 1e6)
        assert from_us(int(good.max())).year >= 1970
