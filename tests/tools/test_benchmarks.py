"""benchmarks/run.py: which programs it runs, and what it says when one fails."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def runner(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The runner, looking at a folder with three small benchmarks, of which one fails."""
    spec = importlib.util.spec_from_file_location("bench_run", repository / "benchmarks" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, code in {"rain": "print(1)", "rain_sums": "print(2)", "web": "exit(3)"}.items():
        (tmp_path / f"bench_{name}.py").write_text(code)
    (tmp_path / "notes.py").write_text("exit(9)")
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    return module


def test_a_wings_benchmarks_are_run_and_printed(
    runner: ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    assert runner.main(["rain"]) == 0
    printed = capfd.readouterr().out
    assert [line for line in printed.splitlines() if line.startswith("==")] == [
        "== bench_rain",
        "== bench_rain_sums",
    ]


def test_one_that_fails_fails_the_whole_and_is_named(
    runner: ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    assert runner.main([]) == 1
    assert capfd.readouterr().out.endswith("Failed: bench_web\n")


def test_an_unknown_wing_is_told_what_there_is(
    runner: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runner.main(["wind"]) == 1
    assert "there are: rain, rain_sums, web" in capsys.readouterr().out
