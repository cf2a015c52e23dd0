"""The nightly full check of rain: is everything there, and is it what it should be?

The inventory is held against the server's listing, the products against what the store holds and
against the server, the days against their calibration, the newest days against the clock. What is
wrong is said in sentences; nothing is changed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import select

from workspace_lib.clock import SYSTEM_CLOCK, ensure_utc, from_us, to_us
from workspace_lib.errors import SourceError
from workspace_lib.files import sha256_file
from workspace_lib.rain import queries
from workspace_lib.rain.capture import is_raw
from workspace_lib.rain.check_report import About, CheckReport, Finding, Severity
from workspace_lib.rain.in_force import NOMINAL, UNCALIBRATED
from workspace_lib.rain.product_ledger import Product, Wanted, marks
from workspace_lib.rain.products import wanted_now
from workspace_lib.rain.settings import Network, load_network, load_rain
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store, read
from workspace_lib.store.source_files import (
    DELETED,
    FETCHED,
    PARSED,
    QUARANTINED,
    SEEN,
    STABLE,
    Listed,
    source_files,
)
from workspace_lib.transports.file_source import (
    FileRefused,
    FileSource,
    SourceUnreachable,
    is_partial,
    open_source,
)
from workspace_lib.transports.ftp_mirror import own_folders
from workspace_lib.transports.uploads import remote_sha256

log = logging.getLogger(__name__)

#: Files and products younger than this may still be on their way.
_ON_ITS_WAY: Final = timedelta(hours=2)
_NAMED: Final = 3


def check(
    store: Store,
    settings: Settings,
    *,
    source: str | None = None,
    days: int = 7,
    tolerated: float = 0.02,
    hashes: bool = True,
    now: datetime | None = None,
    progress: Callable[[float, str], object] | None = None,
    stop: threading.Event | None = None,
) -> CheckReport:
    """Hold everything that rain has against what it should be; change nothing.

    Parameters
    ----------
    store : Store
        The open store.
    settings : Settings
        The site.
    source : str, optional
        Name of the source of raw files; the wing's own otherwise.
    days : int
        The coverage of this many last days is judged [d].
    tolerated : float
        Share of their time that may be missing, 0 to 1 [1].
    hashes : bool
        Whether products are read back from the server and compared; otherwise their sizes are.
    now : datetime, optional
        The instant; the machine's clock otherwise.
    progress : callable, optional
        Told which fraction of the products on the server is compared.
    stop : threading.Event, optional
        Ends comparing them.

    Raises
    ------
    ConfigError
        If the site's settings are wrong. A server that is away is a finding.
    """
    run = _Check(store, settings, ensure_utc(now or SYSTEM_CLOCK.now()), stop or threading.Event())
    run.files(source or load_rain(settings).source)
    run.made()
    run.on_server(hashes, progress or (lambda share, what: None))
    run.calibrated()
    run.covered(days, tolerated)
    report = CheckReport(
        run.listed, run.known, len(run.products), run.compared, run.hashed, tuple(run.findings)
    )
    if report.trouble:
        log.warning("Rain check: %s", report.trouble)
    return report


class _Known(NamedTuple):
    """What the inventory knows of the newest version of a file."""

    state: str
    size: int
    first_seen: datetime


class _Check:
    """One check: what it has looked at and found so far."""

    def __init__(
        self, store: Store, settings: Settings, now: datetime, stop: threading.Event
    ) -> None:
        self.store, self.settings, self.now, self.stop = store, settings, now, stop
        self.network: Network = load_network(settings)
        self.findings: list[Finding] = []
        self.listed = self.known = self.compared = self.hashed = 0
        self.wanted, self.products = wanted_now(store, settings)

    def say(self, about: About, severity: Severity, found: Sequence[str], what: str) -> None:
        """Note what was found, if anything: what it is, how many, and the first ones by name."""
        if found:
            named = ", ".join(found[:_NAMED]) + (" …" if len(found) > _NAMED else "")
            sentence = f"{what}: {len(found):,} ({named})."
            self.findings.append(Finding(about, severity, len(found), sentence))

    def tell(self, about: About, severity: Severity, sentence: str) -> None:
        """Note something there is only one of."""
        self.findings.append(Finding(about, severity, 1, sentence))

    def files(self, source: str) -> None:
        """Hold the server's listing and the inventory against each other."""
        columns = source_files.c
        query = (
            select(columns.path, columns.state, columns.size, columns.first_seen)
            .where(columns.source == source)
            .order_by(columns.path, columns.version)
        )
        with read(self.store.data) as connection:
            newest = {path: _Known(*rest) for path, *rest in connection.execute(query)}
        self.known = len(newest)
        problems: list[tuple[str, str]] = []
        try:
            listed = list(self._listing(source, problems))
        except SourceError as error:
            self.tell("source", "error", f"The source {source} was not listed: {error}")
            listed = None
        self._states(newest)
        if listed is None:
            return
        self.listed = len(listed)
        for path, reason in problems:
            self.tell("source", "error", f"{path} cannot be listed: {reason}")
        old = [item for item in listed if self._is_old(item)]
        absent = [item.path for item in old if item.path not in newest]
        self.say("files", "error", absent, "Files on the server that were never noticed")
        changed = [
            item.path
            for item in old
            if item.path in newest
            and newest[item.path].state in (FETCHED, PARSED, QUARANTINED)
            and newest[item.path].size != item.size
        ]
        self.say(
            "files",
            "error",
            changed,
            "Files with another size than when they were read",
        )
        there = {item.path for item in listed}
        gone = [path for path, row in newest.items() if path not in there and row.state != DELETED]
        self.say(
            "files",
            "info",
            gone,
            "Files no longer on the server; what was fetched is kept",
        )

    def made(self) -> None:
        """Hold the products against what the store holds now, and their files against both."""
        missing, old, damaged = [], [], []
        for one in self.wanted:
            product = self.products.get(one.key)
            if product is None:
                missing.append(one.file)
                continue
            if not one.is_made(product) and self.now - product.written > _ON_ITS_WAY:
                old.append(one.file)
            path = self.store.outputs / product.path
            if not path.is_file() or sha256_file(path) != product.sha256:
                damaged.append(one.file)
        self.say("products", "error", missing, "Yearly files that were never made")
        self.say(
            "products",
            "warning",
            old,
            "Yearly files that lack the newest rows or calibrations",
        )
        self.say(
            "products",
            "error",
            damaged,
            "Yearly files gone from the outputs, or changed there",
        )

    def on_server(self, hashes: bool, tell: Callable[[float, str], object]) -> None:
        """Hold the products against what lies on their server."""
        pairs = [(one, self.products[one.key]) for one in self.wanted if one.key in self.products]
        unsent = [
            one.file
            for one, product in pairs
            if not one.is_sent(product) and self.now - product.written > _ON_ITS_WAY
        ]
        self.say("server", "warning", unsent, "Yearly files that were made and not sent")
        sent = [(one, product) for one, product in pairs if one.target and one.is_sent(product)]
        if not sent:
            return
        name = (sent[0][0].target or "").partition(":")[0]
        try:
            with open_source(self.settings, name, stop=self.stop) as remote:
                self._compare(remote, sent, hashes, tell)
                self._unfinished(remote, name)
        except SourceError as error:
            self.tell("server", "error", f"Yearly files on {name} not compared: {error}")

    def calibrated(self) -> None:
        """Look for days whose depths are missing, or of no calibration."""
        with read(self.store.data) as connection:
            found = marks(connection, self.network.gauges)
        for gauge in self.network.gauges:
            stale, without, nominal = [], [], []
            for mark in found[gauge.id]:
                versions = (mark.calibration or "").split()
                if not mark.has_depths:
                    stale.append(_date(mark.day))
                elif UNCALIBRATED in versions:
                    without.append(_date(mark.day))
                elif any(version.startswith(NOMINAL) for version in versions):
                    nominal.append(_date(mark.day))
            name = gauge.name
            self.say("calibration", "warning", stale, f"{name}: days with rows not calibrated yet")
            self.say("calibration", "warning", without, f"{name}: days without a calibration")
            self.say("calibration", "info", nominal, f"{name}: days with nominal depths")

    def covered(self, days: int, tolerated: float) -> None:
        """Judge the last days of each gauge that lie before now."""
        begin, end = self.now - timedelta(days=days), self.now
        for gauge in self.network.gauges:
            if queries.span(self.store, gauge) is None:
                self.tell("coverage", "warning", f"{gauge.name}: no data at all.")
                continue
            coverage = queries.coverage(self.store, gauge, begin, end)
            missing = float(coverage.missing_share(to_us(begin), to_us(end)))
            if missing > tolerated:
                gaps = coverage.gaps(to_us(begin), to_us(end))
                first, last = max(gaps, key=lambda gap: gap[1] - gap[0])
                self.tell(
                    "coverage",
                    "warning",
                    f"{gauge.name}: no data for {missing:.0%} of the last "
                    f"{'day' if days == 1 else f'{days} days'}; the longest gap lasted "
                    f"{_duration(last - first)}, from {from_us(first):%Y-%m-%d %H:%M} to "
                    f"{from_us(last):%Y-%m-%d %H:%M} UTC.",
                )

    def _listing(self, source: str, problems: list[tuple[str, str]]) -> Iterator[Listed]:
        skip = own_folders(self.settings.source(source))
        history = load_rain(self.settings).history_folders
        with open_source(self.settings, source, stop=self.stop) as remote:
            for item in remote.list("/", skip=skip, problems=problems):
                if not is_partial(item.path) and is_raw(item.path, history):
                    yield item

    def _is_old(self, item: Listed) -> bool:
        return item.modified is None or self.now - item.modified > _ON_ITS_WAY

    def _states(self, newest: dict[str, _Known]) -> None:
        waiting = [
            path
            for path, row in newest.items()
            if row.state in (SEEN, STABLE, FETCHED) and self.now - row.first_seen > _ON_ITS_WAY
        ]
        self.say("files", "warning", waiting, "Files that have been waiting to be read for hours")
        quarantined = [path for path, row in newest.items() if row.state == QUARANTINED]
        self.say(
            "files",
            "info",
            quarantined,
            "Files in quarantine, because none of their lines can be used",
        )

    def _compare(
        self,
        remote: FileSource,
        sent: Sequence[tuple[Wanted, Product]],
        hashes: bool,
        tell: Callable[[float, str], object],
    ) -> None:
        gone, other, failed = [], [], []
        for done, (one, product) in enumerate(sent):
            if self.stop.is_set():
                break
            tell(done / len(sent), f"comparing {one.file}")
            path = (one.target or "").partition(":")[2]
            self.compared += 1
            try:
                same = remote.size(path) == product.bytes
                if same and hashes:
                    self.hashed += 1
                    same = remote_sha256(remote, path, product.bytes) == product.sha256
                if not same:
                    other.append(one.file)
            except FileRefused:
                gone.append(one.file)
            except SourceUnreachable:
                raise
            except SourceError as error:
                failed.append(f"{one.file} ({error.what})")
        self.say("server", "error", gone, "Yearly files gone from the server")
        self.say(
            "server",
            "error",
            other,
            "Yearly files not on the server as they were sent",
        )
        self.say("server", "warning", failed, "Yearly files that cannot be read back")

    def _unfinished(self, remote: FileSource, name: str) -> None:
        """Look for what interrupted uploads have left behind; nobody takes it for a file."""
        folder = self.settings.source(name).upload_folder or "/"
        problems: list[tuple[str, str]] = []
        left = [
            item.path
            for item in remote.list(folder, problems=problems)
            if is_partial(item.path) and self._is_old(item)
        ]
        self.say("server", "info", left, "Unfinished uploads that can be removed")


def _duration(span_us: int) -> str:
    minutes = round(span_us / 60_000_000)
    days, hours = minutes // 1440, minutes / 60
    return f"{minutes} min" if hours < 2 else f"{hours:.1f} h" if days < 2 else f"{days} days"


def _date(day: int) -> str:
    return f"{from_us(day * 86_400_000_000):%Y-%m-%d}"
