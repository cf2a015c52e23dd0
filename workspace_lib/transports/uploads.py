"""Uploads that readers never see half, and that are proved before they count."""

from __future__ import annotations

import hashlib
import io
import logging
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from workspace_lib.errors import SourceError
from workspace_lib.files import sha256_bytes, sha256_file
from workspace_lib.transports.file_source import FileRefused, clean_path

if TYPE_CHECKING:
    from workspace_lib.transports.file_source import FileSource

log = logging.getLogger(__name__)


def upload_verified(
    source: FileSource, path: str, content: bytes | Path, *, tag: str | None = None
) -> None:
    """Put ``content`` at ``path`` of ``source``.

    It goes to a temporary name first; its size is checked; where an old file stands, also its
    bytes, read back. Then it is renamed over, and the file in place is read back and compared.

    Parameters
    ----------
    source : FileSource
        An open connection.
    path : str
        Where it goes, relative to the source's folder.
    content : bytes or Path
        What goes there.
    tag : str, optional
        Part of the temporary name. Who alone writes to ``path`` gives the same one at each try, so
        that a try that was killed leaves nothing behind.

    Raises
    ------
    SourceError
        If one of the steps fails; until the renaming, the old file is untouched, and the
        temporary one is removed.
    """
    target = clean_path(path)
    folder, _, name = target.rpartition("/")
    part = f"{folder}/" if folder else ""
    part += f"{name}.{tag or uuid.uuid4().hex[:8]}.part"
    size = content.stat().st_size if isinstance(content, Path) else len(content)
    digest = sha256_file(content) if isinstance(content, Path) else sha256_bytes(content)
    try:
        with _opened(content) as stream:
            try:
                source.store(part, stream)
            except FileRefused:
                if not folder:
                    raise
                source.make_folder(folder)
                source.store(part, stream)
        arrived = source.size(part)
        if arrived != size:
            raise SourceError(
                f"Of {size} bytes sent to {path}, {arrived} arrived.",
                where=source.label,
                fix="The old file stands; check the server's disk and try again.",
            )
        if _exists(source, target):
            _compare(source, part, size, digest)
        try:
            source.rename(part, target)
        except FileRefused:
            # An answer that was lost looks like this too: it was renamed, then asked again.
            if _exists(source, part) or not _exists(source, target):
                raise
    except BaseException:
        _clean(source, part)
        raise
    _compare(source, target, size, digest)


def remote_sha256(source: FileSource, path: str, size: int) -> str:
    """Return the SHA-256 of a remote file, by reading all of it."""
    sink = _HashSink()
    source.fetch(path, cast(BinaryIO, sink), expected=size)
    return sink.hash.hexdigest()


class _HashSink:
    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def write(self, block: bytes) -> int:
        self.hash.update(block)
        return len(block)


def _compare(source: FileSource, path: str, size: int, digest: str) -> None:
    if remote_sha256(source, path, size) != digest:
        raise SourceError(
            f"The server gives back other bytes for {path} than were sent.",
            where=source.label,
            fix="Check the server's disk, and what stands between (proxies that change text).",
        )


def _exists(source: FileSource, path: str) -> bool:
    try:
        source.size(path)
    except FileRefused:
        return False
    return True


def _clean(source: FileSource, part: str) -> None:
    try:
        source.remove(part)
    except FileRefused:
        pass  # it never came to be
    except SourceError as error:
        log.warning("The temporary file %s may be left on the server: %s", part, error)


def _opened(content: bytes | Path) -> BinaryIO:
    return content.open("rb") if isinstance(content, Path) else io.BytesIO(content)
