"""The client of a kernel that waits for its answers instead of fixed times."""

from __future__ import annotations

import contextlib
import time
from queue import Empty
from typing import Any, Final

import zmq
from jupyter_client.asynchronous.client import AsyncKernelClient

#: What a kernel tells everybody follows its answer at once, unless we were not connected yet [s].
_HEARD_WITHIN_S: Final = 0.2
#: How often it is looked whether a kernel that does not answer lives [s].
_LOOK_S: Final = 0.5
#: Sockets that the kernel has not made yet are tried again after this [ms]; else it is 100.
_CONNECT_AGAIN_MS: Final = 5


class PromptKernelClient(AsyncKernelClient):
    """Talks to a kernel, of a run or of a live dashboard, as soon as it listens."""

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
            while (reply := await self._next(self.shell_channel, asked, _LOOK_S)) is None:
                if not await self.is_alive():
                    raise RuntimeError("Kernel died before replying to kernel_info")
                if time.monotonic() > end:
                    raise RuntimeError(f"Kernel didn't respond in {timeout:g} seconds")
            self._handle_kernel_info_reply(reply)
            # After this answer's end nothing is under way any more that belongs to no cell.
            while told := await self._next(self.iopub_channel, asked, _HEARD_WITHIN_S):
                if told["content"].get("execution_state") == "idle":
                    return

    @staticmethod
    async def _next(channel: Any, asked: str, wait_s: float) -> dict[str, Any] | None:
        """Return the next message that belongs to a request; None if there is none in time."""
        end = time.monotonic() + wait_s
        while (left := end - time.monotonic()) > 0:
            with contextlib.suppress(Empty):
                message: dict[str, Any] = await channel.get_msg(timeout=left)
                if message["parent_header"].get("msg_id") == asked:
                    return message
        return None
