"""What a run of the job that analyses events did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from workspace_lib.clock import iso
from workspace_lib.reports import plain

if TYPE_CHECKING:
    import pandas as pd

_MOST_TOLD: Final = 5


@dataclass(frozen=True)
class Troubled:
    """An event that could not be analysed, and why."""

    event_id: int
    recloser: str
    event: str
    triggered: datetime
    why: str


@dataclass(frozen=True)
class AnalysisReport:
    """What one run analysed.

    Attributes
    ----------
    events, faults : int
        Events analysed, and how many of them were faults.
    unreadable : tuple of Troubled
        Events whose files say nothing that can be analysed; they are not tried again.
    unreached : tuple of Troubled
        Events whose files could not be had from the archive; the next run tries them again.
    reclosers, incidents, disturbances : int
        Reclosers looked at; rows of incidents and disturbances that are new or have changed.
    left : int
        Reclosers left for the next run, because this one was to stop.
    """

    began: datetime
    took_s: float = 0.0
    rebuilt: bool = False
    events: int = 0
    faults: int = 0
    unreadable: tuple[Troubled, ...] = ()
    unreached: tuple[Troubled, ...] = ()
    reclosers: int = 0
    incidents: int = 0
    disturbances: int = 0
    left: int = 0

    @property
    def trouble(self) -> str:
        """What somebody should look at, in one sentence; empty if there is nothing."""
        parts = []
        if self.unreadable:
            names = sorted({one.recloser for one in self.unreadable})
            parts.append(f"{len(self.unreadable)} events cannot be read ({_some(names)})")
        if self.unreached:
            why = self.unreached[0].why
            parts.append(f"{len(self.unreached)} events could not be had from the archive: {why}")
        if self.left:
            parts.append(f"{self.left} reclosers are left for the next run")
        return "; ".join(parts)

    @property
    def complete(self) -> bool:
        """Whether everything that is stored is analysed."""
        return not self.unreached and not self.left

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, to be published."""
        troubled = {
            name: [{**asdict(one), "triggered": iso(one.triggered)} for one in found]
            for name, found in (("unreadable", self.unreadable), ("unreached", self.unreached))
        }
        return {**plain(self), **troubled, "began": iso(self.began)}

    def to_frame(self) -> pd.DataFrame:
        """Return the events that could not be analysed, one a row."""
        import pandas as pd

        rows = [
            {"recloser": one.recloser, "triggered": one.triggered, "event": one.event,
             "why": one.why, "event_id": one.event_id}
            for one in (*self.unreadable, *self.unreached)
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["recloser", "triggered", "event", "why", "event_id"])


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_TOLD} more" if len(names) > _MOST_TOLD else ""
    return ", ".join(names[:_MOST_TOLD]) + more
