"""Sources of files: one interface for FTP, FTPS and SFTP servers, and how to open one by name."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    sleep,
    sleep_using_event,
    stop_after_attempt,
    stop_when_event_set,
    wait_exponential,
    wait_random,
)

from workspace_lib import secrets, simulators
from workspace_lib.errors import ParameterError, SourceError
from workspace_lib.settings import Settings, SourceSettings
from workspace_lib.store.inventory import Listed

T = TypeVar("T")
Problem = tuple[str, str]
log = logging.getLogger("workspace_lib.transports")

DEFAULT_PORTS = {"ftp": 21, "ftps": 21, "sftp": 22}
#: Names that writers give to what is not finished yet; nobody may take such a file.
PARTIAL_SUFFIXES = (".part", ".partial", ".tmp", ".temp", ".filepart", ".incomplete", ".crdownload")


class SourceUnreachable(SourceError):
    """No connection could be made, or it was lost and did not come back."""


class TooManyConnections(SourceUnreachable):
    """The server takes no further connection; those that stand go on."""


class SourceRefused(SourceUnreachable):
    """The server, or our distrust of it, forbids the connection: trying again will not help."""


class FileRefused(SourceError):
    """The server answers, and refuses this path for good (missing, forbidden)."""


class TransferBroken(SourceError):
    """A transfer ended before its time; another try may succeed."""


class FileChanged(SourceError):
    """The file is not the one that was listed: it grew or was replaced meanwhile."""


class FileSource(Protocol):
    """A server that holds files.

    Paths are relative to the source's ``folder`` and use ``/``, as in ``G01/2023/A0.txt``; a
    leading slash changes nothing. An instance is one connection and belongs to one thread.
    """

    @property
    def label(self) -> str:
        """The source as people read it: name, protocol, host and port."""
        ...

    def list(
        self,
        folder: str = "/",
        recursive: bool = True,
        *,
        skip: tuple[str, ...] = (),
        problems: list[Problem] | None = None,
    ) -> Iterator[Listed]:
        """Yield the files under ``folder``, in order of their names within each folder.

        Folders in ``skip`` are not entered. With ``problems``, what cannot be listed is appended
        there as (path, reason) and the rest goes on; without, it raises.

        Raises
        ------
        SourceError
            If the source or ``folder`` itself cannot be listed.
        """
        ...

    def size(self, path: str) -> int:
        """Return the size of a file [bytes]; FileRefused if there is none."""
        ...

    def fetch(
        self,
        path: str,
        sink: BinaryIO,
        offset: int = 0,
        *,
        expected: int | None = None,
        on_bytes: Callable[[int], None] | None = None,
    ) -> int:
        """Write a file from byte ``offset`` into ``sink``; return how many bytes that were.

        ``expected`` is the whole file's size as listed [bytes]. A transfer that breaks is taken up
        where it broke; ``on_bytes`` is told of each block's size.

        Raises
        ------
        TransferBroken
            If the file did not arrive whole in all tries.
        FileChanged
            If its size is not the expected one.
        FileRefused
            If there is no such file, or it may not be read.
        """
        ...

    def store(self, path: str, content: BinaryIO) -> None:
        """Send ``content`` to ``path`` as it is; `upload` is for daily use."""
        ...

    def upload(self, path: str, content: bytes | Path) -> None:
        """Put a file in place so that readers see the old or the new one, whole, and check it."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Rename a file; FileRefused if the server will not."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file."""
        ...

    def make_folder(self, path: str) -> None:
        """Make a folder and those above it, where missing."""
        ...

    def close(self) -> None:
        """Say goodbye and hang up."""
        ...

    def __enter__(self) -> FileSource: ...

    def __exit__(self, *exc: object) -> None: ...


@dataclass(frozen=True)
class Address:
    """A source's settings with everything looked up: where it is, and how to be let in."""

    name: str
    settings: SourceSettings
    host: str
    port: int
    user: str
    password: str | None = field(repr=False)
    site_dir: Path = field(default=Path(), repr=False)

    @property
    def label(self) -> str:
        """The source as people read it; never with user or password."""
        return f"source {self.name} ({self.settings.kind}://{self.host}:{self.port})"


