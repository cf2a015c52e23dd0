"""COMTRADE files of a simulated relay: CFG, DAT and HDR as a 651R keeps them of each event.

Written by itself after IEEE C37.111-1999, so that neither the readers nor the exports of this wing
are tested against their own ideas of the format.
"""

from __future__ import annotations

import struct
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from workspace_lib.reclosers.simulator_events import (
    BEFORE_CYCLES,
    CTR,
    LENGTH_CYCLES,
    NOMINAL_HZ,
    PTR,
    Floats,
    SimulatedEvent,
    bit_names,
)

Samples = Literal["BINARY", "ASCII"]
PER_CYCLE: Final = 32
#: Name, phase and unit of each channel; the ratio follows from the unit.
_CHANNELS: Final = (
    ("IA", "A", "A"),
    ("IB", "B", "A"),
    ("IC", "C", "A"),
    ("IN", "N", "A"),
    ("IG", "N", "A"),
    ("VAY", "A", "kV"),
    ("VBY", "B", "kV"),
    ("VCY", "C", "kV"),
    ("VAZ", "A", "kV"),
    ("VBZ", "B", "kV"),
    ("VCZ", "C", "kV"),
)
_TOP: Final = 32_767


@lru_cache(maxsize=512)
def comtrade_of(event: SimulatedEvent, samples: Samples = "BINARY") -> dict[str, bytes]:
    """Return the files of an event by their endings ``cfg``, ``dat`` and ``hdr``."""
    times = _times()
    values = analog_values(event)
    # A little more than the largest value needs, because the digits of a CFG are few.
    largest = np.maximum(np.abs(values).max(axis=0), 1.0) * 1.0001
    scales = np.array([float(f"{one:.6g}") for one in largest / _TOP])
    stored = np.rint(values / scales).astype(int)
    states = event.bits(times)
    keep = [n for n, name in enumerate(bit_names(event.model)) if name != "*"]
    names = [bit_names(event.model)[n] for n in keep]
    states = states[:, keep]
    write = _binary if samples == "BINARY" else _text
    return {
        "cfg": _config(event, scales, names, samples).encode("ascii"),
        "dat": write(times, stored, states),
        "hdr": summary_text(event).encode("ascii"),
    }


def analog_values(event: SimulatedEvent) -> Floats:
    """Return what the channels show, instantaneous and primary, shape (samples, 11) [A, kV]."""
    currents, volts = event.signals(_times())
    none = np.zeros((len(currents), 1))
    zeros = np.zeros((len(currents), 3))
    return np.hstack((currents, none, currents.sum(axis=1)[:, None], volts / 1000, zeros))


def first_sample(event: SimulatedEvent) -> datetime:
    """Return the time of the first sample by the relay's clock, to the microsecond."""
    return event.time - timedelta(seconds=BEFORE_CYCLES / NOMINAL_HZ)


def _times() -> Floats:
    """Return the time of each sample after the trigger, shape (samples,) [s]."""
    rows = np.arange(LENGTH_CYCLES * PER_CYCLE) - BEFORE_CYCLES * PER_CYCLE
    times: Floats = rows / (NOMINAL_HZ * PER_CYCLE)
    return times


def _config(event: SimulatedEvent, scales: Floats, names: list[str], samples: Samples) -> str:
    rows = LENGTH_CYCLES * PER_CYCLE
    lines = [
        f"{event.tid},{event.rid} SEL-{event.model},1999",
        f"{len(_CHANNELS) + len(names)},{len(_CHANNELS)}A,{len(names)}D",
    ]
    for number, ((name, phase, unit), scale) in enumerate(
        zip(_CHANNELS, scales, strict=True), start=1
    ):
        ratio = CTR if unit == "A" else PTR
        lines.append(
            f"{number},{name},{phase},,{unit},{float(scale)!r},0,0,{-_TOP},{_TOP},{ratio},1,P"
        )
    lines += [f"{number},{name},,,0" for number, name in enumerate(names, start=1)]
    lines += [f"{NOMINAL_HZ:g}", "1", f"{NOMINAL_HZ * PER_CYCLE:g},{rows}"]
    lines += [f"{when:%d/%m/%Y,%H:%M:%S.%f}" for when in (first_sample(event), event.time)]
    return "\r\n".join([*lines, samples, "1", ""])


def _micros(times: Floats) -> list[int]:
    return [round((float(one) - float(times[0])) * 1e6) for one in times]


def _binary(times: Floats, stored: NDArray[np.int_], states: NDArray[np.bool_]) -> bytes:
    words = -(-states.shape[1] // 16)
    form = struct.Struct(f"<II{stored.shape[1]}h{words}H")
    parts = []
    for number, micros in enumerate(_micros(times)):
        packed = [0] * words
        for bit in np.flatnonzero(states[number]):
            packed[int(bit) // 16] |= 1 << (int(bit) % 16)
        parts.append(form.pack(number + 1, micros, *stored[number].tolist(), *packed))
    return b"".join(parts)


def _text(times: Floats, stored: NDArray[np.int_], states: NDArray[np.bool_]) -> bytes:
    lines = []
    for number, micros in enumerate(_micros(times)):
        shown = [number + 1, micros, *stored[number].tolist(), *map(int, states[number])]
        lines.append(",".join(map(str, shown)) + "\r\n")
    return "".join(lines).encode("ascii")


def summary_text(event: SimulatedEvent) -> str:
    """Return the header file: what the relay says of the event, in columns that may touch."""
    when = event.time
    before, during = event.load, event.load + event.fault[0]
    sound, faulted = event.volts
    place = "$$$$$$$" if event.location is None else f"{event.location:7.2f}"
    trips = event.opens
    trip = (when + timedelta(seconds=event.trip_s)).strftime("%H:%M:%S.%f")[:12]
    lines = [
        f"{event.rid:<31}Date: {when:%m/%d/%y}    Time: {when:%H:%M:%S}."
        f"{when.microsecond // 1000:03d}",
        event.tid,
        "",
        f"Event: {event.type:<10} Location: {place}            Trip Time: "
        f"{trip if trips else '--:--:--.---'}",
        f"#: 10001  Shot: {event.shot}  Freq:  59.98  Group: 1     Close Time: --:--:--.---",
        f"Targets: {event.targets}",
        f"Breaker: {'Open' if trips else 'Closed'}",
        "",
        "PreFault:     IA     IB     IC     IN     IG    3I2       VA       VB       VC",
        *_rows(before, sound),
        "Fault:",
        *_rows(during, faulted),
        "",
    ]
    return "\r\n".join(lines) + "\r\n"


def _rows(currents: NDArray[np.complex128], volts: NDArray[np.complex128]) -> tuple[str, str]:
    turn = np.exp(2j * np.pi / 3)
    residual, negative = currents.sum(), currents @ np.array([1, turn**2, turn])
    amps = [*currents, 0j, residual, negative]
    sizes = "".join(f"{abs(one):7.0f}" for one in amps)
    sizes += "".join(f"{abs(one) / 1000:9.3f}" for one in volts)
    turns = "".join(f"{np.angle(one, deg=True):7.2f}" for one in amps)
    turns += "".join(f"{np.angle(one, deg=True):9.2f}" for one in volts)
    return f"MAG(A/kV){sizes}", f"ANG(DEG) {turns}"
