"""A simulated network of reclosers: faults on its feeders, and what each relay has of them.

A fault lies beyond one recloser, which trips, recloses, and locks out where the fault stays. Those
between it and the source carry the same current: they see it, and now and then one trips as well.
The faults of a day are the same whenever they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from workspace_lib.reclosers.simulator_events import KINDS, Model, SimulatedEvent

#: How many events a relay keeps; the oldest is overwritten.
CAPACITY: Final = 30
HISTORY_DAYS: Final = 15
#: Faults of the network in a day, for each recloser.
FAULTS_A_DAY: Final = 0.11
#: How often faults of each type are: most are of one phase to ground.
_WEIGHTS: Final = {"AG": 6, "BG": 6, "CG": 6, "AB": 2, "BC": 2, "CA": 2, "ABC": 2, "ER": 2}
#: From one trip to the next, where the recloser tries again [s].
_OPEN_S: Final = (0.6, 5.2, 15.3)
_PERMANENT: Final = 0.3
_MOST_SHOTS: Final = 4
#: How often a recloser nearer to the source trips for a fault that was not its own.
_TRIPS_TOO: Final = 0.2


@dataclass(frozen=True)
class Post:
    """A recloser of the network: its relay's model, what it is fed through, its clock's error.

    ``tid`` is its place as its relay names it; empty: its ``id``.
    """

    id: str
    model: Model = "351R"
    upstream: tuple[str, ...] = ()
    clock_error_s: float = 0.0
    load_a: float = 110.0
    tid: str = ""


@dataclass(frozen=True, order=True)
class Happening:
    """An event at one recloser, at a true instant."""

    at: datetime
    recloser: str
    event: SimulatedEvent = field(compare=False)


class Network:
    """Reclosers, and the faults that befall them.

    Parameters
    ----------
    posts : sequence of Post
        The reclosers; ``upstream`` names others of them.
    zone : ZoneInfo
        What their clocks keep.
    seed : int
        Another seed, other faults.
    """

    def __init__(self, posts: Sequence[Post], zone: ZoneInfo, seed: int = 1) -> None:
        self._posts = {post.id: post for post in posts}
        self._zone = zone
        self._seed = seed

    def history(self, until: datetime, days: int = HISTORY_DAYS) -> dict[str, list[SimulatedEvent]]:
        """Return what each relay holds at an instant, newest first."""
        today = until.astimezone(self._zone).date()
        found: dict[str, list[Happening]] = {name: [] for name in self._posts}
        for back in range(days + 1):
            for one in self.of_day(today - timedelta(days=back)):
                if one.at <= until:
                    found[one.recloser].append(one)
        return {
            name: [one.event for one in sorted(all_of, reverse=True)[:CAPACITY]]
            for name, all_of in found.items()
        }

    def of_day(self, day: date) -> Iterator[Happening]:
        """Give what happens on a day, the same each time it is asked."""
        dice = np.random.default_rng([self._seed, day.toordinal()])
        for _ in range(int(dice.poisson(FAULTS_A_DAY * len(self._posts)))):
            start = datetime.combine(day, time(), self._zone)
            yield from self.fault(start + timedelta(seconds=float(dice.uniform(0, 86_000))), dice)

    def fault(self, at: datetime, dice: np.random.Generator) -> list[Happening]:
        """Return what a fault at an instant brings to the relays, in the order of time."""
        post = self._posts[str(dice.choice(list(self._posts)))]
        weights = np.array([_WEIGHTS[kind] for kind in KINDS], float)
        kind = str(dice.choice(KINDS, p=weights / weights.sum()))
        permanent = kind != "ER" and bool(dice.random() < _PERMANENT)
        shots = _MOST_SHOTS if permanent else 1 if kind == "ER" else int(dice.integers(1, 4))
        place = float(dice.uniform(0.1, 0.9))
        found: list[Happening] = []
        for shot in range(shots):
            trip = float(dice.uniform(0.04, 0.07))
            shape = {
                "shot": shot,
                "inception_s": -float(dice.uniform(0.004, 0.012)),
                "trip_s": trip,
                "open_s": trip + float(dice.uniform(0.025, 0.04)),
                "angle_deg": float(dice.uniform(0, 360)),
            }
            locks = permanent and shot == shots - 1
            found.append(self._seen(post, at, kind, place, shape, trips=True, lockout=locks))
            for nearer, above in enumerate(self._above(post) if kind != "ER" else (), start=1):
                # Its clock and its trigger are its own, and the fault is farther away from it.
                moment = at + timedelta(milliseconds=int(dice.integers(0, 9)))
                far = min(0.95, place * 0.5 + 0.3 * nearer)
                trips = bool(dice.random() < _TRIPS_TOO) and shot == 0
                found.append(
                    self._seen(above, moment, kind, far, {**shape, "shot": 0}, trips=trips)
                )
            if shot < len(_OPEN_S):
                at += timedelta(seconds=_OPEN_S[shot] + float(dice.uniform(0, 0.2)))
        return sorted(found)

    def _seen(
        self,
        post: Post,
        at: datetime,
        kind: str,
        distance: float,
        shape: Mapping[str, float],
        *,
        trips: bool,
        lockout: bool = False,
    ) -> Happening:
        shown = at.astimezone(self._zone) + timedelta(seconds=post.clock_error_s)
        stamp = shown.replace(tzinfo=None, microsecond=shown.microsecond // 1000 * 1000)
        event = SimulatedEvent(
            post.model,
            stamp,
            kind,
            int(shape["shot"]),
            distance,
            post.load_a,
            shape["angle_deg"],
            shape["inception_s"],
            shape["trip_s"],
            shape["open_s"],
            lockout,
            trips,
            rid=post.id,
            tid=post.tid or post.id,
        )
        return Happening(at, post.id, event)

    def _above(self, post: Post) -> list[Post]:
        """Return the reclosers between one and the source, the next one first."""
        found: list[Post] = []
        waiting = list(post.upstream)
        while waiting:
            above = self._posts.get(waiting.pop(0))
            if above is not None and above not in found and above is not post:
                found.append(above)
                waiting += above.upstream
        return found


def insert(events: list[SimulatedEvent], event: SimulatedEvent) -> None:
    """Put an event where its time belongs, newest first; the oldest of too many is overwritten."""
    taken = {one.key for one in events}
    if event.key in taken:
        return
    place = next((n for n, one in enumerate(events) if one.time <= event.time), len(events))
    events.insert(place, event)
    del events[CAPACITY:]
