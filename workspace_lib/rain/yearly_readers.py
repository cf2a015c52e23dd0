"""Readers of the yearly CSV files of the programs that came before: concatenated, treated, sparse.

- ``<gauge>_concatenated_<year>.csv``: ``Station,Timestamp,Rain,Wind,Battery,Year``. Rain is a count
  of tips. Its last form has ``Datetime_TU`` and counts times 0.2: those are no counts any more.
- ``<gauge>_treated_<year>.csv``: the same columns, Rain in mm of an unknown calibration.
- ``<gauge>_treated_<year>_sparse.csv``: ``Timestamp`` and a column for each gauge, likewise in mm.

Whose a file is comes from its folder and name. The label inside is the logger's own and is only
reported. Millimetres whose calibration nobody knows are never taken for tips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from workspace_lib.clock import from_us
from workspace_lib.errors import FormatError
from workspace_lib.formats import Issue, Reader, Record, register
from workspace_lib.rain.blocks import NO_WIND
from workspace_lib.rain.readers import ROW, A0Batch, FileIssue, at_site, parse_a0_many
from workspace_lib.rain.yearly_grammar import (
    Kind,
    YearlyTable,
    kind_of,
    parse_yearly_name,
    read_table,
)

#: One value of a file in mm: its line, its stamp, and the depth as it is written.
DEPTH_ROW: Final = np.dtype(
    [
        ("line", "i4"),
        ("t_us", "i8"),
        ("rain_mm", "f8"),
        ("battery_v", "f8"),
        ("label", ROW["label"]),
    ]
)
UNKNOWN_CALIBRATION: Final = "unknown"
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class YearlyFile:
    """A yearly file that was read.

    ``rows`` is an array of `ROW` where ``unit`` is ``tips``, of `DEPTH_ROW` where it is ``mm``, in
    the order of the file. ``lines`` = rows + ``blank`` + ``bad`` + ``unrecorded`` + 1 (the header);
    ``unrecorded`` lines say ``na``: their minute has no value. ``missing`` counts the minutes from
    the first to the last stamp that have none.
    """

    rows: NDArray[Any]
    unit: Literal["tips", "mm"]
    labels: tuple[str, ...]
    span_us: tuple[int, int]
    issues: tuple[FileIssue, ...]
    lines: int
    blank: int
    bad: int
    unrecorded: int
    missing: int | None


def parse_yearly(content: bytes, name: str, kind: Kind | None = None) -> YearlyFile:
    """Parse the bytes of one yearly file.

    Parameters
    ----------
    content : bytes
        The whole file.
    name : str
        Its name, without folders.
    kind : str, optional
        What it is, if known; otherwise its name and its first lines tell.

    Raises
    ------
    FormatError
        If it has no such header, or not one line with a stamp.
    """
    found = kind or kind_of(name, content)
    if found is None:
        raise FormatError("The file is no yearly file of rain.", where=name)
    table = read_table(content, found, name)
    if found == "sparse":
        return _sparse(table)
    return _rows(table, found, name)


def read_yearly(path: Path, kind: Kind | None = None) -> Record:
    """Read one yearly file; see `parse_yearly`.

    Returns
    -------
    Record
        ``data`` is an array of `ROW` (tips) or of `DEPTH_ROW` (mm). ``meta`` says ``unit``,
        ``calibration`` (``unknown`` for mm) and the ``label`` that stand inside; ``identity`` is
        the file name's own.

    Raises
    ------
    FormatError
        If it is none, or has not one line with a stamp.
    """
    parsed = parse_yearly(path.read_bytes(), path.name, kind)
    known = parse_yearly_name(path.name)
    meta: dict[str, Any] = {
        "identity": known.label if known else None,
        "label": list(parsed.labels),
        "year": known.year if known else None,
        "first_time": from_us(parsed.span_us[0]),
        "last_time": from_us(parsed.span_us[1]),
        "timezone": {"name": "UTC", "from": "file"},
        "rows": len(parsed.rows),
        "lines": parsed.lines,
        "blank": parsed.blank,
        "bad": parsed.bad,
        "unrecorded": parsed.unrecorded,
        "missing": parsed.missing,
        "unit": parsed.unit,
        "calibration": None if parsed.unit == "tips" else UNKNOWN_CALIBRATION,
    }
    return Record(parsed.rows, meta, tuple(found.issue for found in parsed.issues))


def parse_tip_files(paths: Sequence[str], contents: Sequence[bytes]) -> A0Batch:
    """Parse files that hold counts of tips: raw A0 files, and concatenated yearly ones by name.

    Returns
    -------
    A0Batch
        As `parse_a0_many` does. Of a yearly file, the header and lines of unrecorded minutes count
        as blank. One that holds no counts gives no rows, and an issue that says so.
    """
    names = [path.rpartition("/")[2] for path in paths]
    yearly = [number for number, name in enumerate(names) if parse_yearly_name(name) is not None]
    if not yearly:
        return parse_a0_many(contents)
    raw = parse_a0_many([b"" if n in yearly else content for n, content in enumerate(contents)])
    rows, issues = [raw.rows], [found for found in raw.issues if found.file not in yearly]
    for number in yearly:
        mine = _counts_of(contents[number], names[number])
        mine.rows["file"] = number
        rows.append(mine.rows)
        issues += [replace(found, file=number) for found in mine.issues]
        for mine_count, all_counts in zip(
            (mine.lines, mine.blank, mine.bad), (raw.lines, raw.blank, raw.bad), strict=True
        ):
            all_counts[number] = mine_count[0]
    issues.sort(key=lambda found: (found.file, found.line))
    joined = np.concatenate(rows)
    joined = joined[np.argsort(joined["file"], kind="stable")]
    return A0Batch(joined, tuple(issues), raw.lines, raw.blank, raw.bad)


def _counts_of(content: bytes, name: str) -> A0Batch:
    """Return the counts of tips of one yearly file as a batch of its own."""
    rows, nothing = np.zeros(0, ROW), (np.zeros(1, np.int64),) * 3
    try:
        parsed = parse_yearly(content, name)
    except FormatError as error:
        issue = Issue("unreadable", "error", "file", error.what)
        return A0Batch(rows, (FileIssue(0, 0, issue),), *nothing)
    issues = parsed.issues
    if parsed.unit == "tips":
        rows = parsed.rows
    elif not any(found.issue.code == "not_tips" for found in issues):
        said = "It holds mm of an unknown calibration; only counts of tips are rows."
        issues += (FileIssue(0, 0, Issue("not_tips", "error", "file", said)),)
    other = (parsed.lines, parsed.blank + parsed.unrecorded + 1, parsed.bad)
    return A0Batch(rows, issues, *(np.array([number], np.int64) for number in other))


def _rows(table: YearlyTable, kind: Kind, name: str) -> YearlyFile:
    """Return the rows of a concatenated or a treated file."""
    rain = table.numbers("rain", "rain")
    wind, battery = table.numbers("wind", "wind"), table.numbers("battery", "battery")
    good = table.stamped & ~(rain.wrong | wind.wrong | battery.wrong)
    recorded = good & ~rain.missing
    negative = recorded & (rain.values < 0)
    table.blame(negative, "negative_tips", lambda text: f"{text} tips or mm cannot be.", "rain")
    recorded &= ~negative
    fractions = recorded & (rain.values != np.floor(rain.values))
    unit: Literal["tips", "mm"] = "mm" if kind == "treated" else "tips"
    if kind == "concatenated" and (fractions.any() or table.has_datetime):
        unit = "mm"
        table.notice(
            "not_tips",
            "error",
            "Rain is no count of tips here (it has fractions, or is of the form that holds counts "
            "times 0.2); it is read as mm of an unknown calibration.",
        )
    labels, label_of_line = table.labels()
    dtype = ROW if unit == "tips" else DEPTH_ROW
    rows = np.zeros(int(recorded.sum()), dtype)
    rows["line"], rows["t_us"] = table.number[recorded], table.t_us[recorded]
    rows["battery_v"] = battery.values[recorded]
    rows["label"] = labels[label_of_line[recorded]]
    if unit == "tips":
        rows["tips"] = rain.values[recorded]
        rows["wind"] = np.where(wind.missing, NO_WIND, wind.values)[recorded]
    else:
        rows["rain_mm"] = rain.values[recorded]
    _notice_years(table, recorded, name)
    _notice_repeats(table, rows, "tips" if unit == "tips" else "rain_mm")
    unrecorded = int((good & rain.missing).sum())
    inside = labels[np.bincount(label_of_line[good], minlength=len(labels)) > 0]
    return _finish(table, rows, unit, np.sort(inside), good, unrecorded)


def _sparse(table: YearlyTable) -> YearlyFile:
    """Return the values of a sparse file, column by column: one for each gauge."""
    parts, unrecorded, kept = [], 0, np.zeros(len(table.t_us), bool)
    for label in table.value_columns:
        depth = table.numbers(label, label)
        good = table.stamped & ~depth.wrong
        recorded = good & ~depth.missing
        negative = recorded & (depth.values < 0)
        table.blame(negative, "negative_depth", lambda text: f"{text} mm cannot be.", label)
        recorded &= ~negative
        rows = np.zeros(int(recorded.sum()), DEPTH_ROW)
        rows["line"], rows["t_us"] = table.number[recorded], table.t_us[recorded]
        rows["rain_mm"], rows["battery_v"] = depth.values[recorded], np.nan
        rows["label"] = label.encode()[: ROW["label"].itemsize]
        parts.append(rows)
        kept |= recorded | negative
        unrecorded += int((good & depth.missing).sum())
    if len(parts) == 1:
        _notice_repeats(table, parts[0], "rain_mm")
    names = np.array([label.encode() for label in table.value_columns])
    alone = unrecorded if len(parts) == 1 else int((table.stamped & ~kept).sum())
    parsed = _finish(table, np.concatenate(parts), "mm", names, table.stamped, alone)
    if len(parts) == 1:
        return parsed
    return YearlyFile(**{**vars(parsed), "missing": None})


def _finish(
    table: YearlyTable,
    rows: NDArray[Any],
    unit: Literal["tips", "mm"],
    labels: NDArray[Any],
    stamped: Bools,
    unrecorded: int,
) -> YearlyFile:
    stamps = _distinct(table.t_us[stamped])
    if not len(stamps):
        reasons = "; ".join(found.issue.message for found in table.issues[:3])
        raise FormatError(
            f"No line is a row of a yearly file: {reasons or 'there is only a header'}.",
            where=table.name or None,
        )
    if unrecorded:
        table.notice("unrecorded", "info", f"{unrecorded} lines say that nothing was recorded.")
    empty = len(stamps) - len(_distinct(rows["t_us"]))
    return YearlyFile(
        rows=rows,
        unit=unit,
        labels=tuple(label.decode("utf-8", "replace") for label in labels.tolist() if label),
        span_us=(int(stamps[0]), int(stamps[-1])),
        issues=tuple(sorted(table.issues, key=lambda found: found.line)),
        lines=table.lines,
        blank=table.blank,
        bad=len({found.line for found in table.issues if found.line}),
        unrecorded=unrecorded,
        missing=missing_minutes(stamps) + empty,
    )


def _distinct(stamps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the different ones, sorted; much faster than `numpy.unique` where they nearly are."""
    ordered = np.sort(stamps, kind="stable")
    return ordered[np.append(True, np.diff(ordered) != 0)] if len(ordered) else ordered


