"""A network of two gauges, and files delivered into the inventory as a mirror would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from workspace_lib.files import sha256_bytes
from workspace_lib.rain.blocks import NO_WIND, unpack_rows
from workspace_lib.rain.days import merge_rows, new_rows
from workspace_lib.rain.settings import Alias, Gauge, Network
from workspace_lib.rain.tables import rain_days
from workspace_lib.store import inventory, raw
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.inventory import Fetched

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
