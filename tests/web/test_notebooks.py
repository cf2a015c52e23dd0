"""Output notebooks are shown without anything that could act in the reader's browser."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from workspace_lib.errors import FormatError
from workspace_lib.web.notebooks import clean_html, notebook_html

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)


def _write(path: Path, *cells: nbformat.NotebookNode) -> Path:
    nbformat.write(new_notebook(cells=list(cells)), path)
    return path


def test_text_tables_and_pictures_are_shown(tmp_path: Path) -> None:
    cell = new_code_cell(
        "print('42 tips')",
        outputs=[
            new_output("stream", name="stdout", text="42 tips\n"),
            new_output("display_data", data={"text/html": "<table><tr><td>7 mm</td></tr></table>"}),
            new_output("display_data", data={"image/png": PIXEL}),
        ],
    )
    html = notebook_html(_write(tmp_path / "n.ipynb", new_markdown_cell("# Rain"), cell))
    assert "42 tips" in html
    assert "<td>7 mm</td>" in html
    assert "data:image/png;base64," in html
    assert "Rain" in html


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>steal()</script>",
        "<img src=x onerror=steal()>",
        "<img src='https://elsewhere.example/steal.png'>",
        "<iframe src='https://elsewhere.example/steal'></iframe>",
        "<a href='javascript:steal()'>x</a>",
        "<a href='data:text/html,<script>steal()</script>'>x</a>",
        "<style>@import 'https://elsewhere.example/steal.css'</style>",
        "<form action='https://elsewhere.example/steal'><input name=a></form>",
        "<div style='background:url(https://elsewhere.example/steal)'>x</div>",
        "<svg><script>steal()</script></svg>",
        "<object data='steal.swf'></object><embed src='steal'>",
        "<base href='https://elsewhere.example/steal/'>",
        "<meta http-equiv=refresh content='0;url=https://elsewhere.example/steal'>",
    ],
)
def test_hostile_output_does_nothing(tmp_path: Path, hostile: str) -> None:
    outputs = [new_output("display_data", data={"text/html": hostile})]
    cells = [new_code_cell("x", outputs=outputs), new_markdown_cell(hostile)]
    for html in (notebook_html(_write(tmp_path / "n.ipynb", *cells)), clean_html(hostile)):
        lowered = html.lower().replace("&lt;", "")
        for trace in (
            "<script",
            'steal()"',
            "javascript:",
            "onerror=",
            'src="https',
            "<iframe",
            "<form",
            "style=",
            "<object",
            "<base",
            "<meta",
            'href="data:',
        ):
            assert trace not in lowered


def test_a_file_that_is_no_notebook_says_so(tmp_path: Path) -> None:
    (tmp_path / "n.ipynb").write_text("{]")
    with pytest.raises(FormatError, match="no notebook"):
        notebook_html(tmp_path / "n.ipynb")
