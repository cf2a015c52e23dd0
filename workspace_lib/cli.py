"""The command ``workspace``: each floor brings its own commands in its module ``commands``.

A ``commands`` module imports nothing heavy at its top, so that ``workspace --help`` is quick and
the edge client stays small. Its ``register(subparsers)`` adds parsers and sets ``handler``, a
function that takes the parsed arguments and returns the exit code.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import select
import sys
from collections.abc import Sequence

from workspace_lib import __version__
from workspace_lib.errors import WorkspaceError

#: Exit code of a command whose output nobody reads any more, as other programs have it.
READER_GONE = 141

FLOORS = (
    "formats", "store", "transports", "rain", "reclosers", "runs", "views", "web", "up", "doctor",
)  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="workspace",
        description="Capture, calibrate, parse and analyse field data on schedule.",
    )
    parser.add_argument("--version", action="version", version=f"workspace {__version__}")
    parser.add_argument(
        "--site", help="site: a name under parameters/ or a path (default: WORKSPACE_SITE or demo)"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show debug messages")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for floor in FLOORS:
        for name in (f"workspace_lib.{floor}.commands", f"workspace_lib.{floor}_commands"):
            if _exists(name):
                importlib.import_module(name).register(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; a named error is one sentence, not a traceback."""
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        return READER_GONE


def _run(argv: Sequence[str] | None) -> int:
    arguments = build_parser().parse_args(argv)
    try:
        return int(arguments.handler(arguments) or 0)
    except WorkspaceError as error:
        print(f"workspace: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    except KeyboardInterrupt:
        return 130


def _reader_is_gone() -> bool:
    """Whether whoever read our output has closed it (``| head``); then nothing more is written."""
    output = sys.stdout.fileno()
    if sys.platform != "win32":
        asked = select.poll()
        asked.register(output, select.POLLOUT)
        if not any(state & select.POLLERR for _, state in asked.poll(0)):
            return False
    # What is left in the buffer goes nowhere, so that the end of Python does not complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(main())
