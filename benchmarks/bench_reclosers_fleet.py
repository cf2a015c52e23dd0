"""Reclosers: a run over 60 simulated relays on 12 lines at 19,200 baud, against the lines' limit.

What came over the busiest line, at 10 bits a byte and 19,200 bits a second, cannot take less time.
Target: the whole run, with sessions, checks and keeping, takes at most 1.2 times as long. What was
sent to the relays is not counted, so that the limit is rather too short. A second run, in which
nothing is new, is told without a target: it is little more than logging in and out.

The relays are in a process of their own. Each line sends at the pace of its baud rate.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections import defaultdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import yaml

from workspace_lib.reclosers.fleet import FleetReport, capture_fleet
from workspace_lib.reclosers.simulator import RelaySpec, make_events
from workspace_lib.reclosers.simulator_gateway import GatewaySimulator, RelayAt
from workspace_lib.settings import Settings, load_settings
from workspace_lib.store.migrate import open_store
from workspace_lib.transports.devices import Holder

RELAYS = 60
LINES = 12
BAUD = 19_200
#: At most so many times the time that the busiest line needs for its bytes.
TARGET = 1.2
SECRET = "BENCH_RELAY_LEVEL_1"


def relays() -> list[RelayAt]:
    """Return the relays: 351R with one or two new events each, five to a line."""
    model: Literal["351R"] = "351R"
    return [
        RelayAt(
            f"R-{n}",
            RelaySpec(model, events=make_events(model, 1 + n % 2, seed=n)),
            line=f"line-{n % LINES}",
        )
        for n in range(RELAYS)
    ]


def simulate(end: Connection) -> None:
    """Run the gateway until told to stop; tell the relays' addresses."""
    gateway = GatewaySimulator(relays(), baud=BAUD)
    end.send(gateway.start()["urls"])
    end.recv()
    gateway.stop()


def make_site(root: Path, urls: dict[str, str]) -> Settings:
    """Return a site that lists the relays."""
    folder = root / "parameters" / "bench"
    (folder / "jobs").mkdir(parents=True)
    wing = {"password": f"secret://{SECRET}"}
    (folder / "site.yml").write_text(
        yaml.safe_dump({"timezone": "UTC", "wings": {"reclosers": wing}})
    )
    entries = [
        {"id": at.id, "ced": "LAV", "url": urls[at.id], "line": at.line, "baud": BAUD}
        for at in relays()
    ]
    (folder / "reclosers.yml").write_text(yaml.safe_dump({"reclosers": entries}))
    return load_settings("bench", root=root)


def limit_s(report: FleetReport) -> float:
    """Return the time that the busiest line needs for what came over it [s]."""
    line_of = {at.id: at.line for at in relays()}
    by_line: dict[str, int] = defaultdict(int)
    for one in report.relays:
        by_line[line_of[one.recloser]] += one.bytes
    return max(by_line.values()) * 10 / BAUD


def main() -> int:
    """Print the table; return 1 if the target was missed or something was not fetched."""
    os.environ[SECRET] = "OTTER"
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    simulator = context.Process(target=simulate, args=(there,), daemon=True)
    simulator.start()
    print(f"{RELAYS} relays on {LINES} lines at {BAUD:,} baud")
    print(f"{'':20}{'relays':>8}{'new':>6}{'MB':>8}{'limit':>9}{'wall':>9}{'ratio':>8}{'CPU':>8}")
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        settings = make_site(Path(folder), here.recv())
        with open_store(settings, create=True) as store:
            for what, new in (("everything new", RELAYS + RELAYS // 2), ("nothing new", 0)):
                began, cpu = time.monotonic(), time.process_time()
                report = capture_fleet(store, settings, holder=Holder("bench"))
                wall = time.monotonic() - began
                limit, busy = limit_s(report), time.process_time() - cpu
                totals = report.totals
                print(
                    f"{what:20}{len(report.relays):>8}{totals['new']:>6}"
                    f"{totals['bytes'] / 1e6:>8.2f}{limit:>7.1f} s{wall:>7.1f} s"
                    f"{wall / limit:>8.2f}{busy:>6.1f} s"
                )
                whole = report.complete and totals["new"] == new
                missed = missed or not whole or (new > 0 and wall > TARGET * limit)
                if not whole:
                    print(report.to_text())
    here.send("stop")
    simulator.join(10)
    print(f"target: at most {TARGET} times the limit{': missed' if missed else ''}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
