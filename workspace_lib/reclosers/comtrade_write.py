"""Writes events as COMTRADE: CFG and DAT of 1999 (BINARY), or one CFF of 2013 (BINARY32).

Values are written as instantaneous ones, which is what viewers expect: those of a relay's CEV file
are multiplied by √2. Reading back gives each value to half a step of its channel's scale.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from workspace_lib.errors import ParameterError
from workspace_lib.files import atomic_write
from workspace_lib.reclosers.record import EventRecord, Floats

Edition = Literal["1999", "2013"]
#: Largest stored number of each kind; the one below its negative stands for a missing sample.
_LARGEST: Final = {"BINARY": 2**15 - 1, "BINARY32": 2**31 - 1}
_STORED: Final = {"BINARY": "<i2", "BINARY32": "<i4"}
_NO_TIME: Final = 0xFFFFFFFF


@dataclass(frozen=True)
class _Scaled:
    """Stored numbers of all channels, and what makes values of them: gain · x + offset."""

    stored: NDArray[Any]
    gain: Floats
    offset: Floats


def write_comtrade(event: EventRecord, folder: Path, name: str) -> tuple[Path, Path]:
    """Write ``name.cfg`` and ``name.dat`` into a folder; returns their paths.

    Raises
    ------
    ParameterError
        If the event has no time, which a COMTRADE record must have.
    """
    scaled = _scale(event, "BINARY")
    cfg, dat = folder / f"{name}.cfg", folder / f"{name}.dat"
    atomic_write(dat, _samples(event, scaled, "BINARY"))
    atomic_write(cfg, _config(event, scaled, "1999", "BINARY").encode())
    return cfg, dat


def to_cff(event: EventRecord) -> bytes:
    """Return the event as one combined file.

    Raises
    ------
    ParameterError
        If the event has no time, which a COMTRADE record must have.
    """
    scaled = _scale(event, "BINARY32")
    data = _samples(event, scaled, "BINARY32")
    config = _config(event, scaled, "2013", "BINARY32")
    head = f"--- file type: CFG ---\r\n{config}--- file type: INF ---\r\n--- file type: HDR ---\r\n"
    return f"{head}--- file type: DAT BINARY32: {len(data)} ---\r\n".encode() + data


def _scale(event: EventRecord, kind: str) -> _Scaled:
    values = event.values * event.peak_factor
    largest = _LARGEST[kind]
    known = ~np.isnan(values)
    low = np.min(values, axis=0, initial=np.inf, where=known)
    high = np.max(values, axis=0, initial=-np.inf, where=known)
    empty = ~known.any(axis=0)
    low[empty], high[empty] = 0.0, 0.0
    offset = (high + low) / 2
    gain = (high - low) / (2 * largest)
    gain[gain <= 0] = 1.0
    # As they are written: what reads them has no more digits than the text.
    gain = np.array([float(_digits(one)) for one in gain])
    offset = np.array([float(_digits(one)) for one in offset])
    with np.errstate(invalid="ignore"):
        steps = np.rint((values - offset) / gain)
    steps = np.where(known, np.clip(steps, -largest, largest), -largest - 1)
    return _Scaled(steps.astype(_STORED[kind]), gain, offset)


def _samples(event: EventRecord, scaled: _Scaled, kind: str) -> bytes:
    words = -(-len(event.digital) // 16)
    layout = np.dtype(
        [
            ("n", "<u4"),
            ("t", "<u4"),
            ("analog", _STORED[kind], (len(event.analog),)),
            ("bits", "<u2", (words,)),
        ]
    )
    rows = np.zeros(event.samples, dtype=layout)
    rows["n"] = np.arange(1, event.samples + 1)
    ticks = np.rint(event.t_ns / 1000)
    rows["t"] = np.where(ticks < _NO_TIME, ticks, _NO_TIME).astype(np.uint32)
    rows["analog"] = scaled.stored
    padded = np.zeros((event.samples, words * 16), dtype=np.bool_)
    padded[:, : len(event.digital)] = event.bits
    packed = np.packbits(padded, axis=1, bitorder="little")
    rows["bits"] = packed.view("<u2").reshape(event.samples, words)
    return rows.tobytes()


def _config(event: EventRecord, scaled: _Scaled, edition: Edition, kind: str) -> str:
    if event.start is None:
        raise ParameterError(
            "The time of this event is not known, and a COMTRADE record must have one.",
            fix="Look at the issues of the file it was read from.",
        )
    analogs, digitals = len(event.analog), len(event.digital)
    largest = _LARGEST[kind]
    lines = [
        f"{_plain(event.station)},{_plain(event.device)},{edition}",
        f"{analogs + digitals},{analogs}A,{digitals}D",
    ]
    for number, channel in enumerate(event.analog):
        gain, offset = _digits(scaled.gain[number]), _digits(scaled.offset[number])
        ratio = f"{channel.ratio or 1.0:.10g},1"
        lines.append(
            f"{number + 1},{_plain(channel.name)},{_plain(channel.phase)},"
            f"{_plain(channel.circuit)},{_plain(channel.unit)},{gain},{offset},"
            f"{channel.skew_s * 1e6:.6g},{-largest},{largest},{ratio},{channel.scale or 'P'}"
        )
    lines += [
        f"{number},{_plain(bit.name)},{_plain(bit.phase)},{_plain(bit.circuit)},{bit.normal}"
        for number, bit in enumerate(event.digital, start=1)
    ]
    rates = [(rate, last) for rate, last in event.rates if rate > 0]
    lines.append(f"{event.frequency_hz or 0:.10g}")
    lines.append(str(len(rates)))
    lines += [f"{rate!r},{last}" for rate, last in rates] or [f"0,{event.samples}"]
    trigger = event.trigger or event.start
    decimals = 9 if edition == "2013" else 6
    lines += [_moment(event.start.ns, decimals), _moment(trigger.ns, decimals), kind]
    # Times of a file with nanoseconds count in nanoseconds: a thousand makes microseconds of them.
    lines.append("1000" if edition == "2013" else "1")
    if edition == "2013":
        lines += ["x,x", "F,3"]  # zone and quality of the clock are not known
    return "\r\n".join(lines) + "\r\n"


def _moment(ns: int, decimals: int) -> str:
    whole, rest = divmod(ns, 10**9)
    moment = np.datetime64(whole, "s").item()
    return f"{moment:%d/%m/%Y,%H:%M:%S}.{rest:09d}"[: 20 + decimals]


def _digits(value: float) -> str:
    return f"{value:.12g}"


def _plain(text: str) -> str:
    """Return a text without what divides fields and lines."""
    return re.sub(r"[,\r\n\x1a]+", " ", text).strip()
