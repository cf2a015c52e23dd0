"""Job files: what is right becomes a specification, what is wrong is named with file and line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from workspace_lib.errors import ConfigError
from workspace_lib.runs.job_schema import JobFile, job_json_schema, schema_path, schema_text
from workspace_lib.runs.specs import JobSpec, load_jobs
from workspace_lib.settings import Settings

PARAMETERS = "gauges: list[str] = ['a=b']  # which\ndays: int = 3\nsite: str = 'here'\n"


@pytest.fixture
def site(make_site: Callable[..., Settings]) -> Settings:
    """A site with one source, one line and the notebook ``sums``."""
    settings = make_site(
        {
            "timezone": "Europe/Paris",
            "sources": {"plant": {"host": "ftp.example.com"}},
            "devices": {"line:COM1": "/dev/ttyS0"},
        }
    )
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": PARAMETERS}
    path = settings.notebooks_dir / "jobs" / "sums.ipynb"
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4}))
    return settings


def write(settings: Settings, name: str, text: str) -> None:
    (settings.site_dir / "jobs" / f"{name}.yml").write_text(text, encoding="utf-8")


def problems(settings: Settings) -> list[str]:
    return [str(problem) for problem in load_jobs(settings).problems]


def test_everything_a_job_file_can_say(site: Settings) -> None:
    write(site, "first", "notebook: sums\nevery: 5m\non_published: [rain.raw, 'rain.lines/*']\n")
    write(
        site,
        "second",
        """
