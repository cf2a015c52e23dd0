"""Kernels of live dashboards: forked from a parent that has loaded everything, where that works.

`WarmKernels` keeps the parent (`workspace_lib.views.kernel_parent`); `DashboardKernelManager` asks
it for each kernel and starts one the ordinary way where there is no parent, or it has doubts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from jupyter_server.services.kernels.kernelmanager import ServerKernelManager
from traitlets import DottedObjectName, Type

from workspace_lib.runs.forked import ForkedProcess
from workspace_lib.runs.kernel_client import PromptKernelClient
from workspace_lib.views.warm_kernels import WarmKernels


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
                self.process: Any = ForkedProcess(pid, ours=False)
                self.pid = self.pgid = pid
                self.cwd = kwargs.get("cwd")
                return self.connection_info
        return await super().launch_kernel(cmd, **kwargs)

    async def wait(self) -> int | None:
        """Wait for its end without looking again and again."""
        process, self.process = self.process, None
        return 0 if process is None else int(await asyncio.to_thread(process.wait))


class DashboardKernelManager(ServerKernelManager):
    """One kernel of the dashboards' server."""

    client_class = DottedObjectName("workspace_lib.runs.kernel_client.PromptKernelClient")
    client_factory = Type(PromptKernelClient, klass="jupyter_client.KernelClient")
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
