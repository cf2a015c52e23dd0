"""One log-in at an FTP or FTPS server: the conversation itself, without trying again."""

from __future__ import annotations

import contextlib
import ftplib
import io
import logging
import re
import socket
import ssl
from collections.abc import Callable
from datetime import datetime
from typing import BinaryIO, Literal

from workspace_lib.errors import ConfigError, StoreError
from workspace_lib.transports.file_source import (
    Address,
    SourceRefused,
    SourceUnreachable,
    TooManyConnections,
    TransferBroken,
    clean_path,
)
from workspace_lib.transports.ftp_listing import parse_timestamp

log = logging.getLogger(__name__)

BLOCK = 64 * 1024

_UNKNOWN_COMMAND = ("500", "501", "502", "503", "504", "522")
_DENIED = re.compile(r"denied|permi|privileg|not allowed|forbidden", re.I)
_FULL = re.compile(r"421|530.*(maximum|too many|already (logged|connected)|limit)", re.I)


class FtpSession:
    """A connection that is logged in, in passive or active mode as the source's settings say.

    ``missing`` collects the commands the server turns out not to know; it outlives the session.

    Raises
    ------
    SourceUnreachable
        If the server does not answer, is full (`TooManyConnections`) or refuses (`SourceRefused`).
    """

    def __init__(self, address: Address, tls: ssl.SSLContext | None, missing: set[str]) -> None:
        self.address, self.missing = address, missing
        self._type = ""
        source = address.settings
        log.info("Connecting to %s.", address.label)
        if tls is not None:
            self.ftp: ftplib.FTP = _ReusingTls(context=tls, encoding=source.encoding)
        else:
            self.ftp = ftplib.FTP(encoding=source.encoding)
        try:
            self.ftp.connect(address.host, address.port, timeout=source.connect_timeout_s)
            self.ftp.login(address.user, address.password or "")
            if isinstance(self.ftp, ftplib.FTP_TLS):
                self.ftp.prot_p()
            self.ftp.set_pasv(source.passive)
            self._agree_on_names()
            self.root = self._find_root()
            if self.ftp.sock is not None:
                self.ftp.sock.settimeout(source.read_timeout_s)
        except BaseException as error:
            self.hang_up()
            if isinstance(error, OSError | EOFError | ftplib.Error | UnicodeError):
                trouble = _trouble(address, error)
                log.warning("%s", trouble)
                raise trouble from error
            raise
        log.info("Connected to %s.", address.label)

    def absolute(self, path: str) -> str:
        """Return the path on the server of a path relative to the source's folder."""
        return "/".join((self.root, clean_path(path))).rstrip("/") or "/"

    def receive(
        self,
        command: str,
        take: Callable[[bytes], object],
        rest: int | None = None,
        *,
        binary: bool = True,
    ) -> None:
        """Hand what ``command`` sends over the data channel to ``take``, block by block."""
        self._set_type("I" if binary else "A")
        with self.ftp.transfercmd(command, rest) as connection:
            connection.settimeout(self.address.settings.read_timeout_s)
            while block := connection.recv(BLOCK):
                take(block)
            _end_tls(connection)
        self.ftp.voidresp()

    def retrieve(
        self, remote: str, sink: BinaryIO, start: int, count: Callable[[int], None]
    ) -> None:
        """Write a file from byte ``start`` into ``sink``, also where the server cannot skip.

        Raises
        ------
        StoreError
            If ``sink`` does not take it.
        """
        skip = start if "REST" in self.missing else 0

        def take(block: bytes) -> None:
            nonlocal skip
            kept = block[skip:]
            skip -= len(block) - len(kept)
            try:
                sink.write(kept)
            except OSError as error:
                raise StoreError(
                    f"What was fetched cannot be written: {error}.", fix="Check the disk."
                ) from error
            count(len(kept))

        try:
            self.receive(f"RETR {remote}", take, None if skip else start or None)
        except ftplib.error_perm as error:
            if not start or "REST" in self.missing or not is_unknown(error):
                raise
            self.missing.add("REST")
            self.retrieve(remote, sink, start, count)

    def send(self, remote: str, content: BinaryIO) -> None:
        """Send ``content`` from its beginning to the path ``remote``."""
        content.seek(0)
        self._set_type("I")
        with self.ftp.transfercmd(f"STOR {remote}") as connection:
            connection.settimeout(self.address.settings.read_timeout_s)
            while block := content.read(BLOCK):
                connection.sendall(block)
            _end_tls(connection)
        self.ftp.voidresp()

    def lines(self, command: str) -> list[bytes] | None:
        """Return a listing's lines, or None if the server does not know the command.

        Raises
        ------
        TransferBroken
            If the listing ends in the middle of a line.
        """
        if command in self.missing:
            return None
        content = io.BytesIO()
        try:
            self.receive(command, content.write, binary=False)
        except ftplib.Error as error:
            if is_unknown(error):
                self.missing.add(command)
                return None
            if str(error)[:3] in ("550", "450") and not _DENIED.search(str(error)):
                # The folder was entered a moment ago: it is there, and empty.
                return []
            raise
        listing = content.getvalue()
        if listing and not listing.endswith(b"\n"):
            raise TransferBroken(
                "The listing ends in the middle of a line.", where=self.address.label
            )
        return [line.rstrip(b"\r") for line in listing.split(b"\n")[:-1]]

    def ask_size(self, path: str) -> int | None:
        """Return a file's size [bytes], or None if there is none or the server does not tell."""
        if "SIZE" in self.missing:
            return None
        self._set_type("I")
        try:
            return self.ftp.size(path)
        except ftplib.error_perm as error:
            self._note(error, "SIZE")
            return None

    def ask_time(self, path: str) -> datetime | None:
        """Return when a file was changed, or None if the server does not tell."""
        if "MDTM" in self.missing:
            return None
        try:
            return parse_timestamp(self.ftp.voidcmd(f"MDTM {path}")[4:])
        except ftplib.error_perm as error:
            self._note(error, "MDTM")
        except ValueError:
            log.debug("%s answers MDTM with no time.", self.address.label)
        return None

    def is_folder(self, name: str) -> bool:
        """Return whether ``name`` can be entered from the current folder."""
        here = self.ftp.pwd()
        try:
            self.ftp.cwd(name)
        except ftplib.error_perm:
            return False
        self.ftp.cwd(here)
        return True

    def quit(self) -> None:
        """Say goodbye and hang up."""
        with contextlib.suppress(ftplib.Error, OSError, EOFError):
            self.ftp.quit()
        self.hang_up()

    def hang_up(self) -> None:
        """Close the connection without a word."""
        self.ftp.close()

    def _set_type(self, kind: Literal["A", "I"]) -> None:
        if self._type != kind:
            self.ftp.voidcmd(f"TYPE {kind}")
            self._type = kind

    def _note(self, error: ftplib.Error, command: str) -> None:
        # 501 is about the name that was asked for.
        if is_unknown(error) and not str(error).startswith("501"):
            self.missing.add(command)

    def _agree_on_names(self) -> None:
        features = ""
        with contextlib.suppress(ftplib.error_perm):
            features = self.ftp.sendcmd("FEAT")
        if "UTF8" in features.upper() and self.address.settings.encoding.lower() == "utf-8":
            with contextlib.suppress(ftplib.error_perm):
                self.ftp.sendcmd("OPTS UTF8 ON")

    def _find_root(self) -> str:
        folder = self.address.settings.folder
        home = "" if folder.startswith("/") else self.ftp.pwd().rstrip("/")
        return f"{home}/{clean_path(folder)}".rstrip("/")


