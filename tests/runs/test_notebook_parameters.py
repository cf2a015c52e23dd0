"""Parameters of notebooks are read by Python's own parser, and values are held against them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workspace_lib.errors import ParameterError
from workspace_lib.runs.notebook_parameters import (
    check_value,
    parse_parameters,
    parse_parameters_cell,
    parse_value,
)

CELL = '''
"""What this notebook takes."""
# Where the files are.
url: str = "http://host/?a=b"
ports: list[str] = [
    "a=b",  # the first
    "c",
]  # serial ports
days: int | None = None  # how far back; none = all
mode: Literal["fast", "exact"] = "fast"
limit: float = 5  # [mm]
table: dict[str, int] = {"x": 1}
plain = 3
needed: bool
'''


def test_what_a_cell_declares() -> None:
    found = {parameter.name: parameter for parameter in parse_parameters(CELL)}
    assert list(found) == ["url", "ports", "days", "mode", "limit", "table", "plain", "needed"]
    assert found["url"].default == "http://host/?a=b"
    assert found["ports"].default == ["a=b", "c"]
    assert {name: one.help for name, one in found.items() if one.help} == {
        "url": "Where the files are.",
        "ports": "serial ports",
        "days": "how far back; none = all",
        "limit": "[mm]",
    }
    assert (found["plain"].type, found["plain"].default) == ("int", 3)
    assert found["needed"].required
    assert not found["days"].required
    assert found["ports"].line == 5


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import os\n", "is no parameter"),
        ("a: int = 1\na: int = 2\n", "twice"),
        ("a: int = 5 * 60\n", "no literal"),
        ("a: Path = '/x'\n", "Path cannot be a parameter"),
        ("a: list[Path] = []\n", "Path cannot be a parameter"),
        ("a: int = 'x'\n", "must be int"),
        ("a: int = \n", "not Python"),
        ("a, b = 1, 2\n", "is no parameter"),
        ("a: tuple = (1, 2)\n", "tuple cannot"),
    ],
)
def test_a_cell_that_holds_something_else_is_refused_with_its_line(source: str, words: str) -> None:
    with pytest.raises(ParameterError, match="line") as caught:
        parse_parameters(source)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        ("int", [1, -3], [1.0, "1", True, None]),
        ("float", [1, 1.5], ["1", False, float("nan"), float("inf")]),
        ("str", ["", "secret://NAME"], [1, None, ["a"]]),
        ("bool", [True], [1, "true"]),
        ("list", [[], [1, "a", {"x": None}]], [{}, "a", [{1: 2}]]),
        ("list[int]", [[], [1, 2]], [[1, "2"], [1.5], "1,2"]),
        ("dict[str, float]", [{"a": 1}], [{"a": "1"}, {1: 1.0}]),
        ("list[list[int]]", [[[1], []]], [[1]]),
        ("int | None", [1, None], ["x"]),
        ("Optional[str]", ["a", None], [1]),
        ("Literal['a', 1]", ["a", 1], ["b", 2, True]),
        ("Any", [1, "a", None, [1], {"a": 1}], [object()]),
    ],
)
def test_values_are_held_against_the_type(kind: str, right: list[Any], wrong: list[Any]) -> None:
    (parameter,) = parse_parameters(f"x: {kind}\n")
    assert [value for value in right if check_value(parameter, value)] == []
    assert [value for value in wrong if not check_value(parameter, value)] == []


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int", "5", 5),
        ("float", "5", 5),
        ("float", "1e-3", 0.001),
        ("str", "007", "007"),
        ("str", "true", "true"),
        ("str", "a=b, c", "a=b, c"),
        ("str", "[a", "[a"),
        ("str | None", "null", None),
        ("str | None", "12", "12"),
        ("bool", "false", False),
        ("list[str]", "a,b", ["a", "b"]),
        ("list[str]", "[a, b]", ["a", "b"]),
        ("list[str]", "1, 2", ["1", "2"]),
        ("list[int]", "1,2", [1, 2]),
        ("list[int]", "4", [4]),
        ("dict[str, int]", "{a: 1}", {"a": 1}),
        ("Literal['1', '2']", "1", "1"),
        ("int | str", "5", 5),
        ("int | str", "five", "five"),
    ],
)
def test_text_from_the_command_line_takes_the_parameters_type(
    kind: str, text: str, value: Any
) -> None:
    (parameter,) = parse_parameters(f"x: {kind}\n")
    found = parse_value(parameter, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("kind", "text"), [("int", "five"), ("bool", "yes"), ("list[int]", "a,b")])
def test_text_of_another_type_is_refused(kind: str, text: str) -> None:
    (parameter,) = parse_parameters(f"x: {kind}\n")
    with pytest.raises(ParameterError, match="x must be"):
        parse_value(parameter, text)


def test_a_notebook_without_the_cell_has_no_parameters(tmp_path: Path) -> None:
    path = tmp_path / "n.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "source": ["x = 1\n"]}]}))
    assert parse_parameters_cell(path) == []


@pytest.mark.parametrize("content", ["", "[]", '{"cells": 3}', '{"cells": [1]}'])
def test_a_file_that_is_no_notebook_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "n.ipynb"
    path.write_text(content)
    with pytest.raises(ParameterError, match=r"n\.ipynb"):
        parse_parameters_cell(path)


def test_two_cells_with_the_tag_are_refused(tmp_path: Path) -> None:
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "x: int = 1\n"}
    path = tmp_path / "n.ipynb"
    path.write_text(json.dumps({"cells": [cell, cell]}))
    with pytest.raises(ParameterError, match="2 cells"):
        parse_parameters_cell(path)
