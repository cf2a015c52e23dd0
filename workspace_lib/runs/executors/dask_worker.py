"""What a dask worker does for the site: it tells what it is like, and starts runners.

It takes site, outputs and secrets from its own environment, so that none of them travels. A task
only waits for its runner, which is a process of its own session: it outlives the worker, owns its
heartbeat and its outcome, and sees in the ledger that it is to stop. A task that dask runs again,
because it took a worker for dead, starts a runner that the ledger turns away.
"""

from __future__ import annotations

import asyncio
import os
import socket
from functools import cache

from distributed import get_worker

from workspace_lib.errors import ExecutorError
from workspace_lib.runs.executors.local import LocalExecutor
from workspace_lib.runs.executors.worker_facts import WorkerFacts, code_hash, look_around
from workspace_lib.runs.marks import WORKER_MARK
from workspace_lib.runs.states import Claim
from workspace_lib.settings import Settings, load_settings

_LOOK_EVERY_S = 0.1
#: What dask's nanny sets for the threads of its own worker; a run is to be as it is elsewhere.
_OF_THE_NANNY = (
    "MALLOC_TRIM_THRESHOLD_",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)


async def probe() -> WorkerFacts:
    """Tell what this worker is like."""
    return await asyncio.to_thread(look_around, load_settings())


async def run_here(run_id: str, attempt: int, notebook: str, code: str | None) -> None:
    """Start the runner of a claimed run and wait for its end; the ledger knows how it was.

    Raises
    ------
    ExecutorError
        If the code here is not that of ``code``; nothing was started.
    """
    settings, executor = _host()
    if code is not None and await asyncio.to_thread(code_hash, settings) != code:
        raise ExecutorError(
            f"The code of the worker on {socket.gethostname()} was changed meanwhile.",
            fix="Bring the scheduler and all workers to one version.",
        )
    executor.submit(Claim(run_id, attempt, "", "", {}, {"notebook": notebook}))
    while (run_id, attempt) in executor.running():
        await asyncio.sleep(_LOOK_EVERY_S)
    executor.reap()


def hurry(run_id: str, attempt: int) -> None:
    """Have a runner here look at the ledger now: somebody has asked to cancel its run."""
    _host()[1].cancel(run_id, attempt)


@cache
def _host() -> tuple[Settings, LocalExecutor]:
    """Return the settings of this worker's site, and who starts and keeps its runners."""
    worker = get_worker()
    if worker.nanny:
        for name in _OF_THE_NANNY:
            os.environ.pop(name, None)
    settings = load_settings()
    return settings, LocalExecutor(settings, {WORKER_MARK: str(worker.name)}, keep_warm=True)
