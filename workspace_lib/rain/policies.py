"""What is declared about odd rows: which are set aside, and which are stored and pointed out.

Each ends in the table ``rain_issues`` of its gauge, with the line where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final

import numpy as np

from workspace_lib.clock import iso, to_us
from workspace_lib.rain.analysis import JITTER, US, Ints
from workspace_lib.rain.blocks import DAY_US, Rows
from workspace_lib.rain.days import Merged
from workspace_lib.rain.settings import Gauge, RainSettings

HOUR_US: Final = 3600 * US
#: Codes of rows whose stamp cannot be true.
SET_ASIDE: Final = ("clock_reset", "stamp_in_future")
#: Codes of rows that are stored and deserve a look.
POINTED_OUT: Final = ("jitter", "overlapping_step", "hourly_row", "late_rows", "two_years")

Issue = dict[str, Any]


def implausible(t_us: Ints, seen_us: Ints, rain: RainSettings) -> Iterator[tuple[int, str, str]]:
    """Yield the rows whose stamp cannot be true: their place, the code, and a sentence.

    A row stamped before the network can have existed comes from a clock that was reset, one
    stamped long after its file was seen from a clock that runs ahead. They never meet stored rows,
    so that two resets to one instant do not contradict each other.

    Parameters
    ----------
    t_us, seen_us : array
        Stamp of each row, and when its file was seen first [µs since 1970 UTC].
    rain : RainSettings
        ``first_plausible`` and ``future_tolerance_s``.
    """
    earliest = iso(rain.first_plausible)
    for place in np.flatnonzero(t_us < to_us(rain.first_plausible)).tolist():
        yield place, "clock_reset", f"{iso(int(t_us[place]))} is before {earliest}."
    for place in np.flatnonzero(t_us > seen_us + rain.future_tolerance_s * US).tolist():
        stamp, seen = iso(int(t_us[place])), iso(int(seen_us[place]))
        yield place, "stamp_in_future", f"{stamp} is long after the file was seen ({seen})."


def pointed_out(
    gauge: Gauge, merged: Merged, text_of: Callable[[int, int], str], now: datetime
) -> list[Issue]:
    """Return what is to be said of rows that were stored, as rows of ``rain_issues``.

    Parameters
    ----------
    gauge : Gauge
        Whose rows they are.
    merged : Merged
        The rows that were new, by stamp.
    text_of : callable
        Gives the text of a line, by the file's id and the line's number.
    now : datetime
        The instant written beside each.
    """

    def issue(row: Any, code: str, severity: str, message: str, *, whole: bool = False) -> Issue:
        file_id, line = int(row["file_id"]), 0 if whole else int(row["line"])
        return {
            "file_id": file_id,
            "line": line,
            "code": code,
            "gauge": gauge.id,
            "severity": severity,
            "message": message,
            "text": text_of(file_id, line) if line else "",
            "noticed": now,
        }

    if not len(merged.rows):
        return []
    rows, pause, step_us = merged.rows, merged.pause_us, gauge.step_s * US
    found = []
    for row in rows[_is_hour(pause, step_us)]:
        text = f"The row before is an hour older: this one covers {gauge.step_s} s of it."
        found.append(issue(row, "hourly_row", "warning", text))
    close = (pause > 0) & (2 * pause < step_us)
    for row, after_us in zip(rows[close], pause[close].tolist(), strict=True):
        text = f"The row before is {after_us / US:g} s older: some tips may be in both."
        found.append(issue(row, "overlapping_step", "warning", text))
    jitter = (pause != step_us) & (2 * pause >= step_us) & (pause <= JITTER * step_us)
    for mine in _by_file(rows[jitter]):
        text = f"{len(mine)} rows are not {gauge.step_s} s after the one before."
        found.append(issue(mine[0], "jitter", "info", text, whole=True))
    years = years_of(rows["t_us"])
    if years[0] != years[-1]:
        for mine in _by_file(rows):
            first, last = years_of(mine["t_us"][[0, -1]]).tolist()
            if first != last:
                text = f"Its rows lie in {first} and in {last}, each in the year of its stamp."
                found.append(issue(mine[0], "two_years", "info", text, whole=True))
    for year, mine in late_rows(merged):
        text = f"{len(mine)} rows of {year} came after rows of a later year; they are stored."
        found.append(issue(mine[0], "late_rows", "info", text, whole=True))
    return found


def late_rows(merged: Merged) -> list[tuple[int, Rows]]:
    """Return new rows of years that were over for their gauge: it had rows of a later year."""
    if merged.last_day is None or not len(merged.rows):
        return []
    years = years_of(merged.rows["t_us"])
    (latest,) = years_of(np.array([merged.last_day * DAY_US])).tolist()
    return [
        (year, merged.rows[years == year]) for year in np.unique(years[years < latest]).tolist()
    ]


def years_of(t_us: Ints) -> Ints:
    """Return the UTC year of each stamp [µs since 1970 UTC]."""
    stamps = np.asarray(t_us, dtype=np.int64).astype("datetime64[us]")
    years: Ints = stamps.astype("datetime64[Y]").astype(np.int64) + 1970
    return years


def _is_hour(pause_us: Ints, step_us: int) -> Any:
    """Return after which rows an hour passed without any, give or take half a step."""
    longer = pause_us > JITTER * step_us
    return longer & (2 * np.abs(pause_us - HOUR_US) < step_us)


def _by_file(rows: Rows) -> Iterator[Rows]:
    for file_id in np.unique(rows["file_id"]):
        yield rows[rows["file_id"] == file_id]
