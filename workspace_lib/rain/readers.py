"""The reader of raw A0 files: one file per five minutes, one row per minute, tips as counts.

A line is ``label, Unix seconds UTC, tips, wind, battery volts``. The label inside is the logger's
own, which changes with time: who the gauge is comes from the folder and the file's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workspace_lib.clock import from_us, iso
from workspace_lib.errors import FormatError
from workspace_lib.formats import Issue, Reader, Record, register
from workspace_lib.rain.grammar import LABEL_BYTES, Lines, parse_fields, parse_line, printable
from workspace_lib.rain.settings import load_network
from workspace_lib.settings import Settings

#: One row of an A0 file: which file of the batch, which line of it (from 1), and its five fields.
ROW: Final = np.dtype(
    [
        ("file", "i4"),
        ("line", "i4"),
        ("t_us", "i8"),
        ("tips", "i4"),
        ("wind", "i4"),
        ("battery_v", "f8"),
        ("label", f"S{LABEL_BYTES}"),
    ]
)
BOM: Final = b"\xef\xbb\xbf"
_NAME = re.compile(r"(?P<label>[^/\\]{1,8})_(?P<day>\d{6})_(?P<time>\d{6})\.txt", re.IGNORECASE)
_FIRST_LINE = re.compile(rb"\s*[^,\r\n]{1,32},[ \t]*\d{1,12},[ \t]*-?\d+,[ \t]*-?\d+,[ \t]*-?\d")


@dataclass(frozen=True)
class FileIssue:
    """An issue of one file of a batch, with the line as it was read (empty for the whole file)."""

    file: int
    line: int
    issue: Issue
    text: str = ""


@dataclass(frozen=True)
class A0Batch:
    """Many A0 files parsed at once.

    ``rows`` is an array of `ROW` in the order of the files; ``lines``, ``blank`` and ``bad`` count
    per file, so that lines = data + blank + bad can be checked.
    """

    rows: NDArray[Any]
    issues: tuple[FileIssue, ...]
    lines: NDArray[np.int64]
    blank: NDArray[np.int64]
    bad: NDArray[np.int64]

    def issues_of(self, file: int) -> tuple[Issue, ...]:
        """Return the issues of one file of the batch."""
        return tuple(found.issue for found in self.issues if found.file == file)


@dataclass(frozen=True)
class A0Name:
    """What the name of an A0 file says: the label cut to 8 characters, the first row's time."""

    label: str
    first: datetime | None


def read_a0(path: Path) -> Record:
    """Read one raw A0 file; see `parse_a0`."""
    return parse_a0(path.read_bytes(), path.name)


def parse_a0(content: bytes, name: str = "") -> Record:
    """Parse the bytes of one raw A0 file.

    Parameters
    ----------
    content : bytes
        The whole file.
    name : str
        Its name, which carries the gauge's label and the first row's time; may be empty.

    Returns
    -------
    Record
        ``data`` is an array of `ROW` (``t_us`` [µs since 1970 UTC], ``tips`` and ``wind`` [1],
        ``battery_v`` [V], NaN where unknown) in the order of the file.

    Raises
    ------
    FormatError
        If not one line is a row.
    """
    batch = parse_a0_many([content])
    rows = batch.rows
    if not len(rows):
        reasons = "; ".join(issue.message for issue in batch.issues_of(0)[:3])
        raise FormatError(
            f"No line is a row of an A0 file: {reasons or 'the file is empty'}.",
            where=name or None,
            fix="A row reads: label, Unix seconds, tips, wind, battery volts.",
        )
    known = parse_a0_name(name)
    first, last = from_us(int(rows["t_us"].min())), from_us(int(rows["t_us"].max()))
    issues = [*batch.issues_of(0)]
    if known and known.first and known.first != from_us(int(rows["t_us"][0])):
        issues.append(
            Issue(
                "name_differs",
                "warning",
                "name",
                f"The name says {iso(known.first)}, the first row {iso(int(rows['t_us'][0]))}.",
            )
        )
    meta: dict[str, Any] = {
        "identity": known.label if known else None,
        "label": [label.decode() for label in np.unique(rows["label"]).tolist()],
        "first_time": first,
        "last_time": last,
        "timezone": {"name": "UTC", "from": "file"},
        "rows": len(rows),
        "lines": int(batch.lines[0]),
        "blank": int(batch.blank[0]),
        "bad": int(batch.bad[0]),
    }
    return Record(rows, meta, tuple(issues))


