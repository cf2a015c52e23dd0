"""The commands ``workspace probe`` (look at a source) and ``workspace clear`` (tidy it)."""

from __future__ import annotations

import argparse
from typing import Any


def register(subparsers: Any) -> None:
    """Add ``workspace probe SOURCE_OR_DEVICE`` and ``workspace clear SOURCE``."""
    parser = subparsers.add_parser(
        "probe",
        help="talk to a source or a device and say what is seen; stores nothing",
        description="Talk to a source or a device of the site once: what it holds, how it answers, "
        "how its clock stands. Nothing is stored. Exit code 1 if it does not answer.",
    )
    parser.add_argument("name", metavar="SOURCE_OR_DEVICE", help="its name in the site's settings")
    parser.set_defaults(handler=probe_one)
    parser = subparsers.add_parser(
        "clear",
        help="move verified files of a source to its trash, remove what lay there long enough",
        description="Move files that are parsed, and proved to be in the raw archive, to the "
        "source's trash folder, and remove what lay there for delete_after_days. Does nothing "
        "unless the site sets allow_delete for the source.",
    )
    parser.add_argument("source", metavar="SOURCE", help="its name in the site's settings")
    parser.set_defaults(handler=clear_one)


def probe_one(arguments: argparse.Namespace) -> int:
    """Print what is seen of ``arguments.name``; returns the exit code."""
    import logging

    from workspace_lib.logs import FORMAT, LOGGER, RedactingFormatter
    from workspace_lib.settings import load_settings
    from workspace_lib.transports.probes import probe

    # On the console only: the site's log file would be something stored.
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter(FORMAT))
    logger = logging.getLogger(LOGGER)
    logger.setLevel("DEBUG" if arguments.verbose else "WARNING")
    logger.addHandler(handler)
    try:
        for line in probe(load_settings(arguments.site), arguments.name):
            print(line, flush=True)
    finally:
        logger.removeHandler(handler)
    return 0


def clear_one(arguments: argparse.Namespace) -> int:
    """Clear ``arguments.source``; returns the exit code, 1 if a file that should go had to stay."""
    from workspace_lib.logs import set_up_logging
    from workspace_lib.settings import load_settings
    from workspace_lib.store.migrate import open_store
    from workspace_lib.transports.ftp_trash import trash

    settings = load_settings(arguments.site)
    settings.source(arguments.source)
    set_up_logging(settings, verbose=arguments.verbose)
    with open_store(settings) as store:
        report = trash(store, settings, arguments.source)
    if not report.allowed:
        print(f"Nothing was done: allow_delete is not set for {arguments.source}.")
        return 0
    print(f"{report.moved} files moved to the trash, {report.removed} removed from it.")
    for path, reason in report.kept:
        print(f"kept {path}: {reason}")
    return 1 if report.kept else 0
