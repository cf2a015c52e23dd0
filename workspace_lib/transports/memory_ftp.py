"""An FTP server whose files live in memory, for simulators: quick to fill, nothing left behind.

It is pyftpdlib (of the extra ``demo``) on a file system of its own; clients see an ordinary server
with MLSD, MDTM, REST, uploads and renames.
"""

from __future__ import annotations

import io
import logging
import os
import posixpath
import secrets as random_secrets
import stat
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workspace_lib.errors import ConfigError

PERMISSIONS = "elradfmwMT"
_POLL_S = 0.2


@dataclass(frozen=True)
class MemoryFile:
    """A file: its bytes and when it was changed [s since 1970 UTC]."""

    content: bytes
    modified: float


class MemoryTree:
    """Folders and files by absolute path, ``/`` between the parts; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._folders: dict[str, dict[str, MemoryFile | None]] = {"/": {}}

    def put(self, path: str, content: bytes, modified: float | None = None) -> None:
        """Write a file, and the folders above it; a reader sees the old or the new one, whole."""
        folder, name = posixpath.split(_clean(path))
        with self._lock:
            self.make_folders(folder)
            if _clean(path) in self._folders:
                raise IsADirectoryError(21, "Is a directory", path)
            when = time.time() if modified is None else modified
            self._folders[folder][name] = MemoryFile(content, when)

    def make_folders(self, path: str) -> None:
        """Make a folder and those above it, where missing."""
        folder = _clean(path)
        with self._lock:
            if folder in self._folders:
                return
            above, name = posixpath.split(folder)
            self.make_folders(above)
            if self._folders[above].get(name) is not None:
                raise FileExistsError(17, "File exists", path)
            self._folders[above][name] = None
            self._folders[folder] = {}

    def get(self, path: str) -> MemoryFile:
        """Return a file; FileNotFoundError if there is none."""
        folder, name = posixpath.split(_clean(path))
        found = self._folders.get(folder, {}).get(name)
        if found is None:
            raise FileNotFoundError(2, "No such file", path)
        return found

    def is_folder(self, path: str) -> bool:
        """Return whether there is such a folder."""
        return _clean(path) in self._folders

    def is_file(self, path: str) -> bool:
        """Return whether there is such a file."""
        folder, name = posixpath.split(_clean(path))
        return self._folders.get(folder, {}).get(name) is not None

    def names(self, path: str) -> list[str]:
        """Return the names in a folder, sorted."""
        with self._lock:
            if not self.is_folder(path):
                raise FileNotFoundError(2, "No such folder", path)
            return sorted(self._folders[_clean(path)])

    def remove(self, path: str) -> None:
        """Remove a file."""
        with self._lock:
            self.get(path)
            folder, name = posixpath.split(_clean(path))
            del self._folders[folder][name]

    def remove_folder(self, path: str) -> None:
        """Remove an empty folder."""
        with self._lock:
            if self.names(path):
                raise OSError(39, "Directory not empty", path)
            folder, name = posixpath.split(_clean(path))
            del self._folders[folder][name]
            del self._folders[_clean(path)]

    def rename(self, old: str, new: str) -> None:
        """Rename a file, or a folder with all it holds; an existing file is replaced."""
        with self._lock:
            if not self.is_folder(old):
                file = self.get(old)
                self.put(new, file.content, file.modified)
                if _clean(old) != _clean(new):
                    self.remove(old)
                return
            if self.is_folder(new) or self.is_file(new):
                raise FileExistsError(17, "File exists", new)
            self.make_folders(new)
            for name in self.names(old):
                self.rename(posixpath.join(old, name), posixpath.join(new, name))
            self.remove_folder(old)

    def files(self) -> dict[str, bytes]:
        """Return all files: their bytes by path."""
        with self._lock:
            return {
                posixpath.join(folder, name): file.content
                for folder, entries in self._folders.items()
                for name, file in entries.items()
                if file is not None
            }


class MemoryFtp:
    """The server: one user, whose whole world is ``tree``."""

    def __init__(self, user: str, tree: MemoryTree | None = None) -> None:
        self.user = user
        self.tree = tree or MemoryTree()
        self._server: Any = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def start(self, port: int = 0, host: str = "127.0.0.1") -> dict[str, Any]:
        """Listen on ``port`` (0: a free one); return ``host``, ``port``, ``user``, ``password``.

        The password is made up at each start.

        Raises
        ------
        ConfigError
            If pyftpdlib is not installed, or the port is taken.
        """
        password = random_secrets.token_urlsafe(18)
        try:
            self._server = _server(self.tree, (host, port), self.user, password)
        except OSError as error:
            raise ConfigError(
                f"The FTP simulator cannot listen ({error.strerror}).",
                where=f"{host}:{port}",
                fix="Give another port, or 0 for a free one.",
            ) from error
        self._stopping.clear()
        self._thread = threading.Thread(target=self._serve, name="memory-ftp", daemon=True)
        self._thread.start()
        return {
            "host": host,
            "port": self._server.address[1],
            "user": self.user,
            "password": password,
        }

    def stop(self) -> None:
        """Hang up on everybody and give back the port; the files stay in ``tree``."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=30)
            self._thread = None

    def _serve(self) -> None:
        while not self._stopping.is_set():
            self._server.ioloop.loop(timeout=_POLL_S, blocking=False)
        self._server.close_all()


