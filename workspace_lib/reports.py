"""What a job says of its run, the same way in every wing: to be published, and for people to see.

A report is a frozen dataclass of counts, with two properties: ``complete`` (all that could be done
was) and ``trouble`` (what somebody should look at, in one sentence; empty if there is nothing).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import pandas as pd


class Report(Protocol):
    """What a job says of its run."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def complete(self) -> bool:
        """Whether all that could be done was."""
        ...

    @property
    def trouble(self) -> str:
        """What somebody should look at, in one sentence; empty if there is nothing."""
        ...


def plain(report: Report) -> dict[str, Any]:
    """Return a report as plain values, to be published."""
    return {**asdict(report), "complete": report.complete, "trouble": report.trouble}


def counts_frame(
    report: Report, title: str, counts_by: Mapping[str, Mapping[str, int]] | None = None
) -> pd.DataFrame:
    """Return the counts of a report as a frame of one column, for people who look at the notebook.

    Parameters
    ----------
    title : str
        Name of the column.
    counts_by : mapping of str to mapping, optional
        Counts by name, and what they are counts of: ``{"rows": {"hydropolis": 12}}`` becomes the
        row ``rows of hydropolis``.
    """
    import pandas as pd

    counts = {name: value for name, value in plain(report).items() if isinstance(value, int | str)}
    for what, by in (counts_by or {}).items():
        counts |= {f"{what} of {name}": count for name, count in by.items()}
    return pd.Series(counts, dtype=object).to_frame(title)
