"""Orders of the ERP, brought up to date: four tables at one instant, compared with the last run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from workspace_lib.machining.erp_diff import (
    Change,
    ErpState,
    Kept,
    SourceShrunken,
    compare,
    refuse_shrunken,
)
from workspace_lib.machining.erp_orders import Order, OrderSelection
from workspace_lib.machining.erp_rows import HEADS, JOURNAL, TABLES, read_rows
from workspace_lib.machining.erp_rules import OrderRules
from workspace_lib.transports.sql_source import SqlSnapshot

#: Changes that are handed on together.
BATCH = 5_000


@dataclass(frozen=True)
class OrdersReport:
    """What a run found in the ERP.

    Parameters
    ----------
    rows, inserted, changed, deleted, restored : dict of str to int
        By table [1].
    orders, boxes, several_boxes : int
        Orders that count, their boxes, orders with more than one [1].
    by_status, in_stock : dict of str to int
        Orders by status, and of those the ones kept in stock [1].
    troubles : dict of str to int
        What was put right or left out, by the names of `erp_rows.TROUBLES` [1].
    soft_deleted, orphans, folded_keys, folded_matches : int
        See `OrderSelection` [1].
    silent : int
        Orders that changed, or lost lines of their journal, without a new line in it [1].
    issues : tuple of str
        What somebody should look at in the database itself.
    refused : str
        Why the source is not believed; empty if it is.
    """

    rows: dict[str, int] = field(default_factory=dict)
    inserted: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    deleted: dict[str, int] = field(default_factory=dict)
    restored: dict[str, int] = field(default_factory=dict)
    orders: int = 0
    boxes: int = 0
    several_boxes: int = 0
    by_status: dict[str, int] = field(default_factory=dict)
    in_stock: dict[str, int] = field(default_factory=dict)
    troubles: dict[str, int] = field(default_factory=dict)
    soft_deleted: int = 0
    orphans: int = 0
    folded_keys: int = 0
    folded_matches: int = 0
    silent: int = 0
    issues: tuple[str, ...] = ()
    refused: str = ""

    @property
    def complete(self) -> bool:
        """Whether the source was believed."""
        return not self.refused

    @property
    def trouble(self) -> str:
        """What somebody should look at, in one sentence; empty if there is nothing."""
        if self.refused:
            return self.refused
        if left_out := self.troubles.get("no_key", 0) + self.troubles.get("doubled", 0):
            return f"{left_out} rows of the ERP have no key of their own and are left out."
        return self.issues[0] if self.issues else ""

    @property
    def unchanged(self) -> bool:
        """Whether nothing differs from the last run."""
        kinds = (self.inserted, self.changed, self.deleted, self.restored)
        return not any(sum(kind.values()) for kind in kinds)


def read_orders(
    snapshot: SqlSnapshot,
    kept: Kept,
    rules: OrderRules,
    *,
    at: datetime,
    take: Callable[[Sequence[Change]], object],
    allow_shrink: bool = False,
    progress: Callable[[int], object] | None = None,
) -> tuple[OrdersReport, list[Order]]:
    """Compare the ERP with what was kept of it, and return what was found and the orders.

    Parameters
    ----------
    kept : Kept
        The last run's state.
    at : datetime
        When the snapshot was opened, aware.
    take : callable
        Given the changes, some at a time. It must forget them if this raises: the source may turn
        out unbelievable only at its end.
    allow_shrink : bool
        Whether rows may be gone in any number.
    progress : callable, optional
        Told of how many rows more were read.

    Raises
    ------
    SourceShrunken
        If the ERP holds no orders at all, or lost more rows of a table than the rules allow.
    SourceError
        If the database fails, or a table or column is missing.
    """
    selection, troubles = OrderSelection(rules), Counter[str]()
    counts = {table.name: Counter[str]() for table in TABLES}
    moved, journaled = set[str](), set[str]()
    first = not kept.digests(HEADS.name)
    if not allow_shrink:
        _refuse_early(snapshot, kept, rules)
    for table in TABLES:
        batches = snapshot.rows(table.name, list(table.columns), optional=table.optional)
        rows = selection.watch(table, read_rows(table, _told(batches, progress), troubles))
        changes = compare(
            table,
            rows,
            kept,
            at,
            most_percent=rules.most_shrink_percent,
            allow_shrink=allow_shrink,
            counts=counts[table.name],
        )
        place = table.place(table.order)
        for batch in _batches(changes):
            for change in batch:
                order = str(change.row.values[place])
                new_line = table is JOURNAL and change.what == "inserted"
                (journaled if new_line else moved).add(order)
            take(batch)
    orders = selection.orders()
    status = Counter(order.status for order in orders)
    stock = Counter(order.status for order in orders if order.in_stock)
    names = [rule.name for rule in rules.statuses]

    def by_table(what: str) -> dict[str, int]:
        return {table: found[what] for table, found in counts.items()}

    report = OrdersReport(
        rows=by_table("rows"),
        inserted=by_table("inserted"),
        changed=by_table("changed"),
        deleted=by_table("deleted"),
        restored=by_table("restored"),
        orders=len(orders),
        boxes=sum(len(order.boxes) for order in orders),
        several_boxes=sum(len(order.boxes) > 1 for order in orders),
        by_status={name: status[name] for name in names},
        in_stock={name: stock[name] for name in names},
        troubles=dict(sorted(troubles.items())),
        soft_deleted=selection.soft_deleted,
        orphans=selection.orphans,
        folded_keys=selection.folded_keys,
        folded_matches=selection.folded_matches,
        silent=0 if first else len(moved - journaled),
        issues=tuple(snapshot.issues),
    )
    return report, orders


def update(
    state: ErpState,
    snapshot: SqlSnapshot,
    rules: OrderRules,
    *,
    at: datetime,
    allow_shrink: bool = False,
) -> tuple[OrdersReport, list[Order]]:
    """Bring a state in memory up to date; a source that is not believed leaves it as it is.

    Returns
    -------
    tuple of OrdersReport and list of Order
        With ``refused`` set there are no orders.
    """
    changes: list[Change] = []
    try:
        report, orders = read_orders(
            snapshot, state, rules, at=at, take=changes.extend, allow_shrink=allow_shrink
        )
    except SourceShrunken as error:
        return OrdersReport(issues=tuple(snapshot.issues), refused=str(error)), []
    state.apply(changes)
    return report, orders


def _refuse_early(snapshot: SqlSnapshot, kept: Kept, rules: OrderRules) -> None:
    """Count before anything is read: a source that shrank shows at once."""
    for table in TABLES:
        found = snapshot.count(table.name)
        if table is HEADS and found == 0:
            raise SourceShrunken(
                "The ERP holds no orders at all: the source is not believed.",
                where=f"table {table.name}",
                fix="Check the database of the address.",
            )
        known = len(kept.digests(table.name))
        refuse_shrunken(table.name, known, min(found, known), rules.most_shrink_percent)


def _told(
    batches: Iterable[list[tuple[Any, ...]]], progress: Callable[[int], object] | None
) -> Iterator[list[tuple[Any, ...]]]:
    for batch in batches:
        if progress is not None:
            progress(len(batch))
        yield batch


def _batches(changes: Iterator[Change]) -> Iterator[list[Change]]:
    while batch := list(islice(changes, BATCH)):
        yield batch
