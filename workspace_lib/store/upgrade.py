"""Bringing a site's store to the schema of this program: backup first, then step by step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.errors import StoreError
from workspace_lib.settings import Settings
from workspace_lib.store.backup import FOLDER, backup
from workspace_lib.store.engines import DATABASES, connect_store
from workspace_lib.store.migrate import check, head, migrate, open_store, version_of


@dataclass(frozen=True)
class Upgraded:
    """What was done: ``before`` is None for a new store, ``backup`` None where none was needed."""

    before: str | None
    after: str
    backup: Path | None


def upgrade(settings: Settings, *, with_backup: bool = True) -> Upgraded:
    """Make the store if there is none, else move it to the newest schema after a backup.

    Done twice, the second changes nothing.

    Raises
    ------
    StoreError
        If the store is another site's or was written by a newer program.
    """
    newest = head()
    with connect_store(settings, create=True) as store:
        versions = [version_of(store.engine(name)) for name in DATABASES]
        if None in versions:
            present = [version for version in versions if version is not None]
            if present and present != [newest]:
                raise StoreError(
                    "One of the store's two databases is missing.",
                    where=str(settings.outputs_dir),
                    fix="Restore a backup: workspace restore FILE.",
                )
            open_store(settings, create=True).close()
            return Upgraded(None, newest, None)
        check(store, settings, older=True)
        before = min(version for version in versions if version is not None)
        if before == newest:
            return Upgraded(before, newest, None)
        kept = None
        if with_backup:
            stamp = f"{SYSTEM_CLOCK.now():%Y%m%dT%H%M%S%f}Z"
            name = f"{settings.site_name}-before-{newest}-{stamp}.zip"
            kept = backup(settings, settings.outputs_dir / FOLDER / name)
        migrate(store, settings)
    return Upgraded(before, newest, kept)
