"""Make the Python environment of this checkout from its lock file, then run a command in it.

    python3 tools/environment.py [--test] [--wheelhouse DIR] [-- COMMAND ...]

An active virtual or conda environment is used, else ``.venv`` is made beside this file's folder.
Nothing is installed twice: a stamp in the environment remembers which lock it holds. This file
needs nothing but Python's own library, and an old Python can read it far enough to say it is old.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAMP = "field-workspace.json"
LOCK = "requirements.lock"
TEST_LOCK = "requirements-test.lock"
RUN_EXTRAS = ("notebooks", "dashboards", "web", "demo", "dask", "build")
TEST_EXTRAS = (*RUN_EXTRAS, "test", "bench")
BUILD_PACKAGES = ("setuptools",)
OLDEST = (3, 11)

# Run by the environment's own Python: prints each requirement of the project it does not meet.
UNMET = """
import sys, tomllib
from importlib.metadata import PackageNotFoundError, version
from pip._vendor.packaging.requirements import Requirement
with open(sys.argv[1], "rb") as stream:
    project = tomllib.load(stream)["project"]
wanted = list(project["dependencies"])
for extra in sys.argv[2:]:
    wanted += project["optional-dependencies"][extra]
for requirement in map(Requirement, wanted):
    if requirement.marker and not requirement.marker.evaluate():
        continue
    try:
        met = requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        met = False
    if not met:
        print(requirement)
