"""Where the time of a window went: a waterfall that adds up exactly, and Pareto of stops."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workspace_lib.errors import DataQualityError
from workspace_lib.machining.kpis import Times, ratio


@dataclass(frozen=True)
class Step:
    """One loss of a waterfall: ``us`` lost, and ``left_us`` after it [µs].

    A negative loss is a gain: pieces were made faster than the reference.
    """

    name: str
    us: int
    left_us: int


@dataclass(frozen=True)
class Waterfall:
    """From the window to what is left of it.

    ``left`` names what is left: ``useful``, ``net`` where quality is not measured, ``running``
    where no cycle time is known either.
    """

    window_us: int
    steps: tuple[Step, ...]
    left: str
    left_us: int

    @property
    def gained(self) -> bool:
        """Whether pieces were made faster than the reference."""
        return any(step.us < 0 for step in self.steps)


def waterfall(times: Times) -> Waterfall:
    """Return the losses of a window from the largest time to the smallest (NF E60-182).

    Micro-stops stand where they count: among the stops, or among what lowers Tp.

    Raises
    ------
    DataQualityError
        If it does not add up to the window.
    """
    losses = [
        ("closed", times.closed_us),
        ("planned", times.planned_us),
        ("unknown", times.unknown_us),
        ("own_stops", times.own_us),
        ("setup", times.setup_us),
        ("induced_stops", times.induced_us),
        ("micro_stops", times.micro_us),
    ]
    left, value = "running", times.running_us
    if times.ideal_us is not None:
        losses.append(("speed", times.running_us - times.ideal_us))
        left, value = "net", times.ideal_us
        if times.useful_us is not None:
            losses.append(("quality", times.ideal_us - times.useful_us))
            left, value = "useful", times.useful_us
    steps, rest = [], times.total_us
    for name, us in losses:
        rest -= us
        steps.append(Step(name, us, rest))
    found = Waterfall(times.total_us, tuple(steps), left, value)
    check_waterfall(found, times.total_us)
    return found


def check_waterfall(fall: Waterfall, window_us: int) -> None:
    """Refuse a waterfall that does not add up to its window, exactly.

    Raises
    ------
    DataQualityError
        Saying by how much.
    """
    total = fall.left_us + sum(step.us for step in fall.steps)
    rest = fall.window_us
    for step in fall.steps:
        rest -= step.us
        if step.left_us != rest:
            raise DataQualityError(
                f"After {step.name!r} {step.left_us} µs are said to be left, but {rest} µs are.",
                where="waterfall of losses",
            )
    if not total == fall.window_us == window_us:
        raise DataQualityError(
            f"The losses and what is left add up to {total} µs, not to the window of "
            f"{window_us} µs.",
            where="waterfall of losses",
            fix="Make it by losses.waterfall of the times of this window.",
        )


@dataclass(frozen=True)
class StopTime:
    """Time lost to one cause: its category, the reason in it, how long [µs] and how often."""

    category: str
    reason: str
    us: int
    count: int = 1


@dataclass(frozen=True)
class ParetoRow:
    """A category or reason: time [µs], count, share of all, and share with all rows above.

    Shares are None where nothing was lost. ``reasons`` are the rows of a category, whose shares
    are of the whole too.
    """

    name: str
    us: int
    count: int
    share: float | None
    cumulated: float | None
    reasons: tuple[ParetoRow, ...] = ()


def pareto(stops: Iterable[StopTime]) -> tuple[ParetoRow, ...]:
    """Return the causes of stops on two levels, the longest first; equal ones by name.

    A cause that took no time keeps its row.
    """
    listed = list(stops)
    total = sum(stop.us for stop in listed)
    categories: dict[str, list[StopTime]] = {}
    for stop in listed:
        categories.setdefault(stop.category, []).append(stop)
    inner = {name: _rows(_by_reason(members), total) for name, members in categories.items()}
    outer = {
        name: (sum(row.us for row in rows), sum(row.count for row in rows))
        for name, rows in inner.items()
    }
    return tuple(
        ParetoRow(row.name, row.us, row.count, row.share, row.cumulated, inner[row.name])
        for row in _rows(outer, total)
    )


def _by_reason(stops: Sequence[StopTime]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for stop in stops:
        us, count = found.get(stop.reason, (0, 0))
        found[stop.reason] = us + stop.us, count + stop.count
    return found


def _rows(sums: dict[str, tuple[int, int]], total: int) -> tuple[ParetoRow, ...]:
    rows, reached = [], 0
    for name, (us, count) in sorted(sums.items(), key=lambda item: (-item[1][0], item[0])):
        reached += us
        rows.append(ParetoRow(name, us, count, ratio(us, total), ratio(reached, total)))
    return tuple(rows)
