"""What keeps samples small and quick: sealing, merging the segments of closed days, removing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from workspace_lib.clock import ensure_utc
from workspace_lib.store.engines import Store, read
from workspace_lib.store.sample_rows import list_streams
from workspace_lib.store.segments import clean, compact, seal_all

#: Rows younger than this stay hot: a late burst of a device is then sealed with its neighbours.
HOT_FOR = timedelta(minutes=10)


@dataclass(frozen=True)
class UpkeepReport:
    """How many segments were sealed, merged anew, and removed after being replaced."""

    streams: int
    sealed: int
    merged: int
    removed: int


def keep_up(store: Store, now: datetime, *, hot_for: timedelta = HOT_FOR) -> UpkeepReport:
    """Seal what is no longer hot, merge the small segments of closed days, remove replaced ones.

    Safe to repeat and to run in two processes at once.
    """
    with read(store.data) as connection:
        names = [stream.name for stream in list_streams(connection)]
    sealed = seal_all(store, now - hot_for, now=now)
    today = ensure_utc(now).date()
    merged = sum(len(compact(store, name, before=today, now=now)) for name in names)
    return UpkeepReport(len(names), sealed, merged, len(clean(store, now=now)))
