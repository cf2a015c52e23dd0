"""From fetched files to rows: parse what is pending, decide what contradicts, store it at once.

Each batch is one transaction: rows into their days (`days.merge_rows` keeps the first of two that
contradict each other), issues beside them (`policies`), the files marked as parsed. A file without
a single row, or of a gauge nobody knows, is quarantined with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from workspace_lib.clock import to_us
from workspace_lib.formats import Issue
from workspace_lib.rain.blocks import Rows
from workspace_lib.rain.days import Merged, merge_rows, new_rows
from workspace_lib.rain.grammar import printable
from workspace_lib.rain.policies import implausible, late_rows, pointed_out, years_of
from workspace_lib.rain.readers import A0Batch, parse_a0_name
from workspace_lib.rain.settings import Gauge, Network, RainSettings
from workspace_lib.rain.tables import rain_issues
from workspace_lib.rain.yearly_grammar import parse_yearly_name
from workspace_lib.rain.yearly_readers import parse_tip_files
from workspace_lib.store import inventory, raw
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.source_files import FileRow, source_files
from workspace_lib.store.upsert import insert_or_ignore

UNKNOWN_GAUGE: Final = "No gauge of the site has"
#: Most bytes of files parsed at once; a yearly file has 20 MB, an A0 file 200 bytes.
BATCH_BYTES: Final = 32 << 20


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
    late: int = 0
    rows_by_gauge: Counter[str] = field(default_factory=Counter)
    rows_by_year: Counter[int] = field(default_factory=Counter)
    quarantined: list[tuple[str, str]] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)

    def add(self, gauge_id: str, merged: Merged) -> None:
        """Count what became of rows of a gauge."""
        self.rows_new += len(merged.rows)
        self.duplicates += merged.duplicates
        self.conflicts += merged.conflicts
        self.late += sum(len(rows) for _, rows in late_rows(merged))
        if len(merged.rows):
            self.rows_by_gauge[gauge_id] += len(merged.rows)
            years, counts = np.unique(years_of(merged.rows["t_us"]), return_counts=True)
            self.rows_by_year.update(dict(zip(years.tolist(), counts.tolist(), strict=True)))


def folder_of(path: str) -> str:
    """Return the folder of a file on the source, without slashes at its ends."""
    return path.strip("/").rpartition("/")[0]


def identify(network: Network, path: str) -> tuple[Gauge | None, str]:
    """Return whose file a path is and, if nobody's, why.

    The folder decides; in a shared folder the label of the file's name does. A label that means
    another gauge than the folder contradicts it, and then nobody is guessed. A yearly file's name
    decides wherever its folder is no gauge's.
    """
    folder, name = folder_of(path), path.rpartition("/")[2]
    if parse_yearly_name(name) is not None:
        return _identify_yearly(network, folder, name)
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


def _identify_yearly(network: Network, folder: str, name: str) -> tuple[Gauge | None, str]:
    known = parse_yearly_name(name)
    assert known is not None
    gauge = None
    if not network.is_shared(folder):
        gauge = network.by_folder(folder, datetime(known.year, 7, 1, tzinfo=UTC))
    named = network.by_name(known.label, known.year)
    if gauge is None:
        reason = f"{UNKNOWN_GAUGE} the name in {name!r}; add it to the list of gauges."
        return named, "" if named else reason
    if named is not None and named != gauge:
        return None, f"The folder is that of {gauge.id}, the file's name that of {named.id}."
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
        files = _fitting(files)
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


def _fitting(files: Sequence[FileRow]) -> list[FileRow]:
    """Return the first files, as many as fit into the memory of one batch: at least one."""
    sizes = np.cumsum([row.size for row in files])
    return list(files[: max(1, int(np.searchsorted(sizes, BATCH_BYTES, side="right")))])


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
    batch = parse_tip_files([row.path for row in files], contents)
    refused = _refused(batch, owners, np.bincount(batch.rows["file"], minlength=len(files)))
    text_of = _TextOf(files, contents)
    known = np.array([gauge is not None for gauge, _ in owners], dtype=bool)
    issues = [
        _issue(files[found.file], owners[found.file][0], found.line, found.issue, found.text, now)
        for found in batch.issues
        if known[found.file]
    ]
    rows = batch.rows[known[batch.rows["file"]]]
    rows, aside = _set_aside(rows, rain, files, owners, text_of, now)
    with write(store.data) as connection:
        merged = {
            gauge.id: merge_rows(connection, gauge, mine, now)
            for gauge, mine in _by_gauge(rows, files, owners)
        }
        gauges = {gauge.id: gauge for gauge, _ in owners if gauge is not None}
        for gauge_id, one in merged.items():
            issues += pointed_out(gauges[gauge_id], one, text_of, now)
        if issues or aside:
            connection.execute(insert_or_ignore(connection, rain_issues), issues + aside)
        parsed = [row.id for number, row in enumerate(files) if number not in refused]
        inventory.mark_parsed(connection, parsed, now)
        for number, reason in refused.items():
            inventory.quarantine(connection, files[number].id, reason, now)
    tally.files += len(parsed)
    tally.lines += int(batch.lines.sum())
    tally.blank += int(batch.blank.sum())
    tally.bad_lines += int(batch.bad.sum())
    tally.set_aside += len(aside)
    for gauge_id, one in merged.items():
        tally.add(gauge_id, one)
    for number, reason in refused.items():
        tally.quarantined.append((files[number].path, reason))
        if owners[number][0] is None:
            tally.unknown[folder_of(files[number].path) or "/"] += 1


class _TextOf:
    """Finds the text of a line by the id of its file and its number."""

    def __init__(self, files: Sequence[FileRow], contents: Sequence[bytes]) -> None:
        self._contents = dict(zip((row.id for row in files), contents, strict=True))
        self._lines: tuple[int, list[bytes]] = (-1, [])

    def __call__(self, file_id: int, line: int) -> str:
        if self._lines[0] != file_id:
            self._lines = (file_id, self._contents[file_id].split(b"\n"))
        return printable(self._lines[1][line - 1].strip())


def _by_gauge(
    rows: Rows, files: Sequence[FileRow], owners: Sequence[tuple[Gauge | None, str]]
) -> Iterator[tuple[Gauge, Rows]]:
    """Yield the gauges, in one order for all writers, each with its rows as they came."""
    ids = np.array([row.id for row in files], dtype=np.int64)
    new = new_rows(
        rows["t_us"],
        rows["tips"],
        wind=rows["wind"],
        battery_v=rows["battery_v"],
        file_id=ids[rows["file"]],
        line=rows["line"],
    )
    gauges = {gauge.id: gauge for gauge, _ in owners if gauge is not None}
    names = sorted(gauges)
    owner = np.array([names.index(gauge.id) if gauge else -1 for gauge, _ in owners], dtype=int)
    owner_of_row = owner[rows["file"]]
    for place, name in enumerate(names):
        yield gauges[name], new[owner_of_row == place]


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
    rows: Rows,
    rain: RainSettings,
    files: Sequence[FileRow],
    owners: Sequence[tuple[Gauge | None, str]],
    text_of: _TextOf,
    now: datetime,
) -> tuple[Rows, list[dict[str, Any]]]:
    """Return the rows whose stamps can be true, and the others as issues with their text."""
    seen = np.array([to_us(row.first_seen) for row in files], dtype=np.int64)[rows["file"]]
    true, aside = np.ones(len(rows), bool), []
    for place, code, message in implausible(rows["t_us"], seen, rain):
        file, line = int(rows["file"][place]), int(rows["line"][place])
        issue = Issue(code, "warning", f"line {line}", message)
        text = text_of(files[file].id, line)
        aside.append(_issue(files[file], owners[file][0], line, issue, text, now))
        true[place] = False
    return rows[true], aside


def _issue(
    file: FileRow, gauge: Gauge | None, line: int, issue: Issue, text: str, now: datetime
) -> dict[str, Any]:
    return {
        "file_id": file.id,
        "line": line,
        "code": issue.code,
        "gauge": gauge.id if gauge else None,
        "severity": issue.severity,
        "message": issue.message,
        "text": text,
        "noticed": now,
    }
