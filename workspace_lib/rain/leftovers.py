"""What killed runs have left beside the yearly products, here and on the server: removed later.

A run that is killed while it writes or sends leaves a file under a temporary name. Nobody takes it
for a product, and the next run makes or sends the product anew under another one. What is older
than a day and was to become one of our own files is removed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from workspace_lib.errors import SourceError
from workspace_lib.transports.file_source import FileSource, SourceUnreachable

log = logging.getLogger(__name__)

#: A file written since then may be one that another run is about to finish. Servers that tell
#: times in their own zone are wrong by less.
LEFT_SINCE: Final = timedelta(days=1)
_NAME: Final = re.compile(r"(?P<file>.+)\.[0-9a-f]{8}\.part")


def sweep_server(remote: FileSource, paths: Iterable[str], now: datetime) -> int:
    """Remove unfinished uploads of these files from their folders; return how many.

    What cannot be listed or removed stays for another run, and is logged: nothing depends on it.

    Parameters
    ----------
    remote : FileSource
        An open connection.
    paths : iterable of str
        The files, relative to the source's folder; other files' leftovers are not ours.
    now : datetime
        The instant.
    """
    ours = set(paths)
    removed = 0
    for folder in sorted({path.rpartition("/")[0] for path in ours}):
        try:
            for item in list(remote.list(folder or "/", recursive=False)):
                old = item.modified is not None and now - item.modified > LEFT_SINCE
                if old and _becomes(item.path) in ours:
                    remote.remove(item.path)
                    removed += 1
        except SourceError as error:
            log.warning("Unfinished uploads in %s stay: %s", folder, error)
            if isinstance(error, SourceUnreachable):
                break
    return removed


def sweep_folders(files: Iterable[Path], now: datetime) -> int:
    """Remove what was to become one of these files and was not finished; return how many."""
    ours = set(files)
    removed = 0
    for folder in sorted({file.parent for file in ours}):
        for part in folder.glob(".*.part"):
            written = datetime.fromtimestamp(part.stat().st_mtime, UTC)
            if now - written > LEFT_SINCE and folder / _becomes(part.name).lstrip(".") in ours:
                part.unlink(missing_ok=True)
                removed += 1
    return removed


def _becomes(path: str) -> str:
    """Return what an unfinished file was to become; nothing for any other file."""
    found = _NAME.fullmatch(path)
    return found["file"] if found else ""
