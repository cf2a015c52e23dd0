"""Formats: what a reader returns, and the registry that finds the reader for a file.

A wing registers its readers in its module ``readers`` and in those called ``…_readers``; other
packages may do so through the entry point group ``workspace_lib.readers``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

from workspace_lib.clock import iso
from workspace_lib.errors import FormatError
from workspace_lib.files import sha256_file
from workspace_lib.settings import Settings

Severity = Literal["info", "warning", "error"]
SNIFF_BYTES = 64 * 1024


@dataclass(frozen=True)
class Issue:
    """One thing a reader noticed and kept: a code, how bad, where, and a sentence."""

    code: str
    severity: Severity
    where: str
    message: str

    def to_dict(self) -> dict[str, str]:
        return {
            "code": self.code,
            "severity": self.severity,
            "where": self.where,
            "message": self.message,
        }


@dataclass(frozen=True)
class Record:
    """What every reader returns: the data, what the file says of itself, what was noticed.

    ``meta`` uses these keys where they apply: ``identity``, ``first_time`` and ``last_time`` (aware
    datetimes), ``timezone`` ({name, from}), ``rows``.
    """

    data: Any
    meta: Mapping[str, Any] = field(default_factory=dict)
    issues: tuple[Issue, ...] = ()


@dataclass(frozen=True)
class Reader:
    """A file format the workspace knows.

    ``sniff(name, head)`` judges by the file's name and its first 64 KiB; ``read(path)`` returns a
    `Record`; ``describe(record)`` gives the keys that ``workspace inspect`` adds for this kind, and
    ``at_site(record, path, settings)`` those that a site knows better.
    """

    kind: str
    format: str
    version: int
    sniff: Callable[[str, bytes], bool]
    read: Callable[[Path], Record]
    describe: Callable[[Record], Mapping[str, Any]] = lambda record: {}
    at_site: Callable[[Record, Path, Settings], Mapping[str, Any]] = lambda record, path, site: {}


_registry: dict[str, Reader] = {}


def register(reader: Reader) -> Reader:
    """Add a reader; a second one of the same format replaces the first (modules get reloaded)."""
    _registry[reader.format] = reader
    return reader


@cache
def _load() -> None:
    import workspace_lib

    for floor in pkgutil.iter_modules(workspace_lib.__path__, "workspace_lib."):
        if floor.ispkg:
            folder = importlib.import_module(floor.name).__path__
            for module in pkgutil.iter_modules(folder, f"{floor.name}."):
                name = module.name.rpartition(".")[2]
                if name == "readers" or name.endswith("_readers"):
                    importlib.import_module(module.name)
    for point in entry_points(group="workspace_lib.readers"):
        point.load()


def readers() -> tuple[Reader, ...]:
    """Return every known reader, by format name."""
    _load()
    return tuple(_registry[name] for name in sorted(_registry))


def find_reader(path: Path) -> Reader:
    """Return the reader whose detector accepts the file.

    Raises
    ------
    FormatError
        If none does; the message names the formats that are known.
    """
    with path.open("rb") as stream:
        head = stream.read(SNIFF_BYTES)
    for reader in readers():
        if reader.sniff(path.name, head):
            return reader
    known = ", ".join(reader.format for reader in readers())
    raise FormatError(
        "The file is of no known format.", where=str(path), fix=f"Known formats: {known}."
    )


def inspect(
    path: Path, reader: Reader | None = None, settings: Settings | None = None
) -> dict[str, Any]:
    """Return the envelope that ``workspace inspect --json`` prints: the same keys for all kinds.

    With ``settings`` the site is asked for what the file itself does not say.

    Raises
    ------
    FormatError
        If the format is unknown, or known but the file unreadable.
    """
    chosen = reader or find_reader(path)
    record = chosen.read(path)
    meta = record.meta
    envelope: dict[str, Any] = {
        "kind": chosen.kind,
        "format": chosen.format,
        "reader_version": chosen.version,
        "bytes": path.stat().st_size,
        "sha256": sha256_file(path),
        "identity": meta.get("identity"),
        "rows": meta.get("rows"),
        "first_time": _time(meta.get("first_time")),
        "last_time": _time(meta.get("last_time")),
        "timezone": meta.get("timezone", {"name": None, "from": "none"}),
        "issues": [issue.to_dict() for issue in record.issues],
    }
    envelope.update(chosen.describe(record))
    if settings is not None:
        envelope.update(chosen.at_site(record, path, settings))
    return envelope


def count_issues(issues: tuple[Issue, ...]) -> dict[str, int]:
    """Return how often each issue code occurs."""
    return dict(Counter(issue.code for issue in issues))


def _time(value: datetime | str | None) -> str | None:
    return iso(value) if isinstance(value, datetime) else value
