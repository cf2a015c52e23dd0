"""How fast events are found among 100,000, beside what people did before: lists read and filtered.

The peer is pandas over ``Events.csv`` of 600 reclosers: once with the lists read for the question,
as somebody does who has the folder, and once with all of them held in memory. It knows what relays
say, and nothing that was computed; a question about that has no peer. ``ratio`` is the peer's time
with the lists in memory by ours: above 1 the store is faster even so.
"""

from __future__ import annotations

import importlib.util
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pandas as pd
import yaml
from sqlalchemy import Connection, select

from workspace_lib.reclosers.queries import EventFilter, choices, count, relay_states, search
from workspace_lib.reclosers.queries_incidents import (
    IncidentFilter,
    complaint,
    incidents,
    repeat_offenders,
)
from workspace_lib.reclosers.tables import recloser_events
from workspace_lib.settings import load_settings
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.migrate import open_store

REPOSITORY = Path(__file__).resolve().parent.parent
EVENTS = 100_000
PAGE = 100
TIMES = 7
TARGET_MS = 200
Frame = Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class Question:
    """What somebody looks for, and how the lists answer it, where they can."""

    what: str
    wanted: EventFilter
    lists: Frame | None = None


def load_filling() -> ModuleType:
    """Return the module of the tests that writes rows."""
    path = REPOSITORY / "tests" / "reclosers" / "filling.py"
    spec = importlib.util.spec_from_file_location("recloser_filling_for_bench", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def questions(filling: ModuleType) -> list[Question]:
    """Return typical questions, and those that are worst: nothing or little is like that."""
    month = filling.NOW - timedelta(days=30)

    def recent(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[(frame.ced == "LAV") & (frame.triggered >= month)]

    return [
        Question("the newest", EventFilter(), lambda frame: frame),
        Question(
            "of a recloser",
            EventFilter(reclosers=("LAV-300",)),
            lambda frame: frame[frame.recloser == "LAV-300"],
        ),
        Question("of a territory, 30 days", EventFilter(ceds=("LAV",), since=month), recent),
        Question(
            "of a model",
            EventFilter(models=("351",)),
            lambda frame: frame[frame.model.str.contains("351")],
        ),
        Question("by type of fault", EventFilter(fault_types=("AG",))),
        Question("by phases that take part", EventFilter(phases="AB")),
        Question("by how the incident ended", EventFilter(outcome="permanent")),
        Question(
            "by words that all have",
            EventFilter(text="inst"),
            lambda frame: frame[frame.targets.str.contains("INST")],
        ),
        Question("current above 8 kA: 10 of all", EventFilter(magnitude_a=(8000.0, None))),
        Question("farther than 50 km: 10 of all", EventFilter(distance=(50.0, None))),
        Question("of a rare kind: 10 of all", EventFilter(kinds=("opening",))),
        Question(
            "by words that 10 have",
            EventFilter(text="time a g"),
            lambda frame: frame[frame.targets.str.contains("TIME A G")],
        ),
        Question(
            "by words that none has",
            EventFilter(text="nowhere"),
            lambda frame: frame[frame.targets.str.contains("NOWHERE")],
        ),
        Question("current above 99 kA: none", EventFilter(magnitude_a=(99_000.0, None))),
        Question(
            "everything at once: none",
            EventFilter(
                ceds=("LAV", "MAT"), models=("651",), since=month, fault_types=("AG", "AB"),
                phases="A", magnitude_a=(1000.0, 5000.0), distance=(1.0, 10.0), outcome="unknown",
                text="inst",
            ),
        ),
    ]  # fmt: skip


def timed(act: Callable[[], object]) -> list[float]:
    """Return how long ``act`` takes, each time [ms]."""
    found = []
    for _ in range(TIMES):
        began = time.perf_counter()
        act()
        found.append((time.perf_counter() - began) * 1000)
    return found


def write_lists(connection: Connection, folder: Path) -> int:
    """Write the list of each recloser's events as people had it; returns how many lists."""
    query = select(recloser_events).order_by(recloser_events.c.event_id)
    frame = pd.DataFrame(connection.execute(query).mappings().all())
    groups = frame.groupby("recloser")
    for name, mine in groups:
        mine.to_csv(folder / f"{name}.csv", index=False)
    return len(groups)


def read_lists(folder: Path) -> pd.DataFrame:
    """Read all lists, newest events first."""
    frames = [pd.read_csv(path) for path in sorted(folder.glob("*.csv"))]
    found = pd.concat(frames, ignore_index=True)
    found["triggered"] = pd.to_datetime(found["triggered"], format="ISO8601")
    return found.sort_values("triggered", ascending=False)


def row(what: str, *cells: str) -> None:
    """Print one row of the table."""
    print(f"{what:<34}" + "".join(f"{cell:>12}" for cell in cells))


def ms(value: float) -> str:
    """Return a time as a cell."""
    return f"{value:,.1f} ms"


def bench(store: Store, filling: ModuleType, lists: pd.DataFrame, reading_ms: float) -> float:
    """Ask every question; returns the longest median of a page [ms]."""
    worst = 0.0
    row(
        f"Events: {EVENTS:,}, page of {PAGE}", "found", "page", "slowest", "count", "lists", "ratio"
    )
    with read(store.data) as connection:
        for one in questions(filling):
            found = timed(lambda one=one: search(connection, one.wanted, limit=PAGE))
            counted = timed(lambda one=one: count(connection, one.wanted))
            middle = statistics.median(found)
            worst = max(worst, middle)
            peer, ratio = "none", ""
            if one.lists is not None:
                held = statistics.median(timed(lambda one=one: one.lists(lists).head(PAGE)))
                peer, ratio = ms(held), f"{held / middle:.1f} x"
            total = f"{count(connection, one.wanted):,}"
            row(one.what, total, ms(middle), ms(max(found)), ms(statistics.median(counted)), peer,
                ratio)  # fmt: skip
        print()
        row("lists read for one question", "", "", "", "", ms(reading_ms))
        print()
        year = filling.NOW - timedelta(days=365), filling.NOW
        unknown = IncidentFilter(outcome="unknown")
        for what, act in (
            ("state of all relays", lambda: relay_states(connection)),
            ("what can be chosen", lambda: choices(connection)),
            ("who trips again, of a year", lambda: repeat_offenders(connection, *year)),
            ("incidents of a rare outcome", lambda: incidents(connection, unknown)),
            (
                "a complaint, a day of a territory",
                lambda: complaint(connection, year[1] - timedelta(days=1), year[1], ceds=("LAV",)),
            ),
        ):
            found = timed(act)
            worst = max(worst, statistics.median(found))
            row(what, "", ms(statistics.median(found)), ms(max(found)))
    return worst


def main() -> int:
    """Measure and print the table; 1 if a target is missed."""
    root = Path(tempfile.mkdtemp(prefix="bench-recloser-search-"))
    site = root / "parameters" / "bench"
    site.mkdir(parents=True)
    (site / "site.yml").write_text(yaml.safe_dump({"wings": {"reclosers": {}}}))
    filling = load_filling()
    try:
        with open_store(load_settings(str(site), root=root), create=True) as store:
            with write(store.data) as connection:
                filling.add_many(connection, EVENTS)
            lists = root / "lists"
            lists.mkdir()
            with read(store.data) as connection:
                write_lists(connection, lists)
            began = time.perf_counter()
            held = read_lists(lists)
            reading_ms = (time.perf_counter() - began) * 1000
            worst = bench(store, filling, held, reading_ms)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print()
    met = worst < TARGET_MS
    row(f"target: all under {TARGET_MS} ms", "met" if met else "MISSED", ms(worst))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
