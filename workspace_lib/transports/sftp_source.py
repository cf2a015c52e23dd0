"""SFTP servers as sources of files.

The server must prove the key that the site pinned (``known_host``): who answers at an address is
not believed on first sight.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import logging
import socket
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, TypeVar

import paramiko

from workspace_lib.errors import ConfigError, StoreError
from workspace_lib.store.inventory import Listed
from workspace_lib.transports.file_source import (
    Address,
    FileChanged,
    FileRefused,
    Problem,
    Retry,
    SourceRefused,
    SourceUnreachable,
    TransferBroken,
    clean_path,
)
from workspace_lib.transports.uploads import upload_verified

T = TypeVar("T")
log = logging.getLogger(__name__)

BLOCK = 64 * 1024
MAX_DEPTH = 32
#: From this size on, the blocks of a file are asked for ahead.
PREFETCH_FROM = 256 * 1024
MOST_REQUESTS = 64


class SftpSource:
    """One connection to an SFTP server; see `FileSource` for what it can do.

    The secret that ``password`` names is a password, or a private key in PEM or OpenSSH form.

    Raises
    ------
    SourceUnreachable
        If no connection came about in the configured number of tries.
    SourceRefused
        If the server's key is not the pinned one, or it refuses the log-in.
    """

    def __init__(self, address: Address, retry: Retry, *, patient: bool = True) -> None:
        self.address = address
        self._retry = retry
        self._transport: paramiko.Transport | None = None
        self._client: paramiko.SFTPClient | None = None
        self._root = ""
        self._pinned = parse_known_host(address)
        self._retry.run(self._connection, patient=patient)

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
            remote = self._absolute(here)
            try:
                entries = self._again(
                    f"The folder {here or '/'} cannot be listed",
                    lambda client, remote=remote: client.listdir_attr(remote),  # type: ignore[misc]
                )
            except (FileRefused, TransferBroken) as error:
                if problems is None or here == top:
                    raise
                problems.append((here, error.what))
                continue
            deeper = []
            for entry in sorted(entries, key=lambda entry: entry.filename):
                path = f"{here}/{entry.filename}" if here else entry.filename
                mode = entry.st_mode or 0
                if stat.S_ISDIR(mode):
                    if recursive and path not in skipped and depth < MAX_DEPTH:
                        deeper.append((path, depth + 1))
                    continue
                found = self._stat(path) if stat.S_ISLNK(mode) else entry
                if found is not None and stat.S_ISREG(found.st_mode or 0):
                    modified = (
                        None
                        if found.st_mtime is None
                        else datetime.fromtimestamp(found.st_mtime, UTC)
                    )
                    yield Listed(path, found.st_size or 0, modified)
            waiting.extend(reversed(deeper))

    def size(self, path: str) -> int:
        found = self._stat(path)
        if found is None or found.st_size is None:
            raise FileRefused(f"There is no file {path}.", where=self.label)
        return found.st_size

    def fetch(
        self,
        path: str,
        sink: BinaryIO,
        offset: int = 0,
        *,
        expected: int | None = None,
        on_bytes: Callable[[int], None] | None = None,
    ) -> int:
        remote = self._absolute(path)
        received = 0

        def transfer(client: paramiko.SFTPClient) -> None:
            nonlocal received
            with client.open(remote, "rb") as stream:
                start = offset + received
                if received or expected is None or expected >= PREFETCH_FROM:
                    size = stream.stat().st_size or 0
                    self._compare(path, expected, size, start)
                    if size - start >= PREFETCH_FROM:
                        stream.seek(start)
                        _read_ahead(stream, size)
                stream.seek(start)
                while block := stream.read(_ask(expected, offset + received)):
                    try:
                        sink.write(block)
                    except OSError as error:
                        raise StoreError(
                            f"What was fetched cannot be written: {error}.", fix="Check the disk."
                        ) from error
                    received += len(block)
                    if on_bytes is not None:
                        on_bytes(len(block))
                    if expected is not None and offset + received > expected:
                        break
                have = offset + received
                if have == expected:
                    return
                size = stream.stat().st_size or 0
            self._compare(path, expected, size, have)
            if have < size:
                raise TransferBroken(
                    f"The transfer of {path} ended after {have} of {size} bytes.",
                    where=self.label,
                )

        self._again(f"The file {path} cannot be fetched", transfer)
        return received

    def _compare(self, path: str, expected: int | None, size: int, have: int) -> None:
        wanted = size if expected is None else expected
        if size != wanted or have > size:
            raise FileChanged(
                f"The file {path} changed while it was taken: {wanted} bytes were expected, there "
                f"are {max(size, have)}.",
                where=self.label,
                fix="It is taken when it stands still.",
            )

    def store(self, path: str, content: BinaryIO) -> None:
        remote = self._absolute(path)

        def send(client: paramiko.SFTPClient) -> None:
            content.seek(0)
            with client.open(remote, "wb") as stream:
                stream.set_pipelined(True)
                while block := content.read(BLOCK):
                    stream.write(block)

        self._again(f"The file {path} cannot be sent", send)

    def upload(self, path: str, content: bytes | Path) -> None:
        upload_verified(self, path, content)

    def rename(self, old: str, new: str) -> None:
        source, target = self._absolute(old), self._absolute(new)

        def act(client: paramiko.SFTPClient) -> None:
            try:
                client.posix_rename(source, target)
            except OSError as error:
                if error.errno is not None or "unsupported" not in str(error).lower():
                    raise
                # Without the extension, a name that is taken is refused, and nothing is lost.
                client.rename(source, target)

        self._again(f"{old} cannot be renamed to {new}", act)

    def remove(self, path: str) -> None:
        remote = self._absolute(path)
        self._again(f"{path} cannot be removed", lambda client: client.remove(remote))

    def make_folder(self, path: str) -> None:
        parts = clean_path(path).split("/")
        wanted = [self._absolute("/".join(parts[: n + 1])) for n in range(len(parts))]

        def make(client: paramiko.SFTPClient) -> None:
            for folder in wanted:
                try:
                    client.stat(folder)
                except FileNotFoundError:
                    try:
                        client.mkdir(folder)
                    except OSError:
                        client.stat(folder)  # another client made it a moment ago

        self._again(f"The folder {path} cannot be made", make)

    def close(self) -> None:
        self._hang_up()

    def __enter__(self) -> SftpSource:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _stat(self, path: str) -> paramiko.SFTPAttributes | None:
        remote = self._absolute(path)

        def ask(client: paramiko.SFTPClient) -> paramiko.SFTPAttributes | None:
            try:
                return client.stat(remote)
            except FileNotFoundError:
                return None

        return self._again(f"The size of {path} cannot be asked", ask)

    def _absolute(self, path: str) -> str:
        return "/".join((self._root, clean_path(path))).rstrip("/") or "/"

    def _again(self, what: str, action: Callable[[paramiko.SFTPClient], T]) -> T:
        """Do ``action`` on a living connection, again if the trouble may pass."""

        def once() -> T:
            client = self._connection()
            try:
                return action(client)
            except UnicodeError as error:
                raise FileRefused(f"{what}: a name is not UTF-8.", where=self.label) from error
            except (OSError, EOFError, paramiko.SSHException) as error:
                refused = isinstance(error, OSError) and (
                    error.errno in (errno.ENOENT, errno.EACCES) or self._answered(error)
                )
                if refused:
                    raise FileRefused(f"{what}: {_reason(error)}.", where=self.label) from error
                self._hang_up()
                raise TransferBroken(f"{what}: {_reason(error)}.", where=self.label) from error
            except BaseException:
                self._hang_up()
                raise

        return self._retry.run(once)

    def _answered(self, error: OSError) -> bool:
        # The server's own "Failure" comes as an OSError without a number, on a living connection.
        alive = self._transport is not None and self._transport.is_active()
        return alive and error.errno is None and not isinstance(error, TimeoutError)

    def _connection(self) -> paramiko.SFTPClient:
        if self._client is None:
            log.info("Connecting to %s.", self.label)
            try:
                self._client = self._connect()
            except BaseException as error:
                self._hang_up()
                if isinstance(error, OSError | EOFError | paramiko.SSHException):
                    trouble = self._trouble(error)
                    log.warning("%s", trouble)
                    raise trouble from error
                raise
            log.info("Connected to %s.", self.label)
        return self._client

    def _connect(self) -> paramiko.SFTPClient:
        address, source = self.address, self.address.settings
        kind, pinned = self._pinned
        plug = socket.create_connection(
            (address.host, address.port), timeout=source.connect_timeout_s
        )
        self._transport = transport = paramiko.Transport(plug)
        transport.banner_timeout = source.connect_timeout_s
        transport.handshake_timeout = source.connect_timeout_s
        transport.auth_timeout = source.connect_timeout_s
        if kind:
            options = transport.get_security_options()
            wanted = "rsa-" if kind == "ssh-rsa" else kind
            # A server with several keys shall show the one that is pinned.
            if chosen := [name for name in options.key_types if name.startswith(wanted)]:
                options.key_types = chosen
        transport.start_client(timeout=source.connect_timeout_s)
        key = transport.get_remote_server_key()
        if key.get_base64() != pinned:
            raise self._distrust(key)
        secret = address.password or ""
        if "PRIVATE KEY-----" in secret:
            transport.auth_publickey(address.user, load_private_key(secret))
        else:
            transport.auth_password(address.user, secret)
        client = paramiko.SFTPClient.from_transport(transport)
        if client is None:
            raise paramiko.SSHException("The server opens no SFTP session")
        channel = client.get_channel()
        if channel is not None:
            channel.settimeout(source.read_timeout_s)
        home = source.folder if source.folder.startswith("/") else client.normalize(source.folder)
        self._root = f"/{clean_path(home)}".rstrip("/")
        return client

    def _distrust(self, key: paramiko.PKey) -> SourceRefused:
        line = f"{key.get_name()} {key.get_base64()}"
        what = "is not the pinned one" if self._pinned[1] else "is not pinned yet"
        return SourceRefused(
            f"The server's key {what}: it shows {key.fingerprint}.",
            where=self.label,
            fix=f"After checking with the server's owner, set the source's known_host to: {line}",
        )

    def _trouble(self, error: BaseException) -> SourceUnreachable:
        if isinstance(error, paramiko.AuthenticationException):
            secret = self.address.settings.password or "no password is set"
            return SourceRefused(
                f"The server refuses the log-in: {_reason(error)}.",
                where=self.label,
                fix=f"Check the source's user and password ({secret}).",
            )
        if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
            return SourceRefused(
                f"No common way of talking with the server: {_reason(error)}.",
                where=self.label,
                fix=f"Check known_host: the server may have no {self._pinned[0]} key any more.",
            )
        return SourceUnreachable(
            f"No connection: {_reason(error)}.",
            where=self.label,
            fix="Check that the server runs, its host and port, and the network between.",
        )

    def _hang_up(self) -> None:
        for part in (self._client, self._transport):
            if part is not None:
                with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                    part.close()
        self._client = self._transport = None


def parse_known_host(address: Address) -> tuple[str, str]:
    """Return type and base64 of the pinned key; empty texts if none is pinned.

    Takes a line as in ``known_hosts``, or as in a public key file.

    Raises
    ------
    ConfigError
        If there is a line, but no key in it.
    """
    line = address.settings.known_host or ""
    words = line.split()
    for kind, key in pairwise(words):
        if kind.startswith(("ssh-", "ecdsa-")) and key.startswith("AAAA"):
            return kind, key
    if words:
        raise ConfigError(
            "known_host holds no public key.",
            where=address.label,
            fix="Give it as: ssh-ed25519 AAAA…",
        )
    return "", ""


def load_private_key(text: str) -> paramiko.PKey:
    """Return the private key written in ``text``.

    Raises
    ------
    ConfigError
        If it is no key this workspace can use.
    """
    kinds = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)
    for kind in kinds:
        with contextlib.suppress(paramiko.SSHException, ValueError, IndexError):
            return kind.from_private_key(io.StringIO(text))
    raise ConfigError(
        "The secret looks like a private key and cannot be read as one.",
        fix="Use an Ed25519, ECDSA or RSA key without a passphrase.",
    )


def _read_ahead(stream: paramiko.SFTPFile, size: int) -> None:
    """Ask for blocks ahead of reading them."""
    if ask := getattr(stream, "_prefetch_thread", None):

        def quietly(*arguments: object) -> None:
            # A thread does the asking; when the connection is lost, the reader tells.
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                ask(*arguments)

        stream._prefetch_thread = quietly  # type: ignore[attr-defined]
    stream.prefetch(size, MOST_REQUESTS)


def _ask(expected: int | None, have: int) -> int:
    # One byte more than expected tells a file that grew; more would follow it for ever.
    return BLOCK if expected is None else min(BLOCK, max(0, expected - have) + 1)


def _reason(error: BaseException) -> str:
    if isinstance(error, EOFError):
        return "the server hung up"
    if isinstance(error, TimeoutError):
        return "the server did not answer in time"
    text = getattr(error, "strerror", None) or " ".join(str(error).split()).rstrip(".")
    return text or type(error).__name__
