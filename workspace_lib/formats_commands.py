"""The command ``workspace inspect``: what a file is, and what its reader makes of it."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from workspace_lib.errors import FormatError

READ, UNKNOWN, UNREADABLE = 0, 1, 2
ISSUES_SHOWN = 20


def register(subparsers: Any) -> None:
    """Add ``workspace inspect FILE [--json]``."""
    parser = subparsers.add_parser(
        "inspect",
        help="say what a file is and what is in it",
        description="Say what a file is and what is in it. With --site, the site is asked for what "
        "the file does not say (whose it is, what a tip means). Exit code 0: read (even with "
        "issues), 1: of no known format, 2: of a known format but unreadable.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the file to look at")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(handler=inspect_file)


def inspect_file(arguments: argparse.Namespace) -> int:
    """Print the envelope of ``arguments.file`` as text or as JSON; returns the exit code."""
    from workspace_lib import formats
    from workspace_lib.settings import load_settings

    path: Path = arguments.file
    settings = load_settings(arguments.site) if arguments.site else None
    try:
        reader = formats.find_reader(path)
    except FormatError as error:
        return _fail(error, UNKNOWN)
    except OSError as error:
        return _fail(_unreadable(path, error), UNREADABLE)
    try:
        envelope = _without_nan(formats.inspect(path, reader, settings))
    except FormatError as error:
        return _fail(error, UNREADABLE)
    except OSError as error:
        return _fail(_unreadable(path, error), UNREADABLE)
    if arguments.json:
        print(json.dumps(envelope, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print(as_text(envelope))
    return READ


def as_text(envelope: dict[str, Any]) -> str:
    """Return the envelope as lines ``name  value``, its issues below."""
    plain = {key: value for key, value in envelope.items() if key != "issues"}
    width = max(map(len, plain))
    lines = [f"{key:<{width}}  {_shown(value)}" for key, value in plain.items()]
    issues = envelope["issues"]
    lines.append(f"{'issues':<{width}}  {len(issues) or 'none'}")
    lines += [
        f"  {issue['severity']} {issue['code']} ({issue['where']}): {issue['message']}"
        for issue in issues[:ISSUES_SHOWN]
    ]
    if len(issues) > ISSUES_SHOWN:
        lines.append(f"  … and {len(issues) - ISSUES_SHOWN} more; --json shows all.")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(inner)}" for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_shown, value)) or "none"
    return str(value)


def _without_nan(value: Any) -> Any:
    """Return ``value`` with null for what is no number: JSON knows no NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(inner) for inner in value]
    return value


def _unreadable(path: Path, error: OSError) -> FormatError:
    return FormatError(f"The file cannot be read ({error.strerror}).", where=str(path))


def _fail(error: FormatError, code: int) -> int:
    print(f"workspace: {error}", file=sys.stderr)
    return code