class Retry:
    """How often and after which waits something is tried again, as a source's settings say.

    ``stop`` ends the waiting and the trying.
    """

    def __init__(self, source: SourceSettings, stop: threading.Event | None = None) -> None:
        self.attempts = source.attempts
        self._wait = wait_exponential(
            multiplier=source.wait_s, max=source.max_wait_s
        ) + wait_random(0, min(1.0, source.wait_s))
        self._stop = stop

    def run(self, action: Callable[[], T], *, patient: bool = True) -> T:
        """Return what ``action`` returns; try again after errors that may pass.

        Not ``patient``: a server that is full is not asked again.
        """

        def passes(error: BaseException) -> bool:
            if isinstance(error, TooManyConnections) and not patient:
                return False
            return isinstance(error, TransferBroken | SourceUnreachable) and not isinstance(
                error, SourceRefused
            )

        limit = stop_after_attempt(self.attempts)
        trying = Retrying(
            stop=limit if self._stop is None else limit | stop_when_event_set(self._stop),
            wait=self._wait,
            retry=retry_if_exception(passes),
            sleep=sleep if self._stop is None else sleep_using_event(self._stop),
            before_sleep=self._tell,
            reraise=True,
        )
        return trying(action)

    def _tell(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        wait_s = state.next_action.sleep if state.next_action else 0.0
        log.warning(
            "Try %d of %d failed: %s Next in %.1f s.",
            state.attempt_number,
            self.attempts,
            error,
            wait_s,
        )


def open_source(
    settings: Settings, name: str, *, stop: threading.Event | None = None, patient: bool = True
) -> FileSource:
    """Return a connection to the source ``name`` of the site.

    Parameters
    ----------
    settings : Settings
        The site; its source may be at ``simulator://NAME``.
    name : str
        One of ``settings.sources``.
    stop : threading.Event, optional
        Ends waiting between tries.
    patient : bool
        Whether to wait for a server that is full.

    Raises
    ------
    SourceError
        If it cannot be reached in the configured number of tries, or refuses us.
    ConfigError
        If there is no such source, its simulator does not run or its secret is not set.
    """
    address = resolve(settings, name)
    retry = Retry(address.settings, stop)
    if address.settings.kind == "sftp":
        from workspace_lib.transports.sftp_source import SftpSource

        return SftpSource(address, retry, patient=patient)
    from workspace_lib.transports.ftp_source import FtpSource

    return FtpSource(address, retry, patient=patient)


def resolve(settings: Settings, name: str) -> Address:
    """Return where the source ``name`` is, with simulator and secret looked up.

    Raises
    ------
    ConfigError
        If there is no such source, its simulator does not run or its secret is not set; or the
        site is marked ``production`` and the source is a simulator.
    """
    source = settings.source(name)
    _demo_site.clear()
    _demo_site.append(settings)
    secrets.add_provider(_demo_secret)
    host, port, user = source.host, source.port, source.user
    if host.startswith(simulators.SCHEME):
        found = simulators.endpoint(settings, host.removeprefix(simulators.SCHEME))
        host, port, user = found["host"], found["port"], found.get("user", user)
    return Address(
        name=name,
        settings=source,
        host=host,
        port=DEFAULT_PORTS[source.kind] if port is None else port,
        user=user,
        password=secrets.resolve(source.password) if source.password else None,
        site_dir=settings.site_dir,
    )


def clean_path(path: str) -> str:
    """Return ``path`` without leading, trailing and doubled slashes.

    Raises
    ------
    ParameterError
        If it climbs with ``..``.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ParameterError(f"The path {path!r} climbs out of the source's folder.")
    return "/".join(parts)


def is_partial(path: str) -> bool:
    """Return whether the name says that the file is hidden or still being written."""
    name = path.rsplit("/", 1)[-1]
    return name.startswith((".", "~$")) or name.lower().endswith(PARTIAL_SUFFIXES)


# The site whose simulators may serve demo secrets: the one that opened a source last, so that a
# production site never gets the demo's.
_demo_site: list[Settings] = []


def _demo_secret(name: str) -> str | None:
    return simulators.secret(_demo_site[0], name) if _demo_site else None
