"""The simulated reclosers of a site as a program: gateways, relays, and faults now and then.

The site's own list says which there are; a site that lists none gets those of the demo. One has a
clock that is wrong, one is locked, one lost a report; those with wake-up characters sleep.
"""

from __future__ import annotations

import argparse
import secrets as dice_of_secrets
import string
import threading
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from heapq import heappop, heappush
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from workspace_lib import simulators
from workspace_lib.clock import SYSTEM_CLOCK, Clock
from workspace_lib.errors import ConfigError
from workspace_lib.reclosers.settings import (
    SIMULATED,
    Fleet,
    Gateway,
    Recloser,
    load_fleet,
    load_reclosers,
)
from workspace_lib.reclosers.simulator import RelaySpec, RelayTruth
from workspace_lib.reclosers.simulator_events import Model, SimulatedEvent
from workspace_lib.reclosers.simulator_fleet import Happening, Network, Post, insert
from workspace_lib.reclosers.simulator_gateway import GatewayManners, GatewaySimulator, RelayAt
from workspace_lib.reclosers.simulator_relay import SimulatedRelay
from workspace_lib.settings import Settings, load_settings

NAME: Final = "reclosers"
SECRET: Final = "DEMO_RELAY_PASSWORD"
#: How much faster than real the lines are, so that nobody waits for minutes.
PACE: Final = 30.0
#: Time between two faults while it runs, on average and at speed 1 [s].
FAULT_EVERY_S: Final = 240.0
CLOCK_ERROR_S: Final = 252.0
_LOOK_S: Final = 0.2
#: What a relay takes as a password: up to 12 of these.
_LETTERS: Final = string.ascii_letters + string.digits
#: The demo's reclosers, for sites that list none: house name, and the next one upstream.
DEMO: Final[tuple[tuple[str, str], ...]] = (
    *(("LAV-101", ""), ("LAV-102", "LAV-101"), ("LAV-103", "LAV-102"), ("LAV-201", "")),
    *(("MAT-301", ""), ("MAT-302", "MAT-301"), ("MAT-401", ""), ("MAT-402", "MAT-401")),
    *(("MTL-501", ""), ("MTL-502", "MTL-501"), ("MTL-503", "MTL-502"), ("MTL-601", "")),
)
#: The place in the list of the one with a wrong clock, and of the one that lost a report.
_WRONG_CLOCK: Final = 2
_LOST_REPORT: Final = 4


@dataclass(frozen=True)
class FleetTruth:
    """What a faultless client finds, by recloser, and who cannot be reached or is wrong."""

    relays: dict[str, RelayTruth]
    locked: frozenset[str]
    asleep: frozenset[str]
    wrong_clock: frozenset[str]


