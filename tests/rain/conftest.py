"""A network of two gauges, and files delivered into the inventory as a mirror would."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest
import yaml
from sqlalchemy import select

from workspace_lib.files import sha256_bytes
from workspace_lib.rain.blocks import NO_WIND, unpack_rows
from workspace_lib.rain.calibrating import calibrate
from workspace_lib.rain.capture import capture
from workspace_lib.rain.clearing import clear_raw
from workspace_lib.rain.days import merge_rows, new_rows
from workspace_lib.rain.product_report import ProductReport
from workspace_lib.rain.products import make_products
from workspace_lib.rain.settings import Alias, Gauge, Network
from workspace_lib.rain.tables import rain_days
from workspace_lib.settings import Settings
from workspace_lib.store import inventory, raw
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.inventory import Fetched
from workspace_lib.store.migrate import open_store
from workspace_lib.transports.ftp_trash import TrashReport
from workspace_lib.transports.memory_ftp import MemoryFtp

#: 2023-03-01T00:04:00Z [s since 1970].
START_S = 1_677_629_040
Deliver = Callable[..., None]


@pytest.fixture
def network() -> Network:
    """Two gauges; a label stood for the first one until 2023."""
    return Network(
        (
            Gauge(id="hydropolis", name="Hydropolis", folder="Hydropolis", mm_per_tip=0.2),
            Gauge(
                id="polytech",
                name="Polytech",
                folder="Polytech",
                aliases=(
                    Alias(name="Old/Poly"),
                    Alias(name="ARCHIEST", valid_to=datetime(2023, 1, 1, tzinfo=UTC)),
                ),
            ),
        ),
        shared_folders=("A",),
    )


@pytest.fixture
def now() -> datetime:
    """An instant just after the rows of the tests."""
    return datetime(2023, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def a0() -> Callable[..., bytes]:
    """Write A0 lines: one row a minute from 2023-03-01T00:04Z plus ``minute``, with these tips."""

    def make(*tips: int, minute: int = 0, battery: float = 12.226, wind: int = 0) -> bytes:
        rows = [
            f"ARCHIEST, {START_S + 60 * (minute + nth)}, {count}, {wind}, {battery:.3f}\n"
            for nth, count in enumerate(tips)
        ]
        return "".join(rows).encode()

    return make


@pytest.fixture
def deliver(now: datetime) -> Deliver:
    """Put files into the raw archive and the inventory, as fetched and pending."""

    def put(store: Store, files: Mapping[str, bytes], *, at: datetime = now) -> None:
        items = [
            raw.RawItem("gauge", date(2023, 3, 1), path.rpartition("/")[2], content)
            for path, content in files.items()
        ]
        refs = raw.put_many(store.outputs, "rain", items)
        fetched = [
            Fetched(path, len(content), sha256_bytes(content), ref)
            for (path, content), ref in zip(files.items(), refs, strict=True)
        ]
        with write(store.data) as connection:
            inventory.register_fetched(connection, "rain", fetched, at)

    return put


@pytest.fixture
def store_rows(now: datetime) -> Callable[..., None]:
    """Store columns (or one value for all) as rows of a gauge, by the library's own way."""

    def put(store: Store, gauge: str, t_us: Any, tips: Any, **columns: Any) -> None:
        rows = new_rows(t_us, tips, **{"file_id": 1, **columns})
        with write(store.data) as connection:
            merge_rows(connection, Gauge(id=gauge, name=gauge, folder=gauge), rows, now)

    return put


@pytest.fixture
def stored_rows() -> Callable[..., list[dict[str, Any]]]:
    """Return every row of all gauges, by gauge and stamp, with None for what is unknown."""

    def get(store: Store) -> list[dict[str, Any]]:
        with read(store.data) as connection:
            days = connection.execute(
                select(rain_days.c.gauge, rain_days.c.rows).order_by(*rain_days.primary_key.columns)
            ).all()
        rows = []
        for gauge, content in days:
            packed = unpack_rows(content)
            for values in packed.tolist():
                row = dict(zip(packed.dtype.names or (), values, strict=True))
                unknown = {"wind": row["wind"] == NO_WIND, "battery_v": np.isnan(row["battery_v"])}
                row |= {name: None for name, missing in unknown.items() if missing}
                rows.append({"gauge": gauge, **row})
        return rows

    return get


