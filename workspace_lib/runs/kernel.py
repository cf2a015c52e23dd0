"""What each kernel of a run loads at its start: it dies with its runner and tells what it raised.

An IPython extension, loaded before the first cell. It imports little, because every run waits.
"""

from __future__ import annotations

import os
from typing import Any

from workspace_lib.runs.processes import die_with_parent
from workspace_lib.runs.state import STATE_VARIABLE, kernel_state


def load_ipython_extension(shell: Any) -> None:
    """Register with the kernel's shell; called by IPython."""
    parent = os.environ.get("JPY_PARENT_PID")
    if os.name != "nt" and parent and parent.isdigit():
        die_with_parent(int(parent))
    if STATE_VARIABLE in os.environ:
        shell.events.register("post_run_cell", _after_cell)


def _after_cell(result: Any) -> None:
    state = kernel_state()
    error = result.error_before_exec or result.error_in_exec
    if error is not None:
        names = [cls.__name__ for cls in type(error).__mro__ if cls is not object]
        state.set("error", {"type": names[0], "bases": names[1:], "message": str(error)})
    state.flush()
