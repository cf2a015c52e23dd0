"""Rows of an ERP become the same plain values whatever a driver makes of them."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from workspace_lib.machining.erp_rows import (
    TABLES,
    TROUBLES,
    ErpRow,
    ErpTable,
    Kind,
    moment,
    read_rows,
)


def read(kind: Kind, *values: Any) -> tuple[list[Any], dict[str, int]]:
    """Values of one column, read; and what was told."""
    table = ErpTable("t", {"ID": "whole", "value": kind}, key=("ID",), order="ID")
    troubles: Counter[str] = Counter()
    rows = list(read_rows(table, [list(enumerate(values))], troubles))
    assert troubles.keys() <= TROUBLES.keys()
    return [row.values[1] for row in rows], dict(troubles)


@pytest.mark.parametrize(
    ("written", "read_as", "told"),
    [
        (datetime(2025, 6, 27, 9), "2025-06-27 09:00:00", {}),
        (datetime(2025, 6, 27, 9, 0, 0, 250_000), "2025-06-27 09:00:00", {}),
        ("2025-06-27 09:00:00", "2025-06-27 09:00:00", {}),
        ("2025-06-27T09:00:00.250", "2025-06-27 09:00:00", {}),
        ("2025-06-27", "2025-06-27 00:00:00", {}),
        (date(2025, 6, 27), "2025-06-27 00:00:00", {}),
        ("0000-00-00 00:00:00", None, {"zero_date": 1}),
        ("0000-00-00", None, {"zero_date": 1}),
        ("2025-06-00", None, {"partial_date": 1}),
        ("2025-00-00 10:00:00", None, {"partial_date": 1}),
        ("0000-06-01", None, {"partial_date": 1}),
        ("2025-02-30 10:00:00", None, {"bad_date": 1}),
        ("2025-06-27 25:00:00", None, {"bad_date": 1}),
        ("27/06/2025", None, {"bad_date": 1}),
        ("", None, {"bad_date": 1}),
        (20250627, None, {"bad_date": 1}),
        (None, None, {}),
    ],
)
def test_dates(written: Any, read_as: str | None, told: dict[str, int]) -> None:
    assert read("time", written) == ([read_as], told)


@pytest.mark.parametrize(
    ("kind", "written", "read_as", "told"),
    [
        ("whole", 2507748, 2507748, {}),
        ("whole", "2507748", 2507748, {}),
        ("whole", 3.0, 3, {}),
        ("whole", Decimal(7), 7, {}),
        ("whole", "7.5", None, {"bad_number": 1}),
        ("whole", "x", None, {"bad_number": 1}),
        ("number", 1, 1.0, {}),
        ("number", 1.100000023841858, 1.1, {"fraction": 1}),
        ("number", "2.5", 2.5, {"fraction": 1}),
        ("number", float("nan"), None, {"bad_number": 1}),
        ("number", float("inf"), None, {"bad_number": 1}),
        ("money", Decimal("3500.00"), "3500.00", {}),
        ("money", 3500, "3500.00", {}),
        ("money", 3500.1, "3500.10", {}),
        ("money", "dear", None, {"bad_number": 1}),
        ("text", "PlanifiÃ©e", "Planifiée", {"mojibake": 1}),
        ("text", "Planifi\ufffde", "Planifi\ufffde", {"damaged": 1}),
        ("text", b"Planifi\xe9e", "Planifiée", {}),
        ("text", 12, "12", {}),
    ],
)
def test_values(kind: Kind, written: Any, read_as: Any, told: dict[str, int]) -> None:
    assert read(kind, written) == ([read_as], told)


def test_what_was_put_right_is_kept_as_it_stood() -> None:
    table = TABLES[0]
    values = (1, "A", "LOG1", None, "0000-00-00", "2025-06-27", "USER1", "PlanifiÃ©e")
    [row] = read_rows(table, [[values]], Counter())
    assert dict(row.raw) == {"Datum": "0000-00-00", "Notiz": "PlanifiÃ©e"}


def test_rows_without_a_key_or_with_one_that_stood_there_are_left_out_and_counted() -> None:
    table = ErpTable("t", {"ID": "whole", "value": "text"}, key=("ID",), order="ID")
    troubles: Counter[str] = Counter()
    rows = list(read_rows(table, [[(1, "a"), (None, "b")], [(1, "c")]], troubles))
    assert [row.values for row in rows] == [(1, "a")]
    assert troubles == {"no_key": 1, "doubled": 1}


def test_the_digest_tells_apart_what_differs_in_any_value_or_in_what_it_was_made_of() -> None:
    rows = [
        ErpRow((1,), (1, "a", None)),
        ErpRow((1,), (1, "a", "None")),
        ErpRow((1,), ("1", "a", None)),
        ErpRow((1,), (1, "a", None), (("Notiz", "x"),)),
    ]
    assert len({row.digest() for row in rows}) == 4
    assert rows[0].digest() == ErpRow((1,), (1, "a", None)).digest()


@pytest.mark.parametrize(
    ("day", "clock", "at"),
    [
        ("2025-06-27 00:00:00", "1899-12-30 09:30:00", "2025-06-27 09:30:00"),
        ("2025-06-27 08:00:00", None, "2025-06-27 08:00:00"),
        (None, "2025-06-27 08:00:00", None),
    ],
)
def test_day_and_time_of_day_stand_in_two_columns(
    day: str | None, clock: str | None, at: str | None
) -> None:
    assert moment(day, clock) == at
