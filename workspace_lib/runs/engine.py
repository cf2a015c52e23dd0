"""papermill's engine ``workspace``: runs notebooks and tells the truth about how they ended.

papermill finds it by the entry point ``papermill.engine`` as soon as it is imported itself, when
half of papermill does not exist yet; so what needs papermill is imported at the first run.
"""

from __future__ import annotations

from typing import Any

ENGINE_NAME = "workspace"
_IGNORED = ("input_path", "timeout", "startup_timeout")


class WorkspaceEngine:
    """What papermill expects of an engine; `notebook_client.execute` does the work."""

    @classmethod
    def execute_notebook(cls, nb: Any, kernel_name: str | None = None, **options: Any) -> Any:
        """Run ``nb``; ``options`` are papermill's and those of `notebook_client.execute`.

        The kernel is this interpreter's, whatever ``kernel_name`` says: a run must not depend on
        what somebody has registered with Jupyter.
        """
        from workspace_lib.runs import notebook_client

        for name in _IGNORED:
            options.pop(name, None)
        return notebook_client.execute(nb, **options)

    @classmethod
    def nb_kernel_name(cls, nb: Any, name: str | None = None) -> str:
        """Return the kernel's name for papermill."""
        return name or "python3"

    @classmethod
    def nb_language(cls, nb: Any, language: str | None = None) -> str:
        """Return the language in which papermill writes parameters."""
        return language or "python"


def register_engine() -> None:
    """Make the engine known to papermill, also where the package's metadata is missing."""
    from papermill.engines import papermill_engines

    papermill_engines.register(ENGINE_NAME, WorkspaceEngine)
