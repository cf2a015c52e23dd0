"""The model of a job file; editors get it as JSON schema: ``parameters/job.schema.json``."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.json_schema import WithJsonSchema

from workspace_lib.errors import ParameterError
from workspace_lib.runs.durations import PATTERN, duration_text, parse_duration
from workspace_lib.runs.job_spec import RETRIED

#: A job has at most one of these; with none it runs when asked for.
STARTERS = ("schedule", "every", "on", "service")
#: What `on_published` cannot stand beside.
NOT_WITH_ON_PUBLISHED = ("on", "service")
LEAST_EVERY_S = 30
SCHEMA_FILE = "job.schema.json"


def _duration(value: object) -> float:
    try:
        return parse_duration(value)
    except ParameterError as error:
        raise ValueError(str(error)) from error


def _every(value: object) -> int:
    seconds = _duration(value)
    if seconds < LEAST_EVERY_S:
        raise ValueError(f"{value} is too often; {LEAST_EVERY_S}s is the least.")
    if seconds != int(seconds):
        raise ValueError(f"{value} is no whole number of seconds.")
    return int(seconds)


def _cron(value: object) -> str:
    text = str(value)
    try:
        if not isinstance(value, str) or len(text.split()) != 5:
            raise CronSimError("it needs five fields")
        next(CronSim(text, datetime(2026, 1, 1)))
    except CronSimError as error:
        what = str(error)
        raise ValueError(
            f"{text!r} is no cron expression ({what[:1].lower()}{what[1:]}). "
            "Write minute hour day month weekday, as in '*/15 * * * *'."
        ) from error
    except StopIteration as error:
        raise ValueError(f"{text!r} never comes.") from error
    return text


def _zone(value: object) -> str:
    try:
        ZoneInfo(str(value))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        hint = did_you_mean(str(value), available_timezones())
        raise ValueError(
            f"unknown time zone {value!r}.{hint or ' Write it as Europe/Paris.'}"
        ) from error
    return str(value)


def _schema(kind: str, pattern: str | None = None) -> WithJsonSchema:
    return WithJsonSchema({"type": kind} | ({"pattern": pattern} if pattern else {}))


Duration = Annotated[float, BeforeValidator(_duration), _schema("string", PATTERN)]
Every = Annotated[int, BeforeValidator(_every), _schema("string", PATTERN)]
Cron = Annotated[str, BeforeValidator(_cron), _schema("string", r"^\S+( +\S+){4}$")]
Zone = Annotated[str, BeforeValidator(_zone), _schema("string")]
JobName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
NotebookName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$")]
Function = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
Resource = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*:\S+$")]
Publication = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*\.[a-z0-9_]+(/[\w.-]+)?$")]
PublicationPattern = Annotated[
    str, StringConstraints(pattern=r"^[a-z*?\[][\w.*?!\[\]-]*(/[\w.*?!\[\]-]+)?$")
]
RetriedCause = Literal[
    "notebook_error",
    "kernel_died",
    "cell_timeout",
    "run_timeout",
    "device_busy",
    "source_unavailable",
    "input_missing",
    "no_manifest",
    "runner_lost",
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RetriesModel(_Strict):
    """When a run that failed is tried again."""

    attempts: int = Field(1, ge=1, le=20, description="Tries in all.")
    wait: Duration = Field(30.0, description="Pause between two tries.")
    on: list[RetriedCause] = Field(
        default_factory=lambda: list(RETRIED),  # type: ignore[arg-type]
        description="Causes after which it is tried again.",
    )


class OnBusyModel(_Strict):
    """What a run does while a device or a capacity it needs is held by others."""

    wait: Duration = Field(300.0, description="How long it waits.")
    then: Literal["skip", "fail"] = Field("skip", description="What becomes of it then.")


class JobFile(_Strict):
    """One job of a site: a notebook or a service, when it runs, and what it may hold."""

    model_config = ConfigDict(
        title="Job", json_schema_extra={"$schema": "https://json-schema.org/draft/2020-12/schema"}
    )

    description: str | None = Field(None, description="What the job is for, in one line.")
    notebook: NotebookName | None = Field(
        None, description="Notebook in notebooks/jobs, without .ipynb."
    )
    schedule: Cron | None = Field(
        None, description="Cron expression with five fields, in the job's time zone."
    )
    every: Every | None = Field(
        None, description="Fixed interval, at least 30s, counted from midnight UTC of 1970-01-01."
    )
    on: JobName | None = Field(None, description="Job after whose success this one runs.")
    on_published: list[PublicationPattern] = Field(
        default_factory=list,
        description="Names of publications, with * for any letters, after which this one runs.",
    )
    after: list[JobName] = Field(
        default_factory=list,
        description="Jobs that go first if they are due at the same time or before.",
    )
    service: Function | None = Field(
        None, description="Library function module:function that runs for ever."
    )
    timezone: Zone | None = Field(None, description="Zone of the schedule; default: the site's.")
    catch_up: Literal["skip", "latest", "each"] = Field(
        "latest",
        description="Missed slots: recorded as gaps, replaced by one run of the newest, or each "
        "run in order.",
    )
    max_catch_up: int = Field(
        100, ge=1, le=10_000, description="Most missed slots that `each` runs; older are gaps."
    )
    max_lateness: Duration = Field(
        60.0, description="With catch_up skip: a slot seen later than this is missed."
    )
    overlap: Literal["wait", "skip"] = Field(
        "wait", description="What a slot does while a run of the job goes on."
    )
    fan_out: int = Field(
        1,
        ge=1,
        le=64,
        description="Most runs of a backfill at once; above 1 only if no slot depends on another.",
    )
    timeout: Duration = Field(3600.0, description="A run is ended after this.")
    cell_timeout: Duration | None = Field(None, description="A cell is ended after this.")
    retries: RetriesModel = Field(default_factory=RetriesModel, description="Tries after failure.")
    devices: list[Resource] = Field(default_factory=list, description="Devices held alone.")
    capacity: dict[Resource, Annotated[int, Field(ge=1, le=1000)]] = Field(
        default_factory=dict, description="Shared sources, with how many runs may use each at once."
    )
    on_busy: OnBusyModel = Field(default_factory=OnBusyModel, description="While devices are held.")
    publishes: list[Publication] = Field(
        default_factory=list, description="Publications without which the run is no success."
    )
    fresh_for: Duration | None = Field(
        None, description="Age after which its publications count as stale."
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Values for the notebook's parameters."
    )
    enabled: bool = Field(True, description="false: the schedule rests; runs by hand still work.")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the known word nearest to ``word``, or nothing."""
    near = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""


