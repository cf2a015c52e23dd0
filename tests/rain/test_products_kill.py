"""Products and clearing that are killed between any two steps: the next run ends the same."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from workspace_lib.clock import iso
from workspace_lib.rain.product_ledger import list_products
from workspace_lib.store import inventory
from workspace_lib.store.engines import read
from workspace_lib.store.migrate import open_store

pytestmark = [
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL"),
]

SCRIPT = Path(__file__).with_name("killed_products.py")
NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def survive(served_site: Any, tmp_path: Path) -> Callable[..., int]:
    """Kill the run at shares of its steps, take it up again, compare; return the kills."""
    site = served_site
    site.configure(allow_delete=True, trash_folder="trash")
    for day in range(3):
        site.deliver("Hydropolis", NEW_YEAR + timedelta(days=day, minutes=-3), 1, 2, 3, 4, 5)
        site.deliver("Polytech", NEW_YEAR + timedelta(days=day, hours=6), 0, day, 7)
    site.capture()
    site.calibrate()
    site.store.close()
    outputs, fresh = site.settings.outputs_dir, tmp_path / "fresh"
    outputs.rename(fresh)
    delivered = {path: site.tree.get(path) for path in site.tree.files()}

    def restore() -> None:
        shutil.rmtree(outputs, ignore_errors=True)
        shutil.copytree(fresh, outputs)
        for path in site.tree.files():
            site.tree.remove(path)
        for path, file in delivered.items():
            site.tree.put(path, file.content, file.modified)

    def run(kill_at: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPT), str(site.settings.root), iso(site.now)]
        return subprocess.run([*command, str(kill_at)], capture_output=True, text=True, timeout=300)

    def result() -> dict[str, bytes]:
        """What lies on the server, but for what an interrupted upload has left there."""
        return {path: body for path, body in site.files().items() if not path.endswith(".part")}

    def check(expected: dict[str, bytes]) -> None:
        with open_store(site.settings) as site.store:
            site.products()
            site.clear()
            assert result() == expected
            products = list_products(site.store)
            assert all(product.uploaded for product in products)
            made = {product.path: product.bytes for product in products}
            assert {path: (outputs / path).stat().st_size for path in made} == made
            with read(site.store.data) as connection:
                states = {row.state for row in inventory.list_files(connection, "rain")}
            assert states == {"deleted"}
            again = site.products()
            assert (again.made, again.sent, site.clear().moved) == (0, 0, 0)

    def survive_all(*shares: float) -> int:
        restore()
        whole = run(0)
        assert whole.returncode == 0, whole.stderr
        steps, expected = int(whole.stdout), result()
        assert len([path for path in expected if path.startswith("trash/")]) == 6
        assert len([path for path in expected if path.startswith("products/")]) == 26
        for share in shares:
            restore()
            kill_at = 1 + round(share * (steps - 1))
            killed = run(kill_at)
            assert killed.returncode == -signal.SIGKILL, (kill_at, steps, killed.stderr)
            check(expected)
        return len(shares)

    return survive_all


def test_products_and_clearing_killed_anywhere_go_on(survive: Callable[..., int]) -> None:
    assert survive(0.05, 0.25, 0.45, 0.6, 0.8, 0.95) == 6


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_products_and_clearing_killed_at_many_steps_go_on(survive: Callable[..., int]) -> None:
    assert survive(*(n / 60 for n in range(60))) == 60
