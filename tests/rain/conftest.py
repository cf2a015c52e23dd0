"""A network of two gauges, and files delivered into the inventory as a mirror would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime

import pytest

from workspace_lib.files import sha256_bytes
from workspace_lib.rain.settings import Alias, Gauge, Network
from workspace_lib.store import inventory, raw
from workspace_lib.store.engines import Store, write
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
