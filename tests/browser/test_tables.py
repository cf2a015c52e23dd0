"""Tables in Chromium: saved as CSV and Excel, and filtered, by a file without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zipfile import ZipFile
from zoneinfo import ZoneInfo

import pytest

from workspace_lib.views import theme
from workspace_lib.views.html import tag
from workspace_lib.views.tables import Column, table
from workspace_lib.views.texts import Language, Texts

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)
COLUMNS = [
    Column("name", "Gauge"),
    Column("rain", "Rain", "mm", 1),
    Column("at", "Newest"),
    Column("note", "Note, and more", show=lambda row: tag("b", row["note"])),
    Column("drawing", "Drawing", sortable=False, export=False),
]
ROWS = [
    {"name": "=1+1", "rain": -1234.5, "at": NOW, "note": 'says "a"; b, c', "drawing": "x"},
    {"name": "@cmd", "rain": None, "at": None, "note": "–", "drawing": "x"},
    {"name": "-Été", "rain": 0.0, "at": NOW, "note": "+33 4", "drawing": "x"},
    *(
        {"name": f"Gauge {n}", "rain": n / 4, "at": NOW, "note": "n", "drawing": ""}
        for n in range(30)
    ),
]


@pytest.fixture
def open_table(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Open a page with the table as a file, without any server."""
    contexts = []

    def open_it(language: Language) -> Any:
        texts = Texts(language, ZoneInfo("Europe/Paris"))
        body = table(texts, COLUMNS, ROWS, label="Sums", now=NOW)
        page = tag("html", tag("head", tag("meta", charset="utf-8"), theme.head()),
                   tag("body", body, class_="ws"), lang=language)  # fmt: skip
        path = tmp_path / f"table-{language}.html"
        path.write_text("<!DOCTYPE html>" + page.markup, encoding="utf-8")
        context = browser.new_context(accept_downloads=True)
        contexts.append(context)
        opened = context.new_page()
        opened.goto(path.as_uri())
        return opened

    yield open_it
    for context in contexts:
        context.close()


def saved(page: Any, button: str, target: Path) -> Path:
    with page.expect_download() as waiting:
        page.click(button)
    waiting.value.save_as(target)
    return target


@pytest.mark.parametrize(
    ("language", "lines"),
    [
        (
            "en",
            [
                'Gauge,Rain [mm],Newest,"Note, and more"',
                '\'=1+1,-1234.5,2026-11-20T14:05:00Z,"says ""a""; b, c"',
                "'@cmd,,,",
                "'-Été,0,2026-11-20T14:05:00Z,'+33 4",
            ],
        ),
        (
            "fr",
            [
                "Gauge;Rain [mm];Newest;Note, and more",
                '\'=1+1;-1234,5;2026-11-20T14:05:00Z;"says ""a""; b, c"',
                "'@cmd;;;",
                "'-Été;0;2026-11-20T14:05:00Z;'+33 4",
            ],
        ),
    ],
)
def test_a_csv_opens_in_the_readers_spreadsheet_and_holds_no_formula(
    open_table: Callable[..., Any], tmp_path: Path, language: Language, lines: list[str]
) -> None:
    content = saved(open_table(language), ".ws-csv", tmp_path / "table.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    written = content.decode("utf-8-sig").split("\r\n")
    assert written[:4] == lines
    assert len([line for line in written if line]) == 1 + len(ROWS)  # hidden rows as well


def test_an_excel_file_is_saved_without_a_server(
    open_table: Callable[..., Any], tmp_path: Path
) -> None:
    path = saved(open_table("en"), ".ws-xlsx", tmp_path / "table.xlsx")
    with ZipFile(path) as archive:
        assert archive.testzip() is None
        assert b"<f>" not in archive.read("xl/worksheets/sheet1.xml")


def test_a_filter_finds_rows_behind_the_limit_and_the_csv_holds_what_is_shown(
    open_table: Callable[..., Any], tmp_path: Path
) -> None:
    page = open_table("en")
    assert page.locator("tbody tr:visible").count() == 25
    page.fill(".ws-filter", "gauge 29")
    assert page.locator("tbody tr:visible").all_inner_texts()[0].startswith("Gauge 29")
    assert page.locator("tbody tr:visible").count() == 1
    assert b"Gauge 28" not in saved(page, ".ws-csv", tmp_path / "part.csv").read_bytes()
    page.fill(".ws-filter", "ete")  # accents do not matter
    assert page.locator("tbody tr:visible").count() == 1
    page.fill(".ws-filter", "")
    assert page.locator("tbody tr:visible").count() == 25
    page.click(".ws-more")
    assert page.locator("tbody tr:visible").count() == len(ROWS)
