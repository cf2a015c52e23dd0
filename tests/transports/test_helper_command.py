"""A command beside a line: ready when it says so, and ended with everything it started."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from workspace_lib import secrets
from workspace_lib.process_trees import marked
from workspace_lib.transports.helper_command import MARK, HelperCommand, HelperFailed, fill_words

DEADLINE_S = 60.0
WAITS = "import time; time.sleep(600)"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it forks as POSIX does")

#: Says its own number and goes on; ``{0}`` is done before that.
SAYS = "import os, signal, sys, time; {0}; print('ready', os.getpid(), flush=True); time.sleep(600)"
IGNORES = SAYS.format("signal.signal(signal.SIGTERM, signal.SIG_IGN)")
#: Ends at once and leaves a process behind that is in a session of its own.
FORKS_AWAY = SAYS.format("os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0)")
#: The same, and it does not heed being asked to end.
FORKS_AWAY_AND_IGNORES = SAYS.format(
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.fork() and os._exit(0); os.setsid()"
)
#: Its child has nothing of its environment, and stays in its session.
STRIPS = SAYS.format(
    "import subprocess; child = subprocess.Popen([sys.executable, '-c', 'import time; "
    "time.sleep(600)'], env={}); print('child', child.pid, flush=True)"
)

Start = Callable[..., HelperCommand]
Said = Callable[[str], int]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a Python program as a helper command."""
    started: list[HelperCommand] = []

    def it(program: str, ready: str = "ready", mark: str = "") -> HelperCommand:
        mark = mark or str(tmp_path)
        helper = HelperCommand([sys.executable, "-c", program], mark, ready, grace_s=0.3)
        started.append(helper)
        return helper

    yield it
    for one in started:
        one.close()


@pytest.fixture
def said_by(
    caplog: pytest.LogCaptureFixture, wait_until: Callable[..., None]
) -> Callable[[str], int]:
    """The number after a word that the command says; it may be ready before its line has ended."""
    caplog.set_level(logging.INFO)

    def number(word: str) -> int:
        def found() -> list[str]:
            lines = [record.getMessage() for record in caplog.records]
            return [line for line in lines if f"{word} " in line]

        wait_until(found, f"it says {word}")
        return int(found()[0].rpartition(" ")[2])

    return number


def test_it_is_ready_when_it_says_so_and_gone_when_it_is_closed(
    start: Start, said_by: Said, tmp_path: Path
) -> None:
    helper = start(SAYS.format("pass"))
    helper.wait_ready(DEADLINE_S)
    pid = said_by("ready")
    assert [one.pid for one in marked({MARK: str(tmp_path)})] == [pid]
    helper.close()
    assert not psutil.pid_exists(pid)
    helper.close()  # a second time does nothing


def test_a_word_without_a_line_end_makes_it_ready(start: Start) -> None:
    program = f"import sys; sys.stdout.write('go ahead> '); sys.stdout.flush(); {WAITS}"
    start(program, ready="ahead>").wait_ready(DEADLINE_S)


@pytest.mark.parametrize("program", [IGNORES, FORKS_AWAY, FORKS_AWAY_AND_IGNORES])
def test_whatever_tries_to_get_away_is_ended(
    start: Start, said_by: Said, program: str, tmp_path: Path
) -> None:
    helper = start(program)
    helper.wait_ready(DEADLINE_S)
    pid = said_by("ready")
    assert psutil.pid_exists(pid)
    helper.close()
    assert not _lives(pid)
    assert marked({MARK: str(tmp_path)}) == []


def test_a_child_without_the_mark_is_ended_too(start: Start, said_by: Said) -> None:
    helper = start(STRIPS)
    helper.wait_ready(DEADLINE_S)
    child = said_by("child")
    helper.close()
    assert not _lives(child)


def test_one_that_ends_with_an_error_says_why(start: Start) -> None:
    helper = start("print('no route to gw-1'); raise SystemExit(3)")
    with pytest.raises(HelperFailed, match=r"ended with 3, saying: no route to gw-1"):
        helper.wait_ready(DEADLINE_S)


def test_one_that_is_killed_says_by_which_signal(start: Start) -> None:
    helper = start("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(HelperFailed, match="ended with -9"):
        helper.wait_ready(DEADLINE_S)


def test_one_that_ends_well_without_its_word_is_not_ready(start: Start) -> None:
    with pytest.raises(HelperFailed, match="without a word"):
        start("pass").wait_ready(DEADLINE_S)


def test_one_that_is_not_ready_in_time_is_told(start: Start) -> None:
    with pytest.raises(HelperFailed, match=r"not ready within 0\.2 s"):
        start(WAITS).wait_ready(0.2)


def test_without_a_word_to_wait_for_it_may_end_well(start: Start) -> None:
    helper = start("pass", ready="")
    helper.wait_ready(0.0)
    helper.check()


def test_what_a_killed_process_left_running_is_ended_before_the_next(
    start: Start, said_by: Said, caplog: pytest.LogCaptureFixture
) -> None:
    start(IGNORES).wait_ready(DEADLINE_S)  # never closed, as by a process that was killed
    first = said_by("ready")
    start(SAYS.format("pass")).wait_ready(DEADLINE_S)
    assert not _lives(first)
    assert "still ran from before" in caplog.text


def test_another_line_s_command_is_left_alone(start: Start, said_by: Said) -> None:
    start(SAYS.format("pass"), mark="line A").wait_ready(DEADLINE_S)
    other = said_by("ready")
    helper = start(SAYS.format("pass"), mark="line B")
    helper.wait_ready(DEADLINE_S)
    helper.close()
    assert _lives(other)


def test_passwords_it_writes_are_not_in_the_log(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    secrets.remember("hidden-word")
    helper = start("print('using hidden-word for gw-1', flush=True); raise SystemExit(1)")
    with pytest.raises(HelperFailed) as failed:
        helper.wait_ready(DEADLINE_S)
    assert "using *** for gw-1" in str(failed.value)
    assert "using *** for gw-1" in caplog.text
    assert "hidden-word" not in caplog.text


def test_a_command_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(HelperFailed, match="cannot be started"):
        HelperCommand([str(tmp_path / "nothing")], "mark")


def test_words_are_filled_in_and_other_braces_stay() -> None:
    values = {"recloser": "LAV-101", "port": "5001"}
    assert fill_words(("open", "{recloser}", "-p{port}", "{x}"), values) == [
        *("open", "LAV-101", "-p5001", "{x}"),
    ]


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE and pid != os.getpid()
    except psutil.NoSuchProcess:
        return False
