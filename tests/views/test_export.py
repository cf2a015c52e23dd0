"""Excel files hold numbers as numbers and text as text; no content becomes a formula."""

from __future__ import annotations

import base64
import re
from datetime import UTC, date, datetime
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from workspace_lib.views import export
from workspace_lib.views.tables import Column, table
from workspace_lib.views.texts import Texts

PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x")', "http://x.y"]


def parts(content: bytes) -> dict[str, str]:
    with ZipFile(BytesIO(content)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def cells(content: bytes) -> dict[str, str]:
    """Return type and value of each cell as the sheet holds them."""
    sheet = parts(content)["xl/worksheets/sheet1.xml"]
    found = re.findall(r'<c r="(\w+)"(?: s="\d+")?(?: t="(\w+)")?><v>([^<]*)</v></c>', sheet)
    return {place: f"{kind or 'n'}:{value}" for place, kind, value in found}


def make(*row: object, **more: str) -> bytes:
    heads = [f"c{number}" for number in range(len(row))]
    return export.workbook(heads, [row], created=NOW, zone=PARIS, **more)


@pytest.mark.parametrize("written", FORMULAS)
def test_text_that_looks_like_a_formula_or_a_link_is_text(written: str) -> None:
    content = make(written)
    sheet = parts(content)["xl/worksheets/sheet1.xml"]
    assert "<f>" not in sheet
    assert "hyperlink" not in sheet
    assert cells(content)["A2"].startswith("s:")


def test_numbers_are_numbers_and_what_is_missing_is_empty() -> None:
    found = cells(make(-1.5, np.int64(7), True, None, float("nan"), np.float64(0.1)))
    assert found["A2"] == "n:-1.5"
    assert found["B2"] == "n:7"
    assert found["C2"] == "b:1"
    assert {"D2", "E2"} & found.keys() == set()
    assert found["F2"] == "n:0.1"


def test_a_number_that_excel_would_round_is_text() -> None:
    content = make(2**60 + 1)
    assert cells(content)["A2"].startswith("s:")
    assert "1152921504606846977" in parts(content)["xl/sharedStrings.xml"]


def test_instants_are_local_times_without_zone() -> None:
    found = cells(make(datetime(2026, 7, 1, 22, 30, tzinfo=UTC), date(2026, 7, 1)))
    assert float(found["A2"][2:]) == pytest.approx(46205 + 0.5 / 24)  # 2 July, 0:30 in Paris
    assert float(found["B2"][2:]) == 46204


def test_the_same_content_gives_the_same_bytes() -> None:
    assert make("a", 1) == make("a", 1)


@pytest.mark.parametrize("wanted", ["Sums [mm]: a/b\\c?*", "x" * 60, "", "'quoted'", "[]"])
def test_any_name_becomes_a_name_of_a_sheet(wanted: str) -> None:
    name = re.search(r'<sheet name="([^"]*)"', parts(make(1, sheet=wanted))["xl/workbook.xml"])
    assert name is not None
    assert 1 <= len(name[1]) <= 31
    assert not set("[]:*?/\\") & set(name[1])


def test_a_frame_has_units_in_its_heads_and_is_saved(tmp_path: Path) -> None:
    frame = pd.DataFrame({"name": ["Mse"], "rain": [1.5], "at": [pd.Timestamp(NOW)]})
    content = export.frame_workbook(frame, created=NOW, zone=PARIS, units={"rain": "mm"})
    assert "rain [mm]" in parts(content)["xl/sharedStrings.xml"]
    assert export.save(tmp_path / "rain.xlsx", content).read_bytes() == content


def shown(texts: Texts, rows: list[dict[str, object]], **more: object) -> str:
    columns = [
        Column("name", "Gauge"),
        Column("rain", "Rain", "mm", 1, show=lambda row: f"{row['rain']} (80 %)"),
        Column("at", "Newest"),
        Column("spark", "Drawing", export=False),
    ]
    return table(texts, columns, rows, label="Sums", now=NOW, **more).to_html()  # type: ignore[arg-type]


def test_a_table_comes_with_an_excel_file_of_its_values(texts: Texts) -> None:
    html = shown(texts, [{"name": "=1+1", "rain": 1.25, "at": NOW, "spark": "x"}])
    link = re.search(r'href="data:([^;]+);base64,([^"]+)" download="([^"]+)"', html)
    assert link is not None
    assert link[1] == export.MEDIA_TYPE
    assert link[3] == "sums-20261120-1505.xlsx"
    content = base64.b64decode(link[2])
    found = cells(content)
    assert found["B2"] == "n:1.25"
    assert "D1" not in found  # a drawing is left out
    strings = parts(content)["xl/sharedStrings.xml"]
    assert "Rain [mm]" in strings
    assert "Newest [Europe/Paris]" in strings


def test_a_large_table_carries_no_file(texts: Texts) -> None:
    rows: list[dict[str, object]] = [{"name": "a"}] * export.MOST_ROWS
    html = shown(texts, [{**row, "rain": 1.0} for row in rows])
    assert "ws-xlsx" not in html
    assert "ws-csv" in html


@pytest.mark.parametrize(("count", "boxes"), [(10, 0), (11, 1)])
def test_more_than_ten_rows_can_be_filtered(texts: Texts, count: int, boxes: int) -> None:
    html = shown(texts, [{"name": str(number), "rain": 1.0} for number in range(count)])
    assert html.count('type="search"') == boxes
    assert html.count("The first 10 of 11 rows") == boxes


def test_the_separator_follows_the_language(texts: Texts, french: Texts) -> None:
    rows: list[dict[str, object]] = [{"name": "a", "rain": 1.0}]
    assert 'data-separator="," data-decimal="."' in shown(texts, rows)
    assert 'data-separator=";" data-decimal=","' in shown(french, rows)
