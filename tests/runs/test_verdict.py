"""Every way in which a run can end has its state, its cause and its sentence."""

from __future__ import annotations

from typing import Any

import pytest

from workspace_lib.clock import parse_instant
from workspace_lib.runs.states import CAUSES, STATES
from workspace_lib.runs.verdict import (
    CAUSE_OF,
    Ending,
    StopReason,
    cause_of_error,
    judge,
    missing_publications,
)

OK = {"how": "ok"}


def raised(name: str, *bases: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What papermill and the kernel say of an error."""
    result = {"how": "notebook_error", "name": name, "message": "oh"}
    return result, {"error": {"type": name, "bases": list(bases), "message": "oh"}}


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("timeout", ("timed_out", "run_timeout")),
        ("cancelled", ("cancelled", "cancelled")),
        ("terminated", ("lost", "runner_lost")),
        ("silent", ("lost", "runner_lost")),
    ],
)
def test_why_it_was_stopped_decides(stop: StopReason, expected: tuple[str, str]) -> None:
    outcome = judge(Ending(OK, stop, {}, timeout_s=60, asked_by="anna"))
    assert (outcome.state, outcome.cause) == expected
    assert outcome.message


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (None, ("failed", "kernel_died")),
        ({"how": "kernel_died", "message": "m"}, ("failed", "kernel_died")),
        ({"how": "cell_timeout", "message": "m"}, ("timed_out", "cell_timeout")),
        ({"how": "broken", "message": "m"}, ("failed", "notebook_error")),
        (OK, ("succeeded", None)),
    ],
)
def test_else_what_papermill_reported_decides(
    result: dict[str, Any] | None, expected: tuple[str, str | None]
) -> None:
    outcome = judge(Ending(result, None, {}))
    assert (outcome.state, outcome.cause) == expected


@pytest.mark.parametrize(
    ("names", "cause"),
    [
        (["FtpDown", "SourceError", "WorkspaceError"], "source_unavailable"),
        (["DeviceBusy", "DeviceError", "WorkspaceError"], "device_busy"),
        (["DeviceTimeout", "DeviceError", "WorkspaceError"], "source_unavailable"),
        (["InputMissing", "PublishError", "WorkspaceError"], "input_missing"),
        (["ParameterError", "WorkspaceError"], "bad_parameters"),
        (["ZeroDivisionError", "ArithmeticError"], "notebook_error"),
    ],
)
def test_an_error_is_judged_by_its_class_and_the_bases_of_that(
    names: list[str], cause: str
) -> None:
    result, state = raised(*names)
    assert judge(Ending(result, None, state)).cause == cause


def test_the_bases_of_another_error_do_not_count() -> None:
    result, _ = raised("ValueError")
    _, state = raised("FtpDown", "SourceError")
    assert judge(Ending(result, None, state)).cause == "notebook_error"


def test_every_cause_named_here_is_one_the_ledger_knows() -> None:
    assert set(CAUSE_OF.values()) <= set(CAUSES)
    assert "succeeded" in STATES
    assert cause_of_error([]) == "notebook_error"


@pytest.mark.parametrize(
    ("declared", "published", "missing"),
    [
        (["rain.sums"], ["rain.sums"], []),
        (["rain.sums"], ["rain.sums/gauge_1"], []),
        (["rain.sums/*"], ["rain.sums/gauge_1"], []),
        (["rain.sums"], ["rain.sums_of_sums"], ["rain.sums"]),
        (["rain.sums", "rain.days"], ["rain.days"], ["rain.sums"]),
    ],
)
def test_what_was_promised_must_be_made(
    declared: list[str], published: list[str], missing: list[str]
) -> None:
    assert missing_publications(declared, published) == missing
    outcome = judge(Ending(OK, None, {}, declared=declared, published=published))
    assert outcome.state == ("failed" if missing else "succeeded")


def test_a_failed_run_that_captured_something_is_partial_up_to_when_it_counted() -> None:
    state = {"counts": {"rows": 5}, "counted_at": "2026-03-01T12:00:00Z"}
    outcome = judge(Ending(None, None, state))
    assert outcome.partial
    assert outcome.last_good == parse_instant("2026-03-01T12:00:00Z")
    assert outcome.metrics["rows"] == 5
    assert not judge(Ending(OK, None, state)).partial
    assert not judge(Ending(None, None, {})).partial


def test_a_run_may_say_itself_that_it_is_partial() -> None:
    told = {"partial": {"reason": "two gauges are silent", "last_good": None}}
    outcome = judge(Ending(OK, None, told))
    assert (outcome.state, outcome.partial) == ("succeeded", True)
    assert outcome.message == "two gauges are silent"


def test_a_long_message_is_cut() -> None:
    result = {"how": "broken", "message": "x" * 5000}
    message = judge(Ending(result, None, {})).message
    assert message is not None
    assert len(message) == 2000
