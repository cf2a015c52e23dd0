"""The grammar of yearly CSV files: their names, their headers, and their columns as arrays.

Nearly all values of a year are repeated thousands of times, so a column is cut into its different
texts, and each of those is judged once, strictly. Every line ends as a value, as blank, or as an
issue that keeps its text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from workspace_lib.errors import FormatError
from workspace_lib.formats import SNIFF_BYTES, Issue
from workspace_lib.rain.grammar import (
    FIRST_STAMP_S,
    LABEL_BYTES,
    LAST_STAMP_S,
    MAX_COUNT,
    Lines,
    printable,
)
from workspace_lib.rain.readers import BOM, FileIssue

Kind = Literal["concatenated", "treated", "sparse"]
Bools = NDArray[np.bool_]

#: Words that say that nothing was recorded.
MISSING: Final = frozenset({b"", b"na", b"nan", b"n/a", b"null", b"none"})
#: Headers that say what is in a column, as our own yearly files may have them.
_NAMED: Final = {
    "gauge": "station",
    "timestamp_s": "timestamp",
    "tips": "rain",
    "rain_mm": "rain",
    "battery_v": "battery",
}
_STAMPS: Final = ("timestamp", "datetime_tu")
_OWN_COLUMNS: Final = frozenset({*_STAMPS, "station", "rain", "wind", "battery", "year"})
_NAME = re.compile(
    r"(?P<label>[^/\\]+)_(?P<kind>concatenated|treated)_(?P<year>\d{4})(?P<sparse>_sparse)?"
    r"(_[^/\\]*)?\.csv",
    re.IGNORECASE,
)
_NUMBER = re.compile(rb"[+-]?(\d{1,12}(\.\d{0,15})?|\.\d{1,15})")
_SECONDS = re.compile(rb"(\d{1,12})(\.0*)?")


@dataclass(frozen=True)
class YearlyName:
    """What the name of a yearly file says: whose it is (by its label), what, and of which year."""

    label: str
    kind: Kind
    year: int


@dataclass(frozen=True)
class Numbers:
    """A column of numbers: NaN where nothing was recorded or where it is wrong."""

    values: NDArray[np.float64]
    missing: Bools
    wrong: Bools


def parse_yearly_name(name: str) -> YearlyName | None:
    """Return what a file's name says, or None if it is not that of a yearly file.

    Examples
    --------
    >>> parse_yearly_name("Hydropolis_treated_2004_sparse.csv").kind
    'sparse'
    """
    match = _NAME.fullmatch(name)
    if match is None or not 1990 <= int(match["year"]) < 2100:
        return None
    kind: Any = "sparse" if match["sparse"] else match["kind"].lower()
    return YearlyName(match["label"], kind, int(match["year"]))


def kind_of(name: str, head: bytes) -> Kind | None:
    """Return which kind of yearly file it is, by its name and its first lines; None if it is none.

    Where the name does not tell, counts written as whole numbers are tips, and anything else is
    taken for what it might be: millimetres.
    """
    known = parse_yearly_name(name)
    start = head[:SNIFF_BYTES].removeprefix(BOM).lstrip(b"\r\n")
    header, _, body = start.partition(b"\n")
    columns = _columns(header)
    if columns is None:
        return known.kind if known else None
    if "rain" not in columns:
        return "sparse"
    if known is not None and known.kind != "sparse":
        return known.kind
    place = columns.index("rain")
    texts = [line.split(b",") for line in body.splitlines()[:-1] or body.splitlines()]
    rain = {parts[place].strip().lower() for parts in texts if len(parts) == len(columns)}
    counts = rain - MISSING
    return "concatenated" if counts and all(text.isdigit() for text in counts) else "treated"


@dataclass
class YearlyTable:
    """The lines of a yearly file that have all their fields, and what was noticed so far.

    ``number`` is the number of each line in the file, ``t_us`` its stamp [µs since 1970 UTC],
    ``stamped`` whether that one can be.
    """

    name: str
    columns: list[str]
    number: NDArray[np.int64]
    t_us: NDArray[np.int64]
    stamped: Bools
    lines: int
    blank: int
    has_datetime: bool
    issues: list[FileIssue]
    _fields: dict[str, pa.ChunkedArray] = field(default_factory=dict, repr=False)
    _text: Callable[[int], bytes] = field(default=lambda line: b"", repr=False)

    @property
    def value_columns(self) -> list[str]:
        """The columns that are named after gauges."""
        return [name for name in self.columns if name.lower() not in _OWN_COLUMNS]

    def numbers(self, column: str, what: str) -> Numbers:
        """Return a column as numbers; what is none becomes an issue of its line."""
        count = len(self.t_us)
        if column not in self._fields:
            return Numbers(np.full(count, np.nan), np.ones(count, bool), np.zeros(count, bool))
        texts, codes = self._encoded(column)
        limit = math.inf if what == "battery" else MAX_COUNT
        values, missing, wrong = [], [], []
        for text in texts:
            stripped = text.strip(b" \t\r")
            absent = stripped.lower() in MISSING
            good = not absent and _NUMBER.fullmatch(stripped) is not None
            good = good and abs(float(stripped)) <= limit
            values.append(float(stripped) if good else math.nan)
            missing.append(absent)
            wrong.append(not absent and not good)
        found = Numbers(
            np.array(values, float)[codes],
            np.array(missing, bool)[codes],
            np.array(wrong, bool)[codes],
        )
        said = f"The {what} '%s' is not a number."
        self.blame(found.wrong, "bad_number", lambda text: said % text, column)
        return found

    def labels(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the different labels, cut to what a row holds, and which of them each line has."""
        if "station" not in self._fields:
            return np.zeros(1, f"S{LABEL_BYTES}"), np.zeros(len(self.t_us), np.int64)
        texts, codes = self._encoded("station")
        cut = [text.strip()[:LABEL_BYTES] for text in texts] or [b""]
        return np.array(cut, f"S{LABEL_BYTES}"), codes

    def blame(self, wrong: Bools, code: str, say: Callable[[str], str], column: str) -> None:
        """Make an issue of each line in ``wrong`` whose stamp is good, with its text."""
        for index in np.flatnonzero(wrong & self.stamped).tolist():
            line = int(self.number[index])
            shown = printable(self._fields[column][index].as_py().strip(), 40)
            issue = Issue(code, "error", f"line {line}", say(shown))
            self.issues.append(FileIssue(0, line, issue, printable(self._text(line))))

    def notice(self, code: str, severity: Any, message: str) -> None:
        """Make an issue of the whole file."""
        self.issues.append(FileIssue(0, 0, Issue(code, severity, "file", message)))

    def _encoded(self, column: str) -> tuple[list[bytes], NDArray[np.int64]]:
        encoded = self._fields[column].combine_chunks().dictionary_encode()
        return encoded.dictionary.to_pylist(), _integers(encoded.indices, np.int32)


