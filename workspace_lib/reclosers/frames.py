"""Tables of the reclosers wing as pandas frames, for notebooks (extra ``notebooks``).

Every number comes from `queries` and `queries_incidents`; nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Final

import pandas as pd

from workspace_lib.reclosers import queries, queries_incidents
from workspace_lib.reclosers.queries import RelayState
from workspace_lib.reclosers.queries_incidents import (
    DisturbanceRow,
    IncidentFilter,
    IncidentRow,
    Offender,
    clock_word,
)
from workspace_lib.store.engines import Store, read

#: Units of the columns below, for `publish`; distances are in the unit of the relays' settings.
RELAYS_UNITS: Final = {"clock_error_s": "s", "clock_within_s": "s", "failures": "1", "events": "1"}
INCIDENTS_UNITS: Final = {"operations": "1", "magnitude_a": "A"}
OFFENDERS_UNITS: Final = {"incidents": "1", "operations": "1", "share": "1"}
#: Rows of a table of incidents or disturbances, at most.
MOST: Final = 2000


def relays(store: Store, *, clock_good_s: float = 1.0) -> pd.DataFrame:
    """Return each relay with its last visit, its clock and its newest event."""
    with read(store.data) as connection:
        found = queries.relay_states(connection)
    rows = [{**asdict(one), "clock": clock_word(one, clock_good_s)} for one in found]
    return pd.DataFrame(rows, columns=[*RelayState.__dataclass_fields__, "clock"])


def incidents(store: Store, since: datetime, until: datetime) -> pd.DataFrame:
    """Return the incidents that last into a span, newest first."""
    with read(store.data) as connection:
        wanted = IncidentFilter(since=since, until=until)
        found = queries_incidents.incidents(connection, wanted, limit=MOST)
    return pd.DataFrame([asdict(one) for one in found], columns=[*IncidentRow.__dataclass_fields__])


def disturbances(store: Store, since: datetime, until: datetime) -> pd.DataFrame:
    """Return the faults that last into a span: whether a patrol must go, and where it is."""
    with read(store.data) as connection:
        found = queries_incidents.disturbances(connection, since=since, until=until, limit=MOST)
    return pd.DataFrame([_disturbance(one) for one in found], columns=[*_DISTURBANCE])


def offenders(store: Store, until: datetime, days: float, *, least: int = 2) -> pd.DataFrame:
    """Return the reclosers with the most incidents of some days, the worst first."""
    with read(store.data) as connection:
        found = queries_incidents.repeat_offenders(
            connection, until - timedelta(days=days), until, least=least, limit=100
        )
    return pd.DataFrame([asdict(one) for one in found], columns=[*Offender.__dataclass_fields__])


_DISTURBANCE: Final = (
    *("disturbance_id", "ced", "started", "ended", "outcome", "patrol", "why", "recloser"),
    *("fault_type", "distance", "distance_low", "distance_high", "sections", "tripped"),
    "only_saw",
)


def _disturbance(row: DisturbanceRow) -> dict[str, Any]:
    patrol = row.content.get("patrol") or {}
    told = ("why", "recloser", "fault_type", "distance", "distance_low", "distance_high")
    return {
        **{name: getattr(row, name) for name in ("disturbance_id", "ced", "started", "ended")},
        "outcome": row.outcome,
        "patrol": patrol.get("needed") or row.patrol,
        **{name: patrol.get(name) for name in told},
        "sections": "; ".join(_section(one) for one in row.content.get("sections") or ()),
        "tripped": _names(row.content.get("tripped")),
        "only_saw": _names(row.content.get("only_saw")),
    }


def _section(section: dict[str, Any]) -> str:
    """Return a section of the line as ``LAV-101 – LAV-102``; without an end it is open."""
    return f"{section['after']} – {_names(section['before'])}".rstrip(" –")


def _names(names: Sequence[str] | None) -> str:
    return ", ".join(names or ())
