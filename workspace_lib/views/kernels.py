"""Kernels of live dashboards: forked from a parent that has loaded everything, where that works.

`WarmKernels` keeps the parent (`workspace_lib.views.kernel_parent`); `DashboardKernelManager` asks
it for each kernel and starts one the ordinary way where there is no parent, or it has doubts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from queue import Empty
from typing import Any

import zmq
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from jupyter_server.services.kernels.kernelmanager import ServerKernelManager
from traitlets import DottedObjectName, Type

from workspace_lib.runs.forked import has_ended, pidfd_of
from workspace_lib.views.warm_kernels import WarmKernels

#: What a kernel tells everybody follows its answer at once, unless we were not connected yet [s].
_HEARD_WITHIN_S = 0.2
_LOOK_S = 0.5
#: Sockets that the kernel has not made yet are tried again after this [ms]; else it is 100.
_CONNECT_AGAIN_MS = 5


class ForkedProcess:
    """A kernel that is no child of this process, with what Jupyter needs of a `Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._end = pidfd_of(pid)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return 0 once it has ended, whatever its exit code was, None while it lives."""
        if self.returncode is None and has_ended(self._end):
            self.returncode = 0
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended."""
        if self.returncode is None:
            if not has_ended(self._end, timeout):
                raise subprocess.TimeoutExpired(f"kernel {self.pid}", timeout or 0.0)
            self.returncode = 0
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if sys.platform == "linux":
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._end, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it."""
        if sys.platform != "win32":
            self.send_signal(signal.SIGKILL)

    def __del__(self) -> None:
        os.close(self._end)


class WarmProvisioner(LocalProvisioner):
    """Launches a kernel: by a fork where possible."""

    warm: WarmKernels | None = None

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Launch a kernel with this command line."""
        pid = None
        if self.warm is not None and cmd[1:3] == ["-m", "ipykernel_launcher"]:
            environment = dict(kwargs.get("env") or os.environ)
            cwd = str(kwargs.get("cwd") or Path.cwd())
            pid = await asyncio.to_thread(self.warm.fork, cmd[3:], environment, cwd)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process: Any = ForkedProcess(pid)
                self.pid = self.pgid = pid
                self.cwd = kwargs.get("cwd")
                return self.connection_info
        return await super().launch_kernel(cmd, **kwargs)

    async def wait(self) -> int | None:
        """Wait for its end without looking again and again."""
        process, self.process = self.process, None
        return 0 if process is None else int(await asyncio.to_thread(process.wait))


class DashboardKernelClient(AsyncKernelClient):
    """Talks to a kernel; waits for answers instead of fixed times."""

    def start_channels(self, *args: Any, **kwargs: Any) -> None:
        """Open the channels."""
        self.context.setsockopt(zmq.RECONNECT_IVL, _CONNECT_AGAIN_MS)
        super().start_channels(*args, **kwargs)

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Wait until the kernel answers, and what it tells everybody arrives here too.

        Raises
        ------
        RuntimeError
            If it died, or does not answer within ``timeout`` [s].
        """
        end = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            asked = self.kernel_info()
            while (reply := await _next(self.shell_channel, asked, _LOOK_S)) is None:
                if not await self.is_alive():
                    raise RuntimeError("The kernel died before it answered.")
                if time.monotonic() > end:
                    raise RuntimeError(f"The kernel did not answer within {timeout:g} s.")
            self._handle_kernel_info_reply(reply)
            while told := await _next(self.iopub_channel, asked, _HEARD_WITHIN_S):
                if told["content"].get("execution_state") == "idle":
                    return


class DashboardKernelManager(ServerKernelManager):
    """One kernel of the dashboards' server."""

    client_class = DottedObjectName("workspace_lib.views.kernels.DashboardKernelClient")
    client_factory = Type(DashboardKernelClient, klass="jupyter_client.KernelClient")
    #: Set by the server for all of them.
    warm: WarmKernels | None = None

    async def _async_pre_start_kernel(self, **kwargs: Any) -> tuple[list[str], dict[str, Any]]:
        if self.provisioner is None and self.warm is not None:
            self.kernel_id = self.kernel_id or kwargs.get("kernel_id", "")
            self.provisioner = WarmProvisioner(
                kernel_id=self.kernel_id, kernel_spec=self.kernel_spec, parent=self
            )
            self.provisioner.warm = self.warm
        prepared: tuple[list[str], dict[str, Any]] = await super()._async_pre_start_kernel(**kwargs)
        return prepared


async def _next(channel: Any, asked: str, wait_s: float) -> dict[str, Any] | None:
    """Return the next message that belongs to a request; None if there is none in time."""
    end = time.monotonic() + wait_s
    while (left := end - time.monotonic()) > 0:
        with contextlib.suppress(Empty):
            message: dict[str, Any] = await channel.get_msg(timeout=left)
            if message["parent_header"].get("msg_id") == asked:
                return message
    return None