def _server(tree: MemoryTree, address: tuple[str, int], user: str, password: str) -> Any:
    try:
        from pyftpdlib.authorizers import DummyAuthorizer
        from pyftpdlib.filesystems import AbstractedFS
        from pyftpdlib.handlers import FTPHandler
        from pyftpdlib.ioloop import IOLoop
        from pyftpdlib.servers import FTPServer
    except ModuleNotFoundError as error:
        raise ConfigError(
            "The FTP simulator needs the package pyftpdlib.",
            fix="Install the extra: pip install 'field-workspace[demo]'.",
        ) from error

    class TreeFS(AbstractedFS):  # type: ignore[misc]
        """What the server asks of a file system, answered by the tree."""

        def __init__(self, root: str, cmd_channel: Any) -> None:
            super().__init__("/", cmd_channel)

        def ftp2fs(self, ftppath: str) -> str:
            return str(self.ftpnorm(ftppath))

        def fs2ftp(self, fspath: str) -> str:
            return _clean(fspath)

        def validpath(self, path: str) -> bool:
            return True

        def realpath(self, path: str) -> str:
            return _clean(path)

        def open(self, filename: str, mode: str) -> Any:
            return _open(tree, filename, mode)

        def mkstemp(
            self, suffix: str = "", prefix: str = "", dir: str = "/", mode: str = "wb"
        ) -> Any:
            name = f"{prefix}{random_secrets.token_hex(4)}{suffix}"
            return _open(tree, posixpath.join(dir, name), mode)

        def chdir(self, path: str) -> None:
            tree.names(path)
            self.cwd = _clean(path)

        def mkdir(self, path: str) -> None:
            if tree.is_folder(path) or tree.is_file(path):
                raise FileExistsError(17, "File exists", path)
            tree.make_folders(path)

        def listdir(self, path: str) -> list[str]:
            return tree.names(path)

        listdirinfo = listdir

        def rmdir(self, path: str) -> None:
            tree.remove_folder(path)

        def remove(self, path: str) -> None:
            tree.remove(path)

        def rename(self, src: str, dst: str) -> None:
            tree.rename(src, dst)

        def chmod(self, path: str, mode: int) -> None:
            raise PermissionError(1, "Not supported", path)

        def utime(self, path: str, timeval: float) -> None:
            tree.put(path, tree.get(path).content, timeval)

        def stat(self, path: str) -> os.stat_result:
            if tree.is_folder(path):
                return os.stat_result((stat.S_IFDIR | 0o755, _number(path), 0, 1, 0, 0, 0, 0, 0, 0))
            file = tree.get(path)
            when = int(file.modified)
            size = len(file.content)
            return os.stat_result(
                (stat.S_IFREG | 0o644, _number(path), 0, 1, 0, 0, size, when, when, when)
            )

        lstat = stat

        def isfile(self, path: str) -> bool:
            return tree.is_file(path)

        def isdir(self, path: str) -> bool:
            return tree.is_folder(path)

        def islink(self, path: str) -> bool:
            return False

        def lexists(self, path: str) -> bool:
            return tree.is_file(path) or tree.is_folder(path)

        def getsize(self, path: str) -> int:
            return len(tree.get(path).content)

        def getmtime(self, path: str) -> float:
            return tree.get(path).modified

        def get_user_by_uid(self, uid: int) -> str:
            return "owner"

        def get_group_by_gid(self, gid: int) -> str:
            return "group"

    # Without a handler of its own the package would set up the program's logging.
    pyftpdlib_log = logging.getLogger("pyftpdlib")
    if not pyftpdlib_log.handlers:
        pyftpdlib_log.addHandler(logging.NullHandler())
        pyftpdlib_log.propagate = False
    authorizer = DummyAuthorizer()
    authorizer.add_user(user, password, tempfile.gettempdir(), perm=PERMISSIONS)
    handler = type(
        "MemoryHandler",
        (FTPHandler,),
        {
            "authorizer": authorizer,
            "abstracted_fs": TreeFS,
            "banner": "Simulated server.",
            "use_sendfile": False,
        },
    )
    server = FTPServer(address, handler, ioloop=IOLoop())
    server.max_cons = server.max_cons_per_ip = 64
    return server


def _open(tree: MemoryTree, path: str, mode: str) -> io.BytesIO:
    """Return a file object on the tree; what is written arrives there, whole, when it is closed."""
    if "r" in mode and "+" not in mode:
        return _Opened(path, tree.get(path).content, None)
    if tree.is_folder(path):
        raise IsADirectoryError(21, "Is a directory", path)
    if not tree.is_folder(posixpath.dirname(_clean(path))):
        raise FileNotFoundError(2, "No such folder", path)
    old = tree.get(path).content if "w" not in mode and tree.is_file(path) else b""
    opened = _Opened(path, old, lambda content: tree.put(path, content))
    if "a" in mode:
        opened.seek(0, io.SEEK_END)
    return opened


class _Opened(io.BytesIO):
    def __init__(self, name: str, content: bytes, keep: Callable[[bytes], None] | None) -> None:
        super().__init__(content)
        self.name = name
        self._keep = keep

    def close(self) -> None:
        if not self.closed and self._keep is not None:
            self._keep(self.getvalue())
        super().close()


def _number(path: str) -> int:
    """Return a number that tells files apart, as inodes do."""
    return zlib.crc32(_clean(path).encode())


def _clean(path: str) -> str:
    return posixpath.normpath("/" + path.replace("\\", "/").lstrip("/"))
