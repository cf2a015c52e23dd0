"""The site's list of reclosers, read once: what asks for it with every request would else read YAML
of hundreds of entries each time.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from workspace_lib.reclosers.settings import Fleet, load_fleet, load_reclosers
from workspace_lib.settings import Settings

Stamp = tuple[int, int, int]
_MOST: Final = 8
_kept: dict[Path, tuple[Stamp, Fleet]] = {}
_lock = threading.Lock()


def listed_fleet(settings: Settings) -> Fleet:
    """Return the reclosers of a site, read anew when the file of the list has changed.

    Raises
    ------
    ConfigError
        As `load_fleet` does.
    """
    path = settings.site_dir / load_reclosers(settings).fleet
    try:
        found = path.stat()
    except OSError:
        return load_fleet(settings)  # it says what is wrong
    stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
    with _lock:
        before, fleet = _kept.get(path, (None, None))
        if before == stamp and fleet is not None:
            return fleet
    fleet = load_fleet(settings)
    with _lock:
        while len(_kept) >= _MOST:
            _kept.pop(next(iter(_kept)))
        _kept[path] = (stamp, fleet)
    return fleet
