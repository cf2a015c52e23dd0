"""The whole workspace as a newcomer starts it, with real processes, kernels and servers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.server, pytest.mark.slow]

READY = "Ctrl-C ends everything."


@dataclass(frozen=True)
class Once:
    """What ``workspace up --demo --once`` did on a store that did not exist."""

    returncode: int
    said: str
    environment: dict[str, str]


def environment_of(outputs: Path) -> dict[str, str]:
    """An environment whose demo site writes into a folder of the tests."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WORKSPACE_")}
    return {**kept, "WORKSPACE_OUTPUTS": str(outputs)}


@pytest.fixture(scope="session")
def once(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Once:
    """The first start, which takes a while: made by one worker of the tests for all of them."""
    base = tmp_path_factory.getbasetemp()
    shared = base if "PYTEST_XDIST_WORKER" not in os.environ else base.parent
    folder = shared / "up-once"
    folder.mkdir(exist_ok=True)
    environment = environment_of(folder / "demo")
    done = folder / "done.json"
    with one_at_a_time(folder / "lock"):
        if not done.exists():
            ended = subprocess.run(
                [sys.executable, "-m", "workspace_lib.cli", "up", "--demo", "--once"],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=environment,
                cwd=repository,
                timeout=480,
            )
            done.write_text(json.dumps([ended.returncode, ended.stdout]))
    code, said = json.loads(done.read_text())
    return Once(code, said, environment)


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Let one worker in at a time, however long the other takes."""
    import fcntl

    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextmanager
def up(
    repository: Path, environment: dict[str, str], log: Path, *words: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``workspace up`` and end it, whatever the test did."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "workspace_lib.cli", "up", *words],
            stdout=stream,
            stderr=stream,
            env=environment,
            cwd=repository,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(60)
            finally:
                process.kill()


def living(processes: list[psutil.Process]) -> list[str]:
    found = []
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.mark.timeout(540)
def test_once_runs_every_job_and_ends_with_0(once: Once) -> None:
    assert once.returncode == 0, once.said
    assert "✓ rain_copy succeeded" in once.said
    assert "✓ rain_capture succeeded" in once.said
    assert "✓ rain_calibration succeeded" in once.said
    assert "✓ rain_sums succeeded" in once.said
    assert "✓ rain_products succeeded" in once.said
    assert "✓ rain_check succeeded" in once.said


@pytest.mark.timeout(540)
def test_once_prints_what_was_captured_and_published(
    once: Once,
) -> None:
    captured = re.search(r"Captured: +([\d,]+) files, ([\d,]+) rows", once.said)
    assert captured is not None
    files, rows = (int(number.replace(",", "")) for number in captured.groups())
    assert files > 7000
    assert rows > 35_000
    published = set(re.findall(r"[\w.]+", once.said.split("Published:")[1]))
    assert {"rain.calibrations", "rain.sums", "rain.products", "rain.check"} <= published


@pytest.mark.timeout(400)
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_second_start_stays_up_heals_itself_and_leaves_nothing_behind(
    once: Once,
    repository: Path,
    tmp_path: Path,
    until: Callable[..., None],
) -> None:
    log = tmp_path / "up.log"
    with up(repository, once.environment, log, "--demo") as process:
        until(lambda: READY in log.read_text() or process.poll() is not None, "it is not up", 120)
        said = log.read_text()
        assert process.poll() is None, said
        assert "all have succeeded before" in said

        address = re.search(r"Dashboards: (http://[\d.:]+/)\?token=(\S+)", said)
        assert address is not None
        with httpx.Client(base_url=address[1], follow_redirects=True, timeout=90) as client:
            page = client.get(f"/runs?token={address[2]}")
            assert page.status_code == 200
            assert "rain_capture" in page.text
        front = re.search(r"Web front: (http://[\d.:]+/)", said)
        if front is not None:
            assert httpx.get(front[1] + "health", timeout=60).json()["scheduler"] == "alive"

        second = subprocess.run(
            [sys.executable, "-m", "workspace_lib.cli", "up"],
            capture_output=True,
            text=True,
            env=once.environment,
            cwd=repository,
            timeout=60,
        )
        assert second.returncode == 1
        assert f"is up already (process {process.pid})" in second.stderr

        children = psutil.Process(process.pid).children(recursive=True)
        server = next(p for p in children if "workspace_lib.views.live" in p.cmdline())
        server.kill()
        until(lambda: "dashboards is back." in log.read_text(), "the dashboards stay away", 90)
        assert httpx.get(address[1] + "health", timeout=60).text == "ok"

        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 3
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == 0
    assert "Ended." in log.read_text()
    assert living(children) == []


@pytest.mark.timeout(200)
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_in_the_middle_of_a_run_ends_the_run_too(
    repository: Path, tmp_path: Path, until: Callable[..., None]
) -> None:
    fresh = environment_of(tmp_path / "outputs")
    log = tmp_path / "up.log"
    with up(repository, fresh, log, "--demo", "--once") as process:
        until(lambda: "… rain_capture runs" in log.read_text(), "no run begins", 120)
        children = psutil.Process(process.pid).children(recursive=True)
        assert any("ipykernel" in " ".join(p.cmdline()) for p in children) or len(children) >= 2
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    deadline = time.monotonic() + 10
    while living(children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert living(children) == []
    assert not list((tmp_path / "outputs" / "simulators").glob("*.json"))
