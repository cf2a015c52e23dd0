"""The executor of several machines: runners are started by the workers of a running dask scheduler.

Dask only carries the word to a worker that has a free place. It never decides whether a run runs:
each task is bound to one worker and is not tried again, and should dask run one twice all the same,
the ledger turns the second runner away by the number of the attempt. Its own `cancel` ends no
notebook, so a run is cancelled through the ledger, which its runner watches. A run whose machine is
gone ends as lost when its lease runs out.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from distributed import Client, Future, Security, fire_and_forget

from workspace_lib.errors import ConfigError, ExecutorError
from workspace_lib.runs.executors import dask_worker
from workspace_lib.runs.executors.worker_facts import (
    WorkerFacts,
    code_hash,
    look_around,
    mark_outputs,
    other_code,
    unfit,
)
from workspace_lib.runs.ledger_queries import count_active
from workspace_lib.runs.states import Claim
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store

#: The cluster is looked at this often [s], and what was found good is believed for so long [s].
LOOK_EVERY_S = 2.0
BELIEVE_S = 30.0
#: The dask scheduler must answer within this, and each worker too [s].
CONNECT_TIMEOUT_S = 10.0
PROBE_TIMEOUT_S = 15.0
HAND_OVER_S = 10.0
_HURRY_TIMEOUT_S = 2.0
_KEY = "field-workspace"

log = logging.getLogger("workspace_lib.runs.executors.dask")


@dataclass
class Worker:
    """A dask worker as it was last seen: its places, and why it can take no runs if so.

    ``warning`` says how its code differs where the site allows that.
    """

    address: str
    name: str
    places: int
    tasks: set[str]
    resources: frozenset[str]
    trouble: str | None
    warning: str | None = None
    facts: WorkerFacts | None = None
    probed_at: float = 0.0

    @property
    def free(self) -> int:
        """Runs it can take more."""
        return max(0, self.places - len(self.tasks)) if self.trouble is None else 0


class DaskExecutor:
    """Starts runners through dask; any number of schedulers may do so at once."""

    def __init__(self, settings: Settings) -> None:
        if not settings.runs.dask_address:
            raise ConfigError(
                "The executor dask needs the address of a dask scheduler.",
                where="runs.dask_address",
                fix="Set it, as tcp://host:8786.",
            )
        if settings.runs.dask_address.startswith("tls://") and not settings.runs.dask_ca:
            raise ConfigError(
                "A dask scheduler with TLS needs certificates.",
                where="runs.dask_ca",
                fix="Set runs.dask_ca, runs.dask_certificate and runs.dask_key.",
            )
        self._settings = settings
        self._address = settings.runs.dask_address
        self._client: Client | None = None
        self._workers: dict[str, Worker] = {}
        self._running: dict[tuple[str, int], str] = {}
        self._tasks: dict[tuple[str, int], tuple[Future[Any], str]] = {}
        self._looked_at: float | None = None
        self._told: dict[str, str | None] = {}

    @property
    def workers(self) -> list[Worker]:
        """The workers as they are now.

        Raises
        ------
        ExecutorError
            If the dask scheduler does not answer.
        """
        self._look()
        return list(self._workers.values())

    def free_places(self, store: Store) -> int:
        """Return how many more runs the workers can take, those of others on them considered."""
        fit = [worker for worker in self.workers if worker.trouble is None]
        if not fit:
            reasons = "; ".join(f"{one.name}: {one.trouble}" for one in self._workers.values())
            raise ExecutorError(
                f"No dask worker can take runs ({reasons or 'there is none'}).",
                where=self._address,
                fix="Start one with the site's environment, see docs/operations.md.",
            )
        # The ledger also knows of runs whose worker is gone while they go on.
        left = sum(worker.places for worker in fit) - count_active(store)
        return min(left, sum(worker.free for worker in fit))

    def can_start(self, job: str, spec: Mapping[str, Any]) -> bool:
        """Return whether a worker that is fit for the run's devices has a free place."""
        return any(worker.free for worker in self._fit_for(spec))

    def submit(self, claim: Claim) -> None:
        """Send a claimed run to the fit worker with the most free places.

        Raises
        ------
        ExecutorError
            If there is none, or dask is away; nothing runs then.
        """
        client = self._connect()
        self._look()
        fit = self._fit_for(claim.spec)
        if not fit:
            raise ExecutorError("No dask worker can take this run.", where=self._address)
        worker = max(fit, key=lambda one: one.free)
        strict = self._settings.runs.dask_other_code == "refuse"
        future = client.submit(
            dask_worker.run_here,
            claim.run_id,
            claim.attempt,
            str(claim.spec.get("notebook")),
            code_hash(self._settings) if strict else None,
            key=self._key(claim.run_id, claim.attempt),
            workers=[worker.address],
            allow_other_workers=False,
            retries=0,
            pure=False,
        )
        # Else dask would forget what it was asked for when this scheduler is restarted.
        fire_and_forget(future)
        worker.tasks.add(self._key(claim.run_id, claim.attempt))
        self._tasks[claim.run_id, claim.attempt] = (future, worker.address)

    def running(self) -> set[tuple[str, int]]:
        """Return run id and attempt of the runs that workers have, as last seen."""
        mine = {key for key, (future, _) in self._tasks.items() if not future.done()}
        return mine | self._running.keys()

    def cancel(self, run_id: str, attempt: int) -> None:
        """Have the run's worker hurry its runner; without that it looks at its next heartbeat."""
        key = (run_id, attempt)
        address = self._tasks[key][1] if key in self._tasks else self._running.get(key)
        if address is None or self._client is None:
            return
        with contextlib.suppress(OSError, TimeoutError, ValueError, RuntimeError):
            self._client.run(
                dask_worker.hurry,
                run_id,
                attempt,
                workers=[address],
                on_error="ignore",
                callback_timeout=_HURRY_TIMEOUT_S,
            )

    def reap(self) -> None:
        """Take notice of tasks that ended, and of workers that are gone; the ledger ends runs."""
        for (run_id, attempt), (future, address) in list(self._tasks.items()):
            if future.done():
                del self._tasks[run_id, attempt]
                if address in self._workers:
                    self._workers[address].tasks.discard(self._key(run_id, attempt))
                if future.status == "error":
                    log.error("Run %s, attempt %s: %s", run_id, attempt, future.exception())
            elif address not in self._workers:
                del self._tasks[run_id, attempt]
                log.warning(
                    "Run %s, attempt %s: its worker %s is gone. It goes on if its machine does.",
                    run_id, attempt, address,
                )  # fmt: skip
                with contextlib.suppress(OSError, TimeoutError, RuntimeError):
                    future.cancel(force=True)

    def close(self) -> None:
        """Leave the cluster; runs go on."""
        if self._client is not None:
            if self._client.status == "running":
                self._hand_over(self._client)
            self._client.close()
            self._client = None
        self._tasks.clear()

    def _hand_over(self, client: Client) -> None:
        """Wait until workers have what was sent: dask forgets what is still on its way."""
        end = time.monotonic() + HAND_OVER_S
        sent = {self._key(*key): future for key, (future, _) in self._tasks.items()}
        with contextlib.suppress(OSError, TimeoutError, RuntimeError):
            while time.monotonic() < end:
                there = {str(key) for keys in client.processing().values() for key in keys}
                if all(future.done() or key in there for key, future in sent.items()):
                    return
                time.sleep(0.02)
        log.warning("dask may not have taken all that was sent; what is lost is due again soon.")

    def _fit_for(self, spec: Mapping[str, Any]) -> list[Worker]:
        """Return the fit workers; a device that a worker offers is only to be had there."""
        offered = frozenset().union(*(one.resources for one in self._workers.values()))
        needed = offered & frozenset(spec.get("devices") or ())
        return [
            worker
            for worker in self._workers.values()
            if worker.trouble is None and needed <= worker.resources
        ]

    def _connect(self) -> Client:
        if self._client is not None and self._client.status == "running":
            return self._client
        self.close()
        try:
            self._client = Client(
                self._address,
                timeout=CONNECT_TIMEOUT_S,
                security=_security(self._settings),
                set_as_default=False,
                name=f"{_KEY}-{self._settings.site_name}",
            )
        except (OSError, TimeoutError, ValueError) as error:
            raise ExecutorError(
                f"The dask scheduler does not answer ({error}).",
                where=self._address,
                fix="Start it (dask scheduler), or correct runs.dask_address.",
            ) from error
        mark_outputs(self._settings)
        return self._client

    def _look(self) -> None:
        """See which workers there are, what they do, and whether they are fit."""
        now = time.monotonic()
        if self._looked_at is not None and now - self._looked_at < LOOK_EVERY_S:
            return
        client = self._connect()
        try:
            found = client.scheduler_info()["workers"]
            tasks = client.processing()
        except (OSError, TimeoutError, RuntimeError) as error:
            self._looked_at = None
            raise ExecutorError(
                f"The dask scheduler does not answer ({error}).", where=self._address
            ) from error
        before, self._workers = self._workers, {}
        here = cache(partial(look_around, self._settings))
        for address, told in found.items():
            worker = _as_told(address, told, tasks={str(key) for key in tasks.get(address, ())})
            if worker.trouble is None:
                self._examine(client, worker, before.get(address), here, now)
            self._workers[address] = worker
        self._running = {
            key: address
            for address, keys in tasks.items()
            for text in keys
            if (key := self._of_key(text)) is not None
        }
        self._looked_at = now

    def _examine(
        self,
        client: Client,
        worker: Worker,
        known: Worker | None,
        here: Callable[[], WorkerFacts],
        now: float,
    ) -> None:
        """Find out whether a worker is fit, unless it was found so a moment ago."""
        if known and known.facts and known.trouble is None and now - known.probed_at < BELIEVE_S:
            worker.facts, worker.probed_at = known.facts, known.probed_at
            worker.warning = known.warning
            return
        worker.facts, worker.trouble = _probe(client, worker.address)
        worker.probed_at = now
        if worker.facts is not None:
            worker.trouble = unfit(here(), worker.facts)
            worker.warning = other_code(here(), worker.facts)
            if worker.trouble is None and self._settings.runs.dask_other_code == "refuse":
                worker.trouble = worker.warning
        self._tell(worker, worker.trouble or worker.warning)

    def _tell(self, worker: Worker, what: str | None) -> None:
        """Say once what is wrong with a worker."""
        if self._told.get(worker.address) != what:
            self._told[worker.address] = what
            if what is not None:
                log.warning("The dask worker %s: %s.", worker.name, what)

    def _key(self, run_id: str, attempt: int) -> str:
        return f"{_KEY}:{self._settings.site_name}:{run_id}:{attempt}"

    def _of_key(self, key: object) -> tuple[str, int] | None:
        parts = str(key).split(":")
        if len(parts) != 4 or parts[:2] != [_KEY, self._settings.site_name]:
            return None
        return parts[2], int(parts[3])


