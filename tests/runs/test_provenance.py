"""What a result came from is written down truthfully, also where something is missing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from workspace_lib import secrets
from workspace_lib.files import sha256_file
from workspace_lib.runs import provenance
from workspace_lib.runs.state import RunState, read_state
from workspace_lib.settings import Settings


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_known_and_whether_files_differ_from_it(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a.txt").write_text("1")
    git(tmp_path, "add", "a.txt")
    git(tmp_path, "commit", "-q", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert provenance.git_state(tmp_path) == {"commit": commit, "dirty": False}
    (tmp_path / "a.txt").write_text("2")
    assert provenance.git_state(tmp_path) == {"commit": commit, "dirty": True}


def test_without_a_checkout_there_is_no_commit(tmp_path: Path) -> None:
    assert provenance.git_state(tmp_path) is None


def test_notebook_lock_host_clock_and_versions_are_described(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "_known", set())
    secrets.remember("hunter2!")
    notebook = settings.notebooks_dir / "jobs" / "a.ipynb"
    notebook.write_text("{}")
    facts = provenance.describe(settings, notebook, {"password": "hunter2!", "n": 1})
    assert facts["parameters"] == {"password": "***", "n": 1}
    assert facts["notebook"] == {
        "path": "notebooks/jobs/a.ipynb",
        "sha256": sha256_file(notebook),
    }
    assert facts["lock_sha256"] is None
    assert facts["git"] is None
    assert set(facts["clock"]) == {"synchronized", "max_error_s"}
    assert facts["versions"]["papermill"]
    assert facts["host"]["name"]


def test_the_state_file_is_read_as_it_was_told(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert read_state(path) == {}
    told = RunState(path)
    told.append("inputs", {"name": "a"})
    told.append("inputs", {"name": "a"})
    for _ in range(1000):
        told.add("counts", {"rows": 1}, at="2026-03-01T12:00:00Z")
    told.flush()
    assert read_state(path) == {
        "inputs": [{"name": "a"}],
        "counts": {"rows": 1000},
        "counted_at": "2026-03-01T12:00:00Z",
    }


def test_the_state_is_kept_without_a_file_too() -> None:
    told = RunState(None)
    told.set("partial", {"reason": "x"})
    assert told.content["partial"] == {"reason": "x"}
