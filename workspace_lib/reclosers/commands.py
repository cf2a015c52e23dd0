"""Commands of the reclosers wing: ``workspace reclosers …``."""

from __future__ import annotations

from typing import Any

from workspace_lib.reclosers.import_commands import add_import


def register(subparsers: Any) -> None:
    """Add ``workspace reclosers …``."""
    reclosers = subparsers.add_parser("reclosers", help="recloser relays: take in event files")
    commands = reclosers.add_subparsers(dest="reclosers_command", metavar="COMMAND", required=True)
    add_import(commands)