class _ReusingTls(ftplib.FTP_TLS):
    """Takes the control connection's TLS session for the data connections.

    Servers demand it (vsftpd's ``require_ssl_reuse``), so that nobody else can take the data.
    """

    def ntransfercmd(
        self, cmd: str, rest: int | str | None = None
    ) -> tuple[socket.socket, int | None]:
        connection, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        control = self.sock
        try:
            session = control.session if isinstance(control, ssl.SSLSocket) else None
            secured = self.context.wrap_socket(
                connection, server_hostname=self.host, session=session
            )
        except BaseException:
            connection.close()
            raise
        return secured, size


def tls_context(address: Address) -> ssl.SSLContext:
    """Return how the server of an FTPS source has to prove itself.

    Raises
    ------
    ConfigError
        If the file of the authority's certificate cannot be read.
    """
    authority = address.settings.tls_ca
    if authority is None:
        return ssl.create_default_context()
    path = address.site_dir / authority
    try:
        return ssl.create_default_context(cafile=str(path))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"The authority's certificate cannot be read: {error}.",
            where=str(path),
            fix="Set the source's tls_ca to a PEM file.",
        ) from error


def is_unknown(error: ftplib.Error) -> bool:
    """Return whether the server says that it does not know the command."""
    return str(error)[:3] in _UNKNOWN_COMMAND


def reason(error: BaseException) -> str:
    """Return what went wrong in the server's words, or in ours where it said nothing."""
    if isinstance(error, EOFError):
        return "the server hung up"
    if isinstance(error, TimeoutError):
        return "the server did not answer in time"
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _trouble(address: Address, error: BaseException) -> SourceUnreachable:
    if isinstance(error, ssl.SSLCertVerificationError):
        return SourceRefused(
            f"The server's certificate is not trusted: {error.verify_message}.",
            where=address.label,
            fix="Set tls_ca to the file of the authority's certificate, after checking it.",
        )
    if isinstance(error, ftplib.Error) and _FULL.match(str(error)):
        return TooManyConnections(
            f"The server takes no further connection: {reason(error)}.",
            where=address.label,
            fix="Lower the source's connections, or try later.",
        )
    if isinstance(error, ftplib.error_perm):
        secret = address.settings.password or "no password is set"
        return SourceRefused(
            f"The server refuses the log-in: {reason(error)}.",
            where=address.label,
            fix=f"Check the source's user, password ({secret}) and kind.",
        )
    return SourceUnreachable(
        f"No connection: {reason(error)}.",
        where=address.label,
        fix="Check that the server runs, its host and port, and the network between.",
    )


def _end_tls(connection: socket.socket) -> None:
    if isinstance(connection, ssl.SSLSocket):
        # Not every server ends TLS as it should. Whether all came through is told by the reply
        # and the size.
        with contextlib.suppress(OSError, ValueError):
            connection.unwrap()
