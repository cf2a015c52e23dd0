"""The command ``workspace doctor``: what is missing or wrong here, and what to do."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workspace_lib.doctor.findings import Finding


def register(subparsers: Any) -> None:
    """Add ``workspace doctor [--json]``."""
    parser = subparsers.add_parser(
        "doctor",
        help="say what is missing or wrong on this machine and what to do",
        description="Look at Python, packages, disk, clock, store, jobs, ports, secrets, sources, "
        "serial ports and optional programs. Exit code 1: something needed is missing.",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(handler=doctor)


def doctor(arguments: argparse.Namespace) -> int:
    """Print the findings; return 1 if something needed is missing."""
    from workspace_lib.doctor.examination import examine
    from workspace_lib.doctor.findings import is_well
    from workspace_lib.settings import load_settings

    findings = examine(load_settings(arguments.site))
    if arguments.json:
        print(json.dumps([finding.to_dict() for finding in findings], indent=2))
    else:
        print(as_text(findings))
    return 0 if is_well(findings) else 1


def as_text(findings: list[Finding]) -> str:
    """Return the findings as lines ``state  topic  message``, what to do below."""
    lines = []
    for finding in findings:
        lacking = finding.state == "missing" and not finding.needed
        state = "optional" if lacking else finding.state
        lines.append(f"{state:<9}  {finding.topic:<9}  {finding.message}")
        if finding.fix and finding.state != "ok":
            lines.append(f"{'':<22}→ {finding.fix}")
    return "\n".join(lines)
