"""Loading the job files of a site: every problem with file and line, never only the first."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from workspace_lib.errors import ConfigError, ParameterError
from workspace_lib.runs.job_schema import (
    NOT_WITH_ON_PUBLISHED,
    STARTERS,
    JobFile,
    describe_error,
    did_you_mean,
)
from workspace_lib.runs.job_spec import JobSpec, OnBusy, Retries
from workspace_lib.runs.job_yaml import Document, YamlPath, read_yaml
from workspace_lib.runs.known_devices import known_devices
from workspace_lib.runs.notebook_parameters import (
    REQUIRED,
    NotebookParameter,
    check_value,
    parse_parameters_cell,
)
from workspace_lib.settings import Settings
from workspace_lib.store.publications import matches

__all__ = [
    "JobSet",
    "JobSpec",
    "NotebookParameter",
    "OnBusy",
    "Problem",
    "Retries",
    "job_folder",
    "load_jobs",
    "notebook_path",
    "parameters_of",
    "parse_parameters_cell",
]

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Problem:
    """Something wrong with a job file: where, and what to do."""

    file: str
    line: int | None
    message: str
    job: str | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.message}"


@dataclass(frozen=True)
class JobSet:
    """The jobs of a site whose files are right, and what is wrong with the others.

    ``files`` has every job that has a file, right or not: a job with a wrong file keeps its last
    good specification, a job without a file is gone. Not so where the folder itself cannot be
    read (``readable``): that says nothing about any job.
    """

    specs: Mapping[str, JobSpec] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    readable: bool = True

    def problems_of(self, job: str) -> list[Problem]:
        """Return what is wrong with one job."""
        return [problem for problem in self.problems if problem.job == job]

    def spec(self, job: str) -> JobSpec:
        """Return the specification of one job.

        Raises
        ------
        ConfigError
            If there is no such job, or its file is wrong.
        """
        if job in self.specs:
            return self.specs[job]
        if job in self.files:
            raise ConfigError(
                f"The job {job!r} has a wrong file: "
                + "; ".join(str(problem) for problem in self.problems_of(job)),
                fix="List every problem: workspace jobs check.",
            )
        hint = did_you_mean(job, self.files)
        raise ConfigError(f"There is no job {job!r}.{hint}", fix="List them: workspace jobs.")


@dataclass
class _Draft:
    """A job file on its way to a specification."""

    name: str
    file: str
    document: Document
    problems: list[Problem] = field(default_factory=list)
    model: JobFile | None = None

    def blame(self, path: YamlPath, message: str) -> None:
        self.problems.append(Problem(self.file, self.document.line(path), message, self.name))


def job_folder(settings: Settings) -> Path:
    """Return the folder of the site's job files."""
    return settings.site_dir / "jobs"


def notebook_path(settings: Settings, name: str) -> Path:
    """Return the path of a job's notebook."""
    return settings.notebooks_dir / "jobs" / f"{name}.ipynb"


def load_jobs(settings: Settings) -> JobSet:
    """Return the jobs of the site, and every problem of their files."""
    folder = job_folder(settings)
    if not folder.is_dir():
        missing = Problem(_shown(settings, folder), None, "the folder of the job files is missing.")
        return JobSet(problems=(missing,), readable=False)
    drafts: dict[str, _Draft] = {}
    stray: list[Problem] = []
    for path in sorted(folder.glob("*")):
        file = _shown(settings, path)
        if path.suffix == ".yaml":
            stray.append(Problem(file, None, "job files end in .yml; rename it."))
        elif path.suffix == ".yml":
            drafts[path.stem] = _read(path, file)
    devices = known_devices(settings)
    for draft in drafts.values():
        _check_model(draft)
        if draft.model is not None:
            _check_starters(draft)
            _check_devices(draft, devices)
            _check_target(draft, settings)
            _check_on(draft, drafts)
            _check_after(draft, drafts)
    _check_cycles(drafts)
    _check_capacities(drafts)
    return JobSet(
        specs={
            name: _spec(draft, draft.model, settings)
            for name, draft in drafts.items()
            if draft.model is not None and not draft.problems
        },
        problems=(*stray, *(p for draft in drafts.values() for p in draft.problems)),
        files={name: draft.file for name, draft in drafts.items()},
    )


def parameters_of(settings: Settings, spec: JobSpec) -> dict[str, NotebookParameter]:
    """Return the parameters that a job's notebook or service declares, by name.

    Raises
    ------
    ParameterError
        If they cannot be read.
    """
    if spec.notebook is not None:
        found = parse_parameters_cell(notebook_path(settings, spec.notebook))
    else:
        found, _ = _service_parameters(str(spec.service))
    return {parameter.name: parameter for parameter in found}


