"""``Events.csv`` of each recloser in the archive's folder: its events as a table for people.

The columns are those of the relay's own list (``HIS``), then what became of each event and its
files. Newest first, UTF-8 with a mark that spreadsheets know, commas, CR LF; dates as
``2026-08-02``, which no country reads in two ways. What a spreadsheet would take for a formula has
an apostrophe before it. The file is made from the store and is never read back by the capture.
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Row, select

from workspace_lib.files import atomic_write
from workspace_lib.reclosers.archive import Archive
from workspace_lib.reclosers.record import DeviceTime
from workspace_lib.reclosers.settings import Recloser
from workspace_lib.reclosers.tables import recloser_events, recloser_files
from workspace_lib.store.engines import Store, read

log = logging.getLogger("workspace_lib.reclosers.events_csv")

NAME: Final = "Events.csv"
COLUMNS: Final = (
    "#", "DATE", "TIME", "EVENT", "LOCAT", "CURR", "FREQ", "GRP", "SHOT", "TARGETS",
    "STATE", "FILES",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def write_events_csv(store: Store, archive: Archive, recloser: Recloser) -> bool:
    """Write ``Events.csv`` of a recloser anew, if it is to change; return whether it was written.

    A file that somebody keeps open (a spreadsheet on Windows) stays as it is and is written with
    the next change: it is a copy of what the store knows.
    """
    events = recloser_events.c
    files = recloser_files.c
    with read(store.data) as connection:
        rows = connection.execute(
            select(recloser_events)
            .where(events.recloser == recloser.id)
            .order_by(events.device_us.desc(), events.event)
        ).all()
        names = connection.execute(
            select(files.event_id, files.path)
            .join(recloser_events, events.event_id == files.event_id)
            .where(events.recloser == recloser.id, files.state == "kept")
            .order_by(files.file_id)
        ).all()
    by_event: dict[int, list[str]] = {}
    for number, path in names:
        by_event.setdefault(number, []).append("/".join(path.split("/")[-2:]))
    content = format_events(rows, by_event)
    path = archive.root / archive.folder(recloser) / NAME
    try:
        if path.exists() and path.read_bytes() == content:
            return False
        atomic_write(path, content)
    except OSError as error:
        log.warning("%s is not written now: %s", path, error)
        return False
    return True


def format_events(rows: Sequence[Row[Any]], files: dict[int, list[str]]) -> bytes:
    """Return events as the content of ``Events.csv``; ``files`` by event, below its folder."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for number, row in enumerate(rows, 1):
        date, _, time = str(DeviceTime(row.device_us * 1000, 3)).partition("T")
        told = (
            row.event, row.location, row.current_a, row.frequency_hz,
            row.setting_group, row.shot, row.targets, row.state,
        )  # fmt: skip
        writer.writerow((number, date, time, *_cells(told), "; ".join(files.get(row.event_id, []))))
    return b"\xef\xbb\xbf" + stream.getvalue().encode()


def _cells(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, str) and value.startswith(_FORMULA):
            yield f"'{value}"
        elif isinstance(value, float):
            yield f"{value:.6f}".rstrip("0").rstrip(".")
        else:
            yield "" if value is None else value
