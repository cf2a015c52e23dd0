"""The time-range picker: today, yesterday, 7 and 30 days, all there is, or free.

It changes the charts of its panel in the browser, so that it works without a kernel too; what it
offers never reaches beyond what the panel holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from workspace_lib.views.html import Html, tag
from workspace_lib.views.texts import Texts

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Span:
    """One choice: the text that names it, and its first and last local wall time."""

    key: str
    t_from: datetime
    t_to: datetime


def spans(texts: Texts, t_from: datetime, t_to: datetime) -> Iterator[Span]:
    """Give the choices that a panel from ``t_from`` to ``t_to`` can answer, in local wall time."""
    first, last = (texts.local(moment).replace(tzinfo=None) for moment in (t_from, t_to))
    midnight = last.replace(hour=0, minute=0, second=0, microsecond=0)
    if midnight < last:
        yield Span("range.today", max(first, midnight), last)
    if first < midnight:
        yield Span("range.yesterday", max(first, midnight - DAY), midnight)
    for key, days in (("range.week", 7), ("range.month", 30)):
        if last - days * DAY > first:
            yield Span(key, last - days * DAY, last)
    yield Span("range.all", first, last)


def range_picker(texts: Texts, t_from: datetime, t_to: datetime) -> Html:
    """Return the picker for a panel whose charts run from ``t_from`` to ``t_to``."""
    choices = list(spans(texts, t_from, t_to))
    whole = choices[-1]
    buttons = [
        choice(
            texts(span.key),
            pressed=span is whole,
            data_range=f"{_wall(span.t_from)}/{_wall(span.t_to)}",
        )
        for span in choices
    ]
    ends = (_field(whole.t_from), _field(whole.t_to))
    fields = [
        field(texts(key), "datetime-local", value, ends)
        for key, value in zip(("range.from", "range.to"), ends, strict=True)
    ]
    return tag(
        "div", buttons, fields, class_="ws-range", role="group", aria_label=texts("range.label")
    )


def choice(label: str, *, pressed: bool, **data: str) -> Html:
    """Return a button that stays pressed while its choice holds."""
    return tag("button", label, type="button", **data, aria_pressed="true" if pressed else "false")


def field(label: str, kind: str, value: str, ends: tuple[str, str]) -> Html:
    """Return a field of a date or time with its label, from the first to the last of ``ends``."""
    return tag("label", label, tag("input", type=kind, value=value, min=ends[0], max=ends[1]))


def _wall(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _field(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M")
