"""From fetched files to rows: parse what is pending, decide what contradicts, store it at once.

Policies, all visible in the store:

- The first row stored for a gauge and stamp is kept. An equal one later is a duplicate (counted);
  a different one is a conflict (kept in ``rain_conflicts``).
- A row stamped before the network can have existed comes from a clock that was reset, one stamped
  long after its file was seen from a clock that runs ahead: both are set aside in ``rain_issues``.
- A file without a single row, or of a gauge nobody knows, is quarantined with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Connection, select, type_coerce

from workspace_lib.clock import iso, to_us
from workspace_lib.rain.grammar import printable
from workspace_lib.rain.readers import A0Batch, parse_a0_many, parse_a0_name
from workspace_lib.rain.settings import Gauge, Network, RainSettings
from workspace_lib.rain.tables import rain_conflicts, rain_issues, rain_tips
from workspace_lib.store import inventory, raw
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.source_files import FileRow, source_files
from workspace_lib.store.upsert import insert_or_ignore

KEEP_FIRST: Final = "keep first"
UNKNOWN_GAUGE: Final = "No gauge of the site has"
#: Stamps further apart than this are looked up in the store separately [µs].
_CLUSTER_US: Final = 86_400_000_000


@dataclass
class Tally:
    """What became of the files and lines of one ingestion."""

    files: int = 0
    lines: int = 0
    blank: int = 0
    rows_new: int = 0
    duplicates: int = 0
    conflicts: int = 0
    set_aside: int = 0
    bad_lines: int = 0
    rows_by_gauge: Counter[str] = field(default_factory=Counter)
    quarantined: list[tuple[str, str]] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Existing:
    """A row the store has already, or will have once this batch is stored."""

    t_us: int
    tips: int
    wind: int | None
    battery_v: float | None
    file_id: int

    def equals(self, tips: int, wind: int, battery_v: float | None) -> bool:
        return (self.tips, self.wind, self.battery_v) == (tips, wind, battery_v)


def folder_of(path: str) -> str:
    """Return the folder of a file on the source, without slashes at its ends."""
    return path.strip("/").rpartition("/")[0]


def identify(network: Network, path: str) -> tuple[Gauge | None, str]:
    """Return whose file a path is and, if nobody's, why.

    The folder decides; in a shared folder the label of the file's name does. A label that means
    another gauge than the folder contradicts it, and then nobody is guessed.
    """
    folder, name = folder_of(path), path.rpartition("/")[2]
    known = parse_a0_name(name)
    at = known.first if known else None
    labelled = network.by_label(known.label, at) if known else None
    if network.is_shared(folder):
        reason = f"{UNKNOWN_GAUGE} the label of {name!r}; add it to the list of gauges."
        return labelled, "" if labelled else reason
    gauge = network.by_folder(folder, at)
    if gauge is None:
        return None, f"{UNKNOWN_GAUGE} the folder {folder!r}; add it to the list of gauges."
    if labelled is not None and labelled != gauge:
        return None, f"The folder is that of {gauge.id}, the file's name that of {labelled.id}."
    return gauge, ""


def ingest(
    store: Store,
    network: Network,
    rain: RainSettings,
    *,
    source: str,
    now: datetime,
    gauges: Sequence[Gauge] | None = None,
    progress: Callable[[float, str], object] | None = None,
    count: Callable[..., object] | None = None,
) -> Tally:
    """Parse and store every pending file of a source, in batches of one transaction each.

    Parameters
    ----------
    store : Store
        The open store.
    network : Network
        The gauges of the site.
    rain : RainSettings
        The wing's settings.
    source : str
        Name of the source in the inventory.
    now : datetime
        The instant written beside what was noticed.
    gauges : sequence of Gauge, optional
        Only their files; those of others stay pending.
    progress : callable, optional
        Told after each batch which fraction of the files is done, and a word for it.
    count : callable, optional
        Told after each batch how many ``rows`` it has stored.
    """
    tally = Tally()
    chosen = None if gauges is None else {gauge.id for gauge in gauges}
    _reopen_known(store, network, source, now)
    after = done = 0
    waiting = _count_pending(store, source)
    while True:
        with read(store.data) as connection:
            files = inventory.pending(
                connection, source, limit=rain.files_per_batch, after_id=after
            )
        if not files:
            return tally
        after = files[-1].id
        done += len(files)
        owners = [identify(network, row.path) for row in files]
        if chosen is not None:
            mine = [gauge is None or gauge.id in chosen for gauge, _ in owners]
            files = [row for row, wanted in zip(files, mine, strict=True) if wanted]
            owners = [owner for owner, wanted in zip(owners, mine, strict=True) if wanted]
        contents = raw.get_many(store, [row.raw_ref or "" for row in files])
        rows_before = tally.rows_new
        _store_batch(store, rain, files, owners, contents, now, tally)
        if count:
            count(rows=tally.rows_new - rows_before)
        if progress:
            progress(min(done / waiting, 1.0), "parsing")


def _count_pending(store: Store, source: str) -> int:
    with read(store.data) as connection:
        states = inventory.count_states(connection, source).get(source, {})
    return states.get(inventory.FETCHED, 0)


def _reopen_known(store: Store, network: Network, source: str, now: datetime) -> None:
    """Make files pending again that waited in quarantine for their gauge to be listed."""
    files = source_files.c
    query = select(files.id, files.path).where(
        files.source == source,
        files.state == inventory.QUARANTINED,
        files.message.startswith(UNKNOWN_GAUGE),
    )
    with read(store.data) as connection:
        waiting = connection.execute(query).all()
    ids = [row.id for row in waiting if identify(network, row.path)[0] is not None]
    if ids:
        with write(store.data) as connection:
            inventory.clear_quarantine(connection, source, ids=ids, now=now)


def _store_batch(
    store: Store,
    rain: RainSettings,
    files: Sequence[FileRow],
    owners: Sequence[tuple[Gauge | None, str]],
    contents: Sequence[bytes],
    now: datetime,
    tally: Tally,
) -> None:
    batch = parse_a0_many(contents)
    rows_of_file = np.bincount(batch.rows["file"], minlength=len(files))
    refused = _refused(batch, owners, rows_of_file)
    known = np.array([gauge is not None for gauge, _ in owners], dtype=bool)
    rows = batch.rows[known[batch.rows["file"]]]
    rows, aside = _set_aside(rows, rain, files, owners, contents, now)
    gauge_ids = sorted({gauge.id for gauge, _ in owners if gauge is not None})
    code = {gauge_id: number for number, gauge_id in enumerate(gauge_ids)}
    code_of_file = np.array([code[gauge.id] if gauge else -1 for gauge, _ in owners], dtype=int)
    issues = aside + [
        {
            "file_id": files[found.file].id,
            "line": found.line,
            "code": found.issue.code,
            "gauge": owner.id if (owner := owners[found.file][0]) else None,
            "severity": found.issue.severity,
            "message": found.issue.message,
            "text": found.text,
            "noticed": now,
        }
        for found in batch.issues
        if known[found.file]
    ]
    with write(store.data) as connection:
        new, conflicts, duplicates = _judge(
            connection, rows, code_of_file, gauge_ids, [row.id for row in files], now
        )
        if new:
            connection.execute(rain_tips.insert(), new)
        if conflicts:
            connection.execute(insert_or_ignore(connection, rain_conflicts), conflicts)
        if issues:
            connection.execute(insert_or_ignore(connection, rain_issues), issues)
        parsed = [row.id for number, row in enumerate(files) if number not in refused]
        inventory.mark_parsed(connection, parsed, now)
        for number, reason in refused.items():
            inventory.quarantine(connection, files[number].id, reason, now)
    tally.files += len(parsed)
    tally.lines += int(batch.lines.sum())
    tally.blank += int(batch.blank.sum())
    tally.bad_lines += int(batch.bad.sum())
    tally.rows_new += len(new)
    tally.duplicates += duplicates
    tally.conflicts += len(conflicts)
    tally.set_aside += len(aside)
    tally.rows_by_gauge.update(row["gauge"] for row in new)
    for number, reason in refused.items():
        tally.quarantined.append((files[number].path, reason))
        if owners[number][0] is None:
            tally.unknown[folder_of(files[number].path) or "/"] += 1


def _refused(
    batch: A0Batch, owners: Sequence[tuple[Gauge | None, str]], rows_of_file: NDArray[np.int64]
) -> dict[int, str]:
    """Return which files are quarantined, by their number in the batch, and why."""
    refused = {number: reason for number, (gauge, reason) in enumerate(owners) if gauge is None}
    for number in np.flatnonzero(rows_of_file == 0).tolist():
        if number not in refused:
            found = batch.issues_of(number)
            worst = [issue for issue in found if issue.severity == "error"] or found
            reason = worst[0].message if worst else "The file has blank lines alone."
            refused[number] = f"No line is a row: {reason}"
    return refused


def _set_aside(
    rows: NDArray[Any],
    rain: RainSettings,
    files: Sequence[FileRow],
    owners: Sequence[tuple[Gauge | None, str]],
    contents: Sequence[bytes],
    now: datetime,
) -> tuple[NDArray[Any], list[dict[str, Any]]]:
    """Return the rows whose stamps can be true, and the others as issues with their text."""
    earliest = to_us(rain.first_plausible)
    seen = np.array([to_us(row.first_seen) for row in files], dtype=np.int64)
    latest = seen[rows["file"]] + rain.future_tolerance_s * 1_000_000
    early, late = rows["t_us"] < earliest, rows["t_us"] > latest
    aside = []
    for index in np.flatnonzero(early | late).tolist():
        file, line = int(rows["file"][index]), int(rows["line"][index])
        stamp = iso(int(rows["t_us"][index]))
        if early[index]:
            code, message = "clock_reset", f"{stamp} is before {iso(rain.first_plausible)}."
        else:
            code = "stamp_in_future"
            message = f"{stamp} is long after the file was seen ({iso(files[file].first_seen)})."
        gauge = owners[file][0]
        text = contents[file].split(b"\n")[line - 1]
        aside.append(
            {
                "file_id": files[file].id,
                "line": line,
                "code": code,
                "gauge": gauge.id if gauge else None,
                "severity": "warning",
                "message": message,
                "text": printable(text.strip()),
                "noticed": now,
            }
        )
    return rows[~(early | late)], aside


def _judge(
    connection: Connection,
    rows: NDArray[Any],
    code_of_file: NDArray[np.int64],
    gauge_ids: Sequence[str],
    file_ids: Sequence[int],
    now: datetime,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    """Return rows to insert, conflicts, and the number of duplicates."""
    codes = code_of_file[rows["file"]]
    order = np.lexsort((np.arange(len(rows)), rows["t_us"], codes))
    rows, codes = rows[order], codes[order]
    new: list[dict[str, Any]] = []
    conflicts: list[dict[str, Any]] = []
    duplicates = 0
    for code, gauge in enumerate(gauge_ids):
        mine = rows[codes == code]
        there = _stored(connection, gauge, mine["t_us"])
        for file, line, t_us, tips, wind, battery, _ in mine.tolist():
            battery_v = None if battery != battery else battery  # NaN is unknown
            kept = there.get(t_us)
            file_id = file_ids[file]
            if kept is None:
                there[t_us] = _Existing(t_us, tips, wind, battery_v, file_id)
                new.append(
                    {
                        "gauge": gauge,
                        "t": t_us,
                        "tips": tips,
                        "wind": wind,
                        "battery_v": battery_v,
                        "file_id": file_id,
                    }
                )
            elif kept.equals(tips, wind, battery_v):
                duplicates += 1
            else:
                conflicts.append(
                    {
                        "gauge": gauge,
                        "t": t_us,
                        "file_id": file_id,
                        "line": line,
                        "tips": tips,
                        "wind": wind,
                        "battery_v": battery_v,
                        "kept_file_id": kept.file_id,
                        "kept_tips": kept.tips,
                        "kept_wind": kept.wind,
                        "kept_battery_v": kept.battery_v,
                        "policy": KEEP_FIRST,
                        "noticed": now,
                    }
                )
    return new, conflicts, duplicates


def _stored(connection: Connection, gauge: str, t_us: NDArray[np.int64]) -> dict[int, _Existing]:
    """Return the rows the store has in the neighbourhood of these sorted stamps, by stamp."""
    found: dict[int, _Existing] = {}
    if not len(t_us):
        return found
    columns = rain_tips.c
    stamp = type_coerce(columns.t, BigInteger)
    query = select(stamp, columns.tips, columns.wind, columns.battery_v, columns.file_id)
    for cluster in np.split(t_us, np.flatnonzero(np.diff(t_us) > _CLUSTER_US) + 1):
        near = query.where(
            columns.gauge == gauge, stamp >= int(cluster[0]), stamp <= int(cluster[-1])
        )
        for row in connection.execute(near):
            found[row[0]] = _Existing(*row)
    return found
