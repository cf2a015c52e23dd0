"""Where a result comes from: parameters, notebook, code, lock, machine, clock, versions."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from workspace_lib import secrets
from workspace_lib.files import sha256_file
from workspace_lib.hostclock import clock_state
from workspace_lib.runs.marks import WORKER_MARK
from workspace_lib.settings import Settings

#: Packages whose version can change a result.
PACKAGES = (
    "field-workspace",
    "papermill",
    "nbclient",
    "ipykernel",
    "numpy",
    "pandas",
    "polars",
    "pyarrow",
    "scipy",
    "sqlalchemy",
)
_GIT_TIMEOUT_S = 5.0


def describe(settings: Settings, notebook: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known before the notebook starts, as JSON can hold it, secrets redacted."""
    facts = {
        "parameters": dict(parameters),
        "notebook": {"path": _relative(notebook, settings.root), "sha256": _hash(notebook)},
        "git": git_state(settings.root),
        "lock_sha256": _hash(settings.root / "requirements.lock"),
        "site": settings.site_name,
        "host": {
            "name": socket.gethostname(),
            "system": platform.platform(),
            "user": _user(),
            "worker": os.environ.get(WORKER_MARK),
        },
        "clock": asdict(clock_state()),
        "versions": versions(),
    }
    redacted: dict[str, Any] = secrets.redact_tree(facts)
    return redacted


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return the commit of the checkout and whether tracked files differ; None without one."""
    commit = git_commit(folder)
    if not commit:
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def git_commit(folder: Path) -> str | None:
    """Return the commit of the checkout; None without one."""
    return _git(folder, "rev-parse", "HEAD") or None


@cache
def versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages that can change a result."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = _version(metadata.distribution(name))
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _version(package: metadata.Distribution) -> str:
    # Its own `version` parses the whole description of the package as a letter, for each run.
    head = (package.read_text("METADATA") or "").partition("\n\n")[0]
    for line in head.splitlines():
        if line.startswith("Version:"):
            return line.removeprefix("Version:").strip()
    return package.version


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            # Without it a status would write the index, while somebody else commits.
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _hash(path: Path) -> str | None:
    return sha256_file(path) if path.is_file() else None


def _relative(path: Path, root: Path) -> str:
    inside = path.is_relative_to(root)
    return path.relative_to(root).as_posix() if inside else str(path)


def _user() -> str:
    return os.environ.get("USER") or os.environ.get("USERNAME") or ""
