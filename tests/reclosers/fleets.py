"""A site whose reclosers are behind a simulated gateway, for tests of runs over the fleet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from workspace_lib.reclosers.archive import open_archive
from workspace_lib.reclosers.fleet import FleetManners, FleetReport, capture_fleet
from workspace_lib.reclosers.relay import Manners
from workspace_lib.reclosers.simulator import RelaySpec, make_events
from workspace_lib.reclosers.simulator_gateway import GatewayManners, GatewaySimulator, RelayAt
from workspace_lib.reclosers.tables import recloser_events, recloser_files
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store, read
from workspace_lib.transports.devices import Holder
from workspace_lib.transports.serial_line import Limits

PASSWORD = "OTTER"
SECRET = "RELAY_LEVEL_1"
#: Prompts of simulated relays come framed and at once; only what is silent is waited for.
QUICK = FleetManners(
    relay=Manners(probe_s=1.0, settle_s=0.05, tries=2),
    limits=Limits(byte_s=20),
    least_s=0.0,
    leave_s=0.0,
    again_s=0.05,
)


#: For relays that are silent.
BRISK = replace(QUICK, relay=Manners(probe_s=0.4, settle_s=0.05, tries=1))


def write_fleet(settings: Settings, entries: Iterable[dict[str, Any]], **more: Any) -> Path:
    """Write the site's list of reclosers."""
    path = settings.site_dir / "reclosers.yml"
    content = {"gateways": [{"id": "g1"}], "reclosers": list(entries)} | more
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


class Nothing:
    """A device that does nothing."""

    def close(self) -> None:
        """Do nothing."""


@dataclass
class SimulatedFleet:
    """Relays behind a running gateway, and the site that lists them."""

    settings: Settings
    store: Store
    gateway: GatewaySimulator
    urls: dict[str, str]
    relays: list[RelayAt]

    def list_anew(self, more: dict[str, dict[str, Any]]) -> None:
        """Write the list of reclosers again, with other words for some of them."""
        write_fleet(
            self.settings,
            [entry_of(at, self.urls[at.id], **more.get(at.id, {})) for at in self.relays],
        )

    def capture(self, manners: FleetManners = QUICK, **options: Any) -> FleetReport:
        """Run over the fleet."""
        return capture_fleet(
            self.store, self.settings, holder=Holder("test"), manners=manners, **options
        )

    def stored(self) -> dict[tuple[str, str, str], bytes]:
        """Everything that is kept, by recloser, type and kind of file, read from the archive."""
        archive = open_archive(self.settings)
        events, files = recloser_events.c, recloser_files.c
        query = (
            recloser_files.join(recloser_events, events.event_id == files.event_id)
            .select()
            .where(files.state == "kept")
        )
        with read(self.store.data) as connection:
            rows = connection.execute(query).all()
        found = {}
        for row in rows:
            key = (row.recloser, str(row.device_us), row.kind)
            assert key not in found, f"twice: {key}"
            found[key] = archive.read(row.path, row.sha256)
        return found

    def truth(self, *relays: str) -> dict[tuple[str, str, str], bytes]:
        """The compressed reports that the relays have, in the same form."""
        found = {}
        for name, truth in self.gateway.truth().items():
            if not relays or name in relays:
                for event in truth.events:
                    if event.key not in truth.erased:
                        found[name, _us(event.time), "cev"] = event.cev_of("C")
        return found


def _us(time: Any) -> str:
    from workspace_lib.reclosers.record import device_time

    return str(device_time(time).ns // 1000)


def spec(seed: int, events: int = 2, **more: Any) -> RelaySpec:
    """A 351R with some events of its own."""
    return RelaySpec("351R", events=make_events("351R", events, seed=seed), **more)


def relays_of(count: int, events: int = 2, lines: int = 0) -> list[RelayAt]:
    """Relays ``R-1`` …, on ``lines`` lines or each on its own."""
    return [
        RelayAt(f"R-{n}", spec(n, events), line=f"l{n % lines}" if lines else "")
        for n in range(1, count + 1)
    ]


def entry_of(at: RelayAt, reached_at: str, **more: Any) -> dict[str, Any]:
    """How the list of reclosers names a simulated relay."""
    shared = {"line": at.line} if at.line else {}
    return {"id": at.id, "ced": "LAV", "gateway": "g1", "url": reached_at, **shared, **more}


def start_gateway(
    relays: list[RelayAt], manners: GatewayManners | None = None, **more: Any
) -> tuple[GatewaySimulator, dict[str, str]]:
    """Start a gateway; returns it and the relays' addresses."""
    gateway = GatewaySimulator(relays, manners, **more)
    return gateway, gateway.start()["urls"]
