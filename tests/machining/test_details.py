"""Details of events: seconds with decimals, references of letters, colours with blanks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace_lib.machining.details import (
    JobProfile,
    job_profiles,
    parse_job,
    parse_wait,
    wait_seconds,
)
from workspace_lib.machining.lines import parse


@pytest.mark.parametrize(
    ("details", "seconds"),
    [
        ("12 sec", 12.0),
        ("12.5 sec", 12.5),
        ("12,5 sec", 12.5),
        ("0 sec", 0.0),
        ("  7 sec ", 7.0),
        ("7sec", 7.0),
        ("7 s", 7.0),
        ("7 SEC.", 7.0),
        ("3600 seconds", 3600.0),
        ("12", None),
        ("", None),
        ("sec", None),
        ("-5 sec", None),
        ("1e3 sec", None),
        ("12.5.1 sec", None),
        ("12 min", None),
        ("wait 12 sec", None),
        ("9" * 400 + " sec", None),
    ],
)
def test_a_wait_is_a_number_of_seconds(details: str, seconds: float | None) -> None:
    assert parse_wait(details) == seconds


@pytest.mark.parametrize(
    ("details", "job"),
    [
        ("R:215023 L:3359.0 C:7016 G ALU", JobProfile("215023", 3359.0, "7016 G ALU")),
        ("R:6112C L:3359 C:WS", JobProfile("6112C", 3359.0, "WS")),
        ("R:GY1104 L:3359,5 C:LAQ", JobProfile("GY1104", 3359.5, "LAQ")),
        ("R:A-1.2 L:12 C:654", JobProfile("A-1.2", 12.0, "654")),
        ("R: 6101  L: 5 C: ALU ", JobProfile("6101", 5.0, "ALU")),
        ("C:7016 G ALU R:1 L:2", JobProfile("1", 2.0, "7016 G ALU")),
        ("R:1 C:WS", JobProfile("1", None, "WS")),
        ("R:1 L:long C:WS", JobProfile("1", None, "WS")),
        ("R:1 L:2 C:", JobProfile("1", 2.0, "")),
        ("R:COL:OR L:2 C:x", JobProfile("COL:OR", 2.0, "x")),
        ("R:1 R:2 L:3", JobProfile("1", 3.0, "")),
        ("", None),
        ("R: L: C:", None),
        ("215023 3359.0", None),
    ],
)
def test_a_job_has_reference_length_and_colour(details: str, job: JobProfile | None) -> None:
    assert parse_job(details) == job


@given(st.text(max_size=300))
def test_any_details_are_taken(details: str) -> None:
    seconds = parse_wait(details)
    assert seconds is None or seconds >= 0
    parse_job(details)


@pytest.mark.parametrize("text", [" " * 1_000_000, "R: " * 500_000, "1 " * 500_000])
def test_endless_details_take_no_time(text: str) -> None:
    assert parse_wait(text) is None
    assert parse_job(text) is None


LOG = b"""20250528 05:00:00|@MachineWait: 12 sec
20250528 05:00:20|@JobProfiel: R:1 L:2 C:WS
20250528 05:00:30|@MachineWait: twelve
20250528 05:00:40|@MachineWait: 12 sec
"""


def test_the_waits_of_a_log_come_with_their_rows() -> None:
    rows, seconds = wait_seconds(parse(LOG))
    assert rows.tolist() == [0, 2, 3]
    assert seconds[[0, 2]].tolist() == [12.0, 12.0]
    assert math.isnan(seconds[1])


def test_the_jobs_of_a_log_come_with_their_rows() -> None:
    rows, jobs = job_profiles(parse(LOG))
    assert rows.tolist() == [1]
    assert jobs == [JobProfile("1", 2.0, "WS")]


def test_a_log_without_waits_and_jobs_has_none() -> None:
    lines = parse(b"20250528 05:00:00|@MachineStop\n")
    assert [len(part) for part in wait_seconds(lines)] == [0, 0]
    assert [len(part) for part in job_profiles(lines)] == [0, 0]


@given(
    st.from_regex(r"[A-Z0-9:.\-]{1,6}", fullmatch=True),
    st.from_regex(r"[0-9]{1,5}([.,][0-9]{1,2})?", fullmatch=True),
    st.from_regex(r"[A-Z0-9:]{1,5}( [A-Z0-9]{1,4}){0,2}", fullmatch=True),
)
def test_the_usual_form_means_the_same_as_others(reference: str, mm: str, colour: str) -> None:
    usual = parse_job(f"R:{reference} L:{mm} C:{colour}")
    assert usual == parse_job(f" R: {reference}  L: {mm}  C: {colour} ")
