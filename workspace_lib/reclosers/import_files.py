"""What lies in a folder that people filled by hand: events, lists of events, and all the rest.

Files are told apart by their content, whatever they are called. Reports are judged as those are
that come from a relay, once it is taken away what terminals put around them: the echoed command,
prompts, other line ends. The bytes that are kept are those of the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from workspace_lib.errors import FormatError
from workspace_lib.files import sha256_bytes
from workspace_lib.reclosers import cascii
from workspace_lib.reclosers.cev import parse_cev
from workspace_lib.reclosers.comtrade import Files, parse_comtrade, read_comtrade, split_cff
from workspace_lib.reclosers.eve import parse_eve, sniff_eve
from workspace_lib.reclosers.event_readers import sniff_cev, sniff_comtrade
from workspace_lib.reclosers.events_csv import ListedEvent, looks_like_events, parse_events_csv
from workspace_lib.reclosers.hdr import Header, parse_hdr, sniff_hdr
from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.history_files import History, parse_history, sniff_history
from workspace_lib.reclosers.ident import sniff_ident
from workspace_lib.reclosers.record import DeviceTime, EventRecord
from workspace_lib.reclosers.relay_checks import check_report
from workspace_lib.reclosers.relay_plan import FetchedFile, FileKind
from workspace_lib.reclosers.report import DateOrder
from workspace_lib.reclosers.ser import sniff_ser

RECORD: Final[tuple[FileKind, ...]] = ("cfg", "dat", "hdr", "inf")
#: More than any event has [bytes].
MOST_BYTES: Final = 256 * 1024 * 1024
_HEAD: Final = 64 * 1024
_MS: Final = 1_000_000
_DAMAGED: Final = frozenset({"cut", "short_row", "bad_number", "bad_bits", "bad_time"})
_LINE_END = re.compile(rb"\r\n|\r|\n")
_PROMPT = re.compile(rb"\s*(=[>=+]*\s*)?(QUI|QUIT|EXI|EXIT)?\s*", re.IGNORECASE)
KNOWN: Final = "kept already"


@dataclass(frozen=True)
class FoundEvent:
    """One event in the folder, with its files.

    ``names`` are what its content says of where it is from; ``damage`` says why it is not whole,
    ``doubts`` what is odd; ``samples`` tells the better of two reports.
    """

    paths: tuple[Path, ...]
    entry: HistoryEntry | None
    files: tuple[FetchedFile, ...]
    names: tuple[str, ...] = ()
    damage: str = ""
    doubts: str = ""
    samples: int = 0


@dataclass(frozen=True)
class FoundList:
    """A list of events in the folder, and its rows that could not be read."""

    path: Path
    listed: tuple[ListedEvent, ...]
    names: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()


@dataclass(frozen=True)
class Other:
    """A file that is no event; ``why`` is empty for one that nobody need look at."""

    path: Path
    why: str = ""


Found = FoundEvent | FoundList | Other
Known = Callable[[Path, Sequence[str]], bool]


def find_events(
    folder: Path, order_of: Callable[[Path], DateOrder], known: Known
) -> Iterator[Found]:
    """Give what lies in a folder and below, in the order of names.

    Parameters
    ----------
    order_of : callable
        Order of dates in the texts of a file's relay.
    known : callable
        Whether the files with these SHA-256 are kept already; such are given as `Other` unread.

    Raises
    ------
    FormatError
        If the folder cannot be read.
    """
    if folder.is_file():
        raise FormatError(
            "This is a file.", where=str(folder), fix="Name the folder that it lies in."
        )
    if not folder.is_dir():
        raise FormatError("There is no such folder.", where=str(folder))
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _hidden(path)]
    records = _records(paths)
    taken = {part for parts in records.values() for part in parts.values()}
    for path in paths:
        try:
            if path in records:
                yield _record(path, records[path], known)
            elif path not in taken:
                yield _single(path, order_of(path), known)
        except OSError as error:
            yield Other(path, f"it cannot be read ({error.strerror or error})")


def _hidden(path: Path) -> bool:
    return path.name.startswith((".", "~$")) or path.name.lower() in ("thumbs.db", "desktop.ini")


def _records(paths: Sequence[Path]) -> dict[Path, dict[FileKind, Path]]:
    """Return the files of each COMTRADE record by its configuration: one base name, any case."""
    together: dict[tuple[Path, str], dict[FileKind, Path]] = {}
    for path in paths:
        ending = path.suffix.lower().removeprefix(".")
        for kind in RECORD:
            if ending == kind:
                together.setdefault((path.parent, path.stem.lower()), {}).setdefault(kind, path)
    return {parts["cfg"]: parts for parts in together.values() if "cfg" in parts}


def _record(path: Path, parts: Mapping[FileKind, Path], known: Known) -> Found:
    ordered = [kind for kind in RECORD if kind in parts]
    if sum(parts[kind].stat().st_size for kind in ordered) > MOST_BYTES:
        return Other(path, "it is too large for an event")
    files = tuple(FetchedFile(kind, parts[kind].name, parts[kind].read_bytes()) for kind in ordered)
    paths = tuple(parts[kind] for kind in ordered)
    if known(path, [file.sha256 for file in files]):
        return Other(path, KNOWN)
    if "dat" not in parts:
        return FoundEvent(paths, None, files, damage="its samples (DAT) are missing")
    try:
        record = read_comtrade(path)
    except FormatError as error:
        return FoundEvent(paths, None, files, damage=error.what)
    return _comtrade(paths, files, record.data, record.issues, parts.get("hdr"))


def _comtrade(
    paths: tuple[Path, ...],
    files: tuple[FetchedFile, ...],
    event: EventRecord,
    issues: Sequence[Any],
    header: Path | None,
) -> FoundEvent:
    damage = "; ".join(f"{one.where}: {one.message}" for one in issues if one.code in _DAMAGED)
    names = [event.station, event.device]
    entry = None if event.trigger is None else HistoryEntry(0, _to_ms(event.trigger), "")
    if header is not None:
        told: Header = parse_hdr(header.read_bytes()).data
        if told.summary is not None and entry is not None:
            found = told.summary
            names += [found.relay, found.terminal]
            entry = replace(
                entry,
                event=found.event,
                location=found.location,
                frequency=found.frequency,
                group=found.group,
                shot=found.shot,
                targets=found.targets,
            )
    if entry is None and not damage:
        damage = "the time of its trigger is not known"
    return FoundEvent(paths, entry, files, tuple(names), damage, samples=event.samples)


def _single(path: Path, order: DateOrder, known: Known) -> Found:
    if path.stat().st_size > MOST_BYTES:
        return Other(path, "it is too large for an event")
    content = path.read_bytes()
    if not content.strip():
        return Other(path, "it is empty")
    if known(path, [sha256_bytes(content)]):
        return Other(path, KNOWN)
    head, name = content[:_HEAD], path.name.lower()
    if name.endswith(".dat"):
        return Other(path, "its configuration (CFG) is missing")
    if name.endswith((".csv", ".tsv")) and looks_like_events(head):
        return _table(path, content, order)
    if sniff_history(name, head):
        return _history(path, content, order)
    if sniff_cev(name, head):
        return _report(path, content)
    if sniff_comtrade(name, head):
        return _combined(path, content)
    if sniff_eve(name, head):
        return _text_report(path, content, order)
    if sniff_hdr(name, head):
        return _header(path, content, order)
    if name.endswith((".txt", ".his")) and looks_like_events(head):
        return _table(path, content, order)
    if sniff_ident(name, head) or sniff_ser(name, head):
        return Other(path)
    return Other(path, "it is no event and no list of events")


def _report(path: Path, content: bytes) -> FoundEvent:
    """Judge a compressed report as one that comes from a relay."""
    files = (FetchedFile("cev", path.name, content),)
    try:
        record = parse_cev(content, path.name)
    except FormatError as error:
        return FoundEvent((path,), None, files, damage=error.what)
    event: EventRecord = record.data
    check = check_report(_bare(content))
    damage = list(check.damaged)
    damage += [f"{one.where}: {one.message}" for one in record.issues if one.code in _DAMAGED]
    entry = None if event.trigger is None else _told(event.trigger, event.summary)
    return FoundEvent(
        (path,),
        entry,
        files,
        (event.station, event.device),
        "; ".join(dict.fromkeys(damage[:3])),
        "; ".join(check.doubtful[:3]),
        event.samples,
    )


def _text_report(path: Path, content: bytes, order: DateOrder) -> FoundEvent:
    files = (FetchedFile("eve", path.name, content),)
    try:
        record = parse_eve(content, path.name, order)
    except FormatError as error:
        return FoundEvent((path,), None, files, damage=error.what)
    event: EventRecord = record.data
    damage = [f"{one.where}: {one.message}" for one in record.issues if one.code in _DAMAGED]
    entry = None if event.trigger is None else _told(event.trigger, event.summary)
    names = (event.station, event.device)
    doubts = "it is a text, which has no checksums"
    return FoundEvent((path,), entry, files, names, "; ".join(damage[:3]), doubts, event.samples)


def _combined(path: Path, content: bytes) -> Found:
    files = (FetchedFile("cff", path.name, content),)
    if not path.name.lower().endswith(".cff"):
        return Other(path, "it is a part of a COMTRADE record, whose other parts are missing")
    try:
        parts, issues = split_cff(content, path.name)
        record = parse_comtrade(Files(parts.cfg, parts.dat, data_type=parts.data_type))
    except FormatError as error:
        return FoundEvent((path,), None, files, damage=error.what)
    return _comtrade((path,), files, record.data, (*issues, *record.issues), None)


def _header(path: Path, content: bytes, order: DateOrder) -> Found:
    """A relay's summary without its record: what the list says too, with the phasors."""
    told: Header = parse_hdr(content, order).data
    found = told.summary
    if found is None or found.time is None:
        return Other(path, "it is a header without its record")
    entry = HistoryEntry(
        0,
        _to_ms(found.time),
        found.event,
        location=found.location,
        frequency=found.frequency,
        group=found.group,
        shot=found.shot,
        targets=found.targets,
    )
    return FoundList(path, (ListedEvent(entry, 1),), (found.relay, found.terminal))


