"""Parts are started in order, come back when they end, and go together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from workspace_lib.up import supervisor as module
from workspace_lib.up.supervisor import Part, PartError, Supervisor, keep_small, last_line

STAYS = "ready.write_text('at home')\ntime.sleep(600)"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACK_OFF_S", (0.05, 0.1))


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_part_is_started_when_it_says_so(
    supervisor: Supervisor, make_part: Callable[..., Part]
) -> None:
    assert supervisor.start(make_part(STAYS)) == "at home"
    assert supervisor.pid("part") is not None


def test_a_part_that_ends_at_once_is_an_error_with_its_last_words(
    supervisor: Supervisor, make_part: Callable[..., Part]
) -> None:
    with pytest.raises(PartError, match="port 1 is not for everybody"):
        supervisor.start(make_part("sys.exit('port 1 is not for everybody')"))
    assert supervisor.pid("part") is None


def test_a_part_that_is_never_ready_is_given_up(
    supervisor: Supervisor, make_part: Callable[..., Part]
) -> None:
    with pytest.raises(PartError, match="did not start"):
        supervisor.start(make_part("time.sleep(600)", start_timeout_s=0.5, grace_s=5))
    assert not psutil.Process().children()


def test_a_killed_part_comes_back_and_both_are_said(
    supervisor: Supervisor,
    make_part: Callable[..., Part],
    said: list[str],
    until: Callable[..., None],
) -> None:
    supervisor.start(make_part(STAYS))
    first = supervisor.pid("part")
    assert first is not None
    os.kill(first, signal.SIGKILL)

    def is_back() -> bool:
        supervisor.step()
        return any("is back" in line for line in said)

    until(is_back, "it does not come back")
    assert supervisor.pid("part") not in (None, first)
    assert "part ended (SIGKILL)" in said[0]


def test_a_part_that_always_ends_is_tried_with_growing_patience(
    supervisor: Supervisor,
    make_part: Callable[..., Part],
    tmp_path: Path,
    said: list[str],
    until: Callable[..., None],
) -> None:
    once = tmp_path / "once"
    program = f"once = pathlib.Path({str(once)!r})\nif once.exists(): sys.exit(3)\n{STAYS}"
    supervisor.start(make_part(program))
    once.touch()
    pid = supervisor.pid("part")
    assert pid is not None
    os.kill(pid, signal.SIGTERM)

    def often() -> bool:
        supervisor.step()
        return sum("exit code 3" in line for line in said) >= 2

    until(often, "it is not tried again")
    assert "again in 0.05 s" in said[0]
    assert "again in 0.1 s" in said[1]


def test_stopping_ends_parts_and_what_they_left_behind(
    supervisor: Supervisor, make_part: Callable[..., Part], tmp_path: Path
) -> None:
    left = tmp_path / "left"
    program = (
        "import os, subprocess\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        f"        pathlib.Path({str(left)!r}).write_text(str(os.getpid()))\n"
        "        time.sleep(600)\n"
        "    os._exit(0)\n"
        f"while not pathlib.Path({str(left)!r}).exists(): time.sleep(0.01)\n" + STAYS
    )
    supervisor.start(make_part(program))
    orphan = psutil.Process(int(left.read_text()))
    assert supervisor.stop() == []
    assert not lives(orphan)
    assert psutil.Process().children(recursive=True) == []


def test_a_part_that_ignores_sigterm_is_killed(
    supervisor: Supervisor, make_part: Callable[..., Part]
) -> None:
    program = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + STAYS
    supervisor.start(make_part(program, grace_s=0.3))
    assert supervisor.stop() == []
    assert supervisor.pid("part") is None


def test_a_secret_reaches_a_part_by_its_standard_input_only(
    supervisor: Supervisor, make_part: Callable[..., Part]
) -> None:
    program = "ready.write_text(sys.stdin.readline().strip()[::-1])\ntime.sleep(600)"
    assert supervisor.start(make_part(program, stdin="canary\n")) == "yranac"
    process = psutil.Process(supervisor.pid("part"))
    assert "canary" not in " ".join(process.cmdline())
    assert "canary" not in process.environ().values()


def test_waiting_for_a_part_ends_when_everything_is_to_end(
    make_part: Callable[..., Part],
) -> None:
    with pytest.raises(PartError):
        Supervisor(stopped=lambda: True).start(make_part("time.sleep(600)", grace_s=5))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a dead parent")
def test_parts_die_with_a_supervisor_that_is_killed(
    tmp_path: Path, until: Callable[..., None]
) -> None:
    mark = tmp_path / "pid"
    child = f"import os, pathlib, time; pathlib.Path({str(mark)!r}).write_text(str(os.getpid())); "
    program = (
        "import pathlib, sys, time\n"
        "from workspace_lib.up.supervisor import Part, Supervisor\n"
        f"part = Part('p', [sys.executable, '-c', {child + 'time.sleep(600)'!r}],"
        f" pathlib.Path({str(tmp_path / 'p.log')!r}))\n"
        "Supervisor().start(part)\ntime.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program])
    try:
        until(lambda: mark.exists() and mark.read_text(), "the part does not start")
        part = psutil.Process(int(mark.read_text()))
    finally:
        parent.kill()
        parent.wait()
    until(lambda: not lives(part), "the part lives on")


def test_a_log_that_grew_is_put_aside(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    log.write_text("x" * 100)
    keep_small(log, limit=200)
    assert log.exists()
    keep_small(log, limit=50)
    assert not log.exists()
    assert (tmp_path / "part.log.1").exists()
    keep_small(log, limit=50)


def test_the_last_words_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    assert "left no log" in last_line(log)
    log.write_text("Traceback\nValueError: x\n\n")
    assert last_line(log) == "ValueError: x"
