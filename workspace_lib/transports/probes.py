"""Probing: talk to a source or a device once, say what was seen, and store nothing.

Sources of files, and the places of devices, are probed here. A wing that can say more of its
devices registers a prober in its module ``probes``.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import socket
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from workspace_lib.clock import SYSTEM_CLOCK, iso
from workspace_lib.errors import ConfigError, DeviceError
from workspace_lib.settings import Settings
from workspace_lib.store.inventory import Listed
from workspace_lib.transports.file_source import is_partial, open_source

#: Takes the settings and a name; yields lines to print, or returns None if the name is not its.
Prober = Callable[[Settings, str], Iterator[str] | None]

CONNECT_TIMEOUT_S = 10.0
SHOWN = 5
_probers: list[Prober] = []


def register(prober: Prober) -> Prober:
    """Add a prober for names that this module does not know."""
    if prober not in _probers:
        _probers.append(prober)
    return prober


def probe(settings: Settings, name: str) -> Iterator[str]:
    """Yield what is seen of the source or device ``name``, line by line, while it is seen.

    Raises
    ------
    ConfigError
        If the site knows no such source or device.
    SourceError, DeviceError
        If it does not answer.
    """
    _load()
    for prober in (_probe_source, *_probers, _probe_device):
        lines = prober(settings, name)
        if lines is not None:
            return lines
    if name in settings.devices:
        raise ConfigError(
            f"Nothing says where the device {name} is.",
            where=str(settings.site_dir),
            fix=f"Give its place under devices, as in {name}: /dev/ttyS0.",
        )
    known = ", ".join(sorted([*settings.sources, *settings.devices])) or "none"
    raise ConfigError(
        f"The site {settings.site_name} has no source or device {name!r}.",
        where=str(settings.site_dir),
        fix=f"Known: {known}.",
    )


@cache
def _load() -> None:
    import workspace_lib

    for package in pkgutil.iter_modules(workspace_lib.__path__, "workspace_lib."):
        module = f"{package.name}.probes"
        if package.ispkg and module != __name__ and importlib.util.find_spec(module) is not None:
            importlib.import_module(module)


def _probe_source(settings: Settings, name: str) -> Iterator[str] | None:
    return _source_lines(settings, name) if name in settings.sources else None


def _source_lines(settings: Settings, name: str) -> Iterator[str]:
    began = time.monotonic()
    with open_source(settings, name) as source:
        yield f"Connected to {source.label} in {time.monotonic() - began:.2f} s."
        problems: list[tuple[str, str]] = []
        began = time.monotonic()
        shown: list[Listed] = []
        listed = partial = size = 0
        newest: tuple[datetime, str] | None = None
        for item in source.list(problems=problems):
            listed, size = listed + 1, size + item.size
            partial += is_partial(item.path)
            if item.modified is not None:
                newest = max(newest or (item.modified, item.path), (item.modified, item.path))
            if len(shown) < SHOWN:
                shown.append(item)
        folder = settings.source(name).folder
        took = time.monotonic() - began
        yield f"Listed {listed} files, {size} bytes, under {folder} in {took:.2f} s."
        for item in shown:
            when = iso(item.modified) if item.modified is not None else "time unknown"
            yield f"  {item.path}  {item.size} bytes  {when}"
        if listed > len(shown):
            yield f"  and {listed - len(shown)} more"
        if partial:
            yield f"{partial} of them have names of unfinished files and would be left alone."
        for path, reason in problems[:SHOWN]:
            yield f"Cannot be listed: {path}: {reason}"
        if newest is not None:
            yield _age(newest, SYSTEM_CLOCK.now())
        yield from _ftp_lines(source)


def _age(newest: tuple[datetime, str], now: datetime) -> str:
    modified, path = newest
    ahead_s = (modified - now).total_seconds()
    if ahead_s > 60:
        return (
            f"The newest file, {path}, is {ahead_s:.0f} s in the future: the server's clock or "
            "zone is wrong, or this machine's."
        )
    return f"The newest file, {path}, changed {-ahead_s:.0f} s ago by the server's clock."


def _ftp_lines(source: object) -> Iterator[str]:
    from workspace_lib.transports.ftp_source import FtpSource

    if not isinstance(source, FtpSource):
        return
    offset = source.zone_offset_s()
    if missing := source.missing_commands():
        yield f"The server does not know: {', '.join(missing)}."
    if offset is None:
        yield "How far its LIST is from UTC cannot be told."
    else:
        yield f"Its LIST is {offset / 3600:+g} h from UTC."


def _probe_device(settings: Settings, name: str) -> Iterator[str] | None:
    place = settings.devices.get(name)
    if place is None:
        return None
    return _place_lines(name, place)


def _place_lines(name: str, place: str) -> Iterator[str]:
    address = urlsplit(place)
    if address.hostname and address.port:
        began = time.monotonic()
        try:
            socket.create_connection(
                (address.hostname, address.port), timeout=CONNECT_TIMEOUT_S
            ).close()
        except OSError as error:
            raise DeviceError(
                f"The device {name} does not take a connection: {error}.",
                where=place,
                fix="Check that it is on, its address, and that nobody else is connected.",
            ) from error
        yield f"{name} at {place} took a connection in {time.monotonic() - began:.2f} s."
        return
    if not Path(place).exists():
        raise DeviceError(
            f"The device {name} is not there.",
            where=place,
            fix="Check the cable, and the name of the port.",
        )
    yield f"{name} is there: {place}."
