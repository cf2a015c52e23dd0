"""The reader of daily files of wire crimping machines: jobs in blocks, errors as quoted records.

Job files (``.sdc``) hold blocks: ``[Name]``, lines ``Key=value``, an empty line. Error files
(``.ldc``) hold records of fields between tabs; a quoted text may go over several lines. Both write
``dd/mm/yyyy`` and ``HH:MM:SS`` of the machine's own clock.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from workspace_lib.formats import Issue, Record
from workspace_lib.machining.encodings import BOM, Encoding, find_encoding

STARTED: Final = "JobStarted"
#: How a job ends.
ENDS: Final = ("JobTerminated", "JobInterrupted", "JobAborted")
ERROR: Final = "Error"

_HEADER = re.compile(r"\[(\w{1,80})\]")
_PAIR = re.compile(r"(\w{1,80})=(.*)", re.DOTALL)
_STAMP = re.compile(r"(\d\d)/(\d\d)/(\d{4})[,\t](\d\d):(\d\d):(\d\d)")
_BLOCK_HEAD = re.compile(
    rb"\s*\[\w{1,80}\]\r?\n(?:\w{1,80}=[^\n]*\n)*?DateTimeStamp=\d\d/\d\d/\d{4},"
)
_ERROR_HEAD = re.compile(rb"\s*\d\d/\d\d/\d{4}\t\d\d:\d\d:\d\d\t")
_TOLD: Final = 20
_BLANKS: Final = " \t\r"


@dataclass(frozen=True)
class Entry:
    """A block or a record: its first line (from 1), how many lines it has, and what it says.

    ``time`` is the machine's wall clock. ``fields`` keep their order; a key may occur again.
    """

    line: int
    lines: int
    name: str
    time: datetime
    fields: tuple[tuple[str, str], ...]

    def get(self, key: str, default: str = "") -> str:
        """Return the first value of a key."""
        return next((value for name, value in self.fields if name == key), default)


@dataclass(frozen=True)
class BadLines:
    """Lines that are none of an entry: where they begin (from 1), how many, and why."""

    line: int
    lines: int
    code: str
    message: str


@dataclass(frozen=True)
class JobLog:
    """A file: its entries and what else its lines are; together they are all ``lines``."""

    entries: tuple[Entry, ...]
    bad: tuple[BadLines, ...]
    lines: int
    blank: int
    encoding: Encoding
    nul: int
    torn: bool

    def counts(self) -> dict[str, int]:
        """Return how often each name occurs."""
        return dict(Counter(entry.name for entry in self.entries))

    @property
    def entry_lines(self) -> int:
        """How many lines belong to entries."""
        return sum(entry.lines for entry in self.entries)

    @property
    def malformed(self) -> int:
        """How many lines belong to none and are not blank."""
        return sum(bad.lines for bad in self.bad)


@dataclass(frozen=True)
class JobTotals:
    """Jobs of a file: how many began and ended which way, good pieces, and seconds in jobs [s]."""

    started: int
    terminated: int
    interrupted: int
    aborted: int
    good_pieces: int
    job_seconds: int


def parse_jobs(content: bytes) -> JobLog:
    """Parse a file of blocks; never raises. A block without a time is malformed."""
    lines, encoding, nul, torn = _lines(content)
    entries: list[Entry] = []
    bad: list[BadLines] = []
    blank = 0
    number = 0
    while number < len(lines):
        begin = number
        header = _HEADER.fullmatch(lines[number].rstrip(_BLANKS))
        number += 1
        if header is None:
            if not lines[begin].strip(_BLANKS):
                blank += 1
            else:
                bad.append(BadLines(begin + 1, 1, "no_block", "The line is part of no block."))
            continue
        fields = []
        while number < len(lines) and (pair := _PAIR.match(lines[number])):
            fields.append((pair[1], pair[2].rstrip("\r")))
            number += 1
        stamp = next((value for key, value in fields if key == "DateTimeStamp"), "")
        time = _time(stamp)
        if time is None:
            message = f"The block {header[1]} has no time."
            bad.append(BadLines(begin + 1, number - begin, "no_stamp", message))
        else:
            entries.append(Entry(begin + 1, number - begin, header[1], time, tuple(fields)))
    return JobLog(tuple(entries), tuple(bad), len(lines), blank, encoding, nul, torn)


def parse_errors(content: bytes) -> JobLog:
    """Parse a file of records; never raises.

    A line that begins with a date and a time begins a record, also where a quote was left open.
    """
    lines, encoding, nul, torn = _lines(content)
    entries: list[Entry] = []
    bad: list[BadLines] = []
    blank = 0
    for begin, count in _records(lines):
        text = "\n".join(lines[begin : begin + count])
        time = _time(text)
        if not text.strip(_BLANKS + "\n"):
            blank += count
        elif time is None:
            bad.append(BadLines(begin + 1, count, "no_stamp", "The record has no date and time."))
        elif text.count('"') % 2:
            bad.append(BadLines(begin + 1, count, "open_quote", "A quoted text has no end."))
        else:
            fields = _fields(text)
            named = tuple((str(place), value) for place, value in enumerate(fields))
            entries.append(Entry(begin + 1, count, ERROR, time, named))
    return JobLog(tuple(entries), tuple(bad), len(lines), blank, encoding, nul, torn)


def job_totals(log: JobLog) -> JobTotals:
    """Return what the jobs of a file come to.

    A job lasts from its start to the next end in the file; one that is started while another is
    open takes its place.
    """
    counts = log.counts()
    seconds, good = 0, 0
    since: datetime | None = None
    for entry in log.entries:
        if entry.name == STARTED:
            since = entry.time
        elif entry.name in ENDS:
            seconds += max(0, int((entry.time - since).total_seconds())) if since else 0
            since = None
            pieces = entry.get("TotalGoodPieces", "0")
            good += int(pieces) if pieces.isdecimal() and len(pieces) < 10 else 0
    terminated, interrupted, aborted = (counts.get(name, 0) for name in ENDS)
    return JobTotals(counts.get(STARTED, 0), terminated, interrupted, aborted, good, seconds)


def _lines(content: bytes) -> tuple[list[str], Encoding, int, bool]:
    nul = content.count(b"\0")
    text = content.replace(b"\0", b"").removeprefix(BOM)
    encoding = find_encoding(text)
    lines = text.decode(encoding).split("\n")
    torn = bool(lines[-1])
    return (lines if torn else lines[:-1]), encoding, nul, torn


def _records(lines: list[str]) -> Iterator[tuple[int, int]]:
    """Yield where records begin and how many lines they have."""
    begin, is_open = 0, False
    for number, line in enumerate(lines):
        if number > begin and (not is_open or _STAMP.match(line)):
            yield begin, number - begin
            begin, is_open = number, False
        is_open ^= line.count('"') % 2 == 1
    if lines:
        yield begin, len(lines) - begin


def _fields(text: str) -> list[str]:
    """Return the fields between tabs; quoted ones lose their quotes."""
    try:
        rows = list(csv.reader([text.rstrip("\r")], delimiter="\t"))
    except csv.Error:  # a field longer than any text
        return text.split("\t")
    return rows[0] if rows else []


def _time(text: str) -> datetime | None:
    found = _STAMP.match(text)
    if found is None:
        return None
    day, month, year, hour, minute, second = map(int, found.groups())
    try:
        return datetime(year, month, day, hour, minute, second)
    except ValueError:
        return None


def sniff_jobs(name: str, head: bytes) -> bool:
    """Return whether a file is one of blocks with times."""
    return _BLOCK_HEAD.match(head.removeprefix(BOM)) is not None


def sniff_errors(name: str, head: bytes) -> bool:
    """Return whether a file is one of error records."""
    return _ERROR_HEAD.match(head.removeprefix(BOM)) is not None


def read_jobs(path: Path) -> Record:
    """Read a file of blocks; ``data`` is a `JobLog`."""
    return _record(parse_jobs(path.read_bytes()))


def read_errors(path: Path) -> Record:
    """Read a file of error records; ``data`` is a `JobLog`."""
    return _record(parse_errors(path.read_bytes()))


def describe_log(record: Record) -> dict[str, Any]:
    """Return the counts as `workspace inspect` tells them."""
    log: JobLog = record.data
    return {
        "lines": log.lines,
        "events": log.counts(),
        "event_lines": log.entry_lines,
        "blank": log.blank,
        "unknown": 0,
        "malformed": log.malformed,
        "encoding": log.encoding,
    }


def describe_jobs(record: Record) -> dict[str, Any]:
    """Return the counts and what the jobs come to."""
    totals = job_totals(record.data)
    return {**describe_log(record), "jobs": dict(vars(totals))}


def _record(log: JobLog) -> Record:
    times = [entry.time for entry in log.entries]
    issues = [Issue(bad.code, "error", f"line {bad.line}", bad.message) for bad in log.bad[:_TOLD]]
    if log.nul:
        issues.append(Issue("nul", "warning", "file", f"{log.nul} NUL bytes were taken out."))
    if log.torn:
        issues.append(
            Issue("no_final_newline", "warning", f"line {log.lines}", "The last line has no end.")
        )
    meta = {
        "first_time": min(times).isoformat() if times else None,
        "last_time": max(times).isoformat() if times else None,
        "rows": len(log.entries),
    }
    return Record(log, meta, tuple(issues))
