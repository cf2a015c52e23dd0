"""Registers the readers of machines' files: their logs, SHDR dumps, job logs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workspace_lib.clock import from_us
from workspace_lib.formats import Issue, Reader, Record, register
from workspace_lib.machining.encodings import BOM
from workspace_lib.machining.komax import (
    describe_jobs,
    describe_log,
    read_errors,
    read_jobs,
    sniff_errors,
    sniff_jobs,
)
from workspace_lib.machining.line_judge import MESSAGES
from workspace_lib.machining.log_stream import LogSummary, parse_stream, summarise
from workspace_lib.machining.shdr import describe_shdr, read_shdr
from workspace_lib.settings import Settings

_NAME = re.compile(r"(\d{8})\.LOG", re.IGNORECASE)
_LINE = re.compile(rb"^[\s\x00\x80-\xff]*\d{8} \d\d:\d\d:\d\d\|@\w", re.MULTILINE)


def sniff_log(name: str, head: bytes) -> bool:
    """Return whether a file is a machine's log: by its name, or by one of its lines."""
    return _NAME.fullmatch(name) is not None or bool(_LINE.search(head.removeprefix(BOM)))


def read_log(path: Path) -> Record:
    """Read a machine's log; ``data`` is a `LogSummary`.

    A log of any size is summed up; nothing but an unreadable file is refused. Times are naive: the
    machine's wall clock as text.
    """
    with path.open("rb") as stream:
        summary = summarise(parse_stream(stream))
    meta = {
        "first_time": _wall_clock(summary.first_us),
        "last_time": _wall_clock(summary.last_us),
        "rows": summary.events.total(),
    }
    return Record(summary, meta, tuple(_issues(summary, path.name)))


def _wall_clock(stamp_us: int | None) -> str | None:
    return None if stamp_us is None else from_us(stamp_us).replace(tzinfo=None).isoformat()


def _issues(summary: LogSummary, name: str) -> list[Issue]:
    found: list[Issue] = []

    def tell(code: str, severity: Any, message: str, where: str = "file") -> None:
        found.append(Issue(code, severity, where, message))

    if not summary.lines:
        tell("empty", "warning", "The log has no line.")
    if summary.bom:
        tell("bom", "info", "The log starts with a UTF-8 mark.")
    if summary.crlf:
        tell("crlf", "info", f"{summary.crlf} lines end in CR LF.")
    if summary.lone_cr:
        tell("lone_cr", "warning", f"{summary.lone_cr} CR without LF stay in the values.")
    if summary.nul:
        tell("nul", "warning", f"{summary.nul} NUL bytes were taken out.")
    if summary.mixed:
        tell("mixed_encoding", "warning", "Parts of the log are in different encodings.")
    if summary.torn:
        tell("no_final_newline", "warning", "The last line has no end.")
    if summary.late:
        tell("late_lines", "info", f"{summary.late} lines are stamped a little before their turn.")
    if summary.steps_back:
        tell(
            "clock_step",
            "warning",
            f"The stamps step back {summary.steps_back} times.",
            f"byte {summary.first_step}",
        )
    if summary.unknown:
        shown = ", ".join(sorted(summary.unknown)[:10])
        tell("unknown_event", "info", f"{summary.unknown.total()} unknown events: {shown}.")
    for place, reason in summary.told:
        tell(reason.code, "error", MESSAGES[reason], f"byte {place}")
    day, match = summary.first_us, _NAME.fullmatch(name)
    if match and day is not None and from_us(day).strftime("%Y%m%d") != match[1]:
        tell("name_differs", "warning", f"The first line is of {from_us(day):%Y-%m-%d}.", "name")
    return found


def _describe_log(record: Record) -> Mapping[str, Any]:
    summary: LogSummary = record.data
    return summary.to_dict()


def _log_at_site(record: Record, path: Path, settings: Settings) -> Mapping[str, Any]:
    """Return the zone of the site: stamps of a machine are of its wall clock."""
    return {"timezone": {"name": str(settings.timezone), "from": "site"}}


_SHDR_NAME = re.compile(r"\w+-\d{8}-\d{8}\.txt", re.IGNORECASE)
_SHDR_LINE = re.compile(rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z?\|[^|\n]*\|", re.MULTILINE)


def sniff_shdr(name: str, head: bytes) -> bool:
    """Return whether a file is an SHDR dump: one of its lines is, or it is empty and named so."""
    if not head:
        return _SHDR_NAME.fullmatch(name) is not None
    return bool(_SHDR_LINE.search(head))


register(Reader("machine_job", "komax-errors", 1, sniff_errors, read_errors, describe_log))
register(Reader("machine_job", "komax-jobs", 1, sniff_jobs, read_jobs, describe_jobs))
register(Reader("shdr", "mtconnect-shdr", 1, sniff_shdr, read_shdr, describe_shdr))
register(Reader("machine_log", "machine-log", 1, sniff_log, read_log, _describe_log, _log_at_site))
