"""Sums between two days that the reader chooses, from daily values in the page: no kernel needed.

A row is a device with one value per local day and the share of that day for which there are data.
What the page computes is `Between.sum`, once more in the browser's script.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from workspace_lib.errors import ParameterError
from workspace_lib.views.blocks import empty
from workspace_lib.views.html import Html, tag
from workspace_lib.views.icons import icon
from workspace_lib.views.ranges import choice, field
from workspace_lib.views.tables import csv_button
from workspace_lib.views.texts import MISSING, Texts

_DAY = timedelta(days=1)
#: Decimals of the values in the page: far below what any display shows.
_KEPT = 4


@dataclass(frozen=True)
class Daily:
    """One device: its value of each day (None where nothing was measured), and shares [1]."""

    name: str
    values: Sequence[float | None]
    shares: Sequence[float]


@dataclass(frozen=True)
class Sum:
    """What came together: the sum, the share of the time with data [1], the largest day."""

    total: float | None
    share: float
    largest: float | None
    largest_day: date | None


@dataclass(frozen=True)
class Between:
    """Daily values of devices from ``first`` on, all rows equally long."""

    first: date
    rows: Sequence[Daily]
    unit: str
    digits: int = 1

    def __post_init__(self) -> None:
        lengths = {len(values) for row in self.rows for values in (row.values, row.shares)}
        if len(lengths) > 1:
            raise ParameterError("Rows of different numbers of days.", fix="Give all of them.")

    @property
    def days(self) -> int:
        """How many days there are."""
        return len(self.rows[0].values) if self.rows else 0

    def sum(self, row: Daily, first: date, last: date) -> Sum:
        """Return what came together from ``first`` to ``last``, both days included."""
        begin = max(0, (first - self.first).days)
        end = max(begin, min(self.days, (last - self.first).days + 1))
        known = [(v, n) for n, v in enumerate(row.values[begin:end], start=begin) if v is not None]
        asked = (last - first).days + 1
        share = sum(row.shares[begin:end]) / asked if asked > 0 else 0.0
        if not known:
            return Sum(None, share, None, None)
        largest, day = max(known, key=lambda pair: (pair[0], -pair[1]))
        when = self.first + day * _DAY if largest > 0 else None
        return Sum(sum(value for value, _ in known), share, largest if when else None, when)


def between(
    texts: Texts,
    data: Between,
    *,
    name: str,
    label: str,
    who: str,
    largest: str,
    days: int = 30,
) -> Html:
    """Return two fields for days, and a table of the sums between them.

    Parameters
    ----------
    name : str
        Names the table's anchor.
    label : str
        What is summed, for those who cannot see it.
    who, largest : str
        Heads of the columns of names and of the largest day.
    days : int
        The last so many days are shown first.
    """
    if not data.days:
        return empty(texts)
    last = data.first + (data.days - 1) * _DAY
    first = max(data.first, last - (days - 1) * _DAY)
    content = {
        "first": data.first.isoformat(),
        "digits": data.digits,
        "months": [texts(f"month.{number}") for number in range(1, 13)],
        "rows": [
            {
                "values": [None if v is None else round(v, _KEPT) for v in row.values],
                "shares": [round(share, _KEPT) for share in row.shares],
            }
            for row in data.rows
        ],
    }
    script = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    unit = tag("span", f" [{data.unit}]", class_="ws-unit")
    number: dict[str, object] = {"scope": "col", "class_": "ws-num", "data_number": True}
    heads = [
        tag("th", who, scope="col"),
        tag("th", texts("between.total"), unit, **number),
        tag("th", texts("between.share"), **number),
        tag("th", largest, unit, **number),
        tag("th", texts("between.day"), scope="col"),
    ]
    lines = [_line(texts, data, row, first, last) for row in data.rows]
    table = tag(
        "table",
        tag("thead", tag("tr", heads)),
        tag("tbody", lines),
        class_="ws-table",
        id=f"table-{name}",
    )
    csv = csv_button(texts, f"table-{name}", label, f"{name}.csv")
    return tag(
        "div",
        _fields(texts, data.first, first, last),
        tag("div", table, class_="ws-scroll", role="region", aria_label=label, tabindex="0"),
        tag("div", tag("span", icon("download"), csv), class_="ws-tools"),
        Html(f'<script type="application/json">{script}</script>'),
        class_="ws-between",
        lang=texts.language,
        aria_live="polite",
    )


def _line(texts: Texts, data: Between, row: Daily, first: date, last: date) -> Html:
    found = data.sum(row, first, last)
    day = found.largest_day

    def number(value: float | None, shown: str) -> Html:
        return tag("td", shown, class_="ws-num", data_sort="" if value is None else repr(value))

    return tag(
        "tr",
        tag("th", row.name, scope="row"),
        number(found.total, texts.number(found.total, data.digits)),
        number(found.share, texts.percent(found.share)),
        number(found.largest, texts.number(found.largest, data.digits)),
        tag(
            "td",
            f"{day.day} {texts(f'month.{day.month}')} {day.year}" if day else MISSING,
            class_="ws-nowrap",
            data_sort=day.isoformat() if day else None,
        ),
    )


def _fields(texts: Texts, least: date, first: date, last: date) -> Html:
    month = last.replace(day=1)
    before = (month - _DAY).replace(day=1)
    wanted = (
        ("between.week", last - 6 * _DAY, last),
        ("between.days", last - 29 * _DAY, last),
        ("between.month", month, last),
        ("between.month_before", before, month - _DAY),
        ("between.year", last.replace(month=1, day=1), last),
        ("between.all", least, last),
    )
    buttons = [
        choice(
            texts(key),
            pressed=(begin, end) == (first, last),
            data_days=f"{begin.isoformat()}/{end.isoformat()}",
        )
        for key, begin, end in wanted
        if begin >= least
    ]
    ends = (least.isoformat(), last.isoformat())
    fields = [
        field(texts(key), "date", value.isoformat(), ends)
        for key, value in (("between.from", first), ("between.to", last))
    ]
    return tag(
        "div", buttons, fields, class_="ws-days", role="group", aria_label=texts("between.label")
    )
