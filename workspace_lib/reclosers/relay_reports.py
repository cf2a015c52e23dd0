"""Compressed event reports, asked for by CEV: re-numbered, checked, and read again where needed."""

from __future__ import annotations

from typing import Final

from workspace_lib.errors import FrameError
from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.relay import RelaySession
from workspace_lib.reclosers.relay_checks import check_report, without_padding
from workspace_lib.reclosers.relay_errors import InvalidCommand, NoDataAvailable
from workspace_lib.reclosers.relay_history import History
from workspace_lib.reclosers.relay_plan import CapturePlan, FetchedEvent, FetchedFile, State

#: Times after which an event counts as listed but no longer stored.
EMPTY: Final = 2


def fetch_report(
    session: RelaySession,
    wanted: HistoryEntry,
    history: History,
    plan: CapturePlan,
    model: str = "",
) -> FetchedEvent:
    """Fetch the report of one event; see `FetchedEvent` for how it can end."""
    reads = bad = moved = empty = missing = 0
    why, last = "", b""
    seen: set[bytes] = set()
    while bad < plan.reads and moved < plan.renumber and empty < EMPTY:
        entry = history.find(wanted.key, again=reads + missing > 0)
        if entry is None and missing == 0:
            missing = 1  # its line may have been lost on the way
            continue
        if entry is None:
            # A list without checksums may have shown what never was.
            state: State = "summary" if history.checked else "gone"
            return FetchedEvent(wanted, state, reads=reads, why="it is not listed any more")
        reads += 1
        try:
            content = without_padding(session.ask(plan.command(entry.number, model)).content)
        except NoDataAvailable:
            empty += 1
            continue
        except (FrameError, InvalidCommand) as error:
            session.disturbed = True
            bad, why = bad + 1, error.what
            continue
        check = check_report(content)
        doubts = "; ".join(check.doubtful[:3])
        if session.disturbed and not doubts:
            # A sum of bytes does not tell two changes that undo each other.
            doubts = "the line is disturbed"
        if check.damaged:
            session.disturbed = True
            bad, why, last = bad + 1, "; ".join(check.damaged[:3]), content
        elif check.time != str(wanted.time):
            moved, why = moved + 1, f"what came under its number is of {check.time}"
        elif doubts and content not in seen:
            bad += bool(seen)
            seen.add(content)
            last, why = content, doubts
        else:
            return FetchedEvent(entry, "whole", (FetchedFile("cev", "", content),), reads, doubts)
    if empty >= EMPTY:
        return FetchedEvent(wanted, "summary", reads=reads, why="its report is not stored any more")
    if moved >= plan.renumber:
        return FetchedEvent(wanted, "moved", reads=reads, why=why)
    tries = (FetchedFile("cev", "", last, whole=False),) if last else ()
    return FetchedEvent(wanted, "damaged", tries, reads, why)