def read_table(content: bytes, kind: Kind, name: str = "") -> YearlyTable:
    """Cut a yearly file into columns and read its stamps.

    Raises
    ------
    FormatError
        If its header is not that of this kind.
    """
    issues: list[FileIssue] = []
    body = content
    if body.startswith(BOM):
        body = body[len(BOM) :]
        issues.append(_file_issue("bom", "info", "The file starts with a UTF-8 mark."))
    if body and not body.endswith(b"\n"):
        body += b"\n"
        issues.append(_file_issue("no_final_newline", "warning", "The last line has no end."))
        unfinished = True
    else:
        unfinished = False
    lines = Lines.split(body, np.array([len(body)], dtype=np.int64))
    if lines.carriage_return.any():
        issues.append(_file_issue("crlf", "info", "Lines end in CR LF."))
    filled = np.flatnonzero(~lines.blank)
    header = lines.text(int(filled[0])) if len(filled) else b""
    columns = _columns(header)
    if columns is None or ("rain" in columns) is (kind == "sparse"):
        raise FormatError(
            f"The header is not that of a {kind} yearly file: {printable(header, 80)!r}.",
            where=name or None,
            fix="It reads Station,Timestamp,Rain,Wind,Battery,Year, or Timestamp and gauges.",
        )
    whole = _whole(lines, len(columns))
    whole[filled[0]] = False
    if unfinished and columns[-1] not in ("year", "station"):
        whole[filled[-1]] = False  # what stands last in it may be half a number
    for index in filled[1:][~whole[filled[1:]]].tolist():
        number, text = int(lines.number[index]), lines.text(index)
        issues.append(_line_issue(number, text, len(columns), unfinished and index == filled[-1]))
    good = np.flatnonzero(whole)
    fields = _cut(body, lines, good, columns)
    table = YearlyTable(
        name=name,
        columns=columns,
        number=lines.number[good],
        t_us=np.zeros(len(good), np.int64),
        stamped=np.ones(len(good), bool),
        lines=len(lines.number),
        blank=int(lines.blank.sum()),
        has_datetime="timestamp" not in columns,
        issues=issues,
        _fields=fields,
        _text=lambda line: lines.text(line - 1),
    )
    _read_stamps(table, "timestamp" if "timestamp" in columns else "datetime_tu")
    return table


