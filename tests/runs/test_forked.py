"""Handles of forked children behave like those of started ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from workspace_lib.errors import ExecutorError
from workspace_lib.runs.forked import ForkedProcess, pidfd_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="nothing is forked elsewhere")


def child(program: str) -> ForkedProcess:
    """Start a process that only the handle waits for."""
    started = subprocess.Popen([sys.executable, "-S", "-c", program])
    started.returncode = 0  # it is not for `subprocess` to wait for
    return ForkedProcess(started.pid)


@pytest.mark.parametrize("code", [0, 3])
def test_the_exit_code_is_that_of_the_process(code: int) -> None:
    process = child(f"raise SystemExit({code})")
    assert process.wait(60) == code
    assert process.poll() == process.returncode == code


def test_waiting_ends_at_its_time_and_a_killed_process_says_so() -> None:
    process = child("import time; time.sleep(600)")
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.05)
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    process.terminate()  # nobody else may have got its number meanwhile


def test_one_that_somebody_else_has_waited_for_counts_as_ended() -> None:
    started = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    process = ForkedProcess(started.pid)
    started.kill()
    started.wait()
    assert process.wait(60) == 0


def test_one_that_is_no_child_of_ours_has_ended_when_it_has() -> None:
    program = (  # ends at once and tells the number of its child first
        "import os, time\npid = os.fork()\n"
        "print(pid, flush=True) if pid else (os.close(1), time.sleep(600))"
    )
    words = [sys.executable, "-S", "-c", program]
    said = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout
    process = ForkedProcess(int(said), ours=False)
    assert process.poll() is None
    process.kill()
    assert process.wait(60) == 0


def test_elsewhere_than_on_linux_it_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ExecutorError, match=r"runs\.warm"):
        pidfd_of(os.getpid())
