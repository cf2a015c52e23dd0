"""Runs off a warm parent: started with the scheduler, asked for each run, left alone in doubt.

The imports of a run cost more than most runs. `workspace_lib.runs.warm_parent` has done them once
and forks runners off itself. It belongs to the scheduler: started and restarted by it, ended with
it; a run by hand uses one that is there. Whenever anything speaks against it (no Linux, another
lock or environment, no answer in time), the answer is None and the run is started the usual way.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from workspace_lib.runs import processes
from workspace_lib.runs.forked import elsewhere, has_ended, pidfd_of
from workspace_lib.runs.marks import Place, run_marks
from workspace_lib.settings import Settings

if sys.platform == "linux":
    from workspace_lib.runs import warm_parent
else:
    warm_parent = None

#: A parent that does not answer within this is not used [s].
_ANSWER_WITHIN_S = 5.0
#: Ended runners are reported at once; if not, the parent is gone [s].
_REPORT_WITHIN_S = 1.0
#: Pauses before a parent that died is started again: the first, and the longest [s].
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 600.0
_END_WITHIN_S = 5.0
#: One that did not answer is not asked again for so long [s].
_LEFT_ALONE_S = 30.0
#: Bytes kept free in the parent for the command lines and marks of runs.
_ROOM = 8192

#: Variables that packages read while they are loaded: the parent is given these and no others, and
#: forks only runs that have the same.
_OF_IMPORTS = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|TZ|TZDIR|TMPDIR|TMP|TEMP|VIRTUAL_ENV|CONDA_PREFIX"
    r"|LC_.*|LD_.*|PYTHON.*|XDG_.*|MPL.*|MATPLOTLIB.*|JUPYTER.*|IPYTHON.*|IPYKERNEL.*"
    r"|OMP_.*|OPENBLAS_.*|GOTO_.*|MKL_.*|KMP_.*|BLIS_.*|NUMEXPR_.*|NPY_.*|NUMPY_.*|SCIPY_.*"
    r"|PANDAS_.*|ARROW_.*|SQLALCHEMY_.*|PYDANTIC_.*|ZMQ_.*|MALLOC_.*|GLIBC_.*|PYDEVD_.*|DEBUGPY_.*"
)
_LIKE_A_SECRET = re.compile(r"PASS|SECRET|TOKEN|KEY|CREDENTIAL")
#: arrow's allocator would keep a thread running, and nothing with threads is forked; what kernels
#: load of a debugger would complain of the interpreter.
_OF_THE_PARENT = {
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}
# The folder of a program stands first on its path: modules of ours would hide others.
_PROGRAM = "import sys, runpy; del sys.path[0]; runpy.run_path(sys.argv.pop(1), None, '__main__')"

log = logging.getLogger("workspace_lib.runs.warm")


def is_possible(settings: Settings) -> bool:
    """Return whether runs may be forked here at all."""
    return settings.runs.warm == "auto" and sys.platform == "linux" and hasattr(os, "pidfd_open")


class WarmRunner:
    """A runner forked by the parent: none of our children, but its end is told to us."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._connection = connection
        self._end = pidfd_of(pid)

    def lives(self) -> bool:
        """Return whether it lives."""
        if not has_ended(self._end):
            return True
        if self.returncode is None:
            with contextlib.suppress(OSError, ValueError, KeyError):
                self._connection.settimeout(_REPORT_WITHIN_S)
                self.returncode = json.loads(self._connection.recv(1024))["exit"]
            self._connection.close()
        return False

    def wait(self, longest_s: float) -> None:
        """Wait for its end."""
        has_ended(self._end, longest_s)

    def close(self) -> None:
        """Let go of it."""
        self._connection.close()

    def __del__(self) -> None:
        self._connection.close()
        os.close(self._end)


