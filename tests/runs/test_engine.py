"""The engine tells the truth in the output notebook, and saves neither secrets nor too often."""

from __future__ import annotations

import tempfile
import threading
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from nbclient.exceptions import DeadKernelError
from nbformat.v4 import new_code_cell, new_notebook, new_output
from papermill.engines import papermill_engines

from workspace_lib import secrets
from workspace_lib.runs import notebook_client
from workspace_lib.runs.engine import ENGINE_NAME, WorkspaceEngine, register_engine
from workspace_lib.runs.notebook_client import RunStopped, WorkspaceExecutionManager


def write_cells(path: Path, *cells: str) -> Path:
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in cells]), path)
    return path


def run(source: Path, **options: Any) -> Path:
    output = source.with_name("output.ipynb")
    papermill.execute_notebook(
        str(source),
        str(output),
        engine_name=ENGINE_NAME,
        kernel_name="python3",
        progress_bar=False,
        **options,
    )
    return output


def statuses(path: Path) -> list[str]:
    return [cell.metadata.papermill.status for cell in nbformat.read(path, 4).cells]


def test_papermill_finds_the_engine_by_its_entry_point_and_by_registration() -> None:
    found = {point.name: point.value for point in entry_points(group="papermill.engine")}
    assert found[ENGINE_NAME] == "workspace_lib.runs.engine:WorkspaceEngine"
    register_engine()
    assert papermill_engines.get_engine(ENGINE_NAME) is WorkspaceEngine


@pytest.mark.kernel
@pytest.mark.slow
def test_a_dead_kernel_is_not_saved_as_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t"))
    (tmp_path / "t").mkdir()
    source = write_cells(
        tmp_path / "in.ipynb",
        "import json, os, ipykernel\n"
        "about = json.load(open(ipykernel.get_connection_file()))\n"
        "print(about['transport'], os.getsid(0) == os.getpid())",
        "import signal\nprint('last words', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)",
        "'never reached'",
    )
    with pytest.raises(DeadKernelError):
        run(source)
    output = tmp_path / "output.ipynb"
    notebook = nbformat.read(output, 4)
    assert notebook.metadata.papermill.exception is True
    assert statuses(output) == ["completed", "failed", "pending"]
    assert notebook.cells[0].outputs[0].text == "ipc True\n"
    assert "SIGKILL" in notebook.cells[1].outputs[-1].evalue
    assert list((tmp_path / "t").iterdir()) == [], "sockets were left behind"


@pytest.mark.kernel
@pytest.mark.slow
def test_a_notebook_may_print_too_much_and_end_itself_cleanly(tmp_path: Path) -> None:
    source = write_cells(
        tmp_path / "in.ipynb",
        "for _ in range(600):\n    print('x' * 10_000)",
        "import sys; sys.exit()",
        "'not needed today'",
    )
    output = run(source)
    assert statuses(output) == ["completed", "completed", "pending"]
    notebook = nbformat.read(output, 4)
    assert not notebook.metadata.papermill.exception
    printed = "".join(item.text for item in notebook.cells[0].outputs)
    assert 4_000_000 < len(printed) < 5_001_000
    assert "the rest is not kept" in printed


@pytest.mark.kernel
@pytest.mark.slow
def test_a_notebook_is_stopped_by_an_interrupt_so_that_it_can_close_its_devices(
    tmp_path: Path,
) -> None:
    closed = tmp_path / "closed"
    source = write_cells(
        tmp_path / "in.ipynb",
        "import pathlib, time\n"
        f"try:\n    pathlib.Path({str(tmp_path / 'runs')!r}).touch(); time.sleep(600)\n"
        f"finally:\n    pathlib.Path({str(closed)!r}).touch()",
        "'never reached'",
    )
    clients: list[notebook_client.WorkspaceNotebookClient] = []

    def stop_when_it_runs() -> None:
        while not (tmp_path / "runs").exists():
            over.wait(0.05)
        clients[0].stop()

    over = threading.Event()
    stopper = threading.Thread(target=stop_when_it_runs, daemon=True)
    stopper.start()
    with pytest.raises(RunStopped):
        run(source, on_client=clients.append)
    over.set()
    assert closed.exists()
    assert statuses(tmp_path / "output.ipynb") == ["failed", "pending"]


def manager_of(tmp_path: Path, *outputs: Any) -> WorkspaceExecutionManager:
    notebook = new_notebook(cells=[new_code_cell("1", outputs=list(outputs))])
    notebook.metadata["papermill"] = {}
    for cell in notebook.cells:
        cell.metadata["papermill"] = {"status": "pending"}
    path = str(tmp_path / "output.ipynb")
    return WorkspaceExecutionManager(notebook, output_path=path, progress_bar=False)


def test_secrets_are_replaced_in_every_part_of_what_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "_known", set())
    secrets.remember("hunter2!")
    html = {"text/html": "<b>hunter2!</b>"}
    manager = manager_of(
        tmp_path,
        new_output("stream", text="hunter2!\n"),
        new_output("display_data", data=html),
        new_output("error", ename="E", evalue="hunter2!", traceback=["in f", "hunter2!"]),
    )
    manager.nb.metadata["parameters"] = {"address": "ftp://u:hunter2%21@h"}
    manager.save()
    text = (tmp_path / "output.ipynb").read_text()
    assert "hunter2" not in text
    assert text.count("***") == 5


def test_where_saving_takes_long_it_is_done_less_often_but_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    saves = []

    def slow_write(notebook: Any, path: str) -> None:
        saves.append(clock[0])
        clock[0] += 2.0

    monkeypatch.setattr(notebook_client.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(notebook_client, "write_ipynb", slow_write)
    manager = manager_of(tmp_path)
    manager.save()
    manager.save()
    assert (len(saves), manager.save_waits) == (1, True)
    clock[0] += manager.save_pause_s
    manager.save()
    manager.notebook_complete()
    assert len(saves) == 3


def test_a_full_disk_does_not_end_a_run_that_goes_on_but_is_told_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(notebook: Any, path: str) -> None:
        raise OSError(28, "No space left on device")

    manager = manager_of(tmp_path)
    monkeypatch.setattr(notebook_client, "write_ipynb", full)
    manager.save()
    assert manager.save_waits
    with pytest.raises(OSError, match="No space"):
        manager.notebook_complete()


def test_a_kernel_that_never_started_leaves_no_cell_completed(tmp_path: Path) -> None:
    manager = manager_of(tmp_path)
    manager.start_time = None
    manager.notebook_complete(clean=False)
    output = tmp_path / "output.ipynb"
    assert statuses(output) == ["pending"]
    assert nbformat.read(output, 4).metadata.papermill.exception is True
