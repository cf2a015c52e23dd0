"""The helper package of the field workspace: notebooks call it, schedules run it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from workspace_lib.runs.context import RunContext
    from workspace_lib.store.publications import Published


def current_run() -> RunContext:
    """Return the run this code belongs to: the scheduled one, or a draft one when run by hand."""
    from workspace_lib.runs.context import current_run as find

    return find()


def load_published(name: str, **options: Any) -> Published:
    """Return what was last published under ``name``: data, age, run, whether it is stale."""
    from workspace_lib.runs.context import load_published as load

    return load(name, **options)
