"""Rates of a machine: TRS, TRG, TRE and their times, the losses between them, and ISO 22400.

Times are nested as NF E60-182 (AFNOR, 2002) nests them, as published by flconsultants.fr,
organisation-industrielle.fr and others, which agree:

    tT  total time of the window
    tO  opening          = tT - closed
    tR  required         = tO - planned breaks and stops
    tF  functioning      = tR - own stops - induced stops
    tN  net              = pieces x reference cycle time
    tU  useful           = good pieces x reference cycle time

    Do = tF / tR   Tp = tN / tF   Tq = tU / tN   Tc = tR / tO   Ts = tO / tT
    TRS = tU / tR = Do x Tp x Tq   TRG = tU / tO = TRS x Tc   TRE = tU / tT = TRG x Ts

Unknown time is told apart and never counted as functioning. It is taken out of tR, since nobody
knows whether it was lost; with `Times.with_unknown_lost` it is an own stop instead, which gives
the lower bound. Times and counts are pooled, rates are never averaged. Nothing is capped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from workspace_lib.errors import DataQualityError, ParameterError
from workspace_lib.machining.cycles import Origin
from workspace_lib.machining.pauses import Loss, PauseKind, Pauses
from workspace_lib.machining.states import State, States

#: Results carry it: it changes whenever a number could come out otherwise.
FORMULA_VERSION: Final = "trs-1"

MicroClass = Literal["performance", "availability"]


@dataclass(frozen=True)
class Times:
    """Times and counts of a window, or of several together; all times are whole [µs].

    Parameters
    ----------
    total_us : int
        tT, the window.
    closed_us, planned_us, unknown_us : int
        Outside the calendar; planned breaks and stops; without evidence.
    own_us, induced_us, setup_us, micro_us : int
        Own stops without set-up, induced stops and waits, set-up, micro-stops.
    produced : int
        Pieces made in required time.
    good : int or None
        Those of them that are good; None: quality is not measured.
    ideal_us : int or None
        tN: what the pieces take at the reference rate; None: no cycle time is known.
    useful_us : int or None
        tU: what the good ones take. Given, or by the share of good pieces.
    outside : int
        Pieces made in planned breaks or outside the calendar: shown, and part of no rate.
    stops : int
        How many own stops began; for the mean times between and to repair.
    cycle_origin : str
        How sure ``ideal_us`` is.
    micro_class : "performance" or "availability"
        Whether micro-stops lower Tp (as slow running does) or Do (as stops do).

    Raises
    ------
    DataQualityError
        If a time is negative, the losses are longer than the window, or more is good than made.
    """

    total_us: int
    closed_us: int = 0
    planned_us: int = 0
    unknown_us: int = 0
    own_us: int = 0
    induced_us: int = 0
    setup_us: int = 0
    micro_us: int = 0
    produced: int = 0
    good: int | None = None
    ideal_us: int | None = None
    useful_us: int | None = None
    outside: int = 0
    stops: int = 0
    cycle_origin: Origin = "table"
    micro_class: MicroClass = "performance"

    def __post_init__(self) -> None:
        if not self.produced:  # what was not made is neither bad nor slow
            for name in ("good", "ideal_us", "useful_us"):
                if getattr(self, name) is None:
                    object.__setattr__(self, name, 0)
        if self.useful_us is None and self.good is not None and self.ideal_us is not None:
            useful = (self.ideal_us * self.good + self.produced // 2) // self.produced
            object.__setattr__(self, "useful_us", useful)
        wrong = [
            name
            for name, value in vars(self).items()
            if isinstance(value, int) and not isinstance(value, bool) and value < 0
        ]
        if wrong:
            raise DataQualityError(f"Negative: {', '.join(wrong)}.")
        if self.running_us < 0:
            raise DataQualityError(
                "The losses are longer than the window.",
                where=f"window of {self.total_us} µs, {-self.running_us} µs too many",
                fix="Let losses not overlap: take them from states.partition.",
            )
        if self.good is not None and self.good > self.produced:
            raise DataQualityError(f"{self.good} good pieces, but {self.produced} were made.")

    @property
    def opening_us(self) -> int:
        """tO [µs]."""
        return self.total_us - self.closed_us

    @property
    def required_us(self) -> int:
        """tR, without unknown time [µs]."""
        return self.opening_us - self.planned_us - self.unknown_us

    @property
    def functioning_us(self) -> int:
        """tF; micro-stops are in it if they are a loss of performance [µs]."""
        return self.running_us + (self.micro_us if self.micro_class == "performance" else 0)

    @property
    def running_us(self) -> int:
        """Functioning without any stop, even micro-stops [µs]."""
        stops = self.own_us + self.induced_us + self.setup_us + self.micro_us
        return self.required_us - stops

    def with_unknown_lost(self) -> Times:
        """Return the same with unknown time as an own stop: rates are then lower bounds."""
        return replace(self, unknown_us=0, own_us=self.own_us + self.unknown_us)


@dataclass(frozen=True)
class Kpis:
    """Rates of a window, as fractions; None where a part is not known or nothing was required.

    ``do``, ``tp``, ``tq``, ``tc``, ``ts``, ``trs``, ``trg``, ``tre`` as the module says.
    ``trs_before_quality`` is Do x Tp: what TRS is at most where quality is not measured.
    ``coverage`` is the known share of required time. ``flags`` name what has to be shown with the
    numbers: ``tp_above_100``, ``quality_not_measured``, ``cycle_estimated``, ``cycle_unknown``,
    ``unknown_time``, ``pieces_outside``.
    """

    times: Times
    do: float | None
    tp: float | None
    tq: float | None
    tc: float | None
    ts: float | None
    trs: float | None
    trg: float | None
    tre: float | None
    trs_before_quality: float | None
    coverage: float | None
    flags: tuple[str, ...]
    formula_version: str = FORMULA_VERSION


def compute_kpis(times: Times) -> Kpis:
    """Return the rates of times (NF E60-182); each is one division of two times."""
    functioning, required = times.functioning_us, times.required_us
    tp = ratio(times.ideal_us, functioning)
    # Each flag is said once, in this order.
    said = {
        "tp_above_100": times.ideal_us is not None and times.ideal_us > functioning,
        "quality_not_measured": times.good is None,
        "cycle_estimated": bool(times.produced) and times.cycle_origin == "estimated",
        "cycle_unknown": times.ideal_us is None,
        "unknown_time": times.unknown_us > 0,
        "pieces_outside": times.outside > 0,
    }
    return Kpis(
        times=times,
        do=ratio(functioning, required),
        tp=tp,
        tq=ratio(times.useful_us, times.ideal_us),
        tc=ratio(required, times.opening_us),
        ts=ratio(times.opening_us, times.total_us),
        trs=ratio(times.useful_us, required),
        trg=ratio(times.useful_us, times.opening_us),
        tre=ratio(times.useful_us, times.total_us),
        trs_before_quality=ratio(times.ideal_us, required),
        coverage=ratio(required, required + times.unknown_us),
        flags=tuple(flag for flag, holds in said.items() if holds),
    )


def ratio(part: float | None, whole: float | None) -> float | None:
    """Return a part of a whole, or None if either is not known or the whole is nothing."""
    return None if part is None or not whole else part / whole


def pool(parts: Iterable[Times]) -> Times:
    """Return the times and counts of several windows or machines together.

    Quality is measured only if it is for all that made pieces, and so is the ideal time.

    Raises
    ------
    ParameterError
        If there are none, or micro-stops are not of one class.
    """
    listed = list(parts)
    classes = {part.micro_class for part in listed}
    if len(classes) != 1:
        raise ParameterError(
            "Times to pool must be some, with micro-stops of one class.",
            fix="Compute all of them by the same rules.",
        )
    sums: dict[str, int | None] = {}
    for name in _SUMMED:
        values = [getattr(part, name) for part in listed]
        sums[name] = None if None in values else sum(values)
    made = {part.cycle_origin for part in listed if part.produced}
    order: tuple[Origin, ...] = ("unknown", "estimated", "table")
    origin = next((one for one in order if one in made), "table")
    return Times(**sums, cycle_origin=origin, micro_class=classes.pop())  # type: ignore[arg-type]


_SUMMED: Final = (
    "total_us",
    "closed_us",
    "planned_us",
    "unknown_us",
    "own_us",
    "induced_us",
    "setup_us",
    "micro_us",
    "produced",
    "good",
    "ideal_us",
    "useful_us",
    "outside",
    "stops",
)


def count_times(
    states: States,
    pauses: Pauses,
    *,
    pieces_us: np.typing.NDArray[np.int64],
    cycle_us: np.typing.NDArray[np.int64] | None,
    good: int | None = None,
    cycle_origin: Origin = "table",
    micro_class: MicroClass = "performance",
) -> Times:
    """Return the times and counts of the states of a window.

    Parameters
    ----------
    states : States
    pauses : Pauses
        Those the states were made of.
    pieces_us : array of int64, shape (pieces,)
        When pieces were done; only those in the window count, begin included, end not [µs].
    cycle_us : array of int64, shape (pieces,), optional
        The reference cycle time of each [µs]; None if some have none.
    good : int, optional
        How many of those made in required time are good; None if nobody measures it.
    """
    inside = (pieces_us >= states.begin_us[0]) & (pieces_us < states.end_us[-1])
    state = states.at(pieces_us[inside])
    counted = (state != State.CLOSED) & (state != State.BREAK)
    ideal = None if cycle_us is None else int(cycle_us[inside][counted].sum())
    length = states.end_us - states.begin_us
    stopped = (states.state == State.STOP) | (states.state == State.WAIT)
    loss = np.full(len(states), Loss.NONE, np.uint8)
    loss[stopped] = pauses.loss[states.pause[stopped]]
    loss[stopped & states.micro] = Loss.MINOR
    return Times(
        total_us=int(length.sum()),
        closed_us=states.total_us(State.CLOSED),
        planned_us=states.total_us(State.BREAK),
        unknown_us=states.total_us(State.UNKNOWN),
        own_us=int(length[loss == Loss.OWN].sum()),
        induced_us=int(length[loss == Loss.INDUCED].sum()),
        setup_us=int(length[loss == Loss.SETUP].sum()),
        micro_us=int(length[loss == Loss.MINOR].sum()),
        produced=int(counted.sum()),
        good=good,
        ideal_us=ideal,
        outside=int((~counted).sum()),
        stops=_begun(states, pauses, loss),
        cycle_origin="unknown" if cycle_us is None else cycle_origin,
        micro_class=micro_class,
    )


def _begun(states: States, pauses: Pauses, loss: np.typing.NDArray[np.uint8]) -> int:
    """Count the own stops that begin in the window, so that parts add up when pooled."""
    mine = np.unique(states.pause[loss == Loss.OWN])
    mine = mine[pauses.kind[mine] == PauseKind.STOP]
    begin = pauses.begin_us[mine]
    return int(((begin >= states.begin_us[0]) & (begin < states.end_us[-1])).sum())


@dataclass(frozen=True)
class SourceRates:
    """Rates of the machines' first evaluation, over the time from the first to the last piece.

    ``occupation``, ``wait``, ``stop`` and ``unknown`` are fractions of ``window_us`` [µs] that add
    up to one. Calendars play no part.
    """

    window_us: int
    occupation: float
    wait: float
    stop: float
    unknown: float


def source_rates(states: States) -> SourceRates:
    """Return occupation, wait and stop rates of states from the first to the last piece.

    The states have to be those of an always open calendar. Waits within stops count once, and
    what lies outside the window not at all.

    Raises
    ------
    ParameterError
        If the states hold closed time or breaks.
    """
    if states.total_us(State.CLOSED) or states.total_us(State.BREAK):
        raise ParameterError(
            "These rates know no calendar.", fix="Partition with a calendar without shifts."
        )
    window = int(states.end_us[-1] - states.begin_us[0])
    shares = [states.total_us(state) for state in (State.RUN, State.WAIT, State.STOP)]
    run, wait, stop = (share / window for share in shares)
    return SourceRates(window, run, wait, stop, states.total_us(State.UNKNOWN) / window)
