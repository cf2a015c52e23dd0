"""The command ``workspace reclosers import``: event files that people fetched by hand."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

#: Exit code of an import that left something out, as of a capture that did not read every relay.
NOT_ALL = 3


def add_import(commands: Any) -> None:
    """Add ``workspace reclosers import``."""
    parser = commands.add_parser(
        "import",
        help="take in event files and Events.csv that were fetched by hand",
        description="Take in the events in a folder and below: CEV, EVE, COMTRADE, SEL headers, "
        "lists of events (Events.csv, HIS, CHI). What is stored already stays as it is, and the "
        "folder is never changed. Which recloser a file is of is told by its folders, its name, or "
        "its content; what nothing tells is listed and not taken in. Exit code 0: everything is "
        f"taken in or was there; {NOT_ALL}: something was damaged or left out.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the files are")
    parser.add_argument("--ced", default="all", help="only reclosers of this territory are meant")
    parser.add_argument("--recloser", help="all files are of this recloser")
    parser.add_argument(
        "--dry-run", action="store_true", help="tell what would be taken in, and change nothing"
    )
    parser.set_defaults(handler=_import)


def _import(arguments: argparse.Namespace) -> int:
    from workspace_lib.clock import SYSTEM_CLOCK
    from workspace_lib.reclosers.importing import import_folder
    from workspace_lib.settings import load_settings
    from workspace_lib.store.migrate import open_store

    settings = load_settings(arguments.site)
    with open_store(settings) as store:
        report = import_folder(
            store,
            settings,
            arguments.folder,
            ced=arguments.ced,
            recloser=arguments.recloser,
            dry_run=arguments.dry_run,
            now=SYSTEM_CLOCK.now(),
        )
    print(report.text())
    return 0 if report.complete else NOT_ALL
