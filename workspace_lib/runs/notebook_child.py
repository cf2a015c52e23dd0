"""The process that runs one notebook by papermill, started by the runner: waits, runs, reports.

It imports papermill while the runner still opens the store, then reads its request, one JSON line,
from standard input. A further line ``stop`` interrupts the notebook; the end of the input means
that the runner is gone, and ends this process and its kernel at once.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import sys
import threading
from multiprocessing.connection import Listener
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workspace_lib import logs, secrets
from workspace_lib.files import atomic_write
from workspace_lib.runs.processes import die_with_parent

if TYPE_CHECKING:
    from workspace_lib.runs.notebook_client import WorkspaceNotebookClient

RESULT_FILE = "result.json"
STOP = "stop"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
log = logging.getLogger("workspace_lib.runs.child")


def main(forked: tuple[int, socket.socket] | None = None) -> int:
    """Run the notebook that standard input asks for; returns 0 if there is a result to read.

    ``forked`` is a process that can become the kernel, with the socket where it waits for that.
    """
    if len(sys.argv) > 1:
        die_with_parent(int(sys.argv[1]))
    _import_papermill()
    line = sys.stdin.readline()
    if not line:
        return 0
    request: dict[str, Any] = json.loads(line)
    logging.getLogger(logs.LOGGER).setLevel(request["level"])
    logs.add_run_log(Path(request["log"]))
    for value in request["secrets"]:
        secrets.remember(value)
    control = _Control()
    with _SecretsHeard(Path(request["private"])) as heard:
        # Not for this process itself: it would report to itself what it has just heard.
        request["environment"] |= heard.environment
        threading.Thread(target=control.listen, daemon=True).start()
        try:
            result = _run(request, control, forked)
        except Exception as error:
            log.exception("papermill could not run the notebook")
            result = {"how": "broken", "message": f"{type(error).__name__}: {error}"}
    content = json.dumps(secrets.redact_tree(result)).encode()
    atomic_write(Path(request["private"]) / RESULT_FILE, content, durable=False)
    return 0


def _import_papermill() -> None:
    # jsonschema would build a grammar of addresses for 0.9 s that no notebook is checked with.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    import papermill  # noqa: F401

    from workspace_lib.runs import notebook_client  # noqa: F401
    from workspace_lib.runs.engine import register_engine

    register_engine()


def _run(
    request: dict[str, Any], control: _Control, forked: tuple[int, socket.socket] | None
) -> dict[str, Any]:
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from papermill.iorw import papermill_io

    from workspace_lib.runs.engine import ENGINE_NAME
    from workspace_lib.runs.kernel_process import ForkedKernel
    from workspace_lib.runs.notebook_client import AtomicHandler, RunStopped

    notebook, output = Path(request["notebook"]), Path(request["output"])
    papermill_io.register(str(output.parent), AtomicHandler())
    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        papermill.execute_notebook(
            _without_braces(notebook),
            _without_braces(output),
            parameters=request["parameters"],
            engine_name=ENGINE_NAME,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            start_timeout=request["start_timeout_s"],
            execution_timeout=request["cell_timeout_s"],
            private_folder=Path(request["private"]),
            kernel_cwd=notebook.parent,
            kernel_log=log,
            kernel_environment=request["environment"],
            on_client=control.take,
            forked_kernel=ForkedKernel(*forked) if forked else None,
        )
    except PapermillExecutionError as error:
        return {
            "how": "notebook_error",
            "name": error.ename,
            "message": _plain(error.evalue or ""),
            "cell": error.exec_count,
        }
    except RunStopped as error:
        return {"how": "stopped", "message": str(error)}
    except CellTimeoutError:
        message = f"A cell ran longer than {request['cell_timeout_s']:g} s."
        return {"how": "cell_timeout", "message": message}
    except (DeadKernelError, RuntimeError) as error:
        # nbclient says RuntimeError where the kernel never became ready.
        if not isinstance(error, DeadKernelError) and "ernel" not in str(error):
            raise
        return {"how": "kernel_died", "message": str(error)}
    return {"how": "ok"}


class _Control:
    """Takes the runner's words from standard input, while the main thread runs the notebook."""

    def __init__(self) -> None:
        self._client: WorkspaceNotebookClient | None = None
        self._stop_asked = False
        self._lock = threading.Lock()

    def take(self, client: WorkspaceNotebookClient) -> None:
        """Remember whom to stop."""
        with self._lock:
            self._client = client
            asked = self._stop_asked
        if asked:
            threading.Thread(target=client.stop, daemon=True).start()

    def listen(self) -> None:
        """Obey until the runner is gone, then go too."""
        for line in sys.stdin:
            if line.strip() == STOP:
                with self._lock:
                    self._stop_asked = True
                    client = self._client
                if client is not None:
                    threading.Thread(target=client.stop, daemon=True).start()
        os._exit(1)


class _SecretsHeard:
    """Hears of each secret the kernel (or a child of it) resolves, before it can be printed."""

    def __init__(self, private: Path) -> None:
        self._key = os.urandom(16)
        address = None if os.name == "nt" else str(private / "secrets.sock")
        self._listener = Listener(address, authkey=self._key)
        self.environment = {
            secrets.REPORT_TO: str(self._listener.address),
            secrets.REPORT_KEY: self._key.hex(),
        }

    def __enter__(self) -> _SecretsHeard:
        threading.Thread(target=self._hear, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.close()

    def _hear(self) -> None:
        while True:
            try:
                with self._listener.accept() as connection:
                    secrets.remember(connection.recv_bytes().decode())
                    connection.send_bytes(b"")
            except (EOFError, ConnectionError, UnicodeDecodeError):
                continue  # this one went away half-way
            except OSError:
                return  # closed: the run is over


def _without_braces(path: Path) -> str:
    # papermill takes paths as format strings.
    return str(path).replace("{", "{{").replace("}", "}}")


def _plain(text: str) -> str:
    return _COLOURS.sub("", text)


if __name__ == "__main__":
    sys.exit(main())
