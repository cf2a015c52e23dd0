"""The simulated ERP tells the same story again, and has what real ones have."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from workspace_lib.machining.simulator_erp import COLUMNS, SimulatedErp


def test_a_day_depends_on_the_seed_and_the_day_alone() -> None:
    one, other = SimulatedErp(seed=4), SimulatedErp(seed=4)
    one.rows(0)
    assert one.rows(3) == other.rows(3)
    assert one.truth(3) == other.truth(3)
    assert SimulatedErp(seed=5).rows(3) != one.rows(3)


def test_orders_come_change_and_go() -> None:
    erp = SimulatedErp(seed=1)
    truths = [erp.truth(day) for day in range(1, 6)]
    assert all(truth.inserted["A_Kopf"] for truth in truths)
    assert all(truth.changed["A_Kopf"] for truth in truths)
    assert all(truth.deleted["A_Kopf"] for truth in truths)
    assert all(truth.silent for truth in truths)


def test_it_has_the_troubles_of_real_ones() -> None:
    truth = SimulatedErp(seed=1).truth(0)
    assert truth.zero_dates
    assert truth.partial_dates
    assert truth.mojibake
    assert truth.several_boxes
    assert truth.soft_deleted
    assert {"cde Planifiee", "lancer en prod", "vitrage"} == set(truth.orders.values())


def test_the_file_holds_the_day_and_then_the_next(tmp_path: Path) -> None:
    erp, path = SimulatedErp(seed=1), tmp_path / "demo" / "erp.db"
    for day in (0, 1, 1):
        erp.write(path, day)
        with sqlite3.connect(path) as database:
            for table in COLUMNS:
                found = database.execute(f"SELECT * FROM {table}").fetchall()
                assert sorted(found) == sorted(erp.rows(day)[table])
        database.close()
