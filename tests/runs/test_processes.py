"""A run's processes are found and ended whatever they do to get away."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from workspace_lib.errors import ConfigError
from workspace_lib.runs import processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="subreapers are Linux's")

#: A runner that starts a process which forks twice, leaves its session and ignores SIGTERM.
RUNNER = """
import subprocess, sys, time
from workspace_lib.runs import processes
processes.become_subreaper()
away = ("import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0); "
        "print(os.getpid(), flush=True); time.sleep(600)")
child = subprocess.Popen([sys.executable, "-c", away], start_new_session=True)
child.wait()
while not processes.descendants():
    time.sleep(0.01)
left = processes.end_descendants(grace_s=0.3, children=[child])
print("left", left, flush=True)
"""


def test_a_process_that_forked_away_and_ignores_signals_is_ended() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUNNER], capture_output=True, text=True, check=True, timeout=60
    )
    pid, left = done.stdout.splitlines()
    assert left == "left []"
    assert not psutil.pid_exists(int(pid))


def test_a_child_ends_with_its_parent(wait_until: Callable[..., None]) -> None:
    child = (
        "import os, sys, time; from workspace_lib.runs import processes; "
        "processes.die_with_parent(int(sys.argv[1])); print(os.getpid(), flush=True); "
        "time.sleep(600)"
    )
    parent = (
        "import os, subprocess, sys; "
        f"subprocess.Popen([sys.executable, '-c', {child!r}, str(os.getpid())]).wait()"
    )
    runner = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    assert runner.stdout is not None
    pid = int(runner.stdout.readline())
    runner.kill()
    runner.wait()
    runner.stdout.close()
    wait_until(lambda: not _lives(pid), "the child ends too")


def test_processes_are_found_by_their_marks_and_only_those() -> None:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    ours = subprocess.Popen(command, env={**os.environ, "RUN": "a", "SITE": "x"})
    other = subprocess.Popen(command, env={**os.environ, "RUN": "b", "SITE": "x"})
    try:
        assert [p.pid for p in processes.marked({"RUN": "a", "SITE": "x"})] == [ours.pid]
        marks = {"RUN": "a", "SITE": "x"}

        def find() -> list[psutil.Process]:
            ours.poll()
            return processes.marked(marks)

        left = processes.end_all(find, grace_s=5)
        assert left == []
        assert ours.wait(10) == -15
        assert other.poll() is None
    finally:
        for process in (ours, other):
            process.kill()
            process.wait()


def test_the_meter_knows_what_children_used() -> None:
    meter = processes.TreeMeter()
    before = meter.cpu_s
    busy = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    subprocess.run([sys.executable, "-c", busy], check=True)
    meter.sample()
    assert meter.cpu_s - before >= 0.5
    assert meter.peak_bytes > 1_000_000


def test_the_private_folder_is_short_the_same_for_all_and_closed_to_others(
    tmp_path: Path,
) -> None:
    folder = processes.private_folder(tmp_path, "20260301-120000-0123456789ab", 1)
    assert folder == processes.private_folder(tmp_path, "20260301-120000-0123456789ab", 1)
    assert folder != processes.private_folder(tmp_path, "20260301-120000-0123456789ab", 2)
    assert len(str(folder / "k-ipc-12345")) < 100
    try:
        processes.make_private(folder)
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "old").touch()
        processes.make_private(folder)
        assert list(folder.iterdir()) == []
    finally:
        processes.remove_private(folder)
    assert not folder.exists()


def test_a_private_folder_that_somebody_put_there_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "trap").symlink_to(tmp_path / "theirs")
    with pytest.raises(ConfigError, match="somebody else"):
        processes.make_private(tmp_path / "trap")
    assert (tmp_path / "theirs").exists()


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
