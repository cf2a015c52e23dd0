"""FTP and FTPS servers as sources of files.

FTP knows no end of file: a lost data connection looks like a finished file. So every transfer is
held against the size the server names, and taken up where it broke.
"""

from __future__ import annotations

import builtins
import ftplib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from workspace_lib.errors import SourceError
from workspace_lib.store.inventory import Listed
from workspace_lib.transports.file_source import (
    Address,
    FileChanged,
    FileRefused,
    Problem,
    Retry,
    TransferBroken,
    clean_path,
)
from workspace_lib.transports.ftp_folders import list_folder, zone_offset_s
from workspace_lib.transports.ftp_listing import Entry
from workspace_lib.transports.ftp_session import FtpSession, reason, tls_context
from workspace_lib.transports.uploads import upload_verified

T = TypeVar("T")

#: Links may lead round in circles.
MAX_DEPTH = 32


class FtpSource:
    """One connection to an FTP or FTPS server; see `FileSource` for what it can do.

    Raises
    ------
    SourceUnreachable
        If no connection came about in the configured number of tries.
    """

    def __init__(self, address: Address, retry: Retry, *, patient: bool = True) -> None:
        self.address = address
        self._retry = retry
        self._tls = tls_context(address) if address.settings.kind == "ftps" else None
        self._live: FtpSession | None = None
        self._missing: set[str] = set()
        self._retry.run(self._session, patient=patient)

    @property
    def label(self) -> str:
        return self.address.label

    def list(
        self,
        folder: str = "/",
        recursive: bool = True,
        *,
        skip: tuple[str, ...] = (),
        problems: builtins.list[Problem] | None = None,
    ) -> Iterator[Listed]:
        top = clean_path(folder)
        skipped = {clean_path(path) for path in skip}
        waiting = [(top, 0)]
        while waiting:
            here, depth = waiting.pop()
            try:
                entries = self._folder(here, problems)
            except (FileRefused, TransferBroken) as error:
                if problems is None or here == top:
                    raise
                problems.append((here, error.what))
                continue
            deeper = []
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = f"{here}/{entry.name}" if here else entry.name
                if entry.kind == "folder":
                    if recursive and path not in skipped and depth < MAX_DEPTH:
                        deeper.append((path, depth + 1))
                    continue
                size = self._size_or_none(path) if entry.size is None else entry.size
                if size is not None:
                    yield Listed(path, size, entry.modified)
            waiting.extend(reversed(deeper))

    def size(self, path: str) -> int:
        found = self._size_or_none(path)
        if found is None:
            raise FileRefused(f"There is no file {path}.", where=self.label)
        return found

    def fetch(
        self,
        path: str,
        sink: BinaryIO,
        offset: int = 0,
        *,
        expected: int | None = None,
        on_bytes: Callable[[int], None] | None = None,
    ) -> int:
        received = 0

        def count(block: int) -> None:
            nonlocal received
            received += block
            if expected is not None and offset + received > expected:
                # A file that grows as fast as it is read would never end.
                raise self._changed(path, expected, offset + received)
            if on_bytes is not None:
                on_bytes(block)

        def transfer(session: FtpSession) -> None:
            remote = session.absolute(path)
            if received and session.ask_size(remote) == offset + received:
                return  # all had arrived when the connection broke
            session.retrieve(remote, sink, offset + received, count)
            have = offset + received
            if have == expected:
                return
            size = session.ask_size(remote)
            wanted = expected if size is None else size
            if wanted is None or (have == wanted and expected is None):
                return
            if expected is not None and wanted != expected:
                raise self._changed(path, expected, wanted)
            if have > wanted:
                raise self._changed(path, wanted, have)
            raise TransferBroken(
                f"The transfer of {path} ended after {have} of {wanted} bytes.", where=self.label
            )

        self._again(f"The file {path} cannot be fetched", transfer)
        return received

    def store(self, path: str, content: BinaryIO) -> None:
        self._again(
            f"The file {path} cannot be sent",
            lambda session: session.send(session.absolute(path), content),
        )

    def upload(self, path: str, content: bytes | Path) -> None:
        upload_verified(self, path, content)

    def rename(self, old: str, new: str) -> None:
        self._again(
            f"{old} cannot be renamed to {new}",
            lambda session: session.ftp.rename(session.absolute(old), session.absolute(new)),
        )

    def remove(self, path: str) -> None:
        self._again(
            f"{path} cannot be removed",
            lambda session: session.ftp.delete(session.absolute(path)),
        )

    def make_folder(self, path: str) -> None:
        parts = clean_path(path).split("/")

        def make(session: FtpSession) -> None:
            for number in range(len(parts)):
                folder = session.absolute("/".join(parts[: number + 1]))
                try:
                    session.ftp.cwd(folder)
                except ftplib.error_perm:
                    try:
                        session.ftp.mkd(folder)
                    except ftplib.error_perm:
                        session.ftp.cwd(folder)  # another client made it a moment ago

        self._again(f"The folder {path} cannot be made", make)

    def zone_offset_s(self) -> float | None:
        """Return how far the server's LIST is ahead of UTC [s], or None if it cannot be told."""
        return self._again("The server's zone cannot be measured", zone_offset_s)

    def missing_commands(self) -> tuple[str, ...]:
        """Return the commands that the server turned out not to know."""
        return tuple(sorted(self._missing))

    def close(self) -> None:
        if self._live is not None:
            self._live.quit()
            self._live = None

    def __enter__(self) -> FtpSource:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _folder(self, folder: str, problems: builtins.list[Problem] | None) -> builtins.list[Entry]:
        bad: builtins.list[Problem] = []

        def ask(session: FtpSession) -> builtins.list[Entry]:
            bad.clear()
            return list_folder(session, folder, bad)

        entries = self._again(f"The folder {folder or '/'} cannot be listed", ask)
        if problems is not None:
            problems.extend(bad)
        elif bad:
            raise SourceError(
                f"The listing of {folder or '/'} shows {bad[0][0]}: {bad[0][1]}.",
                where=self.label,
                fix="Check the source's encoding.",
            )
        return entries

    def _size_or_none(self, path: str) -> int | None:
        size = self._again(
            f"The size of {path} cannot be asked",
            lambda session: session.ask_size(session.absolute(path)),
        )
        if size is None and "SIZE" in self._missing:
            folder, _, name = clean_path(path).rpartition("/")
            entries = self._folder(folder, [])
            return next((entry.size for entry in entries if entry.name == name), None)
        return size

    def _again(self, what: str, action: Callable[[FtpSession], T]) -> T:
        """Do ``action`` on a living connection, again if the trouble may pass."""

        def once() -> T:
            session = self._session()
            try:
                return action(session)
            except ftplib.error_perm as error:
                raise FileRefused(f"{what}: {reason(error)}.", where=self.label) from error
            except ftplib.error_temp as error:
                if str(error).startswith("421"):
                    self._hang_up()
                raise TransferBroken(f"{what}: {reason(error)}.", where=self.label) from error
            except UnicodeError as error:
                self._hang_up()
                raise FileRefused(
                    f"{what}: the name is not {self.address.settings.encoding}.",
                    where=self.label,
                    fix="Set the source's encoding to the server's, for example latin-1.",
                ) from error
            except (OSError, EOFError, ftplib.Error) as error:
                self._hang_up()
                raise TransferBroken(f"{what}: {reason(error)}.", where=self.label) from error
            except BaseException:
                # Answers may be on their way: the conversation cannot be taken up.
                self._hang_up()
                raise

        return self._retry.run(once)

    def _session(self) -> FtpSession:
        if self._live is None:
            self._live = FtpSession(self.address, self._tls, self._missing)
        return self._live

    def _hang_up(self) -> None:
        if self._live is not None:
            self._live.hang_up()
            self._live = None

    def _changed(self, path: str, before: int, now: int) -> FileChanged:
        return FileChanged(
            f"The file {path} changed while it was taken: {before} bytes were expected, there are "
            f"{now}.",
            where=self.label,
            fix="It is taken when it stands still.",
        )
