"""Capturing rain: from the gauges' source into the raw archive, from there into rows.

Both halves can be repeated at any time and change nothing that is there already.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.errors import SourceError
from workspace_lib.files import safe_name
from workspace_lib.rain.ingest import Tally, folder_of, identify, ingest
from workspace_lib.rain.readers import parse_a0_name
from workspace_lib.rain.settings import Network, load_network, load_rain
from workspace_lib.rain.yearly_grammar import parse_yearly_name
from workspace_lib.reports import counts_frame, plain
from workspace_lib.settings import Settings
from workspace_lib.site_files import split_names
from workspace_lib.store.engines import Store
from workspace_lib.transports.file_source import clean_path
from workspace_lib.transports.ftp_mirror import MirrorReport, mirror, pack_closed_days

log = logging.getLogger(__name__)

#: Device-days packed in one capture: a backlog is packed over some runs, none of them long.
PACKED_DAYS = 12
#: What a file's device is called in the archive when no gauge is known for it.
UNKNOWN_DEVICE = "unknown"


@dataclass(frozen=True)
class CaptureReport:
    """What one capture saw, took and made of it.

    ``listed``, ``new``, ``waiting``, ``fetched``, ``bytes``, ``left`` and ``failed`` are the
    mirror's; the rest is what became of the files that were pending, and how many closed
    device-days of the archive were packed (``packed_days``). ``late_rows`` are new rows of UTC
    years that were over for their gauge.
    """

    source: str
    listed: int
    new: int
    waiting: int
    ignored: int
    fetched: int
    bytes: int
    left: int
    files_parsed: int
    rows: int
    duplicates: int
    conflicts: int
    set_aside: int
    bad_lines: int
    packed_days: int
    late_rows: int = 0
    rows_by_gauge: dict[str, int] = field(default_factory=dict)
    rows_by_year: dict[str, int] = field(default_factory=dict)
    failed: tuple[tuple[str, str], ...] = ()
    quarantined: tuple[tuple[str, str], ...] = ()
    unknown_folders: dict[str, int] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every file that could be taken was."""
        return not self.failed and not self.left

    @property
    def trouble(self) -> str:
        """What somebody should look at, in one sentence; empty if there is nothing."""
        parts = []
        if self.failed:
            parts.append(f"{len(self.failed)} files could not be fetched")
        if self.quarantined:
            parts.append(f"{len(self.quarantined)} files were quarantined")
        if self.unknown_folders:
            parts.append(f"unknown folders: {', '.join(sorted(self.unknown_folders))}")
        return "; ".join(parts)

    def to_frame(self) -> Any:
        """Return the counts as a pandas frame, for people who look at the notebook."""
        return counts_frame(self, self.source, {"rows": self.rows_by_gauge | self.rows_by_year})

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, to be published."""
        return plain(self)


def capture(
    store: Store,
    settings: Settings,
    *,
    source: str | None = None,
    gauges: str | Iterable[str] = "all",
    now: datetime | None = None,
    progress: Callable[[float, str], object] | None = None,
    count: Callable[..., object] | None = None,
    stop: threading.Event | None = None,
) -> CaptureReport:
    """Fetch what is new, store its rows, and pack the days that are over.

    Parameters
    ----------
    store : Store
        The open store.
    settings : Settings
        The site: its source, its gauges.
    source : str, optional
        Name of the source; the wing's own otherwise.
    gauges : str or iterable of str
        House names of gauges, or ``all`` (then also what nobody knows is fetched and reported).
    now : datetime, optional
        The instant of the capture; the machine's clock otherwise.
    progress : callable, optional
        Told the fraction done of fetching, then of parsing, and which of them it is.
    count : callable, optional
        Told the ``files`` and ``bytes`` fetched, and the ``rows`` of each batch once stored.
    stop : threading.Event, optional
        Ends fetching after the files under way; what was fetched is still parsed.

    Raises
    ------
    SourceError
        If the source cannot be reached or is lost; what was fetched before is stored all the same.
    ConfigError, ParameterError
        If the site's gauges, or ``gauges``, are wrong.
    """
    rain, network = load_rain(settings), load_network(settings)
    source_name = source or rain.source
    chosen = None if split_names(gauges) == ["all"] else network.choose(gauges)
    wanted = None if chosen is None else {gauge.id for gauge in chosen}

    def select(path: str) -> bool:
        if not is_raw(path, rain.history_folders):
            return False
        return wanted is None or device_of(network, path) in wanted

    def parse() -> Tally:
        return ingest(
            store,
            network,
            rain,
            source=source_name,
            now=now or SYSTEM_CLOCK.now(),
            gauges=chosen,
            progress=progress,
            count=count,
        )

    try:
        fetched = mirror(
            store,
            settings,
            source_name,
            select=select,
            device_of=lambda path: device_of(network, path),
            day_of=day_of,
            now=now,
            progress=_Bytes(progress) if progress else None,
            stop=stop,
        )
    except SourceError:
        parse()  # what arrived before the source was lost need not wait for it to come back
        raise
    if count:
        count(files=fetched.fetched, bytes=fetched.bytes)
    tally = parse()
    packed = pack_closed_days(store, source_name, now or SYSTEM_CLOCK.now(), limit=PACKED_DAYS)
    report = _report(fetched, tally, len(packed))
    log.info(
        "%s: %d files parsed, %d new rows, %d conflicts.",
        source_name,
        report.files_parsed,
        report.rows,
        report.conflicts,
    )
    if report.trouble:
        log.warning("%s: %s.", source_name, report.trouble)
    return report


def device_of(network: Network, path: str) -> str:
    """Return the device under which a file is archived: its gauge, else its folder."""
    gauge, _ = identify(network, path)
    if gauge is not None:
        return gauge.id
    return f"{UNKNOWN_DEVICE}-{safe_name(folder_of(path))}" if folder_of(path) else UNKNOWN_DEVICE


def is_raw(path: str, history_folders: Iterable[str] = ()) -> bool:
    """Return whether a file is one to capture.

    Those are A0 files, and concatenated yearly files in the folders of history.
    """
    name = path.rpartition("/")[2]
    if parse_a0_name(name) is not None:
        return True
    yearly = parse_yearly_name(name)
    if yearly is None or yearly.kind != "concatenated":
        return False
    here = f"{folder_of(path)}/"
    return any(here.startswith(f"{clean_path(f)}/".lstrip("/")) for f in history_folders)


def day_of(path: str) -> date | None:
    """Return the UTC day in the name of a file, the first one of a yearly file, or None."""
    name = path.rpartition("/")[2]
    if (yearly := parse_yearly_name(name)) is not None:
        return date(yearly.year, 1, 1)
    known = parse_a0_name(name)
    return known.first.date() if known and known.first else None


class _Bytes:
    """Makes fractions of the bytes that the mirror tells."""

    def __init__(self, tell: Callable[[float, str], object]) -> None:
        self.total: float | None = None
        self._tell = tell
        self._done = 0.0

    def update(self, n: float | None = 1) -> None:
        self._done += n or 0
        if self.total:
            self._tell(min(self._done / self.total, 1.0), "fetching")


def _report(fetched: MirrorReport, tally: Tally, packed_days: int) -> CaptureReport:
    return CaptureReport(
        source=fetched.source,
        listed=fetched.listed,
        new=fetched.new,
        waiting=fetched.waiting,
        ignored=fetched.ignored,
        fetched=fetched.fetched,
        bytes=fetched.bytes,
        left=fetched.left,
        files_parsed=tally.files,
        rows=tally.rows_new,
        duplicates=tally.duplicates,
        conflicts=tally.conflicts,
        set_aside=tally.set_aside,
        bad_lines=tally.bad_lines,
        packed_days=packed_days,
        late_rows=tally.late,
        rows_by_gauge=dict(sorted(tally.rows_by_gauge.items())),
        rows_by_year={str(year): rows for year, rows in sorted(tally.rows_by_year.items())},
        failed=tuple((path, reason) for path, reason in fetched.failed),
        quarantined=tuple(tally.quarantined),
        unknown_folders=dict(sorted(tally.unknown.items())),
    )