def _columns(header: bytes) -> list[str] | None:
    """Return the columns of a header, the known ones in small letters; None if it is no header."""
    if not header.isascii():
        return None
    names = [part.strip().strip('"') for part in header.decode().rstrip("\r").split(",")]
    if "timestamp_s" in names:
        names = [_NAMED.get(name, name) for name in names]
    columns = [name.lower() if name.lower() in _OWN_COLUMNS else name for name in names]
    if not any(stamp in columns for stamp in _STAMPS) or len(set(columns)) < len(columns):
        return None
    if "rain" in columns:
        return columns
    is_sparse = columns[0] in _STAMPS and len(columns) > 1
    return columns if is_sparse and not _OWN_COLUMNS & set(columns[1:]) and all(columns) else None


def _whole(lines: Lines, fields: int) -> Bools:
    """Return which lines have that many fields and no bytes that a text has not."""
    commas = np.flatnonzero(lines.buffer == ord(","))
    between = np.searchsorted(commas, lines.end) - np.searchsorted(commas, lines.start)
    whole: Bools = ~lines.blank & (between == fields - 1)
    control = (lines.buffer < ord(" ")) & (lines.buffer != ord("\n")) & (lines.buffer != ord("\t"))
    odd = np.flatnonzero(control)
    if len(odd):
        owner = np.searchsorted(lines.start, odd, side="right") - 1
        whole[owner[odd < lines.end[owner]]] = False
    return whole


def _line_issue(number: int, text: bytes, fields: int, cut: bool) -> FileIssue:
    if b"\0" in text:
        code, message = "nul_bytes", f"{text.count(0)} NUL bytes stand in the line."
    elif cut:
        code, message = "truncated_line", "The file ends within the line."
    elif text.count(b",") + 1 != fields:
        code, message = "field_count", f"{text.count(b',') + 1} fields instead of {fields}."
    else:
        code, message = "odd_bytes", "The line holds control characters."
    return FileIssue(0, number, Issue(code, "error", f"line {number}", message), printable(text))


def _cut(
    body: bytes, lines: Lines, good: NDArray[np.int64], columns: list[str]
) -> dict[str, pa.ChunkedArray]:
    """Return the fields of the good lines, by column."""
    if not len(good):
        return {name: pa.chunked_array([pa.array([], pa.binary())]) for name in columns}
    first = int(good[0])
    if len(good) == len(lines.number) - first:
        text = body[int(lines.start[first]) :]
    else:
        text = b"\n".join(lines.text(index) for index in good.tolist()) + b"\n"
    table = csv.read_csv(
        pa.BufferReader(text),
        csv.ReadOptions(column_names=columns, block_size=1 << 24),
        csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
        csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.binary()), strings_can_be_null=False
        ),
    )
    return {name: table.column(name) for name in columns}


def _read_stamps(table: YearlyTable, column: str) -> None:
    texts = table._fields[column]
    try:
        seconds = _integers(texts.cast(pa.string()).cast(pa.int64()).combine_chunks(), np.int64)
    except pa.ArrowInvalid:
        read = [_seconds(text.strip(b' \t\r"')) for text in texts.to_pylist()]
        wrong = np.array([value is None for value in read], bool)
        table.blame(wrong, "bad_number", lambda text: f"The stamp '{text}' is no time.", column)
        table.stamped &= ~wrong
        seconds = np.array([0 if value is None else value for value in read], np.int64)
    outside = table.stamped & ((seconds < FIRST_STAMP_S) | (seconds >= LAST_STAMP_S))
    table.blame(
        outside,
        "stamp_out_of_range",
        lambda text: f"{text} is no time between 1990 and 2100.",
        column,
    )
    table.stamped &= ~outside
    table.t_us[:] = np.where(table.stamped, seconds, 0) * 1_000_000


def _integers(array: Any, kind: type[np.signedinteger[Any]]) -> NDArray[np.int64]:
    """Return an Arrow array of integers without nulls; its own way would load pandas."""
    values = np.frombuffer(array.buffers()[1] or b"", kind)
    return values[array.offset :][: len(array)].astype(np.int64)


def _seconds(text: bytes) -> int | None:
    """Return a stamp as seconds since 1970: whole seconds, also as ``.0``, or ISO 8601 in UTC."""
    match = _SECONDS.fullmatch(text)
    if match is not None:
        return int(match[1])
    try:
        read = datetime.fromisoformat(text.decode("ascii"))
    except (UnicodeDecodeError, ValueError):
        return None
    instant = read.replace(tzinfo=UTC) if read.tzinfo is None else read
    return int(instant.timestamp())


def _file_issue(code: str, severity: Any, message: str) -> FileIssue:
    return FileIssue(0, 0, Issue(code, severity, "file", message))
