"""What `make check` does: style, types, and the few tests that hold the architecture.

Every part runs, also after one that failed, so that one call shows everything to mend.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = {
    "style": ("ruff", "check", "."),
    "format": ("ruff", "format", "--check", "."),
    "types": ("mypy",),
    # What Windows lacks (fcntl, os.fork, select.poll) is named by its own view of the modules.
    "types on Windows": ("mypy", "--platform", "win32", "--cache-dir", ".mypy_cache/windows"),
    # Import arrows, one Alembic head, notebooks without outputs.
    "architecture": ("pytest", "-q", "tests/test_architecture.py"),
}


def main() -> int:
    """Run all parts; return 1 if any failed."""
    failed = []
    for name, (module, *arguments) in PARTS.items():
        print(f"== {name}: {module} {' '.join(arguments)}", flush=True)
        if subprocess.call([sys.executable, "-m", module, *arguments], cwd=ROOT) != 0:
            failed.append(name)
    print(f"== failed: {', '.join(failed)}" if failed else "== all well")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
