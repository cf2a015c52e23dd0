"""Who may know whom, one chain of migrations, notebooks without outputs: the house's rules."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

GROUND = {
    "errors",
    "clock",
    "files",
    "formats",
    "hostclock",
    "logs",
    "process_trees",
    "reports",
    "secrets",
    "settings",
    "simulators",
    "site_files",
    "watchdog",
}
WINGS = {"rain", "reclosers", "sensors", "machining", "benches"}
# From the ground up; the command line and what it starts may know everything.
FLOORS: tuple[set[str], ...] = (
    GROUND,
    {"store"},
    {"transports"},
    {"answers"},
    WINGS,
    {"runs"},
    {"views", "web"},
    {"cli", "up", "doctor"},
)
# Rooms of a wing that a simulator must not share with the reader it tests.
PARSING_ROOMS = {"readers", "capture", "analysis", "grammar", "ingest"}
MOST_LINES = 600


@dataclass(frozen=True)
class Arrow:
    """One import of a module of the package by another: dotted names without the package."""

    importer: str
    imported: str
    line: int

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def top(module: str) -> str:
    """The floor's name: ``runs`` of ``runs.ledger``, ``formats`` of ``formats_commands``."""
    return module.partition(".")[0].removesuffix("_commands")


def floor(module: str) -> int:
    """The number of a module's floor, counted from the ground."""
    for number, names in enumerate(FLOORS):
        if top(module) in names:
            return number
    raise AssertionError(f"{module} belongs to no floor: name it in FLOORS")


def is_allowed(arrow: Arrow) -> bool:
    """Say whether an import goes down, or stays within one package or the ground."""
    importer, imported = floor(arrow.importer), floor(arrow.imported)
    if top(arrow.importer) in WINGS and top(arrow.imported) in WINGS:
        return top(arrow.importer) == top(arrow.imported)
    return imported <= importer


@pytest.fixture(scope="module")
def library(repository: Path) -> Path:
    return repository / "workspace_lib"


@pytest.fixture(scope="module")
def modules(library: Path) -> dict[str, ast.Module]:
    """Every module by its dotted name without the package's; the package itself is ``""``."""
    found = {}
    for path in library.rglob("*.py"):
        parts = path.relative_to(library).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        found[name] = ast.parse(path.read_text(), str(path))
    return found


@pytest.fixture(scope="module")
def arrows(modules: dict[str, ast.Module]) -> list[Arrow]:
    return [
        arrow for name, tree in modules.items() if name for arrow in arrows_of(name, tree, modules)
    ]