def parse_a0_many(contents: Sequence[bytes]) -> A0Batch:
    """Parse many A0 files in one go, which is what makes a year of tiny files quick.

    Every line ends as a row, as blank, or as an issue that carries its text.
    """
    issues: list[FileIssue] = []
    parts = []
    for file, content in enumerate(contents):
        body = content
        if body.startswith(BOM):
            body = body[3:]
            issues.append(_whole_file(file, "bom", "info", "The file starts with a UTF-8 mark."))
        if not body:
            issues.append(_whole_file(file, "empty", "error", "The file is empty."))
        elif not body.endswith(b"\n"):
            body += b"\n"
            issues.append(
                _whole_file(
                    file,
                    "no_final_newline",
                    "warning",
                    "The last line has no end: its battery is unknown.",
                )
            )
        parts.append(body)
    unfinished = {found.file for found in issues if found.issue.code == "no_final_newline"}
    sizes = np.fromiter(map(len, parts), dtype=np.int64, count=len(parts))
    lines = Lines.split(b"".join(parts), sizes)
    issues.extend(
        _whole_file(int(file), "crlf", "info", "Lines end in CR LF.")
        for file in np.unique(lines.file[lines.carriage_return])
    )
    fields, accepted = parse_fields(lines)
    rows = np.empty(len(lines.file), ROW)
    rows["file"], rows["line"] = lines.file, lines.number
    for name, column in fields.items():
        rows[name] = column
    blank = lines.blank
    cut = np.zeros(len(lines.file), bool)
    cut[np.searchsorted(lines.file, sorted(unfinished), side="right") - 1] = True
    accepted &= ~cut  # judged singly: what stands last in them may be half a number
    for index in np.flatnonzero(~accepted & ~blank).tolist():
        file = int(lines.file[index])
        text = lines.text(index)
        outcome = parse_line(text, cut=bool(cut[index]))
        if isinstance(outcome, tuple):
            row = rows[index]
            row["t_us"], row["tips"], row["wind"], row["battery_v"], row["label"] = outcome
            accepted[index] = True
            continue
        issues.append(
            FileIssue(
                file,
                int(lines.number[index]),
                Issue(outcome.code, "error", f"line {lines.number[index]}", outcome.message),
                printable(text),
            )
        )
    count = len(parts)
    issues.sort(key=lambda found: (found.file, found.line))
    return A0Batch(
        rows[accepted],
        tuple(issues),
        np.bincount(lines.file, minlength=count),
        np.bincount(lines.file[blank], minlength=count),
        np.bincount(lines.file[~accepted & ~blank], minlength=count),
    )


def parse_a0_name(name: str) -> A0Name | None:
    """Return what a file's name says, or None if it is not an A0 name.

    Examples
    --------
    >>> parse_a0_name("Hydropol_010323_000400.txt").label
    'Hydropol'
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    day, month, year = _pairs(match["day"])
    try:
        # As strptime reads them, which takes ten times as long: every file of a listing comes here.
        first = datetime(year + (2000 if year < 69 else 1900), month, day, *_pairs(match["time"]))
    except ValueError:
        return A0Name(match["label"], None)
    return A0Name(match["label"], first.replace(tzinfo=UTC))


def _pairs(digits: str) -> tuple[int, int, int]:
    return int(digits[:2]), int(digits[2:4]), int(digits[4:])


def sniff_a0(name: str, head: bytes) -> bool:
    """Return whether a file is an A0 file: by its name, or by its first line that is not blank."""
    return _NAME.fullmatch(name) is not None or bool(_FIRST_LINE.match(head.removeprefix(BOM)))


def _describe(record: Record) -> Mapping[str, Any]:
    rows = record.data
    volts = rows["battery_v"][~np.isnan(rows["battery_v"])]
    return {
        "gauge": record.meta["identity"],
        "label": record.meta["label"],
        "tips": int(rows["tips"].sum()),
        "total_mm": None,
        "missing": _missing_minutes(rows["t_us"]),
        "stamp": "end",
        "battery_v": {
            "min": float(volts.min()) if len(volts) else None,
            "max": float(volts.max()) if len(volts) else None,
        },
    }


def _missing_minutes(t_us: NDArray[np.int64]) -> int:
    """Return how many whole minutes between the first and the last row have none."""
    gaps = np.diff(np.unique(t_us)) / 60e6
    return int(np.maximum(np.rint(gaps) - 1, 0).sum())


def _whole_file(file: int, code: str, severity: Any, message: str) -> FileIssue:
    return FileIssue(file, 0, Issue(code, severity, "file", message))


def at_site(record: Record, path: Path, settings: Settings) -> Mapping[str, Any]:
    """Return what a site knows of a file of rain: its gauge, and the nominal depth of its tips.

    Its folder and its name tell whose it is; where they do not, or contradict each other, the keys
    stay as the file alone has them.

    Raises
    ------
    ConfigError
        If the site's list of gauges is wrong.
    """
    from workspace_lib.rain.ingest import identify

    network, whole = load_network(settings), path.resolve()
    folder = whole.parent.name
    inside = network.by_folder(folder, None) is not None
    gauge, _ = identify(network, f"{folder}/{whole.name}" if inside else whole.name)
    if gauge is None:
        return {}
    known: dict[str, Any] = {"gauge": gauge.id}
    if "tips" in (record.data.dtype.names or ()) and gauge.mm_per_tip is not None:
        known["total_mm"] = round(int(record.data["tips"].sum()) * gauge.mm_per_tip, 9)
    return known


register(Reader("rain", "hsm-a0", 1, sniff_a0, read_a0, _describe, at_site))
