"""Part of the simulator: an ERP's four tables that change from day to day, in a SQLite file.

What stands in the tables on a day depends on the seed and the day alone. Orders come, move through
their statuses and are deleted; some are edited without a line in the journal. Dates of zeros, texts
whose encoding was mixed up, several boxes in an order: as real ones have them. It knows nothing of
the reader.
"""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

#: Columns of each table with their types in MySQL, and its key.
COLUMNS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "A_Kopf": (
        ("ID", "VARCHAR(32)"),
        ("AuftragsTyp", "SMALLINT"),
        ("AuNummer", "INT"),
        ("AuAlpha", "VARCHAR(5)"),
        ("KundenNr", "VARCHAR(15)"),
        ("KundenBez", "VARCHAR(15)"),
        ("Kommission", "VARCHAR(50)"),
        ("Bauvorhaben", "VARCHAR(50)"),
        ("Auftragsart", "SMALLINT"),
        ("FSystemGrp", "SMALLINT"),
        ("AufStatus", "VARCHAR(50)"),
        ("Techniker", "VARCHAR(15)"),
        ("A_VorMwSt", "DECIMAL(15,2)"),
    ),
    "A_Logbuch": (
        ("ID", "INT"),
        ("ID_A_Kopf", "VARCHAR(32)"),
        ("Code", "VARCHAR(15)"),
        ("Bezeichnung", "VARCHAR(50)"),
        ("Datum", "DATETIME"),
        ("Zeit", "DATETIME"),
        ("Benutzer", "VARCHAR(50)"),
        ("Notiz", "TEXT"),
    ),
    "P_Zubeh": (
        ("ID_A_Kopf", "VARCHAR(32)"),
        ("Position", "SMALLINT"),
        ("Kennung", "SMALLINT"),
        ("ZNr", "SMALLINT"),
        ("ZCode", "VARCHAR(20)"),
        ("Text", "VARCHAR(50)"),
        ("Stueck", "FLOAT"),
    ),
    "A_Vorgang": (
        ("ID_A_Kopf", "VARCHAR(32)"),
        ("Nummer", "VARCHAR(15)"),
        ("Bezeichnung", "VARCHAR(50)"),
        ("Datum", "DATETIME"),
        ("Zeit", "DATETIME"),
        ("Benutzer", "VARCHAR(50)"),
        ("NotizCode", "VARCHAR(15)"),
        ("NotizText", "TEXT"),
        ("CodeIntern", "VARCHAR(15)"),
        ("NLoesch", "SMALLINT"),
    ),
}
KEYS: Final = {
    "A_Kopf": "ID",
    "A_Logbuch": "ID",
    "P_Zubeh": "ID_A_Kopf, Position, Kennung, ZNr",
    "A_Vorgang": "ID_A_Kopf, Nummer",
}
#: The first day of the story.
BEGIN: Final = date(2025, 5, 1)

_ZERO, _PARTIAL = "0000-00-00 00:00:00", "2025-06-00 00:00:00"
#: A status as people call it, and the spellings of the ERP.
_STATUSES: Final = {
    "cde Planifiee": ("cde Planifiee", "cde Planifiée", "CDE PLANIFIEE"),
    "lancer en prod": ("lancer en prod",),
    "vitrage": ("vitrage",),
    "": ("Terminée", "En cours", "Annulée"),
}
_NEXT: Final = {"cde Planifiee": "lancer en prod", "lancer en prod": "vitrage", "vitrage": ""}
_BOXES: Final = ("SOP ALU H30", "SOP PVC N30", "S P 6104+T", "S D MODULAIRE", "S Q CONNECT")
_OTHERS: Final = ("FEN001", "POR ONYX", "STO JADE")
_NAMES: Final = ("Dupont", "Lefèvre", "Bézier", "Noël", "O'Brien", '<b>"Pré"</b>', "=SOMME(A1)")

Row = tuple[Any, ...]


@dataclass(frozen=True)
class ErpTruth:
    """What a faultless reader finds on a day.

    ``orders`` are the keys of those that count with their status; ``inserted``, ``changed`` and
    ``deleted`` hold rows by table since the day before; ``silent`` orders that changed without a
    new line of the journal.
    """

    orders: dict[str, str]
    in_stock: frozenset[str]
    several_boxes: int
    zero_dates: int
    partial_dates: int
    mojibake: int
    soft_deleted: int
    inserted: dict[str, int]
    changed: dict[str, int]
    deleted: dict[str, int]
    silent: int


