"""Backups: one ZIP with both databases, and on request the files they refer to.

Both databases are copied while everything goes on, control before data: what the ledger of a
restored store calls done is in its data, and what was running is found lost and done again.
"""

from __future__ import annotations

import json
import os
import tempfile
import uuid
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from workspace_lib.clock import SYSTEM_CLOCK, iso, parse_instant
from workspace_lib.errors import StoreError
from workspace_lib.files import fsync_directory, sha256_file, under_root
from workspace_lib.settings import Settings
from workspace_lib.store import transfer
from workspace_lib.store.engines import DATABASES, Store, connect_store
from workspace_lib.store.migrate import check, head, mark, migrate, version_of

FOLDER = "backups"
FORMAT = "field-workspace-backup"
_ABOUT = "backup.json"
_FILES = "files/"
#: Folders of the outputs that only grow: the raw archive and the sealed samples.
_ARCHIVES = ("raw", "data")


@dataclass(frozen=True)
class Backup:
    """What a backup says of itself; ``rows`` counts the rows of each database's tables."""

    path: Path
    site: str
    made: datetime
    versions: dict[str, str]
    rows: dict[str, dict[str, int]]
    sha256: dict[str, str]
    files: int


@dataclass(frozen=True)
class Restored:
    """What a restore did; ``replaced`` is the backup of what was there before."""

    backup: Backup
    files: int
    replaced: Path | None


def backup(settings: Settings, target: Path | None = None, *, with_files: bool = False) -> Path:
    """Write a backup of the site's store, while it is in use, and return where it is.

    Parameters
    ----------
    target : Path, optional
        The file to write, or a folder for it; default: ``backups`` in the site's outputs.
    with_files : bool
        Also the raw archive, the sealed samples and what is published.

    Raises
    ------
    StoreError
        If there is no store, the target exists, or it cannot be written whole.
    """
    path = _target(settings, target)
    with connect_store(settings) as store:
        check(store, settings, older=True)
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            _write(store, part, with_files)
            if path.exists():
                raise _exists(path)
            part.replace(path)
            fsync_directory(path.parent)
        except OSError as error:
            raise StoreError(
                f"The backup could not be written: {error.strerror or error}.",
                where=str(path),
                fix="Free disk space, or give another place.",
            ) from error
        finally:
            part.unlink(missing_ok=True)
    return path


def describe_backup(path: Path) -> Backup:
    """Return what a backup says of itself.

    Raises
    ------
    StoreError
        If the file is no backup.
    """
    with _opened(path) as archive:
        return _about(archive, path)


def restore(settings: Settings, archive: Path, *, force: bool = False) -> Restored:
    """Put a backup in place of the site's store, and move its schema to this program's.

    A backup made on SQLite can be restored on PostgreSQL and the other way round.

    Parameters
    ----------
    force : bool
        Also over a store that holds rows, after a backup of it, and also a backup of another site.

    Raises
    ------
    StoreError
        If the file is no sound backup, is of a newer program, or would overwrite rows; nothing was
        changed then.
    """
    with _opened(archive) as opened, connect_store(settings, create=True) as store:
        about = _about(opened, archive)
        if about.site != settings.site_name and not force:
            raise StoreError(
                f"This is a backup of the site {about.site}, not of {settings.site_name}.",
                where=str(archive),
                fix="Use --force if it shall become this site's.",
            )
        if max(about.versions.values()) > head():
            raise StoreError(
                f"The backup was written by a newer program (version "
                f"{max(about.versions.values())}; this one knows {head()}).",
                where=str(archive),
                fix="Update this program; nothing was changed.",
            )
        with tempfile.TemporaryDirectory(dir=settings.outputs_dir, prefix=".restore-") as folder:
            copies = {name: Path(folder) / f"{name}.db" for name in DATABASES}
            for name, copy in copies.items():
                opened.extract(f"{name}.db", folder)
                if sha256_file(copy) != about.sha256[name]:
                    raise StoreError(
                        f"{name}.db in the backup is damaged.",
                        where=str(archive),
                        fix="Use another backup; nothing was changed.",
                    )
                transfer.check(copy)
            replaced = _make_room(settings, store, force)
            files = _restore_files(opened, settings.outputs_dir, archive)
            for name, copy in copies.items():
                transfer.load(copy, store.engine(name), name, about.versions[name])
        migrate(store, settings)
        mark(store, settings, anew=True)
    return Restored(about, files, replaced)


def _target(settings: Settings, target: Path | None) -> Path:
    stamp = f"{SYSTEM_CLOCK.now():%Y%m%dT%H%M%S}Z"
    name = f"{settings.site_name}-{stamp}.zip"
    path = target or settings.outputs_dir / FOLDER
    if target is None or path.is_dir():
        path = path / name
    if path.exists():
        raise _exists(path)
    return path


def _exists(path: Path) -> StoreError:
    return StoreError("A file of that name exists.", where=str(path), fix="Give another name.")


