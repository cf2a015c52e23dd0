"""Cleaning: what may go after the days the settings keep it. What readers see is never removed."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import delete, select

from workspace_lib.clock import from_us
from workspace_lib.logs import clean_logs
from workspace_lib.runs.states import ENDED
from workspace_lib.runs.tables import runs, schedulers
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.leases import leases
from workspace_lib.store.publications import forget_run, published_runs
from workspace_lib.store.published_files import lay_out

#: Cleaning is due this often [s].
EVERY_S = 3600
#: Most run folders removed at once, so that the scheduler is not long away from its work.
_AT_ONCE = 200

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CleaningReport:
    """How many things were removed."""

    logs: int
    folders: int


def is_due(store: Store, now: datetime) -> bool:
    """Return whether the site was not cleaned for an hour, by any scheduler."""
    mark = _mark(store)
    if not mark.exists():
        return True
    last = from_us(mark.stat().st_mtime_ns // 1000)
    return not timedelta() <= now - last < timedelta(seconds=EVERY_S)


def clean(store: Store, settings: Settings, now: datetime) -> CleaningReport:
    """Remove logs and folders of old runs, dead leases, and schedulers long gone.

    The ledger's rows stay, and so does the folder of an attempt whose publications readers see. The
    copies in the folder of published files are brought up to date.
    """
    mark = _mark(store)
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    limit = now - timedelta(days=settings.runs.keep_days)
    with write(store.control) as connection:
        connection.execute(delete(schedulers).where(schedulers.c.seen_at < limit))
        connection.execute(delete(leases).where(leases.c.expires < now - timedelta(days=1)))
    report = CleaningReport(
        logs=len(clean_logs(settings, now.timestamp())), folders=_clean_folders(store, limit)
    )
    lay_out(store)
    if report.logs or report.folders:
        _log.info("removed %d logs and %d folders of old runs", report.logs, report.folders)
    return report


def _clean_folders(store: Store, limit: datetime) -> int:
    """Remove folders of attempts whose run ended before ``limit``, or that no run belongs to."""
    folder = store.outputs / "runs"
    if not folder.is_dir():
        return 0
    names = [path.name for path in folder.iterdir() if path.is_dir()]
    with read(store.control) as connection:
        visible = published_runs(connection)
        # By age of the row, so that a long list of names need not go to the database.
        young = select(runs.c.id).where(runs.c.state.not_in(ENDED) | (runs.c.ended_at >= limit))
        kept = set(connection.execute(young).scalars())
        known = set(connection.execute(select(runs.c.id)).scalars())
    removed = 0
    for name in sorted(set(names) - kept):
        path = folder / name
        if name not in known and from_us(path.stat().st_mtime_ns // 1000) >= limit:
            continue
        with write(store.control) as connection:
            forget_run(connection, name)
        for attempt in sorted(path.iterdir()):
            if (name, _number(attempt)) not in visible:
                shutil.rmtree(attempt) if attempt.is_dir() else attempt.unlink()
                removed += 1
        if not any(path.iterdir()):
            path.rmdir()
        if removed >= _AT_ONCE:
            break
    return removed


def _number(attempt: Path) -> int:
    return int(attempt.name) if attempt.name.isdigit() else -1


def _mark(store: Store) -> Path:
    return store.outputs / "logs" / ".cleaned"
