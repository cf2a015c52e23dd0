"""What is made of an event's files when somebody asks: a picture, a COMTRADE record, a ZIP.

Each is made once and kept in the site's outputs under a name that stands for the files it was made
from and for what made it, so that it need not be looked after: what is asked for again is only
sent, and what nobody asked for lately makes room for others.
"""

from __future__ import annotations

import io
import os
import tempfile
import threading
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from workspace_lib.errors import ParameterError
from workspace_lib.files import atomic_write, sha256_bytes, under_root
from workspace_lib.reclosers.analysis_values import ANALYSIS_VERSION, EventAnalysis
from workspace_lib.reclosers.archive import Archive
from workspace_lib.reclosers.comtrade_write import to_cff, write_comtrade
from workspace_lib.reclosers.queries import EventFile, EventRow
from workspace_lib.reclosers.stored_records import input_hash, read_record

Language = Literal["en", "fr"]
Form = Literal["cff", "zip"]
#: Folder of what was made, under the site's outputs.
FOLDER: Final = "cache/reclosers"
#: So many made files are kept.
MOST: Final = 4000
#: Raised with each change of what is made here.
MADE: Final = 1
MEDIA_TYPES: Final = {
    ".cev": "text/plain; charset=utf-8",
    ".eve": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".cfg": "text/plain; charset=utf-8",
    ".hdr": "text/plain; charset=utf-8",
    ".inf": "text/plain; charset=utf-8",
    ".zip": "application/zip",
    ".png": "image/png",
}
_DPI: Final = 110
_EARLIEST: Final = (1980, 1, 1, 0, 0, 0)
#: One at a time: what draws is not meant for several threads, and others wait for the processor.
_MAKING: Final = threading.Lock()


@dataclass(frozen=True)
class Sendable:
    """A file to be sent: where it lies, what stands for its bytes, and how it is named.

    ``make`` makes its content, where it is to be made; `ready` does where nobody has yet.
    """

    path: Path
    content_hash: str
    media_type: str
    name: str
    make: Callable[[], bytes] | None = None

    @property
    def waits(self) -> bool:
        """Whether it is still to be made."""
        return self.make is not None and not _used(self.path)


def raw_file(archive: Archive, file: EventFile) -> Sendable:
    """Return a file of the archive as it is."""
    path = under_root(archive.root, file.path)
    return Sendable(path, file.sha256, media_type(path.name), PurePosixPath(file.path).name)


def raw_zip(outputs: Path, archive: Archive, files: Sequence[EventFile]) -> Sendable:
    """Return several files of an event as one ZIP.

    To make it raises StoreError if one of them is missing or was changed.
    """

    def make() -> bytes:
        named = [(PurePosixPath(one.path).name, one) for one in files]
        return _zip([(name, archive.read(one.path, one.sha256)) for name, one in named])

    return _made(outputs, ("zip", input_hash(files)), f"{base_name(files)}.zip", make)


def comtrade(outputs: Path, archive: Archive, files: Sequence[EventFile], form: Form) -> Sendable:
    """Return an event as a COMTRADE record: one file of 2013, or a ZIP of CFG and DAT of 1999.

    To make it raises FormatError if its files cannot be read as an event, ParameterError if its
    time is not known, StoreError if a file is missing or was changed.
    """
    name = base_name(files)

    def make() -> bytes:
        record = read_record(archive.read, files).record
        if form == "cff":
            return to_cff(record)
        with tempfile.TemporaryDirectory() as folder:
            written = write_comtrade(record, Path(folder), "event")
            return _zip([(f"{name}{path.suffix}", path.read_bytes()) for path in written])

    return _made(outputs, ("comtrade", form, input_hash(files)), f"{name}.{form}", make)


def picture(
    outputs: Path,
    archive: Archive,
    row: EventRow,
    files: Sequence[EventFile],
    analysis: EventAnalysis | None,
    *,
    language: Language = "en",
    distance_unit: str = "km",
) -> Sendable:
    """Return the plot of an event as PNG.

    To make it raises FormatError if its files cannot be read as an event, ParameterError if it has
    no samples, StoreError if a file is missing or was changed.
    """

    def make() -> bytes:
        from workspace_lib.reclosers.plots import event_figure

        record = read_record(archive.read, files).record
        figure = event_figure(
            record, analysis, language=language, distance_unit=distance_unit, name=row.recloser
        )
        target = io.BytesIO()
        figure.savefig(target, format="png", dpi=_DPI)
        return target.getvalue()

    computed = "stored" if analysis is not None else "anew"
    key = (
        "png", str(ANALYSIS_VERSION), computed, version("matplotlib"), language, distance_unit,
        row.recloser, input_hash(files),
    )  # fmt: skip
    return _made(outputs, key, f"{base_name(files)}.png", make)


def media_type(name: str) -> str:
    """Return the media type of a file by its ending."""
    return MEDIA_TYPES.get(PurePosixPath(name).suffix.lower(), "application/octet-stream")


def base_name(files: Sequence[EventFile]) -> str:
    """Return the name that the files of an event have in common (COMNAME), without an ending.

    Raises
    ------
    ParameterError
        If there is no file.
    """
    if not files:
        raise ParameterError("This event has no file.", fix="Take one whose files are kept.")
    return PurePosixPath(files[0].path).stem


def ready(found: Sendable) -> None:
    """Make what is to be sent, unless it is there.

    Raises
    ------
    FormatError, ParameterError, StoreError
        As the function says that returned it.
    """
    with _MAKING:
        if found.make is not None and not _used(found.path):
            content = found.make()
            found.path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(found.path, content)
            _make_room(found.path.parent)


def _made(outputs: Path, key: Sequence[str], name: str, make: Callable[[], bytes]) -> Sendable:
    """Return what is made, or was made before, under this key."""
    digest = sha256_bytes("\n".join((str(MADE), *key)).encode())
    path = outputs / FOLDER / f"{digest}{PurePosixPath(name).suffix}"
    return Sendable(path, digest, media_type(name), name, make)


def _used(path: Path) -> bool:
    """Return whether a made file is there, and note that it was asked for."""
    try:
        os.utime(path)
    except OSError:
        return False
    return True


def _make_room(folder: Path) -> None:
    """Remove what nobody asked for longest, a tenth of all at a time."""
    found = [(entry.stat().st_mtime, entry.path) for entry in os.scandir(folder)]
    if len(found) > MOST:
        for _, path in sorted(found)[: len(found) - MOST * 9 // 10]:
            Path(path).unlink(missing_ok=True)


def _zip(files: Sequence[tuple[str, bytes]]) -> bytes:
    """Return files as a ZIP that is the same each time."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files:
            info = zipfile.ZipInfo(name, _EARLIEST)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return target.getvalue()