@dataclass
class _Order:
    """One order of the story, with its rows as they stand."""

    key: str
    number: int
    name: str
    status: str
    written: str
    planned: bool
    price: float
    mixed_up: bool
    boxes: list[tuple[str, float]]
    in_stock: bool
    lines: list[Row] = field(default_factory=list)
    stock_deleted: bool = False


class SimulatedErp:
    """An ERP from day to day.

    Parameters
    ----------
    seed : int
        Another seed tells another story.
    orders : int
        How many there are on the first day [1].
    """

    def __init__(self, seed: int = 1, orders: int = 60) -> None:
        self._seed, self._first = seed, orders
        self._days: list[dict[str, dict[Any, Row]]] = []
        self._orders: dict[str, _Order] = {}
        self._told: list[ErpTruth] = []
        self._next_line = 1
        self._next_number = 2_507_000

    def rows(self, day: int) -> dict[str, list[Row]]:
        """Return the rows of the four tables on a day, counted from 0."""
        self._tell(day)
        return {table: list(rows.values()) for table, rows in self._days[day].items()}

    def truth(self, day: int) -> ErpTruth:
        """Return what is true on a day, counted from 0."""
        self._tell(day)
        return self._told[day]

    def write(self, path: Path, day: int) -> None:
        """Make the file hold the tables of a day; readers see the old or the new one, whole."""
        rows = self.rows(day)
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=30)) as database, database:
            database.execute("BEGIN IMMEDIATE")
            for table, columns in COLUMNS.items():
                named = ", ".join(f"{name} {kind}" for name, kind in columns)
                database.execute(
                    f"CREATE TABLE IF NOT EXISTS {table} ({named}, PRIMARY KEY ({KEYS[table]}))"
                )
                database.execute(f"DELETE FROM {table}")
                marks = ", ".join("?" * len(columns))
                database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows[table])

    # --- the story ------------------------------------------------------------------------------

    def _tell(self, day: int) -> None:
        while len(self._days) <= day:
            number = len(self._days)
            dice = random.Random(f"{self._seed} {number}")
            silent = set[str]()
            if number == 0:
                for _ in range(self._first):
                    self._come(dice, number)
            else:
                silent = self._live(dice, number)
            self._days.append(self._tables())
            self._told.append(self._true(number, len(silent)))

    def _live(self, dice: random.Random, day: int) -> set[str]:
        """Let a day pass; return the orders that changed without a line in the journal."""
        silent = set[str]()
        known = list(self._orders)
        for key in dice.sample(known, k=max(1, len(known) // 30)):
            del self._orders[key]
            silent.add(key)
        left = [self._orders[key] for key in known if key in self._orders]
        for order in dice.sample(left, k=max(1, len(left) // 8)):
            if order.status in _NEXT:
                order.status = _NEXT[order.status]
                order.written = dice.choice(_STATUSES[order.status])
            else:
                order.price += 10
            if dice.random() < 0.5:
                self._note(order, dice, day, "Statut: " + order.written)
            else:
                silent.add(order.key)
        for _ in range(dice.randint(2, 5)):
            self._come(dice, day)
        return silent

    def _come(self, dice: random.Random, day: int) -> None:
        number, self._next_number = self._next_number, self._next_number + 1
        key = f"{number}-{dice.choice('ABHXYZ')}0{dice.randint(0, 9)}"
        status = dice.choices(list(_STATUSES), weights=(10, 4, 3, 4))[0]
        codes = dice.choices(_BOXES, k=dice.choices((1, 2, 3), weights=(16, 3, 1))[0])
        if dice.random() < 0.1:
            codes = [dice.choice(_OTHERS)]
        order = _Order(
            key=key,
            number=number,
            name=dice.choice(_NAMES),
            status=status,
            written=dice.choice(_STATUSES[status]),
            planned=dice.random() < 0.9,
            price=dice.randint(900, 12_000),
            mixed_up=dice.random() < 0.2,
            boxes=[(code, dice.choice((1.0, 2.0, 1.5))) for code in codes],
            in_stock=status == "cde Planifiee" and dice.random() < 0.8,
            stock_deleted=dice.random() < 0.1,
        )
        self._orders[key] = order
        self._note(order, dice, day, "Créée")
        if order.planned:
            self._note(order, dice, day, dice.choice(("cde Planifiee", "cde Planifiée")) + " - VR")

    def _note(self, order: _Order, dice: random.Random, day: int, note: str) -> None:
        at = datetime.combine(BEGIN + timedelta(days=day), datetime.min.time())
        stamp = str(at + timedelta(minutes=dice.randint(480, 1080)))
        stamp = dice.choices((stamp, _ZERO, _PARTIAL), weights=(30, 1, 1))[0]
        text = _mix_up(note) if order.mixed_up else note
        line = (self._next_line, order.key, "LOG1", "Journal", stamp, stamp, "USER1", text)
        order.lines.append(line)
        self._next_line += 1

    # --- how it stands --------------------------------------------------------------------------

    def _tables(self) -> dict[str, dict[Any, Row]]:
        heads: dict[Any, Row] = {}
        lines: dict[Any, Row] = {}
        boxes: dict[Any, Row] = {}
        events: dict[Any, Row] = {}
        for order in self._orders.values():
            text = _mix_up if order.mixed_up else str
            heads[order.key] = (
                order.key,
                1,
                order.number,
                order.key[-3:],
                f"CLI{order.number % 1000:03}",
                text(order.name),
                text(f"Maison {order.name}"),
                "Volets",
                1,
                1,
                text(order.written),
                "TECH1",
                float(order.price),
            )
            lines |= {line[0]: line for line in order.lines}
            for place, (code, pieces) in enumerate(order.boxes, start=1):
                boxes[order.key, place] = (order.key, place, 1, 1, code, f"Coffre {code}", pieces)
            number = "VR001" if order.in_stock else "OP001"
            stamp = order.lines[0][4]
            gone = int(order.stock_deleted)
            events[order.key] = (
                *(order.key, number, "Installation", stamp, stamp, "TECH1"),
                *("NOTE1", "", "INT1", gone),
            )
        return {"A_Kopf": heads, "A_Logbuch": lines, "P_Zubeh": boxes, "A_Vorgang": events}

    def _true(self, day: int, silent: int) -> ErpTruth:
        tables = self._days[day]
        before = self._days[day - 1] if day else {table: {} for table in tables}
        counts = {name: Counter[str]() for name in ("inserted", "changed", "deleted")}
        for table, rows in tables.items():
            old = before[table]
            counts["inserted"][table] = len(rows.keys() - old.keys())
            counts["deleted"][table] = len(old.keys() - rows.keys())
            counts["changed"][table] = sum(
                rows[key] != old[key] for key in rows.keys() & old.keys()
            )
        chosen = {
            key: order
            for key, order in self._orders.items()
            if order.status and order.planned and order.boxes[0][0] in _BOXES
        }
        stamps = [
            stamp
            for rows, places in ((tables["A_Logbuch"], (4, 5)), (tables["A_Vorgang"], (3, 4)))
            for row in rows.values()
            for stamp in (row[place] for place in places)
        ]
        return ErpTruth(
            orders={key: order.status for key, order in chosen.items()},
            in_stock=frozenset(
                key for key, order in chosen.items() if order.in_stock and not order.stock_deleted
            ),
            several_boxes=sum(len(order.boxes) > 1 for order in chosen.values()),
            zero_dates=stamps.count(_ZERO),
            partial_dates=stamps.count(_PARTIAL),
            mojibake=sum(
                isinstance(value, str) and "Ã" in value
                for rows in tables.values()
                for row in rows.values()
                for value in row
            ),
            soft_deleted=sum(order.stock_deleted for order in self._orders.values()),
            inserted=dict(counts["inserted"]),
            changed=dict(counts["changed"]),
            deleted=dict(counts["deleted"]),
            silent=silent,
        )


def _mix_up(text: str) -> str:
    """Return a text as one reads it who takes UTF-8 for cp1252."""
    return text.encode().decode("cp1252")
