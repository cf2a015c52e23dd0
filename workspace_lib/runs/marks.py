"""Finding the processes of runs: owners by their command line, what they started by its marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from workspace_lib.runs import processes
from workspace_lib.settings import Settings

RUNNER = "workspace_lib.runs.runner"
SERVICE_HOST = "workspace_lib.runs.service_host"

SITE_MARK = "WORKSPACE_RUN_SITE"
OUTPUTS_MARK = "WORKSPACE_RUN_OUTPUTS"
RUN_MARK = "WORKSPACE_RUN_ID"
ATTEMPT_MARK = "WORKSPACE_RUN_ATTEMPT"
#: Names the dask worker that started a runner.
WORKER_MARK = "WORKSPACE_RUN_WORKER"
#: What is left behind gets this long between SIGTERM and SIGKILL [s].
LEFTOVER_GRACE_S = 1.0


@dataclass(frozen=True)
class Place:
    """Where runs belong: the folder of their site, and the folder of the outputs they go to.

    Both, because one site may be up twice, each time with outputs of its own: neither may take the
    other's processes for its own.
    """

    site: str
    outputs: str

    @classmethod
    def of(cls, settings: Settings) -> Place:
        """Return the place of the active site."""
        return cls(str(settings.site_dir), str(settings.outputs_dir))

    @property
    def words(self) -> list[str]:
        """How it stands on the command line of a runner."""
        return ["--site", self.site, "--outputs", self.outputs]

    @property
    def marks(self) -> dict[str, str]:
        """How it stands in the environment of everything its runs start."""
        return {SITE_MARK: self.site, OUTPUTS_MARK: self.outputs}


def run_marks(place: Place, run_id: str, attempt: int) -> dict[str, str]:
    """Return the marks of one attempt of a run."""
    return {**place.marks, RUN_MARK: run_id, ATTEMPT_MARK: str(attempt)}


def end_marked(place: Place, run_id: str, attempt: int) -> list[int]:
    """End what is left of an attempt whose runner is gone; returns what could not be ended."""
    marks = run_marks(place, run_id, attempt)
    return processes.end_all(lambda: processes.marked(marks), grace_s=LEFTOVER_GRACE_S)


def living_owners(
    place: Place, modules: Sequence[str] = (RUNNER, SERVICE_HOST)
) -> dict[tuple[str, int], psutil.Process]:
    """Return the living runners and service hosts of a place, by run id and attempt.

    They are found by ``-m MODULE --site SITE --outputs OUTPUTS RUN_ID ATTEMPT``, so also those that
    another process has started.
    """
    found = {}
    for process in psutil.process_iter():
        try:
            # That of a forked one ends with the room it did not need.
            words = [word for word in process.cmdline() if word]
            module = next((word for word in words if word in modules), None)
            if module is None or process.status() == psutil.STATUS_ZOMBIE:
                continue
        except psutil.Error:
            continue
        *where, run_id, attempt = ["", "", *words[words.index(module) + 1 :]]
        if where[2:] == place.words and attempt.isdigit():
            found[run_id, int(attempt)] = process
    return found
