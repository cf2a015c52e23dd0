"""The archive of event files: a folder that people read without any software.

``<CED>/<recloser>/<year>/<name>`` under the archive's root, with names by IEEE C37.232 (`comname`);
what never arrived whole lies in ``<CED>/<recloser>/quarantine/``. All files of one event have one
base name, so that every viewer finds ``.dat`` and ``.hdr`` beside ``.cfg``.

A file is written beside its place, brought to the disk and then given its name, which never
replaces another: the same bytes under the same name are one file, other bytes get a second name.
Nothing is ever deleted, but for parts that a crash left behind. The root may be a network share,
also one without hard links; the store that knows the files and all locks stay on the site's disk.
"""

from __future__ import annotations

import errno
import logging
import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from workspace_lib.errors import StoreError
from workspace_lib.files import fsync_directory, sha256_bytes, sha256_file, under_root
from workspace_lib.reclosers.comname import MARK, ComName, bounded, format_comname, house_name
from workspace_lib.reclosers.record import DeviceTime
from workspace_lib.reclosers.settings import Recloser, archive_root, load_reclosers
from workspace_lib.settings import Settings
from workspace_lib.store.raw import flush, make_folder, move_new

log = logging.getLogger("workspace_lib.reclosers.archive")

QUARANTINE: Final = "quarantine"
#: A part of a file that nobody has written to for so long was left behind [s].
LEFT_BEHIND_S: Final = 3600.0
_DIGITS: Final = 8
#: What folders say that cannot be brought to the disk, as on some network shares.
_NO_FLUSH: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM})


