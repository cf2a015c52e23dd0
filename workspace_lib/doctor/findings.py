"""What the doctor found: one line each."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["ok", "attention", "missing"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor: what was looked at, how it is, and what to do.

    ``needed`` is False for what only some sites or tests use.
    """

    topic: str
    state: State
    message: str
    fix: str | None = None
    needed: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return the finding for JSON."""
        return asdict(self)


def is_well(findings: list[Finding]) -> bool:
    """Return whether nothing that is needed is missing."""
    return not any(finding.needed and finding.state == "missing" for finding in findings)
