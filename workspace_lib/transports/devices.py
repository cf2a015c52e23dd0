"""Exclusive devices: a lease in the store, the system's lock, and a watchdog that lets go in time.

Three things guard a device. The lease row keeps other runs away, also on other machines. The
lock file keeps other processes of this machine away, even one whose lease ran out while it still
has the device open. The watchdog closes the device before the lease ends when it cannot be renewed,
so that the next holder never meets the last one on the line.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Protocol, TypeVar

from workspace_lib.clock import SYSTEM_CLOCK, Clock, iso
from workspace_lib.errors import DeviceBusy, DeviceError, ParameterError, WorkspaceError
from workspace_lib.files import safe_name
from workspace_lib.store import leases
from workspace_lib.store.engines import Store, read

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

log = logging.getLogger("workspace_lib.transports.devices")

LOCK_FOLDER = "locks"
# The part of a lease that is left when the device is closed: closing takes time too.
_MARGIN = 0.25
_RENEWALS = 4
# Windows keeps others from reading a locked byte, so a byte beyond the text is locked.
_LOCKED_BYTE = 1 << 20


class Closable(Protocol):
    """An open device; ``close`` may be called from another thread and more than once."""

    def close(self) -> None:
        """Let go of the device."""
        ...


T = TypeVar("T", bound=Closable)


@dataclass(frozen=True)
class Holder:
    """Who holds a device, and for how long without renewing [s]."""

    id: str
    ttl_s: float = 30.0


@contextmanager
def open_exclusive(
    store: Store,
    device_id: str,
    holder: Holder,
    opener: Callable[[], T],
    *,
    clock: Clock = SYSTEM_CLOCK,
) -> Iterator[T]:
    """Open a device that nobody else uses meanwhile, and close it in the end.

    Parameters
    ----------
    device_id : str
        Such as ``line:COM1`` or ``tcp:10.0.0.7:5001``; the same name everywhere.
    holder : Holder
        Who opens it. A lease that this holder has already is used and left as it is in the end.
    opener : callable
        Opens the device and returns it; ``close()`` of what it returns must free the device and
        wake up whoever waits for it to answer.

    Raises
    ------
    DeviceBusy
        If somebody else holds it; the message says who and since when.
    DeviceError
        At the end, if the lease was lost meanwhile: the device was closed then, and what came from
        it after that is not to be trusted.
    """
    if holder.ttl_s <= 0:
        raise ParameterError("A device must be held for more than 0 s.")
    guard = _Guard(store, device_id, holder, clock)
    brought = _take(store, device_id, holder, clock)
    try:
        with _lock(store.outputs / LOCK_FOLDER, device_id, holder, clock):
            guard.start()
            try:
                device = opener()
                guard.attach(device)
                yield device
            except Exception as error:
                if guard.lost:
                    raise guard.error() from error
                raise
            finally:
                guard.stop()
            if guard.lost:
                raise guard.error()
    finally:
        if not brought:
            _give_back(store, device_id, holder)


def _take(store: Store, device_id: str, holder: Holder, clock: Clock) -> bool:
    """Take the lease; returns whether the holder had it before."""
    now = clock.now()
    with read(store.control) as connection:
        brought = any(
            lease.holder == holder.id for lease in leases.holders(connection, device_id, now)
        )
    if not leases.acquire(store.control, device_id, holder.id, ttl_s=holder.ttl_s, now=now):
        with read(store.control) as connection:
            others = leases.holders(connection, device_id, now)
        raise _busy(device_id, others[0] if others else None)
    return brought


def _busy(device_id: str, lease: leases.Lease | None) -> DeviceBusy:
    if lease is None:  # given back between the two looks
        return DeviceBusy("It was held a moment ago.", where=device_id, fix="Try again.")
    return DeviceBusy(
        f"It is held by {lease.holder} since {iso(lease.acquired)}, at least until "
        f"{iso(lease.expires)}.",
        where=device_id,
        fix="Wait for it, or cancel that run.",
    )


def _give_back(store: Store, device_id: str, holder: Holder) -> None:
    try:
        leases.release(store.control, holder.id, device_id)
    except WorkspaceError as error:  # the lease ends by itself; the caller's own error matters more
        log.warning("The lease of %s could not be given back: %s", device_id, error)


@contextmanager
def _lock(folder: Path, device_id: str, holder: Holder, clock: Clock) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    mark = hashlib.sha256(device_id.encode()).hexdigest()[:8]
    path = folder / f"{safe_name(device_id)}-{mark}.lock"
    # Never removed: a second process could hold the lock of a name that is gone.
    with path.open("a+", encoding="utf-8") as stream:
        if not _try_lock(stream):
            raise DeviceBusy(
                f"Another process of this machine has it open{_told_by(path)}.",
                where=device_id,
                fix="Wait for it, or end that process.",
            )
        try:
            stream.truncate(0)
            stream.write(
                json.dumps({"holder": holder.id, "pid": os.getpid(), "since": iso(clock.now())})
            )
            stream.flush()
            yield
        finally:
            _unlock(stream)


def _told_by(path: Path) -> str:
    # What the lock file says is for people only, so whatever is unreadable in it is left out.
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        told = json.loads(path.read_text(encoding="utf-8"))
        return f": {told['holder']} (process {told['pid']}) since {told['since']}"
    return ""


def _try_lock(stream: IO[str]) -> bool:
    try:
        if sys.platform == "win32":
            stream.seek(_LOCKED_BYTE)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _unlock(stream: IO[str]) -> None:
    if sys.platform == "win32":
        stream.seek(_LOCKED_BYTE)
        msvcrt.locking(stream.fileno(), msvcrt.LK_UNLCK, 1)
    else:
        fcntl.flock(stream.fileno(), fcntl.LOCK_UN)


class _Guard:
    """Renews a lease in one thread and closes the device in time in another.

    Two threads, because renewing can hang on the very store whose silence must close the device.
    """

    def __init__(self, store: Store, device_id: str, holder: Holder, clock: Clock) -> None:
        self._store = store
        self._device_id = device_id
        self._holder = holder
        self._clock = clock
        self._condition = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._device: Closable | None = None
        self._done = False
        self._why = ""
        self.lost = False
        # Counted from before the lease is taken: rather too early than too late.
        self._extend(clock.now(), clock.monotonic())

    def start(self) -> None:
        """Begin to renew and to watch, already while the device is being opened."""
        for target in (self._renew, self._watch):
            name = f"{self._device_id}:{target.__name__.strip('_')}"
            thread = threading.Thread(target=target, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def attach(self, device: Closable) -> None:
        """Take charge of closing the device, at once if the lease is lost already."""
        with self._condition:
            self._device = device
            lost = self.lost
        if lost:
            self._close()
            raise self.error()

    def stop(self) -> None:
        """End both threads and close the device."""
        with self._condition:
            self._done = True
            self._condition.notify_all()
        try:
            self._close()
        finally:
            for thread in self._threads:
                thread.join(timeout=5.0)  # it may hang on the store, and ends by itself then

    def error(self) -> DeviceError:
        return DeviceError(
            f"The lease of {self._holder.id} was lost: {self._why}. The device was closed.",
            where=self._device_id,
            fix="What was read since is not to be trusted; run it again.",
        )

    def _extend(self, now: datetime, monotonic: float) -> None:
        safe_s = self._holder.ttl_s * (1 - _MARGIN)
        with self._condition:
            self._wall_deadline = now + timedelta(seconds=safe_s)
            self._deadline = monotonic + safe_s
            self._condition.notify_all()

    def _renew(self) -> None:
        while not self._wait(self._holder.ttl_s / _RENEWALS):
            now, monotonic = self._clock.now(), self._clock.monotonic()
            try:
                kept = leases.renew(
                    self._store.control,
                    self._holder.id,
                    ttl_s=self._holder.ttl_s,
                    now=now,
                    resource=self._device_id,
                )
            except Exception as error:  # noqa: BLE001  whatever it is, the watchdog acts in time
                self._why = f"the store did not renew it ({error})"
                log.warning("The lease of %s was not renewed: %s", self._device_id, error)
                continue
            if not kept:
                self._lose("it ran out or somebody else has it")
                return
            self._extend(now, monotonic)

    def _watch(self) -> None:
        with self._condition:
            while not self._done and (left := self._left()) > 0:
                # Looking now and then also notices a clock that was set, or a machine that slept.
                self._condition.wait(min(left, 1.0))
        self._lose(self._why or "it could not be renewed in time")

    def _left(self) -> float:
        wall = (self._wall_deadline - self._clock.now()).total_seconds()
        return min(wall, self._deadline - self._clock.monotonic())

    def _wait(self, seconds: float) -> bool:
        with self._condition:
            return self._condition.wait_for(lambda: self._done, timeout=seconds)

    def _lose(self, why: str) -> None:
        with self._condition:
            if self._done:
                return
            self._why = why
            self._done = self.lost = True
            self._condition.notify_all()
        log.error("Closing %s: the lease was lost, %s.", self._device_id, why)
        try:
            self._close()
        except Exception:
            log.exception("Closing %s failed.", self._device_id)

    def _close(self) -> None:
        with self._condition:
            device, self._device = self._device, None
        if device is not None:
            device.close()
