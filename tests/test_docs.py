"""The pages say what is true: settings, names, commands, targets and files they mention exist."""

from __future__ import annotations

import argparse
import importlib.util
import re
import shlex
import sys
import typing
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest
from sqlalchemy import Double, Float

from workspace_lib.cli import build_parser
from workspace_lib.settings import load_settings

HERE = Path(__file__).resolve().parent.parent
PAGES = (
    "README.md",
    "outputs/README.md",
    *sorted(f"docs/{p.name}" for p in (HERE / "docs").glob("*.md")),
)

# Every variable that the five programs before this one documented.
FORMER_VARIABLES = [
    "FTP_SERVER",
    "FTP_USERNAME",
    "FTP_PASSWORD",
    "FTP_SOURCE_DIR",
    "FTP_TARGET_DIR",
    "LOCAL_TEMP_DIR",
    "LOCAL_OUTPUT_DIR",
    "CALIB_FILE",
    "SERVER_URL",
    "LOCAL_STORAGE_FILE",
    "ENVOI_INTERVALLE",
    "ARCHIVE_INTERVALLE",
    "ARCHIVE_DIRECTORY",
    "BACKUP_DIRECTORY",
    "TEMP_ARCHIVE_FILE",
    "NETTOYAGE_INTERVALLE",
    "FTP_HOST",
    "MYSQL_HOST",
    "MYSQL_USER",
    "MYSQL_PASSWORD",
    "MYSQL_DB",
    "POSTGRES_HOST",
    "POSTGRES_DB",
    "POSTGRES_USER",
    "POSTGRES_PASSWORD",
    "cu_directories",
    "NUM_BANCS",
    "BANC",
    "bancs_config.json",
    "charge_profile.csv",
    "temperature_coefficients.json",
    "DISPLAY",
    "XAUTHORITY",
]
WINGS = {"rain", "reclosers", "sensors", "machining", "benches"}


def read(page: str) -> str:
    return (HERE / page).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def settings_page() -> ModuleType:
    """The tool that writes the tables of docs/settings.md."""
    path = HERE / "tools" / "settings_page.py"
    spec = importlib.util.spec_from_file_location("settings_page", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclass looks its own module up.
    sys.modules["settings_page"] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_of_settings_is_what_the_classes_say(settings_page: ModuleType) -> None:
    page = read("docs/settings.md")
    assert settings_page.fill(page) == page, "run: make docs"


def test_the_page_has_every_setting_of_every_class(settings_page: ModuleType) -> None:
    page = read("docs/settings.md")
    missing = [
        f"{table.prefix}{name}"
        for table in settings_page.tables()
        for name, field in table.model.model_fields.items()
        if not settings_page.is_section(field) and f"| `{table.prefix}{name}` |" not in page
    ]
    assert missing == []


def another_value(field: Any) -> str | None:
    """A valid value that is not the default, as an environment variable would hold it."""
    default, kind = field.get_default(call_default_factory=True), field.annotation
    if typing.get_origin(kind) is Literal:
        return next(str(v) for v in reversed(typing.get_args(kind)) if v != default)
    if kind is bool:
        return str(not default).lower()
    if kind in (int, float):
        return str(default + 1)
    return None


def test_the_variables_of_the_page_really_set_the_settings(
    settings_page: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "plant"
    site.mkdir()
    (site / "site.yml").write_text("sources: {NAME: {host: here}}\n".replace("NAME", "name"))
    chosen = {}
    for table in settings_page.tables():
        if table.prefix.startswith("wings."):
            continue
        for name, field in table.model.model_fields.items():
            value = another_value(field)
            if value is not None:
                setting = f"{table.prefix}{name}"
                chosen[setting] = value
                monkeypatch.setenv(settings_page.variable(setting).strip("`"), value)
    settings = load_settings(site)
    wrong = {}
    for setting, value in chosen.items():
        found: Any = settings
        for part in setting.lower().split("."):
            found = found[part] if isinstance(found, dict) else getattr(found, part)
        if str(found).lower() != value.lower() and float(found) != float(value):
            wrong[setting] = (found, value)
    assert wrong == {}
    assert len(chosen) > 30


def former() -> list[tuple[str, str, str]]:
    """Rows of the table of former variables: name, where it went, note."""
    section = read("docs/settings.md").split("## Where the variables")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in row] for row in rows]
    return [(row[0], row[2], row[3]) for row in cells if row[0] != "Former variable"]


@pytest.mark.parametrize("variable", FORMER_VARIABLES)
def test_every_former_variable_has_its_place(variable: str) -> None:
    assert any(f"`{variable}`" in name for name, _, _ in former())


