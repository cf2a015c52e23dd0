"""Helpers of the store's tests: a child process that dies at a chosen step."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from workspace_lib.store.engines import Store

CHILD = """
import os, signal, sys
from datetime import date
from workspace_lib.settings import load_settings
from workspace_lib.store.engines import connect_store
import {module} as module

step, seen = {step!r}, 0

def die(name):
    global seen
    if name == step:
        seen += 1
        if seen == {count}:
            os.kill(os.getpid(), signal.SIGKILL)

module.after_step = die
store = connect_store(load_settings("testsite", root={root!r}))
{body}
"""


@pytest.fixture
def killed_at() -> Callable[..., bool]:
    """Run ``body`` in a process that kills itself after a step; tells whether it came that far."""

    def run(store: Store, module: str, step: str, body: str, count: int = 1) -> bool:
        code = CHILD.format(
            module=module, step=step, count=count, root=str(store.outputs.parents[1]), body=body
        )
        child = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
        )
        assert child.returncode in (0, -signal.SIGKILL), child.stderr
        return child.returncode != 0

    return run
