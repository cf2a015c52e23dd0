"""Days of an ERP: what came, changed and went is found, on SQLite and on MariaDB alike."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from workspace_lib.errors import SourceError
from workspace_lib.machining.erp import OrdersReport, read_orders, update
from workspace_lib.machining.erp_diff import Change, ErpState
from workspace_lib.machining.erp_orders import Order
from workspace_lib.machining.erp_rules import OrderRules, parse_rules
from workspace_lib.machining.simulator_erp import COLUMNS, KEYS, SimulatedErp
from workspace_lib.reports import plain
from workspace_lib.transports.file_source import TransferBroken
from workspace_lib.transports.sql_source import open_snapshot

NOW = datetime(2025, 5, 1, 4, tzinfo=UTC)


class Plant:
    """An ERP whose days a test turns, and a state that follows."""

    def __init__(self, address: str, write: Callable[[dict[str, list[Any]]], None]) -> None:
        self.address, self.write = address, write
        self.state = ErpState()

    def update(self, day: int = 0, rules: OrderRules | None = None, **more: Any) -> Any:
        """Bring the state up to date."""
        with open_snapshot(self.address) as snapshot:
            at = NOW + timedelta(days=day)
            return update(self.state, snapshot, rules or OrderRules(), at=at, **more)

    def show(self, erp: SimulatedErp, day: int) -> tuple[OrdersReport, list[Order]]:
        """Turn to a day of the simulated ERP and bring the state up to date."""
        self.write(erp.rows(day))
        found: tuple[OrdersReport, list[Order]] = self.update(day)
        return found


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.server)])
def plant(request: pytest.FixtureRequest, tmp_path: Path) -> Plant:
    """The same four tables, once in SQLite and once in MariaDB."""
    if request.param == "sqlite":
        path = tmp_path / "erp.db"

        def run(statement: str, rows: list[Any] | None = None) -> None:
            with sqlite3.connect(path) as database:
                database.executemany(statement, [()] if rows is None else rows)
            database.close()

        address, mark = f"sqlite:///{path}", "?"
    else:
        mariadb = request.getfixturevalue("mariadb")
        run, address, mark = mariadb.run, mariadb.address, "%s"
    for table, columns in COLUMNS.items():
        named = ", ".join(f"{name} {kind}" for name, kind in columns)
        run(f"CREATE TABLE {table} ({named}, PRIMARY KEY ({KEYS[table]}))")

    def write(rows: dict[str, list[Any]]) -> None:
        for table, columns in COLUMNS.items():
            run(f"DELETE FROM {table}")
            if rows[table]:
                marks = ", ".join([mark] * len(columns))
                run(f"INSERT INTO {table} VALUES ({marks})", rows[table])

    return Plant(address, write)


def head(key: str, status: str = "vitrage", **more: Any) -> tuple[Any, ...]:
    """A row of A_Kopf."""
    values: dict[str, Any] = {name: None for name, _ in COLUMNS["A_Kopf"]}
    return tuple((values | {"ID": key, "AuNummer": 1, "AufStatus": status} | more).values())


def line(number: int, key: str, note: str = "cde Planifiee", at: str = "") -> tuple[Any, ...]:
    """A row of A_Logbuch."""
    at = at or "2025-05-01 08:00:00"
    return (number, key, "LOG1", "Journal", at, at, "USER1", note)


def box(key: str, place: int = 1, code: str = "SOP ALU", pieces: float = 1) -> tuple[Any, ...]:
    """A row of P_Zubeh."""
    return (key, place, 1, 1, code, "Coffre", pieces)


def event(key: str, number: str = "VR001", deleted: int = 0) -> tuple[Any, ...]:
    """A row of A_Vorgang."""
    at = "2025-05-01 08:00:00"
    return (key, number, "Installation", at, at, "TECH1", "", "", "", deleted)


def tables(*keys: str, **more: list[Any]) -> dict[str, list[Any]]:
    """Rows of an ERP with an order for each key, each with a line of the journal and a box."""
    return {
        "A_Kopf": [head(key, AuNummer=number) for number, key in enumerate(keys)],
        "A_Logbuch": [line(number, key) for number, key in enumerate(keys, start=1)],
        "P_Zubeh": [box(key) for key in keys],
        "A_Vorgang": [event(key) for key in keys],
        **more,
    }


def test_each_day_of_the_simulated_erp_comes_out_as_it_is(plant: Plant) -> None:
    erp = SimulatedErp(seed=7)
    for day in range(4):
        report, orders = plant.show(erp, day)
        truth = erp.truth(day)
        assert report.complete, report.refused
        assert {order.key: order.status for order in orders} == truth.orders
        assert {order.key for order in orders if order.in_stock} == truth.in_stock
        assert report.several_boxes == truth.several_boxes
        assert report.inserted == truth.inserted
        assert report.changed == truth.changed
        assert report.deleted == truth.deleted
        assert report.troubles["zero_date"] == truth.zero_dates
        assert report.troubles["partial_date"] == truth.partial_dates
        assert report.troubles["mojibake"] == truth.mojibake
        assert report.soft_deleted == truth.soft_deleted
        assert report.silent == truth.silent
    assert len(plant.state.history) == sum(
        sum(counts.values())
        for day in range(4)
        for counts in (erp.truth(day).inserted, erp.truth(day).changed, erp.truth(day).deleted)
    )


def test_a_run_that_finds_nothing_new_changes_nothing(plant: Plant) -> None:
    erp = SimulatedErp(seed=3)
    plant.show(erp, 0)
    before, history = plant.state.plain(), len(plant.state.history)
    report, _ = plant.update(day=1)
    assert report.unchanged
    assert plant.state.plain() == before
    assert len(plant.state.history) == history


@pytest.mark.server
def test_both_databases_give_the_same_values(mariadb: Any, tmp_path: Path) -> None:
    erp = SimulatedErp(seed=5)
    erp.write(tmp_path / "erp.db", 2)
    for table, columns in COLUMNS.items():
        mariadb.run(f"CREATE TABLE {table} ({', '.join(f'{n} {k}' for n, k in columns)})")
        marks = ", ".join(["%s"] * len(columns))
        mariadb.run(f"INSERT INTO {table} VALUES ({marks})", erp.rows(2)[table])
    states = []
    for address in (mariadb.address, f"sqlite:///{tmp_path / 'erp.db'}"):
        one = Plant(address, lambda rows: None)
        one.update()
        states.append(
            {
                (table, key): row["values"]
                for table, rows in one.state.plain().items()
                for key, row in rows.items()
            }
        )
    assert states[0] == states[1]


def test_a_deleted_order_stays_with_the_time_when_it_went_and_may_come_back(plant: Plant) -> None:
    names = [f"{number}-A" for number in range(20)]
    plant.write(tables(*names))
    plant.update(day=0)
    plant.write(tables(*names[1:]))
    report, orders = plant.update(day=1)
    assert report.deleted["A_Kopf"] == 1
    assert len(orders) == 19
    assert plant.state.rows["A_Kopf"][("0-A",)].deleted_at == NOW + timedelta(days=1)
    plant.write(tables(*names))
    report, orders = plant.update(day=2)
    assert report.restored["A_Kopf"] == 1
    assert plant.state.rows["A_Kopf"][("0-A",)].deleted_at is None
    whats = [c.what for c in plant.state.history if c.key == ("0-A",)]
    assert whats == ["inserted", "deleted", "restored"]


def test_edits_and_deletions_without_a_line_in_the_journal_are_counted(plant: Plant) -> None:
    rows = tables("1-A", "2-B", "3-C", "4-D")
    plant.write(rows)
    assert plant.update(day=0)[0].silent == 0
    rows["A_Kopf"][0] = head("1-A", "lancer en prod")
    rows["A_Kopf"][1] = head("2-B", "lancer en prod")
    rows["A_Logbuch"].append(line(9, "2-B", "Statut: lancer en prod"))
    rows["A_Logbuch"][2] = line(3, "3-C", "cde Planifiee, corrigée")
    plant.write(rows)
    report, _ = plant.update(day=1)
    assert report.changed["A_Kopf"] == 2
    # The first was edited without a line, the third's line was written over.
    assert report.silent == 2


def test_the_history_tells_the_columns_with_both_values(plant: Plant) -> None:
    from workspace_lib.machining.erp_rows import HEADS

    plant.write(tables("1-A"))
    plant.update(day=0)
    before = plant.state.row("A_Kopf", ("1-A",))
    plant.write(tables("1-A", A_Kopf=[head("1-A", "lancer en prod", A_VorMwSt=10)]))
    plant.update(day=1)
    change = plant.state.history[-1]
    assert change.columns(HEADS, before) == {
        "AuNummer": (0, 1),
        "AufStatus": ("vitrage", "lancer en prod"),
        "A_VorMwSt": (None, "10.00"),
    }


def test_an_empty_source_is_refused_at_the_first_load(plant: Plant) -> None:
    report, orders = plant.update()
    assert not report.complete
    assert "no orders at all" in report.trouble
    assert orders == []
    assert plant.state.rows == {}


@pytest.mark.parametrize("table", ["A_Kopf", "A_Logbuch", "P_Zubeh", "A_Vorgang"])
def test_a_table_that_is_empty_all_at_once_is_refused(plant: Plant, table: str) -> None:
    rows = tables("1-A", "2-B")
    plant.write(rows)
    plant.update()
    before = plant.state.plain()
    plant.write(rows | {table: []})
    report, _ = plant.update(day=1)
    assert not report.complete
    assert plant.state.plain() == before


def test_a_source_that_lost_more_than_the_rules_allow_is_refused_unless_told_so(
    plant: Plant,
) -> None:
    names = [f"{number}-A" for number in range(20)]
    plant.write(tables(*names))
    plant.update()
    plant.write(tables(*names[5:]))
    report, _ = plant.update(day=1)
    assert "5 of 20 rows are gone (25 %)" in report.trouble
    assert not any(row.deleted_at for row in plant.state.rows["A_Kopf"].values())
    report, orders = plant.update(day=1, rules=OrderRules(most_shrink_percent=30))
    assert report.complete
    assert len(orders) == 15


def test_other_rows_in_the_same_number_are_a_shrunken_source_too(plant: Plant) -> None:
    plant.write(tables(*(f"{number}-A" for number in range(20))))
    plant.update()
    plant.write(tables(*(f"{number}-B" for number in range(20))))
    report, _ = plant.update(day=1)
    assert not report.complete
    report, _ = plant.update(day=1, allow_shrink=True)
    assert report.deleted["A_Kopf"] == report.inserted["A_Kopf"] == 20


def test_changes_arrive_before_the_refusal_so_their_taker_must_forget_them(plant: Plant) -> None:
    from workspace_lib.machining.erp_diff import SourceShrunken

    plant.write(tables(*(f"{number}-A" for number in range(20))))
    plant.update()
    plant.write(tables(*(f"{number}-B" for number in range(20))))
    taken: list[Change] = []
    with open_snapshot(plant.address) as snapshot, pytest.raises(SourceShrunken):
        read_orders(snapshot, plant.state, OrderRules(), at=NOW, take=taken.extend)
    assert taken


@pytest.mark.server
@pytest.mark.parametrize("plant", ["mariadb"], indirect=True)
def test_a_connection_lost_amid_the_journal_changes_nothing_and_the_next_run_has_it_all(
    plant: Plant, mariadb: Any
) -> None:
    plant.write(tables("1-A", A_Logbuch=[]))
    mariadb.run(
        "INSERT INTO A_Logbuch (ID, ID_A_Kopf, Notiz)"
        " SELECT seq, '1-A', CONCAT('cde Planifiee', REPEAT('-', 500)) FROM seq_1_to_50000"
    )

    def hang_up(rows: int) -> None:
        for row in mariadb.run("SHOW PROCESSLIST"):
            if row[1] == mariadb.name:
                mariadb.run(f"KILL {row[0]}")

    def take(changes: object) -> None:
        taken.append(changes)

    taken: list[object] = []
    with pytest.raises(TransferBroken), open_snapshot(plant.address) as snapshot:
        read_orders(snapshot, plant.state, OrderRules(), at=NOW, take=take, progress=hang_up)
    assert taken
    report, _ = plant.update()
    assert report.inserted == {"A_Kopf": 1, "A_Logbuch": 50_000, "P_Zubeh": 1, "A_Vorgang": 1}


def test_several_boxes_are_one_order_with_several_boxes(plant: Plant) -> None:
    boxes = [box("1-A", 2, "S P 6104+T", 2.5), box("1-A", 10, "SOP GAL"), box("1-A", 1, "FEN001")]
    plant.write(tables("1-A", P_Zubeh=boxes))
    report, [order] = plant.update()
    assert [(b.position, b.code, b.pieces) for b in order.boxes] == [
        (2, "S P 6104+T", 2.5),
        (10, "SOP GAL", 1.0),
    ]
    assert report.several_boxes == 1
    assert report.troubles == {"fraction": 1}


def test_the_latest_line_that_fits_dates_the_order_and_zeros_are_no_date(plant: Plant) -> None:
    lines = [
        line(1, "1-A", at="2025-05-03 09:00:00"),
        line(2, "1-A", at="2025-05-02 10:00:00"),
        line(3, "1-A", at="0000-00-00 00:00:00"),
        line(4, "1-A", at="2025-06-00 00:00:00"),
        line(5, "1-A", "Terminée", at="2025-05-09 10:00:00"),
        line(6, "2-B", at="0000-00-00 00:00:00"),
    ]
    plant.write(tables("1-A", "2-B", A_Logbuch=lines))
    report, orders = plant.update()
    assert [order.modified for order in orders] == ["2025-05-03 09:00:00", None]
    assert report.troubles == {"zero_date": 4, "partial_date": 2}


def test_mixed_up_texts_fit_and_are_kept_as_the_erp_has_them(plant: Plant) -> None:
    rows = tables("1-A", A_Logbuch=[line(1, "1-A", "cde PlanifiÃ©e - VR")])
    plant.write(rows)
    report, [order] = plant.update()
    assert order.key == "1-A"
    kept = plant.state.plain()["A_Logbuch"][(1,)]
    assert kept["values"][-1] == "cde Planifiée - VR"
    assert kept["raw"] == {"Notiz": "cde PlanifiÃ©e - VR"}
    # "Planifiée" fits "Planifiee" only because accents do not count.
    assert report.folded_matches == 1
    plant.write(tables("1-A", A_Logbuch=[line(1, "1-A", "cde Planifiée - VR")]))
    assert plant.update(day=1)[0].changed["A_Logbuch"] == 1


def test_parts_find_their_order_as_mysql_compares(plant: Plant) -> None:
    rows = tables("1-É", "2-B", A_Logbuch=[line(1, "1-e"), line(2, "2-b"), line(3, "gone")])
    plant.write(rows)
    report, orders = plant.update()
    assert [order.key for order in orders] == ["1-É", "2-B"]
    assert report.folded_keys == 2
    assert report.orphans == 1
    exactly = OrderRules(ignore_case=False, ignore_accents=False)
    assert plant.update(rules=exactly)[1] == []


def test_events_that_the_erp_marks_as_deleted_do_not_make_a_stock(plant: Plant) -> None:
    plant.write(tables("1-A", "2-B", A_Vorgang=[event("1-A", deleted=1), event("2-B")]))
    report, orders = plant.update()
    assert [order.in_stock for order in orders] == [False, True]
    assert report.soft_deleted == 1
    all_count = parse_rules("deleted_events: true")
    assert [order.in_stock for order in plant.update(rules=all_count)[1]] == [True, True]


def test_hostile_texts_come_through_verbatim(plant: Plant) -> None:
    name = "'); DROP TABLE A_Kopf; -- <script>=1+1 %s \\ 🪟"
    plant.write(tables("1-A", A_Kopf=[head("1-A", Kommission=name)]))
    _, [order] = plant.update()
    assert order.project == name


def test_a_table_without_a_column_is_named(plant: Plant, tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as database:
        for table, columns in COLUMNS.items():
            names = [name for name, _ in columns if name not in ("NLoesch", "Notiz", "Zeit")]
            database.execute(f"CREATE TABLE {table} ({', '.join(names)})")
        database.execute("INSERT INTO A_Kopf (ID) VALUES ('1-A')")
    database.close()
    other = Plant(f"sqlite:///{path}", plant.write)
    with pytest.raises(SourceError, match="A_Logbuch has no column Zeit, Notiz"):
        other.update()


def test_a_report_can_be_published(plant: Plant) -> None:
    plant.write(tables("1-A"))
    report, _ = plant.update()
    published = plain(report)
    assert published["complete"] is True
    assert published["by_status"] == {"cde Planifiee": 0, "lancer en prod": 0, "vitrage": 1}


def test_reading_tells_how_far_it_is(plant: Plant) -> None:
    plant.write(tables("1-A", "2-B"))
    told: list[int] = []
    with open_snapshot(plant.address) as snapshot:
        read_orders(
            snapshot,
            ErpState(),
            OrderRules(),
            at=NOW,
            take=lambda changes: None,
            progress=told.append,
        )
    assert sum(told) == 8
