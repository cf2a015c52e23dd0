"""Rows of an ERP's four tables as plain values, whatever database they come from.

The same row gives the same values from MySQL and from SQLite: texts, whole numbers, numbers and ISO
times, or None. What had to be put right is kept beside as the ERP has it, and counted.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from typing import Any, Final, Literal

from workspace_lib.machining.erp_text import is_damaged, repair

Kind = Literal["text", "whole", "number", "money", "time"]
Value = str | int | float | None
Key = tuple[Value, ...]


@dataclass(frozen=True)
class ErpTable:
    """A table of the ERP: its columns with their kinds, and those that are the key."""

    name: str
    columns: dict[str, Kind]
    key: tuple[str, ...]
    order: str
    """The column that names the order."""
    optional: tuple[str, ...] = ()

    def place(self, column: str) -> int:
        """Return where in a row's values a column stands."""
        return list(self.columns).index(column)


HEADS: Final = ErpTable(
    "A_Kopf",
    {
        "ID": "text",
        "AuftragsTyp": "whole",
        "AuNummer": "whole",
        "AuAlpha": "text",
        "KundenNr": "text",
        "KundenBez": "text",
        "Kommission": "text",
        "Bauvorhaben": "text",
        "Auftragsart": "whole",
        "FSystemGrp": "whole",
        "AufStatus": "text",
        "Techniker": "text",
        "A_VorMwSt": "money",
    },
    key=("ID",),
    order="ID",
    optional=("Auftragsart", "FSystemGrp", "Techniker", "A_VorMwSt"),
)
JOURNAL: Final = ErpTable(
    "A_Logbuch",
    {
        "ID": "whole",
        "ID_A_Kopf": "text",
        "Code": "text",
        "Bezeichnung": "text",
        "Datum": "time",
        "Zeit": "time",
        "Benutzer": "text",
        "Notiz": "text",
    },
    key=("ID",),
    order="ID_A_Kopf",
)
BOXES: Final = ErpTable(
    "P_Zubeh",
    {
        "ID_A_Kopf": "text",
        "Position": "whole",
        "Kennung": "whole",
        "ZNr": "whole",
        "ZCode": "text",
        "Text": "text",
        "Stueck": "number",
    },
    key=("ID_A_Kopf", "Position", "Kennung", "ZNr"),
    order="ID_A_Kopf",
)
EVENTS: Final = ErpTable(
    "A_Vorgang",
    {
        "ID_A_Kopf": "text",
        "Nummer": "text",
        "Bezeichnung": "text",
        "Datum": "time",
        "Zeit": "time",
        "Benutzer": "text",
        "NotizCode": "text",
        "NotizText": "text",
        "CodeIntern": "text",
        "NLoesch": "whole",
    },
    key=("ID_A_Kopf", "Nummer"),
    order="ID_A_Kopf",
    optional=("NLoesch",),
)
#: Heads last: an order's parts are known when its head is judged.
TABLES: Final = (JOURNAL, BOXES, EVENTS, HEADS)

#: What is counted of each table while it is read.
TROUBLES: Final = {
    "zero_date": "dates of nothing but zeros",
    "partial_date": "dates without a day or a month",
    "bad_date": "dates that do not exist",
    "mojibake": "texts whose encoding was mixed up and is put right",
    "damaged": "texts with characters that are lost",
    "bad_number": "numbers that are none",
    "fraction": "quantities that are no whole numbers",
    "no_key": "rows without a key, left out",
    "doubled": "rows whose key stood there before, left out",
}


@dataclass(frozen=True, slots=True)
class ErpRow:
    """One row: its key, its values in the table's order, and what was put right as it stood."""

    key: Key
    values: tuple[Value, ...]
    raw: tuple[tuple[str, str], ...] = ()

    def digest(self) -> bytes:
        """Return 16 bytes that differ where a value or what it was made of differs."""
        return blake2b(repr((self.values, self.raw)).encode(), digest_size=16).digest()


