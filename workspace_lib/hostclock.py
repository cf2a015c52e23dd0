"""How far this machine's clock can be trusted, as the kernel itself says."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

_TIME_ERROR = 5
_STA_UNSYNC = 0x0040


@dataclass(frozen=True)
class ClockState:
    """Whether the clock is kept in step with a reference, and by how much it may be wrong.

    ``synchronized`` is None where the system does not say (Windows, some containers).
    """

    synchronized: bool | None
    max_error_s: float | None = None


class _Timex(ctypes.Structure):
    """``struct timex`` of adjtimex(2)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", ctypes.c_long * 2),
        ("tick", ctypes.c_long),
        ("rest", ctypes.c_byte * 256),
    )


def clock_state() -> ClockState:
    """Return the state of the system clock; asks the kernel, changes nothing, takes microseconds.

    Works without systemd and without rights: adjtimex(2) with no mode only reads.
    """
    if not sys.platform.startswith("linux"):
        return ClockState(None)
    timex = _Timex()
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return ClockState(None)
    if state < 0:
        return ClockState(None)
    synchronized = state != _TIME_ERROR and not timex.status & _STA_UNSYNC
    return ClockState(synchronized, timex.maxerror / 1e6 if synchronized else None)