def arrows_of(name: str, tree: ast.Module, modules: dict[str, ast.Module]) -> Iterator[Arrow]:
    """Imports of the package in one module, also those inside functions and for types only."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("workspace_lib."):
                    yield Arrow(name, alias.name.removeprefix("workspace_lib."), node.lineno)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno} imports relatively"
            module = node.module or ""
            if module == "workspace_lib":
                for alias in node.names:
                    if alias.name in modules:
                        yield Arrow(name, alias.name, node.lineno)
                    else:
                        # The package's own functions lead to `runs`; only notebooks use them.
                        assert alias.name == "__version__", f"{name}:{node.lineno} {alias.name}"
            elif module.startswith("workspace_lib."):
                inner = module.removeprefix("workspace_lib.")
                for alias in node.names:
                    deeper = f"{inner}.{alias.name}"
                    yield Arrow(name, deeper if deeper in modules else inner, node.lineno)


def test_every_import_goes_down(arrows: list[Arrow]) -> None:
    assert [str(arrow) for arrow in arrows if not is_allowed(arrow)] == []


def test_there_are_imports_to_judge(arrows: list[Arrow]) -> None:
    assert len(arrows) > 100


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("settings", "store.engines"),
        ("store.raw", "transports.ftp_mirror"),
        ("transports.devices", "rain.readers"),
        ("rain.capture", "benches.readers"),
        ("rain.capture", "runs.context"),
        ("rain.plots", "views.blocks"),
        ("runs.runner", "views.blocks"),
        ("runs.runner", "web.app"),
        ("views.blocks", "cli"),
        ("formats_commands", "store.raw"),
    ],
)
def test_an_import_upwards_or_into_another_wing_is_refused(importer: str, imported: str) -> None:
    assert not is_allowed(Arrow(importer, imported, 1))


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("rain.capture", "rain.tables"),
        ("rain.capture", "transports.ftp_mirror"),
        ("runs.context", "store.publications"),
        ("web.app", "runs.ledger"),
        ("rain.api", "answers.paging"),
        ("up", "views.voila"),
        ("secrets", "errors"),
    ],
)
def test_an_import_downwards_is_allowed(importer: str, imported: str) -> None:
    assert is_allowed(Arrow(importer, imported, 1))


def test_no_wing_knows_runs_views_or_web(arrows: list[Arrow]) -> None:
    above = {"runs", "views", "web", "cli", "up", "doctor"}
    wrong = [a for a in arrows if top(a.importer) in WINGS and top(a.imported) in above]
    assert [str(arrow) for arrow in wrong] == []


def test_simulators_share_no_parsing_code_with_readers(arrows: list[Arrow]) -> None:
    wrong = [
        arrow
        for arrow in arrows
        if top(arrow.importer) in WINGS
        and "simulator" in arrow.importer
        and set(arrow.imported.split(".")) & PARSING_ROOMS
    ]
    assert [str(arrow) for arrow in wrong] == []


def test_no_module_is_longer_than_can_be_read_at_once(library: Path) -> None:
    lengths = {
        path.relative_to(library).as_posix(): len(path.read_text().splitlines())
        for path in library.rglob("*.py")
    }
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_every_module_says_in_its_first_line_what_it_is(modules: dict[str, ast.Module]) -> None:
    assert [name for name, tree in modules.items() if not ast.get_docstring(tree)] == []


def test_migrations_are_one_chain_with_one_head(library: Path) -> None:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(library / "store" / "migrations")
    assert len(scripts.get_heads()) == 1
    assert len(scripts.get_bases()) == 1
    assert all(not revision.is_branch_point for revision in scripts.walk_revisions())


def notebooks(repository: Path) -> list[Path]:
    return sorted((repository / "notebooks").rglob("*.ipynb"))


def test_notebooks_are_committed_without_outputs_and_counts(repository: Path) -> None:
    wrong = []
    for path in notebooks(repository):
        for number, cell in enumerate(json.loads(path.read_text())["cells"], start=1):
            if cell.get("outputs") or cell.get("execution_count") is not None:
                wrong.append(f"{path.relative_to(repository)}: cell {number}")
    assert wrong == []


def test_notebooks_define_no_functions_and_open_nothing(repository: Path) -> None:
    wrong = []
    for path in notebooks(repository):
        for number, cell in enumerate(json.loads(path.read_text())["cells"], start=1):
            if cell["cell_type"] != "code":
                continue
            lines = "".join(cell["source"]).splitlines()
            code = "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))
            for node in ast.walk(ast.parse(code)):
                defines = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                opens = (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Name)
                    and node.func.id == "open"
                )
                sockets = isinstance(node, ast.Import | ast.ImportFrom) and "socket" in ast.dump(
                    node
                )
                if defines or opens or sockets:
                    wrong.append(f"{path.relative_to(repository)}: cell {number}")
    assert wrong == []


def test_nothing_committed_is_loaded_from_a_cdn(repository: Path) -> None:
    hosts = ("cdn.", "cdnjs.", "unpkg.", "jsdelivr.", "googleapis.")
    wrong = []
    for pattern in ("workspace_lib/views/**/*", "notebooks/**/*.ipynb"):
        for path in repository.glob(pattern):
            if path.suffix not in (".html", ".j2", ".css", ".ipynb", ".py"):
                continue
            text = path.read_text()
            if any(f"//{host}" in text or f".{host}" in text for host in hosts):
                wrong.append(path.relative_to(repository).as_posix())
    assert wrong == []
