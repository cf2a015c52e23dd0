"""Private FTP, FTPS and SFTP servers whose faults a test can choose."""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paramiko
import pytest
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.filesystems import AbstractedFS
from pyftpdlib.handlers import DTPHandler, FTPHandler, TLS_FTPHandler
from pyftpdlib.ioloop import IOLoop
from pyftpdlib.servers import FTPServer

from workspace_lib.settings import Settings

USER, PASSWORD = "gauges", "very-secret-word"


@dataclass
class Faults:
    """What a server does wrong; a test changes it while the server runs.

    ``cuts`` gives, for each name, after how many bytes the next transfers are cut, one by one;
    ``cut_ends``: ``lies`` says that all went well, ``says`` answers 426, ``dies`` hangs up.
    """

    missing: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    cut_ends: str = "lies"
    cut_listings: list[int] = field(default_factory=list)
    before_retr: Callable[[Path], None] | None = None
    during_retr: Callable[[Path], None] | None = None
    after_stor: Callable[[Path], None] | None = None
    zone_shift_s: int = 0
    empty_is_550: str = ""
    lose_rename: bool = False


@dataclass
class RunningFtp:
    """A server that runs: where it is, what it holds, what it was asked."""

    port: int
    root: Path
    faults: Faults
    commands: list[str]
    most_sessions: int = 0
    sessions: int = 0
    all_gone: threading.Event = field(default_factory=threading.Event)
    tls_ca: Path | None = None
    kind: str = "ftp"

    def count(self, verb: str) -> int:
        """How often a command came."""
        return sum(line.split(" ")[0] == verb for line in self.commands)

    def site(self, **more: object) -> dict[str, object]:
        """Content of a ``site.yml`` with this server as the source ``plant``."""
        source: dict[str, object] = {
            "kind": self.kind,
            "host": "127.0.0.1",
            "port": self.port,
            "user": USER,
            "password": "secret://PLANT_PASSWORD",
            "stable_after_s": 0,
            "attempts": 3,
            "wait_s": 0.01,
            "max_wait_s": 0.05,
            "connect_timeout_s": 20,
            "read_timeout_s": 20,
        }
        if self.tls_ca is not None:
            source["tls_ca"] = str(self.tls_ca)
        return {"timezone": "Europe/Paris", "sources": {"plant": source | more}}

    def put(self, path: str, content: bytes, age_s: float = 3600) -> Path:
        """Write a file into the server's folder."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        when = time.time() - age_s
        os.utime(target, (when, when))
        return target


class _Cut:
    """Gives the first ``left`` bytes of what another producer gives."""

    def __init__(self, producer: Any, left: int, end: Callable[[], None]) -> None:
        self.producer, self.left, self.end = producer, left, end
        self.file = getattr(producer, "file", None)

    def more(self) -> bytes:
        if not self.left:
            self.end()
            return b""
        block = bytes(self.producer.more())[: self.left]
        self.left -= len(block)
        return block


class _Watched:
    """Calls ``before`` before each block after the first."""

    def __init__(self, producer: Any, before: Callable[[], None]) -> None:
        self.producer, self.before, self.started = producer, before, False
        self.file = producer.file
        self.file_size = 1000

    def more(self) -> bytes:
        self.producer.buffer_size = self.file_size
        if self.started:
            self.before()
        self.started = True
        return bytes(self.producer.more())


class _ShiftedFS(AbstractedFS):
    """Shows LIST times in another zone."""

    def format_list(self, basedir: str, listing: list[str], ignore_err: bool = True) -> Any:
        shift = self.cmd_channel.running.faults.zone_shift_s
        real = self.lstat

        def shifted(path: str) -> os.stat_result:
            found = list(real(path))
            found[8] += shift
            return os.stat_result(found)

        self.lstat = shifted  # type: ignore[method-assign]
        try:
            yield from super().format_list(basedir, listing, ignore_err)
        finally:
            self.lstat = real  # type: ignore[method-assign]


class _Faulty:
    """The faults, for the plain and the TLS handler alike."""

    running: RunningFtp
    use_sendfile = False
    abstracted_fs = _ShiftedFS

    def on_connect(self) -> None:
        self.running.sessions += 1
        self.running.all_gone.clear()
        self.running.most_sessions = max(self.running.most_sessions, self.running.sessions)

    def on_disconnect(self) -> None:
        self.running.sessions -= 1
        if not self.running.sessions:
            self.running.all_gone.set()

    def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
        self.running.commands.append(line)
        faults = self.running.faults
        if cmd in faults.missing:
            self.respond(f'500 Command "{cmd}" not understood.')  # type: ignore[attr-defined]
            return
        if cmd in faults.refused:
            self.respond(faults.refused[cmd])  # type: ignore[attr-defined]
            return
        if cmd in ("MLSD", "LIST", "NLST") and faults.empty_is_550:
            folder = Path(self.fs.ftp2fs(self.fs.cwd))  # type: ignore[attr-defined]
            if not any(folder.iterdir()):
                self.respond(faults.empty_is_550)  # type: ignore[attr-defined]
                return
        super().pre_process_command(line, cmd, arg)  # type: ignore[misc]

    def ftp_FEAT(self, line: str) -> None:
        if self.running.faults.missing:
            self.respond("500 FEAT not understood.")  # type: ignore[attr-defined]
        else:
            super().ftp_FEAT(line)  # type: ignore[misc]

    def ftp_RNTO(self, path: str) -> Any:
        faults = self.running.faults
        if faults.lose_rename:
            faults.lose_rename = False
            Path(self._rnfr).rename(path)  # type: ignore[attr-defined]
            self.close()  # type: ignore[attr-defined]
            return None
        return super().ftp_RNTO(path)  # type: ignore[misc]

    def ftp_RETR(self, file: str) -> Any:
        if self.running.faults.before_retr is not None:
            self.running.faults.before_retr(Path(file))
        return super().ftp_RETR(file)  # type: ignore[misc]

    def on_file_received(self, file: str) -> None:
        if self.running.faults.after_stor is not None:
            self.running.faults.after_stor(Path(file))

    def push_dtp_data(
        self, data: Any, isproducer: bool = False, file: Any = None, cmd: Any = None
    ) -> None:
        faults = self.running.faults
        if cmd == "RETR":
            cuts = faults.cuts.get(Path(file.name).name)
            if cuts:
                data = _Cut(data, cuts.pop(0), self._end_of_cut)
            elif faults.during_retr is not None:
                path, act = Path(file.name), faults.during_retr
                data = _Watched(data, lambda: act(path))
        elif cmd in ("MLSD", "LIST") and faults.cut_listings:
            data = _Cut(data, faults.cut_listings.pop(0), self._end_of_cut)
        super().push_dtp_data(data, isproducer, file, cmd)  # type: ignore[misc]

    def _end_of_cut(self) -> None:
        ends = self.running.faults.cut_ends
        if ends == "lies":
            return
        if ends == "says":
            self.respond("426 Connection closed; transfer aborted.")  # type: ignore[attr-defined]
            self.data_channel._resp = ()  # type: ignore[attr-defined]
            self.data_channel.close()  # type: ignore[attr-defined]
        else:
            self.data_channel.close()  # type: ignore[attr-defined]
            self.close()  # type: ignore[attr-defined]


class FaultyHandler(_Faulty, FTPHandler):
    dtp_handler = DTPHandler


class FaultyTlsHandler(_Faulty, TLS_FTPHandler):
    tls_control_required = True
    tls_data_required = True


@pytest.fixture
def ftp_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificate: Path
) -> Iterator[Callable[..., RunningFtp]]:
    """Start FTP servers on free ports; ``tls=True`` for FTPS, handler attributes by name."""
    monkeypatch.setenv("PLANT_PASSWORD", PASSWORD)
    stops: list[tuple[threading.Event, threading.Thread]] = []

    def start(
        *,
        tls: bool = False,
        folder: str = "served",
        address: str = "127.0.0.1",
        per_client: int = 0,
        faults: Faults | None = None,
        **attributes: object,
    ) -> RunningFtp:
        root = tmp_path / folder
        root.mkdir(exist_ok=True)
        authorizer = DummyAuthorizer()
        authorizer.add_user(USER, PASSWORD, str(root), perm="elradfmwMT")
        running = RunningFtp(
            0,
            root,
            faults or Faults(),
            [],
            tls_ca=certificate if tls else None,
            kind="ftps" if tls else "ftp",
        )
        base: Any = FaultyTlsHandler if tls else FaultyHandler
        extra: dict[str, object] = {"authorizer": authorizer, "running": running}
        if tls:
            extra |= {"certfile": str(certificate), "ssl_context": None}
        handler = type("Handler", (base,), extra | attributes)
        server = FTPServer((address, 0), handler, ioloop=IOLoop())
        server.max_cons_per_ip = per_client
        running.port = server.address[1]
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                server.serve_forever(timeout=0.05, blocking=False, handle_exit=False)
            server.close_all()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        stops.append((stop, thread))
        return running

    yield start
    for stop, _ in stops:
        stop.set()
    for _, thread in stops:
        thread.join(10)


@pytest.fixture
def faults() -> Callable[..., Faults]:
    """Make a description of what a server does wrong."""
    return Faults


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-made certificate for 127.0.0.1, with its key, in one PEM file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.DNSName("localhost"),
                    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                ]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def plant(make_site: Callable[..., Settings]) -> Callable[..., Settings]:
    """Settings of a site whose source ``plant`` is a running server."""

    def make(server: RunningFtp, **more: object) -> Settings:
        return make_site(server.site(**more))

    return make


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as plug:
        plug.bind(("127.0.0.1", 0))
        return int(plug.getsockname()[1])


@dataclass
class RunningSftp:
    """An SFTP server that runs; ``cuts`` are bytes after which reads of a file are cut."""

    port: int
    root: Path
    key_line: str
    cuts: dict[str, list[int]] = field(default_factory=dict)
    refuse_rename: bool = False
    posix_rename: bool = True
    connections: int = 0
    before_read: Callable[[Path], None] | None = None

    def site(self, **more: object) -> dict[str, object]:
        """Content of a ``site.yml`` with this server as the source ``plant``."""
        source: dict[str, object] = {
            "kind": "sftp",
            "host": "127.0.0.1",
            "port": self.port,
            "user": USER,
            "password": "secret://PLANT_PASSWORD",
            "known_host": self.key_line,
            "stable_after_s": 0,
            "attempts": 3,
            "wait_s": 0.01,
            "max_wait_s": 0.05,
            "connect_timeout_s": 20,
            "read_timeout_s": 20,
        }
        return {"timezone": "Europe/Paris", "sources": {"plant": source | more}}

    def put(self, path: str, content: bytes, age_s: float = 3600) -> Path:
        """Write a file into the server's folder."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        when = time.time() - age_s
        os.utime(target, (when, when))
        return target


