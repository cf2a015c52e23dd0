"""Run the benchmarks and print their tables: all of them, or those of the wings named.

    make bench                  every benchmarks/bench_*.py
    make bench WING=rain        benchmarks/bench_rain*.py

Each benchmark is a program of its own that prints one table, so that none warms another's caches.
A benchmark that misses a target it states ends with 1, and so does this.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from pathlib import Path

import psutil

FOLDER = Path(__file__).resolve().parent


def find(wings: list[str]) -> list[Path]:
    """Return the benchmarks of the wings named, or all."""
    patterns = [f"bench_{wing}*.py" for wing in wings] or ["bench_*.py"]
    return sorted({path for pattern in patterns for path in FOLDER.glob(pattern)})


def describe_machine() -> str:
    """Return what the numbers depend on, in one line."""
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{platform.system()} {platform.machine()}, {psutil.cpu_count()} cores, {memory:.0f} GiB, "
        f"Python {platform.python_version()}, load {psutil.getloadavg()[0]:.1f}"
    )


def main(wings: list[str]) -> int:
    """Run them one after the other; return 1 if one failed or there is none."""
    programs = find(wings)
    if not programs:
        known = sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))
        print(f"No benchmark of {' '.join(wings)}; there are: {', '.join(known) or 'none yet'}.")
        return 1
    print(describe_machine())
    failed = []
    for program in programs:
        print(f"\n== {program.stem}", flush=True)
        started = time.monotonic()
        if subprocess.call([sys.executable, str(program)], cwd=FOLDER.parent) != 0:
            failed.append(program.stem)
        print(f"   ({time.monotonic() - started:.0f} s)", flush=True)
    if failed:
        print(f"\nFailed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