def _table(path: Path, content: bytes, order: DateOrder) -> Found:
    try:
        listed, issues = parse_events_csv(content, order, path.name)
    except FormatError as error:
        return Other(path, error.what)
    bad = tuple(f"{one.where}: {one.message}" for one in issues)
    return FoundList(path, tuple(listed), bad=bad)


def _history(path: Path, content: bytes, order: DateOrder) -> Found:
    try:
        # A list in the usual order may be of a relay that was set otherwise: all are tried.
        record = parse_history(content, path.name, None if order == "MDY" else order)
    except FormatError as error:
        return Other(path, error.what)
    history: History = record.data
    listed = tuple(ListedEvent(entry, line) for line, entry in enumerate(history.entries, 1))
    bad = tuple(f"{one.where}: {one.message}" for one in record.issues if one.severity == "error")
    head = history.head
    return FoundList(path, listed, (head.relay, head.terminal) if head else (), bad)


def _told(trigger: DeviceTime, summary: Mapping[str, Any]) -> HistoryEntry:
    """Return what the relay's list says of an event, from its report."""

    def text(*keys: str) -> str:
        value = next((summary[key] for key in keys if summary.get(key) is not None), "")
        return f"{value:g}" if isinstance(value, float) else str(value).strip()

    def number(key: str) -> float | None:
        value = summary.get(key)
        return value if isinstance(value, float) else None

    return HistoryEntry(
        0,
        _to_ms(trigger),
        text("EVENT"),
        location=number("LOCATION"),
        current=max(filter(None, map(number, ("IA", "IB", "IC"))), default=None),
        frequency=number("FREQ"),
        group=text("GROUP", "GRP"),
        shot=text("SHOT"),
        targets=text("TARGETS"),
        reference=text("REF_NUM"),
    )


def _to_ms(time: DeviceTime) -> DeviceTime:
    """Return a time as lists tell it: to the millisecond."""
    return DeviceTime(time.ns // _MS * _MS, 3)


def _bare(content: bytes) -> bytes:
    """Return a report as it stood between STX and ETX."""
    body = content.translate(None, bytes((cascii.STX, cascii.ETX, cascii.XON, cascii.XOFF)))
    body = body.rstrip(b"\x00\x1a")
    lines = _LINE_END.split(body[max(0, body.find(b'"')) :])
    while lines and _PROMPT.fullmatch(lines[-1]):
        lines.pop()
    return b"\r\n".join((*lines, b""))
