"""The yearly products: which there are, what each was made from, and whether that still holds.

A product is known by its gauge (or `NETWORK`), UTC year and kind. Its fingerprint is a hash of
what it is made from: the revisions of the days, the calibration of each, how it is written. While
it stays the same, the product is neither made nor sent again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, and_, select

from workspace_lib.errors import ConfigError, StoreError
from workspace_lib.files import safe_name, under_root
from workspace_lib.rain.settings import Gauge, Network, ProductSettings
from workspace_lib.rain.tables import rain_days, rain_depths, rain_products
from workspace_lib.store.engines import Store, read

#: Stands for the house name of a gauge where a product holds the whole network.
NETWORK: Final = "network"
#: Grows when the same rows give other files.
_VERSION: Final = 1
_EPOCH: Final = date(1970, 1, 1)


@dataclass(frozen=True)
class Kind:
    """A kind of product: its format, the end of its file's name, and what it is made from."""

    name: str
    format: str
    file: str
    of_network: bool = True
    has_depths: bool = True


KINDS: Final[tuple[Kind, ...]] = (
    Kind("concatenated", "csv", "{label}_concatenated_{year}.csv", False, False),
    Kind("treated", "csv", "{label}_treated_{year}.csv", False),
    Kind("sparse_h5", "h5", "{label}_sparse_{year}.h5"),
    Kind("sparse_mtx", "mtx", "{label}_sparse_{year}.mtx"),
    Kind("sparse_tips_mtx", "mtx", "{label}_sparse_tips_{year}.mtx"),
    Kind("sparse_npz", "npz", "{label}_sparse_{year}.npz"),
)


@dataclass(frozen=True)
class Mark:
    """A day of a gauge: its revision, and of which revision and calibration its depths are."""

    day: int
    revision: int
    depths_of: int | None
    calibration: str | None

    @property
    def has_depths(self) -> bool:
        """Whether the depths are those of the rows the day has now."""
        return self.depths_of == self.revision


@dataclass(frozen=True)
class Product:
    """A product as it was made last; ``path`` is relative to the site's outputs.

    ``target`` is where it was sent, as ``source:path``; ``uploaded`` is None until what lies there
    was proved to be these bytes.
    """

    gauge: str
    year: int
    kind: str
    fingerprint: str
    sha256: str
    bytes: int
    path: str
    target: str | None
    written: datetime
    uploaded: datetime | None

    @property
    def key(self) -> tuple[str, int, str]:
        """What it is known by."""
        return self.gauge, self.year, self.kind

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Wanted:
    """A product that there should be: its file's name, where it goes, and its fingerprint now."""

    gauge: str
    year: int
    kind: Kind
    file: str
    target: str | None
    fingerprint: str

    @property
    def key(self) -> tuple[str, int, str]:
        """What it is known by."""
        return self.gauge, self.year, self.kind.name

    @property
    def path(self) -> str:
        """Its file, relative to the site's outputs."""
        return f"rain/products/{self.gauge}/{self.year}/{self.file}"

    def is_made(self, product: Product | None) -> bool:
        """Whether the product was made from what there is now."""
        return product is not None and product.fingerprint == self.fingerprint

    def is_sent(self, product: Product | None) -> bool:
        """Whether the product is at its target, proved; true where nothing is to be sent."""
        if self.target is None or product is None:
            return self.target is None
        return product.uploaded is not None and product.target == self.target


def year_of(day: int) -> int:
    """Return the UTC year of a day [d since 1970]."""
    return date.fromordinal(_EPOCH.toordinal() + day).year


def first_day(year: int) -> int:
    """Return the first day of a UTC year [d since 1970]."""
    return (date(year, 1, 1) - _EPOCH).days


def label_of(gauge: Gauge) -> str:
    """Return what a gauge is called in the names of its files and within them: its folder."""
    return re.sub(r'[,";]+', "_", safe_name(gauge.folder.strip("/").replace("/", "_")))


def marks(connection: Connection, gauges: Sequence[Gauge]) -> dict[str, list[Mark]]:
    """Return the days of gauges that have rows, in order, by house name."""
    days, depths = rain_days.c, rain_depths.c
    same = and_(depths.gauge == days.gauge, depths.day == days.day)
    query = (
        select(days.day, days.revision, depths.revision.label("of"), depths.calibration)
        .select_from(rain_days.outerjoin(rain_depths, same))
        .order_by(days.day)
    )
    return {
        gauge.id: [Mark(*row) for row in connection.execute(query.where(days.gauge == gauge.id))]
        for gauge in gauges
    }


