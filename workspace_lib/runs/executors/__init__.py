"""Executors: who starts the runner of a claimed run. The runner itself does all the rest.

An executor never decides how a run ended, and it never starts one twice: the ledger does the one
and forbids the other.
"""

from __future__ import annotations

from typing import Protocol

from workspace_lib.errors import ConfigError
from workspace_lib.runs.states import Claim
from workspace_lib.settings import Settings


class Executor(Protocol):
    """What a scheduler needs of whoever starts runs for it."""

    def submit(self, claim: Claim) -> None:
        """Start the runner of a claimed run and return at once.

        Raises
        ------
        OSError
            If it could not be started; nothing runs then.
        """
        ...

    def running(self) -> set[tuple[str, int]]:
        """Return run id and attempt of the runners that live, also of an earlier scheduler's."""
        ...

    def cancel(self, run_id: str, attempt: int) -> None:
        """Hurry a runner whose run was asked to cancel in the ledger; else it is told soon."""
        ...

    def reap(self) -> None:
        """Take notice of runners that ended, and clean up after those that were killed."""
        ...

    def close(self) -> None:
        """Let go of the runners: they go on."""
        ...


def open_executor(settings: Settings) -> Executor:
    """Return the executor that the site's settings name.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    if settings.runs.executor == "local":
        from workspace_lib.runs.executors.local import LocalExecutor

        return LocalExecutor(settings)
    raise ConfigError(
        f"The executor {settings.runs.executor!r} is not available.",
        where="runs.executor",
        fix="Set it to local.",
    )