def _sftp_classes(running: RunningSftp, user_key: paramiko.PKey) -> tuple[type, type]:
    """Return server interfaces of paramiko that serve ``running.root``."""

    class Gate(paramiko.ServerInterface):
        def check_auth_password(self, username: str, password: str) -> int:
            right = (username, password) == (USER, PASSWORD)
            return paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED

        def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
            return paramiko.AUTH_SUCCESSFUL if key == user_key else paramiko.AUTH_FAILED

        def get_allowed_auths(self, username: str) -> str:
            return "password,publickey"

        def check_channel_request(self, kind: str, chanid: int) -> int:
            return paramiko.OPEN_SUCCEEDED

    class Handle(paramiko.SFTPHandle):
        path: Path
        transport: paramiko.Transport

        def read(self, offset: int, length: int) -> Any:
            if running.before_read is not None:
                running.before_read(self.path)
            cuts = running.cuts.get(self.path.name)
            if cuts and offset + length > cuts[0]:
                length = cuts[0] - offset
                if length <= 0:
                    cuts.pop(0)
                    self.transport.close()
                    return paramiko.SFTP_FAILURE
            return super().read(offset, length)

        def stat(self) -> paramiko.SFTPAttributes:
            return paramiko.SFTPAttributes.from_stat(self.path.stat())

    def attempt(act: Callable[[], Any]) -> Any:
        try:
            done = act()
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)
        return paramiko.SFTP_OK if done is None else done

    class Files(paramiko.SFTPServerInterface):
        def __init__(self, server: Any, *arguments: Any, **options: Any) -> None:
            self.transport = server.transport

        def _path(self, path: str) -> Path:
            return running.root / path.lstrip("/")

        def canonicalize(self, path: str) -> str:
            return os.path.normpath("/" + path)

        def list_folder(self, path: str) -> Any:
            def entries() -> list[paramiko.SFTPAttributes]:
                found = []
                for entry in self._path(path).iterdir():
                    item = paramiko.SFTPAttributes.from_stat(entry.lstat())
                    item.filename = entry.name
                    found.append(item)
                return found

            return attempt(entries)

        def stat(self, path: str) -> Any:
            return attempt(lambda: paramiko.SFTPAttributes.from_stat(self._path(path).stat()))

        def lstat(self, path: str) -> Any:
            return attempt(lambda: paramiko.SFTPAttributes.from_stat(self._path(path).lstat()))

        def open(self, path: str, flags: int, attr: Any) -> Any:
            def opened() -> Handle:
                handle = Handle(flags)
                handle.path, handle.transport = self._path(path), self.transport
                descriptor = os.open(handle.path, flags, 0o644)
                writing = bool(flags & (os.O_WRONLY | os.O_RDWR))
                stream = os.fdopen(descriptor, "wb" if writing else "rb", buffering=0)
                handle.readfile = handle.writefile = stream  # type: ignore[attr-defined]
                return handle

            return attempt(opened)

        def remove(self, path: str) -> int:
            return int(attempt(lambda: self._path(path).unlink()))

        def mkdir(self, path: str, attr: Any) -> int:
            return int(attempt(lambda: self._path(path).mkdir()))

        def rename(self, oldpath: str, newpath: str) -> int:
            if running.refuse_rename:
                return paramiko.SFTP_PERMISSION_DENIED
            if self._path(newpath).exists():
                return paramiko.SFTP_FAILURE
            return int(attempt(lambda: self._path(oldpath).rename(self._path(newpath)) and None))

        def posix_rename(self, oldpath: str, newpath: str) -> int:
            if not running.posix_rename:
                return paramiko.SFTP_OP_UNSUPPORTED
            if running.refuse_rename:
                return paramiko.SFTP_PERMISSION_DENIED
            return int(attempt(lambda: self._path(oldpath).replace(self._path(newpath)) and None))

    return Gate, Files


@pytest.fixture
def user_key() -> paramiko.PKey:
    """The key pair of a user."""
    return paramiko.ECDSAKey.generate()


@pytest.fixture
def sftp_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user_key: paramiko.PKey
) -> Iterator[RunningSftp]:
    """A private SFTP server on a free port."""
    monkeypatch.setenv("PLANT_PASSWORD", PASSWORD)
    root = tmp_path / "served"
    root.mkdir()
    host_key = paramiko.ECDSAKey.generate()
    plug = socket.create_server(("127.0.0.1", 0))
    line = f"{host_key.get_name()} {host_key.get_base64()}"
    running = RunningSftp(plug.getsockname()[1], root, line)
    gate, files = _sftp_classes(running, user_key)
    transports: list[paramiko.Transport] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = plug.accept()
            except OSError:
                return
            running.connections += 1
            transport = paramiko.Transport(connection)
            transports.append(transport)
            transport.add_server_key(host_key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, files)
            guard = gate()
            guard.transport = transport
            try:
                transport.start_server(server=guard)
            except (paramiko.SSHException, EOFError, OSError):
                transport.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield running
    plug.shutdown(socket.SHUT_RDWR)
    plug.close()
    thread.join(10)
    for transport in transports:
        transport.close()
