"""Commands of the rain wing: ``workspace rain …``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def register(subparsers: Any) -> None:
    """Add ``workspace rain import-calibration``."""
    rain = subparsers.add_parser("rain", help="rain gauges: import calibrations")
    commands = rain.add_subparsers(dest="rain_command", metavar="COMMAND", required=True)
    _add_import(commands)


def _add_import(commands: Any) -> None:
    parser = commands.add_parser(
        "import-calibration",
        help="turn a file pluvio,a,b,c into dated calibrations of the site",
        description="Turn a file with lines pluvio,a,b,c (y = a x² + b x + c) into dated entries "
        "of the site's calibrations. The file says neither since when they hold, nor what a tip is "
        "worth, nor the unit of x: say it here. Names go through the dated aliases of the gauges.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the file")
    parser.add_argument(
        "--valid-from", required=True, metavar="TIME", help="since when, as 2004-01-01T00:00:00Z"
    )
    parser.add_argument("--valid-to", metavar="TIME", help="until when (default: for good)")
    parser.add_argument(
        "--mm-per-tip", required=True, type=float, metavar="MM", help="depth of a tip at rest [mm]"
    )
    parser.add_argument(
        "--unit",
        choices=("tips/min", "mm/min", "mm/h"),
        help="unit of x and y (default: wings.rain.calibration_unit of the site)",
    )
    parser.add_argument(
        "--names-at", metavar="TIME", help="when its names were in use (default: --valid-from)"
    )
    parser.add_argument("--certificate", help="where it comes from (default: the file, its hash)")
    parser.add_argument("--date", help="day of the certificate, as 2004-01-01")
    parser.add_argument("--operator", default="", help="who determined it")
    parser.add_argument(
        "--only-known", action="store_true", help="leave out names that no gauge of the site has"
    )
    parser.add_argument(
        "--write", action="store_true", help="add the entries to the site's file; else print them"
    )
    parser.set_defaults(handler=_import_calibration)


def _import_calibration(arguments: argparse.Namespace) -> int:
    import sys

    from workspace_lib.clock import parse_instant
    from workspace_lib.errors import FormatError
    from workspace_lib.rain import calibration_files as files
    from workspace_lib.rain.calibration_import import import_csv, origin_of
    from workspace_lib.rain.settings import load_network, load_rain
    from workspace_lib.settings import load_settings

    settings = load_settings(arguments.site)
    network, path = load_network(settings), arguments.file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FormatError(f"It cannot be read ({error.strerror}).", where=str(path)) from error
    valid_to, names_at = (
        text and parse_instant(text) for text in (arguments.valid_to, arguments.names_at)
    )
    found = import_csv(
        content,
        network,
        where=str(path),
        unit=arguments.unit or load_rain(settings).calibration_unit,
        mm_per_tip=arguments.mm_per_tip,
        valid_from=parse_instant(arguments.valid_from),
        valid_to=valid_to,
        names_at=names_at,
        origin=origin_of(
            content, path.name, arguments.certificate, arguments.date, arguments.operator
        ),
        only_known=arguments.only_known,
    )
    for gauge, names in found.merged.items():
        print(f"{gauge} stands there as {', '.join(names)}, with equal values.", file=sys.stderr)
    if found.left_out:
        print(f"No gauge is called {', '.join(found.left_out)}: left out.", file=sys.stderr)
    if not arguments.write:
        print(f"calibrations:\n{files.to_yaml(found.records)}", end="")
        return 0
    target = files.calibrations_path(settings)
    new = files.append_calibrations(target, found.records, network)
    print(f"{new} calibrations added to {target}, {len(found.records) - new} were there already.")
    return 0
