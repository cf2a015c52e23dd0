"""Blocks of lines that a log holds twice because it was uploaded again.

Equal lines are genuine: two pieces within a second are real. A block is a repetition only if it
begins with a step back in time and, byte by byte, is all that stood between its first line's first
occurrence and the step, or as much of that as there is before the log ends. Where the first upload
broke off within a line, that line is not looked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from workspace_lib.machining.line_fields import NO_TIME, Bools, Ints
from workspace_lib.machining.line_judge import Kind
from workspace_lib.machining.lines import ParsedLines

#: Fewer lines are no upload.
LEAST_LINES: Final = 3
#: So many lines with the stamp of the first one are looked at.
_TRIES: Final = 8
#: Bytes compared for each byte of the text, at most: a hostile log must not take for ever.
_BUDGET: Final = 8
_STRIDE: Final = 1 << 16


@dataclass(frozen=True)
class Repeat:
    """Lines ``first`` to ``first + count`` (excluded) repeat those from ``of`` on."""

    first: int
    count: int
    of: int


def repeated_blocks(lines: ParsedLines) -> tuple[Repeat, ...]:
    """Return the blocks of a log that repeat earlier ones, in their order."""
    rows = np.flatnonzero(lines.t_local_us != NO_TIME)
    stamps = lines.t_local_us[rows]
    steps = rows[1:][np.diff(stamps) < 0]
    if not len(steps):
        return ()
    order = np.argsort(stamps, kind="stable")
    search = _Search(lines, rows[order], stamps[order])
    found: list[Repeat] = []
    done = 0
    for row in steps.tolist():
        repeat = search.at(row) if row >= done else None
        if repeat is not None:
            found.append(repeat)
            done = repeat.first + repeat.count
    return tuple(found)


def is_repeated(lines: ParsedLines) -> Bools:
    """Return for each line whether it is part of a repeated block."""
    repeated = np.zeros(len(lines), bool)
    for repeat in repeated_blocks(lines):
        repeated[repeat.first : repeat.first + repeat.count] = True
    return repeated


class _Search:
    def __init__(self, lines: ParsedLines, rows: Ints, stamps: Ints) -> None:
        self.lines = lines
        self.rows, self.stamps = rows, stamps  # by stamp
        self.left = _BUDGET * len(lines.text)

    def at(self, row: int) -> Repeat | None:
        """Return the repetition that begins with a line, if one does."""
        lines = self.lines
        begin = int(lines.start[row])
        first = int(np.searchsorted(self.stamps, lines.t_local_us[row]))
        for earlier in self.rows[first : first + _TRIES].tolist():
            if earlier >= row:
                return None
            whole = begin - int(lines.start[earlier])
            sizes = [min(whole, len(lines.text) - begin)]
            if lines.kind[row - 1] == Kind.MALFORMED:
                # The first upload may have broken off in that line, and the second begun in it.
                sizes.append(min(sizes[0], int(lines.start[row - 1] - lines.start[earlier])))
            for size in sizes:
                if self._same(int(lines.start[earlier]), begin, size):
                    count = int(np.searchsorted(lines.start, begin + size)) - row
                    if count >= LEAST_LINES:
                        return Repeat(row, count, earlier)
        return None

    def _same(self, one: int, other: int, size: int) -> bool:
        text = self.lines.text
        for at in range(0, size, _STRIDE):
            piece = min(_STRIDE, size - at)
            self.left -= piece
            if self.left < 0:
                return False
            if text[one + at : one + at + piece] != text[other + at : other + at + piece]:
                return False
        return True