@dataclass(frozen=True)
class Kept:
    """A file of the archive: ``path`` under its root with ``/``, size [bytes], SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Archive:
    """The archive under ``root``.

    ``company`` stands in names; ``zone`` is the one that clocks of relays keep, unless the list of
    reclosers says another for one of them. Without ``create`` the root must be there: a share that
    is away would else be made anew on the disk below.
    """

    root: Path
    company: str = ""
    zone: tzinfo = UTC
    create: bool = True

    def zone_of(self, recloser: Recloser) -> tzinfo:
        """Return the zone whose time the clock of a relay keeps."""
        return ZoneInfo(recloser.timezone) if recloser.timezone else self.zone

    def instant(self, recloser: Recloser, time: DeviceTime) -> datetime:
        """Return a time of a relay's clock in UTC.

        An hour that the end of summer time repeats is taken as its first; one that its beginning
        leaves out is taken as if the clock had not been set forward.
        """
        return time.to_datetime().replace(tzinfo=self.zone_of(recloser), fold=0).astimezone(UTC)

    def base_name(self, recloser: Recloser, time: DeviceTime, event: str) -> str:
        """Return the name of an event's files without their ending.

        The station is the recloser's name, or its territory where it has none.
        """
        offset = time.to_datetime().replace(tzinfo=self.zone_of(recloser), fold=0).utcoffset()
        return format_comname(
            ComName(
                time,
                offset or timedelta(),
                recloser.name or recloser.ced,
                recloser.id,
                self.company,
                (event,) if event else (),
            )
        )

    def folder(self, recloser: Recloser) -> str:
        """Return the folder of a recloser under the root."""
        return f"{house_name(recloser.ced)}/{house_name(recloser.id)}"

    def put(self, recloser: Recloser, year: int, name: str, content: bytes) -> Kept:
        """Keep one file; see `put_set`."""
        place = Path(name)
        return self.put_set(recloser, year, place.stem, [(place.suffix[1:], content)])[0]

    def put_set(
        self, recloser: Recloser, year: int, base: str, files: Sequence[tuple[str, bytes]]
    ) -> list[Kept]:
        """Keep the files of one event under one base name; safe on the disk once it returns.

        Parameters
        ----------
        files : sequence of (str, bytes)
            Ending (``cfg``) and content of each; endings differ.

        Raises
        ------
        StoreError
            If the archive cannot be written.
        """
        return self._put(f"{self.folder(recloser)}/{year:04d}", base, files)

    def quarantine(
        self, recloser: Recloser, base: str, files: Sequence[tuple[str, bytes]]
    ) -> list[Kept]:
        """Keep files that never arrived whole, apart from those that did.

        Raises
        ------
        StoreError
            If the archive cannot be written.
        """
        return self._put(f"{self.folder(recloser)}/{QUARANTINE}", _marked(base, files), files)

    def base_of(self, recloser: Recloser, path: Path) -> str:
        """Return the base name of a file that lies in the folder of a recloser, else nothing."""
        top = (self.root / self.folder(recloser)).resolve()
        place = path.resolve()
        if place.parent.parent != top:
            return ""
        return place.stem.rpartition(MARK)[0] if place.parent.name == QUARANTINE else place.stem

    def read(self, path: str, sha256: str) -> bytes:
        """Return the bytes of a file after comparing their SHA-256.

        Raises
        ------
        StoreError
            If it is missing, cannot be read, or was changed.
        ParameterError
            If the path leads out of the archive.
        """
        place = under_root(self.root, path)
        try:
            content = place.read_bytes()
        except OSError as error:
            raise StoreError(
                f"A file of the archive cannot be read ({error.strerror or error}).",
                where=str(place),
                fix="Check that the archive can be reached; restore the file from a backup.",
            ) from error
        if sha256_bytes(content) != sha256:
            raise StoreError(
                "A file of the archive was changed since it was stored.",
                where=str(place),
                fix="Restore it from a backup.",
            )
        return content

    def sweep(self, recloser: Recloser, *, older_s: float = LEFT_BEHIND_S) -> int:
        """Remove what a crash left half written in the folders of a recloser; return how many."""
        top = self.root / self.folder(recloser)
        if not top.is_dir():
            return 0
        return sum(_sweep(folder, older_s) for folder in (top, *top.iterdir()) if folder.is_dir())

    def _put(self, folder: str, base: str, files: Sequence[tuple[str, bytes]]) -> list[Kept]:
        place = self.root / folder
        digests = [sha256_bytes(content) for _, content in files]
        if not self.create and not self.root.is_dir():
            raise StoreError(
                "The archive of events is not there.",
                where=str(self.root),
                fix="Mount the share, or make the folder that wings.reclosers.archive names.",
            )
        try:
            changed = make_folder(place)
            # Other bytes of that name are there already: all files of the event take another.
            for candidate in (base, _marked(base, files)):
                names = [bounded(candidate, f".{ending}" if ending else "") for ending, _ in files]
                if _fit(place, names, digests):
                    contents = [content for _, content in files]
                    if _write(place, names, digests, contents):
                        _settle([place, *changed])
                        return [
                            Kept(f"{folder}/{name}", len(content), digest)
                            for name, content, digest in zip(names, contents, digests, strict=True)
                        ]
        except OSError as error:
            raise StoreError(
                f"The archive of events cannot be written ({error.strerror or error}).",
                where=str(place),
                fix="Check that it can be reached, its space and its rights.",
            ) from error
        raise StoreError(
            "A file of the archive was changed.",
            where=str(place / names[0]),
            fix="Move it away for inspection; its content is stored again.",
        )


def open_archive(settings: Settings) -> Archive:
    """Return the archive of a site.

    Raises
    ------
    ConfigError
        If the settings of the wing are wrong.
    """
    reclosers = load_reclosers(settings)
    return Archive(
        archive_root(reclosers, settings),
        reclosers.company,
        ZoneInfo(reclosers.timezone or settings.timezone),
        create=reclosers.archive is None,
    )


def _marked(base: str, files: Sequence[tuple[str, bytes]]) -> str:
    """Return a base name with digits of the content, which no other content has."""
    whole = "".join(sha256_bytes(content) for _, content in files)
    return f"{base}{MARK}{sha256_bytes(whole.encode())[:_DIGITS]}"


def _fit(place: Path, names: Sequence[str], digests: Sequence[str]) -> bool:
    """Return whether each name is free, or is that of a file with the same bytes."""
    return all(
        not (place / name).exists() or sha256_file(place / name) == digest
        for name, digest in zip(names, digests, strict=True)
    )


def _write(
    place: Path, names: Sequence[str], digests: Sequence[str], contents: Sequence[bytes]
) -> bool:
    """Write what is not there; returns False where somebody else took a name meanwhile."""
    run = uuid.uuid4().hex[:8]
    parts: list[tuple[Path, Path, str]] = []
    try:
        for number, (name, digest, content) in enumerate(
            zip(names, digests, contents, strict=True)
        ):
            if not (place / name).exists():
                part = place / f".{number}.{run}.part"
                parts.append((part, place / name, digest))
                part.write_bytes(content)
        flush([part for part, _, _ in parts])
        # The configuration last: who sees it finds its samples.
        return all(
            move_new(part, target) or sha256_file(target) == digest
            for part, target, digest in sorted(parts, key=lambda one: one[1].suffix == ".cfg")
        )
    finally:
        for part, _, _ in parts:
            part.unlink(missing_ok=True)


def _settle(folders: Sequence[Path]) -> None:
    """Bring names to the disk, where the file system can."""
    for folder in folders:
        try:
            fsync_directory(folder)
        except OSError as error:
            if error.errno not in _NO_FLUSH:
                raise


def _sweep(folder: Path, older_s: float) -> int:
    swept = 0
    limit = time.time() - older_s
    with os.scandir(folder) as entries:
        parts = [one for one in entries if one.name.startswith(".") and one.name.endswith(".part")]
    for part in parts:
        try:
            if part.stat().st_mtime < limit:
                Path(part.path).unlink()
                swept += 1
        except OSError as error:
            log.warning("%s is left over and stays: %s", part.path, error)
    return swept
