"""The kernel of a run: started or taken over when forked, reached, and ended without waiting.

Jupyter's own manager and client wait for fixed times: 0.2 s for messages that do not come when a
kernel is ready, 0.1 s and more for a process that was killed, up to a second for the thread of a
heartbeat that nobody listens to. Here each wait ends with what it waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import Type

from workspace_lib.runs.forked import ForkedProcess
from workspace_lib.runs.kernel_client import PromptKernelClient

_KILL_S = 5.0


class ForkedKernel:
    """A process that becomes a kernel when it is told what for.

    Parameters
    ----------
    pid : int
        Its process id: a child of this process, in a session of its own.
    channel : socket.socket
        Where it waits for its orders.
    """

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.process = ForkedProcess(pid)
        self._channel = channel

    def become(self, words: list[str], env: dict[str, str], cwd: str, out: int, err: int) -> bool:
        """Have it run ``ipykernel`` with these arguments; returns False if it cannot."""
        if sys.platform == "win32":
            return False
        order = {"arguments": words, "environment": env, "cwd": cwd}
        try:
            socket.send_fds(self._channel, [json.dumps(order).encode()], [out, err])
        except OSError:
            return False
        finally:
            self._channel.close()
        return self.process.poll() is None

    def discard(self) -> None:
        """End it, unused."""
        self._channel.close()
        self.process.kill()
        self.process.wait()


class WorkspaceProvisioner(LocalProvisioner):
    """Launches the kernel: tells the forked process to be it, where there is one."""

    forked: ForkedKernel | None = None

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Launch a kernel with this command line."""
        forked, self.forked = self.forked, None
        if forked is not None:
            env = {**(kwargs.get("env") or os.environ), "JPY_PARENT_PID": str(os.getpid())}
            # The launcher's module stands before its arguments.
            words = [*cmd[3:], f"--IPKernelApp.parent_handle={os.getpid()}"]
            cwd = str(kwargs.get("cwd") or Path.cwd())
            streams = kwargs.get("stdout") or 1, kwargs.get("stderr") or 2
            if forked.become(words, env, cwd, *streams):
                self.process: Any = forked.process
                self.pid = self.pgid = forked.process.pid
                self.cwd = kwargs.get("cwd")
                return self.connection_info
            forked.discard()
        return await super().launch_kernel(cmd, **kwargs)

    async def wait(self) -> int | None:
        """Wait for the process, without looking again and again."""
        if self.process is not None:
            code: int = await asyncio.to_thread(self.process.wait)
            self.process = None
            return code
        return 0


class WorkspaceKernelClient(PromptKernelClient):
    """Talks to the kernel of a run."""

    def start_channels(self, *args: Any, **kwargs: Any) -> None:
        """Open the channels that are used: a run asks nobody anything, and looks at the process."""
        super().start_channels(stdin=False, hb=False)


class WorkspaceKernelManager(AsyncKernelManager):
    """Starts the kernel with this very interpreter, whatever kernel the notebook names."""

    client_factory = Type(WorkspaceKernelClient)

    @property
    def kernel_spec(self) -> KernelSpec:
        """The kernel of the environment that this run belongs to."""
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="workspace", language="python")

    def launch_through(self, forked: ForkedKernel | None) -> None:
        """Take the forked process as the kernel, if there is one."""
        # Jupyter would search the metadata of all installed packages for a provisioner.
        self.provisioner = WorkspaceProvisioner(
            kernel_id="", kernel_spec=self.kernel_spec, parent=self
        )
        self.provisioner.forked = forked

    async def _async_kill_kernel(self, restart: bool = False) -> None:
        """Kill the kernel and wait for its end."""
        if self.has_kernel:
            assert self.provisioner is not None
            await self.provisioner.kill(restart=restart)
            try:
                await asyncio.wait_for(self.provisioner.wait(), _KILL_S)
            except TimeoutError:
                self.log.warning("The kernel is stuck and could not be killed.")


def interrupt(process: Any) -> None:
    """Interrupt a kernel and what it started in its session."""
    if sys.platform == "win32":
        from jupyter_client.win_interrupt import send_interrupt

        send_interrupt(process.win32_interrupt_event)
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
