"""Clearing the raw files of gauges from their server, once nothing depends on them any more.

Only if the site allows it (``allow_delete`` of the source). A file goes to the trash folder when
each of its rows was found in the store, or where the store notes what became of it, and when every
year it touches is done: all products of its gauge and of the network are made from what the store
holds, calibrated, sent, and proved on the server. All other files stay, each with its reason.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, Table, select

from workspace_lib.errors import ConfigError, StoreError
from workspace_lib.rain.blocks import DAY_US
from workspace_lib.rain.capture import is_raw
from workspace_lib.rain.days import read_rows
from workspace_lib.rain.ingest import identify
from workspace_lib.rain.policies import SET_ASIDE
from workspace_lib.rain.product_ledger import NETWORK, by_key, marks, wanted, year_of
from workspace_lib.rain.products import upload_folder
from workspace_lib.rain.readers import parse_a0_many
from workspace_lib.rain.settings import Gauge, load_network, load_rain
from workspace_lib.rain.tables import rain_conflicts, rain_issues
from workspace_lib.settings import Settings
from workspace_lib.store import raw
from workspace_lib.store.engines import Store, read
from workspace_lib.store.source_files import PARSED, FileRow, source_files
from workspace_lib.transports.ftp_trash import TrashReport, trash

log = logging.getLogger(__name__)


def clear_raw(
    store: Store,
    settings: Settings,
    *,
    source: str | None = None,
    now: datetime | None = None,
    stop: threading.Event | None = None,
) -> TrashReport:
    """Move raw files that are no longer needed to the trash folder of their server.

    One run moves ``slice_files`` of the source at most.

    Parameters
    ----------
    store : Store
        The open store.
    settings : Settings
        The site. Unless its source has ``allow_delete``, nothing is done at all.
    source : str, optional
        Name of the source; the wing's own otherwise.
    now : datetime, optional
        The instant; the machine's clock otherwise.
    stop : threading.Event, optional
        Ends the run between two files.

    Raises
    ------
    ConfigError
        If removal is allowed and there is no trash folder, or products are sent nowhere.
    SourceError
        If the source cannot be reached or listed.
    """
    rain = load_rain(settings)
    name = source or rain.source
    if not settings.source(name).allow_delete:
        return TrashReport(name)
    if rain.products.source is None:
        raise ConfigError(
            f"The source {name} may be cleared, but its products are sent nowhere.",
            where=str(settings.site_dir),
            fix="Set wings.rain.products.source, or take allow_delete back.",
        )
    needed = _Needed(store, settings, name)
    return trash(
        store,
        settings,
        name,
        must_stay=needed.reasons,
        limit=settings.source(name).slice_files,
        now=now,
        stop=stop,
    )


class _Needed:
    """Which files are still needed, judged by one view of the store taken at the beginning.

    A file that was parsed after that view is not judged by it: its rows are in no product yet.
    """

    def __init__(self, store: Store, settings: Settings, source: str) -> None:
        self.store, self.network = store, load_network(settings)
        products = load_rain(settings).products
        files = source_files.c
        with read(store.data) as connection:
            parsed = select(files.id).where(files.source == source, files.state == PARSED)
            self.parsed = set(connection.execute(parsed).scalars())
            found, have = marks(connection, self.network.gauges), by_key(connection)
        self.undone: dict[tuple[str, int], str] = {}
        self.done: set[tuple[str, int]] = set()
        for one in wanted(self.network, products, found, upload_folder(settings, products)):
            owner = (one.gauge, one.year)
            self.done.add(owner)
            if not one.is_made(have.get(one.key)):
                self.undone.setdefault(owner, f"{one.file} is not made of all its rows yet")
            elif not one.is_sent(have.get(one.key)):
                self.undone.setdefault(owner, f"{one.file} is not sent yet")
        for gauge, days in found.items():
            for mark in days:
                if not mark.has_depths:
                    owner = (gauge, year_of(mark.day))
                    self.undone.setdefault(owner, f"days of {owner[1]} are not calibrated yet")

    def reasons(self, files: Sequence[FileRow]) -> Mapping[int, str]:
        """Return why files must stay, by their ids."""
        found: dict[int, str] = {}
        rows = parse_a0_many([self._content(row) for row in files]).rows
        owners = [identify(self.network, row.path)[0] for row in files]
        ids = [row.id for row in files]
        with read(self.store.data) as connection:
            aside = _lines(connection, rain_issues, ids, rain_issues.c.code.in_(SET_ASIDE))
            contradicted = _lines(connection, rain_conflicts, ids)
            for number, (row, gauge) in enumerate(zip(files, owners, strict=True)):
                if row.id not in self.parsed:
                    found[row.id] = "it was read after the products were made"
                elif gauge is None:
                    found[row.id] = "no gauge of the site has it any more"
                elif not is_raw(row.path):
                    found[row.id] = "it is a yearly file, which is history"
                elif not len(mine := rows[rows["file"] == number]):
                    found[row.id] = "the raw archive does not give its rows"
                else:
                    mine = mine[[(row.id, line) not in aside for line in mine["line"].tolist()]]
                    settled = {line for file, line in contradicted if file == row.id}
                    reason = self._reason(connection, gauge, mine, settled)
                    if reason:
                        found[row.id] = reason
        return found

    def _content(self, row: FileRow) -> bytes:
        """Return the bytes of a file from the archive; none if it does not give them."""
        try:
            return raw.get(self.store, row.raw_ref or "")
        except StoreError as error:
            log.warning("%s cannot be verified: %s", row.path, error)
            return b""

    def _reason(self, connection: Connection, gauge: Gauge, rows: Any, settled: set[int]) -> str:
        for day in np.unique(rows["t_us"] // DAY_US).tolist():
            for owner in ((gauge.id, year_of(day)), (NETWORK, year_of(day))):
                if owner in self.undone:
                    return self.undone[owner]
                if owner not in self.done:
                    return f"there are no products of {owner[0]}, {owner[1]}"
        absent = _absent(connection, gauge, rows)
        lost = [line for line in rows["line"][absent].tolist() if line not in settled]
        return f"{len(lost)} of its rows are not in the store" if lost else ""


def _absent(connection: Connection, gauge: Gauge, rows: Any) -> Any:
    """Return for each row of a file whether the store has none that is equal, as bool[rows]."""
    absent = np.ones(len(rows), bool)
    for day in np.unique(rows["t_us"] // DAY_US).tolist():
        mine = rows["t_us"] // DAY_US == day
        stored = read_rows(connection, gauge.id, day * DAY_US - 1, (day + 1) * DAY_US - 1)
        if not len(stored):
            continue
        theirs = rows[mine]
        at = np.minimum(np.searchsorted(stored["t_us"], theirs["t_us"]), len(stored) - 1)
        kept = stored[at]
        volts, stored_volts = theirs["battery_v"], kept["battery_v"]
        same = kept["t_us"] == theirs["t_us"]
        for name in ("tips", "wind"):
            same &= kept[name] == theirs[name]
        same &= (volts == stored_volts) | (np.isnan(volts) & np.isnan(stored_volts))
        absent[mine] = ~same
    return absent


def _lines(
    connection: Connection, table: Table, files: Sequence[int], *which: Any
) -> set[tuple[int, int]]:
    """Return the lines of files that a table notes, as (file, line)."""
    query = select(table.c.file_id, table.c.line).where(table.c.file_id.in_(files), *which)
    return {(row[0], row[1]) for row in connection.execute(query)}