def wanted(
    network: Network,
    products: ProductSettings,
    found: dict[str, list[Mark]],
    upload_folder: str | None,
) -> list[Wanted]:
    """Return every product there should be, oldest year first, the network's after its gauges'.

    Parameters
    ----------
    network : Network
        All gauges of the site.
    products : ProductSettings
        Formats, columns and folders.
    found : dict
        The `marks` of all gauges.
    upload_folder : str or None
        The folder of the server that takes uploads; None: nothing is sent.

    Raises
    ------
    ConfigError
        If two gauges would write the same file.
    """
    labels = {gauge.id: label_of(gauge) for gauge in network.gauges} | {NETWORK: NETWORK}
    if len(set(labels.values())) < len(labels) or len(labels) <= len(network.gauges):
        raise ConfigError(
            "Two gauges would write files of the same name, or one is called network.",
            where="the list of gauges",
            fix="Give them folders that differ in more than slashes and signs.",
        )
    by_year: dict[int, dict[str, list[Mark]]] = {}
    for gauge in network.gauges:
        for mark in found[gauge.id]:
            by_year.setdefault(year_of(mark.day), {}).setdefault(gauge.id, []).append(mark)
    made = []
    for year in sorted(by_year):
        for owner in [*by_year[year], NETWORK]:
            for kind in KINDS:
                if kind.format not in products.formats or (
                    owner == NETWORK and not kind.of_network
                ):
                    continue
                file = kind.file.format(label=labels[owner], year=year)
                members = [g for g in network.gauges if owner in (g.id, NETWORK)]
                made.append(
                    Wanted(
                        owner,
                        year,
                        kind,
                        file,
                        _target(products, upload_folder, labels[owner], year, file),
                        _fingerprint(kind, products, members, found, by_year[year], year),
                    )
                )
    return made


def list_products(
    store: Store, gauge: str | None = None, year: int | None = None, kind: str | None = None
) -> list[Product]:
    """Return products as they were made last, by gauge, year and kind; None takes all."""
    with read(store.data) as connection:
        return _products(connection, gauge=gauge, year=year, kind=kind)


def product_file(store: Store, product: Product) -> Path:
    """Return the file of a product.

    Raises
    ------
    StoreError
        If it is gone.
    """
    path = under_root(store.outputs, product.path)
    if not path.is_file():
        raise StoreError(
            f"The file of {product.gauge}, {product.year}, {product.kind} is gone.",
            where=product.path,
            fix="Run the job rain_products: it makes what is missing.",
        )
    return path


def by_key(connection: Connection) -> dict[tuple[str, int, str], Product]:
    """Return all products by gauge, year and kind."""
    return {product.key: product for product in _products(connection)}


def _products(connection: Connection, **wanted: Any) -> list[Product]:
    query = select(rain_products)
    for name, value in wanted.items():
        if value is not None:
            query = query.where(rain_products.c[name] == value)
    order = (rain_products.c.gauge, rain_products.c.year, rain_products.c.kind)
    return [Product(**row) for row in connection.execute(query.order_by(*order)).mappings()]


def _target(
    products: ProductSettings, upload_folder: str | None, label: str, year: int, file: str
) -> str | None:
    if products.source is None or upload_folder is None:
        return None
    parts = (upload_folder, products.folder.format(gauge=label, year=year), file)
    return f"{products.source}:" + "/".join(part.strip("/") for part in parts if part.strip("/"))


def _fingerprint(
    kind: Kind,
    products: ProductSettings,
    gauges: Iterable[Gauge],
    found: dict[str, list[Mark]],
    of_year: dict[str, list[Mark]],
    year: int,
) -> str:
    """Hash what a product is made from."""
    told = hashlib.sha256(f"{_VERSION} {kind.name} {year}".encode())
    if kind.format == "csv":
        told.update(products.columns.encode())
    for gauge in gauges:
        told.update(f"\n{gauge.id} {label_of(gauge)} {gauge.step_s}".encode())
        mine = of_year.get(gauge.id, [])
        if kind.format != "csv" or kind.has_depths:
            # Coverage and rates at New Year's midnight also depend on the day before.
            mine = [*(mark for mark in found[gauge.id] if mark.day == first_day(year) - 1), *mine]
        depths = kind.has_depths
        for mark in mine:
            told.update(f";{mark.day} {mark.revision}".encode())
            if depths:
                told.update(f" {mark.depths_of} {mark.calibration}".encode())
    return told.hexdigest()