def _read(path: Path, file: str) -> _Draft:
    try:
        document = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        draft = _Draft(path.stem, file, Document(None, {}))
        draft.blame((), f"cannot be read ({error}).")
        return draft
    draft = _Draft(path.stem, file, document)
    for fault in document.faults:
        draft.problems.append(Problem(file, fault.line, fault.message, draft.name))
    if not _NAME.fullmatch(path.stem):
        draft.blame((), "a job's file is named by small letters, digits and underscores.")
    return draft


def _check_model(draft: _Draft) -> None:
    content = draft.document.value
    if not isinstance(content, dict):
        if not draft.problems:
            draft.blame((), "a job file holds keys such as notebook and schedule.")
        return
    try:
        draft.model = JobFile.model_validate(content)
    except ValidationError as error:
        for item in error.errors():
            draft.blame(*describe_error(item))


def _check_starters(draft: _Draft) -> None:
    content = draft.document.value
    given = [key for key in content if key in STARTERS and content[key] is not None]
    for extra in given[1:]:
        draft.blame(
            (extra,), f"{extra}: a job has one of {', '.join(STARTERS)}; {given[0]} is set too."
        )
    for key in NOT_WITH_ON_PUBLISHED:
        if key in given and content.get("on_published"):
            draft.blame(("on_published",), f"on_published: a job with {key} cannot have it.")
    model = draft.model
    assert model is not None
    if model.notebook is None and model.service is None:
        draft.blame((), "'notebook' is missing: name one of notebooks/jobs.")
    if model.notebook is not None and model.service is not None:
        draft.blame(
            ("notebook",),
            "notebook: a service runs a function; give the notebook a job of its own.",
        )


def _check_devices(draft: _Draft, devices: set[str]) -> None:
    assert draft.model is not None
    places: list[tuple[YamlPath, str]] = [
        (("devices", index), one) for index, one in enumerate(draft.model.devices)
    ]
    places += [(("capacity", one), one) for one in draft.model.capacity]
    for place, one in places:
        if one not in devices:
            hint = did_you_mean(one, devices) or (
                f" Known: {', '.join(sorted(devices)) or 'none'}; site.yml lists them."
            )
            draft.blame(place, f"{place[0]}: unknown device {one!r}.{hint}")
    for one in set(draft.model.devices) & set(draft.model.capacity):
        draft.blame(("capacity", one), f"capacity: {one!r} is held alone already, by devices.")


def _check_target(draft: _Draft, settings: Settings) -> None:
    """Check the notebook or the service function, and the parameters it is given."""
    model = draft.model
    assert model is not None
    open_end = False
    try:
        if model.notebook is not None:
            path = notebook_path(settings, model.notebook)
            if not path.is_file():
                known = {p.stem for p in path.parent.glob("*.ipynb")}
                hint = did_you_mean(path.stem, known)
                draft.blame(("notebook",), f"notebook: there is no {_shown(settings, path)}.{hint}")
                return
            found = parse_parameters_cell(path)
            target = f"the notebook {model.notebook}"
        elif model.service is not None:
            found, open_end = _service_parameters(model.service)
            target = f"the function {model.service}"
        else:
            return
    except ParameterError as error:
        key = "notebook" if model.notebook is not None else "service"
        draft.blame((key,), f"{key}: {error}")
        return
    _check_parameters(draft, model, found, target, open_end)


def _check_parameters(
    draft: _Draft,
    model: JobFile,
    found: list[NotebookParameter],
    target: str,
    open_end: bool,
) -> None:
    known = {parameter.name: parameter for parameter in found}
    for name, value in model.parameters.items():
        place = ("parameters", name)
        if name in known:
            if wrong := check_value(known[name], value):
                draft.blame(place, f"parameters: {wrong}")
        elif not open_end:
            hint = did_you_mean(name, known) or f" It has: {', '.join(known) or 'none'}."
            draft.blame(place, f"parameters: {target} has no parameter {name!r}.{hint}")
    for name, parameter in known.items():
        if parameter.required and name not in model.parameters:
            draft.blame(("parameters",), f"parameters: {target} needs a value for {name!r}.")


def _check_on(draft: _Draft, drafts: Mapping[str, _Draft]) -> None:
    assert draft.model is not None
    upstream = draft.model.on
    if upstream is None:
        return
    if upstream not in drafts:
        hint = did_you_mean(upstream, drafts) or f" Known: {', '.join(drafts)}."
        draft.blame(("on",), f"on: there is no job {upstream!r}.{hint}")
        return
    model = drafts[upstream].model
    if model is not None and model.service is not None:
        draft.blame(("on",), f"on: {upstream!r} is a service, which never succeeds.")


def _check_after(draft: _Draft, drafts: Mapping[str, _Draft]) -> None:
    assert draft.model is not None
    for index, first in enumerate(draft.model.after):
        if first not in drafts:
            hint = did_you_mean(first, drafts) or f" Known: {', '.join(drafts)}."
            draft.blame(("after", index), f"after: there is no job {first!r}.{hint}")


