"""A relay's directory of event files, and where in it an event is looked for first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.relay_plan import FileKind

_KINDS: Final[Mapping[str, FileKind]] = {"CFG": "cfg", "DAT": "dat", "HDR": "hdr"}
#: A name stands first in its line; in COMNAME ones there are commas and single blanks.
_NAME = re.compile(r"\s*(?P<stem>\S+(?: \S+)*?)\.(?P<ending>CFG|DAT|HDR)(?=\s|$)", re.IGNORECASE)
_NUMBER = re.compile(r"(\d+)\D*$")
#: What can be said to a relay as one word.
_WORD = re.compile(r"[A-Z0-9][A-Z0-9._-]{0,59}", re.IGNORECASE)
#: Reference numbers run from 10000 to 42767 and then begin anew (SEL-421 manual, R.9.18).
_FIRST, _LAST = 10_000, 42_767


@dataclass(frozen=True)
class FileSet:
    """The files of one event: its stem, and names by kind; ``cfg`` and ``dat`` are always there."""

    stem: str
    names: Mapping[FileKind, str]

    @property
    def number(self) -> int:
        """The number in its name, -1 without one."""
        match = _NUMBER.search(self.stem)
        return int(match[1]) if match else -1

    @property
    def askable(self) -> bool:
        """Whether its name can be said in a command: one of COMNAME has commas and cannot."""
        return _WORD.fullmatch(self.stem) is not None


def event_sets(listing: Sequence[bytes]) -> list[FileSet]:
    """Return the complete sets in a directory that can be asked for, highest number first.

    Examples
    --------
    >>> [one.stem for one in event_sets([b"HR_10001.CFG  R", b"HR_10001.DAT  R"])]
    ['HR_10001']
    """
    found: dict[str, dict[FileKind, str]] = {}
    for line in listing:
        if match := _NAME.match(line.decode("latin-1")):
            kind = _KINDS[match["ending"].upper()]
            name = f"{match['stem']}.{match['ending']}"
            found.setdefault(match["stem"].upper(), {}).setdefault(kind, name)
    sets = [FileSet(stem, names) for stem, names in found.items()]
    whole = [one for one in sets if one.askable and {"cfg", "dat"} <= one.names.keys()]
    numbers = [one.number for one in whole]
    wraps = bool(numbers) and max(numbers) <= _LAST and max(numbers) - min(numbers) > _LAST // 2

    def age(one: FileSet) -> tuple[int, str]:
        again = wraps and one.number < (_FIRST + _LAST) // 2
        return one.number + (_LAST - _FIRST + 1 if again else 0), one.stem

    return sorted(whole, key=age, reverse=True)


@dataclass
class Finder:
    """Says which set to look at for an event, by those that were looked at already.

    Most relays number files upwards, some from the newest on; some keep fewer files than they list
    events. Of each set that was opened it is known to which event of the list it belongs, and
    sets lie in the order of events, so that few must be opened in vain.
    """

    _places: dict[str, int | None] = field(default_factory=dict)

    def note(self, stem: str, place: int | None) -> None:
        """Note that a set belongs to the event at ``place`` of the list, from 0; None to none."""
        self._places[stem] = place

    def candidates(self, stems: Sequence[str], place: int, entry: HistoryEntry) -> Iterator[str]:
        """Give stems to look at for the event at ``place``, the likeliest first.

        ``stems`` are those of the directory, highest number first. Whoever looks at one notes what
        it was before asking for the next.
        """
        known = [stem for stem in stems if self._places.get(stem, -1) == place]
        yield from known
        if known:
            return
        number = entry.reference or str(entry.number)
        if number.isdigit() and int(number) >= _FIRST:
            for stem in stems:
                match = _NUMBER.search(stem)
                if stem not in self._places and match and int(match[1]) == int(number):
                    yield stem
        while (rank := self._next(stems, place)) is not None:
            yield stems[rank]

    def _next(self, stems: Sequence[str], place: int) -> int | None:
        """Return the rank of the next set to look at, None where it can be none of them."""
        known = [
            (rank, other)
            for rank, stem in enumerate(stems)
            if (other := self._places.get(stem)) is not None
        ]
        ways: tuple[int, ...] = (1, -1)
        if len(known) > 1:
            (first, one), (last, two) = known[0], known[-1]
            ways = (1,) if (last - first) * (two - one) > 0 else (-1,)
        for way in ways:
            left = [
                rank
                for rank, stem in enumerate(stems)
                if stem not in self._places
                and all((rank < at) == ((place - other) * way < 0) for at, other in known)
            ]
            if left:
                guess = place if way > 0 else len(stems) - 1 - place
                if known:
                    at, other = min(known, key=lambda one: abs(one[1] - place))
                    guess = at + way * (place - other)
                return min(left, key=lambda rank: abs(rank - guess))
        return None
