"""A process that is killed between any two steps of keeping events: nothing lost, nothing twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workspace_lib.settings import Settings

SCRIPT = Path(__file__).with_name("killed_keeping.py")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize(
    ("stride", "least"), [(11, 5), pytest.param(1, 60, marks=pytest.mark.chaos)]
)
def test_a_kill_at_any_step_leaves_no_row_without_bytes_and_nothing_is_lost(
    settings: Settings, stride: int, least: int
) -> None:
    command = [sys.executable, str(SCRIPT), str(settings.root), str(stride)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= least
