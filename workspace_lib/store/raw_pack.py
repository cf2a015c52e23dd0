"""Packing of the raw archive: the loose files of one device's day become one uncompressed ZIP.

Two million tiny files a year would cost a disk block and a directory entry each. The ZIP is a
plain one, so that any tool opens it; the table remembers where each member's bytes begin, so that
reading one needs neither the ZIP's directory nor the rest of it.

The order of the steps makes a crash harmless: the ZIP reaches the disk under its name, then one
transaction moves all rows to it, then the loose files go. A ZIP is named after what it holds; the
same files give the same name and the same bytes, so that starting again continues.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

from sqlalchemy import bindparam, select, update

from workspace_lib.errors import StoreError
from workspace_lib.files import fsync_directory, safe_name, sha256_bytes
from workspace_lib.store import raw
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.raw import raw_objects
from workspace_lib.store.upsert import batches, prefix_end

# Somebody else's unfinished work is left alone for this long [s].
_LEFTOVER_AGE_S = 3600.0
_MEMBERS_AT_ONCE = 100
_EPOCH = (1980, 1, 1, 0, 0, 0)

#: Called between the steps with the name of the one just done; tests stop the process there.
after_step: Callable[[str], None] = lambda step: None  # noqa: E731


def pack_day(store: Store, source: str, device: str, day: date | None) -> str | None:
    """Move all loose files of a device's day into one ZIP; returns its path, None without files.

    What was packed of that day before is taken along, so that one ZIP remains. Refs stay valid.
    Growing files and their slices stay as they are.

    Raises
    ------
    StoreError
        If a file is missing or its bytes are not those that were stored; nothing was moved then.
    """
    source, device = safe_name(source), safe_name(device)
    text = raw.day_text(day)
    rows = _members(store, source, device, text)
    folder = store.outputs / raw.day_folder(source, device, text)
    loose = [ref for ref, (_, position) in rows.items() if position is None]
    packed = _pack(store, folder, rows) if loose else next(iter(rows.values()), (None, 0))[0]
    _remove_leftovers(store, folder, rows, packed)
    return packed


def pack_days(store: Store, source: str, *, before: date, limit: int | None = None) -> list[str]:
    """Pack every closed day of a source, the oldest first; returns the paths of the ZIPs.

    Parameters
    ----------
    store : Store
        The open store.
    source : str
        Name of the source.
    before : date
        Days before this one are closed.
    limit : int, optional
        Most days packed in this call.

    Raises
    ------
    StoreError
        If a day could not be packed; the others were.
    """
    source = safe_name(source)
    columns = raw_objects.c
    query = (
        select(columns.device, columns.day)
        .distinct()
        .where(
            columns.source == source,
            columns.position.is_(None),
            columns.whole.is_(None),
            columns.day < before.isoformat(),
        )
    )
    with read(store.data) as connection:
        days = {(row.day, row.device) for row in connection.execute(query)}
    # A crash after the rows moved leaves loose files of a day that the table calls packed.
    for folder in (store.outputs / raw.FOLDER / source).glob("*/????/??-??"):
        text = f"{folder.parent.name}-{folder.name}"
        if text < before.isoformat():
            days.add((text, folder.parent.parent.name))
    packed = []
    damaged: list[StoreError] = []
    for text, device in sorted(days)[:limit]:
        try:
            path = pack_day(store, source, device, date.fromisoformat(text))
        except StoreError as error:
            # One damaged day must not keep the others loose for ever.
            damaged.append(error)
            continue
        if path is not None:
            packed.append(path)
    if damaged:
        raise damaged[0]
    return packed


def _members(store: Store, source: str, device: str, day: str) -> dict[str, tuple[str, int | None]]:
    """Return path and position of every whole object of the day, by ref in the order of names."""
    columns = raw_objects.c
    prefix = f"{source}/{device}/{day}/"
    query = (
        select(columns.ref, columns.path, columns.position)
        .where(
            columns.ref >= prefix,
            columns.ref < prefix_end(prefix),
            columns.whole.is_(None),
        )
        .order_by(columns.ref)
    )
    with read(store.data) as connection:
        return {row.ref: (row.path, row.position) for row in connection.execute(query)}


def _pack(store: Store, folder: Path, rows: dict[str, tuple[str, int | None]]) -> str:
    refs = list(rows)
    digits = sha256_bytes("\n".join(refs).encode())[:8]
    target = folder.with_name(f"{folder.name}.{digits}.zip")
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        positions = _write_zip(store, part, refs)
        after_step("written")
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    fsync_directory(target.parent)
    after_step("renamed")
    path = target.relative_to(store.outputs).as_posix()
    move = (
        update(raw_objects)
        .where(
            raw_objects.c.ref == bindparam("row"),
            raw_objects.c.path == bindparam("old_path"),
        )
        .values(path=path, position=bindparam("new_position"))
    )
    with write(store.data) as connection:
        moved = connection.execute(
            move,
            [
                {"row": ref, "old_path": old_path, "new_position": positions[ref]}
                for ref, (old_path, _) in rows.items()
            ],
        ).rowcount
        if moved != len(rows):
            raise StoreError(
                f"Another process packed {folder.name} at the same time.",
                where=str(folder),
                fix="Nothing was changed; the next packing finishes it.",
            )
        after_step("moved")
    after_step("committed")
    return path


def _write_zip(store: Store, part: Path, refs: list[str]) -> dict[str, int]:
    """Write the ZIP, bring it to the disk, and return where each member's bytes begin."""
    positions: dict[str, int] = {}
    names: set[str] = set()
    with part.open("xb") as stream:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            for some in batches(refs, _MEMBERS_AT_ONCE):
                for ref, content in zip(some, raw.get_many(store, some), strict=True):
                    known = raw.parse_ref(ref)
                    taken = known.name in names
                    name = f"{known.name}~{known.digits}" if taken else known.name
                    names.add(name)
                    member = zipfile.ZipInfo(name, _EPOCH)
                    member.comment = known.digits.encode()
                    archive.writestr(member, content)
                    positions[ref] = stream.tell() - len(content)
        stream.flush()
        os.fsync(stream.fileno())
    with zipfile.ZipFile(part) as archive, part.open("rb") as stream:
        for ref, member in zip(refs, archive.infolist(), strict=True):
            stream.seek(positions[ref])
            raw.check(stream.read(member.file_size), ref)
    return positions


def _remove_leftovers(
    store: Store, folder: Path, before: dict[str, tuple[str, int | None]], packed: str | None
) -> None:
    """Remove what the table no longer refers to: loose files that are packed, older ZIPs."""
    if packed is None:
        return
    for ref in before:
        loose = store.outputs / raw.parse_ref(ref).path
        # Only the very bytes that are packed may go; a namesake is another object.
        with contextlib.suppress(FileNotFoundError):
            if sha256_bytes(loose.read_bytes()).startswith(raw.parse_ref(ref).digits):
                loose.unlink()
        after_step("removed one")
    limit = time.time() - _LEFTOVER_AGE_S
    old = {path for path, position in before.values() if position is not None} - {packed}
    for path in folder.parent.glob(f"{folder.name}.*.zip"):
        relative = path.relative_to(store.outputs).as_posix()
        if relative in old or (relative != packed and path.stat().st_mtime < limit):
            path.unlink(missing_ok=True)
    for path in [*folder.parent.glob(f".{folder.name}.*.part"), *folder.glob(".*.part")]:
        if path.stat().st_mtime < limit:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
