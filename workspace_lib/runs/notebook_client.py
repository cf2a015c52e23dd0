"""The client that runs a notebook's cells for our engine, and the manager that notes how they end.

papermill 2.7 saves a notebook whose kernel died, or whose cell timed out, as ``completed``. Here
the cell that was running is marked ``failed``, later ones stay ``pending``, and the notebook says
``exception: true``. The kernel runs under this interpreter, in a session of its own, and is
reached through sockets in a folder that only this user can enter. Secrets are redacted before
anything is saved.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import platform
import queue
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
from jupyter_core.utils import run_sync
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NotebookExecutionManager
from papermill.iorw import write_ipynb
from traitlets import Any as AnyTrait
from traitlets import Unicode

from workspace_lib import secrets
from workspace_lib.files import atomic_write
from workspace_lib.runs.kernel_process import ForkedKernel, WorkspaceKernelManager, interrupt

#: Loaded into each kernel: ends it with its runner, tells the runner what a cell raised.
KERNEL_EXTENSION = "workspace_lib.runs.kernel"
#: Saving may take one part in this many of a run's time; then cells are saved less often.
_SAVE_SHARE = 10
_QUICK_SAVE_S = 0.05
#: Characters of printed text that an output notebook keeps: it must open in a browser.
LONGEST_TEXT = 5_000_000
_INTERRUPT_EVERY_S = 1.0
_UNWIND_S = 2.0

log = logging.getLogger("workspace_lib.runs.engine")


class RunStopped(Exception):
    """The runner told the notebook to stop."""


class WorkspaceExecutionManager(NotebookExecutionManager):  # type: ignore[misc]
    """Writes the state of cells into the output notebook, redacted and not more than needed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._save_took_s = 0.0
        self._saved_at = -math.inf
        self.save_waits = False
        self._hold = False

    @property
    def save_pause_s(self) -> float:
        """How long to wait between two saves [s]: nothing where saving is quick."""
        return _SAVE_SHARE * self._save_took_s if self._save_took_s > _QUICK_SAVE_S else 0.0

    def cell_start(self, cell: Any, cell_index: int | None = None, **kwargs: Any) -> None:
        """Note that a cell runs; a text that only passes by is saved with the next cell of code."""
        with self._held(cell.cell_type != "code"):
            super().cell_start(cell, cell_index=cell_index, **kwargs)

    def cell_complete(self, cell: Any, cell_index: int | None = None, **kwargs: Any) -> None:
        """Note how a cell ended; it is saved at once with the beginning of the next, or the end."""
        with self._held(True):
            super().cell_complete(cell, cell_index=cell_index, **kwargs)

    @contextlib.contextmanager
    def _held(self, held: bool) -> Iterator[None]:
        self._hold = held
        try:
            yield
        finally:
            self._hold = False

    def save(self, *, force: bool = False, **kwargs: Any) -> None:
        """Save the notebook, unless the last save was long and just before."""
        begin = time.monotonic()
        too_soon = begin < self._saved_at + self.save_pause_s
        self.save_waits = not force and (self._hold or too_soon)
        if self.save_waits:
            return
        redact_notebook(self.nb)
        if self.output_path:
            try:
                write_ipynb(self.nb, self.output_path)
            except OSError as error:
                # A full disk must not end a run that captures; in the end it has to be told.
                if force and self.end_time is not None:
                    raise
                log.warning("The output notebook could not be saved: %s", error)
                self.save_waits = True
        self.last_save_time = self.now()
        self._saved_at = time.monotonic()
        self._save_took_s = self._saved_at - begin

    def notebook_complete(self, *, clean: bool = True, **kwargs: Any) -> None:
        """Close the notebook: what never ran stays pending, and nothing unclean looks clean."""
        self.end_time = self.now()
        metadata = self.nb.metadata.papermill
        metadata["end_time"] = self.end_time.isoformat()
        if self.start_time is not None:
            metadata["duration"] = (self.end_time - self.start_time).total_seconds()
        if not clean:
            metadata["exception"] = True
        self.complete_pbar()
        self.cleanup_pbar()
        self.save(force=True)