def _check_cycles(drafts: Mapping[str, _Draft]) -> None:
    """Name each job that would start itself again, or wait for itself, by way of others."""
    models = {name: draft.model for name, draft in drafts.items() if draft.model is not None}
    first = {name: [one for one in model.after if one in models] for name, model in models.items()}
    for name in models:
        if circle := _way_back(name, first):
            drafts[name].blame(("after",), f"after: a circle, {' after '.join(circle)}.")
    before = {name: _forerunners(name, models) for name in models}
    for name, model in models.items():
        if circle := _way_back(name, before):
            key = "on" if model.on is not None else "on_published"
            drafts[name].blame((key,), f"{key}: a circle, {' after '.join(circle)}.")


def _forerunners(name: str, models: Mapping[str, JobFile]) -> list[str]:
    """Return the jobs after whose success a job runs; its own publications do not count."""
    model = models[name]
    if model.on is not None:
        return [model.on] if model.on in models else []
    return [
        other
        for other, maker in models.items()
        if other != name and any(matches(model.on_published, made) for made in maker.publishes)
    ]


def _way_back(name: str, before: Mapping[str, list[str]]) -> list[str]:
    """Return a shortest way from a job through its forerunners back to itself, or nothing."""
    ways, seen = [[name]], {name}
    while ways:
        way = ways.pop(0)
        for earlier in before[way[-1]]:
            if earlier == name:
                return [*way, name]
            if earlier not in seen:
                seen.add(earlier)
                ways.append([*way, earlier])
    return []


def _check_capacities(drafts: Mapping[str, _Draft]) -> None:
    first: dict[str, tuple[int, str]] = {}
    for name, draft in drafts.items():
        for resource, most in (draft.model.capacity if draft.model else {}).items():
            before = first.setdefault(resource, (most, name))
            if before[0] != most:
                draft.blame(
                    ("capacity", resource),
                    f"capacity: {resource!r} is {most} here and {before[0]} in {before[1]}.yml.",
                )


def _spec(draft: _Draft, model: JobFile | None, settings: Settings) -> JobSpec:
    assert model is not None
    return JobSpec(
        name=draft.name,
        notebook=model.notebook,
        schedule=model.schedule,
        every_s=model.every,
        on=model.on,
        on_published=tuple(model.on_published),
        after=tuple(model.after),
        service=model.service,
        timezone=model.timezone or settings.timezone,
        catch_up=model.catch_up,
        max_catch_up=model.max_catch_up,
        max_lateness_s=model.max_lateness,
        overlap=model.overlap,
        fan_out=model.fan_out,
        timeout_s=model.timeout,
        cell_timeout_s=model.cell_timeout,
        retries=Retries(model.retries.attempts, model.retries.wait, tuple(model.retries.on)),
        devices=tuple(model.devices),
        capacity=dict(model.capacity),
        on_busy=OnBusy(model.on_busy.wait, model.on_busy.then),
        publishes=tuple(model.publishes),
        fresh_for_s=model.fresh_for,
        parameters=dict(model.parameters),
        enabled=model.enabled,
        description=model.description,
        file=draft.file,
    )


def _service_parameters(service: str) -> tuple[list[NotebookParameter], bool]:
    """Return what a service function takes besides stop and heartbeat, and whether it takes more.

    The module is read, not imported: a wrong job file must not run code.
    """
    module, _, name = service.partition(":")
    function = _find_function(module, name)
    taken = function.args
    named = [*taken.posonlyargs, *taken.args]
    defaults: list[ast.expr | None] = [None] * (len(named) - len(taken.defaults))
    pairs = list(zip(named, [*defaults, *taken.defaults], strict=True))[2:]
    pairs += zip(taken.kwonlyargs, taken.kw_defaults, strict=True)
    found = []
    for argument, default in pairs:
        try:
            value = REQUIRED if default is None else ast.literal_eval(default)
        except ValueError:
            value = None
        kind = ast.unparse(argument.annotation) if argument.annotation else "Any"
        found.append(NotebookParameter(argument.arg, kind, value, "", argument.lineno))
    return found, taken.kwarg is not None


def _find_function(module: str, name: str) -> ast.FunctionDef:
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found is None or found.origin is None or not found.origin.endswith(".py"):
        raise ParameterError(f"there is no module {module!r}.")
    tree = ast.parse(Path(found.origin).read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if name not in functions:
        hint = did_you_mean(name, functions)
        raise ParameterError(f"the module {module} has no function {name!r}.{hint}")
    return functions[name]


def _shown(settings: Settings, path: Path) -> str:
    """Return a path as people read it: within the workspace from its root, with slashes."""
    root = settings.root.resolve()
    resolved = path.resolve()
    return (resolved.relative_to(root) if resolved.is_relative_to(root) else resolved).as_posix()
