"""A store from before the blocks of days gets its rows back from the raw archive."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from workspace_lib.rain.ingest import ingest
from workspace_lib.rain.settings import Network, RainSettings
from workspace_lib.settings import Settings
from workspace_lib.store import inventory
from workspace_lib.store.engines import Store, read
from workspace_lib.store.migrate import migrate

#: The last version that knew nothing of days.
BEFORE = "0003"


def test_rows_come_back_from_the_archive_into_blocks_of_days(
    any_store: Store,
    settings: Settings,
    network: Network,
    deliver: Any,
    a0: Any,
    stored_rows: Any,
    now: datetime,
) -> None:
    deliver(any_store, {"Hydropolis/Hydropol_010323_000400.txt": a0(0, 1, 2)})
    ingest(any_store, network, RainSettings(), source="rain", now=now)
    rows = stored_rows(any_store)
    migrate(any_store, settings, BEFORE)
    migrate(any_store, settings)
    assert stored_rows(any_store) == []
    with read(any_store.data) as connection:
        assert len(inventory.pending(connection, "rain", limit=10)) == 1
    ingest(any_store, network, RainSettings(), source="rain", now=now)
    assert stored_rows(any_store) == rows
    assert len(rows) == 3
