"""The store's two databases as metadata, and the column types both SQLite and PostgreSQL take."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Dialect, Integer, MetaData, Text
from sqlalchemy.types import TypeDecorator

from workspace_lib.clock import from_us, to_us

# Named constraints, because migrations must be able to name what they change.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

#: Ledger, leases, publications, triggers, alarms, commands, annotations, tokens.
control_metadata = MetaData(naming_convention=NAMING)
#: Inventory, raw archive, events, results, hot samples, cursors, and the wings' tables.
data_metadata = MetaData(naming_convention=NAMING)


#: Text that sorts by its bytes on both databases, so that a range of it is a prefix search.
SortedText = Text().with_variant(Text(collation="C"), "postgresql")
#: A row number that both databases count up by themselves.
RowId = BigInteger().with_variant(Integer, "sqlite")


class Instant(TypeDecorator[datetime]):
    """An instant: aware datetime in Python, BIGINT microseconds UTC in the database [µs]."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | int | None, dialect: Dialect) -> int | None:
        return to_us(value) if isinstance(value, datetime) else value

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else from_us(value)


class Json(TypeDecorator[Any]):
    """A JSON value as sorted, compact text, so that equal values are equal bytes."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)
