"""Growing files of the raw archive: kept as contiguous slices, joined into one file at the end.

A machine's log grows all day. Each look at it brings the bytes from where the last one ended; they
are kept as a slice, an object of the archive like any other, and the offset to go on from moves in
the same transaction. When the file is closed, `join` makes one file of the slices. The growing
file has a ref of its own from its first slice on, ``<source>/<device>/<day>/<name>:grow0001``; it
and the refs of the slices stay valid. When the same name begins anew at byte 0 after a join, that
is the next growing file, ``:grow0002``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from sqlalchemy import Connection, insert, select, update

from workspace_lib.errors import StoreError
from workspace_lib.files import atomic_write, fsync_directory, safe_name, sha256_bytes
from workspace_lib.store import raw
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.raw import DIGITS, RawRow, raw_objects
from workspace_lib.store.upsert import prefix_end

_MARK = "grow"

#: Called between the steps of `join` with the one just done; tests stop the process there.
after_step: Callable[[str], None] = lambda step: None  # noqa: E731


@dataclass(frozen=True, slots=True)
class Growing:
    """A growing file: its ref, how far it is stored [bytes], whether it was joined and closed."""

    ref: str
    size: int
    closed: bool


@dataclass(frozen=True, slots=True)
class Slice:
    """A piece of a growing file: its ref, its first byte, its size [bytes]."""

    ref: str
    start: int
    size: int


def find_growing(
    connection: Connection, source: str, device: str, day: date | None, name: str
) -> Growing | None:
    """Return the newest growing file of that name, None when there is none; fetch from its size."""
    prefix = _prefix(source, device, day, name)
    columns = raw_objects.c
    row = connection.execute(
        select(columns.ref, columns.size, columns.path)
        .where(columns.ref >= prefix, columns.ref < prefix_end(prefix))
        .order_by(columns.ref.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else Growing(row.ref, row.size, row.path is not None)


def append_slice(
    connection: Connection,
    outputs: Path,
    source: str,
    device: str,
    day: date | None,
    name: str,
    offset: int,
    content: bytes,
) -> Growing:
    """Keep the bytes of a growing file from ``offset`` on; returns how far it is stored now.

    The bytes are on the disk when this returns; they count when ``connection`` commits, so move
    the cursor in the same transaction. Bytes that are stored already are compared, not kept twice.

    Parameters
    ----------
    connection : Connection
        A writing transaction of the data database.
    outputs : Path
        The site's outputs.
    source, device, day, name
        What the growing file is called; a day of None is unknown.
    offset : int
        Where ``content`` begins in the file [bytes].
    content : bytes
        What was read there.

    Raises
    ------
    StoreError
        If bytes between the stored end and ``offset`` are missing, if stored bytes differ from the
        ones given (the file was rewritten), or if the file was closed.
    """
    known = find_growing(connection, source, device, day, name)
    if known is None or (known.closed and offset == 0):
        if offset != 0:
            raise _gap(_prefix(source, device, day, name), 0, offset)
        known = _begin(connection, source, device, day, name, known)
    if known.closed:
        raise StoreError(
            f"The growing file {known.ref} is closed at byte {known.size}.",
            fix="Begin again at byte 0.",
        )
    if offset > known.size:
        raise _gap(known.ref, known.size, offset)
    overlap = min(known.size - offset, len(content))
    if overlap and _stored(connection, outputs, known.ref, offset, overlap) != content[:overlap]:
        raise StoreError(
            f"The file was rewritten: its bytes {offset} to {offset + overlap} are not the stored "
            "ones.",
            where=known.ref,
            fix="Join the stored file, then take the new one from byte 0.",
        )
    fresh = content[known.size - offset :]
    if not fresh:
        return known
    return _keep(connection, outputs, known, fresh)


def slices(connection: Connection, ref: str) -> list[Slice]:
    """Return the slices of a growing file in their order."""
    columns = raw_objects.c
    query = (
        select(columns.ref, columns.start, columns.size)
        .where(columns.whole == ref, columns.start.is_not(None))
        .order_by(columns.start)
    )
    return [Slice(*row) for row in connection.execute(query)]


def join(store: Store, ref: str) -> RawRow:
    """Close a growing file: one file of all its slices; returns its ref, size and SHA-256.

    Doing it again changes nothing, and finishes what a crash left undone.

    Raises
    ------
    StoreError
        If ``ref`` is no growing file, or a slice is missing or damaged; nothing was changed then.
    """
    columns = raw_objects.c
    with read(store.data) as connection:
        row = connection.execute(
            select(columns.size, columns.sha256, columns.path).where(
                columns.ref == ref, columns.whole == ref
            )
        ).one_or_none()
        pieces = slices(connection, ref)
    if row is None:
        raise StoreError(f"{ref} is no growing file of the raw archive.")
    digest, size = row.sha256, row.size
    if row.path is None:
        digest, size = _write_joined(store, ref, pieces)
    for piece in pieces:
        (store.outputs / _slice_path(piece.ref, piece.start, ref)).unlink(missing_ok=True)
    for path in (store.outputs / _folder(ref)).glob(".*.part"):
        path.unlink(missing_ok=True)
    return RawRow(ref, size, digest)


def _write_joined(store: Store, ref: str, pieces: list[Slice]) -> tuple[str, int]:
    folder = store.outputs / _folder(ref)
    target = folder / raw.parse_ref(ref).name
    part = folder / f".{uuid.uuid4().hex[:8]}.part"
    hashed = hashlib.sha256()
    size = 0
    try:
        with part.open("xb") as stream:
            for piece in pieces:
                content = raw.get(store, piece.ref)
                hashed.update(content)
                size += len(content)
                stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    fsync_directory(folder)
    after_step("written")
    path = target.relative_to(store.outputs).as_posix()
    columns = raw_objects.c
    with write(store.data) as connection:
        closed = connection.execute(
            update(raw_objects)
            .where(columns.ref == ref, columns.path.is_(None), columns.size == size)
            .values(path=path, sha256=hashed.hexdigest())
        ).rowcount
        if closed != 1:
            raise StoreError(
                f"The growing file {ref} grew while it was joined.",
                fix="Stop its capture first, then join again.",
            )
        connection.execute(
            update(raw_objects)
            .where(columns.whole == ref, columns.start.is_not(None))
            .values(path=path, position=columns.start)
        )
    after_step("committed")
    return hashed.hexdigest(), size


def _begin(
    connection: Connection,
    source: str,
    device: str,
    day: date | None,
    name: str,
    before: Growing | None,
) -> Growing:
    number = 1 if before is None else int(before.ref[-4:]) + 1
    ref = f"{_prefix(source, device, day, name)}{number:04d}"
    known = raw.parse_ref(ref)
    connection.execute(
        insert(raw_objects).values(
            ref=ref,
            source=known.source,
            device=known.device,
            day=known.day,
            size=0,
            # A growing file is its own whole, which keeps it out of the packing of loose files.
            whole=ref,
        )
    )
    return Growing(ref, 0, closed=False)


def _keep(connection: Connection, outputs: Path, known: Growing, content: bytes) -> Growing:
    parts = raw.parse_ref(known.ref)
    digest = sha256_bytes(content)
    generation = known.ref[-4:]
    ref = (
        f"{parts.source}/{parts.device}/{parts.day}/"
        f"{parts.name}@{generation}.{known.size}:{digest[:DIGITS]}"
    )
    path = _slice_path(ref, known.size, known.ref)
    new_entries = raw.make_folder((outputs / path).parent)
    atomic_write(outputs / path, content)
    raw.flush([*new_entries])
    end = known.size + len(content)
    columns = raw_objects.c
    grown = connection.execute(
        update(raw_objects)
        .where(columns.ref == known.ref, columns.size == known.size, columns.path.is_(None))
        .values(size=end)
    ).rowcount
    if grown != 1:
        raise StoreError(
            f"Another process appended to {known.ref} at the same time.",
            fix="Let only one capture follow a file.",
        )
    connection.execute(
        insert(raw_objects).values(
            ref=ref,
            source=parts.source,
            device=parts.device,
            day=parts.day,
            size=len(content),
            sha256=digest,
            path=path,
            whole=known.ref,
            start=known.size,
        )
    )
    return Growing(known.ref, end, closed=False)


def _stored(connection: Connection, outputs: Path, ref: str, offset: int, size: int) -> bytes:
    columns = raw_objects.c
    rows = connection.execute(
        select(columns.start, columns.size, columns.path)
        .where(
            columns.whole == ref,
            columns.start < offset + size,
            columns.start + columns.size > offset,
        )
        .order_by(columns.start)
    ).all()
    content = b"".join((outputs / row.path).read_bytes() for row in rows)
    skipped = offset - rows[0].start
    return content[skipped : skipped + size]


def _prefix(source: str, device: str, day: date | None, name: str) -> str:
    folder = f"{safe_name(source)}/{safe_name(device)}/{raw.day_text(day)}"
    return f"{folder}/{raw.file_name(name)}:{_MARK}"


def _folder(ref: str) -> str:
    parts = raw.parse_ref(ref)
    return f"{parts.folder}/{parts.name}.{parts.digits}"


def _slice_path(ref: str, start: int, whole: str) -> str:
    return f"{_folder(whole)}/{start:015d}-{raw.parse_ref(ref).digits}"


def _gap(ref: str, end: int, offset: int) -> StoreError:
    return StoreError(
        f"The bytes {end} to {offset} of the growing file are missing.",
        where=ref,
        fix=f"Read it from byte {end} on.",
    )
