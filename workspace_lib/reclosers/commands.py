"""Commands of the reclosers wing: ``workspace reclosers …``."""

from __future__ import annotations

from typing import Any

from workspace_lib.reclosers.capture_commands import add_capture, add_list
from workspace_lib.reclosers.import_commands import add_import
from workspace_lib.reclosers.ini_commands import add_import_ini


def register(subparsers: Any) -> None:
    """Add ``workspace reclosers …``."""
    reclosers = subparsers.add_parser(
        "reclosers", help="recloser relays: list them, capture, take in files and old settings"
    )
    commands = reclosers.add_subparsers(dest="reclosers_command", metavar="COMMAND", required=True)
    add_list(commands)
    add_capture(commands)
    add_import(commands)
    add_import_ini(commands)
