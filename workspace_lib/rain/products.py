"""Making the yearly products of gauges and network, and sending them to the site's server.

For each gauge and UTC year: all rows as CSV, once with counts and once calibrated, and the sparse
matrix; for each year the matrix of the network. Every step can be the last one before a power cut:
a file counts only when its row says so, an upload only when what lies on the server was read back.
What was made from the same rows and calibrations is neither made nor sent again.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import groupby
from typing import Final

from sqlalchemy import update

from workspace_lib.clock import SYSTEM_CLOCK, ensure_utc
from workspace_lib.errors import ConfigError, ParameterError, SourceError, StoreError
from workspace_lib.files import atomic_write, sha256_bytes, sha256_file
from workspace_lib.rain import matrices, matrix_files
from workspace_lib.rain.analysis import TipSeries
from workspace_lib.rain.days import read_rows
from workspace_lib.rain.leftovers import LEFT_SINCE, sweep_folders, sweep_server
from workspace_lib.rain.product_ledger import (
    NETWORK,
    Product,
    Wanted,
    by_key,
    label_of,
    marks,
    product_file,
    wanted,
)
from workspace_lib.rain.product_report import ProductReport
from workspace_lib.rain.settings import (
    Gauge,
    Network,
    ProductSettings,
    load_network,
    load_rain,
)
from workspace_lib.rain.tables import rain_products
from workspace_lib.rain.yearly_files import concatenated_csv, depth_of_rows, treated_csv
from workspace_lib.settings import Settings
from workspace_lib.site_files import split_names
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.upsert import upsert
from workspace_lib.transports.file_source import SourceUnreachable, open_source

log = logging.getLogger(__name__)

Key = tuple[str, int, str]
#: Which of the two matrices a kind holds, where its format holds one.
_MATRIX_OF: Final = {"sparse_tips_mtx": "tips"}


def make_products(
    store: Store,
    settings: Settings,
    *,
    gauges: str | Iterable[str] = "all",
    years: str | Iterable[int] = "all",
    rebuild: bool = False,
    upload: bool = True,
    minutes: float | None = None,
    now: datetime | None = None,
    progress: Callable[[float, str], object] | None = None,
    stop: threading.Event | None = None,
) -> ProductReport:
    """Make the products that are missing or out of date, then send those that are not sent.

    Parameters
    ----------
    store : Store
        The open store.
    settings : Settings
        The site: its gauges, and ``wings.rain.products``.
    gauges : str or iterable of str
        House names, or ``all``. The network's matrix of a year is made in any case.
    years : str or iterable of int
        UTC years (also as text with commas), or ``all``.
    rebuild : bool
        Make and send all of them again, whatever they were made from; the next runs go on with it
        if this one does not get to the end.
    upload : bool
        Whether to send them; they are made anyway.
    minutes : float, optional
        Stop after the file under way when this long has passed [min]; the next run goes on.
    now : datetime, optional
        The instant noted beside them; the machine's clock otherwise.
    progress : callable, optional
        Told which fraction of making, then of sending, is done, and which of them it is.
    stop : threading.Event, optional
        Ends the run after the file under way.

    Raises
    ------
    ConfigError, ParameterError
        If the site's settings, ``gauges`` or ``years`` are wrong.
    SourceError
        If the server cannot be reached; what is made stays made.
    """
    rain, network = load_rain(settings), load_network(settings)
    run = _Run(store, settings, network, rain.products, ensure_utc(now or SYSTEM_CLOCK.now()))
    run.stop = stop or run.stop
    run.ends = math.inf if minutes is None else time.monotonic() + 60 * minutes
    run.tell = progress or run.tell
    chosen = [gauge.id for gauge in network.choose(gauges)]
    scope = run.scope({*chosen, NETWORK}, _years(years))
    if rebuild:
        run.forget(scope)
    run.make(scope)
    if upload:
        run.send(scope)
    report = run.report(chosen, scope if upload else ())
    log.info(
        "Rain: %d products made, %d unchanged, %d sent.", report.made, report.unchanged, report.sent
    )
    if report.trouble:
        log.warning("Rain products: %s.", report.trouble)
    return report


def wanted_now(store: Store, settings: Settings) -> tuple[list[Wanted], dict[Key, Product]]:
    """Return every product there should be now, and those there are, in one consistent view."""
    products, network = load_rain(settings).products, load_network(settings)
    with read(store.data) as connection:
        found, have = marks(connection, network.gauges), by_key(connection)
    return wanted(network, products, found, upload_folder(settings, products)), have


def upload_folder(settings: Settings, products: ProductSettings) -> str | None:
    """Return the folder of the server that takes the products, or None if none is named.

    Raises
    ------
    ConfigError
        If the named server takes no uploads.
    """
    if products.source is None:
        return None
    folder = settings.source(products.source).upload_folder
    if folder is None:
        raise ConfigError(
            f"The source {products.source} takes no uploads.",
            where=str(settings.site_dir),
            fix="Set its upload_folder, or leave wings.rain.products.source empty.",
        )
    return folder


def _years(years: str | Iterable[int]) -> set[int] | None:
    if isinstance(years, str):
        names = split_names(years)
        if names == ["all"]:
            return None
        try:
            return {int(name) for name in names}
        except ValueError as error:
            raise ParameterError(
                f"{years!r} are no years.", fix="Give years with commas between, or all."
            ) from error
    return set(years)


class _Run:
    """One run: what it made, sent, and could not."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        network: Network,
        products: ProductSettings,
        now: datetime,
    ) -> None:
        self.store, self.settings, self.network = store, settings, network
        self.products, self.now = products, now
        self.stop, self.ends = threading.Event(), math.inf
        self.tell: Callable[[float, str], object] = lambda share, what: None
        self.made: list[Product] = []
        self.unchanged = self.left = self.sent = self.bytes_sent = self.swept = 0
        self.failed: list[tuple[str, str]] = []
        self.have: dict[Key, Product] = {}

    def scope(self, owners: set[str], years: set[int] | None) -> list[Wanted]:
        """Return what there should be of these gauges and years."""
        everything, self.have = wanted_now(self.store, self.settings)
        return [
            one
            for one in everything
            if one.gauge in owners and (years is None or one.year in years)
        ]

    def forget(self, scope: Sequence[Wanted]) -> None:
        """Forget what products were made from and where they lie, so that all is done again.

        It is noted in the store: if this run does not get to the end, the next one goes on.
        """
        columns = rain_products.c
        with write(self.store.data) as connection:
            for one in scope:
                connection.execute(
                    update(rain_products)
                    .where(
                        columns.gauge == one.gauge,
                        columns.year == one.year,
                        columns.kind == one.kind.name,
                    )
                    .values(fingerprint="", uploaded=None)
                )
            self.have = by_key(connection)

    def make(self, scope: Sequence[Wanted]) -> None:
        """Make what is not made from what there is now, a year of a gauge at a time."""
        groups = [(key, list(group)) for key, group in groupby(scope, lambda w: (w.gauge, w.year))]
        for done, ((owner, year), group) in enumerate(groups):
            stale = [one for one in group if not self._stands(one)]
            self.unchanged += len(group) - len(stale)
            if stale and self._is_over():
                self.left += len(stale)
            if not stale or self._is_over():
                continue
            self.tell(done / len(groups), f"making {owner} {year}")
            for one, content in self._contents(owner, year, stale).items():
                self._keep(one, content)

    def send(self, scope: Sequence[Wanted]) -> None:
        """Send what is made and not at its target yet; remove what killed runs have left there."""
        waiting = [
            one
            for one in scope
            if one.is_made(self.have.get(one.key)) and not one.is_sent(self.have.get(one.key))
        ]
        recent = self._recent(scope)
        self.swept += sweep_folders((self.store.outputs / one.path for one in recent), self.now)
        if not waiting or self.products.source is None:
            return
        with open_source(self.settings, self.products.source, stop=self.stop) as remote:
            for done, one in enumerate(waiting):
                if self._is_over():
                    return
                self.tell(done / len(waiting), f"sending {one.file}")
                product, path = self.have[one.key], (one.target or "").partition(":")[2]
                try:
                    file = product_file(self.store, product)
                    if sha256_file(file) != product.sha256:
                        raise StoreError("The file has changed since it was made.")
                    remote.upload(path, file)
                except SourceUnreachable:
                    raise
                except (SourceError, StoreError) as error:
                    self.failed.append((one.file, str(error)))
                    continue
                self._note(product, target=one.target, uploaded=self.now)
                self.sent += 1
                self.bytes_sent += product.bytes
            paths = [one.target.partition(":")[2] for one in recent if one.target is not None]
            self.swept += sweep_server(remote, paths, self.now)

    def _recent(self, scope: Sequence[Wanted]) -> list[Wanted]:
        """Return what was written or sent of late: only beside it can killed runs have left much.

        What a killed run did not finish, the next one does.
        """
        since = self.now - 2 * LEFT_SINCE
        have = ((one, self.have.get(one.key)) for one in scope)
        return [one for one, it in have if it and max(it.written, it.uploaded or since) > since]

    def report(self, gauges: Sequence[str], scope: Sequence[Wanted]) -> ProductReport:
        """Return what became of it."""
        with read(self.store.data) as connection:
            found = marks(connection, self.network.choose(gauges))
        without = {
            gauge: sum(not mark.has_depths for mark in days) for gauge, days in found.items()
        }
        return ProductReport(
            gauges=tuple(gauges),
            years=tuple(sorted({product.year for product in self.made})),
            made=len(self.made),
            unchanged=self.unchanged,
            left=self.left,
            bytes_made=sum(product.bytes for product in self.made),
            sent=self.sent,
            bytes_sent=self.bytes_sent,
            waiting=sum(not one.is_sent(self.have.get(one.key)) for one in scope),
            server=self.products.source,
            failed=tuple(self.failed),
            swept=self.swept,
            days_without_depth={gauge: days for gauge, days in without.items() if days},
        )

    def _is_over(self) -> bool:
        return self.stop.is_set() or time.monotonic() > self.ends

    def _stands(self, one: Wanted) -> bool:
        product = self.have.get(one.key)
        if not one.is_made(product) or product is None or product.path != one.path:
            return False
        file = self.store.outputs / product.path
        return file.is_file() and file.stat().st_size == product.bytes

    def _contents(self, owner: str, year: int, stale: Sequence[Wanted]) -> Mapping[Wanted, bytes]:
        """Return the bytes of products of one gauge (or the network) and year."""
        gauges = self.network.gauges if owner == NETWORK else (self.network.gauge(owner),)
        series = matrices.calibrated_year(self.store, gauges, year)
        found: dict[Wanted, bytes] = {}
        sparse = [one for one in stale if one.kind.format != "csv"]
        if sparse:
            matrix = matrices.build([series[gauge.id] for gauge in gauges], year)
            for one in sparse:
                value = _MATRIX_OF.get(one.kind.name, "rain_mm")
                found[one] = matrix_files.encode(matrix, f".{one.kind.format}", value)
        tables = [one for one in stale if one not in found]
        return found | self._tables(gauges[0], year, tables, series) if tables else found

    def _tables(
        self, gauge: Gauge, year: int, stale: Sequence[Wanted], series: Mapping[str, TipSeries]
    ) -> dict[Wanted, bytes]:
        begin, end = matrices.epoch_us(year) - 1, matrices.epoch_us(year + 1) - 1
        with read(self.store.data) as connection:
            rows = read_rows(connection, gauge.id, begin, end)
        label, columns, wet = label_of(gauge), self.products.columns, series[gauge.id]
        found = {}
        for one in stale:
            if one.kind.has_depths:
                depths = depth_of_rows(rows, wet.t_us, wet.rain_mm)
                found[one] = treated_csv(rows, depths, label, year, columns)
            else:
                found[one] = concatenated_csv(rows, label, year, columns)
        return found

    def _keep(self, one: Wanted, content: bytes) -> None:
        """Write a product's file, then its row."""
        before, digest = self.have.get(one.key), sha256_bytes(content)
        path = self.store.outputs / one.path
        if not path.is_file() or sha256_file(path) != digest:
            atomic_write(path, content)
        same = before is not None and before.sha256 == digest and before.target == one.target
        product = Product(
            *one.key,
            fingerprint=one.fingerprint,
            sha256=digest,
            bytes=len(content),
            path=one.path,
            target=one.target,
            written=self.now,
            uploaded=before.uploaded if before is not None and same else None,
        )
        with write(self.store.data) as connection:
            upsert(connection, rain_products, asdict(product), key=("gauge", "year", "kind"))
        if before is not None and before.path != one.path:
            (self.store.outputs / before.path).unlink(missing_ok=True)
        self.have[one.key] = product
        self.made.append(product)

    def _note(self, product: Product, *, target: str | None, uploaded: datetime) -> None:
        """Note that a product lies at its target; not if it was made anew meanwhile."""
        columns = rain_products.c
        with write(self.store.data) as connection:
            connection.execute(
                update(rain_products)
                .where(
                    columns.gauge == product.gauge,
                    columns.year == product.year,
                    columns.kind == product.kind,
                    columns.sha256 == product.sha256,
                )
                .values(target=target, uploaded=uploaded)
            )
        self.have[product.key] = Product(
            **{**asdict(product), "target": target, "uploaded": uploaded}
        )
