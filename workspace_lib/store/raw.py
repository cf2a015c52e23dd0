"""The raw archive: source bytes as they came, immutable, each with its SHA-256.

A file lies in ``raw/<source>/<device>/<YYYY>/<MM-DD>/<name>`` under the site's outputs; when its
day closes, it moves into one uncompressed ZIP per device-day (`raw_pack`). A growing file is kept
as slices until it closes (`raw_slices`). Whatever happens to the place, the *ref* stays valid: the
text ``<source>/<device>/<day>/<name>:<first 16 digits of the SHA-256>``. Two contents of one name
on one day are two objects; the second file on the disk is called ``<name>~<digits>``.

`put_many` gives out refs once their bytes are safe on the disk; the place enters the table
``raw_objects`` with `register`, which `inventory.register_fetched` calls. A crash in between leaves
a file nobody refers to; the next `put_many` of the same content takes it over.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from sqlalchemy import BigInteger, Column, Connection, Index, Table, Text, select, text

from workspace_lib.errors import StoreError
from workspace_lib.files import fsync_directory, safe_name, sha256_bytes, sha256_file
from workspace_lib.store.base import SortedText, data_metadata
from workspace_lib.store.engines import Store, read
from workspace_lib.store.upsert import batches, insert_or_ignore

FOLDER = "raw"
UNDATED = "undated"
DIGITS = 16

raw_objects = Table(
    "raw_objects",
    data_metadata,
    Column("ref", SortedText, primary_key=True),
    Column("source", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("day", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", Text),
    # Where the bytes are, relative to the outputs. With a position the object is `size` bytes of
    # that file (a member of a ZIP, a slice of a joined file), without one it is the whole file.
    Column("path", Text),
    Column("position", BigInteger),
    # A slice belongs to a growing file, and starts at this byte of it.
    Column("whole", SortedText),
    Column("start", BigInteger),
    Index("ix_raw_objects_whole_start", "whole", "start"),
    sqlite_with_rowid=False,
)
# Only loose objects are searched by day, to pack them; packed ones need not be in the index.
Index(
    "ix_raw_objects_loose",
    raw_objects.c.source,
    raw_objects.c.device,
    raw_objects.c.day,
    sqlite_where=text("position IS NULL"),
    postgresql_where=text("position IS NULL"),
)

_FLUSHES_AT_ONCE = 16
_REFS_PER_QUERY = 500
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class RawItem:
    """One file to keep: the device it came from, its day (None: unknown), its name, its bytes.

    A large file may be given as a path in the outputs; it stays there too, for the caller to
    remove.
    """

    device: str
    day: date | None
    name: str
    content: bytes | Path


@dataclass(frozen=True, slots=True)
class RawRow:
    """What `register` needs to know of an object: ref, size [bytes], SHA-256."""

    ref: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class RawRef:
    """The parts of a ref."""

    source: str
    device: str
    day: str
    name: str
    digits: str

    @property
    def folder(self) -> str:
        """Folder of the loose file, relative to the outputs."""
        return day_folder(self.source, self.device, self.day)

    @property
    def path(self) -> str:
        """Path of the loose file, relative to the outputs."""
        return f"{self.folder}/{self.name}"


def put_many(outputs: Path, source: str, items: Iterable[RawItem]) -> list[str]:
    """Write files into the archive and return their refs in order, once no power cut takes them.

    Bytes that are there already are not written again. Give about 500 files at once, which share
    the cost of reaching the disk. The refs still have to be registered.

    Raises
    ------
    StoreError
        If the disk does not take them; what was written so far does no harm.
    """
    refs: list[str] = []
    parts: list[tuple[Path, Path, str]] = []
    waiting: dict[tuple[str, str, str], list[int]] = {}
    folders: dict[str, Path] = {}
    changed: set[Path] = set()
    source_part = safe_name(source)
    run = uuid.uuid4().hex[:8]
    try:
        for number, item in enumerate(items):
            device, day = safe_name(item.device), day_text(item.day)
            name, digest = file_name(item.name), _digest(item.content)
            key = (f"{source_part}/{device}/{day}", name, digest)
            refs.append("")
            if key in waiting:
                waiting[key].append(number)
                continue
            waiting[key] = [number]
            folder = folders.get(key[0])
            if folder is None:
                folder = outputs / day_folder(source_part, device, day)
                folders[key[0]] = folder
                changed |= make_folder(folder)
            part = folder / f".{number}.{run}.part"
            parts.append((part, folder / name, digest))
            _write(part, item.content)
        flush([part for part, _, _ in parts])
        for (prefix, _, digest), numbers, (part, target, _) in zip(
            waiting, waiting.values(), parts, strict=True
        ):
            placed = _place(part, target, digest)
            for number in numbers:
                refs[number] = f"{prefix}/{placed}:{digest[:DIGITS]}"
        flush([*folders.values(), *changed])
    except OSError as error:
        for part, _, _ in parts:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        raise StoreError(
            f"The raw archive cannot be written: {error}.",
            where=str(outputs / FOLDER),
            fix="Check the space on the disk and the rights of the folder.",
        ) from error
    return refs


def put(
    outputs: Path, source: str, device: str, day: date | None, name: str, content: bytes
) -> str:
    """Write one file into the archive and return its ref; see `put_many`."""
    return put_many(outputs, source, [RawItem(device, day, name, content)])[0]


def register(connection: Connection, rows: Sequence[RawRow]) -> None:
    """Record where objects are that `put_many` wrote; those known already keep their place."""
    values = []
    for row in rows:
        ref = parse_ref(row.ref)
        values.append(
            {
                "ref": row.ref,
                "source": ref.source,
                "device": ref.device,
                "day": ref.day,
                "size": row.size,
                "sha256": row.sha256,
                "path": ref.path,
            }
        )
    if values:
        connection.execute(insert_or_ignore(connection, raw_objects), values)


def get(where: Store | Path, ref: str) -> bytes:
    """Return the bytes of an object, wherever they are by now, after comparing their SHA-256.

    Parameters
    ----------
    where : Store or Path
        The open store; or only the site's outputs, to read the archive without its database.
    ref : str
        What `put_many` returned.

    Raises
    ------
    StoreError
        If the object is unknown or missing, or its bytes are not the ones that were stored.
    """
    if isinstance(where, Path):
        return check(_read_without_table(where, parse_ref(ref)), ref)
    # Packing may move the bytes between the look-up and the reading: look again.
    for last in (False, False, True):
        place = _places(where, [ref]).get(ref)
        if place is None:
            return get(where.outputs, ref)
        if place.path is None:
            return _read_slices(where, ref)
        try:
            content = _read_place(where.outputs / place.path, place.position, place.size)
        except FileNotFoundError:
            if last:
                # A database that was restored from a backup may not know of a later packing.
                return check(_read_without_table(where.outputs, parse_ref(ref)), ref)
            continue
        return check(content, ref, place.sha256)
    raise AssertionError("unreachable")


def get_many(store: Store, refs: Sequence[str]) -> list[bytes]:
    """Return the bytes of many objects in order; opens each pack once.

    Raises
    ------
    StoreError
        As `get` does.
    """
    found: dict[str, bytes] = {}
    for part in batches(refs, _REFS_PER_QUERY):
        by_path: dict[str, list[_Place]] = {}
        for ref, place in _places(store, part).items():
            if place.path is not None and ref not in found:
                by_path.setdefault(place.path, []).append(place)
        for path, places in by_path.items():
            # What was moved meanwhile is left to `get`, which looks again.
            with contextlib.suppress(FileNotFoundError), (store.outputs / path).open("rb") as file:
                for place in places:
                    file.seek(place.position or 0)
                    content = file.read(-1 if place.position is None else place.size)
                    found[place.ref] = check(content, place.ref, place.sha256)
    return [found[ref] if ref in found else get(store, ref) for ref in refs]


def verify(store: Store, ref: str) -> bool:
    """Return True when the stored bytes are those that were stored; read anew from the disk.

    Raises
    ------
    StoreError
        If they are not, or the object is not registered.
    """
    if ref not in _places(store, [ref]):
        raise StoreError(f"The raw object {ref} is not registered.", where="raw_objects")
    get(store, ref)
    return True


def check(content: bytes, ref: str, digest: str | None = None) -> bytes:
    """Return ``content`` if it is what the ref names.

    Raises
    ------
    StoreError
        If its SHA-256 is another.
    """
    if not sha256_bytes(content).startswith(digest or parse_ref(ref).digits):
        raise StoreError(
            f"The bytes of the raw object {ref} are not those that were stored.",
            fix="Restore the file from a backup, or fetch it again from its source.",
        )
    return content


def parse_ref(ref: str) -> RawRef:
    """Return the parts of a ref.

    Raises
    ------
    StoreError
        If the text is no ref.
    """
    path, _, digits = ref.rpartition(":")
    pieces = path.split("/")
    if len(pieces) != 4 or not all(pieces) or not digits:
        raise StoreError(f"{ref!r} is no ref of the raw archive.")
    source, device, day, name = pieces
    return RawRef(source, device, day, name, digits)


def day_text(day: date | None) -> str:
    """Return a day as refs write it."""
    return UNDATED if day is None else day.isoformat()


def day_folder(source: str, device: str, day: str) -> str:
    """Return the folder of a device's day, relative to the outputs."""
    below = day if day == UNDATED else f"{day[:4]}/{day[5:]}"
    return f"{FOLDER}/{source}/{device}/{below}"


