"""How long a relay is left alone after a run in which it failed, and who may ask before that.

A gateway that is locked or in use says nothing about the relay behind it, and a run whose time was
over neither: these count as no failure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select

from workspace_lib.reclosers.settings import RecloserSettings
from workspace_lib.reclosers.tables import recloser_relays
from workspace_lib.store.engines import Store, read

#: Rest after a relay refused the session [s]. Three refused passwords raise its alarm contact.
REFUSED_S: Final = 86_400.0
#: So many runs in a row may be refused within that rest, if somebody asks for the relay by name.
MOST_REFUSALS: Final = 2


@dataclass(frozen=True)
class Known:
    """What is known of a relay since its last visit."""

    outcome: str = ""
    failures: int = 0
    not_before: datetime | None = None
    visited: datetime | None = None
    fid: str = ""

    def may_be_visited(self, now: datetime, *, full: bool = False, named: bool = False) -> bool:
        """Return whether a relay may be visited: its rest is over, or does not bind whoever asks.

        The full check and whoever names the relay need not heed a rest. Only that of a relay which
        refused the session binds the full check, too, and from the second refusal on everybody: a
        wrong password is never said three times within a day.
        """
        if self.not_before is None or now >= self.not_before:
            return True
        if self.outcome == "refused":
            return named and self.failures < MOST_REFUSALS
        return full or named


def load_known(store: Store) -> dict[str, Known]:
    """Return what is known of each relay, by house name."""
    columns = recloser_relays.c
    query = select(
        columns.recloser,
        columns.outcome,
        columns.failures,
        columns.not_before,
        columns.visited,
        columns.fid,
    )
    with read(store.data) as connection:
        return {
            row.recloser: Known(
                row.outcome or "", row.failures, row.not_before, row.visited, row.fid or ""
            )
            for row in connection.execute(query)
        }


def rest_after(outcome: str, failures: int, wing: RecloserSettings) -> timedelta | None:
    """Return the rest of a relay after a run, or None where it needs none.

    Parameters
    ----------
    outcome : str
        How it ended: ``done``, ``damaged``, ``dropped``, ``silent``, ``refused`` …
    failures : int
        Runs in a row that failed, with this one; 0 if it brought something all the same.
    """
    if outcome == "refused":
        return timedelta(seconds=REFUSED_S)
    if outcome not in ("silent", "dropped", "damaged"):
        return None
    # An event that is damaged in the relay itself must not keep others waiting for long.
    doubled = 0 if outcome == "damaged" else min(max(failures, 1) - 1, 30)
    rest_s = min(wing.back_off_s * 2**doubled, wing.max_back_off_s)
    return timedelta(seconds=rest_s) if rest_s else None
