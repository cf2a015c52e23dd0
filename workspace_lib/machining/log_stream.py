"""Logs of any size: parsed in parts, and summed up without keeping their lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, Final

import numpy as np

from workspace_lib.machining.encodings import Encoding, join_encodings
from workspace_lib.machining.line_fields import NO_TIME
from workspace_lib.machining.line_judge import Kind, Reason
from workspace_lib.machining.lines import EVENTS, ParsedLines, parse
from workspace_lib.machining.timeline import TOLERANCE_S

#: What is read at once [bytes]: a text of line feeds alone needs sixty times its size.
CHUNK: Final = 1 << 20
#: Longer lines are no events: they are counted, and their text is not kept [bytes].
LONGEST_LINE: Final = 1 << 20
#: So many odd lines are told one by one, and so many names of unknown events.
TOLD: Final = 20
_NAMES_TOLD: Final = 200


def parse_stream(
    stream: BinaryIO,
    *,
    offset: int = 0,
    closed: bool = True,
    events: Sequence[str] = EVENTS,
    encoding: Encoding | None = None,
    chunk: int = CHUNK,
) -> Iterator[ParsedLines]:
    """Parse a log in parts that end behind a line feed; see `lines.parse`.

    A line longer than `LONGEST_LINE` is one part: malformed, without its text.
    """
    rest = b""
    while read := stream.read(chunk):
        content = rest + read
        cut = content.rfind(b"\n") + 1
        if cut:
            yield parse(content[:cut], offset=offset, events=events, encoding=encoding)
            offset += cut
        rest = content[cut:]
        if len(rest) > LONGEST_LINE:
            size, rest, ended = _skip_line(stream, rest, chunk)
            if not (ended or closed):
                # It may go on: nothing is said of it yet.
                yield replace(parse(b"", offset=offset, events=events), pending=size)
                return
            yield _too_long(offset, size, ended)
            offset += size
    if rest:
        yield parse(rest, offset=offset, closed=closed, events=events, encoding=encoding)


def _skip_line(stream: BinaryIO, begin: bytes, chunk: int) -> tuple[int, bytes, bool]:
    """Read up to the end of a long line; returns its size, what follows, whether it has an end."""
    size = len(begin)
    while read := stream.read(chunk):
        end = read.find(b"\n") + 1
        if end:
            return size + end, read[end:], True
        size += len(read)
    return size, b"", False


def _too_long(offset: int, size: int, ended: bool) -> ParsedLines:
    lines = parse(b"!\n" if ended else b"!", offset=offset)
    lines.reason[:] = Reason.TOO_LONG
    return lines


@dataclass
class LogSummary:
    """What a log holds, part by part; the kinds add up to ``lines``.

    ``first_us`` and ``last_us`` are the earliest and the latest naive stamp [µs], ``sizes`` in
    bytes; ``late`` and ``steps_back`` count stamps before the one above, by the tolerance of
    `timeline`. ``told`` has the first malformed lines: byte offset, reason.
    """

    lines: int = 0
    blank: int = 0
    events: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    malformed: Counter[str] = field(default_factory=Counter)
    first_us: int | None = None
    last_us: int | None = None
    encodings: set[Encoding] = field(default_factory=set)
    bom: bool = False
    torn: bool = False
    nul: int = 0
    crlf: int = 0
    lone_cr: int = 0
    pending: int = 0
    late: int = 0
    steps_back: int = 0
    first_step: int | None = None
    told: list[tuple[int, Reason]] = field(default_factory=list)
    _previous_us: int | None = None

    def add(self, part: ParsedLines) -> None:
        """Count the next part of the log."""
        self.lines += len(part)
        self.blank += part.count(Kind.BLANK)
        self.events.update(part.counts(Kind.EVENT))
        for name, count in part.counts(Kind.UNKNOWN).items():
            known = name in self.unknown or len(self.unknown) < _NAMES_TOLD
            self.unknown[name if known else "…"] += count
        reasons = np.bincount(part.reason, minlength=len(Reason)).tolist()
        for reason in Reason:
            if reason and reasons[reason]:
                self.malformed[reason.code] += reasons[reason]
        if len(self.told) < TOLD:
            for row in np.flatnonzero(part.kind == Kind.MALFORMED)[: TOLD - len(self.told)]:
                self.told.append((int(part.offset[row]), Reason(part.reason[row])))
        self.encodings.add(part.encoding)
        self.bom |= part.bom
        self.torn = part.torn
        self.nul += int(part.nul.sum())
        self.crlf += part.crlf
        self.lone_cr += part.lone_cr
        self.pending = part.pending
        self._add_times(part)

    def _add_times(self, part: ParsedLines) -> None:
        rows = np.flatnonzero(part.t_local_us != NO_TIME)
        if not len(rows):
            return
        stamps = part.t_local_us[rows]
        low, high = int(stamps.min()), int(stamps.max())
        self.first_us = low if self.first_us is None else min(low, self.first_us)
        self.last_us = high if self.last_us is None else max(high, self.last_us)
        before = int(stamps[0]) if self._previous_us is None else self._previous_us
        step = np.diff(stamps, prepend=before)
        back = step < -round(TOLERANCE_S * 1e6)
        self.late += int(np.count_nonzero((step < 0) & ~back))
        if back.any():
            self.steps_back += int(np.count_nonzero(back))
            if self.first_step is None:
                self.first_step = int(part.offset[rows[back.argmax()]])
        self._previous_us = int(stamps[-1])

    @property
    def encoding(self) -> Encoding:
        """The encoding that all parts can be read in."""
        return join_encodings(self.encodings)[0]

    @property
    def mixed(self) -> bool:
        """Whether parts of the log are in different encodings."""
        return join_encodings(self.encodings)[1]

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as `workspace inspect` tells them."""
        return {
            "lines": self.lines,
            "events": dict(self.events),
            "blank": self.blank,
            "unknown": self.unknown.total(),
            "unknown_events": dict(self.unknown),
            "malformed": self.malformed.total(),
            "malformed_reasons": dict(self.malformed),
            "encoding": self.encoding,
        }


def summarise(parts: Iterable[ParsedLines]) -> LogSummary:
    """Return what a log in parts holds."""
    summary = LogSummary()
    for part in parts:
        summary.add(part)
    return summary
