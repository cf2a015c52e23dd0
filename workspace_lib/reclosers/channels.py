"""Which channels of a record are the three currents and voltages, in primary amperes and volts.

Relays name the same things differently; one dict for each family says how. What a family does not
know is found by the phases that the file itself tells of its channels. Records whose rate is no
whole number of samples a cycle are put on a grid of 32, so that all of them have phasors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from workspace_lib.errors import DataQualityError
from workspace_lib.reclosers.phasors import samples_per_cycle
from workspace_lib.reclosers.record import NS, Analog, EventRecord, Floats

Three = tuple[str, str, str]
CURRENTS: Final[Three] = ("IA", "IB", "IC")
VOLTAGES: Final[Three] = ("VA", "VB", "VC")
#: Names of the currents, of the voltages to ground, and of the setting with the voltages' ratio, by
#: the family of relays; names are compared in capitals, without units and blanks.
FAMILIES: Final[Mapping[str, Mapping[str, tuple[Three, ...]]]] = {
    "SEL-351, 311, 551": {"I": (("IA", "IB", "IC"),), "V": (("VA", "VB", "VC"),)},
    "SEL-651R": {
        "I": (("IA", "IB", "IC"), ("I1", "I2", "I3")),
        "V": (("VAY", "VBY", "VCY"), ("VAZ", "VBZ", "VCZ"), ("V1Y", "V2Y", "V3Y")),
    },
    "SEL-400": {
        "I": (("IAW", "IBW", "ICW"), ("IAX", "IBX", "ICX")),
        "V": (("VAY", "VBY", "VCY"), ("VAZ", "VBZ", "VCZ")),
    },
    "SEL-387": {
        "I": (("IAW1", "IBW1", "ICW1"), ("IAW2", "IBW2", "ICW2")),
        "V": (),
    },
    "numbered": {
        "I": (("IL1", "IL2", "IL3"), ("I1", "I2", "I3"), ("IR", "IS", "IT")),
        "V": (("UL1", "UL2", "UL3"), ("V1", "V2", "V3"), ("U1", "U2", "U3"), ("VR", "VS", "VT")),
    },
}
#: What makes amperes or volts of a unit.
_UNITS: Final[Mapping[str, float]] = {"A": 1.0, "KA": 1e3, "MA": 1e-3, "V": 1.0, "KV": 1e3}
#: A grid for records without a whole number of samples a cycle, and the fewest that make one.
GRID_PER_CYCLE: Final = 32
_LEAST_PER_CYCLE: Final = 12.0
#: More rows than any event on a grid has.
_MOST_ROWS: Final = 4_000_000
_TAIL = re.compile(r"\s*[\[(][^\])]*[\])]\s*$")


@dataclass(frozen=True)
class Note:
    """Why a value is not known, or what to know about it: a code and a sentence."""

    code: str
    message: str


@dataclass(frozen=True)
class ThreePhase:
    """A record's three currents and voltages.

    ``event`` has the channels IA, IB, IC [A primary] and, where ``voltages``, VA, VB, VC [V
    primary], all instantaneous; its bits are those of the record. ``per_cycle`` is a whole number
    of samples.
    """

    event: EventRecord
    per_cycle: int
    voltages: bool
    notes: tuple[Note, ...]

    @property
    def filtered(self) -> bool:
        """Whether rows are the relay's filtered ones, a quarter-cycle apart."""
        return self.per_cycle == 4

    @property
    def currents(self) -> Floats:
        """Instantaneous currents, shape (samples, 3) [A primary]."""
        return self.event.values[:, :3]


def three_phase(record: EventRecord) -> ThreePhase:
    """Return the three currents and voltages of a record, in primary units.

    Raises
    ------
    DataQualityError
        If three currents cannot be told, sampling rate or frequency are not known, or there is less
        than a cycle.
    """
    notes: list[Note] = []
    currents = find_three(record.analog, "I")
    if currents is None:
        known = ", ".join(one.name for one in record.analog[:20]) or "none"
        raise DataQualityError(
            "The three currents of the record cannot be told.",
            fix=f"Its analog channels are: {known}.",
        )
    columns = _primary(record, currents, notes)
    if columns is None:
        raise DataQualityError(
            "The currents are secondary ones and their ratio is not known.",
            fix="Fetch the event as CEV, whose settings say it.",
        )
    analog = [Analog(name, "A", name[1], scale="P") for name in CURRENTS]
    volts = find_three(record.analog, "V")
    found = None if volts is None else _primary(record, volts, notes)
    if found is None:
        notes.append(Note("no_voltages", "Three voltages to ground are not there."))
    else:
        columns = np.hstack((columns, found))
        analog += [Analog(name, "V", name[1], scale="P") for name in VOLTAGES]
    event = replace(
        record, analog=tuple(analog), values=columns * record.peak_factor, peak_factor=1.0
    )
    event, per_cycle = _even(event, notes)
    if event.samples < per_cycle:
        raise DataQualityError("The record is shorter than a cycle.", fix="Ask for more cycles.")
    if np.isnan(event.values).any():
        notes.append(Note("missing_samples", "Samples are missing."))
    return ThreePhase(event, per_cycle, found is not None, tuple(notes))


