"""The parent of live dashboards' kernels: has loaded what they need, and forks one in no time.

A kernel that starts by itself spends two seconds of a core on imports; ten people who come at once
wait for all of it. This process imports the same once and does nothing else: no thread, no loop, no
socket but the one to the server, no store. Each kernel is a fork of it in a session of its own,
shares what was loaded, and gets the environment and folder that it would have been started with.

It forks only what would not differ from a kernel that started by itself: when a file of this
package was changed, or this process has a thread that it should not have, it says so and ends, in
the first case once the last of its kernels has.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import json
import logging
import os
import random
import signal
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from workspace_lib.runs.forked import elsewhere
from workspace_lib.runs.processes import die_with_parent
from workspace_lib.views.warm_kernels import LONGEST_ORDER

log = logging.getLogger(__name__)

#: What every dashboard's kernel loads sooner or later, beside what the notebooks import.
_ALWAYS = (
    "ipykernel.ipkernel",
    "ipykernel.kernelapp",
    "ipykernel.zmqshell",
    "numpy.random",
    # Reading a file that pandas wrote loads pandas, and that takes a second.
    "pandas",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "workspace_lib.runs.ledger_queries",
    "workspace_lib.store.migrate",
    "workspace_lib.store.publications",
    "workspace_lib.views.board",
    "xlsxwriter",
)
#: Its allocator's own thread, which it stops for a fork and starts again.
_HARMLESS_THREADS = {"jemalloc_bg_thd"}
#: A child that was forked after these were used hangs.
_NEVER = {"polars"}
KERNEL_NAME = "ipykernel"


def imports_of(notebooks: Iterable[Path]) -> list[str]:
    """Return the modules that notebooks import, each once; a broken notebook has none."""
    found: dict[str, None] = {}
    for path in notebooks:
        try:
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
            trees = [ast.parse(source) for source in sources]
        except (OSError, ValueError, KeyError, TypeError, SyntaxError):
            continue
        for node in (node for tree in trees for node in ast.walk(tree)):
            if isinstance(node, ast.Import):
                found |= dict.fromkeys(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found[node.module] = None
                found |= dict.fromkeys(f"{node.module}.{alias.name}" for alias in node.names)
    return [name for name in found if name.partition(".")[0] not in _NEVER]


def preload(folder: Path) -> None:
    """Import what the kernels of the dashboards in ``folder`` will need."""
    for name in (*_ALWAYS, *imports_of(sorted(folder.glob("*.ipynb")))):
        # What cannot be imported here fails in the notebook, where it is told. A name that is no
        # module but something in one cannot be imported either.
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    with contextlib.suppress(Exception):
        from workspace_lib.views.tiles import makers

        makers()
    # So that collecting garbage in a child does not copy all of it.
    gc.collect()
    gc.freeze()


def doubts() -> str | None:
    """Return why a fork of this process might not work, or None."""
    if found := _NEVER & sys.modules.keys():
        return f"{', '.join(found)} was loaded"
    tasks = Path("/proc/self/task")
    names = {(task / "comm").read_text().strip() for task in tasks.iterdir() if task.name != _PID}
    if strange := names - _HARMLESS_THREADS:
        return f"it has threads: {', '.join(sorted(strange))}"
    return None


def own_files() -> dict[str, int]:
    """Return when each loaded file of this package was changed last [ns]."""
    found = {}
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if path and name.partition(".")[0] == "workspace_lib":
            with contextlib.suppress(OSError):
                found[path] = Path(path).stat().st_mtime_ns
    return found


def serve(channel: socket.socket, folder: Path) -> None:
    """Fork a kernel for each order that comes, until the other end closes or there is a doubt."""
    if sys.platform == "win32":
        raise elsewhere()
    preload(folder)
    loaded = own_files()
    # Kernels that ended are nobody's business here; the server looks at them itself.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while order := channel.recv(LONGEST_ORDER):
        if own_files() != loaded:
            channel.send(json.dumps({"changed": True}).encode())
            _wait_for_kernels(channel)
            return
        if (doubt := doubts()) is not None:
            channel.send(json.dumps({"error": doubt}).encode())
            return
        wanted = json.loads(order)
        pid = os.fork()
        if pid == 0:
            _become_kernel(channel, wanted)
        channel.send(json.dumps({"pid": pid}).encode())


def _wait_for_kernels(channel: socket.socket) -> None:
    """Wait until the kernels, which end with this process, have ended or the server has."""
    if sys.platform == "win32":
        return
    channel.settimeout(1.0)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, os.WNOHANG)
            with contextlib.suppress(TimeoutError):
                if not channel.recv(1):
                    return


def _become_kernel(channel: socket.socket, order: dict[str, Any]) -> NoReturn:
    if sys.platform == "win32":
        raise elsewhere()
    parent = os.getppid()
    code = 1
    try:
        os.setsid()
        die_with_parent(parent)
        channel.close()
        # What a list of processes calls it; its command line remains its parent's.
        Path("/proc/self/comm").write_text(KERNEL_NAME)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(order["environment"])
        os.chdir(order["cwd"])
        random.seed()
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed()
        from ipykernel.kernelapp import IPKernelApp

        words = [*order["arguments"], f"--IPKernelApp.parent_handle={parent}"]
        sys.argv = ["ipykernel_launcher", *words]
        IPKernelApp.launch_instance(argv=words)
        code = 0
    except BaseException:
        log.exception("A kernel that was forked failed.")
    finally:
        os._exit(code)


_PID = str(os.getpid())


def main() -> int:
    """Serve the channel whose descriptor is the first argument."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    serve(channel, Path(sys.argv[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
