"""What a relay is: its answer to ``ID``, lines ``"KEY=value"`` with a checksum each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workspace_lib.errors import FormatError
from workspace_lib.formats import Issue, Record
from workspace_lib.reclosers import cascii
from workspace_lib.reclosers.record import Checksums

_PAIR = re.compile(r"(?P<key>[A-Za-z][A-Za-z0-9_ ]*)=(?P<value>[^\x00-\x1f]*)")
_MODEL = re.compile(r"SEL[- ](?P<model>[0-9]{3,4}[A-Z0-9]*(?:-[0-9]+)?)(?=-[RX])", re.IGNORECASE)
_HEAD = re.compile(rb'"FID=[^"]*","[0-9A-Fa-f]{4}"')


@dataclass(frozen=True)
class Identity:
    """What a relay says of itself: ``values`` by key (FID, CID, DEVID …), in its own order."""

    values: Mapping[str, str] = field(default_factory=dict)
    checksums: Checksums = field(default_factory=Checksums)

    @property
    def fid(self) -> str:
        """Firmware identification, ``SEL-351R-R112-V0-Z004003-D20020610``; empty if not told."""
        return self.values.get("FID", "")

    @property
    def model(self) -> str | None:
        """The model by the firmware, ``SEL-351R`` or ``SEL-651R-2``; None if it does not say."""
        return model_of(self.fid)


def model_of(fid: str) -> str | None:
    """Return the model within a firmware identification.

    Examples
    --------
    >>> model_of("SEL-651R-2-R403-V0-Z005003-D20150318"), model_of("BOOTLDR-R501")
    ('SEL-651R-2', None)
    """
    match = _MODEL.search(fid)
    return f"SEL-{match['model'].upper()}" if match else None


def read_ident(path: Path) -> Record:
    """Read a kept answer to ``ID``; see `parse_ident`."""
    return parse_ident(path.read_bytes(), path.name)


def parse_ident(content: bytes, name: str = "") -> Record:
    """Parse an answer to ``ID``; ``data`` is an `Identity`.

    Old relays write their lines without quotes and checksums. A line whose checksum is wrong is
    told and not believed.

    Raises
    ------
    FormatError
        If nothing identifies a relay.
    """
    values: dict[str, str] = {}
    issues: list[Issue] = []
    good = bad = 0
    for line in cascii.lines(content):
        where = f"line {line.number}"
        if line.good is False:
            bad += 1
            said = "The checksum of the line is wrong; it is not believed."
            issues.append(Issue("checksum", "error", where, said))
            continue
        good += line.good is True
        text = line.text[line.text.find('"') :] if line.good else line.text
        for one in cascii.split_fields(text) if text.startswith('"') else [text.strip()]:
            if match := _PAIR.fullmatch(one):
                values.setdefault(match["key"], match["value"].strip())
    if "FID" not in values:
        raise FormatError(
            "Nothing in this text says which relay it is.",
            where=name or None,
            fix="Ask the relay again with ID.",
        )
    found = Identity(values, Checksums(good, bad))
    meta = {"identity": found.values.get("DEVID") or found.model, "rows": len(values)}
    return Record(found, meta, tuple(issues))


def sniff_ident(name: str, head: bytes) -> bool:
    """Return whether a file is an answer to ``ID``: it begins with the firmware and a checksum."""
    first = head[:400]
    quote = first.find(b'"')
    return 0 <= quote <= 40 and _HEAD.match(first, quote) is not None


def describe_ident(record: Record) -> Mapping[str, Any]:
    """Return what is told of an identification beside the keys of all kinds."""
    found: Identity = record.data
    return {
        "model": found.model,
        "values": dict(found.values),
        "checksums": {"good": found.checksums.good, "bad": found.checksums.bad},
    }
