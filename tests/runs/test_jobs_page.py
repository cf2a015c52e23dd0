"""The page docs/jobs.md says what the model of a job file says, and its examples are right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from workspace_lib.cli import build_parser
from workspace_lib.runs.durations import duration_text
from workspace_lib.runs.job_schema import JobFile, OnBusyModel, RetriesModel, job_json_schema
from workspace_lib.runs.job_yaml import read_yaml
from workspace_lib.runs.notebook_parameters import parse_parameters
from workspace_lib.runs.states import CAUSES, STATES


@pytest.fixture(scope="module")
def page(request: pytest.FixtureRequest) -> str:
    path = Path(request.config.rootpath) / "docs" / "jobs.md"
    return path.read_text(encoding="utf-8")


def rows(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the row of each key as the page must have it."""
    for name, item in model.model_fields.items():
        default = item.get_default(call_default_factory=True)
        if isinstance(default, BaseModel) or default in (None, PydanticUndefined, [], {}):
            text = ""
        elif isinstance(default, bool):
            text = f"`{str(default).lower()}`"
        elif isinstance(default, float):
            text = f"`{duration_text(default)}`"
        elif isinstance(default, list):
            text = ", ".join(f"`{one}`" for one in default)
        else:
            text = f"`{default}`"
        yield f"| `{prefix}{name}` | {text} | {item.description} |"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


@pytest.mark.parametrize(
    ("model", "prefix"), [(JobFile, ""), (RetriesModel, "retries."), (OnBusyModel, "on_busy.")]
)
def test_every_key_is_on_the_page(page: str, model: type[BaseModel], prefix: str) -> None:
    missing = [row for row in rows(model, prefix) if row not in page]
    assert missing == []


def test_the_page_has_no_key_that_does_not_exist(page: str) -> None:
    known = {*JobFile.model_fields}
    known |= {f"retries.{name}" for name in RetriesModel.model_fields}
    known |= {f"on_busy.{name}" for name in OnBusyModel.model_fields}
    table = page.split("## Every key")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `([\w.]+)` \|", table, re.MULTILINE)) == known


def test_every_example_is_a_right_job_file(page: str) -> None:
    examples = blocks(page, "yaml")
    assert len(examples) >= 3
    for example in examples:
        document = read_yaml(example)
        assert document.faults == ()
        JobFile.model_validate(document.value)


def test_the_parameters_cell_on_the_page_is_right(page: str) -> None:
    (cell,) = [block for block in blocks(page, "python") if "# " in block and ": " in block][:1]
    assert len(parse_parameters(cell)) >= 3


def test_every_state_and_cause_is_explained(page: str) -> None:
    explained = set(re.findall(r"^\| `(\w+)` \| [A-Z]", page, re.MULTILINE))
    assert {*STATES, *CAUSES} <= explained


def test_every_command_on_the_page_exists(page: str) -> None:
    parser = build_parser()
    commands = re.findall(r"^workspace (.+?)(?: +#.*)?$", "\n".join(blocks(page, "sh")), re.M)
    assert len(commands) >= 10
    for command in commands:
        parser.parse_args(command.split())


def test_the_keys_of_the_schema_are_those_of_the_page(page: str) -> None:
    for name in job_json_schema()["properties"]:
        assert f"| `{name}` |" in page
