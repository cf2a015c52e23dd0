"""What is computed of an event: values, the relay's own beside them, and why one is not known.

Everything here can be written as JSON and read back, so that a store can keep it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from workspace_lib.reclosers.channels import Note
from workspace_lib.reclosers.record import DeviceTime, device_time

#: Raised with each change of what is computed: what older versions made is made anew.
ANALYSIS_VERSION: Final = 2
Kind = Literal["fault", "trip", "opening", "closing", "trigger"]


@dataclass(frozen=True)
class Phasor:
    """A phasor: magnitude (RMS, in amperes or volts primary) and angle [°]."""

    magnitude: float
    angle_deg: float


@dataclass(frozen=True)
class Moment:
    """Phasors at one time of the event.

    ``t_s`` is after the first sample [s], at the end of the filter's window. ``phasors`` by name:
    IA, IB, IC, IG (the sum, 3I0), I1, I2, I0, 3I2 [A primary]; VA, VB, VC, V1, V2, V0 [V primary]
    where there are voltages. Angles are against V1 before the fault, or I1 without voltages.
    """

    t_s: float
    phasors: Mapping[str, Phasor]

    def magnitude(self, name: str) -> float | None:
        """Return the magnitude of a phasor, None where there is none of that name."""
        found = self.phasors.get(name)
        return None if found is None else found.magnitude


@dataclass(frozen=True)
class Located:
    """How far a fault is, in the unit of the line's length (setting LL).

    ``best`` is the median of the three methods, each of which is the median over the steady part
    of the fault. ``low`` and ``high`` are the least and the largest of the methods, each taken at
    the 5 and 95 % of its values over that part, and at least 2 % of ``best`` to both sides.
    """

    best: float
    low: float
    high: float
    reactance: float | None
    takagi: float | None
    modified_takagi: float | None
    line_length: float


@dataclass(frozen=True)
class Times:
    """When things happened [s after the first sample]; None: not within the record.

    ``relay_s`` is from inception to trip, ``opening_s`` from trip to the end of currents,
    ``clearing_s`` from inception to that end, ``dead_s`` from it to closed contacts. The fault
    ends at ``fault_end_s``, by this recloser or another, and lasts for ``fault_s``.
    """

    trigger_s: float | None = None
    inception_s: float | None = None
    trip_s: float | None = None
    contacts_open_s: float | None = None
    current_zero_s: float | None = None
    reclosed_s: float | None = None
    relay_s: float | None = None
    opening_s: float | None = None
    clearing_s: float | None = None
    dead_s: float | None = None
    fault_end_s: float | None = None
    fault_s: float | None = None


@dataclass(frozen=True)
class Comparison:
    """A computed value beside the relay's own.

    ``agrees`` is whether they differ by no more than the tolerance of the quantity
    (`workspace_lib.reclosers.analysis_relay.TOLERANCES`); ``difference`` is computed less the
    relay's, None for words.
    """

    quantity: str
    unit: str
    computed: float | str
    relay: float | str
    difference: float | None
    agrees: bool


@dataclass(frozen=True)
class EventAnalysis:
    """Everything computed of one event.

    Attributes
    ----------
    kind : str
        ``fault`` (with or without a trip), ``trip`` without a fault, ``opening`` and ``closing``
        without a trip, ``trigger``: a record without an operation.
    trigger, event : str
        Time of the trigger by the relay's clock (ISO 8601) and the type as the relay wrote it;
        empty where not known.
    fault_type, phases : str or None, str
        One of `workspace_lib.reclosers.faults.TYPES`; its phases, ``""`` where not known.
    grounded : bool or None
        Whether ground takes part.
    magnitude_a : float or None
        Largest phase current of the fault [A primary, RMS].
    load_a : float or None
        Largest phase current before [A primary, RMS].
    frequency_hz : float or None
        Measured before the fault [Hz].
    tripped, closed : bool or None
        Whether a trip, or a closing, is in the record; None where its bits are not.
    shot, locked_out : int or None, bool or None
        Reclosings before it; whether it locked out within the record.
    i2t : float or None
        ∫ i² dt of the phase that carried most, from inception to the end of the fault [A² s].
    """

    kind: Kind
    trigger: str = ""
    event: str = ""
    fault_type: str | None = None
    phases: str = ""
    grounded: bool | None = None
    magnitude_a: float | None = None
    load_a: float | None = None
    frequency_hz: float | None = None
    before: Moment | None = None
    during: Moment | None = None
    located: Located | None = None
    times: Times = field(default_factory=Times)
    tripped: bool | None = None
    closed: bool | None = None
    shot: int | None = None
    locked_out: bool | None = None
    i2t: float | None = None
    comparisons: tuple[Comparison, ...] = ()
    notes: tuple[Note, ...] = ()
    version: int = ANALYSIS_VERSION

    @property
    def time(self) -> DeviceTime | None:
        """Time of the trigger by the relay's clock."""
        if not self.trigger:
            return None
        whole, _, fraction = self.trigger.partition(".")
        ns = int(fraction.ljust(9, "0")) if fraction else 0
        return device_time(datetime.fromisoformat(whole), ns, len(fraction))

    @property
    def distance(self) -> float | None:
        """Best distance of the fault, in the line's unit of length."""
        return None if self.located is None else self.located.best

    @property
    def disagreeing(self) -> tuple[Comparison, ...]:
        """Comparisons in which the relay has something else."""
        return tuple(one for one in self.comparisons if not one.agrees)

    def compared(self, quantity: str) -> Comparison | None:
        """Return the comparison of a quantity, None where the relay or the record has none."""
        return next((one for one in self.comparisons if one.quantity == quantity), None)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it; what is no finite number is None."""
        found: dict[str, Any] = _plain(self)
        return found


def from_dict(found: Mapping[str, Any]) -> EventAnalysis:
    """Return the analysis that `EventAnalysis.to_dict` wrote, of this version of it.

    Raises
    ------
    KeyError, TypeError
        If another version wrote it: compute it anew.
    """
    rest = dict(found)
    located, times = rest.pop("located"), rest.pop("times")
    before, during = _moment(rest.pop("before")), _moment(rest.pop("during"))
    comparisons = tuple(Comparison(**one) for one in rest.pop("comparisons"))
    notes = tuple(Note(**one) for one in rest.pop("notes"))
    return EventAnalysis(
        **rest,
        before=before,
        during=during,
        located=None if located is None else Located(**located),
        times=Times(**times),
        comparisons=comparisons,
        notes=notes,
    )


def _moment(found: Mapping[str, Any] | None) -> Moment | None:
    if found is None:
        return None
    phasors = {name: Phasor(*pair) for name, pair in found["phasors"].items()}
    return Moment(found["t_s"], phasors)


def _plain(value: Any) -> Any:
    if isinstance(value, Phasor):
        return [value.magnitude, value.angle_deg]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return value
