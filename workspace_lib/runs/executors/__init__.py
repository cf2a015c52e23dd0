"""Executors: who starts the runner of a claimed run. The runner itself does all the rest.

An executor never decides how a run ended, and it never starts one twice: the ledger does the one
and forbids the other.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from workspace_lib.clock import SYSTEM_CLOCK, Clock
from workspace_lib.errors import ConfigError, ExecutorError
from workspace_lib.runs.ledger_queries import Run, count_active
from workspace_lib.runs.states import Claim
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store

log = logging.getLogger("workspace_lib.runs.executors")


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


@runtime_checkable
class Placing(Protocol):
    """An executor that knows how many more runs its machines can take, and which."""

    def free_places(self, store: Store) -> int:
        """Return how many more runs can be started now.

        Raises
        ------
        ExecutorError
            If none can ever be started as things are; says why.
        """
        ...

    def can_start(self, job: str, spec: Mapping[str, Any]) -> bool:
        """Return whether a free place is fit for a run with this specification."""
        ...


def free_places(executor: Executor, settings: Settings, store: Store) -> int:
    """Return how many more runs may be started through ``executor`` now.

    Raises
    ------
    ExecutorError
        If none can ever be started as things are.
    """
    if isinstance(executor, Placing):
        return executor.free_places(store)
    busy = max(len(executor.running()), count_active(store, socket.gethostname()))
    return settings.runs.max_parallel - busy


class Places:
    """The free places as somebody who waits for runs sees them: a short absence is waited for.

    Parameters
    ----------
    patience_s : float
        Machines that are away this long are an error [s].
    """

    def __init__(
        self,
        executor: Executor,
        settings: Settings,
        store: Store,
        clock: Clock = SYSTEM_CLOCK,
        *,
        patience_s: float = 120.0,
    ) -> None:
        self._executor, self._settings, self._store = executor, settings, store
        self._clock, self._patience_s = clock, patience_s
        self._away_since: float | None = None

    def free(self) -> int:
        """Return how many more runs may be started now.

        Raises
        ------
        ExecutorError
            If no machine could take runs for longer than the patience.
        """
        try:
            free = free_places(self._executor, self._settings, self._store)
        except ExecutorError as error:
            now = self._clock.monotonic()
            if self._away_since is None:
                self._away_since = now
                log.warning("%s", error)
            if now - self._away_since > self._patience_s:
                raise
            return 0
        self._away_since = None
        return free

    def free_by_hand(self, run: Run) -> bool:
        """Return whether a run that a person asks for can begin: on this machine it always can."""
        if not isinstance(self._executor, Placing):
            return True
        return self.free() > 0 and self._executor.can_start(run.job, run.spec)


def can_start(executor: Executor, job: str, spec: Mapping[str, Any]) -> bool:
    """Return whether ``executor`` can start a run with this specification now."""
    return not isinstance(executor, Placing) or executor.can_start(job, spec)


def open_executor(settings: Settings, *, keep_warm: bool = False) -> Executor:
    """Return the executor that the site's settings name.

    ``keep_warm`` is for who stays: a scheduler keeps a warm parent of runs until it closes this.

    Raises
    ------
    ConfigError
        If it is not installed, or its settings are not whole.
    """
    if settings.runs.executor == "local":
        from workspace_lib.runs.executors.local import LocalExecutor

        return LocalExecutor(settings, keep_warm=keep_warm)
    try:
        from workspace_lib.runs.executors.dask import DaskExecutor
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"The executor dask needs {error.name}, which is not installed.",
            where="runs.executor",
            fix="Install the extra `dask` (pip install '.[dask]'), or set it to local.",
        ) from error
    return DaskExecutor(settings)
