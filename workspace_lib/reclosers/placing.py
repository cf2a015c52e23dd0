"""Where the files of an event go: among the whole ones, or in quarantine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from workspace_lib.reclosers.archive import Archive, Kept
from workspace_lib.reclosers.relay_plan import FetchedEvent, FetchedFile
from workspace_lib.reclosers.settings import Recloser

#: Files of one record: without one of them the others are worth little.
_RECORD: Final = frozenset({"cfg", "dat", "hdr", "inf"})
#: Damaged tries of one event that are kept for looking at.
MOST_TRIES: Final = 6


@dataclass(frozen=True)
class KnownFile:
    """A file that rows know of an event: ``kept``, or ``quarantined``."""

    kind: str
    sha256: str
    state: str


@dataclass(frozen=True)
class Placed:
    """A file in the archive, and the row it becomes."""

    file: FetchedFile
    kept: Kept
    state: str


def place(
    archive: Archive,
    recloser: Recloser,
    event: FetchedEvent,
    known: Sequence[KnownFile],
    base: str,
) -> list[Placed]:
    """Put the bytes of an event into the archive, but for those that rows know to be there.

    Bytes that lie in quarantine are placed anew once they count as sound.
    """
    kept_before = {(row.kind, row.sha256) for row in known if row.state == "kept"}
    there = {(row.kind, row.sha256) for row in known}
    good = _sound(event)
    entry = event.entry
    base = base or archive.base_name(recloser, entry.time, entry.event)
    placed: list[Placed] = []
    if sound := [file for file in good if (file.kind, file.sha256) not in kept_before]:
        year = entry.time.to_datetime().year
        kept = archive.put_set(recloser, year, base, _by_ending(sound))
        placed += [Placed(one, at, "kept") for one, at in zip(sound, kept, strict=True)]
    tries = sum(row.state == "quarantined" for row in known)
    bad = [
        file for file in event.files if file not in good and (file.kind, file.sha256) not in there
    ]
    if bad and tries < MOST_TRIES:
        kept = archive.quarantine(recloser, base, _by_ending(bad))
        placed += [Placed(one, at, "quarantined") for one, at in zip(bad, kept, strict=True)]
    return placed


def _by_ending(files: Sequence[FetchedFile]) -> list[tuple[str, bytes]]:
    """Return contents by the ending each gets: its kind, with a number before a second one."""
    seen: Counter[str] = Counter()
    named = []
    for file in files:
        seen[file.kind] += 1
        before = f"{seen[file.kind]}." if seen[file.kind] > 1 else ""
        named.append((before + file.kind, file.content))
    return named


def lacking(event: FetchedEvent, state: str, known: Sequence[KnownFile]) -> FetchedEvent:
    """Return an event with those of its files only whose kind a whole one lacks so far.

    A record that was fetched by hand, say, goes with the report that the relay gave.
    """
    if (state, event.state) != ("whole", "whole"):
        return replace(event, files=())
    there = {row.kind for row in known if row.state == "kept"}
    new = [file for file in event.files if file.kind not in there]
    if there & _RECORD:
        new = [file for file in new if file.kind not in _RECORD]
    return replace(event, files=tuple(new))


def _sound(event: FetchedEvent) -> list[FetchedFile]:
    """Return the files that stand among the whole ones: those of a record all or none."""
    if event.state == "whole":
        return list(event.files)
    record = [file for file in event.files if file.kind in _RECORD]
    complete = all(file.whole for file in record) and {"cfg", "dat"} <= {f.kind for f in record}
    return [file for file in event.files if file.whole and (file.kind not in _RECORD or complete)]
