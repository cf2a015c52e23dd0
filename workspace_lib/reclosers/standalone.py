"""The capture as a program of its own, for maintenance servers: ``recloser-capture``.

It has the commands ``workspace reclosers …`` and ``workspace upgrade`` and nothing of notebooks,
dashboards or the web. `deploy/reclosers_capture.spec` builds one executable of it with PyInstaller;
``python -m workspace_lib.reclosers.standalone`` is the same without building.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from workspace_lib import __version__
from workspace_lib.errors import WorkspaceError
from workspace_lib.reclosers import commands as reclosers_commands
from workspace_lib.store import commands as store_commands


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the program."""
    parser = argparse.ArgumentParser(
        prog="recloser-capture", description="Fetch what is new from recloser relays, and keep it."
    )
    parser.add_argument("--version", action="version", version=f"recloser-capture {__version__}")
    parser.add_argument("--site", help="site: a name under parameters/, or a path")
    parser.add_argument("-v", "--verbose", action="store_true", help="show debug messages")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    reclosers_commands.register(subparsers)
    store_commands.register(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code, as `workspace` does."""
    arguments = build_parser().parse_args(argv)
    try:
        return int(arguments.handler(arguments) or 0)
    except WorkspaceError as error:
        sys.stderr.write(f"recloser-capture: {error}\n")
        return int(getattr(error, "exit_code", 1))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
