"""The doctor's look at the dask workers that take the site's runs, where the site has any."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from workspace_lib.doctor.findings import Finding
from workspace_lib.errors import WorkspaceError
from workspace_lib.settings import Settings

if TYPE_CHECKING:
    from workspace_lib.runs.executors.dask import Worker

TOPIC = "dask"


def check_cluster(settings: Settings) -> list[Finding]:
    """Check that the dask scheduler answers, and each worker's site, store, outputs and code."""
    if settings.runs.executor != "dask":
        return []
    findings = []
    if settings.store.url is None:
        message = "The store is SQLite: workers on other machines are refused."
        fix = "Set store.url to a PostgreSQL database if there are to be any."
        findings.append(Finding(TOPIC, "attention", message, fix))
    try:
        workers = _workers(settings)
    except ModuleNotFoundError as error:
        fix = "Install the extra: pip install '.[dask]'"
        return [*findings, Finding(TOPIC, "missing", f"{error.name} is not installed.", fix)]
    except WorkspaceError as error:
        return [*findings, Finding(TOPIC, "missing", error.what, error.fix)]
    address = settings.runs.dask_address
    for worker in workers:
        if worker.trouble is not None:
            fix = "See docs/operations.md, Several machines."
            message = f"The worker {worker.name} takes no runs: {worker.trouble}."
            findings.append(Finding(TOPIC, "attention", message, fix))
        elif worker.warning is not None:
            fix = "Bring the scheduler and all workers to one version."
            message = f"The worker {worker.name} is not as this machine: {worker.warning}."
            findings.append(Finding(TOPIC, "attention", message, fix))
    fit = [worker for worker in workers if worker.trouble is None]
    places = sum(worker.places for worker in fit)
    if not fit:
        fix = "Start one: dask worker ADDRESS --nthreads 2, with the site's environment."
        return [*findings, Finding(TOPIC, "missing", f"{address} has no fit worker.", fix)]
    names = ", ".join(sorted(worker.name for worker in fit))
    message = f"{address}: {len(fit)} workers with {places} places ({names})."
    return [*findings, Finding(TOPIC, "ok", message)]


def _workers(settings: Settings) -> list[Worker]:
    from workspace_lib.runs.executors.dask import DaskExecutor

    with closing(DaskExecutor(settings)) as executor:
        return executor.workers