def job_json_schema() -> dict[str, Any]:
    """Return the JSON schema of job files."""
    schema = JobFile.model_json_schema()
    models = [schema, *schema["$defs"].values()]
    for name, item in ((name, item) for m in models for name, item in m["properties"].items()):
        item.pop("title", None)
        if item.get("default", "") is None:
            del item["default"]
        if item.get("pattern") == PATTERN and "default" in item:
            item["default"] = duration_text(item["default"])
        if name == "capacity":
            item["additionalProperties"] = False
    pairs = [*combinations(STARTERS, 2), *(("on_published", x) for x in NOT_WITH_ON_PUBLISHED)]
    schema["not"] = {"anyOf": [{"required": list(pair)} for pair in pairs]}
    schema["anyOf"] = [{"required": ["notebook"]}, {"required": ["service"]}]
    return schema


def schema_text() -> str:
    """Return the JSON schema as the file in ``parameters`` holds it."""
    return json.dumps(job_json_schema(), indent=2, ensure_ascii=False) + "\n"


def schema_path(root: Path) -> Path:
    """Return where a workspace keeps the JSON schema."""
    return root / "parameters" / SCHEMA_FILE


def describe_error(error: Any) -> tuple[tuple[str | int, ...], str]:
    """Return where in the file and in which words one of pydantic's errors is told.

    Parameters
    ----------
    error : dict
        One entry of ``ValidationError.errors()``.
    """
    place = tuple(part for part in error["loc"] if part != "[key]")
    key = next((part for part in reversed(place) if isinstance(part, str)), "")
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        known = _known_keys(place[:-1])
        return place, f"unknown key {key!r}.{did_you_mean(key, known)}"
    if kind == "value_error":
        return place, f"{key}: {context['error']}"
    if kind == "literal_error":
        words = re.findall(r"'([^']*)'", str(context["expected"]))
        hint = did_you_mean(str(error["input"]), words) or f" Known: {', '.join(words)}."
        return place, f"{key}: {error['input']!r} is not known.{hint}"
    if kind == "string_pattern_mismatch":
        return (
            place,
            f"{key}: {error['input']!r} is not written as it must be.{_EXAMPLES.get(key, '')}",
        )
    return place, f"{key}: {error['msg'][:1].lower()}{error['msg'][1:]}, not {error['input']!r}."


_EXAMPLES = {
    "notebook": " Give its name without .ipynb, as in rain_sums.",
    "on": " Give a job's name, as in rain_capture.",
    "service": " Write it as module:function.",
    "devices": " Write it as line:COM1.",
    "capacity": " Write it as ftp:plant: 2.",
    "on_published": " Write it as rain.sums or rain.*.",
    "publishes": " Write it as rain.sums or rain.sums/gauge1.",
}


def _known_keys(place: tuple[str | int, ...]) -> Iterable[str]:
    if place == ("retries",):
        return RetriesModel.model_fields
    if place == ("on_busy",):
        return OnBusyModel.model_fields
    return JobFile.model_fields
