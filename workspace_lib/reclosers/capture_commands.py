"""The commands ``workspace reclosers list`` and ``capture``: without Jupyter, quick to start."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from workspace_lib.reclosers.fleet_report import FleetReport

#: Exit code of a run in which not every relay was read.
NOT_ALL = 3
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def add_list(commands: Any) -> None:
    """Add ``workspace reclosers list``."""
    parser = commands.add_parser("list", help="list the reclosers and how their last visits ended")
    parser.add_argument("--ced", default="all", metavar="CED", help="only those of a territory")
    parser.set_defaults(handler=_list)


def add_capture(commands: Any) -> None:
    """Add ``workspace reclosers capture``."""
    parser = commands.add_parser(
        "capture",
        help="fetch what is new from the relays, now",
        description="Ask each relay what is new, fetch only that, and keep it. Exit code 0: every "
        f"relay was read; {NOT_ALL}: some failed, rest after failures, or are left; 1: it could "
        "not be done at all.",
    )
    parser.add_argument("--ced", default="all", metavar="CED", help="territories, with commas")
    parser.add_argument(
        "--reclosers",
        default="all",
        metavar="NAMES",
        help="house names, with commas; who is named is visited even while it rests",
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="also those that rest after failures, and compare stored files with their SHA-256",
    )
    parser.add_argument(
        "--command",
        action="append",
        default=[],
        dest="commands",
        metavar="WORDS",
        help="a further command that only reads, as HIS or 'EVE C'; its answer is kept as a file",
    )
    parser.add_argument(
        "--deadline", type=duration_s, metavar="TIME", help="longest time, as 90s, 30m or 2h"
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FOLDER",
        help="where the report is kept (default: logs/reclosers of the site's outputs)",
    )
    parser.set_defaults(handler=_capture)


def duration_s(text: str) -> float:
    """Return a time as people write it in seconds [s]: ``90``, ``90s``, ``30m``, ``2h``.

    Raises
    ------
    ArgumentTypeError
        If it is none, or not above 0.
    """
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    try:
        seconds = float(number) * _UNITS[unit]
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write it as 90s, 30m or 2h")
    return seconds


def _list(arguments: argparse.Namespace) -> int:
    import sys

    from workspace_lib.clock import iso
    from workspace_lib.errors import StoreError
    from workspace_lib.reclosers.fleet_rest import load_known
    from workspace_lib.reclosers.settings import load_fleet
    from workspace_lib.settings import load_settings
    from workspace_lib.store.migrate import open_store

    settings = load_settings(arguments.site)
    chosen = load_fleet(settings).choose(arguments.ced)
    try:
        with open_store(settings, read_only=True) as store:
            known = load_known(store)
    except StoreError as error:
        print(f"Nothing is known of visits: {error}", file=sys.stderr)
        known = {}
    rows: list[tuple[str, ...]] = [("recloser", "ced", "name", "line", "visited", "outcome")]
    for one in chosen:
        state = known.get(one.id)
        visited = iso(state.visited.replace(microsecond=0)) if state and state.visited else ""
        outcome = state.outcome if state else ""
        rows.append((one.id, one.ced, one.name, one.url or "not remote", visited, outcome))
    _print_columns(rows)
    return 0


def _print_columns(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())


def _capture(arguments: argparse.Namespace) -> int:
    import os
    import platform

    from workspace_lib.logs import set_up_logging
    from workspace_lib.reclosers.fleet import capture_fleet
    from workspace_lib.reclosers.fleet_transcripts import FOLDER, clean_reports
    from workspace_lib.reclosers.settings import load_reclosers
    from workspace_lib.settings import load_settings
    from workspace_lib.store.migrate import open_store
    from workspace_lib.transports.devices import Holder

    settings = load_settings(arguments.site)
    set_up_logging(settings, console=arguments.verbose, verbose=arguments.verbose)
    folder = arguments.report or settings.outputs_dir / FOLDER
    with open_store(settings, create=True) as store:
        report = capture_fleet(
            store,
            settings,
            holder=Holder(f"capture:{platform.node()}:{os.getpid()}"),
            ced=arguments.ced,
            reclosers=arguments.reclosers,
            full=arguments.full,
            commands=arguments.commands,
            deadline_s=arguments.deadline,
            progress=_tell,
            stop=_stopped_by_signals(),
        )
    _end_of_progress()
    if arguments.report is None:
        clean_reports(folder, load_reclosers(settings).transcripts_days, report.began)
    print(report.to_text(), end="")
    for path in report.save(folder):
        print(f"Kept: {path}")
    return exit_code(report)


def exit_code(report: FleetReport) -> int:
    """Return what the command ends with after a run."""
    return 0 if report.complete and not report.files_wrong else NOT_ALL


def _stopped_by_signals() -> threading.Event:
    """Return an event that Ctrl-C and SIGTERM set; the second Ctrl-C ends the program."""
    import signal
    import threading

    stop = threading.Event()

    def wish(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, wish)
    return stop


def _tell(share: float, text: str) -> None:
    """Show the progress as one line, where somebody looks."""
    import sys

    if sys.stderr.isatty():
        filled = round(30 * share)
        bar = "█" * filled + "·" * (30 - filled)
        sys.stderr.write(f"\r{bar} {share:4.0%} {text}\x1b[K")
        sys.stderr.flush()


def _end_of_progress() -> None:
    import sys

    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
