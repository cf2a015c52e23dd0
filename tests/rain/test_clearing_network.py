"""A network with every fault of its loggers on a site that may be cleared: all that can go goes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from workspace_lib import simulators
from workspace_lib.rain.calibrating import calibrate
from workspace_lib.rain.capture import capture
from workspace_lib.rain.clearing import clear_raw
from workspace_lib.rain.products import make_products
from workspace_lib.rain.simulator import NAME, SECRET, RainSimulator, SimulatedGauge
from workspace_lib.settings import Settings
from workspace_lib.store.migrate import open_store

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(300)]

#: The turn of the year lies within.
START, DAYS = datetime(2026, 12, 30, 18, tzinfo=UTC), 3
GAUGES = [
    SimulatedGauge("hydropolis", "Hydropolis", "Hydropolis", "ARCHIEST"),
    SimulatedGauge("polytech", "Polytech", "Polytech", "LOG002"),
]
GAUGES_YML = """
gauges:
  - {id: hydropolis, name: Hydropolis, folder: Hydropolis, mm_per_tip: 0.2}
  - {id: polytech, name: Polytech, folder: Polytech, mm_per_tip: 0.2}
"""


@pytest.fixture
def site(make_site: Callable[..., Settings]) -> Settings:
    """A site of a simulator, which may be cleared."""
    source = {
        "host": f"simulator://{NAME}",
        "user": "gauges",
        "password": f"secret://{SECRET}",
        "wait_s": 0.05,
        "upload_folder": "products",
        "allow_delete": True,
        "trash_folder": "trash",
    }
    rain = {"uncalibrated": "nominal", "products": {"source": "rain"}}
    settings = make_site({"sources": {"rain": source}, "wings": {"rain": rain}})
    (settings.site_dir / "gauges.yml").write_text(GAUGES_YML, encoding="utf-8")
    (settings.site_dir / "calibrations.yml").write_text("calibrations: []", encoding="utf-8")
    return settings


@pytest.fixture
def simulator(site: Settings) -> Iterator[RainSimulator]:
    """Three days of two gauges with every fault."""
    pytest.importorskip("pyftpdlib")
    running = RainSimulator(GAUGES, START, DAYS, seed=76)
    endpoint = running.start(speed=0)
    password = endpoint.pop("password")
    simulators.announce(site, NAME, endpoint, {SECRET: password})
    yield running
    running.stop()


def test_a_network_with_every_fault_ends_cleared_with_complete_products(
    site: Settings, simulator: RainSimulator
) -> None:
    truth, now = simulator.truth(), START + timedelta(days=DAYS + 3)
    with open_store(site, create=True) as store:
        capture(store, site, now=now)
        calibrate(store, site, now=now)
        report = make_products(store, site, now=now)
        cleared = clear_raw(store, site, now=now)
    assert report.complete
    assert report.years == (2026, 2027)
    assert cleared.kept == []
    assert cleared.moved == truth.files - len(truth.refused)
    found: dict[str, dict[str, Any]] = {"products": {}, "trash": {}, "raw": {}}
    for path, content in simulator.tree.files().items():
        folder, _, rest = path.strip("/").partition("/")
        place = folder if folder in found else "raw"
        found[place][rest if place == folder else path.strip("/")] = content
    assert set(found["raw"]) == set(truth.refused)
    assert len(found["trash"]) == cleared.moved
    for gauge in GAUGES:
        name = gauge.folder
        files = [f"{name}/{year}/{name}_concatenated_{year}.csv" for year in (2026, 2027)]
        years = [pd.read_csv(io.BytesIO(found["products"][file])) for file in files]
        whole, expected = pd.concat(years), truth.gauges[gauge.id]
        assert whole["Timestamp"].tolist() == expected.stamps.tolist()
        assert whole["Rain"].tolist() == expected.tips.tolist()