def missing_minutes(stamps: NDArray[np.int64]) -> int:
    """Return how many whole minutes lie between sorted stamps [µs] without one of them."""
    gaps = np.diff(stamps) / 60e6
    return int(np.maximum(np.rint(gaps) - 1, 0).sum())


def _notice_years(table: YearlyTable, recorded: Bools, name: str) -> None:
    known = parse_yearly_name(name)
    if known is None:
        return
    first = int(datetime(known.year, 1, 1, tzinfo=UTC).timestamp() * 1e6)
    after = int(datetime(known.year + 1, 1, 1, tzinfo=UTC).timestamp() * 1e6)
    stamps = table.t_us[recorded]
    elsewhere = int(((stamps < first) | (stamps >= after)).sum())
    if elsewhere:
        table.notice(
            "year_differs",
            "warning",
            f"{elsewhere} rows are not of {known.year}; each belongs to the year of its stamp.",
        )


def _notice_repeats(table: YearlyTable, rows: NDArray[Any], value: str) -> None:
    order = np.argsort(rows["t_us"], kind="stable")
    earlier, later = rows[order[:-1]], rows[order[1:]]
    again = earlier["t_us"] == later["t_us"]
    if not again.any():
        return
    volts = (earlier["battery_v"], later["battery_v"])
    other = (earlier[value] != later[value]) | ((volts[0] != volts[1]) & ~np.isnan(volts).all(0))
    table.notice(
        "repeated_stamp",
        "warning",
        f"Rows with the stamp of a row before them: {int(again.sum())}; of these, with other "
        f"values: {int((again & other).sum())}.",
    )


def describe(record: Record) -> Mapping[str, Any]:
    """Return what ``workspace inspect`` adds for a yearly file; null where it is unknown."""
    rows, meta = record.data, record.meta
    volts = rows["battery_v"][~np.isnan(rows["battery_v"])]
    counts = meta["unit"] == "tips"
    return {
        "gauge": meta["identity"],
        "label": meta["label"],
        "tips": int(rows["tips"].sum()) if counts else None,
        "total_mm": None,
        "missing": meta["missing"],
        "stamp": "end",
        "unit": meta["unit"],
        "calibration": meta["calibration"],
        "sum_as_written": None if counts else round(float(rows["rain_mm"].sum()), 6),
        "battery_v": {
            "min": float(volts.min()) if len(volts) else None,
            "max": float(volts.max()) if len(volts) else None,
        },
    }


def _reader(kind: Kind) -> Reader:
    return Reader(
        "rain",
        f"hsm-{kind}",
        1,
        lambda name, head: kind_of(name, head) == kind,
        lambda path: read_yearly(path, kind),
        describe,
        at_site,
    )


for _kind in ("concatenated", "treated", "sparse"):
    register(_reader(_kind))