def find_three(analog: Sequence[Analog], quantity: str) -> tuple[int, int, int] | None:
    """Return where three currents (``"I"``) or voltages (``"V"``) are among channels, or None.

    By the families' names, else by the phases that the file tells, where each phase has one channel
    of such a unit.
    """
    places: dict[str, int] = {}
    for place, channel in enumerate(analog):
        places.setdefault(plain_name(channel.name), place)
    for names in _sets(quantity):
        if all(name in places for name in names):
            first, second, third = (places[name] for name in names)
            return first, second, third
    units = ("A", "KA") if quantity == "I" else ("V", "KV")
    of_phase = [
        [
            place
            for place, channel in enumerate(analog)
            if channel.phase.strip().upper() == phase and channel.unit.strip().upper() in units
        ]
        for phase in "ABC"
    ]
    if all(len(found) == 1 for found in of_phase):
        return of_phase[0][0], of_phase[1][0], of_phase[2][0]
    return None


def plain_name(name: str) -> str:
    """Return a channel's name in capitals, without unit, blanks and underscores.

    Examples
    --------
    >>> plain_name("Ia (A)"), plain_name("I_A"), plain_name("VAY[kV]")
    ('IA', 'IA', 'VAY')
    """
    return _TAIL.sub("", name).upper().replace(" ", "").replace("_", "")


def _sets(quantity: str) -> Iterable[Three]:
    for family in FAMILIES.values():
        yield from family[quantity]


def _primary(record: EventRecord, places: tuple[int, int, int], notes: list[Note]) -> Floats | None:
    """Return three columns in amperes or volts primary, or None where the ratio is not known."""
    columns = []
    for place in places:
        channel = record.analog[place]
        values = record.values[:, place]
        unit = channel.unit.strip().upper()
        volts = plain_name(channel.name)[:1] in ("V", "U") or unit in ("V", "KV")
        factor = _UNITS.get(unit)
        if factor is None:
            # Relays write voltages without a unit in kV; none of theirs reaches a thousand.
            known = np.abs(values[~np.isnan(values)])
            factor = 1e3 if volts and known.max(initial=0.0) < 1000 else 1.0
            _once(notes, "unit_assumed", f"{channel.name} has no unit; it was assumed.")
        if channel.scale == "S":
            ratio = channel.ratio or _ratio(record.settings, volts)
            if ratio is None:
                _once(notes, "no_ratio", f"The ratio of {channel.name} is not known.")
                return None
            factor *= ratio
        elif channel.scale is None:
            _once(notes, "scale_assumed", "Values were taken for primary ones.")
        columns.append(values * factor)
    return np.column_stack(columns)


def _ratio(settings: Mapping[str, str], volts: bool) -> float | None:
    for key in ("PTR", "PTRY", "PTRZ") if volts else ("CTR", "CTRW"):
        words = settings.get(key, "").split()
        try:
            number = float(words[0]) if words else 0.0
        except ValueError:
            continue
        if number > 0:
            return number
    return None


def _once(notes: list[Note], code: str, message: str) -> None:
    if all(note.code != code for note in notes):
        notes.append(Note(code, message))


def _even(event: EventRecord, notes: list[Note]) -> tuple[EventRecord, int]:
    """Return the record with a whole number of samples a cycle, on a grid where it has not."""
    try:
        return event, samples_per_cycle(event)
    except DataQualityError:
        hz, count = event.frequency_hz, event.samples
        if not hz or count < 2:
            raise
    steps = np.diff(event.t_ns)
    filled = _filled(event, hz, int(steps.min())) if steps.min() > 0 else None
    if filled is not None:
        notes.append(Note("gaps", "The record leaves out samples; they are missing."))
        return filled
    if steps.min() <= 0 or NS / float(steps.max()) < _LEAST_PER_CYCLE * hz:
        raise DataQualityError(
            "The record's samples are too far apart, or their times go back.",
            fix=f"Phasors need at least {_LEAST_PER_CYCLE:g} samples a cycle.",
        )
    rate = GRID_PER_CYCLE * hz
    rows = int(event.t_s[-1] * rate) + 1
    if rows > _MOST_ROWS:
        raise DataQualityError("The record is too long for an event.", fix="Cut it.")
    grid = np.arange(rows) / rate
    values = np.column_stack([np.interp(grid, event.t_s, one) for one in event.values.T])
    held = np.searchsorted(event.t_s, grid + 1e-9, side="right") - 1
    notes.append(Note("resampled", f"It was put on a grid of {GRID_PER_CYCLE} samples a cycle."))
    return replace(
        event,
        t_ns=np.rint(grid * NS).astype(np.int64),
        values=values,
        bits=event.bits[held],
        rates=((rate, rows),),
    ), GRID_PER_CYCLE


def _filled(event: EventRecord, hz: float, step_ns: int) -> tuple[EventRecord, int] | None:
    """Return a record that leaves out rows with these rows missing, or None where it is no such."""
    per_cycle = round(NS / (hz * step_ns))
    if per_cycle < 4 or per_cycle % 4:
        return None
    exact_ns = NS / (hz * per_cycle)
    places = np.rint((event.t_ns - event.t_ns[0]) / exact_ns).astype(np.int64)
    off = np.abs(places * exact_ns - (event.t_ns - event.t_ns[0]))
    count = int(places[-1]) + 1
    if off.max() > 0.02 * exact_ns or count > _MOST_ROWS or len(places) < 2:
        return None
    values = np.full((count, event.values.shape[1]), np.nan)
    values[places] = event.values
    held = np.searchsorted(places, np.arange(count), side="right") - 1
    return replace(
        event,
        t_ns=np.rint(np.arange(count) * exact_ns).astype(np.int64),
        values=values,
        bits=event.bits[held],
        rates=((hz * per_cycle, count),),
    ), per_cycle
