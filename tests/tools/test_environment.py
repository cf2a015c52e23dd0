"""tools/environment.py: which environment is used, what is installed, what is said."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

LOCK_TEXT = (
    "# made by a tool\n"
    "numpy==2.4.6 \\\n    --hash=sha256:aa\n"
    "setuptools==84.2.1 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n"
    "tqdm==4.67 \\\n    --hash=sha256:dd\n"
)


@pytest.fixture
def checkout(repository: Path, tmp_path: Path) -> Path:
    """A folder with the tool, locks and a project file, and nothing else."""
    root = tmp_path / "checkout"
    (root / "tools").mkdir(parents=True)
    shutil.copy(repository / "tools" / "environment.py", root / "tools")
    shutil.copy(repository / "Makefile", root)
    shutil.copy(repository / "pyproject.toml", root)
    for name in ("requirements.lock", "requirements-test.lock"):
        (root / name).write_text(LOCK_TEXT)
    return root


@pytest.fixture
def tool(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool, loaded from the empty checkout, with no environment active and no uv."""
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV"):
        monkeypatch.delenv(name, raising=False)
    path = checkout / "tools" / "environment.py"
    spec = importlib.util.spec_from_file_location("environment_tool", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    return module


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """An environment's folder with a Python in it."""
    folder = tmp_path / "environment"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    return folder


@pytest.fixture
def pip_calls(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What pip was asked for; nothing is installed. Requirements files are read at once."""
    calls: list[list[str]] = []

    def pip(self: object, action: str, *arguments: str) -> None:
        names = [Path(a).name if os.sep in a else a for a in arguments]
        if "-r" in arguments:
            file = arguments[arguments.index("-r") + 1]
            pinned = [line.split("=")[0] for line in Path(file).read_text().splitlines()]
            names[-1] = ",".join(n for n in pinned if n and n[0] not in " #")
        calls.append([action, *names])

    monkeypatch.setattr(tool.Environment, "pip", pip)
    return calls


def test_without_an_active_environment_the_checkouts_own_is_used(
    tool: ModuleType, checkout: Path
) -> None:
    assert tool.find_prefix() == checkout / ".venv"


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_an_active_environment_is_used_instead(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, prefix: Path, variable: str
) -> None:
    monkeypatch.setenv(variable, str(prefix))
    assert tool.find_prefix() == prefix


def test_condas_own_base_environment_is_left_alone(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, prefix: Path, checkout: Path
) -> None:
    monkeypatch.setenv("CONDA_PREFIX", str(prefix))
    monkeypatch.setenv("CONDA_DEFAULT_ENV", "base")
    assert tool.find_prefix() == checkout / ".venv"


def test_what_builds_packages_is_installed_first_and_everything_by_hash(
    tool: ModuleType, prefix: Path, pip_calls: list[list[str]]
) -> None:
    tool.Environment(prefix).install(test=False, wheelhouse=None)
    hashed = ["install", "--require-hashes", "--no-build-isolation", "-r"]
    assert pip_calls == [
        [*hashed, "setuptools"],
        [*hashed, "numpy,setuptools,tqdm"],
        ["install", "--no-deps", "--no-build-isolation", "-e", "checkout"],
    ]


def test_a_wheelhouse_is_the_only_source(
    tool: ModuleType, prefix: Path, pip_calls: list[list[str]]
) -> None:
    tool.Environment(prefix).install(test=False, wheelhouse="wheels")
    for call in pip_calls[:2]:
        assert call[3:6] == ["--no-index", "--find-links", "wheels"]


def test_a_second_installation_does_nothing(
    tool: ModuleType, prefix: Path, pip_calls: list[list[str]]
) -> None:
    tool.Environment(prefix).install(test=False, wheelhouse=None)
    pip_calls.clear()
    tool.Environment(prefix).install(test=False, wheelhouse=None)
    assert pip_calls == []


def test_a_changed_lock_is_installed_again(
    tool: ModuleType, prefix: Path, pip_calls: list[list[str]], checkout: Path
) -> None:
    tool.Environment(prefix).install(test=False, wheelhouse=None)
    pip_calls.clear()
    (checkout / "requirements.lock").write_text(LOCK_TEXT.replace("4.67", "4.68"))
    tool.Environment(prefix).install(test=False, wheelhouse=None)
    assert len(pip_calls) == 3


def test_a_changed_project_file_installs_only_the_project(
    tool: ModuleType, prefix: Path, pip_calls: list[list[str]], checkout: Path
) -> None:
    tool.Environment(prefix).install(test=False, wheelhouse=None)
    pip_calls.clear()
    with (checkout / "pyproject.toml").open("a") as stream:
        stream.write("# changed\n")
    tool.Environment(prefix).install(test=False, wheelhouse=None)
    assert [call[-2:] for call in pip_calls] == [["-e", "checkout"]]


def test_the_tests_lock_serves_running_too(
    tool: ModuleType, prefix: Path, pip_calls: list[list[str]]
) -> None:
    tool.Environment(prefix).install(test=True, wheelhouse=None)
    pip_calls.clear()
    tool.Environment(prefix).install(test=False, wheelhouse=None)
    assert pip_calls == []


def test_an_installation_that_failed_is_tried_again(
    tool: ModuleType, prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, action: str, *arguments: str) -> None:
        raise subprocess.CalledProcessError(1, "pip")

    monkeypatch.setattr(tool.Environment, "pip", fail)
    with pytest.raises(subprocess.CalledProcessError):
        tool.Environment(prefix).install(test=False, wheelhouse=None)
    assert tool.Environment(prefix).read_stamp() == {}


def test_what_conda_solved_is_not_replaced(
    tool: ModuleType, prefix: Path, pip_calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (prefix / "conda-meta").mkdir()
    (prefix / "conda-meta" / "numpy-2.4.6-py311.json").write_text("{}")
    monkeypatch.setattr(tool.subprocess, "check_output", lambda *a, **o: "tqdm>=4.67\n")
    tool.Environment(prefix).install(test=False, wheelhouse=None)
    assert pip_calls[0] == ["install", "tqdm>=4.67"]
    assert len(pip_calls) == 2


def test_the_check_of_bounds_names_what_is_not_met(tool: ModuleType, tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text(
        '[project]\ndependencies = ["pytest>=1", "no-such-thing>=1", "pyyaml>=99"]\n'
        "[project.optional-dependencies]\n"
        """web = ["nor-this; sys_platform == 'none'", "nor-that"]\n"""
    )
    output = subprocess.check_output([sys.executable, "-c", tool.UNMET, project, "web"], text=True)
    assert output.split() == ["no-such-thing>=1", "pyyaml>=99", "nor-that"]


def run_tool(
    checkout: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the tool as make does, with nothing active."""
    kept = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    return subprocess.run(
        [sys.executable, checkout / "tools" / "environment.py"],
        env={**kept, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_missing_venv_is_told_in_one_line_with_the_command(
    checkout: Path, tmp_path: Path
) -> None:
    without = tmp_path / "without"
    without.mkdir()
    (without / "sitecustomize.py").write_text("import sys\nsys.modules['ensurepip'] = None\n")
    (without / "apt").touch(mode=0o755)
    path = f"{without}{os.pathsep}{os.environ['PATH']}"
    done = run_tool(checkout, {"PYTHONPATH": str(without), "PATH": path})
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert done.returncode == 1
    assert done.stderr == (
        f"Python's venv is missing, type: sudo apt install python{version}-venv\n"
    )
    assert not (checkout / ".venv").exists()


def test_an_old_python_is_told_in_one_line(checkout: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / "sitecustomize.py").write_text("import sys\nsys.version_info = (3, 9, 2, 'final', 0)\n")
    done = run_tool(checkout, {"PYTHONPATH": str(old)})
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("Python 3.11 or newer is needed and ")
    assert done.stderr.endswith(" is 3.9.\n")


@pytest.fixture
def make() -> Callable[..., subprocess.CompletedProcess[str]]:
    program = shutil.which("make")
    if program is None:
        pytest.skip("make is not installed")

    def run(
        checkout: Path, *arguments: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *arguments],
            cwd=checkout,
            env={"PATH": os.environ["PATH"], **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (("run",), "-- workspace up --demo"),
        (("run", "ARGS=--once"), "-- workspace up --demo --once"),
        (("run", "WHEELHOUSE=there"), "--wheelhouse there -- workspace up --demo"),
        (("test",), '--test -- python -m pytest -n 2 --dist worksteal -m "not chaos"'),
        (("test-fast",), 'not (kernel or server or browser or slow or chaos)"'),
        (("check",), "--test -- python tools/check.py"),
        (("bench", "WING=rain"), "--test -- python benchmarks/run.py rain"),
        (("chaos",), "pytest -m chaos"),
        (("lab",), "-m jupyterlab --notebook-dir=notebooks"),
        (("wheelhouse",), "--download wheelhouse"),
        (("wheelhouse", "TEST=1", "WHEELHOUSE=there"), "--test --download there"),
    ],
)
def test_make_calls_the_command(
    make: Callable[..., subprocess.CompletedProcess[str]],
    repository: Path,
    target: tuple[str, ...],
    expected: str,
) -> None:
    done = make(repository, "-n", *target)
    assert done.returncode == 0, done.stderr
    assert expected in " ".join(done.stdout.replace("\\\n", " ").split())


def test_make_without_any_python_says_what_to_type(
    make: Callable[..., subprocess.CompletedProcess[str]], checkout: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "sh").symlink_to("/bin/sh")
    done = make(checkout, "run", PATH=str(empty))
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed, type: sudo apt install python3" in done.stderr
    assert done.stderr.count("\n") == 1