class WarmParent:
    """The warm parent of a site, as its owner and its users see it.

    Parameters
    ----------
    settings : Settings
        Of the site.
    owner : bool
        Whether `keep` starts one, which ends with this process; else one is used that is there.
    """

    def __init__(self, settings: Settings, *, owner: bool) -> None:
        self._settings = settings
        self._owner = owner
        self._place = Place.of(settings)
        self._folder = processes.private_folder(settings.outputs_dir, "warm", 0)
        self._child: subprocess.Popen[bytes] | None = None
        self._key = ""
        self._pause_s = _FIRST_PAUSE_S
        self._not_before = 0.0
        self._silent_until = 0.0
        self._lock_known: tuple[object, str] = (None, "")

    @property
    def pid(self) -> int | None:
        """Process id of the parent that belongs to us, if it lives and takes orders."""
        child = self._child
        lives = child is not None and child.poll() is None
        return child.pid if child is not None and lives and self._listens() else None

    def keep(self, environment: Mapping[str, str]) -> None:
        """Have a parent fit for runs with this environment; the owner calls it again and again."""
        if sys.platform != "linux" or not self._owner or not is_possible(self._settings):
            return
        key = self.key(environment)
        if self._child is not None:
            code = self._child.poll()
            if code is None and key == self._key:
                return
            if code is None:
                log.info("The lock or the environment has changed: the warm parent starts anew.")
                self.stop()
            else:
                self._note_end(code)
        if time.monotonic() >= self._not_before:
            self._start(key, environment)

    def start_runner(
        self,
        words: Sequence[str],
        run: tuple[str, int],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        stream: IO[bytes],
    ) -> WarmRunner | None:
        """Start the runner ``words`` of a run, or return None: then nothing has happened.

        Parameters
        ----------
        words : sequence of str
            Its whole command line, ``python -m MODULE …``.
        run : str, int
            Run id and attempt, for the marks of what it starts.
        environment : mapping
            All of its environment.
        stream : binary file
            Its standard output and error.
        """
        if sys.platform != "linux" or not is_possible(self._settings):
            return None
        if time.monotonic() < self._silent_until:
            return None
        order = {
            "key": self.key(environment),
            "shown": list(words),
            "arguments": list(words[3:]),
            "marks": run_marks(self._place, *run),
            "environment": dict(environment),
            "cwd": str(cwd),
        }
        content = json.dumps(order).encode()
        if len(content) > warm_parent.LONGEST_MESSAGE:
            return None
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            return self._ask(connection, content, stream)
        except (FileNotFoundError, ConnectionError):
            connection.close()  # there is none, none yet, or none any more
        except (OSError, ValueError) as error:
            connection.close()
            log.warning("The warm parent does not answer (%s); the run starts cold.", error)
            if self._child is not None:
                self._child.kill()
            self._silent_until = time.monotonic() + _LEFT_ALONE_S
        return None

    def stop(self) -> None:
        """End the parent that belongs to us; its runs go on."""
        child, self._child = self._child, None
        if child is None:
            return
        assert child.stdin is not None
        # One of the two: the second would disturb it while it cleans up.
        if self._listens():
            child.stdin.close()
        else:
            child.terminate()  # it still loads and does not look
        try:
            child.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        self._clean_after(child)

    def key(self, environment: Mapping[str, str]) -> str:
        """Return what a parent must have been loaded with to be fit for such a run.

        Lock, interpreter, installed packages, the parent's own program, what packages read while
        they are loaded, and what a started process would inherit from us.
        """
        if sys.platform != "linux":
            raise elsewhere()
        facts = {
            "lock": self._lock_hash(),
            "python": [sys.executable, sys.version, sys.prefix],
            "packages": [_stamp(Path(entry)) for entry in sys.path if "-packages" in entry],
            "program": _stamp(Path(warm_parent.__file__)),
            "drawing": _stamp(self._kernel_cwd / "matplotlibrc"),
            "variables": _of_imports(environment),
            "inherited": _inherited(),
        }
        return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @property
    def _kernel_cwd(self) -> Path:
        return self._settings.notebooks_dir / "jobs"

    def _lock_hash(self) -> str:
        path = self._settings.root / "requirements.lock"
        stamp = _stamp(path)
        if stamp != self._lock_known[0]:
            found = sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            self._lock_known = (stamp, found)
        return self._lock_known[1]

    def _listens(self) -> bool:
        """Return whether a parent takes orders: one that was killed has left its socket behind."""
        if sys.platform != "linux":
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            return connection.connect_ex(str(self._folder / "socket")) == 0

    def _start(self, key: str, environment: Mapping[str, str]) -> None:
        if sys.platform != "linux":
            raise elsewhere()
        self._key = key
        self._not_before = time.monotonic() + self._pause_s
        self._silent_until = 0.0
        try:
            if not processes.is_private(self._folder):
                processes.make_private(self._folder)
            program = [sys.executable, "-c", _PROGRAM, warm_parent.__file__]
            self._child = subprocess.Popen(
                [*program, str(self._folder), key, " " * _ROOM],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                # As the kernel's: some packages look there for their configuration.
                cwd=self._kernel_cwd,
                env={**_of_imports(environment), **_OF_THE_PARENT, "ROOM": " " * _ROOM},
                start_new_session=True,
            )
        except OSError as error:
            self._later(f"cannot be started ({error})")

    def _note_end(self, code: int) -> None:
        if sys.platform != "linux":
            raise elsewhere()
        assert self._child is not None
        self._clean_after(self._child)
        self._child = None
        if code == warm_parent.ANOTHER_IS_THERE:
            self._not_before = time.monotonic() + _LEFT_ALONE_S  # it is used meanwhile
        else:
            self._later(f"ended with {code}")

    def _clean_after(self, child: subprocess.Popen[bytes]) -> None:
        """Do what a parent that was killed, by whomever, could not do itself."""
        assert child.stdin is not None
        child.stdin.close()
        if child.returncode < 0:
            processes.remove_private(self._folder)

    def _later(self, why: str) -> None:
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        self._not_before = time.monotonic() + self._pause_s
        log.warning("The warm parent %s; runs start cold for %g s.", why, self._pause_s)

    def _ask(
        self, connection: socket.socket, content: bytes, stream: IO[bytes]
    ) -> WarmRunner | None:
        if sys.platform != "linux":
            raise elsewhere()
        connection.settimeout(_ANSWER_WITHIN_S)
        connection.connect(str(self._folder / "socket"))
        if warm_parent.peer_of(connection) != os.getuid():
            raise PermissionError("it belongs to somebody else")
        socket.send_fds(connection, [content], [stream.fileno()])
        said: dict[str, Any] = json.loads(connection.recv(4096) or b"{}")
        if "pid" not in said:
            log.info("The run starts cold: %s.", said.get("refused", "the warm parent ended"))
            connection.close()
            return None
        runner = WarmRunner(said["pid"], connection)
        connection.send(warm_parent.BEGIN)
        self._pause_s = _FIRST_PAUSE_S
        return runner


def _of_imports(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if _OF_IMPORTS.fullmatch(name) and not _LIKE_A_SECRET.search(name)
    }


def _inherited() -> list[object]:
    """Return what the system hands from a process to those it starts: rights and limits."""
    import resource

    if sys.platform != "linux":
        raise elsewhere()
    limits = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    status = Path("/proc/self/status").read_text()
    return [
        re.findall(r"^(?:Umask|Uid|Gid|Groups|CapEff|NoNewPrivs|Cpus_allowed):.*", status, re.M),
        Path("/proc/self/cgroup").read_text(),
        os.getpriority(os.PRIO_PROCESS, 0),
        [resource.getrlimit(getattr(resource, name)) for name in limits],
    ]


def _stamp(path: Path) -> list[object]:
    """Return what changes when a file or a folder does."""
    try:
        found = path.stat()
    except OSError:
        return [str(path)]
    return [str(path), found.st_ino, found.st_mtime_ns, found.st_size]
