"""The command ``workspace reclosers import-ini``: settings of the former program."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_import_ini(commands: Any) -> None:
    """Add ``workspace reclosers import-ini``."""
    parser = commands.add_parser(
        "import-ini",
        help="turn old .ini files and lists of reclosers into entries of the site's list",
        description="Turn .ini files of the former program, and its lists of reclosers (LCLCL), "
        "into entries of the site's list. What is not understood is told with section, key and "
        "line. Passwords are never taken over: the secrets to be set are named instead.",
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="the .ini files")
    parser.add_argument(
        "--list",
        action="append",
        default=[],
        dest="lists",
        type=Path,
        metavar="FILE",
        help="a list of reclosers, by names of columns or by what the cells look like",
    )
    parser.add_argument("--ced", default="", help="territory of those whose files do not say it")
    parser.add_argument(
        "--write", action="store_true", help="add the entries to the site's list; else print them"
    )
    parser.set_defaults(handler=_import_ini)


def _import_ini(arguments: argparse.Namespace) -> int:
    import sys

    import yaml

    from workspace_lib.errors import ParameterError
    from workspace_lib.reclosers.fleet_file import append_reclosers, to_yaml
    from workspace_lib.reclosers.legacy_ini import import_legacy
    from workspace_lib.reclosers.settings import load_fleet, load_reclosers
    from workspace_lib.settings import load_settings

    if not arguments.files and not arguments.lists:
        raise ParameterError("There is nothing to import.", fix="Name an .ini file, or --list.")
    settings = load_settings(arguments.site)
    path = settings.site_dir / load_reclosers(settings).fleet
    found = import_legacy(
        [(one.name, _content(one)) for one in arguments.files],
        [(one.name, _content(one)) for one in arguments.lists],
        ced=arguments.ced,
        fleet=load_fleet(settings) if path.exists() else None,
    )
    for note in found.notes:
        print(note, file=sys.stderr)
    for secret, recloser in found.secrets.items():
        whose = f"of {recloser}" if recloser else "that all relays share"
        print(f"Set the secret {secret}: the password of level 1 {whose}.", file=sys.stderr)
    if found.settings:
        text = yaml.safe_dump({"wings": {"reclosers": found.settings}}, sort_keys=False)
        print(f"Set in {settings.site_dir / 'site.yml'}:\n{text}", end="", file=sys.stderr)
    if not arguments.write:
        listed = f"\n{to_yaml(found.entries).rstrip()}" if found.entries else " []"
        print(f"reclosers:{listed}")
        return 0
    new, others = append_reclosers(path, found.entries)
    same = len(found.entries) - new - len(others)
    print(f"{new} reclosers added to {path}, {same} were there already.")
    if others:
        print(f"They stand there otherwise and stay so: {', '.join(others)}.", file=sys.stderr)
    return 0


def _content(path: Path) -> bytes:
    from workspace_lib.errors import FormatError

    try:
        return path.read_bytes()
    except OSError as error:
        raise FormatError(f"It cannot be read ({error.strerror}).", where=str(path)) from error
