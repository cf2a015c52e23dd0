"""Whether files of an event arrived as the relay has them, and which event they are of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from workspace_lib.errors import FormatError
from workspace_lib.reclosers.comtrade import Files, parse_comtrade
from workspace_lib.reclosers.comtrade_config import Config, parse_config
from workspace_lib.reclosers.comtrade_data import row_type
from workspace_lib.reclosers.hdr import parse_hdr
from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.record import DeviceTime
from workspace_lib.reclosers.relay_plan import FetchedFile
from workspace_lib.reclosers.report import DateOrder

#: Issues of the reader that mean that samples are missing or changed.
_DAMAGED: Final = frozenset(
    {"cut", "trailing_bytes", "short_row", "bad_number", "bad_bits", "channel_count", "data_type"}
)
_PADDING: Final = b"\x00\x1a"
_BLOCK: Final = 1024
_MS: Final = 1_000_000


def text_of(content: bytes) -> bytes:
    """Return a text file without the 0x1A and 0x00 that fill its last block, or its last sector."""
    return content.rstrip(_PADDING)


def cut_to(content: bytes, config: bytes) -> bytes:
    """Return samples without what fills the last block, by the number that the CFG declares.

    Nothing is cut but 0x1A and 0x00, and of binary samples none that is whole.
    """
    try:
        parsed, _ = parse_config(config)
    except FormatError:
        return content
    if parsed.data_type == "ASCII":
        return text_of(content)
    size = row_type(parsed).itemsize
    declared = _declared(parsed) * size
    filled = -(-len(content.rstrip(_PADDING)) // size) * size
    end = max(declared, filled)
    return content[:end] if 0 < len(content) - end < _BLOCK else content


def trigger_of(config: bytes) -> DeviceTime | None:
    """Return the time of the trigger that a configuration gives, None if it is not known."""
    try:
        return parse_config(config)[0].trigger
    except FormatError:
        return None


def data_type(config: bytes) -> str:
    """Return how samples are written, ``BINARY`` for all that are no text; empty if unknown."""
    try:
        found = parse_config(config)[0].data_type
    except FormatError:
        return ""
    return found if found == "ASCII" else "BINARY"


def same_time(entry: HistoryEntry, time: DeviceTime | None) -> bool:
    """Return whether a time is that of an event of the list, to the millisecond."""
    return time is not None and abs(time.ns - entry.time.ns) < _MS


def judge(files: Sequence[FetchedFile], order: DateOrder) -> list[str]:
    """Return what is wrong with the files of one event; nothing if they are whole."""
    parts = {one.kind: one for one in files}
    name = parts["cfg"].name
    hdr = parts["hdr"].content if "hdr" in parts else b""
    try:
        record = parse_comtrade(Files(parts["cfg"].content, parts["dat"].content, hdr, name=name))
    except FormatError as error:
        return [str(error)]
    damage = [f"{one.where}: {one.message}" for one in record.issues if one.code in _DAMAGED]
    if record.data.trigger is None:
        damage.append(f"{name}: it has no time")
    if hdr:
        header = parse_hdr(hdr, order).data
        told = header.summary.time if header.summary else None
        trigger = record.data.trigger
        if told is not None and trigger is not None and abs(told.ns - trigger.ns) >= _MS:
            damage.append(f"{parts['hdr'].name} is of {told}, the samples of {trigger}")
    return damage


def _declared(config: Config) -> int:
    return config.rates[-1][1]