notebook: sums
on: first
timezone: America/Montreal
catch_up: each
max_catch_up: 7
max_lateness: 30s
overlap: skip
timeout: 10m
cell_timeout: 90s
retries: {attempts: 3, wait: 30s, on: [source_unavailable, kernel_died]}
devices: [line:COM1]
capacity: {ftp:plant: 2}
on_busy: {wait: 5m, then: fail}
publishes: [rain.sums, rain.sums/gauge-1]
fresh_for: 1d
parameters: {days: 5, gauges: [x, y]}
enabled: false
description: Sums
""",
    )
    jobset = load_jobs(site)
    assert jobset.problems == ()
    spec = jobset.spec("second")
    assert (spec.on, spec.timezone, spec.catch_up, spec.max_catch_up) == (
        "first", "America/Montreal", "each", 7,
    )  # fmt: skip
    assert (spec.timeout_s, spec.cell_timeout_s, spec.max_lateness_s) == (600, 90, 30)
    assert (spec.retries.attempts, spec.retries.wait_s) == (3, 30)
    assert spec.retries.on == ("source_unavailable", "kernel_died")
    assert (spec.devices, spec.capacity) == (("line:COM1",), {"ftp:plant": 2})
    assert (spec.on_busy.wait_s, spec.on_busy.then) == (300, "fail")
    assert (spec.publishes, spec.fresh_for_s) == (("rain.sums", "rain.sums/gauge-1"), 86_400)
    assert spec.parameters == {"days": 5, "gauges": ["x", "y"]}
    assert (spec.enabled, spec.overlap, spec.description) == (False, "skip", "Sums")
    assert spec.file == "parameters/testsite/jobs/second.yml"
    first = jobset.spec("first")
    assert (first.every_s, first.timezone) == (300, "Europe/Paris")
    assert first.on_published == ("rain.raw", "rain.lines/*")
    for one in (first, spec):
        assert JobSpec.from_dict(json.loads(json.dumps(one.to_dict()))) == one


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("notebook: sums\n\nshedule: '* * * * *'\n", 3, ["'shedule'", "Did you mean 'schedule'"]),
        ("notebook: sums\nretries:\n  atempts: 2\n", 3, ["'atempts'", "'attempts'"]),
        ("notebook: sums\nparameters:\n  day: 3\n", 3, ["'day'", "Did you mean 'days'"]),
        ("notebook: sums\nparameters:\n  days: three\n", 3, ["days must be int", "'three'"]),
        ("notebook: sums\nparameters:\n  gauges: [a, 1]\n", 3, ["list[str]"]),
        ("notebook: sums\nparameters:\n  days: true\n", 3, ["days must be int"]),
        ("\nnotebook: sum\n", 2, ["notebooks/jobs/sum.ipynb", "Did you mean 'sums'"]),
        ("schedule: '* * * * *'\n", 1, ["'notebook' is missing"]),
        ("notebook: sums\nschedule: '61 * * * *'\n", 2, ["'61 * * * *'", "bad minute"]),
        ("notebook: sums\nschedule: '0 8 * *'\n", 2, ["five fields"]),
        ("notebook: sums\nschedule: '0 0 31 2 *'\n", 2, ["day-of-month"]),
        ("notebook: sums\nschedule: 5\n", 2, ["schedule"]),
        ("notebook: sums\ntimezone: Europe/Pari\n", 2, ["Did you mean 'Europe/Paris'"]),
        ("notebook: sums\ndevices: [line:COM1, line:COM2]\n", 2, ["'line:COM2'", "line:COM1"]),
        ("notebook: sums\ncapacity:\n  ftp:plan: 2\n", 3, ["'ftp:plan'", "'ftp:plant'"]),
        ("notebook: sums\ncapacity:\n  ftp:plant: 0\n", 3, ["greater than or equal to 1"]),
        ("notebook: sums\nevery: 10s\n", 2, ["10s is too often", "30s"]),
        ("notebook: sums\nevery: 5 minutes\n", 2, ["'5 minutes' is no duration", "10m"]),
        ("notebook: sums\ntimeout: 600\n", 2, ["600 is no duration"]),
        ("notebook: sums\nschedule: '* * * * *'\nevery: 5m\n", 3, ["every", "schedule"]),
        ("notebook: sums\non: nobody\n", 2, ["no job 'nobody'"]),
        ("notebook: sums\non: job\n", 2, ["circle"]),
        ("notebook: sums\nafter: [nobody]\n", 2, ["after", "no job 'nobody'"]),
        ("notebook: sums\nafter: [job]\n", 2, ["after: a circle, job after job"]),
        ("notebook: sums\non: x\non_published: [rain.*]\n", 3, ["a job with on cannot"]),
        (
            "service: workspace_lib.files:sha256_file\non_published: [rain.*]\n",
            2,
            ["a job with service cannot"],
        ),
        ("notebook: sums\non_published: rain.*\n", 2, ["on_published"]),
        ("notebook: sums\non_published: [Rain sums]\n", 2, ["'Rain sums'", "rain.*"]),
        ("notebook: sums\ncatch_up: lates\n", 2, ["Did you mean 'latest'"]),
        ("notebook: sums\nretries: {on: [kernel_dead]}\n", 2, ["Did you mean 'kernel_died'"]),
        ("notebook: sums\nenabled: yes\n", 2, ["enabled"]),
        ("notebook: sums\npublishes: [Sums]\n", 2, ["'Sums'", "rain.sums"]),
        ("notebook: ../../secret\n", 1, ["'../../secret'"]),
        ("notebook: sums\nnotebook: sums\n", 2, ["twice"]),
        ("notebook: [sums\nevery: 5m\n", 2, ["not YAML"]),
        ("- notebook: sums\n", 1, ["keys such as"]),
        ("service: workspace_lib.files:sha256_fil\n", 1, ["Did you mean 'sha256_file'"]),
        ("service: workspace_lib.fils:serve\n", 1, ["no module"]),
        ("service: nonsense\n", 1, ["module:function"]),
        ("service: workspace_lib.files:sha256_file\nnotebook: sums\n", 2, ["its own"]),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    site: Settings, text: str, line: int, words: list[str]
) -> None:
    write(site, "job", text)
    found = problems(site)
    place = f"parameters/testsite/jobs/job.yml:{line}: "
    matching = [one for one in found if one.startswith(place)]
    assert any(all(word in one for word in words) for one in matching), found


def test_every_problem_of_every_file_is_named(site: Settings) -> None:
    write(site, "a", "notebok: sums\ntimeout: 5\nparameters: {x: 1}\n")
    write(site, "b", "notebook: sums\nevery: 1s\non: c\nparameters:\n  day: 1\n  days: x\n")
    write(site, "c", "notebook: sums\nevery: 1h\n")
    found = problems(site)
    assert len([one for one in found if "/a.yml:" in one]) == 2
    assert len([one for one in found if "/b.yml:" in one]) == 1
    # Once its keys are right, what they say is checked as well, all of it.
    write(site, "b", "notebook: sums\nevery: 1m\non: c\nparameters:\n  day: 1\n  days: x\n")
    assert len([one for one in problems(site) if "/b.yml:" in one]) == 3
    assert set(load_jobs(site).specs) == {"c"}


def test_yaml_words_are_not_changed_into_something_else(site: Settings) -> None:
    write(site, "other", "notebook: sums\nevery: 1m\n")
    write(site, "job", "notebook: sums\non: other\nparameters:\n  site: 10:30\n")
    spec = load_jobs(site).spec("job")
    assert (spec.on, spec.parameters) == ("other", {"site": "10:30"})
    for text in ("no", "2026-11-20", "0x1F", "1_000"):
        write(site, "job", f"notebook: sums\nparameters:\n  site: {text}\n")
        assert load_jobs(site).spec("job").parameters == {"site": text}


def test_a_circle_is_named_by_each_job_in_it(site: Settings) -> None:
    for name, upstream in (("a", "b"), ("b", "c"), ("c", "b")):
        write(site, name, f"notebook: sums\non: {upstream}\n")
    circles = [one for one in problems(site) if "circle" in one]
    assert [one.split(":")[0][-5:] for one in circles] == ["b.yml", "c.yml"]


def test_jobs_that_would_start_each_other_for_ever_are_named(site: Settings) -> None:
    write(site, "sums", "notebook: sums\non_published: [rain.raw*]\npublishes: [rain.sums]\n")
    write(site, "report", "notebook: sums\non_published: ['rain.*']\npublishes: [rain.report]\n")
    assert problems(site) == []
    write(site, "again", "notebook: sums\non: report\npublishes: [rain.raw/x]\n")
    circles = [one for one in problems(site) if "circle" in one]
    assert [one.split(":")[0].rpartition("/")[2] for one in circles] == [
        "again.yml", "report.yml", "sums.yml",
    ]  # fmt: skip
    assert "on_published: a circle, sums after again after report after sums." in circles[2]


def test_two_jobs_must_agree_on_a_capacity(site: Settings) -> None:
    write(site, "a", "notebook: sums\ncapacity: {ftp:plant: 2}\n")
    write(site, "b", "notebook: sums\ncapacity: {ftp:plant: 3}\n")
    assert any("is 3 here and 2 in a.yml" in one for one in problems(site))


def test_a_parameter_without_default_needs_a_value(site: Settings) -> None:
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "test: int\n"}
    path = site.notebooks_dir / "jobs" / "needs.ipynb"
    path.write_text(json.dumps({"cells": [cell]}))
    write(site, "job", "notebook: needs\n")
    assert any("needs a value for 'test'" in one for one in problems(site))


def test_a_notebook_with_a_wrong_parameters_cell_is_named(site: Settings) -> None:
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "import os\n"}
    (site.notebooks_dir / "jobs" / "odd.ipynb").write_text(json.dumps({"cells": [cell]}))
    write(site, "job", "notebook: odd\n")
    (problem,) = problems(site)
    assert problem.startswith("parameters/testsite/jobs/job.yml:1: notebook: ")
    assert "odd.ipynb, line 1" in problem


def test_a_services_parameters_are_checked_without_running_it(
    site: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "raise SystemExit('imported')\ndef serve(stop, heartbeat, *, port: int = 5): ...\n"
    (tmp_path / "odd_service.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    write(site, "job", "service: odd_service:serve\nparameters: {port: 6}\n")
    assert load_jobs(site).spec("job").service == "odd_service:serve"
    write(site, "job", "service: odd_service:serve\nparameters: {prt: 6, port: x}\n")
    assert len(problems(site)) == 2


def test_files_that_would_be_overlooked_are_named(site: Settings) -> None:
    (site.site_dir / "jobs" / "job.yaml").write_text("notebook: sums\n")
    write(site, "My-Job", "notebook: sums\n")
    found = problems(site)
    assert any("job.yaml: job files end in .yml" in one for one in found)
    assert any("My-Job.yml" in one and "small letters" in one for one in found)


def test_a_missing_folder_says_nothing_of_the_jobs(site: Settings) -> None:
    (site.site_dir / "jobs").rmdir()
    jobset = load_jobs(site)
    assert not jobset.readable
    assert len(jobset.problems) == 1


def test_an_unknown_job_is_named_with_a_near_one(site: Settings) -> None:
    write(site, "rain_sums", "notebook: sums\n")
    with pytest.raises(ConfigError, match="Did you mean 'rain_sums'"):
        load_jobs(site).spec("rain_sum")


def test_the_schema_in_the_repository_is_current(repository: Path) -> None:
    path = schema_path(repository)
    assert path.read_text(encoding="utf-8") == schema_text(), "run: workspace jobs schema"


def test_the_schema_accepts_and_refuses_what_the_model_does() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = job_json_schema()
    right = {"notebook": "sums", "every": "5m", "retries": {"attempts": 2, "wait": "30s"}}
    jsonschema.validate(right, schema)
    jsonschema.validate({**right, "on_published": ["rain.*"]}, schema)
    for wrong in (
        {**right, "schedule": "* * * * *"},
        {**right, "shedule": "x"},
        {"notebook": "sums", "on": "first", "on_published": ["rain.*"]},
        {**right, "timeout": 600},
        {**right, "capacity": {"plant": 2}},
        {"every": "5m"},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_every_key_of_a_job_file_is_described() -> None:
    for name, item in JobFile.model_fields.items():
        assert item.description, name
