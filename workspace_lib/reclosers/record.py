"""One event of a relay, whatever file it came from: channels, samples, exact times, settings.

Times are the device's own clock, whose zone a file seldom tells, so that they are kept as wall
time with nanoseconds and without a zone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from workspace_lib.errors import ParameterError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bits = NDArray[np.bool_]
Scale = Literal["P", "S"]

NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True, order=True)
class DeviceTime:
    """An instant of the device's clock: ``ns`` since 1970 in its wall time [ns], and its digits.

    ``digits`` is how many decimals of a second the file gives.
    """

    ns: int
    digits: int = field(default=9, compare=False)

    def __str__(self) -> str:
        """Return ISO 8601, as precise as the file was."""
        seconds, rest = divmod(self.ns, NS)
        text = (_EPOCH + timedelta(seconds=seconds)).isoformat()
        return f"{text}.{rest:09d}"[: len(text) + 1 + self.digits] if self.digits else text

    def to_datetime(self) -> datetime:
        """Return the naive wall time, cut to microseconds."""
        return _EPOCH + timedelta(microseconds=self.ns // 1000)

    def later(self, ns: int) -> DeviceTime:
        """Return the time ``ns`` [ns] later."""
        return DeviceTime(self.ns + ns, 9)


def device_time(moment: datetime, rest_ns: int = 0, digits: int = 6) -> DeviceTime:
    """Return a naive wall time with ``rest_ns`` [ns] below its microseconds."""
    since = moment - _EPOCH
    micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return DeviceTime(micros * 1000 + rest_ns, digits)


@dataclass(frozen=True)
class Analog:
    """An analog channel: ``values`` of the record are in ``unit`` on the ``scale`` side.

    ``ratio`` turns secondary values into primary ones; ``skew_s`` is how much later than the row's
    time the channel was sampled [s].
    """

    name: str
    unit: str = ""
    phase: str = ""
    circuit: str = ""
    scale: Scale | None = None
    ratio: float | None = None
    skew_s: float = 0.0


@dataclass(frozen=True)
class Digital:
    """A digital channel and the state it rests in."""

    name: str
    phase: str = ""
    circuit: str = ""
    normal: int = 0


@dataclass(frozen=True)
class Checksums:
    """How many lines carried a right and how many a wrong checksum."""

    good: int = 0
    bad: int = 0


@dataclass(frozen=True)
class EventRecord:
    """One event.

    Attributes
    ----------
    station, device : str
        As the file names them.
    format, revision, data_type : str
        ``cev`` or ``comtrade``; edition of the format; how samples were written.
    frequency_hz : float or None
        Nominal frequency of the power system [Hz].
    start, trigger : DeviceTime or None
        Time of the first sample, and of the trigger; None where the file does not say.
    t_ns : int64 array, shape (samples,)
        Time of each sample after the first [ns].
    analog, digital : tuple
        The channels, in the order of the columns of ``values`` and ``bits``.
    values : float64 array, shape (samples, analog)
        As recorded, scaled to the channel's unit; NaN is missing.
    bits : bool array, shape (samples, digital)
        State of the digital channels.
    rates : tuple of (float, int)
        Sampling rate [Hz] up to and with this sample, counted from 1; 0 Hz: times of the samples.
    settings : mapping
        Settings of the relay by key, where the file carries them.
    summary : mapping
        What the relay says of the event itself (type, location, targets …).
    checksums : Checksums
        Lines with a right and with a wrong checksum, for formats that have them.
    peak_factor : float
        What turns values into instantaneous ones [1]: √2 where a relay writes them scaled to RMS.
    """

    station: str
    device: str
    format: str
    revision: str
    data_type: str
    frequency_hz: float | None
    start: DeviceTime | None
    trigger: DeviceTime | None
    t_ns: Ints
    analog: tuple[Analog, ...]
    digital: tuple[Digital, ...]
    values: Floats
    bits: Bits
    rates: tuple[tuple[float, int], ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    checksums: Checksums = Checksums()
    peak_factor: float = 1.0

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.t_ns)

    @property
    def t_s(self) -> Floats:
        """Time of each sample after the first [s]."""
        return self.t_ns / NS

    @property
    def trigger_s(self) -> float | None:
        """Time of the trigger after the first sample [s]."""
        if self.trigger is None or self.start is None:
            return None
        return (self.trigger.ns - self.start.ns) / NS

    def channel(self, name: str) -> Floats:
        """Return the values of an analog channel, shape (samples,).

        Raises
        ------
        ParameterError
            If there is none of that name.
        """
        return self.values[:, _place(name, [one.name for one in self.analog])]

    def bit(self, name: str) -> Bits:
        """Return the states of a digital channel, shape (samples,).

        Raises
        ------
        ParameterError
            If there is none of that name.
        """
        return self.bits[:, _place(name, [one.name for one in self.digital])]

    def primary(self, name: str) -> Floats:
        """Return the primary values of an analog channel, shape (samples,).

        Raises
        ------
        ParameterError
            If there is none of that name, or its ratio is needed and not known.
        """
        channel = self.analog[_place(name, [one.name for one in self.analog])]
        values = self.channel(name)
        if channel.scale != "S":
            return values
        if channel.ratio is None:
            raise ParameterError(
                f"The ratio of {name} is not known, so its primary values are not.",
                fix="Use the secondary values.",
            )
        return values * channel.ratio

    def _repr_png_(self) -> bytes | None:
        """Return the event as a plot, which JupyterLab shows; None where it cannot be drawn."""
        if find_spec("matplotlib") is None or not self.samples:
            return None
        from workspace_lib.reclosers.plots import event_figure, png_of

        return png_of(event_figure(self))


def _place(name: str, names: list[str]) -> int:
    try:
        return names.index(name)
    except ValueError:
        known = ", ".join(names[:40]) or "none"
        raise ParameterError(
            f"The record has no channel {name!r}.", fix=f"It has: {known}."
        ) from None
