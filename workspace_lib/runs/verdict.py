"""How a run ended: one state, one cause and one sentence from everything that is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from workspace_lib.clock import parse_instant
from workspace_lib.runs.states import Cause, Outcome, State

StopReason = Literal["timeout", "cancelled", "terminated", "silent", "fenced"]

#: What an error that a notebook raised means for the run, by the name of its class or of a base.
CAUSE_OF: Mapping[str, Cause] = {
    "DeviceBusy": "device_busy",
    "DeviceError": "source_unavailable",
    "SourceError": "source_unavailable",
    "InputMissing": "input_missing",
    "FileNotFoundError": "input_missing",
    "ParameterError": "bad_parameters",
}
_LONGEST_MESSAGE = 2000


@dataclass(frozen=True)
class Ending:
    """What is known when all processes of a run are gone.

    Attributes
    ----------
    result : mapping or None
        What the process that ran papermill reported; None if it died before it could.
    stop : str or None
        Why the runner stopped it, if it did.
    state : mapping
        What the notebook told while it ran (`workspace_lib.runs.state`).
    declared, published : sequence of str
        Publications that the job promises, and those that the run has recorded.
    timeout_s : float
        The run's timeout [s].
    asked_by : str or None
        Who cancelled it.
    """

    result: Mapping[str, Any] | None
    stop: StopReason | None
    state: Mapping[str, Any]
    declared: Sequence[str] = ()
    published: Sequence[str] = ()
    timeout_s: float = 0.0
    asked_by: str | None = None


def judge(ending: Ending, metrics: Mapping[str, float | int | None] | None = None) -> Outcome:
    """Return the outcome for the ledger.

    A run succeeds if its notebook ended cleanly **and** what the job declares was published. One
    that ends otherwise is partial if it had counted anything as captured by then.
    """
    state, cause, message = _verdict(ending)
    told = ending.state.get("partial")
    captured = any(ending.state.get("counts", {}).values())
    partial = told is not None or (state != "succeeded" and captured)
    if told is not None and message is None:
        message = told["reason"]
    return Outcome(
        state,
        cause,
        message[:_LONGEST_MESSAGE] if message else None,
        partial=partial,
        last_good=_last_good(ending.state) if partial else None,
        metrics={**ending.state.get("counts", {}), **(metrics or {})},
    )


def missing_publications(declared: Sequence[str], published: Sequence[str]) -> list[str]:
    """Return what was promised but not made; ``wing.thing`` and ``wing.thing/*`` take any key."""
    return [name for name in declared if not any(_meets(name, made) for made in published)]


def cause_of_error(names: Sequence[str]) -> Cause:
    """Return the cause for an error, from the names of its class and of that one's bases."""
    return next((CAUSE_OF[name] for name in names if name in CAUSE_OF), "notebook_error")


def _verdict(ending: Ending) -> tuple[State, Cause | None, str | None]:
    match ending.stop:
        case "timeout":
            return "timed_out", "run_timeout", f"It ran longer than {ending.timeout_s:g} s."
        case "cancelled":
            return "cancelled", "cancelled", f"Cancelled by {ending.asked_by or 'somebody'}."
        case "terminated":
            return "lost", "runner_lost", "Its runner was told to end (SIGTERM)."
        case "silent":
            return "lost", "runner_lost", "Its runner could not reach the ledger any more."
        case "fenced":
            return "lost", "runner_lost", "The run belongs to a later attempt."
    result = ending.result
    if result is None:
        return "failed", "kernel_died", "The process that ran the notebook died."
    match result["how"]:
        case "ok":
            if missing := missing_publications(ending.declared, ending.published):
                return "failed", "no_manifest", f"It did not publish {', '.join(missing)}."
            return "succeeded", None, None
        case "cell_timeout":
            return "timed_out", "cell_timeout", result["message"]
        case "kernel_died":
            return "failed", "kernel_died", result["message"]
        case "notebook_error":
            names = [result["name"]]
            raised = ending.state.get("error") or {}
            if raised.get("type") == result["name"]:
                names += raised["bases"]
            return "failed", cause_of_error(names), f"{result['name']}: {result['message']}"
    return "failed", "notebook_error", result["message"]


def _last_good(state: Mapping[str, Any]) -> datetime | None:
    told = (state.get("partial") or {}).get("last_good") or state.get("counted_at")
    return parse_instant(told) if told else None


def _meets(declared: str, made: str) -> bool:
    thing = declared.removesuffix("/*")
    return made == thing or made.startswith(f"{thing}/")