class FleetSimulator:
    """The reclosers of a fleet behind their gateways, with faults that go on happening.

    Parameters
    ----------
    fleet : Fleet
        Of those that are to be simulated; see `simulated`.
    zone : ZoneInfo
        What the relays' clocks keep.
    password : str
        Of level 1 of all relays; otherwise one is made up.
    seed : int
        Another seed gives other faults.
    pace : float
        How much faster than real the lines are; 0: as fast as they can.
    """

    def __init__(
        self,
        fleet: Fleet,
        zone: ZoneInfo,
        *,
        password: str = "",
        seed: int = 1,
        pace: float = PACE,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not fleet.reclosers:
            raise ConfigError(
                "No recloser of the site is simulated.",
                fix=f"Give some of them addresses {SIMULATED}{NAME}/<id> in its list.",
            )
        self.password = password or "".join(dice_of_secrets.choice(_LETTERS) for _ in range(10))
        self._clock = clock
        self._pace = pace
        self._dice = np.random.default_rng([seed, 0])
        models: tuple[Model, ...] = ("351R", "651R")
        posts = [
            Post(
                one.id,
                models[number % 2],
                one.upstream,
                CLOCK_ERROR_S if number == _WRONG_CLOCK else 0.0,
                float(np.random.default_rng([seed, number]).uniform(60, 180)),
                _relay_text(one.name or one.id),
            )
            for number, one in enumerate(fleet.reclosers)
        ]
        self._network = Network(posts, zone, seed)
        history = self._network.history(clock.now())
        self._locked = frozenset(one.id for one in fleet.reclosers[_LOST_REPORT + 1 :][-1:])
        self._wrong_clock = frozenset(post.id for post in posts if post.clock_error_s)
        self._gateways: dict[str, GatewaySimulator] = {}
        relays: dict[str, list[RelayAt]] = {}
        for number, (one, post) in enumerate(zip(fleet.reclosers, posts, strict=True)):
            events = history[one.id]
            spec = RelaySpec(
                post.model,
                rid=one.id,
                tid=post.tid,
                events=events,
                password=self.password,
                erased={events[-1].key} if number == _LOST_REPORT and len(events) > 1 else set(),
                clock_error_s=post.clock_error_s,
            )
            relays.setdefault(one.gateway, []).append(_at(one, spec))
        for name, behind in relays.items():
            gateway = next((one for one in fleet.gateways if one.id == name), Gateway(id="none"))
            self._gateways[name] = GatewaySimulator(
                behind,
                GatewayManners(
                    inactivity_s=gateway.inactivity_s or 0.0,
                    locked_text=f"{gateway.locked_text}\r\n",
                    busy_text=f"{gateway.busy_text}\r\n",
                ),
                locked=[one.id for one in behind if one.id in self._locked],
                zone=zone,
                clock=clock,
            )
        self._of = {
            one.id: self._gateways[name] for name, all_of in relays.items() for one in all_of
        }
        self._due: list[Happening] = []
        self._writer: threading.Thread | None = None
        self._stopping = threading.Event()

    def start(self, port: int = 0, speed: float = 1.0, host: str = "127.0.0.1") -> dict[str, Any]:
        """Open the gateways' ports and let faults happen.

        Parameters
        ----------
        port : int
            The first port, the others follow; 0 takes free ones.
        speed : float
            How often faults happen, 1 is one in four minutes; 0: none.
        host : str
            Address to listen on.

        Returns
        -------
        dict
            ``host``, ``port``, ``urls`` by recloser, and ``password``.
        """
        urls: dict[str, str] = {}
        first = 0
        for gateway in self._gateways.values():
            found = gateway.start(port + len(set(urls.values())) if port else 0, self._pace, host)
            urls.update(found["urls"])
            first = first or int(found["port"])
        self._stopping.clear()
        if speed > 0:
            self._writer = threading.Thread(
                target=self._go_on, args=(speed,), name="feeders", daemon=True
            )
            self._writer.start()
        return {"host": host, "port": first, "urls": urls, "password": self.password}

    def fault(self, at: datetime | None = None) -> list[Happening]:
        """Let a fault happen from an instant on; its shots come as their time does."""
        found = self._network.fault(at or self._clock.now(), self._dice)
        for one in found:
            heappush(self._due, one)
        return found

    def advance(self) -> int:
        """Let the relays have what has happened by now; returns how many events that were."""
        count = 0
        while self._due and self._due[0].at <= self._clock.now():
            one = heappop(self._due)
            put = partial(_put, one.event)
            self._of[one.recloser].change(one.recloser, put)
            count += 1
        return count

    def truth(self) -> FleetTruth:
        """Return what a faultless client finds now."""
        relays: dict[str, RelayTruth] = {}
        for gateway in self._gateways.values():
            relays.update(gateway.truth())
        asleep = frozenset(name for name, of in self._of.items() if of.asleep(name))
        return FleetTruth(relays, self._locked, asleep, self._wrong_clock)

    def stop(self) -> None:
        """Stop the faults and close the ports."""
        self._stopping.set()
        if self._writer is not None:
            self._writer.join(timeout=30)
            self._writer = None
        for gateway in self._gateways.values():
            gateway.stop()

    def _go_on(self, speed: float) -> None:
        next_at = time.monotonic()
        while not self._stopping.wait(_LOOK_S):
            if time.monotonic() >= next_at:
                self.fault()
                next_at += float(self._dice.exponential(FAULT_EVERY_S / speed))
            self.advance()


def simulated(settings: Settings) -> Fleet:
    """Return those reclosers of a site that are simulated; the demo's where there are none."""
    path = settings.site_dir / load_reclosers(settings).fleet
    fleet = load_fleet(settings) if path.exists() else Fleet(())
    found = [one for one in fleet.reclosers if one.remote and one.url == _address(one.id)]
    return Fleet(tuple(found), fleet.gateways) if found else _demo()


def _demo() -> Fleet:
    reclosers = tuple(
        Recloser(
            id=name,
            ced=name[:3],
            url=_address(name),
            gateway="north" if number < len(DEMO) // 2 else "south",
            upstream=(upstream,) if upstream else (),
            wake="ABCD" if name == "MAT-402" else "",
            baud=19_200,
        )
        for number, (name, upstream) in enumerate(DEMO)
    )
    return Fleet(reclosers, tuple(Gateway(id=name, inactivity_s=60) for name in ("north", "south")))


def _address(name: str) -> str:
    return f"{SIMULATED}{NAME}/{name}"


def simulator_of(settings: Settings, *, seed: int = 1, pace: float = PACE) -> FleetSimulator:
    """Return a simulator of a site's own reclosers."""
    zone = ZoneInfo(load_reclosers(settings).timezone or settings.timezone)
    return FleetSimulator(simulated(settings), zone, seed=seed, pace=pace)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the simulated reclosers of a site until told to stop (SIGTERM, SIGINT)."""
    parser = argparse.ArgumentParser(
        prog="python -m workspace_lib.reclosers.simulator", description=main.__doc__
    )
    parser.add_argument("--site", help="name of a site under parameters/, or a path")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="first port; 0: free ones")
    parser.add_argument("--speed", type=float, default=1.0, help="how often faults happen; 0: none")
    parser.add_argument("--pace", type=float, default=PACE, help="how much faster lines are")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other faults")
    arguments = parser.parse_args(argv)
    settings = load_settings(arguments.site)

    def make() -> tuple[FleetSimulator, dict[str, Any]]:
        simulator = simulator_of(settings, seed=arguments.seed, pace=arguments.pace)
        return simulator, simulator.start(arguments.port, arguments.speed, arguments.host)

    def says(endpoint: dict[str, Any]) -> str:
        first = f"socket://{endpoint['host']}:{endpoint['port']}"
        return f"recloser simulator: {len(endpoint['urls'])} relays from {first} on"

    simulators.run(settings, NAME, make, secret=SECRET, says=says)
    return 0


def _put(event: SimulatedEvent, relay: SimulatedRelay) -> None:
    insert(relay.spec.events, event)


def _relay_text(name: str) -> str:
    """Return a name as a relay's settings hold it: capitals without accents, commas or quotes."""
    plain = unicodedata.normalize("NFKD", name.upper()).encode("ascii", "ignore").decode("ascii")
    return "".join(letter if letter.isalnum() or letter in " -." else " " for letter in plain)


def _at(one: Recloser, spec: RelaySpec) -> RelayAt:
    return RelayAt(
        one.id,
        spec,
        line=one.line,
        address=f"@{one.address:02d}" if one.address is not None else "",
        wake=one.wake,
        asleep=bool(one.wake),
        baud=one.baud,
    )
