"""Which recloser a file is of that somebody fetched by hand: by folders, name, or content.

A folder or a file tells it by the house name or the name of a recloser, as a whole or between other
characters (``LAV-101_2026-08-02.cev``, names by IEEE C37.232); a content by its station or device.
Where folders and content say different reclosers nobody guesses: a file under the wrong one would
be believed for years.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from workspace_lib.errors import FormatError
from workspace_lib.reclosers.comname import parse_comname
from workspace_lib.reclosers.settings import Recloser

_BETWEEN = re.compile(r"[^0-9A-Z]+")


@dataclass(frozen=True)
class Whose:
    """The recloser, or why none is told."""

    recloser: Recloser | None
    why: str = ""


class Owners:
    """The reclosers that files may be of."""

    def __init__(self, reclosers: Sequence[Recloser], only: Recloser | None = None) -> None:
        self._only = only
        #: By the words of a house name or a name; a name that two share tells neither.
        self._names: dict[tuple[str, ...], set[Recloser]] = {}
        for one in reclosers:
            for text in (one.id, one.name):
                if words := _words(text):
                    self._names.setdefault(words, set()).add(one)
        self._longest = max(map(len, self._names), default=0)

    def of(self, path: Path, names: Sequence[str] = ()) -> Whose:
        """Return whose a file is by its path below the folder, and by what its content says."""
        if self._only is not None:
            return Whose(self._only)
        by_place = self._of_path(path)
        by_content = {one for name in names if (one := self._exact(name)) is not None}
        if len(by_content) > 1:
            return Whose(None, f"its content names {_listed(by_content)}")
        if len(by_place) > 1:
            return Whose(None, f"its path names {_listed(by_place)}")
        if by_place and by_content and by_place != by_content:
            said = f"its path says {_listed(by_place)}, its content {_listed(by_content)}"
            return Whose(None, said)
        found = by_place or by_content
        if not found:
            told = ", ".join(repr(name) for name in names if name)
            return Whose(None, "nothing tells its recloser" + (f" ({told})" if told else ""))
        return Whose(next(iter(found)))

    def named(self, name: str) -> Recloser | None:
        """Return the recloser of that house name or name."""
        return self._only or self._exact(name)

    def _exact(self, name: str) -> Recloser | None:
        found = self._names.get(_words(name), set())
        return next(iter(found)) if len(found) == 1 else None

    def _of_path(self, path: Path) -> set[Recloser]:
        """Return all that its folders and its name tell; they must agree."""
        told: set[Recloser] = set()
        for part in path.parts:
            told |= self._within(part)
        # A territory's folder with a number below it: LAV/101 is LAV-101.
        for above, below in pairwise(path.parts):
            one = self._exact(f"{above} {below}") or self._exact(f"{above} {Path(below).stem}")
            if one is not None:
                told.add(one)
        return told

    def _within(self, text: str) -> set[Recloser]:
        try:
            named = parse_comname(text)
        except FormatError:
            pass
        else:
            if (one := self._exact(named.device)) is not None:
                return {one}
        words = _words(text)
        if words in self._names or words[:-1] in self._names:  # with or without an ending
            one = self._exact(" ".join(words)) or self._exact(" ".join(words[:-1]))
            return {one} if one is not None else set()
        # The longest name wins: LAV-10-1 is not LAV-10.
        for length in range(min(self._longest, len(words)), 0, -1):
            places = range(len(words) - length + 1)
            pieces = [words[at : at + length] for at in places]
            found = [self._names.get(one, set()) for one in pieces if _is_telling(one)]
            if sole := {next(iter(one)) for one in found if len(one) == 1}:
                return sole
        return set()


def _words(text: str) -> tuple[str, ...]:
    """Return the words of a name without accents, in capitals."""
    plain = unicodedata.normalize("NFKD", text.upper()).encode("ascii", "ignore").decode()
    return tuple(word for word in _BETWEEN.split(plain) if word)


def _is_telling(words: tuple[str, ...]) -> bool:
    """Return whether a name may be looked for among others: a short number may be anything."""
    text = "".join(words)
    return len(text) >= 5 if text.isdigit() else len(text) >= 3


def _listed(reclosers: set[Recloser]) -> str:
    return " and ".join(sorted(one.id for one in reclosers))