@pytest.mark.parametrize(("name", "place", "note"), former())
def test_a_former_variable_went_to_something_that_exists(
    settings_page: ModuleType, name: str, place: str, note: str
) -> None:
    if place.startswith("job:"):
        from workspace_lib.runs.job_schema import JobFile

        (key,) = re.findall(r"`(\w+)`", place)
        assert key in {field.alias or key for key, field in JobFile.model_fields.items()}, name
        return
    (setting,) = re.findall(r"`([\w.]+)`", place)
    exists = settings_page.resolve(setting) is not None
    if note.startswith("planned"):
        assert setting.split(".")[:1] == ["wings"], name
        assert setting.split(".")[1] in WINGS, name
        assert not exists, f"{setting} has come: take 'planned' from its row"
    else:
        assert exists, f"{name}: there is no setting {setting}"


def test_a_place_that_does_not_exist_would_be_noticed(settings_page: ModuleType) -> None:
    assert settings_page.resolve("sources.rain.host") is not None
    assert settings_page.resolve("store.url") is not None
    for wrong in ("sources.rain.hosts", "store.address", "nothing", "site.url"):
        assert settings_page.resolve(wrong) is None, wrong


def commands(page: str) -> list[str]:
    """Every ``workspace …`` in a page's code."""
    text = read(page)
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    found = []
    for line in lines:
        match = re.match(r"(?:\$ |sudo -u workspace )?(?:\S*/bin/)?workspace( .*|$)", line)
        if match and match[1].strip():
            found.append(match[1].split("#")[0].strip())
    return found


def unknown_part(command: str) -> str | None:
    """The first word of a command that the command line does not know, or None."""
    parser: argparse.ArgumentParser = build_parser()
    words = iter(shlex.split(command))
    for word in words:
        word = word.strip("[]")
        groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        if word.startswith("-"):
            action = parser._option_string_actions.get(word.split("=")[0])
            if action is None:
                return word
            if action.nargs != 0 and "=" not in word:
                next(words, None)  # its value
        elif groups:
            if word not in groups[0].choices:
                return word
            parser = groups[0].choices[word]
    return None


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_exist(page: str) -> None:
    unknown = {command: unknown_part(command) for command in commands(page)}
    assert {command: part for command, part in unknown.items() if part} == {}


def test_a_command_that_does_not_exist_would_be_noticed() -> None:
    assert unknown_part("doctor --json") is None
    assert unknown_part("doctors") == "doctors"
    assert unknown_part("doctor --jsn") == "--jsn"
    assert unknown_part("--site plant doctor") is None


@pytest.mark.parametrize("page", PAGES)
def test_the_make_targets_of_a_page_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`|&& )make ([a-z][a-z-]+)", read(page), re.MULTILINE))
    assert named - targets == set()


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_a_page_lead_somewhere(page: str) -> None:
    folder = (HERE / page).parent
    links = re.findall(r"\]\(([^)\s]+)\)", read(page))
    local = [link.split("#")[0] for link in links if not link.startswith(("http", "#", "mailto"))]
    assert [link for link in local if not (folder / link).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_the_files_a_page_names_exist(page: str) -> None:
    named = re.findall(
        r"`((?:workspace_lib|deploy|tools|tests|benchmarks|docs)/[\w./-]+)`", read(page)
    )
    assert [name for name in named if not (HERE / name).exists()] == []


def rows(section: str) -> dict[str, str]:
    """First and second column of a section's tables in the nomenclature."""
    text = read("docs/nomenclature.md").split(f"## {section}\n")[1].split("\n## ")[0]
    found = re.findall(r"^\| `([^`]+)` \| ?(.*?) ?\|", text, re.MULTILINE)
    return dict(found)


def library_words() -> set[str]:
    text = "\n".join(path.read_text() for path in (HERE / "workspace_lib").rglob("*.py"))
    return set(re.findall(r"\w+", text))


def test_every_name_of_the_nomenclature_is_used() -> None:
    words = library_words()
    assert [name for name in rows("Columns") if name not in words] == []
    assert [end for end in rows("Units") if not any(w.endswith(end) for w in words)] == []


def wing_columns() -> dict[str, Any]:
    from workspace_lib.store.base import data_metadata
    from workspace_lib.store.schema import load_tables

    load_tables()
    return {
        column.name: column
        for table in data_metadata.tables.values()
        if table.name.split("_")[0] in WINGS
        for column in table.columns
    }


def test_every_column_of_a_wings_tables_is_in_the_nomenclature() -> None:
    known = rows("Columns")
    assert [name for name in wing_columns() if name not in known] == []


def test_a_measured_column_carries_its_unit() -> None:
    endings = tuple(rows("Units"))
    measured = [
        n for n, column in wing_columns().items() if isinstance(column.type, Float | Double)
    ]
    assert measured
    assert [name for name in measured if not name.endswith(endings)] == []


def test_the_nomenclature_has_the_states_and_causes_of_runs_and_files() -> None:
    from workspace_lib.runs.states import CAUSES, STATES
    from workspace_lib.store.source_files import STATES as FILE_STATES

    assert set(rows("Runs")) == {*STATES, *CAUSES}
    assert list(rows("Source files")) == list(FILE_STATES)
