"""Registers the readers of events and says what ``workspace inspect`` tells of one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from workspace_lib.formats import Reader, Record, register
from workspace_lib.reclosers.cev import read_cev
from workspace_lib.reclosers.comtrade import read_comtrade
from workspace_lib.reclosers.eve import read_eve, sniff_eve
from workspace_lib.reclosers.hdr import describe_hdr, read_hdr, sniff_hdr
from workspace_lib.reclosers.history_files import describe_history, read_history, sniff_history
from workspace_lib.reclosers.ident import describe_ident, read_ident, sniff_ident
from workspace_lib.reclosers.record import EventRecord
from workspace_lib.reclosers.ser import describe_ser, read_ser, sniff_ser

_CEV_HEAD = re.compile(rb'"(?:FID|BCBFID|MONTH|REC_NUM)[^"=]*"')
_CFF_HEAD = re.compile(rb"\s*-{1,4}[ \t]*file type:?[ \t]*(?:CFG|DAT|HDR|INF)\b", re.IGNORECASE)
_COUNTS = re.compile(rb"\s*\d+[A-Z]?\s*,\s*\d+\s*A\s*,\s*\d+\s*D\s*(?:\r?\n|\r|$)", re.IGNORECASE)


def sniff_cev(name: str, head: bytes) -> bool:
    """Return whether a file is a CEV file: by its first quoted names, whatever stands before."""
    first = head.lstrip(b"\x02\r\n ")[:400]
    quote = first.find(b'"')
    if not 0 <= quote <= 40 or _CEV_HEAD.match(first[quote:]) is None:
        return False
    return not sniff_history(name, head)  # which begins with the same names


def sniff_comtrade(name: str, head: bytes) -> bool:
    """Return whether a file is a part of a COMTRADE record: by its content, or its ending."""
    if _CFF_HEAD.match(head):
        return True
    _, _, rest = head.partition(b"\n")
    if _COUNTS.match(rest):
        return True
    return name.lower().endswith((".cfg", ".cff", ".dat"))


def describe(record: Record) -> Mapping[str, Any]:
    """Return what is told of an event beside the keys of all kinds."""
    event: EventRecord = record.data
    described: dict[str, Any] = {
        "revision": event.revision or None,
        "data_type": event.data_type,
        "station": event.station or None,
        "device": event.device or None,
        "frequency_hz": event.frequency_hz,
        "analog": len(event.analog),
        "digital": len(event.digital),
        "samples": event.samples,
        "rates": [[rate, last] for rate, last in event.rates],
        "start_time": str(event.start) if event.start else None,
        "trigger_time": str(event.trigger) if event.trigger else None,
        "channels": _channels(event),
        "digital_ones": int(np.count_nonzero(event.bits)),
        "checksums": {"good": event.checksums.good, "bad": event.checksums.bad},
    }
    if event.format in ("cev", "eve"):
        ones = np.count_nonzero(event.bits, axis=0).tolist()
        names = [channel.name for channel in event.digital]
        described["bits"] = dict(zip(names, ones, strict=True))
    return described


def _channels(event: EventRecord) -> list[dict[str, Any]]:
    values = event.values
    sums = np.nansum(values, axis=0)
    known = np.count_nonzero(~np.isnan(values), axis=0) > 0
    middle = event.samples // 2
    return [
        {
            "name": channel.name,
            "unit": channel.unit,
            "first": _number(values[0, number]),
            "middle": _number(values[middle, number]),
            "last": _number(values[-1, number]),
            "sum": float(sums[number]) if known[number] else None,
        }
        for number, channel in enumerate(event.analog)
    ]


def _number(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)


register(Reader("cev", "sel-cev", 1, sniff_cev, read_cev, describe))
register(Reader("comtrade", "comtrade", 1, sniff_comtrade, read_comtrade, describe))
register(Reader("eve", "sel-eve", 1, sniff_eve, read_eve, describe))
register(Reader("event-header", "sel-hdr", 1, sniff_hdr, read_hdr, describe_hdr))
register(Reader("history", "sel-history", 1, sniff_history, read_history, describe_history))
register(Reader("relay-identity", "sel-id", 1, sniff_ident, read_ident, describe_ident))
register(Reader("state-changes", "sel-ser", 1, sniff_ser, read_ser, describe_ser))
