"""Operations of one recloser that belong together: the shots of one fault are one incident.

A recloser counts its shots until it resets, a reset time after a reclosing that held, or locks out.
Operations are one incident as long as each comes within the longest open interval and the reset
time of the one before, and the count of shots has not begun again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import Final, Literal

from workspace_lib.errors import ParameterError
from workspace_lib.reclosers.analysis_values import EventAnalysis
from workspace_lib.reclosers.record import NS, DeviceTime

Outcome = Literal["momentary", "permanent", "unknown"]
#: From one operation to the next of the same incident, where settings do not say it [s].
ASSUMED_GAP_S: Final = 120.0
_INTERVALS: Final = ("79OI1", "79OI2", "79OI3", "79OI4")
_RESETS: Final = ("79RSD", "79RSLD")


@dataclass(frozen=True)
class Operation:
    """One trip of a recloser.

    ``shot`` counts the reclosings before it, 0 for the first trip; ``locked_out`` is whether the
    recloser stayed open after it. None where that is not known.
    """

    recloser: str
    time: DeviceTime
    event: str = ""
    shot: int | None = None
    locked_out: bool | None = None


@dataclass(frozen=True)
class Incident:
    """Operations of one recloser, in the order of time.

    ``outcome`` is ``permanent`` where the recloser locked out, ``momentary`` where it is known that
    it did not, else ``unknown``.
    """

    recloser: str
    operations: tuple[Operation, ...]
    outcome: Outcome

    @property
    def start(self) -> DeviceTime:
        """Time of the first trip."""
        return self.operations[0].time

    @property
    def duration_s(self) -> float:
        """From the first trip to the last [s]."""
        return (self.operations[-1].time.ns - self.start.ns) / NS


@dataclass(frozen=True)
class IncidentFault:
    """The fault of an incident, from the analyses of its events; what none tells is None.

    ``fault_type`` is the most frequent one, the later of those that are as frequent, and ``phases``
    are its; ``magnitude_a`` the largest [A primary]. ``distance`` is the median over events of that
    type, from ``distance_low`` to ``distance_high`` over all of these.
    """

    fault_type: str | None = None
    phases: str = ""
    magnitude_a: float | None = None
    distance: float | None = None
    distance_low: float | None = None
    distance_high: float | None = None


def operation_of(recloser: str, analysis: EventAnalysis) -> Operation | None:
    """Return the operation that an analysed event was, or None where nothing tripped.

    Where the record has no bit of a trip, the relay's word for the event tells (``AG T``,
    ``TRIP``). An event without a time is none.
    """
    when = analysis.time
    words = analysis.event.upper().split()
    by_word = "T" in words[1:] or any(word.startswith("TRIP") for word in words)
    tripped = by_word if analysis.tripped is None else analysis.tripped
    if when is None or not tripped:
        return None
    return Operation(recloser, when, analysis.event, analysis.shot, analysis.locked_out)


def fault_of(analyses: Iterable[EventAnalysis]) -> IncidentFault:
    """Return the fault of an incident from the analyses of its events, in the order of time."""
    known = list(analyses)
    types = [one.fault_type for one in known if one.fault_type]
    most = max((types.count(one) for one in types), default=0)
    kind = next((one for one in reversed(types) if types.count(one) == most), None)
    places = [one.located for one in known if one.located and one.fault_type == kind]
    sizes = [one.magnitude_a for one in known if one.kind == "fault" and one.magnitude_a]
    return IncidentFault(
        kind,
        "" if kind is None else kind.replace("G", ""),
        max(sizes, default=None),
        median(one.best for one in places) if places else None,
        min((one.low for one in places), default=None),
        max((one.high for one in places), default=None),
    )


def last_shot_of(settings: Mapping[str, str]) -> int | None:
    """Return after which shot the recloser stays open: the number of open intervals that are set.

    None where the settings do not say it.
    """
    if not any(key in settings for key in _INTERVALS):
        return None
    opened = [_cycles(settings.get(key, "")) > 0 for key in _INTERVALS]
    return next((number for number, one in enumerate(opened) if not one), len(opened))


def gap_s(settings: Mapping[str, str], frequency_hz: float = 60.0) -> float:
    """Return the longest time between two operations of one incident [s].

    The longest open interval (79OI1 … 79OI4) and the longest reset time (79RSD after a reclosing,
    79RSLD from lockout), which the relay's settings give in cycles of ``frequency_hz`` [Hz].

    Raises
    ------
    ParameterError
        If the frequency is not positive.
    """
    if frequency_hz <= 0:
        raise ParameterError("A frequency is positive.", fix="Take 50 or 60 Hz.")
    opened = [_cycles(settings.get(key, "")) for key in _INTERVALS]
    resets = [_cycles(settings.get(key, "")) for key in _RESETS]
    if not any(opened) or not any(resets):
        return ASSUMED_GAP_S
    return (max(opened) + max(resets)) / frequency_hz


def _cycles(text: str) -> float:
    try:
        number = float(text.split()[0]) if text.split() else 0.0
    except ValueError:
        return 0.0
    return number if 0 < number < 1e7 else 0.0


def incidents(
    operations: Iterable[Operation], gap_s: float = ASSUMED_GAP_S, last_shot: int | None = None
) -> list[Incident]:
    """Return the incidents of all reclosers among the operations, in the order of time.

    Parameters
    ----------
    operations : iterable of Operation
        In any order; the same operation twice counts once.
    gap_s : float
        Longest time from one operation to the next of the same incident [s].
    last_shot : int, optional
        The shot after which the recloser does not reclose: that operation locks it out, and one
        before it that nothing follows reclosed.

    Raises
    ------
    ParameterError
        If ``gap_s`` is not positive.
    """
    if gap_s <= 0:
        raise ParameterError("The gap is a positive time.", fix="Take the reset time in seconds.")
    ordered = sorted(set(operations), key=lambda one: (one.recloser, one.time, one.shot or 0))
    found: list[Incident] = []
    for recloser, group in groupby(ordered, key=lambda one: one.recloser):
        current: list[Operation] = []
        for operation in group:
            if current and _begins(current[-1], operation, gap_s):
                found.append(_incident(recloser, current, last_shot))
                current = []
            current.append(operation)
        found.append(_incident(recloser, current, last_shot))
    return sorted(found, key=lambda one: (one.start, one.recloser))


def _begins(before: Operation, operation: Operation, gap_s: float) -> bool:
    """Return whether an operation begins a new incident after the one before it."""
    if before.locked_out or operation.time.ns - before.time.ns > gap_s * NS:
        return True
    known = before.shot is not None and operation.shot is not None
    return known and (operation.shot or 0) < (before.shot or 0)


def _incident(recloser: str, operations: Sequence[Operation], last_shot: int | None) -> Incident:
    last = operations[-1]
    final = last_shot is not None and last.shot is not None and last.shot >= last_shot
    outcome: Outcome = "unknown"
    if last.locked_out or final:
        outcome = "permanent"
    elif last.locked_out is False or (last_shot is not None and last.shot is not None):
        outcome = "momentary"
    return Incident(recloser, tuple(operations), outcome)
