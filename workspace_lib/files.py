"""Files: written whole or not at all, moved without loss, named safely."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import sys
import unicodedata
import uuid
from collections.abc import Iterator
from pathlib import Path

from workspace_lib.errors import ParameterError, StoreError

CHUNK = 1 << 20
_ILLEGAL = re.compile(r'[<>:"/\\|?*\x00-\x1f]+')
_RESERVED = {"con", "prn", "aux", "nul"} | {f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10)}


def sha256_bytes(content: bytes) -> str:
    """Return the SHA-256 of ``content`` as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fsync_directory(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut (a no-op where folders cannot be opened)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write(
    path: Path, content: bytes, *, durable: bool = True, private: bool = False
) -> None:
    """Write ``content`` to ``path`` so that a reader sees the old file or the new one, never half.

    ``durable=False`` skips fsync, for files that can be made again (a dashboard's twin);
    ``private=True`` lets nobody but the owner read it, from its first byte on.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with part.open("xb") as stream:
            if private:
                part.chmod(0o600)
            stream.write(content)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if durable:
        fsync_directory(path.parent)


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep other processes of this machine out while a lock file is held, where the system can."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with path.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def move_verified(source: Path, target: Path) -> None:
    """Move a file, also across file systems: copy, fsync, compare, unlink; never overwrite.

    Raises
    ------
    StoreError
        If ``target`` exists or the copy does not equal the original (which then stays).
    """
    if target.exists():
        raise StoreError(f"{target} exists already.", fix="Move or rename it; nothing was changed.")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        shutil.copy2(source, part)
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        if sha256_file(part) != sha256_file(source):
            raise StoreError(f"The copy of {source} differs from it.", fix="Check the disk.")
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    fsync_directory(target.parent)
    source.unlink()


def safe_name(text: str) -> str:
    """Return ``text`` as one file-name component legal on Linux and Windows.

    Each run of blanks becomes one hyphen, illegal characters an underscore; reserved device names
    and leading or trailing dots are defused. Not injective: callers who need uniqueness add a key.
    """
    name = unicodedata.normalize("NFC", text).strip()
    name = _ILLEGAL.sub("_", re.sub(r"\s+", "-", name)).strip(".")
    if not name or name.split(".")[0].lower() in _RESERVED:
        name = f"_{name}"
    return name


def under_root(root: Path, relative: str | Path) -> Path:
    """Return ``root / relative`` resolved, refusing anything that leaves ``root``.

    Raises
    ------
    ParameterError
        If the path is absolute, or climbs or links out of ``root``.
    """
    base = root.resolve()
    path = (base / relative).resolve()
    if not path.is_relative_to(base):
        raise ParameterError(f"The path {str(relative)!r} leads out of {base}.")
    return path
