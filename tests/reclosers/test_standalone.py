"""The capture as a program of its own: as a module, and built into one executable."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

StartFleet = Callable[..., Any]
#: What a maintenance server need not have.
HEAVY = {"IPython", "ipykernel", "jupyter_client", "matplotlib", "pandas", "papermill", "zmq"}


def environment(fleet: Any, fleets: ModuleType) -> dict[str, str]:
    return {
        **os.environ,
        "WORKSPACE_ROOT": str(fleet.settings.root),
        fleets.SECRET: fleets.PASSWORD,
    }


def test_the_program_captures_and_imports_no_jupyter(
    start_fleet: StartFleet, fleets: ModuleType
) -> None:
    fleet = start_fleet(fleets.relays_of(2, events=1))
    program = (
        "import sys; from workspace_lib.reclosers.standalone import main; code = main(); "
        "print('loaded', *{name.partition('.')[0] for name in sys.modules}); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--site", "testsite", "reclosers", "capture"],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(fleet, fleets),
    )
    assert done.returncode == 0, done.stderr
    assert fleet.stored() == fleet.truth()
    [loaded] = [line.split() for line in done.stdout.splitlines() if line.startswith("loaded")]
    assert not HEAVY & set(loaded)


def test_the_program_is_a_module_and_says_what_went_wrong(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "workspace_lib.reclosers.standalone"),
            *("--site", "nowhere", "reclosers", "capture"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "WORKSPACE_ROOT": str(tmp_path)},
    )
    assert done.returncode == 1
    assert done.stderr.startswith("recloser-capture: ")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(
    importlib.util.find_spec("PyInstaller") is None, reason="PyInstaller is not installed"
)
def test_the_built_executable_makes_a_store_and_captures(
    start_fleet: StartFleet, fleets: ModuleType, repository: Path, tmp_path: Path
) -> None:
    subprocess.run(
        [
            *(sys.executable, "-m", "PyInstaller"),
            *(str(repository / "deploy/reclosers_capture.spec"), "--distpath"),
            *(str(tmp_path / "dist"), "--workpath", str(tmp_path / "build")),
        ],
        check=True,
        capture_output=True,
        timeout=1000,
    )
    [executable] = (tmp_path / "dist").iterdir()
    fleet = start_fleet(fleets.relays_of(2, events=1))
    fleet.store.close()
    for path in fleet.store.outputs.glob("*.db*"):
        path.unlink()
    done = subprocess.run(
        [str(executable), "--site", "testsite", "reclosers", "capture"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env=environment(fleet, fleets),
    )
    assert done.returncode == 0, done.stderr
    assert fleet.stored() == fleet.truth()
