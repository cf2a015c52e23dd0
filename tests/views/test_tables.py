"""Tables sort by values, not by what is written, and never show markup of their rows."""

from __future__ import annotations

import re
from datetime import datetime

from workspace_lib.views.html import tag
from workspace_lib.views.tables import Column, table
from workspace_lib.views.texts import Texts

COLUMNS = [
    Column("name", "Gauge"),
    Column("rain", "Rain", "mm", 1),
    Column("last", "Last"),
    Column("mark", "Mark", show=lambda row: tag("b", row["mark"]), sortable=False),
]


def row(name: str, rain: float | None, now: datetime) -> dict[str, object]:
    return {"name": name, "rain": rain, "last": now, "mark": "m"}


def test_numbers_are_written_for_people_and_sorted_by_value(french: Texts, now: datetime) -> None:
    shown = table(french, COLUMNS, [row("A", 1234.56, now)], label="sums", now=now).to_html()
    assert 'data-sort="1234.56"' in shown
    assert "1\u202f234,6" in shown
    assert "[mm]" in shown


def test_a_missing_value_is_a_dash_and_sorts_as_nothing(texts: Texts, now: datetime) -> None:
    shown = table(texts, COLUMNS, [row("A", None, now)], label="sums", now=now).to_html()
    assert re.search(r'<td class="ws-num" data-sort="">–</td>', shown)


def test_times_sort_by_instant(texts: Texts, now: datetime) -> None:
    shown = table(texts, COLUMNS, [row("A", 1, now)], label="sums", now=now).to_html()
    assert 'data-sort="2026-11-20T14:05:00Z"' in shown


def test_rows_are_escaped(texts: Texts, now: datetime) -> None:
    hostile = row("<img src=x onerror=alert(1)>", 1.0, now)
    assert "<img" not in table(texts, COLUMNS, [hostile], label="sums", now=now).to_html()


def test_rows_over_the_limit_wait_behind_a_button(texts: Texts, now: datetime) -> None:
    rows = [row(str(number), number, now) for number in range(30)]
    shown = table(texts, COLUMNS, rows, label="Sums of rain", now=now, limit=10).to_html()
    assert shown.count("<tr hidden>") == 20
    assert "Show all 30 rows" in shown
    identity = re.search(r'data-table="([^"]+)"', shown)
    assert identity is not None
    assert f'id="{identity[1]}"' in shown


def test_a_table_without_rows_is_a_sentence(texts: Texts, now: datetime) -> None:
    shown = table(texts, COLUMNS, [], label="sums", now=now, none="It has not rained.").to_html()
    assert "It has not rained." in shown
    assert "<table" not in shown


def test_every_head_that_sorts_is_a_button(texts: Texts, now: datetime) -> None:
    shown = table(texts, COLUMNS, [row("A", 1, now)], label="sums", now=now).to_html()
    assert shown.count('class="ws-sort"') == 3


def test_a_total_stays_last(texts: Texts, now: datetime) -> None:
    total = {"name": "All", "rain": 3.0, "mark": ""}
    shown = table(texts, COLUMNS, [row("A", 3, now)], label="s", now=now, total=total).to_html()
    assert shown.index("<tfoot>") > shown.index("</tbody>")


def test_what_only_exports_have_is_in_the_page_and_not_seen(texts: Texts, now: datetime) -> None:
    columns = [*COLUMNS, Column("share", "Measured", "%", 0, shown=False)]
    shown = table(
        texts, columns, [{**row("A", 1, now), "share": 87.5}], label="sums", now=now
    ).to_html()
    assert len(re.findall(r"<t[hd][^>]* hidden[ >]", shown)) == 2
    assert 'data-sort="87.5" hidden' in shown
    assert "data-skip" not in shown
