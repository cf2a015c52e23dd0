"""The record of a stored event: which of its files it is read from, and what they say beside it.

A relay may give one event as a CEV report and as a COMTRADE record. The waves are taken from the
one that has more samples a cycle, because times and phasors of raw samples are better than those of
filtered rows; but not from a record without the bit of a trip where the other has it. What only
reports say (settings of the line, the relay's summary) is taken from the others all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from workspace_lib.errors import FormatError
from workspace_lib.files import sha256_bytes
from workspace_lib.reclosers.analysis_relay import Source
from workspace_lib.reclosers.cev import parse_cev
from workspace_lib.reclosers.comtrade import Files, parse_comtrade, split_cff
from workspace_lib.reclosers.eve import parse_eve
from workspace_lib.reclosers.hdr import EventSummary, parse_hdr
from workspace_lib.reclosers.queries import EventFile
from workspace_lib.reclosers.record import EventRecord
from workspace_lib.reclosers.timing import TRIP_BITS

#: Reads a file of the archive by its path and SHA-256, as `archive.Archive.read` does.
ReadFile = Callable[[str, str], bytes]
#: Kinds of files that hold samples, in the order in which they are tried.
_REPORTS: Final = ("cev", "eve")


@dataclass(frozen=True)
class StoredRecord:
    """The record of an event, and what else its files say.

    ``source`` is what it was read from (``cev``, ``comtrade``, ``eve``); ``relay`` is what the
    relay says in the other files, ``settings`` those of the record or else of the others.
    ``troubles`` tell which files could not be read.
    """

    record: EventRecord
    source: str
    relay: tuple[Source, ...]
    settings: Mapping[str, str]
    troubles: tuple[str, ...] = ()


def input_hash(files: Sequence[EventFile]) -> str:
    """Return the SHA-256 that stands for the kept files of an event, in whatever order."""
    lines = sorted(f"{one.kind} {one.sha256}" for one in files if one.state == "kept")
    return sha256_bytes("\n".join(lines).encode())


def read_record(read: ReadFile, files: Sequence[EventFile]) -> StoredRecord:
    """Return the record of an event from its kept files.

    Raises
    ------
    FormatError
        If none of them can be read as an event; it says why for each.
    StoreError
        If the archive cannot be read.
    """
    kept = [one for one in files if one.state == "kept"]
    found: list[tuple[str, EventRecord]] = []
    relay: list[Source] = []
    troubles: list[str] = []
    for source, parse in _candidates(read, kept, relay):
        try:
            found.append((source, parse()))
        except FormatError as error:
            troubles.append(f"{source}: {error.what}")
    if not found:
        raise FormatError(
            "No file of this event can be read: " + (" ".join(troubles) or "it has none."),
            fix="Look at its files; they are kept as they came.",
        )
    source, record = max(found, key=lambda one: _worth(one[1], [other for _, other in found]))
    others = [one for _, one in found if one is not record]
    settings = next((one.settings for one in (record, *others) if one.settings), {})
    relay += [one.summary for one in others if one.summary]
    return StoredRecord(record, source, tuple(relay), settings, tuple(troubles))


def _candidates(
    read: ReadFile, files: Sequence[EventFile], relay: list[Source]
) -> list[tuple[str, Callable[[], EventRecord]]]:
    """Return what may hold the samples; what headers say is added to ``relay``."""
    by_kind = {one.kind: read(one.path, one.sha256) for one in reversed(files)}
    found: list[tuple[str, Callable[[], EventRecord]]] = []
    for kind in _REPORTS:
        if kind in by_kind:
            parse = parse_cev if kind == "cev" else parse_eve
            found.append((kind, lambda parse=parse, kind=kind: parse(by_kind[kind]).data))  # type: ignore[misc]
    if "hdr" in by_kind:
        header = parse_hdr(by_kind["hdr"]).data
        if isinstance(header.summary, EventSummary):
            relay.append(header.summary)
    if "cff" in by_kind:
        found.append(("comtrade", lambda: parse_comtrade(split_cff(by_kind["cff"])[0]).data))
    elif {"cfg", "dat"} <= by_kind.keys():
        parts = Files(
            by_kind["cfg"], by_kind["dat"], by_kind.get("hdr", b""), by_kind.get("inf", b"")
        )
        found.append(("comtrade", lambda: parse_comtrade(parts).data))
    return found


def _worth(record: EventRecord, others: Sequence[EventRecord]) -> tuple[bool, float]:
    """Return what is greater for the record that is analysed."""
    known = any(_has_trip(one) for one in others)
    return _has_trip(record) or not known, max((rate for rate, _ in record.rates), default=0.0)


def _has_trip(record: EventRecord) -> bool:
    return any(channel.name in TRIP_BITS for channel in record.digital)
