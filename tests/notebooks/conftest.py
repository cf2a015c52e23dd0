"""The contract of notebooks, as a function that names every breach."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest

MOST_CELLS = 10
MOST_LINES = 20
#: What reads and writes files or talks to others belongs into the library.
FORBIDDEN_CALLS = {
    "open",
    "read_text",
    "read_bytes",
    "write_text",
    "write_bytes",
    "unlink",
    "exec",
    "eval",
    "__import__",
}
FORBIDDEN_MODULES = {
    "ftplib",
    "http",
    "httpx",
    "importlib",
    "os",
    "paho",
    "paramiko",
    "pymysql",
    "requests",
    "serial",
    "shutil",
    "socket",
    "sqlite3",
    "subprocess",
    "urllib",
}
Check = Callable[..., list[str]]


@pytest.fixture(scope="session")
def breaches() -> Check:
    """Return a function that lists how a notebook breaks the contract; empty: it keeps it.

    ``job`` says that it is a job's notebook, which must have parameters.
    """

    def check(path: Path, *, job: bool) -> list[str]:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = []
        ids = [cell.get("id") for cell in content["cells"]]
        if len(set(ids)) != len(ids):
            found.append("has two cells of one id")
        else:
            try:
                nbformat.validate(nbformat.from_dict(content))
            except nbformat.ValidationError as error:
                found.append(f"is no valid notebook: {error.message}")
        if (content["nbformat"], content["nbformat_minor"]) < (4, 5):
            found.append("has cells without ids")
        found += _kernel(content["metadata"])
        first = content["cells"][0]
        if first["cell_type"] != "markdown" or not _source(first).startswith("# "):
            found.append("does not start with a title")
        elif len(_source(first).split("\n", 1)[-1].strip()) < 20:
            found.append("does not say what it is for")
        code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
        tagged = [cell for cell in code if "parameters" in cell["metadata"].get("tags", [])]
        if len(tagged) > 1 or (job and not tagged):
            found.append(f"has {len(tagged)} cells tagged parameters")
        for cell in tagged:
            found += _parameters(_source(cell))
        if len(code) - len(tagged) > MOST_CELLS:
            found.append(f"has {len(code) - len(tagged)} code cells beside the parameters")
        for cell in code:
            found += [f"cell {cell.get('id')} {breach}" for breach in _code_cell(cell)]
        return found

    return check


def _kernel(metadata: dict[str, Any]) -> list[str]:
    found = []
    if metadata.get("kernelspec", {}).get("name") != "python3":
        found.append("asks for another kernel than python3")
    if extra := set(metadata) - {"kernelspec", "language_info"}:
        found.append(f"keeps metadata of a run or an editor: {', '.join(sorted(extra))}")
    return found


def _parameters(source: str) -> list[str]:
    found = []
    lines = source.splitlines()
    for statement in ast.parse(source).body:
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            found.append(f"parameter without a type: {ast.unparse(statement)}")
            continue
        text = lines[statement.lineno - 1 : statement.end_lineno]
        if not any("#" in line and len(line.split("#", 1)[1].strip()) > 3 for line in text):
            found.append(f"parameter without a comment: {statement.target.id}")
    return found


def _code_cell(cell: dict[str, Any]) -> list[str]:
    found = []
    if cell["outputs"] or cell["execution_count"] is not None:
        found.append("is committed with its outputs")
    if set(cell["metadata"]) - {"tags"}:
        found.append(f"keeps metadata: {', '.join(sorted(cell['metadata']))}")
    source = _source(cell)
    lines = source.splitlines()
    if len(lines) > MOST_LINES:
        found.append(f"has {len(lines)} lines")
    found += [f"runs a shell: {line}" for line in lines if line.startswith(("!", "%%", "%run"))]
    tree = ast.parse("\n".join("" if line.startswith(("%", "!")) else line for line in lines))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.append(f"defines {node.name}")
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in FORBIDDEN_CALLS:
                found.append(f"calls {name}()")
        found += [
            f"imports {module}"
            for module in _imported(node)
            if module.split(".")[0] in FORBIDDEN_MODULES
        ]
    return found


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def _source(cell: dict[str, Any]) -> str:
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)
