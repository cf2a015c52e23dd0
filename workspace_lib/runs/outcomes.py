"""What becomes of a run when an attempt ends: over, or due again after a wait."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from workspace_lib.errors import StoreError
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.states import CAUSES, ENDED, Outcome, State

#: An attempt that never began changed nothing and is taken again, but not for ever.
UNSTARTED_LIMIT = 5


@dataclass(frozen=True)
class Decision:
    """The run's next state, and from when it may be claimed again if that is ``due``."""

    state: State
    not_before: datetime | None = None


def decide(
    spec: JobSpec, outcome: Outcome, *, tries: int, cancel_asked: bool, now: datetime
) -> Decision:
    """Return what follows ``outcome`` of a run that began ``tries`` times.

    A run is tried again only after a cause its job names, as often as it allows, and never once
    somebody asked to cancel it. A service is restarted by its supervisor, not here.

    Raises
    ------
    StoreError
        If the outcome is no end, or its cause is unknown.
    """
    if outcome.state not in ENDED:
        raise StoreError(f"An attempt cannot end as {outcome.state!r}.")
    if outcome.cause is not None and outcome.cause not in CAUSES:
        raise StoreError(f"Unknown cause {outcome.cause!r}.", fix=f"Known: {', '.join(CAUSES)}.")
    again = (
        outcome.state in ("failed", "timed_out", "lost")
        and outcome.cause in spec.retries.on
        and tries < spec.retries.attempts
        and not cancel_asked
        and spec.service is None
    )
    if again:
        return Decision("due", now + timedelta(seconds=spec.retries.wait_s))
    return Decision(outcome.state)