def _as_told(address: str, told: Mapping[str, Any], *, tasks: set[str]) -> Worker:
    """Return a worker as the dask scheduler tells of it."""
    status = told.get("status")
    return Worker(
        address=address,
        name=str(told.get("name") or address),
        places=int(told["nthreads"]),
        tasks=tasks,
        resources=frozenset(told.get("resources") or ()),
        trouble=None if status == "running" else f"it is {status}",
    )


def _probe(client: Client, address: str) -> tuple[WorkerFacts | None, str | None]:
    """Ask one worker what it is like; returns that, or what is wrong with it."""
    try:
        answers = client.run(
            dask_worker.probe,
            workers=[address],
            on_error="return",
            callback_timeout=PROBE_TIMEOUT_S,
        )
    except (OSError, TimeoutError) as error:
        return None, f"it does not answer ({type(error).__name__})"
    answer = answers.get(address)
    if isinstance(answer, WorkerFacts):
        return answer, None
    return None, f"it cannot serve this site ({answer})"


def _security(settings: Settings) -> Security | None:
    runs = settings.runs
    if not (runs.dask_ca or runs.dask_certificate or runs.dask_key):
        return None
    return Security(
        require_encryption=True,
        tls_ca_file=str(runs.dask_ca) if runs.dask_ca else None,
        tls_client_cert=str(runs.dask_certificate) if runs.dask_certificate else None,
        tls_client_key=str(runs.dask_key) if runs.dask_key else None,
    )
