"""Daily files of wire crimping machines: blocks of jobs, errors whose texts go over lines."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workspace_lib.machining.komax import JobLog, job_totals, parse_errors, parse_jobs

JOBS = b"""[JobStarted]\r
DateTimeStamp=09/02/2025,23:09:24\r
Job=ZSK/1, 1\r
Terminal=a\r
Terminal=b\r
\r
[JobTerminated]\r
DateTimeStamp=09/02/2025,23:09:31\r
TotalGoodPieces=12\r
\r
"""
ERRORS = b"""03/02/2025\t07:13:13\tApi\tMachine\t8\t"Bus error:\r
says ""no"".\r
\r
Press 'Retry'."\tZSK/1\t1\t"x"\r
03/02/2025\t07:13:26\tApi\tMachine\t1\tplain\tZSK/1\t1\ty\r
"""


def assert_sums_up(log: JobLog) -> None:
    assert log.lines == log.entry_lines + log.blank + log.malformed


def test_a_job_file_is_a_list_of_blocks() -> None:
    log = parse_jobs(JOBS)
    assert_sums_up(log)
    assert log.counts() == {"JobStarted": 1, "JobTerminated": 1}
    first = log.entries[0]
    assert (first.line, first.lines) == (1, 5)
    assert first.time == datetime(2025, 2, 9, 23, 9, 24)
    assert first.get("Job") == "ZSK/1, 1"
    assert [value for key, value in first.fields if key == "Terminal"] == ["a", "b"]
    assert first.get("Reason") == ""


def test_blocks_need_no_empty_line_between() -> None:
    assert parse_jobs(JOBS.replace(b"\r\n\r\n", b"\r\n")).counts() == parse_jobs(JOBS).counts()


def test_a_job_lasts_to_the_next_end() -> None:
    totals = job_totals(parse_jobs(JOBS + JOBS))
    assert (totals.started, totals.terminated, totals.good_pieces) == (2, 2, 24)
    assert totals.job_seconds == 14


def test_a_job_started_while_another_is_open_takes_its_place() -> None:
    early = JOBS.split(b"[JobTerminated]")[0].replace(b"23:09:24", b"23:00:00")
    assert job_totals(parse_jobs(early + JOBS)).job_seconds == 7


def test_lines_of_no_block_are_malformed() -> None:
    log = parse_jobs(b"Job=1\r\nhello\r\n" + JOBS)
    assert_sums_up(log)
    assert [(bad.line, bad.code) for bad in log.bad] == [(1, "no_block"), (2, "no_block")]


def test_a_block_without_a_time_is_malformed() -> None:
    for wrong in (b"31/02/2025,23:09:24", b"2025-02-09,23:09:24", b"", b"09/02/2025,25:09:24"):
        log = parse_jobs(JOBS.replace(b"09/02/2025,23:09:24", wrong))
        assert_sums_up(log)
        assert [(bad.line, bad.lines, bad.code) for bad in log.bad] == [(1, 5, "no_stamp")]
        assert log.counts() == {"JobTerminated": 1}


def test_an_error_may_go_over_several_lines() -> None:
    log = parse_errors(ERRORS)
    assert_sums_up(log)
    assert [(entry.line, entry.lines) for entry in log.entries] == [(1, 4), (5, 1)]
    assert log.entries[0].get("5") == "Bus error:\r\nsays \"no\".\r\n\r\nPress 'Retry'."
    assert log.entries[1].get("5") == "plain"
    assert log.entries[0].time == datetime(2025, 2, 3, 7, 13, 13)


def test_a_quote_without_end_spoils_one_record() -> None:
    log = parse_errors(ERRORS.replace(b"Retry'.\"", b"Retry'.") + ERRORS)
    assert_sums_up(log)
    assert [bad.code for bad in log.bad] == ["open_quote"]
    assert len(log.entries) == 3


def test_a_record_without_a_time_is_malformed() -> None:
    log = parse_errors(b"hello\r\n\r\n" + ERRORS)
    assert_sums_up(log)
    assert ([bad.code for bad in log.bad], log.blank) == (["no_stamp"], 1)


def test_a_torn_file_is_read_as_far_as_it_goes() -> None:
    assert parse_jobs(JOBS[:-30]).torn
    assert not parse_jobs(JOBS).torn


def test_nul_bytes_are_taken_out_and_counted() -> None:
    log = parse_jobs(JOBS.replace(b"ZSK", b"Z\0SK"))
    assert (log.nul, log.entries[0].get("Job")) == (1, "ZSK/1, 1")


def test_real_files_give_what_is_expected(real_data: Path) -> None:
    folder = real_data / "machining"
    lines = (folder / "EXPECTED_komax.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    assert len(rows) == 7
    for row in rows[1:]:
        jobs = parse_jobs((folder / "komax565" / f"{row[0]}_Job.sdc").read_bytes())
        errors = parse_errors((folder / "komax565" / f"{row[0]}_Error.ldc").read_bytes())
        totals = job_totals(jobs)
        found = [
            *(totals.started, totals.terminated, totals.interrupted, totals.aborted),
            *(totals.good_pieces, totals.job_seconds, len(errors.entries), errors.lines),
        ]
        assert [row[0], *map(str, found)] == row
        for log in (jobs, errors):
            assert_sums_up(log)
            assert log.bad == ()


def test_real_production_files_are_blocks_too(real_data: Path) -> None:
    paths = sorted((real_data / "machining" / "komax565").glob("*_Producti.sdc"))
    assert len(paths) == 6
    for path in paths:
        log = parse_jobs(path.read_bytes())
        assert_sums_up(log)
        assert log.bad == ()
        assert log.counts()["ProductionStarted"] > 0


PARTS = st.sampled_from(
    [*JOBS.splitlines(True), *ERRORS.splitlines(True), b'"', b"\t", b"[", b"\n"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(PARTS, st.binary(max_size=4)), max_size=25).map(b"".join))
def test_any_bytes_are_parsed_and_sum_up(content: bytes) -> None:
    for log in (parse_jobs(content), parse_errors(content)):
        assert_sums_up(log)
        assert job_totals(log).job_seconds >= 0


@pytest.mark.parametrize(
    "content", [b'"' * 200_000, b"[" * 200_000, b'03/02/2025\t07:13:13\t"' * 9999]
)
def test_hostile_files_are_parsed(content: bytes) -> None:
    assert_sums_up(parse_jobs(content))
    assert_sums_up(parse_errors(content))
