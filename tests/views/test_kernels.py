"""Kernels forked from a parent that has loaded everything behave like those that start alone."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from workspace_lib.views import kernel_parent
from workspace_lib.views.kernels import DashboardKernelManager
from workspace_lib.views.warm_kernels import WarmKernels, can_fork

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.slow,
    pytest.mark.skipif(not can_fork(), reason="this system forks nothing"),
]
PATIENCE_S = 90


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[WarmKernels]:
    """A parent for the kernels of a folder without notebooks."""
    kernels = WarmKernels(tmp_path)
    kernels.start()
    yield kernels
    kernels.stop()


@asynccontextmanager
async def kernel(warm: WarmKernels | None, **options: Any) -> AsyncIterator[Any]:
    """A kernel and somebody who talks to it."""
    # Not in pytest's own folder: the path of a socket may have 107 bytes.
    folder = tempfile.mkdtemp(prefix="kernels-", dir="/tmp")
    manager = DashboardKernelManager(kernel_name="python3", transport="ipc")
    manager.connection_file = f"{folder}/kernel.json"
    manager.warm = warm
    await manager.start_kernel(**options)
    client = manager.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=PATIENCE_S)
        yield manager, client
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)
        shutil.rmtree(folder)


async def say(client: Any, expression: str) -> Any:
    """Return what an expression is in the kernel."""
    said: list[str] = []
    await client.execute_interactive(
        f"import json; print(json.dumps({expression}))",
        timeout=PATIENCE_S,
        output_hook=lambda message: said.append(message["content"].get("text", "")),
    )
    return json.loads("".join(said))


def test_a_kernel_is_forked_with_its_own_folder_environment_and_chance(
    warm: WarmKernels, tmp_path: Path
) -> None:
    (parent,) = warm.parents

    async def ask() -> list[Any]:
        found = []
        for _ in range(2):
            environment = {**os.environ, "OF_THIS_PAGE": "yes"}
            async with kernel(warm, env=environment, cwd=str(tmp_path)) as (_, client):
                await say(client, "__import__('workspace_lib.clock') and 0")
                found.append(
                    await say(
                        client,
                        "[__import__('os').getppid(), __import__('os').getcwd(), "
                        "__import__('os').environ.get('OF_THIS_PAGE'), "
                        "__import__('random').random(), "
                        "float(__import__('numpy').random.random())]",
                    )
                )
        return found

    one, other = asyncio.run(ask())
    assert one[:3] == other[:3] == [parent, str(tmp_path), "yes"]
    assert one[3] != other[3]
    assert one[4] != other[4]


def test_a_forked_kernel_that_is_killed_is_noticed(warm: WarmKernels) -> None:
    async def look() -> bool:
        async with kernel(warm) as (manager, _):
            assert await manager.is_alive()
            psutil.Process(manager.provisioner.pid).kill()
            await asyncio.wait_for(manager.provisioner.wait(), PATIENCE_S)
            return bool(await manager.is_alive())

    assert asyncio.run(look()) is False


def test_a_kernel_starts_by_itself_when_the_parent_is_gone_and_the_next_is_forked(
    warm: WarmKernels,
) -> None:
    (gone,) = warm.parents
    psutil.Process(gone).kill()

    async def parent_of_a_kernel() -> int:
        async with kernel(warm) as (_, client):
            return int(await say(client, "__import__('os').getppid()"))

    assert asyncio.run(parent_of_a_kernel()) == os.getpid()
    (parent,) = warm.parents
    assert parent != gone
    assert asyncio.run(parent_of_a_kernel()) == parent


def test_ending_the_parents_ends_their_kernels(
    warm: WarmKernels, wait_until: Callable[..., None]
) -> None:
    async def start_and_stop() -> psutil.Process:
        async with kernel(warm) as (manager, _):
            process = psutil.Process(manager.provisioner.pid)
            warm.stop()
            return process

    process = asyncio.run(start_and_stop())
    wait_until(lambda: not process.is_running(), "the kernel ends")
    assert warm.parents == []


def test_what_notebooks_import_is_loaded_before_and_what_hangs_after_a_fork_is_not(
    tmp_path: Path,
) -> None:
    sources = ["import numpy as np, polars\nfrom workspace_lib.views import boards", "%magic"]
    cells = [{"cell_type": "code", "source": [source]} for source in sources]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": cells[:1]}))
    (tmp_path / "broken.ipynb").write_text("{")
    (tmp_path / "magic.ipynb").write_text(json.dumps({"cells": cells}))
    found = kernel_parent.imports_of([tmp_path / "broken.ipynb", tmp_path / "a.ipynb"])
    assert found == ["numpy", "workspace_lib.views", "workspace_lib.views.boards"]
    assert kernel_parent.imports_of([tmp_path / "magic.ipynb"]) == []


def test_after_what_hangs_was_loaded_nothing_is_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", sys)
    assert kernel_parent.doubts() == "polars was loaded"


def test_a_changed_file_of_the_package_means_a_new_parent_and_leaves_the_kernels_of_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = Path(kernel_parent.__file__).parent.parent
    shutil.copytree(package, tmp_path / "workspace_lib", ignore=shutil.ignore_patterns("vendor"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    warm = WarmKernels(tmp_path)
    warm.start()
    (before,) = warm.parents

    async def change_while_a_kernel_lives() -> tuple[int, int]:
        async with kernel(warm) as (_, old):
            (tmp_path / "workspace_lib" / "errors.py").touch()
            async with kernel(warm) as (_, new):
                await say(new, "0")
            async with kernel(warm) as (_, newer):
                parent = int(await say(newer, "__import__('os').getppid()"))
            return int(await say(old, "__import__('os').getppid()")), parent

    try:
        old, new = asyncio.run(change_while_a_kernel_lives())
        assert old == before
        assert new == warm.parents[-1] != before
    finally:
        warm.stop()
