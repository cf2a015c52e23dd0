"""The warm parent: a process that has loaded third-party packages and forks runs off itself.

A program of its own, started by `workspace_lib.runs.warm`, that uses nothing but the standard
library until it forks: what it had loaded of `workspace_lib` would be stale as soon as somebody
edits it. It never loads polars either (a child forked after its use hangs) and refuses to work
while any thread runs besides its main one.

Each run is three processes, forked one from the other before anything else happens in them: the
runner, the process of its notebook, and the kernel. So each is the child of the one that waits for
it, and the runner inherits and ends everything as if it had started it. They get the environment,
the folder and the command line that they would have if they had been started; the system shows
them so too, which is how runs are found that have lost their runner.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import gc
import importlib
import importlib.metadata
import importlib.util
import json
import os
import random
import selectors
import signal
import socket
import struct
import sys
import threading
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

if sys.platform != "linux":
    raise ImportError("Runs are forked on Linux alone.")

#: What runners, papermill and kernels load, and what most notebooks begin with. What is missing
#: is passed over.
PRELOADED = (
    "multiprocessing.connection", "sqlite3", "statistics", "sqlalchemy",
    "sqlalchemy.dialects.sqlite",
    "sqlalchemy.dialects.postgresql", "psycopg", "pydantic", "pydantic_settings", "yaml", "psutil",
    "cronsim", "tenacity", "numpy", "pandas", "pyarrow", "pyarrow.parquet", "pyarrow.dataset",
    "scipy.signal", "scipy.sparse", "matplotlib.pyplot", "nbformat", "jsonschema", "fastjsonschema",
    "nbclient", "papermill", "jupyter_client.manager", "jupyter_client.asynchronous",
    "jupyter_client.provisioning", "zmq.asyncio", "tornado.platform.asyncio", "tornado.locks",
    "tornado.queues", "IPython", "IPython.core.completer", "IPython.core.completerlib",
    "IPython.core.debugger", "IPython.extensions.storemagic", "jedi", "ipykernel.kernelapp",
    "ipykernel.ipkernel", "ipykernel.debugger", "comm", "tqdm",
)  # fmt: skip
#: Never loaded before the fork: our own code, and what does not survive it. The inline backend
#: looks for the kernel it belongs to when it is loaded.
FORBIDDEN = ("workspace_lib", "polars", "matplotlib_inline.backend_inline")

ANOTHER_IS_THERE = 3
NOT_FIT = 4
LONGEST_MESSAGE = 180_000
_PATIENCE_S = 2.0
_BEGIN_WITHIN_S = 30.0
#: What lets a forked runner begin: without it, nothing has happened.
BEGIN = b"begin"
_INLINE = "module://matplotlib_inline.backend_inline"
_PR_SET_PDEATHSIG = 1


#: Variables that packages set when they are loaded, as they would in a kernel.
_set_by_packages: dict[str, str] = {}


class NotFit(Exception):
    """Something speaks against forking here: runs are to be started the usual way."""


class Room:
    """The memory in which the system looks for the command line and environment of a process."""

    def __init__(self) -> None:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        # proc(5) counts from 1 and these begin with the third: arg_start, arg_end, env_start, …
        numbers = [int(field) for field in fields[45:49]]
        if len(numbers) < 4 or 0 in numbers:
            raise NotFit("the system does not tell where command lines lie")
        self._words, self._variables = numbers[:2], numbers[2:]

    def fits(self, words: Sequence[str], variables: Mapping[str, str]) -> bool:
        """Return whether there is room for both."""
        pairs = ((self._words, _joined(words)), (self._variables, _joined(_pairs(variables))))
        return all(len(content) < end - start for (start, end), content in pairs)

    def show(self, words: Sequence[str], variables: Mapping[str, str]) -> None:
        """Have the system show this process with these; call it with an environment of its own."""
        pairs = ((self._words, _joined(words)), (self._variables, _joined(_pairs(variables))))
        for (start, end), content in pairs:
            ctypes.memset(start, 0, end - start)
            ctypes.memmove(start, content, min(len(content), end - start - 1))
        shown = Path("/proc/self/cmdline").read_bytes().rstrip(b"\0")
        if not shown or not pairs[0][1].startswith(shown):
            raise NotFit("the system does not show the command line it was given")


def main(arguments: Sequence[str]) -> int:
    """Load, then fork for those who know the key, until standard input ends.

    ``arguments`` are the folder of the socket and the key.
    """
    folder, key = Path(arguments[0]), arguments[1]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # also while it loads
    lock = _take(folder / "lock")
    if lock is None:
        return ANOTHER_IS_THERE
    path = folder / "socket"
    path.unlink(missing_ok=True)  # of one that was killed
    try:
        room = Room()
        preload()
        Parent(path, key, room).serve()
    except NotFit as error:
        sys.stderr.write(f"No warm runs: {error}.\n")
        return NOT_FIT
    finally:
        # Only the parent comes here: what it forks ends where it is.
        path.unlink(missing_ok=True)
        (folder / "lock").unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()
    return 0


def _take(path: Path) -> int | None:
    """Take the lock of the folder for as long as this process lives; None if another has it."""
    while True:
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(path.stat(), os.fstat(handle)):
                return handle
        except BlockingIOError:
            os.close(handle)
            return None
        except FileNotFoundError:
            pass
        os.close(handle)  # its owner removed it just before it ended


def preload(names: Sequence[str] = PRELOADED) -> None:
    """Load the packages and make sure that a child forked now would be sound.

    Raises
    ------
    NotFit
        If one must not be loaded here, or started a thread that lives on.
    """
    given = dict(os.environ)
    with _without_our_engine():
        for name in names:
            with contextlib.suppress(ModuleNotFoundError):
                importlib.import_module(name)
    _warm_up()
    _set_by_packages.update({k: v for k, v in os.environ.items() if k not in given})
    loaded = [name for name in FORBIDDEN if name in sys.modules]
    if loaded or any(name.startswith("workspace_lib.") for name in sys.modules):
        raise NotFit(f"{', '.join(loaded) or 'workspace_lib'} was loaded by a package")
    gc.collect()
    gc.freeze()
    # The threads of linear algebra end before a fork and come back when they are needed; whatever
    # lives on after one would be missing in a child, with the locks it holds.
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    tasks = list(Path("/proc/self/task").iterdir())
    if len(tasks) > 1:
        names = [(task / "comm").read_text().strip() for task in tasks]
        raise NotFit(f"these threads run: {', '.join(names)}")


@contextlib.contextmanager
def _without_our_engine() -> Any:
    """Let papermill find our engine without loading it: each run registers the present one."""
    placed = []
    for point in importlib.metadata.entry_points(group="papermill.engine"):
        if point.module.partition(".")[0] == "workspace_lib" and point.attr:
            module = types.ModuleType(point.module)
            setattr(module, point.attr, object)
            sys.modules[point.module] = module
            placed.append(point.module)
    try:
        yield
    finally:
        for name in placed:
            sys.modules.pop(name, None)


def _warm_up() -> None:
    """Do once what each run would do first: compile the schema of notebooks, know the backends."""
    with contextlib.suppress(ModuleNotFoundError):
        import nbformat

        for minor in (4, 5):
            notebook = nbformat.v4.new_notebook(nbformat_minor=minor)
            with contextlib.suppress(nbformat.ValidationError):
                nbformat.validate(notebook)
    with contextlib.suppress(ImportError):
        importlib.import_module("matplotlib.backends").backend_registry.is_valid_backend(_INLINE)


class Parent:
    """Listens for orders and forks; tells whoever ordered how the runner ended."""

    def __init__(self, path: Path, key: str, room: Room) -> None:
        self._key = key
        self._room = room
        self._runners: dict[int, socket.socket] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen(16)
        self._listener.setblocking(False)

    def serve(self) -> None:
        """Serve until standard input ends, which means that the owner has ended."""
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            for source in (0, reading, self._listener):
                selector.register(source, selectors.EVENT_READ)
            while True:
                for found, _ in selector.select():
                    if found.fileobj == 0 and not os.read(0, 1024):
                        return
                    if found.fileobj == reading:
                        os.read(reading, 1024)
                    elif found.fileobj is self._listener:
                        self._answer()
                self._reap()

    def _answer(self) -> None:
        """Fork a process for an order, which it reads itself: secrets in it never come here."""
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # it has gone away already
        if peer_of(connection) != os.getuid():
            connection.close()
            return
        pid = os.fork()
        if pid == 0:
            _end_with(lambda: _take_order(connection, self._key, self._room))
        self._runners[pid] = connection

    def _reap(self) -> None:
        while self._runners:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            if connection := self._runners.pop(pid, None):
                _tell(connection, {"exit": os.waitstatus_to_exitcode(status)})
                connection.close()


def _take_order(connection: socket.socket, key: str, room: Room) -> int | None:
    """Read what is wanted, refuse it or be the runner; returns the exit code."""
    os.setsid()
    _make_new()
    _close_all_but(connection.fileno())
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    connection.settimeout(_PATIENCE_S)
    try:
        content, handles, _, _ = socket.recv_fds(connection, LONGEST_MESSAGE, 4)
        order: dict[str, Any] = json.loads(content)
    except (OSError, ValueError):
        return 0  # only somebody who looked whether we are here
    if not isinstance(order, dict) or order.get("key") != key or len(handles) != 1:
        _tell(connection, {"refused": "it was loaded from another environment"})
        return 0
    if not room.fits(order["shown"], order["marks"]):
        _tell(connection, {"refused": "the command line is too long"})
        return 0
    for number in (1, 2):
        os.dup2(handles[0], number)
    _close_all_but(connection.fileno())
    return _be_runner(order, connection, room)


def _be_runner(order: Mapping[str, Any], connection: socket.socket, room: Room) -> int | None:
    """Be the runner, as soon as whoever ordered it says so; returns its exit code."""
    os.chdir(order["cwd"])
    _set_environment(order["environment"])
    importlib.invalidate_caches()
    path = list(sys.path)
    sys.path.insert(0, order["cwd"])  # as `python -m` does
    sys.argv = [order["shown"][2], *order["arguments"]]
    ours, its = socket.socketpair()
    runner = os.getpid()
    child = os.fork()
    if child == 0:
        _end_with(lambda: _be_notebook(order, runner, its, path, room))
    its.close()
    try:
        room.show(order["shown"], {})
        _tell(connection, {"pid": runner})
        connection.settimeout(_BEGIN_WITHIN_S)
        begins = connection.recv(16) == BEGIN
    except (NotFit, OSError) as error:
        _tell(connection, {"refused": str(error)})
        begins = False
    connection.close()
    if not begins:
        # Whoever asked has given up, and starts the run another way.
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return 0
    from workspace_lib.runs import runner as module

    return module.main(order["arguments"], forked=(child, ours.detach()))


def _be_notebook(
    order: Mapping[str, Any], runner: int, stdin: socket.socket, path: list[str], room: Room
) -> int | None:
    """Be the process of the notebook, forked by the runner; returns its exit code."""
    _die_with(runner)
    _make_new()
    os.dup2(stdin.fileno(), 0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _close_all_but()
    marks = order["marks"]
    os.environ.update(marks)
    words = [sys.executable, "-m", "workspace_lib.runs.notebook_child", str(runner)]
    room.show(words, marks)
    sys.argv = words[2:]
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    here = os.getpid()
    kernel = os.fork()
    if kernel == 0:
        _end_with(lambda: _be_kernel(here, its, path, marks, room))
    its.close()
    from workspace_lib.runs import notebook_child

    return notebook_child.main(forked=(kernel, ours))


def _be_kernel(
    notebook: int, channel: socket.socket, path: list[str], marks: Mapping[str, str], room: Room
) -> int | None:
    """Be the kernel, forked by the process of the notebook, as soon as that one says for what."""
    os.setsid()
    _die_with(notebook)
    _make_new()
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    _close_all_but(channel.fileno())
    content, streams, _, _ = socket.recv_fds(channel, LONGEST_MESSAGE, 4)
    if not content:
        return 0  # it is not needed
    order = json.loads(content)
    for handle, number in zip(streams, (1, 2), strict=True):
        os.dup2(handle, number)
    _close_all_but()
    os.chdir(order["cwd"])
    _set_environment({**_set_by_packages, **order["environment"]})
    sys.path[:] = path
    launcher = importlib.util.find_spec("ipykernel_launcher")
    sys.argv = [launcher.origin if launcher and launcher.origin else "", *order["arguments"]]
    room.show([sys.executable, "-m", "ipykernel_launcher", *order["arguments"]], marks)
    _choose_backend()
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()
    return 0


def _choose_backend() -> None:
    """Have matplotlib draw into the notebook, as it would if the kernel had loaded it."""
    if not os.environ.get("MPLBACKEND"):
        os.environ["MPLBACKEND"] = _INLINE
    if matplotlib := sys.modules.get("matplotlib"):
        matplotlib.rcParams["backend"] = os.environ["MPLBACKEND"]


def _make_new() -> None:
    """Undo what a forked process has in common with its parent and a started one has not."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    if processes := sys.modules.get("multiprocessing.process"):
        processes.current_process().authkey = os.urandom(32)


def _set_environment(variables: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)


def _close_all_but(keep: int = 2) -> None:
    for handle in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if handle > 2 and handle != keep:
            with contextlib.suppress(OSError):  # the one of the listing itself
                os.close(handle)


def _die_with(parent: int) -> None:
    """Have the system kill this process when ``parent`` ends, which may have happened already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _end_with(work: Callable[[], int | None]) -> NoReturn:
    """Do the work of a forked process and end it, without taking down two thousand modules."""
    code = 1
    try:
        code = work() or 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 - it must not go back into the parent's loop
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            vars(threading)["_shutdown"]()  # waits for threads that are no daemons
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def peer_of(connection: socket.socket) -> int:
    """Return the user id of the process at the other end, as the system knows it."""
    size = struct.calcsize("3i")
    _, user, _ = struct.unpack(
        "3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    )
    return int(user)


def _tell(connection: socket.socket, what: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):  # whoever asked is gone
        connection.send(json.dumps(what).encode(), socket.MSG_NOSIGNAL)


def _pairs(variables: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in variables.items()]


def _joined(words: Sequence[str]) -> bytes:
    return b"".join(os.fsencode(word) + b"\0" for word in words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
