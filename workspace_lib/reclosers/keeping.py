"""What a relay's visit brought, kept: bytes in the archive first, then rows in one transaction.

A crash between the two leaves files that no row knows; the same event takes them over when it is
fetched again. An event that is stored whole is never overwritten; one of which only the list knew,
or that never came whole, becomes whole when it does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, func, insert, select, update

from workspace_lib.reclosers import cascii
from workspace_lib.reclosers.archive import Archive
from workspace_lib.reclosers.events_csv import write_events_csv
from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.ident import model_of
from workspace_lib.reclosers.placing import KnownFile, Placed, lacking, place
from workspace_lib.reclosers.record import DeviceTime
from workspace_lib.reclosers.relay_capture import Visit, clock_error_s
from workspace_lib.reclosers.relay_plan import FetchedEvent, Key, model_in
from workspace_lib.reclosers.settings import Recloser
from workspace_lib.reclosers.tables import (
    recloser_events,
    recloser_files,
    recloser_relays,
    recloser_visits,
)
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.upsert import insert_or_ignore, upsert

Origin = Literal["relay", "import"]
#: What may become of an event that is stored as the first of each pair.
_BETTER: Final = frozenset(
    {("damaged", "summary"), ("damaged", "whole"), ("summary", "whole"), ("damaged", "damaged")}
)
#: How far apart the same trigger may be told by a record and by a list [µs].
NEAR_US: Final = 1000
_ANSWERED: Final = frozenset({"done", "refused", "dropped"})


def known_keys(
    store: Store, recloser_id: str, *, states: Sequence[str] = ("whole", "summary")
) -> frozenset[Key]:
    """Return the keys of a recloser's events that need not be fetched.

    With ``states=("whole",)`` those are asked for again that only the list knows.
    """
    columns = recloser_events.c
    query = select(columns.device_us, columns.event).where(
        columns.recloser == recloser_id, columns.state.in_(states)
    )
    with read(store.data) as connection:
        return frozenset(
            (_time_text(row.device_us), row.event) for row in connection.execute(query)
        )


def keep_event(
    store: Store,
    archive: Archive,
    recloser: Recloser,
    event: FetchedEvent,
    *,
    now: datetime,
    run_id: str = "",
    model: str = "",
    fid: str = "",
    origin: Origin = "relay",
    base: str = "",
    index: bool = True,
) -> int | None:
    """Keep one event with its files; doing it again changes nothing.

    Parameters
    ----------
    now : datetime
        When it arrived.
    model, fid : str
        What ``ID`` said; where empty, what the event's own report says.
    base : str
        Base name of the files, for those that lie in the archive already; else made anew.
    index : bool
        Whether ``Events.csv`` of the recloser is written anew, if something changed.

    Returns
    -------
    int or None
        The event's number; None for one that moved or is gone: the next visit looks again.

    Raises
    ------
    StoreError
        If the archive or the store cannot be written; nothing is half stored then.
    """
    if event.state in ("moved", "gone"):
        return None
    device_us = event.entry.time.ns // 1000
    _name_type(store, recloser.id, device_us, event.entry.event)
    with read(store.data) as connection:
        found = _find(connection, recloser.id, device_us, event.entry.event)
        files = [] if found is None else _files(connection, found.event_id)
    if found is not None and (found.state, event.state) not in _BETTER:
        event = lacking(event, found.state, files)
        if not event.files:
            return int(found.event_id)
    placed = place(archive, recloser, event, files, base)
    fid = fid or _fid_of(event)
    values = {
        "ced": recloser.ced,
        "triggered": archive.instant(recloser, event.entry.time),
        "state": event.state,
        "origin": origin,
        "why": event.why or None,
        "stored": now if event.state == "whole" else None,
        "run_id": run_id or None,
        **_told(event.entry, model or model_of(fid) or "", fid),
    }
    key = {"recloser": recloser.id, "device_us": device_us, "event": event.entry.event}
    with write(store.data) as connection:
        number, better = _keep_row(connection, key, values, now)
        # Somebody else may have stored it whole meanwhile.
        if better or (found is not None and found.state == "whole"):
            _keep_files(connection, number, placed, now)
    if index:
        write_events_csv(store, archive, recloser)
    return number


def keep_visit(
    store: Store,
    recloser: Recloser,
    visit: Visit,
    *,
    now: datetime,
    run_id: str = "",
    outcome: str | None = None,
    zone: tzinfo | None = None,
    failures: int | None = None,
    not_before: datetime | None = None,
    transcript: str = "",
) -> None:
    """Keep how a visit ended, and what is known of the relay since.

    Parameters
    ----------
    now : datetime
        When it ended.
    outcome : str, optional
        How it ended, where the visit itself does not know (``locked``, ``busy``).
    zone : tzinfo, optional
        The zone whose time the relay's clock keeps; without it its error is not told.
    failures : int, optional
        Visits in a row that brought nothing; else 0 after one that is done, and one more otherwise.
    not_before : datetime, optional
        Until when the relay is left alone.
    transcript : str
        File of the line's transcript, under the site's outputs.
    """
    ended = outcome or visit.outcome
    began = visit.began or now
    error = within = None
    if visit.clock is not None and isinstance(zone, ZoneInfo):
        error, within = clock_error_s(visit.clock, zone), visit.clock.within_s
    row = {
        "recloser": recloser.id,
        "ced": recloser.ced,
        "began": began,
        "took_s": visit.took_s,
        "outcome": ended,
        "why": visit.why or None,
        "found_level": visit.found_level or None,
        "listed": len(visit.listed),
        "known": visit.known,
        "fetched": visit.count("whole"),
        "summaries": visit.count("summary"),
        "damaged": visit.count("damaged"),
        "clock_error_s": error,
        "clock_within_s": within,
        "clock_moved_s": visit.clock_moved_s or None,
        "transcript": transcript or None,
        "run_id": run_id or None,
    }
    relay: dict[str, Any] = {
        "recloser": recloser.id,
        "ced": recloser.ced,
        "visited": began,
        "outcome": ended,
        "why": visit.why or None,
        "not_before": not_before,
    }
    if ended in _ANSWERED and visit.found_level:
        relay["answered"] = began
    if fid := visit.identity.get("FID", ""):
        relay |= {"fid": fid, "model": model_in(visit.identity) or None}
    if visit.clock is not None and error is not None:
        relay |= {
            "clock_read": visit.clock.host,
            "clock_error_s": error,
            "clock_within_s": within,
        }
    with write(store.data) as connection:
        relay["failures"] = (
            _failures(connection, recloser.id, ended) if failures is None else failures
        )
        connection.execute(insert(recloser_visits).values(**row))
        upsert(connection, recloser_relays, relay, key=("recloser",))
        if fid:
            _name_model(connection, recloser.id, visit, fid)


def _keep_row(
    connection: Connection, key: Mapping[str, Any], values: dict[str, Any], now: datetime
) -> tuple[int, bool]:
    """Insert the event, or better the one that is there; return whether that was done."""
    added = connection.execute(
        insert_or_ignore(connection, recloser_events)
        .values(**key, **values, noticed=now)
        .returning(recloser_events.c.event_id)
    ).scalar()
    if added is not None:
        return int(added), True
    columns = recloser_events.c
    row = connection.execute(
        select(columns.event_id, columns.state)
        .where(*(columns[name] == value for name, value in key.items()))
        .with_for_update()
    ).one()
    if (row.state, values["state"]) not in _BETTER:
        return int(row.event_id), False
    told = {name: value for name, value in values.items() if value is not None or name == "why"}
    connection.execute(
        update(recloser_events).where(columns.event_id == row.event_id).values(**told)
    )
    return int(row.event_id), True


def _keep_files(
    connection: Connection, number: int, placed: Sequence[Placed], now: datetime
) -> None:
    files = recloser_files.c
    for one in placed:
        there = {"event_id": number, "kind": one.file.kind, "sha256": one.kept.sha256}
        where = {"path": one.kept.path, "state": one.state, "stored": now}
        rest = {"name": one.file.name, "bytes": one.kept.size}
        added = connection.execute(
            insert_or_ignore(connection, recloser_files)
            .values(**there, **where, **rest)
            .returning(files.file_id)
        ).scalar()
        if added is None and one.state == "kept":
            # The same bytes came damaged before, as far as was known then.
            connection.execute(
                update(recloser_files)
                .where(*(files[name] == value for name, value in there.items()))
                .where(files.state == "quarantined")
                .values(**where)
            )


def _find(
    connection: Connection, recloser: str, device_us: int, event: str
) -> Row[int, str] | None:
    columns = recloser_events.c
    return connection.execute(
        select(columns.event_id, columns.state).where(
            columns.recloser == recloser, columns.device_us == device_us, columns.event == event
        )
    ).one_or_none()


def _name_type(store: Store, recloser: str, device_us: int, event: str) -> None:
    """Give an event its type that came without one, as a record fetched by hand may have.

    Records tell their trigger more exactly than lists, so that a millisecond is between them.
    """
    columns = recloser_events.c
    nameless = (
        columns.recloser == recloser,
        columns.event == "",
        columns.device_us.between(device_us - NEAR_US, device_us + NEAR_US),
    )
    query = select(columns.event_id).where(*nameless)
    with read(store.data) as connection:
        if not event or connection.execute(query).first() is None:
            return
    with write(store.data) as connection:
        found = connection.scalars(query).all()
        if len(found) == 1 and _find(connection, recloser, device_us, event) is None:
            connection.execute(
                update(recloser_events)
                .where(columns.event_id == found[0])
                .values(event=event, device_us=device_us)
            )


def _files(connection: Connection, number: int) -> list[KnownFile]:
    columns = recloser_files.c
    query = select(columns.kind, columns.sha256, columns.state).where(columns.event_id == number)
    return [KnownFile(*row) for row in connection.execute(query)]


def _told(entry: HistoryEntry, model: str, fid: str) -> dict[str, Any]:
    """Return the relay's own summary as columns; what it does not say is None."""
    return {
        "model": model or None,
        "fid": fid or None,
        "reference": entry.reference or None,
        "location": entry.location,
        "current_a": entry.current,
        "frequency_hz": entry.frequency,
        "setting_group": entry.group or None,
        "shot": entry.shot or None,
        "targets": entry.targets or None,
    }


def _fid_of(event: FetchedEvent) -> str:
    """Return the firmware that the event's compressed report names."""
    report = event.file("cev")
    for line in cascii.lines(report.content[:2000]) if report is not None else ():
        for field in line.fields:
            if line.good and field.startswith("FID="):
                return field.removeprefix("FID=")
    return ""


def _failures(connection: Connection, recloser: str, outcome: str) -> int:
    if outcome == "done":
        return 0
    columns = recloser_relays.c
    before = connection.scalar(select(columns.failures).where(columns.recloser == recloser))
    return (before or 0) + 1


def _name_model(connection: Connection, recloser: str, visit: Visit, fid: str) -> None:
    """Say of the events of a visit which relay they are of, where they did not."""
    columns = recloser_events.c
    times = [event.entry.time.ns // 1000 for event in visit.events]
    if times:
        connection.execute(
            update(recloser_events)
            .where(columns.recloser == recloser, columns.device_us.in_(times))
            .where(columns.fid.is_(None))
            .values(fid=fid, model=func.coalesce(columns.model, model_in(visit.identity) or None))
        )


def _time_text(device_us: int) -> str:
    return str(DeviceTime(device_us * 1000, 3))