def read_rows(
    table: ErpTable, batches: Iterable[list[tuple[Any, ...]]], troubles: Counter[str]
) -> Iterator[ErpRow]:
    """Yield the rows of a table as plain values.

    Parameters
    ----------
    batches : iterable of list of tuple
        The table's columns in its order, as a driver gives them.
    troubles : Counter
        Told of what was met: the names of `TROUBLES`.
    """
    makers = [(name, _MAKERS[kind], kind == "text") for name, kind in table.columns.items()]
    places = [table.place(name) for name in table.key]
    seen: set[Key] = set()
    for batch in batches:
        for found in batch:
            raw: list[tuple[str, str]] = []
            values: list[Value] = []
            for (name, make, is_text), value in zip(makers, found, strict=True):
                # Most values are as they should be, and half a million rows have many.
                if value is None or (is_text and type(value) is str and value.isascii()):
                    values.append(value)
                    continue
                made, trouble = make(value)
                values.append(made)
                if trouble:
                    troubles[trouble] += 1
                    # A fraction and a damaged text are kept as they are: nothing was put right.
                    if trouble not in ("fraction", "damaged"):
                        raw.append((name, _as_written(value)))
            key = tuple(values[place] for place in places)
            if None in key:
                troubles["no_key"] += 1
            elif key in seen:
                troubles["doubled"] += 1
            else:
                seen.add(key)
                yield ErpRow(key, tuple(values), tuple(raw))


def moment(day: Value, clock: Value) -> str | None:
    """Return the instant of two columns, one with the day and one with the time of day."""
    if not isinstance(day, str):
        return None
    return f"{day[:10]} {clock[11:]}" if isinstance(clock, str) else day


Made = tuple[Value, str]


def _text(value: Any) -> Made:
    if isinstance(value, bytes):
        value = _decoded(value)
    elif not isinstance(value, str):
        value = str(value)
    if value.isascii():
        return value, ""
    repaired = repair(value)
    if is_damaged(repaired):
        return repaired, "damaged"
    return repaired, "" if repaired == value else "mojibake"


def _whole(value: Any) -> Made:
    if type(value) is int:
        return value, ""
    try:
        number = Decimal(str(value).strip())
        whole = int(number)
    except (InvalidOperation, ValueError, OverflowError):
        return None, "bad_number"
    return (whole, "") if whole == number else (None, "bad_number")


def _number(value: Any) -> Made:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None, "bad_number"
    if not math.isfinite(number):
        return None, "bad_number"
    # A FLOAT of MySQL holds six digits; more would differ from one driver to the next.
    number = float(f"{number:.6g}")
    return number, "" if number.is_integer() else "fraction"


def _money(value: Any) -> Made:
    try:
        amount = Decimal(str(value))
        return str(amount.quantize(Decimal("0.01"))), ""
    except InvalidOperation:
        return None, "bad_number"


_STAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[ T](\d\d:\d\d:\d\d)(?:\.\d+)?)?")


def _time(value: Any) -> Made:
    if isinstance(value, datetime):
        return str(value)[:19], ""
    if isinstance(value, date):
        return f"{value.isoformat()} 00:00:00", ""
    text = _as_written(value).strip()
    match = _STAMP.fullmatch(text)
    if match is None:
        return None, "bad_date"
    year, month, day, clock = match[1], match[2], match[3], match[4] or "00:00:00"
    if year == "0000" and month == day == "00":
        return None, "zero_date"
    if year == "0000" or month == "00" or day == "00":
        return None, "partial_date"
    made = f"{year}-{month}-{day} {clock}"
    try:
        datetime.fromisoformat(made)
    except ValueError:
        return None, "bad_date"
    return made, ""


_MAKERS: dict[Kind, Callable[[Any], Made]] = {
    "text": _text,
    "whole": _whole,
    "number": _number,
    "money": _money,
    "time": _time,
}


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("cp1252", "replace")


def _as_written(value: Any) -> str:
    return _decoded(value) if isinstance(value, bytes) else str(value)
