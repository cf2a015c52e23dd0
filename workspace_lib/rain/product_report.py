"""What a run of the yearly products did, as it is published."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from workspace_lib.reports import plain
from workspace_lib.transports.ftp_trash import TrashReport


@dataclass(frozen=True)
class ProductReport:
    """What one run made and sent.

    ``made`` files were written, ``unchanged`` ones were as they should be, ``left`` ones are for
    the next run; ``sent`` were put on the server and proved, ``waiting`` ones are not there yet;
    ``swept`` unfinished ones of killed runs were removed, here and there.
    ``years`` are those with something made.
    """

    gauges: tuple[str, ...]
    years: tuple[int, ...] = ()
    made: int = 0
    unchanged: int = 0
    left: int = 0
    bytes_made: int = 0
    sent: int = 0
    bytes_sent: int = 0
    waiting: int = 0
    server: str | None = None
    failed: tuple[tuple[str, str], ...] = ()
    swept: int = 0
    days_without_depth: dict[str, int] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every product is made, and sent if it is to be sent."""
        return not self.failed and not self.left and not self.waiting

    @property
    def trouble(self) -> str:
        """What somebody should look at, in one sentence; empty if there is nothing."""
        parts = []
        if self.failed:
            parts.append(f"{len(self.failed)} files could not be made or sent")
        if self.left:
            parts.append(f"{self.left} files are left to be made")
        if self.waiting:
            parts.append(f"{self.waiting} files wait to be sent")
        if self.days_without_depth:
            named = ", ".join(f"{gauge} {days}" for gauge, days in self.days_without_depth.items())
            parts.append(f"days without calibrated depths: {named}")
        return "; ".join(parts)

    @property
    def counts(self) -> dict[str, Any]:
        """What can be counted, by name, for people who look at the notebook."""
        return {name: value for name, value in asdict(self).items() if isinstance(value, int | str)}

    def to_dict(self, cleared: TrashReport | None = None) -> dict[str, Any]:
        """Return the report as plain values, to be published, with what was cleared afterwards."""
        clearing = {"allowed": False, "moved": 0, "removed": 0, "kept": 0, "why_kept": {}}
        if cleared is not None:
            clearing = {
                "allowed": cleared.allowed,
                "moved": cleared.moved,
                "removed": cleared.removed,
                "kept": len(cleared.kept),
                "why_kept": dict(Counter(reason for _, reason in cleared.kept)),
            }
        return {**plain(self), "clearing": clearing}
