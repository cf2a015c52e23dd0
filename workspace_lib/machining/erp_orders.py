"""Orders of roller shutters, selected from the rows of the ERP by the site's rules.

The join and every comparison happen here and not in a query, so that the same orders come out
whatever database holds the rows. An order with several boxes is one order with several boxes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from workspace_lib.machining.erp_rows import (
    BOXES,
    EVENTS,
    HEADS,
    JOURNAL,
    ErpRow,
    ErpTable,
    Value,
    moment,
)
from workspace_lib.machining.erp_rules import OrderRules
from workspace_lib.machining.erp_text import Like, fold


@dataclass(frozen=True)
class OrderBox:
    """One box of an order: where it stands in the order, its code, how many."""

    position: Value
    mark: Value
    number: Value
    code: str
    text: str
    pieces: float | None


@dataclass(frozen=True)
class Order:
    """One order that counts.

    Parameters
    ----------
    key : str
        ``A_Kopf.ID``.
    number, extension : int or None, str
        What people call it by.
    status, status_written : str
        By the rules, and as the ERP has it.
    modified : str or None
        Latest line of the journal that fits, local time; None if none of them has a time.
    price : str or None
        Without tax, as decimal text.
    in_stock : bool
        Whether an event says that it is kept in stock (``gestion_en_stock``).
    boxes : tuple of OrderBox
        Only those that fit, by their place.
    """

    key: str
    number: int | None
    extension: str
    status: str
    status_written: str
    customer: str
    project: str
    technician: str
    price: str | None
    modified: str | None
    in_stock: bool
    boxes: tuple[OrderBox, ...]


class _Any:
    """Some patterns of which one must fit; what fits only by case or accents is counted."""

    def __init__(self, rules: OrderRules, patterns: Sequence[str]) -> None:
        self._usual = [rules.like(pattern) for pattern in patterns]
        self._exact = [Like(pattern, case=False, accents=False) for pattern in patterns]
        self.folded = 0
        # An ERP says the same few things over and over.
        self._judged = lru_cache(maxsize=16_384)(self._judge)

    def fits(self, text: Value) -> bool:
        if not isinstance(text, str):
            return False
        fits, folded = self._judged(text)
        self.folded += folded
        return fits

    def _judge(self, text: str) -> tuple[bool, bool]:
        """Return whether a text fits, and whether only by ignoring case or accents."""
        if not any(like.matches(text) for like in self._usual):
            return False, False
        return True, not any(like.matches(text) for like in self._exact)


class OrderSelection:
    """Takes rows of the four tables in any order; gives the orders when it has them all.

    Attributes
    ----------
    soft_deleted : int
        Events that the ERP marks as deleted [1].
    orphans : int
        Rows whose order does not exist [1].
    folded_keys : int
        Rows that find their order only by ignoring case, accents or blanks at the end [1].
    """

    def __init__(self, rules: OrderRules) -> None:
        self._rules = rules
        self._statuses = [(rule.name, _Any(rules, [rule.like])) for rule in rules.statuses]
        self._notes, self._codes = _Any(rules, rules.journal), _Any(rules, rules.boxes)
        self._stock = _Any(rules, rules.stock)
        self._latest: dict[str, str] = {}
        self._boxes: dict[str, list[OrderBox]] = defaultdict(list)
        self._in_stock: set[str] = set()
        self._heads: dict[str, tuple[Value, ...]] = {}
        self._status_of: dict[str, str] = {}
        self._parts: Counter[str] = Counter()
        self.soft_deleted = self.orphans = self.folded_keys = 0
        self._take: Final[dict[str, Callable[[str, tuple[Value, ...]], None]]] = {
            JOURNAL.name: self._take_line,
            BOXES.name: self._take_box,
            EVENTS.name: self._take_event,
            HEADS.name: self._take_head,
        }
        self._place = {table.name: table.place(table.order) for table in (JOURNAL, BOXES, EVENTS)}

    def watch(self, table: ErpTable, rows: Iterable[ErpRow]) -> Iterator[ErpRow]:
        """Yield rows as they come, and take what the selection needs of them."""
        take = self._take[table.name]
        place = self._place.get(table.name)
        for row in rows:
            values = row.values
            order = values[0] if place is None else values[place]
            if isinstance(order, str):
                if place is not None:
                    self._parts[order] += 1
                take(order, values)
            yield row

    @property
    def folded_matches(self) -> int:
        """How many texts fit only by ignoring case or accents [1]."""
        asked = (self._notes, self._codes, self._stock, *(like for _, like in self._statuses))
        return sum(like.folded for like in asked)

    def orders(self) -> list[Order]:
        """Return the orders that count, by number and extension."""
        names = self._names()
        found = []
        for key, status in self._status_of.items():
            theirs = names.get(key, (key,))
            times = [self._latest[name] for name in theirs if name in self._latest]
            boxes = [box for name in theirs for box in self._boxes.get(name, ())]
            if times and boxes:
                stock = any(name in self._in_stock for name in theirs)
                found.append(self._order(key, status, max(times), stock, boxes))
        return sorted(found, key=lambda o: (o.number is None, o.number or 0, o.extension, o.key))

    def _names(self) -> dict[str, list[str]]:
        """Return the names under which each order's parts go; also counts what goes astray."""
        by_fold: dict[str, str] = {}
        for key in self._heads:
            by_fold.setdefault(self._folded(key), key)
        names: dict[str, list[str]] = defaultdict(list)
        self.orphans = self.folded_keys = 0
        for name, count in self._parts.items():
            if name in self._heads:
                names[name].append(name)
            elif (head := by_fold.get(self._folded(name))) is not None:
                names[head].append(name)
                self.folded_keys += count
            else:
                self.orphans += count
        return names

    def _folded(self, key: str) -> str:
        return fold(key, case=self._rules.ignore_case, accents=self._rules.ignore_accents)

    def _order(
        self, key: str, status: str, latest: str, stock: bool, boxes: list[OrderBox]
    ) -> Order:
        head = dict(zip(HEADS.columns, self._heads[key], strict=True))
        number, price = head["AuNummer"], head["A_VorMwSt"]
        place = [(str(b.position).zfill(9), str(b.mark).zfill(9), str(b.number)) for b in boxes]
        return Order(
            key=key,
            number=number if isinstance(number, int) else None,
            extension=_text(head["AuAlpha"]),
            status=status,
            status_written=_text(head["AufStatus"]),
            customer=_text(head["KundenBez"]),
            project=_text(head["Kommission"]),
            technician=_text(head["Techniker"]),
            price=price if isinstance(price, str) else None,
            modified=latest or None,
            in_stock=stock,
            boxes=tuple(box for _, box in sorted(zip(place, boxes, strict=True), key=_first)),
        )

    # --- what is needed of each table, by the places of its columns ------------------------------

    def _take_line(self, order: str, values: tuple[Value, ...]) -> None:
        if self._notes.fits(values[_NOTE]):
            # An empty text: the line fits, but nobody knows its time.
            time = moment(values[_DAY], values[_CLOCK]) or ""
            self._latest[order] = max(time, self._latest.get(order, ""))

    def _take_box(self, order: str, values: tuple[Value, ...]) -> None:
        _, position, mark, number, code, text, pieces = values
        if self._codes.fits(code):
            count = float(pieces) if isinstance(pieces, int | float) else None
            box = OrderBox(position, mark, number, _text(code), _text(text), count)
            self._boxes[order].append(box)

    def _take_event(self, order: str, values: tuple[Value, ...]) -> None:
        if values[_DELETED] not in (None, 0):
            self.soft_deleted += 1
            if not self._rules.deleted_events:
                return
        if self._stock.fits(values[_EVENT]):
            self._in_stock.add(order)

    def _take_head(self, order: str, values: tuple[Value, ...]) -> None:
        status = next((n for n, like in self._statuses if like.fits(values[_STATUS])), None)
        # Every head is known, so that its parts are no orphans; the rest only of those that count.
        self._heads[order] = values if status is not None else ()
        if status is not None:
            self._status_of[order] = status


_NOTE, _DAY, _CLOCK = (JOURNAL.place(name) for name in ("Notiz", "Datum", "Zeit"))
_EVENT, _DELETED = EVENTS.place("Nummer"), EVENTS.place("NLoesch")
_STATUS = HEADS.place("AufStatus")


def _text(value: Value) -> str:
    return "" if value is None else str(value)


def _first(pair: tuple[tuple[str, str, str], OrderBox]) -> tuple[str, str, str]:
    return pair[0]