class WorkspaceNotebookClient(PapermillNotebookClient):  # type: ignore[misc]
    """Executes the cells; can be told to stop from another thread."""

    private_folder = Unicode()
    kernel_cwd = Unicode(allow_none=True)
    kernel_log = AnyTrait(None, allow_none=True)
    kernel_environment = AnyTrait(None, allow_none=True)
    forked_kernel = AnyTrait(None, allow_none=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stopping = threading.Event()
        self._over = threading.Event()
        self._printed = 0

    def create_kernel_manager(self) -> WorkspaceKernelManager:
        """Return a manager whose sockets and keys lie in the private folder."""
        transport = "tcp" if os.name == "nt" else "ipc"
        self.km = WorkspaceKernelManager(
            kernel_name="python3",
            transport=transport,
            connection_file=str(Path(self.private_folder) / "k.json"),
        )
        self.km.launch_through(self.forked_kernel)
        return self.km

    def execute(self, **kwargs: Any) -> Any:
        """Run all cells in a fresh kernel.

        Raises
        ------
        DeadKernelError, CellTimeoutError, RunStopped
            The cell that was running is marked failed by then.
        """
        self.reset_execution_trackers()
        self.extra_arguments = [f"--ext={KERNEL_EXTENSION}"]
        try:
            with self._kernel_output() as streams, self.setup_kernel(**streams):
                self.papermill_execute_cells()
                self.set_widgets_metadata()
        finally:
            self._over.set()
        self.nb.metadata["language_info"] = _language_info()
        return self.nb

    def papermill_execute_cells(self) -> None:
        """Run the cells in order and note truthfully how each ended."""
        for index, cell in enumerate(self.nb.cells):
            if self._stopping.is_set():
                raise RunStopped("The run was stopped before this cell.")
            try:
                self.nb_man.cell_start(cell, index)
                self.execute_cell(cell, index)
            except CellExecutionError as error:
                if _is_clean_exit(error):
                    return
                self.nb_man.cell_exception(self.nb.cells[index], cell_index=index, exception=error)
                if self._stopping.is_set():
                    raise RunStopped("The run was stopped in this cell.") from error
                return
            except (DeadKernelError, CellTimeoutError) as error:
                self._note(index, self._explain(error))
                if isinstance(error, CellTimeoutError):
                    self._unwind()
                raise
            except BaseException:
                self.nb_man.cell_exception(self.nb.cells[index], cell_index=index)
                raise
            finally:
                self.nb_man.cell_complete(self.nb.cells[index], cell_index=index)

    def output(self, outs: Any, msg: Any, display_id: Any, cell_index: Any) -> Any:
        """Keep an output, unless the notebook has printed too much already."""
        if msg["msg_type"] == "stream":
            room = LONGEST_TEXT - self._printed
            if room < 0:
                return None
            printed = msg["content"]["text"]
            self._printed += len(printed)
            if len(printed) > room:
                self._printed += 1  # from now on there is no room, not even for nothing
                note = f"\n… more than {LONGEST_TEXT:,} characters; the rest is not kept.\n"
                msg["content"]["text"] = printed[:room] + note
        return super().output(outs, msg, display_id, cell_index)

    async def async_execute_cell(self, *args: Any, **kwargs: Any) -> Any:
        """Run one cell; a save that had to wait is made while it runs."""
        saver = asyncio.ensure_future(self._save_late())
        try:
            return await super().async_execute_cell(*args, **kwargs)
        finally:
            saver.cancel()

    execute_cell = run_sync(async_execute_cell)

    async def _save_late(self) -> None:
        while True:
            await asyncio.sleep(max(_QUICK_SAVE_S, self.nb_man.save_pause_s))
            if self.nb_man.save_waits:
                self.nb_man.save(force=True)

    def stop(self) -> None:
        """Interrupt the kernel again and again until it ends; called from another thread.

        An interrupt, unlike a kill, lets the notebook's ``finally`` and ``with`` close devices.
        """
        self._stopping.set()
        while not self._over.is_set():
            self._interrupt()
            self._over.wait(_INTERRUPT_EVERY_S)

    def _interrupt(self) -> None:
        provisioner = getattr(self.km, "provisioner", None)
        process = getattr(provisioner, "process", None)
        if process is not None:
            interrupt(process)

    def _unwind(self) -> None:
        """Give a cell that timed out a moment to close what it holds."""
        self._interrupt()
        with contextlib.suppress(queue.Empty):
            # The reply to the interrupted cell is the next message on this channel.
            run_sync(self.kc.shell_channel.get_msg)(timeout=_UNWIND_S)

    def _explain(self, error: Exception) -> tuple[str, str]:
        if isinstance(error, CellTimeoutError):
            return "CellTimeoutError", f"The cell ran longer than its timeout of {self.timeout} s."
        process = getattr(getattr(self.km, "provisioner", None), "process", None)
        return "DeadKernelError", f"The kernel died{_how(process.poll() if process else None)}."

    def _note(self, index: int, error: tuple[str, str]) -> None:
        name, message = error
        cell = self.nb.cells[index]
        trace = [f"{name}: {message}"]
        output: Any = nbformat.v4.new_output("error", ename=name, evalue=message, traceback=trace)
        cell.outputs.append(output)
        self.nb_man.cell_exception(cell, cell_index=index)
        cell.metadata.papermill["message"] = message

    @contextlib.contextmanager
    def _kernel_output(self) -> Iterator[dict[str, Any]]:
        """What a kernel writes past the notebook (crashes, warnings of C code) goes to the log."""
        arguments: dict[str, Any] = {"cwd": self.kernel_cwd} if self.kernel_cwd else {}
        if self.kernel_environment:
            arguments["env"] = {**os.environ, **self.kernel_environment}
        if self.kernel_log is None:
            yield arguments
            return
        reading, writing = os.pipe()
        reader = threading.Thread(target=_pass_on, args=(reading, self.kernel_log), daemon=True)
        reader.start()
        try:
            yield {**arguments, "stdout": writing, "stderr": writing}
        finally:
            os.close(writing)
            reader.join(1.0)


def execute(
    notebook: nbformat.NotebookNode,
    *,
    output_path: str | None = None,
    progress_bar: bool = False,
    log_output: bool = False,
    autosave_cell_every: int = 30,
    stdout_file: Any = None,
    stderr_file: Any = None,
    start_timeout: float = 60,
    execution_timeout: float | None = None,
    private_folder: Path | None = None,
    kernel_cwd: Path | None = None,
    kernel_log: logging.Logger | None = None,
    kernel_environment: Mapping[str, str] | None = None,
    on_client: Callable[[WorkspaceNotebookClient], None] | None = None,
    forked_kernel: ForkedKernel | None = None,
) -> Any:
    """Run ``notebook`` in a fresh kernel and save it truthfully, however the run ends.

    Parameters
    ----------
    start_timeout, execution_timeout : float
        For the kernel to be ready, and for each cell [s].
    private_folder : Path, optional
        Folder mode 0700 with a short path, for the sockets; default: one of its own.
    kernel_cwd : Path, optional
        The kernel's folder; JupyterLab takes the notebook's.
    kernel_log : logging.Logger, optional
        Gets what the kernel writes to its own standard output and error.
    kernel_environment : mapping, optional
        Variables for the kernel alone, beside those of this process.
    on_client : callable, optional
        Is given the client, whose ``stop`` another thread may call.
    forked_kernel : ForkedKernel, optional
        Becomes the kernel; default: one is started.

    Raises
    ------
    DeadKernelError, CellTimeoutError, RunStopped
        A cell that raised an ordinary error is told by the notebook's metadata, as papermill wants.
    """
    manager = WorkspaceExecutionManager(
        notebook,
        output_path=output_path,
        progress_bar=progress_bar,
        log_output=log_output,
        autosave_cell_every=autosave_cell_every,
    )
    manager.notebook_start()
    own = None if private_folder else tempfile.mkdtemp(prefix="workspace-")
    clean = False
    try:
        client = WorkspaceNotebookClient(
            manager,
            private_folder=str(private_folder or own),
            kernel_cwd=str(kernel_cwd) if kernel_cwd else None,
            kernel_log=kernel_log,
            kernel_environment=kernel_environment,
            forked_kernel=forked_kernel,
            timeout=math.ceil(execution_timeout) if execution_timeout else None,
            startup_timeout=math.ceil(start_timeout),
            kernel_name="python3",
            # A graceful shutdown stalls for seconds now and then; devices are closed by the
            # notebook itself, not by the end of the interpreter.
            shutdown_kernel="immediate",
            log=log,
            log_output=log_output,
            stdout_file=stdout_file,
            stderr_file=stderr_file,
        )
        if on_client is not None:
            on_client(client)
        client.execute()
        clean = True
    finally:
        manager.notebook_complete(clean=clean)
        if own:
            shutil.rmtree(own, ignore_errors=True)
    return manager.nb


class AtomicHandler:
    """papermill's way to read and write below the output folder: whole files, redacted."""

    def read(self, path: str) -> str:
        return Path(path).read_text(encoding="utf-8")

    def listdir(self, path: str) -> list[str]:
        return [str(entry) for entry in sorted(Path(path).iterdir())]

    def write(self, content: str, path: str) -> None:
        atomic_write(Path(path), content.encode("utf-8"), durable=False)

    def pretty_path(self, path: str) -> str:
        return path


def redact_notebook(notebook: nbformat.NotebookNode) -> None:
    """Replace every known secret in the notebook, in place: the client holds on to its cells."""
    _redact(notebook)


def _redact(node: Any) -> None:
    pairs = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in list(pairs):
        if isinstance(value, str):
            if secrets.contains_secret(value):
                node[key] = secrets.redact(value)
        elif isinstance(value, dict | list):
            _redact(value)


def _is_clean_exit(error: CellExecutionError) -> bool:
    return error.ename == "SystemExit" and error.evalue in ("", "0", "None")


def _how(returncode: int | None) -> str:
    if returncode is None or returncode >= 0:
        return "" if returncode is None else f" with exit code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    hint = " (killed from outside, or out of memory)" if name == "SIGKILL" else ""
    return f" of {name}{hint}"


def _language_info() -> dict[str, Any]:
    return {
        "name": "python",
        "version": platform.python_version(),
        "mimetype": "text/x-python",
        "codemirror_mode": {"name": "ipython", "version": 3},
        "pygments_lexer": "ipython3",
        "nbconvert_exporter": "python",
        "file_extension": ".py",
    }


def _pass_on(reading: int, target: logging.Logger) -> None:
    with os.fdopen(reading, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.strip():
                target.info("kernel: %s", line.rstrip())
