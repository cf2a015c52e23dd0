"""Where a run keeps its things: its folder in the site's outputs, its log, its private folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workspace_lib.runs.processes import private_folder
from workspace_lib.runs.state import FILE_NAME


@dataclass(frozen=True)
class RunFolders:
    """The paths of one attempt of a run.

    ``folder`` holds what is kept: the output notebook, the manifest, the artefacts. ``private`` is
    for sockets, lies outside the outputs, and is removed when the run ends.
    """

    outputs: Path
    run_id: str
    attempt: int

    @property
    def folder(self) -> Path:
        """Folder of the attempt."""
        return self.outputs / "runs" / self.run_id / str(self.attempt)

    @property
    def notebook(self) -> Path:
        """The output notebook."""
        return self.folder / "output.ipynb"

    @property
    def manifest(self) -> Path:
        """What went in, what came out, on which machine, with which versions."""
        return self.folder / "manifest.json"

    @property
    def artefacts(self) -> Path:
        """Folder of what the run publishes."""
        return self.folder / "artefacts"

    @property
    def state(self) -> Path:
        """What the running notebook tells its runner."""
        return self.folder / FILE_NAME

    @property
    def log(self) -> Path:
        """The run's own log."""
        return self.outputs / "logs" / "runs" / f"{self.run_id}-{self.attempt}.log"

    @property
    def private(self) -> Path:
        """Folder that only this user can enter, with a path short enough for sockets."""
        return private_folder(self.outputs, self.run_id, self.attempt)