def _write(store: Store, part: Path, with_files: bool) -> None:
    about: dict[str, Any] = {
        "format": FORMAT,
        "site": store.site,
        "made": iso(SYSTEM_CLOCK.now()),
        "versions": {},
        "rows": {},
        "sha256": {},
        "files": 0,
    }
    with (
        zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        tempfile.TemporaryDirectory(dir=part.parent, prefix=".backup-") as folder,
    ):
        copies = {}
        for name in DATABASES:
            copies[name] = copy = Path(folder) / f"{name}.db"
            version = version_of(store.engine(name)) or ""
            transfer.save(store.engine(name), name, version, copy)
            about["versions"][name] = version
            about["rows"][name] = transfer.counts(copy)
            about["sha256"][name] = sha256_file(copy)
            archive.write(copy, f"{name}.db")
        if with_files:
            about["files"] = _add_files(archive, store.outputs, copies["control"])
        archive.writestr(_ABOUT, json.dumps(about, indent=2))
    with part.open("rb+") as stream:
        os.fsync(stream.fileno())


def _add_files(archive: zipfile.ZipFile, outputs: Path, control: Path) -> int:
    count = 0
    for path in (*_archived(outputs), *_published(outputs, control)):
        try:
            # What is in there is compressed already.
            archive.write(path, _FILES + path.relative_to(outputs).as_posix(), zipfile.ZIP_STORED)
        except FileNotFoundError:  # packed or replaced since: its content is in a newer file
            continue
        count += 1
    return count


def _archived(outputs: Path) -> Iterator[Path]:
    for name in _ARCHIVES:
        for path in sorted((outputs / name).rglob("*")):
            if path.is_file() and not path.name.endswith(".part"):
                yield path


def _published(outputs: Path, control: Path) -> Sequence[Path]:
    import sqlite3

    query = "SELECT manifest FROM artefacts JOIN published ON artefacts.id = published.artefact_id"
    paths: set[str] = set()
    with closing(sqlite3.connect(control)) as connection:
        for (text,) in connection.execute(query):
            manifest = json.loads(text)
            own = [manifest["path"], *(item["path"] for item in manifest["also"])]
            stem = manifest["path"].removesuffix(f".{manifest['format']}")
            paths.update([*own, f"{stem}.manifest.json"])
    return [outputs / path for path in sorted(paths)]


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    if not path.is_file():
        raise StoreError("There is no such backup.", where=str(path))
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError) as error:
        raise StoreError(
            f"This is no whole backup ({error}).", where=str(path), fix="Use another backup."
        ) from error


def _about(archive: zipfile.ZipFile, path: Path) -> Backup:
    try:
        said = json.loads(archive.read(_ABOUT))
        if said["format"] != FORMAT:
            raise ValueError(said["format"])
        return Backup(
            path=path,
            site=said["site"],
            made=parse_instant(said["made"]),
            versions={name: said["versions"][name] for name in DATABASES},
            rows=said["rows"],
            sha256={name: said["sha256"][name] for name in DATABASES},
            files=said["files"],
        )
    except (KeyError, ValueError, TypeError) as error:
        raise StoreError(
            "This is no backup of a workspace.", where=str(path), fix="Use another file."
        ) from error


def _make_room(settings: Settings, store: Store, force: bool) -> Path | None:
    """Look at what would be overwritten; returns the backup made of it."""
    versions = {name: version_of(store.engine(name)) for name in DATABASES}
    rows = sum(sum(transfer.counts(store.engine(name)).values()) for name in DATABASES)
    foreign = [
        name for name in DATABASES if versions[name] is None and transfer.counts(store.engine(name))
    ]
    if foreign:
        raise StoreError(
            f"The database {foreign[0]} has tables of something else.",
            where=str(settings.outputs_dir),
            fix="Give the workspace a database of its own.",
        )
    if not rows:
        return None
    check(store, settings, older=True)
    if not force:
        raise StoreError(
            f"The store of {settings.site_name} holds {rows} rows already.",
            where=str(settings.outputs_dir),
            fix="Use --force to replace them; a backup of them is made first.",
        )
    folder = settings.outputs_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    stamp = f"{SYSTEM_CLOCK.now():%Y%m%dT%H%M%S%f}Z"
    return backup(settings, folder / f"{settings.site_name}-before-restore-{stamp}.zip")


def _restore_files(archive: zipfile.ZipFile, outputs: Path, path: Path) -> int:
    count = 0
    for entry in archive.infolist():
        if not entry.filename.startswith(_FILES) or entry.is_dir():
            continue
        target = under_root(outputs, entry.filename.removeprefix(_FILES))
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name[:60]}.{uuid.uuid4().hex[:8]}.part")
        try:
            with archive.open(entry) as source, part.open("xb") as stream:
                while block := source.read(1 << 20):
                    stream.write(block)
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(target)
        except OSError as error:
            raise StoreError(
                f"{target.name} could not be restored: {error.strerror or error}.",
                where=str(path),
                fix="Free disk space, then restore again; the databases were not changed.",
            ) from error
        finally:
            part.unlink(missing_ok=True)
        count += 1
    return count
