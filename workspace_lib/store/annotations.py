"""Annotations: what people add to the data, with who, when, about what and the value.

Rows are only added. A later annotation of the same target and kind stands in place of an earlier
one, which stays in the history; the value None takes it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Index, Table, Text, func, insert, select

from workspace_lib.errors import ParameterError
from workspace_lib.store.base import Instant, Json, RowId, control_metadata

annotation_rows = Table(
    "annotations",
    control_metadata,
    Column("id", RowId, primary_key=True),
    Column("who", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("value", Json),
    Column("at", Instant, nullable=False),
    Index(None, "target", "kind"),
    Index(None, "kind"),
)


@dataclass(frozen=True)
class Annotation:
    """One thing somebody said of one target."""

    id: int
    who: str
    target: str
    kind: str
    value: Any
    at: datetime


def annotate(
    connection: Connection, who: str, target: str, kind: str, value: Any, now: datetime
) -> int:
    """Add an annotation (control) and return its id.

    Parameters
    ----------
    target : str
        What it is about, such as ``machining.stop/12``.
    kind : str
        What is said of it, such as ``reason``.
    value : object
        A JSON value; None takes back what was said.
    """
    if not (who and target and kind):
        raise ParameterError("An annotation needs who, target and kind.")
    row = insert(annotation_rows).values(who=who, target=target, kind=kind, value=value, at=now)
    return int(connection.execute(row.returning(annotation_rows.c.id)).scalar_one())


def history(
    connection: Connection, *, target: str | None = None, kind: str | None = None
) -> list[Annotation]:
    """Return all annotations of a target, of a kind, or of both, oldest first."""
    query = select(annotation_rows).order_by(annotation_rows.c.id)
    if target is not None:
        query = query.where(annotation_rows.c.target == target)
    if kind is not None:
        query = query.where(annotation_rows.c.kind == kind)
    return [Annotation(**row._mapping) for row in connection.execute(query)]


def current(connection: Connection, kind: str, *, target_prefix: str = "") -> dict[str, Annotation]:
    """Return what stands of one kind, by target; what was taken back is not in it."""
    last = select(func.max(annotation_rows.c.id)).where(annotation_rows.c.kind == kind)
    if target_prefix:
        last = last.where(annotation_rows.c.target.startswith(target_prefix, autoescape=True))
    rows = connection.execute(
        select(annotation_rows)
        .where(annotation_rows.c.id.in_(last.group_by(annotation_rows.c.target)))
        .order_by(annotation_rows.c.target)
    )
    return {row.target: Annotation(**row._mapping) for row in rows if row.value is not None}