"""


class Stop(Exception):
    """Something the user must do first, in one line."""


def main(argv: list[str]) -> int:
    """Make the environment, or fill a wheelhouse, or run a command; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--test", action="store_true", help="also what the tests need")
    parser.add_argument("--wheelhouse", help="install from this folder, without a network")
    parser.add_argument("--download", help="only fill this folder, for --wheelhouse elsewhere")
    parser.add_argument("command", nargs="*", help="what to run in the environment")
    arguments = parser.parse_args(argv)
    try:
        environment = Environment(find_prefix())
        environment.create()
        if arguments.download:
            environment.download(Path(arguments.download), test=arguments.test)
        else:
            environment.install(test=arguments.test, wheelhouse=arguments.wheelhouse)
    except Stop as reason:
        say(str(reason), sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        say(f"Installing failed with exit code {error.returncode}, see above.", sys.stderr)
        return 1
    return environment.run(arguments.command) if arguments.command else 0


def find_prefix() -> Path:
    """Return the folder of the environment to use."""
    active = os.environ.get("VIRTUAL_ENV")
    if active:
        return Path(active)
    conda = os.environ.get("CONDA_PREFIX")
    if conda and os.environ.get("CONDA_DEFAULT_ENV") != "base":  # base is conda's own
        return Path(conda)
    return ROOT / ".venv"


class Environment:
    """One Python environment: where it is, what it holds."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        records = prefix / "conda-meta"
        # environment.yml was used here: conda's own packages are not to be replaced by the lock's.
        self.solved_by_conda = any(records.glob("numpy-*.json"))
        if os.name == "nt":
            self.bin = prefix / "Scripts"
            self.python = (prefix if records.is_dir() else self.bin) / "python.exe"
        else:
            self.bin = prefix / "bin"
            self.python = self.bin / "python"

    def create(self) -> None:
        """Make ``.venv`` if that is the one to use and is not there; check Python's version."""
        if self.python.exists():
            code = "import sys; print(*sys.version_info[:2])"
            output = subprocess.check_output([str(self.python), "-c", code], text=True)
            check_version(tuple(map(int, output.split())), self.python)
            return
        check_version(sys.version_info[:2], Path(sys.executable))
        try:
            import ensurepip  # noqa: F401
        except ImportError:
            raise Stop(how_to_get_venv()) from None
        say(f"Making {self.prefix} with Python {sys.version.split()[0]}")
        subprocess.check_call([sys.executable, "-m", "venv", str(self.prefix)])

    def install(self, *, test: bool, wheelhouse: str | None) -> None:
        """Install what the lock says, and this project itself, unless it is there already."""
        lock = TEST_LOCK if test else LOCK
        wanted = {name: digest(name) for name in {lock, LOCK}}  # the test lock holds the other
        project = digest("pyproject.toml", str(ROOT))
        stamp = self.read_stamp()
        started = time.monotonic()
        if any(stamp.get(name) != value for name, value in wanted.items()):
            if self.solved_by_conda:
                self.install_missing(test=test, wheelhouse=wheelhouse)
            else:
                say(f"Installing {lock} into {self.prefix} (a minute or two)")
                self.install_lock(lock, wheelhouse)
            stamp = {**stamp, **wanted, "project": ""}
        if stamp.get("project") != project:
            self.pip("install", "--no-deps", "--no-build-isolation", "-e", str(ROOT))
            self.write_stamp({**stamp, "project": project})
            say(f"Installed in {time.monotonic() - started:.0f} s.")

    def install_missing(self, *, test: bool, wheelhouse: str | None) -> None:
        """Install what conda did not bring, within the bounds of pyproject.toml."""
        extras = TEST_EXTRAS if test else RUN_EXTRAS
        command = [str(self.python), "-c", UNMET, str(ROOT / "pyproject.toml"), *extras]
        unmet = subprocess.check_output(command, text=True).splitlines()
        if unmet:
            say(f"Conda brought the rest; adding {', '.join(unmet)}")
            self.pip("install", *offline(wheelhouse), *unmet)

    def install_lock(self, lock: str, wheelhouse: str | None) -> None:
        """Install a lock file; what builds source distributions goes first, so that the rest
        needs no build environment, for which pip would fetch files without looking at hashes.
        """
        options = ["--require-hashes", "--no-build-isolation", *offline(wheelhouse)]
        uv = shutil.which("uv")
        with build_requirements(lock) as first:
            for requirements in (first, str(ROOT / lock)):
                arguments = [*options, "-r", requirements]
                if uv:
                    target = ["--quiet", "--python", str(self.python)]
                    if subprocess.call([uv, "pip", "install", *target, *arguments]) == 0:
                        continue
                    say("uv could not; trying pip, which may know another package index.")
                    uv = None
                self.pip("install", *arguments)

    def download(self, folder: Path, *, test: bool) -> None:
        """Put every file that the lock names for this machine and Python into a folder."""
        lock = TEST_LOCK if test else LOCK
        say(f"Downloading {lock} into {folder}")
        options = ["--require-hashes", "--no-build-isolation", "-r"]
        with build_requirements(lock) as first:
            self.pip("install", *options, first)
            for requirements in (first, str(ROOT / lock)):
                self.pip("download", "-d", str(folder), *options, requirements)
        say(f"{sum(1 for _ in folder.iterdir())} files in {folder}")

    def pip(self, action: str, *arguments: str) -> None:
        """Run the environment's own pip."""
        subprocess.check_call([str(self.python), "-m", "pip", action, "-q", *arguments])

    def run(self, command: list[str]) -> int:
        """Run a command of the environment in place of this process."""
        program = str(self.python if command[0] == "python" else self.bin / command[0])
        if os.name == "nt":
            return subprocess.call([program, *command[1:]])
        os.execv(program, [program, *command[1:]])

    def read_stamp(self) -> dict[str, str]:
        """Return what the environment holds, as its stamp says."""
        try:
            return dict(json.loads((self.prefix / STAMP).read_text()))
        except (OSError, ValueError):
            return {}

    def write_stamp(self, stamp: dict[str, str]) -> None:
        """Remember what the environment holds."""
        (self.prefix / STAMP).write_text(json.dumps(stamp, indent=2, sort_keys=True) + "\n")


def offline(wheelhouse: str | None) -> list[str]:
    """Return the options of pip and uv that take files from a folder and nowhere else."""
    return ["--no-index", "--find-links", wheelhouse] if wheelhouse else []


@contextlib.contextmanager
def build_requirements(lock: str):
    """Give a temporary requirements file with the lock's entries of what builds packages."""
    handle, path = tempfile.mkstemp(suffix=".txt")
    with os.fdopen(handle, "w") as stream:
        stream.write(pick((ROOT / lock).read_text(), BUILD_PACKAGES))
    try:
        yield path
    finally:
        Path(path).unlink()


def pick(lock_text: str, names: tuple[str, ...]) -> str:
    """Return the entries, with their lines of hashes, of some packages of a lock file's text."""
    kept, keep = [], False
    for line in lock_text.splitlines():
        if not line.startswith(" "):
            keep = line.split("==")[0] in names
        if keep:
            kept.append(line)
    return "\n".join(kept) + "\n"


def check_version(found: tuple[int, ...], where: Path) -> None:
    """Raise Stop if a Python is too old."""
    if found < OLDEST:
        wanted, has = (".".join(map(str, version)) for version in (OLDEST, found))
        raise Stop(f"Python {wanted} or newer is needed and {where} is {has}.")


def how_to_get_venv() -> str:
    """Return the one line to show where Python came without its venv."""
    package = "python{}.{}-venv".format(*sys.version_info)
    if shutil.which("apt"):
        return f"Python's venv is missing, type: sudo apt install {package}"
    return f"Python's venv is missing: install {package} (or ensurepip) of your system."


def digest(name: str, extra: str = "") -> str:
    """Return a hash of one of the project's files."""
    return hashlib.sha256((ROOT / name).read_bytes() + extra.encode()).hexdigest()


def say(text: str, stream=None) -> None:
    """Tell the user what happens, at once: another program may write next."""
    print(text, file=stream, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