class ServedSite:
    """A site whose raw files lie on an FTP server, which also takes its products and its trash.

    Two gauges deliver; one is calibrated, the other by the nominal depth of its tips.
    """

    def __init__(
        self, server: MemoryFtp, make_site: Callable[..., Settings], now: datetime
    ) -> None:
        self.server, self.tree, self.now = server, server.tree, now
        self._make_site = make_site
        self._at = server.start()
        os.environ["GAUGES_PASSWORD"] = self._at["password"]
        self.configure()
        self.store = open_store(self.settings, create=True)

    def configure(self, products: Mapping[str, Any] | None = None, **source: Any) -> None:
        """Write the site's files; ``source`` and ``products`` change what they say."""
        served = {
            "host": self._at["host"],
            "port": self._at["port"],
            "user": self._at["user"],
            "password": "secret://GAUGES_PASSWORD",
            "upload_folder": "products",
            "stable_after_s": 0,
            "attempts": 2,
            "wait_s": 0.01,
        }
        rain = {"uncalibrated": "nominal", "products": {"source": "rain", **(products or {})}}
        site = {
            "timezone": "Europe/Paris",
            "sources": {"rain": served | source},
            "wings": {"rain": rain},
        }
        self.settings = self._make_site(site)
        gauges = [
            {"id": name.lower(), "name": name, "folder": name, "mm_per_tip": 0.2}
            for name in ("Hydropolis", "Polytech")
        ]
        record = {
            "gauge": "hydropolis",
            "valid_from": "2004-01-01T00:00:00Z",
            "mm_per_tip": 0.2,
            "kind": "quadratic",
            "x": "tips/min",
            "coefficients": {"a": 0.0008, "b": 1.0761, "c": 0},
            "source": {"certificate": "No. 17", "date": "2004-01-01", "operator": "A. Martin"},
        }
        folder = self.settings.site_dir
        (folder / "gauges.yml").write_text(yaml.safe_dump({"gauges": gauges}))
        (folder / "calibrations.yml").write_text(yaml.safe_dump({"calibrations": [record]}))

    def deliver(self, gauge: str, first: datetime, *tips: int, battery: float = 12.226) -> str:
        """Put an A0 file on the server, with a row a minute from ``first``; return its path."""
        start = int(first.timestamp())
        lines = [
            f"LOG1, {start + 60 * nth}, {count}, 0, {battery:.3f}\n"
            for nth, count in enumerate(tips)
        ]
        path = f"{gauge}/{gauge[:8]}_{first:%d%m%y_%H%M%S}.txt"
        self.tree.put(f"/{path}", "".join(lines).encode(), first.timestamp() + 600)
        return path

    def capture(self) -> None:
        """Fetch what is new and store its rows."""
        capture(self.store, self.settings, now=self.now)

    def calibrate(self) -> None:
        """Compute the depths of what has changed."""
        calibrate(self.store, self.settings, now=self.now)

    def products(self, **options: Any) -> ProductReport:
        """Make and send the products."""
        return make_products(self.store, self.settings, **{"now": self.now, **options})

    def clear(self) -> TrashReport:
        """Clear the raw files."""
        return clear_raw(self.store, self.settings, now=self.now)

    def files(self, under: str = "") -> dict[str, bytes]:
        """Return the files of the server under a folder, by their paths below it."""
        prefix = f"/{under}/" if under else "/"
        return {
            path.removeprefix(prefix): content
            for path, content in self.tree.files().items()
            if path.startswith(prefix)
        }

    def raw_files(self) -> set[str]:
        """Return the raw files on the server."""
        return {path for path in self.files() if path.split("/")[0] in ("Hydropolis", "Polytech")}


@pytest.fixture
def served_site(
    make_site: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> Iterator[ServedSite]:
    """A site with an FTP server of its own, at an instant in January 2024."""
    monkeypatch.setenv("GAUGES_PASSWORD", "")
    server = MemoryFtp("gauges")
    made = ServedSite(server, make_site, datetime(2024, 1, 10, 12, tzinfo=UTC))
    yield made
    made.store.close()
    server.stop()
