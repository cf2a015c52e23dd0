"""The parameters of a notebook, read from its cell tagged ``parameters`` by Python's own parser.

One parameter per statement: ``name: type = default  # help``. Defaults are literals. A type is one
of ``int``, ``float``, ``str``, ``bool``, ``list``, ``dict``, with ``list[str]``,
``dict[str, int]``, ``Literal["a", "b"]``, ``X | None`` built of them: what survives being written
into a job file.
"""

from __future__ import annotations

import ast
import io
import json
import math
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workspace_lib.errors import ParameterError
from workspace_lib.runs.job_yaml import parse_scalar

TAG = "parameters"
#: Default of a parameter that has none: the job file must give a value.
REQUIRED = object()
_PLAIN = {"int", "float", "str", "bool", "list", "dict", "None", "Any"}


@dataclass(frozen=True)
class NotebookParameter:
    """One parameter: its name, its type as written, its default, its help, its line in the cell."""

    name: str
    type: str
    default: Any
    help: str
    line: int = 0

    @property
    def required(self) -> bool:
        """Whether the job file must give a value."""
        return self.default is REQUIRED


def parse_parameters_cell(path: Path) -> list[NotebookParameter]:
    """Return the parameters of the notebook at ``path``; none if no cell has the tag.

    Raises
    ------
    ParameterError
        If the notebook or the cell cannot be read, with the line in the cell.
    """
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cells = [
            cell
            for cell in notebook["cells"]
            if cell["cell_type"] == "code" and TAG in cell.get("metadata", {}).get("tags", [])
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ParameterError(
            f"The notebook cannot be read ({error}).", where=str(path), fix="Save it again."
        ) from error
    if len(cells) > 1:
        raise ParameterError(
            f"{len(cells)} cells are tagged {TAG!r}.", where=str(path), fix="Leave one."
        )
    if not cells:
        return []
    source = cells[0]["source"]
    return parse_parameters(source if isinstance(source, str) else "".join(source), str(path))


def parse_parameters(source: str, where: str = "parameters cell") -> list[NotebookParameter]:
    """Return the parameters that the source of a cell declares.

    Raises
    ------
    ParameterError
        If a line is not ``name: type = literal``; ``where`` and the line are in the message.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise ParameterError(
            f"The parameters cell is not Python: {error.msg}.",
            where=f"{where}, line {error.lineno}",
        ) from error
    comments = _comments(source)
    found: dict[str, NotebookParameter] = {}
    for statement in tree.body:
        if _is_text(statement):
            continue
        place = f"{where}, line {statement.lineno}"
        name, kind, value = _declaration(statement, place)
        if name in found:
            raise ParameterError(f"The parameter {name} is declared twice.", where=place)
        default = _literal(value, name, place)
        if kind is None:
            kind = type(default).__name__ if default is not None else "Any"
        parameter = NotebookParameter(
            name, kind, default, _help(comments, statement), statement.lineno
        )
        _check_type(kind, place)
        if default is not REQUIRED and (wrong := check_value(parameter, default)):
            raise ParameterError(f"The default of {name}: {wrong}", where=place)
        found[name] = parameter
    return list(found.values())


def check_value(parameter: NotebookParameter, value: Any) -> str | None:
    """Return what is wrong with ``value`` for ``parameter``, or None."""
    kind = ast.parse(parameter.type, mode="eval").body
    if _accepts(kind, value):
        return None
    return f"{parameter.name} must be {parameter.type}, not {_shown(value)}."


def parse_value(parameter: NotebookParameter, text: str) -> Any:
    """Return the value that ``text`` from a command line means for ``parameter``.

    Raises
    ------
    ParameterError
        If it means none of the parameter's type.
    """
    kind = ast.parse(parameter.type, mode="eval").body
    value = parse_scalar(text)
    candidates = [value]
    if not isinstance(value, list | dict) and text:
        candidates += [
            [parse_scalar(part.strip()) for part in text.split(",")],
            [part.strip() for part in text.split(",")],
        ]
    # Text stays as it was typed wherever text is what the parameter takes: 007 is not 7.
    candidates.insert(0 if value is not None and _accepts_only_text(kind) else 1, text)
    for candidate in candidates:
        if _accepts(kind, candidate):
            return candidate
    raise ParameterError(
        f"{parameter.name} must be {parameter.type}, not {text!r}.",
        fix=f"Write it as --set {parameter.name}=VALUE.",
    )


def _declaration(statement: ast.stmt, place: str) -> tuple[str, str | None, ast.expr | None]:
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return statement.target.id, ast.unparse(statement.annotation), statement.value
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
        if isinstance(target, ast.Name):
            return target.id, None, statement.value
    raise ParameterError(
        f"{ast.unparse(statement).splitlines()[0]!r} is no parameter.",
        where=place,
        fix="Write each as: name: type = default  # help. Other code belongs into the next cell.",
    )


def _literal(value: ast.expr | None, name: str, place: str) -> Any:
    if value is None:
        return REQUIRED
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError) as error:
        raise ParameterError(
            f"The default of {name} is no literal: {ast.unparse(value)}.",
            where=place,
            fix="Write the value itself; calculate in the next cell.",
        ) from error


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {
        token.start[0]: token.string.lstrip("#").strip()
        for token in tokens
        if token.type == tokenize.COMMENT
    }


def _help(comments: dict[int, str], statement: ast.stmt) -> str:
    """Return the comment at the end of a statement, at its start, or in the lines above it."""
    for line in (statement.end_lineno or statement.lineno, statement.lineno):
        if line in comments:
            return comments.pop(line)
    above: list[str] = []
    line = statement.lineno - 1
    while line in comments:
        above.insert(0, comments.pop(line))
        line -= 1
    return " ".join(above)


def _check_type(kind: str, place: str) -> None:
    for name in _unknown_types(ast.parse(kind, mode="eval").body):
        raise ParameterError(
            f"The type {name} cannot be a parameter.",
            where=place,
            fix="Take int, float, str, bool, list, dict, Literal, or one of them | None.",
        )


def _unknown_types(kind: ast.expr) -> Iterator[str]:
    if isinstance(kind, ast.BinOp) and isinstance(kind.op, ast.BitOr):
        yield from _unknown_types(kind.left)
        yield from _unknown_types(kind.right)
    elif isinstance(kind, ast.Subscript) and _name(kind.value) in ("list", "dict", "Optional"):
        for item in _items(kind.slice):
            yield from _unknown_types(item)
    elif isinstance(kind, ast.Subscript) and _name(kind.value) == "Literal":
        return
    elif _name(kind) not in _PLAIN:
        yield ast.unparse(kind)


def _accepts(kind: ast.expr, value: Any) -> bool:
    if isinstance(kind, ast.BinOp):
        return _accepts(kind.left, value) or _accepts(kind.right, value)
    if isinstance(kind, ast.Subscript):
        items = _items(kind.slice)
        name = _name(kind.value)
        if name == "Literal":
            allowed = [ast.literal_eval(item) for item in items]
            return any(value == one and type(value) is type(one) for one in allowed)
        if name == "Optional":
            return value is None or _accepts(items[0], value)
        if name == "list":
            return isinstance(value, list) and all(_accepts(items[0], item) for item in value)
        return isinstance(value, dict) and all(
            _accepts(items[0], key) and _accepts(items[-1], item) for key, item in value.items()
        )
    name = _name(kind)
    if isinstance(value, bool):
        return name in ("bool", "Any")
    if isinstance(value, float):
        return name in ("float", "Any") and math.isfinite(value)
    if isinstance(value, int):
        return name in ("int", "float", "Any")
    if value is None:
        return name in ("None", "Any")
    if isinstance(value, str | list | dict):
        return name in (type(value).__name__, "Any") and _is_json(value)
    return False


def _accepts_only_text(kind: ast.expr) -> bool:
    if isinstance(kind, ast.BinOp):
        return all(
            _accepts_only_text(side) or _name(side) == "None" for side in (kind.left, kind.right)
        )
    if isinstance(kind, ast.Subscript) and _name(kind.value) == "Literal":
        return all(isinstance(ast.literal_eval(item), str) for item in _items(kind.slice))
    return _name(kind) == "str"


def _is_json(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_json(item) for item in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(item) for key, item in value.items())
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | int | bool)


def _name(kind: ast.expr) -> str:
    if isinstance(kind, ast.Constant) and kind.value is None:
        return "None"
    if isinstance(kind, ast.Attribute):
        return kind.attr
    return kind.id if isinstance(kind, ast.Name) else ""


def _items(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
