"""Whether an event report arrived as the relay sent it.

Checksums alone do not tell: a line that was lost as a whole leaves none that is wrong, and line
ends are not counted at all. Nor does a sum of bytes tell two changes that undo each other, so that
on a line that was disturbed once everything is read twice (`relay_capture`). What is odd without
being provably damaged is *doubtful*; it is taken when a second reading brings the same bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from workspace_lib.errors import FormatError
from workspace_lib.reclosers import cascii
from workspace_lib.reclosers.cev import parse_cev

#: Issues of the reader that a lost line may be behind, and an odd model as well.
_DOUBTFUL: Final = frozenset(
    {"cut", "unknown_line", "field_count", "bit_names", "no_trigger", "second_block"}
)
_DAMAGED: Final = frozenset({"short_row", "bad_number", "bad_bits", "bad_time", "another_event"})
_PADDING: Final = b"\x00\x1a"
_CONTROL = re.compile(rb"[^\t\r\n -~\x80-\xff]")
_LOWER_CASE = re.compile(rb'"(?=[0-9A-F]{0,3}[a-f])[0-9A-Fa-f]{4}"\r?\n')


@dataclass(frozen=True)
class ReportCheck:
    """What is wrong with a report, what is odd about it, and the time in its header."""

    damaged: tuple[str, ...]
    doubtful: tuple[str, ...]
    time: str | None


def without_padding(content: bytes) -> bytes:
    """Return a report without the 0x1A and 0x00 that some transfers put at its end."""
    return content.rstrip(_PADDING)


def check_report(content: bytes) -> ReportCheck:
    """Judge a compressed event report, as it stood between STX and ETX."""
    damaged, doubtful = _of_bytes(content)
    for line in cascii.lines(content):
        if line.good is False:
            damaged.append(f"line {line.number}: its checksum is wrong")
        elif line.good is None:
            damaged.append(f"line {line.number}: it has no checksum")
    time = None
    try:
        record = parse_cev(content)
    except FormatError as error:
        damaged.append(error.what)
    else:
        for issue in record.issues:
            if issue.code in _DAMAGED:
                damaged.append(f"{issue.where}: {issue.message}")
            elif issue.code in _DOUBTFUL:
                doubtful.append(f"{issue.where}: {issue.message}")
        if record.data.trigger is not None:
            time = str(record.data.trigger)
        if not record.data.settings:
            doubtful.append("there are no settings")
        if "NUM_OF_CYC" not in record.data.summary:
            doubtful.append("its length is not told")
    return ReportCheck(tuple(damaged), tuple(doubtful), time)


def damage_of_text(content: bytes) -> list[str]:
    """Return what no text of a relay has: control characters, line ends of two kinds."""
    damaged = []
    if match := _CONTROL.search(content):
        damaged.append(f"byte {match.start()}: 0x{content[match.start()]:02X} is no text")
    returns, feeds, both = content.count(b"\r"), content.count(b"\n"), content.count(b"\r\n")
    if not (returns == feeds == both or feeds == 0 or returns == 0):
        damaged.append("its line ends differ")
    return damaged


def _of_bytes(content: bytes) -> tuple[list[str], list[str]]:
    damaged, doubtful = damage_of_text(content), []
    if not content.lstrip(b"\r\n").startswith(b'"'):
        damaged.append("it does not begin with a quoted name")
    if not content.endswith((b"\r", b"\n")):
        doubtful.append("its last line has no end")
    if _LOWER_CASE.search(content):
        doubtful.append("a checksum is in lower case")
    return damaged, doubtful
