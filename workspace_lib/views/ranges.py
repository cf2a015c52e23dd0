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
        tag(
            "button",
            texts(span.key),
            type="button",
            data_range=f"{_wall(span.t_from)}/{_wall(span.t_to)}",
            aria_pressed="true" if span is whole else "false",
        )
        for span in choices
    ]
    fields = [
        tag(
            "label",
            texts(key),
            tag(
                "input",
                type="datetime-local",
                value=_field(value),
                min=_field(whole.t_from),
                max=_field(whole.t_to),
            ),
        )
        for key, value in (("range.from", whole.t_from), ("range.to", whole.t_to))
    ]
    return tag(
        "div", buttons, fields, class_="ws-range", role="group", aria_label=texts("range.label")
    )


def _wall(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _field(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M")
