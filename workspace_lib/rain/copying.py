"""Process 0: raw files of chosen gauges are copied from the base folder to the source of raw files.

Both may be folders of one server, or two servers. A file takes four steps, and each can be the
last before a power cut:

1. It is mirrored from the base source into the raw archive, once it stands still.
2. It is put into the gauge's folder, under a temporary name, checked, renamed, read back.
3. One transaction marks it as done in the inventory of the base source and enters it, with the
   bytes that the archive has already, into the inventory of the target.
4. `capture` makes rows of it, like of any other file.

The inventory is the ledger. What it says was copied is not copied again, whatever became of the
file since. What it does not say is looked for on the target first, so that a file that was put
there by an interrupted run, or by the gauge itself, is not put there twice.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from datetime import datetime

from sqlalchemy import select

from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.errors import ConfigError, SourceError
from workspace_lib.rain.capture import PACKED_DAYS
from workspace_lib.rain.copy_run import CopyReport, CopyRun
from workspace_lib.rain.settings import Network, load_network, load_rain
from workspace_lib.settings import Settings
from workspace_lib.site_files import split_names
from workspace_lib.store.engines import Store, read
from workspace_lib.store.source_files import source_files
from workspace_lib.transports.file_source import clean_path, resolve
from workspace_lib.transports.ftp_mirror import only_mirror, pack_closed_days

__all__ = ["CopyReport", "copy"]

log = logging.getLogger(__name__)


def copy(
    store: Store,
    settings: Settings,
    *,
    gauges: str | Iterable[str] = "all",
    now: datetime | None = None,
    progress: Callable[[float, str], object] | None = None,
    count: Callable[..., object] | None = None,
    stop: threading.Event | None = None,
) -> CopyReport:
    """Copy new raw files of the gauges whose ``delivery`` is ``copied``.

    Gauges that deliver directly, but were copied before, are looked after as well: what the base
    folder still has of them and the target never had is handed over. So the setting may change at
    any time, before or after the gauge itself changes where it sends to.

    Parameters
    ----------
    store : Store
        The open store: raw archive and ledger.
    settings : Settings
        The site: ``wings.rain.copy_from`` is the base, ``wings.rain.source`` the target.
    gauges : str or iterable of str
        House names of gauges, or ``all``; those that are not copied are left out.
    now : datetime, optional
        The instant of the listing; the machine's clock otherwise.
    progress : callable, optional
        Told which fraction of the waiting files is in place, and a word for it.
    count : callable, optional
        Told the ``files`` and ``bytes`` put in place.
    stop : threading.Event, optional
        Ends the run after the files under way.

    Raises
    ------
    ConfigError
        If the site names no base, or base and target are one folder.
    SourceError
        If base or target cannot be reached; what was done before is kept, and noted.
    """
    rain, network = load_rain(settings), load_network(settings)
    base = _base_of(settings, rain.copy_from, rain.source)
    with only_mirror(store.outputs, f"{base}-copy"):
        wanted = _wanted(store, network, gauges, base)
        run = CopyRun(store, settings, network, base, rain.source, wanted, now, stop)
        try:
            fetched = run.fetch()
        except SourceError:
            run.deliver(progress)  # what arrived before need not wait for the base to come back
            raise
        run.deliver(progress)
    packed = pack_closed_days(store, base, now or SYSTEM_CLOCK.now(), limit=PACKED_DAYS)
    report = run.report(fetched, len(packed))
    if count:
        count(files=run.files, bytes=run.bytes)
    log.info("%s: %d files put into %s, %d there already.", base, run.files, rain.source, run.there)
    if report.trouble:
        log.warning("%s: %s.", base, report.trouble)
    return report


def _wanted(
    store: Store, network: Network, gauges: str | Iterable[str], base: str
) -> frozenset[str]:
    """Return the gauges to copy: those set to it, and those that once were."""
    names = split_names(gauges)
    chosen = network.gauges if names == ["all"] else network.choose(names)
    with read(store.data) as connection:
        query = select(source_files.c.device).where(source_files.c.source == base).distinct()
        before = set(connection.execute(query).scalars())
    return frozenset(
        gauge.id for gauge in chosen if gauge.delivery == "copied" or gauge.id in before
    )


def _base_of(settings: Settings, base: str | None, target: str) -> str:
    """Return the name of the base source, if base and target keep apart."""
    where = f"{settings.site_dir / 'site.yml'}: wings.rain"
    if base is None:
        raise ConfigError(
            "The site names no source to copy rain from.",
            where=where,
            fix="Set copy_from to the source of the base folder, or disable the job rain_copy.",
        )
    one, other = resolve(settings, base), resolve(settings, target)
    same_server = (one.host, one.port) == (other.host, other.port)
    above, below = clean_path(other.settings.folder), clean_path(one.settings.folder)
    if same_server and f"{below}/".startswith(f"{above}/" if above else ""):
        raise ConfigError(
            f"The folder of {base} lies within that of {target}: each would see the other's files.",
            where=where,
            fix=f"Give {target} a folder of its own, beside that of {base}.",
        )
    return base
