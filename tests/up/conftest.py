"""What the tests of a running workspace share: parts that are small Python programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workspace_lib.runs import processes
from workspace_lib.up.supervisor import Part, Supervisor

PATIENCE_S = 60


def wait_until(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait until a condition holds, with a deadline."""
    return wait_until


@pytest.fixture
def make_part(tmp_path: Path) -> Callable[..., Part]:
    """Make a part of a Python program; it is ready when it has made the file ``NAME.ready``."""

    def make(program: str, name: str = "part", **options: object) -> Part:
        mark = tmp_path / f"{name}.ready"
        source = f"import pathlib, time, sys\nready = pathlib.Path({str(mark)!r})\n{program}"
        return Part(
            name=name,
            command=[sys.executable, "-c", source],
            log=tmp_path / "logs" / f"{name}.log",
            before=lambda: mark.unlink(missing_ok=True),
            ready=lambda: mark.read_text() if mark.exists() else None,
            **options,  # type: ignore[arg-type]
        )

    return make


@pytest.fixture
def said() -> list[str]:
    """What the person at the terminal was told."""
    return []


@pytest.fixture
def supervisor(said: list[str]) -> Iterator[Supervisor]:
    """A supervisor that leaves nothing behind after the test."""
    one = Supervisor(said.append)
    yield one
    one.stop()


@pytest.fixture(autouse=True)
def _no_lasting_subreaper() -> Iterator[None]:
    """Let the test's own process adopt orphans no longer than its test."""
    yield
    processes._prctl(processes._PR_SET_CHILD_SUBREAPER, 0)
