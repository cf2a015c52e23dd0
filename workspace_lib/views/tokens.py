"""The one visual language: colours of series and phases, and the states with icon and meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Colours of series (Okabe and Ito): told apart by colour-blind people. The last three are weak on
#: white; `charts` takes them only when there are more than five series.
SERIES: tuple[str, ...] = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#F0E442",
    "#000000",
)

#: Phases of currents and voltages, the same on every board.
PHASES: Mapping[str, str] = {"A": "#0072B2", "B": "#D55E00", "C": "#009E73"}

#: Narrow: one column. Wide: the content stops growing; above it a wall screen is scaled.
NARROW_PX = 700
CONTENT_PX = 1440


@dataclass(frozen=True)
class State:
    """A state as people see it: always colour, icon and word together.

    The colour is the style sheet's ``--ws-NAME`` (light and dark); the word is ``state.NAME`` of
    `texts`.
    """

    name: str
    icon: str


STATES: Mapping[str, State] = {
    state.name: state
    for state in (
        State("good", "check"),
        State("attention", "alert"),
        State("bad", "cross"),
        State("stale", "clock"),
        State("unknown", "question"),
        State("running", "running"),
        State("waiting", "waiting"),
        State("skipped", "skip"),
        State("missed", "missed"),
        State("partial", "half"),
    )
}

#: How the states of a run are shown.
RUN_STATES: Mapping[str, str] = {
    "due": "waiting",
    "claimed": "running",
    "running": "running",
    "succeeded": "good",
    "failed": "bad",
    "timed_out": "bad",
    "lost": "bad",
    "cancelled": "skipped",
    "skipped": "skipped",
    "missed": "missed",
}


def worst(states: list[str] | tuple[str, ...]) -> str:
    """Return the state that needs attention most, ``unknown`` if there is none."""
    order = ("bad", "stale", "attention", "partial", "missed", "unknown", "running", "good")
    return min(
        states, key=lambda state: order.index(state) if state in order else 99, default="unknown"
    )


def series_colour(index: int) -> str:
    """Return the colour of the series number ``index``, from the first again after the last."""
    return SERIES[index % len(SERIES)]