def file_name(name: str) -> str:
    """Return the name a file gets in the archive: legal everywhere, of bounded length."""
    safe = safe_name(name)
    if len(safe.encode()) <= _LONGEST_NAME:
        return safe
    # File systems end at 255 bytes; the digits keep two long names apart.
    tail = sha256_bytes(safe.encode())[:DIGITS]
    return safe.encode()[:_LONGEST_NAME].decode(errors="ignore") + f"~{tail}"


def make_folder(folder: Path) -> set[Path]:
    """Make a folder; returns the parents that got a new entry and must reach the disk too."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
    return {new.parent for new in missing}


def flush(paths: Sequence[Path]) -> None:
    """Bring files and folders to the disk itself.

    Several at once share the commits of the file system's journal: less than half the time of one
    after the other, and unlike a flush of the whole file system it waits for nobody else's data.
    """
    if len(paths) < 2:
        for path in paths:
            _fsync(path)
        return
    with ThreadPoolExecutor(_FLUSHES_AT_ONCE) as pool:
        for _ in pool.map(_fsync, paths):
            pass


@dataclass(frozen=True, slots=True)
class _Place:
    ref: str
    path: str | None
    position: int | None
    size: int
    sha256: str | None


def _digest(content: bytes | Path) -> str:
    return sha256_file(content) if isinstance(content, Path) else sha256_bytes(content)


def _write(part: Path, content: bytes | Path) -> None:
    if isinstance(content, bytes):
        part.write_bytes(content)
        return
    try:
        part.hardlink_to(content)
    except OSError:
        # A file system without hard links, or the path is on another one.
        shutil.copyfile(content, part)


def _place(part: Path, target: Path, digest: str) -> str:
    """Give a written file its name without ever replacing another; returns the name."""
    for candidate in (target, target.with_name(f"{target.name}~{digest[:DIGITS]}")):
        if move_new(part, candidate):
            return candidate.name
        if sha256_file(candidate) == digest:
            part.unlink()
            return candidate.name
    raise StoreError(
        "A file of the raw archive was changed.",
        where=str(candidate),
        fix="Move it away for inspection; its content is fetched again.",
    )


def move_new(part: Path, target: Path) -> bool:
    """Rename ``part`` to ``target`` unless that exists; returns whether it was done."""
    try:
        if os.name == "nt":
            part.rename(target)
        else:
            target.hardlink_to(part)
            part.unlink()
    except FileExistsError:
        return False
    except OSError:
        # A file system without hard links.
        if target.exists():
            return False
        part.rename(target)
    return True


def _fsync(path: Path) -> None:
    if path.is_dir():
        return fsync_directory(path)
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _places(store: Store, refs: Sequence[str]) -> dict[str, _Place]:
    columns = raw_objects.c
    query = select(columns.ref, columns.path, columns.position, columns.size, columns.sha256)
    with read(store.data) as connection:
        rows = connection.execute(query.where(columns.ref.in_(refs)))
        return {row.ref: _Place(*row) for row in rows}


def _read_place(path: Path, position: int | None, size: int) -> bytes:
    with path.open("rb") as stream:
        if position is None:
            return stream.read()
        stream.seek(position)
        return stream.read(size)


def _read_slices(store: Store, ref: str) -> bytes:
    columns = raw_objects.c
    query = select(columns.ref).where(columns.whole == ref, columns.start.is_not(None))
    with read(store.data) as connection:
        refs = connection.scalars(query.order_by(columns.start)).all()
    return b"".join(get_many(store, refs))


def _read_without_table(outputs: Path, ref: RawRef) -> bytes:
    try:
        return (outputs / ref.path).read_bytes()
    except FileNotFoundError:
        pass
    day = outputs / ref.folder
    for pack in sorted(day.parent.glob(f"{day.name}*.zip")):
        with zipfile.ZipFile(pack) as archive:
            for member in archive.infolist():
                if member.comment.decode() == ref.digits and member.filename.startswith(ref.name):
                    return archive.read(member)
    raise _missing(f"{ref.path}:{ref.digits}", outputs / ref.path)


def _missing(ref: str, path: Path) -> StoreError:
    return StoreError(
        f"The raw object {ref} is missing.",
        where=str(path),
        fix="Restore the file from a backup, or fetch it again from its source.",
    )
